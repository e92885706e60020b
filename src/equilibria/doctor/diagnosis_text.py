"""The text of a diagnosis: one rendering for the terminal, the command line's summary, and reports.

It starts from the JSON form (:meth:`~equilibria.doctor.Diagnosis.to_dict`, ``diagnosis.json``), of this version or an
earlier one. Damaged parts are left out and named in :attr:`DiagnosisText.problems`.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..base.visible import visible
from .evidence import Evidence, NotAssessed
from .vitals import VITALS

STATES = {
    "sick": "something critical is wrong now",
    "on the way": "nothing critical is wrong, and the samples are not yet close to the data",
    "near": "samples are close to the data, and a measure still tells them from it",
    "arrived": "samples are as close to the data as can be measured",
}
"""What each state of a diagnosis means."""
_WIDTH, _DEEPEST, _MOST_SHOWN = 110, 20, 3


@dataclass(frozen=True)
class MeasurementText:
    """A measured number and its expected value.

    Attributes:
        vital: the name of the measurement.
        value: the number; None where it is not finite.
        expected: what the value should be, or what it means.
    """

    vital: str
    value: float | None
    expected: str = ""

    @property
    def what(self) -> str:
        """The statement of the measurement with its unit; empty for one that this version does not know."""
        known = VITALS.get(self.vital)
        return f"{known.what} ({known.unit})" if known else ""

    def __str__(self) -> str:
        value = "not finite" if self.value is None else f"{self.value:.4g}"
        return f"{self.vital} = {value}" + (f" ({self.expected})" if self.expected else "")


@dataclass(frozen=True)
class DifferenceText:
    """A measure that tells samples from the data.

    Attributes:
        measure: its name.
        value: what the samples score; None where it is not finite.
        floor: what a perfect sampler scores.
    """

    measure: str
    value: float | None
    floor: float | None


@dataclass(frozen=True)
class RemedyText:
    """A remedy.

    Attributes:
        what: the change as a sentence.
        snippet: the change as code for your own training loop.
        changes: the change of a recipe, one text for each setting.
    """

    what: str
    snippet: str = ""
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FindingText:
    """A finding.

    Attributes:
        condition: its name.
        severity: ``critical``, ``warning`` or ``info``.
        status: ``active`` or ``resolved``.
        onset: the step since which it holds.
        cause: why it happens.
        source: the theorem or paper.
        evidence: the measured numbers that support it.
        earlier: conditions that this one may explain, although they were found before it, each with its onset.
        remedies: what to change, best first.
        confidence: ``certain``, ``probable`` or ``possible``; empty in diagnoses of earlier versions.
        read: what was read in the training step.
        effect_of: the finding that explains it.
        record: how often it was right in the exam, and of how many.
    """

    condition: str
    severity: str = "info"
    status: str = "active"
    onset: int = 0
    cause: str = ""
    source: str = ""
    evidence: tuple[MeasurementText, ...] = ()
    earlier: tuple[tuple[str, int], ...] = ()
    remedies: tuple[RemedyText, ...] = ()
    confidence: str = ""
    read: str = ""
    effect_of: str = ""
    record: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> FindingText:
        """The text of the JSON form of a finding (:meth:`~equilibria.doctor.Finding.to_dict`)."""
        return _Reader().finding(values, "the finding")

    @property
    def title(self) -> str:
        """The condition as words: ``Mode collapse``."""
        return capital(self.condition.replace("-", " "))

    @property
    def active(self) -> bool:
        """Whether it holds now."""
        return self.status == "active"

    @property
    def urgent(self) -> bool:
        """Whether it holds now and needs a change."""
        return self.active and self.severity != "info"

    def earlier_text(self, unit: str = "step") -> str:
        """Why it is listed before conditions that were found first; empty if there are none."""
        named = " and ".join(f"{condition} ({unit} {onset})" for condition, onset in self.earlier)
        return f"It is listed first as the likelier cause, although it was found after {named}." if named else ""

    @property
    def sure(self) -> str:
        """How sure the finding is, and why."""
        if self.read:
            return f"read in the training step: {self.read}"
        right, of = self.record
        return f"right in {right} of the {of} runs of the exam in which it came first" if of else ""

    def text(self, known: Collection[str] = (), effects: Sequence[FindingText] = ()) -> str:
        """The finding in full, with its effects; a snippet in ``known`` is not repeated."""
        lines = [f"{self.severity.upper()}  {self.condition}, since step {self.onset}"]
        lines[0] += "" if self.active else f" ({self.status})"
        lines += _wrapped("why       ", self.cause)
        for i, evidence in enumerate(self.evidence):
            lines += _wrapped("evidence  " if not i else "          ", str(evidence))
        lines += _wrapped(f"{self.confidence or 'probable':10}", self.sure)
        lines += _wrapped("note      ", self.earlier_text())
        named = ", ".join(f"{one.condition} (step {one.onset})" for one in effects)
        lines += _wrapped("effects   ", f"probably of the same cause: {named}" if named else "")
        for i, remedy in enumerate(self.remedies):
            lines += _wrapped("do        " if not i else "or        ", remedy.what)
            if not i and remedy.snippet:
                shown = "(code as above)" if remedy.snippet in known else remedy.snippet
                lines += [f"              {line}" for line in shown.splitlines()]
        lines += _wrapped("source    ", self.source)
        return "\n".join(lines)


@dataclass
class _Reader:
    """Reads values from JSON and records what is missing or of another type."""

    problems: list[str] = field(default_factory=list)

    def one(self, row: Mapping[str, Any], key: str, kind: type | tuple[type, ...], where: str, default: Any) -> Any:
        """The value under a key; the default where it is missing or of another type."""
        value = row.get(key, default)
        if isinstance(value, bool) or not isinstance(value, kind):
            self.problems.append(f"{where}: '{key}' is of another type")
            return default
        return value

    def many(self, row: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
        found = self.one(row, key, list, where, [])
        kept = [one for one in found if isinstance(one, Mapping)]
        if len(kept) < len(found):
            self.problems.append(f"{where}: '{key}' has entries that are not objects")
        return kept

    def number(self, row: Mapping[str, Any], key: str, where: str) -> float:
        value = self.one(row, key, (int, float), where, 0)
        if not _is_number(value):
            self.problems.append(f"{where}: '{key}' is not finite")
            return 0.0
        return float(value)

    def measurement(self, row: Mapping[str, Any], where: str) -> MeasurementText | None:
        try:
            read = Evidence.from_dict(row)
        except (ValueError, TypeError, KeyError, OverflowError):
            self.problems.append(f"{where}: evidence that cannot be read")
            return None
        return MeasurementText(read.vital, read.value if math.isfinite(read.value) else None, read.text)

    def remedy(self, row: Mapping[str, Any], where: str) -> RemedyText:
        settings = self.one(row, "settings", Mapping, where, {})
        changes = tuple(setting_text(str(path), value) for path, value in settings.items())
        return RemedyText(
            self.one(row, "what", str, where, "see its source"), self.one(row, "snippet", str, where, ""), changes
        )

    def difference(self, row: Mapping[str, Any], where: str) -> DifferenceText:
        value, floor = (_number(row.get(name)) for name in ("value", "floor"))
        return DifferenceText(self.one(row, "measure", str, where, "a measure without a name"), value, floor)

    def finding(self, row: Mapping[str, Any], where: str) -> FindingText:
        measured = [self.measurement(one, where) for one in self.many(row, "evidence", where)]
        pairs = [
            (pair[0], pair[1])
            for pair in self.one(row, "earlier", list, where, [])
            if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], int)
        ]
        return FindingText(
            self.one(row, "condition", str, where, "a condition without a name"),
            self.one(row, "severity", str, where, "info"),
            self.one(row, "status", str, where, "active"),
            int(self.number(row, "onset", where)),
            self.one(row, "cause", str, where, ""),
            self.one(row, "source", str, where, ""),
            tuple(one for one in measured if one is not None),
            tuple(pairs),
            tuple(self.remedy(one, where) for one in self.many(row, "remedies", where)),
            self.one(row, "confidence", str, where, ""),
            self.one(row, "read", str, where, ""),
            self.one(row, "effect_of", str, where, ""),
            self.record(row, where),
        )

    def record(self, row: Mapping[str, Any], where: str) -> tuple[int, int]:
        found = self.one(row, "record", list, where, [0, 0])
        if len(found) != 2 or not all(isinstance(one, int) and 0 <= one <= 10**9 for one in found):
            self.problems.append(f"{where}: 'record' is not two counts")
            return 0, 0
        return found[0], found[1]


class DiagnosisText:
    """A diagnosis as text.

    Args:
        values: its JSON form; empty where there is no diagnosis.

    Attributes:
        state: ``sick``, ``on the way``, ``near``, ``arrived``; empty without a diagnosis, and :attr:`note` says why.
        note: a remark, or why there is no diagnosis.
        step: of the last check-up.
        checkups: how many there were.
        seconds: their total duration.
        findings: root causes first.
        measured: what was measured for this diagnosis only.
        not_assessed: what could not be examined.
        differences: what tells samples that are near from the data.
        problems: damaged parts of the JSON form, which were left out.

    Examples:
        >>> print(DiagnosisText({"state": "on the way", "step": 40, "checkups": 3, "seconds": 0.5, "findings": []}))
        ON THE WAY at step 40 (3 check-ups, 0.5 s)
        <BLANKLINE>
        No finding.
        >>> DiagnosisText({"state": "on the way", "step": 40, "findings": []}).brief()
        ['Doctor:  on the way at round 40, nothing wrong']
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        read = _Reader()
        here = "the diagnosis"
        self.state: str = read.one(values, "state", (str, type(None)), here, None) or ""
        self.note: str = read.one(values, "note", str, here, "")
        self.step, self.checkups = int(read.number(values, "step", here)), int(read.number(values, "checkups", here))
        self.seconds = float(read.number(values, "seconds", here))
        rows = read.many(values, "findings", here)
        self.findings = tuple(read.finding(row, f"finding {i}") for i, row in enumerate(rows, 1))
        measured = read.one(values, "measured", Mapping, here, {})
        self.measured = tuple(MeasurementText(str(name), _number(value)) for name, value in measured.items())
        self.not_assessed = NotAssessed.read(values.get("not_assessed"))
        self.differences = tuple(read.difference(row, "a difference") for row in read.many(values, "differences", here))
        self.problems = tuple(read.problems)

    @property
    def empty(self) -> bool:
        """Whether there is neither a diagnosis nor a note."""
        return not (self.state or self.note)

    @property
    def meaning(self) -> str:
        """What the state means."""
        return STATES.get(self.state, "a state that this version does not know")

    @property
    def active(self) -> tuple[FindingText, ...]:
        """The findings that hold now."""
        return tuple(finding for finding in self.findings if finding.active)

    @property
    def past(self) -> tuple[FindingText, ...]:
        """The findings that do not hold any more."""
        return tuple(finding for finding in self.findings if not finding.active)

    @property
    def still_differs(self) -> str:
        """What tells samples that are near from the data, as a sentence; empty if nothing does."""
        listed = ", ".join(
            f"{one.measure} {_figure(one.value)} (a perfect sampler: {_figure(one.floor)})" for one in self.differences
        )
        return f"What still differs: {listed}." if listed else ""

    def brief(self) -> list[str]:
        """A few lines: the state, and each finding that needs a change with its first remedy."""
        if not self.state:
            return [f"Doctor:  {self.note}"] if self.note else []
        urgent = [finding for finding in self.findings if finding.urgent and not finding.effect_of]
        head = f"Doctor:  {self.state} at round {self.step}" + (f" ({self.note})" if self.note else "")
        lines = [head + ("" if urgent else ", nothing wrong")]
        if self.still_differs:
            lines.append(f"  {self.still_differs}")
        for one in urgent:
            what = one.remedies[0].what if one.remedies else "see the report"
            lines.append(f"  {one.severity}: {one.condition} since round {one.onset}. Do: {what}")
        return lines

    def __str__(self) -> str:
        if not self.state:
            return visible(self.note)
        head = f"{self.state.upper()} at step {self.step} ({self.checkups} check-ups, {self.seconds:.1f} s)"
        causes = [finding for finding in self.findings if not finding.effect_of]
        shown, left = causes[:_MOST_SHOWN], causes[_MOST_SHOWN:]
        snippets = [finding.remedies[0].snippet if finding.remedies else "" for finding in shown]
        parts = [head]
        if self.still_differs:
            parts.append(textwrap.fill(self.still_differs, _WIDTH))
        for i, finding in enumerate(shown):
            effects = [one for one in self.findings if one.effect_of == finding.condition]
            parts.append(finding.text(snippets[:i], effects))
        if left:
            listed = ", ".join(f"{one.condition} (step {one.onset}, {one.status})" for one in left)
            parts.append(textwrap.fill(f"further       {listed}", _WIDTH, subsequent_indent=" " * 14))
        if not self.findings:
            parts.append("No finding." if self.checkups > 1 else "Too early: no check-up after the start yet.")
        if self.measured:
            listed = ", ".join(map(str, self.measured))
            parts.append(textwrap.fill(listed, _WIDTH, initial_indent="measured      ", subsequent_indent=" " * 14))
        if self.not_assessed:
            parts.append("\n".join(f"not assessed  {missing}" for missing in self.not_assessed))
        return visible("\n\n".join(parts))


def setting_text(path: str, value: object) -> str:
    """One change in a recipe.

    Examples:
        >>> setting_text("game.penalties", [{"type": "R1", "gamma": 0.1}])
        'game.penalties + R1(gamma=0.1)'
        >>> setting_text("scale-rates", {"all": 1 / 3, "at most": 0.001})
        'learning rates: all × 0.333333, at most 0.001'
        >>> setting_text("game.clip", None)
        'game.clip = none'
    """
    if path == "scale-rates" and isinstance(value, Mapping):
        factors = (
            f"at most {_short(one)}" if who == "at most" else f"{who} × {_short(one)}" for who, one in value.items()
        )
        return f"learning rates: {', '.join(factors)}"
    return f"{path}{' ' if isinstance(value, list) else ' = '}{_short(value)}"


def capital(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]


def _short(value: object, depth: int = 0) -> str:
    """A record as a call: ``R1(gamma=0.1)``."""
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, list):
        return "+ " + " + ".join(_short(one, depth + 1) for one in value)
    if isinstance(value, Mapping) and "type" in value:
        fields = (f"{key}={_short(one, depth + 1)}" for key, one in value.items() if key != "type")
        return f"{str(value['type'])[:80]}({', '.join(fields)})"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_short(one, depth + 1)}" for key, one in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else json.dumps(value)


def _figure(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e300


def _number(value: object) -> float | None:
    return float(value) if _is_number(value) and math.isfinite(value) else None  # type: ignore[arg-type]


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"  {head}", subsequent_indent="            ") if text else []
