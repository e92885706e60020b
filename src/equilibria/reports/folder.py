"""What a run has left on disk so far, read without trust: a missing or damaged piece becomes a note, not a failure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from ..base.errors import DataError, RunError
from ..base.records import parsed
from ..data.files import stored

_SNAPSHOT = re.compile(r"step-(\d+)\.(npz|png)")


@dataclass(frozen=True)
class Snapshot:
    """Samples taken at one round: as numbers, as a picture, or as both."""

    step: int
    arrays: Path | None
    picture: Path | None


@dataclass(frozen=True)
class Folder:
    """The readable content of a run folder.

    Attributes:
        path: the folder.
        info: ``run.json``.
        rows: the lines of ``metrics.jsonl``, one per round, in order.
        evaluation: ``evaluation.json``, or nothing.
        diagnosis: ``diagnosis.json``, or nothing.
        snapshots: samples by round, in order.
        notes: what was missing or damaged.
    """

    path: Path
    info: dict[str, Any]
    rows: tuple[dict[str, Any], ...]
    evaluation: dict[str, Any]
    diagnosis: dict[str, Any]
    snapshots: tuple[Snapshot, ...]
    notes: tuple[str, ...]

    def part(self, name: str) -> dict[str, Any]:
        """An object of ``run.json``, empty where there is none."""
        found = self.info.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def played(self) -> int | None:
        """The last round that left a trace."""
        steps = [int(row["step"]) for row in self.rows[-1:]] + [s.step for s in self.snapshots[-1:]]
        return max(steps, default=None)


def read(path: Path) -> Folder:
    """Read a run folder.

    Raises:
        RunError: there is no such folder, or its ``run.json`` is missing or is not a JSON object.
    """
    file = path / "run.json"
    if not file.is_file():
        what = "has no run.json" if path.is_dir() else "is not a folder"
        raise RunError(f"'{path}' {what}", "give the folder of a run, the one that holds run.json")
    info = _object(file)
    if info is None:
        raise RunError(f"'{file}' is not a JSON object", "restore run.json; a run cannot be described without it")
    rows, damaged = _rows(path / "metrics.jsonl")
    notes = [f"{damaged} damaged lines of metrics.jsonl were left out."] if damaged else []
    judged: dict[str, dict[str, Any]] = {}
    for name in ("evaluation.json", "diagnosis.json"):
        found = _object(path / name) if (path / name).is_file() else {}
        judged[name] = found or {}
        if found is None:
            notes.append(f"{name} is damaged and was left out.")
    evaluation, diagnosis = judged.values()
    return Folder(path, info, rows, evaluation, diagnosis, _snapshots(path / "samples"), tuple(notes))


def _object(file: Path) -> dict[str, Any] | None:
    try:
        value = parsed(file.read_bytes())
    except (ValueError, OSError):
        return None
    return value if isinstance(value, dict) else None


def _rows(file: Path) -> tuple[tuple[dict[str, Any], ...], int]:
    """The logged rows by round, and how many lines before the last could not be read."""
    if not file.is_file():
        return (), 0
    rows: dict[int, dict[str, Any]] = {}
    lines = file.read_bytes().splitlines()
    damaged = 0
    for i, line in enumerate(lines):
        try:
            row = parsed(line)
            step = int(row["step"])
            if not 0 <= step < 2**53:
                raise ValueError(step)
        except (ValueError, TypeError, KeyError, OverflowError):
            damaged += bool(line.strip()) and i < len(lines) - 1
            continue
        rows[step] = {**rows.get(step, {}), **row}
    return tuple(rows[step] for step in sorted(rows)), damaged


def _snapshots(folder: Path) -> tuple[Snapshot, ...]:
    found: dict[int, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _SNAPSHOT.fullmatch(file.name)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = file
    return tuple(Snapshot(step, kinds.get("npz"), kinds.get("png")) for step, kinds in sorted(found.items()))


def load_array(file: Path | None) -> NDArray[Any] | None:
    """The numbers under ``x`` in an ``.npz``; ``None`` where they are missing or damaged."""
    try:
        array = None if file is None else stored(file).get("x")
    except DataError:
        return None
    return array if array is not None and array.size and array.dtype.kind in "fui" else None


def load_picture(file: Path | None) -> Image.Image | None:
    """The picture in a PNG file; ``None`` where it is missing or damaged."""
    try:
        return None if file is None else Image.open(file, formats=["PNG"]).convert("RGB")
    except (OSError, SyntaxError, ValueError):
        return None
