"""Measures of whether a run is healthy, independent of the doctor's measures."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..data import load
from ..metrics.transport import exact_w1
from .loop import Loop, Played, finite, labelled, sampled

_N = 400
_FLOOR = 42  # the seed of the rows for the score of a perfect sampler


def quality(run: Played) -> float:
    r"""The closeness of samples to the law: 1 for a perfect sampler, 0 for one that always returns the data's mean.

    .. math:: 1 - \frac{W_1(\text{samples}, p) - W_1(p, p)}{W_1(\delta_{\bar x}, p) - W_1(p, p)}

    by exact optimal assignment of 400 rows against fresh rows of the law itself (not of the loop's training rows), and
    at least 0.
    """
    if not finite(run):
        return 0.0
    loop = run.loop
    made, _ = sampled(run, _N)
    if not bool(torch.isfinite(made).all()):
        return 0.0
    x, again = fresh(loop, 41), fresh(loop, _FLOOR)
    floor = _w1(x, again)
    trivial = _w1(x, x.mean(0, keepdim=True).expand_as(x))
    far = _w1(x, made.flatten(1).double())
    if not math.isfinite(far):
        return 0.0
    return max(0.0, 1 - max(far - floor, 0.0) / (trivial - floor))


def agreement(run: Played) -> float:
    """Share of samples whose nearest real row has the requested label, rescaled: 0 is chance, 1 is all."""
    if run.labels is None or not finite(run):
        return 0.0
    made, y = sampled(run, _N)
    given = labelled(run.loop, made)
    share = float((given == y).float().mean()) if given is not None and y is not None else 0.0
    chance = 1 / run.classes
    return max(0.0, (share - chance) / (1 - chance))


def novelty(run: Played) -> float:
    """Median distance of samples to their nearest training row over that of fresh rows, at most 1."""
    if not finite(run):
        return 0.0
    made, _ = sampled(run, _N)
    seen = run.real.flatten(1).double()
    own = torch.cdist(made.flatten(1).double(), seen).min(1).values.median()
    other = torch.cdist(fresh(run.loop, 43), seen).min(1).values.median()
    return min(1.0, float(own / other.clamp(min=1e-12)))


def generalisation(run: Played) -> float:
    """1 - 2 (AUC - 1/2)+, with the AUC of the discriminator's scores for its training rows against fresh rows."""
    if not finite(run):
        return 0.0
    with torch.no_grad():
        h = run.discriminator(run.real[:_N]).double()
        shape = run.real.shape[1:]
        k = run.discriminator(fresh(run.loop, 44).float().view(-1, *shape)).double()
    chance = float((h[:, None] > k[None]).double().mean() + 0.5 * (h[:, None] == k[None]).double().mean())
    return max(0.0, 1 - 2 * max(0.0, chance - 0.5))


MEASURES = {"quality": quality, "agreement": agreement, "novelty": novelty, "generalisation": generalisation}


def fresh(loop: Loop, seed: int) -> Tensor:
    """Rows of the law that no run has used, ``(400, d)``."""
    data = load(loop.data)
    held = data.held_out_size is not None
    # The floor's other half comes from training rows: if few rows are held out, every draw of them is the same.
    rows = data.take(min(_N, data.held_out_size or _N), seed=1000 + seed, held_out=held and seed != _FLOOR)
    return rows["x"].flatten(1).double()[:_N] * loop.scale


def _w1(a: Tensor, b: Tensor) -> float:
    n = min(len(a), len(b))
    return float(exact_w1(a[:n], b[:n]))
