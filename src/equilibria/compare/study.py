"""A comparison as one object: of a folder that was planned, or of runs that were there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..training import disk
from . import page, results, tables
from .plan import read
from .summary import Summary, summarised


@dataclass(frozen=True)
class Study:
    """A comparison: what it says, as text, Markdown, LaTeX or JSON.

    Attributes:
        summary: the numbers.
        left: the number of cells without a result.
        path: its folder; None for runs that were there already.
    """

    summary: Summary
    left: int = 0
    path: Path | None = None

    def __str__(self) -> str:
        waiting = f"\n{self.left} cells have no result yet." if self.left else ""
        return tables.text(self.summary) + waiting

    def shown(self, form: str) -> str:
        """As ``text``, ``markdown``, ``latex`` or ``json``."""
        return str(self) if form == "text" else tables.FORMS[form](self.summary)


def opened(folder: Path, metrics: Sequence[str] = ()) -> Study:
    """The comparison in a folder, as far as it has come; its tables and its page are written again.

    Args:
        folder: of the comparison.
        metrics: other ones than those of its plan.

    Raises:
        ConfigError: an unknown metric.
        RunError: the folder is damaged, or has no result yet.
    """
    plan = read(folder)
    found = results.collected(folder, plan)
    summary = summarised(found, len(plan.seeds), metrics or plan.metrics)
    results.keep_tables(folder, found)
    disk.write_atomically(folder / "compare.json", tables.as_json(summary))
    disk.write_atomically(folder / "compare.html", page.html(summary, plan))
    left = len(plan.seeds) * len(plan.rounds) - len(found)
    return Study(summary, left, folder)


def of_these(paths: Sequence[Path], metrics: Sequence[str] = ()) -> Study:
    """A comparison of runs that have been trained and evaluated before.

    Raises:
        ConfigError: an unknown metric.
        RunError: they cannot be compared; the message names the field that differs.
    """
    found = results.of_runs(paths)
    counts = {(cell.method, cell.problem): 0 for cell in found}
    for cell in found:
        counts[cell.method, cell.problem] += 1
    return Study(summarised(found, max(counts.values()), metrics))
