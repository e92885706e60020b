"""From a chart to a diagnosis: applies every rule and lists causes before the findings that they explain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .audit.readings import ORDER
from .chart import Chart
from .conditions import View, rules
from .conditions.history import History
from .evidence import NotAssessed
from .findings import Confidence, Diagnosis, Difference, Finding, Severity, State

_SEVERE = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


def findings_of(chart: Chart, probabilities: bool = False) -> tuple[Finding, ...]:
    """Every finding: active ones first, what was read in the training step before what was measured.

    Among those that were read, in the order in which a training step needs what they speak of; among the others, root
    causes before what they explain (the order of the rules).
    """
    read = rules()
    history = History(chart.checkups)
    found = _caused([f for rule in read if (f := rule.read(chart, probabilities, history)) is not None])
    order = {rule.condition: i for i, rule in enumerate(read)}
    broken = _onset(found, "not-a-number")
    jump = _onset(found, "learning-rate-jump")

    def place(f: Finding) -> tuple[object, ...]:
        after = jump is not None and f.onset >= jump and f.condition != "learning-rate-jump"
        return (f.status != "active", after, *_place(f, broken), _SEVERE[f.severity], order[f.condition])

    found.sort(key=place)
    return tuple(dated(explained(found)))


_EFFECTS = (
    ("divergence", "dead-units", 0),  # the players' first steps were far too large
    ("divergence", "discriminator-blind", 0),
    ("divergence", "discriminator-too-weak", 0),
    ("lipschitz-too-tight", "discriminator-blind", 0),
    ("generator-lacks-capacity", "exploding-gradient", 1),  # the discriminator gets ever steeper
    ("discriminator-too-weak", "discriminator-blind", 1),  # the generator has run ahead of it
)
"""Measured causes, what each explains, and by how many steps the cause must be the older finding."""


def _caused(found: list[Finding]) -> list[Finding]:
    """The findings; a measured one that an older one explains says so."""
    since = {f.condition: f.onset for f in found if f.status == "active"}
    explained_by: dict[str, str] = {}
    for cause, effect, lead in _EFFECTS:
        if cause in since and since[cause] + lead <= since.get(effect, -1):
            explained_by.setdefault(effect, cause)
    return [
        replace(f, effect_of=explained_by[f.condition], confidence=Confidence.PROBABLE)
        if f.condition in explained_by
        else f
        for f in found
    ]


def _onset(found: Sequence[Finding], condition: str) -> int | None:
    """Since when an active finding holds; None without one."""
    return next((f.onset for f in found if f.condition == condition and f.status == "active"), None)


def _place(finding: Finding, broken: int | None) -> tuple[int, int]:
    """What was read before what was measured, in its order; numbers that are not finite after their causes.

    Args:
        finding: the finding.
        broken: the step since which numbers are not finite; what is certain since then or earlier may be the cause.
    """
    if finding.effect_of:
        return 4, 0
    if not finding.read:
        return (1 if finding.condition == "not-a-number" else 3), 0
    sure = finding.confidence is Confidence.CERTAIN
    cause = broken is None or (sure and finding.onset <= broken)
    return (0 if cause else 2), ORDER.index(finding.condition)


def read_cause(found: Sequence[Finding]) -> Finding | None:
    """The first critical finding that was read in the training step with certainty."""
    return next((f for f in found if f.confidence is Confidence.CERTAIN and f.severity is Severity.CRITICAL), None)


def explained(found: list[Finding]) -> list[Finding]:
    """Measured findings beside a certain critical one are taken for its effects."""
    first = read_cause(found)
    if first is None or first.status != "active":
        return found
    return [
        replace(f, effect_of=first.condition, confidence=Confidence.POSSIBLE)
        if f.status == "active" and f.severity is not Severity.INFO and not f.read
        else f
        for f in found
    ]


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
        newest = replace(last, vitals=last.vitals | deeper)
        chart = replace(chart, checkups=[*chart.checkups[:-1], newest])
    found = findings_of(chart, probabilities)
    state, differences = state_of(chart, found)
    return Diagnosis(
        state,
        found,
        (*chart.not_assessed, *chart.unread, *unmeasured, *_untold(chart)),
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
