"""MGAN on the eight-mode ring: eight generators cover it and specialise; without the classifier they do not.

The first layer of each generator is its own, all others are common. Specialisation is the mutual information of the
generator's index and the nearest mode of its sample, with equally many samples per generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..base.randomness import reseed
from ..core.ensemble import Ensemble
from ..core.game import make_draw
from ..core.optimizers import Adam
from ..core.updates import Alternating
from ..data import Dataset, load
from ..data.laws import Law
from ..figures.images import INK
from ..figures.panels import FONT, PALETTE, label, legend, panels
from ..games.mixture import MGAN
from ..games.spec import Latent
from ..metrics.modes import Modes, modes
from ..networks import MLPPair
from .claim import Check, Claim, Outcome, at_least, at_most
from .clouds import cloud
from .side_by_side import side_by_side

CLAIM = Claim(
    paper="hoang2018",
    figure="section 4.1, Figure 2 (synthetic data)",
    statement="A mixture of generators kept apart by a classifier covers all modes, and each generator takes its own.",
    printed="all 8 modes (pictures)",
    derived="one generator to a mode, so that their mutual information is near log 8; with beta = 0 the generators "
    "are alike",
    tolerance="beta = .125: 8 modes and information .7 log 8 (1.456 nats) or more in every seed; beta = 0: less than "
    "that in every seed. 5 seeds, 4,000 rounds; quick: 2 seeds",
    budget=(40, 77),
)
NETWORKS = MLPPair(depth=2, discriminator_depth=2, activation="relu")
GENERATORS, SAMPLES, ROUNDS, SHARE = 8, 4000, 4000, 0.7
BETAS = (0.125, 0.0)


class Look(NamedTuple):
    """One seed at one time: its modes, the mutual information of generator and mode over log 8, and its samples."""

    modes: Modes
    share: float
    made: Tensor


def run(quick: bool) -> Outcome:
    data = load("ring8-U")
    law = data.law
    assert law is not None
    found = {beta: _train(data, law, beta, range(2 if quick else 5)) for beta in BETAS}
    checks = _checks(*(found[beta][ROUNDS] for beta in BETAS))
    rounded = {beta: {f"round {r}": _rounded(row) for r, row in rows.items()} for beta, rows in found.items()}
    numbers = {f"beta = {beta}": rows for beta, rows in rounded.items()}
    return Outcome(_draw(found, law), checks, numbers)


def _checks(with_it: Sequence[Look], without: Sequence[Look]) -> tuple[Check, ...]:
    shares = [look.share for look in with_it]
    return (
        at_least("beta = .125: fewest modes over seeds", min(look.modes.captured for look in with_it), GENERATORS),
        at_least("beta = .125: least information / log 8", min(shares), SHARE),
        at_most("beta = .125: largest information / log 8, which 8 generators cannot exceed", max(shares), 1 + 1e-6),
        at_most("beta = 0: largest information / log 8", max(look.share for look in without), SHARE),
    )


def information(index: Tensor, mode: Tensor, k: int, total: int) -> float:
    """The plug-in mutual information of two labels, in nats.

    Examples:
        >>> both = torch.tensor([0, 1, 0, 1])
        >>> round(information(both, both, 2, 2), 4), information(both, torch.tensor([0, 0, 1, 1]), 2, 2)
        (0.6931, 0.0)
    """
    joint = torch.bincount(index * total + mode, minlength=k * total).reshape(k, total).double()
    joint /= joint.sum()
    apart = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    seen = joint > 0
    return float((joint[seen] * (joint[seen] / apart[seen]).log()).sum())


def _train(data: Dataset, law: Law, beta: float, seeds: range) -> dict[int, list[Look]]:
    spec = MGAN(generators=GENERATORS, beta=beta, hidden=64, latent=Latent(size=16))
    play = side_by_side(spec, NETWORKS, data, seeds, Alternating(), Adam(lr=5e-4, betas=(0.5, 0.999)), 128)
    found = {}
    for _ in range(4):
        play.advance(ROUNDS // 4)
        assert isinstance(play.game, Ensemble)
        found[play.round] = [_look(play.game, i, play.round, law) for i in range(len(seeds))]
    return found


def _look(game: Ensemble, i: int, seed: int, law: Law) -> Look:
    index = torch.arange(SAMPLES) % GENERATORS
    reseed(seed)
    codes = {"latent": torch.randn(SAMPLES, 16), "index": index}
    with torch.no_grad():
        made = game.member(i).sample(make_draw(codes, 0))
    return _judged(made, index, law)


def _judged(made: Tensor, index: Tensor, law: Law) -> Look:
    assert law.modes is not None
    nearest = torch.cdist(made.double(), law.modes.double()).argmin(1)
    shared = information(index, nearest, GENERATORS, len(law.modes))
    return Look(modes(made, law), shared / math.log(GENERATORS), made)


def _rounded(row: list[Look]) -> dict[str, list[float]]:
    return {
        "modes": [look.modes.captured for look in row],
        "high quality": [round(look.modes.high_quality, 3) for look in row],
        "information / log 8": [round(look.share, 3) for look in row],
    }


def _draw(found: dict[float, dict[int, list[Look]]], law: Law) -> Figure:
    figure, axes = panels(columns=3, width=2.9, height=2.8)
    index = torch.arange(SAMPLES) % GENERATORS
    for here, beta in zip(axes, BETAS, strict=False):
        last = found[beta][ROUNDS][0]
        cloud(here, last.made, law, source=index)
        label(here, "x₁", "x₂", f"β = {beta:g}: {last.modes.captured} of 8 modes")
    for beta, colour in zip(BETAS, PALETTE, strict=False):
        for seed in range(len(found[beta][ROUNDS])):
            axes[2].plot(
                [0, *found[beta]], [0, *(row[seed].share for row in found[beta].values())], color=colour,
                linewidth=1.2, marker="o", markersize=3, label=f"β = {beta:g}" if seed == 0 else None,
            )  # fmt: skip
    axes[2].axhline(SHARE, color="#555555", linewidth=0.9, linestyle=":", label="wanted: 0.7")
    axes[2].set(ylim=(-0.02, 1.35), yticks=[0, 0.25, 0.5, 0.75, 1])
    label(axes[2], "round", "information / log 8", "Generator and mode, every seed")
    legend(axes[2], "upper left", columns=2)
    caption = "Colours: which of the eight generators made the point"
    figure.suptitle(caption, fontsize=8.5, color=INK, family=FONT, x=0.01, ha="left")
    return figure
