"""A diagnosis that always comes: where it fails, what can still be concluded, and a line that says what failed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .chart import Chart
from .conclude import dated, state_of
from .conditions import rules
from .conditions.history import History
from .evidence import NotAssessed
from .findings import Diagnosis, Finding, Severity, State
from .groups import reason_of


def always_answers(diagnose: Callable[..., Diagnosis]) -> Callable[..., Diagnosis]:
    """The method of a doctor; where it raises, a diagnosis from the rules that can be applied."""

    @functools.wraps(diagnose)
    def answered(doctor: Any, *given: Any, **named: Any) -> Diagnosis:
        try:
            return diagnose(doctor, *given, **named)
        except Exception as error:
            failed = NotAssessed("a part of the diagnosis", reason=f"it failed ({reason_of(error)})")
            return salvaged(doctor.chart, doctor.subject.probabilities, failed)

    return answered


def salvaged(chart: Chart, probabilities: bool, *failed: NotAssessed) -> Diagnosis:
    """The diagnosis of a chart by the rules that raise nothing; the others are listed as not assessed."""
    lines = [*chart.not_assessed, *failed]
    if not chart.checkups:
        return Diagnosis(State.ON_THE_WAY, (), tuple(lines))
    found: list[Finding] = []
    for rule in rules():
        try:
            finding = rule.read(chart, probabilities, History(chart.checkups))
        except Exception as error:
            lines.append(NotAssessed(rule.condition, reason=reason_of(error)))
            continue
        found += [] if finding is None else [finding]
    found.sort(key=lambda one: (one.status != "active", one.severity is not Severity.CRITICAL))
    findings = tuple(dated(found))
    try:
        state, differences = state_of(chart, findings)
    except Exception as error:
        lines.append(NotAssessed("the state", reason=reason_of(error)))
        state, differences = State.ON_THE_WAY, ()
    seconds = sum(checkup.seconds for checkup in chart.checkups)
    return Diagnosis(state, findings, tuple(lines), chart.last.step, len(chart.checkups), seconds, {}, differences)
