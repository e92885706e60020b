"""The doctor's own exam: planted diseases and healthy runs in loops of plain PyTorch, and what it says of them."""

from __future__ import annotations

from .cases import CASES, HEALTHY, Case
from .loop import Loop, play, prepare
from .matrix import markdown, summary
from .run import Plan, sit
from .sitting import Sitting

__all__ = ["CASES", "HEALTHY", "Case", "Loop", "Plan", "Sitting", "markdown", "play", "prepare", "sit", "summary"]
