"""CatGAN on the eight-mode ring: the discriminator's classes are the modes, found without a label.

Eight classes for eight modes. Purity is the share of rows in the majority mode of their class; with even classes it is
1 only if every class is one mode. The control leaves out the entropy of the mean, which keeps classes even: one class
for everything is then optimal.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..core.ensemble import Ensemble
from ..core.optimizers import Adam
from ..core.updates import Alternating
from ..data import Dataset, load
from ..figures.panels import label, panels
from ..games.classifying import Categorical, Classifying
from ..games.spec import Latent
from ..networks import MLPPair
from .chen2016_modes import purity
from .claim import Check, Claim, Outcome, at_least, at_most
from .side_by_side import side_by_side

CLAIM = Claim(
    paper="springenberg2016",
    figure="the unsupervised objectives; figures on circles and two moons",
    statement="A discriminator that is to be sure and even on data, and unsure on generated points, finds the modes.",
    printed="pictures; on MNIST with 20 classes 9.7 % errors",
    derived="without the entropy of the mean one class for all data is optimal, of purity 1/8",
    tolerance="purity .9 or more and entropy of the classes .9 log 8 or more, in the mean of the seeds, and in no seed "
    "a purity below .7; without the entropy of the mean purity .5 or less. 5 seeds, 1,500 rounds; quick: 2 seeds, 600",
    budget=(60, 380),
    items=("B20",),
)
NETWORKS = MLPPair(width=128, depth=2, discriminator_depth=2)
CLASSES, ROWS = 8, 4000
MARGINALS = (1.0, 0.0)


class Look(NamedTuple):
    """One seed: purity and evenness (entropy of the classes over log 8) of rows of the data, rows, and their class."""

    purity: float
    evenness: float
    rows: Tensor
    found: Tensor


def run(quick: bool) -> Outcome:
    data, seeds, rounds = load("ring8-M"), range(2 if quick else 5), 600 if quick else 1500
    looks = {weight: _train(data, weight, seeds, rounds) for weight in MARGINALS}
    numbers = {f"marginal = {weight:g}": _numbers(row) for weight, row in looks.items()}
    return Outcome(_draw(looks), _checks(looks[1.0], looks[0.0]), numbers)


def _checks(with_it: Sequence[Look], without: Sequence[Look]) -> tuple[Check, ...]:
    return (
        at_least("purity, mean over seeds", statistics.mean(look.purity for look in with_it), 0.9),
        at_least("least purity over seeds", min(look.purity for look in with_it), 0.7),
        at_least("entropy of the classes / log 8, mean", statistics.mean(look.evenness for look in with_it), 0.9),
        at_most("without the entropy of the mean: greatest purity", max(look.purity for look in without), 0.5),
    )


def _train(data: Dataset, marginal: float, seeds: range, rounds: int) -> list[Look]:
    spec = Classifying(
        losses=Categorical(marginal=marginal), classes=CLASSES, labelled_weight=0.0, latent=Latent(size=16)
    )
    play = side_by_side(spec, NETWORKS, data, seeds, Alternating(), Adam(lr=1e-3, betas=(0.5, 0.999)), 256)
    play.advance(rounds)
    assert isinstance(play.game, Ensemble)
    x = data.take(ROWS, held_out=True)["x"]
    assert data.law is not None and data.law.modes is not None
    where = torch.cdist(x.double(), data.law.modes.double()).argmin(1)
    with torch.no_grad():
        found = [play.game.member(i).mapped("classify", {"x": x}) for i in range(len(seeds))]
    return [_judged(x, classes, where) for classes in found]


def _judged(x: Tensor, found: Tensor, where: Tensor) -> Look:
    shares = torch.bincount(found, minlength=CLASSES).double() / len(found)
    evenness = float(torch.special.entr(shares).sum()) / float(torch.tensor(CLASSES).double().log())
    return Look(purity(found, where, CLASSES, int(where.max()) + 1), evenness, x, found)


def _numbers(looks: Sequence[Look]) -> dict[str, list[float]]:
    return {
        "purity": [round(look.purity, 3) for look in looks],
        "entropy of the classes / log 8": [round(look.evenness, 3) for look in looks],
    }


def _draw(looks: dict[float, list[Look]]) -> Figure:
    figure, axes = panels(columns=2, width=3.2, height=3.0)
    for here, (weight, row) in zip(axes, looks.items(), strict=True):
        x, found = row[0].rows, row[0].found
        here.scatter(x[:, 0], x[:, 1], s=2, c=found, cmap="tab10", vmin=0, vmax=9, linewidths=0)
        here.set(aspect="equal")
        name = "even classes" if weight else "no entropy of the mean"
        label(here, "x₁", "x₂", f"{name}: purity {row[0].purity:.2f}, seed 0")
    return figure
