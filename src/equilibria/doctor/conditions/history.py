"""What the check-ups of a run came to by each of them, computed once in one pass: a diagnosis is linear in its history.

Every list has one entry for each check-up, which depends on no later one. A median over all check-ups so far comes from
a sorted list that grows by one value at a time.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

from ..chart import Checkup, median

T = TypeVar("T")


@dataclass(frozen=True)
class Finite:
    """The finite values of a vital, and what they came to by each check-up.

    Attributes:
        values: the finite values in order.
        counts: how many there were by each check-up.
        sums: their sum after each of them.
        sizes: the sum of their magnitudes after each of them.
        highest: the largest of them so far.
    """

    values: list[float]
    counts: list[int]
    sums: list[float]
    sizes: list[float]
    highest: list[float]

    @classmethod
    def of(cls, series: Sequence[float]) -> Finite:
        """The finite ones among the values."""
        kept = [v for v in series if math.isfinite(v)]
        counts = list(accumulate(int(math.isfinite(v)) for v in series))
        return cls(kept, counts, list(accumulate(kept)), list(accumulate(map(abs, kept))), list(accumulate(kept, max)))


class History:
    """The check-ups of a chart; later changes of the list are not seen.

    Args:
        checkups: oldest first.

    Examples:
        >>> history = History([Checkup(step, {"a": value}) for step, value in enumerate((3.0, math.nan, 1.0, 8.0))])
        >>> history.medians("a")
        [3.0, 3.0, 2.0, 3.0]
        >>> history.finite("a").sums[-1], history.lowest("a")[-1]
        (12.0, 1.0)
    """

    def __init__(self, checkups: Sequence[Checkup]) -> None:
        self.checkups = tuple(checkups)
        self._kept: dict[tuple[str, str], Any] = {}

    def series(self, name: str) -> list[float]:
        """A vital at every check-up; NaN where it was not measured."""
        return self._once("series", name, lambda: [c[name] for c in self.checkups])

    def finite(self, name: str) -> Finite:
        """The finite values of a vital."""
        return self._once("finite", name, lambda: Finite.of(self.series(name)))

    def lowest(self, name: str) -> list[float]:
        """The least value so far."""
        return self._once("lowest", name, lambda: list(accumulate(self.series(name), min)))

    def highest(self, name: str) -> list[float]:
        """The largest value so far."""
        return self._once("highest", name, lambda: list(accumulate(self.series(name), max)))

    def medians(self, name: str) -> list[float]:
        """The median of the finite values so far; NaN before the first."""
        return self._once("medians", name, lambda: running_medians(self.series(name)))

    def recent_medians(self, name: str, count: int) -> list[float]:
        """The median of the finite values among the last ``count``."""
        values = self.series(name)
        return self._once(
            f"median of {count}",
            name,
            lambda: [median(values[max(0, i + 1 - count) : i + 1]) for i in range(len(values))],
        )

    def medians_of(self, name: str, value: Callable[[Checkup], float]) -> list[float]:
        """The same for a number that is computed from each check-up, under a name of its own."""
        return self._once("medians", name, lambda: running_medians([value(c) for c in self.checkups]))

    def share_above(self, name: str, limit: float) -> list[tuple[int, int]]:
        """How many of the values so far are above a limit, and how many are numbers, infinite ones among them."""

        def count() -> list[tuple[int, int]]:
            above = accumulate(v > limit for v in self.series(name))
            return list(zip(above, accumulate(v == v for v in self.series(name)), strict=True))

        return self._once(f"above {limit}", name, count)

    def ever_above(self, names: Sequence[str], limit: float) -> list[bool]:
        """Whether one of the vitals was ever above a limit."""

        def find() -> list[bool]:
            each = zip(*(self.series(name) for name in names), strict=True)
            return list(accumulate((any(v > limit for v in row) for row in each), max))

        return self._once(f"ever above {limit}", " ".join(names), find)

    def last_read(self, condition: str, number: str) -> list[float]:
        """The newest number that the training step has told about a condition; NaN before the first."""

        def read() -> list[float]:
            found = [
                c.readings[condition].numbers.get(number) if condition in c.readings else None for c in self.checkups
            ]
            return list(accumulate(found, lambda old, new: old if new is None else new, initial=math.nan))[1:]

        return self._once("last read", f"{condition} {number}", read)

    @property
    def stalled(self) -> list[bool]:
        """Whether the distance to the data has not fallen by a fifth over the last third of the steps."""
        distance = self.series("samples/distance")
        return self._once("stalled", "", lambda: _stalled([c.step for c in self.checkups], distance))

    def _once(self, what: str, name: str, compute: Callable[[], T]) -> T:
        key = (what, name)
        if key not in self._kept:
            self._kept[key] = compute()
        found: T = self._kept[key]
        return found


class Sorted:
    """Values in order, of which some come and go: their median.

    Examples:
        >>> window = Sorted()
        >>> for value in (4.0, 1.0, 2.0):
        ...     window.add(value)
        >>> window.remove(4.0)
        >>> window.median
        1.5
    """

    def __init__(self) -> None:
        self._values: list[float] = []

    def add(self, value: float) -> None:
        """Add a value; one that is not finite is left out."""
        if math.isfinite(value):
            insort(self._values, value)

    def remove(self, value: float) -> None:
        """Take away a value that was added."""
        if math.isfinite(value):
            del self._values[bisect_left(self._values, value)]

    @property
    def median(self) -> float:
        """The median; NaN without a value."""
        kept, half = self._values, len(self._values) // 2
        if not kept:
            return math.nan
        return kept[half] if len(kept) % 2 else (kept[half - 1] + kept[half]) / 2


def running_medians(values: Iterable[float]) -> list[float]:
    """The median of the finite values up to each.

    Examples:
        >>> running_medians([5.0, 1.0, math.inf, 3.0])
        [5.0, 3.0, 3.0, 3.0]
    """
    kept, found = Sorted(), []
    for value in values:
        kept.add(value)
        found.append(kept.median)
    return found


def _stalled(steps: Sequence[int], distance: Sequence[float]) -> list[bool]:
    r"""At each check-up, of step :math:`T`: not (median over (.67 T, T] < .8 median over (.25 T, .67 T]), from 8 on.

    While the steps do not decrease, both windows move forward only. After a decrease they are found anew each time.
    """
    found: list[bool] = []
    late, earlier = Sorted(), Sorted()
    first = border = 0  # check-ups [first, border) are the earlier ones, [border, i] the late ones
    for i, now in enumerate(steps):
        if i and now < steps[i - 1]:
            return found + [_stalled_at(steps[: j + 1], distance) for j in range(i, len(steps))]
        late.add(distance[i])
        while border <= i and not steps[border] > 0.67 * now:
            late.remove(distance[border])
            earlier.add(distance[border])
            border += 1
        while first < border and not steps[first] > 0.25 * now:
            earlier.remove(distance[first])
            first += 1
        enough = i >= 7 and first < border <= i
        found.append(enough and not late.median < 0.8 * earlier.median)
    return found


def _stalled_at(steps: Sequence[int], distance: Sequence[float]) -> bool:
    now = steps[-1]
    late = [v for step, v in zip(steps, distance, strict=False) if step > 0.67 * now]
    earlier = [v for step, v in zip(steps, distance, strict=False) if 0.25 * now < step <= 0.67 * now]
    if len(steps) < 8 or not late or not earlier:
        return False
    return not median(late) < 0.8 * median(earlier)
