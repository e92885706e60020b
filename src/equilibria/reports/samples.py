"""The pictures of samples: the last ones large, the earlier ones behind a slider and in a strip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..base.errors import ShapeError
from ..figures import Bounds, Plane, bounds_of, image_grid, plane_of, png, scatter, thumbnail
from ..training.pictures import side_by_side
from .content import Snapshot
from .page import Picture
from .text import number

_FRAMES, _THUMBS = 16, 8
_WIDTH = 704  # of the column of text, in CSS pixels
_PIXELS = 256 * 256  # of one frame before enlargement: keeps the page of a large-image run small enough to send


@dataclass(frozen=True)
class Frame:
    """One moment of the run as it goes into the page.

    Attributes:
        step: the round.
        large: the picture.
        small: the same in small.
        says: what it shows.
    """

    step: int
    large: Picture
    small: Picture
    says: str


@dataclass(frozen=True)
class View:
    """How points are looked at, the same in every frame."""

    real: NDArray[Any] | None
    plane: Plane | None
    bounds: Bounds | None


def frames(stored: Sequence[Snapshot], real: NDArray[Any] | None) -> tuple[list[Frame], list[str]]:
    """At most 16 evenly spaced frames, the first and the last among them, and notes on those that cannot be shown."""
    snapshots = _spread(stored, _FRAMES)
    arrays = [snapshot.array() for snapshot in snapshots]
    view = _view(real, next((a for a in reversed(arrays) if a is not None and a.ndim == 2), None))
    made, notes = [], []
    for snapshot, array in zip(snapshots, arrays, strict=True):
        frame = _frame(snapshot, array, view)
        if frame is None:
            notes.append(f"The samples of round {number(snapshot.step)} are damaged or of no shape that can be drawn.")
        else:
            made.append(frame)
    return made, notes


def thumbs(made: list[Frame]) -> list[int]:
    """Which of the frames are in the strip: at most 8, evenly spaced, the first and the last among them."""
    return _spread(list(range(len(made))), _THUMBS)


def _made(step: int, large: bytes, small: bytes, kind: str, says: str) -> Frame:
    return Frame(step, Picture(large, f"{says} at round {step}", kind), Picture(small, "", kind), says)


def _frame(snapshot: Snapshot, array: NDArray[Any] | None, view: View) -> Frame | None:
    if array is not None and array.ndim == 4 and array.shape[1] in (1, 3, 4):
        return _images(snapshot.step, array)
    views = {} if array is not None else snapshot.views()
    if views and all(view.ndim == 4 and view.shape[1] in (1, 3, 4) for view in views.values()):
        try:
            wide = side_by_side({name: torch.from_numpy(view).float() for name, view in views.items()})
            return _images(snapshot.step, wide.numpy(), f"each {', '.join(views)}, ")
        except ShapeError:
            pass
    stored = snapshot.picture()
    # A picture drawn during the run shows real rows too; it is better than samples alone.
    if array is not None and array.ndim == 2 and (view.real is not None or stored is None):
        try:
            return _points(snapshot.step, array, view)
        except ShapeError:
            pass
    if stored is None:
        return None
    return _stored(snapshot.step, stored, f": {', '.join(views)}" if views else "")


def _images(step: int, array: NDArray[Any], each: str = "") -> Frame:
    height, width = array.shape[2:]
    side = max(3, min(8, math.isqrt(max(1, _PIXELS // (height * width)))))
    shown = array[: side * side]
    columns = math.ceil(math.sqrt(len(shown)))
    longest = max(height, width)
    tile = longest * max(1, _WIDTH // columns // longest)
    large = image_grid(shown, columns, tile=tile, background=None)
    if large.width > _WIDTH and longest > 64:
        large = thumbnail(large, round(large.height * _WIDTH / large.width))
    small = image_grid(shown[:9], min(len(shown), 3), tile=32, background=None)
    small = thumbnail(small, 192) if small.height > 192 else small
    kind = "pixels" if longest <= 64 else "photos"
    return _made(step, png(large), png(small), kind, f"{len(shown)} samples, {each}neither sorted nor selected")


def _points(step: int, array: NDArray[Any], view: View) -> Frame:
    large = scatter(array, view.real, view.bounds, plane=view.plane)
    small = scatter(array, view.real, view.bounds, plane=view.plane, bare=True)
    over = "" if view.real is None else f" over {number(len(view.real))} real points"
    where = "" if view.plane is None else f", on the first two principal axes of {view.plane.of}"
    says = f"{number(len(array))} samples{over}{where}"
    return _made(step, png(large, colors=64), png(small, colors=32), "plot wide", says)


def _stored(step: int, drawn: Image.Image, views: str) -> Frame:
    # Charts turn over in the dark, photographs do not: a chart is mostly white.
    chart = float(np.mean(np.asarray(drawn.convert("L")) > 250)) > 0.5
    small = thumbnail(drawn, min(drawn.height, 240))
    return _made(
        step, png(drawn), png(small), "plot wide" if chart else "pixels wide", f"Samples as drawn by the run{views}"
    )


def _view(real: NDArray[Any] | None, samples: NDArray[Any] | None) -> View:
    if samples is None:
        return View(None, None, None)
    if real is not None and (real.ndim != 2 or real.shape[1] != samples.shape[1] or not np.isfinite(real).all()):
        real = None
    reference = samples if real is None else real
    try:
        if reference.shape[1] == 1:
            return View(real, None, bounds_of(np.repeat(reference, 2, axis=1)))
        if reference.shape[1] == 2:
            return View(real, None, bounds_of(reference))
        plane = plane_of(reference, "the real data" if real is not None else "the last samples")
        return View(real, plane, bounds_of(plane.project(reference.astype(np.float64))))
    except ShapeError:
        return View(real, None, None)


def _spread(items: Any, most: int) -> list[Any]:
    """At most ``most`` of the items, evenly spaced by position, with both ends."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
