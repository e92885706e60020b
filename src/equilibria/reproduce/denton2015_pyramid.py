r"""LAPGAN on MNIST: the multi-scale Parzen window of the paper, against controls that lack one part each.

The estimate (appendix A of the supplementary material, used in Table 1) writes an image I as its coarsest version and
the details of each doubling, and multiplies one density per level:

.. math:: \log p(I) = \log q_K(l_K) + \sum_{k<K} \log q_k(l_k, h_k), \qquad
          q_k(l, h) = \frac1S \sum_{s=1}^S \mathcal N\big(h;\, h_s, \sigma_k^2 I\big)

in nats. :math:`q_K` has samples of the coarsest game; :math:`h_s` are details that the level generates for the *true*
coarse image :math:`l = d(I_k)`. As in the appendix d is the mean of 2 x 2 blocks and h is in an orthonormal basis of
what d removes (the three Haar details of each block); coarse images are scaled by 2, so that the whole map is
orthogonal and p a density of pixels in [-1, 1]. Each :math:`\sigma_k` is the best of a grid on half of the held-out
images, the other half gives the number.

Controls, under the same estimate: the same coarsest GAN with its images only enlarged (one window per level, at the
details of the enlarged image); bands that were generated for other images; and a plain GAN of whole images with at
least as many parameters, whose own samples give the windows of every level. These cannot depend on the coarse image,
which favours the pyramid, so the estimate of Table 1 without levels is shown for both samplers as well. After so few
rounds the samples of either are rough; a Parzen estimate says little about how samples look (Theis et al. 2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..base.randomness import mix, reseed
from ..base.schedules import Linear
from ..core.optimizers import Adam
from ..core.play import Play
from ..data import Dataset, load
from ..data.views import enlarge, halve
from ..figures.panels import GREY, PALETTE, label, panels
from ..games.pyramids import BandGame, BandGAN, LaplacianPyramid, PyramidGame
from ..games.stages import Finished, Task, as_sampled, joined_play
from ..metrics.kernel import log_windows
from ..networks import ConvPair, MLPPair
from ..recipes import Recipe, recipe
from .claim import Check, Claim, Outcome, at_least, at_most
from .translators import picture_rows

CLAIM = Claim(
    paper="denton2015",
    figure="section 4.1, Table 1 (multi-scale Parzen window); equation 3; Figure 6 (one coarse image, several samples)",
    statement="A pyramid of GANs gives held-out images a higher density than its coarsest GAN enlarged and than a "
    "plain GAN, its bands depend on the noise, and the pyramid of real images inverts.",
    printed="CIFAR-10: LAPGAN -1799 ± 826 nats at several scales, GAN -3617 ± 353; other data here",
    tolerance="in every seed: inversion error at most 1e-6; log-density above both controls by two standard errors "
    "over the held-out images; standard deviation over the noise at least .1 of the real bands' size at every level, "
    "and 0 with the noise fixed. 5 seeds at 8 -> 16 -> 32 pixels, 1,500, 600 and 300 rounds of 32 images a level, 600 "
    "of the plain GAN; quick: 1 seed at 8 -> 16",
    budget=(70, 660),
)
ROUNDS = {"size-8": 1500, "size-16": 600, "size-32": 300}
PLAIN_ROUNDS, BATCH = 600, 32
COARSEST, PLAIN_WIDTHS = MLPPair(width=192, depth=2), {1: 31, 2: 18}
HELD, DRAWS, KERNELS, SHOWN = 400, 30, 2000, 10
WIDTHS = [0.02 * 1.2**i for i in range(32)]


class Trial(NamedTuple):
    """One seed: log-densities of held-out images by sampler, spreads of bands, and images to be shown."""

    each: dict[str, Tensor]
    plainly: dict[str, Tensor]
    spread: dict[str, list[float]]
    error: float
    parameters: dict[str, int]
    shown: list[tuple[str, Tensor]]


def run(quick: bool) -> Outcome:
    levels = 1 if quick else 2
    data = load("mnist", size=8 << levels)
    trials = [_trial(data, levels, seed) for seed in range(1 if quick else 5)]
    return Outcome(_draw(trials), _checks(trials), {f"seed {seed}": _numbers(t) for seed, t in enumerate(trials)})


def _checks(trials: list[Trial]) -> tuple[Check, ...]:
    gains = {name: [_gain(t.each["pyramid"], t.each[name]) for t in trials] for name in ("enlarged", "plain GAN")}
    return (
        at_most("greatest error of the pyramid's inversion", max(t.error for t in trials), 1e-6),
        *(_least(f"pyramid less {name}, in standard errors", values) for name, values in gains.items()),
        at_least("least spread of bands over the noise / real bands", min(min(t.spread["fresh"]) for t in trials), 0.1),
        at_most("greatest spread with the noise fixed", max(max(t.spread["fixed"]) for t in trials), 1e-6),
    )


def trained_pyramid(data: Dataset, levels: int, seed: int) -> PyramidGame:
    """The finished pyramid: the stages of the procedure, one after another."""
    plan = LaplacianPyramid(levels=levels, band=BandGAN(width=24))
    task = Task(_row(), data, seed)
    done: tuple[Finished, ...] = ()
    while (stage := plan.stages(done, task)) is not None:
        row = stage.recipe if done else replace(stage.recipe, networks=COARSEST)
        rows = data if stage.view is None else stage.view(data)
        play = _played(row, rows, mix(seed, len(done)), ROUNDS[stage.name])
        done = (*done, Finished(stage.name, as_sampled(play)))
    game = plan.joined(done, data.spec)
    assert isinstance(game, PyramidGame)
    return game.eval()


def parts(images: Tensor, levels: int) -> list[Tensor]:
    """Images in an orthonormal basis: the coarsest as ``(n, numbers)``, then the details of each doubling.

    Examples:
        >>> images = torch.randn(2, 1, 8, 8)
        >>> found = parts(images, 2)
        >>> [part.shape[1] for part in found], torch.allclose(torch.cat(found, 1).norm(), images.norm())
        ([4, 12, 48], True)
    """
    found = []
    for _ in range(levels):
        found.append(details(images))
        images = 2 * halve(images)
    return [images.flatten(1), *reversed(found)]


def details(images: Tensor) -> Tensor:
    """The three Haar details of each block of 2 x 2 pixels: ``(n, c, h, w)`` to ``(n, 3 c h w / 4)``."""
    a, b = images[..., 0::2, 0::2], images[..., 0::2, 1::2]
    c, d = images[..., 1::2, 0::2], images[..., 1::2, 1::2]
    return torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], 1).flatten(1) / 2


def log_densities(windows: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """The log-density of the second half of the rows, ``(n / 2,)`` in nats, each level's width chosen on the first.

    Args:
        windows: centres for each level, ``(S, n, d)``, or ``(S, 1, d)`` for all rows.
        real: the held-out rows in the same basis, ``(n, d)`` for each level.
    """
    half = len(real[0]) // 2
    total = torch.zeros(len(real[0]) - half, dtype=torch.float64)
    for centres, rows in zip(windows, real, strict=True):
        found = log_windows(centres, rows, WIDTHS)
        total += found[found[:, :half].mean(1).argmax(), half:]
    return total


def _row() -> Recipe:
    optimizer = Adam(lr=Linear(start=1e-3, end=0.0, after=0.5), betas=(0.5, 0.999))
    return replace(recipe("lapgan"), procedure=None, networks=ConvPair(width=16), batch=BATCH, optimizer=optimizer)


def _played(row: Recipe, rows: Dataset, seed: int, rounds: int) -> Play:
    play = row.play(row.build(rows.spec, seed), rows.batches(row.batch), seed=seed, horizon=rounds)
    play.prepare()
    play.advance(rounds)
    return play


def _trial(data: Dataset, levels: int, seed: int) -> Trial:
    game = trained_pyramid(data, levels, seed)
    plain = _played(replace(_row(), networks=ConvPair(width=PLAIN_WIDTHS[levels])), data, mix(seed, 9), PLAIN_ROUNDS)
    held = data.take(HELD, held_out=True)["x"]
    made, others = joined_play(game, seed, 1).views(KERNELS, seed), plain.sample(KERNELS, seed=seed)
    reseed(mix(seed, 10))
    small = (made["size 8"] * 2**levels).flatten(1)[:, None].double()
    bands = generated_details(game, held, levels)
    windows = {
        "pyramid": [small, *bands],
        "enlarged": [small, *enlarged_details(held, levels)],
        "bands of other images": [small, *(band.roll(1, 1) for band in bands)],
        "plain GAN": [part[:, None].double() for part in parts(others, levels)],
    }
    whole = {"pyramid": made["samples"], "plain GAN": others, "training images": data.take(KERNELS)["x"]}
    real, pixels = [part.double() for part in parts(held, levels)], [held.flatten(1).double()]
    return Trial(
        {name: log_densities(centres, real) for name, centres in windows.items()},
        {name: log_densities([x.flatten(1)[:, None].double()], pixels) for name, x in whole.items()},
        {name: spreads(game, held[:100], levels, name == "fixed") for name in ("fresh", "fixed")},
        float((game.rebuild({"x": held}) - held).abs().max()),
        {
            name: sum(p.numel() for p in one.parameters())
            for name, one in (("pyramid", game), ("plain GAN", plain.game))
        },
        [*_shown(game, held[:SHOWN], levels), ("pyramid", made["samples"][:SHOWN]), ("plain GAN", others[:SHOWN])],
    )


def _levels(game: PyramidGame, held: Tensor, levels: int) -> list[tuple[BandGame, Tensor, Tensor]]:
    """Each band's game with the true coarse images and the true finer ones, coarse to fine."""
    images = [held]
    for _ in range(levels):
        images.append(halve(images[-1]))
    games = [one for one in game.levels if isinstance(one, BandGame)]
    return list(zip(games, images[:0:-1], images[-2::-1], strict=True))


@torch.no_grad()
def generated_details(game: PyramidGame, held: Tensor, levels: int) -> list[Tensor]:
    """Details that each level generates for the true coarse images, ``(S, n, d)`` in the basis of :func:`parts`."""
    found = []
    for i, (band, coarse, _) in enumerate(_levels(game, held, levels), start=1):
        made = [details(band.refine({"coarse": coarse})) for _ in range(DRAWS)]
        found.append(2 ** (levels - i) * torch.stack(made).double())
    return found


def enlarged_details(held: Tensor, levels: int) -> list[Tensor]:
    """The details of the true coarse images enlarged, without a band."""
    images, found = held, []
    for k in range(levels):
        images = halve(images)
        found.append(2**k * details(enlarge(images))[None].double())
    return found[::-1]


@torch.no_grad()
def spreads(game: PyramidGame, held: Tensor, levels: int, fixed: bool) -> list[float]:
    """The standard deviation of bands over eight noises over the size of real bands, coarse to fine."""
    found = []
    for band, coarse, fine in _levels(game, held, levels):
        blurred = enlarge(coarse)
        noises = torch.randn(8, *blurred[:, :1].shape)
        made = torch.stack([band.band(noises[0] if fixed else z, blurred) for z in noises])
        found.append(float((made.double().var(0).mean() / (fine - blurred).double().square().mean()).sqrt()))
    return found


@torch.no_grad()
def _shown(game: PyramidGame, held: Tensor, levels: int) -> list[tuple[str, Tensor]]:
    """Held-out images, their finest blurred versions, and several images with generated bands of all levels."""
    coarse = held
    for _ in range(levels):
        coarse = halve(coarse)
    blurred = coarse
    for _ in range(levels):
        blurred = enlarge(blurred)
    again = [("from its 8 px", game.refine({"x": held})) for _ in range(3)]
    return [("real", held), ("8 px enlarged", blurred), *again]


def _least(name: str, values: list[float]) -> Check:
    return at_least(f"least of the seeds: {name}", min(values), 2.0)


def _gain(better: Tensor, worse: Tensor) -> float:
    """In standard errors of the mean difference, row by row."""
    gain = better - worse
    return float(gain.mean() / gain.std()) * math.sqrt(len(gain))


def _numbers(trial: Trial) -> dict[str, object]:
    rows = {name: [round(float(v), 4) for v in values] for name, values in trial.spread.items()}
    return {
        "nats, several scales: mean, SE": {name: _mean(each) for name, each in trial.each.items()},
        "nats, one scale: mean, SE": {name: _mean(each) for name, each in trial.plainly.items()},
        "spread of bands over the noise / size of real bands": rows,
        "parameters": trial.parameters,
    }


def _mean(each: Tensor) -> list[float]:
    return [round(float(each.mean()), 1), round(float(each.std()) / math.sqrt(len(each)), 1)]


def _draw(trials: list[Trial]) -> Figure:
    figure, axes = panels(columns=2, width=3.9, height=3.0)
    picture_rows(axes[0], trials[0].shown, "Bands for the 8 px of real digits; samples (seed 0)")
    names = list(trials[0].each)
    for place, (name, colour) in enumerate(zip(names, (PALETTE[0], GREY, GREY, PALETTE[1]), strict=True)):
        values = [float(t.each[name].mean()) for t in trials]
        axes[1].plot(values, [place] * len(values), "o", color=colour, markersize=4)
    axes[1].set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    label(axes[1], "log-density (nats)", "", "Held-out images at several scales, every seed")
    return figure
