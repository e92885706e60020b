"""Samples that a run has stored: ``samples/step-00001000.npz`` and the picture beside it.

The array has the key ``x``; a game with several views has an array for each, under its name.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from ..base.errors import DataError
from ..data.files import stored

_NAME = re.compile(r"step-(\d{1,15})\.(npz|png)")
MOST_BYTES = 2**30
"""Of the arrays in a file that a run has stored, unpacked; compressed zeros are a thousandth of their size."""
_MOST_PIXELS = 50_000_000  # of a picture; a file of a few bytes may claim to be larger than the memory


@dataclass(frozen=True)
class Snapshot:
    """Samples of one round: as numbers, as a picture, or as both.

    Attributes:
        step: the round.
        arrays: the ``.npz``, or None.
        image: the ``.png``, or None.
    """

    step: int
    arrays: Path | None
    image: Path | None

    def array(self) -> NDArray[Any] | None:
        """The numbers; None where they are missing or damaged."""
        return load_array(self.arrays)

    def views(self) -> dict[str, NDArray[Any]]:
        """The numbers of a game with several views, by view; empty where they are damaged, or there is only one."""
        try:
            found = {} if self.arrays is None else stored(self.arrays, MOST_BYTES)
        except DataError:
            return {}
        return {} if "x" in found else {name: view for name, view in found.items() if _usable(view)}

    def picture(self) -> Image.Image | None:
        """The picture; None where it is missing or damaged."""
        return load_picture(self.image)


def listed(folder: Path) -> tuple[Snapshot, ...]:
    """The samples in a folder by round, in order."""
    found: dict[int, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if match := _NAME.fullmatch(file.name):
            found.setdefault(int(match[1]), {})[match[2]] = file
    return tuple(Snapshot(step, kinds.get("npz"), kinds.get("png")) for step, kinds in sorted(found.items()))


def load_array(file: Path | None) -> NDArray[Any] | None:
    """The numbers under ``x`` in an ``.npz``; None where they are missing or damaged."""
    try:
        array = None if file is None else stored(file, MOST_BYTES).get("x")
    except DataError:
        return None
    return array if array is not None and _usable(array) else None


def _usable(array: NDArray[Any]) -> bool:
    return bool(array.size) and array.dtype.kind in "fui"


def load_picture(file: Path | None) -> Image.Image | None:
    """The picture in a PNG file; None where it is missing or damaged."""
    if file is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=["PNG"]) as opened:
                return opened.convert("RGB") if opened.width * opened.height <= _MOST_PIXELS else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
