"""Samples of a table as people read them: tensors of its values, data frames, CSV, Parquet and .npz files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..base.errors import ConfigError, DataError
from ..data.encoding import Encoding, Series
from ..training import disk

__all__ = ["SUFFIXES", "columns_of", "frame_of", "values_of", "write_table"]

SUFFIXES = frozenset({".csv", ".parquet", ".npz", ".npy"})


def columns_of(
    rows: Tensor, encoding: Encoding, labels: Tensor | None = None, classes: tuple[str, ...] = ()
) -> dict[str, Series]:
    """The columns of encoded rows ``(n, width)``, with the label in its place where it and the classes are given."""
    found = encoding.decode(rows.cpu().numpy())
    if labels is None or not classes:
        return found
    names = np.array(classes, dtype=object)
    whole = all(name.lstrip("-").isdigit() for name in classes)
    values = names[labels.cpu().numpy()]
    label = Series.of(values.astype(np.int64) if whole else values)
    items = list(found.items())
    items.insert(encoding.position, (encoding.label or "label", label))
    return dict(items)


def values_of(rows: Tensor, encoding: Encoding) -> Tensor:
    """The values of encoded rows ``(…, width)`` as float64 ``(…, columns)``: categories by number, missing as NaN."""
    if rows.dim() == 3:
        return torch.stack([values_of(own, encoding) for own in rows])
    found = encoding.decode(rows.cpu().numpy())
    columns = []
    for field in encoding.fields:
        series = found[field.name]
        values: NDArray[Any] = series.values
        if field.kind == "category":
            values = field.entry(series)
        columns.append(np.where(series.missing, np.nan, values.astype(np.float64)))
    return torch.from_numpy(np.stack(columns, axis=1))


def frame_of(columns: Mapping[str, Series]) -> Any:
    """A pandas data frame of columns.

    Raises:
        DataError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise DataError(
            "a data frame needs pandas, which is not installed", "pip install 'equilibria[tables]'"
        ) from error
    made = {}
    for name, series in columns.items():
        values = pandas.Series(series.values if not series.missing.any() else series.values.astype(object))
        made[name] = values.mask(series.missing, None).infer_objects() if series.missing.any() else values
    return pandas.DataFrame(made)


def write_table(columns: Mapping[str, Series], path: Path, encoding: Encoding) -> None:
    """Write columns as ``.csv``, ``.parquet``, ``.npy`` (numbers only) or ``.npz`` (one array for each column).

    Args:
        columns: by name, in order.
        path: the file; it is replaced in one step.
        encoding: of the table; it has the digits of numbers. An ``.npz`` of columns without names has one array ``x``.

    Raises:
        ConfigError: another suffix, or texts for a ``.npy``.
        DataError: pandas or pyarrow is needed and not installed.
        RunError: the file cannot be written.
    """
    kind, buffer = path.suffix.lower(), io.BytesIO()
    if kind == ".csv":
        buffer.write(_csv(columns, digits_of(encoding)).encode())
    elif kind == ".parquet":
        try:
            frame_of(columns).to_parquet(buffer, index=False)
        except ImportError as error:
            raise DataError(
                "Parquet needs pyarrow, which is not installed", "pip install 'equilibria[tables]'"
            ) from error
    elif kind == ".npz" and not encoding.plain:
        np.savez_compressed(buffer, **{name: _array(series) for name, series in columns.items()})  # type: ignore[arg-type]
    elif kind in (".npy", ".npz"):
        if texts := [name for name, series in columns.items() if series.values.dtype == object]:
            raise ConfigError(f"the column '{texts[0]}' of texts in a {kind}", f"--out {path.stem}.csv")
        x = np.stack([_floats(series) for series in columns.values()], axis=1)
        np.save(buffer, x) if kind == ".npy" else np.savez_compressed(buffer, x=x)
    else:
        raise ConfigError(f"a table as '{path.name}'", f"--out {path.stem}.csv")
    disk.write_atomically(path, buffer.getvalue())


def _floats(series: Series) -> NDArray[np.float64]:
    return np.where(series.missing, np.nan, series.values.astype(np.float64))


def _array(series: Series) -> NDArray[Any]:
    if series.values.dtype != object:
        return _floats(series) if series.missing.any() else series.values
    return np.where(series.missing, "", series.values).astype(str)


def _csv(columns: Mapping[str, Series], digits: Mapping[str, int]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    cells = [_cells(series, digits.get(name, -1)) for name, series in columns.items()]
    writer.writerows(zip(*cells, strict=True))
    return text.getvalue()


def _cells(series: Series, digits: int) -> list[str]:
    """The texts of a column: whole numbers without a point, others with the digits of the data, nothing if missing."""
    if series.values.dtype.kind == "f":
        shown = [f"{value:.{digits}f}" if digits >= 0 else repr(value) for value in series.values.tolist()]
    else:
        shown = [str(value) for value in series.values.tolist()]
    return ["" if gone else word for word, gone in zip(shown, series.missing.tolist(), strict=True)]


def digits_of(encoding: Encoding) -> dict[str, int]:
    """The digits after the point of each column of numbers."""
    return {field.name: field.decimals for field in encoding.fields if field.kind == "number"}
