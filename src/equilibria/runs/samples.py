"""Samples of a play: drawn in pieces, evaluated against the data, and written to files."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from torch import Tensor

from .. import metrics
from ..base.errors import ConfigError, did_you_mean
from ..base.randomness import mix
from ..core.calibration import joined
from ..core.game import Draw
from ..core.play import Play
from ..data import Dataset, DataSpec
from ..data.encoding import Encoding
from ..metrics import Measured
from ..training import disk
from ..training.hooks import packed_views
from ..training.marginals import finished
from ..training.pictures import Painter, members_of, painter, rows_for
from .rows import column_of
from .tables import SUFFIXES

_PIECE = 500  # rows of one forward pass: what is asked for may be more than the memory holds at once
_FEWEST = 12  # twice the neighbours of the neighbour metrics, and one each


def drawn(play: Play, n: int, seed: int, asked: Asked | None = None) -> Tensor:
    """``n`` samples of the averaged players on the CPU, a function of the seed; of an ensemble ``(members, n, …)``.

    Raises:
        ConfigError: ``n`` is below 1.
    """
    return _in_pieces(play, n, seed, asked, lambda draw: {"": play.sample_of(draw)})[""]


def shown(play: Play, n: int, seed: int, asked: Asked | None = None) -> dict[str, Tensor]:
    """What the game shows of the samples that :func:`drawn` draws with the same arguments, by view.

    Raises:
        ConfigError: ``n`` is below 1.
    """
    return _in_pieces(play, n, seed, asked, play.views_of)


def codes(play: Play, n: int, seed: int, asked: Asked | None = None) -> dict[str, Tensor]:
    """The codes of the samples that :func:`drawn` draws with the same arguments, by their names in the game's draw.

    Raises:
        ConfigError: ``n`` is below 1.
    """
    rows = set(play.game.whole)
    return _in_pieces(play, n, seed, asked, lambda draw: {k: v for k, v in draw.tensors.items() if k not in rows})


@dataclass(frozen=True)
class Asked:
    """What samples are asked to be.

    Attributes:
        labels: ``(n,)`` classes of the data, or None.
        given: ``n`` rows of the columns that the game needs, or None.
        choices: values of codes that the user fixes.
        latents: ``n`` rows of entries of the game's draw, which replace those of the seed.
    """

    labels: Tensor | None = None
    given: Mapping[str, Tensor] | None = None
    choices: Mapping[str, float] = field(default_factory=dict)
    latents: Mapping[str, Tensor] = field(default_factory=dict)

    def draw(self, play: Play, seed: int, start: int, stop: int) -> Draw:
        """The draw of samples ``start`` to ``stop``."""
        made = play.codes(stop - start, seed, **self.part(start, stop))
        if not self.latents:
            return made
        return replace(made, tensors={**made.tensors, **{k: rows[start:stop] for k, rows in self.latents.items()}})

    def part(self, start: int, stop: int) -> dict[str, Any]:
        """The arguments of a play for samples ``start`` to ``stop``."""
        given = None if self.given is None else {name: rows[start:stop] for name, rows in self.given.items()}
        labels = None if self.labels is None else self.labels[start:stop]
        return {"labels": labels, "given": given, "choices": self.choices or None}


def _in_pieces(
    play: Play, n: int, seed: int, asked: Asked | None, call: Callable[[Draw], Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    if n < 1:
        raise ConfigError(f"{n} samples", "ask for at least 1")
    asked = asked or Asked()
    if n <= _PIECE:
        return {name: view.cpu() for name, view in call(asked.draw(play, seed, 0, n)).items()}
    pieces: dict[str, list[Tensor]] = {}
    for i, start in enumerate(range(0, n, _PIECE)):
        size = min(_PIECE, n - start)
        for name, view in call(asked.draw(play, mix(seed, i), start, start + size)).items():
            pieces.setdefault(name, []).append(view.cpu())
    return {name: joined(parts, play.game) for name, parts in pieces.items()}


def evaluate(
    play: Play, data: Dataset, n: int | None = None, seed: int = 0, classify: bool = False
) -> dict[str, Measured]:
    """Metrics of a play's samples against its data: each view in ``judged`` against its column, the mean over members.

    Samples of a game with classes have those of the data, in its shares.
    With several such views, the metrics are named ``view/metric``. With ``classify`` and one view of labelled images,
    a classifier that is trained on the data once (and kept in the cache) measures which classes the samples have, and,
    for a game that is conditional on these classes, whether they have the classes asked for.

    Raises:
        ConfigError: too few samples.
        DataError: the data has no column that a view is compared with, or that the game samples from.
        ShapeError: a view is not of its column's shape.
    """
    if n is not None and n < _FEWEST:
        raise ConfigError(f"{n} samples are too few to evaluate", f"use at least {_FEWEST}")
    count = n or (2500 if data.law is not None else 2000)
    labels = play.classes(count, mix(seed, 7)) if play.game.classes else None
    asked = Asked(labels, rows_for(play.game, lambda: data, count, seed))
    views, judged = finished_views(shown(play, count, mix(seed, 7), asked), play, data.spec.encoding), play.game.judged
    found: dict[str, Measured] = {}
    for view, column in judged.items():
        if view not in views:
            raise ConfigError(
                f"Game.judged names '{view}', which is not among the game's views", did_you_mean(view, views)
            )
        content = _Content(play, labels, classify and len(judged) == 1)
        scores = _scores(views[view], column, data, metrics.Suite(seed=seed), content)
        found.update({f"{view}/{name}" if len(judged) > 1 else name: value for name, value in scores.items()})
    return found


def finished_views(views: dict[str, Tensor], play: Play, encoding: Encoding | None) -> dict[str, Tensor]:
    """Views of which those that are compared with the rows of a table are such rows (:mod:`..training.marginals`)."""
    if encoding is None:
        return views
    judged = play.game.judged
    return {n: finished(view, play, encoding) if judged.get(n) == "x" else view for n, view in views.items()}


@dataclass(frozen=True)
class _Content:
    """What is known of the classes that samples should have."""

    play: Play
    labels: Tensor | None
    classify: bool

    def arguments(self, column: str, data: Dataset) -> dict[str, Any]:
        spec = data.spec
        if column != "x" or not self.classify or spec.kind != "image" or spec.classes < 2:
            return {}
        # Only a game that is conditional on the classes of the data is expected to follow them.
        asked = self.labels if self.play.game.classes == spec.classes else None
        return {"classifier": classifier_of(data), "labels": None if asked is None else asked.cpu()}


def _scores(
    samples: Tensor, column: str, data: Dataset, suite: metrics.Suite, content: _Content
) -> dict[str, Measured]:
    """A view's metrics against a column of the data, the mean over members."""
    parts = members_of(samples, column_of(column, data.spec).shape)
    against: Dataset | Tensor = data
    if column != "x":
        # Another column is compared with its rows only: the metrics do not know which of them are held out.
        most = 2 * len(parts[0])
        against = data.take(min(most, data.size or most), suite.seed)[column].cpu()
    # A floor is of the data, not of the samples: the first member's is enough, the others take the cheapest.
    suites = [suite] + [replace(suite, repeats=1)] * (len(parts) - 1)
    arguments = content.arguments(column, data)
    found = []
    for rows, own in zip(parts, suites, strict=True):
        found.append(metrics.evaluate(rows, against, suite=own, **arguments))
        if column == "x" and data.spec.encoding is not None:
            pool = data.take(min(2 * len(rows), data.size or 2 * len(rows)), own.seed)["x"].cpu()
            found[-1] |= metrics.table_scores(rows, pool, data.spec.encoding, own)
    return mean_of(found)


Labelled = tuple[Tensor, Tensor]
"""Images and their classes."""


def classifier_of(data: Dataset, column: str = "x") -> metrics.Classifier:
    """The classifier of a column of images: trained on the labelled training rows, measured on those held out."""
    assert data.size is not None
    rows = labelled(data.take(data.size), column)
    held = labelled(data.take(data.held_out_size, held_out=True), column) if data.held_out_size else None
    return classifier(rows, held)


def classifier(rows: Labelled, held: Labelled | None) -> metrics.Classifier:
    """The classifier that is trained on these rows, and measured on those held out, if any."""
    return metrics.train_classifier(*rows, test=held if held is not None and len(held[0]) else None)


def labelled(rows: Mapping[str, Tensor], column: str) -> Labelled:
    """Images and classes of the rows that have a label, on the CPU."""
    x, y = rows[column].cpu(), rows["y"].cpu()
    known = y >= 0
    return (x, y) if bool(known.all()) else (x[known], y[known])


def mean_of(found: list[dict[str, Measured]]) -> dict[str, Measured]:
    """The mean of each metric over the members that have it, beside the first one's floor."""
    rows = {name: [one[name] for one in found if name in one] for one in found for name in one}
    return {name: replace(own[0], value=fmean(row.value for row in own)) for name, own in rows.items()}


def painter_of(gives: str, spec: DataSpec, data: Callable[[], Dataset]) -> Painter:
    """What draws the results of a map, by what it gives: rows of a column as those of the data, nothing else.

    Args:
        gives: the column whose kind the results have, ``"codes"`` or ``"label"``.
        spec: what rows of the data are.
        data: gives the data, which only points need.
    """

    def draw(views: Mapping[str, Tensor]) -> bytes:
        if gives in {"codes", "label"}:
            raise ConfigError(f"a picture of {gives}", "use an --out that ends in .npz")
        column = column_of(gives, spec)
        kind = DataSpec(kind=column.kind, shape=column.shape)
        return painter(kind, data, judged=dict.fromkeys(views, gives))(views)

    return draw


def check_name(path: Path, table: bool = False) -> None:
    """Refuse a file name that samples cannot be written under.

    Raises:
        ConfigError: another suffix, or no such folder.
    """
    if path.suffix.lower() not in ({".png"} | (SUFFIXES if table else {".npy", ".npz"})):
        fix = "end the name in .png, .npy or .npz" + ", or of a table in .csv or .parquet"
        if path.suffix.lower() in SUFFIXES:
            fix = f"the data is no table: --out {path.stem}.npz"
        raise ConfigError(f"samples cannot be written as '{path.name}'", fix)
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}", "make it first, or choose another --out")


def write(
    views: Mapping[str, Tensor],
    path: Path,
    paint: Callable[[Mapping[str, Tensor]], bytes],
    labels: Tensor | None = None,
) -> None:
    """Write views as ``.png``, ``.npy`` (one view only) or ``.npz`` (one view as ``x``, several by their names).

    Args:
        views: ``(n, …)`` each, or ``(members, n, …)``.
        path: the file; it is replaced in one step.
        paint: draws the PNG, for example :func:`~equilibria.training.pictures.painter`.
        labels: classes of the rows ``(n,)``, the ``y`` of an ``.npz``.

    Raises:
        ConfigError: another suffix, no such folder, or several views for a ``.npy``.
        RunError: the file cannot be written.
        ShapeError: views of this shape cannot be drawn.
    """
    check_name(path)
    kind = path.suffix.lower()
    if kind == ".png":
        disk.write_atomically(path, paint(views))
    elif kind == ".npz":
        disk.write_atomically(path, packed_views(views, labels=labels))
    elif len(views) > 1:
        raise ConfigError(f"{len(views)} views ({', '.join(views)}) in one .npy", f"use --out {path.stem}.npz")
    else:
        buffer = io.BytesIO()
        np.save(buffer, next(iter(views.values())).numpy(), allow_pickle=False)
        disk.write_atomically(path, buffer.getvalue())
