"""What the doctor said of a run, as a section of its report: read from ``diagnosis.json`` without trust."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..doctor import VITALS, Evidence, NotAssessed
from .page import escape, number

_STATES = {
    "sick": "something critical is wrong now",
    "on the way": "nothing critical is wrong, and samples are still on their way to the data",
    "arrived": "samples are as close to the data as can be told",
}
_HOW = "The doctor looks at the networks at fixed rounds; it judges the generator as it is trained, not its average."


def verdict(told: Mapping[str, Any], given: Any = None) -> str:
    """The body of the section; nothing where there is no diagnosis.

    Args:
        told: ``diagnosis.json``.
        given: ``remedies`` of ``run.json``: what was changed on the way.

    Examples:
        >>> "No check-up has been due." in verdict({"state": None, "note": "no check-up has been due"})
        True
    """
    note, state = str(told.get("note") or ""), told.get("state")
    if not told or (state is None and not note):
        return ""
    found = _rows(told.get("findings"))
    active = [f for f in found if f.get("status") == "active"]
    past = [f for f in found if f.get("status") != "active"]
    parts = [_state(state, told), f"<p>{escape(_capital(note))}.</p>" if note else ""]
    if state is not None and not active:
        parts.append("<p>No finding is active.</p>")
    parts += [_finding(f) for f in active]
    if past:
        parts.append(_folded(f"{_count(len(past), 'earlier finding')}, resolved", "".join(_finding(f) for f in past)))
    parts.append(_given(_rows(given)))
    measured = told.get("measured")
    if isinstance(measured, Mapping) and measured:
        rows = [{"vital": name, "value": value} for name, value in measured.items()]
        parts.append(_folded("Measured for this diagnosis", _evidence(rows)))
    unseen = NotAssessed.read(told.get("not_assessed"))
    if unseen:
        items = "".join(f"<li>{escape(_capital(one.what))}: {escape(one.text)}.</li>" for one in unseen)
        parts.append(_folded("What could not be looked at", f"<ul>{items}</ul>"))
    parts.append(f'<p class="hint">{escape(_HOW)}</p>')
    return "\n".join(part for part in parts if part)


def _state(state: object, told: Mapping[str, Any]) -> str:
    if state is None:
        return ""
    mark = "sick" if state == "sick" else "well"
    cost = f"{_count(told.get('checkups'), 'check-up')} up to round {number(told.get('step'))}"
    cost += f", {number(told.get('seconds'))} s together"
    return (
        f'<p class="state {mark}"><strong>{escape(_capital(str(state)))}</strong>: '
        f"{escape(_STATES.get(str(state), 'a state that this version does not know'))}.<br><small>{cost}</small></p>"
    )


def _finding(found: Mapping[str, Any]) -> str:
    severity = str(found.get("severity") or "info")
    since = f"{severity} · since round {number(found.get('onset'))}"
    since += "" if found.get("status") == "active" else f" · {found.get('status')}"
    mark = severity if severity in {"critical", "warning"} else "info"
    parts = [f"<h3>{escape(_capital(str(found.get('condition')).replace('-', ' ')))} <span>{escape(since)}</span></h3>"]
    if found.get("cause"):
        parts.append(f"<p>{escape(_sentence(str(found['cause'])))}</p>")
    parts += [_earlier(found.get("earlier")), _evidence(_rows(found.get("evidence")))]
    remedies = _rows(found.get("remedies"))
    if remedies:
        first, *others = remedies
        parts.append(f"<p><strong>Do:</strong> {escape(first.get('what'))}.{_settings(first.get('settings'))}</p>")
        if others:
            more = "; ".join(escape(r.get("what")) for r in others)
            parts.append(f"<p><strong>Or:</strong> {more}.</p>")
        if first.get("snippet"):
            code = f"<pre><code>{escape(first['snippet'])}</code></pre>"
            parts.append(_folded("The same in a training loop of your own", code))
    if found.get("source"):
        parts.append(f'<p class="hint">Source: {escape(found["source"])}</p>')
    return f'<article class="finding {mark}">\n' + "\n".join(part for part in parts if part) + "\n</article>"


def _earlier(rows: object) -> str:
    """Which findings come after this one though they showed before it."""
    pairs = [row for row in _list(rows) if isinstance(row, list) and len(row) == 2]
    named = " and ".join(f"{str(condition).replace('-', ' ')} (round {number(onset)})" for condition, onset in pairs)
    said = f"{_capital(named)} showed before it; it is told first as the likelier cause."
    return f'<p class="hint">{escape(said)}</p>' if named else ""


def _evidence(rows: Iterable[Mapping[str, Any]]) -> str:
    lines = ""
    for row in rows:
        name = str(row.get("vital"))
        vital = VITALS.get(name)
        value = "not finite" if row.get("value") is None else number(row.get("value"))
        said = f"{vital.what} ({vital.unit})" if vital else ""
        lines += (
            f'<tr><th scope="row"><code>{escape(name)}</code><small>{escape(said)}</small></th>'
            f'<td class="number">{escape(value)}</td><td>{escape(_expected(row))}</td></tr>'
        )
    if not lines:
        return ""
    head = '<th>Measured</th><th class="number">Value</th><th>Judged by</th>'
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _expected(row: Mapping[str, Any]) -> str:
    """What a value should be, as the doctor says it; nothing where the row is damaged."""
    try:
        return Evidence.from_dict(row).text
    except (ValueError, TypeError, KeyError):
        return ""


def _settings(settings: object) -> str:
    """The change in a recipe: ``path = value``."""
    if not isinstance(settings, Mapping) or not settings:
        return ""
    shown = ", ".join(f"<code>{escape(_change(str(path), value))}</code>" for path, value in settings.items())
    return f" In a recipe: {shown}."


def _change(path: str, value: object) -> str:
    """One setting.

    Examples:
        >>> _change("game.penalties", [{"type": "R1", "gamma": 0.1}]), _change("scale-rates", {"all": 0.1})
        ('game.penalties + R1(gamma=0.1)', 'learning rates: all × 0.1')
    """
    if path == "scale-rates":
        return f"learning rates: {_short(value)}"
    return f"{path}{' ' if isinstance(value, list) else ' = '}{_short(value)}"


def _short(value: object) -> str:
    """A record as a call: ``R1(gamma=0.1)``.

    Examples:
        >>> _short([{"type": "R1", "gamma": 0.1}]), _short({"all": 0.1}), _short(None)
        ('+ R1(gamma=0.1)', 'all × 0.1', 'none')
    """
    if isinstance(value, list):
        return "+ " + " + ".join(_short(v) for v in value)
    if isinstance(value, Mapping) and "type" in value:
        return f"{value['type']}({', '.join(f'{k}={_short(v)}' for k, v in value.items() if k != 'type')})"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} × {v:g}" if isinstance(v, (int, float)) else f"{k} = {v}" for k, v in value.items())
    return "none" if value is None else json.dumps(value)


def _given(rows: list[Mapping[str, Any]]) -> str:
    """What was changed on the way, and why."""
    items = "".join(
        f"<li>Round {number(row.get('step'))}: {escape(str(row.get('condition')).replace('-', ' '))}. "
        f"Back to round {number(row.get('rolled_back_to'))}; {escape(row.get('what') or row.get('remedy'))}.</li>"
        for row in rows
    )
    return f"<h3>Remedies given on the way</h3><ul>{items}</ul>" if items else ""


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def _count(n: object, what: str) -> str:
    return f"{number(n)} {what}{'' if n == 1 else 's'}"


def _capital(text: object) -> str:
    return str(text)[:1].upper() + str(text)[1:]


def _sentence(text: str) -> str:
    whole = _capital(text)
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."


def _rows(value: object) -> list[Mapping[str, Any]]:
    return [row for row in _list(value) if isinstance(row, Mapping)]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
