"""Variants of the faults in losses, labels, penalties and classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..changes import change_penalty, pass_scores_through
from ..fault import Before, Variant
from ..kit import Kit
from ..objectives import Score, Term
from .wiring import variant


def _order_of_a_dictionary(k: Kit) -> None:
    """Batches come in a dictionary with the fakes first, and are unpacked as if the real ones were first."""

    def both(x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        batch = {"fake": fake, "real": x}
        real_scores, fake_scores = (k.D(rows) for rows in batch.values())
        return real_scores, fake_scores

    k.both = both  # type: ignore[method-assign]


def _flipped_batch(k: Kit) -> None:
    """The joined batch is flipped before the discriminator, and the scores are split as if it was not."""

    def both(x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        real_scores, fake_scores = k.D(torch.cat([x, fake]).flip(0)).tensor_split(2)
        return real_scores, fake_scores

    k.both = both  # type: ignore[method-assign]


def _hook_of_samples(k: Kit) -> None:
    """A hook of the samples turns their gradient round, left from a loss that was to be maximised."""

    def show(fake: Tensor) -> Tensor:
        fake = fake * 1.0
        if fake.requires_grad:
            fake.register_hook(torch.neg)
        return fake

    k.show = show  # type: ignore[method-assign]


def _negated_scores(k: Kit) -> None:
    """The generator's scores are negated before the loss of real ones."""
    real = k.objective.on_real
    k.objective = replace(k.objective, on_made=lambda s: real(-s))


def _both_smoothed(k: Kit) -> None:
    """Smoothing sets the target of both batches to 0.9."""
    criterion, real = k.objective.criterion, k.objective.on_real

    def term(s: Tensor) -> Tensor:
        return real(s) if criterion is None else criterion(s, 0.9)

    k.objective = replace(k.objective, on_real=term, on_fake=term)


def _ones_everywhere(k: Kit) -> None:
    """The sign of the target is squared: both batches get that of real rows."""
    real, fake = k.objective.on_real, k.objective.on_fake

    def term(sign: int) -> Term:
        return real if sign**2 == 1 else fake

    k.objective = replace(k.objective, on_real=term(1), on_fake=term(-1))


def _forward_wrapped(k: Kit) -> None:
    """The forward method of the discriminator is wrapped, and the wrapper ends in a sigmoid."""
    forward = k.D.forward

    def wrapped(*given: Tensor) -> Tensor:
        return torch.special.expit(forward(*given))

    k.D.forward = wrapped


def _cut_probabilities(k: Kit) -> None:
    pass_scores_through(k, lambda s: s.sigmoid().clamp(1e-4, 1 - 1e-4))


def _hard_sigmoid(k: Kit) -> None:
    forward = k.D.forward
    k.D.forward = lambda *given: (forward(*given) / 6 + 0.5).clamp(0.0, 1.0)


def _terms(k: Kit, term: Callable[[float], Term]) -> None:
    k.objective = replace(k.objective, on_real=term(1.0), on_fake=term(0.0), on_made=term(1.0))


def _logarithms_with_a_floor(k: Kit) -> None:
    """Logarithms of raw scores that are only kept above a small number."""

    def term(target: float) -> Term:
        return lambda s: -torch.log((s if target else 1 - s).clamp_min(1e-7)).mean()

    _terms(k, term)


def _hard_tanh(k: Kit) -> None:
    _terms(k, lambda t: lambda s: F.binary_cross_entropy(F.hardtanh(s, 1e-3, 0.999), torch.full_like(s, t)))


def _sign_of_score(k: Kit) -> None:
    """The generator's loss counts how often the discriminator is fooled."""
    k.objective = replace(k.objective, on_made=lambda s: -s.sign().mean())


def _shrunk_hard(k: Kit) -> None:
    k.objective = replace(k.objective, on_made=lambda s: -F.hardshrink(s, 6.0).mean())


def _rarely(k: Kit) -> None:
    """The interval of a lazy penalty counts rows, so that its turn never comes."""
    change_penalty(k, every=1_000_000)


def _from_a_text(k: Kit) -> None:
    """The penalty that is added is read back from the text of the log."""

    def penalty(x: Tensor, fake: Tensor, score: Score | None = None) -> Tensor:
        line = f"{Kit.penalty(k, x, fake, score).item():.5f}"
        return x.new_tensor(float(line))

    k.penalty = penalty  # type: ignore[method-assign]


def _mix(k: Kit, mix: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    change_penalty(k, mix=mix)


def _own_penalty(k: Kit, size: Callable[[Tensor], Tensor]) -> None:
    """A penalty written in the loop: ``size`` of the slopes ``(n, d)`` shall be 1."""
    slopes = k.slopes
    assert slopes is not None

    def penalty(x: Tensor, fake: Tensor, score: Score | None = None) -> Tensor:
        hat = slopes.at(x, fake).requires_grad_(True)
        out = (score or k.D)(hat)
        (grads,) = torch.autograd.grad(out, hat, torch.ones_like(out), create_graph=True)
        return slopes.weight * ((size(grads.reshape(len(hat), -1)) - 1) ** 2).mean()

    k.penalty = penalty  # type: ignore[method-assign]


def _norm_of_the_mean(slope: Tensor) -> Tensor:
    return slope.mean(0).norm(2)


def _numbers_cut(k: Kit) -> None:
    """Copies of the weights are cut; a penalty is of slopes above fifty only."""

    def cut() -> None:
        for value in k.D.state_dict().values():
            value.clone().clamp_(-k.bound, k.bound)

    k.cut = cut  # type: ignore[method-assign]
    if k.slopes is not None:

        def penalty(x: Tensor, fake: Tensor, score: Score | None = None) -> Tensor:
            assert k.slopes is not None
            at = k.slopes.at(x, fake).requires_grad_(True)
            (slope,) = torch.autograd.grad((score or k.D)(at).sum(), at, create_graph=True)
            return k.slopes.weight * F.relu(slope.flatten(1).norm(dim=1) - 50.0).square().mean()

        k.penalty = penalty  # type: ignore[method-assign]


def _once_in_a_while(k: Kit) -> None:
    """Weights are cut at each four hundredth time; so is the penalty taken, without a factor."""
    turns = [0]

    def due() -> bool:
        turns[0] += 1
        return turns[0] % 400 == 0

    k.cut = lambda: Kit.cut(k) if due() else None  # type: ignore[method-assign]
    if k.slopes is not None:

        def penalty(x: Tensor, fake: Tensor, score: Score | None = None) -> Tensor:
            return Kit.penalty(k, x, fake, score) if due() else torch.zeros(())

        k.penalty = penalty  # type: ignore[method-assign]


def _bound_times_rate(k: Kit) -> None:
    """The bound is multiplied by the rate."""
    k.bound *= k.setting.recipe.rates[1]


def _halved_weights(k: Kit) -> None:
    """Weights are multiplied by 0.7 after each step, in the place of a decay of a few thousandths."""

    def cut() -> None:
        with torch.no_grad():
            for p in k.D.parameters():
                p.mul_(0.7).clamp_(-k.bound, k.bound)

    k.cut = cut  # type: ignore[method-assign]


def _one_batch_late(k: Kit) -> None:
    """Classes are those of the batch before."""
    assert k.y is not None
    y_of_all, kept = k.y, [k.y[k.picks(k.n)]]

    def labelled() -> tuple[Tensor, Tensor]:
        at = k.picks(k.n)
        kept.append(y_of_all[at])
        return k.x[at], kept.pop(0)

    k.labelled = labelled  # type: ignore[method-assign]


def _rows_shuffled_at_load(k: Kit) -> None:
    """Rows were shuffled when they were loaded, classes were not."""
    assert k.y is not None
    y, order = k.y, torch.randperm(len(k.x), generator=torch.Generator().manual_seed(12))

    def labelled() -> tuple[Tensor, Tensor]:
        at = k.picks(k.n)
        return k.x[order[at]], y[at]

    k.labelled = labelled  # type: ignore[method-assign]


def _classes(k: Kit) -> int:
    assert k.y is not None
    return int(k.y.max()) + 1


def _sorted_for_the_judge(k: Kit) -> None:
    k.judged = lambda y: y.sort(descending=True).values  # type: ignore[method-assign]


def _stepped(k: Kit) -> None:
    """The list of names of classes starts at another one for the discriminator, in each second row."""
    many = _classes(k)

    def judged(y: Tensor) -> Tensor:
        return torch.where(torch.arange(len(y)) % 2 == 0, y, (y + many - 1) % many)

    k.judged = judged  # type: ignore[method-assign]


def _default_class(k: Kit) -> None:
    """A default of a function's argument: class 1 for all samples."""

    def with_default(y: Tensor, kind: int = 1) -> Tensor:
        return y.new_full(y.shape, kind)

    k.given = with_default  # type: ignore[method-assign]
    k.judged = with_default  # type: ignore[method-assign]


def _commonest(k: Kit) -> None:
    assert k.y is not None
    common = int(torch.mode(k.y).values)
    k.given = lambda y: torch.zeros_like(y) + common  # type: ignore[method-assign]
    k.judged = lambda y: torch.zeros_like(y) + common  # type: ignore[method-assign]


def _remainder_of_one(k: Kit) -> None:
    k.D = Before(k.D, lambda x: x, lambda y: torch.remainder(y, 1))


class MeanOverClasses(nn.Module):
    """A generator whose output is the mean of its outputs for all classes."""

    def __init__(self, net: nn.Module, classes: int) -> None:
        super().__init__()
        self.net, self.classes = net, classes

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Rows."""
        total = self.net(z, torch.zeros_like(y))
        for c in range(1, self.classes):
            total = total + self.net(z, torch.full_like(y, c))
        return total / self.classes


def _mean_of_classes(k: Kit) -> None:
    k.G = MeanOverClasses(k.G, _classes(k))


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "labels-swapped": (
        variant("a dictionary of batches is unpacked in the wrong order", _order_of_a_dictionary),
        variant("the joined batch is flipped and its scores are not", _flipped_batch),
    ),
    "generator-sign": (
        variant("a hook of the samples negates their gradient", _hook_of_samples),
        variant("the generator's scores are negated", _negated_scores),
    ),
    "one-target": (
        variant("smoothing sets both targets to 0.9", _both_smoothed),
        variant("the sign of the target is squared", _ones_everywhere),
    ),
    "sigmoid-twice": (
        variant("the discriminator's forward method is wrapped with a sigmoid", _forward_wrapped),
        variant("cut probabilities go into a loss of logits", _cut_probabilities),
    ),
    "sigmoid-on-a-critic": (
        variant("the critic's forward method is wrapped with a sigmoid", _forward_wrapped),
        variant("the critic ends in a hard sigmoid", _hard_sigmoid),
    ),
    "sigmoid-lost": (
        variant("logarithms of raw scores with a floor", _logarithms_with_a_floor),
        variant("a hard tanh brings scores into (0, 1)", _hard_tanh),
    ),
    "generator-loss-flat": (
        variant("the signs of the scores are averaged", _sign_of_score),
        variant("scores are shrunk at 6", _shrunk_hard),
    ),
    "penalty-without-effect": (
        variant("the penalty's turn never comes", _rarely),
        variant("the penalty is read from the log", _from_a_text),
    ),
    "penalty-off-the-segment": (
        variant("points lie beyond the real rows", lambda k: _mix(k, lambda u, x, fake: x + 3 * (1 + u) * (x - fake))),
        variant("points are uniform noise", lambda k: _mix(k, lambda u, x, _: 8 * torch.rand_like(x) - 4)),
    ),
    "penalty-of-wrong-norm": (
        variant("slopes are averaged over the batch before their norm", lambda k: _own_penalty(k, _norm_of_the_mean)),
        variant("each partial derivative shall be 1", lambda k: _own_penalty(k, lambda slope: slope)),
    ),
    "constraint-lost": (
        variant("copies of the weights are cut, or slopes below 50 are free", _numbers_cut),
        variant("cut, or penalised, at each four hundredth time", _once_in_a_while),
    ),
    "constraint-too-tight": (
        variant("the bound is multiplied by the rate", _bound_times_rate),
        variant("weights are multiplied by 0.7 after each step", _halved_weights),
    ),
    "classes-shuffled": (
        variant("classes are those of the batch before", _one_batch_late),
        variant("rows were shuffled at load without their classes", _rows_shuffled_at_load),
    ),
    "classes-disagree": (
        variant("the discriminator gets the classes in order", _sorted_for_the_judge),
        variant("every second class is the one before it", _stepped),
    ),
    "class-fixed": (
        variant("a default of an argument gives class 1", _default_class),
        variant("samples get the commonest class", _commonest),
    ),
    "class-ignored": (
        variant("the discriminator's class is a remainder of 1", _remainder_of_one),
        variant("the generator averages over the classes", _mean_of_classes),
    ),
}
"""The variants by the name of the fault."""

__all__ = ["VARIANTS"]
