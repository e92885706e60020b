"""The objectives, penalties and terms by name, as the command line, recipes and the doctor take them.

Each module of this folder names its own: ``OBJECTIVES``, ``PENALTIES`` or ``TERMS``, records by name, and ``ALIASES``,
names by further names. The modules are found by listing the folder.

>>> OBJECTIVES.find("LSGAN")
LeastSquares(a=0.0, b=1.0, c=1.0)
"""

from __future__ import annotations

from ..base.registry import Registry, gathered
from .base import Objective
from .penalties import Penalty
from .terms import Term

_FOLDER = __name__.rpartition(".")[0]

OBJECTIVES: Registry[Objective] = gathered("objective", _FOLDER, "OBJECTIVES", base=Objective)
"""Objectives by name."""

PENALTIES: Registry[Penalty] = gathered("penalty", _FOLDER, "PENALTIES", base=Penalty)
"""Penalties by name, with their default weights."""

TERMS: Registry[Term] = gathered("term", _FOLDER, "TERMS", base=Term)
"""Terms of a player's loss by name, with their default weights."""
