"""Variants of the faults in the order and the wiring of a step."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

from ..changes import optimiser_for
from ..fault import Variant, before_step, lose_clearing
from ..kit import Kit


def variant(about: str, patch: Callable[[Kit], None]) -> Variant:
    """A variant of this split that replaces parts of a loop."""
    return Variant(about, patch, split="unseen")


def _groups(*opts: optim.Optimizer) -> list[dict[str, Any]]:
    return [group for opt in opts for group in opt.param_groups]


def _waits(k: Kit) -> None:
    """The generator waits until the discriminator had its first 100,000 steps."""
    step, left = k.opt_g.step, [100_000]

    def guarded(self: optim.Optimizer, closure: Any = None) -> Any:
        found = None if closure is None else closure()
        left[0] -= 1
        if left[0] < 0:
            step()
        return found

    k.opt_g.step = MethodType(guarded, k.opt_g)  # type: ignore[method-assign]


def _moved_to_a_device(k: Kit) -> None:
    """The optimiser holds the parameters of before a move: they are other tensors now."""
    for group in _groups(k.opt_g):
        group["params"] = [p.detach().clone().requires_grad_(p.requires_grad) for p in group["params"]]


def _assigned(k: Kit) -> None:
    """A checkpoint is loaded with ``assign=True`` after the optimiser was made."""
    checkpoint = copy.deepcopy(k.D.state_dict())
    k.D.load_state_dict(checkpoint, assign=True)
    for p in k.D.parameters():
        p.requires_grad_(True)


def _average_copied_back(net: nn.Module) -> Callable[[], None]:
    """An averaged copy with a decay of 1 is copied back into the network."""
    shadow = [p.detach().clone() for p in net.parameters()]

    def swap() -> None:
        with torch.no_grad():
            for p, average in zip(net.parameters(), shadow, strict=True):
                average.mul_(1.0).add_(p, alpha=0.0)
                p.copy_(average)

    return swap


def _values_clipped_at_zero(k: Kit) -> None:
    """The threshold of ``clip_grad_value_`` comes from a missing entry of a table, 0."""
    options: dict[str, float] = {}
    before_step(k.opt_g, lambda: nn.utils.clip_grad_value_(k.G.parameters(), options.get("clip", 0.0)))


def _balanced_to_nothing(k: Kit) -> None:
    """Gradients are multiplied by a balance that is an integer quotient, so 0."""
    balance = k.n // (2 * k.n)

    def weigh() -> None:
        for p in k.D.parameters():
            if p.grad is not None:
                p.grad *= balance

    before_step(k.opt_d, weigh)


def _of_the_generator_twice(k: Kit) -> None:
    """Both optimisers were made from the generator's parameters."""
    k.opt_d = optimiser_for(k, "d", list(k.G.parameters()))


def _chained(k: Kit) -> None:
    """Both optimisers were made from one chain of all parameters."""
    everything = list(itertools.chain(k.G.parameters(), k.D.parameters()))
    k.opt_g, k.opt_d = optimiser_for(k, "g", everything), optimiser_for(k, "d", everything)


def _first_half(k: Kit) -> None:
    params = list(k.G.parameters())
    k.opt_g = optimiser_for(k, "g", params[: max(2, len(params) // 2)])


def _head_only(k: Kit) -> None:
    """As for a trained body: only the last module with parameters is optimised."""
    last = [m for m in k.D.modules() if any(True for _ in m.parameters(recurse=False))][-1]
    k.opt_d = optimiser_for(k, "d", list(last.parameters()))


def _every_so_many(k: Kit, opt: optim.Optimizer, net: nn.Module) -> None:
    """Gradients are cleared where the accumulated steps are a multiple of ten thousand."""
    lose_clearing(opt, net)
    count = [0]

    def maybe() -> None:
        count[0] += 1
        if count[0] % 10_000 == 0:
            for p in net.parameters():
                p.grad = None

    k.after.append(maybe)


def _faded(k: Kit, opt: optim.Optimizer, net: nn.Module) -> None:
    """Gradients are multiplied by 0.98 in each round rather than cleared."""
    lose_clearing(opt, net)

    def fade() -> None:
        for p in net.parameters():
            if p.grad is not None:
                p.grad.mul_(0.98)

    k.before.append(fade)


def _cleared_in_the_wrong_part(k: Kit) -> None:
    """The line that clears the discriminator stands in the generator's part, before its backward pass."""
    lose_clearing(k.opt_d, k.D)
    show = k.show

    def cleared(fake: Tensor) -> Tensor:
        for p in k.D.parameters():
            p.grad = None
        return show(fake)

    k.show = cleared  # type: ignore[method-assign]


def _after_its_step(k: Kit) -> None:
    """The generator is cleared by a hook after its step only."""
    lose_clearing(k.opt_g, k.G)

    def clear(*_: Any) -> None:
        for p in k.G.parameters():
            p.grad = None

    k.opt_g.register_step_post_hook(clear)


def _mixed_with_its_detached(k: Kit) -> None:
    """Samples are a mean of themselves and their detached copy."""
    k.hide = lambda fake: torch.lerp(fake, fake.detach(), 0.5)  # type: ignore[method-assign]
    _after_its_step(k)


def _result_of_detach_lost(k: Kit) -> None:
    """``detach`` is called, and its result is not used."""

    def hide(fake: Tensor) -> Tensor:
        fake.detach()
        return fake

    k.hide = hide  # type: ignore[method-assign]
    _after_its_step(k)


def _into_a_buffer(k: Kit) -> None:
    """Samples are written into a buffer of a batch without gradients."""

    def show(fake: Tensor) -> Tensor:
        buffer = torch.empty_like(fake)
        with torch.no_grad():
            buffer.copy_(fake)
        return buffer

    k.show = show  # type: ignore[method-assign]


def _through_a_loader(k: Kit) -> None:
    """Samples go through a data set and a loader, as real rows do."""

    def show(fake: Tensor) -> Tensor:
        (rows,) = next(iter(DataLoader(TensorDataset(fake.detach()), batch_size=len(fake))))
        return rows

    k.show = show  # type: ignore[method-assign]


def _same_slice(k: Kit) -> None:
    """Both batches go through the discriminator at once, and the first half of the scores is taken twice."""

    def both(x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        scores = k.D(torch.cat([x, fake]))
        return scores[: len(x)], scores[: len(fake)]

    k.both = both  # type: ignore[method-assign]


def _cached_score(k: Kit) -> None:
    """Scores are kept under the shape of their input, which both batches share."""

    def both(x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        cache: dict[torch.Size, Tensor] = {}
        for rows in (x, fake):
            if rows.shape not in cache:
                cache[rows.shape] = k.D(rows)
        return cache[x.shape], cache[fake.shape]

    k.both = both  # type: ignore[method-assign]


def _modulo(k: Kit) -> None:
    """Numbers of rows are taken modulo a number that was meant for a test."""
    k.picks = lambda n: k.kept[torch.randint(len(k.kept), (n,)) % 40]  # type: ignore[method-assign]


def _cycled(k: Kit) -> None:
    """An iterator over one small shard is cycled."""
    shard = itertools.cycle(k.kept[torch.randperm(len(k.kept))[:100]].tolist())
    k.picks = lambda n: torch.tensor(list(itertools.islice(shard, n)))  # type: ignore[method-assign]


def _antithetic(k: Kit) -> None:
    """Codes and their negatives, of one draw."""
    half = k.fresh(k.n)
    pool = torch.cat([half[: (k.n + 1) // 2], -half[: k.n // 2]]).repeat(2, 1)
    k.codes = lambda n: pool[:n]  # type: ignore[method-assign]


def _numpy_seed(k: Kit) -> None:
    """A generator of numpy is made with a fixed seed wherever codes are drawn."""
    width = k.fresh(1).shape[1]

    def codes(n: int) -> Tensor:
        return torch.from_numpy(np.random.default_rng(2024).standard_normal((n, width), np.float32))

    k.codes = codes  # type: ignore[method-assign]


def _powers(k: Kit) -> None:
    """Each round takes the rates to the power of 1.2."""

    def decay() -> None:
        for group in _groups(k.opt_g, k.opt_d):
            group["lr"] = group["lr"] ** 1.2

    k.after.append(decay)


def _milestones_in_rounds(k: Kit) -> None:
    """Twelve milestones that were meant in thousands of rounds: each divides the rates by ten."""
    milestones = set(range(3, 39, 3))
    count = [0]

    def step() -> None:
        count[0] += 1
        if count[0] in milestones:
            for group in _groups(k.opt_g, k.opt_d):
                group["lr"] /= 10

    k.after.append(step)


def _restarted(k: Kit) -> None:
    """A warm restart at four hundred times the rates, which then fall to a tenth of that within the run."""
    for group in _groups(k.opt_g, k.opt_d):
        group["lr"] *= 400.0

    def anneal() -> None:
        for group in _groups(k.opt_g, k.opt_d):
            group["lr"] *= 0.995

    k.after.append(anneal)


def _every_second(k: Kit) -> None:
    """A cyclic schedule whose upper rate has two zeros too few before its digits: every second round at 100 times."""
    start, count = [group["lr"] for group in _groups(k.opt_g, k.opt_d)], [0]

    def cycle() -> None:
        count[0] += 1
        for group, rate in zip(_groups(k.opt_g, k.opt_d), start, strict=True):
            group["lr"] = rate * (100.0 if count[0] % 2 else 1.0)

    k.before.append(cycle)


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "generator-not-stepped": (
        variant("a guard waits for 100,000 steps", _waits),
        variant("the optimiser holds the tensors of before a move", _moved_to_a_device),
    ),
    "discriminator-not-stepped": (variant("a checkpoint is assigned after the optimiser was made", _assigned),),
    "generator-frozen": (
        variant("an average with a decay of 1 is copied back", lambda k: k.after.append(_average_copied_back(k.G))),
        variant("values of its gradients are clipped at 0", _values_clipped_at_zero),
    ),
    "discriminator-frozen": (
        variant("its gradients are multiplied by a quotient of integers", _balanced_to_nothing),
        variant("an average with a decay of 1 is copied back", lambda k: k.after.append(_average_copied_back(k.D))),
    ),
    "wrong-parameters": (
        variant("both optimisers were made from the generator", _of_the_generator_twice),
        variant("both optimisers were made from a chain of all parameters", _chained),
    ),
    "half-optimised": (
        variant("the generator's optimiser holds its first layers", _first_half),
        variant("the discriminator's optimiser holds its last module", _head_only),
    ),
    "no-clearing-generator": (
        variant("cleared at each ten thousandth step", lambda k: _every_so_many(k, k.opt_g, k.G)),
        variant("faded rather than cleared", lambda k: _faded(k, k.opt_g, k.G)),
    ),
    "no-clearing-discriminator": (
        variant("cleared at each ten thousandth step", lambda k: _every_so_many(k, k.opt_d, k.D)),
        variant("faded rather than cleared", lambda k: _faded(k, k.opt_d, k.D)),
    ),
    "leftover-gradient": (variant("the discriminator is cleared in the generator's part", _cleared_in_the_wrong_part),),
    "not-detached": (
        variant("samples are a mean of themselves and their detached copy", _mixed_with_its_detached),
        variant("the result of detach is not used", _result_of_detach_lost),
    ),
    "generator-detached": (
        variant("samples are written into a buffer without gradients", _into_a_buffer),
        variant("samples go through a loader in the generator's loss", _through_a_loader),
    ),
    "same-batch": (
        variant("the first half of the scores is taken twice", _same_slice),
        variant("scores are cached by the shape of their input", _cached_score),
    ),
    "same-rows-always": (
        variant("numbers of rows are taken modulo 40", _modulo),
        variant("one shard of a hundred rows is cycled", _cycled),
    ),
    "noise-once": (
        variant("one draw of codes and their negatives", _antithetic),
        variant("a numpy generator is seeded at each draw", _numpy_seed),
    ),
    "rates-vanish": (
        variant("rates are taken to a power in each round", _powers),
        variant("twelve milestones, three rounds apart", _milestones_in_rounds),
    ),
    "rate-jump": (
        variant("a warm restart at 400 times the rates", _restarted),
        variant("100 times the rates in each second round", _every_second),
    ),
}
"""The variants by the name of the fault."""

__all__ = ["VARIANTS", "variant"]
