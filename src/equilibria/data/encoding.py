r"""How the columns of a table become vectors of real numbers, and how vectors become rows of the table again.

A column is encoded as at most one number, followed by a one-hot block:

- A **category** or a **boolean** is a block with one entry for each of its values.
- A **number** :math:`v` becomes its normal score :math:`g = \Phi^{-1}(F(v))`, where F is the distribution of the
  column and :math:`\Phi` that of the standard normal: whatever the scale, the skew and the number of modes of a column,
  its scores have about mean 0 and spread 1. F is kept as the quantiles at up to 201 evenly spaced scores, with straight
  lines between them; beyond the last quantile a score of 1 is one standard deviation of the column. The inverse is
  :math:`v = F^{-1}(\Phi(g))`.
- A number with **atoms**, values that many rows share (a gain that is 0 for 92 % of the rows), has a block as well,
  whose last entry is "any other value": the score is 0 where the row is at an atom. A number of few different values
  has atoms only.
- With ``missing="keep"``, a block has an entry for missing values.

A column with a single value has no numbers at all; it is put back when rows are decoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.errors import ConfigError, did_you_mean
from ..base.records import record

__all__ = ["Encoding", "Series", "TableField", "fitted_field", "normal_scores"]

_KNOTS = 201
_ATOMS = 20
_ATOM_ROWS, _ATOM_SHARE = 100, 0.05
_DECIMALS = 6
_KINDS = ("number", "category", "boolean")


@dataclass(frozen=True)
class Series:
    """The values of one column.

    Attributes:
        values: ``(n,)`` of int64, float64, bool, or objects that are texts; anything where a value is missing.
        missing: ``(n,)`` whether a row has no value.
    """

    values: NDArray[Any]
    missing: NDArray[np.bool_]

    @classmethod
    def of(cls, values: NDArray[Any]) -> Series:
        """A column in which nothing is missing but NaN."""
        none = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
        return cls(values, none)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def known(self) -> NDArray[Any]:
        """The values that are there."""
        return self.values[~self.missing]


@record
class TableField:
    """How one column of a table is encoded; the rule is at the head of this module.

    Args:
        name: of the column.
        kind: ``"number"``, ``"category"`` or ``"boolean"``.
        categories: the values of a category as text, in the order of its block.
        atoms: values of a number with an entry of their own, increasing.
        missing: whether the block has an entry for missing values.
        knots: quantiles of the other values of a number at evenly spaced normal scores, increasing; empty for none.
        reach: the normal score of the last of them; the first has minus that.
        spread: the standard deviation of those values.
        shares: the share of the training rows in each entry of the block; one share of 1 where there is no block.
        decimals: digits after the point of a number, -1 where they are not limited.
        whole: whether the values are whole numbers (of a category too: its values are written as numbers).

    Raises:
        ConfigError: an unknown kind, or shares that do not fit the block.

    Examples:
        >>> field = TableField(name="sex", kind="category", categories=("f", "m"), shares=(0.5, 0.5))
        >>> field.encode(Series.of(np.array(["m", "f"], dtype=object))).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    atoms: tuple[float, ...] = ()
    missing: bool = False
    knots: tuple[float, ...] = ()
    reach: float = 0.0
    spread: float = 1.0
    shares: tuple[float, ...] = (1.0,)
    decimals: int = -1
    whole: bool = False

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ConfigError(f"column '{self.name}' of kind '{self.kind}'", did_you_mean(self.kind, _KINDS))
        if len(self.shares) != max(1, self.entries):
            raise ConfigError(f"{len(self.shares)} shares of {self.entries} entries", "give one for each entry")

    @property
    def continuous(self) -> bool:
        """Whether the column has a number besides its block."""
        return bool(self.knots)

    @property
    def entries(self) -> int:
        """What a row can be at: categories, atoms, missing, and any other value."""
        return len(self.categories) + len(self.atoms) + self.missing + self.continuous

    @property
    def block(self) -> int:
        """The size of the one-hot block, 0 for none."""
        return self.entries if self.entries > 1 else 0

    @property
    def width(self) -> int:
        """How many numbers encode a value."""
        return self.continuous + self.block

    @property
    def labels(self) -> tuple[str, ...]:
        """What the entries of the block are, in words."""
        atoms = tuple(f"{atom:g}" for atom in self.atoms)
        return self.categories + atoms + ("missing",) * self.missing + ("other",) * self.continuous

    def entry(self, series: Series) -> NDArray[np.int64]:
        """The entry of each row, ``(n,)``; -1 for a value that is none of the column's."""
        found = np.full(len(series), -1, dtype=np.int64)
        if self.continuous:
            found[~series.missing] = self.entries - 1
        if self.categories:
            place = {name: i for i, name in enumerate(self.categories)}
            texts = [place.get(_text(value), -1) for value in series.known]
            found[~series.missing] = np.array(texts, dtype=np.int64)
        for i, atom in enumerate(self.atoms):
            found[~series.missing] = np.where(series.known.astype(np.float64) == atom, i, found[~series.missing])
        if self.missing:
            found[series.missing] = len(self.categories) + len(self.atoms)
        return found

    def encode(self, series: Series) -> NDArray[np.float64]:
        """The numbers of each row, ``(n, width)``."""
        entry, parts = self.entry(series), []
        if self.continuous:
            other = entry == self.entries - 1
            scores = np.zeros(len(series))
            scores[other] = self.score(series.values[other].astype(np.float64))
            parts.append(scores[:, None])
        if self.block:
            parts.append((entry[:, None] == np.arange(self.entries)).astype(np.float64))
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(series), 0))

    def score(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Normal scores of numbers; in the middle of its range of scores where many rows share a value."""
        knots, scores = np.asarray(self.knots), self._scores()
        distinct, first = np.unique(knots, return_index=True)
        last = np.append(first[1:], len(knots)) - 1
        low, high = scores[first], scores[last]
        at = np.clip(np.searchsorted(distinct, values, side="right") - 1, 0, len(distinct) - 1)
        after = np.minimum(at + 1, len(distinct) - 1)
        gap = np.where(after > at, distinct[after] - distinct[at], 1.0)
        along = (values - distinct[at]) / gap
        found = np.where(values == distinct[at], (low[at] + high[at]) / 2, high[at] + along * (low[after] - high[at]))
        found = np.where(values < knots[0], low[0] + (values - knots[0]) / self.spread, found)
        found = np.where(values > knots[-1], high[-1] + (values - knots[-1]) / self.spread, found)
        return np.asarray(found, dtype=np.float64)

    def number(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers of normal scores, with the digits that the column has."""
        knots, at = np.asarray(self.knots), self._scores()
        found = np.interp(scores, at, knots)
        found = np.where(scores < at[0], knots[0] + (scores - at[0]) * self.spread, found)
        found = np.where(scores > at[-1], knots[-1] + (scores - at[-1]) * self.spread, found)
        return np.asarray(found if self.decimals < 0 else np.round(found, self.decimals), dtype=np.float64)

    def _scores(self) -> NDArray[np.float64]:
        return np.linspace(-self.reach, self.reach, len(self.knots))

    def decode(self, rows: NDArray[np.floating[Any]]) -> Series:
        """The values that rows ``(n, width)`` encode; of a block, the largest entry is taken."""
        n, block = len(rows), rows[:, int(self.continuous) :]
        entry = block.argmax(1) if self.block else np.zeros(n, dtype=np.int64)
        missing = (entry == len(self.categories) + len(self.atoms)) & self.missing
        if self.kind == "boolean":
            return Series(np.array([c == "True" for c in self.categories] + [False] * self.missing)[entry], missing)
        if self.categories:
            texts = np.array([*self.categories, *([""] * self.missing)], dtype=object)[entry]
            return Series(np.array([int(t or 0) for t in texts]) if self.whole else texts, missing)
        values = np.array([*self.atoms, *([0.0] * self.missing), *([0.0] * self.continuous)])[entry]
        if self.continuous:
            other = entry == self.entries - 1
            values[other] = self.number(rows[other, 0].astype(np.float64))
        values[missing] = np.nan
        return Series(np.rint(values).astype(np.int64) if self.whole and not missing.any() else values, missing)


@record
class Encoding:
    """How the rows of a table are encoded: ``(n, width)`` numbers, column after column.

    Args:
        fields: the columns in their order.
        label: the name of the column that the classes are written under; empty without classes.
        position: its place among the columns of the source.
        plain: whether the source was an array of numbers without names.

    Examples:
        >>> field = TableField(name="open", kind="boolean", categories=("False", "True"), shares=(0.5, 0.5))
        >>> table = Encoding(fields=(field,))
        >>> x = table.encode({"open": Series.of(np.array([True, False]))})
        >>> table.decode(x)["open"].values
        array([ True, False])
    """

    fields: tuple[TableField, ...]
    label: str = ""
    position: int = 0
    plain: bool = False

    @property
    def width(self) -> int:
        """The number of entries of an encoded row."""
        return sum(field.width for field in self.fields)

    @property
    def places(self) -> tuple[slice, ...]:
        """Where each column is in an encoded row."""
        found, start = [], 0
        for field in self.fields:
            found.append(slice(start, start + field.width))
            start += field.width
        return tuple(found)

    @property
    def blocks(self) -> tuple[tuple[int, int, int], ...]:
        """The one-hot blocks: start, stop, and the place of the number that counts at the last entry only, or -1."""
        found = []
        for field, place in zip(self.fields, self.places, strict=True):
            if field.block:
                number = place.start if field.continuous else -1
                found.append((place.start + field.continuous, place.stop, number))
        return tuple(found)

    def encode(self, columns: Mapping[str, Series]) -> NDArray[np.float32]:
        """Rows as ``(n, width)``."""
        parts = [field.encode(columns[field.name]) for field in self.fields]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def decode(self, rows: NDArray[np.floating[Any]]) -> dict[str, Series]:
        """The columns that rows ``(n, width)`` encode."""
        places = zip(self.fields, self.places, strict=True)
        return {field.name: field.decode(rows[:, place]) for field, place in places}


def fitted_field(name: str, series: Series, training: NDArray[np.bool_], kind: str, keep: bool) -> TableField:
    """The encoding of a column, from its training rows; of a category, the names of all rows.

    Args:
        name: of the column.
        series: its values.
        training: ``(n,)`` which rows batches deal.
        kind: ``"number"``, ``"category"`` or ``"boolean"``.
        keep: whether missing values are an entry.

    Examples:
        >>> field = fitted_field("age", Series.of(np.array([20, 30, 40])), np.ones(3, dtype=bool), "number", False)
        >>> field.decode(field.encode(Series.of(np.array([20, 37])))).values
        array([20, 37])
    """
    missing = keep and bool(series.missing.any())
    if kind == "number":
        field = _number(name, series, training, missing)
    else:
        values = sorted(set(series.known.tolist()))
        whole = kind == "category" and all(isinstance(value, int) for value in values)
        texts = ("False", "True") if kind == "boolean" and len(values) > 1 else tuple(_text(v) for v in values)
        field = TableField(
            name=name, kind=kind, categories=texts, missing=missing, whole=whole,
            shares=_even(len(texts) + missing),
        )  # fmt: skip
    if not field.block:
        return field
    counts = np.bincount(field.entry(series)[training], minlength=field.entries)
    fields = {**vars(field), "shares": tuple((counts / counts.sum()).tolist())}
    return TableField(**fields)


def _number(name: str, series: Series, training: NDArray[np.bool_], missing: bool) -> TableField:
    values = series.values[~series.missing & training].astype(np.float64)
    atoms = _atoms(values)
    rest = np.sort(values[~np.isin(values, atoms)])
    every = series.known.astype(np.float64)
    if not len(rest) and not np.isin(every, atoms).all():  # a value that only held-out rows have
        rest = np.sort(every[~np.isin(every, atoms)])
    knots: tuple[float, ...] = ()
    reach, spread = 0.0, 1.0
    if len(rest):
        reach = float(-normal_scores(np.array(0.5 / len(rest)))) if len(rest) > 1 else 1.0
        count = min(_KNOTS, max(2, len(rest)))
        knots = tuple(_quantiles(rest, np.linspace(-reach, reach, count)).tolist())
        spread = float(rest.std()) or 1.0
    return TableField(
        name=name,
        kind="number",
        atoms=tuple(float(atom) for atom in atoms),
        missing=missing,
        knots=knots,
        reach=reach,
        spread=spread,
        shares=_even(len(atoms) + missing + bool(knots)),
        decimals=_decimals(every, series.values.dtype),
        whole=series.values.dtype.kind in "iu" or (bool((every == np.rint(every)).all()) and missing),
    )


def _quantiles(ordered: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values at normal scores: row i of n is at the score of (i + 1/2) / n, with straight lines between rows."""
    own = normal_scores((np.arange(len(ordered)) + 0.5) / len(ordered))
    return np.interp(scores, own, ordered)


def normal_scores(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""The quantiles :math:`\Phi^{-1}(p)` of the standard normal law.

    Examples:
        >>> normal_scores(np.array([0.5, 0.975])).round(3).tolist()
        [0.0, 1.96]
    """
    return np.asarray(torch.special.ndtri(torch.from_numpy(shares)).numpy(), dtype=np.float64)


def _atoms(values: NDArray[np.float64]) -> list[float]:
    """All values, where they are few; else those that, one after another, hold a twentieth of the rows left."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) == 1 or (len(distinct) <= _ATOMS and len(values) >= 100 * len(distinct)):
        return [float(value) for value in distinct]
    found, left = [], len(values)
    for i in np.argsort(-counts, kind="stable")[:_ATOMS]:
        if counts[i] < max(_ATOM_ROWS, _ATOM_SHARE * left):
            break
        found.append(float(distinct[i]))
        left -= int(counts[i])
    return sorted(found)


def _decimals(values: NDArray[np.float64], dtype: np.dtype[Any]) -> int:
    """The digits after the point that all values can be written with; -1 where there are more than six."""
    if dtype.kind in "iu":
        return 0
    slack = 1e-6 if dtype == np.float32 else 1e-12
    for digits in range(_DECIMALS + 1):
        if bool((np.abs(values - np.round(values, digits)) <= slack * np.maximum(1.0, np.abs(values))).all()):
            return digits
    return -1


def _even(entries: int) -> tuple[float, ...]:
    return (1.0 / max(1, entries),) * max(1, entries)


def _text(value: Any) -> str:
    return str(value)
