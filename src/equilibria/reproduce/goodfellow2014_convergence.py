"""Descent on laws against an optimal discriminator reaches the data; the same descent on a parameter need not.

In the space of laws the criterion is convex (left). As a function of the mean of a Gaussian, which could match the data
exactly, the same criterion is flat far from the optimum, and the same number of steps changes nothing (right; E12, E40,
E56).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..figures.panels import PALETTE, label, legend, logarithmic, panels
from ..theory.divergences import kl
from ..theory.identities import generator_gradients
from ..theory.value import density_descent, optimal_discriminator, value_of_laws, virtual_criterion
from .claim import Check, Claim, Outcome, at_least, at_most, close

CLAIM = Claim(
    paper="goodfellow2014",
    figure="Theorem 1 and Proposition 2",
    statement="With D optimal at each step, small steps of the generator's law on the criterion converge to the data.",
    printed="p_g -> p_data; max_D V = 2 JSD - log 4, at least -log 4",
    derived="max_D V = 0 for disjoint laws",
    tolerance="KL(p, q) < 1e-6 nats from every start; identities to 1e-9; 10 random pairs of laws on 20 atoms; the "
    "same descent on a mean: < 1e-6 left from 2, > 1 from 12",
    budget=(2, 2),
    items=("T3", "T4", "E12", "E40", "E56"),
)

_STEPS, _PAIRS, _ATOMS = 60, 10, 20
_NEAR, _FAR = 2.0, 12.0


def run(quick: bool) -> Outcome:
    draw = torch.Generator().manual_seed(0)
    laws = torch.rand(2, _PAIRS, _ATOMS, generator=draw, dtype=torch.float64).log().neg()
    data, starts = laws / laws.sum(-1, keepdim=True)
    falls = torch.stack([_fall(p, q) for p, q in zip(data, starts, strict=True)])
    near, far = _mean_descent(_NEAR), _mean_descent(_FAR)
    checks = (*_of_laws(data, starts, falls, draw), *_of_means(near, far))
    figure, (left, right) = panels(columns=2)
    for i, fall in enumerate(falls):
        name = "10 pairs of laws" if i == 0 else None
        left.plot(fall.clamp(min=1e-16), color=PALETTE[0], linewidth=0.9, label=name)
    left.axhline(1e-6, color=PALETTE[1], linewidth=1, linestyle="--", label="tolerance")
    for path, colour, at in ((near, PALETTE[2], _NEAR), (far, PALETTE[3], _FAR)):
        right.plot([max(v, 1e-16) for v in path], color=colour, linewidth=1.4, label=f"starts at mean {at:g}")
    for ax, title in ((left, "Moving the law: it reaches the data"), (right, "Moving a mean: flat far away")):
        logarithmic(ax, y=True)
        label(ax, "steps", "KL(p, q)  (nats)", title)
        legend(ax, "best")
    return Outcome(figure, checks, {"KL of the mean's descent, last": {"near": near[-1], "far": far[-1]}})


def _of_laws(data: Tensor, starts: Tensor, falls: Tensor, draw: torch.Generator) -> tuple[Check, ...]:
    return (
        at_most("KL(p, q) in nats after the descent on laws, worst start", float(falls[:, -1].max()), 1e-6),
        at_most("largest error of max_D V = 2 JSD - log 4", _identity_error(data, starts), 1e-9),
        at_most("largest gain of a disturbed D over p/(p + q)", _best_disturbance(data, starts, draw), 0.0),
        *_ends(data),
    )


def _of_means(near: list[float], far: list[float]) -> tuple[Check, ...]:
    """The mean that starts nearby shows that the descent works, so that it is the start which leaves the other."""
    return (
        at_most(f"KL left in nats by the same descent on a mean that starts at {_NEAR:g}", near[-1], 1e-6),
        at_least(f"KL left in nats by the same descent on a mean that starts at {_FAR:g}", far[-1], 1.0),
    )


def _fall(p: Tensor, q: Tensor) -> Tensor:
    path = density_descent(p, q, _STEPS, rate=0.5)
    return kl(p.expand_as(path), path)


def _mean_descent(start: float) -> list[float]:
    """KL of N(0, 1) and N(m, 1) while the mean descends the generator's loss at an optimal discriminator."""
    x = torch.linspace(-10, _FAR + 10, 4001, dtype=torch.float64)
    weights = torch.full_like(x, float(x[1] - x[0]))

    def log_normal(mean: Tensor, at: Tensor) -> Tensor:
        return -(at - mean).square() / 2 - math.log(2 * math.pi) / 2

    mean = torch.tensor(start, dtype=torch.float64)
    path = [start**2 / 2]
    for _ in range(_STEPS):
        slopes = generator_gradients(log_normal(torch.zeros(()), x), log_normal, mean, x, weights)
        mean = mean - slopes.saturating
        path.append(float(mean) ** 2 / 2)
    return path


def _identity_error(p: Tensor, q: Tensor) -> float:
    reached = value_of_laws(optimal_discriminator(p, q), p, q)
    middle = (p + q) / 2
    split = kl(p, middle) + kl(q, middle) - math.log(4)
    return max(float((reached - other).abs().max()) for other in (split, virtual_criterion(p, q)))


def _best_disturbance(p: Tensor, q: Tensor, draw: torch.Generator) -> float:
    """The largest gain over the optimal discriminator among 1000 perturbations of it."""
    best = optimal_discriminator(p, q)
    sizes = torch.logspace(-3, 1, 1000, dtype=torch.float64)[:, None, None]
    others = best + sizes * torch.randn(1000, *best.shape, generator=draw, dtype=torch.float64)
    return float((value_of_laws(others, p, q) - value_of_laws(best, p, q)).max())


def _ends(p: Tensor) -> tuple[Check, Check]:
    apart = torch.eye(2, dtype=torch.float64)
    return (
        close("max_D V of equal laws", float(virtual_criterion(p, p).max()), -math.log(4), 1e-9),
        close("max_D V of disjoint laws", float(virtual_criterion(apart[0], apart[1])), 0.0, 1e-9),
    )
