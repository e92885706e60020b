"""Emoji as two vendors draw them: aligned pairs for image-to-image games.

Many differ only in a skin tone, and rows are held out at random: a held-out emoji may have near twins in training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...base.errors import DataError
from ..images import as_array, stacked
from ..options import DataOptions
from .base import Fetch, Named, cached

__all__ = ["SETS"]


@dataclass(frozen=True)
class EmojiFiles(Fetch):
    """Folders ``google/64`` and ``twitter/64`` of PNG files with equal names; a pair is two files of one name.

    Attributes:
        commands: as in :class:`Fetch`.
        digests: by vendor, the SHA-256 of the list that ``sha256sum`` prints of its files in the order of their names:
            of each file its SHA-256, two spaces, its name, a line feed.
    """

    commands: tuple[tuple[str, ...], ...] = (
        ("npm", "pack", "emoji-datasource-google@16.0.0"),
        ("npm", "pack", "emoji-datasource-twitter@16.0.0"),
    )
    digests: tuple[tuple[str, str], ...] = (
        ("google", "209787cb69ba6364f5d794341b516d8302929497cdcf1e01ad4b65005d6b4de1"),
        ("twitter", "02ee9a4e5fac8c82b5c6e55023e71f092fb52f856ba73eebf6f2d42195da2001"),
    )

    def arrays(self, folder: Path) -> Mapping[str, np.ndarray]:
        found = {vendor: self._files(folder, vendor, digest) for vendor, digest in self.digests}
        (first, one), (second, other) = found.items()
        if [path.name for path in one] != [path.name for path in other]:
            raise DataError(f"the emoji of {first} and {second} have different names", "download both again")
        return {"x": _pixels(one), "other": _pixels(other)}

    def _files(self, folder: Path, vendor: str, digest: str) -> list[Path]:
        files = sorted((p for p in folder.rglob(f"{vendor}/64/*.png") if p.is_file()), key=lambda p: p.name)
        if not files:
            raise DataError(f"no folder {vendor}/64 of PNG files under {folder}", "give the folder of both packages")
        known = hashlib.sha256()
        for path in files:
            known.update(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n".encode())
        if known.hexdigest() != digest:
            raise DataError(
                f"the {len(files)} emoji of {vendor} have sha256 {known.hexdigest()}, not {digest}",
                "give the original files",
            )
        return files


def _pixels(files: list[Path]) -> np.ndarray:
    """The pictures ``(n, 3, 64, 64)`` of bytes, on white where they are transparent."""
    from PIL import Image

    def opened(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            return as_array(image, DataOptions())

    return stacked((opened(path) for path in files), "the emoji")


SETS = (
    Named(
        name="emoji",
        about="3,786 aligned pairs of emoji, 64 x 64, colour on white: x as Google draws it, other as Twitter does",
        licence="x: Apache-2.0 (Noto Emoji); other: CC BY 4.0 (Twemoji)",
        read=cached("emoji"),
        fetch=EmojiFiles(),
    ),
)
