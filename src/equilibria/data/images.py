"""Pictures as rows: folders of image files, and images that a library hands over decoded."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..base.errors import DataError
from .files import check_memory
from .folders import in_order, listed
from .formats import Header, as_array, brightest, header_of, is_picture, opened, unscaled
from .notes import warn
from .options import DataOptions, setting
from .streams import Files, streamed
from .table import Table, Values

__all__ = ["as_array", "folder_rows", "is_picture", "stacked"]

_PART = 64  # of 255: images that use no more of their range are warned of


def folder_rows(folder: Path, options: DataOptions, parts: int = 1) -> Table:
    """Every image under a folder, in the order of its path, with the labels that :mod:`equilibria.data.folders` finds.

    Pixels become bytes by the rule of :mod:`equilibria.data.formats`. With ``parts`` pictures side by side in an image,
    each is fitted to the options by itself.

    Raises:
        DataError: no images, an image that cannot be decoded, mixed sizes, train and test side by side, pixels whose
            range is not known, or more pixels than the machine's memory holds.
    """
    if options.kind in ("vector", "series"):
        raise DataError(f"the images of {folder} as rows of kind {options.kind}", setting(kind="image"))
    paths, labels, notes = listed(folder, options)
    headers = _headers(paths, options)
    width, height = _common_size(headers, options, parts)
    channels = 4 if options.alpha == "keep" else 1 if options.grayscale or all(h.gray for h in headers) else 3
    shape = (len(headers), channels, height, width)
    notes = (*notes, *_said(folder, headers, options))
    if streamed(options.stream, math.prod(shape)):
        rows = Files([h.path for h in headers], shape, partial(_decode_into, options=options, parts=parts), folder)
        _say_skipped(folder, len(paths) - len(headers), len(paths))
        return _table(rows, folder, rows.paths, labels, notes)
    check_memory(math.prod(shape), f"{len(headers)} images of {folder}")
    x = np.empty(shape, dtype=np.uint8)
    # each worker writes its own row, so the order is that of the paths whichever finishes first
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as workers:
        faults = list(workers.map(lambda i: _decode_into(x[i], headers[i].path, options, parts), range(len(headers))))
    for header, fault in zip(headers, faults, strict=True):
        if fault is not None and options.corrupt == "error":
            raise _corrupt(header.path, fault)
    good = [fault is None for fault in faults]
    kept = [header for header, fine in zip(headers, good, strict=True) if fine]
    if len(kept) < len(paths):
        notes = (*notes, f"left out: {len(paths) - len(kept)} images that cannot be decoded")
    _say_skipped(folder, len(paths) - len(kept), len(paths))
    found = x if all(good) else x[good]
    _warn_of_small_range(folder, found, kept, options)
    return _table(torch.from_numpy(found), folder, [header.path for header in kept], labels, notes)


def _table(
    x: Values, folder: Path, paths: Sequence[Path], labels: Mapping[Path, str | None] | None, notes: tuple[str, ...]
) -> Table:
    base = folder.parent if folder.is_file() else folder
    names = tuple(str(path.relative_to(base).with_suffix("")) for path in paths)
    table = Table({"x": x}, row_names=names, notes=notes)
    return table if labels is None else table.with_labels(*_numbered([labels[path] for path in paths]))


def _numbered(labels: Sequence[str | None]) -> tuple[Tensor, tuple[str, ...]]:
    """Classes 0 … K-1 in the order of their names, -1 for none."""
    names = sorted({label for label in labels if label is not None}, key=in_order)
    place: dict[str | None, int] = {name: i for i, name in enumerate(names)}
    return torch.tensor([place.get(label, -1) for label in labels], dtype=torch.int64), tuple(names)


def _said(folder: Path, headers: Sequence[Header], options: DataOptions) -> list[str]:
    """How pixels become bytes, and what is not read of a file."""
    said = _fitting(headers, options)
    deep, animated = sum(header.deep for header in headers), [header for header in headers if header.animated]
    if options.range is not None:
        said.append("pixels {:g} … {:g} scaled to 0 … 255".format(*options.range))
    elif deep:
        said.append(f"{deep} images of more than 8 bits scaled from their full range to 0 … 255")
    if animated:
        said.append(f"the first frame of {len(animated)} animated files")
        warn(
            f"{len(animated)} files of {folder} hold several frames, for example {animated[0].path.name}; only the "
            "first frame of each is read; save frames as files of their own to read all"
        )
    return said


def _fitting(headers: Sequence[Header], options: DataOptions) -> list[str]:
    """How images of other sizes come to that of the options."""
    other = sum(header.size != options.sides for header in headers) if options.sides is not None else 0
    how = {"crop": "cut to their middle and resampled", "pad": "shown whole, black around", "stretch": "stretched"}
    return [f"{other:,} images of other sizes {how[options.fit]}"] if other else []


def _warn_of_small_range(folder: Path, x: np.ndarray, headers: Sequence[Header], options: DataOptions) -> None:
    """Warn of images that use a small part of their range: masks, label maps, 12 bits in 16."""
    most = int(x.max())
    if options.range is not None or most >= _PART or most == int(x.min()):
        return
    deep = [header for header in headers if header.deep]
    high = max(brightest(header.path) for header in deep) if len(deep) == len(headers) else most
    warn(
        f"the largest pixel of {folder} is {high:g}, a small part of what its files can hold, so the images are dark; "
        f"if white is another value, {setting(range=(0, int(high)))}"
    )


def _headers(paths: Sequence[Path], options: DataOptions) -> list[Header]:
    """Sizes and modes, read without decoding, so that a fault shows before minutes of work."""
    headers = []
    for path in paths:
        try:
            header = header_of(path, options)
            refused = None if header.scaled else unscaled(path)
        except Exception as error:  # a decoder of hostile bytes may raise anything
            if options.corrupt == "error":
                raise _corrupt(path, str(error)) from error
            continue
        if refused is not None:
            raise refused
        headers.append(header)
    if not headers:
        raise DataError(f"none of {len(paths)} image files can be decoded, e.g. {paths[0]}", "replace them")
    return headers


def _common_size(headers: Sequence[Header], options: DataOptions, parts: int) -> tuple[int, int]:
    if options.sides is not None:
        width, height = options.sides
        return parts * width, height
    first = headers[0]
    for header in headers:
        if header.size != first.size:
            (w, h), (v, g) = first.size, header.size
            raise DataError(
                f"images of mixed sizes: {first.path} is {w}x{h}, {header.path} is {v}x{g}",
                f"{setting(size=64)}, which cuts the central square and resamples it; for rectangles, whole images "
                f"or others: {setting(size='64x96', fit='pad')}",
            )
    return first.size


def _decode_into(row: np.ndarray, path: Path, options: DataOptions, parts: int = 1) -> str | None:
    """Fill ``row (c, h, w)`` with the image; what went wrong, or None."""
    try:
        with opened(path) as image:
            row[...] = as_array(image, options, parts)  # one channel spreads over three
    except Exception as error:  # as above
        return str(error) or type(error).__name__
    return None


def _corrupt(path: Path, reason: str) -> DataError:
    return DataError(
        f"the image {path} cannot be decoded ({reason})",
        f"replace or remove it; to leave such images out, {setting(corrupt='skip')}",
    )


def _say_skipped(folder: Path, skipped: int, count: int) -> None:
    if skipped:
        warn(f"{skipped} of {count} images of {folder} cannot be decoded and are left out")
    if skipped == count:
        raise DataError(f"none of {count} images of {folder} can be decoded", "replace them")


def stacked(images: Iterable[np.ndarray], where: str) -> np.ndarray:
    """Pictures ``(c, h, w)`` as one array ``(n, c, h, w)``; gray ones join colour ones as three equal channels."""
    arrays = list(images)
    if not arrays:
        raise DataError(f"{where} is empty", "give at least one example")
    channels = max(len(a) for a in arrays)
    for index, array in enumerate(arrays):
        if array.shape[1:] != arrays[0].shape[1:]:
            (h, w), (g, v) = arrays[0].shape[1:], array.shape[1:]
            raise DataError(f"{where} has images of mixed sizes: 0 is {w}x{h}, {index} is {v}x{g}", setting(size=64))
    return np.stack([np.repeat(a, channels, axis=0) if len(a) < channels else a for a in arrays])
