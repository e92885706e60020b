"""The evidence of a finding (measured numbers with their limits), and what could not be assessed, as records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Comparison = Literal["<", ">", "=", "~", "in"]
"""How a value should compare with its limit: below, above, equal, about (no sharp limit), between two numbers."""
Limit = float | tuple[float, float] | str
"""What a value is compared with: a number, a pair of numbers (``in``), or the name of another vital."""

_WORDS: dict[str, str] = {"<": "below ", ">": "above ", "=": "", "~": "about ", "in": "between "}


@dataclass(frozen=True)
class Expectation:
    """What a vital should be in a healthy run; :meth:`measured` makes it evidence.

    Attributes:
        vital: the name of the measurement.
        comparison: how it should compare with the limit; None if the number is shown for context only.
        limit: what it is compared with.
        meaning: what the comparison, or the number, means.
    """

    vital: str
    comparison: Comparison | None
    limit: Limit | None
    meaning: str

    def measured(self, value: float) -> Evidence:
        """The evidence: this expectation with a measured value."""
        return Evidence(self.vital, value, self.comparison, self.limit, self.meaning)


def below(vital: str, limit: float, meaning: str) -> Expectation:
    """The vital should be below a number."""
    return Expectation(vital, "<", limit, meaning)


def above(vital: str, limit: float, meaning: str) -> Expectation:
    """The vital should be above a number."""
    return Expectation(vital, ">", limit, meaning)


def equal(vital: str, limit: float, meaning: str) -> Expectation:
    """The vital should be this number."""
    return Expectation(vital, "=", limit, meaning)


def about(vital: str, limit: float | str, meaning: str) -> Expectation:
    """The vital should be near a number, or near another vital (by its name)."""
    return Expectation(vital, "~", limit, meaning)


def context(vital: str, meaning: str) -> Expectation:
    """The vital is shown for context; no limit applies to it alone."""
    return Expectation(vital, None, None, meaning)


@dataclass(frozen=True)
class Evidence:
    """One measured number and what it should be.

    Attributes:
        vital: the name of the measurement, as in the table of vitals.
        value: measured at the last check-up that shows the condition.
        comparison: how the value should compare with the limit, one of :data:`Comparison`; None where it is context.
        limit: a number, a pair of numbers, or the name of the vital that it is compared with; None without comparison.
        meaning: what the comparison, or the number, means.

    Examples:
        >>> print(Evidence("scores/auc", 0.2, ">", 0.5, "real rows score higher"))
        scores/auc = 0.2 (should be above 0.5: real rows score higher)
        >>> print(Evidence("scores/auc", 0.2, "~", "probe/auc"))
        scores/auc = 0.2 (should be about probe/auc)
        >>> print(Evidence("probe/auc", 0.9, meaning="an independent classifier separates real from fake"))
        probe/auc = 0.9 (an independent classifier separates real from fake)
    """

    vital: str
    value: float
    comparison: Comparison | None = None
    limit: Limit | None = None
    meaning: str = ""

    def __post_init__(self) -> None:
        if self.comparison is not None and self.comparison not in get_args(Comparison):
            raise ValueError(f"comparison {self.comparison!r}: one of {', '.join(get_args(Comparison))}")
        if (self.comparison is None) != (self.limit is None) or (self.comparison == "in") != isinstance(
            self.limit, tuple
        ):
            raise ValueError(f"comparison {self.comparison!r} with the limit {self.limit!r}")

    @property
    def text(self) -> str:
        """What the value should be, and what that means: the only place that turns evidence into text."""
        if self.comparison is None:
            return self.meaning
        limit = self.limit if isinstance(self.limit, tuple) else (self.limit,)
        bound = f"should be {_WORDS[self.comparison]}{' and '.join(_short(one) for one in limit)}"
        return f"{bound}: {self.meaning}" if self.meaning else bound

    def __str__(self) -> str:
        return f"{self.vital} = {_short(self.value)} ({self.text})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a number that is not finite becomes None."""
        limit = list(self.limit) if isinstance(self.limit, tuple) else self.limit
        return {
            "vital": self.vital,
            "value": self.value if math.isfinite(self.value) else None,
            "comparison": self.comparison,
            "limit": limit,
            "meaning": self.meaning,
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Evidence:
        """The evidence that :meth:`to_dict` wrote, or that earlier versions wrote (``rule``, a text).

        Raises:
            ValueError, TypeError, KeyError: ``row`` has another form.

        Examples:
            >>> Evidence.from_dict({"vital": "probe/auc", "value": 0.9, "rule": "should be below 0.6"}).text
            'should be below 0.6'
        """
        value = math.nan if row["value"] is None else float(row["value"])
        if "comparison" not in row:
            return cls(str(row["vital"]), value, meaning=str(row.get("rule", "")))
        limit = row["limit"]
        if isinstance(limit, list):
            low, high = limit
            limit = (float(low), float(high))
        elif limit is not None and not isinstance(limit, str):
            limit = float(limit)
        return cls(str(row["vital"]), value, row["comparison"], limit, str(row["meaning"]))


@dataclass(frozen=True)
class NotAssessed:
    """Something that a diagnosis could not examine.

    Attributes:
        what: what could not be examined.
        argument: the argument of :class:`~equilibria.doctor.Doctor` that would allow it; empty where none would.
        reason: why it could not be examined, or which value the argument takes.

    Examples:
        >>> print(NotAssessed("memorisation", "holdout", "real rows that are not trained on"))
        memorisation: pass holdout= (real rows that are not trained on)
        >>> print(NotAssessed("members 1 to 3 of the ensemble", reason="only member 0 is examined"))
        members 1 to 3 of the ensemble: only member 0 is examined
    """

    what: str
    argument: str = ""
    reason: str = ""

    @property
    def text(self) -> str:
        """Why, or what to pass: the only place that turns this record into text."""
        if not self.argument:
            return self.reason
        return f"pass {self.argument}= ({self.reason})" if self.reason else f"pass {self.argument}="

    def __str__(self) -> str:
        return f"{self.what}: {self.text}"

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {"what": self.what, "argument": self.argument, "reason": self.reason}

    @classmethod
    def read(cls, found: Any) -> tuple[NotAssessed, ...]:
        """All of a ``diagnosis.json``: rows that :meth:`to_dict` wrote, or the mapping of earlier versions.

        Entries of another form are left out.

        Examples:
            >>> NotAssessed.read({"label agreement": "pass labels="})[0].reason
            'pass labels='
        """
        if isinstance(found, Mapping):
            return tuple(cls(str(what), reason=str(why)) for what, why in found.items())
        rows = found if isinstance(found, (list, tuple)) else ()
        return tuple(
            cls(str(row["what"]), str(row.get("argument") or ""), str(row.get("reason") or ""))
            for row in rows
            if isinstance(row, Mapping) and "what" in row
        )


def _short(value: float | str | None) -> str:
    """A number with four digits and no padding in its exponent; a name unchanged.

    Examples:
        >>> _short(1e-6), _short(0.5), _short(1e6), _short("probe/auc")
        ('1e-6', '0.5', '1e6', 'probe/auc')
    """
    if not isinstance(value, (int, float)):
        return str(value)
    digits, exponent, power = f"{value:.4g}".partition("e")
    return f"{digits}e{int(power)}" if exponent else digits
