"""A GAN training loop in plain PyTorch, as users write it, with switches for common mistakes.

It shares no code with the trainer or the doctor. One record defines a run; a run with a planted disease is another
record.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import load
from .nets import Networks, build


@dataclass(frozen=True)
class Loop:
    """One run. The defaults give a healthy run: perceptrons on a ring, non-saturating losses and R1.

    Attributes:
        data: name of a law, or ``digits``.
        points: size of a finite training set drawn from the law; 0 for fresh rows at every step.
        nets: architectures.
        objective: ``nonsaturating``, ``saturating``, ``wasserstein``, ``hinge`` or ``least-squares``.
        optimizer: ``adam``, ``rmsprop`` or ``sgd``.
        rate, rate_d: learning rates of the generator and the discriminator.
        momentum: Adam's first coefficient, or the momentum of SGD.
        batch, steps: rows per step, number of steps.
        turns, turns_d: turns of the generator and the discriminator per step.
        r1, penalty, clip: weights of R1 and of the gradient penalty, and the clipping bound of weights; 0 for none.
        conditional: whether both networks get labels.
        faults: mistakes in the code, by name (see :data:`FAULTS`).
        scale: factor by which the data is multiplied.
        seed: seed of all randomness.
    """

    data: str = "ring8-U"
    points: int = 0
    nets: Networks = field(default_factory=Networks)
    objective: str = "nonsaturating"
    optimizer: str = "adam"
    rate: float = 1e-3
    rate_d: float = 1e-3
    momentum: float = 0.5
    batch: int = 128
    steps: int = 2000
    turns: int = 1
    turns_d: int = 1
    r1: float = 0.1
    penalty: float = 0.0
    clip: float = 0.0
    conditional: bool = False
    faults: tuple[str, ...] = ()
    scale: float = 1.0
    seed: int = 0


FAULTS = {
    "generator-not-stepped": "the generator's optimiser is never stepped",
    "generator-detached": "the generator's output is detached in its own loss",
    "discriminator-not-stepped": "the discriminator's optimiser is never stepped",
    "swapped-labels": "real rows are labelled 0 and generated ones 1 in the discriminator's loss",
    "real-twice": "the discriminator gets real rows on both sides",
    "fake-twice": "the discriminator gets generated rows on both sides",
    "double-sigmoid": "the discriminator ends in a sigmoid and the loss applies another",
    "shared-optimizer": "the discriminator's optimiser has the generator's parameters too, and fakes are not detached",
    "half-optimised": "the generator's optimiser has only the parameters of the last layer",
    "no-zero-grad": "the generator's gradients are never cleared",
    "label-hidden": "the discriminator gets the same label for every row",
    "one-class-loader": "the loader returns only the first part of the sorted data",
    "frozen-statistics": "running statistics of the generator's norms are never updated",
    "overflow": "one learning-rate spike at half time",
    "bad-row": "one row of the data is NaN",
}


@dataclass
class Played:
    """A run: its networks, their training rows (``real``), rows of the whole law (``reference``), and how to sample."""

    loop: Loop
    generator: nn.Module
    discriminator: nn.Module
    real: Tensor
    holdout: Tensor
    reference: Tensor
    labels: Tensor | None
    optimizers: dict[str, torch.optim.Optimizer]
    classes: int

    def codes(self, n: int) -> Tensor:
        """Latent codes as the loop draws them."""
        return torch.randn(n, self.loop.nets.latent)

    def losses(self) -> tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """The two losses on the discriminator's outputs."""
        return _losses(self.loop)


def prepare(loop: Loop) -> Played:
    """The networks and the data of a run, before its first step."""
    torch.manual_seed(loop.seed)
    real, holdout, reference, labels, classes = _data(loop)
    shape = tuple(real.shape[1:])
    nets = loop.nets
    if "double-sigmoid" in loop.faults:
        nets = replace(nets, sigmoid=True)
    generator, discriminator = build(nets, shape, classes)
    groups_g: list[nn.Parameter] = list(generator.parameters())
    groups_d: list[nn.Parameter] = list(discriminator.parameters())
    if "half-optimised" in loop.faults:
        groups_g = groups_g[-2:]
    if "shared-optimizer" in loop.faults:
        groups_d = groups_d + groups_g
    optimizers = {
        "generator": _optimizer(loop, groups_g, loop.rate),
        "discriminator": _optimizer(loop, groups_d, loop.rate_d),
    }
    return Played(loop, generator, discriminator, real, holdout, reference, labels, optimizers, classes)


def play(loop: Loop, watch: Callable[[int, Played], Any] | None = None, played: Played | None = None) -> Played:
    """Train, and call ``watch(step, played)`` after each step."""
    run = played or prepare(loop)
    rows = torch.Generator().manual_seed(loop.seed + 1)
    if "frozen-statistics" in loop.faults:
        for module in run.generator.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = 0.0
    for step in range(1, loop.steps + 1):
        for _ in range(loop.turns_d):
            _discriminator_turn(run, rows, step)
        for _ in range(loop.turns):
            _generator_turn(run, rows, step)
        if watch is not None:
            watch(step, run)
    return run


def _discriminator_turn(run: Played, rows: torch.Generator, step: int) -> None:
    loop, faults = run.loop, run.loop.faults
    x, y = _batch(run, rows)
    optimizer = run.optimizers["discriminator"]
    optimizer.zero_grad()
    made = _generate(run, len(x), y)
    if "shared-optimizer" not in faults:
        made = made.detach()
    if "real-twice" in faults:
        made = _batch(run, rows)[0]
    if "fake-twice" in faults:
        x = _generate(run, len(x), y).detach()
    x = x.requires_grad_(loop.r1 > 0)
    h, k = _score(run, x, y), _score(run, made, y)
    if "swapped-labels" in faults:
        h, k = k, h
    loss = _losses(loop)[0](h, k)
    if loop.r1 > 0 and x.requires_grad:
        score = _score(run, x, y)
        (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True, allow_unused=True)
        if slope is not None:
            loss = loss + 0.5 * loop.r1 * slope.flatten(1).square().sum(1).mean()
    if loop.penalty > 0:
        u = torch.rand(len(x), *[1] * (x.dim() - 1))
        middle = (u * x.detach() + (1 - u) * made.detach()).requires_grad_()
        (slope,) = torch.autograd.grad(_score(run, middle, y).sum(), middle, create_graph=True)
        loss = loss + loop.penalty * (slope.flatten(1).norm(dim=1) - 1).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    if "discriminator-not-stepped" not in faults:
        _spiked(run, optimizer, step)
        optimizer.step()
    if loop.clip > 0:
        with torch.no_grad():
            for p in run.discriminator.parameters():
                p.clamp_(-loop.clip, loop.clip)


def _generator_turn(run: Played, rows: torch.Generator, step: int) -> None:
    loop, faults = run.loop, run.loop.faults
    optimizer = run.optimizers["generator"]
    if "no-zero-grad" not in faults:
        optimizer.zero_grad()
    y = _batch(run, rows)[1] if run.labels is not None else None
    made = _generate(run, loop.batch, y)
    if "generator-detached" in faults:
        made = made.detach().requires_grad_()
    loss = _losses(loop)[1](_score(run, made, y))
    loss.backward()  # type: ignore[no-untyped-call]
    if "generator-not-stepped" not in faults:
        _spiked(run, optimizer, step)
        optimizer.step()


def _spiked(run: Played, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Multiply the learning rate by 1e12 for one step, as a mistake in a schedule may do."""
    if "overflow" in run.loop.faults:
        for group in optimizer.param_groups:
            base = group.setdefault("base", group["lr"])
            group["lr"] = base * (1e12 if step == run.loop.steps // 2 else 1.0)


def _generate(run: Played, n: int, y: Tensor | None) -> Tensor:
    z = run.codes(n)
    made: Tensor = run.generator(z) if y is None else run.generator(z, y)
    return made


def _score(run: Played, x: Tensor, y: Tensor | None) -> Tensor:
    if y is not None and "label-hidden" in run.loop.faults:
        y = torch.zeros_like(y)
    out: Tensor = run.discriminator(x) if y is None else run.discriminator(x, y)
    return out


def _losses(loop: Loop) -> tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]:
    if loop.nets.sigmoid and "double-sigmoid" not in loop.faults:
        return (
            lambda h, k: F.binary_cross_entropy(h, torch.ones_like(h)) + F.binary_cross_entropy(k, torch.zeros_like(k)),
            lambda k: F.binary_cross_entropy(k, torch.ones_like(k)),
        )
    table: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
        "nonsaturating": (lambda h, k: F.softplus(-h).mean() + F.softplus(k).mean(), lambda k: F.softplus(-k).mean()),
        "saturating": (lambda h, k: F.softplus(-h).mean() + F.softplus(k).mean(), lambda k: -F.softplus(k).mean()),
        "wasserstein": (lambda h, k: k.mean() - h.mean(), lambda k: -k.mean()),
        "hinge": (lambda h, k: F.relu(1 - h).mean() + F.relu(1 + k).mean(), lambda k: -k.mean()),
        "least-squares": (
            lambda h, k: 0.5 * ((h - 1).square().mean() + k.square().mean()),
            lambda k: 0.5 * (k - 1).square().mean(),
        ),
    }
    return table[loop.objective]


def _optimizer(loop: Loop, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    if loop.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, betas=(loop.momentum, 0.99))
    if loop.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=rate)
    return torch.optim.SGD(parameters, lr=rate, momentum=loop.momentum)


def _data(loop: Loop) -> tuple[Tensor, Tensor, Tensor, Tensor | None, int]:
    """Training rows, held-out rows, rows of the whole law, labels if the networks get them, number of classes."""
    data = load(loop.data)
    rows = data.take(loop.points or data.size or 4096, seed=loop.seed + 17)
    unseen = data.take(min(1024, data.held_out_size or 1024), seed=loop.seed + 18, held_out=True)
    x = loop.scale * rows["x"].float()
    y = labelled(loop, x)
    dealt = x
    if "bad-row" in loop.faults:
        x[len(x) // 2] = math.nan
    if "one-class-loader" in loop.faults and y is not None:
        keep = y < max(1, (int(y.max()) + 1) // 2)
        dealt, y = x[keep], y[keep]
    classes = int(y.max()) + 1 if y is not None and loop.conditional else 0
    return dealt, loop.scale * unseen["x"].float(), x, y if classes else None, classes


def labelled(loop: Loop, x: Tensor) -> Tensor | None:
    """The class of each row of a law: its nearest mode, or the label of the nearest labelled row."""
    data = load(loop.data)
    if data.law is not None:
        if data.law.modes is None:
            return None
        return torch.cdist(x / loop.scale, data.law.modes.float()).argmin(1)
    rows = data.take(data.size or 1500, seed=77)
    return rows["y"][torch.cdist((x / loop.scale).flatten(1), rows["x"].float().flatten(1)).argmin(1)]


def _batch(run: Played, rows: torch.Generator) -> tuple[Tensor, Tensor | None]:
    chosen = torch.randint(len(run.real), (run.loop.batch,), generator=rows)
    return run.real[chosen].clone(), None if run.labels is None else run.labels[chosen]


def sampled(run: Played, n: int, training: bool | None = None, seed: int = 5) -> tuple[Tensor, Tensor | None]:
    """``n`` samples and their requested labels, in eval mode or in the given mode."""
    was = run.generator.training
    run.generator.train(bool(training))
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    with torch.no_grad():
        y = None if run.labels is None else run.labels[torch.randint(len(run.labels), (n,))]
        made = _generate(run, n, y)
    torch.set_rng_state(state)
    run.generator.train(was)
    return made, y


def finite(run: Played) -> bool:
    """Whether every parameter is finite."""
    nets = (run.generator, run.discriminator)
    return all(math.isfinite(float(p.detach().abs().sum())) for net in nets for p in net.parameters())
