"""What the doctor keeps of a run: the measurements by step, and the parameters that the next check-up compares with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .audit.reading import Reading
from .evidence import NotAssessed
from .groups import Groups
from .objective import Declared
from .space import Space


@dataclass(frozen=True)
class Checkup:
    """The measurements of one check-up.

    Attributes:
        step: of the run.
        vitals: numbers by name (see :data:`~equilibria.doctor.vitals.VITALS`).
        arrays: rows of numbers by name: the share of samples in each cell, their mean.
        notes: texts by name, for example which tensor was the first non-finite one.
        seconds: its duration.
        readings: what was read in the training steps before it, by condition.
    """

    step: int
    vitals: dict[str, float]
    arrays: dict[str, tuple[float, ...]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    readings: dict[str, Reading] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        return self.vitals.get(name, math.nan)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, exact; a non-finite number becomes a text.

        Examples:
            >>> Checkup(3, {"probe/auc": 0.1, "samples/distance": math.inf}).to_dict()["vitals"]
            {'probe/auc': 0.1, 'samples/distance': 'inf'}
        """
        return {
            "step": self.step,
            "vitals": {name: _plain(value) for name, value in self.vitals.items()},
            "arrays": {name: [_plain(v) for v in row] for name, row in self.arrays.items()},
            "notes": self.notes,
            "seconds": round(self.seconds, 4),
            "readings": {name: reading.to_dict() for name, reading in self.readings.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Checkup:
        """The check-up that :meth:`to_dict` wrote.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: ``values`` has another form.
        """
        return cls(
            int(values["step"]),
            {str(name): float(value) for name, value in values["vitals"].items()},
            {str(name): tuple(float(v) for v in row) for name, row in values["arrays"].items()},
            {str(name): str(text) for name, text in values["notes"].items()},
            float(values["seconds"]),
            {str(name): Reading.from_dict(str(name), one) for name, one in values.get("readings", {}).items()},
        )


@dataclass
class Chart:
    """All check-ups of a run, oldest first, and the facts that do not change.

    Attributes:
        space: where samples are compared.
        objective: the declared losses.
        facts: numbers measured once, at the start (floors, the data's dimension).
        checkups: one per check-up.
        not_assessed: what cannot be examined in this run, and why.
        groups: which groups of vitals failed at a check-up.
        unread: what the last audit could not read, and why.
    """

    space: Space
    objective: Declared
    facts: dict[str, float] = field(default_factory=dict)
    checkups: list[Checkup] = field(default_factory=list)
    not_assessed: list[NotAssessed] = field(default_factory=list)
    groups: Groups = field(default_factory=Groups)
    unread: list[NotAssessed] = field(default_factory=list)

    def series(self, name: str) -> list[float]:
        """A vital at every check-up; NaN where it was not measured."""
        return [c[name] for c in self.checkups]

    def steps(self) -> list[int]:
        """The steps of the check-ups."""
        return [c.step for c in self.checkups]

    @property
    def last(self) -> Checkup:
        """The newest check-up."""
        return self.checkups[-1]

    def recent(self, name: str, count: int = 3) -> list[float]:
        """The last values of a vital."""
        return self.series(name)[-count:]

    def median(self, name: str, count: int = 3) -> float:
        """The median of the last finite values of a vital; NaN without one."""
        return median(self.recent(name, count))


def median(values: Iterable[float]) -> float:
    """The median of the finite values; NaN without one."""
    kept = sorted(v for v in values if math.isfinite(v))
    if not kept:
        return math.nan
    half = len(kept) // 2
    return kept[half] if len(kept) % 2 else (kept[half - 1] + kept[half]) / 2


@dataclass
class Memory:
    """Copies of parameters at earlier moments, flat and detached, on the CPU.

    Attributes:
        start: at construction, by player.
        last: at the last check-up.
        moved: the displacement between the last two check-ups.
        before: at the previous call of ``check``, if that was one step ago.
        gradients: the contents of ``.grad`` at that moment.
    """

    start: dict[str, Tensor] = field(default_factory=dict)
    last: dict[str, Tensor] = field(default_factory=dict)
    moved: dict[str, Tensor] = field(default_factory=dict)
    before: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    before_step: int = -1

    @classmethod
    def of(cls, networks: Mapping[str, torch.nn.Module]) -> Memory:
        """The memory of a run that starts now."""
        start = {player: flat_parameters(net) for player, net in networks.items()}
        return cls(start=start, last=dict(start))

    def blank(self) -> Memory:
        """The same shape filled with NaN: comparisons with it give NaN, so no condition is found."""
        empty = {player: torch.full_like(vector, math.nan) for player, vector in self.start.items()}
        return Memory(start=empty, last=dict(empty))

    def tensors(self) -> dict[str, Tensor]:
        """The memory as named tensors, from which the next session of the run continues."""
        kinds = {"start": self.start, "last": self.last, "moved": self.moved, "before": self.before}
        return {f"{kind}/{player}": vector.clone() for kind, own in kinds.items() for player, vector in own.items()}

    def restored(self, saved: Mapping[str, Tensor], step: int) -> Memory:
        """The memory that :meth:`tensors` gave at ``step``; :meth:`blank` if it belongs to other networks.

        What else is stored under other kinds of names is left out.
        """
        found = Memory(before_step=step)
        for name, vector in saved.items():
            kind, _, player = name.partition("/")
            if kind not in {"start", "last", "moved", "before"}:
                continue
            like = self.start.get(player)
            if like is None or vector.shape != like.shape:
                return self.blank()
            if vector.dtype != like.dtype:
                return self.blank()
            getattr(found, kind)[player] = (
                vector.clone()
            )  # a copy, because sums round differently on the unaligned memory of a file
        return found if found.start.keys() == found.last.keys() == self.start.keys() else self.blank()


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def flat_parameters(module: torch.nn.Module) -> Tensor:
    """All floating parameters as one vector on the CPU, a copy."""
    parts = [p.detach().reshape(-1).float().cpu() for p in module.parameters() if p.is_floating_point()]
    return torch.cat(parts) if parts else torch.empty(0)


def flat_gradients(module: torch.nn.Module) -> Tensor | None:
    """The gradients in ``.grad`` as one vector, zeros where there is none; None if no parameter has one."""
    own = [p for p in module.parameters() if p.is_floating_point()]
    if all(p.grad is None for p in own):
        return None
    parts = [(torch.zeros_like(p) if p.grad is None else p.grad.detach()).reshape(-1).float().cpu() for p in own]
    return torch.cat(parts)
