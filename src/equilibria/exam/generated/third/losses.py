"""Variants of the faults in losses, labels, penalties and classes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..changes import change_penalty, pass_scores_through
from ..fault import After, Before, Variant
from ..kit import Kit
from ..objectives import Score, Term
from .wiring import variant


def _arguments_exchanged(k: Kit) -> None:
    """The helper takes the scores in the other order than it is given them."""
    k.d_loss = lambda real, fake: Kit.d_loss(k, fake, real)  # type: ignore[method-assign]


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient has the other sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The input."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The gradient, negated."""
        return -grads[0]


def _reversal_layer(k: Kit) -> None:
    k.show = lambda fake: _Reversed.apply(fake)  # type: ignore[method-assign]


def _undecided(k: Kit) -> None:
    """Both batches get both targets at half the weight."""
    real, fake = k.objective.on_real, k.objective.on_fake

    def half(s: Tensor) -> Tensor:
        return 0.5 * (real(s) + fake(s))

    k.objective = replace(k.objective, on_real=half, on_fake=half)


def _tanh_to_share(k: Kit) -> None:
    k.D = After(k.D, lambda s: 0.5 * (s.tanh() + 1))


def _exponent_of_logsigmoid(k: Kit) -> None:
    pass_scores_through(k, lambda s: F.logsigmoid(s).exp())


def _kept_output(k: Kit) -> None:
    """The output layer of an older model is kept in the forward method of the critic."""
    k.D = After(k.D, lambda s: torch.exp(-F.softplus(-s)))


def _terms(k: Kit, term: Callable[[float], Term]) -> None:
    k.objective = replace(k.objective, on_real=term(1.0), on_fake=term(0.0), on_made=term(1.0))


def _cut_to_unit(k: Kit) -> None:
    _terms(k, lambda target: lambda s: F.binary_cross_entropy(s.clamp(0, 1), torch.full_like(s, target)))


def _absolute_logarithm(k: Kit) -> None:
    """Logarithms of absolute values, so that none is of a negative number."""

    def term(target: float) -> Term:
        return lambda s: -((s if target else 1 - s).abs() + 1e-8).log().mean()

    _terms(k, term)


def _larger_than_margin(k: Kit) -> None:
    k.objective = replace(k.objective, on_made=lambda s: -torch.maximum(s, torch.full_like(s, 1.5)).mean())


def _shrunk(k: Kit) -> None:
    k.objective = replace(k.objective, on_made=lambda s: -F.relu6(s - 2).mean())


def _of_a_deep_copy(k: Kit) -> None:
    """The penalty runs a deep copy of the discriminator, made to keep its norms' statistics as they are."""

    def penalty(x: Tensor, fake: Tensor, score: Score | None = None) -> Tensor:
        return Kit.penalty(k, x, fake, copy.deepcopy(k.D))

    k.penalty = penalty  # type: ignore[method-assign]


def _cut_at_zero(k: Kit) -> None:
    """A minimum in the place of a maximum cuts the penalty at 0."""
    k.penalty = lambda x, fake, score=None: Kit.penalty(k, x, fake, score).clamp(max=0)  # type: ignore[method-assign]


def _mixed(k: Kit, mix: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    assert k.slopes is not None
    k.slopes = replace(k.slopes, mix=mix)


def _loose(k: Kit) -> None:
    """Gradients are cut in the place of weights; a penalty is taken of what it exceeds a thousand by."""
    if k.bound:

        def cut() -> None:
            for p in k.D.parameters():
                if p.grad is not None:
                    p.grad.clamp_(-k.bound, k.bound)

        k.cut = cut  # type: ignore[method-assign]
    if k.slopes is not None:
        k.penalty = lambda x, fake, score=None: F.relu(Kit.penalty(k, x, fake, score) - 1e3)  # type: ignore[method-assign]


def _biases_cut(k: Kit) -> None:
    """Biases alone are cut; a penalty's weight is divided by the number of the discriminator's parameters."""

    def cut() -> None:
        with torch.no_grad():
            for p in k.D.parameters():
                if k.bound and p.dim() < 2:
                    p.clamp_(-k.bound, k.bound)

    k.cut = cut  # type: ignore[method-assign]
    if k.slopes is not None:
        k.slopes = replace(k.slopes, weight=k.slopes.weight / sum(p.numel() for p in k.D.parameters()))


def _shrinking(k: Kit) -> None:
    """The bound is multiplied by 0.95 in each round, like a rate."""

    def shrink() -> None:
        k.bound = max(1e-5, 0.95 * k.bound)

    k.after.append(shrink)


def _by_size(k: Kit) -> None:
    """The bound is divided by the number of weights in each tensor."""

    def cut() -> None:
        with torch.no_grad():
            for p in k.D.parameters():
                p.clamp_(-k.bound / p.numel(), k.bound / p.numel())

    k.cut = cut  # type: ignore[method-assign]


def _sorted_at_load(k: Kit) -> None:
    """The table of classes was sorted when it was loaded, the rows were not."""
    assert k.y is not None
    ordered = k.y.sort().values

    def labelled() -> tuple[Tensor, Tensor]:
        at = k.picks(k.n)
        return k.x[at], ordered[at]

    k.labelled = labelled  # type: ignore[method-assign]


def _rolled(k: Kit) -> None:
    """Rows and classes of a batch are shifted against each other by one."""

    def labelled() -> tuple[Tensor, Tensor]:
        x, y = Kit.labelled(k)
        return x, y.roll(1)

    k.labelled = labelled  # type: ignore[method-assign]


def _flipped(k: Kit) -> None:
    k.judged = lambda y: y.flip(0)  # type: ignore[method-assign]


def _classes(k: Kit) -> int:
    assert k.y is not None
    return int(k.y.max()) + 1


def _asked_anew(k: Kit) -> None:
    many = _classes(k)
    k.judged = lambda y: torch.randint_like(y, many)  # type: ignore[method-assign]


def _integer_share(k: Kit) -> None:
    """Classes are divided by their number in integers."""
    many = _classes(k)
    k.given = lambda y: y // many  # type: ignore[method-assign]
    k.judged = lambda y: y // many  # type: ignore[method-assign]


def _drawn_inside(k: Kit, player: str) -> None:
    """The class is drawn again inside a network's forward method."""
    many = _classes(k)

    def deaf(y: Tensor) -> Tensor:
        return torch.randint_like(y, many)

    if player == "g":
        k.G = Before(k.G, lambda z: z, deaf)
    else:
        k.D = Before(k.D, lambda x: x, deaf)


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "labels-swapped": (variant("the helper's arguments are exchanged", _arguments_exchanged),),
    "generator-sign": (variant("a layer that reverses gradients stands before the discriminator", _reversal_layer),),
    "one-target": (variant("both batches get the target of a half", _undecided),),
    "sigmoid-twice": (
        variant("the discriminator ends in a tanh that is brought to [0, 1]", _tanh_to_share),
        variant("scores are exponents of log-sigmoids before a loss of logits", _exponent_of_logsigmoid),
    ),
    "sigmoid-on-a-critic": (variant("an output layer is left from an older model", _kept_output),),
    "sigmoid-lost": (
        variant("scores are cut to [0, 1] for binary_cross_entropy", _cut_to_unit),
        variant("logarithms of absolute scores", _absolute_logarithm),
    ),
    "generator-loss-flat": (
        variant("the larger of score and margin", _larger_than_margin),
        variant("a relu6 of the score above 2", _shrunk),
    ),
    "penalty-without-effect": (
        variant("the slope is that of a deep copy", _of_a_deep_copy),
        variant("the penalty is cut at 0", _cut_at_zero),
    ),
    "penalty-off-the-segment": (
        variant("the same weight for both rows", lambda k: _mixed(k, lambda u, x, fake: 2 * u * (x + fake))),
        variant("points are mixtures with noise", lambda k: _mixed(k, lambda u, x, _: x + 3 * torch.randn_like(x))),
    ),
    "penalty-of-wrong-norm": (
        variant("the largest slope is taken", lambda k: change_penalty(k, norm="largest")),
        variant("the root of the mean square is taken", lambda k: change_penalty(k, norm="rms")),
    ),
    "constraint-lost": (
        variant("gradients are cut in the place of weights, or the penalty has a threshold", _loose),
        variant("biases alone are cut, or the penalty is divided by the parameters", _biases_cut),
    ),
    "constraint-too-tight": (
        variant("the bound shrinks in each round", _shrinking),
        variant("the bound is divided by the number of weights", _by_size),
    ),
    "classes-shuffled": (
        variant("classes were sorted when they were loaded", _sorted_at_load),
        variant("classes are shifted by one row", _rolled),
    ),
    "classes-disagree": (
        variant("the classes of samples are flipped", _flipped),
        variant("the discriminator is given newly drawn classes", _asked_anew),
    ),
    "class-fixed": (variant("classes are divided by their number in integers", _integer_share),),
    "class-ignored": (
        variant("the discriminator draws the class anew", lambda k: _drawn_inside(k, "d")),
        variant("the generator draws the class anew", lambda k: _drawn_inside(k, "g")),
    ),
}
"""The variants by the name of the fault."""

__all__ = ["VARIANTS"]
