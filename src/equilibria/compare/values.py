"""What the functions of this package take: the values of the seeds of one method, lower is better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base.errors import ConfigError, DataError

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        estimate: None if failed seeds leave none.
        low: None if there is no lower bound.
        high: None if there is no upper bound.
    """

    estimate: float | None
    low: float | None
    high: float | None


def seeds_of(name: str, values: ArrayLike, least: int = 1) -> Values:
    """The values of one method's seeds as a vector; a seed that failed or diverged is ``inf``.

    Raises:
        DataError: they are not a list of numbers, fewer than ``least``, or one of them is ``nan`` or ``-inf``.

    Examples:
        >>> seeds_of("a", [1, float("inf")])
        array([ 1., inf])
        >>> seeds_of("a", [1, float("nan")])
        Traceback (most recent call last):
        equilibria.base.errors.DataError: a[1] is nan: a value is a number. Fix: give math.inf for a seed that failed
    """
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        what = f"{name} is a {type(values).__name__} that holds something other than numbers"
        raise DataError(what, "give one number per seed, and math.inf for a seed that failed") from error
    if found.ndim != 1 or len(found) < least:
        what = f"{name} has the shape {found.shape}: a list of at least {least} value{'s' * (least > 1)} is needed"
        raise DataError(what, f"give one number per seed, for at least {least} seed{'s' * (least > 1)}")
    for index in np.flatnonzero(np.isnan(found)):
        raise DataError(f"{name}[{index}] is nan: a value is a number", "give math.inf for a seed that failed")
    for index in np.flatnonzero(found == -math.inf):
        what = f"{name}[{index}] is -inf: lower is better, so a failed seed is the largest value"
        raise DataError(what, "give math.inf for a seed that failed; negate a metric of which more is better")
    return found


def probability(name: str, value: float) -> float:
    """A level or a p value.

    Raises:
        ConfigError: it is not between 0 and 1.
    """
    if isinstance(value, (int, float, np.floating)) and 0 < value < 1:
        return float(value)
    raise ConfigError(f"{name}={value!r}: a number between 0 and 1 is needed", settings={name: 0.05})


def middle(values: Values) -> float:
    """The median, ``inf`` if failed seeds reach it.

    Examples:
        >>> middle(np.array([1.0, 2.0, math.inf, math.inf]))
        inf
    """
    ordered, half = np.sort(values), len(values) // 2
    return float(ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2)


def finite(value: float) -> float | None:
    """The number, None if it is infinite."""
    return float(value) if math.isfinite(value) else None


def strata(name: str, cells: Sequence[ArrayLike], least: int = 1) -> list[Values]:
    """The values of one method on several problems.

    Raises:
        DataError: there is no problem, or the values of one are wrong.
    """
    if not len(cells):
        raise DataError(f"{name} has no problem", "give the values of the seeds of each problem, as a list of lists")
    return [seeds_of(f"{name}[{index}]", cell, least) for index, cell in enumerate(cells)]
