"""The measurements of a check-up, and what each means."""

from __future__ import annotations

from .catalogue import VITALS, Vital
from .examine import deeper, examine, facts_of

__all__ = ["VITALS", "Vital", "deeper", "examine", "facts_of"]
