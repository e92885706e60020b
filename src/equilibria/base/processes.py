"""Processes of this machine: whether one runs, folders that go with one, and workers that end with their launcher."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "equilibria-"
_GRACE = 60.0  # seconds for a checkpoint, after the launcher has ended


def alive(pid: int) -> bool:
    """Whether a process with this id runs on this machine.

    Examples:
        >>> alive(os.getpid()), alive(2**60)
        (True, False)
    """
    if sys.platform == "win32":
        return _alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _alive_on_windows(pid: int) -> bool:
    """There, ``os.kill`` with 0 would send Ctrl-C."""
    import ctypes

    query, still_active = 0x1000, 259
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
    handle = kernel.OpenProcess(query, False, pid & 0xFFFFFFFF)
    code = ctypes.c_ulong()
    found = bool(handle) and bool(kernel.GetExitCodeProcess(handle, ctypes.byref(code)))
    kernel.CloseHandle(handle)
    return found and code.value == still_active


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder for the length of the block; folders that killed processes have left are deleted as well.

    Examples:
        >>> with temporary_folder() as folder:
        ...     folder.is_dir()
        True
        >>> folder.exists()
        False
    """
    place = Path(tempfile.gettempdir())
    for left in place.glob(f"{_PREFIX}*-*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not left.is_symlink() and not alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)  # what another user has left stays
    made = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def end_with_launcher(folder: str | None = None) -> None:
    """Stop this process when its launcher has ended, however: its standard input is a pipe that the launcher holds.

    The process gets SIGTERM, so that a run writes a checkpoint, and is ended if it has not stopped a minute later.

    Args:
        folder: a temporary folder of the launcher's, deleted in its place.
    """
    launcher = os.getppid()

    def forget() -> None:
        if folder is not None and (os.getppid() != launcher or not alive(launcher)):
            shutil.rmtree(folder, ignore_errors=True)

    def wait() -> None:
        while os.read(0, 1):  # nothing is ever written: it returns when the other end is closed
            pass
        if signal.getsignal(signal.SIGTERM) in {signal.SIG_DFL, None}:
            forget()  # the signal ends the process at once
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        forget()
        os._exit(1)

    atexit.register(forget)
    threading.Thread(target=wait, daemon=True).start()
