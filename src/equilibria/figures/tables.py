"""Samples of a table over its rows: a histogram or bars for each column, and how columns depend on one another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .images import INK
from .panels import BLUE, FONT, GREY, label, quiet, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

_SHOWN, _BARS, _BINS, _WIDE = 24, 10, 30, 4


def table_picture(
    real: Mapping[str, NDArray[Any]],
    made: Mapping[str, NDArray[Any]],
    matrices: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> bytes:
    """The marginal laws of the first 24 columns, and the two matrices of associations, as a PNG.

    Args:
        real: rows of the data by column: numbers, or texts for categories.
        made: samples, in the same columns.
        matrices: associations of all columns, of the data and of the samples, ``(d, d)`` each, in [-1, 1].

    Examples:
        >>> x = np.arange(9.0)
        >>> table_picture({"a": x}, {"a": x}, (np.eye(1), np.eye(1)))[:4]
        b'\\x89PNG'
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    names = list(real)[:_SHOWN]
    said = f"the first {_SHOWN} of {len(real)} columns, " if len(real) > _SHOWN else ""
    rows = math.ceil(len(names) / _WIDE)
    engine = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.04, wspace=0.02, hspace=0.02)
    size = (2.4 * _WIDE, 1.75 * rows + (3.4 if len(real) > 1 else 0.0))
    figure = Figure(figsize=size, dpi=130, facecolor="white", edgecolor="white", layout=engine)
    FigureCanvasAgg(figure)
    heights = [1.75] * rows + ([3.4] if len(real) > 1 else [])
    figure.suptitle(f"{said}grey: data, blue: samples", x=0.01, ha="left", fontsize=8, color=INK, family=FONT)
    grid = figure.add_gridspec(len(heights), _WIDE, height_ratios=heights)
    for i, name in enumerate(names):
        axes = figure.add_subplot(grid[divmod(i, _WIDE)], facecolor="white")
        quiet(axes)
        _marginal(axes, real[name], made[name])
        label(axes, title=_short(name, 30))
    if len(real) > 1:
        _matrices(figure, (grid[rows, :2], grid[rows, 2:]), matrices, list(real))
    return rendered(figure, colors=128)


def _marginal(axes: Axes, real: NDArray[Any], made: NDArray[Any]) -> None:
    axes.tick_params(labelsize=6.5)
    axes.set_yticks([])
    if real.dtype.kind == "f":
        known, own = real[np.isfinite(real)], made[np.isfinite(made)]
        low, high = (float(np.quantile(known, q)) if len(known) else q for q in (0.002, 0.998))
        bins = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
        for values, color, filled in ((known, GREY, True), (own, BLUE, False)):
            shares = np.histogram(values, bins)[0] / max(1, len(values))
            axes.stairs(shares, bins, color=color, fill=filled, linewidth=1.2, label="data" if filled else "samples")
        return
    counted, counts = np.unique(real, return_counts=True)
    shown = counted[np.argsort(-counts, kind="stable")[:_BARS]]
    at = np.arange(len(shown))
    for shift, values, color, name in ((-0.2, real, GREY, "data"), (0.2, made, BLUE, "samples")):
        axes.bar(at + shift, [float((values == one).mean()) for one in shown], width=0.4, color=color, label=name)
    axes.set_xticks(at, [_short(str(one), 11) for one in shown], rotation=55, ha="right", fontsize=5.5)
    if len(counted) > len(shown):
        axes.set_xlabel(f"the {len(shown)} most frequent of {len(counted)}", fontsize=6)


def _matrices(
    figure: Figure,
    places: Sequence[SubplotSpec],
    matrices: tuple[NDArray[np.float64], NDArray[np.float64]],
    names: Sequence[str],
) -> None:
    apart = np.abs(matrices[0] - matrices[1])
    i, j = divmod(int(apart.argmax()), len(apart))
    most = f"largest difference {apart.max():.2f} ({_short(names[i], 14)}, {_short(names[j], 14)})"
    titles = ("associations in the data", f"in the samples: {most}")
    for place, matrix, title in zip(places, matrices, titles, strict=True):
        axes = figure.add_subplot(place, facecolor="white")
        axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest", aspect="equal")
        few = len(names) <= _SHOWN
        axes.set_yticks(range(len(names)) if few else [], [_short(n, 14) for n in names] if few else [], fontsize=5.5)
        axes.set_xticks([])
        label(axes, title=title)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
