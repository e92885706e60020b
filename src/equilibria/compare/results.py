"""The cells of a comparison together: from its folder, or from runs that are there already; and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..base.errors import RunError
from ..base.records import encode
from ..recipes import RECIPES, Recipe
from ..runs.folder import RunFolder
from ..training import disk
from . import cells
from .cells import Cell
from .plan import Plan

RESULTS, COSTS = "results.csv", "costs.csv"
_COLUMNS = ("method", "problem", "seed", "status", "rounds", "metric", "value", "floor", "spread", "unit", "n")
_COSTS = ("method", "problem", "seed", "discriminator updates", "examples", "seconds", "memory")


def collected(folder: Path, plan: Plan) -> list[Cell]:
    """The cells that have a result, in the order of the plan.

    Raises:
        RunError: a file is damaged.
    """
    files = (cells.file_of(folder, *pair, seed) for pair in plan.pairs for seed in plan.seeds)
    return [cell for file in files if (cell := cells.read(file)) is not None]


def keep_tables(folder: Path, found: Sequence[Cell]) -> None:
    """Write ``results.csv``, the same bytes for the same results, and ``costs.csv``, which has what a machine took."""
    disk.write_atomically(folder / RESULTS, results_csv(found))
    disk.write_atomically(folder / COSTS, costs_csv(found))


def results_csv(found: Sequence[Cell]) -> str:
    """A line for each metric of each cell; one without metrics for a cell that failed."""
    lines = []
    for cell in found:
        first = (cell.method, cell.problem, cell.seed, cell.status, cell.rounds)
        for name, one in cell.metrics.items():
            lines.append((*first, name, *(_word(one.get(key)) for key in _COLUMNS[6:])))
        if not cell.metrics:
            lines.append((*first, *[""] * 6))
    return _csv(_COLUMNS, lines)


def costs_csv(found: Sequence[Cell]) -> str:
    """A line for each cell."""
    rows = [
        (cell.method, cell.problem, cell.seed, *(_word(cell.cost.get(key)) for key in _COSTS[3:])) for cell in found
    ]
    return _csv(_COSTS, rows)


def _word(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _csv(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(head)
    out.writerows(lines)
    return text.getvalue()


def of_runs(paths: Sequence[Path]) -> list[Cell]:
    """The cells of runs that have been trained and evaluated before; runs of one recipe are its seeds.

    Raises:
        RunError: a folder is no evaluated run; or runs on one problem differ in their data, in their rounds, or in the
            number of samples behind a metric; or one seed is there twice.
    """
    found: list[Cell] = []
    first: dict[str, tuple[Path, dict[str, Any]]] = {}
    seen: dict[tuple[str, str, int], Path] = {}
    for path in paths:
        folder = RunFolder.open(path)
        problem, method = str(folder.part("data")["name"]), name_of(folder.recipe)
        cell = cells.read_run(method, problem, int(folder.info["seed"]), path, str(path))
        own = _conditions(folder, cell)
        other, theirs = first.setdefault(problem, (path, own))
        for field, value in own.items():
            if field in theirs and theirs[field] != value and cell.ok:
                raise RunError(
                    f"{other} and {path} cannot be compared on '{problem}': {field} {theirs[field]} and {value}",
                    f"leave {path} out, or train both alike: equilibria compare {method} --data {problem}",
                )
        twice = seen.setdefault((method, problem, cell.seed), path)
        if twice != path:
            raise RunError(f"{twice} and {path} are the same recipe, data and seed", f"leave {path} out")
        found.append(cell)
    return sorted(found, key=lambda one: (one.problem, one.method, one.seed))


def _conditions(folder: RunFolder, cell: Cell) -> dict[str, Any]:
    """What must be the same for two runs on one problem."""
    data = folder.part("data")
    return {
        "data fingerprint": data["fingerprint"],
        "data options": data["options"],
        "rounds": int(folder.info["steps"]),
        **{f"samples of {name}": one.get("n") for name, one in cell.metrics.items()},
    }


def name_of(row: Recipe) -> str:
    """A recipe's name, with the settings in which it differs from the recipe of that name.

    Examples:
        >>> from equilibria.recipes import recipe
        >>> name_of(recipe("gan")), name_of(recipe("gan").with_settings({"batch": "32"}))
        ('gan', 'gan:batch=32')
    """
    if row.name not in RECIPES:
        return row.name
    was, now = dict(_flat(encode(RECIPES.find(row.name)))), dict(_flat(encode(row)))
    changed = [f"{path}={now.get(path, 'none')}" for path in {**was, **now} if was.get(path) != now.get(path)]
    return ":".join([row.name, ",".join(changed)]) if changed else row.name


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield path, value
        return
    for key, one in inner:
        yield from _flat(one, f"{path}.{key}" if path else str(key))
