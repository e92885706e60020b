"""Pictures as rows: folders of image files, and images that a library hands over decoded."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ..base.errors import DataError
from .checks import checked_labels, fitted
from .files import check_memory
from .options import DataOptions, setting
from .streams import Files, streamed
from .table import Table, Values

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["as_array", "folder_rows", "is_picture", "stacked"]

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_GRAY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
_SPLITS = frozenset({"train", "training", "test", "val", "valid", "validation"})
_TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height


def is_picture(path: Path) -> bool:
    """Whether the name is that of an image file."""
    return path.suffix.lower() in _SUFFIXES


class _Header(NamedTuple):
    path: Path
    size: tuple[int, int]  # width, height as shown
    gray: bool


def folder_rows(folder: Path, options: DataOptions, parts: int = 1) -> Table:
    """Every image under a folder, in the order of its path; first-level subfolders are the classes.

    Without subfolders, with only one, or with images beside them there are no labels. With ``parts`` pictures side by
    side in an image, each is fitted to the options by itself.

    Raises:
        DataError: no images, an image that cannot be decoded, mixed sizes, train and test side by side,
            or more pixels than the machine's memory holds.
    """
    paths = [folder] if folder.is_file() else _pictures(folder)
    labels = _labels(folder, paths)
    headers = _headers(paths, options)
    width, height = _common_size(headers, options, parts)
    channels = 1 if options.grayscale or all(h.gray for h in headers) else 3
    shape = (len(headers), channels, height, width)
    if streamed(options.stream, math.prod(shape)):
        rows = Files([h.path for h in headers], shape, partial(_decode_into, options=options, parts=parts), folder)
        _say_skipped(folder, len(paths) - len(headers), len(paths))
        return _table(rows, folder, rows.paths, labels)
    check_memory(math.prod(shape), f"{len(headers)} images of {folder}")
    x = np.empty(shape, dtype=np.uint8)
    # each worker writes its own row, so the order is that of the paths whichever finishes first
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as workers:
        faults = list(workers.map(lambda i: _decode_into(x[i], headers[i].path, options, parts), range(len(headers))))
    for header, fault in zip(headers, faults, strict=True):
        if fault is not None and options.corrupt == "error":
            raise _corrupt(header.path, fault)
    good = [fault is None for fault in faults]
    kept = [header.path for header, fine in zip(headers, good, strict=True) if fine]
    _say_skipped(folder, len(paths) - len(kept), len(paths))
    return _table(torch.from_numpy(x if all(good) else x[good]), folder, kept, labels)


def _table(x: Values, folder: Path, paths: Sequence[Path], labels: dict[Path, str] | None) -> Table:
    base = folder.parent if folder.is_file() else folder
    table = Table({"x": x}, row_names=tuple(str(path.relative_to(base).with_suffix("")) for path in paths))
    return table if labels is None else table.with_labels(*checked_labels([labels[p] for p in paths], len(paths)))


def _pictures(folder: Path) -> list[Path]:
    found, others, entered = [], 0, set()
    for root, names, files in os.walk(folder, followlinks=True):
        here = os.stat(root)
        if (here.st_dev, here.st_ino) in entered:  # a link to where the walk has been
            names[:] = []
            continue
        entered.add((here.st_dev, here.st_ino))
        names[:] = sorted(n for n in names if not n.startswith(".") and n != "__MACOSX")
        for name in files:
            path = Path(root) / name
            if is_picture(path) and not name.startswith(".") and not _is_pipe(path):
                found.append(path)
            else:
                others += 1
    if not found:
        raise DataError(
            f"the folder {folder} has no images (of {others} files none ends in {', '.join(sorted(_SUFFIXES))})",
            "give the folder that holds the image files",
        )
    return sorted(found)


def _is_pipe(path: Path) -> bool:
    """Whether reading may wait for ever: a pipe, a socket, a device. A link to nowhere is none of these."""
    return path.exists() and not path.is_file()


def _labels(folder: Path, paths: Sequence[Path]) -> dict[Path, str] | None:
    if folder.is_file():
        return None
    parts = {path: path.relative_to(folder).parts for path in paths}
    if any(len(part) < 2 for part in parts.values()):
        return None
    labels = {path: part[0] for path, part in parts.items()}
    names = set(labels.values())
    if len(names) > 1 and all(name.lower() in _SPLITS for name in names):
        raise DataError(
            f"the subfolders of {folder} are {', '.join(sorted(names))}, which are splits, not classes",
            f"give one of them, e.g. {folder / max(sorted(names), key=lambda n: n.lower().startswith('train'))}",
        )
    return labels if len(names) > 1 else None


def _headers(paths: Sequence[Path], options: DataOptions) -> list[_Header]:
    """Sizes and modes, read without decoding, so that a fault shows before minutes of work."""
    from PIL import Image

    headers = []
    for path in paths:
        try:
            with Image.open(path) as image:
                width, height = image.size
                _check_pixels(width * height)
                turned = image.getexif().get(0x0112) in _TURNED
                size = (height, width) if turned else (width, height)
                headers.append(_Header(path, size, image.mode in _GRAY))
        except Exception as error:  # a decoder of hostile bytes may raise anything
            if options.corrupt == "error":
                raise _corrupt(path, str(error)) from error
    if not headers:
        raise DataError(f"none of {len(paths)} image files can be decoded, e.g. {paths[0]}", "replace them")
    return headers


def _check_pixels(count: int) -> None:
    """Pillow's own bound, of which it only warns: a file of a few bytes may say that it is larger."""
    from PIL import Image

    most = Image.MAX_IMAGE_PIXELS
    if most is not None and count > most:
        raise DataError(
            f"{count:,} pixels are more than {most:,}",
            f"make it smaller; in Python, PIL.Image.MAX_IMAGE_PIXELS = {count} allows it",
        )


def _common_size(headers: Sequence[_Header], options: DataOptions, parts: int) -> tuple[int, int]:
    if options.size is not None:
        return parts * options.size, options.size
    first = headers[0]
    for header in headers:
        if header.size != first.size:
            (w, h), (v, g) = first.size, header.size
            raise DataError(
                f"images of mixed sizes: {first.path} is {w}x{h}, {header.path} is {v}x{g}",
                f"{setting(size=64)}, which cuts the central square and resamples it",
            )
    return first.size


def _decode_into(row: np.ndarray, path: Path, options: DataOptions, parts: int = 1) -> str | None:
    """Fill ``row (c, h, w)`` with the image; what went wrong, or None."""
    from PIL import Image

    try:
        with Image.open(path) as image:
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
        warnings.warn(f"{skipped} of {count} images of {folder} cannot be decoded and are left out", stacklevel=5)
    if skipped == count:
        raise DataError(f"none of {count} images of {folder} can be decoded", "replace them")


def as_array(image: Image.Image, options: DataOptions, parts: int = 1) -> np.ndarray:
    """A picture as uint8 ``(c, h, w)``, upright, on white where it is transparent, fitted to the options."""
    from PIL import Image, ImageOps

    gray = image.mode in _GRAY
    image = ImageOps.exif_transpose(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        # 16-bit pixels: Pillow's own conversion to 8 bits clips instead of scaling
        deep = np.asarray(image).astype(np.float64).clip(0, 65535)
        image = Image.fromarray(np.rint(deep / 257.0).astype(np.uint8))
    if image.mode == "F":
        raise DataError("an image of 32-bit float pixels", "save it with 8 bits a channel, or load arrays")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, (255, 255, 255, 255)), clear)
    array = np.array(image.convert("L" if gray else "RGB"), dtype=np.uint8)
    pixels = array[None] if gray else array.transpose(2, 0, 1)
    return fitted(torch.from_numpy(pixels)[None], options, parts)[0].numpy()


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
