"""Six assumptions behind "a GAN minimises a Jensen-Shannon divergence", each broken separately: six different failures.

Every panel shows the same numbers with the assumption (control) and without it. The list is from an extended abstract
of these authors, which has no figure; the experiments are ours, in two dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from matplotlib.axes import Axes

from ..figures.panels import PALETTE, label, legend, panels
from ..theory.assumptions import (
    Evidence,
    relax_density,
    relax_discriminator,
    relax_divergence,
    relax_equal_priors,
    relax_generator,
    relax_population,
)
from ..theory.divergences import js
from ..theory.landscape import mixture_density
from .claim import Check, Claim, Outcome, at_least, at_most, close

CLAIM = Claim(
    paper="nie2019",
    figure="the six assumptions of an extended abstract by the same authors (no figure printed)",
    statement="Each violated assumption produces its own failure, and the control does not.",
    printed="six assumptions in words; no number",
    derived="JSD log 2 and no slope; log-ratios off by logit(prior); D at chance with the laws apart; modes missing; "
    "reverse KL on one mode; samples on training points",
    tolerance="worst of 3 seeds quick, 5 full; numbers that theory gives within their Monte Carlo error",
    budget=(7, 9),
    items=("T26", "E58"),
)


class _Panel(NamedTuple):
    """One assumption: its title, the bars of its evidence with their units, and the checks of its predictions."""

    title: str
    evidence: Callable[[int], Evidence]
    bars: dict[str, Callable[[dict[str, float]], float]]
    units: tuple[str, ...]
    predicted: Callable[[list[Evidence]], tuple[Check, ...]]


def run(quick: bool) -> Outcome:
    checks: list[Check] = []
    numbers = {}
    figure, axes = panels(rows=2, columns=3, width=3.4, height=2.4)
    for panel, ax in zip(_PANELS, axes, strict=True):
        found = [panel.evidence(seed) for seed in range(3 if quick else 5)]
        checks += panel.predicted(found)
        numbers[panel.title] = [e._asdict() for e in found]
        _draw(ax, panel, found)
    legend(axes[1], "upper left")
    return Outcome(figure, tuple(checks), numbers)


def _draw(axes: Axes, panel: _Panel, found: list[Evidence]) -> None:
    """Each pair of bars over the larger mean of the two, so that the axis has no unit; the larger value is written."""
    rows = [[[read(side) for read in panel.bars.values()] for side in (e.control, e.relaxed)] for e in found]
    values = torch.tensor(rows)  # (seeds, control and relaxed, bars)
    largest = values.mean(0).abs().amax(0)
    for i, (name, shift, colour) in enumerate((("holds", -0.2, PALETTE[0]), ("broken", 0.2, PALETTE[1]))):
        shares = values[:, i] / largest
        places = torch.arange(len(panel.bars)) + shift
        axes.bar(places, shares.mean(0), width=0.36, color=colour, label=name)
        for x, column in zip(places, shares.T, strict=True):
            axes.plot([float(x)] * len(column), column, ".", color="black", markersize=2.5)
    axes.axhline(0, color="#bdbdbd", linewidth=0.7)
    units = panel.units if len(panel.units) == len(panel.bars) else panel.units * len(panel.bars)
    names = [f"{n}\n1 = {float(v):.2g} {u}" for n, v, u in zip(panel.bars, largest, units, strict=True)]
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.6, len(panel.bars) - 0.4)
    label(axes, "", "over the larger of both", panel.title)


def _worst(found: list[Evidence], read: Callable[[Evidence], float], largest: bool = True) -> float:
    return (max if largest else min)(read(e) for e in found)


def _off(found: list[Evidence], side: str, name: str, expected: float) -> float:
    """The value of the seed that is farthest from the expected value."""
    values = [(e.control if side == "control" else e.relaxed)[name] for e in found]
    return max(values, key=lambda value: abs(value - expected))


def _thin(found: list[Evidence]) -> tuple[Check, ...]:
    x = torch.linspace(-8, 9, 3401, dtype=torch.float64)
    p, q = (mixture_density(x[:, None], torch.tensor([[at]]), torch.ones(())) for at in (0.0, 1.0))
    exact = float(js(p, q, torch.full_like(x, 0.005)))
    return (
        close("1 broken: estimate of JSD, nats", _off(found, "relaxed", "js", math.log(2)), math.log(2), 0.01),
        at_most(
            "1 broken: saturating slope over the control's",
            _worst(found, lambda e: e.relaxed["saturating"] / e.control["saturating"]),
            0.01,
        ),
        close("1 control: estimate of JSD, nats", _off(found, "control", "js", exact), exact, 0.03),
    )


def _priors(found: list[Evidence]) -> tuple[Check, ...]:
    logit = math.log(0.8 / 0.2)
    return (
        close("2 broken: bias of the log-ratio, nats", _off(found, "relaxed", "bias", logit), logit, 0.06),
        close("2 control: bias of the log-ratio, nats", _off(found, "control", "bias", 0.0), 0.0, 0.06),
    )


def _small_critic(found: list[Evidence]) -> tuple[Check, ...]:
    return (
        close("3 broken: accuracy of D", _off(found, "relaxed", "accuracy", 0.5), 0.5, 0.06),
        at_least(
            "3 both: W1 over its floor", _worst(found, lambda e: e.relaxed["w1"] / e.relaxed["w1_floor"], False), 1.5
        ),
        at_least("3 control: accuracy of D", _worst(found, lambda e: e.control["accuracy"], False), 0.65),
    )


def _small_generator(found: list[Evidence]) -> tuple[Check, ...]:
    return (
        at_most("4 broken: modes of 8 held by 4 components", _worst(found, lambda e: e.relaxed["modes"]), 4),
        at_least("4 broken: accuracy of the best D", _worst(found, lambda e: e.relaxed["accuracy"], False), 0.65),
        at_least("4 control: modes of 8", _worst(found, lambda e: e.control["modes"], False), 8),
        at_most("4 control: JSD left, nats", _worst(found, lambda e: e.control["js"]), 1e-3),
    )


def _other_divergence(found: list[Evidence]) -> tuple[Check, ...]:
    spread = math.sqrt(2.0**2 / 2 + 0.3**2)
    return (
        close("5 broken: reverse KL's distance from the middle", found[0].relaxed["centre"], 2.0, 0.02),
        close("5 broken: reverse KL's std", found[0].relaxed["width"], 0.3, 0.02),
        close("5 control: KL's distance from the middle", found[0].control["centre"], 0.0, 0.02),
        close("5 control: KL's std", found[0].control["width"], spread, 0.02),
    )


def _few(found: list[Evidence]) -> tuple[Check, ...]:
    def gap(numbers: dict[str, float]) -> float:
        return numbers["critic_train"] - numbers["critic_held_out"]

    return (
        at_most("6 broken: way to training over way to fresh points", _worst(found, lambda e: _ratio(e.relaxed)), 0.1),
        at_least(
            "6 control: way to training over way to fresh", _worst(found, lambda e: _ratio(e.control), False), 0.6
        ),
        at_least(
            "6: critic's gap over the control's", _worst(found, lambda e: gap(e.relaxed) / gap(e.control), False), 5.0
        ),
    )


def _ratio(numbers: dict[str, float]) -> float:
    return numbers["to_train"] / numbers["to_test"]


_PANELS = (
    _Panel(
        "1  No densities: flat loss",
        lambda seed: relax_density(seed=seed),
        {"JSD": lambda n: n["js"], "saturating slope": lambda n: n["saturating"]},
        ("nats", "nats per unit"),
        _thin,
    ),
    _Panel(
        "2  Unequal priors: biased ratio",
        lambda seed: relax_equal_priors(seed=seed),
        {"bias of log p/q": lambda n: n["bias"]},
        ("nats",),
        _priors,
    ),
    _Panel(
        "3  Small D: blind to a difference",
        lambda seed: relax_discriminator(seed=seed),
        {
            "accuracy\nof D": lambda n: n["accuracy"],
            "W1": lambda n: n["w1"],
            "W1,\nreal : real": lambda n: n["w1_floor"],
        },
        ("", "", ""),
        _small_critic,
    ),
    _Panel(
        "4  Small G: modes missing",
        lambda seed: relax_generator(seed=seed),
        {
            "JSD left": lambda n: n["js"],
            "accuracy\nof D*": lambda n: n["accuracy"],
            "modes / 8": lambda n: n["modes"] / 8,
        },
        ("nats", "", ""),
        _small_generator,
    ),
    _Panel(
        "5  Reverse KL for KL: one mode",
        lambda seed: relax_divergence(),
        {"centre": lambda n: n["centre"], "std": lambda n: n["width"]},
        ("",),
        _other_divergence,
    ),
    _Panel(
        "6  Fifty samples: learned by heart",
        lambda seed: relax_population(seed=seed),
        {
            "way to\ntraining": lambda n: n["to_train"],
            "way to\nfresh": lambda n: n["to_test"],
            "critic's\ngap": lambda n: n["critic_train"] - n["critic_held_out"],
        },
        ("", "", "nats"),
        _few,
    ),
)
