"""Arrays become the columns of a table: examples, labels, and further arrays whose kind is guessed by one rule.

The kind of a further array, for ``n`` examples, is the first of these that fits:

| kind | array | dealt as |
|---|---|---|
| image | ``(n, c, h, w)`` or ``(n, h, w, c)`` of 1 or 3 channels; ``(n, h, w)`` of uint8 | float32 in [-1, 1] |
| label | ``(n,)`` of whole numbers >= -1 | int64 as given; -1 is a row without a label |
| attributes | ``(n, k)`` of 0 and 1 | float32 |
| text | ``(n, t)`` of whole numbers >= 0 | int64 |
| vector | ``(n, d)`` or ``(n,)`` of floats | float32 as given |

Anything else is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base.errors import DataError
from .arrays import checked_rows
from .checks import as_tensor, checked_labels, fitted
from .encoding import Series
from .files import Arrays, read_arrays
from .options import Column, DataOptions, setting
from .table import Table
from .tabular import columns_of, is_frame, scales_differ, tabulated

__all__ = ["further_column", "labels_of", "table_of"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def table_of(
    arrays: Arrays, options: DataOptions, where: str = "the array", labels: Any = None, parts: int = 1
) -> Table:
    """The table of examples, their labels and further arrays.

    Args:
        arrays: as they were found.
        options: how images are fitted, and whether -1 marks rows without a label.
        where: what they are called in messages.
        labels: in place of the arrays' own labels: values, or the path of a ``.npy`` of them.
        parts: pictures side by side in one example.

    Raises:
        DataError: an array that cannot be used.

    Examples:
        >>> import numpy as np
        >>> found = table_of(Arrays(np.zeros((4, 2)), others={"age": np.arange(4.0)}), DataOptions())
        >>> found.columns[0].kind, found.columns[0].shape
        ('vector', (1,))
    """
    table, own = _tabular(arrays, options, where)
    if table is None:
        rows, notes = checked_rows(arrays.x, where, replace(options, range=None) if arrays.decoded else options)
        table = Table({"x": fitted(rows, options, parts)}, notes=notes)
    x, given = table.x, arrays.y if labels is None else labels
    given = own if given is None else given
    if given is not None:
        y, names = labels_of(given, len(x), options)
        if labels is None and arrays.names and all(name.isdigit() and int(name) < len(arrays.names) for name in names):
            names = tuple(arrays.names[int(name)] for name in names)
        table = _labelled(table, y, names)
    for name, values in (arrays.others or {}).items():
        column, rows = further_column(name, values, len(x), f"the array '{name}' of {where}", options)
        table = table.with_column(name, rows, column)
    return table


def _tabular(arrays: Arrays, options: DataOptions, where: str) -> tuple[Table | None, Any]:
    """The table of columns and its labels, where the examples are one by the rule of :mod:`.tabular`."""
    if is_frame(arrays.x):
        if options.kind not in ("auto", "table"):
            raise DataError(f"{where}, a table, as rows of kind {options.kind}", setting(kind="table"))
        table, label = tabulated(columns_of(arrays.x, where, options), options, where)
        return table, None if label is None else _label_values(label)
    if isinstance(arrays.x, Mapping):
        series = {name: Series.of(_plain_type(values)) for name, values in arrays.x.items() if name not in options.drop}
        table, label = tabulated(series, options, where, test=arrays.test)
        return table, None if label is None else _label_values(label)
    if not isinstance(arrays.x, (Tensor, np.ndarray)) and options.kind != "table":
        return None, None
    x = as_tensor(arrays.x, where)
    apart = options.kind == "auto" and options.range is None and x.dtype not in (torch.uint8, torch.bool)
    if options.kind != "table" and not (apart and (arrays.columns or scales_differ(x))):
        return None, None
    if x.dim() not in (1, 2) or not x.numel() or x.is_complex():
        raise DataError(f"{where} of shape {tuple(x.shape)} as a table", "give numbers (n, d), one row per example")
    if options.missing == "refuse":
        checked_rows(x, where, replace(options, kind="vector"))  # refuses NaN by its place
    found = columns_of(x.reshape(len(x), -1), where)
    if arrays.columns:
        found = dict(zip(arrays.columns, found.values(), strict=True))
    plain = not arrays.columns
    found = {name: series for name, series in found.items() if name not in options.drop}
    table, label = tabulated(found, options, where, test=arrays.test, plain=plain)
    return table, None if label is None else _label_values(label)


def _plain_type(values: np.ndarray) -> np.ndarray:
    return values.astype(object) if values.dtype.kind == "U" else values


def _label_values(label: Series) -> Any:
    return label.values.astype(str) if label.values.dtype == object else label.values


def _labelled(table: Table, y: Tensor, names: tuple[str, ...]) -> Table:
    """The table with its labels, for which an encoding keeps a place among the columns."""
    table, own = table.with_labels(y, names), table.encoding
    if own is None:
        return table
    if not own.label:
        table = replace(table, encoding=replace(own, label="label", position=len(own.fields)))
    return table


def labels_of(labels: Any, n: int, options: DataOptions) -> tuple[Tensor, tuple[str, ...]]:
    """Classes of ``n`` rows, and their names, from values or from the path of a ``.npy``.

    Raises:
        DataError: they are not labels of so many rows.
    """
    if isinstance(labels, (str, Path)):
        return checked_labels(read_arrays(Path(labels)).x, n, f"labels of {labels}", options.unlabelled)
    return checked_labels(labels, n, unlabelled=options.unlabelled)


def further_column(name: str, values: Any, n: int, where: str, options: DataOptions) -> tuple[Column, Tensor]:
    """A further array as a column of ``n`` rows, by the rule at the head of this module.

    Raises:
        DataError: the array is of no kind that the rule knows; the message names it.

    Examples:
        >>> column, rows = further_column("text", torch.tensor([[5, 2], [0, 7]]), 2, "text", DataOptions())
        >>> column.kind, column.classes, rows.dtype
        ('text', 8, torch.int64)
    """
    leave_out = "save the file without it"
    if not _NAME.fullmatch(name) or name in ("x", "y"):
        raise DataError(f"{where} cannot be called so", f"name it by letters, digits and _, or {leave_out}")
    x = as_tensor(values, where)
    if x.dim() == 0 or len(x) != n:
        count = "no rows" if x.dim() == 0 else f"{len(x)} rows"
        raise DataError(f"{where} has {count}, and there are {n} examples", f"give one row per example, or {leave_out}")
    whole = not x.is_floating_point() and not x.is_complex()
    if x.dim() == 4 or (x.dim() == 3 and x.dtype == torch.uint8):
        return _rows(name, "image", fitted(checked_rows(x, where, alone=False)[0], options))
    if x.dim() == 1 and whole:
        return _label(name, x.to(torch.int64), where)
    if x.dim() == 2 and x.numel() and bool(((x == 0) | (x == 1)).all()):
        return _rows(name, "attributes", x.to(torch.float32).contiguous())
    if x.dim() == 2 and whole:
        return _text(name, x.to(torch.int64), where)
    if x.dim() in (1, 2) and x.is_floating_point():
        return _rows(name, "vector", checked_rows(x, where, alone=False)[0])
    dtype = str(x.dtype).removeprefix("torch.")
    raise DataError(
        f"{where}, {dtype} of shape {tuple(x.shape)}, is of no kind that is known",
        "give images (n, c, h, w), vectors (n, d) of floats, labels (n,) or tokens (n, t) of whole numbers, or "
        f"attributes (n, k) of 0 and 1; or {leave_out}",
    )


def _rows(name: str, kind: str, rows: Tensor) -> tuple[Column, Tensor]:
    return Column(name=name, kind=kind, shape=tuple(rows.shape[1:])), rows


def _label(name: str, y: Tensor, where: str) -> tuple[Column, Tensor]:
    if int(y.min()) < -1:
        at = int((y < -1).nonzero()[0])
        raise DataError(f"{where}: {int(y[at])} at index {at} is below -1", "number the classes from 0, no label as -1")
    return Column(name=name, kind="label", classes=int(y.max()) + 1), y.contiguous()


def _text(name: str, tokens: Tensor, where: str) -> tuple[Column, Tensor]:
    if tokens.numel() == 0 or int(tokens.min()) < 0:
        least = "no token" if tokens.numel() == 0 else f"a token {int(tokens.min())}"
        raise DataError(f"{where} has {least}", "number the tokens from 0, and fill short rows up with 0")
    classes = int(tokens.max()) + 1
    return Column(name=name, kind="text", shape=tuple(tokens.shape[1:]), classes=classes), tokens.contiguous()
