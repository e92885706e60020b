"""Arrays as examples: what they are taken to be, by one rule.

With ``kind="auto"``, the first of these that fits:

| array | read as |
|---|---|
| ``(n, d)`` not of uint8, spreads of columns apart by a factor over 3 | table (:mod:`equilibria.data.tabular`) |
| ``(n,)``, ``(n, d)`` | n vectors; uint8 is scaled as x / 127.5 - 1, other numbers are kept as given |
| ``(h, w, 3)`` of whole numbers, w > 3 | one RGB picture, with a warning |
| ``(n, t, c)``, c of 1 to 4 and t > 4 c (t > 3 of floats and c = 3) | refused: series, or images so narrow |
| ``(n, h, w)`` | n gray images |
| ``(n, c, h, w)``, ``(n, h, w, c)``, c of 1 or 3 (4 with ``alpha="keep"``) | n images |

``kind="vector"`` flattens each row and keeps its numbers; ``kind="image"`` reads ``(h, w)`` and ``(h, w, 3)`` as one
picture. Pixels of whole numbers are to lie in 0 … 255. Floats are to lie in [0, 1], which is mapped to [-1, 1], or in
[-1, 1]. ``range=(low, high)`` states another black and white. A reading that is doubtful is warned of.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..base.errors import DataError
from .checks import as_tensor
from .notes import warn
from .options import DataOptions, setting

__all__ = ["checked_rows", "doubt_pixels", "doubt_shape"]

PART = 64
"""Of 255: whole numbers that use no more of their range are warned of."""
_PLAIN = DataOptions()


def checked_rows(
    values: Any, where: str = "the array", options: DataOptions = _PLAIN, alone: bool = True
) -> tuple[Tensor, tuple[str, ...]]:
    """The array as vectors ``(n, d)`` or images ``(n, c, h, w)``, uint8 or float32 as stored; and how it was scaled.

    The rule is at the head of this module.

    Args:
        values: an array or a tensor.
        where: what it is called in messages.
        options: what is stated of it: ``kind``, ``range``, ``alpha``.
        alone: whether the array is the examples; False for a column beside them, ``(n, …)``.

    Raises:
        DataError: not numbers, empty, NaN or infinite, an unusable shape, channel count or range; series.

    Examples:
        >>> checked_rows([[[0, 128], [255, 1]]])[0].shape
        torch.Size([1, 1, 2, 2])
    """
    x = as_tensor(values, where)
    if x.numel() == 0:
        raise DataError(f"{where} is empty: shape {tuple(x.shape)}", "give at least one example")
    if options.kind == "series":
        raise _series(where, x)
    if x.is_complex():
        raise DataError(f"{where} is complex", "give its real and imaginary parts as columns")
    if x.is_floating_point():
        _check_finite(x, where)
    if options.kind == "vector" and x.dim() > 0:
        return _numbers(x.reshape(len(x), -1), where, options)
    if x.dim() not in (1, 2, 3, 4):
        more = "; video and volumes are not supported" if x.dim() == 5 else ""
        raise DataError(
            f"{where} has shape {tuple(x.shape)}{more}",
            "give vectors (n, d) or images (n, c, h, w), (n, h, w, c), (n, h, w)",
        )
    if x.dim() == 2 and options.kind == "image":
        x = x[None, None]
    if x.dim() > 2:
        return _pixels(_channels_first(x, where, options, alone), where, options, alone)
    x = x[:, None] if x.dim() == 1 else x
    if x.dtype != torch.uint8 or options.range is not None:
        return _numbers(x, where, options)
    if alone:
        _doubt_bytes(x, where)
    return x.contiguous(), ()


def _series(where: str, x: Tensor) -> DataError:
    return DataError(
        f"{where} of shape {tuple(x.shape)}: series are not supported",
        f"to train on each as a vector of its numbers, {setting(kind='vector')}",
    )


def _numbers(x: Tensor, where: str, options: DataOptions) -> tuple[Tensor, tuple[str, ...]]:
    """Vectors, their numbers as given or on the scale that ``range`` states."""
    if options.range is not None:
        return _ranged(x, where, options.range)
    narrow = x.to(torch.float32).contiguous()
    _check_finite(narrow, f"{where} as float32")
    return narrow, ()


def _check_finite(x: Tensor, where: str) -> None:
    # a sum is finite only if every term is: one pass, no mask, for the usual case
    if torch.isfinite(x.sum(dtype=torch.float64)):
        return
    bad = ~torch.isfinite(x)
    count = int(bad.sum())
    if count:
        first = tuple(int(i) for i in bad.nonzero()[0])
        raise DataError(
            f"{where} has {count} NaN or infinite values of {x.numel()}, the first at index {first}",
            "remove those rows or fill them in",
        )


def _doubt_bytes(x: Tensor, where: str) -> None:
    """Warn of bytes as vectors that may be counts, or one gray picture."""
    low, high, (n, d) = int(x.min()), int(x.max()), x.shape
    if low < high < PART:
        warn(
            f"{where} holds {n} vectors of bytes from {low} to {high}, which are taken for gray values: scaled as "
            f"x / 127.5 - 1, to [{low / 127.5 - 1:.3g}, {high / 127.5 - 1:.3g}]; if they are counts, to keep them as "
            f"they are, {setting(kind='vector')}"
        )
    elif min(n, d) >= 16 and max(n, d) <= 2 * min(n, d) and math.isqrt(d) ** 2 != d:
        warn(
            f"{where} of shape ({n}, {d}) is taken for {n} vectors of {d} bytes; if it is one gray picture, "
            f"{setting(kind='image')}; to state that it is not, {setting(kind='vector')}, which keeps its numbers as "
            "given"
        )


def _channels_first(x: Tensor, where: str, options: DataOptions, alone: bool) -> Tensor:
    doubtful = alone and options.kind == "auto"
    known = (1, 3, 4) if options.alpha == "keep" else (1, 3)
    if x.dim() == 3:
        return _of_three_axes(x, where, options) if alone else x[:, None]
    if x.shape[1] in known:
        if doubtful and x.shape[3] in known and max(x.shape[1], x.shape[3]) > 1:
            warn(
                f"{where} of shape {tuple(x.shape)} is taken for images (n, c, h, w); if the channels are last, give "
                f"x.transpose(0, 3, 1, 2); to state that they are first, {setting(kind='image')}"
            )
        return x
    if x.shape[3] in known:
        return x.permute(0, 3, 1, 2)
    raise DataError(
        f"{where} of shape {tuple(x.shape)} has neither 1 nor 3 channels, first or last",
        "give gray or RGB images; drop an alpha channel with x[..., :3], or keep it as a fourth channel: "
        f"{setting(alpha='keep')}",
    )


def _of_three_axes(x: Tensor, where: str, options: DataOptions) -> Tensor:
    """Gray images ``(n, h, w)``, or one picture ``(h, w, c)``."""
    n, h, w = x.shape
    said = f"{where} of shape {tuple(x.shape)}"
    doubtful, state = options.kind == "auto", f"to state that it is, {setting(kind='image')}"
    coloured = h > w and w in ((3, 4) if options.alpha == "keep" else (3,))
    if coloured and (options.kind == "image" or not x.is_floating_point()):
        if doubtful:
            warn(
                f"{said} is taken for one picture of {h} x {n} pixels in {w} channels; {state}; if it holds {n} gray "
                f"images, give x[:, None]; {n} series of {h} steps are not supported"
            )
        return x.permute(2, 0, 1)[None]
    if w <= 4 and h > (w if w == 3 else 4 * w) and doubtful:  # images so narrow are rarer than series
        picture = f"one picture of {h} x {n} pixels" if w == 3 else f"{n} gray images, {w} pixels wide"
        raise DataError(
            f"{said} is {picture}, or {n} series of {h} steps; series are not supported",
            f"if it is {picture}, {setting(kind='image')}; to train on each of {n} rows as a vector, "
            f"{setting(kind='vector')}",
        )
    if n == 3 and doubtful:
        warn(f"{said} is taken for 3 gray images of {w} x {h} pixels; {state}; if it is one RGB picture, give x[None]")
    return x[:, None]


def _pixels(x: Tensor, where: str, options: DataOptions, alone: bool) -> tuple[Tensor, tuple[str, ...]]:
    if x.dtype == torch.bool:
        return (x.to(torch.uint8) * 255).contiguous(), ()
    if options.range is not None:
        return _ranged(x, where, options.range)
    low, high = float(x.min()), float(x.max())
    if not x.is_floating_point():
        if low < 0 or high > 255:
            raise _unscaled(where, "whole-number", x, "give uint8 images with values 0..255")
        if alone:
            doubt_pixels(low, high, where)
        return x.to(torch.uint8).contiguous(), ()
    if low < -1.0 - 1e-6 or high > 1.0 + 1e-6:
        perhaps = "; here perhaps x.astype('uint8')" if low >= 0 and high <= 255 else ""
        fix = f"give uint8 images with values 0..255, or floats in [0, 1] or [-1, 1]{perhaps}"
        raise _unscaled(where, "float", x, fix)
    x = x.to(torch.float32)
    if low < 0.0:
        return x.contiguous(), ("pixels as given, in [-1, 1]",)
    if alone and low < high and (low > 0.1 or high < 0.25):
        warn(
            f"the pixels of {where} lie in [{low:g}, {high:g}] and are taken for values of [0, 1], which become "
            f"2 x - 1; if they are of [-1, 1], {setting(range=(-1.0, 1.0))}; to state that they are of [0, 1], "
            f"{setting(range=(0.0, 1.0))}"
        )
    return (x * 2.0 - 1.0).contiguous(), ("pixels of [0, 1] scaled as 2 x - 1",)


def doubt_pixels(low: float, high: float, where: str) -> None:
    """Warn of whole numbers that use a small part of 0 … 255.

    Examples:
        >>> doubt_pixels(0, 200, "the array")
    """
    if low < high < PART:
        warn(
            f"the pixels of {where} are whole numbers from {low:g} to {high:g}, which are taken for dark pixels of "
            f"0 … 255; if {high:g} is white (masks, few levels), {setting(range=(0, int(high)))}; to state that "
            f"they are dark, {setting(range=(0, 255))}"
        )


def doubt_shape(shape: tuple[int, ...], where: str, options: DataOptions) -> None:
    """Refuse or warn of the shape of images whose values are not in memory, as :func:`checked_rows` does.

    Raises:
        DataError: a shape that is no images.
    """
    _channels_first(torch.empty(shape, dtype=torch.uint8, device="meta"), where, options, alone=True)


def _unscaled(where: str, what: str, x: Tensor, fix: str) -> DataError:
    """Pixels of which no rule says which value is black and which is white."""
    low, high = (x.min().item(), x.max().item())
    high = high if high > low else low + 1
    series = f"; if these are series, they are not supported: as vectors, {setting(kind='vector')}"
    stated = f"or state which values are black and white: {setting(range=(low, high))}"
    return DataError(
        f"{where}: {what} pixels range over [{low:g}, {high:g}]",
        f"{fix}; {stated}{series if x.shape[1] == 1 else ''}",
    )


def _ranged(x: Tensor, where: str, span: tuple[float, float]) -> tuple[Tensor, tuple[str, ...]]:
    """``low … high`` as [-1, 1]; values outside become the nearer end, and are counted."""
    low, high = span
    outside = int(((x < low) | (x > high)).sum())
    if outside:
        warn(f"{outside:,} of {x.numel():,} values of {where} are outside {low:g} … {high:g} and become the nearer end")
    scaled = torch.empty(x.shape, dtype=torch.float32)
    for to, of in zip(torch.split(scaled, 1024), torch.split(x, 1024), strict=True):  # not all rows in float64 at once
        to.copy_(((of.double() - low) / (high - low) * 2.0 - 1.0).clamp_(-1.0, 1.0))
    note = f"pixels {low:g} … {high:g} scaled to -1 … 1" + (
        f", {outside:,} values outside set to the ends" * (outside > 0)
    )
    return scaled, (note,)
