r"""The Parzen-window log-likelihood of the original Table 1, with controls that show its weakness.

.. math:: \log \hat p(x) = \log \frac1m \sum_j \mathcal N(x; k_j, \sigma^2 I), \qquad k_j \text{ samples of the model}

in nats, with the width chosen on validation images from ten values between .1 and 1 (Breuleux et al. 2011). The
controls use images of the training set, or its k-means centres, in place of a model's samples (Theis et al. 2016).

Quick is on the 8x8 digits. Full is on MNIST where it is in the cache (``python -m equilibria.data.fetch mnist``), with
10,000 samples, 10,000 test and 1,000 validation images, two rounds of k-means, and the networks and optimiser of the
recipe ``gan-maxout`` for four epochs of the authors' 250: their number is printed beside ours and not judged. Pixels
are in [0, 1], as theirs; in [-1, 1], where the recipe's data lie, their rate of .1 diverged within 400 rounds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..base.randomness import reseed
from ..core.play import Play
from ..data import Dataset, load
from ..data.files import cache_file
from ..figures.panels import GREY, PALETTE, label, legend, panels
from ..recipes import recipe
from .claim import Check, Claim, Outcome, at_least, close
from .side_by_side import batches_of

CLAIM = Claim(
    paper="goodfellow2014",
    figure="Table 1 (its set-up), with the controls of Theis et al. 2016",
    statement="The estimate behind Table 1 is no measure of samples: k-means centres beat images of the training set, "
    "and the same sampler scores more with more samples.",
    printed="GAN 225 ± 2 nats on MNIST (DBN 138, stacked CAE 121, deep GSN 214)",
    tolerance="both differences exceed two standard errors over the test images; the estimate has mass 1; the GAN's "
    "own number is shown, not judged: one seed, 4 epochs",
    budget=(19, 130),
)

_PRINTED = {"DBN": 138.0, "stacked CAE": 121.0, "deep GSN": 214.0, "GAN 2014": 225.0}
_WIDTHS = torch.logspace(-1, 0, 10)
_CHUNK = 1000


class Parzen(NamedTuple):
    """The estimate: its width, and the log-density of each test row in nats."""

    width: float
    each: Tensor

    @property
    def mean(self) -> float:
        return float(self.each.mean())

    @property
    def error(self) -> float:
        """The standard error over the test rows."""
        return float(self.each.std()) / math.sqrt(len(self.each))


class _Rows(NamedTuple):
    name: str
    train: Tensor
    validation: Tensor
    test: Tensor
    kernels: int


def run(quick: bool) -> Outcome:
    data, rounds = (load("digits"), 500) if quick or not cache_file("mnist").exists() else (load("mnist"), 2000)
    rows = _rows(data)
    draw = torch.Generator().manual_seed(0)
    chosen = rows.train[torch.randperm(len(rows.train), generator=draw)[: rows.kernels]]
    samplers = {
        "k-means centres": kmeans(rows.train, chosen, rounds=2),
        "training images": chosen,
        f"GAN here, {rounds * 100 // len(rows.train)} epochs": _trained(rows.train, rounds).sample(rows.kernels),
    }
    sizes = [rows.kernels // 10, rows.kernels // 3, rows.kernels]
    found = {k: [parzen(v[:n], rows.validation, rows.test) for n in sizes] for k, v in samplers.items()}
    checks = _checks(found["k-means centres"][-1], found["training images"][-1], found["training images"][0])
    figure, (left, right) = panels(columns=2)
    ours = {k: v[-1].mean for k, v in found.items()}
    bars = list(ours.items()) + ([] if data.name == "digits" else list(_PRINTED.items()))
    places = range(len(bars))
    left.barh(places, [v for _, v in bars], color=[*PALETTE[:3], *[GREY] * 4][: len(bars)], height=0.6)
    left.set_yticks(places, [k for k, _ in bars])
    left.invert_yaxis()
    left.axvline(0, color=GREY, linewidth=0.7)
    left.margins(x=0.14)
    for i, (_, value) in enumerate(bars):
        left.text(max(value, 0), i, f" {value:.0f}".replace("-", "−"), va="center", fontsize=7.5)
    title = "" if data.name == "digits" else "; grey: printed in 2014"
    label(left, "log-likelihood (nats)", "", f"{rows.name}, {rows.kernels} samples{title}")
    for (name, estimates), colour in zip(found.items(), PALETTE, strict=False):
        right.errorbar(
            sizes, [e.mean for e in estimates], [2 * e.error for e in estimates], color=colour, marker="o",
            markersize=3, linewidth=1.2, label=name,
        )  # fmt: skip
    right.set_xscale("log")
    right.set_xticks(sizes, [str(n) for n in sizes], minor=False)
    right.minorticks_off()
    legend(right, "center right")
    label(right, "samples", "log-likelihood (nats), ± 2 SE", "Controls: the more samples, the more nats")
    numbers = {k: [[n, e.mean, e.error, e.width] for n, e in zip(sizes, v, strict=True)] for k, v in found.items()}
    return Outcome(figure, checks, {"data": rows.name, "samples, mean, SE, width": numbers, "printed, MNIST": _PRINTED})


def _checks(centres: Parzen, images: Parzen, few: Parzen) -> tuple[Check, ...]:
    return (
        _beats("k-means centres less training images, in standard errors", centres, images),
        _beats("all training images less a tenth of them, in standard errors", images, few),
        close("mass of an estimated density on the line, worst width", _mass(), 1.0, 1e-3),
    )


def _mass() -> float:
    """Of the estimate from three kernels: the one that is farthest from 1, over the widths."""
    x = torch.linspace(-8, 9, 3401)[:, None]
    masses = _log_densities(torch.tensor([[0.0], [0.3], [1.0]]), x, _WIDTHS).exp().sum(1) * 0.005
    return float(masses[(masses - 1).abs().argmax()])


def parzen(kernels: Tensor, validation: Tensor, test: Tensor) -> Parzen:
    """The estimate from samples ``(m, d)`` on test rows ``(n, d)``, its width chosen on the validation rows."""
    scores = _log_densities(kernels, validation, _WIDTHS).mean(1)
    width = _WIDTHS[scores.argmax()]
    return Parzen(float(width), _log_densities(kernels, test, width[None])[0])


def _log_densities(kernels: Tensor, rows: Tensor, widths: Tensor) -> Tensor:
    """``(widths, rows)``."""
    m, d = kernels.shape
    found = []
    for part in torch.split(rows, _CHUNK):
        squares = _squares(part, kernels)
        sums = [
            torch.logsumexp(squares / (-2 * s**2), 1) - d / 2 * math.log(2 * math.pi * s**2) for s in widths.tolist()
        ]
        found.append(torch.stack(sums) - math.log(m))
    return torch.cat(found, 1)


def _squares(x: Tensor, y: Tensor) -> Tensor:
    return torch.addmm(y.square().sum(1) + x.square().sum(1)[:, None], x, y.T, alpha=-2)


def kmeans(rows: Tensor, centres: Tensor, rounds: int) -> Tensor:
    """Lloyd's algorithm from these centres; one that has no rows stays where it is."""
    for _ in range(rounds):
        nearest = torch.cat([_squares(part, centres).argmin(1) for part in torch.split(rows, _CHUNK)])
        counts = torch.bincount(nearest, minlength=len(centres))[:, None]
        sums = torch.zeros_like(centres).index_add_(0, nearest, rows)
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres


def _beats(name: str, better: Parzen, worse: Parzen) -> Check:
    """In standard errors of the mean difference, row by row."""
    gain = better.each - worse.each
    return at_least(name, float(gain.mean() / gain.std()) * math.sqrt(len(gain)), 2.0)


def _rows(data: Dataset) -> _Rows:
    """Training, validation and test rows in [0, 1]; a fifth as many samples as training rows."""
    assert data.size is not None and data.held_out_size is not None
    seen, test = _unit(data.take(data.size)["x"]), _unit(data.take(data.held_out_size, held_out=True)["x"])
    held = len(seen) // 6 if data.name == "mnist" else len(seen) // 5
    train, validation = seen[:-held], seen[-held:][:_CHUNK]
    return _Rows("MNIST" if data.name == "mnist" else "8x8 digits", train, validation, test, len(train) // 5)


def _unit(images: Tensor) -> Tensor:
    return (images.flatten(1) + 1) / 2


def _trained(rows: Tensor, rounds: int) -> Play:
    """The recipe on pixels in [0, 1], its output a sigmoid that starts at the mean pixels, as the authors had it."""
    row, data = recipe("gan-maxout"), load(rows, kind="vector")
    reseed(0)
    drawn = row.networks.generator(100, data.spec.shape)
    last = [layer for layer in drawn.modules() if isinstance(layer, nn.Linear)][-1]
    nn.init.zeros_(last.bias).data.add_(rows.mean(0).clamp(1e-3, 1 - 1e-3).logit())
    game = row.game.build(row.networks, data.spec, own={"generator": nn.Sequential(drawn, nn.Sigmoid())})
    play = Play(game, row.update, {p.name: row.optimizer for p in game.players}, batches_of(data, row.batch))
    play.advance(rounds)
    return play
