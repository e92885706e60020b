"""The doctor's results: findings with evidence and remedies, and the diagnosis of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from ..base import notebooks
from .diagnosis_text import DiagnosisText, FindingText
from .evidence import Evidence, NotAssessed
from .remedies import Remedy


class Severity(StrEnum):
    """How much it matters: ``info`` needs no action, ``warning`` needs attention, ``critical`` needs a change."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Confidence(StrEnum):
    """How sure a finding is.

    ``certain``: read in the training step, and it follows from the record alone; ``probable``: concluded from
    measurements or by a threshold; ``possible``: it may also be an effect of another condition.
    """

    CERTAIN = "certain"
    PROBABLE = "probable"
    POSSIBLE = "possible"


class State(StrEnum):
    """State of a run.

    A critical finding is active; samples are not yet close to the data; they are close, and a measure still tells them
    from it; no measure tells them from it.
    """

    SICK = "sick"
    ON_THE_WAY = "on the way"
    NEAR = "near"
    ARRIVED = "arrived"


@dataclass(frozen=True)
class Difference:
    """A measure that tells samples from the data.

    Attributes:
        measure: its name, of a vital or of a metric.
        value: what the samples score.
        floor: what a perfect sampler scores.
        evaluated: whether it is a metric of the evaluation, and not a vital of the check-ups.
    """

    measure: str
    value: float
    floor: float
    evaluated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "measure": self.measure,
            "value": self.value if math.isfinite(self.value) else None,
            "floor": self.floor if math.isfinite(self.floor) else None,
            "evaluated": self.evaluated,
        }


@dataclass(frozen=True)
class Finding:
    """A named condition with its evidence.

    Attributes:
        condition: its name, one of :data:`~equilibria.doctor.CONDITIONS`.
        severity: how much it matters.
        onset: the step of the first check-up from which on its evidence holds until it was last found.
        status: ``"active"``, or ``"resolved"`` if it does not hold at the last check-up.
        earlier: active findings that this one may explain, although they were found before it: each with its onset.
        confidence: whether it was read in the training step (``certain``), or concluded from measurements.
        read: what was read.
        effect_of: the certain finding that explains it; empty if there is none.
        record: of the runs of the exam in which it was the first finding, how many had it; and how many there were.
        evidence: the measured numbers that support it.
        cause: why it happens, for a reader who does not know the condition.
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
    confidence: Confidence = Confidence.PROBABLE
    read: str = ""
    effect_of: str = ""
    record: tuple[int, int] = (0, 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a non-finite number becomes ``None``."""
        return {
            "condition": self.condition,
            "severity": self.severity.value,
            "status": self.status,
            "onset": self.onset,
            "earlier": [[condition, onset] for condition, onset in self.earlier],
            "evidence": [evidence.to_dict() for evidence in self.evidence],
            "cause": self.cause,
            "source": self.source,
            "confidence": self.confidence.value,
            "read": self.read,
            "effect_of": self.effect_of,
            "record": list(self.record),
            "remedies": [r.to_dict() for r in self.remedies],
        }

    def __str__(self) -> str:
        return FindingText.of(self.to_dict()).text()


@dataclass(frozen=True)
class Diagnosis:
    """The doctor's result for a run up to a step.

    Attributes:
        state: sick, on the way, near, or arrived.
        findings: root causes first, then the findings that they may explain.
        not_assessed: what could not be examined, why, and the argument that would allow it.
        step: of the last check-up.
        checkups: how many there were.
        seconds: their total duration.
        measured: vitals that are measured only at a diagnosis.
        differences: where the samples are near: the measures that tell them from the data.
    """

    state: State
    findings: tuple[Finding, ...]
    not_assessed: tuple[NotAssessed, ...] = ()
    step: int = 0
    checkups: int = 0
    seconds: float = 0.0
    measured: dict[str, float] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()

    def beside(self, evaluated: Sequence[Difference]) -> Diagnosis:
        """The diagnosis with what an evaluation of the same samples says: one judgement for both.

        Samples that a metric tells from the data have not arrived, whatever the check-ups say.
        """
        if self.state not in {State.NEAR, State.ARRIVED} or not evaluated:
            return self
        found = tuple(one for one in self.findings if one.condition != "finished" or one.status != "active")
        return replace(self, state=State.NEAR, findings=found, differences=(*self.differences, *evaluated))

    @property
    def active(self) -> tuple[Finding, ...]:
        """The active findings that need attention or a change."""
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
            "differences": [one.to_dict() for one in self.differences],
        }

    def __str__(self) -> str:
        return str(DiagnosisText(self.to_dict()))

    def _repr_html_(self) -> str:
        return notebooks.shown(str(self))
