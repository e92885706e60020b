"""A picture of each condition: samples of a planted disease, and the vital that reveals it; one PNG per condition."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..doctor import CONDITIONS, VITALS, Doctor, Evidence, Finding
from ..figures.images import image_grid
from ..figures.panels import BLUE, GREY, PALETTE, label, legend, logarithmic, panels, rendered
from .cases import CASES, HEALTHY, RING, WGAN
from .field.truth import Attached
from .loop import Loop, Played, sampled
from .results import examined

Seen = tuple[Played, Doctor]
FieldSeen = tuple[Attached, Doctor]
_RED = PALETTE[1]
_INSTEAD = Evidence("samples/distance", math.nan)  # if the evidence is a property of the loop, not a series
_STEADY = replace(HEALTHY["developed"]["arrived"], steps=3000, rate=3e-4, rate_d=3e-4, r1=1.0)
_STEEP = replace(WGAN, penalty=0.0, rate=1e-4, rate_d=5e-3, momentum=0.9)
# Loops and their controls for conditions in which no planted disease ends: planted ones overflow within a step.
_MORE = {
    "overflow": (replace(RING, rate=30.0, rate_d=30.0), RING),
    "exploding-gradient": (_STEEP, WGAN),
    "finished": (_STEADY, _STEADY),
}


def draw_conditions(folder: Path, tell: Callable[[str], None] | None = None) -> None:
    """Train the planted diseases and write ``<condition>.png`` for each condition that the doctor finds.

    Args:
        folder: an existing folder.
        tell: called with the name of each condition and of the case that shows it.
    """
    seen = cache(examined)
    for condition in CONDITIONS:
        for name, loop, control in _settings(condition):
            diagnosis = seen(loop)[1].diagnose()
            finding = next((f for f in diagnosis.findings if f.condition == condition and f.status == "active"), None)
            if finding is None:
                continue
            (folder / f"{condition}.png").write_bytes(rendered(picture(finding, seen(loop), seen(control))))
            if tell is not None:
                tell(f"{condition}: {name}")
            break


def _settings(condition: str) -> Iterator[tuple[str, Loop, Loop]]:
    """Loops in which the condition should be found, and their healthy controls; first those that expect it first."""
    for half in ("developed", "seen"):
        cases = [case for case in CASES[half] if condition in case.conditions]
        for case in sorted(cases, key=lambda case: case.conditions.index(condition)):
            yield case.name, case.sick, case.healthy
    if condition in _MORE:
        yield "a separate run", *_MORE[condition]


def picture(finding: Finding, sick: Seen, healthy: Seen) -> Figure:
    """Samples at the end of the run, and the first vital of the evidence over the run, with its threshold."""
    figure, (left, right) = panels(columns=2, width=2.9, height=2.3, dpi=110)
    _samples(left, sick[0])
    label(left, title=f"{finding.condition}\nsamples at step {sick[1].chart.last.step}")
    _series(right, finding, sick[1], healthy[1])
    return figure


def field_picture(finding: Finding, faulty: FieldSeen, repaired: FieldSeen) -> Figure:
    """Samples of a loop of the field exam and of its repaired twin, and a vital of both runs.

    The vital is the first of the evidence; for a finding that was read in the training step, the distance to the data.
    """
    figure, (left, middle, right) = panels(columns=3, width=2.2, height=2.2, dpi=100)
    for axes, (run, doctor), title in ((left, faulty, finding.condition), (middle, repaired, "repaired")):
        run.generator.eval()
        made, y = run.samples(400)
        _rows(axes, made.detach().float(), run.real.detach().float(), y)
        label(axes, title=f"{title}\nsamples at step {doctor.chart.last.step}")
    _series(right, finding, faulty[1], repaired[1])
    return figure


def _rows(axes: Axes, made: Tensor, real: Tensor, y: Tensor | None) -> None:
    """Rows of any form: images as a grid, flat digits as images, sequences as lines, other rows by two columns."""
    if made.dim() == 2 and made.shape[1] == 64:
        made, real = made.view(-1, 1, 8, 8), real.reshape(-1, 1, 8, 8)
    if made.dim() == 4:
        low, high = float(real.min()), float(real.max())
        axes.set_xticks([])
        axes.set_yticks([])
        axes.imshow(image_grid(2 * (made[:40] - low) / max(high - low, 1e-9) - 1, columns=8))
        return
    if made.dim() == 3:
        for rows, colour in ((real, GREY), (made, BLUE)):
            axes.plot(rows[:12, :, 0].T.numpy(), color=colour, linewidth=0.7, alpha=0.7)
        return
    classes = None if y is None else y if y.dim() == 1 else y.argmax(1)
    _points_of(axes, made, real, classes)


def _samples(axes: Axes, run: Played) -> None:
    # Eval mode, as for a user who samples.
    made, y = sampled(run, 400)
    if made.dim() == 4:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.imshow(image_grid(made[:40] / run.loop.scale, columns=8))
        return
    _points_of(axes, made, run.reference, y)


def _points_of(axes: Axes, made: Tensor, real: Tensor, y: Tensor | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    real = real[torch.isfinite(real).all(1)][:600]
    if real.shape[1] == 1:
        axes.hist(real[:, 0].tolist(), 40, density=True, color=GREY)
        axes.hist(made[:, 0].tolist(), 40, density=True, color=BLUE, histtype="step")
        return
    reach = 1.6 * float(real.abs().max())
    kept = torch.isfinite(made).all(1)
    far = made.abs().amax(1)
    if bool(kept.any()) and float((far <= reach).float().mean()) < 0.5:
        reach = max(reach, 1.3 * float(far[kept].quantile(0.9)))
    axes.scatter(real[:, 0], real[:, 1], s=2, color=GREY, linewidths=0)
    colours = BLUE if y is None else [PALETTE[int(k) % len(PALETTE)] for k in y]
    axes.scatter(made[:, 0], made[:, 1], s=3, color=colours, linewidths=0)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    outside = int((~(far <= reach)).sum())
    if outside:
        axes.text(0.02, 0.02, f"{outside} of {len(made)} outside or not finite", transform=axes.transAxes, fontsize=6.5)


def _series(axes: Axes, finding: Finding, sick: Doctor, healthy: Doctor) -> None:
    shown = [e for e in finding.evidence if len(_points(sick, e.vital)) > 2] or [_INSTEAD]
    first, bound = shown[0], threshold(shown[0])
    lines = [(sick, first.vital, BLUE, "this run")]
    if bound is None:  # it is compared with another vital
        unit = VITALS[first.vital].unit
        lines += [(sick, e.vital, PALETTE[2], e.vital) for e in shown[1:] if VITALS[e.vital].unit == unit][:1]
    if healthy is not sick:
        lines.insert(0, (healthy, first.vital, GREY, "without the fault"))
    values = [] if bound is None else [bound]
    for doctor, vital, colour, name in lines:
        points = _points(doctor, vital)
        axes.plot(list(points), list(points.values()), colour, linewidth=1.2, marker=".", markersize=3, label=name)
        values += points.values()
    if bound is not None:
        axes.axhline(bound, color=_RED, linewidth=0.9, linestyle="--")
    if min(values) > 0 and max(values) > 200 * min(values):
        logarithmic(axes, y=True)
    axes.axvline(finding.onset, color=_RED, linewidth=0.6, alpha=0.5)
    axes.margins(y=0.2)
    title = textwrap.shorten(f"{first.vital} ({first.text})" if first.text else first.vital, 78, placeholder=" …")
    label(axes, "step", VITALS[first.vital].unit, textwrap.fill(title, 40))
    legend(axes, columns=2)


def _points(doctor: Doctor, vital: str) -> dict[int, float]:
    """The finite values of a vital by step."""
    return {c.step: c[vital] for c in doctor.chart.checkups if math.isfinite(c[vital])}


def threshold(shown: Evidence) -> float | None:
    """The number with which the evidence is compared; None if it is another vital, a range or nothing.

    Examples:
        >>> threshold(Evidence("scores/auc", 0.1, ">", 0.5))
        0.5
        >>> threshold(Evidence("scores/auc", 0.1, "~", "probe/auc"))
    """
    return float(shown.limit) if isinstance(shown.limit, (int, float)) else None
