"""Files inside a ``.zip``, read without unpacking it: ``photos.zip/cat/1.png`` is a path like any other.

Nothing is written to the disk, and names in an archive are never followed outside it. An archive is guarded against
bombs: a file in it may have at most 256 MB unpacked, entries may not overlap, and only one file at a time is in memory
for each thread that decodes.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..base.errors import DataError

__all__ = ["exists", "files_in", "is_archive", "is_file", "open_file", "read_bytes", "size_of", "within"]

MOST = 1 << 28
"""Bytes of one file in an archive, unpacked."""


class _Archive(NamedTuple):
    file: zipfile.ZipFile
    names: dict[str, zipfile.ZipInfo]  # of files, with slashes
    folders: frozenset[str]


def is_archive(path: Path) -> bool:
    """Whether the path is a ``.zip``, by its content; ``.npz`` files, which are zips too, are none.

    Examples:
        >>> is_archive(Path(__file__))
        False
    """
    if path.suffix.lower() == ".npz" or not path.is_file():
        return False
    facts = path.stat()
    return _is_zip(str(path), facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=64)
def _is_zip(path: str, changed: int, size: int) -> bool:
    return zipfile.is_zipfile(path)


def within(path: Path) -> tuple[Path, str] | None:
    """The archive that a path leads into, and the rest of the path; None for any other path.

    Examples:
        >>> within(Path("photos/1.png")) is None
        True
    """
    for parent in (path, *path.parents):
        if parent.is_file():
            return (parent, path.relative_to(parent).as_posix()) if is_archive(parent) else None
        if parent.is_dir():
            return None
    return None


def exists(path: Path) -> bool:
    """Whether there is such a file or folder, on the disk or in an archive."""
    if path.exists():
        return True
    place = within(path)
    return place is not None and (place[1] in _opened(place[0]).names or place[1] in _opened(place[0]).folders)


def is_file(path: Path) -> bool:
    """Whether it is a file, on the disk or in an archive; an archive is taken for a folder."""
    if path.is_file():
        return not is_archive(path)
    place = within(path)
    return place is not None and place[1] in _opened(place[0]).names


def files_in(folder: Path) -> Iterator[Path]:
    """The files of an archive, or of a folder in it, in the archive's order.

    Raises:
        DataError: the archive is damaged, or guarded against.
    """
    place = within(folder)
    assert place is not None
    archive, inner = place
    start = "" if inner == "." else f"{inner}/"
    for name in _opened(archive).names:
        if name.startswith(start):
            yield archive / name


def open_file(path: Path) -> BinaryIO:
    """The file opened to be read, on the disk or in an archive.

    Raises:
        DataError: it is in an archive, and damaged, encrypted or larger than :data:`MOST`.
        OSError: it cannot be read.
    """
    try:
        return path.open("rb")
    except (NotADirectoryError, FileNotFoundError):
        place = within(path)
        if place is None:
            raise
    return io.BytesIO(_unpacked(*place))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; errors as of :func:`open_file`."""
    with open_file(path) as file:
        return file.read()


def size_of(path: Path) -> int:
    """The bytes of a file, unpacked."""
    place = None if path.is_file() else within(path)
    return path.stat().st_size if place is None else _entry(*place).file_size


def _opened(path: Path) -> _Archive:
    facts = path.stat()
    return _directory(str(path), facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=8)
def _directory(path: str, changed: int, size: int) -> _Archive:
    """The list of an archive, read once for each state of it."""
    try:
        file = zipfile.ZipFile(path)
    except Exception as error:  # a parser of hostile bytes may raise anything
        raise DataError(f"{path} cannot be read as a zip ({error})", "download it again") from error
    names: dict[str, zipfile.ZipInfo] = {}
    for info in file.infolist():
        name = info.filename.replace("\\", "/").strip("/")
        parts = name.split("/")
        if not name or ".." in parts or info.is_dir():  # is_dir fails of an empty name
            continue
        names["/".join(part for part in parts if part not in ("", "."))] = info
    if sum(info.compress_size for info in names.values()) > size:
        raise DataError(f"the entries of {path} overlap, as in a zip bomb", "give an archive that a common tool made")
    folders = {"."} | {name.rsplit("/", k)[0] for name in names for k in range(1, name.count("/") + 1)}
    return _Archive(file, names, frozenset(folders))


def _entry(archive: Path, name: str) -> zipfile.ZipInfo:
    found = _opened(archive).names.get(name)
    if found is None:
        raise FileNotFoundError(2, "no such file in the archive", str(archive / name))
    return found


def _unpacked(archive: Path, name: str) -> bytes:
    info = _entry(archive, name)
    if info.file_size > MOST:
        raise DataError(
            f"{archive / name} has {info.file_size:,} bytes unpacked, more than {MOST:,}", "unpack the archive yourself"
        )
    if info.flag_bits & 1:
        raise DataError(f"{archive / name} is encrypted", "unpack the archive, and give its folder")
    try:
        with _opened(archive).file.open(info) as file:
            return file.read(MOST)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, ValueError) as error:
        raise DataError(f"{archive / name} cannot be unpacked ({error})", "download the archive again") from error
