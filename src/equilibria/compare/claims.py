"""Which worker does what: a claim is a file in ``claims/``, which names its process and is touched while it works.

Workers may be on several machines that share a file system. Every change of a claim is made under one lock
(`filelock <https://py-filelock.readthedocs.io>`_), so each block has one claim at most. A claim is dead if its process
has ended on this machine, or if it has not been touched for two minutes by the clock of the file system.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from filelock import FileLock

from ..base.records import parsed, written
from ..training import disk

FOLDER = "claims"
BEAT = 10.0
"""Seconds between two touches of a claim."""
DEAD = 120.0
"""Seconds without a touch after which a claim of another machine is dead."""


@dataclass(frozen=True)
class Holder:
    """Who holds a claim.

    Attributes:
        pid: the process.
        begun: when the process began, in the clock ticks of its machine; empty where that is not known.
        host: its machine, for messages.
        place: identifies the processes among which ``pid`` is one: boot and process namespace.
        token: unique for each claim.
    """

    pid: int
    begun: str
    host: str
    place: str
    token: str

    @classmethod
    def here(cls) -> Holder:
        """This process, with a new token."""
        return cls(os.getpid(), _begun(os.getpid()), socket.gethostname(), _place(), secrets.token_hex(8))

    @property
    def ended(self) -> bool:
        """Whether its process is known to have ended: it was here, and is not here any more."""
        return self.place == _place() and not (_runs(self.pid) and _begun(self.pid) == self.begun)


class Claims:
    """The claims of a comparison.

    Args:
        folder: of the comparison.

    Examples:
        >>> import tempfile
        >>> claims = Claims(Path(tempfile.mkdtemp()))
        >>> with claims.held("a") as mine, claims.held("a") as again:
        ...     mine, again
        (True, False)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER
        disk.make_folder(self.folder)
        self._lock = FileLock(self.folder / ".lock")

    @contextmanager
    def held(self, name: str) -> Iterator[bool]:
        """Claim a block; False if another live worker has it. The claim ends with the context, or with the process."""
        token = self._taken(name)
        if token is None:
            yield False
            return
        ended = threading.Event()
        beating = threading.Thread(target=self._beat, args=(name, ended), daemon=True)
        beating.start()
        try:
            yield True
        finally:
            ended.set()
            beating.join()
            with self._lock:
                holder = self.holder(name)
                if holder is not None and holder.token == token:
                    self._file(name).unlink(missing_ok=True)

    def holder(self, name: str) -> Holder | None:
        """Who holds a block; None if nobody does or the claim cannot be read."""
        try:
            values = parsed(self._file(name).read_bytes())
            return Holder(int(values["pid"]), *(str(values[key]) for key in ("begun", "host", "place", "token")))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def alive(self, name: str) -> bool:
        """Whether a live worker holds a block."""
        holder = self.holder(name)
        if holder is None or holder.ended:
            return False
        return holder.place == _place() or self._age(name) < DEAD

    def _taken(self, name: str) -> str | None:
        with self._lock:
            if self.alive(name):
                return None
            mine = Holder.here()
            disk.write_atomically(self._file(name), written(asdict(mine)))
            return mine.token

    def _beat(self, name: str, ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            with suppress(OSError):
                os.utime(self._file(name))

    def _age(self, name: str) -> float:
        """Seconds since the last touch, by the clock of the file system."""
        probe = self.folder / f".now-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            probe.touch()
            return probe.stat().st_mtime - self._file(name).stat().st_mtime
        except OSError:
            return 0.0
        finally:
            probe.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"


@cache
def _place() -> str:
    """The boot of this machine and the namespace of this process; the host's name where there is no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _runs(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is another user's
    return _stat(pid)[:1] != ["Z"]


def _begun(pid: int) -> str:
    """When a process began, in clock ticks since the boot; empty where that is not known."""
    return "".join(_stat(pid)[19:20])


def _stat(pid: int) -> list[str]:
    """What /proc says of a process, from its state on; empty without one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
