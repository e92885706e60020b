"""Data sets made of others: independent domains, aligned columns, few labels, stacked channels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import product
from typing import Any

import torch

from ..base.errors import DataError
from . import synthetic
from .dataset import Dataset
from .laws import Law
from .options import Column, DataOptions, DataSpec, setting
from .reading import Found, built, by_name, named_by, order_of
from .store import LabelledStore, LawStore, Order, PairStore, StackStore, TableStore, labelled_rows, other_name
from .table import Table
from .views import SideBySide, viewed

__all__ = ["FORMS", "of_law", "single"]


def of_law(law: Law, options: DataOptions, source: str | None = None) -> Dataset:
    """The data set that a law's samples are.

    Raises:
        DataError: options of images.
    """
    if options.kind not in ("auto", "vector"):
        raise DataError(f"the samples of {law.name} as rows of kind {options.kind}", setting(kind="vector"))
    if options.range is not None:
        raise DataError(f"a range of the samples of {law.name}, which are kept as they are", setting(range=None))
    labelled = options.labelled and law.components > 1
    shares = () if law.weights is None else tuple(law.weights.tolist())
    spec = DataSpec(
        kind="vector",
        shape=(law.dim,),
        classes=law.components if labelled else 0,
        class_shares=shares if labelled else (),
    )
    names = tuple(str(k) for k in range(spec.classes))
    return Dataset(law.name, LawStore(law, labelled), spec, source=source, options=options, class_names=names)


def single(source: str, labels: Any, options: DataOptions) -> Dataset:
    """A data set by name or path, or a law.

    Raises:
        DataError: there is none of that name, or its rows cannot be used.
        ConfigError: parameters of a law that do not fit.
    """
    source = named_by(source)
    if synthetic.canonical(source.partition(":")[0]) is not None:
        law = synthetic.law(source)
        return of_law(law, options, law.name)
    return built(by_name(source, labels, options), options)


def _whole(source: str, options: DataOptions) -> DataOptions:
    """Options for sources that are made of several, which are read whole."""
    if options.stream == "true":
        raise DataError(f"'{source}' cannot be streamed", setting(stream="auto"))
    return replace(options, stream="false")


def _two(source: str, example: str) -> tuple[str, str]:
    texts = [text.strip() for text in source.partition(":")[2].split(",")]
    if len(texts) != 2 or not all(texts):
        raise DataError(f"'{source}' does not name two domains", f"write '{example}'")
    return texts[0], texts[1]


def _pairs(source: str, labels: Any, options: DataOptions) -> Dataset:
    whole, texts = _whole(source, options), _two(source, "pairs:digits,digits-negative")
    first, second = single(texts[0], labels, whole), single(texts[1], None, whole)
    own = first.spec
    columns = _others(source, own, second.spec, "other")
    spec = replace(own, columns=(*own.columns, *columns), paired=own.shape == second.spec.shape)
    return Dataset(
        f"{first.name},{second.name}",
        PairStore(first.store, second.store),
        spec,
        source=None if first.source is None else f"pairs:{first.source},{second.source}",
        options=options,
        class_names=first.class_names,
    )


def _others(source: str, own: DataSpec, other: DataSpec, stream: str) -> tuple[Column, ...]:
    """The columns that a second domain gives beside the first."""
    all_columns = (Column(name="x", kind=other.kind, shape=other.shape), *other.columns)
    columns = tuple(replace(column, name=other_name(column.name), stream=stream) for column in all_columns)
    if clash := {column.name for column in own.columns} & {column.name for column in columns}:
        raise DataError(f"both domains of '{source}' give a column '{min(clash)}'", "name one column, as 'emoji@x'")
    return columns


def _aligned(source: str, labels: Any, options: DataOptions) -> Dataset:
    return built(_aligned_found(source, labels, options), options)


def _aligned_found(source: str, labels: Any, options: DataOptions) -> Found:
    rest = source.partition(":")[2].strip()
    if "," not in rest and rest:
        found = by_name(rest, labels, options, parts=2)
        whole = f"aligned:{found.source}"
        return replace(found, source=found.source and whole, views=(*found.views, SideBySide()))
    texts, whole_options = _two(source, "aligned:digits,digits-edges"), _whole(source, options)
    first, second = by_name(texts[0], labels, whole_options), by_name(texts[1], None, whole_options)
    own, other = _matched(source, first, second, options)
    columns = _others(source, own.spec(), other.spec(), "")
    values = {other_name(name): rows for name, rows in other.values.items() if name != "y"}
    table = replace(own, values={**own.values, **values}, columns=(*own.columns, *columns))
    reopens = None if first.source is None else f"aligned:{first.source},{second.source}"
    return Found(f"{first.name},{second.name}", table, reopens, first.test)


def _matched(source: str, first: Found, second: Found, options: DataOptions) -> tuple[Table, Table]:
    """The two tables, row by row of one another: by the names of their rows, or in their order where one has none."""
    own, other = _taken(first), _taken(second)
    if own.row_names and other.row_names:
        places, others = _places(first.name, own), _places(second.name, other)
        _check_partners(source, first.name, places.keys() - others.keys(), options)
        _check_partners(source, second.name, others.keys() - places.keys(), options)
        names = [name for name in own.row_names if name in others]
        if not names:
            raise DataError(f"no two pictures of '{source}' have the same name", "give folders with equal file names")
        index = [torch.tensor([of[name] for name in names]) for of in (places, others)]
        return own.select(index[0]), other.select(index[1])
    if len(own) != len(other) or first.test != second.test:
        counts = [f"{len(table)} rows, {found.test} of them" for table, found in ((own, first), (other, second))]
        raise DataError(
            f"'{source}': '{first.name}' has {counts[0]} a test set, and '{second.name}' {counts[1]}",
            "give two sources whose rows belong together one by one; write pairs: for independent domains",
        )
    return own, other


def _check_partners(source: str, name: str, unmatched: AbstractSet[str], options: DataOptions) -> None:
    """Whether pictures without a partner are an error, or are left out with a warning."""
    if unmatched and options.corrupt != "skip":
        raise DataError(
            f"'{source}': {len(unmatched)} pictures of '{name}' have no partner of the same name, "
            f"for example '{min(unmatched)}'",
            f"add their partners; to leave such pictures out, {setting(corrupt='skip')}",
        )
    if unmatched:
        warnings.warn(
            f"{len(unmatched)} pictures of '{name}' have no partner in '{source}' and are left out", stacklevel=7
        )


def _taken(found: Found) -> Table:
    """The table with the source's views taken of its rows."""
    table = found.table
    for view in found.views:
        table = viewed(table, view, found.name)
    return table


def _places(name: str, table: Table) -> dict[str, int]:
    places = {row: i for i, row in enumerate(table.row_names)}
    if len(places) < len(table.row_names):
        twice = next(row for i, row in enumerate(table.row_names) if places[row] != i)
        raise DataError(f"two pictures of '{name}' are called '{twice}', apart from their suffix", "rename one of them")
    return places


def _few(source: str, labels: Any, options: DataOptions) -> Dataset:
    name, comma, text = source.partition(":")[2].rpartition(",")
    if not comma or not name.strip() or not text.strip().isdecimal() or int(text) < 1:
        raise DataError(f"'{source}' does not name data and a number of labels", "write 'few:digits,100'")
    name, count = name.strip(), int(text)
    found = (_aligned_found if name.startswith("aligned:") else by_name)(name, labels, options)
    y, order = found.table.y, order_of(found, options)
    if y is None:
        raise DataError(f"'{name}' has no labels to keep {count} of", "name data with labels, as in few:digits,100")
    known, classes = int((y[order.train] >= 0).sum()), len(found.table.class_names)
    if count > known or count < classes:
        raise DataError(
            f"{count} labels of '{name}', whose {known} labelled training rows have {classes} classes",
            f"keep at least one of each class and at most all: write 'few:{name},{max(classes, min(count, known))}'",
        )
    kept, own = torch.full_like(y, -1), labelled_rows(y, order.train, count)
    for rows in (own, order.held):
        kept[rows] = y[rows]
    table = found.table.with_labels(kept, found.table.class_names)
    reopens = found.source and f"few:{found.source},{count}"
    few = replace(found, name=f"few-{found.name}-{count}", table=table, source=reopens)
    return _with_labelled(built(few, options), built(few, options, Order(own, order.held)))


def _with_labelled(data: Dataset, labelled: Dataset) -> Dataset:
    """The data with its labelled rows as a stream of their own, the columns ``labelled`` and ``label``."""
    spec = data.spec
    columns = (
        Column(name="labelled", kind=spec.kind, shape=spec.shape, stream="labelled"),
        Column(name="label", kind="label", classes=spec.classes, stream="labelled"),
    )
    if clash := {column.name for column in spec.columns} & {column.name for column in columns}:
        raise DataError(f"'{data.name}' has a column '{min(clash)}' of its own", "save the file without it")
    return Dataset(
        data.name,
        LabelledStore(data.store, labelled.store),
        replace(spec, columns=(*spec.columns, *columns)),
        source=data.source,
        options=data.options,
        class_names=data.class_names,
    )


def _stacked(source: str, labels: Any, options: DataOptions) -> Dataset:
    name = source.partition(":")[2]
    found = by_name(name, labels, _whole(source, options))
    table = _taken(found)
    if table.x.dim() != 4 or table.x.shape[1] != 1:
        raise DataError(
            f"'{source}' does not name gray images",
            f"write 'stacked:digits'; of colour images, {setting(grayscale=True)}",
        )
    if table.columns:
        raise DataError(
            f"'{name}' has a column '{table.columns[0].name}', and stacked images have none",
            f"write 'stacked:{name}@x'",
        )
    names = table.class_names
    return Dataset(
        f"stacked-{found.name}",
        StackStore(TableStore(table, order_of(found, options)), len(names)),
        DataSpec(
            kind="image",
            shape=(3, *table.x.shape[2:]),
            classes=len(names) ** 3,
            class_shares=tuple(map(math.prod, product(table.spec().class_shares, repeat=3))),
        ),
        source=None if found.source is None else f"stacked:{found.source}",
        options=options,
        class_names=tuple(f"{a}-{b}-{c}" for a in names for b in names for c in names),
    )


FORMS: dict[str, Callable[[str, Any, DataOptions], Dataset]] = {
    "pairs": _pairs, "aligned": _aligned, "few": _few, "stacked": _stacked,
}  # fmt: skip
"""What a source that begins with ``NAME:`` is made by."""
