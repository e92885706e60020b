"""The lock of a run's folder: one process at a time trains in it.

`filelock <https://py-filelock.readthedocs.io>`_ holds ``RUN/.lock`` with a lock of the operating system, which is
released when the process ends, even by a kill. ``RUN/.lock.json`` names that process; it is read for messages only.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..base.errors import RunError
from ..base.records import parsed, written
from ..training import disk

LOCK, HOLDER = ".lock", ".lock.json"
_HOST = re.compile(r"[\w.-]{1,253}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a run's folder for writing, and delete incomplete files of processes that have ended.

    Raises:
        RunError: another process trains in this folder (the message names it), or the lock cannot be written.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with locked(folder):
        ...     held_by(folder) == (os.getpid(), socket.gethostname())
        True
    """
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise _taken(path) from error
    except OSError as error:
        raise disk.disk_error(error, path / LOCK) from error
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname()}
        disk.write_atomically(path / HOLDER, written(holder))
        for folder in (path, path / "samples", path / "stages"):
            disk.clear_leftovers(folder)
        yield
    finally:
        with suppress(OSError):
            (path / HOLDER).unlink(missing_ok=True)
        lock.release()


def held_by(path: Path) -> tuple[int, str] | None:
    """The process id and host that ``.lock.json`` names; None if there is none or it is damaged.

    The file says nothing about whether the lock is held: a process that was killed leaves it behind.
    """
    try:
        values = parsed((path / HOLDER).read_bytes())
        pid, host = values["pid"], values["host"]
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None
    valid = type(pid) is int and 0 < pid < 2**31 and isinstance(host, str) and _HOST.fullmatch(host)
    return (pid, host) if valid else None


def _taken(path: Path) -> RunError:
    holder, what = held_by(path), f"another process is training in {path}"
    if holder is None:
        return RunError(what, "wait until it has ended")
    pid, host = holder
    if host == socket.gethostname():
        return RunError(f"{what}: process {pid} on {host}", f"wait until it has ended, or stop it: kill {pid}")
    return RunError(f"{what}: process {pid} on {host}", f"wait until it has ended, or stop it: ssh {host} kill {pid}")
