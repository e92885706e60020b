"""A nearly perfect discriminator leaves the generator almost no gradient: the bound of Theorem 2.4, and its norm.

Two parallel lines. The discriminator is the perfect one plus a ripple. With fixed wavelength and decreasing height it
converges in value *and* slope, as the theorem requires; with decreasing wavelength it converges in value only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from matplotlib.axes import Axes
from torch import Tensor

from ..figures.images import INK
from ..figures.panels import GREY, PALETTE, label, legend, logarithmic, panels
from ..losses import Minimax
from ..theory.supports import Map, generator_gradient, smooth_norm, smooth_perfect_discriminator, vanishing_bound
from .claim import Check, Claim, Outcome, at_least, at_most, close

CLAIM = Claim(
    paper="arjovsky2017principled",
    figure="Theorem 2.4, Corollary 2.1",
    statement="If D is within eps of the perfect D* in value and slope, the gradient of E log(1 - D(G(z))) is below "
    "M eps/(1 - eps), so it vanishes with eps. In value alone is not enough.",
    printed="norm < M eps/(1 - eps)",
    derived="slope 1 in log-log as eps goes to 0; of the counter-example, -1",
    tolerance="strict at eps = .3, .1, .03, .01, and never below .4 of the bound, as it would be of one three times as "
    "large; M by hand to 1e-9; log-log slope 1 within .05 between the two smallest, where the bound's own is 1.019",
    budget=(4, 4),
    items=("T19", "E8", "E41", "E42"),
)
_SIZES = (0.3, 0.1, 0.03, 0.01)
_GAP, _HEIGHT, _NUMBER = 1.0, 0.02, 50.0
_START = {"shift": torch.tensor([_GAP, 0.0]).double(), "stretch": torch.tensor(1.0).double()}


def run(quick: bool) -> Outcome:
    z = torch.linspace(0, 1, 64, dtype=torch.float64)[:, None]
    perfect, grid = _perfect(), _grid()
    error = _ripple(perfect, _HEIGHT, _NUMBER)
    scale = 0.999 / smooth_norm(error, grid)  # the supremum of the theorem is over all points, the grid's is smaller
    tame = [_plus(perfect, error, scale * size) for size in _SIZES]
    wild = [_plus(perfect, _ripple(perfect, size / 2, 1 / size**2), 1.0) for size in _SIZES]
    near = [smooth_norm(_less(discriminator, perfect), grid) for discriminator in tame]
    found = [generator_gradient(discriminator, _generate, _START, z) for discriminator in tame]
    norms, bounds = (
        [f.norm for f in found],
        [vanishing_bound(e, f.jacobian) for e, f in zip(_SIZES, found, strict=True)],
    )
    free = [generator_gradient(discriminator, _generate, _START, z).norm for discriminator in wild]
    trained = [_trained(discriminator, z) for discriminator in tame]
    checks = (
        at_most("largest ratio of the distance in value and slope to eps", _largest(near, _SIZES), 1.0),
        at_most("largest ratio of the gradient's norm to its bound", _largest(norms, bounds), 1.0),
        at_least("smallest ratio of the gradient's norm to its bound", min(map(_ratio, norms, bounds)), 0.4),
        # The generator is shift + stretch (0, z): its Jacobian is (I, (0, z)), with the squared norm 1 + z^2.
        close("M of the shifted and stretched line", found[0].jacobian, float((1 + z.square()).mean().sqrt()), 1e-9),
        close("bound over M at eps = .3", bounds[0] / found[0].jacobian, 3 / 7, 1e-9),
        close("log-log slope of the norm between the two smallest eps", _secant(norms), 1.0, 0.05),
        close("log-log slope of the bound there", _secant(bounds), 1.0, 0.05),
        at_most("largest relative difference from the gradient of the loss that trains", _apart(norms, trained), 1e-9),
        at_least("norm over the bound as printed, without a root (E41), eps = .01", norms[-1] / bounds[-1] ** 2, 1.0),
        *_counter_example(free, [_in_value(discriminator, perfect, grid) for discriminator in wild]),
    )
    figure, (left, right) = panels(columns=2)
    _draw_norms(left, norms, bounds, free)
    _draw_discriminators(right, perfect, tame[1], wild[1])
    rows = zip(_SIZES, norms, bounds, free, strict=True)
    table = {f"eps = {e:g}": [float(n), float(b), float(f)] for e, n, b, f in rows}
    return Outcome(figure, checks, {"gradient norm, bound, norm of the counter-example": table, "M": found[0].jacobian})


def _perfect() -> Map:
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    return smooth_perfect_discriminator(_line(0.0, t), _line(_GAP, t), net=1 / 16)


def _line(at: float, t: Tensor) -> Tensor:
    return torch.stack([torch.full_like(t, at), t], 1)


def _grid() -> Tensor:
    across = torch.linspace(-0.25, 1.25, 1501, dtype=torch.float64)
    return torch.cartesian_prod(across, torch.linspace(0, 1, 9, dtype=torch.float64))


def _generate(parameters: Mapping[str, Tensor], z: Tensor) -> Tensor:
    return parameters["shift"] + parameters["stretch"] * torch.cat([torch.zeros_like(z), z], 1)


def _ripple(perfect: Map, height: float, number: float) -> Map:
    """An error between 0 and twice the height that keeps the sum in (0, 1): added to fakes, taken from real points."""

    def error(x: Tensor) -> Tensor:
        return height * (1 + (number * (x[:, 0] - _GAP)).sin()) * (1 - 2 * perfect(x))

    return error


def _plus(perfect: Map, error: Map, scale: float) -> Map:
    return lambda x: perfect(x) + scale * error(x)


def _less(discriminator: Map, perfect: Map) -> Map:
    return lambda x: discriminator(x) - perfect(x)


def _in_value(discriminator: Map, perfect: Map, grid: Tensor) -> float:
    return float((discriminator(grid) - perfect(grid)).abs().max())


def _trained(discriminator: Map, z: Tensor) -> float:
    """The same norm through the objective, in logits, as the trainer takes it."""
    own = {name: value.clone().requires_grad_() for name, value in _START.items()}
    with torch.enable_grad():
        loss = Minimax().generator(discriminator(_generate(own, z)).logit())
        grads = torch.autograd.grad(loss, list(own.values()))
    return math.hypot(*(float(g.norm()) for g in grads))


def _counter_example(norms: list[float], distances: list[float]) -> tuple[Check, ...]:
    return (
        at_most("counter-example: largest ratio of the distance in value to eps", _largest(distances, _SIZES), 1.0),
        close("counter-example: log-log slope of the norm between the two smallest eps", _secant(norms), -1.0, 0.05),
    )


def _secant(norms: list[float]) -> float:
    return math.log(norms[-2] / norms[-1]) / math.log(_SIZES[-2] / _SIZES[-1])


def _ratio(above: float, below: float) -> float:
    return above / below


def _largest(above: list[float], below: list[float] | tuple[float, ...]) -> float:
    return max(a / b for a, b in zip(above, below, strict=True))


def _apart(a: list[float], b: list[float]) -> float:
    return max(abs(x / y - 1) for x, y in zip(a, b, strict=True))


def _draw_norms(axes: Axes, norms: list[float], bounds: list[float], free: list[float]) -> None:
    axes.plot(_SIZES, free, "s-", color=PALETTE[1], linewidth=1.2, markersize=4, label="D near D* in value only")
    axes.plot(_SIZES, bounds, "--", color=GREY, linewidth=1.4, label="bound M ε/(1 − ε)")
    axes.plot(_SIZES, norms, "o-", color=PALETTE[0], linewidth=1.2, markersize=4, label="D near D* in value and slope")
    logarithmic(axes, x=True, y=True)
    axes.set_xticks(_SIZES, [f"{size:g}" for size in _SIZES])
    axes.set_ylim(3e-3, 2e3)
    label(axes, "distance ε of D from D*", "generator's gradient norm", "The gradient vanishes only if slopes agree")
    legend(axes, "upper right")


def _draw_discriminators(axes: Axes, perfect: Map, tame: Map, wild: Map) -> None:
    across = torch.linspace(-0.25, 1.25, 3001, dtype=torch.float64)
    points = torch.stack([across, torch.full_like(across, 0.5)], 1)
    axes.plot(across, wild(points), color=PALETTE[1], linewidth=0.5, label="near in value only")
    axes.plot(across, tame(points), color=PALETTE[0], linewidth=1.4, label="near in value and slope")
    axes.plot(across, perfect(points), "--", color="black", linewidth=1.0, label="perfect D*")
    for at, height, side in ((0.0, 1.0, "data"), (_GAP, 0.0, "generated")):
        axes.plot([at], [height], "o", color="black", markersize=5)
        axes.annotate(side, (at, 0.8 if height else 0.17), fontsize=8, ha="center", color=INK)
    label(axes, "position across the two lines", "D (probability of real)", "Two discriminators within ε = 0.1 of D*")
    legend(axes, "lower left")
