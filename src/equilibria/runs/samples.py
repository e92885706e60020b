"""Samples of a play: drawn in pieces, judged against the data, and written to files."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from .. import metrics
from ..base.errors import ConfigError
from ..base.randomness import mix
from ..core.ensemble import Ensemble
from ..core.play import Play
from ..data import Dataset, DataSpec
from ..metrics import Measured
from ..training import disk
from ..training.hooks import packed
from ..training.pictures import labels_for, painter, parts_of

_PIECE = 500  # rows of one forward pass: what is asked for may be more than the memory holds at once
_FEWEST = 12  # twice the neighbours of the neighbour metrics, and one each


def drawn(play: Play, n: int, seed: int, labels: Tensor | None = None) -> Tensor:
    """``n`` samples of the averaged players on the CPU, a function of the seed; of an ensemble ``(members, n, …)``.

    Raises:
        ConfigError: ``n`` is below 1.
    """
    if n < 1:
        raise ConfigError(f"{n} samples", "ask for at least 1")
    if n <= _PIECE:
        return play.sample(n, seed, labels).cpu()
    pieces = []
    for i, start in enumerate(range(0, n, _PIECE)):
        size = min(_PIECE, n - start)
        own = None if labels is None else labels[start : start + size]
        pieces.append(play.sample(size, mix(seed, i), own).cpu())
    return torch.cat(pieces, dim=1 if isinstance(play.game, Ensemble) else 0)


def judge(
    play: Play, data: Dataset, n: int | None = None, seed: int = 0, classify: bool = False
) -> dict[str, Measured]:
    """Metrics of a play's samples against its data: the mean over an ensemble's members, each domain of pairs apart.

    With ``classify``, labelled images are also judged by a classifier trained on the data once (and kept in the cache):
    which classes the samples have, and whether they are those asked for.

    Raises:
        ConfigError: too few samples.
        ShapeError: the samples are not of the data's shape.
    """
    if n is not None and n < _FEWEST:
        raise ConfigError(f"{n} samples are too few to judge", f"use at least {_FEWEST}")
    count = n or (2500 if data.law is not None else 2000)
    labels, suite = labels_for(play, count), metrics.Suite(seed=seed)
    parts = parts_of(drawn(play, count, mix(seed, 7), labels), data.spec)
    told = None if labels is None else labels.cpu()
    if "second" in parts:
        # Rows of the other domain are judged against rows alone: what is held out of it is not known here.
        other = data.take(min(2 * count, data.size or 2 * count), seed)["other"].cpu()
        first = metrics.evaluate(parts["first"], data, suite=suite)
        second = metrics.evaluate(parts["second"], other, suite=suite)
        both = {"first": first, "second": second}
        return {f"{name}/{key}": value for name, found in both.items() for key, value in found.items()}
    classifier = classifier_of(data) if classify and data.spec.kind == "image" and data.spec.classes > 1 else None
    # A floor is of the data, not of the samples: the first member's is enough, the others take the cheapest.
    suites = [suite] + [replace(suite, repeats=1)] * (len(parts) - 1)
    judged = zip(parts.values(), suites, strict=True)
    return _mean([metrics.evaluate(rows, data, labels=told, suite=own, classifier=classifier) for rows, own in judged])


def classifier_of(data: Dataset) -> metrics.Classifier:
    """The classifier of a data set's images: trained on the labelled training rows, measured on those held out."""
    assert data.size is not None
    rows = data.take(data.size)
    labelled = rows["y"] >= 0
    held = data.take(data.held_out_size, held_out=True) if data.held_out_size else None
    test = None if held is None else (held["x"].cpu(), held["y"].cpu())
    return metrics.train_classifier(rows["x"][labelled].cpu(), rows["y"][labelled].cpu(), test=test)


def _mean(found: list[dict[str, Measured]]) -> dict[str, Measured]:
    """The mean of each metric over the members that have it, beside the first one's floor."""
    rows = {name: [one[name] for one in found if name in one] for one in found for name in one}
    return {name: replace(own[0], value=fmean(row.value for row in own)) for name, own in rows.items()}


def check_name(path: Path) -> None:
    """Refuse a file name that samples cannot be written under.

    Raises:
        ConfigError: another suffix, or no such folder.
    """
    if path.suffix.lower() not in {".png", ".npy", ".npz"}:
        raise ConfigError(f"samples cannot be written as '{path.name}'", "end the name in .png, .npy or .npz")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}", "make it first, or choose another --out")


def write(samples: Tensor, path: Path, spec: DataSpec, data: Callable[[], Dataset]) -> None:
    """Write samples as ``.png`` (a grid of images, or points over real ones), ``.npy`` or ``.npz`` (key ``x``).

    Args:
        samples: ``(n, …)``, or ``(members, n, …)``.
        path: the file; it is replaced in one step.
        spec: what rows of the data are.
        data: gives the data, which only a picture of points needs.

    Raises:
        ConfigError: another suffix, or no such folder.
        RunError: the file cannot be written.
        ShapeError: samples of this shape cannot be drawn.
    """
    check_name(path)
    kind = path.suffix.lower()
    if kind == ".png":
        disk.write_atomically(path, painter(spec, data)(samples))
    elif kind == ".npz":
        disk.write_atomically(path, packed(samples.numpy()))
    else:
        buffer = io.BytesIO()
        np.save(buffer, samples.numpy(), allow_pickle=False)
        disk.write_atomically(path, buffer.getvalue())
