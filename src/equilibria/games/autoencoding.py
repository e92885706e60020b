"""An autoencoder whose codes are made to follow a prior by an adversary: AAE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ..base.errors import ShapeError, not_known
from ..base.records import record
from ..base.registry import Registry
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..core.maps import Map
from ..data import DataSpec, law
from ..losses import NonSaturating, Objective, Penalty
from ..metrics.measures import Measure, Reconstruction
from ..networks import Networks, advance_spectral_norms
from .contest_losses import discriminator_loss, generator_loss, need_positive, need_shape
from .spec import GameSpec, Latent, logits

ENCODERS = ("deterministic", "gaussian")


@runtime_checkable
class Prior(Protocol):
    """The law that codes are to follow: a record with a size; :class:`~equilibria.games.spec.Latent` is one."""

    @property
    def size(self) -> int:
        """The size of a code."""

    def codes(self, n: int, like: Tensor | None = None) -> Tensor:
        """``(n, size)`` codes from the global generator, on the device of ``like``."""


@record
class Petals:
    """Elongated Gaussians around the origin, their long axes radial: Makhzani et al. 2015's mixture of ten in 2-D.

    Petal k is N((distance, 0), diag(along², across²)) turned by 2πk/petals. The paper's Figure 3 fixes the layout; the
    numbers are ours.

    Examples:
        >>> Petals().codes(3).shape
        torch.Size([3, 2])
    """

    petals: int = 10
    distance: float = 1.4
    along: float = 0.5
    across: float = 0.1

    def __post_init__(self) -> None:
        need_positive(petals=self.petals, along=self.along, across=self.across)

    @property
    def size(self) -> int:
        """2: the plane."""
        return 2

    def codes(self, n: int, like: Tensor | None = None) -> Tensor:
        """``(n, 2)`` codes, petals drawn with equal probability."""
        device = like.device if like is not None else None
        radial = self.distance + self.along * torch.randn(n, device=device)
        aside = self.across * torch.randn(n, device=device)
        turn = torch.randint(self.petals, (n,), device=device) * (2 * math.pi / self.petals)
        cos, sin = turn.cos(), turn.sin()
        return torch.stack([cos * radial - sin * aside, sin * radial + cos * aside], dim=1)


@record
class LawPrior:
    """A registered law as the prior, by its name in :data:`equilibria.data.LAWS`: ``swissroll`` as in the paper.

    Raises:
        ConfigError: no such law.

    Examples:
        >>> LawPrior(name="swissroll").codes(3).shape
        torch.Size([3, 2])
    """

    name: str = "swissroll"

    def __post_init__(self) -> None:
        law(self.name)

    @property
    def size(self) -> int:
        """The law's dimension."""
        return law(self.name).dim

    def codes(self, n: int, like: Tensor | None = None) -> Tensor:
        """``(n, size)`` points of the law; the global generator seeds the law's own."""
        device = like.device if like is not None else torch.get_default_device()
        seed = int(torch.randint(2**31 - 1, (), device="cpu"))
        return law(self.name).sample(n, torch.Generator(device).manual_seed(seed))


PRIORS: Registry[Prior] = Registry(
    "prior",
    {"normal": Latent(), "uniform": Latent(law="uniform"), "petals": Petals(), "law": LawPrior()},
    aliases={"gaussian": "normal"},
    base=Prior,
)
"""Laws that the codes of an autoencoder may follow, by name."""


@record
class AAE(GameSpec):
    r"""Adversarial autoencoder without labels (Makhzani et al. 2015, section 2).

    Three players in the order of a round, all on the same real batch (``Alternating(share=True)``):

    .. math::
        \text{autoencoder: } & \min_{e, d} E_x \|d(e(x)) - x\|^2 / \dim x \\
        \text{discriminator: } & \min_h L_D\big(h(z), h(e(x))\big), \quad z \sim \text{prior} \\
        \text{encoder: } & \min_e L_G\big(h(e(x))\big)

    so the codes' law, over all data, is drawn to the prior, and ``sample`` decodes prior codes. In the contest
    ``"codes"`` a prior code is real and an encoded point is fake.

    Args:
        prior: the law of the codes.
        encoder: ``"deterministic"``, or ``"gaussian"``: e(x) = m(x) + s(x) ε, with the noise in the draw.
        objective: the adversarial losses.
        penalties: added to the discriminator's loss.

    Raises:
        ConfigError: an unknown kind of encoder.

    Examples:
        >>> from equilibria.networks import MLPPair
        >>> game = AAE(prior=Petals()).build(MLPPair(width=8), DataSpec(kind="image", shape=(1, 8, 8)))
        >>> [(player.name, player.moves) for player in game.players]
        [('autoencoder', ('encoder', 'decoder')), ('discriminator', ('discriminator',)), ('encoder', ('encoder',))]
    """

    prior: Prior = Latent(size=8)
    encoder: str = "deterministic"
    objective: Objective = NonSaturating()
    penalties: tuple[Penalty, ...] = ()

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise not_known("encoder", self.encoder, ENCODERS)

    @property
    def outputs(self) -> int:
        """How many numbers the encoder gives per point: a code, or a mean and a log-deviation."""
        return self.prior.size * (2 if self.encoder == "gaussian" else 1)

    def sides(self) -> Mapping[str, tuple[str, ...]]:
        return {"generator": ("encoder",), "discriminator": ("discriminator",)}

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        return {
            "encoder": networks.encoder(data.shape, self.outputs),
            "decoder": networks.generator(self.prior.size, data.shape),
            "discriminator": networks.discriminator((self.prior.size,)),
        }

    def measures(self) -> tuple[Measure, ...]:
        """The error of the reconstruction of held-out rows."""
        return (Reconstruction(),)

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return AAEGame(self, modules, data)


class AAEGame(Game):
    """The game that :class:`AAE` describes."""

    def __init__(self, spec: AAE, modules: Mapping[str, nn.Module], data: DataSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder, self.decoder = modules["encoder"], modules["decoder"]
        self.discriminator = logits(modules["discriminator"])
        self.players = (
            Player("autoencoder", ("encoder", "decoder")),
            Player("discriminator", ("discriminator",)),
            Player("encoder", ("encoder",)),
        )
        self.maps = {
            "encode": Map("encode_rows", gives="codes", about="the codes of rows"),
            "reconstruct": Map("reconstruct", gives="x", about="rows decoded from their codes"),
        }
        self._fit(data)

    def _fit(self, data: DataSpec) -> None:
        size = self.spec.prior.size
        was_training = self.training
        self.eval()
        with torch.no_grad():
            made = self.decoder(torch.zeros(2, size))
            need_shape(made, (2, *data.shape), "the decoder, for 2 codes,")
            need_shape(self.encoder(made), (2, self.spec.outputs), f"the {self.spec.encoder} encoder, for 2 points,")
            scores = self.discriminator(torch.zeros(2, size))
            if scores.shape != (2,):
                raise ShapeError(f"the discriminator of codes gives {tuple(scores.shape)} for 2 codes", "give (n,)")
        self.train(was_training)

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": self.spec.prior.codes(n, labels)}

    def draw(self, batch: Batch) -> Batch:
        real = batch["x"]
        drawn: Batch = {"real": real, "latent": self.spec.prior.codes(len(real), real)}
        if self.spec.encoder == "gaussian":
            drawn["noise"] = torch.randn_like(drawn["latent"])
        for penalty in self.spec.penalties:
            drawn.update(penalty.noise(drawn["latent"]))
        return drawn

    def encode(self, draw: Draw) -> Tensor:
        """The codes of the draw's real rows, ``(n, size)``."""
        return self._encoded(draw["real"], draw.tensors.get("noise"))

    def _encoded(self, x: Tensor, noise: Tensor | None) -> Tensor:
        given: Tensor = self.encoder(x)
        if self.spec.encoder == "deterministic":
            return given
        mean, log_deviation = given.chunk(2, dim=1)
        assert noise is not None
        return mean + log_deviation.exp() * noise

    def encode_rows(self, rows: Batch) -> Tensor:
        """The codes of rows ``x``, ``(n, size)``; of a Gaussian encoder, with fresh noise."""
        x = rows["x"]
        return self._encoded(x, torch.randn(len(x), self.spec.prior.size, device=x.device))

    def reconstruct(self, rows: Batch) -> Tensor:
        """Rows ``x`` decoded from their codes."""
        made: Tensor = self.decoder(self.encode_rows(rows))
        return made

    def contests(self, draw: Draw) -> dict[str, Contest]:
        return {"codes": Contest((draw["latent"],), (self.encode(draw),), self.discriminator)}

    def loss(self, player: str, draw: Draw) -> Loss:
        return self._loss(player, self.contests(draw)["codes"], draw)

    def losses(self, draw: Draw) -> dict[str, Loss]:
        contest = self.contests(draw)["codes"]
        return {player.name: self._loss(player.name, contest, draw) for player in self.players}

    def _loss(self, player: str, contest: Contest, draw: Draw) -> Loss:
        if player == "autoencoder":
            error = mse_loss(self.decoder(contest.fake[0]), draw["real"])
            return Loss(error, {"reconstruction": error})
        if player == "encoder":
            return Loss(generator_loss(contest, self.spec.objective))
        return discriminator_loss(contest, self.spec.objective, self.spec.penalties, draw)

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.decoder(draw["latent"])
        return made

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player == "discriminator":
            advance_spectral_norms(self.discriminator)
