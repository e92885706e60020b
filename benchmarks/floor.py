"""Hand-written training loops in plain torch, one per game: the overhead of the core is measured against them.

The loops are efficient: fakes without a graph in D's turn, D frozen in G's turn, gradients set to None, each score
computed once, slopes by ``autograd.grad``, fused optimisers, the moving average in one call. They log nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, softplus

from equilibria.base.randomness import reseed
from equilibria.base.schedules import Clock, value_at
from equilibria.core.optimizers import Adam
from equilibria.data import Dataset
from equilibria.games.autoencoding import AAE
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import R1, R2, GradientPenalty
from equilibria.recipes import Recipe

HORIZON = 10**6


def _adam(row: Recipe, player: str, parameters: Any) -> torch.optim.Adam:
    spec = row.optimizer_of(player)
    assert isinstance(spec, Adam)
    return torch.optim.Adam(parameters, lr=1.0, betas=spec.betas, eps=spec.eps, fused=True)


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def _moved(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()


class _Averaged:
    """The moving average of a list of parameters."""

    def __init__(self, row: Recipe, parameters: list[nn.Parameter]) -> None:
        self.decay, self.now = row.averages[0].decay, parameters
        self.kept = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def follow(self, clock: Clock, done: int) -> None:
        decay = min(float(value_at(self.decay, clock)), (1 + done) / (10 + done))
        torch._foreach_lerp_(self.kept, self.now, 1 - decay)  # type: ignore[arg-type]


class Pair:
    """A generator against a discriminator: the losses of ``gan``, ``r3gan`` and ``wgan-gp``."""

    def __init__(self, row: Recipe, data: Dataset, seed: int = 0) -> None:
        reseed(seed)
        assert isinstance(row.game, TwoPlayer)
        self.row, self.data, self.latent = row, data, row.game.latent
        self.turns, self.turn, self.done = int(value_at(row.game.discriminator_turns, Clock(0, 0.0))), 0, 0
        self.G = row.networks.generator(self.latent.size, data.spec.shape)
        self.D = row.networks.discriminator(data.spec.shape)
        self.opt_d, self.opt_g = (
            _adam(row, who, net.parameters()) for who, net in (("discriminator", self.D), ("generator", self.G))
        )
        self.averaged = _Averaged(row, list(self.G.parameters()))
        gammas = [p.gamma for p in row.game.penalties if isinstance(p, (R1, R2))]
        weights = [p.weight for p in row.game.penalties if isinstance(p, GradientPenalty)]
        self.discriminator_loss: Callable[[Tensor, Tensor, Clock], Tensor]
        self.generator_loss: Callable[[Tensor, Tensor], Tensor]
        if gammas:
            self.discriminator_loss, self.generator_loss = partial(self._paired, gammas), self._generator_paired
        elif weights:
            self.discriminator_loss, self.generator_loss = (
                partial(self._wasserstein, weights[0]),
                lambda fake, real: -self.D(fake).mean(),
            )
        else:
            self.discriminator_loss, self.generator_loss = (
                self._logistic,
                lambda fake, real: softplus(-self.D(fake)).mean(),
            )
        self.units: tuple[Tensor, Tensor] | None = None
        if row.game.standardise:
            x = data.batch(row.batch, 0, 0)["x"]
            self.units = x.mean(0), (x - x.mean(0)).square().mean().sqrt()

    def _dealt(self) -> tuple[Tensor, Tensor]:
        x = self.data.batch(self.row.batch, 0, self.turn)["x"]
        self.turn += 1
        if self.units is not None:
            x = (x - self.units[0]) / self.units[1]
        return x, self.latent.entries(len(x), None, {})["latent"]

    def _paired(self, gammas: list[Any], real: Tensor, fake: Tensor, clock: Clock) -> Tensor:
        real.requires_grad_(True)
        fake.requires_grad_(True)
        on_real, on_fake = self.D(real), self.D(fake)
        loss = softplus(on_fake - on_real).mean()
        for gamma, x, scores in zip(gammas, (real, fake), (on_real, on_fake), strict=True):
            (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
            loss = loss + value_at(gamma, clock) / 2 * slope.square().flatten(1).sum(1).mean()
        return loss

    def _wasserstein(self, weight: Any, real: Tensor, fake: Tensor, clock: Clock) -> Tensor:
        mix = torch.rand(len(real), *(1,) * (real.ndim - 1))
        between = (fake + mix * (real - fake)).requires_grad_(True)
        (slope,) = torch.autograd.grad(self.D(between).sum(), between, create_graph=True)
        distance = slope.flatten(1).norm(dim=1) - 1
        loss: Tensor = self.D(fake).mean() - self.D(real).mean() + value_at(weight, clock) * distance.square().mean()
        return loss

    def _logistic(self, real: Tensor, fake: Tensor, clock: Clock) -> Tensor:
        return softplus(-self.D(real)).mean() + softplus(self.D(fake)).mean()

    def _generator_paired(self, fake: Tensor, real: Tensor) -> Tensor:
        return softplus(self.D(real) - self.D(fake)).mean()

    def advance(self, rounds: int) -> None:
        """Train for this number of rounds."""
        for _ in range(rounds):
            clock = Clock(self.done, self.done / HORIZON)
            rate = float(value_at(self.row.optimizer.lr, clock))
            for _ in range(self.turns):
                real, z = self._dealt()
                with torch.no_grad():
                    fake = self.G(z)
                _backward(self.discriminator_loss(real, fake, clock))
                _moved(self.opt_d, rate)
            real, z = self._dealt()
            self.D.requires_grad_(False)
            _backward(self.generator_loss(self.G(z), real))
            self.D.requires_grad_(True)
            _moved(self.opt_g, rate)
            self.done += 1
            self.averaged.follow(clock, self.done)


class Autoencoder:
    """The adversarial autoencoder: reconstruction, discriminator and encoder in turn, on one batch."""

    def __init__(self, row: Recipe, data: Dataset) -> None:
        reseed(0)
        assert isinstance(row.game, AAE)
        self.row, self.data, self.prior, self.done = row, data, row.game.prior, 0
        made = row.game.make(row.networks, data.spec)
        self.encoder, self.decoder, self.D = made["encoder"], made["decoder"], made["discriminator"]
        both = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.opts = {
            "autoencoder": _adam(row, "autoencoder", both),
            "discriminator": _adam(row, "discriminator", self.D.parameters()),
            "encoder": _adam(row, "encoder", self.encoder.parameters()),
        }
        self.averaged = _Averaged(row, both)

    def _move(self, player: str, loss: Tensor, clock: Clock) -> None:
        _backward(loss)
        _moved(self.opts[player], self.row.optimizer_of(player).rate(clock))

    def advance(self, rounds: int) -> None:
        """Train for this number of rounds."""
        for _ in range(rounds):
            clock = Clock(self.done, self.done / HORIZON)
            x = self.data.batch(self.row.batch, 0, 3 * self.done)["x"]
            self._move("autoencoder", mse_loss(self.decoder(self.encoder(x)), x), clock)
            with torch.no_grad():
                codes = self.encoder(x)
            real = self.D(self.prior.codes(len(x)))
            self._move("discriminator", softplus(-real).mean() + softplus(self.D(codes)).mean(), clock)
            self.D.requires_grad_(False)
            self._move("encoder", softplus(-self.D(self.encoder(x))).mean(), clock)
            self.D.requires_grad_(True)
            self.done += 1
            self.averaged.follow(clock, self.done)
