"""Translation learned from two domains without pairs: CycleGAN."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ..base.errors import DataError, ShapeError
from ..base.records import record
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..core.maps import Map
from ..data import DataSpec
from ..losses import LeastSquares, Objective, Penalty
from ..metrics.measures import CycleError, LabelKept, Measure
from ..networks import Networks, advance_spectral_norms
from ..networks import image_to_image as networks_of
from .contest_losses import discriminator_loss, generator_loss, need_shape
from .image_pool import ImagePool
from .spec import GameSpec

MAPS = {
    "to_other": Map("to_other", ("x",), "other", "translate rows of x into the other domain"),
    "to_x": Map("to_x", ("other",), "x", "translate rows of the other domain into that of x"),
    "reconstruct": Map("reconstruct", ("x",), "x", "translate rows of x and back"),
    "reconstruct_other": Map("reconstruct_other", ("other",), "other", "translate rows of other and back"),
}


@record
class CycleGAN(GameSpec):
    r"""Two translators that undo each other, each against a discriminator (Zhu et al. 2017, equations 1 to 3).

    With :math:`G` from ``x`` to ``other`` and :math:`F` back,

    .. math::
        L(G, F) &= E (D_Y(G(x)) - 1)^2 + E (D_X(F(y)) - 1)^2
            + \lambda \big( E \|F(G(x)) - x\|_1 + E \|G(F(y)) - y\|_1 \big)
            + \mu \big( E \|G(y) - y\|_1 + E \|F(x) - x\|_1 \big) \\
        L(D_Y) &= \tfrac12 E (D_Y(y) - 1)^2 + \tfrac12 E D_Y(\tilde y)^2, \qquad
        L(D_X) = \tfrac12 E (D_X(x) - 1)^2 + \tfrac12 E D_X(\tilde x)^2

    where norms are means over the values of an image, and the discriminators see :math:`\tilde y`, translations of
    which half come from a pool of earlier ones (:class:`~equilibria.games.image_pool.ImagePool`). Our least squares
    have the halves in both losses: hence the weight 2 of the generators' adversarial loss. A U-Net's dropout is not
    used.

    Args:
        cycle: the weight λ; 0 is the control without cycle consistency.
        identity: the weight μ; 0 leaves the term out (the paper uses λ/2 for paintings).
        adversarial: the weight of the generators' adversarial losses.
        pool: how many translations of each domain are kept; 0 for none.
        objective: the adversarial losses, in both domains.
        penalties: added to the discriminators' loss in each domain.

    Raises:
        DataError: the data has one domain, or domains of different shapes with an identity loss.

    Examples:
        >>> from equilibria.networks import ImageToImage, PatchGAN, ResNet
        >>> small = ImageToImage(translator=ResNet(width=4, blocks=1), patch=PatchGAN(width=4))
        >>> game = CycleGAN().build(small, DataSpec(kind="image", shape=(1, 16, 16), paired=True))
        >>> [(player.name, player.moves) for player in game.players]
        [('generators', ('to_other_net', 'to_x_net')), ('discriminators', ('discriminator_other', 'discriminator_x'))]
        >>> tuple(game.pool_x.images.shape)
        (50, 1, 16, 16)
    """

    cycle: float = 10.0
    identity: float = 0.0
    adversarial: float = 2.0
    pool: int = 50
    objective: Objective = LeastSquares()
    penalties: tuple[Penalty, ...] = ()

    def sides(self) -> Mapping[str, tuple[str, ...]]:
        return {"generator": ("generators",), "discriminator": ("discriminators",)}

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        x, other = data.shape, _other(data)
        if self.identity and x != other:
            raise DataError(
                f"the identity loss compares 'x' of shape {x} with 'other' of shape {other}", "set game.identity=0"
            )
        return {
            "to_other_net": networks_of.translator(networks, x, other),
            "to_x_net": networks_of.translator(networks, other, x),
            "discriminator_x": networks_of.discriminator(networks, x),
            "discriminator_other": networks_of.discriminator(networks, other),
        }

    def measures(self) -> tuple[Measure, ...]:
        """What is lost on both ways there and back, and whether the class of a row survives its translation."""
        return (
            CycleError(there="to_other", back="to_x"),
            CycleError(there="to_x", back="to_other", column="other", through="x", name="cycle_error/other"),
            LabelKept(map="to_other", gives="other"),
        )

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return CycleGANGame(self, modules, data)


def _other(data: DataSpec) -> tuple[int, ...]:
    column = data.column("other")
    if column is None:
        raise DataError("CycleGAN needs two domains, and the data has one", "give pairs:A,B")
    return column.shape


class CycleGANGame(Game):
    """The game that :class:`CycleGAN` describes."""

    needs = ("x", "other")

    def __init__(self, spec: CycleGAN, modules: Mapping[str, nn.Module], data: DataSpec) -> None:
        super().__init__()
        self.spec, self.maps = spec, dict(MAPS)
        self.judged = {"to_other": "other", "to_x": "x"}
        self.to_other_net, self.to_x_net = modules["to_other_net"], modules["to_x_net"]
        self.discriminator_x, self.discriminator_other = modules["discriminator_x"], modules["discriminator_other"]
        self.pool_x, self.pool_other = ImagePool(spec.pool, data.shape), ImagePool(spec.pool, _other(data))
        self.players = (
            Player("generators", ("to_other_net", "to_x_net")),
            Player("discriminators", ("discriminator_other", "discriminator_x")),
        )
        self._fit({"x": data.shape, "other": _other(data)})

    def _fit(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        with torch.no_grad():
            rows = {name: torch.zeros(2, *shape) for name, shape in shapes.items()}
            made = {"other": self.to_other(rows), "x": self.to_x(rows)}
            for name, discriminator in (("x", self.discriminator_x), ("other", self.discriminator_other)):
                need_shape(made[name], (2, *shapes[name]), f"the translator to '{name}', for 2 rows,")
                scores = discriminator(made[name])
                if scores.ndim < 1 or len(scores) != 2:
                    what = f"the discriminator of '{name}' gives {tuple(scores.shape)} for 2 rows"
                    raise ShapeError(what, "give (n,) or (n, h, w)")

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        """Nothing: a translation is a function of the row."""
        return {}

    def draw(self, batch: Batch) -> Batch:
        x, other = batch["x"], batch["other"]
        drawn = {"x": x, "other": other}
        for name, pool in (("x", self.pool_x), ("other", self.pool_other)):
            drawn.update({f"{entry}_{name}": value for entry, value in pool.places(len(x)).items()})
        for penalty in self.spec.penalties:
            for name, rows in (("x", x), ("other", other)):
                drawn.update({f"{name}/{entry}": value for entry, value in penalty.noise(rows).items()})
        return drawn

    def contests(self, draw: Draw) -> dict[str, Contest]:
        return self._contests(draw, self.to_x(draw.tensors), self.to_other(draw.tensors))

    def _contests(self, draw: Draw, fake_x: Tensor, fake_other: Tensor) -> dict[str, Contest]:
        return {
            "first": Contest((draw["x"],), (fake_x,), self.discriminator_x),
            "second": Contest((draw["other"],), (fake_other,), self.discriminator_other),
        }

    def loss(self, player: str, draw: Draw) -> Loss:
        return self._loss(player, draw, self.to_x(draw.tensors), self.to_other(draw.tensors))

    def losses(self, draw: Draw) -> dict[str, Loss]:
        fake_x, fake_other = self.to_x(draw.tensors), self.to_other(draw.tensors)
        return {player.name: self._loss(player.name, draw, fake_x, fake_other) for player in self.players}

    def _loss(self, player: str, draw: Draw, fake_x: Tensor, fake_other: Tensor) -> Loss:
        if player == "generators":
            return self._translation(draw, fake_x, fake_other)
        contests = self._contests(draw, self._seen(draw, "x", fake_x), self._seen(draw, "other", fake_other))
        objective, penalties = self.spec.objective, self.spec.penalties
        x = discriminator_loss(contests["first"], objective, penalties, _own(draw, "x"), "first")
        other = discriminator_loss(contests["second"], objective, penalties, _own(draw, "other"), "second")
        return Loss(x.total + other.total, {**x.parts, **other.parts}, {"x": fake_x, "other": fake_other})

    def _translation(self, draw: Draw, fake_x: Tensor, fake_other: Tensor) -> Loss:
        spec, x, other = self.spec, draw["x"], draw["other"]
        contests = self._contests(draw, fake_x, fake_other)
        fooling = generator_loss(contests["first"], spec.objective) + generator_loss(contests["second"], spec.objective)
        total, parts = spec.adversarial * fooling, dict[str, Tensor]()
        if spec.cycle:
            parts["cycle"] = l1_loss(self.to_x_net(fake_other), x) + l1_loss(self.to_other_net(fake_x), other)
            total = total + spec.cycle * parts["cycle"]
        if spec.identity:
            parts["identity"] = l1_loss(self.to_other_net(other), other) + l1_loss(self.to_x_net(x), x)
            total = total + spec.identity * parts["identity"]
        return Loss(total, parts)

    def _pool(self, name: str) -> ImagePool:
        return self.pool_x if name == "x" else self.pool_other

    def _seen(self, draw: Draw, name: str, fresh: Tensor) -> Tensor:
        pool = self._pool(name)
        return pool.seen(fresh, draw[f"place_{name}"], draw[f"role_{name}"]) if pool.size else fresh

    def sample(self, draw: Draw) -> Tensor:
        """The rows of ``x``, translated into the other domain."""
        return self.to_other(draw.tensors)

    def views(self, draw: Draw) -> Tensors:
        rows = draw.tensors
        to_other, to_x = self.to_other(rows), self.to_x(rows)
        return {
            "x": rows["x"],
            "to_other": to_other,
            "x_again": self.to_x({"other": to_other}),
            "other": rows["other"],
            "to_x": to_x,
            "other_again": self.to_other({"x": to_x}),
        }

    def to_other(self, rows: Batch) -> Tensor:
        """The map ``to_other``: rows of ``x``, translated."""
        made: Tensor = self.to_other_net(rows["x"])
        return made

    def to_x(self, rows: Batch) -> Tensor:
        """The map ``to_x``: rows of ``other``, translated."""
        made: Tensor = self.to_x_net(rows["other"])
        return made

    def reconstruct(self, rows: Batch) -> Tensor:
        """The map ``reconstruct``: rows of ``x``, translated and back."""
        return self.to_x({"other": self.to_other(rows)})

    def reconstruct_other(self, rows: Batch) -> Tensor:
        """The map ``reconstruct_other``: rows of ``other``, translated and back."""
        return self.to_other({"x": self.to_x(rows)})

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player != "discriminators":
            return
        for name, fresh in carry.items():
            pool = self._pool(name)
            if pool.size:
                pool.store(fresh, draw[f"place_{name}"], draw[f"role_{name}"])
        for discriminator in (self.discriminator_x, self.discriminator_other):
            advance_spectral_norms(discriminator)


def _own(draw: Draw, column: str) -> Draw:
    """The draw with the entries of penalties that are of one column under their own names."""
    prefix = f"{column}/"
    own = {name.removeprefix(prefix): t for name, t in draw.tensors.items() if name.startswith(prefix)}
    return Draw({**draw.tensors, **own}, draw.step, draw.time, draw.seed)
