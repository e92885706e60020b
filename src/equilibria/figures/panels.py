"""Figures of one or several axes in the project's style, independent of the user's matplotlibrc.

They are drawn with matplotlib's object interface on the Agg canvas, never with pyplot: the same numbers give the same
picture. The colours are those of Okabe and Ito (2008), distinguishable with all common kinds of colour blindness.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

from PIL import Image

from .images import INK, png

if TYPE_CHECKING:  # matplotlib is imported where something is drawn: most commands draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, GREY, HAIRLINE = "#0072B2", "#9a9a9a", "#e6e6e6"
PALETTE = (BLUE, "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9")
FONT = "DejaVu Sans"  # included in matplotlib, so text looks the same on every machine


_Where = Literal[
    "best", "upper left", "upper right", "lower left", "lower right", "center right", "outside right upper"
]


def panels(
    rows: int = 1, columns: int = 1, width: float = 3.8, height: float = 2.6, dpi: int = 160
) -> tuple[Figure, tuple[Axes, ...]]:
    """A figure of ``rows * columns`` plain axes, each ``width`` by ``height`` inches, row by row.

    Examples:
        >>> figure, (left, right) = panels(columns=2)
        >>> [float(x) for x in figure.get_size_inches()]
        [7.6, 2.6]
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.04, wspace=0.03, hspace=0.03)
    size = (width * columns, height * rows)
    figure = Figure(figsize=size, dpi=dpi, facecolor="white", edgecolor="white", layout=engine)
    FigureCanvasAgg(figure)
    made = tuple(figure.add_subplot(rows, columns, i + 1, facecolor="white") for i in range(rows * columns))
    for axes in made:
        quiet(axes)
    return figure, made


def quiet(axes: Axes) -> None:
    """Two thin spines, few ticks, no grid."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    axes.set_axisbelow(True)
    axes.grid(False)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color="#bdbdbd", linewidth=0.7)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(tick))
        axis.set_minor_locator(NullLocator())
    axes.tick_params(direction="out", length=2.5, width=0.7, pad=3, color="#bdbdbd", top=False, right=False)
    axes.tick_params(labelsize=8, labelcolor=INK, labelfontfamily=FONT)


def label(axes: Axes, x: str = "", y: str = "", title: str = "") -> None:
    """Set the axis labels (with units) and the title, which states what the panel shows."""
    axes.set_xlabel(x, fontsize=8, color=INK, family=FONT)
    axes.set_ylabel(y, fontsize=8, color=INK, family=FONT)
    axes.set_title(title, fontsize=8.5, color=INK, family=FONT, loc="left")


def legend(axes: Axes, where: _Where = "best", columns: int = 1) -> None:
    """A frameless legend inside the axes."""
    axes.legend(
        loc=where, ncols=columns, frameon=False, prop={"family": FONT, "size": 7.5}, labelcolor=INK,
        handlelength=1.4, handletextpad=0.5, borderaxespad=0.3, labelspacing=0.3, columnspacing=1.2,
    )  # fmt: skip


def logarithmic(axes: Axes, x: bool = False, y: bool = False) -> None:
    """Use a logarithmic scale on the chosen axes, with ticks at powers of ten."""
    from matplotlib.ticker import LogFormatterMathtext, LogLocator, NullLocator

    for axis, wanted, scale in ((axes.xaxis, x, axes.set_xscale), (axes.yaxis, y, axes.set_yscale)):
        if wanted:
            scale("log")
            axis.set_major_locator(LogLocator(base=10, numticks=7))
            axis.set_major_formatter(LogFormatterMathtext())
            axis.set_minor_locator(NullLocator())


def rendered(figure: Figure, colors: int | None = None) -> bytes:
    """The figure as the bytes of a PNG, without a date: the same figure gives the same bytes.

    Args:
        figure: the figure.
        colors: number of colours, at most 256, stored as a palette (a file several times smaller); None for all.
    """
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue() if colors is None else png(Image.open(stream), colors=colors)


def tick(value: float, _: object = None) -> str:
    """A number for an axis: six digits at most, thousands as k, millions as M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < 1000 * size:
            return f"{value / size:.6g}{letter}".replace("-", "−")
    return f"{value:.6g}".replace("-", "−")
