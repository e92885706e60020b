"""What a condition is: a sign that can be read off one check-up, for how long it must last, and what it means."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from ..chart import Chart, Checkup, median
from ..evidence import Evidence, Expectation
from ..findings import Finding, Severity
from ..remedies import remedies


@dataclass(frozen=True)
class View:
    """A chart as it stood at check-up ``at``: nothing later can be seen, so an onset is what could have been known.

    Attributes:
        chart: all check-ups.
        at: index of the check-up that is read.
        probabilities: whether the discriminator ends in a sigmoid.
    """

    chart: Chart
    at: int
    probabilities: bool = False

    @property
    def now(self) -> Checkup:
        """The check-up that is read."""
        return self.chart.checkups[self.at]

    @property
    def final(self) -> bool:
        """Whether it is the newest."""
        return self.at == len(self.chart.checkups) - 1

    def __getitem__(self, name: str) -> float:
        return self.now[name]

    def past(self, name: str, count: int) -> list[float]:
        """A vital at the last ``count`` check-ups up to this one."""
        return [c[name] for c in self.chart.checkups[max(0, self.at + 1 - count) : self.at + 1]]

    def median(self, name: str, count: int = 3) -> float:
        """The median of the last values."""
        return median(self.past(name, count))

    def early(self, name: str, count: int = 3) -> float:
        """The median of the first values."""
        return median(c[name] for c in self.chart.checkups[:count])

    def fact(self, name: str) -> float:
        """A number measured once."""
        return self.chart.facts.get(name, math.nan)

    def mean(self, name: str, count: int) -> float:
        """The mean of the last finite values; NaN without one."""
        kept = [v for v in self.past(name, count) if math.isfinite(v)]
        return sum(kept) / len(kept) if kept else math.nan

    @property
    def far(self) -> bool:
        """Whether samples are far from the data: beyond a fifth of its size, or without a tenth of its mass."""
        limit = max(0.2, 3 * self.fact("floor/distance"))
        return self.median("samples/distance") > limit or self.median("cells/missing") > 0.1

    @property
    def covers_part(self) -> bool:
        """Whether samples lie where part of the data lies, and another part has none."""
        return 0.05 < self.median("cells/missing") < 0.75 and self.median("samples/distance") < 0.75

    @property
    def stalled(self) -> bool:
        """Whether the distance to the data has not fallen by a fifth over the last third of the steps."""
        rows = self.chart.checkups[: self.at + 1]
        now = self.now.step
        late = [c["samples/distance"] for c in rows if c.step > 0.67 * now]
        earlier = [c["samples/distance"] for c in rows if 0.25 * now < c.step <= 0.67 * now]
        if len(rows) < 8 or not late or not earlier:
            return False
        return not median(late) < 0.8 * median(earlier)

    @property
    def very_far(self) -> bool:
        """Whether samples are farther from the data than the last oscillations around an equilibrium can bring them."""
        return self.median("samples/distance", 5) > 0.4 or self.median("cells/missing", 5) > 0.3

    @property
    def winner_alternates(self) -> bool:
        """Whether the players won in turn lately: the discriminator ranked all rows right, then all wrong."""
        sides = [v for v in self.past("scores/auc", 8) if v == v]
        return min(sides, default=0.5) < 0.2 and max(sides, default=0.5) > 0.95

    @property
    def update_exploded(self) -> bool:
        """Whether a player once moved by a third of its own size at each step: what it had learnt is lost."""
        moved = [c[f"motion/{p}"] for c in self.chart.checkups[: self.at + 1] for p in ("generator", "discriminator")]
        return any(v > 0.3 for v in moved)

    def balance(self, name: str, least: float) -> float:
        """The sum of all values so far over the sum of their magnitudes, in [-1, 1]; NaN where that is below least."""
        kept = [v for v in self.past(name, self.at + 1) if math.isfinite(v)]
        size = sum(abs(v) for v in kept)
        return sum(kept) / size if size >= least else math.nan

    @property
    def far_and_stalled(self) -> bool:
        """Far from the data and not getting nearer, or farther than a generator that always gives the data's mean."""
        return self.far and (self.stalled or self.median("samples/distance") > 1.0)


class Level(IntEnum):
    """How near to the root a cause is. A finding of a lower level may explain findings of higher ones."""

    LOOP = 1
    """A mistake in the training loop."""
    INPUTS = 2
    """How a network uses its inputs."""
    OPPONENT = 3
    """A discriminator that cannot teach."""
    GROWTH = 4
    """Numbers that grow without bound."""
    GRADIENTS = 5
    """The gradient that reaches the generator."""
    NOISE = 6
    """The noise of that gradient."""
    SAMPLES = 7
    """What the samples show."""


_START = 4  # check-ups that belong to the start of a run
Sign = Callable[[View], tuple[Evidence, ...] | None]


@dataclass(frozen=True)
class Rule:
    """How a condition is recognised, and what a finding says of it.

    Attributes:
        level: how near to the root it is; findings are listed by it.
        condition: its name, kebab-case and stable: it is written to ``diagnosis.json``.
        severity: how much it matters.
        sign: reads a check-up: the evidence, or None where the condition does not show.
        lasts: check-ups in a row that must show it, the newest among them.
        cause: why it happens, in words for a reader who never heard of it.
        source: paper or theorem.
        cures: names of remedies, best first; or a function of the check-up that shows it.
        patience: check-ups that a run must have before the rule is read: what only shows in a series needs one. By the
            schedule the 20th is near step 650.
    """

    level: Level
    condition: str
    severity: Severity
    sign: Sign
    lasts: int
    cause: str
    source: str
    cures: tuple[str, ...] | Callable[[View], tuple[str, ...]]
    patience: int = 20

    def read(self, chart: Chart, probabilities: bool) -> Finding | None:
        """The finding, active or resolved; None where it never showed for long enough."""
        if len(chart.checkups) < self.patience:
            return None
        signs = [self.sign(View(chart, i, probabilities)) for i in range(len(chart.checkups))]
        shown = [s is not None for s in signs]
        if not any(shown):
            return None
        runs = _stretches(shown)
        newest = runs[-1]
        active = newest[1] == len(signs) - 1 and _count(shown, newest) >= min(self.lasts, len(signs))
        if not active:
            # What lasted and is gone is reported as resolved. What came and went is not reported, nor how every run
            # begins: an untrained generator is collapsed and far away.
            longest = max(runs, key=lambda run: run[1] - run[0])
            if longest[0] < _START or _count(shown, longest) < max(2 * self.lasts, 6):
                return None
            newest = longest
        last = max(i for i in range(newest[0], newest[1] + 1) if shown[i])
        evidence = signs[last] or ()
        cures = self.cures if isinstance(self.cures, tuple) else self.cures(View(chart, last, probabilities))
        return Finding(
            self.condition,
            self.severity if active else Severity.INFO,
            chart.checkups[newest[0]].step,
            evidence,
            self.cause,
            self.source,
            remedies(*cures),
            "active" if active else "resolved",
        )


def _stretches(shown: list[bool]) -> list[tuple[int, int]]:
    """First and last index of each stretch of signs; one check-up without the sign does not break it."""
    found: list[tuple[int, int]] = []
    for i, sign in enumerate(shown):
        if not sign:
            continue
        if found and i - found[-1][1] <= 2:
            found[-1] = (found[-1][0], i)
        else:
            found.append((i, i))
    return found


def _count(shown: list[bool], stretch: tuple[int, int]) -> int:
    return sum(shown[stretch[0] : stretch[1] + 1])


def when(condition: bool, view: View, *expected: Expectation) -> tuple[Evidence, ...] | None:
    """The evidence, each expectation beside its value at the check-up that is read, where the condition holds."""
    return tuple(one.measured(view.now[one.vital]) for one in expected) if condition else None
