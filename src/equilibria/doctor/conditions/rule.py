"""What a condition is: a test of one check-up, for how many check-ups it must hold, and what it means."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from ...metrics.measured import Measured
from ..audit.reading import Reading
from ..chart import Chart, Checkup, median
from ..evidence import Evidence, Expectation
from ..findings import Confidence, Difference, Finding, Severity
from ..remedies import remedies as remedies_named
from ..vitals.samples import CLOSENESS
from .history import History
from .record import RECORD


@dataclass(frozen=True)
class View:
    """A chart up to check-up ``at``: later check-ups are hidden, so an onset depends on nothing later.

    Attributes:
        chart: all check-ups.
        at: index of the current check-up.
        probabilities: whether the discriminator ends in a sigmoid.
        given: the history of the chart's check-ups, if it is there already.
    """

    chart: Chart
    at: int
    probabilities: bool = False
    given: History | None = None

    @cached_property
    def history(self) -> History:
        """What the check-ups came to by each of them."""
        return self.given or History(self.chart.checkups)

    @property
    def now(self) -> Checkup:
        """The current check-up."""
        return self.chart.checkups[self.at]

    @property
    def final(self) -> bool:
        """Whether it is the newest check-up."""
        return self.at == len(self.chart.checkups) - 1

    def __getitem__(self, name: str) -> float:
        return self.now[name]

    def past(self, name: str, count: int) -> list[float]:
        """A vital at the last ``count`` check-ups up to this one."""
        return self.history.series(name)[max(0, self.at + 1 - count) : self.at + 1]

    def median(self, name: str, count: int = 3) -> float:
        """The median of the last values."""
        return self.history.recent_medians(name, count)[self.at]

    def early(self, name: str, count: int = 3) -> float:
        """The median of the first values."""
        return median(self.history.series(name)[:count])

    def median_so_far(self, name: str) -> float:
        """The median of all values up to this check-up."""
        return self.history.medians(name)[self.at]

    def mean_so_far(self, name: str) -> float:
        """The mean of all finite values up to this check-up; NaN without one."""
        finite = self.history.finite(name)
        count = finite.counts[self.at]
        return finite.sums[count - 1] / count if count else math.nan

    def fact(self, name: str) -> float:
        """A number measured once."""
        return self.chart.facts.get(name, math.nan)

    def mean(self, name: str, count: int) -> float:
        """The mean of the last finite values; NaN without one."""
        kept = [v for v in self.past(name, count) if math.isfinite(v)]
        return sum(kept) / len(kept) if kept else math.nan

    @property
    def far(self) -> bool:
        """Whether samples are far from the data: by over 0.2 of its size, or with over 10 % of its mass missing."""
        limit = max(0.2, 3 * self.fact("floor/distance"))
        return self.median("samples/distance") > limit or self.median("cells/missing") > 0.1

    @property
    def near(self) -> bool:
        """Whether samples are close to the data, although a measure may still tell them from it."""
        close = self.median("samples/distance") < 2.5 * self.fact("floor/distance")
        return close and self.median("probe/auc") < 0.7

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The vitals that tell the samples from the data, at the sample size of a check-up.

        A vital of closeness does if the median of the last three check-ups is worse than what a perfect sampler scores
        in 199 of 200 cases; the probe, if its AUC is above 1/2 by 2.58 standard errors (Mann-Whitney).
        """
        found = []
        auc, tested = self.median("probe/auc"), self.fact("probe/rows")  # of each side
        if auc > 0.5 + 2.58 * math.sqrt((2 * tested + 1) / 12) / tested:
            found.append(Difference("probe/auc", auc, 0.5))
        for name in CLOSENESS:
            floor, spread = self.fact(f"perfect/{name}"), self.fact(f"perfect/{name}-spread")
            value = self.median(f"samples/{name}")
            if not all(math.isfinite(number) for number in (value, floor, spread)):  # too few rows for a spread
                continue
            measured = Measured(value=value, floor=floor, spread=spread, higher=name != "distance", repeats=5)
            if measured.tells:
                found.append(Difference(f"samples/{name}", value, floor))
        return tuple(found)

    @property
    def covers_part(self) -> bool:
        """Whether samples cover a part of the data, and another part has no samples."""
        return 0.05 < self.median("cells/missing") < 0.75 and self.median("samples/distance") < 0.75

    @property
    def stalled(self) -> bool:
        """Whether the distance to the data has not fallen by a fifth over the last third of the steps."""
        return self.history.stalled[self.at]

    @property
    def very_far(self) -> bool:
        """Whether samples are farther from the data than small oscillations around an equilibrium bring them."""
        return self.median("samples/distance", 5) > 0.4 or self.median("cells/missing", 5) > 0.3

    @property
    def winner_alternates(self) -> bool:
        """Whether the winner alternated lately: the discriminator ranked all rows right, then all wrong."""
        sides = [v for v in self.past("scores/auc", max(8, self.at // 2)) if v == v]
        return min(sides, default=0.5) < 0.2 and max(sides, default=0.5) > 0.95

    @property
    def penalty(self) -> float:
        """The weight of the penalty on the discriminator's slopes that was read in the training step, or NaN."""
        return self.history.last_read("penalty-of-wrong-norm", "weight")[self.at]

    @property
    def purely_adversarial(self) -> bool:
        """Whether the generator's loss has no other terms of weight, as far as was read in the training step."""
        return not self.history.last_read("adversarial-term-missing", "share")[self.at] < 0.9

    @property
    def update_exploded(self) -> bool:
        """Whether a player once moved by over 30 % of its parameter norm per step, which erases what it had learnt."""
        return self.history.ever_above(("motion/generator", "motion/discriminator"), 0.3)[self.at]

    def balance(self, name: str, least: float) -> float:
        """The sum of all values so far over the sum of their magnitudes, in [-1, 1]; NaN if that is below ``least``."""
        finite = self.history.finite(name)
        count = finite.counts[self.at]
        size = finite.sizes[count - 1] if count else 0.0
        return finite.sums[count - 1] / size if size >= least else math.nan

    @property
    def far_and_stalled(self) -> bool:
        """Far from the data and not getting closer, or farther than a generator that always returns the data's mean."""
        return self.far and (self.stalled or self.median("samples/distance") > 1.0)


class Level(IntEnum):
    """How fundamental a cause is. A finding of a lower level may explain findings of higher ones."""

    LOOP = 1
    """A mistake in the training loop."""
    INPUTS = 2
    """How a network uses its inputs."""
    DISCRIMINATOR = 3
    """A discriminator that gives the generator no useful gradient."""
    GROWTH = 4
    """Numbers that grow without bound."""
    GRADIENTS = 5
    """The gradient that reaches the generator."""
    NOISE = 6
    """The noise of that gradient."""
    SAMPLES = 7
    """What can be seen in the samples."""


_START = 4  # check-ups that belong to the start of a run
Test = Callable[[View], tuple[Evidence, ...] | None]


@dataclass(frozen=True)
class Rule:
    """How a condition is recognised, and what a finding of it says.

    Attributes:
        level: how fundamental it is; findings are listed by it.
        condition: its name, kebab-case and stable: it is written to ``diagnosis.json``.
        severity: how much it matters.
        test: a function of a :class:`View`: the evidence, or None if the condition does not hold. None for a
            condition that is only read in the training step.
        consecutive: number of check-ups in a row, up to the newest, at which it must hold.
        cause: why it happens, for a reader who does not know the condition.
        source: paper or theorem.
        remedies: their names, best first; or a function of the check-up at which the condition holds.
        min_checkups: check-ups that a run must have before the rule applies, because some conditions show only in a
            series. By the schedule the 14th is at step 264, the 20th at step 792.
        windows: audits in a row that must read it.
    """

    level: Level
    condition: str
    severity: Severity
    test: Test | None
    consecutive: int
    cause: str
    source: str
    remedies: tuple[str, ...] | Callable[[View], tuple[str, ...]]
    min_checkups: int = 20
    windows: int = 2

    def read(self, chart: Chart, probabilities: bool, history: History) -> Finding | None:
        """The finding, active or resolved; None if the condition never held for long enough.

        What was read in the training step has precedence: it finds the condition, or rules it out. ``history`` is
        that of the chart, and common to all rules.
        """
        readings = [
            (i, one) for i, c in enumerate(chart.checkups) if (one := c.readings.get(self.condition)) is not None
        ]
        if readings:
            if not readings[-1][1].holds:
                return None
            count = next((n for n, (_, one) in enumerate(reversed(readings)) if not one.holds), len(readings))
            if count >= self.windows:
                return self._read_in_the_step(chart, readings[-count:], probabilities, history)
        if self.test is None or len(chart.checkups) < self.min_checkups:
            return None
        return self._measured(self.test, chart, probabilities, history)

    def _read_in_the_step(
        self, chart: Chart, readings: list[tuple[int, Reading]], probabilities: bool, history: History
    ) -> Finding:
        first, (last, newest) = readings[0][0], readings[-1]
        return Finding(
            self.condition,
            self.severity,
            chart.checkups[first].step,
            (),
            self.cause,
            self.source,
            remedies_named(*self._remedies(View(chart, last, probabilities, history))),
            confidence=Confidence.CERTAIN if newest.certain else Confidence.PROBABLE,
            read=newest.text,
        )

    def _remedies(self, view: View) -> tuple[str, ...]:
        return self.remedies if isinstance(self.remedies, tuple) else self.remedies(view)

    def _measured(self, test: Test, chart: Chart, probabilities: bool, history: History) -> Finding | None:
        found = [test(View(chart, i, probabilities, history)) for i in range(len(chart.checkups))]
        shown = [evidence is not None for evidence in found]
        if not any(shown):
            return None
        runs = _intervals(shown)
        newest = runs[-1]
        active = newest[1] == len(found) - 1 and _count(shown, newest) >= min(self.consecutive, len(found))
        if not active:
            # A condition that held for long and no longer holds is reported as resolved. Short ones are not reported,
            # nor the start of a run: every untrained generator is collapsed and far from the data.
            longest = max(runs, key=lambda run: run[1] - run[0])
            if longest[0] < _START or _count(shown, longest) < max(2 * self.consecutive, 6):
                return None
            newest = longest
        last = max(i for i in range(newest[0], newest[1] + 1) if shown[i])
        evidence = found[last] or ()
        return Finding(
            self.condition,
            self.severity if active else Severity.INFO,
            chart.checkups[newest[0]].step,
            evidence,
            self.cause,
            self.source,
            remedies_named(*self._remedies(View(chart, last, probabilities, history))),
            "active" if active else "resolved",
            record=RECORD.get(self.condition, (0, 0)),
        )


def _intervals(shown: list[bool]) -> list[tuple[int, int]]:
    """First and last index of each interval in which the condition holds; one check-up without it does not end it."""
    found: list[tuple[int, int]] = []
    for i, holds in enumerate(shown):
        if not holds:
            continue
        if found and i - found[-1][1] <= 2:
            found[-1] = (found[-1][0], i)
        else:
            found.append((i, i))
    return found


def _count(shown: list[bool], interval: tuple[int, int]) -> int:
    return sum(shown[interval[0] : interval[1] + 1])


def when(condition: bool, view: View, *expected: Expectation) -> tuple[Evidence, ...] | None:
    """The evidence if the condition holds: each expectation with its value at the current check-up."""
    return tuple(one.measured(view.now[one.vital]) for one in expected) if condition else None
