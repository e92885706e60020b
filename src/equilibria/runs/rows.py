"""Rows that a user gives to a trained game, from any form, held to what the run's data is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base.errors import DataError, ShapeError
from ..data import Column, DataOptions, Dataset, DataSpec, load
from ..data.encoding import Encoding
from ..data.tabular import encoded_rows, is_frame, is_table_file, read_table

LAW_ROWS = 64
"""Rows that are drawn of a law, which has no last one."""


def rows_of(
    given: Any,
    needed: tuple[str, ...],
    spec: DataSpec,
    options: DataOptions,
    besides: tuple[str, ...] | None = None,
    sizes: Mapping[str, tuple[tuple[int, ...], ...]] | None = None,
) -> dict[str, Tensor]:
    """The columns that are needed, from whatever was given.

    Args:
        given: one of

            - a mapping of columns to tensors or arrays, in the units of the data: images ``(n, c, h, w)`` of floats in
              [-1, 1] or of uint8, labels ``(n,)`` of class numbers;
            - one tensor or array, where one column is needed;
            - a :class:`~equilibria.data.Dataset`, or what :func:`equilibria.data.load` opens by name or path, read with
              the options of the run's data: all of its rows in their order (``LAW_ROWS`` rows of a law);
            - where the run's data is a table, a data frame, or a ``.csv`` or ``.parquet`` file, with its columns.

            Where one column is needed and the source has no column of that name, its ``x`` is taken for it.
        needed: columns by name.
        spec: what the run's data is.
        options: how the run's data was read.
        besides: further columns, taken where they were given; some of those needed will then do. None holds to all that
            are needed, as many rows of each.
        sizes: further shapes of a row, by column (``Game.sizes``).

    Raises:
        DataError: a column is missing, or its values are none of the data's.
        ShapeError: rows of another shape.
    """
    if spec.encoding is not None and (is_frame(given) or is_table_file(given)):
        frame = read_table(Path(given).expanduser()) if isinstance(given, (str, Path)) else given
        where = str(given) if isinstance(given, (str, Path)) else "the data frame"
        given = {"x": encoded_rows(frame, spec.encoding, options, where)}
    if isinstance(given, (str, Path)):
        given = load(given, options=replace(options, held_out=0.0))
    if isinstance(given, Dataset) and spec.encoding is not None and given.spec.encoding != spec.encoding:
        given = _encoded_again(given, spec.encoding, options)
    if isinstance(given, Dataset):
        rows: dict[str, Any] = all_rows(given)
    elif isinstance(given, Mapping):
        rows = dict(given)
    elif isinstance(given, (Tensor, np.ndarray)):
        if len(needed) != 1:
            raise DataError(f"one array for the columns {', '.join(needed)}", "give a mapping of columns to arrays")
        rows = {needed[0]: given}
    else:
        raise DataError(
            f"a {type(given).__name__} holds no rows", "give a name, a path, a Dataset, an array or a mapping of arrays"
        )
    if len(needed) == 1 and needed[0] not in rows and "x" in rows:
        rows = {needed[0]: rows["x"]}
    missing = [name for name in needed if name not in rows]
    if missing and (besides is None or len(missing) == len(needed)):
        raise DataError(f"no column '{missing[0]}' among {', '.join(rows) or 'none'}", f"give it as {missing[0]}=…")
    wanted = (*needed, *(besides or ()))
    further = sizes or {}
    found = {n: checked(rows[n], column_of(n, spec), further.get(n, ())) for n in wanted if n in rows}
    if besides is not None:
        return found
    counts = {name: len(values) for name, values in found.items()}
    if len(set(counts.values())) > 1:
        raise ShapeError(f"columns of {counts} rows", "give as many rows of each")
    return found


def _encoded_again(data: Dataset, encoding: Encoding, options: DataOptions) -> dict[str, Tensor]:
    """Rows of another table in the encoding of the run's; columns that are not of the table stay."""
    rows, own = all_rows(data), data.spec.encoding
    columns = own.decode(rows["x"].cpu().numpy()) if own is not None else rows["x"]
    return {**rows, "x": encoded_rows(columns, encoding, options, f"'{data.name}'")}


def all_rows(data: Dataset) -> dict[str, Tensor]:
    """Every row of a data set in the order of its source, or in a fixed order where it has none; 64 rows of a law."""
    if data.law is not None:
        return data.take(LAW_ROWS)
    try:
        return data.whole()
    except DataError:
        return data.take(data.size or LAW_ROWS)


def column_of(name: str, spec: DataSpec) -> Column:
    """What a column of the data is, ``x`` and ``y`` among them.

    Raises:
        DataError: the run's data has no such column.

    Examples:
        >>> column_of("y", DataSpec(kind="vector", shape=(2,), classes=3)).classes
        3
    """
    if name == "x":
        return Column(name="x", kind=spec.kind, shape=tuple(spec.shape))
    if name == "y":
        return Column(name="y", kind="label", classes=spec.classes)
    found = spec.column(name)
    if found is None:
        raise DataError(f"the run's data has no column '{name}'", "train on data that has it")
    return found


def checked(values: Any, column: Column, sizes: tuple[tuple[int, ...], ...] = ()) -> Tensor:
    """The values of a column as the data deals them: on the CPU, uint8 images as floats in [-1, 1].

    Args:
        values: the rows.
        column: what they are to be.
        sizes: further shapes that a row may have.

    Raises:
        DataError: no numbers, not finite, or outside the range of the column.
        ShapeError: rows of another shape.

    Examples:
        >>> checked(np.zeros((2, 1, 4, 4), np.uint8), Column(name="x", kind="image", shape=(1, 4, 4))).unique()
        tensor([-1.])
    """
    found = values.detach().cpu() if isinstance(values, Tensor) else _tensor(values, column.name)
    shapes = (tuple(column.shape), *sizes)
    if column.kind == "image":
        for shape in shapes:
            found = _laid_out(found, shape)
    if found.dim() < 1 or not len(found) or tuple(found.shape[1:]) not in shapes:
        wanted = " or ".join(f"({', '.join(['n', *map(str, shape)])})" for shape in shapes)
        raise ShapeError(f"'{column.name}' of shape {tuple(found.shape)}", f"give {wanted}, at least one row")
    if column.kind in {"label", "text"}:
        return _whole(found, column)
    if found.dtype == torch.uint8 and column.kind == "image":
        return found.float() / 127.5 - 1
    found = found.float()
    if not bool(found.isfinite().all()):
        raise DataError(f"'{column.name}' has values that are not finite", "leave those rows out")
    low, high = float(found.min()), float(found.max())
    if column.kind == "image" and max(-low, high) > 1 + 1e-3:
        raise DataError(
            f"the pixels of '{column.name}' range over [{low:g}, {high:g}]", "give uint8, or floats in [-1, 1]"
        )
    return found


def _tensor(values: Any, name: str) -> Tensor:
    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        raise DataError(f"'{name}' holds '{array.dtype}' values, not numbers", "give an array of uint8 or float32")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).copy())


def _laid_out(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Images with their channels first, where the shape that is wanted tells where they are."""
    if x.dim() == 3 and (1, *x.shape[1:]) == shape:
        return x[:, None]
    if x.dim() == 4 and tuple(x.shape[1:]) != shape and (x.shape[3], *x.shape[1:3]) == shape:
        return x.permute(0, 3, 1, 2)
    return x


def _whole(found: Tensor, column: Column) -> Tensor:
    if found.is_floating_point() and not bool((found == found.floor()).all()):
        raise DataError(f"'{column.name}' has fractions", "give whole numbers")
    found = found.long()
    least = -1 if column.kind == "label" else 0
    low, high = int(found.min()), int(found.max())
    if low < least or (column.classes and high >= column.classes):
        raise DataError(f"'{column.name}' ranges over {low} to {high}", f"give numbers from 0 to {column.classes - 1}")
    return found
