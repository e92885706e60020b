"""A generator against a discriminator: Goodfellow et al. 2014 under any objective, penalty and schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..base.errors import DataError
from ..base.records import record
from ..base.schedules import Schedule
from ..core.doctor_view import Examined
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..data import DataSpec
from ..losses import Clip, InstanceNoise, NonSaturating, Objective, Penalty
from ..networks import Head, Networks, SpectralNorm, advance_spectral_norms, one_hot
from .spec import GameSpec, Latent, fit_pair, logits


@record
class TwoPlayer(GameSpec):
    """The two-player game, unconditional or conditional on labels (Mirza & Osindero 2014).

    A conditional discriminator sees the label of real and generated examples alike:

    .. math:: \\min_G \\max_D E_{(x,y)\\sim p}[\\log D(x,y)] + E_{z,y}[\\log(1 - D(G(z,y),y))]

    (eq. 2 of that paper with the conditioning of D written out in both terms).

    Args:
        objective: the pair of adversarial losses.
        penalties: added to the discriminator's loss.
        clip: the discriminator's strategy set, a box (weight clipping).
        instance_noise: added to real and generated inputs of the discriminator.
        discriminator_turns: the discriminator's turns in a round, or a schedule of them.
        latent: the law of the codes.
        conditional: whether both networks see the label.
        standardise: whether the game is played in units in which the data has mean zero and root mean square one (one
            scale for all coordinates, from the first batch), so that slope penalties do not depend on the data's units.
            Samples are in the data's units.
    """

    objective: Objective = NonSaturating()
    penalties: tuple[Penalty, ...] = ()
    clip: Clip | None = None
    instance_noise: InstanceNoise | None = None
    discriminator_turns: int | Schedule = 1
    latent: Latent = Latent()
    conditional: bool = False
    standardise: bool = False

    def _classes(self, data: DataSpec) -> int:
        if self.conditional and not data.classes:
            raise DataError("a conditional game needs labels, and the data has none", "pass (x, y), or labels=y")
        return data.classes if self.conditional else 0

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        classes = self._classes(data)
        return {
            "generator": networks.generator(self.latent.size, data.shape, classes),
            "discriminator": networks.discriminator(data.shape, classes),
        }

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return TwoPlayerGame(self, modules["generator"], modules["discriminator"], data)


class TwoPlayerGame(Game):
    """The game that :class:`TwoPlayer` describes."""

    shift: Tensor
    scale: Tensor

    def __init__(self, spec: TwoPlayer, generator: nn.Module, discriminator: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.spec, self.classes = spec, spec._classes(data)
        fit_pair(generator, discriminator, spec.latent.size, data.shape, self.classes)
        self.generator, self.discriminator = generator, logits(discriminator)
        # One pass over both sides saves calls, which is what vectors cost; images cost arithmetic and gain nothing.
        self._rowwise = isinstance(discriminator, Head) and discriminator.rowwise and len(data.shape) == 1
        self._normed = any(isinstance(part, SpectralNorm) for part in discriminator.modules())
        self.register_buffer("shift", torch.zeros(data.shape) if spec.standardise else None)
        self.register_buffer("scale", torch.ones(()) if spec.standardise else None)
        self.players = (
            Player("discriminator", ("discriminator",), spec.discriminator_turns, spec.clip),
            Player("generator", ("generator",)),
        )

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        codes = {"latent": self.spec.latent.codes(n, labels)}
        if self.classes:
            y = torch.arange(n) % self.classes if labels is None else labels
            codes["label"] = one_hot(y.to(codes["latent"].device), self.classes)
        return codes

    def prepare(self, batch: Batch) -> None:
        if self.spec.standardise:
            self.shift.copy_(batch["x"].mean(0))
            self.scale.copy_((batch["x"] - self.shift).square().mean().sqrt().clamp(min=1e-8))

    def draw(self, batch: Batch) -> Batch:
        real = self._units(batch["x"])
        codes: Batch = {"real": real, "latent": self.spec.latent.codes(len(real), real)}
        if self.classes:
            codes["label"] = one_hot(batch["y"], self.classes)
        for source in (*self.spec.penalties, self.spec.instance_noise):
            if source is not None:
                codes.update(source.noise(real))
        return codes

    def contests(self, draw: Draw) -> dict[str, Contest]:
        real, fake = draw["real"], self._made(draw)
        if self.spec.instance_noise is not None:
            real = self.spec.instance_noise(real, draw["noise_real"], draw)
            fake = self.spec.instance_noise(fake, draw["noise_fake"], draw)
        label = (draw["label"],) if self.classes else ()
        return {"data": Contest((real, *label), (fake, *label), self.discriminator)}

    def loss(self, player: str, draw: Draw) -> Loss:
        return self._loss(player, self.contests(draw)["data"], draw)

    def losses(self, draw: Draw) -> dict[str, Loss]:
        contest = self.contests(draw)["data"]
        return {player.name: self._loss(player.name, contest, draw) for player in self.players}

    def _loss(self, player: str, contest: Contest, draw: Draw) -> Loss:
        objective = self.spec.objective
        if player == "generator":
            real = contest.scores("real") if objective.pairs else None
            return Loss(objective.generator(contest.scores("fake"), real))
        if self._rowwise:
            contest.together(slopes={side for p in self.spec.penalties for side in p.sides} == {"real", "fake"})
        penalties = {f"penalty/{type(p).__name__}": p(contest, draw) for p in self.spec.penalties}
        real, fake = contest.scores("real"), contest.scores("fake")
        total = objective.discriminator(real, fake)
        parts = {"score/real": real.detach().mean(), "score/fake": fake.detach().mean(), **penalties}
        for penalty in penalties.values():
            total = total + penalty
        return Loss(total, parts)

    def sample(self, draw: Draw) -> Tensor:
        made = self._made(draw)
        return made * self.scale + self.shift if self.spec.standardise else made

    def examined(self, clock: Callable[[], Any]) -> Examined:
        noise, like = self.spec.instance_noise, next(self.generator.parameters())

        def score(x: Tensor, y: Tensor | None) -> Tensor:
            assert noise is not None
            seen = noise(x, torch.randn_like(x), clock())
            out: Tensor = self.discriminator(seen, *(() if y is None else (y,)))
            return out

        def real(batch: Batch) -> tuple[Tensor, Tensor | None]:
            return self._units(batch["x"]), one_hot(batch["y"], self.classes) if self.classes else None

        return Examined(
            self.generator,
            self.discriminator,
            lambda n: self.spec.latent.codes(n, like),
            real,
            self.spec.objective,
            {} if noise is None else {"discriminator": score},
            self.spec.latent.size,
        )

    def _units(self, x: Tensor) -> Tensor:
        """Points of the data in the units the game is played in."""
        return (x - self.shift) / self.scale if self.spec.standardise else x

    def _made(self, draw: Draw) -> Tensor:
        """Generated points in the units the game is played in."""
        label = (draw["label"],) if self.classes else ()
        made: Tensor = self.generator(draw["latent"], *label)
        return made

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player == "discriminator" and self._normed:
            advance_spectral_norms(self.discriminator)
