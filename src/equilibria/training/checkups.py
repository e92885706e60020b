"""Check-ups of a run by the doctor: they are stored in the run's folder, with the diagnosis."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..base.errors import EquilibriaError, RunError
from ..base.randomness import own_randomness
from ..base.records import written
from ..core.game import Loss
from ..core.play import Play
from ..data import Dataset
from ..doctor import Diagnosis, Difference, Doctor, Severity, State
from ..doctor.chart import Checkup, Memory
from ..doctor.schedule import Schedule
from ..doctor.watch import Watch
from ..metrics import Measured
from ..metrics.tables import split_columns
from . import disk
from .doctor_adapter import DoctorAdapter, adapter_of
from .hooks import Log

ROWS, DIAGNOSIS = "checkups.jsonl", "diagnosis.json"
_MEMORY = "doctor.safetensors"  # in a checkpoint's folder: the memory for the check-ups of the next session
Alarm = Callable[[Diagnosis], None]


@dataclass(frozen=True)
class Site:
    """The run that the doctor examines.

    Attributes:
        path: the run's folder.
        data: the training data.
        steps: the last round.
        log: the run's log; its latest row shows whether the losses are finite.
        resumed: the checkpoint from which the run continues.
        history: the check-ups of earlier sessions.
    """

    path: Path
    data: Dataset
    steps: int
    log: Log
    resumed: Path | None = None
    history: tuple[Checkup, ...] = ()


class Checkups:
    """A hook that makes check-ups by the doctor's schedule and in the last round, and stores the results.

    Each check-up is a line of ``checkups.jsonl``; ``diagnosis.json`` is written with each checkpoint and at the end.
    The doctor is built at the first check-up, so a run of a few rounds has no cost. It does not change the run; if it
    fails, it is disabled and the run continues.

    Args:
        site: the run.
        play: the play with the networks that are examined.
        alarm: called with every diagnosis; an error that it raises ends the training.

    Raises:
        RunError: the doctor's memory in the checkpoint cannot be read now.
    """

    def __init__(self, site: Site, play: Play, alarm: Alarm | None = None) -> None:
        self.site, self.alarm = site, alarm
        self.diagnosis: Diagnosis | None = None
        self.note = ""
        self._rows = Log(site.path / ROWS, 1)
        self._schedule, self._watch, self._memory, self._kept = Schedule(), Watch(), Memory(), -1
        self._history: list[Checkup] = []
        self._adapter: DoctorAdapter | None = None
        self._doctor: Doctor | None = None
        saved = stored_memory(site.resumed) if play.round else {}  # an error here stops the run, and loses no check-up
        self._safely(lambda: self._begin(play, saved), play.round)

    @property
    def active(self) -> tuple[str, ...]:
        """The active conditions that need attention or a change, root causes first."""
        return tuple(f.condition for f in self.diagnosis.active) if self.diagnosis else ()

    def text(self) -> str:
        """The same for a progress bar."""
        more = ", …" if len(self.active) > 3 else ""
        return f"doctor: {', '.join(self.active[:3])}{more}" if self.active else ""

    def due(self, step: int) -> bool:
        # One round earlier as well, because some vitals compare two consecutive rounds.
        timely = self._schedule.due(step + 1) or self._watch.due(step) or self._last(step)
        return self._adapter is not None and timely

    def look(self, play: Play, losses: dict[str, Loss]) -> None:
        before = self.diagnosis
        self._safely(lambda: self._look(play.round), play.round)
        if self.alarm is not None and self.diagnosis is not None and self.diagnosis is not before:
            self.alarm(self.diagnosis)

    def close(self, play: Play) -> None:
        if self._adapter is not None and play.round != self._kept and not _finite(self.site.log.latest):
            self._safely(lambda: self._examine(play.round), play.round)
        self._write()

    def sync(self) -> None:
        """Sync the check-ups to the disk: no checkpoint may survive a crash that loses earlier check-ups."""
        self._rows.sync()

    def beside(self, checkpoint: Path) -> None:
        """Store the doctor's memory in a checkpoint's folder for the next session, and write the diagnosis so far."""
        if self._adapter is not None:
            timing = {**self._schedule.tensors(), **self._watch.tensors()}
            disk.write_tensors({**self._memory.tensors(), **timing}, checkpoint / _MEMORY)
        self._write()

    def _begin(self, play: Play, saved: dict[str, Tensor]) -> None:
        adapter = adapter_of(play, self.site.data)
        self._memory = adapter.memory()
        if play.round:
            self._memory = self._memory.restored(saved, play.round)
            self._history = [checkup for checkup in self.site.history if checkup.step <= play.round]
            self._kept = self._history[-1].step if self._history else -1
            self._schedule, self._watch = Schedule.restored(saved, max(self._kept, 0)), Watch.restored(saved)
        self._adapter = adapter

    def _last(self, step: int) -> bool:
        return step == self.site.steps and step >= self._schedule.first and step != self._kept

    def _look(self, step: int) -> None:
        doctor = self._doctor_now()
        found = doctor.follow(step)
        if found is not None:
            self._keep(found)
        elif self._last(step):
            self._examine(step)

    def _examine(self, step: int) -> None:
        self._schedule.record(step)
        self._keep(self._doctor_now().look(step))

    def _doctor_now(self) -> Doctor:
        assert self._adapter is not None
        self._adapter.refresh()
        if self._doctor is None:
            self._doctor = self._adapter.doctor()
            self._doctor.join(self._schedule, self._watch)
            self._doctor.restore(self._history, self._memory)
        return self._doctor

    def _keep(self, found: Checkup) -> None:
        assert self._doctor is not None
        self._kept = found.step
        self._rows.write(found.to_dict())
        diagnosis = self._doctor.diagnose(deep=found.step == self.site.steps)
        if self.alarm is not None and any(f.severity is Severity.CRITICAL for f in diagnosis.active):
            diagnosis = self._doctor.diagnose()  # only the costlier tests find some root causes
        self.diagnosis = diagnosis

    def _safely(self, work: Callable[[], None], step: int) -> None:
        """Do it; after any error the doctor is disabled and the run continues without it."""
        try:
            with own_randomness():
                work()
        except EquilibriaError as error:
            self._disable(str(error), step, expected=self._doctor is None and not isinstance(error, RunError))
        except Exception as error:
            self._disable(f"{type(error).__name__}: {error}", step, expected=False)

    def _disable(self, reason: str, step: int, expected: bool) -> None:
        line = " ".join(reason.split())
        self.note = f"no doctor: {line}" if expected else f"doctor disabled at round {step}: {line}"
        self._adapter = self._doctor = None
        if not expected:
            warnings.warn(f"{self.note}; the run continues without it", stacklevel=2)

    def _write(self) -> None:
        if self._history and self.diagnosis is None and not self.note:
            return  # the diagnosis of the earlier session still holds
        text = written(diagnosis_values(self.diagnosis, self.note), indent=1)
        try:
            disk.write_atomically(self.site.path / DIAGNOSIS, text)
        except RunError as error:
            warnings.warn(f"the diagnosis cannot be stored in the run's folder: {error.what}", stacklevel=2)


def diagnosis_values(diagnosis: Diagnosis | None, note: str = "") -> dict[str, Any]:
    """The content of ``diagnosis.json``; without a doctor its state is None and the note says why."""
    empty: dict[str, Any] = {
        "state": None,
        "step": 0,
        "checkups": 0,
        "seconds": 0.0,
        "findings": [],
        "not_assessed": [],
    }
    values = diagnosis.to_dict() if diagnosis is not None else empty
    if diagnosis is None and not note:
        note = "too early: no check-up has been due"
    return {**values, "note": note} if note else values


def judge_again(path: Path, diagnosis: Mapping[str, Any], step: int, evaluated: Mapping[str, Measured]) -> None:
    """Write ``diagnosis.json`` again with what an evaluation of the same samples says, so that both judge alike.

    Args:
        path: the run's folder.
        diagnosis: its diagnosis as it is stored.
        step: the round of the evaluated samples; another one changes nothing.
        evaluated: the metrics of the samples.
    """
    if diagnosis.get("state") not in (State.NEAR, State.ARRIVED) or diagnosis.get("step") != step:
        return
    stored = diagnosis.get("differences")
    kept = [one for one in stored if not one.get("evaluated")] if isinstance(stored, list) else []
    found = [*kept, *(one.to_dict() for one in differences(evaluated))]
    findings = [f for f in diagnosis["findings"] if not found or f.get("condition") != "finished"]
    state = State.NEAR if found else State.ARRIVED
    values = {**diagnosis, "state": state.value, "differences": found, "findings": findings}
    disk.write_atomically(path / DIAGNOSIS, written(values, indent=1))


def differences(evaluated: Mapping[str, Measured]) -> tuple[Difference, ...]:
    """The metrics that tell the samples from the data (:attr:`~equilibria.metrics.Measured.tells`).

    Of a table, its worst columns stand for all: of many columns, some would seem to tell by chance.
    """
    return tuple(
        Difference(name, one.value, math.nan if one.floor is None else one.floor, evaluated=True)
        for name, one in split_columns(evaluated)[0].items()
        if one.tells
    )


def evaluated_differences(diagnosis: Mapping[str, Any], step: int) -> tuple[Difference, ...]:
    """What an evaluation at this round has added to a stored diagnosis."""
    rows = diagnosis.get("differences") if diagnosis.get("step") == step else None
    found = (one for one in rows if isinstance(one, dict) and one.get("evaluated")) if isinstance(rows, list) else ()
    return tuple(
        Difference(str(one.get("measure")), _number(one.get("value")), _number(one.get("floor")), evaluated=True)
        for one in found
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def stored_memory(checkpoint: Path | None) -> dict[str, Tensor]:
    """The tensors of the doctor's memory in a checkpoint's folder; empty if there are none, or if they are damaged.

    Raises:
        RunError: the file is there and cannot be read now.
    """
    try:
        return {} if checkpoint is None else load_file(checkpoint / _MEMORY)
    except OSError as error:
        if checkpoint is not None and not disk.is_missing(error):
            raise disk.read_error(error, checkpoint / _MEMORY) from error
        return {}
    except (SafetensorError, ValueError):
        return {}


def diagnose_run(
    path: Path, play: Play, data: Dataset, checkpoint: Path | None, history: Sequence[Checkup] = ()
) -> Diagnosis:
    """The doctor's diagnosis of a stored run, from its check-ups so far and one more check-up now.

    Nothing is written.

    Args:
        path: the run's folder, for messages.
        play: the run at its newest checkpoint.
        data: the training data.
        checkpoint: its folder, which holds the doctor's memory.
        history: the check-ups of the run; those of later rounds are left out.

    Raises:
        RunError: the run cannot be examined; the message says why.
    """
    try:
        with own_randomness():
            adapter = adapter_of(play, data)
            memory = adapter.memory()
            doctor = adapter.doctor()
            if play.round:
                past = [checkup for checkup in history if checkup.step <= play.round]
                doctor.restore(past, memory.restored(stored_memory(checkpoint), play.round))
            if not doctor.chart.checkups or doctor.chart.last.step != play.round:
                doctor.look(play.round)
            return doctor.diagnose()
    except EquilibriaError as error:
        raise RunError(f"the doctor cannot examine {path}: {error.what}", error.fix) from error


def _finite(row: Mapping[str, Any]) -> bool:
    values = [v for value in row.values() for v in (value if isinstance(value, list) else [value])]
    return all(math.isfinite(v) for v in values if isinstance(v, float))
