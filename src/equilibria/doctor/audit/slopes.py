"""Readings of gradient penalties: whether one acts, on which norm, and at which points."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .calls import Kind
from .inputs import Seen
from .losses import two_term_fit
from .passes import Window
from .penalties import penalty_of
from .reading import Reading
from .signs import Losses
from .trace import Came

_FEWEST, _SLOPES = 4, 16
_BOUND = 1.05


def penalties(w: Window, before: Seen) -> Iterator[Reading]:
    """Readings of the slopes that the loop takes of the discriminator; their sizes are added to ``before``."""
    taken = [s for s in w.trace.slopes if s.task in w.sloping]
    if not taken or not any("discriminator" in one.moved for one in w.own("discriminator")):
        return
    effect = _effect(w, taken)
    if effect is not None:
        yield effect
    live = [s for s in taken if s.second is not None]
    if not live:
        return
    yield _norm(w, live, before)
    between = [f for s in live if (f := w.fed.get(s.call.seq)) is not None and f.kind is Kind.BETWEEN]
    sums = [f.sums for f in between if f.sums is not None]
    if sums:
        low, high = float(torch.cat(sums).min()), float(torch.cat(sums).max())
        text = f"its points are sums of a real and a generated row with weights that add up to {low:.2f} to {high:.2f}"
        yield Reading("penalty-off-the-segment", True, text)
        return
    weights = [1 - f.share for f in between if f.share is not None]
    if weights:
        found = torch.cat(weights)
        outside = float(((found < -1e-3) | (found > 1 + 1e-3)).float().mean())
        low, high = float(found.min()), float(found.max())
        text = f"{outside:.0%} of its points are off the segments: weights of real rows from {low:.2f} to {high:.2f}"
        yield Reading("penalty-off-the-segment", outside > 0, text if outside else "", {"share": outside})


def _effect(w: Window, taken: list[Came]) -> Reading | None:
    """None where slopes are only looked at: no term without a gradient is added to a loss that was seen."""
    name = "penalty-without-effect"
    if not any(s.graph for s in taken):
        seen = [one.task for one in w.own("discriminator") if one.task in w.trace.formulas]
        constant = bool(w.trace.constants.intersection(seen)) or w.trace.bare > 0
        if seen and not (constant and any(_before_a_loss(w, s) for s in taken)):
            return None
        return Reading(
            name, True, f"slopes are taken {len(taken)} times without create_graph=True: no gradient comes from them"
        )
    if not any(s.second is not None for s in taken):
        return Reading(name, True, f"slopes are taken {len(taken)} times, and no gradient comes back to them")
    if not any(s.call.trained for s in taken):
        text = f"slopes are taken {len(taken)} times of a discriminator whose parameters ask for no gradient: of a copy"
        return Reading(name, True, text)
    if all(s.second is not None and not bool(s.second.any()) for s in taken) and any(_steep(s) for s in taken):
        return Reading(name, True, f"of {len(taken)} slopes no gradient other than 0 comes back, and norms are above 1")
    return Reading(name, False)


def _before_a_loss(w: Window, slope: Came) -> bool:
    """Whether the discriminator's next pass comes before its next step, so that a slope may be in the loss."""
    passes = [c.seq for one in w.own("discriminator") for c in one.scores if c.seq > slope.seq]
    steps = [s.seq for s in w.steps("discriminator") if s.seq > slope.seq]
    return bool(passes) and (not steps or min(passes) < min(steps))


def _steep(slope: Came) -> bool:
    """Whether a row's slope is longer than 1, so that a penalty that bounds norms by 1 would not be 0 there."""
    return bool((_norms(slope.value) > _BOUND).any())


def _norms(value: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(value.double().reshape(len(value), -1), dim=1)
    return found


def _of_the_largest(slope: Came) -> bool:
    """Whether the penalty reads the longest slope of the batch alone, though others are longer than 1 as well."""
    assert slope.second is not None
    size, back = _norms(slope.value), _norms(slope.second)
    if len(size) < 8 or int((back > 0).sum()) != 1 or int(back.argmax()) != int(size.argmax()):
        return False
    return int((size > _BOUND).sum()) > 1


def _of_the_mean(slope: Came) -> bool:
    """Whether every row of the batch gets the same gradient, though their slopes differ."""
    assert slope.second is not None
    back, value = slope.second.double().flatten(1), slope.value.double().flatten(1)
    same = float((back - back.mean(0)).norm()) < 1e-6 * float(back.norm())
    return len(back) > 1 and same and float((value - value.mean(0)).norm()) > 1e-3 * float(value.norm())


def _of_each_entry(slope: Came) -> float:
    r"""The target t of a penalty :math:`\lambda (\partial_i h - t)^2` on each partial derivative; 0 if it is none.

    Its gradient, :math:`2\lambda (\partial_i h - t)`, is one straight line of all entries that does not go through 0.
    """
    assert slope.second is not None
    value, back = (t.double().flatten() for t in (slope.value, slope.second))
    if slope.value[0].numel() < 2 or len(value) < 8:
        return 0.0
    (level, rise), residual = two_term_fit(torch.stack([torch.ones_like(value), value], 1), back)
    return -level / rise if rise > 0 and residual < 1e-3 and abs(level) > 1e-2 * rise else 0.0


def _norm(w: Window, live: list[Came], before: Seen) -> Reading:
    name = "penalty-of-wrong-norm"
    for slope in live:
        assert slope.second is not None
        scores = [c for c in w.trace.scores if c.task == slope.task and c.call is slope.call]
        for came in scores:
            n = came.value.numel()
            if n > 1 and bool(((came.value * n - 1).abs() < 1e-4).all()):
                text = f"the slope is that of the mean of {n} scores: {n} times smaller than that of each row"
                return Reading(name, True, text, {"rows": n})
    if all(_of_the_largest(s) for s in live):
        text = "only the row with the longest slope gets gradient, though others are longer than 1 too"
        return Reading(name, True, text)
    if all(_of_the_mean(s) for s in live):
        return Reading(name, True, "the slopes are averaged over the batch before their norm is taken")
    targets = [_of_each_entry(s) for s in live]
    if all(targets):
        text = f"each partial derivative is drawn to {targets[0]:.3g}, and not the norm of the row's slope"
        return Reading(name, True, text, {"target": targets[0]})
    found = [penalty_of(s.value, s.second) for s in live if s.second is not None]
    wrong = next((p for p in found if p is not None and p.axis is not None), None)
    if wrong is not None:
        text = f"the norm of the slope is taken over axis {wrong.axis} alone, and not over the whole row"
        return Reading(name, True, text, {"axis": float(wrong.axis or 0), "weight": wrong.weight})
    width = live[0].value[0].numel()
    if width > 1 and all(p is not None and abs(p.target / width**0.5 - 1) < 1e-3 for p in found):
        text = f"the root mean square of each row's slope is drawn to 1, and so its norm to {width**0.5:.3g}"
        return Reading(name, True, text, {"target": width**0.5})
    sizes = [float(s.value.norm()) for s in live]
    before.slopes += [
        (n, p.weight) for n, p in zip(sizes, found, strict=True) if p is not None and abs(p.target) < 1e-4 * n
    ]
    target = _of_the_batch(before.slopes[-_SLOPES:])
    text = f"one norm is taken of the slopes of all rows together, and drawn to {target:.3g}" if target else ""
    weights = [p.weight for p in found if p is not None]
    return Reading(name, bool(target), text, {"weight": max(weights)} if weights else {})


def _of_the_batch(slopes: list[tuple[float, float]]) -> float:
    r"""The target k of a penalty :math:`\lambda (\|g\| - k)^2` on the norm of a whole batch; 0 if it is another one.

    Within a step it draws each slope to 0, by :math:`2\lambda (1 - k / \|g\|)`, which is not the same at every step.

    Args:
        slopes: the norm of the batch's slopes and that weight, for several steps.
    """
    if len(slopes) < _FEWEST:
        return 0.0
    size, weight = torch.tensor(slopes, dtype=torch.float64).T
    (a, b), residual = two_term_fit(torch.stack([torch.ones_like(size), 1 / size], 1), weight)
    changes = float(weight.std()) > 0.03 * float(weight.abs().mean())
    return -b / a if a > 0 > b and changes and residual < 0.01 else 0.0


def holds(w: Window) -> bool:
    """Whether slopes were taken in this window, or weights of the discriminator were at a common bound."""
    return bool(w.sloping) or any(call.cut or call.kept for call in w.trace.of("discriminator"))


def lipschitz(w: Window, found: Losses, bound: bool, networks: list[nn.Module]) -> Iterator[Reading]:
    """Whether a critic with a linear loss is held by nothing: no slopes taken, no parameters cut, no spectral norm.

    Args:
        w: the window.
        found: the losses.
        bound: whether slopes were taken, or weights cut, in an earlier window.
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
    if beyond and not (bound or holds(w) or _normed(networks)):
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
