"""Coordinates in which samples are compared (the data's own or its principal components), and k-means cells."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_RAW = 16
_COMPONENTS = 24
_CELLS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25)
_STRUCTURED = 0.6


@dataclass(frozen=True)
class Space:
    """Standardised coordinates in which real rows have root mean square 1 over all entries.

    Attributes:
        mean: ``(d,)``.
        scale: one number.
        axes: ``(d, k)`` principal components where d is above 16, else None.
        centres: ``(c, k)`` centres of cells that partition the data (k-means).
        shares: ``(c,)`` share of the real rows in each cell.
        structured: whether the cells are clusters of the data (silhouette above 0.6) or just a partition.
        directions: ``(k, p)`` fixed unit vectors of the sliced distance.
    """

    mean: Tensor
    scale: float
    axes: Tensor | None
    centres: Tensor
    shares: Tensor
    structured: bool
    directions: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Rows in these coordinates, ``(n, k)`` float32 on the CPU; non-finite rows are left out."""
        flat = x.detach().flatten(1).float().cpu()
        flat = flat[torch.isfinite(flat).all(1)]
        z = (flat - self.mean) / self.scale
        return z if self.axes is None else z @ self.axes

    def cells(self, z: Tensor) -> Tensor:
        """Share of these rows in each cell, ``(c,)``; each row counts for its nearest centre."""
        if not len(z):
            return torch.zeros(len(self.centres))
        return torch.bincount(self.cell_of(z), minlength=len(self.centres)).float() / len(z)

    def cell_of(self, z: Tensor) -> Tensor:
        """The cell of each of these rows, by its nearest centre."""
        return torch.cdist(z, self.centres).min(1).indices

    def sliced(self, a: Tensor, b: Tensor) -> float:
        """Sliced Wasserstein-1 distance of two sets of rows, in units of the data's root mean square."""
        if not len(a) or not len(b):
            return math.inf
        n = min(len(a), len(b))
        return float((self.quantiles(a, n) - self.quantiles(b, n)).abs().mean())

    def quantiles(self, z: Tensor, n: int) -> Tensor:
        """``n`` quantiles of these rows along each direction of the sliced distance, ``(n, p)``."""
        levels = torch.linspace(0.5 / n, 1 - 0.5 / n, n)
        along = z @ self.directions
        return torch.quantile(along, levels, dim=0) if len(z) != n else along.sort(0).values


def space_of(real: Tensor, seed: int = 0, *, cells: bool = True) -> Space:
    """The space of these rows, ``(n, …)``; a function of the rows and the seed.

    Args:
        real: the rows.
        seed: of the cells and the directions.
        cells: whether to look for cells, which takes most of the time; else there is one, around the first row.
    """
    draw = torch.Generator().manual_seed(seed)
    flat = real.detach().flatten(1).float().cpu()
    flat = flat[torch.isfinite(flat).all(1)][:4096]
    mean = flat.mean(0)
    scale = float((flat - mean).square().mean().sqrt().clamp(min=1e-12))
    z = (flat - mean) / scale
    axes = None
    if z.shape[1] > _RAW:
        _, s, v = torch.linalg.svd(z[:2048], full_matrices=False)
        share = (s.square().cumsum(0) / s.square().sum()).tolist()
        keep = min(_COMPONENTS, 1 + sum(x < 0.95 for x in share))
        axes = v[:keep].T.contiguous()
        z = z @ axes
        rms = float(z.square().mean().sqrt().clamp(min=1e-12))
        axes, z = axes / rms, z / rms
    found = _cells(z[:1000].numpy().tobytes(), z.shape[1], seed) if cells and len(z) else (z[:1], False)
    centres, structured = found[0].clone(), found[1]
    directions = torch.randn(z.shape[1], 48, generator=draw, dtype=z.dtype)
    directions = directions / directions.norm(dim=0, keepdim=True)
    empty = Space(mean, scale, axes, centres, torch.zeros(len(centres)), structured, directions)
    return Space(mean, scale, axes, centres, empty.cells(z), structured, directions)


@functools.lru_cache(maxsize=16)
def _cells(stored: bytes, width: int, seed: int) -> tuple[Tensor, bool]:
    """Centres of the partition with the best silhouette, or of at most 12 cells if the data has no clusters.

    Runs of one process on the same data share them: several seeds, a run that is resumed, a run that goes back.

    Args:
        stored: the bytes of the rows, ``(n, width)`` float32.
        width: the numbers of a row.
        seed: of k-means.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    z = torch.from_numpy(np.frombuffer(stored, np.float32).reshape(-1, width).copy())
    rows = z.numpy().astype(np.float64)
    best: tuple[float, Tensor] = (-1.0, z[:1])
    plain = z[:1]
    for k in _CELLS:
        if k > len(rows) // 8 or len(np.unique(rows, axis=0)) < k:
            break
        fitted = KMeans(k, n_init=3, random_state=seed).fit(rows)
        centres = torch.from_numpy(fitted.cluster_centers_).float()
        score = (
            float(silhouette_score(rows[:500], fitted.labels_[:500])) if len(set(fitted.labels_[:500])) > 1 else -1.0
        )
        if score > best[0]:
            best = (score, centres)
        if k <= 12:
            plain = centres
    return (best[1], True) if best[0] > _STRUCTURED else (plain, False)
