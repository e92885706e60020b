"""Images as the networks of feature metrics take them: whole bytes, three channels, one of two published resizes."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from ..base.errors import ConfigError, DataError, ShapeError

TF1_BILINEAR, BICUBIC = "tf1-bilinear", "bicubic-antialiased"
RESIZES = (TF1_BILINEAR, BICUBIC)
"""The resizes by name."""


def quantised(images: Tensor) -> Tensor:
    r"""Images as the bytes of an 8-bit file: :math:`\operatorname{round}(127.5\,(x + 1))`, clipped to 0 … 255.

    Args:
        images: ``(n, c, h, w)``, float in [-1, 1] (values beyond are clipped), or uint8, which is returned as it is.

    Raises:
        ShapeError: not of four axes.
        DataError: a pixel is NaN or infinite.

    Examples:
        >>> quantised(torch.tensor([-1.0, 0.1, 2.0]).reshape(1, 1, 1, 3)).flatten().tolist()
        [0, 140, 255]
    """
    _check(images)
    if images.dtype == torch.uint8:
        return images
    _check_finite(images)
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def levels(images: Tensor) -> Tensor:
    """Images ``(n, c, h, w)`` in [-1, 1] or uint8 as float32 pixels in 0 … 255, not rounded; errors as above.

    Examples:
        >>> levels(torch.zeros(1, 1, 1, 1)).item()
        127.5
    """
    _check(images)
    if images.dtype == torch.uint8:
        return images.float()
    _check_finite(images)
    return (images.float().clamp(-1, 1) + 1) * 127.5


def resized(pixels: Tensor, size: int, how: str) -> Tensor:
    r"""Pixels in 0 … 255 as three channels of ``size`` x ``size``; a single channel is repeated.

    Both resizes are linear along each axis, :math:`A_h\, x\, A_w^\top`, with the matrices of :func:`tf1_bilinear` and
    :func:`bicubic`. A bicubic result is clipped to 0 … 255 and not rounded, as in clean-fid (Parmar et al. 2022).

    Args:
        pixels: ``(n, 1 or 3, h, w)``.
        size: pixels of a side of the result.
        how: ``"tf1-bilinear"`` or ``"bicubic-antialiased"``.

    Returns:
        ``(n, 3, size, size)`` float32.

    Raises:
        ShapeError: another number of channels.
        ConfigError: an unknown resize.

    Examples:
        >>> resized(torch.full((1, 1, 2, 2), 7.0), 3, "tf1-bilinear").shape
        torch.Size([1, 3, 3, 3])
    """
    _check(pixels)
    if how not in RESIZES:
        raise ConfigError(f"no resize '{how}'", f"use '{RESIZES[0]}' or '{RESIZES[1]}'")
    if pixels.shape[1] not in (1, 3):
        raise ShapeError(f"images of {pixels.shape[1]} channels", "pass images of 1 or 3 channels")
    matrix = tf1_bilinear if how == TF1_BILINEAR else bicubic
    rows, columns = (matrix(n, size).to(pixels.device) for n in pixels.shape[2:])
    made = rows @ (pixels.float() @ columns.T)
    if how == BICUBIC:
        made = made.clamp(0, 255)
    return made.expand(-1, 3, -1, -1)


@lru_cache(maxsize=16)
def tf1_bilinear(given: int, made: int) -> Tensor:
    r"""The bilinear resize of TensorFlow 1, as a matrix ``(made, given)`` float32.

    Output pixel i reads the position :math:`p = i\, n / m` (no half-pixel offset, no antialiasing): the pixels
    :math:`\lfloor p \rfloor` and the next one, or the last one twice, with weights :math:`1 - (p - \lfloor p \rfloor)`
    and :math:`p - \lfloor p \rfloor`. FID is defined with it (Heusel et al. 2017).

    Examples:
        >>> tf1_bilinear(2, 4).tolist()
        [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0]]
    """
    matrix = torch.zeros(made, given)
    for i in range(made):
        low, rest = divmod(i * given, made)
        matrix[i, low] += 1 - rest / made
        matrix[i, min(low + 1, given - 1)] += rest / made
    return matrix


@lru_cache(maxsize=16)
def bicubic(given: int, made: int) -> Tensor:
    r"""The antialiased bicubic resize, as a matrix ``(made, given)`` float32.

    With the scale :math:`s = n/m` and :math:`t = \max(s, 1)`, output pixel i has weights
    :math:`\propto w((j + \frac12 - (i + \frac12) s) / t)` that sum to one over the pixels j within 2 t of its centre,
    for Keys' kernel with a = -1/2 (Keys 1981, equation 15): the filter that clean-fid takes from Pillow.

    Examples:
        >>> [round(w, 4) for w in bicubic(4, 2)[0].tolist()]
        [0.4587, 0.4587, 0.1198, -0.0372]
    """
    scale = given / made
    wide = max(scale, 1.0)
    matrix = torch.zeros(made, given, dtype=torch.float64)
    for i in range(made):
        centre = (i + 0.5) * scale
        first = max(0, math.floor(centre - 2 * wide + 0.5))
        for j in range(first, min(given, math.floor(centre + 2 * wide + 0.5))):
            matrix[i, j] = _keys(abs(j + 0.5 - centre) / wide)
    return (matrix / matrix.sum(1, keepdim=True)).float()


def _keys(x: float, a: float = -0.5) -> float:
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _check(images: Tensor) -> None:
    if images.dim() != 4 or 0 in images.shape:
        raise ShapeError(f"images of shape {tuple(images.shape)}", "pass (n, c, h, w) with n >= 1")


def _check_finite(images: Tensor) -> None:
    bad = int((~torch.isfinite(images.flatten(1))).any(1).sum())
    if bad:
        raise DataError(f"{bad} of {len(images)} images have pixels that are NaN or infinite", "see what diverged")
