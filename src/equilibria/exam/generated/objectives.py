"""Losses and penalties of the generated loops, written out as users write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Term = Callable[[Tensor], Tensor]
Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Objective:
    """The losses of both players as terms of scores.

    Attributes:
        on_real: the discriminator's term of real scores.
        on_fake: the discriminator's term of scores of generated rows.
        on_made: the generator's term of scores of generated rows.
        criterion: the same by a target, ``criterion(scores, 0 or 1)``, if the losses can be written so.
        paired: whether scores enter as differences between a real and a generated row.
        sigmoid: whether the discriminator has to end in a sigmoid.
    """

    on_real: Term
    on_fake: Term
    on_made: Term
    criterion: Callable[[Tensor, float], Tensor] | None = None
    paired: bool = False
    sigmoid: bool = False


def _logits(s: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(s, torch.full_like(s, target))


def _probabilities(s: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy(s, torch.full_like(s, target))


def _squares(s: Tensor, target: float) -> Tensor:
    return 0.5 * ((s - target) ** 2).mean()


def _by_target(criterion: Callable[[Tensor, float], Tensor], sigmoid: bool = False) -> Objective:
    return Objective(
        lambda s: criterion(s, 1.0),
        lambda s: criterion(s, 0.0),
        lambda s: criterion(s, 1.0),
        criterion,
        sigmoid=sigmoid,
    )


OBJECTIVES: dict[str, Objective] = {
    "cross-entropy": _by_target(_logits),
    "probabilities": _by_target(_probabilities, sigmoid=True),
    "least-squares": _by_target(_squares),
    "softplus": Objective(
        lambda s: F.softplus(-s).mean(), lambda s: F.softplus(s).mean(), lambda s: F.softplus(-s).mean()
    ),
    "saturating": Objective(
        lambda s: F.softplus(-s).mean(), lambda s: F.softplus(s).mean(), lambda s: -F.softplus(s).mean()
    ),
    "hinge": Objective(lambda s: F.relu(1 - s).mean(), lambda s: F.relu(1 + s).mean(), lambda s: -s.mean()),
    "wasserstein": Objective(lambda s: -s.mean(), lambda s: s.mean(), lambda s: -s.mean()),
    "relativistic": Objective(
        lambda s: F.softplus(-s).mean(), lambda s: F.softplus(s).mean(), lambda s: F.softplus(-s).mean(), paired=True
    ),
}
"""Losses by name. ``relativistic`` takes differences of scores of pairs (its ``on_fake`` is not used)."""


@dataclass(frozen=True)
class Penalty:
    """A penalty of the discriminator's slopes, with the mistakes that it can have.

    Attributes:
        kind: ``r1`` (slopes on real rows), ``gp`` (between real and generated rows), ``dragan`` (around real rows).
        weight: its factor.
        every: it is taken at each ``every``-th step only, times ``every``.
        graph: whether the slope can be differentiated.
        number: whether it joins the loss as a number.
        points: ``""``, or a mistake: ``normal`` mixing weights, mixing weights ``tripled`` or ``signed``, or a wrong
            sign in the mixture (``typed``).
        norm: ``""``, or a mistake: ``batch`` for one norm of the batch, ``mean`` for the slope of the mean score,
            ``columns`` for norms along the batch, ``absolute`` for sums of absolute values, ``rms`` for roots of mean
            squares, ``largest`` for the largest value.
        mix: other points: a function of uniform weights, the real and the generated rows.
    """

    kind: str
    weight: float
    every: int = 1
    graph: bool = True
    number: bool = False
    points: str = ""
    norm: str = ""
    mix: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None

    def at(self, x: Tensor, fake: Tensor) -> Tensor:
        """The points at which slopes are taken."""
        if self.mix is not None:
            return self.mix(torch.rand(len(x), *[1] * (x.dim() - 1)), x.detach(), fake.detach())
        if self.kind == "r1":
            return x.detach().clone()
        if self.kind == "dragan":
            return x.detach() + 0.5 * x.std() * torch.rand_like(x)
        shape = (len(x), *[1] * (x.dim() - 1))
        u = torch.randn(shape) if self.points == "normal" else torch.rand(shape)
        u = 3 * u if self.points == "tripled" else 2 * u - 1 if self.points == "signed" else u
        return u * x.detach() + (1 + u if self.points == "typed" else 1 - u) * fake.detach()

    def __call__(self, score: Score, x: Tensor, fake: Tensor) -> Tensor:
        """The penalty of a discriminator ``score`` for a batch."""
        at = self.at(x, fake).requires_grad_(True)
        out = score(at)
        total = out.mean() if self.norm == "mean" else out.sum()
        slope = torch.autograd.grad(total, at, create_graph=self.graph, retain_graph=True)[0].flatten(1)
        if self.norm == "absolute":
            size = slope.abs().sum(1)
        elif self.norm == "largest":
            size = slope.abs().amax(1)
        elif self.norm == "rms":
            size = (slope.square().mean(1) + 1e-12).sqrt()
        elif self.norm == "batch":
            size = slope.norm()
        else:
            size = (slope.square().sum(0 if self.norm == "columns" else 1) + 1e-12).sqrt()
        value = 0.5 * size**2 if self.kind == "r1" else (size - 1) ** 2
        found = self.weight * self.every * value.mean()
        return found.detach().clone() if self.number else found


def clip_weights(net: nn.Module, bound: float) -> None:
    """Cut every parameter at ``bound``."""
    with torch.no_grad():
        for p in net.parameters():
            p.clamp_(-bound, bound)


__all__ = ["OBJECTIVES", "Objective", "Penalty", "clip_weights"]
