"""MGAN: several generators, one discriminator, and a classifier of which generator made a row."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from ..base.errors import ConfigError
from ..base.records import record
from ..base.schedules import Schedule
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..data import DataSpec
from ..losses import NonSaturating, Objective
from ..networks import Networks, advance_spectral_norms
from .contest_losses import features_of, need_shape, need_single
from .spec import GameSpec, Latent


class MixtureGenerator(nn.Module):
    r"""``K`` generators that share all layers but the first: :math:`G_k(z) = S(\mathrm{relu}(W_k z + b_k))`.

    Args:
        shared: the layers that all share, ``(n, hidden) -> (n, …)``.
        generators: K.
        latent: size of the codes.
        hidden: output size of the first layers.

    Examples:
        >>> net = MixtureGenerator(nn.Linear(5, 2), generators=3, latent=4, hidden=5)
        >>> z = torch.randn(6, 4)
        >>> net(z).shape, net(z, torch.tensor([0, 1, 2, 0, 1, 2])).shape
        (torch.Size([18, 2]), torch.Size([6, 2]))
    """

    def __init__(self, shared: nn.Module, generators: int, latent: int, hidden: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(latent)
        self.weight = nn.Parameter(torch.empty(generators, hidden, latent).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(generators, hidden).uniform_(-bound, bound))
        self.shared = shared

    def forward(self, z: Tensor, index: Tensor | None = None) -> Tensor:
        """Without ``index`` the points of all generators for each code, ``(n K, …)``; with it one point per code."""
        first = torch.einsum("nl,khl->nkh", z, self.weight) + self.bias
        if index is None:
            hidden = first.flatten(0, 1)
        else:
            hidden = first.gather(1, index[:, None, None].expand(-1, 1, first.shape[2]))[:, 0]
        made: Tensor = self.shared(relu(hidden))
        return made


class ClassifyingDiscriminator(nn.Module):
    """A discriminator and a classifier on one trunk.

    Args:
        trunk: points to ``(n, trunk.features)``.
        classes: number of generators, the classes of the classifier.

    Examples:
        >>> from equilibria.networks import MLPPair
        >>> net = ClassifyingDiscriminator(MLPPair(width=8).trunk((2,)), classes=3)
        >>> [t.shape for t in net.both(torch.zeros(5, 2))]
        [torch.Size([5]), torch.Size([5, 3])]
    """

    def __init__(self, trunk: nn.Module, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.logit = nn.Linear(features_of(trunk), 1)
        self.classifier = nn.Linear(features_of(trunk), classes)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(n,)`` and unnormalised log-probabilities of the generators ``(n, K)``."""
        features = self.trunk(x)
        return self.logit(features)[:, 0], self.classifier(features)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n,)``, higher for more real."""
        score: Tensor = self.logit(self.trunk(x))[:, 0]
        return score


@record
class MGAN(GameSpec):
    r"""Mixture of generators (Hoang et al. 2018, eq. 2).

    .. math:: \min_{G_{1:K}, C} \max_D\; E_p \log D(x) + E_{p_m} \log(1 - D(x)) - \beta\, E_{k, x \sim G_k} \log C_k(x)

    with :math:`k` uniform. At the optimum of :math:`C, D` (their Theorem 1, in nats) the generators minimise

    .. math:: -\log 4 + 2\,JSD(p, p_m) - \beta\,JSD(p_{G_1}, …, p_{G_K}) + \beta \log K .

    The classifier shares the discriminator's trunk and is trained in its turn with weight 1 (as in the authors' code);
    the generators' adversarial loss is that of ``objective``. All generators get the same
    ``n // K`` codes for ``n`` real rows, so there are as many generated as real rows.

    ``sample`` returns the mixture: the draw's ``index`` ``(n,)`` says which generator made each row. Without it (in a
    training turn) row ``r`` is by generator ``r % K``.

    Args:
        generators: K.
        beta: weight of the diversity term; 0 is a plain GAN with K tied generators.
        hidden: size of the first, untied layer.
        objective: the adversarial losses; not a relativistic one.
        discriminator_turns: turns of the discriminator and classifier in a round.
        latent: the law of the codes.

    Raises:
        ConfigError: fewer than two generators, a negative ``beta``, or a relativistic objective.

    Examples:
        >>> from equilibria.networks import MLPPair
        >>> game = MGAN(generators=4).build(MLPPair(width=8), DataSpec(kind="vector", shape=(2,)))
        >>> sorted(game.codes(6))
        ['index', 'latent']
    """

    generators: int = 10
    beta: float = 0.01
    hidden: int = 128
    objective: Objective = NonSaturating()
    discriminator_turns: int | Schedule = 1
    latent: Latent = Latent()

    def __post_init__(self) -> None:
        if self.generators < 2:
            raise ConfigError(f"generators={self.generators} is below 2", settings={"generators": 2})
        if self.beta < 0 or self.hidden < 1:
            what = f"beta={self.beta}, hidden={self.hidden}: beta is at least 0 and hidden at least 1"
            raise ConfigError(what, settings={"beta": max(self.beta, 0.0), "hidden": max(self.hidden, 1)})
        need_single(self.objective, "MGAN")

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        shared = networks.generator(self.hidden, data.shape)
        return {
            "generator": MixtureGenerator(shared, self.generators, self.latent.size, self.hidden),
            "discriminator": ClassifyingDiscriminator(networks.trunk(data.shape), self.generators),
        }

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return MGANGame(self, modules["generator"], modules["discriminator"], data)


class MGANGame(Game):
    """The game that :class:`MGAN` describes."""

    def __init__(self, spec: MGAN, generator: nn.Module, discriminator: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.spec, self.generator, self.discriminator = spec, generator, discriminator
        self.players = (
            Player("discriminator", ("discriminator",), spec.discriminator_turns),
            Player("generator", ("generator",)),
        )
        with torch.no_grad():
            made = generator(torch.zeros(2, spec.latent.size))
            need_shape(made, (2 * spec.generators, *data.shape), "the mixture of generators, for 2 codes,")
            need_shape(discriminator(made), (2 * spec.generators,), "the discriminator")

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        latent = self.spec.latent.codes(n, labels)
        return {"latent": latent, "index": torch.randint(self.spec.generators, (n,), device=latent.device)}

    def draw(self, batch: Batch) -> Batch:
        real = batch["x"]
        rows = len(real) // self.spec.generators
        if rows == 0:
            raise ConfigError(
                f"a batch of {len(real)} for {self.spec.generators} generators", "use at least one row each"
            )
        return {"real": real, "latent": self.spec.latent.codes(rows, real)}

    def contests(self, draw: Draw) -> dict[str, Contest]:
        return {"data": Contest((draw["real"],), (self.sample(draw),), self.discriminator)}

    def loss(self, player: str, draw: Draw) -> Loss:
        fake, predicted = self.discriminator.both(self.sample(draw))  # type: ignore[operator]
        made_by = torch.arange(self.spec.generators, device=predicted.device).repeat(len(draw["latent"]))
        entropy = cross_entropy(predicted, made_by)
        objective = self.spec.objective
        if player == "generator":
            return Loss(objective.generator(fake) + self.spec.beta * entropy, {"told_apart": entropy})
        real = self.discriminator(draw["real"])
        parts = {"score/real": real.mean(), "score/fake": fake.mean(), "told_apart": entropy}
        return Loss(objective.discriminator(real, fake) + entropy, parts)

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.generator(draw["latent"], draw.tensors.get("index"))
        return made

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player == "discriminator":
            advance_spectral_norms(self.discriminator)
