"""Tables of columns: data frames, CSV and Parquet files, and arrays whose columns have scales of their own.

| column | read as |
|---|---|
| numbers | a number; a category where ``category`` names it |
| true and false | a boolean |
| text of at most 100 different values, fewer than one in two rows | a category |
| other text | refused: ``category`` states that it is one, ``drop`` leaves it out |
| dates | refused: ``drop`` leaves them out |
| the column that ``label`` names | the classes ``y``; not part of the examples |

A value is missing where pandas says so: an empty cell, ``NA``, ``NaN``, ``null`` and the like. ``missing`` says what
becomes of it. An array of numbers is a table with ``kind="table"``, and with ``kind="auto"`` where the standard
deviations of its columns differ by more than a factor of 3. :mod:`equilibria.data.encoding` has the rule by which
columns become numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..base.errors import DataError, EquilibriaError, did_you_mean
from .encoding import Encoding, Series, TableField, fitted_field
from .notes import warn
from .options import DataOptions, setting
from .store import split
from .table import Table

__all__ = [
    "SUFFIXES",
    "columns_of",
    "encoded_rows",
    "is_frame",
    "is_table_file",
    "read_table",
    "scales_differ",
    "tabulated",
]

SUFFIXES = frozenset({".csv", ".tsv", ".parquet"})
"""Files called so hold tables."""
_CATEGORIES = 100
_APART = 3.0
_SAMPLE = 1 << 16  # bytes of a file in which its separator is looked for
_PLAIN = DataOptions()


def is_frame(value: Any) -> bool:
    """Whether a value is a pandas data frame; pandas is not imported for it."""
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "columns")


def is_table_file(value: Any) -> bool:
    """Whether a value is the path of a table, by its suffix."""
    return isinstance(value, (str, Path)) and Path(value).suffix.lower() in SUFFIXES


def scales_differ(x: Tensor) -> bool:
    """Whether the columns of vectors ``(n, d)`` have standard deviations more than a factor of 3 apart.

    Examples:
        >>> scales_differ(torch.tensor([[0.0, 0.0], [1.0, 2.0]])), scales_differ(torch.tensor([[0.0, 0.0], [1.0, 9.0]]))
        (False, True)
    """
    if x.dim() != 2 or x.shape[1] < 2 or len(x) < 2 or x.is_complex():
        return False
    spreads = x.double().std(0)
    spreads = spreads[spreads > 0]
    return len(spreads) > 1 and bool(spreads.max() > _APART * spreads.min())


def read_table(path: Path) -> Any:
    """The data frame of a ``.csv``, ``.tsv`` or ``.parquet`` file.

    The separator of a ``.csv`` is a comma, semicolon, tab or bar, whichever its first lines agree on; spaces after it
    are left out. A first line of numbers only is a row, not the names of the columns.

    Raises:
        DataError: pandas is not installed, or the file cannot be read.
    """
    pandas = _pandas(f"{path.name} is a table")
    try:
        if path.suffix.lower() == ".parquet":
            return pandas.read_parquet(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read(_SAMPLE)
        separator = "\t" if path.suffix.lower() == ".tsv" else _separator(text)
        first = next(csv.reader(text.splitlines(), delimiter=separator, skipinitialspace=True), [])
        header = None if _no_names(first) else 0
        frame = pandas.read_csv(
            path, sep=separator, header=header, skipinitialspace=True, encoding="utf-8-sig", low_memory=False
        )
    except EquilibriaError:
        raise
    except ImportError as error:  # pandas reads Parquet through pyarrow
        raise _not_installed(f"{path.name} is a Parquet file", "pyarrow") from error
    except Exception as error:  # a parser of hostile bytes may raise anything
        why = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise DataError(f"{path} cannot be read as a table ({why})", "save it again, as .csv or .parquet") from error
    if header is None:
        frame.columns = [f"column{i + 1}" for i in range(frame.shape[1])]
    return frame


def _pandas(why: str) -> Any:
    try:
        import pandas
    except ImportError as error:
        raise _not_installed(why, "pandas") from error
    return pandas


def _not_installed(why: str, name: str) -> DataError:
    return DataError(f"{why}, which is read by {name}, and {name} is not installed", "pip install 'equilibria[tables]'")


def _separator(text: str) -> str:
    """The separator that occurs in every one of the first lines, most often in the first."""
    lines = [line for line in text.splitlines()[:20] if line.strip()][: 20 if text.count("\n") > 20 else None]
    counts = {mark: [line.count(mark) for line in lines] for mark in ",;\t|"}
    common = {mark: own[0] for mark, own in counts.items() if own and min(own[:-1] or own) > 0}
    return max(common, key=lambda mark: common[mark]) if common else ","


def _no_names(cells: list[str]) -> bool:
    """Whether a first line holds values: its cells are not all different texts, or one is a number."""
    return any(_is_number(cell) for cell in cells)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def columns_of(source: Any, where: str, options: DataOptions = _PLAIN) -> dict[str, Series]:
    """The columns of a data frame, or of an array ``(n, d)`` with names ``x0``, ``x1``, …

    Raises:
        DataError: a column of a kind that is not read.
    """
    if not is_frame(source):
        values = source.detach().cpu().numpy() if isinstance(source, Tensor) else np.asarray(source)
        return {f"x{i}": Series.of(np.ascontiguousarray(values[:, i])) for i in range(values.shape[1])}
    found: dict[str, Series] = {}
    for i, name in enumerate(source.columns):
        if str(name) in found:
            raise DataError(f"{where} has two columns '{name}'", "rename one of them")
        if str(name) not in options.drop:
            found[str(name)] = _series(source.iloc[:, i], str(name), where)
    return found


def _series(column: Any, name: str, where: str) -> Series:
    """A column of a data frame."""
    missing = column.isna().to_numpy(dtype=bool)
    kind = getattr(column.dtype, "kind", "O")
    known = column[~missing].tolist()
    if kind in "mM" or any(hasattr(value, "isoformat") for value in known[:100]):
        raise DataError(
            f"the column '{name}' of {where} holds dates, which are not read",
            f"{setting(drop=(name,))}; or make numbers of them: (frame['{name}'] - frame['{name}'].min()).dt.days",
        )
    types = {type(value) for value in known}
    if types <= {bool}:
        kind_of: Any = bool
    elif types <= {int, bool}:
        kind_of = np.int64
    elif types <= {int, float, bool}:
        kind_of = np.float64
    elif types <= {str}:
        kind_of = object
    else:
        other = min(kind.__name__ for kind in types)
        raise DataError(
            f"the column '{name}' of {where} holds values of type {', '.join(sorted(t.__name__ for t in types))}",
            f"make them numbers or texts ({other} alone); or {setting(drop=(name,))}",
        )
    values = np.zeros(len(column), dtype=kind_of)
    try:
        values[~missing] = known
    except OverflowError as error:
        raise DataError(f"the column '{name}' of {where} has numbers beyond 64 bits", setting(drop=(name,))) from error
    if kind_of is np.float64 and np.isinf(values).any():
        raise DataError(f"the column '{name}' of {where} has infinite values", "remove those rows or fill them in")
    return Series(values, missing)


def tabulated(
    columns: Mapping[str, Series], options: DataOptions, where: str, *, test: int = 0, plain: bool = False
) -> tuple[Table, Series | None]:
    """The table of encoded rows, and the column of labels where the options name one.

    Args:
        columns: by name, in order, without those that are dropped.
        options: which is the label, which are categories, what becomes of missing values; what is held out.
        where: what the table is called in messages.
        test: how many of the last rows are the source's own test set.
        plain: whether the columns were an array's.

    Raises:
        DataError: no columns or rows, an unknown name, missing values, texts that are no categories.
    """
    names = list(columns)
    for name in (*options.drop, *options.category, *([options.label] if options.label else [])):
        if name not in columns and name not in options.drop:
            raise DataError(f"{where} has no column '{name}'", did_you_mean(name, names) if names else "check its name")
    label = columns[options.label] if options.label else None
    kept = {name: series for name, series in columns.items() if name != options.label}
    n = len(next(iter(columns.values()), ()))
    if not kept or n < 2:
        raise DataError(f"{where} has {n} rows and {len(kept)} columns of examples", "give at least 2 rows, 1 column")
    _refuse_missing(kept if label is None else columns, options, where)
    training = np.zeros(n, dtype=bool)
    training[(np.arange(n - test) if test else split(n, options.held_out)[0].numpy())] = True
    if options.missing == "impute":
        kept = {name: _imputed(series, training) for name, series in kept.items()}
    kinds = {name: _kind(name, series, options, where) for name, series in kept.items()}
    keep = options.missing == "keep"
    fields = tuple(fitted_field(name, kept[name], training, kinds[name], keep) for name in kept)
    encoding = Encoding(
        fields=fields,
        label=options.label or "",
        position=names.index(options.label) if options.label else 0,
        plain=plain,
    )
    if not encoding.width:
        raise DataError(f"all columns of {where} hold a single value", "give columns that vary")
    x = torch.from_numpy(encoding.encode(kept))
    _warn_of_columns(kept, kinds, where, plain)
    return Table({"x": x}, notes=_notes(columns, fields, options), encoding=encoding), label


def _refuse_missing(columns: Mapping[str, Series], options: DataOptions, where: str) -> None:
    counts = {name: int(series.missing.sum()) for name, series in columns.items() if series.missing.any()}
    empty = [name for name, series in columns.items() if series.missing.all()]
    if empty:
        raise DataError(f"the column '{empty[0]}' of {where} has no values", setting(drop=(*options.drop, empty[0])))
    if options.label in counts:
        raise DataError(
            f"{counts[options.label]} rows of {where} have no label in '{options.label}'", "remove those rows"
        )
    if counts and options.missing == "refuse":
        shown = ", ".join(f"{name}: {count:,}" for name, count in list(counts.items())[:5])
        more = f" and {len(counts) - 5} more columns" if len(counts) > 5 else ""
        raise DataError(
            f"{where} has missing values ({shown}{more})",
            f"to learn them as a value of their own, {setting(missing='keep')}; to replace them by the median or the "
            f"most frequent value, {setting(missing='impute')}",
        )


def _imputed(series: Series, training: NDArray[np.bool_]) -> Series:
    """Missing values replaced by the median of the training rows, or by their most frequent value."""
    if not series.missing.any():
        return series
    values = series.values.copy()
    known = values[training & ~series.missing] if (training & ~series.missing).any() else series.known
    if values.dtype.kind in "iuf":
        middle = np.sort(known)[(len(known) - 1) // 2]
    else:
        distinct, counts = np.unique(known.astype(str), return_counts=True)
        middle = distinct[counts.argmax()] if values.dtype == object else distinct[counts.argmax()] == "True"
    values[series.missing] = middle
    return Series(values, np.zeros(len(values), dtype=bool))


def _kind(name: str, series: Series, options: DataOptions, where: str) -> str:
    kind = series.values.dtype.kind
    if name in options.category:
        if kind == "f" and not (series.known == np.rint(series.known)).all():
            raise DataError(f"the column '{name}' of {where} has fractions, and is no category", "leave it out of them")
        return "category"
    if kind == "b":
        return "boolean"
    if kind != "O":
        return "number"
    distinct = len(set(series.known.tolist()))
    if distinct > _CATEGORIES or (distinct > 20 and 2 * distinct > len(series)):
        example = str(series.known[0])[:40]
        raise DataError(
            f"the column '{name}' of {where} holds {distinct:,} different texts ('{example}', …) in {len(series):,} "
            f"rows; a text of more than {_CATEGORIES} values, or of a value for every other row, is no category",
            f"to leave it out, {setting(drop=(*options.drop, name))}; to read it as a category, "
            f"{setting(category=(*options.category, name))}",
        )
    return "category"


def _warn_of_columns(columns: Mapping[str, Series], kinds: Mapping[str, str], where: str, plain: bool) -> None:
    for name, series in columns.items():
        known = series.known
        distinct = len(np.unique(known)) if known.dtype != object else len(set(known.tolist()))
        if distinct == 1 and not series.missing.any():
            warn(f"the column '{name}' of {where} is {known[0]} in every row; it is not learned, and stays so")
        elif known.dtype.kind in "iu" and distinct == len(series) > 20 and not plain and kinds[name] == "number":
            warn(
                f"the column '{name}' of {where} has a different whole number in each of {distinct:,} rows, as the "
                f"number of a row has; if it means nothing, {setting(drop=(name,))}"
            )


def _notes(columns: Mapping[str, Series], fields: tuple[TableField, ...], options: DataOptions) -> tuple[str, ...]:
    shown = []
    for field in fields:
        what = field.kind if field.kind != "category" else f"category of {len(field.categories)}"
        if field.entries == 1 and not field.continuous:
            what = "constant"
        elif field.atoms:
            what += f" with {len(field.atoms)} atoms" if field.continuous else f" of {len(field.atoms)} values"
        shown.append(f"{field.name} {what}")
    if len(shown) > 24:
        shown = [*shown[:23], f"… {len(shown) - 24} more", shown[-1]]
    notes = [f"columns: {', '.join(shown)}", "each on its own scale, put back in samples"]
    missing = {name: int(series.missing.sum()) for name, series in columns.items() if series.missing.any()}
    if missing:
        done = {"impute": "replaced by the median or the most frequent value", "keep": "kept as a value"}
        counts = ", ".join(f"{name} {count:,}" for name, count in missing.items())
        notes.append(f"missing: {counts}, {done[options.missing]}")
    if options.drop:
        notes.append(f"left out: {', '.join(options.drop)}")
    return tuple(notes)


def encoded_rows(source: Any, encoding: Encoding, options: DataOptions, where: str) -> Tensor:
    """Rows of another table, a data frame, an array or columns by name, encoded as those of the first: ``(n, width)``.

    Raises:
        DataError: a column is missing, or a value is none that the first table has.
    """
    columns = dict(source) if isinstance(source, Mapping) else columns_of(source, where, options)
    if encoding.plain:
        columns = dict(zip((field.name for field in encoding.fields), columns.values(), strict=False))
    for field in encoding.fields:
        if field.name not in columns:
            raise DataError(f"{where} has no column '{field.name}'", "give a table with the columns of the run's data")
        series = columns[field.name]
        if options.missing == "impute":
            series = columns[field.name] = _imputed(series, np.ones(len(series), dtype=bool))
        _check_values(field, series, where)
    return torch.from_numpy(encoding.encode(columns))


def _check_values(field: TableField, series: Series, where: str) -> None:
    if series.missing.any() and not field.missing:
        count = int(series.missing.sum())
        raise DataError(
            f"{count} values of '{field.name}' of {where} are missing", "fill them in; the run's data has none"
        )
    if field.kind == "number" and series.values.dtype.kind not in "iufb":
        raise DataError(f"the column '{field.name}' of {where} holds texts", "give numbers, as the run's data")
    bad = field.entry(series) < 0
    if bad.any():
        value = series.values[bad][0]
        known = ", ".join(field.labels[:8])
        raise DataError(
            f"'{value}' of the column '{field.name}' of {where} is no value that the run's data has", f"use {known}"
        )
