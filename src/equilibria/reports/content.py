"""What a report needs of a run: read elsewhere (:class:`equilibria.runs.folder.RunFolder`), and shown here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray
from PIL import Image


class Snapshot(Protocol):
    """Samples of one round."""

    @property
    def step(self) -> int: ...

    def array(self) -> NDArray[Any] | None:
        """The numbers; None where they are missing or damaged."""

    def views(self) -> Mapping[str, NDArray[Any]]:
        """The numbers of a game with several views, by view; empty where they are damaged, or there is only one."""

    def picture(self) -> Image.Image | None:
        """A picture of them; None where it is missing or damaged."""


class Scored(Protocol):
    """A round that is kept, and what its samples scored."""

    @property
    def round(self) -> int: ...

    @property
    def measure(self) -> str: ...

    @property
    def value(self) -> float: ...


class Content(Protocol):
    """A run as far as it is on disk, with what is damaged left out."""

    @property
    def path(self) -> Path:
        """The folder that the report is written into."""

    @property
    def info(self) -> Mapping[str, Any]:
        """``run.json``; anything may be missing."""

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The logged rows in order, each with a whole number under ``step``."""

    @property
    def evaluation(self) -> Mapping[str, Mapping[str, Any]]:
        """Metrics by name, each with ``value`` and perhaps ``floor``, ``unit`` and ``n``."""

    @property
    def diagnosis(self) -> Mapping[str, Any]:
        """``diagnosis.json``; empty without one."""

    @property
    def best(self) -> Sequence[Scored]:
        """The rounds whose weights are kept because of their samples, the best one first."""

    @property
    def snapshots(self) -> Sequence[Snapshot]:
        """The stored samples by round, in order."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences about what is missing or damaged."""

    def points(self) -> NDArray[Any] | None:
        """Real rows that were stored beside the samples."""


@dataclass(frozen=True)
class Facts:
    """The content of a run, read once and in the form in which sections show it.

    Attributes:
        info: ``run.json``.
        rows: what was logged, one row for each round.
        evaluation: metrics by name.
        diagnosis: ``diagnosis.json``.
        best: the best round and what its samples scored; None without one.
        snapshots: the stored samples by round.
        notes: what is missing or damaged.
    """

    info: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    evaluation: Mapping[str, Mapping[str, Any]]
    diagnosis: Mapping[str, Any]
    best: Scored | None
    snapshots: tuple[Snapshot, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, content: Content) -> Facts:
        """What a run's content says."""
        return cls(
            content.info,
            tuple(by_round(content.rows)),
            content.evaluation,
            content.diagnosis,
            next(iter(content.best), None),
            tuple(content.snapshots),
            tuple(content.notes),
        )

    def part(self, name: str) -> Mapping[str, Any]:
        """An object of ``run.json``, empty where there is none."""
        found = self.info.get(name)
        return found if isinstance(found, Mapping) else {}

    @property
    def played(self) -> int | None:
        """The last round that was logged or sampled."""
        steps = [int(row["step"]) for row in self.rows[-1:]] + [s.step for s in self.snapshots[-1:]]
        return max(steps, default=None)


def by_round(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One row for each round, in order: what was logged of it at several moments together.

    Examples:
        >>> by_round([{"step": 2, "a": 1.0}, {"step": 1, "a": 3.0}, {"step": 2, "b": 5.0}])
        [{'step': 1, 'a': 3.0}, {'step': 2, 'a': 1.0, 'b': 5.0}]
    """
    merged: dict[int, dict[str, Any]] = {}
    for row in rows:
        merged[row["step"]] = {**merged.get(row["step"], {}), **row}
    return [merged[step] for step in sorted(merged)]
