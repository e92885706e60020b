"""Super-resolution by a critic whose latent map measures perceptual distance: the Latent Adversarial Generator."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ..base.errors import ConfigError, DataError, ShapeError
from ..base.records import record
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..core.maps import Choice, Map
from ..data import DataSpec
from ..data.views import halve
from ..losses import GradientPenalty, Penalty, Wasserstein
from ..metrics import Measured
from ..metrics.measures import Diversity, LabellerOf, Measure, Reconstruction, Rows, Trained
from ..networks import Networks, SuperResolution, advance_spectral_norms
from .contest_losses import discriminator_loss, generator_loss, need_shape
from .spec import GameSpec

GREY_LEVEL = 1 / 127.5
"""The distance of two 8-bit grey levels in images of [-1, 1]."""
FACTORS = (2, 4, 8)


@record
class LAG(GameSpec):
    r"""The Latent Adversarial Generator (Berthelot, Milanfar & Goodfellow 2020).

    A generator :math:`G(y, \epsilon)` enlarges a low-resolution image :math:`y = d(x)`, the mean of each ``factor`` by
    ``factor`` block of x; noise :math:`\epsilon \sim N(0, I)` chooses among the images that agree with y. The critic
    gives a latent map :math:`P(x, r)`, and its value is the mean of it. It is also told the error at the low
    resolution, :math:`r = R(|y - d(x)|)`, which is 0 for real images:

    .. math::
        L_D &= -E\, \overline{P(x, 0)} + E\, \overline{P(G(y, \epsilon), r)}
            + 10\, E (\|\nabla_{\hat x} \overline{P(\hat x, \hat r)}\| - 1)^2 \\
        L_G &= -E\, \overline{P(G(y, \epsilon), r)} + 10\, E\, \overline{(P(x, 0) - P(G(y, 0), r_0))^2}

    The bars are means over all entries of a map. R rounds to multiples of ``rounding`` grey levels, and its derivative
    is taken to be 1 (a straight-through estimator, so the game's Jacobian is not exact). The penalty is that of WGAN-GP
    at interpolates :math:`\hat x` of x and :math:`G(y, \epsilon)`, with :math:`\hat r = R(|y - d(\hat x)|)`, which its
    slopes pass through. The last term makes :math:`G(y, 0)` the centre, in the critic's latent space, of the images
    that agree with y.

    All resolutions are trained at once. The authors add them in stages, one for each doubling; here there are two or
    three, each adds its part to the image from the first round on, and a run stays one game on one set of rows: in
    stages, a pair of the first stage would have other images, and another factor, than that of the last.

    Args:
        factor: the enlargement, 2, 4 or 8; both sides of the data's images must divide by it.
        noise: noise planes at the low resolution.
        centre_weight: of the last term; 0 leaves the adversarial loss alone.
        rounding: grey levels of 8 bits to whose multiples the residual is rounded (4 in the authors' code); 0 for none.
        penalties: added to the critic's loss; slopes are with respect to the image.

    Raises:
        ConfigError: another factor, no noise, or a negative weight; or, when built, networks that do not enlarge.
        DataError: (when built) data without images, or of a size that the factor does not divide.

    Examples:
        >>> data = DataSpec(kind="image", shape=(1, 16, 16))
        >>> game = LAG(noise=3).build(SuperResolution(width=8), data)
        >>> game.enlarge({"x": torch.zeros(2, 1, 4, 4)}).shape
        torch.Size([2, 1, 16, 16])
    """

    factor: int = 4
    noise: int = 64
    centre_weight: float = 10.0
    rounding: float = 4.0
    penalties: tuple[Penalty, ...] = (GradientPenalty(weight=10.0, center=1.0),)

    def __post_init__(self) -> None:
        if self.factor not in FACTORS:
            raise ConfigError(f"factor={self.factor} is none of 2, 4, 8", settings={"factor": 4})

    @property
    def doublings(self) -> int:
        """How often the low-resolution image is doubled."""
        return self.factor.bit_length() - 1

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        self.low_shape(data)
        if not isinstance(networks, SuperResolution):
            what = f"networks of type {type(networks).__name__} do not enlarge images"
            raise ConfigError(what, "--set networks=super-resolution")
        return {
            "generator": networks.enlarger(data.shape, self.doublings, self.noise),
            "discriminator": networks.critic(data.shape, self.doublings),
        }

    def low_shape(self, data: DataSpec) -> tuple[int, ...]:
        """The shape of the low-resolution images.

        Raises:
            DataError: there are none.
        """
        if data.kind != "image":
            raise DataError("super-resolution needs images", "give a data set of images, for example data='digits'")
        channels, height, width = data.shape
        if height % self.factor or width % self.factor:
            near = [max(self.factor, round(side / self.factor) * self.factor) for side in (width, height)]
            raise DataError(
                f"images of {width} x {height} pixels are enlarged {self.factor} times: both sides must divide by "
                f"{self.factor}",
                f"--set data.size={near[0] if near[0] == near[1] else f'{near[0]}x{near[1]}'}",
            )
        return (channels, height // self.factor, width // self.factor)

    def measures(self) -> tuple[Measure, ...]:
        """Whether enlarged images agree with what was enlarged, how far they are from the truth, and how they vary."""
        return (
            PooledError(),
            Reconstruction(map="enlarge", name="sample_error"),
            Reconstruction(map="centre", name="centre_error"),
            Diversity(map="enlarge"),
        )

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return LAGGame(self, modules["generator"], modules["discriminator"], data)


class LAGGame(Game):
    """The game that :class:`LAG` describes."""

    exact = False
    needs = ("x",)
    judged: Mapping[str, str] = {"output": "x"}
    choices: Mapping[str, Choice] = {
        "noise": Choice(low=0.0, high=2.0, about="the size of the noise; 0 for the centre of the images that agree")
    }
    maps: Mapping[str, Map] = {
        "enlarge": Map("enlarge", about="super-resolution of rows, with fresh noise; larger rows are pooled first"),
        "centre": Map("centred", about="super-resolution of rows without noise; larger rows are pooled first"),
        "pool": Map("pool", about="rows at the low resolution"),
    }

    def __init__(self, spec: LAG, generator: nn.Module, discriminator: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.spec, self.generator, self.discriminator = spec, generator, discriminator
        self.low = spec.low_shape(data)
        self.sizes = {"x": (self.low,)}
        self.players = (Player("discriminator", ("discriminator",)), Player("generator", ("generator",)))
        with torch.no_grad():
            low = torch.zeros(2, *self.low)
            made = generator(low, self.codes(2)["latent"])
            need_shape(made, (2, *data.shape), "the generator, for 2 rows,")
            latent = discriminator(made, low)
            if latent.ndim < 2 or len(latent) != 2:
                raise ShapeError(f"the critic gives {tuple(latent.shape)} for 2 rows", "give a map (n, …)")

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": torch.randn(n, self.spec.noise, *self.low[1:])}

    def chosen(self, n: int, values: Mapping[str, float]) -> Batch:
        return {"scale": torch.full((n, 1, 1, 1), float(values["noise"]))} if "noise" in values else {}

    def given(self, rows: Batch) -> Batch:
        """The rows at the low resolution; larger ones are shown beside, as what was to be found."""
        x = rows["x"]
        return {"low": self.pooled(x), **({} if tuple(x.shape[1:]) == self.low else {"real": x})}

    def draw(self, batch: Batch) -> Batch:
        real = batch["x"]
        with torch.device(real.device):
            drawn = {"real": real, "low": self.pooled(real), **self.codes(len(real))}
        for penalty in self.spec.penalties:
            drawn.update(penalty.noise(real))
        return drawn

    def pooled(self, x: Tensor) -> Tensor:
        """Rows at the low resolution, ``(n, *low)``; rows of that size are returned as they are."""
        if tuple(x.shape[1:]) == self.low:
            return x
        for _ in range(self.spec.doublings):
            x = halve(x)
        return x

    def latent(self, x: Tensor, low: Tensor) -> Tensor:
        """The critic's latent map :math:`P(x, R(|y - d(x)|))`."""
        residual = rounded((low - self.pooled(x)).abs(), self.spec.rounding * GREY_LEVEL)
        latent: Tensor = self.discriminator(x, residual)
        return latent

    def _value(self, x: Tensor, low: Tensor) -> Tensor:
        return self.latent(x, low).flatten(1).mean(1)

    def contests(self, draw: Draw) -> dict[str, Contest]:
        low = draw["low"]
        return {"images": Contest((draw["real"], low), (self.sample(draw), low), self._value)}

    def loss(self, player: str, draw: Draw) -> Loss:
        return self._loss(player, self.contests(draw)["images"], draw)

    def losses(self, draw: Draw) -> dict[str, Loss]:
        contest = self.contests(draw)["images"]
        return {player.name: self._loss(player.name, contest, draw) for player in self.players}

    def _loss(self, player: str, contest: Contest, draw: Draw) -> Loss:
        if player == "discriminator":
            return discriminator_loss(contest, Wasserstein(), self.spec.penalties, draw)
        total, parts = generator_loss(contest, Wasserstein()), {}
        if self.spec.centre_weight:
            wanted = self.latent(draw["real"], draw["low"])
            parts["centre"] = mse_loss(wanted, self.latent(self._without_noise(draw["low"]), draw["low"]))
            total = total + self.spec.centre_weight * parts["centre"]
        return Loss(total, parts)

    def sample(self, draw: Draw) -> Tensor:
        noise = draw["latent"] * draw["scale"] if "scale" in draw else draw["latent"]
        made: Tensor = self.generator(draw["low"], noise)
        return made

    def views(self, draw: Draw) -> Tensors:
        low = draw["low"]
        shown = {"input": low, "centre": self._without_noise(low), "output": self.sample(draw)}
        return {**shown, "target": draw["real"]} if "real" in draw else shown

    def enlarge(self, rows: Batch) -> Tensor:
        """The map ``enlarge``, with noise from the global generator."""
        low = self.pooled(rows["x"])
        with torch.device(low.device):
            latent = self.codes(len(low))["latent"]
        made: Tensor = self.generator(low, latent.to(low.dtype))
        return made

    def centred(self, rows: Batch) -> Tensor:
        """The map ``centre``."""
        return self._without_noise(self.pooled(rows["x"]))

    def _without_noise(self, low: Tensor) -> Tensor:
        """:math:`G(y, 0)`."""
        made: Tensor = self.generator(low, low.new_zeros(len(low), self.spec.noise, *self.low[1:]))
        return made

    def pool(self, rows: Batch) -> Tensor:
        """The map ``pool``."""
        return self.pooled(rows["x"])

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player == "discriminator":
            advance_spectral_norms(self.discriminator)


def rounded(x: Tensor, step: float) -> Tensor:
    """The nearest multiples of ``step``, with the derivative of ``x`` itself: a straight-through estimator.

    Examples:
        >>> x = torch.tensor([0.2, 0.8], requires_grad=True)
        >>> rounded(x, 0.5).tolist(), torch.autograd.grad(rounded(x, 0.5).sum(), x)[0].tolist()
        ([0.0, 1.0], [1.0, 1.0])
    """
    return x + (torch.round(x / step) * step - x).detach() if step else x


@record
class PooledError(Measure):
    r"""How far enlarged images, pooled, are from what was enlarged, as a share of the variance of that.

    .. math:: \frac{E\|d(G(y, \epsilon)) - y\|^2}{E\|y - E y\|^2}

    Zero is exact agreement. The chance level is the error against the low-resolution images of other rows.

    Args:
        map: from rows to enlarged images.
        pool: from images to the low resolution.
    """

    map: str = "enlarge"
    pool: str = "pool"

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        low = apply(self.pool, rows)
        back = apply(self.pool, {**rows, "x": apply(self.map, rows).to(low.device)}).flatten(1).double()
        low = low.flatten(1).double()
        size = (low - low.mean(0)).square().mean()
        error, chance = (float((back - one).square().mean() / size) for one in (low, low.roll(1, 0)))
        value = Measured(value=error, floor=0.0, unit="share of the variance", n=len(low), chance=chance)
        return {"pooled_error": value}
