r"""Few images: a hundred emoji, with and without random changes of what the discriminator sees.

How well the discriminator knows its training images by heart is measured on held-out ones (Karras et al. 2020, section
3, whose heuristic this is): 0 where it scores both alike, 1 where it takes held-out images for generated ones.

.. math:: r_v = \frac{E[D(x_{\text{train}})] - E[D(x_{\text{held out}})]}{E[D(x_{\text{train}})] - E[D(G(z))]}

Coverage is the share of the held-out images with a sample among their five nearest neighbours, in the pixels. Many
emoji differ in a skin tone alone, so a held-out one may have a twin among the hundred.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..data import load
from ..figures.panels import PALETTE, label, legend, panels
from ..games.two_player import TwoPlayer
from ..metrics.neighbours import neighbours
from ..recipes import recipe
from .claim import Check, Claim, Outcome, at_least, at_most
from .translators import picture_rows

CLAIM = Claim(
    paper="zhao2020",
    figure="sections 3 and 4.3, Figures 1 and 7 (few images)",
    statement="With a hundred images, a discriminator that sees changed images learns fewer of them by heart, and the "
    "generator covers more of the images that nobody has seen.",
    printed="100 images of 256 pixels: FID 27 to 80 with the changes, more than twice that without",
    derived="the heuristic of Karras et al. 2020; coverage of held-out images",
    tolerance="r_v at the end at most half of that without the changes, in the mean over seeds, and lower in every "
    "seed; the coverage higher by .01 in the mean, and not lower in most seeds. 100 emoji at 32 pixels, 5 seeds, "
    "4,000 rounds; quick: 2 seeds, 400 rounds, for r_v alone",
    budget=(150, 2800),
)
IMAGES, HELD_OUT, SAMPLES, SHOWN = 100, 1000, 1000, 10
NAMES = {True: "with changes", False: "without"}


class Look(NamedTuple):
    """What a run is worth at a round."""

    known: float
    coverage: float
    precision: float
    recall: float


class Run(NamedTuple):
    """One run: what it is worth by round, and samples of the end."""

    looks: dict[int, Look]
    made: Tensor


def run(quick: bool) -> Outcome:
    seeds, rounds = (range(2), 400) if quick else (range(5), 4000)
    train, held = images()
    found = {changed: [_trained(train, held, changed, seed, rounds) for seed in seeds] for changed in NAMES}
    last = {changed: [one.looks[rounds] for one in own] for changed, own in found.items()}
    numbers = {
        NAMES[changed]: {
            name: [[round(getattr(one, name), 3) for one in run.looks.values()] for run in found[changed]]
            for name in Look._fields
        }
        for changed in found
    }
    return Outcome(_draw(train, found), _checks(last, quick), numbers)


def images() -> tuple[Tensor, Tensor]:
    """The hundred training images and the held-out ones, ``(n, 3, 32, 32)``."""
    data = load("emoji", size=32, held_out=0.0)
    x = data.take(data.size or 0)["x"]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1000))
    return x[order[:IMAGES]], x[order[IMAGES : IMAGES + HELD_OUT]]


def _checks(last: dict[bool, list[Look]], quick: bool) -> tuple[Check, ...]:
    known = {changed: [one.known for one in own] for changed, own in last.items()}
    means = {changed: statistics.mean(own) for changed, own in known.items()}
    checks = [
        at_most("mean r_v with the changes, over that without", means[True] / means[False], 0.5),
        at_least(
            "least gain in r_v over seeds", min(b - a for a, b in zip(known[True], known[False], strict=True)), 0.0
        ),
    ]
    if not quick:
        gains = [a.coverage - b.coverage for a, b in zip(last[True], last[False], strict=True)]
        checks.append(at_least("mean gain in coverage", statistics.mean(gains), 0.01))
        checks.append(at_least("median gain in coverage", statistics.median(gains), 0.0))
    return tuple(checks)


def _trained(train: Tensor, held: Tensor, changed: bool, seed: int, rounds: int) -> Run:
    row = recipe("diffaugment")
    assert isinstance(row.game, TwoPlayer)
    if not changed:
        row = replace(row, game=replace(row.game, augmentation=None))
    data = load(train, held_out=0.0)
    play = row.play(row.build(data.spec, seed), data.batches(row.batch), seed=seed, horizon=rounds)
    play.prepare()
    looks = {}
    for _ in range(4):
        play.advance(rounds // 4)
        made = play.sample(SAMPLES, seed=play.round).clamp(-1, 1)
        looks[play.round] = look(play.game.get_submodule("discriminator"), train, held, made)
    return Run(looks, made[:SHOWN])


@torch.no_grad()
def look(score: Callable[[Tensor], Tensor], train: Tensor, held: Tensor, made: Tensor) -> Look:
    """What a discriminator's score knows by heart, and what the samples cover of the held-out images."""
    scores = [float(score(x).mean()) for x in (train, held, made)]
    near = neighbours(made.flatten(1), held.flatten(1))
    known = (scores[0] - scores[1]) / (scores[0] - scores[2])
    return Look(known, near.coverage, near.precision, near.recall)


def _draw(train: Tensor, found: dict[bool, list[Run]]) -> Figure:
    figure, axes = panels(columns=3, width=3.6, height=2.6)
    rows = [("training", train[:SHOWN]), *((NAMES[changed], own[0].made) for changed, own in found.items())]
    picture_rows(axes[0], rows, "A hundred emoji, and samples of seed 0")
    for name, here, title in (
        ("known", axes[1], "Known by heart: r_v, every seed"),
        ("coverage", axes[2], "Coverage of held-out emoji, every seed"),
    ):
        for (changed, own), colour in zip(found.items(), PALETTE, strict=False):
            for i, one in enumerate(own):
                here.plot(
                    list(one.looks), [getattr(look, name) for look in one.looks.values()], color=colour, linewidth=1.2,
                    marker="o", markersize=3, label=NAMES[changed] if i == 0 else None,
                )  # fmt: skip
        here.set(ylim=(0, None), xlim=(0, None))
        label(here, "round", "share", title)
        legend(here, "lower right")
    return figure
