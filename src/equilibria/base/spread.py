"""A metric over seeds: mean with interval, and median, with failed seeds ranked worst."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean, median, stdev

from .records import record


@record
class Spread:
    r"""A metric over seeds: the mean with its 95 % interval, and the median.

    .. math:: \bar x \pm t_{0.975,\,n-1}\; s / \sqrt n \qquad
        s^2 = \frac1{n-1} \sum_i (x_i - \bar x)^2

    (Student 1908; normal values are assumed). A seed that diverged, or whose metric is not a finite number, is a result
    and not a gap: it ranks worst in the median, and there is no mean. The survivors of a method that fails half the
    time say little about it.

    Args:
        mean: of all seeds; None if one has no number.
        low: lower end of the interval; None with a single seed, or without a mean.
        high: upper end of the interval.
        median: over all seeds, failed ones ranked worst; None if those are half or more.
        n: number of seeds with a number.
        failed: number of seeds without one.
        floor: the score of a perfect sampler; None if it is unknown.
        unit: unit of the metric.
    """

    mean: float | None
    low: float | None
    high: float | None
    median: float | None
    n: int
    failed: int = 0
    floor: float | None = None
    unit: str = ""


def spread(
    values: Iterable[float | None], *, higher: bool = False, floor: float | None = None, unit: str = ""
) -> Spread:
    """The :class:`Spread` of the values of all seeds.

    Args:
        values: one per seed; None, or a number that is not finite, for a seed that failed.
        higher: whether a higher value is better.
        floor: the score of a perfect sampler.
        unit: unit of the metric.

    Examples:
        >>> found = spread([1.0, 2.0, 3.0])
        >>> found.mean, round(found.low, 2), round(found.high, 2)
        (2.0, -0.48, 4.48)
        >>> found = spread([1.0, None, 3.0])
        >>> found.mean, found.median, found.failed
        (None, 3.0, 1)
    """
    from scipy import stats

    given = list(values)
    numbers = [float(value) for value in given if value is not None and math.isfinite(value)]
    n, failed = len(numbers), len(given) - len(numbers)
    middle = median([*numbers, *[-math.inf if higher else math.inf] * failed]) if given else math.inf
    mean = low = high = None
    if n and not failed:
        mean = fmean(numbers)
        if n > 1:
            half = float(stats.t.ppf(0.975, n - 1)) * stdev(numbers) / math.sqrt(n)
            low, high = mean - half, mean + half
    return Spread(
        mean=mean,
        low=low,
        high=high,
        median=middle if math.isfinite(middle) else None,
        n=n,
        failed=failed,
        floor=floor,
        unit=unit,
    )
