"""Arrays and labels as tensors, images fitted to the options; one clear line for each way they can be unusable."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base.errors import DataError
from .options import DataOptions, setting

__all__ = ["as_tensor", "checked_labels", "fitted"]

_LUMA = (0.299, 0.587, 0.114)


def as_tensor(values: Any, where: str) -> Tensor:
    """The values as a tensor on the CPU, in their own type.

    Raises:
        DataError: they are not numbers.
    """
    if isinstance(values, Tensor):
        return values.detach().cpu()
    array = np.asarray(values)
    if array.dtype == object or array.dtype.kind not in "buif":
        raise DataError(f"{where} holds '{array.dtype}' values, not numbers", "give an array of uint8 or float32")
    if array.dtype.kind == "u" and array.dtype != np.uint8:
        array = array.astype(np.int64)
    if array.dtype == np.longdouble:
        array = array.astype(np.float64)
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def checked_labels(
    values: Any, n: int, where: str = "labels", unlabelled: bool = False
) -> tuple[Tensor, tuple[str, ...]]:
    """Classes 0 … K-1 in the order of the values, and the values' names.

    With ``unlabelled``, a value of -1 is no class: the row has no label, and -1 is kept.

    Raises:
        DataError: not one label per example, fractional, negative, or not labels at all.

    Examples:
        >>> checked_labels([3, 7, 3], 3)
        (tensor([0, 1, 0]), ('3', '7'))
    """
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"{where} have shape {array.shape}", "give one label per example, (n,); for one-hot rows y.argmax(1)"
        )
    if len(array) != n:
        raise DataError(f"{len(array)} {where} for {n} examples", "give one label per example, in the same order")
    if array.dtype.kind not in "biufU":
        raise DataError(f"{where} hold '{array.dtype}' values", "give whole numbers >= 0 or strings")
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array) | (array != np.floor(array))
        if bad.any():
            at = int(bad.argmax())
            raise DataError(f"{where}: {array[at]!s} at index {at} is not a whole number", "give whole numbers >= 0")
        array = array.astype(np.int64)
    none = np.zeros(n, dtype=bool)
    if array.dtype.kind == "i":
        none = (array == -1) & unlabelled
        if ((array < 0) & ~none).any():
            at = int(((array < 0) & ~none).argmax())
            raise DataError(
                f"{where}: {array[at]} at index {at} is negative",
                f"number the classes from 0; where -1 marks rows without a label, {setting(unlabelled=True)}",
            )
    if none.all():
        raise DataError(f"{where} are all -1", "label some rows, or give none of the labels")
    names, classes = np.unique(array[~none], return_inverse=True)
    y = np.full(n, -1, dtype=np.int64)
    y[~none] = classes.reshape(-1)
    return torch.from_numpy(y), tuple(str(name) for name in names)


def fitted(x: Tensor, options: DataOptions, parts: int = 1) -> Tensor:
    """Images ``(n, c, h, w)`` as the options ask: one channel, and the height and width that ``size`` and ``fit`` give.

    An image of ``parts`` pictures side by side keeps them so, each fitted by itself.

    Raises:
        DataError: the width does not divide by ``parts``.
    """
    if x.dim() != 4:
        return x
    if parts > 1:
        if x.shape[3] % parts:
            raise DataError(
                f"images {x.shape[3]} pixels wide do not hold {parts} pictures side by side",
                "give images of an even width, the left half one picture, the right half the other",
            )
        return torch.cat([fitted(part, options) for part in x.chunk(parts, dim=3)], dim=3)
    if options.grayscale and x.shape[1] == 3:
        weights = torch.tensor(_LUMA).view(1, 3, 1, 1)
        x = _in_pieces(x, lambda piece: (piece * weights).sum(1, keepdim=True))
    sides = options.sides
    return x if sides is None else _resized(x, sides[1], sides[0], options.fit)


def _resized(x: Tensor, height: int, width: int, fit: str) -> Tensor:
    """Images of another height and width by the options' ``fit``."""
    h, w = x.shape[2:]
    if (h, w) == (height, width):
        return x
    if fit == "pad":
        inner = (min(height, max(1, round(h * width / w))), min(width, max(1, round(w * height / h))))
        out = x.new_full((*x.shape[:2], height, width), 0 if x.dtype == torch.uint8 else -1)
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        out[:, :, top : top + inner[0], left : left + inner[1]] = _resampled(x, *inner)
        return out
    if fit == "crop":
        rows, columns = min(h, max(1, round(w * height / width))), min(w, max(1, round(h * width / height)))
        top, left = (h - rows) // 2, (w - columns) // 2
        x = x[:, :, top : top + rows, left : left + columns]
    return _resampled(x, height, width)


def _resampled(x: Tensor, height: int, width: int) -> Tensor:
    if tuple(x.shape[2:]) == (height, width):
        return x
    resize = torch.nn.functional.interpolate
    return _in_pieces(x, lambda piece: resize(piece, (height, width), mode="bicubic", antialias=True))


def _in_pieces(x: Tensor, change: Any) -> Tensor:
    """``change`` of the images as floats, back in their own dtype and range, a few at a time."""
    low, high = (0.0, 255.0) if x.dtype == torch.uint8 else (-1.0, 1.0)
    done = []
    for piece in torch.split(x, 1024):
        changed = change(piece.float()).clamp_(low, high)
        done.append(changed.round_().to(torch.uint8) if x.dtype == torch.uint8 else changed)
    return torch.cat(done)
