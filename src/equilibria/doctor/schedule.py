"""When a check-up is due: at fixed steps (not times, so that findings are reproducible), dense early, sparse later."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_STATE = "schedule/state"
_DENSE, _CONFIRMING = 1.01, 4


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
    soon: int = 0

    def due(self, step: int) -> bool:
        """Whether a check-up is due at this step."""
        return step >= self.upcoming

    def record(self, step: int) -> None:
        """Record a check-up at this step, and set the next one."""
        if self.soon:
            self.soon -= 1
            self.upcoming = max(step + self.first, math.ceil(step * _DENSE))
        else:
            self.upcoming = max(step + self.first, math.ceil(step * self.growth))

    def tensors(self) -> dict[str, Tensor]:
        """Its state as a named tensor, from which the next session of a run continues."""
        return {_STATE: torch.tensor([self.upcoming, self.soon])}

    @classmethod
    def restored(cls, saved: Mapping[str, Tensor], last: int) -> Schedule:
        """The schedule that :meth:`tensors` gave; if that is not among ``saved``, one with a check-up at ``last``."""
        found, state = cls(), saved.get(_STATE)
        if state is not None and state.shape == (2,) and state.dtype == torch.int64:
            found.upcoming, found.soon = state.tolist()
        elif last:
            found.record(last)
        return found

    def hurry(self, step: int) -> None:
        """Bring the next check-ups forward: one now, and as many as a condition needs, 1 % of the steps apart.

        Examples:
            >>> schedule = Schedule(upcoming=6000)
            >>> schedule.hurry(5000)
            >>> [(schedule.upcoming, schedule.record(schedule.upcoming))[0] for _ in range(6)]
            [5000, 5050, 5101, 5153, 5205, 6246]
        """
        self.upcoming, self.soon = step, _CONFIRMING
