"""What the doctor says: conditions by name, findings with their evidence, remedies, and the diagnosis of a run."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .evidence import Evidence, NotAssessed
from .remedies import Remedy


class Severity(StrEnum):
    """How much it matters: ``info`` asks for nothing, ``warning`` for a look, ``critical`` for a change."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class State(StrEnum):
    """Of a whole run: a critical finding is active; still moving; as close to the data as can be told."""

    SICK = "sick"
    ON_THE_WAY = "on the way"
    ARRIVED = "arrived"


@dataclass(frozen=True)
class Finding:
    """A named condition with its evidence.

    Attributes:
        condition: its name, one of :data:`~equilibria.doctor.CONDITIONS`.
        severity: how much it matters.
        onset: the step of the first check-up at which its evidence holds without a break until it was last seen.
        status: ``"active"``, or ``"resolved"`` where the last check-up no longer shows it.
        earlier: active findings that come after this one, as what it may explain, though they showed before it did:
            each with its onset.
        evidence: the numbers it rests on.
        cause: why it happens, for a reader who never heard of it.
        source: the theorem or paper.
        remedies: what to change, best first.
    """

    condition: str
    severity: Severity
    onset: int
    evidence: tuple[Evidence, ...]
    cause: str
    source: str
    remedies: tuple[Remedy, ...] = ()
    status: str = "active"
    earlier: tuple[tuple[str, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a number that is not finite becomes ``None``."""
        return {
            "condition": self.condition,
            "severity": self.severity.value,
            "status": self.status,
            "onset": self.onset,
            "earlier": [[condition, onset] for condition, onset in self.earlier],
            "evidence": [evidence.to_dict() for evidence in self.evidence],
            "cause": self.cause,
            "source": self.source,
            "remedies": [r.to_dict() for r in self.remedies],
        }

    def __str__(self) -> str:
        return self.told()

    def told(self, known: Collection[str] = ()) -> str:
        """The finding in words; a snippet that is among the ``known`` ones is not repeated."""
        lines = [f"{self.severity.value.upper()}  {self.condition}, since step {self.onset}"]
        if self.status != "active":
            lines[0] += f" ({self.status})"
        lines += _wrapped("why       ", self.cause)
        for i, evidence in enumerate(self.evidence):
            lines += _wrapped("evidence  " if not i else "          ", str(evidence))
        if self.earlier:
            named = " and ".join(f"{condition} (step {onset})" for condition, onset in self.earlier)
            lines += _wrapped("note      ", f"It is told first as the likelier cause, though {named} showed before it.")
        for i, remedy in enumerate(self.remedies):
            lines += _wrapped("do        " if not i else "or        ", remedy.what)
            if not i and remedy.snippet:
                shown = "(code as above)" if remedy.snippet in known else remedy.snippet
                lines += [f"              {line}" for line in shown.splitlines()]
        lines += _wrapped("source    ", self.source)
        return "\n".join(lines)


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor makes of a run up to a step.

    Attributes:
        state: sick, on the way, or arrived.
        findings: root causes first; what another finding explains comes after it.
        not_assessed: what could not be looked at, why, and the argument that would allow it.
        step: of the last check-up.
        checkups: how many there were.
        seconds: what they cost together.
        measured: vitals that are measured for a diagnosis only, where it called for them.
    """

    state: State
    findings: tuple[Finding, ...]
    not_assessed: tuple[NotAssessed, ...] = ()
    step: int = 0
    checkups: int = 0
    seconds: float = 0.0
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def active(self) -> tuple[Finding, ...]:
        """The findings that ask for something now."""
        return tuple(f for f in self.findings if f.status == "active" and f.severity is not Severity.INFO)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "state": self.state.value,
            "step": self.step,
            "checkups": self.checkups,
            "seconds": round(self.seconds, 3),
            "findings": [f.to_dict() for f in self.findings],
            "measured": {name: value if math.isfinite(value) else None for name, value in self.measured.items()},
            "not_assessed": [missing.to_dict() for missing in self.not_assessed],
        }

    def __str__(self) -> str:
        head = f"{self.state.value.upper()} at step {self.step} ({self.checkups} check-ups, {self.seconds:.1f} s)"
        snippets = [f.remedies[0].snippet if f.remedies else "" for f in self.findings]
        parts = [head, *(f.told(snippets[:i]) for i, f in enumerate(self.findings))]
        if not self.findings:
            parts.append("No finding." if self.checkups > 1 else "Too early: no check-up after the start yet.")
        if self.measured:
            told = ", ".join(f"{name} = {value:.4g}" for name, value in self.measured.items())
            parts.append(textwrap.fill(told, 110, initial_indent="measured      ", subsequent_indent=" " * 14))
        if self.not_assessed:
            parts.append("\n".join(f"not assessed  {missing}" for missing in self.not_assessed))
        return "\n\n".join(parts)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent=f"  {head}", subsequent_indent="            ")
