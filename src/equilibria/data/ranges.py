"""Whether images use the range that their format has: masks, 12 bits in 16, bytes in files of 16 bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from ..base.errors import DataError
from .arrays import PART
from .formats import Header, Tally, brightest
from .notes import warn
from .options import setting
from .table import Values

__all__ = ["check_deep", "check_peaks", "outside", "peak_of"]

_BYTES = 255  # files of more bits without a larger number are refused
_PIECE = 8  # rows that are looked at at once: of images on the disk, the first are usually enough


def peak_of(pieces: Iterator[np.ndarray]) -> int:
    """The largest of some bytes, or the first found that is not below :data:`~equilibria.data.arrays.PART`.

    Examples:
        >>> peak_of(iter([np.array([3, 9]), np.array([70]), np.array([99])]))
        70
    """
    most = 0
    for piece in pieces:
        most = max(most, int(piece.max()))
        if most >= PART:
            break
    return most


def check_peaks(folder: Path, headers: Sequence[Header], x: Values) -> None:
    """Refuse or warn of images that use a small part of their range, those of 8 bits and of more each by themselves.

    Files of more than 8 bits, none of which holds a value above 255, would become black: they hold bytes, or are that
    dark, and nothing in them says which. Other dark images are warned of. Of images on the disk, as many are decoded as
    it takes to find a bright one.

    Args:
        folder: for the message.
        headers: of the images, in the order of the rows.
        x: their pixels as bytes.

    Raises:
        DataError: files of more than 8 bits with values of 0 to 255.
    """
    for deep in (True, False):
        index = [i for i, header in enumerate(headers) if header.deep is deep]
        most = peak_of(_pieces(x, index))
        if most >= PART or not index:
            continue
        high = max(brightest(headers[i].path) for i in index) if deep else most
        if high == 0 or (not deep and most == min(int(piece.min()) for piece in _pieces(x, index))):
            continue
        stated = setting(range=(0, int(high)))
        if deep:
            check_deep(folder, high)
        kind = " of more than 8 bits" if deep and len(index) < len(headers) else ""
        warn(
            f"the largest pixel of {folder}{kind} is {high:g}, a small part of what its files can hold, so the images "
            f"are dark; if white is another value, {stated}"
        )


def check_deep(where: object, high: float) -> None:
    """Refuse pictures of more than 8 bits whose largest number is ``high``, if that is one of 8 bits.

    Raises:
        DataError: it is; both readings are named.
    """
    if 0 < high <= _BYTES:
        full, dark = setting(range=(0, _BYTES)), setting(range=(0, 65535))
        raise DataError(
            f"the images of more than 8 bits in {where} hold no value above {high:g}, and on their full scale would be "
            "black",
            f"if they are bytes, {full}; if they are that dark, {dark}",
        )


def _pieces(x: Values, index: Sequence[int]) -> Iterator[np.ndarray]:
    for start in range(0, len(index), _PIECE):
        rows = list(index[start : start + _PIECE])
        yield (x[rows] if isinstance(x, Tensor) else x.read(rows)).numpy()


def outside(where: object, tally: Tally, span: tuple[float, float], which: str = "") -> tuple[str, ...]:
    """Say how many values are outside the range that was given: as a warning, and as a note.

    Args:
        where: what the values are of.
        tally: of each picture, the values outside and all.
        span: the range.
        which: which of the pictures were counted, where not all were.
    """
    count, total = (sum(one[i] for one in tally) for i in (0, 1))
    if not count:
        return ()
    which = f" {which}" if which else ""
    low, high = span
    warn(f"{count:,} of {total:,} values{which} of {where} are outside {low:g} … {high:g} and become the nearer end")
    return (f"{count:,} of {total:,} values{which} outside set to the ends",)
