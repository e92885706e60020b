"""Ours against others, measured alternately in one run: steps per second as a ratio, with its spread.

``python -m benchmarks`` runs the rows of :data:`BENCHMARKS`. A floor is a loop written by hand for one game; a peer is
another project's own script, run as shipped from a folder of checkouts that the user names.
"""

from __future__ import annotations

from .figure import drawn
from .measure import Figures, Plan, measured, surroundings
from .registry import BENCHMARKS, Benchmark, matching

__all__ = ["BENCHMARKS", "Benchmark", "Figures", "Plan", "drawn", "matching", "measured", "surroundings"]
