"""The folder of a run: its files, and their only reader.

```
RUN/run.json        recipe, data and its fingerprint, seed, settings, versions, hardware, command
RUN/metrics.jsonl   one line per logged round
RUN/checkups.jsonl  one line per check-up of the doctor
RUN/checkpoints/    step-00012000/ …
RUN/sources/        the source runs, as far as opening the run needs them (sources.py)
RUN/stages/         component-01/ …: the runs of a procedure's stages (procedures.py)
RUN/samples/        step-00001000.npz and .png
RUN/diagnosis.json  the doctor's diagnosis
RUN/evaluation.json metrics with the floors of a perfect sampler
RUN/evaluation-900.json the same for round 900, where that is not the newest
RUN/evaluation-fid.json  the numbers of a protocol, with the conditions they were measured under (protocols.py)
RUN/report.html     everything above in one file
RUN/.lock           held while a process trains here; .lock.json names it (lock.py)
```

A folder is made by :mod:`~equilibria.runs.creation`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from ..base.errors import ConfigError, RunError
from ..base.records import decode, parsed
from ..data import DataOptions, DataSpec
from ..doctor import DiagnosisText
from ..doctor.chart import Checkup
from ..recipes import Recipe
from ..training import Settings, checkpoint, checkups, disk, hooks
from ..training.best import FOLDER as BEST
from ..training.best import Scored, kept
from . import snapshots
from .snapshots import Snapshot

FORMAT = 1
METRICS, EVALUATION = "metrics.jsonl", "evaluation.json"
_RESTORE = "restore run.json from a copy; checkpoints are untouched"
_NEEDED: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "recipe": dict,
    "data": dict,
    "seed": int,
    "steps": int,
    "horizon": int,
    "own": list,
    "settings": dict,
}
_NEEDED_OF_DATA: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "source": (str, type(None)),
    "options": dict,
    "spec": dict,
    "fingerprint": dict,
}
T = TypeVar("T")


class RunFolder:
    """A run on disk: the only reader of its files, for the command line, reports, seeds and resuming.

    Everything is validated. A file is read once, at its first use; :meth:`open` reads a fresh state.
    In strict mode a damaged file raises; a missing file is empty (a run that has just begun has no
    evaluation). In lenient mode damaged parts are left out and listed in :attr:`notes`.

    Args:
        path: the folder.
        info: the content of ``run.json``.
        strict: whether damage raises.
        notes: problems of ``run.json``, in lenient mode.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp())
        >>> _ = (path / "run.json").write_text('{"format": 1, "recipe": {"name": "gan"}}')
        >>> RunFolder.open(path)
        Traceback (most recent call last):
        equilibria.base.errors.RunError: ...run.json is damaged: 'data' is missing or of the wrong kind. Fix: ...
        >>> folder = RunFolder.open(path, strict=False)
        >>> folder.part("recipe")["name"], folder.rows
        ('gan', ())
    """

    def __init__(self, path: Path, info: dict[str, Any], strict: bool, notes: Sequence[str] = ()) -> None:
        self.path, self.info, self.strict = path, info, strict
        self._notes = list(notes)

    @classmethod
    def open(cls, path: str | Path, strict: bool = True) -> RunFolder:
        """Read the ``run.json`` of a folder.

        Raises:
            RunError: there is no run, or its ``run.json`` is not a JSON object; in strict mode also if a value is
                missing or of another type, or if a newer version wrote it.
        """
        folder = Path(path)
        info = _info(folder)
        wrong = _wrong(info)
        if strict and wrong is not None:
            raise RunError(f"{folder / 'run.json'} {wrong.what}", wrong.fix)
        return cls(folder, info, strict, [f"run.json {wrong.what}."] if wrong else [])

    # run.json ---------------------------------------------------------------------------------------------------------

    @property
    def whole(self) -> bool:
        """Whether ``run.json`` has everything that a run of this version needs."""
        return _wrong(self.info) is None

    def part(self, name: str) -> dict[str, Any]:
        """An object of ``run.json``, empty if there is none."""
        found = self.info.get(name)
        return found if isinstance(found, dict) else {}

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe.

        Raises:
            RunError: it is damaged, or of a class that is not known here, in either mode.
        """
        return part(self.path / "run.json", self.info.get("recipe"), Recipe)

    @cached_property
    def settings(self) -> Settings:
        """The settings of the run; raises as :attr:`recipe` does."""
        return part(self.path / "run.json", self.info.get("settings"), Settings)

    @cached_property
    def spec(self) -> DataSpec:
        """Kind and shape of the data's rows; raises as :attr:`recipe` does."""
        return spec_of(self.path, self.part("data"))

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the data's classes in order; numbers where they have no names, empty without labels."""
        return class_names_of(self.path, self.part("data"))

    @cached_property
    def options(self) -> DataOptions:
        """How the data was prepared; raises as :attr:`recipe` does."""
        return part(self.path / "run.json", self.part("data").get("options"), DataOptions)

    # Logs, diagnosis and evaluation -----------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The lines of ``metrics.jsonl`` in order: an integer ``step`` and the logged values by name.

        Raises:
            RunError: in strict mode, a line is damaged; except the last one, which may be incomplete in a killed run.
        """
        return tuple(self._lines(METRICS).values())

    @cached_property
    def checkups(self) -> tuple[Checkup, ...]:
        """The doctor's check-ups, of ``checkups.jsonl``.

        Raises:
            RunError: in strict mode, a line is damaged.
        """
        found, damaged = _checkups(self._lines(checkups.ROWS))
        self._left_out(checkups.ROWS, damaged)
        return found

    def history(self) -> tuple[Checkup, ...]:
        """The check-ups for a session that continues the run, which can do without one whose line is damaged.

        Raises:
            RunError: they are there and cannot be read now: without them the doctor would examine at other rounds.
        """
        return _checkups(dict(enumerate(hooks.read_rows(self.path / checkups.ROWS))))[0]

    @cached_property
    def diagnosis(self) -> dict[str, Any]:
        """The content of ``diagnosis.json``, from :meth:`equilibria.doctor.Diagnosis.to_dict`; empty without one.

        Raises:
            RunError: in strict mode, it is damaged.
        """
        delete = f"delete it: rm {self._quoted(checkups.DIAGNOSIS)}"
        found = self._object(checkups.DIAGNOSIS, delete)
        if problems := DiagnosisText(found).problems:
            self._damaged(f"parts of {checkups.DIAGNOSIS} are damaged ({problems[0]})", delete)
        return found

    @cached_property
    def evaluation(self) -> dict[str, dict[str, Any]]:
        """The metrics of ``evaluation.json`` by name, each as :meth:`equilibria.metrics.Measured.to_dict` wrote it.

        Raises:
            RunError: in strict mode, it is damaged.
        """
        again = f"write it again: equilibria evaluate {shlex.quote(str(self.path))}"
        values = self._object(EVALUATION, again)
        valid = {name: row for name, row in values.items() if _is_measured(row)}
        if len(valid) < len(values):
            self._damaged(f"{len(values) - len(valid)} metrics of {EVALUATION} are damaged", again)
        return valid

    @property
    def best(self) -> tuple[Scored, ...]:
        """The rounds whose weights are kept because of their samples, the best one first."""
        return tuple(kept(self.path / BEST))

    # Samples, checkpoints and stages ----------------------------------------------------------------------------------

    @cached_property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """The stored samples by round, in order."""
        return snapshots.listed(self.path / "samples")

    def points(self) -> NDArray[Any] | None:
        """The real rows stored with the samples (``samples/real.npz``, key ``x``); None if there are none."""
        return snapshots.load_array(self.path / "samples" / "real.npz")

    @property
    def checkpoints(self) -> list[Path]:
        """The folders of the present checkpoints, oldest first; :func:`checkpoint.read` checks one."""
        return checkpoint.listed(self.path / "checkpoints")

    @property
    def stages(self) -> dict[str, Path]:
        """The folders of the stages of a run in stages, by name; each is an ordinary run."""
        return {path.parent.name: path.parent for path in sorted(self.path.glob("stages/*/run.json"))}

    @property
    def played(self) -> int:
        """The number of rounds by the newest checkpoint; for a run in stages, the sum over them."""
        saved = [self.checkpoints, *(checkpoint.listed(path / "checkpoints") for path in self.stages.values())]
        return sum(checkpoint.round_of(own[-1]) for own in saved if own)

    @property
    def diverged(self) -> tuple[int, str] | None:
        """The round at which the run, or a stage of it, diverged, and what was not finite there; None if it did not."""
        logs = [self.path / METRICS, *(path / METRICS for path in self.stages.values())]
        return next((found for log in logs if (found := hooks.divergence(log)) is not None), None)

    @property
    def notes(self) -> tuple[str, ...]:
        """Descriptions of damaged parts that were left out; reads every file. Empty in strict mode, which raises."""
        for read_it in (lambda: self.rows, lambda: self.checkups, lambda: self.evaluation, lambda: self.diagnosis):
            read_it()
        return tuple(self._notes)

    # Damage -----------------------------------------------------------------------------------------------------------

    def _damaged(self, what: str, fix: str) -> None:
        if self.strict:
            raise RunError(f"{what} (in {self.path})", fix)
        self._notes.append(f"{what} and {'were' if ' are ' in what else 'was'} left out.")

    def _quoted(self, name: str) -> str:
        return shlex.quote(str(self.path / name))

    def _left_out(self, name: str, lines: list[int]) -> None:
        """Report the damaged lines of a log."""
        if lines:
            shown = ", ".join(map(str, lines[:8])) + (", …" if len(lines) > 8 else "")
            which = f"line {shown} of {name} is damaged" if len(lines) == 1 else f"lines {shown} of {name} are damaged"
            self._damaged(which, f"read the rest: RunFolder.open({str(self.path)!r}, strict=False)")

    def _lines(self, name: str) -> dict[int, dict[str, Any]]:
        file = self.path / name
        try:
            rows, damaged = hooks.parse_rows(file.read_bytes()) if file.exists() else ({}, [])
        except OSError as error:
            why = disk.read_error(error, file)
            self._damaged(why.what, why.fix)
            return {}
        self._left_out(name, damaged)
        return rows

    def _object(self, name: str, fix: str) -> dict[str, Any]:
        file = self.path / name
        try:
            found = parsed(file.read_bytes()) if file.exists() else {}
        except OSError as error:
            why = disk.read_error(error, file)
            self._damaged(why.what, why.fix)
            return {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            self._damaged(f"{name} is damaged", fix)
            return {}
        return found


def runs_in(folder: Path) -> list[Path]:
    """The folders of the runs directly below a folder, newest first."""
    return [file.parent for file in sorted(folder.glob("*/run.json"), key=_changed, reverse=True)]


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # it was deleted meanwhile


def _info(folder: Path) -> dict[str, Any]:
    """The JSON object in a folder's ``run.json``."""
    file = folder / "run.json"
    if (found := next(disk.irregular(folder), None)) is not None:
        what = f"{found} is a link, a pipe or a device, and a run holds plain files and folders only"
        raise RunError(what, f"copy what it stands for, or remove it: rm {shlex.quote(str(found))}")
    if not file.is_file():
        why = "it has no run.json" if folder.is_dir() else "there is no such folder"
        near = next((place for place in (folder, folder.parent) if runs_in(place)), Path("runs"))
        listing = "equilibria runs" + ("" if near == Path("runs") else f" {shlex.quote(str(near))}")
        raise RunError(f"{folder} is not a run: {why}", f"choose one of those that this lists: {listing}")
    try:
        info = parsed(file.read_bytes())
    except OSError as error:
        raise disk.read_error(error, file) from error
    except ValueError as error:
        raise RunError(f"{file} is damaged ({error})", _RESTORE) from error
    if not isinstance(info, dict):
        raise RunError(f"{file} is damaged: it is not a JSON object", _RESTORE)
    return info


def _wrong(info: dict[str, Any]) -> RunError | None:
    """What is wrong with a ``run.json``: a newer format, or a value that is missing or of another type."""
    version = info.get("format")
    if type(version) is int and version > FORMAT:
        what = f"was written by a newer version (format {version}; this one reads up to {FORMAT})"
        return RunError(what, "pip install --upgrade equilibria")
    for inside, needed in ((info, _NEEDED), (info.get("data"), _NEEDED_OF_DATA)):
        for name, kind in needed.items():
            value = inside.get(name, ...) if isinstance(inside, dict) else ...
            if not isinstance(value, kind) or isinstance(value, bool):
                return RunError(f"is damaged: '{name}' is missing or of the wrong kind", _RESTORE)
    if not all(isinstance(name, str) for name in info["own"]):
        return RunError("is damaged: 'own' does not list names", _RESTORE)
    return None


def _checkups(rows: dict[int, dict[str, Any]]) -> tuple[tuple[Checkup, ...], list[int]]:
    """Check-ups out of their lines, and the numbers of the lines that are damaged."""
    found, damaged = [], []
    for line, row in rows.items():
        try:
            found.append(Checkup.from_dict(row))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            damaged.append(line)
    return tuple(found), damaged


def _is_measured(row: object) -> bool:
    """Whether this is a metric: numbers that may be missing, and a unit as text."""
    if not isinstance(row, dict) or "value" not in row:
        return False
    numbers = all(
        isinstance(row.get(key), (int, float, type(None))) for key in ("value", "floor", "chance", "n", "spread")
    )
    return numbers and isinstance(row.get("unit", ""), str)


def part(file: Path, value: Any, kind: type[T]) -> T:
    """A record out of a file, usually ``run.json``.

    Raises:
        RunError: it is damaged, or of a class that is not known here.
    """
    try:
        found = decode(value)
    except (ConfigError, TypeError, ValueError, KeyError) as error:
        what = error.what if isinstance(error, ConfigError) else str(error)
        raise RunError(
            f"the {kind.__name__} in {file} cannot be read ({what})",
            "upgrade equilibria, import the module that defines it, or restore the file from a copy",
        ) from error
    if not isinstance(found, kind):
        raise RunError(f"{file} is damaged: no {kind.__name__}", "restore it from a copy")
    return found


def spec_of(path: Path, data: Mapping[str, Any]) -> DataSpec:
    """What rows of a run's data are, by the part ``data`` of its run.json.

    Raises:
        RunError: it is damaged.
    """
    found = part(path / "run.json", data.get("spec"), DataSpec)
    counts = [count for count in _class_counts(data).values() if isinstance(count, int) and count >= 0]
    if found.class_shares or len(counts) != found.classes or not sum(counts):
        return found
    return replace(found, class_shares=tuple(count / sum(counts) for count in counts))  # a run.json of before


def class_names_of(path: Path, data: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the classes of a run's data in order; numbers where they have no names, empty without labels."""
    classes = spec_of(path, data).classes
    for names in (data.get("class_names"), list(_class_counts(data))):
        if isinstance(names, list) and len(names) == classes and all(isinstance(name, str) for name in names):
            return tuple(names)
    return tuple(str(k) for k in range(classes))


def _class_counts(data: Mapping[str, Any]) -> Mapping[str, Any]:
    fingerprint = data.get("fingerprint")
    counts = fingerprint.get("labels") if isinstance(fingerprint, dict) else None
    return counts if isinstance(counts, dict) else {}
