"""Several problems: values in common units, and the interquartile mean over problems and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..base.arguments import seed_of, whole
from ..base.errors import DataError
from .values import Interval, Values, finite, middle, seeds_of, strata

DRAWS = 2_000
NO_SCALE = (
    "the median method is not above the floor, or every method failed with half of its seeds, so there is no scale"
)


def excess(cells: Mapping[str, ArrayLike], floor: float) -> dict[str, Values]:
    r"""The floor-normalised excess of all methods on one problem: 0 is a perfect sampler, 1 the median method.

    .. math:: e_{m,s} = \frac{x_{m,s} - f}{c} \qquad c = \operatorname{median}_{m \in M} \operatorname{median}_s (x_{m,s} - f)

    where :math:`f` is the floor of the metric on this problem (the score of a perfect sampler of the same size) and
    :math:`M` the methods of which fewer than half of the seeds failed. The scale :math:`c` depends on the methods of
    the study: excesses of two studies cannot be compared.

    Args:
        cells: for each method the values of its seeds, lower is better; ``inf`` for a seed that failed.
        floor: :math:`f`.

    Raises:
        DataError: every method failed in half of its seeds, or the median method is not above the floor.

    Examples:
        >>> excess({"a": [1.0, 2.0, 3.0], "b": [3.0, 4.0, float("inf")]}, floor=1.0)
        {'a': array([0. , 0.5, 1. ]), 'b': array([1. , 1.5, inf])}
    """  # noqa: E501
    found = {name: seeds_of(name, values) for name, values in cells.items()}
    if isinstance(floor, bool) or not isinstance(floor, (int, float, np.floating)) or not math.isfinite(floor):
        raise DataError(f"floor={floor!r}: a number is needed", "give the score of a perfect sampler, or floor=0")
    scale = scale_of(found, floor)
    if scale is None:
        raise DataError(f"{NO_SCALE} (floor={floor:.6g})", "leave this problem out of the comparison across problems")
    return {name: (values - floor) / scale for name, values in found.items()}


def scale_of(cells: Mapping[str, Values], floor: float) -> float | None:
    """The scale of :func:`excess`, None if there is none.

    Examples:
        >>> scale_of({"a": np.array([1.0, 2.0, 3.0]), "b": np.array([3.0, 4.0, math.inf])}, 1.0)
        2.0
    """
    known = [one - floor for one in map(middle, cells.values()) if math.isfinite(one)]
    scale = float(np.median(known)) if known else 0.0
    return scale if scale > 0 else None


def interquartile_mean(cells: Sequence[ArrayLike], *, draws: int = DRAWS, seed: int = 0) -> Interval:
    r"""The mean of the middle half of all values of one method (Agarwal et al. 2021), with a 95 % interval.

    .. math:: \mathrm{IQM} = 2 \int_{1/4}^{3/4} Q(u)\, du

    :math:`Q` is the quantile function of the pooled values, each problem with weight :math:`1/P` and each of its
    :math:`n_p` seeds with :math:`1/(P n_p)`. With as many seeds on each problem, and four times a whole number in all,
    this is the mean without the lowest and the highest quarter.

    The interval is that of the percentiles of a bootstrap stratified by problem. From each problem :math:`n_p - 1`
    values are drawn, not :math:`n_p`, so that the variance of a mean is the unbiased one (McCarthy & Snowden 1985).

    A failed seed ranks worst, so up to a quarter of the weight may have failed: it is in the upper quarter, which is
    left out. With more there is no estimate. An end of the interval that failed seeds reach is None.

    Args:
        cells: for each problem the :func:`excess` of the method's seeds.
        draws: samples of the bootstrap.
        seed: of the bootstrap.

    Raises:
        DataError: there is no problem, or a value is ``nan``.

    Examples:
        >>> interquartile_mean([[1.0, 2.0], [3.0, 100.0]]).estimate
        2.5
        >>> interquartile_mean([[1.0, 2.0], [3.0, float("inf")]])
        Interval(estimate=2.5, low=2.0, high=None)
    """
    found = strata("cells", cells)
    whole("draws", draws, 1)
    whole_weights = np.concatenate([np.full(len(one), 1 / len(one)) for one in found]) / len(found)
    estimate = float(_middle_half(np.concatenate(found)[None], whole_weights)[0])
    if min(len(one) for one in found) < 2:
        return Interval(finite(estimate), None, None)
    source = np.random.default_rng(seed_of(seed))
    drawn = [one[source.integers(0, len(one), (draws, len(one) - 1))] for one in found]
    weights = np.concatenate([np.full(len(one) - 1, 1 / (len(one) - 1)) for one in found]) / len(found)
    means = np.sort(_middle_half(np.concatenate(drawn, axis=1), weights))
    low, high = means[int(0.025 * (draws - 1))], means[math.ceil(0.975 * (draws - 1))]
    return Interval(finite(estimate), finite(low), finite(high))


def _middle_half(values: Values, weights: Values) -> Values:
    """Twice the integral of the quantile function from 1/4 to 3/4, of each row ``(draws, n)``."""
    order = np.argsort(values, axis=1)
    ends = np.cumsum(weights[order], axis=1)
    starts = ends - weights[order]
    inside = np.clip(np.minimum(ends, 0.75) - np.maximum(starts, 0.25), 0, None)
    inside[inside < 1e-12] = 0  # rounding of the sums of weights
    ordered = np.take_along_axis(values, order, axis=1)
    found: Values = 2 * np.where(inside > 0, ordered * np.where(inside > 0, inside, 1), 0).sum(1)
    return found
