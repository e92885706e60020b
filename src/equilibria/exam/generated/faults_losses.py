"""Faults in losses, labels, penalties and classes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from .changes import change_penalty, pass_scores_through
from .fault import After, Before, Fault, Variant, needs
from .kit import Kit
from .objectives import Term


def _exchanged(k: Kit) -> None:
    o = k.objective
    real, fake = o.on_real, o.on_fake
    k.objective = replace(o, on_real=(lambda s: real(-s)) if o.paired else fake, on_fake=real)


def _rows_exchanged(k: Kit) -> None:
    k.both = lambda x, fake: (k.D(fake), k.D(x))  # type: ignore[method-assign]


def _one_target(k: Kit) -> None:
    k.objective = replace(k.objective, on_fake=k.objective.on_real)


def _joined_target(k: Kit) -> None:
    term = k.objective.on_real
    k.d_loss = lambda real, fake: term(torch.cat([real, fake]))  # type: ignore[method-assign]


def _module_sigmoid(k: Kit) -> None:
    k.D = After(k.D, torch.sigmoid)


def _loss_sigmoid(k: Kit) -> None:
    pass_scores_through(k, torch.sigmoid)


def _negated(k: Kit) -> None:
    made = k.objective.on_made
    k.objective = replace(k.objective, on_made=lambda s: -made(s))


def _fake_target(k: Kit) -> None:
    k.objective = replace(k.objective, on_made=k.objective.on_fake)


def _clamped_entropy(k: Kit) -> None:
    def term(target: float) -> Term:
        return lambda s: F.binary_cross_entropy(s.clamp(1e-4, 1 - 1e-4), torch.full_like(s, target))

    k.objective = replace(k.objective, on_real=term(1.0), on_fake=term(0.0), on_made=term(1.0))


def _clamped_logarithm(k: Kit) -> None:
    def log(p: Tensor) -> Tensor:
        return -p.clamp(1e-5, 1.0).log().mean()

    k.objective = replace(k.objective, on_real=log, on_fake=lambda s: log(1 - s), on_made=log)


def _rectified_made(k: Kit) -> None:
    k.objective = replace(k.objective, on_made=lambda s: -F.relu(s - 1).mean())


def _clamp_made(k: Kit) -> None:
    k.objective = replace(k.objective, on_made=lambda s: -s.clamp(-0.05, 0.05).mean())


def _not_added(k: Kit) -> None:
    k.added = False


def _unconstrained(k: Kit) -> None:
    k.bound, k.slopes = 0.0, None


def _hardly_constrained(k: Kit) -> None:
    k.bound = 100.0 if k.bound else 0.0
    k.slopes = replace(k.slopes, weight=1e-6) if k.slopes is not None else None


def _bound(k: Kit, bound: float) -> None:
    k.bound = bound


def _classes_permuted(k: Kit) -> None:
    def labelled() -> tuple[Tensor, Tensor]:
        x, y = Kit.labelled(k)
        return x, y[torch.randperm(len(y))]

    k.labelled = labelled  # type: ignore[method-assign]


def _classes_of_another_batch(k: Kit) -> None:
    k.labelled = lambda: (Kit.labelled(k)[0], Kit.labelled(k)[1])  # type: ignore[method-assign]


def _drawn_again(k: Kit) -> None:
    k.judged = lambda y: y[torch.randperm(len(y))]  # type: ignore[method-assign]


def _off_by_one(k: Kit) -> None:
    assert k.y is not None
    classes = int(k.y.max()) + 1
    k.judged = lambda y: (y + 1) % classes  # type: ignore[method-assign]


def _zero_class(k: Kit) -> None:
    k.given = lambda y: torch.zeros_like(y)  # type: ignore[method-assign]
    k.judged = lambda y: torch.zeros_like(y)  # type: ignore[method-assign]


def _first_class(k: Kit) -> None:
    first = int(k.y[0]) if k.y is not None else 0
    k.given = lambda y: torch.full_like(y, first)  # type: ignore[method-assign]


def _same(x: Tensor) -> Tensor:
    return x


def _deaf_discriminator(k: Kit) -> None:
    k.D = Before(k.D, _same, torch.zeros_like)


def _deaf_generator(k: Kit) -> None:
    k.G = Before(k.G, _same, torch.zeros_like)


_LABELLED = needs(groups="labelled")

FAULTS = (
    Fault("labels-swapped", ("swapped-labels",), "losses", (
        Variant("real rows get the target of fakes and the reverse, in the discriminator's loss", _exchanged),
        Variant("the two batches are exchanged in the discriminator's step", _rows_exchanged, split="held-out"),
    ), needs(style="both", not_style="targets"), late=True),
    Fault("generator-sign", ("swapped-labels",), "losses", (
        Variant("the sign of the generator's loss is wrong", _negated),
        Variant("the generator's loss has the target of fakes", _fake_target, split="held-out"),
    ), needs(not_style="targets", objectives="cross-entropy softplus wasserstein hinge least-squares")),
    Fault("one-target", ("same-target-for-both",), "losses", (
        Variant("the label is not refilled: fakes are labelled as real", _one_target),
        Variant("both batches are joined and labelled as real", _joined_target, split="held-out"),
    ), needs(not_style="targets separate-backward", objectives="cross-entropy softplus least-squares hinge")),
    Fault("sigmoid-twice", ("double-sigmoid",), "losses", (
        Variant("the discriminator ends in a sigmoid and the loss takes logits", _module_sigmoid),
        Variant("scores go through a sigmoid before a loss of logits", _loss_sigmoid, split="held-out"),
    ), needs(not_style="targets", objectives="cross-entropy softplus")),
    Fault("sigmoid-on-a-critic", ("sigmoid-on-critic",), "losses", (
        Variant("the critic ends in a sigmoid", _module_sigmoid),
        Variant("its scores go through a sigmoid", _loss_sigmoid, split="held-out"),
    ), needs(objectives="wasserstein hinge")),
    Fault("sigmoid-lost", ("missing-sigmoid",), "losses", (
        Variant("scores without bounds are clamped for binary_cross_entropy", _clamped_entropy),
        Variant("scores without bounds are clamped for a logarithm", _clamped_logarithm, split="held-out"),
    ), needs(not_style="targets", objectives="cross-entropy")),
    Fault("generator-loss-flat", ("flat-generator-loss",), "losses", (
        Variant("the generator's loss is minus a rectified score above a margin", _rectified_made),
        Variant("its scores are clamped to a narrow interval", _clamp_made, split="held-out"),
    ), needs(objectives="hinge")),
    Fault("penalty-without-effect", ("penalty-without-effect",), "penalties", (
        Variant("the penalty is logged and not added", _not_added),
        Variant("the slope is taken without create_graph", lambda k: change_penalty(k, graph=False)),
        Variant("the penalty is added as a number", lambda k: change_penalty(k, number=True), split="held-out"),
    ), needs(penalties="gp r1 dragan", groups="points images waves table pairs"), late=True, truth="slopes"),
    Fault("penalty-off-the-segment", ("penalty-off-the-segment",), "penalties", (
        Variant("mixing weights are standard normal", lambda k: change_penalty(k, points="normal")),
        Variant("mixing weights reach from 0 to 3", lambda k: change_penalty(k, points="tripled"), split="held-out"),
    ), needs(penalties="gp"), truth="slopes"),
    Fault("penalty-of-wrong-norm", ("penalty-of-wrong-norm",), "penalties", (
        Variant("the slope is that of the mean score", lambda k: change_penalty(k, norm="mean")),
        Variant("one norm is taken of the whole batch", lambda k: change_penalty(k, norm="batch"), split="held-out"),
    ), needs(penalties="gp"), truth="slopes"),
    Fault("constraint-lost", ("lipschitz-violated",), "penalties", (
        Variant("nothing bounds the critic", _unconstrained),
        Variant("weights are cut at 100, or the penalty's weight is 1e-6", _hardly_constrained, split="held-out"),
    ), needs(objectives="wasserstein"), late=True, steps=900),
    Fault("constraint-too-tight", ("lipschitz-too-tight",), "penalties", (
        Variant("weights are cut at 1e-4", lambda k: _bound(k, 1e-4)),
        Variant("weights are cut at 1e-3", lambda k: _bound(k, 1e-3), split="held-out"),
    ), needs(clipped=True)),
    Fault("classes-shuffled", ("label-ignored",), "classes", (
        Variant("classes of real rows are permuted in each batch", _classes_permuted),
        Variant("classes come from another batch than the rows", _classes_of_another_batch, split="held-out"),
    ), _LABELLED, steps=1000, truth="labels"),
    Fault("classes-disagree", ("labels-disagree",), "classes", (
        Variant("samples are judged with other classes than they were made with", _drawn_again),
        Variant("classes are off by one in the discriminator", _off_by_one, split="held-out"),
    ), _LABELLED, truth="labels"),
    Fault("class-fixed", ("condition-fixed",), "classes", (
        Variant("samples are made and judged with class 0", _zero_class),
        Variant("samples are made with the first row's class", _first_class, split="held-out"),
    ), _LABELLED, truth="labels"),
    Fault("class-ignored", ("label-ignored",), "classes", (
        Variant("the discriminator ignores the class", _deaf_discriminator),
        Variant("the generator ignores the class", _deaf_generator, split="held-out"),
    ), _LABELLED, steps=1000, truth="labels"),
)  # fmt: skip
"""The faults of this file."""
