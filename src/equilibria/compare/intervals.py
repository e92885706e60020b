"""Intervals at 95 %: of a mean, of a difference of means, of a share, of the probability that one method is better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit
from scipy.stats import binomtest

from ..base.arguments import whole
from ..base.errors import DataError
from ..base.spread import spread
from .values import Interval, seeds_of

LEVEL = 0.95


def student(values: ArrayLike) -> Interval:
    r"""The mean of all seeds with its interval (Student 1908), as :class:`~equilibria.base.spread.Spread` has it.

    .. math:: \bar x \pm t_{0.975,\,n-1}\; s / \sqrt n

    Without an estimate if a seed failed; without an interval for a single seed.

    Examples:
        >>> student([1.0, 2.0, 3.0])
        Interval(estimate=2.0, low=-0.484..., high=4.484...)
        >>> student([1.0, 2.0, float("inf")])
        Interval(estimate=None, low=None, high=None)
    """
    found = spread(seeds_of("values", values).tolist())
    return Interval(found.mean, found.low, found.high)


def welch(a: ArrayLike, b: ArrayLike) -> Interval:
    r"""The difference of the means, ``a`` less ``b``, with an interval for unequal variances (Welch 1947).

    .. math:: \bar a - \bar b \pm t_{0.975,\,\nu} \sqrt{v_a + v_b} \qquad v = s^2/n \qquad
        \nu = \frac{(v_a + v_b)^2}{v_a^2/(n-1) + v_b^2/(m-1)}

    Without an estimate if a seed failed; without an interval if a method has a single seed. The interval is not
    corrected for the number of pairs, so it makes no claim: see :func:`~equilibria.compare.verdicts.verdicts`.

    Examples:
        >>> welch([1.0, 2.0, 3.0], [4.0, 5.0, 9.0])
        Interval(estimate=-4.0, low=-9.74..., high=1.74...)
    """
    first, second = seeds_of("a", a), seeds_of("b", b)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return Interval(None, None, None)
    difference = float(first.mean() - second.mean())
    if len(first) < 2 or len(second) < 2:
        return Interval(difference, None, None)
    parts = [(float(one.var(ddof=1)) / len(one), len(one) - 1) for one in (first, second)]
    total = sum(part for part, _ in parts)
    if total == 0:
        return Interval(difference, difference, difference)
    freedom = 1 / sum((part / total) ** 2 / degrees for part, degrees in parts)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(total)
    return Interval(difference, difference - half, difference + half)


def wilson(k: int, n: int) -> Interval:
    r"""A share ``k / n`` with its interval (Wilson 1927): all :math:`\pi` with
    :math:`|k/n - \pi| \le z \sqrt{\pi (1-\pi)/n}`, where :math:`z = \Phi^{-1}(0.975)`.

    Raises:
        ConfigError: ``n`` is not at least 1, or ``k`` not between 0 and ``n``.

    Examples:
        >>> wilson(3, 10)
        Interval(estimate=0.3, low=0.107..., high=0.603...)
    """
    whole("n", n, 1)
    whole("k", k, 0, n)
    found = binomtest(k, n).proportion_ci(LEVEL, method="wilson")
    return Interval(k / n, float(found.low), float(found.high))


def improvement(a: ArrayLike, b: ArrayLike) -> Interval:
    r"""The probability that a seed of ``a`` is better (lower) than a seed of ``b``, with an interval.

    .. math:: \theta = P(A < B) + \tfrac12 P(A = B) \qquad
        \hat\theta = \frac{1}{nm} \sum_{i,j} [a_i < b_j] + \tfrac12 [a_i = b_j]

    The interval holds all :math:`\theta` with :math:`(\hat\theta - \theta)^2 \le z^2 V(\theta)`, where

    .. math:: V(\theta) = \frac{\theta (1 - \theta)}{nm}
        \left[1 + \Big(\frac{n + m}{2} - 1\Big) \Big(\frac{1-\theta}{2-\theta} + \frac{\theta}{1+\theta}\Big)\right]

    (Newcombe 2006, part 2, method 5). Other than a bootstrap it has a width where all seeds of one method are better.
    In simulations with 5 to 10 seeds it covered in 92 to 98 % of the cases. The exception were standard deviations in
    the proportion 1 : 4 (from 91 %), and 3 seeds (from 84 %).

    Examples:
        >>> improvement([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])
        Interval(estimate=1.0, low=0.642..., high=1.0)
    """
    first, second = seeds_of("a", a), seeds_of("b", b)
    n, m = len(first), len(second)
    better = np.sum(first[:, None] < second) + 0.5 * np.sum(first[:, None] == second)
    return _score_interval(float(better) / (n * m), n, m)


@lru_cache(maxsize=1024)
def _score_interval(found: float, n: int, m: int) -> Interval:
    z = float(ndtri((1 + LEVEL) / 2))

    def beyond(theta: float) -> float:
        inner = (1 - theta) / (2 - theta) + theta / (1 + theta)
        variance = theta * (1 - theta) * (1 + ((n + m) / 2 - 1) * inner) / (n * m)
        return (found - theta) ** 2 - z * z * variance

    inside = min(max(found, 1e-9), 1 - 1e-9)  # at 0 and 1 the variance is 0: they are roots, but not the ends
    low = 0.0 if found == 0 else float(brentq(beyond, 0, inside, xtol=1e-12))
    high = 1.0 if found == 1 else float(brentq(beyond, inside, 1, xtol=1e-12))
    return Interval(found, low, high)


def mean_improvement(parts: Sequence[Interval]) -> Interval:
    r"""The mean over problems of the probability of improvement (Agarwal et al. 2021, section 4.3), with an interval.

    .. math:: \bar\theta = \frac1P \sum_p \hat\theta_p \qquad
        \Big[\bar\theta - \tfrac1P \sqrt{\textstyle\sum_p (\hat\theta_p - l_p)^2},\;
        \bar\theta + \tfrac1P \sqrt{\textstyle\sum_p (u_p - \hat\theta_p)^2}\Big]

    from the intervals :math:`[l_p, u_p]` of the problems, which are independent (Zou & Donner 2008).

    Args:
        parts: :func:`improvement` on each problem.

    Raises:
        DataError: there is none, or one has no estimate or no end.

    Examples:
        >>> mean_improvement([improvement([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])] * 4)
        Interval(estimate=1.0, low=0.821..., high=1.0)
    """
    found = [(one.estimate, one.low, one.high) for one in parts]
    known = [(e, low, high) for e, low, high in found if e is not None and low is not None and high is not None]
    if not known or len(known) < len(found):
        what = f"{len(found) - len(known)} of {len(found)} intervals are without an end: all are needed, at least one"
        raise DataError(what, "give what improvement() returned on each problem")
    n = len(known)
    middle = sum(e for e, _, _ in known) / n
    below = math.sqrt(sum((e - low) ** 2 for e, low, _ in known)) / n
    above = math.sqrt(sum((high - e) ** 2 for e, _, high in known)) / n
    return Interval(middle, max(0.0, middle - below), min(1.0, middle + above))
