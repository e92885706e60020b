"""Reproductions of figures, tables and theorems, one file each: the claim, the measurement, and a verdict.

``equilibria reproduce KEY`` runs them. A file ``<bibkey>_<what>.py`` has a header ``CLAIM`` and a function
``run(quick)`` that returns an :class:`Outcome`; every such file in this folder is found.
"""

from __future__ import annotations

from .claim import Check, Claim, Outcome, at_least, at_most, close
from .registry import Verdict, claim_of, keys, matching, reproduce

__all__ = [
    "Check",
    "Claim",
    "Outcome",
    "Verdict",
    "at_least",
    "at_most",
    "claim_of",
    "close",
    "keys",
    "matching",
    "reproduce",
]
