"""A figure of the ratios: a dot at the median, a line from the least to the most, a bar at the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from equilibria.figures.panels import BLUE, GREY, PALETTE, label, panels


def drawn(rows: Sequence[dict[str, Any]]) -> Figure:
    """A figure of the rows that ``python -m benchmarks --json`` prints.

    Examples:
        >>> row = {"name": "floor-ring8", "setting": "float32", "ratio": 1.0, "least": 0.9, "most": 1.1, "target": 0.97}
        >>> drawn([row]).axes[0].get_yticklabels()[0].get_text()
        'floor-ring8, float32'
    """
    figure, (axes,) = panels(width=6.4, height=0.8 + 0.32 * len(rows))
    for place, row in enumerate(rows):
        colour = PALETTE[1] if row["setting"] == "best" else BLUE
        axes.plot([row["least"], row["most"]], [place, place], color=colour, linewidth=2.0, solid_capstyle="butt")
        axes.plot([row["ratio"]], [place], "o", color=colour, markersize=4.5)
        if row["target"] is not None:
            axes.plot([row["target"]], [place], "|", color="#333333", markersize=11, markeredgewidth=1.2)
    axes.axvline(1.0, color=GREY, linewidth=0.7, zorder=0)
    axes.set_yticks(range(len(rows)), [f"{row['name']}, {row['setting']}" for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(left=0.0)
    label(axes, x="rounds per second, ours / other (median, least to most; bar: target)", title="Speed against others")
    return figure
