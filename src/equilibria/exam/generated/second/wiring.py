"""Variants of the faults in the order and the wiring of a step."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn, optim

from ..changes import optimiser_for
from ..fault import Variant, before_step, lose_clearing, lose_step
from ..kit import Kit


def variant(about: str, patch: Callable[[Kit], None]) -> Variant:
    """A variant of this split that replaces parts of a loop."""
    return Variant(about, patch, split="held-out")


def _clipped_to_zero(k: Kit) -> None:
    before_step(k.opt_g, lambda: nn.utils.clip_grad_norm_(k.G.parameters(), 0.0))


def _new_weights(k: Kit) -> None:
    for module in k.D.modules():
        for name, p in list(module.named_parameters(recurse=False)):
            value = 0.05 * torch.randn_like(p) if p.dim() > 1 else p.detach().clone()
            setattr(module, name, nn.Parameter(value))


def _masked(k: Kit) -> None:
    for p in k.G.parameters():
        p.register_hook(torch.zeros_like)


def _balanced_away(k: Kit) -> None:
    lose_step(k.opt_d)


def _reloaded(k: Kit) -> None:
    kept = {name: value.clone() for name, value in k.D.state_dict().items()}
    k.after.append(lambda: k.D.load_state_dict(kept))


def _second_group(k: Kit) -> None:
    rate = 0.5 * k.setting.recipe.rates[0]
    k.opt_g.add_param_group({"params": list(k.D.parameters()), "lr": rate})


def _copied_line(k: Kit) -> None:
    k.opt_g = optimiser_for(k, "g", list(k.D.parameters()))


def _without_matrices(k: Kit) -> None:
    k.opt_g = optimiser_for(k, "g", [p for p in k.G.parameters() if p.dim() < 2])


def _first_layer_only(k: Kit) -> None:
    k.opt_d = optimiser_for(k, "d", list(k.D.parameters())[:2])


def _cleared_each(k: Kit, opt: optim.Optimizer, net: nn.Module, rounds: int) -> None:
    """Gradients are cleared at every so many rounds only."""
    lose_clearing(opt, net)
    count = [0]

    def maybe() -> None:
        if count[0] % rounds == 0:
            for p in net.parameters():
                p.grad = None
        count[0] += 1

    k.before.append(maybe)


def _measured_by_backward(k: Kit) -> None:
    """The norm of the generator's gradient is looked at between the discriminator's backward pass and its step."""

    def look() -> None:
        if k.y is None:
            score = k.D(k.G(k.codes(k.n)))
        else:
            y = k.labelled()[1]
            score = k.D(k.G(k.codes(k.n), y), y)
        loss = k.objective.on_made(score) if k.y is not None else k.g_loss(score, k.real())
        torch.autograd.backward(loss, inputs=list(k.D.parameters()))

    before_step(k.opt_d, look)


def _cleared_with_the_other(k: Kit) -> None:
    """One line clears both players, where the discriminator's part begins; samples are not detached."""
    k.hide = lambda fake: fake  # type: ignore[method-assign]
    lose_clearing(k.opt_g, k.G)
    for holder in (k.opt_d, k.D):
        own = type(holder).zero_grad

        def zero_grad(self: Any, set_to_none: bool = True, own: Any = own) -> None:
            own(self, set_to_none)
            for p in k.G.parameters():
                p.grad = None

        holder.zero_grad = MethodType(zero_grad, holder)  # type: ignore[method-assign]


def _pooled(k: Kit) -> None:
    """Samples for the generator's loss are taken from a pool, like those of the discriminator."""
    pool: list[Tensor] = []

    def query(fake: Tensor) -> Tensor:
        pool.append(fake.detach().clone())
        if len(pool) > 8:
            pool.pop(0)
        return pool[int(torch.randint(len(pool), ()))]

    k.show = query  # type: ignore[method-assign]


def _rebuilt_tensor(k: Kit) -> None:
    k.show = lambda fake: torch.stack([row.data for row in fake]).requires_grad_()  # type: ignore[method-assign]


def _made_twice(k: Kit) -> None:
    k.both = lambda x, fake: (k.D(fake), k.D(fake))  # type: ignore[method-assign]


def _noisy_real(k: Kit) -> None:
    k.both = lambda x, fake: (k.D(x), k.D(x + 0.01 * torch.randn_like(x)))  # type: ignore[method-assign]


def _first_rows(k: Kit) -> None:
    k.picks = lambda n: k.kept[:n]  # type: ignore[method-assign]


def _two_batches(k: Kit) -> None:
    stored, turn = k.kept[torch.randperm(len(k.kept))[: 2 * k.n]], [0]

    def picks(n: int) -> Tensor:
        turn[0] += 1
        return stored[:n] if turn[0] % 2 else stored[-n:]

    k.picks = picks  # type: ignore[method-assign]


def _pool_of_codes(k: Kit) -> None:
    pool = k.fresh(48)
    k.codes = lambda n: pool[torch.randint(len(pool), (n,))]  # type: ignore[method-assign]


def _plateaus(k: Kit) -> None:
    """A schedule that waits for a plateau is stepped in each round, with a value that never gets better."""
    schedules = [
        optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=1, min_lr=1e-12, eps=0.0)
        for opt in (k.opt_g, k.opt_d)
    ]

    def step() -> None:
        for schedule in schedules:
            schedule.step(1.0)

    k.after.append(step)


def _multiplied(k: Kit) -> None:
    """Milestones with a factor that should have been its inverse: twice by 25, twenty rounds apart."""
    left = [0, 20]

    def step() -> None:
        if left and left[0] <= 0:
            left.pop(0)
            for opt in (k.opt_g, k.opt_d):
                for group in opt.param_groups:
                    group["lr"] *= 25.0
        elif left:
            left[0] -= 1

    k.before.append(step)


def _discriminator_jumps(k: Kit) -> None:
    for group in k.opt_d.param_groups:
        group["lr"] *= 500.0


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "generator-not-stepped": (variant("a bound of 0 for the gradient's norm, meant as none", _clipped_to_zero),),
    "discriminator-not-stepped": (
        variant("weights are initialised as new parameters after the optimiser was made", _new_weights),
    ),
    "generator-frozen": (variant("hooks of the parameters set their gradients to 0", _masked),),
    "discriminator-frozen": (
        variant("a rule that balances the players skips its step", _balanced_away),
        variant("its weights are loaded again in each round", _reloaded),
    ),
    "wrong-parameters": (
        variant("the discriminator's parameters are a second group of the generator's optimiser", _second_group),
        variant("the generator's optimiser was made by a copied line, with the other parameters", _copied_line),
    ),
    "half-optimised": (
        variant("matrices are missing in the generator's optimiser", _without_matrices),
        variant("the discriminator's optimiser holds its first layer", _first_layer_only),
    ),
    "no-clearing-generator": (
        variant("cleared at each hundredth round", lambda k: _cleared_each(k, k.opt_g, k.G, 100)),
    ),
    "no-clearing-discriminator": (
        variant("cleared at each sixtieth round", lambda k: _cleared_each(k, k.opt_d, k.D, 60)),
    ),
    "leftover-gradient": (variant("a backward pass to look at the generator's loss", _measured_by_backward),),
    "not-detached": (variant("both players are cleared where the discriminator begins", _cleared_with_the_other),),
    "generator-detached": (
        variant("the generator's samples come from a pool", _pooled),
        variant("samples are stacked again from their data", _rebuilt_tensor),
    ),
    "same-batch": (
        variant("samples are scored on both sides", _made_twice),
        variant("noise is added to the real rows and called fake", _noisy_real),
    ),
    "same-rows-always": (
        variant("a new iterator over rows in order is made for each batch", _first_rows),
        variant("two batches are kept and used in turn", _two_batches),
    ),
    "noise-once": (variant("codes are taken from a pool of 48", _pool_of_codes),),
    "rates-vanish": (variant("a schedule that waits for a plateau is stepped in each round", _plateaus),),
    "rate-jump": (
        variant("rates rise by 25 twice", _multiplied),
        variant("the discriminator's rate jumps by 500", _discriminator_jumps),
    ),
}
"""The variants by the name of the fault."""

__all__ = ["VARIANTS", "variant"]
