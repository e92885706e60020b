"""Variants of the faults in the order and the wiring of a step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn, optim

from ..changes import optimiser_for
from ..fault import Variant, around_step, before_step, lose_clearing
from ..kit import Kit, freeze


def variant(about: str, patch: Callable[[Kit], None]) -> Variant:
    """A variant of this split that replaces parts of a loop."""
    return Variant(about, patch, split="held-out")


def _only_if_bad(k: Kit) -> None:
    """The check for overflow is turned round: the step is taken if a gradient is not finite."""
    step = k.opt_g.step

    def guarded(self: optim.Optimizer, closure: Any = None) -> Any:
        if closure is not None:
            closure()
        if any(p.grad is not None and not bool(p.grad.isfinite().all()) for p in k.G.parameters()):
            step()

    k.opt_g.step = MethodType(guarded, k.opt_g)  # type: ignore[method-assign]


def _best_weights(k: Kit) -> None:
    """The weights that a check once called the best are loaded at the end of each round."""
    best = {name: value.clone() for name, value in k.G.state_dict().items()}
    k.after.append(lambda: k.G.load_state_dict(best))


def _copied_network(k: Kit) -> None:
    k.D = copy.deepcopy(k.D)


def _wrong_one_frozen(k: Kit) -> None:
    """A helper that should free the generator at the start of each round freezes it."""
    freeze(k.G, True)
    k.before.append(lambda: freeze(k.G, True))


def _cleared_by_callback(k: Kit) -> None:
    def cleared() -> None:
        for p in k.D.parameters():
            p.grad = None

    before_step(k.opt_d, cleared)


def _both_step(k: Kit) -> None:
    """The line after the generator's backward pass steps both optimisers."""
    before_step(k.opt_g, lambda: k.opt_d.step())


def _from_the_judge(k: Kit) -> None:
    """A comprehension over both networks, filtered by the wrong one."""
    theirs = set(k.D.parameters())
    k.opt_g = optimiser_for(k, "g", [p for net in (k.G, k.D) for p in net.parameters() if p in theirs])


def _without_first_layer(k: Kit) -> None:
    k.opt_g = optimiser_for(k, "g", list(k.G.parameters())[2:])


def _biases_only(k: Kit) -> None:
    """The filter that spares biases from decay is used for the whole optimiser."""
    k.opt_d = optimiser_for(k, "d", [p for p in k.D.parameters() if p.dim() < 2])


def _vectors_cleared(k: Kit, opt: optim.Optimizer, net: nn.Module) -> None:
    """Only biases and the like are cleared."""
    lose_clearing(opt, net)

    def some() -> None:
        for p in net.parameters():
            if p.dim() < 2:
                p.grad = None

    k.before.append(some)


def _first_rounds_cleared(k: Kit, opt: optim.Optimizer, net: nn.Module) -> None:
    """Gradients are cleared while a counter is small."""
    lose_clearing(opt, net)
    left = [4]

    def maybe() -> None:
        left[0] -= 1
        if left[0] > 0:
            for p in net.parameters():
                p.grad = None

    k.before.append(maybe)


def _each_after_its_own(k: Kit) -> None:
    """Each optimiser clears its own gradients after its step and nobody clears before."""
    for opt, net in ((k.opt_g, k.G), (k.opt_d, k.D)):
        lose_clearing(opt, net)
        around_step(opt, False)


def _clone_for_detach(k: Kit) -> None:
    """Samples are cloned, not detached; the generator is cleared at the end of each round."""
    k.hide = lambda fake: fake.clone()  # type: ignore[method-assign]
    lose_clearing(k.opt_g, k.G)

    def end() -> None:
        for p in k.G.parameters():
            p.grad = None

    k.after.append(end)


def _half_detached(k: Kit) -> None:
    """A detach in the wrong branch: half of the rows keep their graph, and the generator is cleared after its step."""

    def hide(fake: Tensor) -> Tensor:
        half = len(fake) // 2
        return torch.cat([fake[:half], fake[half:].detach()])

    k.hide = hide  # type: ignore[method-assign]
    lose_clearing(k.opt_g, k.G)
    around_step(k.opt_g, False)


def _through_lists(k: Kit) -> None:
    k.show = lambda fake: k.x.new_tensor(fake.tolist())  # type: ignore[method-assign]


def _last_rounds(k: Kit) -> None:
    """The generator's loss is computed for the samples that were stored for the log, one step late."""
    stored: list[Tensor] = []

    def show(fake: Tensor) -> Tensor:
        stored.append(fake.detach())
        return stored.pop(0) if len(stored) > 1 else stored[0]

    k.show = show  # type: ignore[method-assign]


def _real_shuffled(k: Kit) -> None:
    k.both = lambda x, fake: (k.D(x), k.D(x[torch.randperm(len(x))]))  # type: ignore[method-assign]


def _overwritten(k: Kit) -> None:
    """The buffer of samples is filled with the real rows."""

    def both(x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        buffer = fake.detach().clone()
        buffer.copy_(x)
        scores = k.D(torch.cat([x, buffer]))
        return scores[: len(x)], scores[len(x) :]

    k.both = both  # type: ignore[method-assign]


def _range_of_batch(k: Kit) -> None:
    """Numbers are drawn below the size of a batch, not below that of the set."""
    size = k.n
    k.picks = lambda n: k.kept[torch.randint(size, (n,))]  # type: ignore[method-assign]


def _seeded_workers(k: Kit) -> None:
    """The numbers of a batch are drawn from one of four seeds."""
    turn = [0]

    def picks(n: int) -> Tensor:
        turn[0] += 1
        rng = torch.Generator().manual_seed(turn[0] % 4)
        return k.kept[torch.randint(len(k.kept), (n,), generator=rng)]

    k.picks = picks  # type: ignore[method-assign]


def _codes_shuffled(k: Kit) -> None:
    """The codes that were drawn for pictures are used in training, in another order at each step."""
    stored = k.fresh(k.n)
    k.codes = lambda n: stored[torch.randperm(len(stored))[:n]]  # type: ignore[method-assign]


def _codes_in_turn(k: Kit) -> None:
    """Three batches of codes are used in turn."""
    stored, turn = [k.fresh(k.n) for _ in range(3)], [0]

    def codes(n: int) -> Tensor:
        turn[0] += 1
        return stored[turn[0] % 3][:n]

    k.codes = codes  # type: ignore[method-assign]


def _rates(k: Kit) -> list[dict[str, Any]]:
    return [group for opt in (k.opt_g, k.opt_d) for group in opt.param_groups]


def _inverse_time(k: Kit) -> None:
    """Rates are divided by one plus a million times the number of rounds."""
    start, count = [group["lr"] for group in _rates(k)], [0]

    def decay() -> None:
        count[0] += 1
        for group, rate in zip(_rates(k), start, strict=True):
            group["lr"] = rate / (1 + 1e6 * count[0])

    k.after.append(decay)


def _halved(k: Kit) -> None:
    """Rates are halved in each round rather than in each epoch."""

    def half() -> None:
        for group in _rates(k):
            group["lr"] *= 0.5

    k.after.append(half)


def _from_another_run(k: Kit) -> None:
    """Both rates are those of another project: 0.3."""
    for group in _rates(k):
        group["lr"] = 0.3


def _by_batch(k: Kit) -> None:
    """The generator's rate is multiplied by the batch, for rows that are counted one by one, and by ten devices."""
    for group in k.opt_g.param_groups:
        group["lr"] *= 10.0 * k.n


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "generator-not-stepped": (
        variant("the check for overflow is turned round", _only_if_bad),
        variant("the best weights are loaded in each round", _best_weights),
    ),
    "discriminator-not-stepped": (variant("the network is copied after its optimiser was made", _copied_network),),
    "generator-frozen": (variant("a helper freezes the wrong network in each round", _wrong_one_frozen),),
    "discriminator-frozen": (variant("a callback clears gradients before the step", _cleared_by_callback),),
    "wrong-parameters": (
        variant("both optimisers step after the generator's backward pass", _both_step),
        variant("the generator's optimiser has the parameters of a wrong filter", _from_the_judge),
    ),
    "half-optimised": (
        variant("the generator's first layer is missing", _without_first_layer),
        variant("the discriminator's optimiser holds its biases", _biases_only),
    ),
    "no-clearing-generator": (
        variant("only biases are cleared", lambda k: _vectors_cleared(k, k.opt_g, k.G)),
        variant("cleared in the first rounds only", lambda k: _first_rounds_cleared(k, k.opt_g, k.G)),
    ),
    "no-clearing-discriminator": (
        variant("only biases are cleared", lambda k: _vectors_cleared(k, k.opt_d, k.D)),
        variant("cleared in the first rounds only", lambda k: _first_rounds_cleared(k, k.opt_d, k.D)),
    ),
    "leftover-gradient": (variant("each player is cleared after its own step only", _each_after_its_own),),
    "not-detached": (
        variant("samples are cloned, not detached", _clone_for_detach),
        variant("half of the samples are detached", _half_detached),
    ),
    "generator-detached": (
        variant("samples go through lists of numbers in the generator's loss", _through_lists),
        variant("the generator's loss is that of stored samples", _last_rounds),
    ),
    "same-batch": (
        variant("the real batch is shuffled and called fake", _real_shuffled),
        variant("the samples' buffer is overwritten by the real rows", _overwritten),
    ),
    "same-rows-always": (
        variant("numbers are drawn below the size of the batch", _range_of_batch),
        variant("batches are drawn from one of four seeds", _seeded_workers),
    ),
    "noise-once": (
        variant("stored codes are shuffled at each step", _codes_shuffled),
        variant("three batches of codes in turn", _codes_in_turn),
    ),
    "rates-vanish": (
        variant("rates are divided by a million times the rounds", _inverse_time),
        variant("rates are halved in each round", _halved),
    ),
    "rate-jump": (
        variant("both rates become 0.3", _from_another_run),
        variant("the generator's rate is multiplied by ten batches", _by_batch),
    ),
}
"""The variants by the name of the fault."""

__all__ = ["VARIANTS", "variant"]
