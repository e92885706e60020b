"""Scatter plots of samples and curves of training, as pure functions from numbers to :class:`PIL.Image.Image`.

Every function is deterministic: it draws with matplotlib's object interface on the Agg canvas, never with pyplot, and
sets each property that a user's style could change, so the same numbers give the same bytes. The colours are those of
Okabe and Ito (2008), distinguishable with all common kinds of colour blindness.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.errors import DataError, ShapeError
from .images import INK, Numbers, array_of
from .panels import BLUE, FONT, GREY, HAIRLINE, PALETTE, panels, tick

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Bounds = tuple[float, float, float, float]

_DPI = 240


@dataclass(frozen=True)
class Plane:
    """The plane on which points of more than two dimensions are projected: two principal axes of a reference set.

    Attributes:
        mean: shape (d,).
        axes: the two leading principal axes, shape (2, d), orthonormal, each with its largest entry positive.
        share: the share of the reference's variance along each axis.
        of: name of the reference set, for the axis labels.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    share: tuple[float, float]
    of: str

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates (n, 2) of points (n, d)."""
        return (points - self.mean) @ self.axes.T


def plane_of(points: Numbers, of: str = "the real data") -> Plane:
    """The plane of the first two principal axes of ``points``, shape (n, d) with d >= 2 and n >= 2 finite rows.

    Examples:
        >>> plane_of(np.diag([3.0, 2.0, 0.0, 1.0]) - np.diag([0.0, 0.0, 0.0, 1.0])).axes.shape
        (2, 4)
    """
    rows = _finite(_vectors(points))
    if len(rows) < 2 or rows.shape[1] < 2:
        shape = f"{len(rows)} finite points of {rows.shape[1]} dimensions"
        raise ShapeError(f"{shape} span no plane", "give shape (n, d) with n >= 2 and d >= 2")
    mean = rows.mean(axis=0)
    _, scale, axes = np.linalg.svd(rows - mean, full_matrices=len(rows) < 3)
    axes = axes[:2]
    axes = axes * np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])[:, None]
    variance = scale**2 / max(float((scale**2).sum()), 1e-300)
    return Plane(mean, axes, (float(variance[0]), float(variance[1]) if len(variance) > 1 else 0.0), of)


def bounds_of(points: Numbers, margin: float = 0.15) -> Bounds:
    """A square window (left, right, bottom, top) around points of shape (n, 2); ignores the outermost 0.2 % of them.

    Examples:
        >>> bounds_of(np.array([[-1.0, 0.0], [1.0, 0.5]]), margin=0.0)
        (-1.0, 1.0, -0.75, 1.25)
    """
    rows = _finite(_vectors(points))
    if not len(rows):
        return -1.0, 1.0, -1.0, 1.0
    # Quantiles are rounded outwards: linear interpolation would place the window inside a small set.
    low = np.quantile(rows, 0.001, axis=0, method="lower")
    high = np.quantile(rows, 0.999, axis=0, method="higher")
    x, y = (low + high) / 2
    half = float((high - low).max()) / 2 * (1 + margin) or 1.0
    return float(x - half), float(x + half), float(y - half), float(y + half)


def scatter(
    samples: Numbers,
    real: Numbers | None = None,
    bounds: Bounds | None = None,
    *,
    plane: Plane | None = None,
    bare: bool = False,
) -> Image.Image:
    """Samples (blue) over real data (grey), in a square window with equal axes.

    One-dimensional points are drawn as two histograms. Points of more than two dimensions are projected on the first
    two principal axes of ``real`` (without it, of the samples), and the axis labels say so. Samples outside the window
    and samples that are not finite are counted in the picture.

    Args:
        samples: shape (n, d).
        real: shape (m, d).
        bounds: the window, after projection; by default that of the real data. Pass one to compare pictures.
        plane: the projection for d > 2; pass one to use it for several pictures.
        bare: draw only the points, small, for a strip over time.

    Raises:
        ShapeError: the shapes are not (n, d) and (m, d).
    """
    drawn, behind = _vectors(samples), None if real is None else _vectors(real)
    if behind is not None and behind.shape[1] != drawn.shape[1]:
        raise ShapeError(
            f"samples of {drawn.shape[1]} and real data of {behind.shape[1]} dimensions", "give both in one space"
        )
    side = 1.1 if bare else 4.4
    figure, axes = _bare(side) if bare else _blank(side, side + 0.15)
    if drawn.shape[1] == 1:
        _histograms(axes, drawn[:, 0], None if behind is None else behind[:, 0], bounds)
    else:
        if drawn.shape[1] > 2:
            plane = plane or (plane_of(drawn, "the samples") if behind is None else plane_of(behind))
            names = [f"principal axis {i + 1} of {plane.of} ({plane.share[i]:.0%} of variance)" for i in (0, 1)]
            axes.set_xlabel(names[0], fontsize=8, color=INK, family=FONT)
            axes.set_ylabel(names[1], fontsize=8, color=INK, family=FONT)
            drawn, behind = plane.project(drawn), None if behind is None else plane.project(behind)
        _points(axes, drawn, behind, bounds or bounds_of(drawn if behind is None else behind), bare)
    if not bare:
        _legend(axes)
    return _picture(figure)


def _points(
    axes: Axes, samples: NDArray[np.float64], real: NDArray[np.float64] | None, bounds: Bounds, bare: bool
) -> None:
    size = 1.5 if bare else 7.0
    if real is not None:
        axes.scatter(real[:, 0], real[:, 1], s=size, c=GREY, alpha=0.5, linewidths=0, marker="o", label="real data")
    shown = _finite(samples)
    axes.scatter(shown[:, 0], shown[:, 1], s=size, c=BLUE, alpha=0.55, linewidths=0, marker="o", label="samples")
    left, right, bottom, top = bounds
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal", adjustable="box")
    inside = (shown >= (left, bottom)).all(axis=1) & (shown <= (right, top)).all(axis=1)
    _count_hidden(axes, len(samples) - len(shown), len(shown) - int(inside.sum()), bare)


def _histograms(
    axes: Axes, samples: NDArray[np.float64], real: NDArray[np.float64] | None, bounds: Bounds | None
) -> None:
    window = bounds_of(np.repeat((samples if real is None else real)[:, None], 2, axis=1)) if bounds is None else bounds
    left, right = window[:2]
    bins: list[float] = np.linspace(left, right, 61).tolist()
    shown = samples[np.isfinite(samples)]
    inside = shown[(shown >= left) & (shown <= right)]

    def density(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.histogram(values, bins)[0] / max(len(values), 1) / (bins[1] - bins[0])

    if real is not None:
        axes.stairs(density(real), bins, fill=True, color=GREY, alpha=0.5, label="real data")
    axes.stairs(density(shown), bins, color=BLUE, linewidth=1.4, label="samples")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("density", fontsize=8, color=INK, family=FONT)
    _count_hidden(axes, len(samples) - len(shown), len(shown) - len(inside), bare=False)


def _count_hidden(axes: Axes, infinite: int, outside: int, bare: bool) -> None:
    said = [f"{n:,} {what}".replace(",", " ") for n, what in ((outside, "outside"), (infinite, "not finite")) if n]
    if said and not bare:
        text = f"samples: {', '.join(said)}"
        axes.text(0.01, 0.01, text, transform=axes.transAxes, fontsize=8, color=PALETTE[1], family=FONT)


def curves(
    rows: Sequence[Mapping[str, Any]],
    keys: Sequence[str] | Mapping[str, str],
    *,
    ylabel: str = "",
    levels: Mapping[str, float] | None = None,
    bins: int = 120,
) -> Image.Image:
    """Curves of logged numbers over rounds.

    A series of more than ``bins`` values is drawn as the median of each group of neighbouring rounds (at least five, at
    most ``bins`` groups), inside a band from the 10th to the 90th percentile. If a value exceeds 100 times the median
    absolute value, the axis becomes symmetric-logarithmic, and its label says so. The first round at which a value is
    not finite is marked.

    Args:
        rows: the lines of ``metrics.jsonl``; a key may be missing from some.
        keys: the keys to draw, or a mapping from key to the name in the legend.
        ylabel: the measured quantity, with its unit.
        levels: named horizontal lines, for example the score of a perfect sampler.
        bins: the largest number of points drawn per series.

    Raises:
        DataError: no row holds a number for any of the keys.

    Examples:
        >>> curves([{"step": i, "loss": 1 / (1 + i)} for i in range(9)], ["loss"], ylabel="loss (nats)").mode
        'RGB'
    """
    names = dict(keys) if isinstance(keys, Mapping) else {key: key for key in keys}
    found = {key: series(rows, key) for key in names}
    if not any(len(steps) for steps, _ in found.values()):
        raise DataError(f"none of {', '.join(names)} is in the {len(rows)} rows", "draw keys that were logged")
    figure, axes = _blank(3.8, 2.5)
    axes.set_xlabel("round", fontsize=8, color=INK, family=FONT)
    scale = _scale(axes, np.concatenate([values for _, values in found.values()]))
    axes.set_ylabel(ylabel + scale, fontsize=8, color=INK, family=FONT)
    axes.grid(axis="y", which="major", color=HAIRLINE, linewidth=0.6, linestyle="-", alpha=1.0)
    for i, (key, (steps, values)) in enumerate(found.items()):
        _line(axes, steps, values, bins, names[key], PALETTE[i % len(PALETTE)])
    for name, level in (levels or {}).items():
        axes.axhline(level, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label=name)
    broken = [int(steps[~np.isfinite(values)][0]) for steps, values in found.values() if not np.isfinite(values).all()]
    if broken:
        axes.axvline(min(broken), color=PALETTE[1], linewidth=0.9, linestyle=(0, (1, 2)), label="not finite")
    axes.margins(y=0.08)
    last = max(float(steps.max()) for steps, _ in found.values() if len(steps))
    axes.set_xlim(0.0, max(last, 1.0) * 1.01)
    if len(names) > 1 or levels or broken:
        _legend(axes)
    return _picture(figure)


def series(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values of the rows that log a number under ``key``; ``None`` counts as not a number.

    Examples:
        >>> series([{"step": 1, "a": 2.0}, {"step": 2}, {"step": 3, "a": None}], "a")
        (array([1., 3.]), array([ 2., nan]))
    """
    pairs = [
        (float(row["step"]), math.nan if row[key] is None else float(row[key]))
        for row in rows
        if "step" in row and key in row and (row[key] is None or is_number(row[key]))
    ]
    both = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def is_number(value: object) -> bool:
    """Whether ``value`` is an int or a float; not a bool, and not an int that is too large for a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, float) or abs(value) <= sys.float_info.max


def _line(
    axes: Axes, steps: NDArray[np.float64], values: NDArray[np.float64], bins: int, name: str, color: str
) -> None:
    keep = np.isfinite(values)
    steps, values = steps[keep], values[keep]
    if len(values) > bins:
        bins = max(1, min(bins, len(values) // 5))  # percentiles need at least five values
        groups = np.array_split(values, bins)
        low, high = (np.array([np.quantile(group, q) for group in groups]) for q in (0.1, 0.9))
        values = np.array([np.median(group) for group in groups])
        steps = np.array([group.mean() for group in np.array_split(steps, bins)])
        axes.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)
    marker = "o" if len(values) <= 24 else "None"
    axes.plot(steps, values, color=color, linewidth=1.3, linestyle="-", marker=marker, markersize=2.5, label=name)


def _scale(axes: Axes, values: NDArray[np.float64]) -> str:
    """Choose the vertical scale; returns the text to add to the axis label."""
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    if not len(size) or size.max() <= 100 * np.median(size):
        return ""
    from matplotlib.ticker import FuncFormatter, NullLocator, SymmetricalLogLocator

    threshold = 10.0 ** math.floor(math.log10(float(np.median(size))))
    axes.set_yscale("symlog", linthresh=threshold)
    axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=threshold))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    return ", symlog scale"


def _blank(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of this size in inches with one plain pair of axes."""
    figure, (axes,) = panels(1, 1, width, height, _DPI)
    return figure, axes


def _bare(side: float) -> tuple[Figure, Axes]:
    """A square figure of this size in inches, filled by invisible axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(side, side), dpi=_DPI, facecolor="white", edgecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    return figure, axes


def _legend(axes: Axes) -> None:
    made = axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, prop={"family": FONT, "size": 8},
        labelcolor=INK, borderpad=0.0, borderaxespad=0.3, handlelength=1.2, handletextpad=0.5, columnspacing=1.4,
        labelspacing=0.3, numpoints=1, scatterpoints=1, markerscale=1.6, title=None, handleheight=0.7,
    )  # fmt: skip
    for handle in made.legend_handles:
        if handle is not None and handle.get_alpha() is not None:
            handle.set_alpha(1.0)


def _picture(figure: Figure) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.fromarray(pixels).convert("RGB")


def _vectors(points: Numbers) -> NDArray[np.float64]:
    array = array_of(points)
    if array.ndim != 2 or not array.shape[1]:
        raise ShapeError(f"points of shape {tuple(array.shape)} cannot be drawn", "give (n, d) with d >= 1")
    return array.astype(np.float64)


def _finite(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows[np.isfinite(rows).all(axis=1)]
