"""What the doctor found in a run, for its report; the words are those of :class:`~equilibria.doctor.DiagnosisText`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..doctor import DiagnosisText
from .text import counted, number, plain


@dataclass(frozen=True)
class GivenRemedy:
    """A remedy that the run was given on the way.

    Attributes:
        step: the round at which the condition was found.
        condition: its name in words.
        back: the round that the run went back to.
        what: what was changed.
    """

    step: str
    condition: str
    back: str
    what: str


def cost(diagnosis: DiagnosisText) -> str:
    """How much examining the run took.

    Examples:
        >>> cost(DiagnosisText({"state": "sick", "step": 60, "checkups": 1, "seconds": 1.5}))
        '1 check-up up to round 60, 1.5 s together'
    """
    checkups = counted(diagnosis.checkups, "check-up")
    return f"{checkups} up to round {number(diagnosis.step)}, {number(diagnosis.seconds)} s together"


def given_remedies(rows: object) -> list[GivenRemedy]:
    """The ``remedies`` of ``run.json``; what is damaged is left out.

    Examples:
        >>> given_remedies([{"step": 9, "rolled_back_to": 3, "condition": "mode-collapse", "what": "R1"}, 7])
        [GivenRemedy(step='9', condition='mode collapse', back='3', what='R1')]
    """
    return [
        GivenRemedy(
            number(row.get("step")),
            plain(row.get("condition")).replace("-", " "),
            number(row.get("rolled_back_to")),
            plain(row.get("what") or row.get("remedy")),
        )
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, Mapping)
    ]
