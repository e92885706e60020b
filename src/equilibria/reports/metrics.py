"""The final metrics of a run as its report shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..figures import is_number
from ..metrics.tables import KINDS, split_columns
from .charts import UNPLOTTED
from .content import Facts
from .text import heading, number, words

_FLOOR = (
    "A perfect sampler draws from the law of the data itself. What it scores with equally many samples "
    "is the most to hope for; it is seldom the ideal 0 or 1."
)


@dataclass(frozen=True)
class Metric:
    """A metric as text.

    Attributes:
        words: its name.
        heading: the same with a capital letter first.
        value: the number.
        floor: what a perfect sampler scores; empty where it is unknown.
        chance: what ignoring the input scores; empty where there is no such level.
        unit: what the number counts.
        n: how many samples.
    """

    words: str
    heading: str
    value: str
    floor: str
    chance: str
    unit: str
    n: str


@dataclass(frozen=True)
class Column:
    """The numbers of one column of a table as text.

    Attributes:
        name: of the column.
        cells: value and floor for each of the kinds; empty where the column has none.
    """

    name: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Final:
    """The metrics at the end, or as they were logged last.

    Attributes:
        metrics: in order.
        moment: when they were measured: ``the end``, ``round 400``.
        hint: how they are read.
        columns: what is measured of the columns of a table.
        kinds: in this order.
    """

    metrics: tuple[Metric, ...]
    moment: str
    hint: str
    columns: tuple[Column, ...] = ()
    kinds: tuple[str, ...] = ()

    @property
    def has_chance(self) -> bool:
        """Whether a metric has the level of chance."""
        return any(one.chance for one in self.metrics)


def final(facts: Facts) -> Final:
    """The metrics of the evaluation, else the last ones logged."""
    if facts.evaluation:
        rows = {name: row for name, row in facts.evaluation.items() if row.get("value") is not None}
        hint = " ".join([_FLOOR, *_classes(facts), *_best(facts)])
        whole, columns = split_columns(rows)
        kinds = tuple(kind for kind in KINDS if any(kind in own for own in columns.values()))
        shown = tuple(_column(name, own, kinds) for name, own in columns.items())
        return Final(tuple(_metric(name, row) for name, row in whole.items()), "the end", hint, shown, kinds)
    for row in reversed(facts.rows):
        found = {name: {"value": value} for name, value in row.items() if _is_metric(name) and is_number(value)}
        if found:
            moment = f"round {number(row['step'])}"
            hint = f"As logged at {moment}; not evaluated against a perfect sampler."
            return Final(tuple(_metric(name, one) for name, one in found.items()), moment, hint)
    return Final((), "", "")


def _classes(facts: Facts) -> list[str]:
    shares = facts.info.get("classes_of_samples")
    return [f"The samples have {shares}."] if isinstance(shares, str) else []


def _best(facts: Facts) -> list[str]:
    one = facts.best
    if one is None:
        return []
    return [
        f"The samples of round {number(one.round)} were the best of those measured during training: "
        f"{words(one.measure)} {number(one.value)}. Its weights are kept."
    ]


def _metric(name: str, row: Mapping[str, Any]) -> Metric:
    floor, chance = ("" if row.get(key) is None else number(row[key]) for key in ("floor", "chance"))
    unit, n = str(row.get("unit") or ""), number(row.get("n"))
    return Metric(words(name), heading(name), number(row.get("value")), floor, chance, unit, n)


def _column(name: str, own: Mapping[str, Mapping[str, Any]], kinds: tuple[str, ...]) -> Column:
    cells = []
    for kind in kinds:
        row = own.get(kind, {})
        cells.append(tuple("" if row.get(key) is None else number(row[key]) for key in ("value", "floor")))
    return Column(name, tuple((value, floor) for value, floor in cells))


def _is_metric(key: str) -> bool:
    return "/" not in key and key not in UNPLOTTED
