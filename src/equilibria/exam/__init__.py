"""The doctor's exam: planted diseases and healthy runs in loops of plain PyTorch, and the doctor's findings on them."""

from __future__ import annotations

from .cases import CASES, HEALTHY, Case
from .loop import Loop, play, prepare
from .matrix import markdown, summary
from .results import CaseResult
from .run import Plan, run_exam

__all__ = [
    "CASES",
    "HEALTHY",
    "Case",
    "CaseResult",
    "Loop",
    "Plan",
    "markdown",
    "play",
    "prepare",
    "run_exam",
    "summary",
]
