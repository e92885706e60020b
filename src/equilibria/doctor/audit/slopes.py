"""Readings of gradient penalties: whether one acts, on which norm, and at which points."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from .calls import Kind
from .passes import Window
from .penalties import penalty_of
from .reading import Reading
from .signs import Losses
from .trace import Came


def penalties(w: Window) -> Iterator[Reading]:
    """Readings of the slopes that the loop takes of the discriminator."""
    taken = [s for s in w.trace.slopes if s.task in w.sloping]
    if not taken or not any("discriminator" in one.moved for one in w.own("discriminator")):
        return
    yield _effect(taken)
    live = [s for s in taken if s.second is not None]
    if not live:
        return
    yield _norm(w, live)
    shares = [f.share for s in live if (f := w.fed.get(s.call.seq)) is not None and f.kind is Kind.BETWEEN]
    weights = [1 - share for share in shares if share is not None]
    if weights:
        found = torch.cat(weights)
        outside = float(((found < -1e-3) | (found > 1 + 1e-3)).float().mean())
        low, high = float(found.min()), float(found.max())
        text = f"{outside:.0%} of its points are off the segments: weights of real rows from {low:.2f} to {high:.2f}"
        yield Reading("penalty-off-the-segment", outside > 0, text if outside else "", {"share": outside})


def _effect(taken: list[Came]) -> Reading:
    name = "penalty-without-effect"
    if not any(s.graph for s in taken):
        return Reading(
            name, True, f"slopes are taken {len(taken)} times without create_graph=True: no gradient comes from them"
        )
    if not any(s.second is not None for s in taken):
        return Reading(name, True, f"slopes are taken {len(taken)} times, and no gradient comes back to them")
    return Reading(name, False)


def _norm(w: Window, live: list[Came]) -> Reading:
    name = "penalty-of-wrong-norm"
    for slope in live:
        assert slope.second is not None
        scores = [c for c in w.trace.scores if c.task == slope.task and c.call is slope.call]
        for came in scores:
            n = came.value.numel()
            if n > 1 and bool(((came.value * n - 1).abs() < 1e-4).all()):
                text = f"the slope is that of the mean of {n} scores: {n} times smaller than that of each row"
                return Reading(name, True, text, {"rows": n})
    found = [penalty_of(s.value, s.second) for s in live if s.second is not None]
    wrong = next((p for p in found if p is not None and p.axis is not None), None)
    if wrong is not None:
        text = f"the norm of the slope is taken over axis {wrong.axis} alone, and not over the whole row"
        return Reading(name, True, text, {"axis": float(wrong.axis or 0), "weight": wrong.weight})
    return Reading(name, False)


def lipschitz(w: Window, found: Losses, sloped: bool, networks: list[nn.Module]) -> Iterator[Reading]:
    """Whether a critic with a linear loss is held by nothing: no slopes taken, no parameters cut, no spectral norm.

    Args:
        w: the window.
        found: the losses.
        sloped: whether slopes were ever taken.
        networks: the discriminator's modules.
    """
    own = [e for e in found.entries if e.owner == "discriminator" and e.kind in (Kind.REAL, Kind.FAKE)]
    if not own or any(e.families != {"linear"} or e.last == "Sigmoid" or "Sigmoid" in e.formula for e in own):
        return
    # A hinge loss looks linear while all scores are inside its margin.
    beyond = any(
        float(e.s.max()) > 1.05 if (e.kind is Kind.REAL) != (found.real == -1) else float(e.s.min()) < -1.05
        for e in own
    )
    if beyond and not (
        sloped or w.sloping or any(call.cut for call in w.trace.of("discriminator")) or _normed(networks)
    ):
        text = (
            "the loss is linear in the scores, and no slope is taken, no weight is cut, and there is no spectral norm"
        )
        yield Reading("lipschitz-violated", True, text)


def _normed(networks: list[nn.Module]) -> bool:
    return any(
        hasattr(m, "parametrizations") or hasattr(m, "weight_orig") or "spectral" in type(m).__name__.lower()
        for net in networks
        for m in net.modules()
    )
