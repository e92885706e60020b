"""CycleGAN on digits and their negatives, without pairs: translations can be undone and keep the digit.

What is lost on the way there and back is the squared error as a share of the data's variance. Whether a digit is still
the same is measured by a classifier of real digits, on the negative of a translation into the domain of negatives.
The control is the same game without the cycle term. In this small convolutional translator it still finds maps that
keep most digits, since a local map that looks right often is the negative; it forgets more, and cannot be undone.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from torch import Tensor

from .. import metrics
from ..base.schedules import Linear
from ..core.optimizers import Adam
from ..core.play import Play
from ..data import Dataset, load
from ..figures.panels import PALETTE, label, legend, panels
from ..games.unpaired_translation import CycleGAN
from ..metrics import Classifier
from ..networks import ImageToImage, PatchGAN, ResNet
from .claim import Check, Claim, Outcome, at_least, at_most
from .translators import picture_rows, started

CLAIM = Claim(
    paper="zhu2017",
    figure="section 3.2, section 5.1.4 (Table 4, Figure 7)",
    statement="Two translators learned without pairs undo each other and keep what an image shows, because the cycle "
    "is penalised; without that term more digits change into others and the way back is lost.",
    printed="cycle + GAN better than GAN alone (Table 4, per-pixel accuracy of labels); on other data",
    tolerance="in every seed and both ways: cycle error below a tenth of the variance, at least 80 % of the digits "
    "kept; without the cycle term fewer digits kept (mean of both ways) in every seed. 5 seeds, 360 rounds of 8 "
    "rows at 16 pixels; quick: 1 seed",
    budget=(140, 640),
)
NETWORKS = ImageToImage(translator=ResNet(width=16, blocks=2), patch=PatchGAN(width=16))
ROUNDS, BATCH, JUDGED, SHOWN = 360, 8, 2000, 10


End = tuple[tuple[float, float], tuple[float, float]]
"""What a run loses and keeps in the end, on both ways."""


class Run(NamedTuple):
    """One run: what is lost and kept on both ways at several times, and some translations in the end."""

    lost: dict[int, tuple[float, float]]
    kept: dict[int, tuple[float, float]]
    there: Tensor
    again: Tensor


def run(quick: bool) -> Outcome:
    seeds = range(1) if quick else range(5)
    data = load("pairs:mnist,mnist-negative", size=16)
    held, classifier = data.take(JUDGED, held_out=True), _classifier(data)
    found = {weight: [_trained(data, held, classifier, weight, seed) for seed in seeds] for weight in (10.0, 0.0)}
    numbers = {"judge's accuracy": round(classifier.accuracy, 3)} | {
        "with" if weight else "without": {
            "cycle error / variance, x and other": [_rounded(one.lost[ROUNDS]) for one in runs],
            "digits kept, to other and to x": [_rounded(one.kept[ROUNDS]) for one in runs],
        }
        for weight, runs in found.items()
    }
    ends = {w: [(one.lost[ROUNDS], one.kept[ROUNDS]) for one in runs] for w, runs in found.items()}
    return Outcome(_draw(held, found), _checks(ends[10.0], ends[0.0]), numbers)


def _checks(with_it: Sequence[End], without: Sequence[End]) -> tuple[Check, ...]:
    drops = [statistics.mean(a[1]) - statistics.mean(b[1]) for a, b in zip(with_it, without, strict=True)]
    return (
        at_most("greatest cycle error / variance", max(max(lost) for lost, _ in with_it), 0.1),
        at_least("least share of digits kept", min(min(kept) for _, kept in with_it), 0.8),
        at_least("least drop of the digits kept without the cycle term", min(drops), 1e-9),
    )


def _classifier(data: Dataset) -> Classifier:
    """A classifier of the real digits, from 10,000 training rows."""
    rows, test = data.take(10_000), data.take(JUDGED, held_out=True)
    return metrics.train_classifier(rows["x"], rows["y"], test=(test["x"], test["y"]))


def _trained(data: Dataset, held: dict[str, Tensor], classifier: Classifier, weight: float, seed: int) -> Run:
    optimizer = Adam(lr=Linear(start=1e-3, end=0.0, after=0.5), betas=(0.5, 0.999))
    play = started(CycleGAN(cycle=weight), NETWORKS, data, seed, optimizer, BATCH, ROUNDS)
    lost, kept = {}, {}
    for _ in range(4):
        play.advance(ROUNDS // 4)
        lost[play.round], kept[play.round] = _lost(play, held), _kept(play, held, classifier)
    some = {"x": held["x"][:SHOWN]}
    return Run(lost, kept, play.apply("to_other", some), play.apply("reconstruct", some))


def _lost(play: Play, held: dict[str, Tensor]) -> tuple[float, float]:
    """The error of both ways there and back, as a share of the variance."""
    both = []
    for name, column in (("reconstruct", "x"), ("reconstruct_other", "other")):
        rows = held[column]
        error, variance = (play.apply(name, held) - rows).square().mean(), (rows - rows.mean(0)).square().mean()
        both.append(float(error / variance))
    return both[0], both[1]


def _kept(play: Play, held: dict[str, Tensor], classifier: Classifier) -> tuple[float, float]:
    """The share of digits that the classifier finds unchanged by a translation to the negatives or from them."""
    negatives = play.apply("to_other", held)
    digits = play.apply("to_x", {"other": -held["x"]})  # negatives whose digits are known
    predicted = (classifier.predict(-negatives), classifier.predict(digits))
    first, second = (float((classes == held["y"]).double().mean()) for classes in predicted)
    return first, second


def _rounded(values: tuple[float, float]) -> list[float]:
    return [round(value, 3) for value in values]


def _draw(held: dict[str, Tensor], found: dict[float, list[Run]]) -> Figure:
    figure, axes = panels(columns=3, width=3.8, height=2.5)
    rows = [("digit", held["x"][:SHOWN])]
    for weight, name in ((10.0, "with"), (0.0, "without")):
        rows += [(f"{name}: there", found[weight][0].there), (f"{name}: back", found[weight][0].again)]
    picture_rows(axes[0], rows, "Held-out digits, with and without the cycle term")
    for weight, colour, name in ((10.0, PALETTE[0], "with the cycle term"), (0.0, PALETTE[1], "without")):
        for i, one in enumerate(found[weight]):
            for place, looks in ((axes[1], one.lost), (axes[2], one.kept)):
                place.plot(
                    list(looks), [statistics.mean(both) for both in looks.values()], color=colour, linewidth=1.2,
                    marker="o", markersize=3, label=name if i == 0 else None,
                )  # fmt: skip
    for place, bound in ((axes[1], 0.1), (axes[2], 0.8)):
        place.axhline(bound, color="#555555", linewidth=0.9, linestyle=":", label="the bound")
        place.set(xlim=(0, None))
    axes[1].set(ylim=(0, None))
    axes[2].set(ylim=(0, 1))
    label(axes[1], "round", "cycle error / variance", "Lost there and back, every seed")
    label(axes[2], "round", "share of digits kept", "Digits kept by a translation, every seed")
    legend(axes[1], "upper right")
    legend(axes[2], "lower right")
    return figure
