"""Counts of the generated cases: what is named first, second or not at all; by kind, by fault and by family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..field.run import FieldRow, share


def generated_summary(rows: Sequence[FieldRow]) -> dict[str, Any]:
    """Counts with their Clopper-Pearson 95 % intervals.

    ``code``, ``dynamics`` and ``late`` are faults of code, faults of training, and faults that begin within the run;
    ``harmful_…`` are those of which the independent measure shows harm. ``by_fault`` counts per fault, ``by_law``,
    ``by_network`` and ``by_style`` per part of the combination.

    Examples:
        >>> generated_summary([])["harmful_code"]["first"]["of"]
        0
    """
    faults = [row for row in rows if row.condition]
    kinds: dict[str, Callable[[FieldRow], bool]] = {
        "code": lambda row: not row.begins and row.family != "dynamics",
        "dynamics": lambda row: not row.begins and row.family == "dynamics",
        "late": lambda row: row.begins > 0,
    }
    found: dict[str, Any] = {}
    for name, test in kinds.items():
        of_kind = [row for row in faults if test(row)]
        found[name] = _counted(of_kind)
        found[f"harmful_{name}"] = _counted([row for row in of_kind if row.worse])
    sound = [row for row in rows if row.repaired is not None]
    delays = sorted(d for row in faults if row.begins and (d := row.onset_error) is not None)
    return {
        **found,
        "false_alarms": _alarms(sound),
        "false_alarms_healthy": _alarms([row for row in sound if not row.condition]),
        "false_alarms_repaired": _alarms([row for row in sound if row.condition]),
        "onset_delay": _quartiles(delays),
        "errors": sum(bool(row.error) for row in rows),
        "by_fault": _by("fault", rows),
        **{f"by_{axis}": _by(axis, rows) for axis in ("law", "network", "style")},
    }


def _counted(rows: Sequence[FieldRow]) -> dict[str, Any]:
    ranks = [row.rank() for row in rows]
    return {
        "first": share(sum(rank == 0 for rank in ranks), len(rows)),
        "first_two": share(sum(rank is not None and rank < 2 for rank in ranks), len(rows)),
        "later": share(sum(rank is not None and rank >= 2 for rank in ranks), len(rows)),
        "symptom_only": share(sum(row.rank() is None and bool(row.found) for row in rows), len(rows)),
        "nothing": share(sum(not row.found for row in rows), len(rows)),
    }


def _alarms(rows: Sequence[FieldRow]) -> dict[str, Any]:
    return share(sum(bool(row.repaired) for row in rows), len(rows))


def _quartiles(values: Sequence[float]) -> dict[str, Any]:
    """The quartiles of delays, as shares of the run; None without any."""
    at = (
        [values[min(len(values) - 1, round(q * (len(values) - 1)))] for q in (0.25, 0.5, 0.75)]
        if values
        else [None] * 3
    )
    return {"share_of_run": dict(zip(("lower", "median", "upper"), at, strict=True)), "found": len(values)}


def _by(axis: str, rows: Sequence[FieldRow]) -> dict[str, Any]:
    """Plain counts for each value of an axis; the faults are those of which the measure shows harm."""
    groups: dict[str, list[FieldRow]] = {}
    for row in rows:
        value = dict(row.axes).get(axis, "")
        if value:
            groups.setdefault(value, []).append(row)
    return {
        value: {
            "faulty": sum(bool(row.condition) for row in own),
            "harmful": sum(row.worse for row in own),
            "first": sum(row.worse and row.rank() == 0 for row in own),
            "first_two": sum(row.worse and (rank := row.rank()) is not None and rank < 2 for row in own),
            "symptom_only": sum(row.worse and row.rank() is None and bool(row.found) for row in own),
            "nothing": sum(row.worse and not row.found for row in own),
            "sound": sum(row.repaired is not None for row in own),
            "false_alarms": sum(bool(row.repaired) for row in own),
        }
        for value, own in sorted(groups.items())
    }


__all__ = ["generated_summary"]
