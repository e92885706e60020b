"""GMMN on the eight-mode ring: a generator that descends a kernel distance fits it, in batches of 512.

There is no adversary. The kernel has scales from below the width of a mode to the ring's radius. One control has
batches of 16, whose estimates are noisy; another has only scales above the radius, which see eight modes as a disc.
"""

from __future__ import annotations

import statistics
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
from ..figures.panels import label, panels
from ..games.kernels import GMMN
from ..games.spec import Latent
from ..losses.discrepancy import squared_discrepancy
from ..metrics.modes import Modes, modes
from ..networks import MLPPair
from .claim import Check, Claim, Outcome, at_least, at_most
from .clouds import cloud
from .side_by_side import side_by_side

FINE, COARSE = (0.1, 0.2, 0.5, 1.0, 2.0), (4.0, 8.0, 16.0)
CLAIM = Claim(
    paper="li2015",
    figure="section 3 (the generator minimises the discrepancy of a batch)",
    statement="A generator without an adversary fits a law by a kernel distance, if batches are large and scales fit.",
    printed="pictures and Parzen estimates on digits and faces",
    derived="the discrepancy of the data to itself is 0 in the mean",
    tolerance="batches of 512: 8 modes in every seed, high quality .5 or more in the mean; with coarse scales .35 or "
    "less, and with batches of 16 at least .1 less. 5 seeds, 600 rounds; quick: 2 seeds, 300",
    budget=(60, 200),
    items=("B21",),
)
NETWORKS = MLPPair(width=64, depth=3, activation="relu")
SAMPLES, SETTINGS = 2000, {"512": (512, FINE), "16": (16, FINE), "coarse": (512, COARSE)}


class Look(NamedTuple):
    """One seed: its modes, the unbiased squared discrepancy to held-out rows under the fine scales, and samples."""

    modes: Modes
    discrepancy: float
    made: Tensor


def run(quick: bool) -> Outcome:
    data, seeds, rounds = load("ring8-M"), range(2 if quick else 5), 300 if quick else 600
    assert data.law is not None
    found = {name: _train(data, data.law, *how, seeds, rounds) for name, how in SETTINGS.items()}
    numbers = {f"batch or scales: {name}": _numbers(looks) for name, looks in found.items()}
    return Outcome(_draw(found, data.law), _checks(found["512"], found["16"], found["coarse"]), numbers)


def _checks(large: Sequence[Look], small: Sequence[Look], coarse: Sequence[Look]) -> tuple[Check, ...]:
    return (
        at_least("batches of 512: fewest modes over seeds", min(look.modes.captured for look in large), 8),
        at_least("batches of 512: high quality, mean", _quality(large), 0.5),
        at_most("batches of 512: greatest squared discrepancy", max(look.discrepancy for look in large), 0.02),
        at_least("batches of 16: lower high quality, mean", _quality(large) - _quality(small), 0.1),
        at_most("coarse scales: high quality, mean", _quality(coarse), 0.35),
    )


def _quality(looks: Sequence[Look]) -> float:
    return statistics.mean(look.modes.high_quality for look in looks)


def _train(data: Dataset, law: Law, batch: int, scales: tuple[float, ...], seeds: range, rounds: int) -> list[Look]:
    spec = GMMN(scales=scales, latent=Latent(size=4))
    play = side_by_side(spec, NETWORKS, data, seeds, Alternating(), Adam(lr=2e-3, betas=(0.5, 0.999)), batch)
    play.advance(rounds)
    assert isinstance(play.game, Ensemble)
    return [_look(play.game, i, data, law) for i in range(len(seeds))]


def _look(games: Ensemble, i: int, data: Dataset, law: Law) -> Look:
    game = games.member(i)
    reseed(i)
    with torch.no_grad():
        made = game.sample(make_draw(game.codes(SAMPLES), 0))
    return _judged(made, data.take(SAMPLES, held_out=True)["x"], law)


def _judged(made: Tensor, held: Tensor, law: Law) -> Look:
    return Look(modes(made, law), float(squared_discrepancy(made, held, FINE, unbiased=True)), made)


def _numbers(looks: Sequence[Look]) -> dict[str, list[float]]:
    return {
        "modes": [look.modes.captured for look in looks],
        "high quality": [round(look.modes.high_quality, 3) for look in looks],
        "squared discrepancy": [round(look.discrepancy, 4) for look in looks],
    }


def _draw(found: dict[str, list[Look]], law: Law) -> Figure:
    figure, axes = panels(columns=3, width=2.9, height=2.8)
    titles = {"512": "batches of 512", "16": "batches of 16", "coarse": "coarse scales, 512"}
    for here, (name, looks) in zip(axes, found.items(), strict=True):
        cloud(here, looks[0].made, law)
        label(here, "x₁", "x₂", f"{titles[name]}: high quality {_quality(looks):.2f}")
    return figure
