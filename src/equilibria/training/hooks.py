"""Hooks that observe a run while it trains: the log, the checkpoints, and the samples."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base.errors import EquilibriaError, ShapeError
from ..base.records import parsed, written
from ..core.game import Loss
from ..core.play import Play
from . import checkpoint, disk

DIVERGED = "diverged"
"""The key of a logged row that says what was not finite, where no loss in the log is."""
_NOT_FINITE = {"nan", "inf", "-inf"}
_TAIL = 2**16  # bytes at the end of a log that hold its last rows
_LAST_STEP = 2**53  # integers below it are exact as a float as well


class Log:
    """Appends one JSON object per logged round to ``metrics.jsonl``: step, losses and their parts.

    The numbers do not depend on the clock, so a resumed run writes the same lines.

    Raises:
        EquilibriaError: from ``look``, when a loss is not finite; the last checkpoint is from before.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every
        self.latest: dict[str, Any] = {}
        self.listeners: list[Callable[[dict[str, Any]], None]] = []

    def due(self, step: int) -> bool:
        return step % self.every == 0 or step == 1

    def look(self, play: Play, losses: dict[str, Loss]) -> None:
        row = {"step": play.round, **flat(losses)}
        self.latest = row
        self.write(row)
        for name, value in row.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise _diverged(f"{name} is {value}", play.round)

    def write(self, row: dict[str, Any]) -> None:
        """Append a row and pass it to the listeners."""
        try:
            with open(self.path, "a", encoding="utf-8", newline="\n") as file:
                file.write(written(row) + "\n")
        except OSError as error:
            raise disk.disk_error(error, self.path) from error
        for listener in self.listeners:
            listener(row)

    def sync(self) -> None:
        """Sync the rows to the disk: no checkpoint may survive a crash that loses earlier rows."""
        try:
            if self.path.exists():
                disk.sync(self.path)
        except OSError as error:
            raise disk.disk_error(error, self.path) from error

    def close(self, play: Play) -> None: ...


def _diverged(what: str, at: int) -> EquilibriaError:
    return EquilibriaError(
        f"{what} at round {at}: the run has diverged",
        "lower the learning rate, or raise the penalty; earlier checkpoints are kept",
    )


def flat(losses: dict[str, Loss]) -> dict[str, float | list[float]]:
    """Losses and parts as plain numbers; those of an ensemble as lists, one number per member."""
    row: dict[str, float | list[float]] = {}
    for player, loss in losses.items():
        row[f"loss/{player}"] = plain(loss.total)
        row.update({name: plain(value) for name, value in loss.parts.items()})
    return row


def plain(value: Tensor) -> float | list[float]:
    """A tensor as a number or a list of numbers."""
    found: float | list[float] = value.double().cpu().tolist()
    return found


def parse_rows(raw: bytes) -> tuple[dict[int, dict[str, Any]], list[int]]:
    """The rows of a log by the number of their line (from 1), and the numbers of the lines that cannot be read.

    A row is a JSON object with a whole ``step`` from 0 on. An incomplete last line is
    being written, or its process was killed: it is in neither result. A number that is not finite is a text in the file
    (:func:`~equilibria.base.records.written`) and a float in a row.

    Examples:
        >>> parse_rows(b'{"step": 1, "loss/generator": 0.7}\\nnonsense\\n{"step": 2, "lo')
        ({1: {'step': 1, 'loss/generator': 0.7}}, [2])
        >>> parse_rows(b'{"step": 1, "loss/generator": "nan"}\\n')[0][1]
        {'step': 1, 'loss/generator': nan}
    """
    rows: dict[int, dict[str, Any]] = {}
    damaged = []
    lines = raw.split(b"\n")
    for i, line in enumerate(lines, 1):
        try:
            row = parsed(line)
            if type(row["step"]) is not int or not 0 <= row["step"] < _LAST_STEP:
                raise ValueError(row["step"])
        except (ValueError, TypeError, KeyError, IndexError):
            if line.strip() and i < len(lines):
                damaged.append(i)
            continue
        rows[i] = {name: _number(value) for name, value in row.items()}
    return rows, damaged


def _number(value: Any) -> Any:
    """The number that stands as a text in a log, by itself or in a list; any other value as it is."""
    if isinstance(value, list):
        return [_number(one) for one in value]
    return float(value) if isinstance(value, str) and value in _NOT_FINITE else value


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log in order; torn and damaged lines are left out, and a file that is not there has none.

    Raises:
        RunError: it is there and cannot be read now.
    """
    try:
        return list(parse_rows(path.read_bytes())[0].values())
    except OSError as error:
        if disk.is_missing(error):
            return []
        raise disk.read_error(error, path) from error


def divergence(path: Path) -> tuple[int, str] | None:
    """The round at which a run diverged, by the last rows of its log, and what was not finite; None if it did not.

    Examples:
        >>> import tempfile
        >>> log = Path(tempfile.mkdtemp()) / "metrics.jsonl"
        >>> _ = log.write_text('{"step": 1, "loss/generator": 0.7}\\n{"step": 2, "loss/generator": "inf"}\\n')
        >>> divergence(log)
        (2, 'loss/generator is inf')
    """
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            rows = list(parse_rows(file.read())[0].values())
    except OSError:
        return None
    for row in reversed(rows):
        if DIVERGED in row:
            return row["step"], str(row[DIVERGED])
        broken = [name for name, v in row.items() if isinstance(v, float) and not math.isfinite(v)]
        if any(name.startswith("loss/") for name in row):
            return (row["step"], f"{broken[0]} is {row[broken[0]]}") if broken else None
    return None


def cut_rows(path: Path, step: int) -> None:
    """Drop the rows after ``step``: they will be written again by the resumed run.

    Raises:
        RunError: the log cannot be read now, or not be written; it is as it was.
    """
    kept = [written(row) for row in read_rows(path) if row["step"] <= step]
    disk.write_atomically(path, "".join(line + "\n" for line in kept))


class Checkpoints:
    """Saves the play at regular rounds.

    Args:
        folder: for the checkpoints.
        every: rounds between two checkpoints.
        keep: how many are kept.
        log: synced to the disk before each checkpoint; gets a row that says so if the run has diverged.
        resumed: the checkpoint from which the play continues.

    Attributes:
        first: functions called before each checkpoint, to sync files that must not be older than it.
        beside: functions called with the folder of each new checkpoint before it is complete, to add files to it.

    Raises:
        EquilibriaError: from ``look``, when a parameter is not finite: such a checkpoint would replace a useful one.
    """

    def __init__(self, folder: Path, every: int, keep: int, log: Log, resumed: checkpoint.Saved | None = None) -> None:
        self.folder, self.every, self.keep, self.log = folder, every, keep, log
        self.first: list[Callable[[], None]] = [log.sync]
        self.beside: list[Callable[[Path], None]] = []
        self.saved = resumed.round if resumed else -1
        self.before, self.started = resumed.seconds if resumed else 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds trained, over all sessions of the run."""
        return self.before + max(0.0, time.monotonic() - self.started)

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def look(self, play: Play, losses: dict[str, Loss]) -> None:
        if self.saved != play.round:
            self._refuse_diverged(play)
            for call in self.first:
                call()
            checkpoint.save(play, self.folder, self.keep, self.seconds, self.beside)
            self.saved = play.round

    def _refuse_diverged(self, play: Play) -> None:
        if play.game.seeds:
            return  # members of an ensemble diverge each by itself, and the others train on
        for name, parameter in play.game.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                what = f"the parameter {name} is not finite"
                self.log.write({"step": play.round, DIVERGED: what})
                raise _diverged(what, play.round)

    def close(self, play: Play) -> None: ...


class Samples:
    """Stores the views of a game at regular rounds, from the same latent codes each time, and a picture of them.

    Args:
        folder: where ``step-00001000.npz`` (:func:`packed_views`) and the PNG beside it go.
        every: rounds between two samples.
        draw: makes the stored views from the play.
        picture: draws the PNG of a play's views.
        kind: the type that the numbers are stored as.
    """

    def __init__(
        self,
        folder: Path,
        every: int,
        draw: Callable[[Play], Mapping[str, Tensor]],
        picture: Callable[[Play, Mapping[str, Tensor]], bytes],
        kind: type[np.floating[Any]] = np.float32,
    ) -> None:
        self.folder, self.every, self.draw, self.picture, self.kind = folder, every, draw, picture, kind

    def due(self, step: int) -> bool:
        return step % self.every == 0 or step in {max(1, self.every // 8), max(1, self.every // 3)}

    def look(self, play: Play, losses: dict[str, Loss]) -> None:
        views = self.draw(play)
        disk.make_subfolder(self.folder)
        path = self.folder / f"step-{play.round:08d}"
        disk.write_atomically(path.with_suffix(".npz"), packed_views(views, self.kind))
        try:
            drawn = self.picture(play, views)
        except ShapeError:
            return  # a user's game may have samples that no picture can show; the numbers are stored
        disk.write_atomically(path.with_suffix(".png"), drawn)

    def close(self, play: Play) -> None: ...


def packed(x: np.ndarray[Any, Any]) -> bytes:
    """An array as the bytes of an ``.npz`` with the key ``x``."""
    return _npz({"x": x})


def packed_views(
    views: Mapping[str, Tensor], kind: type[np.floating[Any]] | None = None, labels: Tensor | None = None
) -> bytes:
    """Views as the bytes of an ``.npz``: a single one under the key ``x``, several each under its own name.

    Args:
        views: tensors by name.
        kind: the type that floats are stored as; None for their own.
        labels: classes of the rows, stored under the key ``y``.
    """
    arrays = {name: view.cpu().numpy() for name, view in views.items()}
    if kind is not None:
        arrays = {name: a.astype(kind) if a.dtype.kind == "f" else a for name, a in arrays.items()}
    arrays = {"x": next(iter(arrays.values()))} if len(arrays) == 1 else arrays
    return _npz(arrays if labels is None else {**arrays, "y": labels.cpu().numpy()})


def _npz(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
