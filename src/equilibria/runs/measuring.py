"""What a trained game scores in the measures of its family, on held-out rows of its data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .. import metrics
from ..base.errors import ConfigError, RunError
from ..base.randomness import mix
from ..base.records import written
from ..core.play import Play
from ..data import Dataset
from ..data.store import PairStore
from ..data.table import scaled
from ..metrics import Measure, Measured
from ..metrics.measures import Labeller
from ..training import checkpoint, checkups, disk
from ..training.pictures import held_out_rows, rows_for
from .folder import EVALUATION, RunFolder
from .rows import column_of
from .samples import Asked, classifier, classifier_of, drawn, labelled, mean_of

ROWS = 1000
"""Rows that a map is measured on, at most."""


def measured(
    play: Play, data: Dataset, measures: Sequence[Measure], seed: int = 0, classify: bool = False
) -> dict[str, Measured]:
    """The measures of a play on held-out rows of its data, the mean over an ensemble's members.

    With ``classify``, a classifier of the data assigns classes to rows; for a law, the nearest mode does.

    Raises:
        ConfigError: two measures give a number of one name.
    """
    if not measures:
        return {}
    rows = held_out_rows(None, lambda: data, min(ROWS, data.held_out_size or data.size or ROWS), seed)
    rows, labeller_of = {name: column.cpu() for name, column in rows.items()}, labeller_of_data(data, classify)
    found: list[dict[str, Measured]] = []
    for i in range(max(1, len(play.game.seeds))):
        member: dict[str, Measured] = {}
        for measure in measures:
            for name, value in measure(_Trained(play, data, i, seed), rows, labeller_of).items():
                if name in member:
                    raise ConfigError(f"two measures give a '{name}'", "give one of them another name=")
                member[name] = value
        found.append(member)
    return mean_of(found)


def keep_evaluation(path: Path, at: int, found: Mapping[str, Measured], of_samples: Mapping[str, Measured]) -> None:
    """Write an evaluation into a run's folder; a folder that cannot be written is a warning.

    Args:
        path: the folder.
        at: the round of the samples. One that is not the newest has a file of its own, ``evaluation-ROUND.json``.
        found: the metrics.
        of_samples: those of the samples alone, by which the stored diagnosis is judged again.
    """
    newest = max((checkpoint.round_of(p) for p in checkpoint.listed(path / "checkpoints")), default=at)
    name = EVALUATION if at >= newest else f"evaluation-{at}.json"
    text = written({key: value.to_dict() for key, value in found.items()}, indent=1)
    try:
        disk.write_atomically(path / name, text)
        if name == EVALUATION:
            checkups.judge_again(path, RunFolder.open(path, strict=False).diagnosis, at, of_samples)
    except RunError as error:
        warnings.warn(f"the evaluation is not kept with the run: {error.what}", stacklevel=3)


@dataclass(frozen=True)
class _Trained:
    """A member of a play as measures call it."""

    play: Play
    data: Dataset
    member: int
    seed: int

    def __call__(self, name: str, rows: Mapping[str, Tensor], seed: int = 0) -> Tensor:
        return self._own(self.play.apply(name, rows, mix(self.seed, seed, 14)).cpu())

    def sample(self, n: int, seed: int = 0, choices: Mapping[str, float] | None = None) -> Tensor:
        rows = rows_for(self.play.game, lambda: self.data, n, seed)
        return self._own(drawn(self.play, n, mix(self.seed, seed, 15), Asked(None, rows, choices or {})))

    def _own(self, made: Tensor) -> Tensor:
        return made[self.member] if self.play.game.seeds else made


def labeller_of_data(data: Dataset, classify: bool) -> Callable[[str], Labeller | None]:
    """The labeller of a column: the nearest mode of a law, or a classifier if ``classify`` allows one.

    The classifier is trained on the column's aligned labels; for the second of two domains on its own labels, if its
    source has the same number of classes.
    """
    known: dict[str, Labeller | None] = {}

    def labeller_of(column: str) -> Labeller | None:
        if column not in known:
            known[column] = _labeller(data, column, classify)
        return known[column]

    return labeller_of


def _labeller(data: Dataset, column: str, classify: bool) -> Labeller | None:
    law, kind = data.law, column_of(column, data.spec)
    if column == "x" and law is not None and law.modes is not None and len(law.modes) > 1:
        return metrics.NearestMode(law, law.draw)
    if not classify or kind.kind != "image" or data.spec.classes < 2 or data.size is None:
        return None
    if kind.stream == "":
        return classifier_of(data, column)
    return _of_second(data) if column == "other" else None


def _of_second(data: Dataset) -> Labeller | None:
    """The classifier of the second of two domains, whose labels its own source holds."""
    store = data.store.second if isinstance(data.store, PairStore) else None
    if store is None or store.size is None or "y" not in store.take(1, 0, False):
        return None
    rows = labelled(scaled(store.take(store.size, 0, False)), "x")
    held = labelled(scaled(store.take(store.held_size, 0, True)), "x") if store.held_size else None
    return classifier(rows, held) if int(rows[1].max()) + 1 == data.spec.classes else None
