"""Finite samples: an empirical law stays far from its population, and a small critic does not detect it.

The law is N(0, I/d) in 64 dimensions, the critic a perceptron with p = 265 parameters. Left: distances between the law
and an empirical law of m of its points, which is the law of a generator that has memorised them. Right: a critic fitted
to two samples of one law, on those samples and on others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch.nn.functional import leaky_relu

from ..figures.panels import GREY, PALETTE, label, legend, logarithmic, panels
from ..theory.divergences import js
from ..theory.generalization import Parameters, fresh_distance, generalization_gap, neural_net_distance
from ..theory.transport import assignment
from .claim import Check, Claim, Outcome, at_least, at_most, close

CLAIM = Claim(
    paper="arora2017",
    figure="Lemma 1 and Theorem 3.1",
    statement="JSD and Wasserstein distance do not generalise from samples, the distance that a neural net sees does: "
    "it cannot tell a law from an empirical copy of many more points than it has parameters.",
    printed="JSD(law, copy) = log 2; W1 >= 1.1",
    derived="gap falls at least as n^(-1/2) (Theorem 3.1 turned round); nearest of 1000 samples at .055, 1.02, 1.27",
    tolerance="nearest of 1000 samples at .055, 1.02, 1.27 (d = 2, 50, 400) ± half a unit and two standard deviations "
    "of one sample; W1 at least 1.1, and at most .95 of the mean distance of pairs; slope of the gap over "
    "n >= 2p at most -1/2; a tenth of 2 log 2 seen at m >= 16p; 3 seeds quick, 5 full",
    budget=(16, 20),
    items=("T25", "E64"),
)

_DIM, _WIDTH = 64, 4
_PARAMETERS = _DIM * _WIDTH + 2 * _WIDTH + 1
_SIZES = tuple(4**k for k in range(2, 8))
_PLENTY = 8_192
_NEAREST = {2: 0.055, 50: 1.02, 400: 1.27}


def run(quick: bool) -> Outcome:
    seeds = 3 if quick else 5
    shape = (len(_SIZES), seeds)
    seen, train, held = (torch.empty(shape) for _ in range(3))
    for i, m in enumerate(_SIZES):
        for seed in range(seeds):
            seen[i, seed], train[i, seed], held[i, seed] = _fitted(m, seed)
    moved = torch.tensor([[_moved(m, seed) for seed in range(seeds)] for m in _SIZES if m <= 1024])
    sizes = torch.tensor(_SIZES).float()
    checks = (*_of_points(tuple(_NEAREST)), *_of_transport(moved), *_of_net(seen, (train - held).mean(1)))
    figure, (left, right) = panels(columns=2)
    left.axhline(1, color=PALETTE[1], linewidth=1.4, label="JSD, log 2 nats at every m")
    for values, colour, name in ((moved, PALETTE[3], "W1"), (seen, PALETTE[0], "distance by a net")):
        means = values.mean(1)
        left.plot(sizes[: len(means)], means / means[0], color=colour, marker="o", markersize=3, label=name)
    left.set_ylim(0, 1.1)
    label(
        left,
        "points in the copy, m",
        f"distance over its value at m = {_SIZES[0]}",
        "A net cannot see what JSD and W1 see",
    )
    for values, colour, name in ((train, PALETTE[0], "same rows"), (held, PALETTE[2], "other rows")):
        right.plot(sizes, values.mean(1), color=colour, marker="o", markersize=3, label=name)
    right.axhline(0, color=GREY, linewidth=0.7)
    right.set_ylim(-2, 1.6)
    label(
        right, "rows of each sample, n", "fitted critic's distance (nats)", "What it saw was in the rows, not the law"
    )
    for ax in (left, right):
        _mark(ax)
    numbers = {"m": list(_SIZES), "seen": seen.tolist(), "train": train.tolist(), "held out": held.tolist()}
    return Outcome(figure, checks, {"p": _PARAMETERS, **numbers, "W1": moved.tolist()})


def _of_points(dims: Sequence[int]) -> tuple[Check, ...]:
    return (
        *(_fresh(d, _NEAREST[d]) for d in dims),
        close("JSD of a sample and another, in nats", _js_of_samples(1024), math.log(2), 1e-9),
    )


def _of_transport(moved: Tensor) -> tuple[Check, ...]:
    """The law's points are N(0, 1/d): pairs without a matching have a distance of known mean."""
    pairs = 2 / math.sqrt(_DIM) * math.exp(math.lgamma((_DIM + 1) / 2) - math.lgamma(_DIM / 2))
    return (
        at_least("W1 of two samples, least of all", float(moved.min()), 1.1),
        at_most(
            "W1 (mean over seeds) over the mean distance of pairs, largest", float(moved.mean(1).max()) / pairs, 0.95
        ),
    )


def _of_net(seen: Tensor, gap: Tensor) -> tuple[Check, ...]:
    sizes = torch.tensor(_SIZES).float()
    many = sizes >= 2 * _PARAMETERS
    return (
        at_most("net's distance at m >= 16 p over 2 log 2, largest", _late(seen, sizes) / (2 * math.log(2)), 0.1),
        at_most("slope of the gap to held-out rows in n (log-log)", _slope(sizes[many], gap[many]), -0.5),
    )


def _mark(axes: Axes) -> None:
    axes.axvline(_PARAMETERS, color="black", linestyle=":", linewidth=1, label="p parameters")
    logarithmic(axes, x=True)
    legend(axes, "lower left" if axes.get_ylim()[0] > -1 else "lower right")


def _law(n: int, draw: torch.Generator, dim: int = _DIM) -> Tensor:
    return torch.randn(n, dim, generator=draw) / math.sqrt(dim)


def _critic(parameters: Parameters, x: Tensor) -> Tensor:
    return leaky_relu(x @ parameters["w"] + parameters["b"], 0.2) @ parameters["v"] + parameters["c"]


def _fitted(m: int, seed: int) -> tuple[float, float, float]:
    """A critic's distance to an empirical copy; and its distance of two samples, on the same and on other rows."""
    draw = torch.Generator().manual_seed(seed)
    start = {
        "w": torch.randn(_DIM, _WIDTH, generator=draw) / math.sqrt(_DIM),
        "b": torch.zeros(_WIDTH),
        "v": torch.randn(_WIDTH, generator=draw) / math.sqrt(_WIDTH),
        "c": torch.zeros(()),
    }
    copy = _law(m, draw)
    seen = neural_net_distance(_critic, start, (_law(_PLENTY, draw), copy), steps=200, rate=0.03)
    rows, others = (_law(m, draw), _law(m, draw)), (_law(4096, draw), _law(4096, draw))
    gap = generalization_gap(_critic, start, rows, others, steps=200, rate=0.03)
    return seen.distance, gap.train, gap.held_out


def _moved(m: int, seed: int) -> float:
    draw = torch.Generator().manual_seed(seed)
    return float(assignment(_law(m, draw), _law(m, draw)).cost)


def _js_of_samples(m: int) -> float:
    """JSD of two empirical laws: they have a common point only if a point was drawn twice."""
    draw = torch.Generator().manual_seed(0)
    points, where = torch.unique(torch.cat([_law(m, draw), _law(m, draw)]), dim=0, return_inverse=True)
    first, second = (torch.bincount(w, minlength=len(points)).double() / m for w in where.split(m))
    return float(js(first, second))


def _fresh(dim: int, printed: float) -> Check:
    """The printed number is from one sample, so the tolerance allows for sampling noise on both sides."""
    found = torch.tensor([fresh_distance(dim, 1000, 2000, torch.Generator().manual_seed(s)) for s in range(5)])
    half = 0.0005 if printed < 0.1 else 0.005
    tolerance = half + 2 * float(found.std())
    return close(f"distance to the nearest of 1000, d = {dim}", float(found.mean()), printed, tolerance)


def _late(seen: Tensor, sizes: Tensor) -> float:
    return float(seen[sizes >= 16 * _PARAMETERS].max())


def _slope(x: Tensor, y: Tensor) -> float:
    centred = x.log() - x.log().mean()
    return float((centred * y.log()).sum() / centred.square().sum())
