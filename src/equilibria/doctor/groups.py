"""Groups of vitals that are measured one by one: an error in one leaves out that group, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..base.errors import EquilibriaError
from .evidence import NotAssessed

Values = dict[str, float]
_TRIES = 3


@dataclass
class Groups:
    """Which groups of vitals failed, at which steps.

    A group that failed three times is not tried again.

    Attributes:
        failed: steps by group.
        reasons: the last error of each.

    Examples:
        >>> groups = Groups()
        >>> for step in (10, 20, 30, 40):
        ...     values = groups.measured(step, "slopes", lambda: {"slopes/real": 1 / 0})
        >>> values, groups.failed["slopes"]
        ({}, [10, 20, 30])
        >>> print(groups.not_assessed[0])
        slopes: at steps 10, 20 and 30, and not tried again (ZeroDivisionError: division by zero)
    """

    failed: dict[str, list[int]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    _listed: tuple[NotAssessed, ...] = ()

    def measured(self, step: int, group: str, measure: Callable[[], Values]) -> Values:
        """What ``measure`` returns; nothing if it raises, or did so three times."""
        if len(self.failed.get(group, ())) >= _TRIES:
            return {}
        try:
            return measure()
        except Exception as error:
            self.failed.setdefault(group, []).append(step)
            self.reasons[group] = reason_of(error)
            return {}

    @property
    def not_assessed(self) -> tuple[NotAssessed, ...]:
        """One line for each group that failed."""
        return tuple(NotAssessed(group, reason=self._line(group)) for group in self.failed)

    def list_in(self, lines: list[NotAssessed]) -> None:
        """Put the present lines in place of those of the last call."""
        kept = [line for line in lines if line not in self._listed]
        self._listed = self.not_assessed
        lines[:] = [*kept, *self._listed]

    def _line(self, group: str) -> str:
        steps = [str(step) for step in self.failed[group]]
        listed = f"s {', '.join(steps[:-1])} and {steps[-1]}" if len(steps) > 1 else f" {steps[0]}"
        ended = ", and not tried again" * (len(steps) >= _TRIES)
        return f"at step{listed}{ended} ({self.reasons[group]})"


def reason_of(error: Exception, longest: int = 160) -> str:
    """An error in one line."""
    if isinstance(error, EquilibriaError):
        return error.what
    text = str(error)
    first = text.partition("\n")[0]
    return f"{type(error).__name__}: {first[:longest]}" if first else type(error).__name__
