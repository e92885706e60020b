"""One generator against two discriminators with opposite tastes: D2GAN."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..base.records import record
from ..base.schedules import Schedule
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..data import DataSpec
from ..networks import Networks, advance_spectral_norms
from .contest_losses import need_positive
from .spec import GameSpec, Latent, fit_pair, logits

_TAIL = -15.0


def log_softplus(h: Tensor) -> Tensor:
    r"""The logarithm of :math:`\mathrm{sp}(h) = \log(1 + e^h)`, exact and differentiable for every logit.

    Below -15, where softplus leaves its own precision, it is :math:`h - e^h/2 + O(e^{2h})`.

    Args:
        h: logits of any shape.

    Returns:
        ``log(softplus(h))``, in nats.

    Examples:
        >>> [round(v, 4) for v in log_softplus(torch.tensor([-1000.0, 0.0, 1000.0])).tolist()]
        [-1000.0, -0.3665, 6.9078]
    """
    near = softplus(h.clamp(min=_TAIL)).log()
    far = h - 0.5 * h.clamp(max=_TAIL).exp()
    return torch.where(h < _TAIL, far, near)


@record
class D2GAN(GameSpec):
    r"""Dual discriminator GAN (Nguyen et al. 2017, eq. 1).

    .. math:: \min_G \max_{D_1, D_2} \alpha E_p \log D_1(x) - E_q D_1(x) - E_p D_2(x) + \beta E_q \log D_2(x)

    with :math:`D_i = \mathrm{sp}(h_i) > 0`: rates, not probabilities. At the optimum :math:`D_1 = \alpha p/q`,
    :math:`D_2 = \beta q/p`, and the value is (their Theorem 2, in nats)

    .. math:: \alpha(\log\alpha - 1) + \beta(\log\beta - 1) + \alpha\,KL(p\|q) + \beta\,KL(q\|p),

    so :math:`\alpha` pays for coverage and :math:`\beta` for precision. The contests ``"first"`` and ``"second"`` score
    with :math:`\log D_1 - \log\alpha` and :math:`\log\beta - \log D_2`: both are :math:`\log p/q` at the optimum,
    higher is more real, and the losses are written in them, which keeps them finite for every logit.

    Args:
        alpha: weight of KL(p || q).
        beta: weight of KL(q || p).
        joint: both discriminators are one player (one optimiser); otherwise each is a player of its own.
        discriminator_turns: turns of the discriminators in a round.
        latent: the law of the codes.

    Raises:
        ConfigError: a weight that is not positive.

    Examples:
        >>> from equilibria.networks import MLPPair
        >>> game = D2GAN(alpha=0.5).build(MLPPair(width=8), DataSpec(kind="vector", shape=(2,)))
        >>> [player.name for player in game.players]
        ['discriminators', 'generator']
    """

    alpha: float = 1.0
    beta: float = 1.0
    joint: bool = True
    discriminator_turns: int | Schedule = 1
    latent: Latent = Latent()

    def __post_init__(self) -> None:
        need_positive(alpha=self.alpha, beta=self.beta)

    def sides(self) -> Mapping[str, tuple[str, ...]]:
        return {
            "generator": ("generator",),
            "discriminator": ("discriminators",) if self.joint else ("first", "second"),
        }

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        return {
            "generator": networks.generator(self.latent.size, data.shape),
            "first": networks.discriminator(data.shape),
            "second": networks.discriminator(data.shape),
        }

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return D2GANGame(self, modules["generator"], (modules["first"], modules["second"]), data)


class D2GANGame(Game):
    """The game that :class:`D2GAN` describes."""

    def __init__(
        self, spec: D2GAN, generator: nn.Module, discriminators: tuple[nn.Module, nn.Module], data: DataSpec
    ) -> None:
        super().__init__()
        self.spec, self.generator = spec, generator
        for discriminator in discriminators:
            fit_pair(generator, discriminator, spec.latent.size, data.shape, 0)
        self.first, self.second = (logits(d) for d in discriminators)
        turns = spec.discriminator_turns
        scoring = (
            (Player("discriminators", ("first", "second"), turns),)
            if spec.joint
            else (Player("first", ("first",), turns), Player("second", ("second",), turns))
        )
        self.players = (*scoring, Player("generator", ("generator",)))

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": self.spec.latent.codes(n, labels)}

    def draw(self, batch: Batch) -> Batch:
        real = batch["x"]
        return {"real": real, "latent": self.spec.latent.codes(len(real), real)}

    def contests(self, draw: Draw) -> dict[str, Contest]:
        real, fake = (draw["real"],), (self.sample(draw),)
        return {"first": Contest(real, fake, self._likes_real), "second": Contest(real, fake, self._dislikes_fake)}

    def loss(self, player: str, draw: Draw) -> Loss:
        contests = self.contests(draw)
        first, second = contests["first"], contests["second"]
        alpha, beta = self.spec.alpha, self.spec.beta
        if player == "generator":
            total = -alpha * first.scores("fake").exp().mean() + beta * (math.log(beta) - second.scores("fake")).mean()
            return Loss(total)
        parts: Tensors = {}
        if player in {"discriminators", "first"}:
            real, fake = first.scores("real"), first.scores("fake")
            parts["first"] = alpha * (fake.exp().mean() - real.mean() - math.log(alpha))
        if player in {"discriminators", "second"}:
            real, fake = second.scores("real"), second.scores("fake")
            parts["second"] = beta * ((-real).exp().mean() + fake.mean() - math.log(beta))
        return Loss(torch.stack(list(parts.values())).sum(), parts)

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.generator(draw["latent"])
        return made

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player != "generator":
            for name in ("first", "second"):
                if player in {"discriminators", name}:
                    advance_spectral_norms(self.get_submodule(name))

    def _likes_real(self, x: Tensor) -> Tensor:
        return log_softplus(self.first(x)) - math.log(self.spec.alpha)

    def _dislikes_fake(self, x: Tensor) -> Tensor:
        return math.log(self.spec.beta) - log_softplus(self.second(x))
