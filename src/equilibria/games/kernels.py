"""Games whose distance is a maximum mean discrepancy: GMMN without an adversary, and MMD-GAN."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..base.records import record
from ..base.schedules import Bursts, Schedule
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..core.maps import Map
from ..data import DataSpec
from ..losses import Clip
from ..losses.discrepancy import SCALES, mixture, need_scales, root, squared_discrepancy
from ..metrics.measures import Measure, Reconstruction
from ..networks import Networks, advance_spectral_norms
from .contest_losses import need_shape
from .spec import GameSpec, Latent


@record
class GMMN(GameSpec):
    r"""Generative moment matching network (Li et al. 2015): a generator alone, and a distance with a fixed kernel.

    .. math:: \min_G \sqrt{\widehat{MMD}{}^2_k(x, G(z)) + \epsilon}, \qquad
        k(x, y) = \sum_s e^{-\|x - y\|^2 / 2 s^2}

    with the biased estimate on the batch (section 4: the root has larger slopes near the end). There is no
    discriminator: the contest's score is the witness function of the batch,
    :math:`E_{x'} k(x, x') - E_{z} k(x, G(z))`.

    Args:
        scales: of the kernel, in the data's units; the largest should reach across the data.
        latent: the law of the codes.

    Raises:
        ConfigError: no scale, or one that is not positive.

    Examples:
        >>> from equilibria.networks import MLPPair
        >>> game = GMMN().build(MLPPair(width=8), DataSpec(kind="vector", shape=(2,)))
        >>> [player.name for player in game.players]
        ['generator']
    """

    scales: tuple[float, ...] = SCALES
    latent: Latent = Latent(size=10, law="uniform")

    def __post_init__(self) -> None:
        need_scales(self.scales)

    def sides(self) -> Mapping[str, tuple[str, ...]]:
        return {"generator": ("generator",), "discriminator": ()}

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        return {"generator": networks.generator(self.latent.size, data.shape)}

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return GMMNGame(self, modules["generator"], data)


class GMMNGame(Game):
    """The game that :class:`GMMN` describes."""

    players = (Player("generator", ("generator",)),)

    def __init__(self, spec: GMMN, generator: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.spec, self.generator = spec, generator
        _fit(self, data)

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": self.spec.latent.codes(n, labels)}

    def draw(self, batch: Batch) -> Batch:
        real = batch["x"]
        return {"real": real, "latent": self.spec.latent.codes(len(real), real)}

    def contests(self, draw: Draw) -> dict[str, Contest]:
        real, fake = draw["real"], self.sample(draw)
        return {"data": Contest((real,), (fake,), lambda x: witness(x, real, fake, self.spec.scales))}

    def loss(self, player: str, draw: Draw) -> Loss:
        distance = root(squared_discrepancy(draw["real"], self.sample(draw), self.spec.scales))
        return Loss(distance, {"discrepancy": distance})

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.generator(draw["latent"])
        return made


@record
class MMDGAN(GameSpec):
    r"""MMD-GAN (Li et al. 2017): the kernel of a moment matching network is learned by an adversary.

    .. math::
        \text{discriminator: } & \max_{f, d}\; M + \lambda_r R - \lambda_a
            \big( E\|d(f(x)) - x\|^2 + E\|d(f(G(z))) - G(z)\|^2 \big) / \dim x \\
        \text{generator: } & \min_G\; M + \lambda_r R

    with :math:`M = \sqrt{\max(\widehat{MMD}{}^2_{k \circ f}, 0) + \epsilon}`, the biased estimate under the kernel of
    :class:`GMMN` on the codes :math:`f(x)`, and the one-sided term of the authors' code,
    :math:`R = \frac1c \sum_j \min(E f_j(x) - E f_j(G(z)), 0)`. The weights of the encoder :math:`f` are clipped, those
    of the decoder :math:`d`, which keeps it injective, are not. The contest's score is the witness function of the
    batch in codes.

    Args:
        code: numbers of a code.
        scales: of the kernel, in the units of codes.
        one_sided: :math:`\lambda_r`.
        reconstruction: :math:`\lambda_a`.
        clip: the box of the encoder's weights; None for no clipping.
        discriminator_turns: turns of the discriminator in a round, or a schedule of them.
        latent: the law of the generator's codes.

    Raises:
        ConfigError: no scale, or a number that is out of bounds.
    """

    code: int = 16
    scales: tuple[float, ...] = SCALES
    one_sided: float = 16.0
    reconstruction: float = 8.0
    clip: Clip | None = Clip(value=0.01)
    discriminator_turns: int | Schedule = Bursts()
    latent: Latent = Latent(size=10)

    def __post_init__(self) -> None:
        need_scales(self.scales)

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        return {
            "generator": networks.generator(self.latent.size, data.shape),
            "encoder": networks.encoder(data.shape, self.code),
            "decoder": networks.generator(self.code, data.shape),
        }

    def measures(self) -> tuple[Measure, ...]:
        """The error of the autoencoder that holds the kernel."""
        return (Reconstruction(),)

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return MMDGANGame(self, modules, data)


class MMDGANGame(Game):
    """The game that :class:`MMDGAN` describes."""

    def __init__(self, spec: MMDGAN, modules: Mapping[str, nn.Module], data: DataSpec) -> None:
        super().__init__()
        self.spec = spec
        self.generator, self.encoder, self.decoder = (modules[n] for n in ("generator", "encoder", "decoder"))
        self.players = (
            Player("discriminator", ("encoder", "decoder"), spec.discriminator_turns, _of_encoder(spec.clip)),
            Player("generator", ("generator",)),
        )
        self.maps = {
            "encode": Map("encode", gives="codes", about="the codes of rows in which the kernel compares them"),
            "reconstruct": Map("reconstruct", gives="x", about="rows decoded from their codes"),
        }
        made = _fit(self, data)
        was_training = self.training
        self.eval()
        with torch.no_grad():
            need_shape(self.encoder(made), (2, spec.code), "the encoder")
            need_shape(self.decoder(self.encoder(made)), (2, *data.shape), "the decoder")
        self.train(was_training)

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": self.spec.latent.codes(n, labels)}

    def draw(self, batch: Batch) -> Batch:
        real = batch["x"]
        return {"real": real, "latent": self.spec.latent.codes(len(real), real)}

    def contests(self, draw: Draw) -> dict[str, Contest]:
        real, fake = draw["real"], self.sample(draw)

        def score(x: Tensor) -> Tensor:
            return witness(self.encoder(x), self.encoder(real), self.encoder(fake), self.spec.scales)

        return {"data": Contest((real,), (fake,), score)}

    def loss(self, player: str, draw: Draw) -> Loss:
        real, fake = draw["real"], self.sample(draw)
        on_real, on_fake = self.encoder(real), self.encoder(fake)
        distance = root(squared_discrepancy(on_real, on_fake, self.spec.scales))
        gap = (on_real.mean(0) - on_fake.mean(0)).clamp(max=0).mean()
        value = distance + self.spec.one_sided * gap
        parts = {"discrepancy": distance, "one-sided": gap}
        if player == "generator":
            return Loss(value, parts)
        errors = [(self.decoder(c) - x).square().mean() for c, x in ((on_real, real), (on_fake, fake))]
        parts |= {"reconstruction/real": errors[0], "reconstruction/fake": errors[1]}
        return Loss(self.spec.reconstruction * (errors[0] + errors[1]) - value, parts)

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.generator(draw["latent"])
        return made

    def encode(self, rows: Batch) -> Tensor:
        """The codes of rows ``x``, ``(n, code)``."""
        coded: Tensor = self.encoder(rows["x"])
        return coded

    def reconstruct(self, rows: Batch) -> Tensor:
        """Rows ``x`` decoded from their codes."""
        made: Tensor = self.decoder(self.encoder(rows["x"]))
        return made

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player == "discriminator":
            advance_spectral_norms(self.encoder)


def witness(x: Tensor, real: Tensor, fake: Tensor, scales: tuple[float, ...] = SCALES) -> Tensor:
    r"""The witness function of a discrepancy at points, higher where real rows are denser (Gretton et al. 2012, 2.3).

    .. math:: w(x) = \frac1n \sum_i k(x, x_i) - \frac1m \sum_j k(x, y_j)

    Args:
        x: points ``(k, …)``.
        real: rows of one law, ``(n, …)``.
        fake: rows of the other, ``(m, …)``.
        scales: of the kernel.

    Returns:
        ``(k,)``.

    Examples:
        >>> real, fake = torch.zeros(1, 1), torch.full((1, 1), 1e3)
        >>> witness(torch.tensor([[0.0], [1e3]]), real, fake, scales=(1.0,)).tolist()
        [1.0, -1.0]
    """
    x, real, fake = (rows.flatten(1) for rows in (x, real, fake))
    return mixture(x, real, scales).mean(1) - mixture(x, fake, scales).mean(1)


def _of_encoder(clip: Clip | None) -> Callable[[str, Tensor], Tensor] | None:
    """A constraint of the encoder's parameters only; an ensemble's have a prefix before their names."""
    if clip is None:
        return None
    return lambda name, tensor: clip(name, tensor) if "encoder" in name.split(".")[:2] else tensor


def _fit(game: GMMNGame | MMDGANGame, data: DataSpec) -> Tensor:
    """Two points of the game's generator, which have to be of the data's shape."""
    was_training = game.training
    game.eval()
    with torch.no_grad():
        made: Tensor = game.generator(torch.zeros(2, game.spec.latent.size))
        need_shape(made, (2, *data.shape), "the generator, for 2 codes,")
    game.train(was_training)
    return made
