"""Runs the cases with a doctor attached, and counts what it finds."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from ..matrix import interval
from .case import FieldCase, Recorder

_WORSE = 1.25


@dataclass(frozen=True)
class FieldRow:
    """One case with one seed.

    Attributes:
        case: name of the case.
        condition: the condition that names its fault; empty for a healthy loop.
        family: kind of fault; ``dynamics`` for faults of training, ``healthy`` for none.
        seed: seed of both runs.
        found: the active findings of the faulty run, in the order of the diagnosis, with their onsets; None if there is
            no such run, or if it stopped with an error.
        repaired: the same for the repaired run, or for the healthy loop.
        begins: the step at which the fault begins.
        steps: steps of a run.
        truth: the independent measure after the faulty run; lower is healthier. None for a value that is not finite.
        truth_repaired: the same after the repaired run.
        worse: whether the faulty run is worse by the measure: at least 1.25 times the repaired run's, or not finite.
        error: the error with which a run stopped, if one did.
        seconds: of both runs with their check-ups and diagnoses.
        also: other conditions that name the fault as well.
        axes: names of the parts of a generated case, as pairs.
    """

    case: str
    condition: str
    family: str
    seed: int
    found: tuple[tuple[str, int], ...] | None
    repaired: tuple[tuple[str, int], ...] | None
    begins: int
    steps: int
    truth: float | None
    truth_repaired: float | None
    worse: bool
    error: str
    seconds: float
    also: tuple[str, ...] = ()
    axes: tuple[tuple[str, str], ...] = ()

    def rank(self) -> int | None:
        """The place of the first right condition among the findings of the faulty run, from 0; None if it is absent."""
        right = {self.condition, *self.also}
        return next((i for i, (name, _) in enumerate(self.found or ()) if name in right), None)

    @property
    def onset_error(self) -> float | None:
        """By which share of the run the found onset is later than the fault; None if the condition is absent."""
        rank = self.rank()
        return None if rank is None or self.found is None else (self.found[rank][1] - self.begins) / self.steps


def run_case(case: FieldCase, seed: int = 0) -> FieldRow:
    """Train a case in both forms (a healthy loop once) and diagnose each."""
    start = time.perf_counter()
    bad, bad_truth, bad_error = (None, float("nan"), "") if case.healthy else _played(case, True, seed)
    good, good_truth, good_error = _played(case, False, seed)
    return FieldRow(
        case.name,
        case.condition,
        case.family,
        seed,
        bad,
        good,
        round(case.onset * case.steps),
        case.steps,
        _plain(bad_truth),
        _plain(good_truth),
        not case.healthy and not bad_truth < _WORSE * good_truth,
        bad_error or good_error,
        round(time.perf_counter() - start, 1),
        case.also,
        case.axes,
    )


def _played(case: FieldCase, faulty: bool, seed: int) -> tuple[tuple[tuple[str, int], ...] | None, float, str]:
    recorder = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            doctor = case.run(faulty, seed, case.steps, recorder)
            found = tuple((f.condition, f.onset) for f in doctor.diagnose().active)
        except Exception as error:  # an exam reports a crash, and goes on
            return None, float("nan"), f"{type(error).__name__}: {error}"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            truth = case.truth(recorder.attached[0])
    return found, truth, ""


def _plain(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def field_summary(rows: Sequence[FieldRow]) -> dict[str, Any]:
    """Counts with their Clopper-Pearson 95 % intervals; faults of code and of training dynamics apart.

    Examples:
        >>> field_summary([])["false_alarms"]["of"]
        0
    """
    faults = [row for row in rows if row.condition]
    harmful = [row for row in faults if row.worse]
    sound = [row for row in rows if row.repaired is not None]
    late = [row for row in faults if row.begins]
    delays = sorted(delay for row in late if (delay := row.onset_error) is not None)
    return {
        "code": _counted([row for row in faults if row.family != "dynamics"]),
        "dynamics": _counted([row for row in faults if row.family == "dynamics"]),
        "harmful_code": _counted([row for row in harmful if row.family != "dynamics"]),
        "harmful_dynamics": _counted([row for row in harmful if row.family == "dynamics"]),
        "late": {**share(len(delays), len(late)), "median_delay": delays[len(delays) // 2] if delays else None},
        "false_alarms": share(sum(bool(row.repaired) for row in sound), len(sound)),
        "false_alarms_healthy": share(
            sum(bool(row.repaired) for row in sound if not row.condition), sum(not row.condition for row in sound)
        ),
        "errors": sum(bool(row.error) for row in rows),
    }


def _counted(rows: Sequence[FieldRow]) -> dict[str, Any]:
    ranks = [row.rank() for row in rows]
    silent = sum(row.found == () for row in rows)
    return {
        "first": share(sum(rank == 0 for rank in ranks), len(rows)),
        "first_two": share(sum(rank is not None and rank < 2 for rank in ranks), len(rows)),
        "anywhere": share(sum(rank is not None for rank in ranks), len(rows)),
        "no_finding": share(silent, len(rows)),
    }


def share(hits: int, of: int) -> dict[str, Any]:
    """A share with its Clopper-Pearson 95 % interval.

    Examples:
        >>> share(0, 36)
        {'hits': 0, 'of': 36, 'share': 0.0, 'interval': [0.0, 0.0974]}
    """
    low, high = interval(hits, of)
    part = round(hits / of, 4) if of else None
    return {"hits": hits, "of": of, "share": part, "interval": [round(low, 4), round(high, 4)]}


def row_text(row: FieldRow) -> str:
    """One line about a row."""
    rank = row.rank()
    where = "absent" if rank is None else ("first", "second")[rank] if rank < 2 else "listed"
    found, alarm = _first_two(row.found), _first_two(row.repaired)
    if not row.condition:
        return f"{row.case}: healthy: {alarm}; {row.seconds} s {row.error}"
    harm = "" if row.worse else " (not worse by the measure)"
    return f"{row.case}: {row.condition} {where}{harm}: {found}; repaired: {alarm}; {row.seconds} s {row.error}"


def _first_two(found: tuple[tuple[str, int], ...] | None) -> str:
    return "stopped" if found is None else ", ".join(name for name, _ in found[:2]) or "no finding"


def summary_text(summary: dict[str, Any]) -> str:
    """The counts, one a line."""
    lines = []
    for key, value in summary.items():
        parts = (
            {key: value}
            if not isinstance(value, dict) or "of" in value
            else {f"{key} {k}": v for k, v in value.items()}
        )
        for name, part in parts.items():
            text = (
                f"{part['hits']} of {part['of']}, 95 % interval {part['interval']}"
                if isinstance(part, dict) and "of" in part
                else part
            )
            lines.append(f"{name.replace('_', ' ')}: {text}")
    return "\n".join(lines)


def plain_row(row: FieldRow) -> dict[str, Any]:
    """Plain values for JSON."""
    return {**asdict(row), "rank": row.rank(), "onset_error": row.onset_error}


def row_of(values: Mapping[str, Any]) -> FieldRow:
    """The row that :func:`plain_row` wrote."""
    own = {one.name: values[one.name] for one in fields(FieldRow) if one.name in values}
    own["also"] = tuple(own.get("also", ()))
    own["axes"] = tuple((axis, value) for axis, value in own.get("axes", ()))
    for form in ("found", "repaired"):
        if own[form] is not None:
            own[form] = tuple((name, onset) for name, onset in own[form])
    return FieldRow(**own)


__all__ = ["FieldRow", "field_summary", "plain_row", "row_of", "row_text", "run_case", "share", "summary_text"]
