"""Generated points over the modes of the data's law, as one panel of a figure."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from torch import Tensor

from ..data.laws import Law
from ..figures.images import INK
from ..figures.panels import BLUE, FONT, GREY

MANY = (BLUE, "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9", "#000000", "#7F3C8D")
"""Eight colours for eight sources: those of Okabe and Ito, with black instead of yellow, and a violet."""


def off_modes(made: Tensor, law: Law) -> float:
    """The median distance of points ``(n, 2)`` from their nearest mode, over half of the least distance of two modes.

    At most 1 for points that sit at modes, however few; above 1 between the modes or elsewhere, as before training.

    Examples:
        >>> from equilibria.data import GaussianMixture
        >>> law = GaussianMixture([[-1.0, 0.0], [1.0, 0.0]], std=0.1)
        >>> off_modes(torch.tensor([[1.0, 0.5]]), law), off_modes(torch.tensor([[0.0, 3.0]]), law) > 1
        (0.5, True)
    """
    assert law.modes is not None
    centres = law.modes.to(made)
    return float(torch.cdist(made, centres).amin(1).median() / (torch.pdist(centres).min() / 2))


def cloud(axes: Axes, made: Tensor, law: Law, source: Tensor | None = None, colour: str = BLUE) -> None:
    """Points ``(n, 2)`` over the modes of a law, each mode a grey circle of three standard deviations.

    Args:
        axes: the axes; a square window around the modes is shown, and points outside it are counted in a corner.
        made: generated points.
        law: a law with modes in the plane.
        source: index of the generator of each point, ``(n,)``; at most eight generators.
        colour: colour of the points if no source is given.
    """
    assert law.modes is not None and law.std is not None
    low, high = law.modes.amin(0), law.modes.amax(0)
    middle, half = (low + high) / 2, 0.72 * float((high - low).max())
    x, y = middle.tolist()
    axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal")
    size = [6 * law.std] * len(law.modes)
    rings = EllipseCollection(
        size, size, [0.0] * len(size), units="xy", offsets=law.modes.numpy(), transOffset=axes.transData,
        facecolors="#ececec", edgecolors=GREY, linewidths=0.8,
    )  # fmt: skip
    axes.add_collection(rings)
    for k in range(1 if source is None else len(MANY)):
        own = made if source is None else made[source == k]
        axes.scatter(own[:, 0], own[:, 1], s=2.5, color=colour if source is None else MANY[k], alpha=0.55, linewidths=0)
    outside = int(((made - middle).abs() > half).any(1).sum() + (~torch.isfinite(made)).any(1).sum())
    if outside:
        axes.text(
            0.02, 0.02, f"{outside:,} of {len(made):,} outside", transform=axes.transAxes, fontsize=7, color=INK,
            family=FONT, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        )  # fmt: skip
