"""What a call in Python adds to a run besides its settings: hooks, metrics, an optimiser, a batch, a budget of time."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np
from torch import Tensor, nn

from ..base import distributed
from ..base.errors import ConfigError, did_you_mean
from ..core.game import Loss
from ..core.play import Play
from ..data import Dataset
from ..metrics import Measured
from ..metrics.protocols import check_metric_name
from ..metrics.scoring import halves
from ..recipes import For, Recipe
from ..training import Hook
from ..training.hooks import Log
from ..training.pictures import judged_samples

Metric = Callable[[Tensor, Tensor], float]
"""A number of samples ``(n, …)`` and as many real rows ``(n, …)``, the less the better."""
_ROWS, _REPEATS = 500, 5
_SHARE = 0.85  # of the budget that rounds take: samples, check-ups and checkpoints take the rest
_TRIAL = 0.03  # share of the budget that is spent on measuring, at most _LONGEST seconds
_LONGEST = 10.0


class More(TypedDict, total=False):
    """The further arguments of :func:`~equilibria.train`; any other keyword is a module of the game."""

    batch: int
    optimizer: Any
    hooks: Sequence[Any]
    metrics: Mapping[str, Metric]
    minutes: float


TRAINED_WITH = (*More.__annotations__, "steps", "seed", "out", "settings", "start")
"""The arguments of a call that trains, by name."""


@dataclass(frozen=True)
class Extras:
    """Hooks and metrics of a call; they are not stored with the run, and are given again to resume it.

    Attributes:
        hooks: called as the run's own hooks are.
        metrics: by name.
    """

    hooks: tuple[Hook, ...] = ()
    metrics: Mapping[str, Metric] = field(default_factory=dict)


class EachRound:
    """The hook that calls a function ``f(play, losses)`` after every round."""

    def __init__(self, call: Callable[[Play, dict[str, Loss]], Any]) -> None:
        self.call = call

    def due(self, step: int) -> bool:
        return True

    def look(self, play: Play, losses: dict[str, Loss]) -> None:
        self.call(play, losses)

    def close(self, play: Play) -> None: ...


def split(given: Mapping[str, Any], known: Sequence[str] = TRAINED_WITH) -> tuple[dict[str, Any], Extras]:
    """The modules among the further arguments of a call, and its hooks and metrics.

    Raises:
        ConfigError: an argument of another kind.
    """
    modules = {name: value for name, value in given.items() if name not in More.__annotations__}
    for name, value in modules.items():
        if not isinstance(value, nn.Module):
            raise ConfigError(
                f"{name}={value!r:.60}: no argument of that name, and a module of the game is an nn.Module",
                did_you_mean(name, known),
            )
    return modules, Extras(_hooks(given.get("hooks", ())), _metrics(given.get("metrics", {})))


def changed(row: Recipe, given: Mapping[str, Any]) -> Recipe:
    """The recipe with the batch and the optimisers of a call.

    Raises:
        ConfigError: an optimiser that is no record, or a batch that is no positive whole number.
    """
    batch, optimizer = given.get("batch"), given.get("optimizer")
    if batch is not None:
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
            raise ConfigError(f"batch={batch!r}", "batch=64, a whole number of at least 1")
        row = replace(row, batch=batch)
    if optimizer is None:
        return row
    for one in optimizer.values() if isinstance(optimizer, Mapping) else (optimizer,):
        if isinstance(one, type) or not hasattr(one, "build"):
            raise ConfigError(
                f"optimizer={one!r:.60} is no record of an optimiser",
                "optimizer=Adam(lr=2e-4), of equilibria.core.optimizers",
            )
    if isinstance(optimizer, Mapping):
        kept = tuple(own for own in row.optimizers if own.player not in optimizer)
        return replace(row, optimizers=(*kept, *(For(player=who, optimizer=one) for who, one in optimizer.items())))
    return replace(row, optimizer=optimizer, optimizers=())


def _hooks(given: Any) -> tuple[Hook, ...]:
    found = []
    for one in given if isinstance(given, (list, tuple)) else (given,):
        whole = all(callable(getattr(one, name, None)) for name in ("due", "look", "close"))
        if whole and not isinstance(one, type):
            found.append(one)
        elif callable(one) and not isinstance(one, type):
            found.append(EachRound(one))
        else:
            raise ConfigError(
                f"hooks={one!r:.60}", "hooks=[f], with f(play, losses), or an object with due, look and close"
            )
    return tuple(found)


def _metrics(given: Any) -> dict[str, Metric]:
    if not isinstance(given, Mapping) or not all(isinstance(n, str) and callable(f) for n, f in given.items()):
        raise ConfigError(f"metrics={given!r:.60}", "metrics={'name': f}, with f(samples, real) -> float")
    for name in given:
        check_metric_name(name)
    return dict(given)


class OwnMetrics:
    """The hook that logs the user's metrics under ``quality/NAME``.

    Args:
        log: the run's log.
        every: rounds between two measurements.
        metrics: the functions by name.
        data: the run's data.
    """

    def __init__(self, log: Log, every: int, metrics: Mapping[str, Metric], data: Dataset) -> None:
        self.log, self.every, self.metrics, self.data = log, every, metrics, data

    def due(self, step: int) -> bool:
        return bool(self.metrics) and step % self.every == 0

    def look(self, play: Play, losses: dict[str, Loss]) -> None:
        samples, real = _compared(play, self.data)
        row = {f"quality/{name}": float(one(samples, real)) for name, one in self.metrics.items()}
        self.log.write({"step": play.round, **row})
        self.log.latest.update(row)

    def close(self, play: Play) -> None: ...


def measured(play: Play, data: Dataset, metrics: Mapping[str, Metric]) -> dict[str, Measured]:
    """The user's metrics of a play, each beside what real rows score against real rows."""
    if not metrics:
        return {}
    samples, real = _compared(play, data)
    column = next(iter(play.game.judged.values()))
    pool = data.take(min(2 * _ROWS, data.size or 2 * _ROWS), 1)[column].cpu()
    found = {}
    for name, one in metrics.items():
        floors = [float(one(a, b)) for a, b in halves(pool, _REPEATS, 0)]
        found[name] = Measured(
            value=float(one(samples, real)),
            floor=float(np.mean(floors)),
            spread=float(np.std(floors, ddof=1)),
            n=len(samples),
            repeats=_REPEATS,
        )
    return found


def _compared(play: Play, data: Dataset) -> tuple[Tensor, Tensor]:
    """Samples of a play, and as many real rows of the column that they are compared with."""
    column = next(iter(play.game.judged.values()))
    n = min(_ROWS, (data.size or 2 * _ROWS) // 2 or 1)
    return judged_samples(play, data, n, 2), data.take(n)[column].cpu()


def rounds_in(minutes: float, play: Play, again: Callable[[Any], Play]) -> int:
    """How many rounds a budget of time is enough for, by the time of the first rounds of a copy.

    Args:
        minutes: the budget.
        play: at round 0; it is not changed.
        again: makes a play of a game.

    Raises:
        ConfigError: a budget that is no positive number.
    """
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)) or not 0 < minutes < 1e6:
        raise ConfigError(f"minutes={minutes!r}", "minutes=5, a number above 0")
    if distributed.here().count > 1:
        raise ConfigError("minutes on several processes, each of which measures another time", "give steps")
    budget = 60.0 * minutes
    trial = again(copy.deepcopy(play.game))
    trial.advance()  # the first round builds what the others use
    began, rounds = time.perf_counter(), 0
    while rounds < 2 or time.perf_counter() - began < min(_TRIAL * budget, _LONGEST):
        trial.advance()
        rounds += 1
    each = (time.perf_counter() - began) / rounds
    return max(1, int(_SHARE * budget / each))
