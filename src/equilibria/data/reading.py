"""One source read into a table of columns: a value, a name, or a path, and the views that its name asks for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..base.errors import DataError, did_you_mean
from ..base.registry import spelled
from . import archives, synthetic
from .columns import labels_of, table_of
from .dataset import Dataset
from .files import Arrays, read_arrays
from .folders import in_order
from .named import NAMED
from .notes import warn
from .options import DataOptions, setting
from .store import Order, Store, TableStore, split
from .streams import ArrayFile, StreamStore, array_header, streamed
from .table import Stream, Table
from .tabular import SUFFIXES, is_frame, read_table
from .views import VIEWS, RowView, viewed

__all__ = ["Found", "built", "by_name", "by_value", "named_by", "order_of", "refuse_double"]


@dataclass(frozen=True)
class Found:
    """A finite source that has been read.

    Attributes:
        name: for people.
        table: its columns.
        source: what load reopens it by, or None.
        test: how many of the last rows are the source's own test set.
        views: views of its rows that are taken as they are dealt, in order.
    """

    name: str
    table: Table
    source: str | None = None
    test: int = 0
    views: tuple[RowView, ...] = ()


def built(found: Found, options: DataOptions, order: Order | None = None) -> Dataset:
    """The data set of a source, or of those of its rows that ``order`` names."""
    table = found.table
    rows = TableStore(table, order if order is not None else order_of(found, options))
    store: Store = rows
    if table.on_disk:
        for values in table.values.values():
            if isinstance(values, Stream):  # training rows are met soon, held-out ones after training
                values.check(rows.order.held.tolist())
        store = StreamStore(rows)
        options = replace(options, stream="true")  # a resumed run streams too, whatever the memory of its machine
    data = Dataset(found.name, store, table.spec(), options=options, class_names=table.class_names)
    for view in found.views:
        data = view(data)
    data.name, data.source = found.name, found.source
    return data


def order_of(found: Found, options: DataOptions) -> Order:
    """Which rows are dealt, and which are held out."""
    n = len(found.table)
    if not found.test:
        return Order(*split(n, options.held_out))
    rows = torch.arange(n)
    return Order(rows[: n - found.test], rows[n - found.test :])


def by_value(source: Any, labels: Any, options: DataOptions) -> Found:
    """A data frame, or what :func:`equilibria.data.values.given` reads.

    Raises:
        DataError: it is none of these, or its rows cannot be used.
    """
    if is_frame(source):
        return Found("frame", table_of(Arrays(source), options, "the data frame", labels))
    from .values import given

    found = given(source, options)
    where = "the dict" if isinstance(source, Mapping) else "the array"
    table = table_of(found.arrays, options, where, labels)
    return Found(found.name, replace(table, notes=(f"given as {found.what}", *table.notes)), test=found.arrays.test)


def by_name(source: str, labels: Any, options: DataOptions, parts: int = 1) -> Found:
    """A data set by name or path, and the view of its images that a suffix asks for.

    A data set by name goes before a path, and a path before a suffix. Negatives and edges of images in memory are made
    once, for their bytes become bytes; other views are taken as rows are dealt.

    Args:
        source: a name or path, perhaps with the name of a view after a hyphen.
        labels: in place of its own.
        options: how to read it.
        parts: pictures side by side in one image, each fitted to the options by itself.

    Raises:
        DataError: there is none, or its rows cannot be used.
    """
    source = named_by(source)
    text, _, suffix = source.rpartition("-")
    shadowed = text not in tuple(NAMED) and archives.exists(Path(source).expanduser())  # a folder called photos-edges
    if suffix not in VIEWS or not text or shadowed:
        return _plain(source, labels, options, parts)
    found, view = _plain(text, labels, options, parts), VIEWS[suffix]
    named = replace(found, name=f"{found.name}-{suffix}", source=found.source and f"{found.source}-{suffix}")
    if view.keeps_bytes and not found.table.on_disk:
        return replace(named, table=viewed(found.table, view, text))
    view.spec(found.table.spec(), text)
    return replace(named, views=(view,))


NAME = "name:"


def named_by(source: str) -> str:
    """The source without ``name:``, which states that it is the name of a data set or of a law, and no path.

    Raises:
        DataError: it is no such name.

    Examples:
        >>> named_by("name:digits-edges"), named_by("./digits")
        ('digits-edges', './digits')
    """
    if not source.startswith(NAME):
        return source
    text = source.removeprefix(NAME)
    if _name_in(text) is None:
        raise DataError(f"'{text}' is no data set and no law", did_you_mean(text, [*synthetic.LAWS, *NAMED]))
    return text if text in tuple(NAMED) or _name_in(text) != text else spelled(text)


def _name_in(text: str) -> str | None:
    """The name of a data set or of a law that a source begins with, before a view, a column or parameters."""
    head, _, suffix = text.rpartition("-")
    for one in (text, head if suffix in VIEWS else "", text.rpartition("@")[0]):
        if one and (one in tuple(NAMED) or synthetic.canonical(one.partition(":")[0]) is not None):
            return one
    return None


def refuse_double(source: str, forms: Sequence[str]) -> None:
    """Refuse a name of a data set or of a law beside a file or folder of the same name.

    Args:
        source: as the user wrote it, perhaps made of several.
        forms: what may stand before a colon.

    Raises:
        DataError: names both readings, and how each is written.
    """
    rest = source
    while (parted := rest.partition(":"))[1] and parted[0] in forms:
        rest = parted[2]
    pieces = rest.split(",")
    for i, text in enumerate(piece.strip() for piece in pieces):
        name = None if text.startswith(NAME) else _name_in(text)
        place = next((one for one in (text, name or "") if one and Path(one).exists()), None)
        if name is not None and place is not None:
            head = source.removesuffix(rest)
            disk, known = (head + ",".join([*pieces[:i], before + text, *pieces[i + 1 :]]) for before in ("./", NAME))
            raise DataError(
                f"'{text}' is the name of a data set, and {Path(place).resolve()} is there too",
                f"name the one you mean: '{disk}' for what is on the disk, '{known}' for the data set",
            )


def _refuse_run(path: Path) -> None:
    """Refuse the folder of a run, whose pictures are samples side by side.

    Raises:
        DataError: says how to start from it.
    """
    if (path / "checkpoints").is_dir() and (path / "run.json").is_file():
        where = shlex.quote(str(path))
        raise DataError(f"{path} is the folder of a run, and no data", f"start from the run: --from {where}")


def _plain(source: str, labels: Any, options: DataOptions, parts: int) -> Found:
    path = Path(source).expanduser()
    name = _name(source, path)
    if name is not None:
        arrays = _named(name, options if parts == 1 else replace(options, size=None, grayscale=False))
        table = table_of(arrays, options, name, labels, parts)
        return Found(name, table, name if labels is None else None, arrays.test)
    if not archives.exists(path):
        head, at, column = source.rpartition("@")
        if at and head:
            return _column(_plain(head, labels, options, parts), column)
        raise _missing(source, path)
    path = path.resolve()
    reopens = str(path) if labels is None else None
    if path.suffix in (".npz", ".npy") and path.is_file():
        stream = _stream(path, options, parts)
        if stream is None:
            arrays = read_arrays(path)
            return Found(path.stem, table_of(arrays, options, str(path), labels, parts), reopens, arrays.test)
        table, called = Table({"x": stream}), path.stem
    elif path.suffix.lower() in SUFFIXES and path.is_file():
        return Found(path.stem, table_of(Arrays(read_table(path)), options, path.name, labels), reopens)
    else:
        _refuse_run(path)
        own = options if labels is None else replace(options, classes="none")
        table, called = _pictures(path, own, parts), path.name
    if labels is not None:
        table = table.with_labels(*labels_of(labels, len(table), options))
        _warn_of_order(table.row_names)
    return Found(called, table, reopens)


def _warn_of_order(names: Sequence[str]) -> None:
    """Warn of labels given one by one, where images by number are in another order than images by path."""

    def by_number(name: str) -> list[tuple[int, int, str]]:
        return [in_order(part) for part in re.split(r"(\d+)", name) if part]

    if list(names) != sorted(names, key=by_number):
        first = next(i for i, (a, b) in enumerate(zip(names, sorted(names, key=by_number), strict=True)) if a != b)
        shown = ", ".join(names[max(0, first - 1) : first + 3])
        warn(
            f"labels are taken in the order of the paths, which is not that of the numbers in them (… {shown} …); if "
            "yours are in another order, name the images in a file labels.csv"
        )


def _column(found: Found, name: str) -> Found:
    """One column of a source as its examples, with their labels and without the other columns."""
    table = found.table
    known = {column.name: column.kind for column in table.columns} | {"x": "vector"}
    if name not in known:
        raise DataError(f"'{found.name}' has no column '{name}'", did_you_mean(name, known))
    if known[name] not in ("image", "vector", "attributes"):
        fits = [column for column, kind in known.items() if kind in ("image", "vector", "attributes")]
        raise DataError(f"the column '{name}' of '{found.name}' is of kind {known[name]}", f"name one of {fits}")
    values = {"x": table.values[name]} | ({} if table.y is None else {"y": table.y})
    alone = replace(table, values=values, columns=())
    return Found(f"{found.name}-{name}", alone, found.source and f"{found.source}@{name}", found.test)


def _pictures(path: Path, options: DataOptions, parts: int) -> Table:
    from .images import folder_rows, is_picture

    if archives.is_file(path) and not is_picture(path):  # by its content
        raise DataError(
            f"{path} is of no format that is read here",
            "give .npz, .npy, .csv, .parquet, an image, a folder or .zip of images; an array x is saved by "
            "np.save('data.npy', x)",
        )
    return folder_rows(path, options, parts)


def _stream(path: Path, options: DataOptions, parts: int) -> ArrayFile | None:
    """The rows of an array file that stay on the disk; None where they are to be read whole."""
    if path.suffix == ".npz":
        if options.stream == "true":
            raise DataError(
                f"{path} cannot be streamed",
                f"save its images as .npy, their labels as another .npy; to read it whole, {setting(stream='false')}",
            )
        return None
    header = array_header(path)
    if options.range is not None or options.kind in ("vector", "table"):
        if options.stream == "true":
            raise DataError(
                f"{path} with data.range or data.kind={options.kind} cannot be streamed", setting(stream="false")
            )
        return None
    fits = header is not None and (header.fits or options.stream == "true")
    return ArrayFile(path, options, parts) if header and fits and streamed(options.stream, header.size) else None


def _missing(source: str, path: Path) -> DataError:
    if "/" in source or path.suffix:
        return DataError(f"there is no file or folder {path}", "check the path")
    known = [*synthetic.LAWS, *NAMED]
    return DataError(f"'{source}' is neither a known data set nor a file", did_you_mean(source, known))


def _name(source: str, path: Path) -> str | None:
    """The name of a data set, where the source is one; in another spelling only where there is no such path."""
    if source.startswith("hf:") or source in tuple(NAMED):
        return source
    return spelled(source) if source in NAMED and not path.exists() else None


def _named(name: str, options: DataOptions) -> Arrays:
    if name.startswith("hf:"):
        from .hub import hub_arrays

        return hub_arrays(name.removeprefix("hf:"), options)
    return NAMED[name].read(options)
