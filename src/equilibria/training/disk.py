"""Atomic file writes: a crash leaves the old file or the new file, never a part of one."""

from __future__ import annotations

import errno
import glob
import os
import re
import shlex
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..base.errors import RunError
from ..base.processes import alive

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EROFS, errno.EPERM}
_OLD = 3600.0  # seconds
_NOT_FOR_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EISDIR}
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


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors as a ``.safetensors`` file with the permissions of any new file, and sync it.

    Raises:
        OSError: the disk is full or cannot be written; a part of the file may be there.
    """
    path.touch()  # with the user's umask; safetensors itself would let the owner alone read it
    mode = stat.S_IMODE(path.stat().st_mode)
    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        raise _as_os_error(error) from error
    path.chmod(mode)
    sync(path)


def _as_os_error(error: SafetensorError) -> OSError:
    """The error of the file system, which safetensors reports as text that holds its number."""
    code = re.search(r"(?:os error|code:) (\d+)", str(error))
    return OSError(int(code[1]) if code else errno.EIO, str(error))


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


def make_subfolder(path: Path) -> None:
    """Make a folder in one that is there; a run's folder that was deleted is not made again.

    Raises:
        RunError: it cannot be made, or the folder around it is gone.
    """
    if not path.parent.is_dir():
        raise RunError(f"{path.parent} is gone: it was deleted or moved while it was in use", "start the run again")
    make_folder(path)


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to the disk, so that they survive a power failure.

    A system that has no such thing for folders (Windows, some network drives) keeps their names by itself.
    """
    folder = path.is_dir()
    if folder and not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not folder or error.errno not in _NOT_FOR_FOLDERS:
            raise
    finally:
        os.close(handle)


def clear_leftovers(folder: Path) -> None:
    """Delete the temporary files of processes that have ended, in a folder that this process alone may write."""
    for path in folder.glob(".tmp-*"):
        pid = path.name.rpartition("-")[2]
        if not pid.isdecimal() or not alive(int(pid)):
            _forget(path)


def clear_begun(path: Path) -> None:
    """Delete what killed processes left of a folder that they were about to make at ``path``.

    Only if it is older than an hour: a process of another machine may be making one.
    """
    for left in path.parent.glob(f".tmp-{glob.escape(path.name)}-*"):
        pid = left.name.rpartition("-")[2]
        if left.name == f".tmp-{path.name}-{pid}" and pid.isdecimal() and not alive(int(pid)):
            with suppress(OSError):
                if time.time() - left.lstat().st_mtime > _OLD:
                    _forget(left)


def irregular(folder: Path) -> Iterator[Path]:
    """What lies in a folder, at any depth, and is neither a plain file nor a folder: links, pipes, sockets, devices.

    Links are not followed. What another process deletes meanwhile is left out.
    """
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(where, name)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                yield path


def disk_error(error: OSError, path: Path) -> RunError:
    """The error for a file that cannot be written: the cause in one line, and a fix."""
    if error.errno in _FULL:
        return RunError(f"no space left on the device while writing {path}", "free some space, then resume the run")
    if error.errno in _FORBIDDEN:
        return RunError(f"{path} cannot be written (read-only or no permission)", "choose a folder that can be written")
    if error.errno in _NOWHERE:
        return RunError(f"{path} cannot be written: {error.strerror}", f"check the path; its folder is {path.parent}")
    return RunError(f"{path} cannot be written: {error.strerror or error}", "check the disk, then resume the run")


def is_missing(error: OSError) -> bool:
    """Whether a file is not there, as opposed to one that is there and cannot be read."""
    return isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError))  # safetensors sets no errno


def read_error(error: OSError, path: Path) -> RunError:
    """The error for a file that is there and cannot be read now: the cause in one line, and a fix."""
    why = error.strerror or str(error)
    if isinstance(error, PermissionError):
        return RunError(f"{path} cannot be read: {why}", f"chmod -R u+rX {shlex.quote(str(path))}")
    return RunError(f"{path} cannot be read now: {why}. It may be whole", "check the disk or the share, then try again")


def _forget(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return  # the error of the write is the one that is reported
