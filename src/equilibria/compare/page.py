"""A comparison as one HTML file that loads nothing: every seed a dot, the tables, and what can be said."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..figures.panels import BLUE, GREY, label, panels, rendered
from ..reports.page import Picture, page
from .plan import Plan, settings_of
from .summary import Judged, Row, Summary
from .tables import Table, claims, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEMPLATE = "compare.html.j2"


@dataclass(frozen=True)
class Section:
    """A problem on the page."""

    name: str
    picture: Picture | None
    table: Table


def html(summary: Summary, plan: Plan | None = None) -> str:
    """The page.

    Args:
        summary: the numbers.
        plan: of the comparison, for the command of each cell; None for runs that were there already.
    """
    sections = []
    for table, problem in zip(tables(summary), [*summary.judged, None], strict=False):
        picture = None if problem is None else dots(summary.judged[problem], summary.of(problem))
        sections.append(Section(problem or "All problems", picture, table))
    commands = [] if plan is None else [command(plan, *pair) for pair in plan.pairs]
    title = f"{len({row.method for row in summary.rows})} methods on {', '.join(summary.judged)}"
    return page(TEMPLATE, title=title, sections=sections, claims=claims(summary), commands=commands)


def command(plan: Plan, method: str, problem: str) -> str:
    """Trains a method on a problem as the comparison did, with all its seeds.

    Examples:
        >>> from equilibria.compare import planned
        >>> plan = planned(["gan:batch=8", "wgan-gp"], ["ring8-U"], seeds=[3], steps=9)
        >>> command(plan, "gan:batch=8", "ring8-U")
        'equilibria train gan --set batch=8 --data ring8-U --steps 9 --seed 3'
    """
    first, settings = settings_of(method)
    words = ["equilibria", "train", first]
    for key, value in settings:
        words += ["--set", f"{key}={value}"]
    words += ["--data", problem, "--steps", str(plan.rounds[method, problem])]
    lines = [shlex.join([*words, "--seed", str(seed)]) for seed in plan.seeds]
    return "\n".join(lines)


def dots(judged: Judged, rows: Sequence[Row]) -> Picture:
    """Every seed of every method, with the mean and its interval, and the band of a perfect sampler."""
    figure, (axes,) = panels(width=6.6, height=0.9 + 0.34 * len(rows))
    if judged.floor is not None:
        low, high = judged.floor - 2 * judged.spread, judged.floor + 2 * judged.spread
        axes.axvspan(low, high, color="#e6e6e6", linewidth=0)
        axes.axvline(judged.floor, color=GREY, linewidth=0.8)
    for place, row in enumerate(reversed(rows)):
        _one(axes, place, row)
    axes.set_yticks(range(len(rows)), [f"{row.method}  {row.letter}" for row in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.tick_params(axis="y", length=0)
    better = "more is better" if judged.higher else "less is better"
    unit = f" ({judged.unit})" if judged.unit else ""
    name = judged.metric.replace("_", " ")
    label(
        axes,
        x=f"{name}{unit}; {better}",
        title="Every seed; bars are 95 % intervals of the mean, gray is a perfect sampler",
    )
    said = ", ".join(
        f"{row.method} {row.median:.3g}" if row.median is not None else f"{row.method} failed" for row in rows
    )
    return Picture(rendered(figure, colors=64), f"{name} of every seed by method; medians: {said}", "plot wide")


def _one(axes: Axes, place: int, row: Row) -> None:
    known = [value for value in row.values if value is not None]
    axes.plot(known, [place] * len(known), "o", color=BLUE, alpha=0.55, markersize=4.5, markeredgewidth=0)
    if row.mean.low is not None and row.mean.high is not None and row.mean.estimate is not None:
        axes.plot([row.mean.low, row.mean.high], [place - 0.25] * 2, color="#444444", linewidth=1.4)
        axes.plot([row.mean.estimate], [place - 0.25], "|", color="#444444", markersize=6)
    if failed := len(row.values) - len(known):
        axes.annotate(
            f"{failed} failed", (1.01, place), xycoords=("axes fraction", "data"), ha="left", va="center", fontsize=7.5,
            color="#D55E00",
        )  # fmt: skip
