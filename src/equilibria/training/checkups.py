"""The doctor's rounds through a run: check-ups that are kept with it, and what it makes of them."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..base.errors import EquilibriaError, RunError
from ..base.randomness import own_randomness
from ..core.game import Loss
from ..core.play import Play
from ..data import Dataset
from ..doctor import Diagnosis, Doctor, Severity
from ..doctor.chart import Checkup, Memory
from ..doctor.schedule import Schedule
from . import disk
from .doctor_adapter import DoctorAdapter, adapter_of
from .hooks import Log

ROWS, VERDICT = "checkups.jsonl", "diagnosis.json"
_MEMORY = "doctor.safetensors"  # in a checkpoint's folder: what the next session's check-ups are compared with
Alarm = Callable[[Diagnosis], None]


@dataclass(frozen=True)
class Site:
    """Where the doctor works.

    Attributes:
        path: the run's folder.
        data: what the run is trained on.
        steps: the last round.
        log: that of the run; its latest row says whether the losses are still numbers.
        resumed: the checkpoint that the run was continued from.
        history: the check-ups of the sessions before.
    """

    path: Path
    data: Dataset
    steps: int
    log: Log
    resumed: Path | None = None
    history: tuple[Checkup, ...] = ()


class Checkups:
    """Lets the doctor look at a play by its own schedule and in the last round, and keeps what it says.

    Each check-up is a line of ``checkups.jsonl``; ``diagnosis.json`` is written beside each checkpoint and at the end.
    The doctor is only called when the first check-up comes, so that a run of a few rounds does not pay for one. It
    disturbs nothing, and a doctor that fails is sent away: the run goes on.

    Args:
        site: where.
        play: whose networks are looked at.
        alarm: told every diagnosis; what it raises ends the loop.
    """

    def __init__(self, site: Site, play: Play, alarm: Alarm | None = None) -> None:
        self.site, self.alarm = site, alarm
        self.diagnosis: Diagnosis | None = None
        self.note = ""
        self._rows = Log(site.path / ROWS, 1)
        self._schedule, self._memory, self._kept = Schedule(), Memory(), -1
        self._history: list[Checkup] = []
        self._adapter: DoctorAdapter | None = None
        self._doctor: Doctor | None = None
        self._guarded(lambda: self._begin(play), play.round)

    @property
    def active(self) -> tuple[str, ...]:
        """The conditions that ask for something now, root causes first."""
        return tuple(f.condition for f in self.diagnosis.active) if self.diagnosis else ()

    def said(self) -> str:
        """The same for a progress bar."""
        more = ", …" if len(self.active) > 3 else ""
        return f"doctor: {', '.join(self.active[:3])}{more}" if self.active else ""

    def due(self, step: int) -> bool:
        # A round early as well: some vitals compare two rounds in a row.
        return self._adapter is not None and (self._schedule.due(step + 1) or self._last(step))

    def look(self, play: Play, losses: dict[str, Loss]) -> None:
        before = self.diagnosis
        self._guarded(lambda: self._look(play.round), play.round)
        if self.alarm is not None and self.diagnosis is not None and self.diagnosis is not before:
            self.alarm(self.diagnosis)

    def close(self, play: Play) -> None:
        if self._adapter is not None and play.round != self._kept and not _finite(self.site.log.latest):
            self._guarded(lambda: self._examine(play.round), play.round)
        self._write()

    def sync(self) -> None:
        """Put the check-ups on the disk: a checkpoint must not outlive those before it."""
        self._rows.sync()

    def beside(self, checkpoint: Path) -> None:
        """Leave with a checkpoint what the run's next session goes on from, and what is to be said so far."""
        if self._adapter is not None:
            file = checkpoint / _MEMORY
            save_file(self._memory.tensors(), file)
            disk.sync(file)
        self._write()

    def _begin(self, play: Play) -> None:
        adapter = adapter_of(play, self.site.data)
        self._memory = adapter.memory()
        if play.round:
            self._memory = remembered(self.site.resumed, self._memory, play.round)
            self._history = [checkup for checkup in self.site.history if checkup.step <= play.round]
        if self._history:
            self._schedule.took(self._history[-1].step)
            self._kept = self._history[-1].step
        self._adapter = adapter

    def _last(self, step: int) -> bool:
        return step == self.site.steps and step >= self._schedule.first and step != self._kept

    def _look(self, step: int) -> None:
        doctor = self._at_hand()
        found = doctor.follow(step)
        if found is not None:
            self._keep(found)
        elif self._last(step):
            self._examine(step)

    def _examine(self, step: int) -> None:
        self._keep(self._at_hand().look(step))

    def _at_hand(self) -> Doctor:
        assert self._adapter is not None
        self._adapter.refresh()
        if self._doctor is None:
            self._doctor = self._adapter.doctor()
            self._doctor.recall(self._history, self._memory)
        return self._doctor

    def _keep(self, found: Checkup) -> None:
        assert self._doctor is not None
        self._schedule.took(found.step)
        self._kept = found.step
        self._rows.write(found.to_dict())
        said = self._doctor.diagnose(deep=found.step == self.site.steps)
        if self.alarm is not None and any(f.severity is Severity.CRITICAL for f in said.active):
            said = self._doctor.diagnose()  # a root cause may only show to the costlier tests
        self.diagnosis = said

    def _guarded(self, work: Callable[[], None], step: int) -> None:
        """Do it; whatever goes wrong, the doctor is sent away, and the run goes on as if there were none."""
        try:
            with own_randomness():
                work()
        except EquilibriaError as error:
            self._leaves(str(error), step, expected=self._doctor is None and not isinstance(error, RunError))
        except Exception as error:
            self._leaves(f"{type(error).__name__}: {error}", step, expected=False)

    def _leaves(self, reason: str, step: int, expected: bool) -> None:
        line = " ".join(reason.split())
        self.note = f"no doctor: {line}" if expected else f"the doctor was sent away at round {step}: {line}"
        self._adapter = self._doctor = None
        if not expected:
            warnings.warn(f"{self.note}; the run goes on without one", stacklevel=2)

    def _write(self) -> None:
        if self._history and self.diagnosis is None and not self.note:
            return  # what the session before has said still holds
        text = json.dumps(told(self.diagnosis, self.note), indent=1)
        try:
            disk.write_atomically(self.site.path / VERDICT, text)
        except RunError as error:
            warnings.warn(f"the diagnosis is not kept with the run: {error.what}", stacklevel=2)


def told(diagnosis: Diagnosis | None, note: str = "") -> dict[str, Any]:
    """What ``diagnosis.json`` says; without a doctor its state is None and the note says why."""
    nothing: dict[str, Any] = {
        "state": None,
        "step": 0,
        "checkups": 0,
        "seconds": 0.0,
        "findings": [],
        "not_assessed": [],
    }
    said = diagnosis.to_dict() if diagnosis is not None else nothing
    if diagnosis is None and not note:
        note = "too early: no check-up has been due"
    return {**said, "note": note} if note else said


def remembered(checkpoint: Path | None, like: Memory, step: int) -> Memory:
    """What the doctor left with a checkpoint; without content where there is none."""
    try:
        saved = {} if checkpoint is None else load_file(checkpoint / _MEMORY)
    except (SafetensorError, OSError, ValueError):
        saved = {}
    return like.again(saved, step)


def diagnosed(
    path: Path, play: Play, data: Dataset, checkpoint: Path | None, history: Sequence[Checkup] = ()
) -> Diagnosis:
    """What the doctor makes of a run as it is on disk: its check-ups so far, and a look at the play as it is now.

    Nothing is written.

    Args:
        path: the run's folder, for messages.
        play: the run at its newest checkpoint.
        data: what it is trained on.
        checkpoint: its folder, which holds what the doctor remembers.
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
                doctor.recall(past, remembered(checkpoint, memory, play.round))
            if not doctor.chart.checkups or doctor.chart.last.step != play.round:
                doctor.look(play.round)
            return doctor.diagnose()
    except EquilibriaError as error:
        raise RunError(f"no doctor can look at {path}: {error.what}", error.fix) from error


def _finite(row: Mapping[str, Any]) -> bool:
    values = [v for value in row.values() for v in (value if isinstance(value, list) else [value])]
    return all(math.isfinite(v) for v in values if isinstance(v, float))
