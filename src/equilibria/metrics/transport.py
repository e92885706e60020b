"""Wasserstein-1 distance of samples: exact by assignment, sliced, and on the line; and its floor, real against real."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..base.errors import ConfigError, ShapeError
from .checks import generator, pair
from .measured import Measured
from .scoring import Score, Suite, compared, halves

Distance = Callable[[Tensor, Tensor], float]
_MOST = 5000


def exact_w1(x: Tensor, y: Tensor) -> float:
    r"""Wasserstein-1 distance of two empirical laws of the same size, exactly.

    .. math:: W_1 = \min_{\pi} \frac1n \sum_i \|x_i - y_{\pi(i)}\|_2

    over permutations (Villani 2003, introduction: uniform laws on n points have a permutation as optimal coupling). Its
    excess over the distance of the laws decreases like :math:`n^{-1/\max(d, 2)}`, so report ``n`` and the floor too.

    Args:
        x: ``(n, …)``; every row is flattened.
        y: ``(n, …)``.

    Raises:
        ShapeError: different sizes or dimensions, or more than 5000 points (the time grows like :math:`n^3`).
        DataError: an entry is not finite.

    Examples:
        >>> exact_w1(torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [2.0]]))
        2.0
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    a, b = pair(x, y)
    if len(a) != len(b):
        raise ShapeError(f"exact W1 by assignment of {len(a)} points to {len(b)}", "pass two sets of the same size")
    if len(a) > _MOST:
        raise ShapeError(
            f"exact W1 of {len(a)} points; its time grows like n³", f"pass at most {_MOST}, or use sliced_w1"
        )
    cost = cdist(a.numpy(), b.numpy())
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


def line_w1(x: Tensor, y: Tensor) -> float:
    r"""Wasserstein-1 distance of two empirical laws on the line, of any sizes.

    .. math:: W_1 = \int_0^1 |F_x^{-1}(t) - F_y^{-1}(t)|\,dt

    (Villani 2003, Theorem 2.18, remark 2.19).

    Args:
        x: ``(n,)`` or ``(n, 1)``.
        y: ``(m,)`` or ``(m, 1)``.

    Raises:
        ShapeError: the points are not one-dimensional.
        DataError: an entry is not finite.

    Examples:
        >>> line_w1(torch.tensor([0.0, 1.0]), torch.tensor([5.5]))
        5.0
    """
    a, b = pair(x, y)
    if a.shape[1] != 1:
        raise ShapeError(f"points of dimension {a.shape[1]} are not on a line", "use exact_w1 or sliced_w1")
    return float(_along_columns(a, b)[0])


def sliced_w1(x: Tensor, y: Tensor, projections: int = 128, seed: int = 0) -> float:
    r"""Sliced Wasserstein-1 distance: the mean of the distances of the projections onto random directions.

    .. math:: SW_1 = \mathbb{E}_{u \sim U(S^{d-1})} W_1(u_\# p, u_\# q)

    (Rabin et al. 2012; Bonneel et al. 2015), estimated with ``projections`` directions drawn from ``seed``. The same
    seed gives the same directions for every pair of samples.

    Args:
        x: ``(n, …)``.
        y: ``(m, …)``; sizes may differ.
        projections: number of directions.
        seed: seed of the directions.

    Raises:
        ShapeError: different dimensions.
        DataError: an entry is not finite.
        ConfigError: no projection.

    Examples:
        >>> x = torch.zeros(4, 3)
        >>> sliced_w1(x, x)
        0.0
    """
    a, b = pair(x, y)
    if projections < 1:
        raise ConfigError(f"projections={projections}: at least one is needed", "use projections=128")
    lines = torch.randn(a.shape[1], projections, dtype=torch.float64, generator=generator(seed))
    lines = lines / lines.norm(dim=0)
    return float(_along_columns(a @ lines, b @ lines).mean())


def two_sample_floor(pool: Tensor, distance: Distance, repeats: int = 5, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of a distance between two halves of real data: the score of a perfect sampler.

    The halves are disjoint and drawn again in every repeat; the sample size of the floor is ``len(pool) // 2``. Pass
    ``2 n`` rows for the floor at ``n``.

    Args:
        pool: real rows ``(2 n, …)``.
        distance: any function of two sets.
        repeats: number of splits.
        seed: seed of the splits.

    Raises:
        ShapeError: fewer than two rows.

    Examples:
        >>> two_sample_floor(torch.zeros(8, 2), exact_w1)
        (0.0, 0.0)
    """
    values = [distance(a, b) for a, b in halves(pool, repeats, seed)]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _along_columns(a: Tensor, b: Tensor) -> Tensor:
    """W1 of each column of ``a (n, p)`` and ``b (m, p)``: the quantile functions are constant between joint cuts."""
    a, b = a.sort(0).values, b.sort(0).values
    n, m = len(a), len(b)
    if n == m:
        return (a - b).abs().mean(0)
    # Cuts at i/n and j/m, stored as integers over n m so that common cuts coincide exactly.
    lcm = math.lcm(n, m)
    cuts = torch.cat([torch.arange(n) * (lcm // n), torch.arange(m) * (lcm // m)]).sort().values
    widths = torch.diff(cuts, append=torch.tensor([lcm])).double() / lcm
    return widths @ (a[cuts // (lcm // n)] - b[cuts // (lcm // m)]).abs()


def _exact(fake: Tensor, pool: Tensor, suite: Suite) -> dict[str, Measured]:
    return compared(["w1"], lambda a, b: [exact_w1(a, b)], fake, pool, suite, suite.exact, unit="distance")


def _sliced(fake: Tensor, pool: Tensor, suite: Suite) -> dict[str, Measured]:
    def score(a: Tensor, b: Tensor) -> list[float]:
        return [sliced_w1(a, b, suite.projections, suite.seed)]

    return compared(["sliced_w1"], score, fake, pool, suite, suite.linear, unit="distance")


SCORES = (Score("vectors", _exact), Score("vectors", _sliced))
