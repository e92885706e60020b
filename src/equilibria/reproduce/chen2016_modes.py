"""InfoGAN on the eight-mode ring: each category makes one mode, and without the information term the code says nothing.

A category of eight values and 16 normal codes that are not read back. Purity is the share of samples in the mode that
is the most frequent one of their category; it is 1 for a generator that makes a single mode, so the modes count as
well. The control is the same game with weight 0: Q is trained all the same, and cannot read what is not there.
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
from ..games.inference import Category, InfoGAN
from ..games.spec import Latent
from ..losses import R1
from ..metrics.modes import Modes, modes
from ..networks import MLPPair
from .claim import Check, Claim, Outcome, at_least, at_most
from .clouds import cloud
from .side_by_side import side_by_side

CLAIM = Claim(
    paper="chen2016",
    figure="sections 5 and 7.1, Figure 1 (the bound of the information reaches the entropy of the code)",
    statement="Maximising the information makes a category name the modes of the data, without labels.",
    printed="the category names the class; with lambda = 0 it does not (curves and pictures)",
    derived="the bound is log K nats at most",
    tolerance="lambda = 1: purity .9 or more, all 8 modes and a bound of .95 log 8 or more in every seed; lambda = 0: "
    "purity .5 or less in every seed. 5 seeds, 1,600 rounds; quick: 2 seeds",
    budget=(60, 150),
    items=("B16",),
)
NETWORKS = MLPPair(width=64, depth=2, discriminator_depth=2, activation="relu")
CLASSES, NOISE, SAMPLES, ROUNDS = 8, 16, 4000, 1600
WEIGHTS = (1.0, 0.0)


class Look(NamedTuple):
    """One seed at one time: purity, modes, the bound of the information in nats, samples and their category."""

    purity: float
    modes: Modes
    bound: float
    made: Tensor
    category: Tensor


def run(quick: bool) -> Outcome:
    data = load("ring8-M")
    law = data.law
    assert law is not None
    found = {weight: _train(data, law, weight, range(2 if quick else 5)) for weight in WEIGHTS}
    checks = _checks(found[1.0][ROUNDS], found[0.0][ROUNDS])
    numbers = {
        f"lambda = {weight:g}": {f"round {r}": _numbers(row) for r, row in rows.items()}
        for weight, rows in found.items()
    }
    return Outcome(_draw(found, law), checks, numbers)


def _checks(with_it: Sequence[Look], without: Sequence[Look]) -> tuple[Check, ...]:
    bounds = [look.bound / math.log(CLASSES) for look in with_it]
    return (
        at_least("lambda = 1: least purity over seeds", min(look.purity for look in with_it), 0.9),
        at_least("lambda = 1: fewest modes over seeds", min(look.modes.captured for look in with_it), CLASSES),
        at_least("lambda = 1: least bound / log 8", min(bounds), 0.95),
        at_most("lambda = 1: greatest bound / log 8, which no reading exceeds", max(bounds), 1 + 1e-6),
        at_most("lambda = 0: greatest purity over seeds", max(look.purity for look in without), 0.5),
    )


def purity(code: Tensor, mode: Tensor, codes: int, total: int) -> float:
    """The share of rows whose mode is the most frequent one of their code.

    Examples:
        >>> purity(torch.tensor([0, 0, 0, 1]), torch.tensor([2, 2, 1, 1]), codes=2, total=3)
        0.75
    """
    table = torch.bincount(code * total + mode, minlength=codes * total).reshape(codes, total)
    return float(table.amax(1).sum() / len(code))


def _train(data: Dataset, law: Law, weight: float, seeds: range) -> dict[int, list[Look]]:
    spec = InfoGAN(
        codes=(Category(name="c1", classes=CLASSES, weight=weight),),
        latent=Latent(size=NOISE),
        penalties=(R1(gamma=0.1),),
    )
    play = side_by_side(spec, NETWORKS, data, seeds, Alternating(), Adam(lr=5e-4, betas=(0.5, 0.999)), 128)
    found = {}
    for _ in range(4):
        play.advance(ROUNDS // 4)
        assert isinstance(play.game, Ensemble)
        found[play.round] = [_look(play.game, i, play.round, law) for i in range(len(seeds))]
    return found


def _look(games: Ensemble, i: int, seed: int, law: Law) -> Look:
    game, code = games.member(i), Category(name="c1", classes=CLASSES)
    reseed(seed)
    draw = make_draw(game.codes(SAMPLES), 0)
    category = draw["c1"].argmax(1)
    with torch.no_grad():
        made = game.sample(draw)
        read = game.get_submodule("discriminator").read(made)  # type: ignore[operator]
    return _judged(made, category, float(code.information(draw["c1"], read)), law)


def _judged(made: Tensor, category: Tensor, bound: float, law: Law) -> Look:
    assert law.modes is not None
    nearest = torch.cdist(made.double(), law.modes.double()).argmin(1)
    return Look(purity(category, nearest, CLASSES, len(law.modes)), modes(made, law), bound, made, category)


def _numbers(row: list[Look]) -> dict[str, list[float]]:
    return {
        "purity": [round(look.purity, 3) for look in row],
        "modes": [look.modes.captured for look in row],
        "high quality": [round(look.modes.high_quality, 3) for look in row],
        "bound / log 8": [round(look.bound / math.log(CLASSES), 3) for look in row],
    }


def _draw(found: dict[float, dict[int, list[Look]]], law: Law) -> Figure:
    figure, axes = panels(columns=3, width=2.9, height=2.8)
    for here, weight in zip(axes, WEIGHTS, strict=False):
        last = found[weight][ROUNDS][0]
        cloud(here, last.made, law, source=last.category)
        label(here, "x₁", "x₂", f"λ = {weight:g}: purity {last.purity:.2f}, {last.modes.captured} of 8 modes")
    for weight, colour in zip(WEIGHTS, PALETTE, strict=False):
        rows = found[weight]
        for seed in range(len(rows[ROUNDS])):
            axes[2].plot(
                list(rows), [row[seed].purity for row in rows.values()], color=colour, linewidth=1.2, marker="o",
                markersize=3, label=f"λ = {weight:g}" if seed == 0 else None,
            )  # fmt: skip
    axes[2].axhline(
        1 / CLASSES, color="#555555", linewidth=0.9, linestyle=":", label="1/8, even modes and no information"
    )
    axes[2].set(ylim=(0, 1.3), xlim=(0, None), yticks=[0, 0.25, 0.5, 0.75, 1])
    label(axes[2], "round", "purity of the category", "Purity, every seed")
    legend(axes[2], "upper left", columns=1)
    text = "Colours: the category that the point was made from, seed 0"
    figure.suptitle(text, fontsize=8.5, color=INK, family=FONT, x=0.01, ha="left")
    return figure
