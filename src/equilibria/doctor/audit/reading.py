"""What an audit says of one condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reading:
    """Whether a condition holds, as it was read in the training step.

    Attributes:
        condition: its name.
        holds: whether it holds; a condition that was read and does not hold is ruled out.
        text: what was read, for a finding; empty where it does not hold.
        numbers: what was read, by name.
        certain: whether it follows from the record alone, without any threshold.
    """

    condition: str
    holds: bool
    text: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    certain: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"holds": self.holds, "text": self.text, "numbers": dict(self.numbers), "certain": self.certain}

    @classmethod
    def from_dict(cls, condition: str, values: Mapping[str, Any]) -> Reading:
        """The reading that :meth:`to_dict` wrote.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: ``values`` has another form.

        Examples:
            >>> one = Reading("same-batch-twice", True, "8 rows", {"rows": 8.0})
            >>> Reading.from_dict("same-batch-twice", one.to_dict()) == one
            True
        """
        numbers = {str(name): float(value) for name, value in values["numbers"].items()}
        return cls(condition, bool(values["holds"]), str(values["text"]), numbers, bool(values["certain"]))
