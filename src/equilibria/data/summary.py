"""One line of what a data set was understood to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .store import StackStore, Store, TableStore
from .table import Table

if TYPE_CHECKING:
    from .dataset import Dataset

__all__ = ["described"]

_NAMED = 12  # classes that are listed by name


def described(data: Dataset) -> str:
    """Rows, shape, classes with their counts and order, the scale of values, and what was left out, in one line.

    Examples:
        >>> from equilibria.data import load
        >>> described(load("moons"))
        'moons: fresh samples of a law; vectors of 2 numbers; values as given'
    """
    parts = [_rows(data), _shape(data)]
    tables = _tables(data.store)
    if data.class_names:
        stacked = isinstance(data.store, StackStore)
        parts.append(_classes(data.class_names, tables[0] if tables and not stacked else None))
    parts += [f"{column.name}: {column.kind} {_by(column.shape)}".rstrip() for column in data.spec.columns]
    notes = [note for table in tables for note in table.notes]
    if not any(note.startswith("pixels ") for note in notes):
        parts += [_scale(tables[0])] if tables else ["values as given"] if data.law is not None else []
    return f"{data.name}: {'; '.join([*parts, *dict.fromkeys(notes)])}"


def _rows(data: Dataset) -> str:
    if data.size is None:
        return "fresh samples of a law"
    return f"{data.size:,} training rows, {data.held_out_size:,} held out"


def _shape(data: Dataset) -> str:
    shape = data.spec.shape
    if len(shape) != 3:
        return f"vectors of {data.spec.numel} numbers"
    channels = {1: "gray", 3: "RGB", 4: "RGB and alpha"}.get(shape[0], f"{shape[0]} channels")
    return f"images of {shape[2]} x {shape[1]} pixels, {channels}"


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)


def _classes(names: tuple[str, ...], table: Table | None) -> str:
    y = table.y if table is not None else None
    if y is None:
        return f"{len(names)} classes"
    counts = torch.bincount(y[y >= 0], minlength=len(names)).tolist()
    shown = [f"{name}: {count:,}" for name, count in zip(names, counts, strict=True)]
    if len(shown) > _NAMED:
        shown = [*shown[: _NAMED - 1], "…", shown[-1]]
    without = int((y < 0).sum())
    end = f", without a label: {without:,}" if without else ""
    return f"{len(names)} classes in order ({', '.join(shown)}{end})"


def _scale(table: Table) -> str:
    x = table.x
    if not isinstance(x, torch.Tensor) or x.dtype == torch.uint8:
        return "bytes scaled as x / 127.5 - 1"
    return "pixels in [-1, 1]" if x.dim() == 4 else "values as given"


def _tables(store: Store) -> list[Table]:
    """The tables whose rows a store deals; none for a law."""
    if isinstance(store, TableStore):
        return [store.table]
    inner = (getattr(store, name, None) for name in ("first", "second", "rows", "store", "of"))
    return [table for one in inner if isinstance(one, Store) for table in _tables(one)]
