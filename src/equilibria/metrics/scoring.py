"""How a metric joins the table of :func:`~equilibria.metrics.evaluate`: one :class:`Score`, listed in its module.

A module of this folder lists its scores as ``SCORES``; the modules are found by listing the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..base.errors import ShapeError
from ..base.records import record
from .checks import generator
from .measured import Measured


@record
class Suite:
    """Sizes and conventions of :func:`evaluate`; compare only tables of the same suite.

    Args:
        exact: largest number of samples for W1 by assignment, whose time grows with the cube.
        quadratic: largest number of samples for the kernel and neighbour metrics.
        linear: largest number of samples for the other metrics.
        projections: number of directions of sliced W1.
        k: number of neighbours of precision, recall, density and coverage.
        repeats: number of splits of the real data for a floor.
        permutations: number of permutations of the kernel test.
        components: number of principal components of the pixels, if no features are given.
        threshold: standard deviations within which a sample is of high quality.
        seed: seed of every random choice.
    """

    exact: int = 1000
    quadratic: int = 2000
    linear: int = 10_000
    projections: int = 128
    k: int = 5
    repeats: int = 5
    permutations: int = 200
    components: int = 64
    threshold: float = 3.0
    seed: int = 0


@dataclass(frozen=True)
class Score:
    """A metric of the table of :func:`~equilibria.metrics.evaluate`.

    Attributes:
        on: what it compares: ``"vectors"`` as they are, or ``"features"`` of images (or of anything with features).
        measured: called with samples ``(n, d)``, up to twice as many real rows ``(m, d)``, and the suite; the scores by
            name, each with its floor (:func:`compared` makes them of a function of two sets of rows).
    """

    on: Literal["vectors", "features"]
    measured: Callable[[Tensor, Tensor, Suite], dict[str, Measured]]


Scores = Callable[[Tensor, Tensor], Sequence[float]]


def compared(
    names: Sequence[str], scores: Scores, fake: Tensor, pool: Tensor, suite: Suite, most: int, **fields: Any
) -> dict[str, Measured]:
    """Several scores at once, each beside its floor: the mean over splits of the real rows in two.

    Args:
        names: of the scores.
        scores: of samples and as many real rows.
        fake: samples.
        pool: real rows.
        suite: the number of splits, and the seed.
        most: largest number of samples.
        fields: ``unit`` and ``higher`` of :class:`~equilibria.metrics.Measured`.
    """
    n = min(len(fake), len(pool) // 2, most)
    values = np.asarray(scores(fake[:n], pool[:n]))
    floors = _floors(names, scores, pool[: 2 * n], suite)
    spreads = floors.std(0, ddof=1) if len(floors) > 1 else np.zeros_like(values)
    return {
        name: Measured(
            value=float(value), floor=float(floor), spread=float(spread), n=n, repeats=suite.repeats, **fields
        )
        for name, value, floor, spread in zip(names, values, floors.mean(0), spreads, strict=True)
    }


_KNOWN: dict[Any, np.ndarray] = {}
_MOST = 64


def _floors(names: Sequence[str], scores: Scores, pool: Tensor, suite: Suite) -> np.ndarray:
    """What each split of the real rows scores, ``(repeats, scores)``; many runs on the same data share them."""
    content = np.ascontiguousarray(pool.detach().cpu().numpy())
    key = (tuple(names), suite, content.shape, hashlib.sha256(content.tobytes()).digest())
    if key not in _KNOWN:
        found = np.asarray([scores(a, b) for a, b in halves(pool, suite.repeats, suite.seed)])
        while len(_KNOWN) >= _MOST:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = found
    return _KNOWN[key]


def halves(pool: Tensor, repeats: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Disjoint halves of ``pool``, drawn at random ``repeats`` times.

    Raises:
        ShapeError: fewer than two rows.

    Examples:
        >>> [(len(a), len(b)) for a, b in halves(torch.zeros(9), repeats=2, seed=0)]
        [(4, 4), (4, 4)]
    """
    half = len(pool) // 2
    if half < 1:
        raise ShapeError(f"{len(pool)} real rows cannot be split in two", "pass at least two")
    draws = generator(seed)
    for _ in range(repeats):
        order = torch.randperm(len(pool), generator=draws).to(pool.device)
        yield pool[order[:half]], pool[order[half : 2 * half]]
