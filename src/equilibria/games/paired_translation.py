"""Translation learned from aligned pairs: pix2pix."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ..base.errors import DataError, ShapeError
from ..base.records import record
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..core.maps import Map
from ..data import Column, DataSpec
from ..losses import NonSaturating, Objective, Penalty
from ..metrics.measures import Diversity, GradientEnergy, Measure, Reconstruction
from ..networks import Networks, advance_spectral_norms
from ..networks import image_to_image as networks_of
from .contest_losses import discriminator_loss, generator_loss, need_shape
from .spec import GameSpec


@record
class Pix2Pix(GameSpec):
    r"""Conditional translation of images (Isola et al. 2017, equations 1 to 4).

    .. math::
        \min_G \max_D\; E_{x,y} \log D(x, y) + E_{x,z} \log(1 - D(x, G(x, z))) + \lambda\, E \|y - G(x, z)\|_1

    with the mean of absolute differences over the values of an image. ``x`` of the data is what is translated, and its
    aligned column ``other`` is the target. The generator's only noise :math:`z` is dropout, in training and in use; its
    masks are in the draw. The discriminator scores the pair, channels side by side, patch by patch; its loss is halved
    (section 3.3), and the generator maximises :math:`\log D(x, G(x, z))` as in practice.

    Args:
        l1: the weight λ.
        adversarial: the weight of the generator's adversarial loss; 0 leaves L1 alone.
        conditional: whether the discriminator sees ``x``; False is the paper's "GAN" and "L1+GAN" rows.
        objective: the adversarial losses.
        penalties: added to the discriminator's loss.
        discriminator_weight: what the discriminator's loss is multiplied by.

    Raises:
        DataError: the data has no column ``other`` aligned with ``x``.
        ShapeError: the two cannot be laid side by side.

    Examples:
        >>> from equilibria.data import Column
        >>> from equilibria.networks import ImageToImage, PatchGAN, UNet
        >>> target = Column(name="other", kind="image", shape=(3, 16, 16))
        >>> data = DataSpec(kind="image", shape=(1, 16, 16), columns=(target,))
        >>> game = Pix2Pix().build(ImageToImage(translator=UNet(width=4), patch=PatchGAN(width=4)), data)
        >>> game.discriminator.shape, {name: tuple(t.shape) for name, t in game.codes(2).items()}
        ((4, 16, 16), {'dropout': (2, 448)})
    """

    l1: float = 100.0
    adversarial: float = 1.0
    conditional: bool = True
    objective: Objective = NonSaturating()
    penalties: tuple[Penalty, ...] = ()
    discriminator_weight: float = 0.5

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        target = aligned(data, "pix2pix").shape
        scored = _side_by_side(data.shape, target) if self.conditional else target
        return {
            "generator": networks_of.translator(networks, data.shape, target),
            "discriminator": networks_of.discriminator(networks, scored),
        }

    def measures(self) -> tuple[Measure, ...]:
        """How sharp translations are, how far from their targets, and how much of them is due to the noise."""
        target = Reconstruction(map="translate", column="other", name="target_error")
        return (GradientEnergy(map="translate"), target, Diversity(map="translate"))

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return Pix2PixGame(self, modules["generator"], modules["discriminator"], data)


def aligned(data: DataSpec, who: str) -> Column:
    """The column ``other`` whose rows belong to those of ``x``.

    Raises:
        DataError: there is none, or it is of another stream.
    """
    column = data.column("other")
    if column is None:
        raise DataError(f"{who} needs a target for each row, and the data has no column 'other'", "give aligned:A,B")
    if column.stream:
        raise DataError(
            f"{who} needs a target for each row, and 'other' of this data is drawn independently of 'x'",
            "give aligned:A,B in place of pairs:A,B",
        )
    return column


def _side_by_side(source: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a pair as one point: channels side by side."""
    if source[1:] != target[1:] or len(source) != len(target):
        raise ShapeError(
            f"'x' of shape {source} and 'other' of shape {target} cannot be laid side by side",
            "bring both to one size when the data is read, for example size=64",
        )
    return (source[0] + target[0], *source[1:])


class Pix2PixGame(Game):
    """The game that :class:`Pix2Pix` describes."""

    needs = ("x",)
    shows = ("other",)

    def __init__(self, spec: Pix2Pix, generator: nn.Module, discriminator: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.spec, self.generator, self.discriminator = spec, generator, discriminator
        self.judged = {"output": "other"}
        self.maps = {"translate": Map("translate", ("x",), "other", "translate rows of x, with fresh dropout")}
        self.players = (Player("discriminator", ("discriminator",)), Player("generator", ("generator",)))
        target = aligned(data, "pix2pix").shape
        with torch.no_grad():
            source = torch.zeros(2, *data.shape)
            made = self._made(source, self.codes(2))
            need_shape(made, (2, *target), "the generator, for 2 rows,")
            scores = self._score(made, source)
            if scores.ndim < 1 or len(scores) != 2:
                raise ShapeError(f"the discriminator gives {tuple(scores.shape)} for 2 rows", "give (n,) or (n, h, w)")

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        """The masks of dropout: all that differs between two translations of one row."""
        masks = getattr(self.generator, "masks", None)
        return {"dropout": masks(n)} if masks is not None and self.generator.noise else {}

    def given(self, rows: Batch) -> Batch:
        """The rows to translate, and their targets where there are any, to be shown beside."""
        return {name: rows[name] for name in ("x", "other") if name in rows}

    def draw(self, batch: Batch) -> Batch:
        with torch.device(batch["x"].device):
            drawn = {"x": batch["x"], "other": batch["other"], **self.codes(len(batch["x"]))}
        for penalty in self.spec.penalties:
            drawn.update(penalty.noise(batch["other"]))
        return drawn

    def _made(self, x: Tensor, entries: Mapping[str, Tensor]) -> Tensor:
        made: Tensor = self.generator(x, entries["dropout"]) if "dropout" in entries else self.generator(x)
        return made

    def _score(self, point: Tensor, x: Tensor) -> Tensor:
        scores: Tensor = self.discriminator(torch.cat([x, point], dim=1) if self.spec.conditional else point)
        return scores

    def contests(self, draw: Draw) -> dict[str, Contest]:
        x = draw["x"]
        return {"pairs": Contest((draw["other"], x), (self.sample(draw), x), self._score)}

    def loss(self, player: str, draw: Draw) -> Loss:
        return self._loss(player, self.contests(draw)["pairs"], draw)

    def losses(self, draw: Draw) -> dict[str, Loss]:
        contest = self.contests(draw)["pairs"]
        return {player.name: self._loss(player.name, contest, draw) for player in self.players}

    def _loss(self, player: str, contest: Contest, draw: Draw) -> Loss:
        spec = self.spec
        if player == "discriminator":
            found = discriminator_loss(contest, spec.objective, spec.penalties, draw)
            return Loss(spec.discriminator_weight * found.total, found.parts)
        distance = l1_loss(contest.fake[0], draw["other"])
        total = spec.l1 * distance
        if spec.adversarial:
            total = total + spec.adversarial * generator_loss(contest, spec.objective)
        return Loss(total, {"l1": distance})

    def sample(self, draw: Draw) -> Tensor:
        return self._made(draw["x"], draw.tensors)

    def views(self, draw: Draw) -> Tensors:
        shown = {"input": draw["x"], "output": self.sample(draw)}
        return {**shown, "target": draw["other"]} if "other" in draw else shown

    def translate(self, rows: Batch) -> Tensor:
        """The map ``translate``: rows of ``x`` to rows of ``other``, with masks from the global generator."""
        with torch.device(rows["x"].device):
            entries = self.codes(len(rows["x"]))
        return self._made(rows["x"], entries)

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player == "discriminator":
            advance_spectral_norms(self.discriminator)
