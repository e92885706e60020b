"""Variants of the faults in losses, labels, penalties and classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn, optim
from torch.func import functional_call
from torch.nn import functional as F

from ..changes import change_penalty
from ..fault import After, Before, Variant
from ..kit import Kit
from ..objectives import Term
from .wiring import variant


def _other_order(k: Kit) -> None:
    """Both batches go through the discriminator at once, and the scores are split in the other order."""

    def both(x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        scores = k.D(torch.cat([fake, x], 0))
        return scores[: len(fake)], scores[len(fake) :]

    k.both = both  # type: ignore[method-assign]


def _maximised(opt: optim.Optimizer) -> None:
    for group in opt.param_groups:
        group["maximize"] = True


def _zeros_for_both(k: Kit) -> None:
    k.objective = replace(k.objective, on_real=k.objective.on_fake)


def _hook(k: Kit) -> None:
    k.D.register_forward_hook(lambda module, given, out: 1 / (1 + torch.exp(-out)))


def _two_columns(k: Kit) -> None:
    k.D = After(k.D, lambda s: torch.stack([torch.zeros_like(s), s], -1).softmax(-1)[..., 1])


def _by_hand(k: Kit) -> None:
    """The cross-entropy written out, with a small number in each logarithm and a cut to [0, 1]."""

    def term(target: float) -> Term:
        def entropy(s: Tensor) -> Tensor:
            p = s.clamp(0.0, 1.0)
            return -(target * torch.log(p + 1e-6) + (1 - target) * torch.log(1 - p + 1e-6)).mean()

        return entropy

    k.objective = replace(k.objective, on_real=term(1.0), on_fake=term(0.0), on_made=term(1.0))


def _thresholded(k: Kit) -> None:
    k.objective = replace(k.objective, on_made=lambda s: -F.threshold(s, 0.8, 0.0).mean())


def _of_a_copy(k: Kit) -> None:
    """The slope is that of a copy of the discriminator, whose parameters are numbers."""

    def penalty(x: Tensor, fake: Tensor, score: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        numbers = {name: p.detach() for name, p in k.D.named_parameters()}
        return Kit.penalty(k, x, fake, lambda rows: functional_call(k.D, numbers, (rows,)))

    k.penalty = penalty  # type: ignore[method-assign]


def _integer_weight(k: Kit) -> None:
    assert k.slopes is not None
    k.slopes = replace(k.slopes, weight=float(1 // 10))


def _too_wide(k: Kit) -> None:
    k.bound = 4.0 if k.bound else 0.0
    k.slopes = replace(k.slopes, weight=k.slopes.weight / k.n**2) if k.slopes is not None else None


def _renormed(k: Kit) -> None:
    def cut() -> None:
        with torch.no_grad():
            for p in k.D.parameters():
                p.mul_((0.05 / (p.norm() + 1e-12)).clamp(max=1.0))

    k.cut = cut  # type: ignore[method-assign]


def _sorted_index(k: Kit) -> None:
    """Rows are fetched at the numbers as drawn, classes at the numbers in order, as a file on disk wants them."""

    def labelled() -> tuple[Tensor, Tensor]:
        assert k.y is not None
        at = k.picks(k.n)
        return k.x[at], k.y[at.sort().values]

    k.labelled = labelled  # type: ignore[method-assign]


def _classes(k: Kit) -> int:
    assert k.y is not None
    return int(k.y.max()) + 1


def _other_names(k: Kit) -> None:
    """The generator's classes are sorted the other way round than the data's."""
    last = _classes(k) - 1
    k.judged = lambda y: last - y  # type: ignore[method-assign]


def _last_class(k: Kit) -> None:
    last = _classes(k) - 1
    k.given = lambda y: torch.full_like(y, last)  # type: ignore[method-assign]
    k.judged = lambda y: torch.full_like(y, last)  # type: ignore[method-assign]


class Averaged(nn.Module):
    """A conditional discriminator whose score is averaged over the classes."""

    def __init__(self, net: nn.Module, classes: int) -> None:
        super().__init__()
        self.net, self.classes = net, classes

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Scores."""
        return torch.stack([self.net(x, torch.full_like(y, c)) for c in range(self.classes)]).mean(0)


def _averaged(k: Kit) -> None:
    k.D = Averaged(k.D, _classes(k))


def _cut_classes(k: Kit) -> None:
    k.G = Before(k.G, lambda z: z, lambda y: y.clamp(max=0))


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "labels-swapped": (variant("fakes come first in the joined batch and are split off last", _other_order),),
    "generator-sign": (variant("the generator's optimiser maximises a loss", lambda k: _maximised(k.opt_g)),),
    "one-target": (variant("both batches get the target of fakes", _zeros_for_both),),
    "sigmoid-twice": (variant("a hook of the discriminator applies a sigmoid", _hook),),
    "sigmoid-on-a-critic": (variant("the score is one of two columns of a softmax", _two_columns),),
    "sigmoid-lost": (variant("the cross-entropy by hand, for scores that are cut to [0, 1]", _by_hand),),
    "generator-loss-flat": (variant("the generator's loss has a threshold that samples do not reach", _thresholded),),
    "penalty-without-effect": (
        variant("the slope is that of a copy", _of_a_copy),
        variant("the weight is a quotient of integers", _integer_weight),
    ),
    "penalty-off-the-segment": (
        variant("mixing weights reach from -1 to 1", lambda k: change_penalty(k, points="signed")),
        variant("a wrong sign in the mixture", lambda k: change_penalty(k, points="typed")),
    ),
    "penalty-of-wrong-norm": (
        variant("the norm is taken along the batch", lambda k: change_penalty(k, norm="columns")),
        variant("the sum of absolute slopes is taken", lambda k: change_penalty(k, norm="absolute")),
    ),
    "constraint-lost": (variant("weights are cut at 4, or the penalty is divided twice by the batch", _too_wide),),
    "constraint-too-tight": (variant("each parameter's norm is cut at 0.05", _renormed),),
    "classes-shuffled": (variant("classes are fetched in another order than rows", _sorted_index),),
    "classes-disagree": (variant("classes are sorted in two ways", _other_names),),
    "class-fixed": (variant("samples are made and judged with the last class", _last_class),),
    "class-ignored": (
        variant("the discriminator's score is averaged over the classes", _averaged),
        variant("the generator's classes are cut at 0", _cut_classes),
    ),
}
"""The variants by the name of the fault."""

__all__ = ["VARIANTS"]
