"""What each planted disease looks like, one panel a case: ``python -m equilibria.exam.pictures OUT.png``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..figures.images import image_grid
from ..figures.panels import BLUE, GREY, label, panels, rendered
from .cases import CASES
from .loop import Played, play, sampled

_COLUMNS = 6


def contact_sheet(half: str = "developed", seed: int = 0) -> Figure:
    """A panel for each planted disease of a half: generated rows (blue) over the law (grey), or generated digits."""
    cases = CASES[half]
    rows = -(-len(cases) // _COLUMNS)
    figure, axes = panels(rows, _COLUMNS, width=1.9, height=1.95, dpi=110)
    for panel, case in zip(axes, cases, strict=False):
        _draw(panel, play(replace(case.sick, seed=seed)))
        label(panel, title=case.name)
    for panel in axes[len(cases) :]:
        panel.set_axis_off()
    return figure


def _draw(axes: Axes, run: Played) -> None:
    # What a user who samples sees: eval mode.
    made, _ = sampled(run, 400)
    axes.set_xticks([])
    axes.set_yticks([])
    if made.dim() == 4:
        axes.imshow(image_grid(made[:25] / run.loop.scale, columns=5))
        return
    real = run.reference[:600]
    axes.scatter(real[:, 0], real[:, 1], s=2, color=GREY, linewidths=0)
    axes.scatter(made[:, 0], made[:, 1], s=3, color=BLUE, linewidths=0)
    finite = real[torch.isfinite(real).all(1)]
    reach = 1.6 * float(finite.abs().max())
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    outside = int((~(made.abs() <= reach).all(1)).sum())
    if outside:
        axes.text(0.02, 0.02, f"{outside} of {len(made)} outside", transform=axes.transAxes, fontsize=6)


if __name__ == "__main__":
    torch.set_num_threads(1)
    Path(sys.argv[1]).write_bytes(rendered(contact_sheet()))
