"""Samples as rows of the data, and as pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..base.errors import ShapeError
from ..core.play import Play
from ..data import Dataset, DataSpec
from ..figures import bounds_of, image_grid, plane_of, png, scatter
from ..metrics.modes import modes
from .hooks import Log, Samples

_ROWS = {"vector": 2500, "image": 64}


def parts_of(samples: Tensor, spec: DataSpec) -> dict[str, Tensor]:
    """What a game's samples are, as rows of the data's shape, by name.

    An ensemble's ``(members, n, …)`` are the rows of each member; pairs side by side along the last axis, as games on
    two domains make them, are the rows of each domain; all others are one part without a name.

    Examples:
        >>> spec = DataSpec(kind="vector", shape=(2,), paired=True)
        >>> {name: tuple(rows.shape) for name, rows in parts_of(torch.zeros(5, 4), spec).items()}
        {'first': (5, 2), 'second': (5, 2)}
        >>> sorted(parts_of(torch.zeros(3, 5, 2), spec))
        ['member 0', 'member 1', 'member 2']
    """
    if samples.dim() == len(spec.shape) + 2:
        return {f"member {i}": rows for i, rows in enumerate(samples)}
    if spec.paired and tuple(samples.shape[1:]) == (*spec.shape[:-1], 2 * spec.shape[-1]):
        first, second = samples.chunk(2, dim=-1)
        return {"first": first, "second": second}
    return {"": samples}


def labels_for(play: Play, n: int) -> Tensor | None:
    """Every class in turn, for a game with labels."""
    classes = getattr(play.game, "classes", 0)
    return torch.arange(n, device=play.device) % classes if classes else None


def sample_hook(folder: Path, data: Dataset, every: int, log: Log) -> Samples:
    """The hook that keeps samples and their pictures, and logs the modes that a law's samples capture."""
    image = data.spec.kind == "image"
    n = 100 if image and data.spec.classes == 10 else _ROWS[data.spec.kind]
    law = data.law

    def draw(play: Play) -> Tensor:
        samples = play.sample(n, 0, labels_for(play, n)).cpu()
        parts = list(parts_of(samples, data.spec).values())
        if law is not None and law.modes is not None and parts[0].shape[1:] == data.spec.shape:
            found = [modes(rows, law) for rows in parts]
            captured, quality = [f.captured for f in found], [f.high_quality for f in found]
            lone = len(found) == 1
            row = {
                "quality/modes": captured[0] if lone else captured,
                "quality/high_quality": quality[0] if lone else quality,
            }
            log.write({"step": play.round, **row})
            log.latest.update(row)
        return samples

    return Samples(
        folder / "samples", every, draw, painter(data.spec, lambda: data, n), np.float16 if image else np.float32
    )


def painter(spec: DataSpec, data: Callable[[], Dataset], n: int = 64) -> Callable[[Tensor], bytes]:
    """What draws samples as a PNG: a grid of images, or points over real ones. It raises ShapeError for other shapes.

    Args:
        spec: what rows are.
        data: gives the data, which only points need.
        n: how many samples there will be.
    """
    if spec.kind == "image":
        return lambda samples: _grid(samples, 10 if n == 100 else 8)
    real = data().take(_ROWS["vector"])["x"].cpu()
    plane = plane_of(real) if real.shape[1] > 2 else None
    window = bounds_of(plane.project(real.numpy()) if plane else real.expand(-1, 2) if real.shape[1] == 1 else real)

    def points(samples: Tensor) -> bytes:
        rows = torch.cat(list(parts_of(samples, spec).values()))
        return png(scatter(rows, real, window, plane=plane))

    return points


def _grid(samples: Tensor, columns: int) -> bytes:
    if samples.dim() < 4:
        raise ShapeError(f"samples of shape {tuple(samples.shape)} are no images", "write them to a .npz")
    return png(image_grid(samples.flatten(0, -4), columns))
