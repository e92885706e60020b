"""The doctor: whether a GAN's training is healthy, and if not, why, since when, and what to change."""

from __future__ import annotations

from .doctor import Doctor
from .findings import Condition, Diagnosis, Evidence, Finding, Severity, State
from .remedies import REMEDIES, Remedy
from .vitals import VITALS

__all__ = [
    "REMEDIES",
    "VITALS",
    "Condition",
    "Diagnosis",
    "Doctor",
    "Evidence",
    "Finding",
    "Remedy",
    "Severity",
    "State",
]
