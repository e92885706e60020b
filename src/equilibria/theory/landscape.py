r"""Minimisers: bad local minima of separable and of paired losses, and the mixture that minimises each divergence.

The first half counts configurations of ``n`` free generated points against ``n`` distinct data points at the optimal
discriminator (Sun, Fang & Schwing 2020). A configuration is a tuple: entry ``i`` is the index of the data point on
which generated point ``i`` lies, or :data:`OFF` if it lies on none. Values are the discriminator's supremum, in nats;
the generator minimises them.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .checks import check_law, check_positive, readable
from .divergences import F_DIVERGENCES, f_integral

OFF = -1
Configuration = tuple[int, ...]
Value = Callable[[Configuration], float]
_MOST = 6


class LandscapeCount(NamedTuple):
    """The number of configurations with all generated points on data points.

    Attributes:
        assignments: all of them, ``n^n``.
        bijections: those that match the data, ``n!``.
        collapsed: the others, ``n^n - n!``.
    """

    assignments: int
    bijections: int
    collapsed: int


def landscape_count(n: int) -> LandscapeCount:
    r"""Exactly :math:`n^n - n!` assignments are bad strict local minima of a separable loss, none of a paired one.

    (Sun, Fang & Schwing 2020, Theorems 1 and 2.) Assumptions: ``n`` distinct data points, ``n`` free generated points,
    the discriminator optimal among all functions at every configuration. :func:`strict_local_minima` finds them by
    search.

    Args:
        n: points on each side.

    Raises:
        ValueError: ``n < 1``.

    Examples:
        >>> landscape_count(3)
        LandscapeCount(assignments=27, bijections=6, collapsed=21)
    """
    if n < 1:
        raise ValueError(f"a landscape of {n} points; at least one is needed")
    return LandscapeCount(n**n, math.factorial(n), n**n - math.factorial(n))


def separable_value(configuration: Configuration) -> float:
    r"""The optimal value of the vanilla, separable loss at a configuration, in nats.

    .. math:: \sup_D \frac1n \sum_i \log D(x_i) + \frac1n \sum_i \log(1 - D(y_i))

    A data point with ``m`` generated points on it contributes :math:`\log\frac{1}{1+m} + m \log\frac{m}{1+m}`; a
    generated point off the data contributes nothing. The least value is :math:`-\log 4`, at bijections.

    Args:
        configuration: entries in ``0..n-1`` or :data:`OFF`.

    Raises:
        ValueError: an entry out of range.

    Examples:
        >>> round(separable_value((0, 1)), 4), round(separable_value((0, 0)), 4)
        (-1.3863, -0.9548)
    """
    _check(configuration)
    counts = Counter(at for at in configuration if at != OFF)
    terms = (m * math.log(m / (1 + m)) - math.log(1 + m) for m in counts.values())
    return math.fsum(terms) / len(configuration)


def paired_value(configuration: Configuration) -> float:
    r"""The optimal value of relativistic pairing at a configuration, in nats.

    .. math:: \sup_h \frac1n \sum_i \log \sigma(h(x_i) - h(y_i)) = -\frac{\log 2}{n}\, \#\{i \text{ on a cycle}\}

    Take the configuration as a graph with an edge from data point ``i`` to the data point under generated point ``i``.
    Along a cycle the differences sum to zero, so by concavity the best choice is zero for all of them; every other
    difference can be made arbitrarily large, all at once. The least value :math:`-\log 2` is reached exactly if
    ``{y} = {x}``.

    Args:
        configuration: entries in ``0..n-1`` or :data:`OFF`.

    Raises:
        ValueError: an entry out of range.

    Examples:
        >>> round(paired_value((1, 0)), 4), round(paired_value((0, 0)), 4)
        (-0.6931, -0.3466)
    """
    _check(configuration)
    n = len(configuration)
    on_cycle = 0
    for start in range(n):
        at = configuration[start]
        for _ in range(n):
            if at in (OFF, start):
                break
            at = configuration[at]
        on_cycle += at == start
    return -math.log(2) * on_cycle / n


def strict_local_minima(n: int, value: Value) -> list[Configuration]:
    r"""Every assignment of all points to data points from which each small move increases the value.

    A small move of a set of points takes them off the data (data points are distinct, so there is no other one nearby);
    the value depends on this only. All ``2^n - 1`` sets are tried at all ``n^n`` assignments.

    Args:
        n: points on each side, at most 6.
        value: :func:`separable_value` or :func:`paired_value`.

    Raises:
        ValueError: ``n`` out of range.

    Examples:
        >>> strict_local_minima(2, separable_value)
        [(0, 0), (0, 1), (1, 0), (1, 1)]
        >>> strict_local_minima(2, paired_value)
        [(0, 1), (1, 0)]
    """
    _check_size(n)
    moved = [set(s) for size in range(1, n + 1) for s in itertools.combinations(range(n), size)]

    def is_strict(at: Configuration) -> bool:
        here = value(at)
        return all(value(tuple(OFF if i in s else a for i, a in enumerate(at))) > here + 1e-12 for s in moved)

    return [at for at in itertools.product(range(n), repeat=n) if is_strict(at)]


def trapped(n: int, value: Value) -> list[Configuration]:
    r"""Configurations from which no non-increasing path leads to the least value.

    A path moves one point at a time, off the data or onto a data point. For the paired loss the list is empty: there is
    no bad basin (Sun, Fang & Schwing 2020, Theorem 2). For a separable loss it contains the collapsed assignments.

    Args:
        n: points on each side, at most 6.
        value: :func:`separable_value` or :func:`paired_value`.

    Raises:
        ValueError: ``n`` out of range.

    Examples:
        >>> trapped(2, paired_value), trapped(2, separable_value)
        ([], [(0, 0), (1, 1)])
    """
    _check_size(n)
    places = range(OFF, n)
    heights = {at: value(at) for at in itertools.product(places, repeat=n)}
    least = min(heights.values())
    free = {at for at, height in heights.items() if height <= least + 1e-12}
    found = list(free)
    while found:  # backwards: find the configurations from which a path may descend to this one
        at = found.pop()
        for i, place in itertools.product(range(n), places):
            before = (*at[:i], place, *at[i + 1 :])
            if before not in free and heights[before] >= heights[at] - 1e-12 and _passable(at, before, i, heights):
                free.add(before)
                found.append(before)
    return sorted(heights.keys() - free)


def _passable(at: Configuration, before: Configuration, i: int, heights: dict[Configuration, float]) -> bool:
    """Whether the value does not rise while the point moves between two data points, off the data."""
    return heights[(*at[:i], OFF, *at[i + 1 :])] <= heights[before] + 1e-12


class MixtureFit(NamedTuple):
    """The mixture of equal Gaussians that minimises a divergence.

    Attributes:
        centres: ``(m, d)``.
        std: standard deviation of every component, in every direction.
        divergence: the divergence between target and fit, in its unit.
        density: density of the fit at the points, ``(k,)``.
    """

    centres: Tensor
    std: float
    divergence: float
    density: Tensor


def mixture_density(points: Tensor, centres: Tensor, std: Tensor) -> Tensor:
    r"""Density of :math:`\frac1m \sum_j N(c_j, \sigma^2 I)` at the points, with a lower bound far from the centres.

    The lower bound, ``e^-230`` of the peak (``e^-40`` in float32), keeps squares of densities from underflowing, where
    the slopes of divergences would be undefined.

    Args:
        points: ``(k, d)``.
        centres: ``(m, d)``.
        std: a scalar > 0.

    Raises:
        ValueError: shapes that do not fit, or a standard deviation that is not positive.

    Examples:
        >>> mixture_density(torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor(1.0))
        tensor([0.3989])
    """
    if points.ndim != 2 or centres.ndim != 2 or points.shape[1] != centres.shape[1] or std.numel() != 1:
        shapes = f"{tuple(points.shape)}, {tuple(centres.shape)}, {tuple(std.shape)}"
        raise ValueError(f"points, centres and std of shapes {shapes}; want (k, d), (m, d) and a scalar")
    if readable(std):
        check_positive(std=std.item())
    squares = (points[:, None] - centres).square().sum(-1)
    lowest = -40 if squares.dtype == torch.float32 else -230
    kernel = (-squares / (2 * std**2)).clamp(min=lowest).exp()
    return kernel.mean(1) / (math.sqrt(2 * math.pi) * std) ** points.shape[1]


def fit_mixture(
    name: str, target: Tensor, points: Tensor, weights: Tensor, centres: Tensor, std: float = 1.0
) -> MixtureFit:
    r"""Fit equal Gaussians to a density on a grid.

    .. math:: \min_{c, \sigma} D_f\Big(p \,\Big\|\, \frac1m \sum_j N(c_j, \sigma^2 I)\Big)

    If the generator is too small for the data, the result depends on the divergence: KL covers all modes, reverse KL
    selects one, and JSD switches from covering to selecting as the modes move apart; that "JS favours realism and
    coverage equally" is a heuristic (E63). The search is local (L-BFGS from the given start), so with a mode-seeking
    divergence the result depends on the start.

    Args:
        name: a key of ``F_DIVERGENCES``.
        target: density ``p`` at the points, ``(k,)``.
        points: the grid, ``(k, d)``.
        weights: quadrature weights, ``(k,)``.
        centres: centres at the start of the search, ``(m, d)``; one row fits one Gaussian.
        std: standard deviation at the start, > 0.

    Raises:
        ValueError: unknown name, shapes that do not fit, a target that does not integrate to 1, or ``std <= 0``.

    Examples:
        >>> x = torch.linspace(-10, 10, 801, dtype=torch.float64)[:, None]
        >>> target = mixture_density(x, torch.tensor([[1.0]]), torch.tensor(0.5))
        >>> fit = fit_mixture("kl", target, x, torch.full((801,), 0.025).double(), torch.zeros(1, 1))
        >>> round(fit.centres.item(), 4), round(fit.std, 4)
        (1.0, 0.5)
    """
    _check_fit(name, target, points, weights, centres)
    check_positive(std=std)
    place = centres.detach().to(points).clone().requires_grad_()
    log_std = points.new_tensor(math.log(std)).requires_grad_()
    search = torch.optim.LBFGS(
        [place, log_std], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )
    lowest, highest = points.amin(0), points.amax(0)
    widest = math.log(float((highest - lowest).max()))

    def density() -> Tensor:
        # A line search may try distant points, where densities overflow; none of them fits better than the grid's edge.
        inside = torch.minimum(torch.maximum(place, lowest), highest)
        return mixture_density(points, inside, log_std.clamp(widest - 12, widest).exp())

    def closure() -> float:
        search.zero_grad()
        left = f_integral(name, target, density(), weights)
        left.backward()  # type: ignore[no-untyped-call]
        return float(left.detach())

    with torch.enable_grad():
        search.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        fitted = density()
        return MixtureFit(
            place.detach(), float(log_std.exp()), float(f_integral(name, target, fitted, weights)), fitted
        )


def _check_fit(name: str, target: Tensor, points: Tensor, weights: Tensor, centres: Tensor) -> None:
    if name not in F_DIVERGENCES:
        raise ValueError(f"unknown divergence '{name}'; known: {', '.join(F_DIVERGENCES)}")
    k = len(target)
    if target.ndim != 1 or points.ndim != 2 or len(points) != k or weights.shape != (k,):
        shapes = f"{tuple(target.shape)}, {tuple(points.shape)}, {tuple(weights.shape)}"
        raise ValueError(f"target, points and weights of shapes {shapes}; want (k,), (k, d), (k,)")
    if centres.ndim != 2 or centres.shape[1] != points.shape[1]:
        raise ValueError(f"centres of shape {tuple(centres.shape)}; want (m, {points.shape[1]})")
    check_law(target, "the target", weights)


def _check(configuration: Configuration) -> None:
    n = len(configuration)
    if n == 0 or not all(OFF <= at < n for at in configuration):
        raise ValueError(f"configuration {configuration}; entries are data 0..{n - 1}, or {OFF} for off the data")


def _check_size(n: int) -> None:
    if not 1 <= n <= _MOST:
        raise ValueError(f"a search over {n} points; want 1 to {_MOST} (the cost is n^n), or use landscape_count")
