"""Speed of this library against others, measured alternately in one run: rounds per second as a ratio, with its spread.

``python -m benchmarks`` runs the rows of :data:`BENCHMARKS`. A floor is a loop written by hand for one game. A peer is
another project's own script, run unchanged from a folder of checkouts that the user gives.
"""

from __future__ import annotations

from .figure import drawn
from .measure import Figures, Plan, measured, surroundings
from .registry import BENCHMARKS, Benchmark, matching

__all__ = ["BENCHMARKS", "Benchmark", "Figures", "Plan", "drawn", "matching", "measured", "surroundings"]
