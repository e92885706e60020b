"""What the cells of a comparison say: a row for each method on each problem, and which methods are told apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

import numpy as np

from ..base.errors import ConfigError, DataError, did_you_mean
from .across import excess, interquartile_mean
from .cells import Cell, metric_names
from .collapse import Collapse, collapsed
from .intervals import student
from .multiplicity import Group, letters
from .values import Interval, middle
from .verdicts import Verdicts, verdicts

_FIRST = ("digit_fid", "frechet", "w1", "sliced_w1")
"""The metrics by which methods are told apart, the first that a problem has."""


@dataclass(frozen=True)
class Row:
    """A method on a problem, over its seeds. Numbers are in the metric's own sense, not signed.

    Attributes:
        method: its name.
        problem: the name of the data.
        values: of the seeds, in their order; None for one without a number.
        seeds: the seeds.
        asked: the number of seeds that were asked for.
        median: failed seeds ranked worst; None if half or more failed.
        mean: with its 95 % interval; without numbers if a seed failed.
        worst: of all seeds; None if one failed.
        collapse: whether the seeds fall into two groups.
        letter: methods that share a letter are not told apart.
        others: medians of further metrics.
        states: the doctor's words for the runs, and how often.
        cost: medians over the seeds.
        runs: the run folders, in the order of the seeds.
    """

    method: str
    problem: str
    values: tuple[float | None, ...]
    seeds: tuple[int, ...]
    asked: int
    median: float | None
    mean: Interval
    worst: float | None
    collapse: Collapse
    letter: str
    others: dict[str, float | None]
    states: dict[str, int]
    cost: dict[str, float]
    runs: tuple[str, ...]

    @property
    def ok(self) -> int:
        """Seeds with a number."""
        return sum(value is not None for value in self.values)


@dataclass(frozen=True)
class Judged:
    """The metric by which the methods are told apart on a problem.

    Attributes:
        metric: its name.
        floor: the score of a perfect sampler; None if it is unknown.
        spread: standard deviation of the floor.
        unit: of the metric.
        higher: whether higher is better.
    """

    metric: str
    floor: float | None
    spread: float
    unit: str
    higher: bool

    @property
    def signed_floor(self) -> float | None:
        """The floor where less is better."""
        return None if self.floor is None else -self.floor if self.higher else self.floor


@dataclass(frozen=True)
class Summary:
    """A comparison.

    Attributes:
        judged: by problem.
        rows: of each problem, ordered from the best to the worst median.
        verdicts: which methods are told apart, on each problem and over them; None for a single method.
        overall: the interquartile mean of the floor-normalised excess of each method over all problems, best first;
            empty for one problem.
    """

    judged: dict[str, Judged]
    rows: tuple[Row, ...]
    verdicts: Verdicts | None
    overall: dict[str, Interval]

    def of(self, problem: str) -> list[Row]:
        """The rows of a problem."""
        return [row for row in self.rows if row.problem == problem]


def summarised(cells: Sequence[Cell], asked: int, metrics: Sequence[str] = ()) -> Summary:
    """What the cells say.

    Args:
        cells: of every method, problem and seed that has a result.
        asked: the number of seeds that were asked for.
        metrics: the first is the one by which the methods are told apart; none for the first that a problem has of
            ``digit_fid``, ``frechet``, ``w1`` and ``sliced_w1``.

    Raises:
        ConfigError: no cell has a metric of that name.
        DataError: there is no cell.
    """
    if not cells:
        raise DataError("no cell has a result yet", "equilibria compare work FOLDER")
    problems = list(dict.fromkeys(cell.problem for cell in cells))
    judged = {problem: _judged(problem, cells, metrics) for problem in problems}
    values = {problem: _values(problem, cells, judged[problem].metric) for problem in problems}
    study = {problem: own for problem, own in values.items() if len(own) > 1}
    floors = {problem: judged[problem].signed_floor for problem in study}
    found = verdicts(study, floors) if study else None
    groups_of = found.groups if found is not None else {}
    rows = [
        row
        for p, own in values.items()
        for row in _rows(p, cells, judged[p], own, groups_of.get(p, ()), asked, metrics)
    ]
    return Summary(judged, tuple(rows), found, _overall(study, floors))


def _judged(problem: str, cells: Sequence[Cell], metrics: Sequence[str]) -> Judged:
    own = [cell for cell in cells if cell.problem == problem]
    known = metric_names(own)
    if metrics and known and metrics[0] not in known:
        raise ConfigError(f"no metric '{metrics[0]}' on {problem}", did_you_mean(metrics[0], known))
    names = [name for name in (*metrics[:1], *_FIRST, *known) if name in known]
    if not names:
        return Judged(metrics[0] if metrics else "result", None, 0.0, "", False)
    found = next(cell.metrics[names[0]] for cell in own if names[0] in cell.metrics)
    return Judged(names[0], found.get("floor"), found.get("spread") or 0.0, found["unit"], bool(found.get("higher")))


def _values(problem: str, cells: Sequence[Cell], metric: str) -> dict[str, list[float]]:
    """By method, less is better; from the best to the worst median."""
    found: dict[str, list[float]] = {}
    for cell in cells:
        if cell.problem == problem:
            found.setdefault(cell.method, []).append(cell.value(metric))
    return dict(sorted(found.items(), key=lambda one: (_middle(one[1]), one[0])))


def _middle(values: Sequence[float]) -> float:
    return middle(np.asarray(values, dtype=np.float64))


def _rows(
    problem: str,
    cells: Sequence[Cell],
    judged: Judged,
    values: dict[str, list[float]],
    found: Sequence[Group],
    asked: int,
    metrics: Sequence[str],
) -> list[Row]:
    letter = letters(list(values), found)
    sign = -1.0 if judged.higher else 1.0
    rows = []
    for method, signed in values.items():
        own = [cell for cell in cells if cell.problem == problem and cell.method == method]
        mean, centre = student(signed), _middle(signed)
        low, high = (mean.high, mean.low) if judged.higher else (mean.low, mean.high)
        further = [name for name in metrics[1:] or _shown(own) if name != judged.metric]
        rows.append(
            Row(
                method=method,
                problem=problem,
                values=tuple(_times(sign, value) for value in signed),
                seeds=tuple(cell.seed for cell in own),
                asked=asked,
                median=_times(sign, centre),
                mean=Interval(*(_times(sign, one) for one in (mean.estimate, low, high))),
                worst=_times(sign, max(signed)),
                collapse=collapsed(signed),
                letter=letter[method],
                others={name: _median_of(own, name) for name in further},
                states=dict(Counter(_state(cell) for cell in own)),
                cost={
                    name: median([cell.cost[name] for cell in own if name in cell.cost])
                    for name in dict.fromkeys(name for cell in own for name in cell.cost)
                },
                runs=tuple(cell.run for cell in own),
            )
        )
    return rows


def _shown(own: Sequence[Cell]) -> list[str]:
    return [name for name in ("modes", "high_quality", "agreement", "coverage") if name in metric_names(own)]


def _median_of(own: Sequence[Cell], name: str) -> float | None:
    sign = -1.0 if any(cell.metrics.get(name, {}).get("higher") for cell in own) else 1.0
    return _times(sign, _middle([cell.value(name) for cell in own]))


def _state(cell: Cell) -> str:
    if not cell.ok:
        return cell.status.partition(" at ")[0]
    return cell.findings[0] if cell.findings else cell.state or "not examined"


def _times(sign: float, value: float | None) -> float | None:
    return sign * value if value is not None and math.isfinite(value) else None


def _overall(study: dict[str, dict[str, list[float]]], floors: dict[str, float | None]) -> dict[str, Interval]:
    """The methods that are on every problem, in units of each problem's median excess."""
    scaled = []
    for problem, own in study.items():
        with suppress(DataError):
            scaled.append(excess(own, floors[problem] or 0.0))
    methods = [m for m in next(iter(study.values()), {}) if all(m in own for own in scaled)]
    if len(scaled) < 2:
        return {}
    means = {m: interquartile_mean([own[m] for own in scaled]) for m in methods}
    return dict(sorted(means.items(), key=lambda one: math.inf if one[1].estimate is None else one[1].estimate))
