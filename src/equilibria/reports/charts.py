"""Charts of what a run logged, a group of names each: losses, scores, penalties, and every metric."""

from __future__ import annotations

from dataclasses import dataclass

from ..base.errors import DataError
from ..figures import curves, is_number, png, series
from .content import Facts
from .page import Picture
from .text import heading, words

UNPLOTTED = {"step", "time", "seconds", "wall", "elapsed", "turn"}
"""Names that are no measurements."""
_GROUPS = {
    "loss": ("Losses", "loss (unit of the objective)"),
    "score": ("Discriminator scores", "mean score (logit)"),
    "penalty": ("Penalties", "penalty, as added to the loss"),
}
_MOST = 10
_LOSSES_SAY_LITTLE = (
    "Players' losses need not fall, and alone they cannot tell a healthy run from a broken one: "
    "look at the samples and the evaluation."
)
_BANDS = " Lines are medians of neighbouring rounds, bands span their 10th to 90th percentiles."


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        title: what it shows.
        image: the picture.
    """

    title: str
    image: Picture


def charts(facts: Facts) -> tuple[list[Chart], str]:
    """At most ten charts, and how they are read."""
    groups: dict[str, list[str]] = {}
    for key in {key: None for row in facts.rows for key, value in row.items() if is_number(value)}:
        if key.split("/")[0] not in UNPLOTTED:
            groups.setdefault(key.split("/")[0], []).append(key)
    order = [*(g for g in _GROUPS if g in groups), *sorted(g for g in groups if g not in _GROUPS)]
    drawn = [_chart(facts, group, groups[group]) for group in order[:_MOST]]
    long = any(len(series(facts.rows, key)[0]) > 120 for keys in groups.values() for key in keys)
    return [chart for chart in drawn if chart is not None], _LOSSES_SAY_LITTLE + (_BANDS if long else "")


def _chart(facts: Facts, group: str, keys: list[str]) -> Chart | None:
    title, ylabel = _GROUPS.get(group, (heading(group), words(group)))
    entry = facts.evaluation.get(group, {})
    floor, unit = entry.get("floor"), entry.get("unit")
    if unit and unit != ylabel:
        ylabel = f"{ylabel} ({unit})"
    levels = {"perfect sampler": float(floor)} if is_number(floor) else None  # type: ignore[arg-type]
    names = {key: words(key.split("/", 1)[-1]) for key in sorted(keys, reverse=group == "score")[:6]}
    try:
        shown = {key: _literal(name) for key, name in names.items()}
        drawn = curves(facts.rows, shown, ylabel=_literal(ylabel), levels=levels)
    except DataError:
        return None
    return Chart(title, Picture(png(drawn, colors=64), f"{title} by round: {', '.join(names.values())}", "plot"))


def _literal(text: str) -> str:
    """The text as matplotlib draws it as it stands: between dollars it would read mathematics."""
    return text.replace("$", r"\$")
