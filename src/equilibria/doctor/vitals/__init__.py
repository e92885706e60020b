"""The vitals: the measurements of a check-up, and what each means."""

from __future__ import annotations

from .catalogue import VITALS, Vital
from .examine import examine, examine_deeply, facts_of

__all__ = ["VITALS", "Vital", "examine", "examine_deeply", "facts_of"]
