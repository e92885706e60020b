"""A summary as text, Markdown, LaTeX and JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from ..base.records import written
from .summary import Judged, Row, Summary
from .values import Interval
from .verdicts import Comparison

_NONE = "–"


@dataclass(frozen=True)
class Table:
    """One table: what it shows, its head, and its rows of text."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(summary: Summary) -> list[Table]:
    """A table for each problem, and one for all of them together."""
    made = [_problem(problem, judged, summary.of(problem)) for problem, judged in summary.judged.items()]
    if summary.overall:
        rows = tuple((method, interval(one)) for method, one in summary.overall.items())
        title = "All problems: interquartile mean of the excess over the floor (1 is the median method)"
        made.append(Table(title, ("method", "mean [95 %]"), rows))
    return made


def _problem(problem: str, judged: Judged, own: Sequence[Row]) -> Table:
    further = list(dict.fromkeys(name for row in own for name in row.others))
    costs = [name for name in ("rounds", "seconds", "memory") if any(name in row.cost for row in own)]
    unit = f" ({judged.unit})" if judged.unit else ""
    better = "more" if judged.higher else "less"
    floor = "" if judged.floor is None else f"; a perfect sampler has {number(judged.floor)}"
    title = f"{problem}: {_words(judged.metric)}{unit}, {better} is better{floor}"
    head = ("method", "median", "mean [95 %]", "worst", "seeds", "told apart", *map(_words, further), "doctor", *costs)
    return Table(title, head, tuple(_row(row, further, costs) for row in own))


def _row(row: Row, further: Sequence[str], costs: Sequence[str]) -> tuple[str, ...]:
    seeds = f"{row.ok} of {row.asked}"
    if row.collapse.found and row.collapse.share is not None:
        seeds += f", {row.collapse.collapsed} collapsed {_range(row.collapse.share, share=True)}"
    return (
        row.method,
        number(row.median),
        interval(row.mean),
        number(row.worst) if row.ok == len(row.values) else "failed",
        seeds,
        row.letter,
        *(number(row.others.get(name)) for name in further),
        ", ".join(f"{state} {count}" for state, count in row.states.items()),
        *(number(row.cost.get(name)) for name in costs),
    )


def claims(summary: Summary) -> list[str]:
    """What can be said of two methods, in sentences, and what cannot."""
    found = summary.verdicts
    if found is None:
        return ["One method has nothing to be told apart from."]
    scopes: dict[tuple[str, str], list[Comparison]] = {}
    for one in sorted(found.claims(), key=lambda one: one.scope == "problem"):
        scopes.setdefault((one.scope, one.problem), []).append(one)
    lines = [sentence(same) for same in scopes.values()]
    return [*(lines or ["No two methods are told apart."]), *found.limits]


def sentence(same: Sequence[Comparison]) -> str:
    """What is told apart on one problem, or over problems: every method with those that it is better than."""
    first = same[0]
    where = {"problem": f"On {first.problem}", "together": "Over these problems", "general": "On problems like these"}
    worse: dict[str, list[str]] = {}
    for one in same:
        worse.setdefault(one.first, []).append(one.second)
    said = "; ".join(f"{name} is better than {_listed(others)}" for name, others in worse.items())
    how = f"p = {first.adjusted:.2g}" if len(same) == 1 else f"p at most {max(one.adjusted for one in same):.2g}"
    least = min((one.improvement for one in same), key=lambda one: one.estimate or 0.0)
    chance = "with probability" if len(same) == 1 else "with probability at least"
    return (
        f"{where[first.scope]} {said}. A seed of the better one is better {chance} {interval(least)}; corrected {how}."
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def text(summary: Summary) -> str:
    """For a terminal."""
    parts = []
    for table in tables(summary):
        lines = [table.head, *table.rows]
        width = [max(len(line[i]) for line in lines) for i in range(len(table.head))]
        shown = ["  ".join(f"{word:<{w}}" for word, w in zip(line, width, strict=True)).rstrip() for line in lines]
        parts.append("\n".join([table.title, *shown]))
    said = ["Methods with a letter in common are not told apart.", *claims(summary)]
    return "\n\n".join([*parts, "\n".join(said)])


def markdown(summary: Summary) -> str:
    """For a README."""
    parts = []
    for table in tables(summary):
        lines = [table.head, ("---",) * len(table.head), *table.rows]
        shown = ["| " + " | ".join(word.replace("|", "\\|") for word in line) + " |" for line in lines]
        parts.append("\n".join([f"**{table.title}**", "", *shown]))
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in claims(summary))])


def latex(summary: Summary) -> str:
    """Tables with the rules of booktabs."""
    parts = []
    for table in tables(summary):
        lines = [_tex(table.head), r"\midrule", *map(_tex, table.rows)]
        shape = "l" + "r" * (len(table.head) - 1)
        body = "\n".join([rf"\begin{{tabular}}{{{shape}}}", r"\toprule", *lines, r"\bottomrule", r"\end{tabular}"])
        parts.append(f"% {table.title}\n{body}")
    return "\n\n".join([*parts, *(f"% {line}" for line in claims(summary))])


def _tex(words: Sequence[str]) -> str:
    return " & ".join(map(_escaped, words)) + r" \\"


def _escaped(word: str) -> str:
    special: dict[str, str] = {c: "\\" + c for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
    return "".join({**special, "^": r"\textasciicircum{}", _NONE: "--"}.get(c, c) for c in word)


def as_json(summary: Summary) -> str:
    """Everything, for programs."""
    return written(asdict(summary) | {"claims": claims(summary)}, indent=1)


FORMS: dict[str, Callable[[Summary], str]] = {"text": text, "markdown": markdown, "latex": latex, "json": as_json}


def number(value: float | None) -> str:
    """Three or more digits; a dash for none."""
    if value is None:
        return _NONE
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def interval(one: Interval) -> str:
    """``mean [low, high]``."""
    if one.estimate is None:
        return _NONE
    return number(one.estimate) if one.low is None and one.high is None else f"{number(one.estimate)} {_range(one)}"


def _range(one: Interval, share: bool = False) -> str:
    ends = [_NONE if end is None else f"{end:.0%}" if share else number(end) for end in (one.low, one.high)]
    return f"[{', '.join(ends)}]"


def _words(name: str) -> str:
    return name.replace("_", " ")
