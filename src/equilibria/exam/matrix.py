"""The report of the exam: sensitivity, false alarms, onset error and cure rate, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from scipy import stats

from .cases import Case
from .remedied import apply_remedy
from .results import CaseResult, recovered, verified


def interval(hits: int, of: int) -> tuple[float, float]:
    """The Clopper-Pearson 95 % interval of a share.

    Examples:
        >>> [round(x, 3) for x in interval(0, 36)]
        [0.0, 0.097]
    """
    if not of:
        return 0.0, 1.0
    low = float(stats.beta.ppf(0.025, hits, of - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(0.975, hits + 1, of - hits)) if hits < of else 1.0
    return low, high


def _share(hits: int, of: int) -> dict[str, Any]:
    low, high = interval(hits, of)
    return {"hits": hits, "of": of, "share": hits / of if of else None, "interval": [round(low, 4), round(high, 4)]}


def summary(cases: Sequence[Case], sick: Sequence[CaseResult], healthy: Sequence[CaseResult]) -> dict[str, Any]:
    """The content of the report, as plain JSON."""
    wanted = {case.name: set(case.conditions) for case in cases}
    real = [s for s in sick if verified(s)]
    right = [s for s in real if any(name in wanted[s.name] for name, _ in s.said[:2])]
    alarmed = [s for s in healthy if s.said]
    first = [s for s in right if s.said[0][0] in wanted[s.name]]
    tried = [s for s in real if s.cured is not None]
    cured = [s for s in tried if recovered(s)]
    undone = [s for s in tried if _undone(next(case for case in cases if case.name == s.name), s)]
    rows = []
    for case in cases:
        own = [s for s in real if s.name == case.name]
        hit = [s for s in own if s in right]
        onsets = [next(at for name, at in s.said[:2] if name in wanted[s.name]) - case.onset for s in hit]
        rows.append(
            {
                "case": case.name,
                "condition": " or ".join(sorted(wanted[case.name])),
                "verified": len(own),
                "played": sum(s.name == case.name for s in sick),
                "named": len(hit),
                "onset": sorted(onsets)[len(onsets) // 2] if onsets else None,
                "cured": sum(s in cured for s in own),
                "tried": sum(s in tried for s in own),
                "instead": [s.said[0][0] if s.said else "nothing" for s in own if s not in hit],
            }
        )
    return {
        "sensitivity": _share(len(right), len(real)),
        "first_finding": _share(len(first), len(real)),
        "false_alarms": _share(len(alarmed), len(healthy)),
        "cure_rate": _share(len(cured), len(tried)),
        "cures_by_definition": _share(sum(s in cured for s in undone), len(undone)),
        "other_cures": _share(sum(s not in undone for s in cured), len(tried) - len(undone)),
        "unverified": sorted(Counter(s.name for s in sick if not verified(s)).items()),
        "alarms": [{"run": s.name, "seed": s.seed, "said": list(s.said)} for s in alarmed],
        "cases": rows,
        "confusion": confusion(wanted, real, healthy),
    }


def _undone(case: Case, result: CaseResult) -> bool:
    """Whether the remedy gives the loop without the fault: such a cure follows from the definition of the remedy."""
    return bool(result.remedy) and apply_remedy(case.sick, result.remedy) == case.healthy


def confusion(
    wanted: dict[str, set[str]], sick: Sequence[CaseResult], healthy: Sequence[CaseResult]
) -> dict[str, dict[str, int]]:
    """Planted condition against the first finding, or against the right one if it is among the first two."""
    table: dict[str, Counter[str]] = {}
    for s in sick:
        first = [name for name, _ in s.said[:2]]
        found = next((n for n in first if n in wanted[s.name]), first[0] if first else "nothing")
        table.setdefault(" or ".join(sorted(wanted[s.name])), Counter())[found] += 1
    table["healthy"] = Counter(s.said[0][0] if s.said else "nothing" for s in healthy)
    return {planted: dict(sorted(row.items())) for planted, row in sorted(table.items())}


def markdown(found: dict[str, Any], seeds: int, half: str) -> str:
    """The report as a page of the docs."""

    def rate(name: str) -> str:
        row = found[name]
        low, high = row["interval"]
        share, between = 100 * (row["share"] or 0), f"{100 * low:.1f} to {100 * high:.1f} %"
        return f"{row['hits']} of {row['of']} ({share:.1f} %, 95 % interval {between})"

    lines = [
        f"Half: {half}; {seeds} seeds per case.",
        "",
        f"- right condition among the first two findings: {rate('sensitivity')}; as the first: {rate('first_finding')}",
        f"- false alarms on healthy runs: {rate('false_alarms')}",
        f"- cured by the first remedy of the first finding: {rate('cure_rate')}; of these, loops that the remedy turns "
        f"into the control exactly, so that the cure follows by definition: {rate('cures_by_definition')}; all others: "
        f"{rate('other_cures')}",
        "",
        "| planted | condition | found | median onset error (steps) | cured | found instead |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["cases"]:
        instead = ", ".join(f"{n} x {name}" for name, n in Counter(row["instead"]).items()) or "–"
        onset = "–" if row["onset"] is None else str(row["onset"])
        verified_of = f"{row['named']} of {row['verified']}"
        if row["verified"] < row["played"]:
            verified_of += f" ({row['played'] - row['verified']} not sick)"
        cured = f"{row['cured']} of {row['tried']}"
        lines.append(f"| {row['case']} | {row['condition']} | {verified_of} | {onset} | {cured} | {instead} |")
    return "\n".join(lines) + "\n"
