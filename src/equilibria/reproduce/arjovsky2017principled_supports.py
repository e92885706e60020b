"""Low-dimensional supports: a generator's rank and dimension, a JSD at its maximum, and a flat perfect discriminator.

Left, perceptrons from a few latent dimensions into 64. Middle, the JSD of the laws' masses in cells of side h, whose
supremum over partitions is the JSD: lines that cross in the plane, curves in space that almost meet, one line twice.
Right, the smooth perfect discriminator of two arcs.
"""

from __future__ import annotations

import math

import torch
from matplotlib.axes import Axes
from torch import Tensor

from ..base.randomness import reseed
from ..data import Segment
from ..figures.images import INK
from ..figures.panels import GREY, PALETTE, label, legend, logarithmic, panels
from ..networks import MLPPair
from ..theory.divergences import js, kl
from ..theory.slopes import input_slopes
from ..theory.supports import (
    Map,
    intersect_transversally,
    jacobian_rank,
    pca_dimension,
    set_distance,
    smooth_perfect_discriminator,
    two_nn_dimension,
)
from ..theory.value import value
from .claim import Check, Claim, Outcome, at_least, at_most, close

CLAIM = Claim(
    paper="arjovsky2017principled",
    figure="Lemmas 1 to 3, Theorems 2.1 to 2.3",
    statement="A generator's law is as thin as its latent space; thin laws that do not align have JSD log 2 and "
    "infinite KL, and some perfect discriminator has no gradient on either.",
    printed="rank and dimension <= dim z; JSD = log 2 (not 0), KL infinite; accuracy 1 and gradient 0 on both sets",
    tolerance="rank exact, dimension within its standard error 3 k/sqrt(n); JSD in cells at least .99 log 2 for lines "
    "that cross, the rest vanishing like the side of a cell (log-log slope 1 within .15); disjoint sets to 1e-6",
    budget=(5, 7),
    items=("T15", "T16", "T17", "T18", "E5", "E7", "E16", "E17", "E43", "E44", "E61"),
)
_LATENTS = (1, 2, 4, 8)
_SIDES = tuple(2.0**-i for i in range(1, 10))
_POINTS = 1 << 15


def run(quick: bool) -> Outcome:
    thin, rows = _dimensions(2_000 if quick else 4_000)
    cells, curves = _cells()
    flat, discriminator, arcs = _perfect()
    checks = (*thin, *cells, *_translated(20 if quick else 100), *flat)
    figure, (left, middle, right) = panels(columns=3, width=3.7, height=3.0)
    _draw_dimensions(left, rows)
    _draw_cells(middle, curves)
    _draw_discriminator(right, discriminator, arcs)
    names = ("dim z", "largest rank", "TwoNN dimension", "PCA dimension of a small ball")
    return Outcome(
        figure, checks, {"dimensions": [dict(zip(names, row, strict=True)) for row in rows], "cells": curves}
    )


def _dimensions(n: int) -> tuple[list[Check], list[tuple[float, ...]]]:
    rows: list[tuple[float, ...]] = []
    for k in _LATENTS:
        reseed(k)
        generator = MLPPair(width=64, depth=2, init="orthogonal").generator(k, (64,))
        with torch.no_grad():
            made = generator(torch.rand(n, k) * 2 - 1)
            ball = generator(torch.randn(1, k) + 1e-3 * torch.randn(64, k))  # small compared with any curvature
            rank = jacobian_rank(generator, torch.randn(64, k), relative=1e-5)
        rows.append((k, float(rank.max()), two_nn_dimension(made), pca_dimension(ball.double(), 0.999)))
    off_rank, off_ball = (max(abs(row[i] - row[0]) for row in rows) for i in (1, 3))
    near = max((row[2] - row[0]) * math.sqrt(n) / row[0] for row in rows)
    return [
        close("largest rank of the generator's Jacobian, from dim z", off_rank, 0.0, 0.0),
        at_most("largest TwoNN dimension of samples less dim z, in k/sqrt(n)", near, 3.0),
        close("PCA dimension of a small ball, from dim z", off_ball, 0.0, 0.0),
    ], rows


def _cells() -> tuple[list[Check], dict[str, list[float]]]:
    """The laws are uniform in arc length; their masses in cells are shares of equally many points."""
    t = (torch.arange(_POINTS, dtype=torch.float64) + 0.5) / _POINTS * 2 - 1
    zero = torch.zeros_like(t)
    flat, slant = torch.stack([t, zero], 1), torch.stack([0.6 * t, 0.8 * t], 1)
    offset = torch.tensor([0.1234, 0.3456], dtype=torch.float64)  # no line lies on the cells' edges
    pairs = {
        "lines that cross in the plane": (flat + offset, slant + offset),
        "curves passing at .05 in space": _curves_in_space(t, zero),
        "the same line twice": (flat + offset, flat + offset),
    }
    found = {name: [_js_in_cells(p, q, side) for side in _SIDES] for name, (p, q) in pairs.items()}
    crossing, curves, same = found.values()
    rest = [math.log(2) - value for value in crossing]
    slope = math.log(rest[3] / rest[-1]) / math.log(_SIDES[3] / _SIDES[-1])
    p, q = (_masses(rows, _SIDES[-1]) for rows in _together(*pairs["lines that cross in the plane"]))
    tangents = (torch.tensor([[1.0], [0.0]]), torch.tensor([[0.6], [0.8]]))
    return [
        at_least("crossing lines: JSD in the finest cells over log 2", crossing[-1] / math.log(2), 0.99),
        close("crossing lines: log-log slope of log 2 - JSD in the side of a cell", slope, 1.0, 0.15),
        at_least("crossing lines: KL in cells is infinite (1 if so)", float(torch.isinf(kl(p, q))), 1.0),
        at_least("crossing lines meet transversally (1 if so)", float(intersect_transversally(*tangents)), 1.0),
        close("curves in space: JSD in the finest cells (nats)", curves[-1], math.log(2), 1e-6),
        close("the same line twice: JSD (nats)", max(same), 0.0, 1e-12),
    ], found


def _curves_in_space(t: Tensor, zero: Tensor) -> tuple[Tensor, Tensor]:
    bent = torch.stack([t, 0.5 * t.square(), zero], 1)
    other = torch.stack([0.5 * t.square(), t, zero + 0.05], 1)
    return bent, other


def _together(a: Tensor, b: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    return (a, a, b), (b, a, b)


def _masses(rows: tuple[Tensor, Tensor, Tensor], side: float) -> Tensor:
    """Shares of the first set in the cells that contain points of one of the others."""
    own, *both = (torch.floor(part / side).long() for part in rows)
    width = 4 * math.ceil(1 / side)
    keys = torch.cat([*both, own]) @ torch.tensor([width**i for i in range(own.shape[1])])
    cells, place = torch.unique(keys, return_inverse=True)
    return torch.bincount(place[-len(own) :], minlength=len(cells)).double() / len(own)


def _js_in_cells(a: Tensor, b: Tensor, side: float) -> float:
    p, q = (_masses(rows, side) for rows in _together(a, b))
    return float(js(p, q))


def _translated(repeats: int) -> list[Check]:
    """Lemma 2: curves that meet in space align (their tangents do not span it); small random shifts separate them."""
    axes = torch.eye(3, dtype=torch.float64)
    draw = torch.Generator().manual_seed(0)
    shifts = 0.1 * torch.randn(repeats, 3, generator=draw, dtype=torch.float64)
    t = torch.linspace(-1, 1, 401, dtype=torch.float64)
    curves = _curves_in_space(t, torch.zeros_like(t))
    meeting = (curves[0], curves[1] - 0.05 * axes[2])
    gaps = [set_distance(meeting[0] + shift, meeting[1]) for shift in shifts]
    bounds = [abs(float(shift[2])) for shift in shifts]  # both lie in planes z = const: their distance is at least this
    return [
        at_least("curves that meet in space align (1 if so)", float(_align(axes)), 1.0),
        at_least("share of random shifts that part them", sum(b > 0 for b in bounds) / repeats, 1.0),
        at_least(
            "smallest gap found less the planes' distance",
            min(g - b for g, b in zip(gaps, bounds, strict=True)),
            -1e-12,
        ),
    ]


def _align(axes: Tensor) -> bool:
    return not intersect_transversally(axes[:, :1], axes[:, 1:2])


def _perfect() -> tuple[list[Check], Map, tuple[Tensor, Tensor]]:
    arcs = (Segment((0.2, 2.6), radius=1.0), Segment((0.2, 2.6), radius=1.0, start=(0.6, 0.3), phase=math.pi))
    nets = [arc.at(torch.linspace(*arc.span, 49, dtype=torch.float64)) for arc in arcs]
    discriminator = smooth_perfect_discriminator(nets[0], nets[1], net=0.026)
    draw = torch.Generator().manual_seed(0)
    places = torch.rand(2_000, generator=draw, dtype=torch.float64)
    points = [arc.at(arc.span[0] + (arc.span[1] - arc.span[0]) * places) for arc in arcs]
    (real, up), (fake, down) = (input_slopes(discriminator, x) for x in points)
    accuracy = ((real > 0.5).double().mean() + (fake < 0.5).double().mean()) / 2
    steepest = torch.cat([up, down]).norm(dim=1).max()
    estimate = (float(value(real.logit(), fake.logit())) + math.log(4)) / 2
    return (
        [
            close("perfect discriminator: accuracy on both arcs", float(accuracy), 1.0, 0.0),
            at_most("perfect discriminator: largest gradient on both arcs", float(steepest), 0.0),
            close("perfect discriminator: the JSD it reports (nats); log 2, not 0 (E5)", estimate, math.log(2), 1e-6),
        ],
        discriminator,
        (points[0], points[1]),
    )


def _draw_dimensions(axes: Axes, rows: list[tuple[float, ...]]) -> None:
    k, rank, near, local = zip(*rows, strict=True)
    axes.plot([1, 8], [1, 8], color=GREY, linewidth=1.0, label="dim z")
    axes.plot(k, rank, "s", color=PALETTE[0], markersize=7, label="largest rank of the Jacobian")
    axes.plot(k, near, "o", color=PALETTE[1], markersize=4.5, label="dimension of samples, TwoNN")
    axes.plot(k, local, "^", color=PALETTE[2], markersize=4.5, label="dimension of a small ball, PCA")
    axes.set_xticks(_LATENTS)
    axes.set_yticks([0, *_LATENTS])
    axes.set_ylim(0, 12)
    label(axes, "dim z (of 64 output dimensions)", "dimensions", "The law is as thin as the latent space")
    legend(axes, "upper left")


def _draw_cells(axes: Axes, curves: dict[str, list[float]]) -> None:
    axes.axhline(math.log(2), color=GREY, linewidth=1.0, linestyle="--")
    axes.annotate("log 2", (0.55, math.log(2) + 0.015), fontsize=8, color=INK)
    for (name, values), colour, marker in zip(curves.items(), PALETTE, "osd", strict=False):
        axes.plot(_SIDES, values, marker + "-", color=colour, linewidth=1.2, markersize=4, label=name)
    logarithmic(axes, x=True)
    axes.set_xlim(0.6, 1.5e-3)
    axes.set_ylim(-0.03, 1.05)
    label(axes, "side h of a cell, falling", "JSD of masses in cells (nats)", "Unless aligned, JSD is at its maximum")
    legend(axes, "upper right")


def _draw_discriminator(axes: Axes, discriminator: Map, arcs: tuple[Tensor, Tensor]) -> None:
    x, y = (torch.linspace(low, high, 121, dtype=torch.float64) for low, high in ((-1.6, 2.2), (-1.3, 2.1)))
    grid = torch.cartesian_prod(y, x).flip(1)
    with torch.no_grad():
        shade = discriminator(grid).view(len(y), len(x))
    axes.contourf(x, y, shade, levels=[i / 10 for i in range(11)], cmap="Greys", alpha=0.6)
    for points, colour, name in ((arcs[0], PALETTE[0], "data"), (arcs[1], PALETTE[1], "generated")):
        axes.plot(*points.T, ".", color=colour, markersize=3, label=name)
    label(axes, "x₁", "x₂", "A perfect D (grey: 1, white: 0), flat on both")
    legend(axes, "upper right", columns=2)
