"""Generated loops: combinations of laws, networks, ways to write a step, settings and faults.

A third of the laws, of the families of networks, of the styles, and one variant of each fault are held out as a whole:
the doctor is not developed on them.
"""

from __future__ import annotations

from .axes import SPLITS, Axes
from .cases import FAULTS, case_of, cases, draw

__all__ = ["FAULTS", "SPLITS", "Axes", "case_of", "cases", "draw"]
