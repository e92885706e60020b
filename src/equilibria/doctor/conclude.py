"""From a chart to a diagnosis: applies every rule and lists causes before the findings that they explain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .chart import Chart, Checkup
from .conditions import View, rules
from .conditions.history import History
from .evidence import NotAssessed
from .findings import Diagnosis, Difference, Finding, Severity, State

_SEVERE = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


def findings_of(chart: Chart, probabilities: bool = False) -> tuple[Finding, ...]:
    """Every finding, active ones first, root causes before what they explain (the order of the rules)."""
    read = rules()
    history = History(chart.checkups)
    found = [f for rule in read if (f := rule.read(chart, probabilities, history)) is not None]
    order = {rule.condition: i for i, rule in enumerate(read)}
    found.sort(key=lambda f: (f.status != "active", _SEVERE[f.severity], order[f.condition]))
    return tuple(dated(found))


def dated(found: list[Finding]) -> Iterator[Finding]:
    """Each active finding, with the active ones after it that were found before it."""
    for i, finding in enumerate(found):
        after = (f for f in found[i + 1 :] if f.status == finding.status == "active")
        yield replace(finding, earlier=tuple((f.condition, f.onset) for f in after if f.onset < finding.onset))


def conclude(
    chart: Chart,
    probabilities: bool = False,
    deeper: dict[str, float] | None = None,
    unmeasured: Sequence[NotAssessed] = (),
) -> Diagnosis:
    """The diagnosis of a chart; ``deeper``: vitals of tier 3, measured now; ``unmeasured``: those that failed."""
    if not chart.checkups:
        return Diagnosis(State.ON_THE_WAY, (), tuple(chart.not_assessed))
    if deeper:
        last = chart.last
        newest = Checkup(last.step, last.vitals | deeper, last.arrays, last.notes, last.seconds)
        chart = replace(chart, checkups=[*chart.checkups[:-1], newest])
    found = findings_of(chart, probabilities)
    state, differences = state_of(chart, found)
    return Diagnosis(
        state,
        found,
        (*chart.not_assessed, *unmeasured, *_untold(chart)),
        chart.last.step,
        len(chart.checkups),
        sum(c.seconds for c in chart.checkups),
        deeper or {},
        differences,
    )


def _untold(chart: Chart) -> tuple[NotAssessed, ...]:
    """Memorisation, where so few rows are held out that even copies may be chance."""
    lowest = View(chart, len(chart.checkups) - 1).median("samples/memorised-by-chance")
    return (NotAssessed("memorisation", reason="too few rows are held out to tell copies from chance"),) * (lowest <= 0)


def state_of(chart: Chart, found: tuple[Finding, ...]) -> tuple[State, tuple[Difference, ...]]:
    """The state, and for samples that are near what tells them from the data."""
    if any(f.status == "active" and f.severity is Severity.CRITICAL for f in found):
        return State.SICK, ()
    view = View(chart, len(chart.checkups) - 1)
    if not view.near:
        return State.ON_THE_WAY, ()
    found_apart = view.differences
    return (State.NEAR, found_apart) if found_apart else (State.ARRIVED, ())
