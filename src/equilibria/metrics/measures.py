r"""Measures of what a game learned besides sampling: of its maps (classify, translate, invert) and of its codes.

A game's record lists its measures (:meth:`~equilibria.games.spec.GameSpec.measures`), and a run's evaluation adds them
to the metrics of its samples. Each number has, where they exist, the value of a perfect map (``floor``) and that of a
map that ignores its input (``chance``).

A further measure is one class in this file, with its name in :data:`MEASURES`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from ..base.records import record
from ..base.registry import Registry
from .checks import LawLike, generator
from .measured import Measured

Rows = Mapping[str, Tensor]


class Trained(Protocol):
    """A trained game as a measure calls it."""

    def __call__(self, name: str, rows: Rows, seed: int = 0) -> Tensor:
        """The result of the map of that name for rows (the columns that it takes, ``(n, …)`` each)."""

    def sample(self, n: int, seed: int = 0, choices: Mapping[str, float] | None = None) -> Tensor:
        """``n`` samples, ``(n, …)``, with codes fixed at ``choices``."""


class Labeller(Protocol):
    """Assigns classes to rows: a classifier of the data, or the nearest mode of its law."""

    accuracy: float

    def predict(self, x: Tensor) -> Tensor:
        """The class of each row, ``(n,)`` int64."""


LabellerOf = Callable[[str], Labeller | None]
"""The labeller of a column, made on demand; None if the data has no classes."""


class Measure(ABC):
    """Abstract record: a number, or several, of a trained game.

    ``measure(apply, rows, labeller_of)`` returns them by name. A measure that lacks something (labels in the data, a
    classifier) returns none.
    """

    @abstractmethod
    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        """The numbers, by name.

        Args:
            apply: the trained game.
            rows: held-out columns of the data, the same number of rows of each.
            labeller_of: returns the labeller of a column.
        """


@record
class Accuracy(Measure):
    r"""The share of rows that a classifying map puts in their class.

    .. math:: \frac1n \sum_i \mathbf 1[\arg\max_k c_k(x_i) = y_i]

    over rows that have a label. A perfect classifier scores 1; chance is the share of the most frequent class.

    Args:
        map: gives class numbers ``(n,)``, or a score per class ``(n, K)``.
        label: the column of classes; -1 is no label.
        name: of the number.
    """

    map: str = "classify"
    label: str = "y"
    name: str = "accuracy"

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        if self.label not in rows:
            return {}
        predicted, y = _numbers(apply(self.map, rows)), rows[self.label].cpu()
        predicted, y = predicted[y >= 0], y[y >= 0]
        return {self.name: _share(predicted == y, floor=1.0, chance=_most_frequent(y))} if len(y) else {}


@record
class LabelKept(Measure):
    r"""The share of rows whose class a map keeps, by the labeller of the target column.

    .. math:: \frac1n \sum_i \mathbf 1[J(f(x_i)) = y_i]

    The floor is the labeller's accuracy on real rows of that column, with the standard deviation of a share of n rows;
    chance is the share of the most frequent class. Both columns need the same classes.

    Args:
        map: from the labelled column to ``gives``.
        gives: the column whose labeller is used.
        label: the column of classes of what is mapped.
        name: of the number.
    """

    map: str = "translate"
    gives: str = "other"
    label: str = "y"
    name: str = "label_kept"

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        found = labeller_of(self.gives) if self.label in rows else None
        if found is None:
            return {}
        predicted, y = found.predict(apply(self.map, rows)).cpu(), rows[self.label].cpu()
        predicted, y = predicted[y >= 0], y[y >= 0]
        return {self.name: _share(predicted == y, floor=found.accuracy, chance=_most_frequent(y))} if len(y) else {}


@record
class CycleError(Measure):
    r"""The error of a round trip to another domain and back, as a share of the data's variance.

    .. math:: \frac{E\|b(f(x)) - x\|^2}{E\|x - E x\|^2}

    Zero is an exact inverse; a map back that ignores its input scores 1 at best, which is the chance level.

    Args:
        there: the map from ``column`` to ``through``.
        back: the map from ``through`` to ``column``.
        column: where the round trip begins and ends.
        through: the column that the map back takes.
        name: of the number.
    """

    there: str = "translate"
    back: str = "translate_back"
    column: str = "x"
    through: str = "other"
    name: str = "cycle_error"

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        if self.column not in rows:
            return {}
        back = apply(self.back, {**rows, self.through: apply(self.there, rows)})
        return {self.name: _relative(back, rows[self.column])}


@record
class Reconstruction(Measure):
    r"""The squared error of a reconstruction, as a share of the data's variance.

    .. math:: \frac{E\|r(x) - x\|^2}{E\|x - E x\|^2}

    Zero is exact; 1, the chance level, is the error of the mean row.

    Args:
        map: from a column to itself.
        column: the column.
        name: of the number.
    """

    map: str = "reconstruct"
    column: str = "x"
    name: str = "reconstruction"

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        if self.column not in rows:
            return {}
        return {self.name: _relative(apply(self.map, rows), rows[self.column])}


@record
class InverseError(Measure):
    r"""How well the codes of a row are found: the squared error per entry of the row that the codes generate.

    .. math:: \frac1{nd} \sum_i \|g(f(x_i)) - x_i\|^2 \qquad\text{and the share of rows with}\quad
        \tfrac1d\|g(f(x_i)) - x_i\|^2 < \epsilon

    (Creswell & Bharath 2018). For the game's own samples a perfect inverse exists: their floor is 0, and 1 for the
    share. The chance level of the error is the rows' variance, which is the error of their mean.

    Args:
        invert: the map from rows to codes.
        generate: the map from codes to rows.
        column: the rows, or ``"samples"`` for samples of the game.
        codes: the column that ``generate`` takes.
        takes: the column that ``invert`` takes.
        within: ε, in squared units of the data.
        most: the largest number of rows, because a search is slow.
    """

    invert: str = "invert"
    generate: str = "generate"
    column: str = "samples"
    codes: str = "codes"
    takes: str = "x"
    within: float = 1e-3
    most: int = 256

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        own = self.column == "samples"
        if not own and self.column not in rows:
            return {}
        x = apply.sample(self.most) if own else rows[self.column][: self.most]
        made = apply(self.generate, {self.codes: apply(self.invert, {self.takes: x})})
        errors = (made.cpu() - x.cpu()).flatten(1).double().square().mean(1)
        variance = float((x.cpu() - x.cpu().mean(0)).double().square().mean())
        error = Measured(
            value=float(errors.mean()), floor=0.0 if own else None, unit="distance²", n=len(x), chance=variance
        )
        share = _share(errors < self.within, floor=1.0 if own else None)
        return {f"inverse_error/{self.column}": error, f"inverse_within/{self.column}": share}


@record
class Purity(Measure):
    r"""The share of rows that belong to the majority class of their cluster.

    .. math:: \frac1n \sum_k \max_c |\{i : f(x_i) = k,\, y_i = c\}|

    (Manning, Raghavan & Schütze 2008, section 16.3). Perfect clusters score 1. The chance level is the mean purity of
    the same clusters with their rows shuffled: it is above 1/K and grows with the number of clusters.

    Args:
        map: gives cluster numbers ``(n,)``, or a score per cluster ``(n, K)``.
        label: the column of classes; -1 is no label.
        name: of the number.
    """

    map: str = "cluster"
    label: str = "y"
    name: str = "purity"

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        if self.label not in rows:
            return {}
        clusters, y = _numbers(apply(self.map, rows)), rows[self.label].cpu()
        clusters, y = clusters[y >= 0], y[y >= 0]
        return {self.name: _purity(clusters, y)} if len(y) else {}


@record
class CodePurity(Measure):
    r"""The share of samples that belong to the majority class of their code value: the :class:`Purity` of the values.

    .. math:: \frac1n \sum_k \max_c |\{i : k_i = k,\, J(G(z_i, k_i)) = c\}|

    with as many samples of each value, and J the labeller of the data (Chen et al. 2016, section 7.2).

    Args:
        code: a categorical code among the game's choices.
        values: how many values it has.
        each: samples of each value.
        name: of the number.
    """

    code: str = "c1"
    values: int = 10
    each: int = 100
    name: str = "code_purity"

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        found = labeller_of("x")
        if found is None:
            return {}
        predicted = [found.predict(apply.sample(self.each, k, {self.code: k})).cpu() for k in range(self.values)]
        codes = torch.arange(self.values).repeat_interleave(self.each)
        return {self.name: _purity(codes, torch.cat(predicted))}


@record
class Diversity(Measure):
    r"""The share of a map's variance that is due to its noise and not to its input.

    .. math:: \frac{E_x \mathrm{Var}_s f(x, s)}{\mathrm{Var}_{x, s} f(x, s)}

    summed over the entries of a row, with s the seed. 0: the map ignores its noise; 1: it ignores its input. The right
    value depends on the data, so there is no floor.

    Args:
        map: the map.
        draws: results of each row.
        name: of the number.
    """

    map: str = "translate"
    draws: int = 4
    name: str = "diversity"

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        made = torch.stack([apply(self.map, rows, seed).cpu().flatten(1).double() for seed in range(self.draws)])
        total = float(made.flatten(0, 1).var(0).mean())
        within = float(made.var(0).mean())
        value = within / total if total > 0 else 0.0
        return {self.name: Measured(value=value, unit="share of variance", n=made.shape[1], higher=True)}


@record
class GradientEnergy(Measure):
    r"""Sharpness of a map's images: mean squared difference of neighbouring pixels, relative to real images.

    .. math:: \frac{E\|\nabla f(x)\|^2}{E\|\nabla y\|^2}

    1 is as sharp as the data; a blurred result, for example the mean of many sharp images, scores below 1.

    Args:
        map: from rows to images.
        column: the real images.
        name: of the number.
    """

    map: str = "translate"
    column: str = "other"
    name: str = "gradient_energy"

    def __call__(self, apply: Trained, rows: Rows, labeller_of: LabellerOf) -> dict[str, Measured]:
        if self.column not in rows or rows[self.column].dim() != 4:
            return {}
        made, real = apply(self.map, rows), rows[self.column]
        value = _energy(made) / max(_energy(real), 1e-12)
        return {self.name: Measured(value=value, floor=1.0, unit="ratio", n=len(made), higher=True)}


MEASURES: Registry[Measure] = Registry(
    "measure",
    {
        "accuracy": Accuracy(),
        "label-kept": LabelKept(),
        "cycle-error": CycleError(),
        "reconstruction": Reconstruction(),
        "inverse-error": InverseError(),
        "purity": Purity(),
        "code-purity": CodePurity(),
        "diversity": Diversity(),
        "gradient-energy": GradientEnergy(),
    },
    base=Measure,
)
"""Measures by name, for maps of the usual names."""


class NearestMode:
    """The nearest mode of a law as the class of a point; ``accuracy`` is that on the law's own samples.

    Args:
        law: a mixture whose samples can be drawn with their components.
        draw: ``(n, generator) -> (points, components)`` of the law.

    Examples:
        >>> from equilibria.data import law
        >>> ring = law("ring8-U")
        >>> NearestMode(ring, ring.draw).accuracy > 0.99
        True
    """

    def __init__(self, law: LawLike, draw: Callable[[int, torch.Generator], tuple[Tensor, Tensor]]) -> None:
        assert law.modes is not None
        self.modes = law.modes.double().cpu()
        x, y = draw(4000, generator(0))
        self.accuracy = float((self.predict(x) == y.cpu()).double().mean())

    def predict(self, x: Tensor) -> Tensor:
        """The number of the nearest mode of each point, ``(n,)``."""
        apart = (x.detach().double().cpu()[:, None] - self.modes).square().sum(2)
        nearest: Tensor = apart.argmin(1)
        return nearest


def _numbers(result: Tensor) -> Tensor:
    """Class numbers of a map's result: unchanged, or the class of the largest score."""
    result = result.cpu()
    return result.argmax(1) if result.dim() == 2 else result.long()


def _share(right: Tensor, floor: float | None = None, chance: float | None = None) -> Measured:
    n = len(right)
    spread = (floor * (1 - floor) / n) ** 0.5 if floor is not None else 0.0
    value = float(right.double().mean())
    return Measured(value=value, floor=floor, spread=spread, unit="share", n=n, higher=True, chance=chance)


def _most_frequent(y: Tensor) -> float:
    return float(torch.bincount(y).max()) / len(y) if len(y) else 0.0


def _relative(made: Tensor, x: Tensor) -> Measured:
    made, x = made.cpu().double(), x.cpu().double()
    error, variance = (made - x).square().mean(), (x - x.mean(0)).square().mean()
    value = float(error / variance.clamp(min=1e-12))
    return Measured(value=value, floor=0.0, unit="share of variance", n=len(x), chance=1.0)


def _purity(clusters: Tensor, y: Tensor, shuffles: int = 20) -> Measured:
    def purity(classes: Tensor) -> float:
        table = torch.zeros(int(clusters.max()) + 1, int(y.max()) + 1)
        table.index_put_((clusters, classes), torch.ones(len(y)), accumulate=True)
        return float(table.max(1).values.sum()) / len(y)

    random = generator(0)
    chance = sum(purity(y[torch.randperm(len(y), generator=random)]) for _ in range(shuffles)) / shuffles
    return Measured(value=purity(y), floor=1.0, unit="share", n=len(y), higher=True, chance=chance)


def _energy(images: Tensor) -> float:
    x = images.cpu().double()
    down, across = x[:, :, 1:] - x[:, :, :-1], x[:, :, :, 1:] - x[:, :, :, :-1]
    return float(down.square().mean() + across.square().mean())
