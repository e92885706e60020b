"""A picture of each condition: samples of a planted disease, and the vital that reveals it; one PNG per condition."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..doctor import CONDITIONS, VITALS, Doctor, Evidence, Finding
from ..doctor.evidence import Expectation
from ..figures.images import image_grid
from ..figures.panels import BLUE, GREY, PALETTE, label, legend, logarithmic, panels, rendered
from .cases import CASES, HEALTHY, RING, WGAN
from .field.truth import Attached
from .loop import Loop, Played, sampled
from .results import examined

Seen = tuple[Played, Doctor]
FieldSeen = tuple[Attached, Doctor]
_RED = PALETTE[1]
# Shown if the evidence is no series, but a property of the loop.
_INSTEAD = Evidence("samples/distance", math.nan, meaning="distance of samples to real rows")
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


def field_picture(
    finding: Finding,
    faulty: FieldSeen,
    repaired: FieldSeen,
    read: Sequence[Expectation] = (),
    columns: Sequence[int] = (0, 1),
) -> Figure:
    """Samples of a loop of the field exam and of its repaired twin, and a vital of both runs.

    Args:
        finding: of the faulty loop. Its first evidence is the vital that is shown.
        faulty: the loop.
        repaired: its twin.
        read: the vitals that show a finding without evidence, one that was read in the training step; the distance to
            the data if none are given. The second is drawn of the faulty loop only.
        columns: those of the rows that are drawn, one or two, where rows are neither images nor sequences.
    """
    figure, (left, middle, right) = panels(columns=3, width=2.2, height=2.2, dpi=100)
    for axes, (run, doctor), title in ((left, faulty, finding.condition), (middle, repaired, "repaired")):
        run.generator.eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made, y = run.samples(400)
        _rows(axes, made.detach().float(), run.real.detach().float(), y, columns)
        label(axes, axes.get_xlabel(), axes.get_ylabel(), f"{title}\nsamples at step {doctor.chart.last.step}")
    shown = [one.measured(math.nan) for one in read]
    _series(right, finding, faulty[1], repaired[1], shown, width=25)
    return figure


def _rows(axes: Axes, made: Tensor, real: Tensor, y: Tensor | None, columns: Sequence[int]) -> None:
    """Rows of any form: images (flat ones as well) as a grid in the order of classes, sequences as lines, columns."""
    y = None if y is None else y if y.dim() == 1 else y.argmax(1)
    if made.dim() == 2 and made.shape[1] == 64:
        made, real = made.view(-1, 1, 8, 8), real.reshape(-1, 1, 8, 8)
    if made.dim() == 4:
        low, high = float(real.min()), float(real.max())
        made = made[: 40 * (len(made) // 40)]
        made = made if y is None else made[y[: len(made)].argsort(stable=True)][:: len(made) // 40]
        axes.set_xticks([])
        axes.set_yticks([])
        axes.imshow(image_grid(2 * (made[:40] - low) / max(high - low, 1e-9) - 1, columns=8))
        return
    if made.dim() == 3:
        for rows, colour in ((real, GREY), (made, BLUE)):
            axes.plot(rows[:12, :, 0].T.numpy(), color=colour, linewidth=0.7, alpha=0.7)
        label(axes, "position in the sequence", "first column")
        return
    _points_of(axes, made[:, list(columns)], real[:, list(columns)], y)


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
    real = real[torch.isfinite(real).all(1)]
    real = real[:: max(1, len(real) // 600)]  # they may be sorted
    if real.shape[1] == 1:
        both = torch.cat([made, real])
        bins = torch.linspace(float(both.min()), float(both.max()), 41).tolist()
        axes.hist(real[:, 0].tolist(), bins, density=True, color=GREY)
        axes.hist(made[:, 0].tolist(), bins, density=True, color=BLUE, histtype="step")
        logarithmic(axes, y=True)
        label(axes, "value", "density")
        return
    middle = (real.amin(0) + real.amax(0)) / 2
    reach = 1.6 * float((real - middle).abs().max())
    kept = torch.isfinite(made).all(1)
    far = (made - middle).abs().amax(1)
    if bool(kept.any()) and float((far <= reach).float().mean()) < 0.5:
        reach = max(reach, 1.3 * float(far[kept].quantile(0.9)))
    axes.scatter(real[:, 0], real[:, 1], s=2, color=GREY, linewidths=0)
    colours = BLUE if y is None else [PALETTE[int(k) % len(PALETTE)] for k in y]
    axes.scatter(made[:, 0], made[:, 1], s=3, color=colours, linewidths=0)
    across, up = middle.tolist()
    axes.set_xlim(across - reach, across + reach)
    axes.set_ylim(up - reach, up + reach)
    outside = int((~(far <= reach)).sum())
    if outside:
        axes.text(0.02, 0.02, f"{outside} of {len(made)} outside or not finite", transform=axes.transAxes, fontsize=6.5)


def _series(
    axes: Axes, finding: Finding, sick: Doctor, healthy: Doctor, instead: Sequence[Evidence] = (), width: int = 40
) -> None:
    shown = [e for e in finding.evidence or instead if len(_points(sick, e.vital)) > 2] or [_INSTEAD]
    first, bound = shown[0], threshold(shown[0])
    lines = [(sick, first.vital, BLUE, "this run")]
    if bound is None:  # it is compared with another vital
        unit = VITALS[first.vital].unit
        lines += [(sick, e.vital, PALETTE[2], e.vital) for e in shown[1:] if VITALS[e.vital].unit == unit][:1]
    if len(lines) > 1:
        lines[0] = (sick, first.vital, BLUE, first.vital)
    if healthy is not sick:
        lines.insert(0, (healthy, first.vital, GREY, "without the fault"))
    values = [] if bound is None else [bound]
    for doctor, vital, colour, name in lines:
        if not (points := _points(doctor, vital)):
            continue
        axes.plot(list(points), list(points.values()), colour, linewidth=1.2, marker=".", markersize=3, label=name)
        values += points.values()
    if bound is not None:
        axes.axhline(bound, color=_RED, linewidth=0.9, linestyle="--")
    if min(values) > 0 and max(values) > 200 * min(values):
        logarithmic(axes, y=True)
    axes.axvline(finding.onset, color=_RED, linewidth=0.6, alpha=0.5)
    axes.margins(y=0.1)
    low, high = axes.get_ylim()
    over = high * (high / low) ** 0.15 if axes.get_yscale() == "log" else high + 0.2 * (high - low)
    axes.set_ylim(low, over)  # room for the legend
    what = first.text or VITALS[first.vital].what
    title = textwrap.shorten(f"{first.vital} ({what})", 75, placeholder=" …")
    label(axes, "step", VITALS[first.vital].unit, textwrap.fill(title, width))
    legend(axes, "upper left", columns=2)


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
