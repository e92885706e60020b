"""One line of what a data set was understood to be."""

from __future__ import annotations

import torch

from ..base.visible import visible
from .options import DataSpec
from .store import StackStore, Store, TableStore
from .table import Table

__all__ = ["described"]

_NAMED = 12  # classes that are listed by name
_LONGEST = 60  # characters of a name


def described(name: str, spec: DataSpec, class_names: tuple[str, ...], store: Store) -> str:
    """Rows, shape, classes with their counts and order, the scale of values, and what was left out, in one line.

    Examples:
        >>> from equilibria.data import load
        >>> load("moons").described()
        'moons: fresh samples of a law; vectors of 2 numbers; values as given'
    """
    parts = [_rows(store), _shape(spec)]
    tables = _tables(store)
    if class_names:
        parts.append(_classes(class_names, tables[0] if tables and not isinstance(store, StackStore) else None))
    parts += [f"{column.name}: {column.kind} {_by(column.shape)}".rstrip() for column in spec.columns]
    notes = [note for table in tables for note in table.notes]
    if spec.encoding is None and not any(note.startswith("pixels ") for note in notes):
        parts += [_scale(tables[0])] if tables else ["values as given"] if store.size is None else []
    return visible(f"{_short(name)}: {'; '.join([*parts, *dict.fromkeys(notes)])}", lines=False)


def _short(name: str) -> str:
    """A name, cut in the middle where it is long."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 2 :]}"


def _rows(store: Store) -> str:
    if store.size is None:
        return "fresh samples of a law"
    return f"{store.size:,} training rows, {store.held_size:,} held out"


def _shape(spec: DataSpec) -> str:
    if spec.encoding is not None:
        return f"a table of {len(spec.encoding.fields)} columns, as vectors of {spec.numel} numbers"
    if len(spec.shape) != 3:
        return f"vectors of {spec.numel} numbers"
    count, height, width = spec.shape
    channels = {1: "gray", 3: "RGB", 4: "RGB and alpha"}.get(count, f"{count} channels")
    return f"images of {width} x {height} pixels, {channels}"


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)


def _classes(names: tuple[str, ...], table: Table | None) -> str:
    y = table.y if table is not None else None
    if y is None:
        return f"{len(names)} classes"
    counts = torch.bincount(y[y >= 0], minlength=len(names)).tolist()
    shown = [f"{_short(name)}: {count:,}" for name, count in zip(names, counts, strict=True)]
    if len(shown) > _NAMED:
        shown = [*shown[: _NAMED - 1], "…", shown[-1]]
    without = int((y < 0).sum())
    end = f", without a label: {without:,}" if without else ""
    return f"{len(names)} classes in order, of all rows ({', '.join(shown)}{end})"


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
