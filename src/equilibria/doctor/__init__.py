"""The doctor: reports whether a GAN's training is healthy, and if not, why, since when, and what to change."""

from __future__ import annotations

from .conditions import CONDITIONS
from .diagnosis_text import DiagnosisText
from .doctor import Doctor
from .evidence import Comparison, Evidence, NotAssessed
from .findings import Diagnosis, Difference, Finding, Severity, State
from .remedies import REMEDIES, Remedy
from .vitals import VITALS

__all__ = [
    "CONDITIONS",
    "REMEDIES",
    "VITALS",
    "Comparison",
    "Diagnosis",
    "DiagnosisText",
    "Difference",
    "Doctor",
    "Evidence",
    "Finding",
    "NotAssessed",
    "Remedy",
    "Severity",
    "State",
]
