"""Exact tests of two methods: Mann-Whitney on one problem, its sum over problems, and sign changes of differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from ..base.arguments import seed_of, whole
from ..base.errors import DataError
from .values import Values, probability, strata

MOST = 200  # values of both methods together: the exact law of more takes seconds
EXACT_SIGNS = 20  # differences whose 2^n sign changes are enumerated
DRAWS = 100_000


def mann_whitney(a: ArrayLike, b: ArrayLike) -> float:
    r"""The exact two-sided p value that two methods have one law (Mann & Whitney 1947), with ties.

    .. math:: p = P\big(|R - \tfrac{n(N+1)}{2}| \ge |r - \tfrac{n(N+1)}{2}|\big)

    :math:`r` is the sum of the ranks of the ``n`` values of ``a`` among all :math:`N = n + m`; equal values have the
    mean of their ranks, and :math:`R` is that sum for a random choice of ``n`` of the ``N`` ranks (Lehmann 1975,
    section 1.4). So ties, and failed seeds that tie for the worst rank, are exact as well.

    Args:
        a: values of the seeds, lower is better; ``inf`` for a seed that failed.
        b: the same of the other method.

    Raises:
        DataError: a value is ``nan``, or there are more than 200.

    Examples:
        >>> round(mann_whitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]), 4)
        0.0079
        >>> round(mann_whitney([1, 2, 2, 3], [3, 4, float("inf"), float("inf")]), 4)
        0.0571
    """
    return stratified([a], [b])


def stratified(a: Sequence[ArrayLike], b: Sequence[ArrayLike]) -> float:
    r"""The exact two-sided p value that two methods have one law *on each* of several problems.

    The statistic is the sum of the Mann-Whitney statistics of the problems, each centred; its law is the convolution
    of their permutation laws, since the problems are independent. With as many seeds on each problem it is the test
    of van Elteren (1960). It says something about these problems, not about others: for those see
    :func:`paired_permutation`.

    Args:
        a: for each problem the values of the seeds, lower is better; ``inf`` for a seed that failed.
        b: the same of the other method.

    Raises:
        DataError: the numbers of problems differ, a value is ``nan``, or a problem has more than 200 values.

    Examples:
        >>> round(stratified([[1, 2, 3], [10, 20, 30]], [[4, 5, 6], [40, 50, 60]]), 4)
        0.005
    """
    first, second = strata("a", a), strata("b", b)
    if len(first) != len(second):
        what = f"a has {len(first)} problems and b has {len(second)}: both need the same"
        raise DataError(what, "leave out the problems that one of them lacks")
    law, observed, middle = np.ones(1), 0, 0
    for one, other in zip(first, second, strict=True):
        n, total = len(one), len(one) + len(other)
        if total > MOST:
            raise DataError(f"{total} seeds of two methods: at most {MOST} are supported", "give fewer seeds")
        ranks = _doubled_ranks(np.concatenate([one, other]))
        law = np.convolve(law, rank_sums(tuple(sorted(ranks)), n))
        observed += sum(ranks[:n])
        middle += n * (total + 1)
    law = law / law.sum()
    extreme = np.abs(np.arange(len(law)) - middle) >= abs(observed - middle)
    return min(1.0, float(law[extreme].sum()))


def _doubled_ranks(values: Values) -> list[int]:
    """Twice the ranks, so that the mean rank of equal values is a whole number."""
    ordered = np.sort(values)
    below, not_above = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    ranks: list[int] = (below + not_above + 1).tolist()
    return ranks


@lru_cache(maxsize=256)
def rank_sums(ranks: tuple[int, ...], n: int) -> Values:
    """The probability of each sum of ``n`` different ones of the ranks, chosen at random.

    Examples:
        >>> rank_sums((2, 4, 6), 2)[[6, 8, 10]].round(3).tolist()
        [0.333, 0.333, 0.333]
    """
    most = sum(sorted(ranks)[-n:])
    counts = np.zeros((n + 1, most + 1))
    counts[0, 0] = 1
    for rank in ranks:  # choose it or not: counts[k, s] choices of k ranks with the sum s
        counts[1:, rank:] += counts[:-1, : most + 1 - rank].copy()
    law: Values = counts[n] / counts[n].sum()
    law.flags.writeable = False
    return law


def least_p(n: int, m: int) -> float:
    r"""The least p value that :func:`mann_whitney` can give: :math:`2 / \binom{n+m}{n}`.

    Examples:
        >>> round(least_p(5, 5), 4), least_p(3, 3)
        (0.0079, 0.1)
    """
    return min(1.0, 2 / math.comb(whole("n", n, 1) + whole("m", m, 1), n))


def seeds_needed(comparisons: int, level: float = 0.05) -> int:
    """The fewest seeds of each method with which one of so many comparisons can be significant after Holm.

    Examples:
        >>> seeds_needed(1), seeds_needed(6), seeds_needed(45)
        (4, 5, 7)
    """
    whole("comparisons", comparisons, 1)
    limit, n = probability("level", level), 1
    while comparisons * least_p(n, n) > limit:
        n += 1
    return n


def paired_permutation(differences: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> float:
    r"""The two-sided p value that differences are symmetric around 0, by random changes of their signs (Fisher 1935).

    .. math:: p = P\big(\big|\textstyle\sum_i \pm d_i\big| \ge \big|\sum_i d_i\big|\big)

    Up to 20 differences all :math:`2^n` sign changes are enumerated. For more, ``draws`` random ones are counted, the
    observed one among them, which keeps the test valid: :math:`p = (1 + k) / (1 + \text{draws})` (Phipson & Smyth
    2010).

    An infinite difference (one method failed) counts more than all finite ones together, and among each other they
    count the same. Where both methods failed, the difference is 0.

    Args:
        differences: one per problem.
        draws: number of random sign changes where there are too many.
        seed: of these.

    Raises:
        DataError: a difference is ``nan``, or there is none.

    Examples:
        >>> paired_permutation([1, 2, 3, 4, 5])
        0.0625
        >>> paired_permutation([1, 2, -3, float("inf"), float("inf")])
        0.3125
    """
    try:
        d = np.asarray(differences, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("the differences hold something other than numbers", "give one per problem") from error
    if d.ndim != 1 or not len(d) or np.isnan(d).any():
        what = f"differences of the shape {d.shape} with {int(np.isnan(d).sum())} nan: a list of numbers is needed"
        raise DataError(what, "give one number per problem; 0 where both methods failed")
    draws, seed = whole("draws", draws, 1), seed_of(seed)
    limited = np.isfinite(d)
    size = np.abs(d[limited]).sum()
    d = np.where(limited, d, np.sign(d) * (2 * size or 1.0))
    least = abs(d.sum()) - 1e-12 * np.abs(d).sum()  # sums of the same numbers in another order differ by rounding
    if len(d) <= EXACT_SIGNS:
        sums = np.zeros(1)
        for one in d:
            sums = np.concatenate([sums + one, sums - one])
        return float(np.mean(np.abs(sums) >= least))
    source, hits = np.random.default_rng(seed), 0
    for start in range(0, draws, 10_000):
        signs = source.integers(0, 2, (min(10_000, draws - start), len(d))) * 2 - 1
        hits += int((np.abs(signs @ d) >= least).sum())
    return (1 + hits) / (1 + draws)


def least_paired_p(n: int) -> float:
    r"""The least p value that :func:`paired_permutation` can give for ``n`` differences: :math:`2 / 2^n`.

    Examples:
        >>> least_paired_p(5), least_paired_p(6)
        (0.0625, 0.03125)
    """
    return min(1.0, 2.0 ** (1 - whole("n", n, 1)))


def pairs_needed(comparisons: int, level: float = 0.05) -> int:
    """The fewest differences with which one of so many paired comparisons can be significant after Holm.

    Examples:
        >>> pairs_needed(1), pairs_needed(45)
        (6, 11)
    """
    whole("comparisons", comparisons, 1)
    limit, n = probability("level", level), 1
    while comparisons * least_paired_p(n) > limit:
        n += 1
    return n
