"""Games whose discriminator is a classifier: K + 1 classes (Salimans et al. 2016) and CatGAN (Springenberg 2016)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError, DataError
from ..base.records import record
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..core.maps import Map
from ..data import DataSpec
from ..losses import NonSaturating, Objective, Term
from ..losses.base import wide
from ..metrics.measures import Accuracy, Measure, Purity
from ..networks import Networks, advance_spectral_norms, one_hot
from .contest_losses import labelled_columns, labelled_entropy, need_shape, need_single, need_term
from .laws import LatentLaw, Law
from .spec import GameSpec, Latent
from .two_player import described


class ClassLosses(ABC):
    """Abstract record: the adversarial losses of a classifier's outputs ``l``, ``(n, K)``, one number per class."""

    @abstractmethod
    def score(self, outputs: Tensor) -> Tensor:
        """A score ``(n,)`` of each point, higher for more real."""

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss, 0-dim, for the outputs at real and at generated points."""

    @abstractmethod
    def generator(self, fake: Tensor) -> Tensor:
        """The generator's loss, 0-dim, for the outputs at generated points."""


@record
class KPlusOne(ClassLosses):
    r"""Generated points are a further class K + 1, with output 0 (Salimans et al. 2016, section 5).

    .. math:: D(x) = \frac{Z(x)}{Z(x) + 1}, \quad Z(x) = \sum_{k=1}^K e^{l_k(x)}, \qquad
        L_D = -E_p \log D(x) - E_q \log(1 - D(x))

    so the score, the logit of D, is :math:`\log Z`, and the loss is that of ``objective`` for it.

    Args:
        objective: of the score; one that does not pair real with generated rows.

    Raises:
        ConfigError: the objective pairs rows.

    Examples:
        >>> round(KPlusOne().score(torch.zeros(1, 4)).item(), 4)
        1.3863
    """

    objective: Objective = NonSaturating()

    def __post_init__(self) -> None:
        need_single(self.objective, "a classifier of K + 1 classes")

    def score(self, outputs: Tensor) -> Tensor:
        return wide(outputs).logsumexp(1)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return self.objective.discriminator(self.score(real), self.score(fake))

    def generator(self, fake: Tensor) -> Tensor:
        return self.objective.generator(self.score(fake))


@record
class Categorical(ClassLosses):
    r"""CatGAN: sure and even classes on data, unsure ones on generated points (Springenberg 2016).

    .. math::
        L_D &= -H\big[E_p\, p(y|x)\big] + E_p H\big[p(y|x)\big] - E_q H\big[p(y|x)\big] \\
        L_G &= -H\big[E_q\, p(y|x)\big] + E_q H\big[p(y|x)\big]

    in nats, with :math:`p(y|x)` the softmax of the outputs and the means inside H over the batch: the larger the batch
    against K, the better. With weight 1, :math:`L_D`
    lies between -2 log K and 0, and :math:`L_G` between -log K and 0. The score is :math:`-H[p(y|x)]`.

    Args:
        marginal: weight of the entropies of the means; 1 in the paper. With 0, one class for everything is optimal.

    Raises:
        ConfigError: a negative weight.

    Examples:
        >>> sure = 50 * torch.eye(4)
        >>> round(Categorical().discriminator(sure, 0 * sure).item() / math.log(4), 6)
        -2.0
    """

    marginal: float = 1.0

    def score(self, outputs: Tensor) -> Tensor:
        return -_entropy(wide(outputs))

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return self._sure_and_even(real) + self.score(fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        return self._sure_and_even(fake)

    def _sure_and_even(self, outputs: Tensor) -> Tensor:
        mean = wide(outputs).log_softmax(1).logsumexp(0) - math.log(len(outputs))
        return (mean.exp() * mean).sum() * self.marginal - self.score(outputs).mean()


def _entropy(outputs: Tensor) -> Tensor:
    """The entropy of the softmax of each row, ``(n,)``, in nats."""
    log = outputs.log_softmax(1)
    return -(log.exp() * log).sum(1)


@record
class Classifying(GameSpec):
    r"""A generator against a classifier, which learns classes from a few labelled rows, from all, or from none.

    .. math::
        \text{discriminator: } & w_a L_D(l(x), l(G(z))) - w_l\, E_{(x, y)} \log p(y\,|\,x) \\
        \text{generator: } & w_g L_G(l(G(z))) + \sum_i T_i

    with :math:`p(y|x)` the softmax over K classes. Labelled rows are those of the columns ``labelled`` and ``label``
    where the data deals them as a stream of their own (``few:mnist,100``), else those rows of the batch whose label is
    not -1. A batch without a label has no such term.

    Args:
        losses: the adversarial losses of the outputs, :class:`KPlusOne` or :class:`Categorical`.
        classes: K; 0 for the classes of the data. Other numbers are for ``labelled_weight=0`` only.
        adversarial_weight: :math:`w_a`; 0 trains the classifier on its labels alone.
        labelled_weight: :math:`w_l`; 0 needs no labels, and classes are then clusters.
        terms: added to the loss of the player that each names (feature matching).
        generator_weight: :math:`w_g`; 0 where a term takes its place.
        latent: the law of the codes.

    Raises:
        ConfigError: a negative weight, one class, or ``classes`` together with labels.

    Examples:
        >>> from equilibria.networks import MLPPair
        >>> spec = Classifying(losses=Categorical(), classes=8, labelled_weight=0.0)
        >>> game = spec.build(MLPPair(width=8), DataSpec(kind="vector", shape=(2,)))
        >>> game.classify({"x": torch.zeros(3, 2)}).shape
        torch.Size([3])
    """

    losses: ClassLosses = KPlusOne()
    classes: int = 0
    adversarial_weight: float = 1.0
    labelled_weight: float = 1.0
    terms: tuple[Term, ...] = ()
    generator_weight: float = 1.0
    latent: LatentLaw = Latent(size=100)

    def __post_init__(self) -> None:
        if self.classes == 1:
            raise ConfigError(
                f"classes={self.classes} (0 for those of the data, else 2 or more)", settings={"classes": 0}
            )
        if self.classes and self.labelled_weight:
            what = f"classes={self.classes} beside the classes of labels, of weight {self.labelled_weight}"
            raise ConfigError(what, settings={"classes": 0})

    def outputs(self, data: DataSpec) -> int:
        """The number of classes K.

        Raises:
            DataError: the data has no labels, and ``classes`` is 0 or labels have a weight.
        """
        if not (self.classes or data.classes):
            fix = "use few:mnist,100, or set classes to a number of clusters and labelled_weight=0"
            raise DataError("a classifier needs a number of classes, and the data has no labels", fix)
        return self.classes or data.classes

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        return {
            "generator": networks.generator(self.latent.size, data.shape),
            "discriminator": ClassifierNetwork(networks.encoder(data.shape, self.outputs(data))),
        }

    def measures(self) -> tuple[Measure, ...]:
        """The share of held-out rows in their class; of clusters, the share in the majority class of their cluster."""
        return (Accuracy(),) if self.labelled_weight else (Purity(map="classify"),)

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return ClassifyingGame(self, modules["generator"], modules["discriminator"], data)


class ClassifierNetwork(nn.Module):
    """A trunk and an affine map to the outputs of K classes, with the trunk's features.

    Args:
        encoder: points to ``(n, K)``, with a ``trunk``.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def features(self, x: Tensor) -> Tensor:
        """What the last layer reads, ``(n, k)``."""
        described: Tensor = self.encoder.get_submodule("trunk")(x)
        return described

    def forward(self, x: Tensor) -> Tensor:
        """The outputs ``(n, K)``: unnormalised log-probabilities of the classes."""
        outputs: Tensor = self.encoder(x)
        return outputs


class ClassifyingGame(Game):
    """The game that :class:`Classifying` describes."""

    def __init__(self, spec: Classifying, generator: nn.Module, discriminator: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.spec, self.kinds = spec, spec.outputs(data)
        self.generator, self.discriminator = generator, discriminator
        self.law, self.prepared_on = Law(spec.latent), spec.latent.prepared_on
        self._labelled = labelled_columns(data)
        self.players = (Player("discriminator", ("discriminator",)), Player("generator", ("generator",)))
        about = "the most probable class of rows" if spec.labelled_weight else "the cluster of rows"
        self.maps = {"classify": Map("classify", gives="label", about=about)}
        self._fit(data)
        offered = {"real", *self.codes(2), *(() if described(self.discriminator) is None else ("features",))}
        for term in spec.terms:
            need_term(term, offered, [player.name for player in self.players])

    def _fit(self, data: DataSpec) -> None:
        was_training = self.training
        self.eval()
        with torch.no_grad():
            made = self.generator(torch.zeros(2, self.spec.latent.size))
            need_shape(made, (2, *data.shape), "the generator, for 2 codes,")
            need_shape(self.discriminator(made), (2, self.kinds), "the discriminator")
        self.train(was_training)

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        codes: Batch = self.law(n, labels)
        return codes

    def prepare(self, batch: Batch) -> None:
        self.law.prepare(batch["x"])

    def draw(self, batch: Batch) -> Batch:
        real = batch["x"]
        drawn: Batch = {"real": real, **self.law(len(real), real)}
        if self.spec.labelled_weight:
            x, y = (batch[name] for name in self._labelled)
            drawn |= {"labelled": x, "label": one_hot(y, self.kinds)}
        for term in self.spec.terms:
            drawn |= term.noise(real)
        return drawn

    def contests(self, draw: Draw) -> dict[str, Contest]:
        return {"data": Contest((draw["real"],), (self.sample(draw),), self._score, described(self.discriminator))}

    def _score(self, x: Tensor) -> Tensor:
        return self.spec.losses.score(self.discriminator(x))

    def loss(self, player: str, draw: Draw) -> Loss:
        contest = self.contests(draw)["data"]
        total, parts = self._generator(contest) if player == "generator" else self._discriminator(contest, draw)
        for term in self.spec.terms:
            if term.player == player:
                parts[f"term/{type(term).__name__}"] = value = term(contest, draw)
                total = total + value
        return Loss(total, parts)

    def _generator(self, contest: Contest) -> tuple[Tensor, Tensors]:
        weight = self.spec.generator_weight
        if not weight:  # a pass of the discriminator that nothing needs
            return contest.fake[0].new_zeros(()), {}
        return weight * self.spec.losses.generator(self.discriminator(contest.fake[0])), {}

    def _discriminator(self, contest: Contest, draw: Draw) -> tuple[Tensor, Tensors]:
        total, parts = draw["real"].new_zeros(()), {}
        if self.spec.adversarial_weight:
            real, fake = (self.discriminator(points[0]) for points in (contest.real, contest.fake))
            total = self.spec.adversarial_weight * self.spec.losses.discriminator(real, fake)
            for side, outputs in (("real", real), ("fake", fake)):
                parts[f"score/{side}"] = self.spec.losses.score(outputs).mean()
        if self.spec.labelled_weight:
            own = labelled_entropy(self.discriminator(draw["labelled"]), draw["label"])
            total, parts = (
                total + self.spec.labelled_weight * own.total,
                {**parts, "entropy/labelled": own.total, **own.parts},
            )
        return total, parts

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.generator(draw["latent"])
        return made

    def classify(self, rows: Batch) -> Tensor:
        """The most probable class of rows ``x``, ``(n,)``."""
        outputs: Tensor = self.discriminator(rows["x"])
        return outputs.argmax(1)

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player == "discriminator":
            advance_spectral_norms(self.discriminator)
