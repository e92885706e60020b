"""Bad minima: a separable GAN has one for each assignment with several points on one data point; pairing has none."""

from __future__ import annotations

import itertools
import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..base.randomness import reseed
from ..figures.images import INK
from ..figures.panels import FONT, PALETTE, label, legend, panels
from ..losses import Minimax, Objective, RelativisticPairing
from ..theory.divergences import js
from ..theory.landscape import (
    OFF,
    Configuration,
    Value,
    landscape_count,
    paired_value,
    separable_value,
    strict_local_minima,
    trapped,
)
from .claim import Check, Claim, Outcome, at_most, close

CLAIM = Claim(
    paper="sun2020",
    figure="Theorems 1 and 2, Figures 1 and 2",
    statement="With n free generated points and an optimal discriminator a separable loss has exactly n^n - n! bad "
    "strict minima; under relativistic pairing every configuration has a path to the optimum that never rises.",
    printed="n^n - n! bad strict minima for a separable loss, none for pairing",
    derived="2, 21, 232 for n = 2, 3, 4; RpGAN's supremum + log 2 is JSD(p x q, q x p) (T29b)",
    tolerance="counts exact, by search over every move; suprema of the losses that train within 1e-6 of the closed "
    "forms",
    budget=(2, 2),
    items=("T29",),
)
VALUES: dict[str, Value] = {"separable": separable_value, "paired": paired_value}
OBJECTIVES: dict[str, Objective] = {"separable": Minimax(), "paired": RelativisticPairing()}
SIZES = (2, 3, 4)


def run(quick: bool) -> Outcome:
    bad = {name: [_bad_minima(n, value) for n in SIZES] for name, value in VALUES.items()}
    stuck = {name: [len(trapped(n, value)) for n in SIZES] for name, value in VALUES.items()}
    collapsed = [landscape_count(n).collapsed for n in SIZES]
    checks = (*_of_counts(bad, stuck), *_of_suprema((2,) if quick else (2, 3)), *_pairing_measures())
    numbers = {
        "bad strict minima": bad,
        "configurations without a falling path": stuck,
        "two points, by configuration": {
            str(at): {name: value(at) for name, value in VALUES.items()}
            for at in itertools.product((OFF, 0, 1), repeat=2)
        },
    }
    return Outcome(_draw(bad, collapsed), checks, numbers)


def _of_counts(bad: dict[str, list[int]], stuck: dict[str, list[int]]) -> tuple[Check, ...]:
    checks: list[Check] = []
    for i, n in enumerate(SIZES):
        checks += [
            close(f"n = {n}, separable: bad strict minima", bad["separable"][i], landscape_count(n).collapsed, 0),
            close(f"n = {n}, paired: bad strict minima", bad["paired"][i], 0, 0),
            close(f"n = {n}, paired: configurations without a falling path", stuck["paired"][i], 0, 0),
        ]
    return tuple(checks)


def _of_suprema(sizes: tuple[int, ...]) -> tuple[Check, ...]:
    errors = {
        name: max(_error_of_values(n, objective, VALUES[name]) for n in sizes) for name, objective in OBJECTIVES.items()
    }
    return tuple(
        at_most(f"{name}: trained supremum against the closed form, every configuration", error, 1e-6)
        for name, error in errors.items()
    )


def _bad_minima(n: int, value: Value) -> int:
    """Strict local minima above the least value."""
    least = min(value(at) for at in itertools.product(range(n), repeat=n))
    return sum(value(at) > least + 1e-9 for at in strict_local_minima(n, value))


def suprema(configurations: list[Configuration], objective: Objective) -> Tensor:
    """The suprema of the objective's discriminator, by descent on one free score per place.

    Places are the n data points and, for each generated point off the data, one place of its own. The scores are the
    only variables, so only the training loss is used.

    Args:
        configurations: configurations of one size.
        objective: its discriminator loss is minimised; off the data the infimum lies at infinity.
    """
    n = len(configurations[0])
    places = torch.tensor([[at if at != OFF else n + i for i, at in enumerate(c)] for c in configurations])
    scores = torch.zeros(len(places), 2 * n, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [scores], max_iter=500, tolerance_grad=1e-12, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def lost() -> Tensor:
        each: Tensor = torch.func.vmap(objective.discriminator)(scores[:, :n], scores.gather(1, places))
        return each

    def closure() -> float:
        total = lost().sum()
        (scores.grad,) = torch.autograd.grad(total, scores)
        return float(total.detach())

    search.step(closure)  # type: ignore[no-untyped-call]
    return -lost().detach()


def _error_of_values(n: int, objective: Objective, value: Value) -> float:
    configurations = list(itertools.product(range(OFF, n), repeat=n))
    exact = torch.tensor([value(at) for at in configurations], dtype=torch.float64)
    return float((suprema(configurations, objective) - exact).abs().max())


def _pairing_measures() -> tuple[Check, ...]:
    """The divergence of pairing (T29b), on two random laws of six points."""
    reseed(0)
    p, q = torch.randn(2, 6, dtype=torch.float64).softmax(1)
    forwards, backwards = torch.outer(p, q).flatten(), torch.outer(q, p).flatten()

    def reached(h: Tensor) -> Tensor:
        each = torch.func.vmap(lambda real, fake: RelativisticPairing().discriminator(real[None], fake[None]))
        pairs = torch.cartesian_prod(h, h)
        return math.log(2) - (forwards * each(pairs[:, 0], pairs[:, 1])).sum()

    best, wanted = (p / q).log(), float(js(forwards, backwards))
    others = [float(reached(best + 0.3 * torch.randn(6, dtype=torch.float64))) for _ in range(300)]
    return (
        close("pairing at log(p/q) + log 2 (nats)", float(reached(best)), wanted, 1e-9),
        at_most("largest of 300 perturbed scores, above it by", max(others) - wanted, 0.0),
        close("the same score with an offset of 7", float(reached(best + 7)), wanted, 1e-9),
    )


def _draw(bad: dict[str, list[int]], collapsed: list[int]) -> Figure:
    figure, (bars, path) = panels(columns=2, width=4.0, height=2.9)
    for shift, (name, counts), colour in zip((-0.2, 0.2), bad.items(), PALETTE, strict=False):
        at = [n + shift for n in SIZES]
        bars.bar(at, counts, width=0.36, color=colour, label=name)
        for x, count in zip(at, counts, strict=True):
            bars.text(x, count, f"{count}", ha="center", va="bottom", fontsize=8, color=INK, family=FONT)
    bars.plot([n - 0.2 for n in SIZES], collapsed, "_", color=INK, markersize=16, label="nⁿ − n!")
    bars.set_yscale("symlog", linthresh=1)
    bars.set(ylim=(0, 1000), xticks=list(SIZES), yticks=[0, 1, 10, 100, 1000])
    label(bars, "number n of points", "bad strict minima", "Found by search over every move")
    legend(bars, "upper left")
    _path(path)
    return figure


def _path(axes: Axes) -> None:
    """Two generated points on one data point; the second is moved to the other data point."""
    way: tuple[Configuration, ...] = ((0, 0), (0, OFF), (0, 1))
    for (name, value), colour in zip(VALUES.items(), PALETTE, strict=False):
        heights = [value(at) for at in way]
        for i, height in enumerate(heights):
            axes.plot([i - 0.32, i + 0.32], [height, height], color=colour, linewidth=3, label=name if i == 0 else None)
            if i:
                axes.plot([i - 0.68, i - 0.32], [heights[i - 1], height], color=colour, linewidth=0.9, linestyle=":")
    axes.set(xticks=[0, 1, 2], xlim=(-0.5, 2.5), ylim=(-1.55, 0.0))
    axes.set_xticklabels(["both on x₁\n(collapsed)", "y₂ in open\nspace", "one on each\n(optimum)"])
    label(axes, "", "value at the best discriminator (nats)", "Two points: the separable loss has a wall to climb")
    legend(axes, "upper right")
