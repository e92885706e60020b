"""The table of f-GANs: for every row the objective at the printed optimum is the divergence, and no score exceeds it.

The objective is the training objective (``FGan.discriminator``). The laws are 400 equally likely draws on six atoms, so
that means over a batch are exact expectations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from matplotlib.axes import Axes
from torch import Tensor

from ..figures.panels import GREY, PALETTE, label, legend, panels
from ..losses import FGan
from ..theory.divergences import F_DIVERGENCES, f_divergence
from .claim import Check, Claim, Outcome, at_most

CLAIM = Claim(
    paper="nowozin2016",
    figure="Tables 1, 2 and 6",
    statement="E_p T - E_q f*(T) is at most D_f(p, q), with equality at T = f'(p/q), for every row of the table.",
    printed="F(T*) = D_f; the threshold f'(1) where p = q",
    tolerance="1e-9 (relative to 1 + |D_f|) for 20 random pairs of laws, also of each D_f against its definition as a "
    "sum; no gain by any of 1000 disturbed scores",
    budget=(3, 3),
    items=("E59",),
)

_ATOMS, _DRAWS, _PAIRS = 6, 400, 20
_DEFINITIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kl": lambda p, q: p * (p / q).log(),
    "reverse-kl": lambda p, q: q * (q / p).log(),
    "pearson": lambda p, q: (p - q).square() / q,
    "neyman": lambda p, q: (p - q).square() / p,
    "squared-hellinger": lambda p, q: (p.sqrt() - q.sqrt()).square(),
    "jeffreys": lambda p, q: (p - q) * (p / q).log(),
    "js": lambda p, q: p * (2 * p / (p + q)).log() + q * (2 * q / (p + q)).log(),
    "gan": lambda p, q: p * (p / (p + q)).log() + q * (q / (p + q)).log(),
}


def run(quick: bool) -> Outcome:
    draw = torch.Generator().manual_seed(0)
    pairs = [(_counts(draw), _counts(draw)) for _ in range(_PAIRS)]
    push = torch.randn(1000, _ATOMS, generator=draw, dtype=torch.float64) * torch.logspace(-2, 0.5, 1000)[:, None]
    errors = {name: max(_error(name, p, q) for p, q in pairs) for name in F_DIVERGENCES}
    checks = _checks(tuple(F_DIVERGENCES), pairs, push)
    figure, (left, right) = panels(columns=2, height=3.0)
    (p, q), (tops, falls) = pairs[0], ([], [])
    sizes, way = torch.linspace(-1.5, 1.5, 81, dtype=torch.float64), push[-1] / push[-1].square().mean().sqrt()
    for name in F_DIVERGENCES:
        tops.append((float(f_divergence(name, p / _DRAWS, q / _DRAWS)), _objective(name, _optimum(name, p, q), p, q)))
        path = [_objective(name, _optimum(name, p, q) + size * way, p, q) for size in sizes]
        falls.append(torch.tensor(path) - tops[-1][1])
    _draw_tops(left, tops)
    for i, (name, fall) in enumerate(zip(F_DIVERGENCES, falls, strict=True)):
        style, wide = ("-", 1.2) if i < len(PALETTE) else ("--", 2.6 if name == "js" else 1.2)
        right.plot(sizes, fall, color=PALETTE[i % len(PALETTE)], linestyle=style, linewidth=wide, label=name)
    right.set_ylim(-2.0, 0.05)
    right.set_xlim(-1.6, 4.4)
    right.set_xticks([-1, 0, 1])
    legend(right, "center right")
    label(right, "disturbance of the score (root mean square)", "F − D_f", "No other score reaches more")
    return Outcome(
        figure, checks, {"errors": errors, "D_f, F(T*) of the first pair": dict(zip(errors, tops, strict=True))}
    )


def _checks(names: Sequence[str], pairs: Sequence[tuple[Tensor, Tensor]], push: Tensor) -> tuple[Check, ...]:
    """Every rule of the table, for the rows given; the disturbances ``(n, atoms)`` are dealt to the pairs in turn."""
    both = [(name, p, q, push[i :: len(pairs)]) for name in names for i, (p, q) in enumerate(pairs)]
    return (
        at_most("largest error of F(T*) = D_f", max(_error(*row[:3]) for row in both), 1e-9),
        at_most("largest error of D_f against its definition", max(_definition_error(*row[:3]) for row in both), 1e-9),
        at_most("largest gain of a disturbed score", max(_gain(*row) for row in both), 0.0),
        at_most("largest error of f*(f'(u)) = u f'(u) - f(u)", max(map(_conjugate_error, names)), 1e-9),
        at_most("largest error of T = f'(1) where p = q", max(map(_threshold_error, names)), 1e-9),
    )


def _counts(draw: torch.Generator) -> Tensor:
    """The number of draws of each atom; at least one."""
    shares = torch.rand(_ATOMS, generator=draw, dtype=torch.float64)
    extra = (shares / shares.sum() * (_DRAWS - _ATOMS)).floor()
    extra[0] += _DRAWS - _ATOMS - extra.sum()
    return extra + 1


def _optimum(name: str, p: Tensor, q: Tensor) -> Tensor:
    return FGan(divergence=name).optimal_score((p / q).log())


def _objective(name: str, scores: Tensor, p: Tensor, q: Tensor) -> float:
    """The discriminator's value for scores by atom."""
    real, fake = scores.repeat_interleave(p.long()), scores.repeat_interleave(q.long())
    return -float(FGan(divergence=name).discriminator(real, fake))


def _error(name: str, p: Tensor, q: Tensor) -> float:
    exact = float(f_divergence(name, p / _DRAWS, q / _DRAWS))
    return abs(_objective(name, _optimum(name, p, q), p, q) - exact) / (1 + abs(exact))


def _definition_error(name: str, p: Tensor, q: Tensor) -> float:
    """The identities hold for every convex f; this tells the row's divergence from another one, or a multiple."""
    exact = float(_DEFINITIONS[name](p / _DRAWS, q / _DRAWS).sum())
    return abs(float(f_divergence(name, p / _DRAWS, q / _DRAWS)) - exact) / (1 + abs(exact))


def _gain(name: str, p: Tensor, q: Tensor, pushes: Tensor) -> float:
    best = _optimum(name, p, q)
    top = _objective(name, best, p, q)
    return max(_objective(name, best + push, p, q) - top for push in pushes)


def _conjugate_error(name: str) -> float:
    row, u = F_DIVERGENCES[name], torch.logspace(-2, 2, 200, dtype=torch.float64)
    slope = row.slope(u)
    error = (row.conjugate(slope) - (u * slope - row.f(u))).abs() / (1 + row.f(u).abs())
    return float(error.max())


def _threshold_error(name: str) -> float:
    row, zero = F_DIVERGENCES[name], torch.zeros((), dtype=torch.float64)
    reached = row.output_map(row.optimal_score(zero))
    return float(max(abs(reached - row.threshold), abs(row.slope(zero.exp()) - row.threshold)))


def _draw_tops(axes: Axes, tops: list[tuple[float, float]]) -> None:
    places = range(len(tops))
    axes.barh(places, [exact for exact, _ in tops], color=GREY, height=0.6, label="D_f by summation")
    axes.plot([reached for _, reached in tops], places, "o", color=PALETTE[1], markersize=4, label="F at T* = f'(p/q)")
    axes.set_yticks(places, list(F_DIVERGENCES))
    axes.invert_yaxis()
    axes.axvline(0, color="#bdbdbd", linewidth=0.7)
    legend(axes, "upper left")
    label(axes, "divergence of two laws on 6 atoms", "", "The optimum reaches the divergence")
