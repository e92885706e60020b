"""Generated loops: combinations of laws, networks, ways to write a step, settings and faults.

Each law, family of networks, style and variant of a fault belongs to a split. The doctor is developed on
``development``; ``held-out`` was kept apart until its first run, and so were :mod:`second` and :mod:`third`; ``unseen``
judges the doctor, and whoever works on the doctor does not read the package of that name.
"""

from __future__ import annotations

from .axes import SPLITS, Axes
from .cases import FAULTS, case_of, cases, draw

__all__ = ["FAULTS", "SPLITS", "Axes", "case_of", "cases", "draw"]
