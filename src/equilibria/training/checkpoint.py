"""Checkpoints: named tensors and a few integers on disk, complete or absent. Nothing is unpickled.

``checkpoints/step-00012000/`` holds ``state.safetensors`` (all tensors of :meth:`Play.tensors`) and ``state.json``
(format, round, turn, and a SHA-256 over the tensors and those two). A checkpoint is written under a temporary name,
synced, and renamed; before it is deleted it is renamed again. So a crash at any moment leaves complete checkpoints
only.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..base.errors import RunError
from ..base.records import parsed, written
from ..core.play import Play
from . import disk

FORMAT = 1
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read: its tensors, its round and turn, and the training time until then in seconds."""

    path: Path
    tensors: dict[str, Tensor]
    round: int
    turn: int
    seconds: float


class DamagedError(Exception):
    """A checkpoint is truncated, changed or not a checkpoint."""


def save(
    play: Play, folder: Path, keep: int = 3, seconds: float = 0.0, beside: Sequence[Callable[[Path], None]] = ()
) -> Path:
    """Write a checkpoint of ``play`` into ``folder`` and delete all but the newest ``keep``.

    Each function in ``beside`` gets the checkpoint's folder and may write further files, which become part of it.

    Checkpoints of later rounds are damaged, otherwise the play would have continued from them. They are not deleted
    but renamed (:func:`set_aside`), and so is a damaged one of this round.

    Raises:
        RunError: the disk is full or cannot be written, or the run's folder is gone; earlier checkpoints are unchanged.
    """
    final = folder / f"step-{play.round:08d}"
    temporary = folder / f".tmp-{final.name}-{os.getpid()}"
    disk.make_subfolder(folder)
    try:
        _clear_leftovers(folder)
        temporary.mkdir()
        for leave in beside:
            leave(temporary)
        _write(play.tensors(), temporary, (play.round, play.turn), seconds)
        if final.exists():
            _make_way(final)
        temporary.rename(final)
        disk.sync(folder)
    except (OSError, RunError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise disk.disk_error(_cause(error), final) from error
    found = listed(folder)
    past = [path for path in found if round_of(path) <= play.round]
    for path in (*found[len(past) :], *past[:-keep]):
        with suppress(OSError):  # an extra checkpoint does no harm
            set_aside(path) if round_of(path) > play.round else _discard(path)
    return final


def set_aside(path: Path) -> Path:
    """Rename a checkpoint to ``damaged-step-…``, so that it is kept and never read again; returns its new place."""
    name, count = f"damaged-{path.name}", 2
    while (place := path.with_name(name)).exists():
        name, count = f"damaged-{path.name}-{count}", count + 1
    return path.rename(place)


def _make_way(path: Path) -> None:
    """Delete a whole checkpoint, whose round is about to be written again; one that is not whole is kept aside."""
    try:
        read(path)
    except (DamagedError, RunError):
        set_aside(path)
    else:
        _discard(path)


def newest(folder: Path) -> Saved | None:
    """The newest complete checkpoint of a folder, or None. A damaged one is skipped with a warning.

    One that cannot be read now (no permission, a disk or a share that fails) may be whole, so it is not skipped.

    Raises:
        RunError: a checkpoint was written by a newer version, or cannot be read now.
    """
    skipped: set[Path] = set()
    while left := [path for path in listed(folder) if path not in skipped]:
        try:
            return read(left[-1])
        except DamagedError as damage:
            skipped.add(left[-1])
            if left[-1].exists():  # otherwise the run that is training here has just deleted it
                warnings.warn(f"checkpoint {left[-1]} is damaged ({damage}); using the one before it", stacklevel=2)
    return None


def read(path: Path) -> Saved:
    """Read one checkpoint.

    Raises:
        DamagedError: it is truncated, changed, or not a checkpoint.
        RunError: it was written by a newer version, or cannot be read now.
    """
    try:
        state: dict[str, Any] = parsed((path / "state.json").read_bytes())
        version, play_round, turn = int(state["format"]), int(state["round"]), int(state["turn"])
        digest, seconds = str(state["sha256"]), float(state.get("seconds", 0.0))
    except OSError as error:
        raise _not_read(error, path) from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DamagedError(f"state.json: {type(error).__name__}: {error}") from error
    if version > FORMAT:
        raise RunError(f"{path} has format {version}; this version reads up to {FORMAT}", "upgrade equilibria")
    if play_round != round_of(path):
        raise DamagedError(f"state.json is that of round {play_round}")
    file = path / "state.safetensors"
    try:
        if _digest(file, play_round, turn) != digest:
            raise DamagedError("its content does not match its checksum")
        return Saved(path, load_file(file), play_round, turn, seconds)
    except OSError as error:
        raise _not_read(error, path) from error
    except (SafetensorError, ValueError) as error:
        raise DamagedError(f"state.safetensors: {error}") from error


def _not_read(error: OSError, path: Path) -> DamagedError | RunError:
    """A part that is missing makes a checkpoint a damaged one; any other error says nothing about its content."""
    if disk.is_missing(error):
        return DamagedError(f"{Path(str(error.filename)).name} is missing")
    return disk.read_error(error, path)


def drop(folder: Path, beyond: int) -> None:
    """Delete the checkpoints of rounds after ``beyond``, newest first.

    Raises:
        RunError: one cannot be deleted.
    """
    for path in reversed(listed(folder)):
        if round_of(path) > beyond:
            try:
                _discard(path)
            except OSError as error:
                raise disk.disk_error(error, path) from error


def listed(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if p.is_dir() and _NAME.fullmatch(p.name)), key=round_of)


def round_of(path: Path) -> int:
    """The round in a checkpoint's name; -1 if the name is not that of a checkpoint."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def save_weights(play: Play, final: Path, beside: Mapping[str, str]) -> None:
    """Write the parameters, buffers and averages of a play as a folder, whole or not at all.

    Args:
        play: the play.
        final: the folder; one that is there is replaced.
        beside: further files by name, and what is in them.

    Raises:
        RunError: the disk is full or cannot be written, or the run's folder is gone.
    """
    temporary = final.with_name(f".tmp-{final.name}-{os.getpid()}")
    disk.make_subfolder(final.parent)
    try:
        _clear_leftovers(final.parent)
        temporary.mkdir()
        for name, text in beside.items():
            disk.write_atomically(temporary / name, text)
        _write(_weights(play.tensors()), temporary, (play.round, play.turn), 0.0)
        if final.exists():
            _discard(final)
        temporary.rename(final)
        disk.sync(final.parent)
    except (OSError, RunError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise disk.disk_error(_cause(error), final) from error


def _weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without optimisers and rule memory."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith(("game/", "ema/"))}


def write_weights(saved: Saved, folder: Path) -> Path:
    """Write the parameters, buffers and averages of a checkpoint into ``folder``, without optimisers and rule memory.

    Raises:
        RunError: the disk is full or cannot be written.
    """
    final = folder / f"step-{saved.round:08d}"
    try:
        disk.make_folder(final)
        _write(_weights(saved.tensors), final, (saved.round, saved.turn), saved.seconds)
    except OSError as error:
        raise disk.disk_error(error, final) from error
    return final


def _write(tensors: dict[str, Tensor], folder: Path, at: tuple[int, int], seconds: float) -> None:
    """Write named tensors with the round and the turn that they are of."""
    file = folder / "state.safetensors"
    disk.write_tensors(_unshared(tensors), file)
    state = {
        "format": FORMAT,
        "round": at[0],
        "turn": at[1],
        "seconds": round(seconds, 3),
        "sha256": _digest(file, *at),
    }
    disk.write_atomically(folder / "state.json", written(state, indent=1))
    disk.sync(folder)


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, each with its own memory, as safetensors requires."""
    taken: set[int] = set()
    own: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        there = tensor.contiguous().cpu()
        start = there.untyped_storage().data_ptr()
        own[name] = there.clone() if start in taken else there
        taken.add(start)
    return own


def _cause(error: OSError | RunError) -> OSError:
    """The error of the file system behind an error of ours."""
    if isinstance(error, OSError):
        return error
    return error.__cause__ if isinstance(error.__cause__, OSError) else OSError(errno.EIO, str(error))


def _discard(path: Path) -> None:
    """Delete a checkpoint; it is renamed first, so that a partly deleted one is not taken for a checkpoint."""
    gone = path.with_name(f".tmp-gone-{path.name}-{os.getpid()}")
    path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _clear_leftovers(folder: Path) -> None:
    for path in folder.glob(".tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


def _digest(path: Path, play_round: int, turn: int) -> str:
    """The SHA-256 of the tensors' file and, after it, of the two integers."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256")
    found.update(f"{play_round} {turn}".encode())
    return found.hexdigest()
