"""One run of the exam: trained with a doctor attached, measured independently, diagnosed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..doctor import Diagnosis, Doctor
from ..doctor.doctor import DoctorOptions
from .cases import Case
from .loop import Loop, Played, play, prepare
from .remedied import apply_remedy
from .truth import MEASURES

_RECOVERED = 0.9
_SICK = 0.9


@dataclass(frozen=True)
class CaseResult:
    """The result of one run.

    Attributes:
        name: name of the case.
        seed: seed of the run.
        truth: the independent measure.
        control: the same measure for the loop without the fault; NaN for a healthy run.
        said: active findings with their onsets, in the order of the diagnosis.
        state: state of the diagnosis.
        cured: the measure after the first remedy of the first finding; None if no remedy was tried.
        remedy: name of that remedy.
        seconds: time used by the doctor.
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


def examined(loop: Loop) -> tuple[Played, Doctor]:
    """Train a loop with a doctor attached in the way of a user."""
    run = prepare(loop)
    options: DoctorOptions = {
        "latent": loop.nets.latent,
        "objective": run.losses(),
        "holdout": run.holdout,
        "optimizers": run.optimizers,
    }
    if run.labels is not None:
        options["labels"] = run.labels
    doctor = Doctor(run.generator, run.discriminator, real=run.reference, **options)
    play(loop, lambda step, _: doctor.check(step), run)
    return run, doctor


def run_healthy(name: str, loop: Loop, seed: int) -> CaseResult:
    """Train a healthy run: any active warning or critical finding is a false alarm."""
    run, doctor = examined(replace(loop, seed=seed))
    found = doctor.diagnose()
    truth = MEASURES["quality"](run)
    return CaseResult(name, seed, truth, float("nan"), _said(found), found.state.value, seconds=found.seconds)


def run_planted(case: Case, seed: int, controls: dict[str, float], cure: bool = True) -> CaseResult:
    """Train a planted disease and its healthy control; the first remedy of the first finding is always tried."""
    measure = MEASURES[case.measure]
    healthy = replace(case.healthy, seed=seed)
    key = f"{healthy!r}/{case.measure}"
    if key not in controls:
        controls[key] = measure(play(healthy))
    run, doctor = examined(replace(case.sick, seed=seed))
    truth, found = measure(run), doctor.diagnose()
    result = CaseResult(case.name, seed, truth, controls[key], _said(found), found.state.value, seconds=found.seconds)
    if not cure or truth > _SICK * controls[key]:
        return result
    first = next(iter(found.active), None)
    if first is None or not first.remedies:
        return replace(result, cured=truth)  # no remedy: the measure stays what it is
    remedy = first.remedies[0].name
    cured = measure(play(apply_remedy(replace(case.sick, seed=seed), remedy)))
    return replace(result, cured=cured, remedy=remedy)


def verified(result: CaseResult) -> bool:
    """Whether the run is sick and its control healthy, by the independent measure."""
    return result.control > 0.3 and result.truth <= _SICK * result.control


def recovered(result: CaseResult) -> bool:
    """Whether the measure after the first remedy is at least 0.9 of the control."""
    return result.cured is not None and result.cured >= _RECOVERED * result.control


def _said(found: Diagnosis) -> tuple[tuple[str, int], ...]:
    return tuple((f.condition, f.onset) for f in found.active)
