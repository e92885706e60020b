"""Procedures: several games trained one after another, and one game that is sampled at the end.

Boosting, pyramids, growing and fine-tuning in stages are procedures. A procedure is a frozen record in a recipe. It has
no state: the next stage is a pure function of the finished stages, so an interrupted run continues by opening the
finished stages and asking again. Inside a stage a run resumes like any run (:mod:`equilibria.runs.procedures`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ..core.game import Batch, Game, default
from ..core.play import Play
from ..core.updates import Alternating
from ..data import Dataset, DataSpec
from ..data.views import DataView
from ..metrics.measures import Measure

__all__ = ["Finished", "Procedure", "Row", "Stage", "Task", "anchor", "as_sampled", "joined_play"]

Check = Callable[[Tensor], bool]
Keep = Callable[[str, Callable[[], Tensor], Check], Tensor]


class Row(Protocol):
    """What a procedure needs to know of a recipe. Stages change it with :func:`dataclasses.replace`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def batch(self) -> int:
        """Real rows of a turn."""

    @property
    def steps(self) -> int:
        """Rounds."""


@dataclass(frozen=True)
class Stage:
    """A stage: an ordinary run in ``stages/NAME/`` of the whole run's folder.

    Attributes:
        name: distinct within the procedure.
        recipe: of the stage, without a procedure; its ``steps`` are the rounds of the stage.
        view: derives the rows of the stage; None for the data unchanged.
        start: a finished stage, from which parameters, buffers and averages are copied if names and shapes match.
        numbers: values that are logged when the stage is finished.
    """

    name: str
    recipe: Any
    view: DataView | None = None
    start: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """A stage that is finished.

    Attributes:
        name: of the stage.
        game: its game in evaluation mode, with its averages in place of its parameters.
    """

    name: str
    game: Game


def _found(name: str, find: Callable[[], Tensor], valid: Check) -> Tensor:
    return find()


@dataclass(frozen=True)
class Task:
    """The inputs of a procedure.

    Attributes:
        row: the recipe without its procedure.
        data: the data of the whole run.
        seed: of the whole run.
        keep: ``keep(name, find, valid)`` returns the array of that name, computed once by ``find`` and then stored with
            the run, because another machine rounds differently and a stage must continue on the same rows. A stored
            array that is not ``valid`` is computed again.
    """

    row: Any
    data: Dataset
    seed: int
    keep: Keep = _found


class Procedure(ABC):
    """Abstract record: which games are trained, in which order, on which rows, and how their samples are combined."""

    @abstractmethod
    def plan(self, row: Row, data: DataSpec) -> dict[str, int]:
        """The stages by name, in their order, with the rounds of each; known without the data itself.

        Raises:
            EquilibriaError: the procedure does not fit data of this kind.
        """

    @abstractmethod
    def stages(self, done: tuple[Finished, ...], task: Task) -> Stage | None:
        """The next stage after the finished ones, None at the end. Pure: the same arguments give the same stage."""

    @abstractmethod
    def joined(self, done: tuple[Finished, ...], data: DataSpec) -> Game:
        """The game that combines the finished stages: it is sampled and evaluated, and has no player.

        Some stages may be missing, because a run is also sampled before its end.
        """

    @default
    def measures(self) -> tuple[Measure, ...]:
        """The measures of the joined game besides the metrics of its samples; none by default."""
        return ()

    @abstractmethod
    def settled(self, row: Row, data: Dataset) -> Procedure:
        """The procedure with all values that follow from the recipe set, as run.json stores it.

        Raises:
            EquilibriaError: the procedure cannot be carried out on these data.
        """


def as_sampled(play: Play) -> Game:
    """The game of a play as it is sampled: averages and calibrated norms in place, in evaluation mode."""
    statistics = play.statistics("sample")
    with torch.no_grad():
        buffers = dict(play.game.named_buffers())
        for name, tensor in statistics.items():
            buffers[name].copy_(tensor)
        parameters = dict(play.game.named_parameters())
        for own in play.averaged.values():
            for name, tensor in own.items():
                parameters[name].copy_(tensor)
    return play.game.eval()


def joined_play(game: Game, seed: int, rounds: int) -> Play:
    """A play of a game without players, which is sampled and not trained.

    The time is 1: the finished stages are at their ends.

    Args:
        game: from :meth:`Procedure.joined`, on its device; it has a parameter, if an empty one (:func:`anchor`).
        seed: of the run.
        rounds: played so far, over all stages.
    """
    play = Play(game.eval(), Alternating(), {}, _no_rows, seed, horizon=max(1, rounds))
    play.round = rounds
    return play


def anchor() -> nn.Parameter:
    """An empty parameter, because a play reads its device from a parameter and a game without stages has none."""
    return nn.Parameter(torch.zeros(0), requires_grad=False)


def _no_rows(seed: int, turn: int) -> Batch:
    return {}
