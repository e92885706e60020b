"""Two GANs on two domains with common first layers in the generators and last layers in the discriminators: CoGAN."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError, DataError, not_known
from ..base.records import record
from ..base.schedules import Schedule
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..data import DataSpec
from ..losses import NonSaturating, Objective, Penalty
from ..networks import Networks, Reshape, activation, advance_spectral_norms
from ..networks.layers import volume
from ..networks.pairs import output_layers
from .contest_losses import discriminator_loss, features_of, generator_loss, need_shape
from .spec import GameSpec, Latent

DOMAINS = ("first", "second")
HEADS = ("linear", "local", "network")


class CoupledGenerator(nn.Module):
    """Latent codes to a pair of points: common first layers (stems), then one head for each domain.

    Args:
        stems: one module for both domains (tied), or one for each (untied), ``(n, latent) -> (n, hidden)``.
        heads: one for each domain, ``(n, hidden) -> (n, …)``.

    Examples:
        >>> net = CoupledGenerator([nn.Linear(4, 3)], [nn.Linear(3, 2), nn.Linear(3, 2)])
        >>> [made.shape for made in net(torch.zeros(5, 4))]
        [torch.Size([5, 2]), torch.Size([5, 2])]
    """

    def __init__(self, stems: list[nn.Module], heads: list[nn.Module]) -> None:
        super().__init__()
        self.stems, self.heads = nn.ModuleList(stems), nn.ModuleList(heads)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The pair for each code."""
        common = [stem(z) for stem in self.stems]
        return self.heads[0](common[0]), self.heads[1](common[-1])


class CoupledDiscriminator(nn.Module):
    """One discriminator for each domain: own trunks, and a tail that they share (tied) or not.

    Args:
        trunks: one for each domain, ``(n, …) -> (n, features)``.
        tails: one for both domains, or one for each, ``(n, features) -> (n, 1)``.

    Examples:
        >>> net = CoupledDiscriminator([nn.Linear(2, 3), nn.Linear(2, 3)], [nn.Linear(3, 1)])
        >>> net.second(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    def __init__(self, trunks: list[nn.Module], tails: list[nn.Module]) -> None:
        super().__init__()
        self.trunks, self.tails = nn.ModuleList(trunks), nn.ModuleList(tails)

    def first(self, x: Tensor) -> Tensor:
        """Logits ``(n,)`` in the first domain."""
        logits: Tensor = self.tails[0](self.trunks[0](x))[:, 0]
        return logits

    def second(self, x: Tensor) -> Tensor:
        """Logits ``(n,)`` in the second domain."""
        logits: Tensor = self.tails[-1](self.trunks[1](x))[:, 0]
        return logits

    def forward(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of points of both domains."""
        return self.first(x), self.second(other)


@record
class CoGAN(GameSpec):
    r"""Coupled GANs (Liu & Tuzel 2016, eq. 4): a joint law of two domains from unpaired rows of each.

    .. math:: \min_{G_1, G_2} \max_{D_1, D_2} V(D_1, G_1) + V(D_2, G_2) \quad\text{with}\quad
        \theta_{G_1}^{(i)} = \theta_{G_2}^{(i)},\ i \le k, \qquad
        \theta_{D_1}^{(-j)} = \theta_{D_2}^{(-j)},\ j < l

    The common layers are one module, registered once: ``stem_layers`` hidden layers between the codes and the two
    heads, and one hidden layer and the logit after the two trunks. The fewer layers belong to one domain only, the
    closer the correspondence: with ``"linear"`` heads it is the generators' last layer. That layer can still map each
    common unit to any pattern; with ``"local"`` heads, as in the paper's convolutional networks, the common layers end
    in feature maps that fix positions, and a domain's 3x3 convolution sets only the local appearance. ``sample``
    returns the pair of each code concatenated along the last axis: ``(n, c, h, 2w)`` or ``(n, 2d)``.

    Args:
        tied_generators: False gives each generator its own first layers: a control without correspondence.
        tied_discriminators: the same for the discriminators' last layers.
        hidden: units of the common layers.
        stem_layers: how many first layers the generators have in common.
        heads: each domain's own part of the generator: one affine map (``"linear"``), one 3x3 convolution of common
            feature maps (``"local"``, images only) or a whole ``"network"``.
        maps: feature maps behind the stem, with ``"local"`` heads.
        objective: the adversarial losses, in both domains.
        penalties: added to the discriminators' loss in each domain; both domains use the draw's same noise.
        discriminator_turns: turns of the discriminators in a round.
        latent: the law of the codes.

    Raises:
        ConfigError: no common layer, one without units or maps, or an unknown kind of head.
        DataError: the data has one domain, or no images for ``"local"`` heads.

    Examples:
        >>> from equilibria.networks import MLPPair
        >>> game = CoGAN().build(MLPPair(width=8), DataSpec(kind="vector", shape=(2,), paired=True))
        >>> len(game.generator.stems), len(game.generator.heads)
        (1, 2)
    """

    tied_generators: bool = True
    tied_discriminators: bool = True
    hidden: int = 256
    stem_layers: int = 3
    heads: str = "linear"
    maps: int = 16
    objective: Objective = NonSaturating()
    penalties: tuple[Penalty, ...] = ()
    discriminator_turns: int | Schedule = 1
    latent: Latent = Latent()

    def __post_init__(self) -> None:
        counts = {"hidden": self.hidden, "stem_layers": self.stem_layers, "maps": self.maps}
        if min(counts.values()) < 1:
            given = ", ".join(f"{name}={count}" for name, count in counts.items())
            small = {name: 1 for name, count in counts.items() if count < 1}
            raise ConfigError(f"{given}: each is at least 1", settings=small)
        if self.heads not in HEADS:
            raise not_known("heads", self.heads, HEADS)

    def sides(self) -> Mapping[str, tuple[str, ...]]:
        return {"generator": ("generators",), "discriminator": ("discriminators",)}

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        if not data.paired:
            other = data.column("other")
            problem = "the data has one" if other is None else f"the data has shapes {data.shape} and {other.shape}"
            if other is not None and not other.stream:
                problem = "the data's rows are aligned pairs"
            raise DataError(
                f"CoGAN needs two domains, independent and of one shape, and {problem}",
                "name two, as in --data pairs:digits,digits-negative; for one shape add --set data.size=32",
            )
        if self.heads == "local" and len(data.shape) != 3:
            what = f"local heads draw images, and the points have shape {data.shape}"
            raise DataError(what, settings={"heads": "linear"})
        trunks: list[nn.Module] = [networks.trunk(data.shape) for _ in DOMAINS]
        heads = [self._head(networks, data.shape) for _ in DOMAINS]
        stems = [self._stem(data.shape) for _ in range(1 if self.tied_generators else 2)]
        tails = [self._tail(features_of(trunks[0])) for _ in range(1 if self.tied_discriminators else 2)]
        return {"generator": CoupledGenerator(stems, heads), "discriminator": CoupledDiscriminator(trunks, tails)}

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return CoGANGame(self, modules["generator"], modules["discriminator"], data)

    def _stem(self, shape: tuple[int, ...]) -> nn.Module:
        sizes = [self.latent.size, *[self.hidden] * self.stem_layers]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation("leaky_relu")]
        if self.heads == "local":
            places = (self.maps, *shape[1:])
            layers += [nn.Linear(self.hidden, volume(places)), activation("leaky_relu"), Reshape(places)]
        return nn.Sequential(*layers)

    def _head(self, networks: Networks, shape: tuple[int, ...]) -> nn.Module:
        if self.heads == "network":
            return networks.generator(self.hidden, shape)
        if self.heads == "local":
            return nn.Sequential(nn.Conv2d(self.maps, shape[0], 3, padding=1), *output_layers("auto", shape))
        last = nn.Linear(self.hidden, volume(shape))
        return nn.Sequential(last, *output_layers("auto", shape), Reshape(shape))

    def _tail(self, features: int) -> nn.Module:
        return nn.Sequential(nn.Linear(features, self.hidden), activation("leaky_relu"), nn.Linear(self.hidden, 1))


class CoGANGame(Game):
    """The game that :class:`CoGAN` describes."""

    judged: Mapping[str, str] = {"first": "x", "second": "other"}

    def __init__(self, spec: CoGAN, generator: nn.Module, discriminator: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.spec, self.generator, self.discriminator = spec, generator, discriminator
        self.players = (
            Player("discriminators", ("discriminator",), spec.discriminator_turns),
            Player("generators", ("generator",)),
        )
        with torch.no_grad():
            made = generator(torch.zeros(2, spec.latent.size))
            for domain, points, scores in zip(DOMAINS, made, discriminator(*made), strict=True):
                need_shape(points, (2, *data.shape), f"the {domain} generator, for 2 codes,")
                need_shape(scores, (2,), f"the {domain} discriminator, for 2 points,")

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": self.spec.latent.codes(n, labels)}

    def draw(self, batch: Batch) -> Batch:
        real = batch["x"]
        drawn: Batch = {"real": real, "other": batch["other"], "latent": self.spec.latent.codes(len(real), real)}
        for penalty in self.spec.penalties:
            drawn.update(penalty.noise(real))
        return drawn

    def contests(self, draw: Draw) -> dict[str, Contest]:
        first, second = self.generator(draw["latent"])
        both: CoupledDiscriminator = self.discriminator  # type: ignore[assignment]
        return {
            "first": Contest((draw["real"],), (first,), both.first),
            "second": Contest((draw["other"],), (second,), both.second),
        }

    def loss(self, player: str, draw: Draw) -> Loss:
        contests, objective = self.contests(draw), self.spec.objective
        if player == "generators":
            return Loss(generator_loss(contests["first"], objective) + generator_loss(contests["second"], objective))
        each = [
            discriminator_loss(contest, objective, self.spec.penalties, draw, name)
            for name, contest in contests.items()
        ]
        return Loss(each[0].total + each[1].total, {**each[0].parts, **each[1].parts})

    def sample(self, draw: Draw) -> Tensor:
        return torch.cat(self.generator(draw["latent"]), dim=-1)

    def views(self, draw: Draw) -> Tensors:
        return dict(zip(DOMAINS, self.generator(draw["latent"]), strict=True))

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player == "discriminators":
            advance_spectral_norms(self.discriminator)
