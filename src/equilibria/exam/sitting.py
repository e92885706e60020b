"""One run of the exam: played under the doctor's eyes, judged by the truth, diagnosed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..doctor import Diagnosis, Doctor
from ..doctor.doctor import Told
from .cases import Case
from .cure import prescribe
from .loop import Loop, Played, play, prepare
from .truth import MEASURES

_RECOVERED = 0.9
_SICK = 0.9


@dataclass(frozen=True)
class Sitting:
    """What came of one run.

    Attributes:
        name: of the case.
        seed: of the run.
        truth: the independent measure.
        control: the same of the loop without the fault; NaN for a healthy run.
        said: active findings with their onsets, first two, then the rest.
        state: of the diagnosis.
        cured: the measure after the first remedy of the first finding; None where no treatment was asked for.
        remedy: its name.
        seconds: of the doctor.
    """

    name: str
    seed: int
    truth: float
    control: float
    said: tuple[tuple[str, int], ...]
    state: str
    cured: float | None = None
    remedy: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the control of a healthy run, which has none, is None."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


def watched(loop: Loop) -> tuple[Played, Doctor]:
    """Play a loop with a doctor attached as a user attaches one."""
    run = prepare(loop)
    told: Told = {
        "latent": loop.nets.latent,
        "objective": run.losses(),
        "holdout": run.holdout,
        "optimizers": run.optimizers,
    }
    if run.labels is not None:
        told["labels"] = run.labels
    doctor = Doctor(run.generator, run.discriminator, real=run.reference, **told)
    play(loop, lambda step, _: doctor.check(step), run)
    return run, doctor


def sit_healthy(name: str, loop: Loop, seed: int) -> Sitting:
    """A healthy run: any active warning or critical finding is a false alarm."""
    run, doctor = watched(replace(loop, seed=seed))
    found = doctor.diagnose()
    truth = MEASURES["quality"](run)
    return Sitting(name, seed, truth, float("nan"), _said(found), found.state.value, seconds=found.seconds)


def sit_sick(case: Case, seed: int, controls: dict[str, float], cure: bool = True) -> Sitting:
    """A planted disease beside its healthy control; the first remedy of the first finding is tried, right or wrong."""
    measure = MEASURES[case.measure]
    healthy = replace(case.healthy, seed=seed)
    key = f"{healthy!r}/{case.measure}"
    if key not in controls:
        controls[key] = measure(play(healthy))
    run, doctor = watched(replace(case.sick, seed=seed))
    truth, found = measure(run), doctor.diagnose()
    sitting = Sitting(case.name, seed, truth, controls[key], _said(found), found.state.value, seconds=found.seconds)
    if not cure or truth > _SICK * controls[key]:
        return sitting
    first = next(iter(found.active), None)
    if first is None or not first.remedies:
        return replace(sitting, cured=truth)  # nothing was prescribed: it stays as sick as it is
    remedy = first.remedies[0].name
    cured = measure(play(prescribe(replace(case.sick, seed=seed), remedy)))
    return replace(sitting, cured=cured, remedy=remedy)


def verified(sitting: Sitting) -> bool:
    """Whether the run is sick and its control healthy, by the independent measure."""
    return sitting.control > 0.3 and sitting.truth <= _SICK * sitting.control


def recovered(sitting: Sitting) -> bool:
    """Whether the first remedy brought it back to nine tenths of the control."""
    return sitting.cured is not None and sitting.cured >= _RECOVERED * sitting.control


def _said(found: Diagnosis) -> tuple[tuple[str, int], ...]:
    return tuple((f.condition, f.onset) for f in found.active)
