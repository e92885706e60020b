r"""Terms of a player's loss beside its objective: feature matching, pull-away, preserved distances, classes.

A term is a record that is called with a contest and a draw, as a penalty is; it returns its weighted value, 0-dim. It
says which player's loss it belongs to, and which entries of the draw, and whether it reads the discriminator's features
:math:`f(x)`, the input of the discriminator's last layer, ``(n, k)``, or the outputs of its classifier. Where rows of a
batch meet (the first three here) a term is not a mean over rows, and the game cannot be split over processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from ..base.errors import DataError
from ..base.records import record
from .penalties import Contest, Moment, Side, Weight, _check, _weighted, _wide

_TINY = 1e-12


class FeatureContest(Contest, Protocol):
    """A contest that also gives the discriminator's features, or its classes."""

    def features(self, side: Side) -> Tensor:
        """Features of a side's points, ``(n, k)``."""

    def classes(self, side: Side) -> Tensor:
        """The discriminator's unnormalised log-probabilities of the classes of a side's points, ``(n, K)``."""


class Term(ABC):
    """A term of a player's loss.

    Attributes:
        player: whose loss it is added to, ``"generator"`` or ``"discriminator"``.
        reads: entries of the draw that it reads, besides those of its own ``noise``; ``"features"`` stands for the
            features of the contest, ``"classes"`` for the outputs of its classifier.
    """

    player: ClassVar[str] = "generator"
    reads: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def noise(self, real: Tensor) -> dict[str, Tensor]:
        """The random tensors this term needs for real points ``real``, drawn from the (seeded) global generator."""

    @abstractmethod
    def __call__(self, contest: FeatureContest, draw: Moment) -> Tensor:
        """The term, weighted; 0-dim."""


@record
class FeatureMatching(Term):
    r"""The means of the features of real and generated points agree (Salimans et al. 2016, section 3.1).

    .. math:: w\, \| E_p f(x) - E_z f(G(z)) \|_2^2

    with the means over the batch and the sum over the features. In the paper it takes the place of the generator's
    adversarial loss: set ``generator_weight=0`` in the game. The authors' code takes the mean over the features in
    place of the sum.

    Examples:
        >>> class Two:
        ...     def features(self, side): return torch.ones(4, 3) * (2.0 if side == "real" else 0.0)
        >>> FeatureMatching()(Two(), None).item()
        12.0
    """

    reads: ClassVar[tuple[str, ...]] = ("features",)
    weight: Weight = 1.0

    def __post_init__(self) -> None:
        _check("weight", self.weight)

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        return {}

    def __call__(self, contest: FeatureContest, draw: Moment) -> Tensor:
        real, fake = _wide(contest.features("real")), _wide(contest.features("fake"))
        return _weighted(self.weight, draw, (real.mean(0) - fake.mean(0)).square().sum())


@record
class PullAway(Term):
    r"""Features of generated points point in different directions (EBGAN's pull-away term: Zhao et al. 2017, eq. 4).

    .. math:: \frac{w}{n(n-1)} \sum_i \sum_{j \ne i}
        \Big( \frac{f(y_i)^\top f(y_j)}{\|f(y_i)\| \|f(y_j)\|} \Big)^2

    over the generated points :math:`y_i` of a batch. It is in [0, w]; a generator that makes one point has w. The
    paper's weight is 0.1.

    Raises:
        DataError: (when called) a batch of one point.

    Examples:
        >>> class Two:
        ...     def features(self, side): return torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
        >>> round(PullAway(weight=1.0)(Two(), None).item(), 4)
        0.3333
    """

    reads: ClassVar[tuple[str, ...]] = ("features",)
    weight: Weight = 0.1

    def __post_init__(self) -> None:
        _check("weight", self.weight)

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        return {}

    def __call__(self, contest: FeatureContest, draw: Moment) -> Tensor:
        features = _wide(contest.features("fake"))
        count = len(features)
        if count < 2:
            raise DataError(f"the pull-away term of {count} generated point", "use a batch of 2 or more")
        directions = features * (features.square().sum(1, keepdim=True) + _TINY).rsqrt()
        cosines = directions @ directions.T
        # The diagonal is taken away by a mask: its entries are 1 only up to the guard of the root.
        others = 1 - torch.eye(count, dtype=cosines.dtype, device=cosines.device)
        return _weighted(self.weight, draw, (cosines.square() * others).sum() / (count * (count - 1)))


@record
class PreservedDistances(Term):
    r"""Distances of generated points are those of their codes, up to one factor (BourGAN: Xiao et al. 2018, eq. 5).

    .. math:: w\, E_{z, z'} \big( \log \|G(z) - G(z')\|_2 - \log (s \|z - z'\|_2) \big)^2

    The pairs are neighbouring rows of the batch. The factor :math:`s` comes with the codes of
    :class:`~equilibria.games.laws.Embedded`.
    """

    reads: ClassVar[tuple[str, ...]] = ("latent", "latent_scale")
    weight: Weight = 0.1

    def __post_init__(self) -> None:
        _check("weight", self.weight)

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        return {}

    def __call__(self, contest: FeatureContest, draw: Moment) -> Tensor:
        made = _log_distances(contest.fake[0])
        wanted = _log_distances(draw["latent"]) + draw["latent_scale"].log()
        return _weighted(self.weight, draw, (made - wanted).square().mean())


@record
class AuxiliaryClassifier(Term):
    r"""The discriminator tells the class of real and of generated points (AC-GAN: Odena et al. 2017, section 3).

    .. math:: w\, \big( -E_p \log P(y | x) - E_{z, y} \log P(y | G(z, y)) \big) = -w\, L_C

    in nats, with P the softmax of the discriminator's second output (``condition="classifier"`` of its networks). In
    the discriminator's loss; with the non-saturating objective, whose part is :math:`-L_S`, it descends :math:`-(L_S +
    L_C)`. The generator's part is :class:`ClassifiedSamples`.

    Where classes overlap, the two parts together draw samples to places where the classifier is sure: the optimum is
    not :math:`p(x | y)` (Shu et al. 2017).

    Examples:
        >>> class Two:
        ...     def classes(self, side): return torch.zeros(4, 8)
        >>> round(AuxiliaryClassifier()(Two(), {"label": torch.eye(8)[:4]}).item(), 4)  # 2 log 8
        4.1589
    """

    player: ClassVar[str] = "discriminator"
    reads: ClassVar[tuple[str, ...]] = ("label", "classes")
    weight: Weight = 1.0

    def __post_init__(self) -> None:
        _check("weight", self.weight)

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        return {}

    def __call__(self, contest: FeatureContest, draw: Moment) -> Tensor:
        both = _class_entropy(contest, "real", draw) + _class_entropy(contest, "fake", draw)
        return _weighted(self.weight, draw, both)


@record
class ClassifiedSamples(Term):
    r"""Samples are of the class that was asked for, by the discriminator's classifier (Odena et al. 2017, section 3).

    .. math:: -w\, E_{z, y} \log P(y | G(z, y))

    in nats: the part of :math:`-L_C` that depends on the generator, which maximises :math:`L_C - L_S`. P is trained by
    :class:`AuxiliaryClassifier`.
    """

    reads: ClassVar[tuple[str, ...]] = ("label", "classes")
    weight: Weight = 1.0

    def __post_init__(self) -> None:
        _check("weight", self.weight)

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        return {}

    def __call__(self, contest: FeatureContest, draw: Moment) -> Tensor:
        return _weighted(self.weight, draw, _class_entropy(contest, "fake", draw))


def _class_entropy(contest: FeatureContest, side: Side, draw: Moment) -> Tensor:
    """The mean cross entropy of a side's points with their labels ``(n, K)``, in nats."""
    outputs = _wide(contest.classes(side))
    return -(outputs.log_softmax(1) * draw["label"]).sum(1).mean()


def _log_distances(points: Tensor) -> Tensor:
    """The logarithm of the distance of each row to the one before it, ``(n,)``; finite where they are equal."""
    rows = _wide(points).flatten(1)
    return ((rows - rows.roll(1, 0)).square().sum(1) + _TINY).log() / 2


TERMS: dict[str, Term] = {
    "feature-matching": FeatureMatching(),
    "pull-away": PullAway(),
    "preserved-distances": PreservedDistances(),
    "auxiliary-classifier": AuxiliaryClassifier(),
    "classified-samples": ClassifiedSamples(),
}
ALIASES = {"repelling": "pull-away"}
