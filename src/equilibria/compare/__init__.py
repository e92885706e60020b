"""Comparisons of methods over seeds and problems: exact tests, intervals, and what a number of seeds cannot support.

Pure functions of numbers. Lower is better everywhere: negate a metric of which more is better. A seed that failed or
diverged is ``inf``: it ranks worst, and is never left out.
"""

from __future__ import annotations

from .across import excess, interquartile_mean
from .collapse import Collapse, collapsed
from .exact import least_p, least_paired_p, mann_whitney, paired_permutation, pairs_needed, seeds_needed, stratified
from .intervals import improvement, mean_improvement, student, welch, wilson
from .limits import paired_limit, seeds_limit
from .multiplicity import groups, holm, letters
from .values import Interval
from .verdicts import Comparison, Verdicts, verdicts

__all__ = [
    "Collapse",
    "Comparison",
    "Interval",
    "Verdicts",
    "collapsed",
    "excess",
    "groups",
    "holm",
    "improvement",
    "interquartile_mean",
    "least_p",
    "least_paired_p",
    "letters",
    "mann_whitney",
    "mean_improvement",
    "paired_limit",
    "paired_permutation",
    "pairs_needed",
    "seeds_limit",
    "seeds_needed",
    "stratified",
    "student",
    "verdicts",
    "welch",
    "wilson",
]
