"""Faults in the order and the wiring of a step: steps, clearing, detaching, optimisers, batches, codes, rates."""

from __future__ import annotations

import torch
from torch import Tensor, optim

from .fault import Fault, Variant, around_step, clear, lose_clearing, lose_step, needs
from .kit import Kit, freeze
from .recipes import optimiser


def _rebuilt(k: Kit) -> None:
    _, k.D = k.setting.family.build(k.setting.shape)


def _cleared_before_step(k: Kit) -> None:
    around_step(k.opt_g, True)


def _freeze_generator(k: Kit) -> None:
    freeze(k.G, True)


def _still(opt: optim.Optimizer) -> None:
    for group in opt.param_groups:
        group["lr"] = 0.0


def _emptied(opt: optim.Optimizer) -> None:
    for group in opt.param_groups:
        group["params"] = []


def _both_in_one(k: Kit) -> None:
    k.opt_g = _for(k, "g", [*k.G.parameters(), *k.D.parameters()])


def _exchanged(k: Kit) -> None:
    k.opt_g, k.opt_d = k.opt_d, k.opt_g


def _both_in_the_other(k: Kit) -> None:
    k.opt_d = _for(k, "d", [*k.D.parameters(), *k.G.parameters()])
    k.hide = lambda fake: fake  # type: ignore[method-assign]


def _for(k: Kit, player: str, params: list[torch.nn.Parameter]) -> optim.Optimizer:
    recipe = k.setting.recipe
    at = 0 if player == "g" else 1
    return optimiser(recipe.optimiser[at], params, recipe.rates[at], recipe.betas)


def _half_of_generator(k: Kit) -> None:
    params = list(k.G.parameters())
    k.opt_g = _for(k, "g", params[len(params) // 2 :])


def _half_of_discriminator(k: Kit) -> None:
    k.opt_d = _for(k, "d", list(k.D.parameters())[-1:])


def _never_cleared_g(k: Kit) -> None:
    lose_clearing(k.opt_g, k.G)


def _other_cleared(k: Kit) -> None:
    lose_clearing(k.opt_g, k.G)
    k.before.append(k.opt_d.zero_grad)


def _never_cleared_d(k: Kit) -> None:
    lose_clearing(k.opt_d, k.D)


def _cleared_too_early(k: Kit) -> None:
    lose_clearing(k.opt_d, k.D)
    around_step(k.opt_d, False)


def _cleared_too_early_by_zeros(k: Kit) -> None:
    lose_clearing(k.opt_d, k.D)

    def zero() -> None:
        for p in k.D.parameters():
            if p.grad is not None:
                p.grad.zero_()

    k.opt_d.register_step_post_hook(lambda *_: zero())


def _not_detached(k: Kit) -> None:
    k.hide = lambda fake: fake  # type: ignore[method-assign]
    lose_clearing(k.opt_g, k.G)
    around_step(k.opt_g, False)


def _cleared_once(k: Kit) -> None:
    k.hide = lambda fake: fake  # type: ignore[method-assign]
    lose_clearing(k.opt_g, k.G)
    lose_clearing(k.opt_d, k.D)
    k.before.append(lambda: clear(k))


def _detached(k: Kit) -> None:
    k.show = lambda fake: fake.detach()  # type: ignore[method-assign]


def _by_numpy(k: Kit) -> None:
    k.show = lambda fake: torch.from_numpy(fake.detach().numpy().copy())  # type: ignore[method-assign]


def _real_twice(k: Kit) -> None:
    k.both = lambda x, fake: (k.D(x), k.D(x))  # type: ignore[method-assign]


def _real_as_fake(k: Kit) -> None:
    k.hide = lambda fake: k.x[k.picks(len(fake))]  # type: ignore[method-assign]


def _few_kept(k: Kit) -> None:
    k.kept = k.kept[:64]


def _one_batch(k: Kit) -> None:
    at = torch.randint(len(k.x), (k.n,))
    k.picks = lambda n: at[:n]  # type: ignore[method-assign]


def _one_draw(k: Kit) -> None:
    z = k.fresh(k.n)
    k.codes = lambda n: z[:n]  # type: ignore[method-assign]


def _seeded_draw(k: Kit) -> None:
    def codes(n: int) -> Tensor:
        return torch.randn(n, k.setting.shape.latent, generator=torch.Generator().manual_seed(0))

    k.codes = codes  # type: ignore[method-assign]


def _decayed(k: Kit) -> None:
    def decay() -> None:
        for opt in (k.opt_g, k.opt_d):
            for group in opt.param_groups:
                group["lr"] *= 0.9

    k.after.append(decay)


def _divided(k: Kit) -> None:
    for opt in (k.opt_g, k.opt_d):
        for group in opt.param_groups:
            group["lr"] *= 1e-8


def _jump(k: Kit, generator: float, discriminator: float) -> None:
    for opt, factor in ((k.opt_g, generator), (k.opt_d, discriminator)):
        for group in opt.param_groups:
            group["lr"] *= factor


_CLEARS = "gradients-by-hand clears-by-hand"
_GRAPHS = "toggles gradients-by-hand one-function"
_HIDES = "toggles gradients-by-hand one-function shared-fakes concatenated"

FAULTS = (
    Fault("generator-not-stepped", ("generator-never-updated",), "wiring", (
        Variant("opt_g.step() is missing", lambda k: lose_step(k.opt_g)),
        Variant("gradients are cleared between backward() and step()", _cleared_before_step, split="held-out"),
    ), needs(not_style="scaler"), late=True),
    Fault("discriminator-not-stepped", ("discriminator-never-updated", "parameters-not-optimised"), "wiring", (
        Variant("opt_d.step() is missing", lambda k: lose_step(k.opt_d)),
        Variant("the discriminator is built again after its optimiser", _rebuilt, split="held-out"),
    ), needs(not_style="scaler")),
    Fault("generator-frozen", ("generator-never-updated",), "wiring", (
        Variant("requires_grad is switched off and not on again", _freeze_generator),
        Variant("its rate is set to 0", lambda k: _still(k.opt_g), split="held-out"),
    ), needs(not_style=_GRAPHS + " scheduled"), late=True),
    Fault("discriminator-frozen", ("discriminator-never-updated",), "wiring", (
        Variant("its rate is set to 0", lambda k: _still(k.opt_d)),
        Variant("its optimiser has lost its parameters", lambda k: _emptied(k.opt_d), split="held-out"),
    ), needs(not_style="scheduled"), late=True, only_late=True),
    Fault("wrong-parameters", ("wrong-player-trained",), "wiring", (
        Variant("the generator's optimiser holds both networks", _both_in_one),
        Variant("the optimisers are exchanged", _exchanged),
        Variant(
            "the discriminator's optimiser holds both networks, and samples are not detached",
            _both_in_the_other,
            split="held-out",
        ),
    ), needs(not_style=_HIDES)),
    Fault("half-optimised", ("parameters-not-optimised",), "wiring", (
        Variant("the generator's optimiser holds its last layers", _half_of_generator),
        Variant("the discriminator's optimiser holds its last bias", _half_of_discriminator, split="held-out"),
    ), needs(not_network="spectral")),
    Fault("no-clearing-generator", ("gradients-accumulate",), "wiring", (
        Variant("the generator's gradients are never cleared", _never_cleared_g),
        Variant("a copied line clears the discriminator's twice", _other_cleared, split="held-out"),
    ), needs(not_style=_CLEARS), late=True),
    Fault("no-clearing-discriminator", ("gradients-accumulate", "other-players-gradient"), "wiring", (
        Variant("the discriminator's gradients are never cleared", _never_cleared_d),
    ), needs(not_style=_CLEARS), late=True),
    Fault("leftover-gradient", ("other-players-gradient",), "wiring", (
        Variant("the discriminator's gradients are cleared after its step only", _cleared_too_early),
        Variant("they are set to zero after its step only", _cleared_too_early_by_zeros, split="held-out"),
    ), needs(style="leaves", not_style="zeros-kept shared-fakes accumulation")),
    Fault("not-detached", ("other-players-gradient",), "wiring", (
        Variant("samples are not detached; the generator's gradients are cleared after its step", _not_detached),
        Variant(
            "samples are not detached; both players are cleared once, at the begin", _cleared_once, split="held-out"
        ),
    ), needs(not_style=_HIDES, single=True, style="fresh leaves")),
    Fault("generator-detached", ("adversarial-term-missing", "generator-never-updated"), "wiring", (
        Variant("samples are detached in the generator's loss", _detached),
        Variant("samples go through numpy in the generator's loss", _by_numpy, split="held-out"),
    ), needs(not_style=_GRAPHS), late=True),
    Fault("same-batch", ("same-batch-twice",), "wiring", (
        Variant("the real batch is scored on both sides", _real_twice),
        Variant("a second real batch takes the place of the samples", _real_as_fake, split="held-out"),
    ), needs(style="both", not_style=_HIDES)),
    Fault("same-rows-always", ("few-rows-used", "discriminator-overfitted", "memorisation", "mode-dropping"), "data", (
        Variant("a subset of 64 rows is left from a trial", _few_kept),
        Variant("the batch is drawn once", _one_batch, split="held-out"),
    ), needs(not_style="with-loader labelled"), steps=1000),
    Fault("noise-once", ("noise-reused",), "data", (
        Variant("codes are drawn once, before the loop", _one_draw),
        Variant("the random numbers of the codes are seeded at each draw", _seeded_draw, split="held-out"),
    ), needs(groups="points images waves table labelled"), late=True),
    Fault("rates-vanish", ("step-below-rounding",), "late", (
        Variant("an exponential schedule is stepped at each batch", _decayed),
        Variant("a schedule divides both rates by 1e8", _divided, split="held-out"),
    ), needs(not_style="scheduled"), late=True, only_late=True),
    Fault("rate-jump", ("learning-rate-jump",), "late", (
        Variant("both rates jump by 200", lambda k: _jump(k, 200.0, 200.0)),
        Variant("the generator's rate jumps by 300", lambda k: _jump(k, 300.0, 1.0), split="held-out"),
    ), needs(not_style="scheduled"), late=True, only_late=True),
)  # fmt: skip
"""The faults of this file."""
