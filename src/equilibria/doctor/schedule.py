"""When a check-up is due: at fixed steps (not times, so that findings are reproducible), dense early, sparse later."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Schedule:
    """Steps 10, 20, 30, 40, 50, 60, 72, 87, …: ten apart at first, then each at a step 20 % larger than the one before.

    About 25 check-ups in 2,000 steps, 40 in 30,000.

    Examples:
        >>> schedule, found = Schedule(), []
        >>> for step in range(1, 101):
        ...     if schedule.due(step):
        ...         schedule.record(step)
        ...         found.append(step)
        >>> found
        [10, 20, 30, 40, 50, 60, 72, 87]
    """

    first: int = 10
    growth: float = 1.2
    upcoming: int = 10

    def due(self, step: int) -> bool:
        """Whether a check-up is due at this step."""
        return step >= self.upcoming

    def record(self, step: int) -> None:
        """Record a check-up at this step, and set the next one."""
        self.upcoming = max(step + self.first, math.ceil(step * self.growth))
