"""Pictures as rows: folders of image files, and images that a library hands over decoded."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..base.errors import DataError
from .files import check_memory
from .folders import in_order, listed
from .formats import Header, Tally, as_array, header_of, is_deep, is_picture, opened, unscaled
from .notes import warn
from .options import DataOptions, setting
from .ranges import check_deep, check_peaks, outside
from .streams import Files, streamed
from .table import Table, Values

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["as_array", "decoded", "folder_rows", "is_picture", "stacked"]

T = TypeVar("T")
_PROBED = 1000  # images of a streamed folder of which values outside the range are counted


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
    paths, labels, notes, base = listed(folder, options)
    headers = _headers(paths, options)
    width, height = _common_size(headers, options, parts)
    channels = 4 if options.alpha == "keep" else 1 if options.grayscale or all(h.gray for h in headers) else 3
    shape = (len(headers), channels, height, width)
    notes = (*notes, *_said(folder, headers, options))
    tally: Tally = []
    decode = partial(_decode_into, options=options, parts=parts, tally=tally)
    on_disk = streamed(options.stream, math.prod(shape))
    if on_disk:
        kept = _looked_at(headers, shape, decode, options)
        rows = Files([h.path for h in kept], (len(kept), *shape[1:]), partial(decode, tally=None), base)
        rows.checked = options.corrupt == "skip"
        x: Values = rows
    else:
        check_memory(math.prod(shape), f"{len(headers)} images of {folder}")
        found = np.empty(shape, dtype=np.uint8)
        kept, good = _good(headers, _each(len(headers), lambda i: decode(found[i], headers[i].path)), options)
        x = torch.from_numpy(found if len(kept) == len(headers) else found[good])
    if len(kept) < len(paths):
        notes = (*notes, f"left out: {len(paths) - len(kept)} images that cannot be decoded")
    _say_skipped(folder, len(paths) - len(kept), len(paths))
    if options.range is None:
        check_peaks(folder, kept, x)
    else:
        notes = (*notes, *outside(folder, tally, options.range, "of the images looked at" if on_disk else ""))
    return _table(x, base, [header.path for header in kept], labels, notes)


def _each(count: int, work: Callable[[int], T]) -> list[T]:
    """``work(0)``, ``work(1)``, … on a few threads, in order."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as workers:
        return list(workers.map(work, range(count)))


def _good(
    headers: Sequence[Header], faults: Sequence[str | None], options: DataOptions
) -> tuple[list[Header], list[bool]]:
    """The headers of images that can be decoded, and which those are.

    Raises:
        DataError: one cannot be, and is not to be left out.
    """
    for header, fault in zip(headers, faults, strict=True):
        if fault is not None and options.corrupt == "error":
            raise _corrupt(header.path, fault)
    good = [fault is None for fault in faults]
    return [header for header, fine in zip(headers, good, strict=True) if fine], good


def _looked_at(
    headers: Sequence[Header], shape: tuple[int, ...], decode: Callable[..., str | None], options: DataOptions
) -> list[Header]:
    """The images of a streamed folder that are dealt: decoded once where damaged ones are to be left out.

    With a range, a thousand are decoded for the count of values outside it.
    """
    if options.corrupt == "skip":
        chosen = list(headers)
    elif options.range is not None:
        chosen = [headers[int(i)] for i in np.linspace(0, len(headers) - 1, min(_PROBED, len(headers)))]
    else:
        return list(headers)
    kept, _ = _good(
        chosen, _each(len(chosen), lambda i: decode(np.empty(shape[1:], np.uint8), chosen[i].path)), options
    )
    return kept if options.corrupt == "skip" else list(headers)


def _table(
    x: Values, base: Path, paths: Sequence[Path], labels: Mapping[Path, str | None] | None, notes: tuple[str, ...]
) -> Table:
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
        said.append(f"{deep:,} images of more than 8 bits scaled from their full range to 0 … 255, 8 bits kept")
    if reduced := sum(header.reduced for header in headers):
        said.append(f"of {reduced:,} images of 16 bits in colour, the upper 8 kept")
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


def _headers(paths: Sequence[Path], options: DataOptions) -> list[Header]:
    """Sizes and modes, read without decoding, so that a fault shows before minutes of work."""
    headers = []
    with warnings.catch_warnings():  # Pillow's warning of large images, which are an error here
        warnings.simplefilter("ignore", _bomb_warning())
        every = _each(len(paths), lambda i: _header(paths[i], options))
    for path, found in zip(paths, every, strict=True):
        if isinstance(found, DataError):
            raise found
        if isinstance(found, Header):
            headers.append(found)
        elif options.corrupt == "error":
            raise found.error if isinstance(found.error, DataError) else _corrupt(path, str(found.error))
    if not headers:
        raise DataError(f"none of {len(paths)} image files can be decoded, e.g. {paths[0]}", "replace them")
    return headers


class _Unread(NamedTuple):
    error: Exception


def _header(path: Path, options: DataOptions) -> Header | DataError | _Unread:
    """The header of a file; an error where its pixels are of no known range; why it cannot be read."""
    try:
        header = header_of(path, options)
        return header if header.scaled else unscaled(path)
    except Exception as error:  # a decoder of hostile bytes may raise anything
        return _Unread(error)


def _bomb_warning() -> type[Warning]:
    from PIL import Image

    return Image.DecompressionBombWarning


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


def _decode_into(
    row: np.ndarray, path: Path, options: DataOptions, parts: int = 1, tally: Tally | None = None
) -> str | None:
    """Fill ``row (c, h, w)`` with the image; what went wrong, or None."""
    try:
        with opened(path) as image:
            array = as_array(image, options, parts, tally)
        if array.shape[1:] != row.shape[1:]:
            return f"it has {array.shape[2]} x {array.shape[1]} pixels, and its header says otherwise"
        row[...] = array  # one channel spreads over three
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


def decoded(pictures: Iterable[Image.Image], options: DataOptions, where: str) -> np.ndarray:
    """Pillow images as bytes ``(n, c, h, w)``, by the rule of :mod:`equilibria.data.formats`.

    Raises:
        DataError: none, mixed sizes, pixels whose range is not known, or numbers of more than 8 bits up to 255.
    """
    tally: Tally = []
    peaks: list[float] = []

    def made(image: Image.Image) -> np.ndarray:
        if is_deep(image):
            peaks.append(float(np.asarray(image).max()))
        return as_array(image, options, tally=tally)

    found = stacked((made(image) for image in pictures), where)
    if options.range is None and peaks:
        check_deep(where, max(peaks))
    if options.range is not None:
        outside(where, tally, options.range)
    return found
