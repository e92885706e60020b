"""Labels in a file beside the images: StyleGAN's dataset.json, Hugging Face's metadata, labels.csv."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..base.errors import DataError
from . import archives
from .options import DataOptions, setting

__all__ = ["FILES", "Beside", "labels_beside"]

_LABELS = ("label", "labels", "class", "class_name", "category", "y", "target")
_NAMES = ("file_name", "filename", "file", "image", "path", "name", "id")
_MOST = 1 << 30  # bytes of a file of labels

Pairs = list[tuple[str, Any]]


class Beside(NamedTuple):
    """Labels by image, None for one without a label; None where the file states that there are none."""

    labels: Mapping[Path, str | None] | None
    note: str


def labels_beside(folder: Path, paths: Sequence[Path], options: DataOptions) -> Beside | None:
    """The labels in the files beside the images; None where no file has labels.

    Args:
        folder: where the file is; names in it are relative to this folder, with or without their suffix.
        paths: the images, each of which needs a label.
        options: with ``unlabelled``, an image may have none (an empty cell, null or -1).

    Raises:
        DataError: a file cannot be read, names no image, leaves images without a label, or differs from another.
    """
    found: dict[str, Mapping[Path, str | None] | None] = {}
    for name, read in FILES.items():
        path = folder / name
        if not archives.is_file(path):
            continue
        pairs = read(path, _text(path))
        if pairs is not None:
            found[name] = _matched(path, pairs, paths, options) if pairs else None
    if not found:
        return None
    first, *rest = found
    for other in rest:
        if found[other] != found[first]:
            raise DataError(f"the labels of {folder / first} and of {folder / other} differ", "remove one of the files")
    return Beside(found[first], f"labels of {first}" if found[first] is not None else f"{first} says: no labels")


def _text(path: Path) -> str:
    if (size := archives.size_of(path)) > _MOST:
        raise DataError(f"{path} has {size:,} bytes", f"split it; or {setting(classes='none')}")
    try:
        return archives.read_bytes(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, str(error)) from error


def _unusable(path: Path, why: str) -> DataError:
    return DataError(f"{path} cannot be read as labels ({why})", f"mend it; to read the images only, {_WITHOUT}")


_WITHOUT = setting(classes="none")


def _dataset_json(path: Path, text: str) -> Pairs | None:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unusable(path, str(error)[:100]) from error
    if not isinstance(whole, dict) or "labels" not in whole:
        return None
    labels = whole["labels"]
    if not labels:
        return []
    if isinstance(labels, dict):
        labels = list(labels.items())
    if not isinstance(labels, list) or not all(isinstance(one, (list, tuple)) and len(one) == 2 for one in labels):
        raise _unusable(path, "labels are no list of [file name, class]")
    return [(str(name), label) for name, label in labels]


def _json_lines(path: Path, text: str) -> Pairs | None:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise _unusable(path, f"line {number}: {str(error)[:100]}") from error
            if not isinstance(rows[-1], dict):
                raise _unusable(path, f"line {number} is no object")
    return _chosen(rows)


def _metadata_csv(path: Path, text: str) -> Pairs | None:
    return _chosen(list(csv.DictReader(text.splitlines())))


def _chosen(rows: list[dict[str, Any]]) -> Pairs | None:
    """File names and labels of metadata, which may hold other things."""
    columns = rows[0].keys() if rows else ()
    label = next((name for name in _LABELS if name in columns), None)
    if label is None or "file_name" not in columns:
        return None
    return [(str(row.get("file_name")), row.get(label)) for row in rows]


def _labels_csv(path: Path, text: str) -> Pairs | None:
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if not rows:
        raise _unusable(path, "it is empty")
    head = [cell.strip().lower() for cell in rows[0]]
    named = next((head.index(name) for name in _NAMES if name in head), None)
    label = next((head.index(name) for name in _LABELS if name in head), None)
    if len(head) == 2:  # without a head, or with one in other words
        begin = 0 if label is None and named is None and Path(rows[0][0]).suffix else 1
        named, label = (0, 1) if named is None and label is None else (named, label)
        named = 1 - label if named is None and label is not None else named
        label = 1 - named if label is None and named is not None else label
    else:
        begin = 1
    if named is None or label is None:
        raise _unusable(path, f"of its columns {', '.join(head)} none is called label, or none file_name")
    if short := next((row for row in rows if len(row) <= max(named, label)), None):
        raise _unusable(path, f"the row {','.join(short)} is short")
    return [(row[named], row[label]) for row in rows[begin:]]


FILES: dict[str, Callable[[Path, str], Pairs | None]] = {
    "dataset.json": _dataset_json,
    "metadata.jsonl": _json_lines,
    "metadata.csv": _metadata_csv,
    "labels.csv": _labels_csv,
}
"""The files that may hold labels, and how each is read: pairs of a file name and a label; [] states that there are
no labels, None that the file is about something else."""


def _matched(path: Path, pairs: Pairs, paths: Sequence[Path], options: DataOptions) -> dict[Path, str | None]:
    base = path.parent
    full = {one.relative_to(base).as_posix(): one for one in paths}
    short = {name.rsplit(".", 1)[0]: one for name, one in full.items()}
    labels: dict[Path, str | None] = {}
    for name, label in pairs:
        plain = name.strip().replace("\\", "/").removeprefix("./")
        image = full.get(plain) or short.get(plain)
        if image is None:
            raise DataError(f"{path} names '{plain}', and there is no such image", f"remove its row; or {_WITHOUT}")
        word = _label(path, plain, label)
        if labels.get(image, word) != word:
            raise DataError(f"{path} gives '{plain}' two labels, {labels[image]} and {word}", "remove one of the rows")
        labels[image] = word
    missing = [one for one in paths if labels.get(one) is None]
    if missing and not options.unlabelled:
        raise DataError(
            f"{path} has no label for {len(missing)} of {len(paths)} images, for example {missing[0]}",
            f"add them; where these have none, {setting(unlabelled=True)}",
        )
    if len(missing) == len(paths):
        raise DataError(f"{path} has no label for any image", _WITHOUT)
    return {one: labels.get(one) for one in paths}


def _label(path: Path, name: str, label: Any) -> str | None:
    """A class as text; None for none."""
    if isinstance(label, (list, dict)):
        raise DataError(f"{path}: the label of '{name}' is a {type(label).__name__}", f"give one class; or {_WITHOUT}")
    if label is None or (isinstance(label, str) and not label.strip()) or label in (-1, "-1"):
        return None
    if isinstance(label, float) and label == int(label):
        label = int(label)
    return str(label).strip()
