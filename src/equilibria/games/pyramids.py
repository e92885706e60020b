"""Images from coarse to fine by one game per resolution: LAPGAN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError, DataError, RunError
from ..base.records import record
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..core.maps import Map
from ..data import Dataset, DataSpec
from ..data.store import Store
from ..data.views import Halved, Residual, enlarge, halve
from ..losses import NonSaturating, Objective, Penalty
from ..metrics import Measured
from ..metrics.kernel import log_windows
from ..metrics.measures import Diversity, LabellerOf, Measure, Rows, Trained
from ..networks import Networks, activation, advance_spectral_norms
from .contest_losses import discriminator_loss, generator_loss, need_positive, need_shape
from .spec import GameSpec, logits
from .stages import Finished, Procedure, Row, Stage, Task, anchor

SMALLEST = 8
"""The side at which a pyramid ends: what the convolutional pair can still halve once."""


@record
class Level:
    """The rows of one level: the images halved ``halvings`` times, or, with ``band``, what they have beyond the next.

    Examples:
        >>> from equilibria.data import load
        >>> data = load("digits", size=32)
        >>> Level(halvings=1, band=True)(data).spec.shape, Level(halvings=2)(data).spec.shape
        ((1, 16, 16), (1, 8, 8))
    """

    halvings: int = 0
    band: bool = False

    def __call__(self, dataset: Dataset) -> Dataset:
        """The derived data set, aligned with ``dataset``."""
        for _ in range(self.halvings):
            dataset = Halved()(dataset)
        return Residual()(dataset) if self.band else dataset

    def store(self, dataset: Dataset) -> Store:
        """Where the derived rows come from."""
        return self(dataset).store


class BandGenerator(nn.Module):
    """A noise plane and an enlarged coarse image to a band, by convolutions of stride 1.

    Args:
        channels: of the images.
        width: feature maps of each hidden layer.
        depth: hidden layers.

    Examples:
        >>> BandGenerator(channels=3, width=8)(torch.randn(2, 1, 8, 8), torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, channels: int, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels + 1, width, 3, padding=1), activation("relu")]
        for _ in range(depth - 1):
            layers += [nn.Conv2d(width, width, 3, padding=1), activation("relu")]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, z: Tensor, blurred: Tensor) -> Tensor:
        """``z`` ``(n, 1, h, w)``, ``blurred`` ``(n, c, h, w)``; the band, ``(n, c, h, w)``, of any range."""
        band: Tensor = self.body(torch.cat([blurred, z], dim=1))
        return band


@record
class BandGAN(GameSpec):
    r"""One level of LAPGAN (Denton et al. 2015, eq. 4): a band of the image given the image without it.

    .. math:: \min_G \max_D\; E_{h, l} \log D(h + l) + E_{z, l} \log\big(1 - D(G(z, l) + l)\big), \qquad l = u(I_{k+1})

    with :math:`h = I_k - l` and :math:`u` = :func:`~equilibria.data.views.enlarge`. As in the paper the discriminator
    is given the sum of band and blurred image. The data has the band as ``x`` and :math:`I_{k+1}` as the column
    ``coarse`` (:class:`~equilibria.data.views.Residual`). The generator ends in a linear layer: a band is in [-2, 2].

    Args:
        width: feature maps of the generator's hidden layers.
        depth: hidden layers of the generator.
        conditional: False hides the blurred image from the generator (it gets zeros), as a control.
        objective: the adversarial losses.
        penalties: added to the discriminator's loss; slopes are with respect to the band.

    Raises:
        ConfigError: no layer, or one without feature maps.
        DataError: the data has no column ``coarse``.
    """

    width: int = 64
    depth: int = 2
    conditional: bool = True
    objective: Objective = NonSaturating()
    penalties: tuple[Penalty, ...] = ()

    def __post_init__(self) -> None:
        need_positive(width=self.width, depth=self.depth)

    def measures(self) -> tuple[Measure, ...]:
        """How much of a band follows from the coarse image, and how much of its variance is the noise's."""
        return (BandError(), Diversity(map="refine"))

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        if data.column("coarse") is None or data.kind != "image":
            raise DataError("a band needs images with a column 'coarse'", "give a view such as data='mnist-residual'")
        generator = BandGenerator(data.shape[0], self.width, self.depth)
        return {"generator": generator, "discriminator": networks.discriminator(data.shape)}

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return BandGame(self, modules["generator"], modules["discriminator"], data)


class BandGame(Game):
    """The game that :class:`BandGAN` describes."""

    needs = ("coarse",)
    shows = ("x",)
    judged: Mapping[str, str] = {"band": "x"}
    maps: Mapping[str, Map] = {
        "band": Map("sampled_band", ("coarse",), "x", "a band for each coarse image, with fresh noise"),
        "refine": Map("refine", ("coarse",), "x", "each coarse image at twice the resolution, with a band"),
    }

    def __init__(self, spec: BandGAN, generator: nn.Module, discriminator: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.spec, self.generator, self.discriminator = spec, generator, logits(discriminator)
        self.shape = data.shape
        self.players = (Player("discriminator", ("discriminator",)), Player("generator", ("generator",)))
        with torch.no_grad():
            points = torch.zeros(2, *data.shape)
            need_shape(generator(points[:, :1], points), (2, *data.shape), "the generator, for 2 bands,")
            need_shape(self.discriminator(points), (2,), "the discriminator, for 2 images,")

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": torch.randn(n, 1, *self.shape[1:])}

    def draw(self, batch: Batch) -> Batch:
        real = batch["x"]
        drawn: Batch = {"real": real, "coarse": batch["coarse"], "latent": torch.randn_like(real[:, :1])}
        for penalty in self.spec.penalties:
            drawn.update(penalty.noise(real))
        return drawn

    def contests(self, draw: Draw) -> dict[str, Contest]:
        blurred = enlarge(draw["coarse"])
        fake = self.band(draw["latent"], blurred)
        return {"band": Contest((draw["real"], blurred), (fake, blurred), self._score)}

    def loss(self, player: str, draw: Draw) -> Loss:
        contest = self.contests(draw)["band"]
        if player == "generator":
            return Loss(generator_loss(contest, self.spec.objective))
        return discriminator_loss(contest, self.spec.objective, self.spec.penalties, draw)

    def given(self, rows: Batch) -> Batch:
        """The coarse images, and their bands where there are any, to be shown beside."""
        return {name: rows[name] for name in ("coarse", "x") if name in rows}

    def sample(self, draw: Draw) -> Tensor:
        """Bands for the coarse images in the draw."""
        return self.band(draw["latent"], enlarge(draw["coarse"]))

    def views(self, draw: Draw) -> Tensors:
        band = self.sample(draw)
        shown = {"coarse": draw["coarse"], "band": band, "image": enlarge(draw["coarse"]) + band}
        return {**shown, "target": enlarge(draw["coarse"]) + draw["x"]} if "x" in draw else shown

    def sampled_band(self, rows: Batch) -> Tensor:
        """The map ``band``."""
        blurred = enlarge(rows["coarse"])
        return self.band(torch.randn_like(blurred[:, :1]), blurred)

    def refine(self, rows: Batch) -> Tensor:
        """The map ``refine``."""
        return enlarge(rows["coarse"]) + self.sampled_band(rows)

    def band(self, z: Tensor, blurred: Tensor) -> Tensor:
        """The generator's band for a noise plane and the blurred image that it is added to."""
        made: Tensor = self.generator(z, blurred if self.spec.conditional else torch.zeros_like(blurred))
        return made

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player == "discriminator":
            advance_spectral_norms(self.discriminator)

    def _score(self, band: Tensor, blurred: Tensor) -> Tensor:
        score: Tensor = self.discriminator(band + blurred)
        return score


class PyramidGame(Game):
    r"""Images from the finished levels of a pyramid, coarse to fine. It has no players.

    .. math:: \tilde I_K = G_K(z_K), \qquad \tilde I_k = u(\tilde I_{k+1}) + G_k\big(z_k, u(\tilde I_{k+1})\big)

    Levels that are missing are enlarged without a band, so that a run shows whole images from its first level on.

    Args:
        coarsest: the game of the coarsest images; None where no level is finished.
        bands: the finished games of the bands, coarse to fine.
        enlarged: how often the result is enlarged to the size of the data.
    """

    judged: Mapping[str, str] = {"samples": "x"}
    maps: Mapping[str, Map] = {
        "rebuild": Map("rebuild", ("x",), "x", "images taken apart into a pyramid, and put together again"),
        "refine": Map("refine", ("x",), "x", "images whose bands are generated, from their coarsest level up"),
        "bands": Map("bands", ("x",), "codes", "the generated bands of the blurred images, all levels side by side"),
    }

    def __init__(self, coarsest: Game | None, bands: tuple[BandGame, ...], enlarged: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList([] if coarsest is None else [coarsest, *bands])
        self.enlarged = enlarged
        self.anchor = anchor()

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        if not len(self.levels):
            raise RunError("no level is finished yet", "continue the run, then sample")
        return {
            f"level{i}/{name}": tensor
            for i, game in enumerate(self._games())
            for name, tensor in game.codes(n, labels).items()
        }

    def sample(self, draw: Draw) -> Tensor:
        return self.views(draw)["samples"]

    def views(self, draw: Draw) -> Tensors:
        """The image of each level, coarse to fine, and at last the samples, in the range of the data."""
        coarsest, *_ = self._games()
        image = coarsest.sample(_own(draw, 0))
        shown = {}
        for i, game in enumerate(self._bands(), start=1):
            shown[f"size {image.shape[-2]}"] = image
            blurred = enlarge(image)
            image = blurred + game.band(draw[f"level{i}/latent"], blurred)
        if self.enlarged:
            shown[f"size {image.shape[-2]}"] = image
        return {**shown, "samples": self._whole(image)}

    def rebuild(self, rows: Batch) -> Tensor:
        """The map ``rebuild``: the inverse of the pyramid of as many levels as there are bands and enlargements."""
        images = [rows["x"]]
        for _ in range(len(self._bands()) + self.enlarged):
            images.append(halve(images[-1]))
        rebuilt = images[-1]
        for fine, coarse in zip(images[-2::-1], images[:0:-1], strict=True):
            rebuilt = enlarge(rebuilt) + (fine - enlarge(coarse))
        return rebuilt

    def refine(self, rows: Batch) -> Tensor:
        """The map ``refine``."""
        image = self._halved(rows["x"])[-1]
        for game in self._bands():
            image = game.refine({"coarse": image})
        return self._whole(image)

    def bands(self, rows: Batch) -> Tensor:
        """The map ``bands``: ``(n, numbers of all bands)``, coarse to fine."""
        coarse = self._halved(rows["x"])[:0:-1]
        made = [g.sampled_band({"coarse": c}) for g, c in zip(self._bands(), coarse, strict=True)]
        return torch.cat([band.flatten(1) for band in made], 1) if made else rows["x"].new_zeros(len(rows["x"]), 0)

    def _halved(self, x: Tensor) -> list[Tensor]:
        """The images of the levels that have a band, fine to coarse, and the coarsest."""
        for _ in range(self.enlarged):
            x = halve(x)
        images = [x]
        for _ in self._bands():
            images.append(halve(images[-1]))
        return images

    def _whole(self, image: Tensor) -> Tensor:
        for _ in range(self.enlarged):
            image = enlarge(image)
        return image.clamp(-1, 1)

    def _bands(self) -> tuple[BandGame, ...]:
        return tuple(game for game in self.levels if isinstance(game, BandGame))

    def _games(self) -> tuple[Game, ...]:
        return tuple(game for game in self.levels if isinstance(game, Game))


def _own(draw: Draw, i: int) -> Draw:
    """The entries of level ``i`` under their own names."""
    prefix = f"level{i}/"
    own = {name.removeprefix(prefix): t for name, t in draw.tensors.items() if name.startswith(prefix)}
    return replace(draw, tensors=own)


@record
class LaplacianPyramid(Procedure):
    r"""LAPGAN (Denton et al. 2015): a GAN of small images, and one of the band of each doubling. Trained one by one.

    .. math:: I_{k+1} = d(I_k), \qquad h_k = I_k - u(I_{k+1}), \qquad I_k = u(I_{k+1}) + h_k

    The stages are independent: each is trained on derived data (:class:`Level`), the coarsest with the game of the
    recipe. Sampling goes from coarse to fine (:class:`PyramidGame`).

    Args:
        levels: doublings; the images' sides must divide by 2 to this power, and stay at least 8.
        band: the game of a band.

    Raises:
        ConfigError: no level.

    Examples:
        >>> from equilibria.recipes import recipe
        >>> LaplacianPyramid(levels=2).plan(recipe("gan"), DataSpec(kind="image", shape=(1, 32, 32)))
        {'size-8': 20000, 'size-16': 20000, 'size-32': 20000}
    """

    levels: int = 2
    band: GameSpec = BandGAN()

    def __post_init__(self) -> None:
        need_positive(levels=self.levels)

    def plan(self, row: Row, data: DataSpec) -> dict[str, int]:
        if data.kind != "image":
            raise DataError("a pyramid needs images", "give a data set of images, for example data='digits'")
        height, width = data.shape[1:]
        parts = 2**self.levels
        if height % parts or width % parts or min(height, width) // parts < SMALLEST:
            raise ConfigError(
                f"images of {width} x {height} in a pyramid of {self.levels} doublings: their sides must divide by "
                f"{parts} and be at least {SMALLEST * parts}",
                f"--set data.size={SMALLEST * parts}",
            )
        return {_name(data, halvings): row.steps for halvings in range(self.levels, -1, -1)}

    def settled(self, row: Row, data: Dataset) -> LaplacianPyramid:
        return self

    def stages(self, done: tuple[Finished, ...], task: Task) -> Stage | None:
        halvings = self.levels - len(done)
        if halvings < 0:
            return None
        name = _name(task.data.spec, halvings)
        if not done:
            return Stage(name, task.row, Level(halvings=halvings))
        return Stage(name, replace(task.row, game=self.band), Level(halvings=halvings, band=True))

    def measures(self) -> tuple[Measure, ...]:
        """How exactly the pyramid inverts, and what its bands owe to the images that they are generated for."""
        return (PyramidError(), BandLikelihood(levels=self.levels))

    def joined(self, done: tuple[Finished, ...], data: DataSpec) -> Game:
        bands = tuple(stage.game for stage in done[1:] if isinstance(stage.game, BandGame))
        coarsest = done[0].game if done else None
        return PyramidGame(coarsest, bands, self.levels - len(bands))


def _name(data: DataSpec, halvings: int) -> str:
    return f"size-{data.shape[1] >> halvings}"


@record
class PyramidError(Measure):
    r"""How far images are from themselves after a pyramid is taken and inverted, :math:`\max |I - \hat I|`.

    Zero but for rounding: each level adds what it took away.

    Args:
        most: rows at most.
    """

    most: int = 256

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        x = rows["x"][: self.most]
        error = float((apply("rebuild", {**rows, "x": x}) - x).abs().max())
        return {"pyramid_error": Measured(value=error, floor=0.0, unit="greatest difference", n=len(x))}


@record
class BandError(Measure):
    r"""How far generated bands are from the bands of the same images, over the bands' size.

    .. math:: \frac{E\|G(z, l) - h\|^2}{E\|h\|^2}

    A band of zeros scores 1. The chance level is that of bands generated for other images: about 2 where they have the
    size of real ones. How low a good sampler comes depends on how much of a band follows from the coarse image.

    Args:
        map: from the column ``coarse`` to bands.
    """

    map: str = "band"

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        if "coarse" not in rows:
            return {}
        made, real = (t.flatten(1).double() for t in (apply(self.map, rows), rows["x"]))
        size = real.square().mean()
        matched, shuffled = (float((m - real).square().mean() / size) for m in (made, made.roll(1, 0)))
        return {"band_error": Measured(value=matched, unit="share of the bands' size", n=len(real), chance=shuffled)}


@record
class BandLikelihood(Measure):
    r"""The log-likelihood of the bands of held-out images, level by level, by Gaussian windows on generated ones.

    .. math:: \log p(h_k \mid l_k) \approx \log \frac1S \sum_{s=1}^S N\big(h_k;\, G_k(z_s, l_k),\, \sigma_k^2 I\big)

    per number of the band, in nats (the multi-scale Parzen estimate of Denton et al. 2015, appendix A, without its
    coarsest level). :math:`\sigma_k` is the best of a grid on half of the rows; the other half gives the number.
    The chance level is the same with bands generated for other images. A high value needs bands that fit their images
    and vary as real ones do.

    Args:
        levels: doublings of the pyramid.
        draws: S.
        most: rows at most.
    """

    levels: int = 2
    draws: int = 24
    most: int = 64

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        x = rows["x"][: self.most]
        images = [x]
        for _ in range(self.levels):
            images.append(halve(images[-1]))
        real = [fine - enlarge(coarse) for fine, coarse in zip(images[-2::-1], images[:0:-1], strict=True)]
        made = torch.stack([apply("bands", {**rows, "x": x}, seed) for seed in range(self.draws)])
        if made.shape[2] != sum(band[0].numel() for band in real):
            return {}  # levels are missing
        found = {}
        sizes = [band[0].numel() for band in real]
        for band, own in zip(real, torch.split(made, sizes, dim=2), strict=True):
            value, chance = (_windowed(draws.double(), band.flatten(1).double()) for draws in (own, own.roll(1, 1)))
            name = f"band_log_likelihood/size-{band.shape[-2]}"
            found[name] = Measured(value=value, unit="nats per number", n=len(x) // 2, higher=True, chance=chance)
        return found


def _windowed(made: Tensor, real: Tensor) -> float:
    """The mean log-density per number of ``real`` ``(n, d)`` under windows on ``made`` ``(S, n, d)``."""
    half, d = len(real) // 2, real.shape[1]
    found = log_windows(made, real, [0.01 * 1.3**i for i in range(20)])
    return float(found[found[:, :half].mean(1).argmax(), half:].mean()) / d
