"""Checkpoints: named tensors and a few integers on disk, whole or not there at all. Nothing is unpickled.

``checkpoints/step-00012000/`` holds ``state.safetensors`` (everything :meth:`Play.tensors` names) and ``state.json``
(format, round, turn, and the SHA-256 of the tensors). A checkpoint is written under a temporary name, synced, and
renamed, so a crash at any moment leaves the earlier ones as they were.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import RunError
from ..play import Play

FORMAT = 1


@dataclass(frozen=True)
class Saved:
    """A checkpoint read back: its tensors, its round and turn, and seconds trained until then."""

    path: Path
    tensors: dict[str, Tensor]
    round: int
    turn: int
    seconds: float


def save(play: Play, folder: Path, keep: int = 3, seconds: float = 0.0) -> Path:
    """Write a checkpoint of ``play`` into ``folder`` and drop all but the newest ``keep``.

    Raises:
        RunError: the disk is full or cannot be written; earlier checkpoints are untouched.
    """
    name = f"step-{play.round:08d}"
    final, temporary = folder / name, folder / f".tmp-{name}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(folder)
        temporary.mkdir()
        tensors = {k: v.contiguous().cpu() for k, v in play.tensors().items()}
        save_file(tensors, temporary / "state.safetensors")
        _sync(temporary / "state.safetensors")
        state = {
            "format": FORMAT,
            "round": play.round,
            "turn": play.turn,
            "seconds": round(seconds, 3),
            "sha256": _digest(temporary / "state.safetensors"),
        }
        write_atomically(temporary / "state.json", json.dumps(state, indent=1))
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
        _sync(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise disk_error(error, final) from error
    except SafetensorError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise disk_error(OSError(_errno_of(error), str(error)), final) from error
    for old in listed(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def newest(folder: Path) -> Saved | None:
    """The newest whole checkpoint of a folder, or None. A damaged one is skipped with a warning.

    Raises:
        RunError: a checkpoint was written by a newer version.
    """
    for path in reversed(listed(folder)):
        try:
            return read(path)
        except DamagedError as damage:
            warnings.warn(f"checkpoint {path} is damaged ({damage}); using the one before it", stacklevel=2)
    return None


class DamagedError(Exception):
    """A checkpoint that is not what was written."""


def read(path: Path) -> Saved:
    """Read one checkpoint.

    Raises:
        DamagedError: it is truncated, edited, or not a checkpoint.
        RunError: it was written by a newer version.
    """
    try:
        state: dict[str, Any] = json.loads((path / "state.json").read_text())
        version, play_round, turn = int(state["format"]), int(state["round"]), int(state["turn"])
        digest, seconds = str(state["sha256"]), float(state.get("seconds", 0.0))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"state.json: {error}") from error
    if version > FORMAT:
        raise RunError(f"{path} has format {version}; this version reads up to {FORMAT}", "upgrade equilibria")
    file = path / "state.safetensors"
    if not file.exists():
        raise DamagedError("state.safetensors is missing")
    if _digest(file) != digest:
        raise DamagedError("state.safetensors does not match its checksum")
    try:
        return Saved(path, load_file(file), play_round, turn, seconds)
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(str(error)) from error


def listed(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name.startswith("step-"))


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a crash leaves the old one or the new one, never half of it."""
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, path) from error


def disk_error(error: OSError, path: Path) -> RunError:
    """The one line a user needs when a file cannot be written."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return RunError(f"no space left on the device while writing {path}", "free some space, then resume the run")
    if error.errno in {errno.EACCES, errno.EROFS, errno.EPERM}:
        return RunError(f"{path} cannot be written (read-only or no permission)", "choose another --out folder")
    return RunError(f"{path} cannot be written: {error.strerror or error}", "check the disk, then resume the run")


def _errno_of(error: Exception) -> int:
    text = str(error).lower()
    return errno.ENOSPC if "no space" in text or "storagefull" in text else errno.EIO


def _clear_leftovers(folder: Path) -> None:
    for path in folder.glob(".tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
