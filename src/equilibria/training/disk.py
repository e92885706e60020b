"""Atomic file writes: a crash leaves the old file or the new file, never a part of one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..base.errors import RunError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EROFS, errno.EPERM}
_NOWHERE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name, sync it, and rename it.

    Raises:
        RunError: the disk is full or cannot be written; the old file at ``path`` is unchanged.
    """
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    raw = content.encode() if isinstance(content, str) else content
    try:
        with open(temporary, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        _forget(temporary)
        raise disk_error(error, path) from error


def make_folder(path: Path) -> None:
    """Make a folder and its parents; their names survive a power failure.

    Raises:
        RunError: it cannot be made.
    """
    try:
        new = [one for one in (path, *path.parents) if not one.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for one in new:
            sync(one.parent)
    except OSError as error:
        raise disk_error(error, path) from error


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to the disk, so that they survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_leftovers(folder: Path) -> None:
    """Delete the temporary files of processes that have ended."""
    for path in folder.glob(".tmp-*"):
        pid = path.name.rpartition("-")[2]
        if not pid.isdecimal() or not _alive(int(pid)):
            _forget(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def disk_error(error: OSError, path: Path) -> RunError:
    """The error for a file that cannot be written: the cause in one line, and a fix."""
    if error.errno in _FULL:
        return RunError(f"no space left on the device while writing {path}", "free some space, then resume the run")
    if error.errno in _FORBIDDEN:
        return RunError(f"{path} cannot be written (read-only or no permission)", "choose a folder that can be written")
    if error.errno in _NOWHERE:
        return RunError(f"{path} cannot be written: {error.strerror}", f"check the path; its folder is {path.parent}")
    return RunError(f"{path} cannot be written: {error.strerror or error}", "check the disk, then resume the run")


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the error of the write is the one that is reported
