"""Conditions of the samples: collapse, missing modes, mode hopping, oscillation, lack of capacity; or finished."""

from __future__ import annotations

import itertools
import math

from ..chart import median
from ..evidence import Evidence, about, context, equal
from ..findings import Severity
from .rule import Level, Rule, View, when

Found = tuple[Evidence, ...] | None
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def _sets(view: View, count: int) -> list[set[int]]:
    """The cells that the samples fill at the last check-ups."""
    rows = view.chart.checkups[max(0, view.at + 1 - count) : view.at + 1]
    return [{i for i, share in enumerate(c.arrays.get("cells", ())) if share > 0.03} for c in rows]


def _overlap(sets: list[set[int]]) -> float:
    """Mean share of cells in common between consecutive check-ups."""
    pairs = [(a, b) for a, b in itertools.pairwise(sets) if a | b]
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs) if pairs else 1.0


def _hopping(view: View) -> Found:
    sets = _sets(view, 6)
    # Far from the data, the nearest cell of a sample has no meaning.
    few = median(view.past("cells/missing", 6)) > 0.3 and view.median("samples/distance", 6) < 1.5
    moves = len(sets) == 6 and _overlap(sets) < 0.6 and len(set().union(*sets)) > 1.5 * max(len(s) for s in sets)
    return when(
        few and moves,
        view,
        equal("cells/missing", 0, "every part of the data has samples, at each check-up"),
    )


def _collapsed(view: View) -> Found:
    spread = view.median("samples/spread")
    return when(
        view.far_and_stalled and (spread < 0.15 or view.median("cells/missing") > 0.6),
        view,
        about("samples/spread", 1, "samples are as far apart as real rows"),
        equal("cells/missing", 0, "every part of the data has samples"),
    )


def _dropping(view: View) -> Found:
    before = view.past("cells/missing", 7)
    lasting = len(before) == 7 and median(before[-3:]) > 0.8 * median(before[:3])
    few = 0.08 if view.chart.space.structured else 0.15  # cells that are no clusters have thin borders
    return when(
        min(before[-3:], default=0.0) > few and lasting,
        view,
        equal("cells/missing", 0, "every part of the data has samples"),
        about("samples/coverage", 1, "that of a perfect sampler"),
    )


def _oscillating(view: View) -> Found:
    means = [c.arrays["mean"] for c in view.chart.checkups[max(0, view.at - 6) : view.at + 1] if "mean" in c.arrays]
    distances = [v for v in view.past("samples/distance", 7) if math.isfinite(v)]
    swings = max(distances, default=0.0) - min(distances, default=0.0) > 0.5
    if len(means) < 6 or not view.far_and_stalled or not view.very_far or (view.covers_part and not swings):
        return None
    steps = [_distance(a, b) for a, b in itertools.pairwise(means)]
    path, net = sum(steps), _distance(means[0], means[-1])
    circles = path / len(steps) > 0.25 and net < 0.5 * path
    return when(
        circles or view.winner_alternates,
        view,
        context("samples/distance", "decreases in a healthy training; here the samples move and it does not decrease"),
        context("scores/auc", "steady in a healthy run; if it goes from near 0 to near 1, the winner alternates"),
        context("motion/turn-generator", "cosine between the last two displacements"),
    )


def _distance(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return math.dist(a, b)


def _incapable(view: View) -> Found:
    reach, now = view.chart.last["learn/generator"], view.median("samples/distance")
    floor = view.fact("floor/distance")
    if reach > 1:  # the best constant is nearer: the copy was far away when it began
        return None
    stays = view.far_and_stalled and reach > 0.75 * now and reach > max(0.15, 2.5 * floor)
    return when(
        stays or (view.far and reach > 0.6 * now and reach > max(0.2, 3 * floor)),
        view,
        context("samples/distance", "decreases in a healthy training"),
        about("samples/precision", 1, "that of real rows"),
    )


def _finished(view: View) -> Found:
    return when(
        view.near and not view.differences and view.stalled,
        view,
        about("probe/auc", 0.5, "that of a perfect sampler"),
        context("samples/distance", "the distance of two halves of the data is the least possible"),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        Level.SAMPLES,
        "generator-lacks-capacity",
        CRITICAL,
        _incapable,
        3,
        "The samples are far from the data, and a copy of the generator that is fitted alone, without a "
        "discriminator, does not get much closer: the network cannot represent this distribution.",
        "Goodfellow et al. 2014, Proposition 2: enough capacity",
        ("larger-generator",),
        14,
    ),
    Rule(
        Level.SAMPLES,
        "mode-hopping",
        CRITICAL,
        _hopping,
        2,
        "At each check-up the samples cover another small part of the data: the generator moves to the region where "
        "the discriminator's score is high, and the discriminator then lowers it there.",
        "Metz et al. 2017, section 3.1",
        ("known-good-base", "slope-penalty", "balance-turns"),
        14,
    ),
    Rule(
        Level.SAMPLES,
        "oscillation",
        CRITICAL,
        _oscillating,
        2,
        "The samples keep moving without getting closer to the data: the players rotate around an equilibrium.",
        "Mescheder et al. 2018, section 2 (Dirac-GAN); Gidel et al. 2019",
        ("known-good-base", "lower-learning-rates"),
        14,
    ),
    Rule(
        Level.SAMPLES,
        "mode-collapse",
        CRITICAL,
        _collapsed,
        3,
        "The samples are nearly all alike, or cover a small part of the data: many latent codes give the point with "
        "the discriminator's highest score.",
        "Goodfellow 2016, section 5.1.1: maximin in place of minimax",
        ("known-good-base", "slope-penalty", "balance-turns"),
        14,
    ),
    Rule(
        Level.SAMPLES,
        "mode-dropping",
        CRITICAL,
        _dropping,
        4,
        "Whole parts of the data have almost no samples, the same parts at each check-up.",
        "Arjovsky & Bottou 2017, Theorem 2.5: the reverse KL penalises dropped modes little",
        ("shuffle-data", "relativistic-with-penalties", "slope-penalty"),
    ),
    Rule(
        Level.SAMPLES,
        "finished",
        Severity.INFO,
        _finished,
        3,
        "Samples are as close to the data as can be measured at this sample size, and no longer get closer.",
        "Goodfellow et al. 2014, Theorem 1",
        ("stop",),
    ),
)
