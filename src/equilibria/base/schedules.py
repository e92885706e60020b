"""Schedules: values that change during a run, as records that are called with a clock.

A clock is any object with ``step`` (finished rounds) and ``time`` (finished share of the run, in [0, 1]), as Python
numbers or 0-dim tensors; a :class:`~equilibria.core.game.Draw` is one. A schedule returns a value of the same kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch

from .errors import ConfigError
from .records import record
from .registry import Registry


class Clock(NamedTuple):
    """The time of a run: the number of finished rounds, and their share of the whole run."""

    step: Any
    time: Any


@runtime_checkable
class Schedule(Protocol):
    """A record that returns a value for a time."""

    def __call__(self, clock: Any) -> Any: ...


@record
class Cosine:
    r"""From ``start`` to ``end`` along half a cosine, then constant.

    .. math:: v(t) = e + \tfrac12 (s - e)(1 + \cos(\pi \min(t/u, 1)))

    with :math:`s` = start, :math:`e` = end, :math:`u` = until, :math:`t` the finished share of the run
    (the schedule of R3GAN's hyper-parameters, Huang et al. 2024).

    Examples:
        >>> Cosine(start=1.0, end=0.1)(Clock(0, 0.5))
        0.55
    """

    start: float
    end: float
    until: float = 1.0

    def __call__(self, clock: Any) -> Any:
        t = clock.time / self.until
        if isinstance(t, torch.Tensor):
            return self.end + 0.5 * (self.start - self.end) * (1 + torch.cos(math.pi * t.clamp(max=1.0)))
        return self.end + 0.5 * (self.start - self.end) * (1 + math.cos(math.pi * min(t, 1.0)))


@record
class Linear:
    """From ``start`` to ``end`` in a straight line between the shares ``after`` and ``until`` of the run.

    Constant before and afterwards.

    Raises:
        ConfigError: ``after`` is not from 0 to below ``until``.

    Examples:
        >>> Linear(start=1.0, end=0.0, until=0.5)(Clock(0, 0.25))
        0.5
        >>> [Linear(start=1.0, end=0.0, after=0.5)(Clock(0, time)) for time in (0.25, 0.75)]
        [1.0, 0.5]
    """

    start: float
    end: float
    until: float = 1.0
    after: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.after < self.until:
            raise ConfigError(f"Linear after={self.after}, until={self.until}", "use 0 <= after < until")

    def __call__(self, clock: Any) -> Any:
        t = (clock.time - self.after) / (self.until - self.after)
        t = t.clamp(0.0, 1.0) if isinstance(t, torch.Tensor) else min(max(t, 0.0), 1.0)
        return self.start + (self.end - self.start) * t


@record
class Decay:
    r"""From ``start`` to ``end`` at a constant factor per round over the first ``until`` of the run, then constant.

    .. math:: v(t) = s\, (e/s)^{\min(t/u, 1)}

    Raises:
        ConfigError: an end that is not positive.

    Examples:
        >>> round(Decay(start=1.0, end=0.01)(Clock(0, 0.5)), 12)
        0.1
    """

    start: float
    end: float
    until: float = 1.0

    def __post_init__(self) -> None:
        if min(self.start, self.end) <= 0:
            what = f"start={self.start}, end={self.end}: both ends of a Decay are positive"
            raise ConfigError(what, settings={"start": 1.0, "end": 0.01})

    def __call__(self, clock: Any) -> Any:
        t = clock.time / self.until
        t = t.clamp(max=1.0) if isinstance(t, torch.Tensor) else min(t, 1.0)
        return self.start * (self.end / self.start) ** t


@record
class Bursts:
    """``usual`` turns, but ``burst`` in each of the first ``first`` rounds and in every ``every``-th round.

    The critic's schedule of Arjovsky et al. 2017 (their code): 5 turns, 100 in the first 25 rounds and every 500th.

    Examples:
        >>> [Bursts()(Clock(step, 0.0)) for step in (0, 24, 25, 500)]
        [100, 100, 5, 100]
    """

    usual: int = 5
    burst: int = 100
    first: int = 25
    every: int = 500

    def __call__(self, clock: Any) -> int:
        step = int(clock.step)
        return self.burst if step < self.first or step % self.every == 0 else self.usual


def value_at(value: Any, clock: Any) -> Any:
    """``value`` itself, or, if it is a schedule, its value at this time."""
    return value(clock) if callable(value) else value


SCHEDULES: Registry[Any] = Registry(
    "schedule", {"cosine": Cosine, "linear": Linear, "decay": Decay, "bursts": Bursts}, base=Schedule
)
"""Schedules by name: classes, whose settings are given with the name (``cosine(start=2e-3,end=1e-4)``)."""


def schedules_in(value: Any, path: str = "") -> Iterator[tuple[str, Schedule]]:
    """The schedules of :data:`SCHEDULES` inside a record, each with its dotted path.

    Examples:
        >>> from equilibria.recipes import recipe
        >>> [path for path, _ in schedules_in(recipe("wgan"))]
        ['game.discriminator_turns']
    """
    if type(value) in SCHEDULES.values():
        yield path, value
    elif isinstance(value, tuple):
        for i, one in enumerate(value):
            yield from schedules_in(one, f"{path}.{i}")
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from schedules_in(getattr(value, one.name), f"{path}.{one.name}".lstrip("."))
