"""Original files of data sets: found in a folder, read within bounds, and recognised by checksums and statistics."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..base.errors import DataError

__all__ = ["MOST", "check_digests", "check_set", "file_bytes", "find_file", "idx_array"]

MOST = 1 << 28
"""Bytes of one original file, unpacked: the largest has 47 million."""


def find_file(folder: Path, name: str) -> Path:
    """The file of this name, gzipped or with a dot for its second dash, anywhere under the folder.

    Raises:
        DataError: there is none.
    """
    dotted = name.replace("-idx", ".idx")
    for wanted in (name, dotted, f"{name}.gz", f"{dotted}.gz"):
        for path in sorted(folder.rglob(wanted)):
            if path.is_file():
                return path
    raise DataError(f"no file {name} under {folder}", "give the folder or archive that holds the original files")


def file_bytes(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is gzipped.

    Raises:
        DataError: it cannot be read, or it is larger than any original file.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw: bytes = file.read(MOST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error})", "download it again") from error
    if len(raw) > MOST:
        raise DataError(f"{path} holds more than {MOST >> 20} MB, and no file of these sets does", "download it again")
    return raw


def idx_array(folder: Path, name: str) -> np.ndarray:
    """The array of a file of bytes in LeCun's IDX format, whose name says how many axes it has.

    Raises:
        DataError: there is no such file, or it is damaged.
    """
    raw = file_bytes(find_file(folder, name))
    axes = raw[3] if len(raw) > 3 and raw[:3] == b"\0\0\x08" else 0  # two zeros, type 8 (uint8), number of axes
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
    if axes != int(name[name.index("idx") + 3]) or len(raw) != 4 + 4 * axes + math.prod(shape) or 0 in shape:
        raise DataError(f"{name} is damaged: {len(raw)} bytes, shape {shape}", "download it again")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def check_digests(folder: Path, digests: Mapping[str, str]) -> None:
    """Refuse a file that differs in a single bit from the published one.

    Args:
        folder: where the files are.
        digests: by file name, the SHA-256 of its bytes, unpacked, in 64 hexadecimal digits.

    Raises:
        DataError: a file is missing, or has another checksum.
    """
    for file, expected in digests.items():
        path = find_file(folder, file)
        found = hashlib.sha256(file_bytes(path)).hexdigest()
        if found != expected:
            raise DataError(f"{path} has sha256 {found}, not {expected}", "give the original files")


def check_set(name: str, arrays: Mapping[str, np.ndarray], mean: tuple[float, ...]) -> None:
    """Compare the mean of the training pixels over 255 to the four digits that it is known by, and the labels.

    Raises:
        DataError: they are those of other data.
    """
    found = arrays["x_train"].mean(axis=(0, 2, 3), dtype=np.float64) / 255.0
    if len(found) != len(mean) or not np.allclose(found, mean, atol=6e-5, rtol=0):
        raise DataError(f"the pixels of {name} have mean {found.round(4).tolist()}, not {mean}", "give the original")
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if len(x) != len(y) or sorted(set(y.tolist())) != list(range(10)):
            raise DataError(f"the {part} labels of {name} do not fit its images", "give the original files")
