"""Many methods on many problems with many seeds, and what can be said about them with honest error bars.

```
C/plan.json     methods, problems, seeds, rounds; written before anything runs (plan.py)
C/claims/       who works on what (claims.py, work.py)
C/runs/METHOD/PROBLEM/seed0/   ordinary runs
C/cells/        what came of each, one file a cell (cells.py)
C/results.csv   every metric of every cell: the same bytes for the same results (results.py)
C/costs.csv     what each took on its machine
C/compare.json  what can be said (summary.py)
C/compare.html  the same with every seed as a dot (page.py)
```

The statistics are pure functions of numbers. Lower is better there: negate a metric of which more is better. A seed
that failed or diverged is ``inf``: it ranks worst, and is never left out.
"""

from __future__ import annotations

from .across import excess, interquartile_mean
from .collapse import Collapse, collapsed
from .exact import least_p, least_paired_p, mann_whitney, paired_permutation, pairs_needed, seeds_needed, stratified
from .intervals import improvement, mean_improvement, student, welch, wilson
from .limits import paired_limit, seeds_limit
from .multiplicity import groups, holm, letters
from .plan import QUIET, default_folder, holds_plan, kept, planned, read, threads_for
from .study import Study, of_these, opened
from .summary import Summary, summarised
from .values import Interval
from .verdicts import Comparison, Verdicts, verdicts
from .work import missing, work, work_in_processes

__all__ = [
    "QUIET",
    "Collapse",
    "Comparison",
    "Interval",
    "Study",
    "Summary",
    "Verdicts",
    "collapsed",
    "default_folder",
    "excess",
    "groups",
    "holds_plan",
    "holm",
    "improvement",
    "interquartile_mean",
    "kept",
    "least_p",
    "least_paired_p",
    "letters",
    "mann_whitney",
    "mean_improvement",
    "missing",
    "of_these",
    "opened",
    "paired_limit",
    "paired_permutation",
    "pairs_needed",
    "planned",
    "read",
    "seeds_limit",
    "seeds_needed",
    "stratified",
    "student",
    "summarised",
    "threads_for",
    "verdicts",
    "welch",
    "wilson",
    "work",
    "work_in_processes",
]
