"""Pictures for the pages of the conditions, from loops of the field exam: samples and a number of both runs.

The pictures of the planted diseases are drawn by `equilibria exam --pictures`; this is for conditions without one.
`python scripts/condition_pages.py --draw [NAME ...]` calls it.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from equilibria.exam.field import CASES
from equilibria.exam.field.case import FieldCase, Recorder
from equilibria.exam.pictures import FieldSeen, field_picture
from equilibria.figures.panels import rendered

STEPS = 300


def draw(folder: Path, only: list[str]) -> None:
    """Draw the conditions that have a case in the field exam: the named ones, or all that have no picture."""
    done: set[str] = set()
    for case in CASES.values():
        if case.condition in done:
            continue
        path = folder / f"{case.condition}.png"
        if case.condition and (case.condition in only if only else not path.exists()):
            faulty = _played(case, True)
            found = [one for one in faulty[1].diagnose(deep=False).active if one.condition == case.condition]
            if found:
                done.add(case.condition)
                path.write_bytes(rendered(field_picture(found[0], faulty, _played(case, False)), colors=64))
            print(f"{case.condition}: {case.name}{'' if found else ', not found'}", flush=True)


def _played(case: FieldCase, faulty: bool) -> FieldSeen:
    recorder = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        doctor = case.run(faulty, 0, min(case.steps, STEPS), recorder)
    return recorder.attached[0], doctor
