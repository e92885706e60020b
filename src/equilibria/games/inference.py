"""Games that read codes back from what is generated: InfoGAN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, leaky_relu, softplus

from ..base.errors import ConfigError
from ..base.records import record
from ..base.schedules import Schedule
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..core.maps import Choice, Map
from ..data import DataSpec
from ..losses import NonSaturating, Objective, Penalty
from ..losses.base import wide
from ..metrics.measures import CodePurity, Measure, Purity
from ..networks import Networks, advance_spectral_norms, one_hot
from .contest_losses import discriminator_loss, features_of, need_shape
from .spec import GameSpec, Latent

NARROWEST = 0.05  # the smallest deviation that Q may state: without it log Q has no upper bound


@runtime_checkable
class Code(Protocol):
    """A code that is to be read back: :class:`Category` or :class:`Number`."""

    @property
    def name(self) -> str:
        """How the draw and ``--set code.NAME=VALUE`` call it."""

    @property
    def weight(self) -> float:
        """Of its information in the generator's loss."""

    @property
    def width(self) -> int:
        """Numbers that the generator is given for it."""

    @property
    def outputs(self) -> int:
        """Numbers that Q gives for it."""

    @property
    def choice(self) -> Choice:
        """What a user may set it to."""

    def drawn(self, n: int, like: Tensor | None = None) -> Tensor:
        """``(n, width)`` codes from the global generator."""

    def fixed(self, n: int, value: float) -> Tensor:
        """``(n, width)`` codes that are all ``value``."""

    def information(self, code: Tensor, read: Tensor) -> Tensor:
        """The lower bound of the information, 0-dim, in nats, for codes ``(n, width)`` and Q's ``(n, outputs)``."""

    def inferred(self, read: Tensor) -> Tensor:
        """The posterior mean of the code under Q, ``(n, width)``."""


@record
class Category:
    r"""A category, uniform over ``classes``; Q gives its unnormalised log-probabilities.

    .. math:: L_I = \log K + E \log Q(c\,|\,x) \le I(c; x) \le \log K

    Raises:
        ConfigError: fewer than two classes, or a negative weight.

    Examples:
        >>> Category(name="c1", classes=4).fixed(2, 3).tolist()
        [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]
    """

    name: str = "c1"
    classes: int = 10
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check(self.name, self.weight)
        if self.classes < 2:
            raise ConfigError(f"classes={self.classes} of code '{self.name}' is below 2", settings={"classes": 2})

    @property
    def width(self) -> int:
        """One number per class."""
        return self.classes

    @property
    def outputs(self) -> int:
        """One number per class."""
        return self.classes

    @property
    def choice(self) -> Choice:
        """A class, 0 to ``classes - 1``."""
        return Choice(classes=self.classes, about="category that Q reads back")

    def drawn(self, n: int, like: Tensor | None = None) -> Tensor:
        """One-hot codes."""
        return one_hot(
            torch.randint(self.classes, (n,), device=like.device if like is not None else None), self.classes
        )

    def fixed(self, n: int, value: float) -> Tensor:
        """One-hot codes of one class."""
        return one_hot(torch.full((n,), int(value)), self.classes)

    def information(self, code: Tensor, read: Tensor) -> Tensor:
        """The entropy log K minus the cross entropy."""
        return math.log(self.classes) - cross_entropy(wide(read), code.argmax(1))

    def inferred(self, read: Tensor) -> Tensor:
        """The probabilities of the classes."""
        return read.softmax(1)


@record
class Number:
    r"""A number, uniform on [-1, 1]; Q is a normal law whose mean and deviation are functions of x.

    .. math:: L_I = \log 2 + E \log N(c;\, \mu(x), \sigma(x)^2) \le I(c; x)

    The deviation is 0.05 + softplus, so the bound is at most
    :math:`\log 2 - \tfrac12 \log 2\pi - \log 0.05 = 2.77` nats.
    The paper gives continuous codes a smaller weight than categories.

    Raises:
        ConfigError: a negative weight.

    Examples:
        >>> Number(name="c2").fixed(2, -0.5).tolist()
        [[-0.5], [-0.5]]
    """

    name: str = "c2"
    weight: float = 0.1

    def __post_init__(self) -> None:
        _check(self.name, self.weight)

    @property
    def width(self) -> int:
        """One number."""
        return 1

    @property
    def outputs(self) -> int:
        """A mean and a deviation."""
        return 2

    @property
    def choice(self) -> Choice:
        """A number in [-1, 1]."""
        return Choice(low=-1.0, high=1.0, about="number that Q reads back")

    def drawn(self, n: int, like: Tensor | None = None) -> Tensor:
        """Codes uniform on [-1, 1]."""
        return torch.rand(n, 1, device=like.device if like is not None else None) * 2 - 1

    def fixed(self, n: int, value: float) -> Tensor:
        """Codes of one value."""
        return torch.full((n, 1), float(value))

    def information(self, code: Tensor, read: Tensor) -> Tensor:
        """The entropy log 2 plus the mean log-density."""
        mean, raw = wide(read).chunk(2, dim=1)
        deviation = NARROWEST + softplus(raw)
        log_density = -((code - mean) / deviation).square() / 2 - deviation.log() - math.log(2 * math.pi) / 2
        return math.log(2) + log_density.mean()

    def inferred(self, read: Tensor) -> Tensor:
        """The mean."""
        return read[:, :1]


def _check(name: str, weight: float) -> None:
    if not name.isidentifier() or name in {"real", "latent"}:
        raise ConfigError(f"name='{name}' is not the name of a code (c1, c2, …)", settings={"name": "c1"})
    if not weight >= 0:
        what = f"weight={weight} of code '{name}' is below 0 (0: read without learning it)"
        raise ConfigError(what, settings={"weight": 1.0})


class ReadingDiscriminator(nn.Module):
    """A discriminator and, on the same trunk, the network Q that reads codes.

    Args:
        trunk: points to ``(n, trunk.features)``.
        outputs: numbers that Q gives.
        hidden: width of Q's one hidden layer.

    Examples:
        >>> from equilibria.networks import MLPPair
        >>> net = ReadingDiscriminator(MLPPair(width=8).trunk((2,)), outputs=12, hidden=16)
        >>> [t.shape for t in net.both(torch.zeros(5, 2))]
        [torch.Size([5]), torch.Size([5, 12])]
    """

    def __init__(self, trunk: nn.Module, outputs: int, hidden: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.logit = nn.Linear(features_of(trunk), 1)
        self.reader = nn.ModuleDict(
            {"hidden": nn.Linear(features_of(trunk), hidden), "out": nn.Linear(hidden, outputs)}
        )

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(n,)``, higher for more real, and what Q gives, ``(n, outputs)``."""
        features = self.trunk(x)
        return self.logit(features)[:, 0], self._read(features)

    def read(self, x: Tensor) -> Tensor:
        """What Q gives, ``(n, outputs)``."""
        return self._read(self.trunk(x))

    def features(self, x: Tensor) -> Tensor:
        """What the last layer reads, ``(n, trunk.features)``."""
        described: Tensor = self.trunk(x)
        return described

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n,)``."""
        score: Tensor = self.logit(self.trunk(x))[:, 0]
        return score

    def _read(self, features: Tensor) -> Tensor:
        out: Tensor = self.reader["out"](leaky_relu(self.reader["hidden"](features), 0.1))
        return out


@record
class InfoGAN(GameSpec):
    r"""Information-maximising GAN (Chen et al. 2016, eq. 6): some of the generator's codes can be read from its points.

    .. math:: \min_{G, Q} \max_D\; V(D, G) - \sum_j \lambda_j L_{I,j}(G, Q), \qquad
        L_{I,j} = H(c_j) + E_{c, z}\big[\log Q(c_j\,|\,G(z, c))\big] \le I(c_j; G(z, c))

    in nats. :math:`Q` is a small network on the discriminator's trunk; the generator's turn moves its layers (with
    :math:`G`), and the discriminator's turn moves the trunk for :math:`V` alone.

    ``sample --set code.c1=3`` fixes a code. The parts ``information/NAME`` of the generator's loss are the bounds; at
    best that of a category of K classes is log K.

    Args:
        codes: what is to be read back.
        objective: the adversarial losses.
        penalties: added to the discriminator's loss.
        hidden: width of Q's hidden layer.
        discriminator_turns: turns of the discriminator in a round.
        latent: the law of the noise, the codes that are not read back.

    Raises:
        ConfigError: no code, or two of the same name.

    Examples:
        >>> from equilibria.networks import MLPPair
        >>> game = InfoGAN().build(MLPPair(width=8), DataSpec(kind="vector", shape=(2,)))
        >>> [(name, choice.classes) for name, choice in game.choices.items()]
        [('c1', 10), ('c2', 0), ('c3', 0)]
        >>> [(player.name, player.moves) for player in game.players]
        [('discriminator', ('discriminator.trunk', 'discriminator.logit')),
         ('generator', ('generator', 'discriminator.reader'))]
    """

    codes: tuple[Code, ...] = (Category(name="c1"), Number(name="c2"), Number(name="c3"))
    objective: Objective = NonSaturating()
    penalties: tuple[Penalty, ...] = ()
    hidden: int = 128
    discriminator_turns: int | Schedule = 1
    latent: Latent = Latent(size=62)

    def __post_init__(self) -> None:
        names = [code.name for code in self.codes]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"codes {names}", "give each code a name of its own: c1, c2, …")
        if self.hidden < 1:
            raise ConfigError(f"hidden={self.hidden} is below 1", settings={"hidden": 128})

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        inputs = self.latent.size + sum(code.width for code in self.codes)
        outputs = sum(code.outputs for code in self.codes)
        return {
            "generator": networks.generator(inputs, data.shape),
            "discriminator": ReadingDiscriminator(networks.trunk(data.shape), outputs, self.hidden),
        }

    def measures(self) -> tuple[Measure, ...]:
        """Whether the samples of a value of each category are of one class, and whether rows of one class share it."""
        categories = [code for code in self.codes if code.choice.classes]
        of_samples = tuple(
            CodePurity(code=code.name, values=code.choice.classes, name=f"code_purity/{code.name}")
            for code in categories
        )
        return (*of_samples, *(Purity(map="classify") for _ in categories[:1]))

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return InfoGANGame(self, modules["generator"], modules["discriminator"], data)


class InfoGANGame(Game):
    """The game that :class:`InfoGAN` describes."""

    def __init__(self, spec: InfoGAN, generator: nn.Module, discriminator: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.spec, self.generator, self.discriminator = spec, generator, discriminator
        self.players = (
            Player("discriminator", ("discriminator.trunk", "discriminator.logit"), spec.discriminator_turns),
            Player("generator", ("generator", "discriminator.reader")),
        )
        self.choices = {code.name: code.choice for code in spec.codes}
        self._category = next((code.name for code in spec.codes if code.choice.classes), None)
        self.maps = {"infer": Map("infer", gives="codes", about="the codes of rows as Q reads them, side by side")}
        if self._category is not None:
            self.maps["classify"] = Map("classify", gives="label", about=f"the category {self._category} of rows")
        self._fit(data)

    def _fit(self, data: DataSpec) -> None:
        was_training = self.training
        self.eval()
        with torch.no_grad():
            inputs = self.spec.latent.size + sum(code.width for code in self.spec.codes)
            made = self.generator(torch.zeros(2, inputs))
            need_shape(made, (2, *data.shape), "the generator, for 2 codes,")
            score, read = self.discriminator.both(made)  # type: ignore[operator]
            need_shape(score, (2,), "the discriminator")
            need_shape(read, (2, sum(code.outputs for code in self.spec.codes)), "the network Q")
        self.train(was_training)

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": self.spec.latent.codes(n, labels), **{c.name: c.drawn(n, labels) for c in self.spec.codes}}

    def chosen(self, n: int, values: Mapping[str, float]) -> Batch:
        return {code.name: code.fixed(n, values[code.name]) for code in self.spec.codes if code.name in values}

    def draw(self, batch: Batch) -> Batch:
        real = batch["x"]
        drawn: Batch = {"real": real, **self.codes(len(real), real)}
        for penalty in self.spec.penalties:
            drawn.update(penalty.noise(real))
        return drawn

    def contests(self, draw: Draw) -> dict[str, Contest]:
        return {"data": Contest((draw["real"],), (self.sample(draw),), self.discriminator)}

    def loss(self, player: str, draw: Draw) -> Loss:
        contest = self.contests(draw)["data"]
        if player == "discriminator":
            return discriminator_loss(contest, self.spec.objective, self.spec.penalties, draw)
        score, read = self.discriminator.both(contest.fake[0])  # type: ignore[operator]
        real = contest.scores("real") if self.spec.objective.pairs else None
        total, parts = self.spec.objective.generator(score, real), {}
        for code, own in zip(self.spec.codes, self._split(read), strict=True):
            parts[f"information/{code.name}"] = bound = code.information(draw[code.name], own)
            total = total - code.weight * bound
        return Loss(total, parts)

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.generator(torch.cat([draw["latent"], *(draw[code.name] for code in self.spec.codes)], 1))
        return made

    def infer(self, rows: Batch) -> Tensor:
        """The posterior means of all codes of rows ``x``, ``(n, …)``: probabilities of a category, a number's mean."""
        read = self._split(self.discriminator.read(rows["x"]))  # type: ignore[operator]
        return torch.cat([code.inferred(own) for code, own in zip(self.spec.codes, read, strict=True)], 1)

    def classify(self, rows: Batch) -> Tensor:
        """The most probable class of rows ``x`` under the first categorical code, ``(n,)``."""
        read = self._split(self.discriminator.read(rows["x"]))  # type: ignore[operator]
        own = {code.name: part for code, part in zip(self.spec.codes, read, strict=True)}
        return own[str(self._category)].argmax(1)

    def _split(self, read: Tensor) -> tuple[Tensor, ...]:
        """What Q gives, code by code."""
        return torch.split(read, [code.outputs for code in self.spec.codes], 1)

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player == "discriminator":
            advance_spectral_norms(self.discriminator)
