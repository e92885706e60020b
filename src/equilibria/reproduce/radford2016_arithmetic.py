r"""Arithmetic of a DCGAN's codes: thick left-leaning minus thin left-leaning plus thin right-leaning digits are thick
and lean to the right.

Two attributes of digits are measured from the pixels alone, with ink :math:`w_{ij} \in [0, 1]` in row :math:`i` and
column :math:`j`: the thickness :math:`\sum w`, and the slant, the slope of a vertical stroke, from central moments,

.. math:: -\sum w\,(i - \bar i)(j - \bar j) \Big/ \sum w\,(i - \bar i)^2 .

A digit has an attribute where it is above the median of real digits. For each combination of the two as a target,

.. math:: z = \bar z(\text{one attribute only}) - \bar z(\text{neither}) + \bar z(\text{the other only})

with means of three codes each, as in the paper, where "neither" and "only" are relative to the target. Codes are chosen
among 4,000 whose digits are in the outer thirds of both attributes. Two controls: single codes in place of means, and
codes chosen at random in place of by attribute.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import functional_call

from ..core.game import make_draw
from ..core.play import Play
from ..data import Dataset, load
from ..figures.panels import PALETTE, label, panels
from ..recipes import recipe
from .claim import Check, Claim, Outcome, at_least
from .translators import picture_rows

CLAIM = Claim(
    paper="radford2016",
    figure="section 6.3.2, Figure 7 (vector arithmetic of mean codes)",
    statement="Means of three codes add and subtract attributes, where single codes are unstable.",
    printed="pictures: smiling woman - neutral woman + neutral man is a smiling man; no number printed",
    tolerance="in every seed means of three reach both attributes of the target at least 1.3 times as often as single "
    "codes do, and 1.5 times as often as codes chosen at random. 5 seeds, 1,000 rounds, MNIST at 16 x 16 pixels; "
    "quick: 1 seed",
    budget=(45, 215),
)
CODES, TRIALS, SHOWN = 4000, 100, 6
SETTINGS = {"networks.width": "16", "batch": "64"}
KINDS = ("means of three", "single codes", "random codes")
TARGETS = tuple(product((False, True), (False, True)))


class Found(NamedTuple):
    """One seed: shares of sums with both attributes of the target by kind of arithmetic, and pictures of one sum."""

    shares: dict[str, float]
    shown: list[tuple[str, Tensor]]


def run(quick: bool) -> Outcome:
    data = load("mnist", size=16)
    seeds = range(1) if quick else range(5)
    found = [_seed(data, seed, 1000) for seed in seeds]
    numbers = {kind: [round(one.shares[kind], 3) for one in found] for kind in KINDS}
    return Outcome(_draw(found), _checks([one.shares for one in found]), numbers)


def _checks(seeds: Sequence[dict[str, float]]) -> tuple[Check, ...]:
    ratios = {kind: min(one[KINDS[0]] / max(one[kind], 1e-9) for one in seeds) for kind in KINDS[1:]}
    return (
        at_least("least ratio to single codes over seeds", ratios["single codes"], 1.3),
        at_least("least ratio to codes chosen at random over seeds", ratios["random codes"], 1.5),
    )


def attributes(x: Tensor) -> Tensor:
    """Thickness and slant of digits ``(n, 1, h, w)`` in [-1, 1], ``(n, 2)``.

    Examples:
        >>> x = -torch.ones(1, 1, 4, 4)
        >>> x[0, 0, range(4), [3, 2, 1, 0]] = 1.0
        >>> attributes(x).tolist()  # four pixels, leaning to the right by one pixel a row
        [[4.0, 1.0]]
    """
    ink = ((x[:, 0] + 1) / 2).clamp(0, 1)
    mass = ink.sum((1, 2)).clamp(min=1e-6)
    down = torch.arange(x.shape[2], dtype=x.dtype)[None, :, None]
    across = torch.arange(x.shape[3], dtype=x.dtype)[None, None, :]
    down, across = (d - ((ink * d).sum((1, 2)) / mass)[:, None, None] for d in (down, across))
    slant = -(ink * down * across).sum((1, 2)) / (ink * down.square()).sum((1, 2)).clamp(min=1e-6)
    return torch.stack([mass, slant], 1)


def _seed(data: Dataset, seed: int, rounds: int) -> Found:
    row = recipe("dcgan").with_settings(SETTINGS)
    play = row.play(row.build(data.spec, seed), data.batches(row.batch), seed=seed, horizon=rounds)
    play.prepare()
    play.advance(rounds)
    real = attributes(data.take(10_000)["x"])
    codes = play.codes(CODES, seed=1)["latent"]
    source = torch.Generator().manual_seed(seed)
    shares, pools = _measured(play, real, codes, source)
    return Found(shares, _shown(play, pools, source))


def _measured(
    play: Play, real: Tensor, codes: Tensor, source: torch.Generator
) -> tuple[dict[str, float], dict[tuple[bool, bool], Tensor]]:
    """The shares by kind of arithmetic, and the codes of clear digits by their attributes."""
    median, low, high = (real.quantile(q, dim=0) for q in (0.5, 1 / 3, 2 / 3))
    own = attributes(generated(play, codes))
    clear = ((own < low) | (own > high)).all(1)
    pools = {has: codes[clear & (own > median).eq(torch.tensor(has)).all(1)] for has in TARGETS}
    everything = dict.fromkeys(TARGETS, codes)
    shares = {
        kind: _share(play, among, count, median, source)
        for kind, among, count in zip(KINDS, (pools, pools, everything), (3, 1, 3), strict=True)
    }
    return shares, pools


@torch.no_grad()
def generated(play: Play, latent: Tensor) -> Tensor:
    """Pictures of codes, by averaged parameters and calibrated norms."""
    values = {name: value for own in play.averaged.values() for name, value in own.items()}
    play.game.eval()
    draw = make_draw({"latent": latent}, 0)
    made: Tensor = functional_call(play.game, {**values, **play.statistics("sample")}, ("sample", draw))
    play.game.train()
    return made


def sums(target: tuple[bool, bool]) -> list[tuple[tuple[bool, bool], ...]]:
    """The two sums ``a - b + c`` whose result is the target, as the attributes of a, b and c.

    Examples:
        >>> sums((True, True))
        [((True, False), (False, False), (False, True)), ((False, True), (False, False), (True, False))]
    """
    first, second = target
    one, other, neither = (first, not second), (not first, second), (not first, not second)
    return [(one, neither, other), (other, neither, one)]


def _share(
    play: Play, pools: dict[tuple[bool, bool], Tensor], count: int, median: Tensor, source: torch.Generator
) -> float:
    """The share of sums whose digit has both attributes of the target."""
    hits = []
    for target in TARGETS:
        for parts in sums(target):
            a, b, c = (_means(pools[has], count, source) for has in parts)
            made = attributes(generated(play, a - b + c)) > median
            hits.append(made.eq(torch.tensor(target)).all(1))
    return float(torch.cat(hits).double().mean())


def _means(pool: Tensor, count: int, source: torch.Generator, n: int = TRIALS) -> Tensor:
    """``n`` means of ``count`` different codes of a pool."""
    return torch.stack([pool[torch.randperm(len(pool), generator=source)[:count]].mean(0) for _ in range(n)])


def _shown(play: Play, pools: dict[tuple[bool, bool], Tensor], source: torch.Generator) -> list[tuple[str, Tensor]]:
    """Pictures of the codes and of the results for one target: thick and leaning to the right."""
    a, b, c = (_means(pools[has], 3, source, SHOWN) for has in sums((True, True))[0])
    names = ("thick, left", "- thin, left", "+ thin, right", "= result")
    return [(name, generated(play, z)) for name, z in zip(names, (a, b, c, a - b + c), strict=True)]


def _draw(found: list[Found]) -> Figure:
    figure, axes = panels(columns=2, width=3.6, height=2.8)
    _shares(axes[0], found)
    picture_rows(axes[1], found[0].shown, "Means of three codes, seed 0")
    return figure


def _shares(axes: Axes, found: list[Found]) -> None:
    for i, (kind, colour) in enumerate(zip(KINDS, (PALETTE[0], PALETTE[5], PALETTE[1]), strict=True)):
        values = [100 * one.shares[kind] for one in found]
        axes.scatter([i] * len(values), values, color=colour, s=26, alpha=0.8, linewidths=0)
        axes.hlines(statistics.mean(values), i - 0.25, i + 0.25, color=colour, linewidth=1.4)
    axes.axhline(25, color="#555555", linewidth=0.9, linestyle=":")
    axes.set_xticks(range(len(KINDS)), [kind.replace(" ", "\n", 1) for kind in KINDS])
    axes.set(ylim=(0, None), xlim=(-0.6, len(KINDS) - 0.4))
    label(axes, "", "sums with both attributes, %", "Every seed; dotted: one of four classes")
