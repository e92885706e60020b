"""Features of the real rows, kept in the cache by what the rows are and by the protocol.

A file is an ``.npz`` of plain arrays in ``statistics`` of ``$EQUILIBRIA_DATA`` or ``~/.cache/equilibria``. One that is
damaged, or that holds other numbers than its name says, is computed again.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..base.errors import ConfigError, DataError
from ..data.files import cache_file, kept_whole, stored
from .extractors import EXTRACTORS, Extractor, extracted
from .frechet import Gaussian, Sums
from .protocols import Protocol as Rules
from .protocols import Reference, Split

KEPT = 10_000
"""Rows whose features are kept, at most: 82 MB of 2048 features."""
_VERSION = 1  # part of the name of a file: increase it when what is computed changes
_SEED = 0


class RowsLike(Protocol):
    """The interface of a data set that a reference is made of."""

    @property
    def size(self) -> int | None: ...
    @property
    def held_out_size(self) -> int | None: ...

    def take(self, n: int, seed: int = 0, held_out: bool = False) -> dict[str, Tensor]: ...
    def fingerprint(self) -> dict[str, Any]: ...


def rows_of(data: RowsLike, split: Split) -> int:
    """The number of real rows of a split; 0 if there is none.

    Raises:
        ConfigError: an unknown split.
    """
    if split not in ("train", "held-out"):
        raise ConfigError(f"no reference '{split}'", "use train or held-out")
    return (data.held_out_size if split == "held-out" else data.size) or 0


def reference_of(
    data: RowsLike, split: Split, protocol: Rules, network: nn.Module, most: int | None = None
) -> Reference:
    """The features of real rows under a protocol, from the cache or computed now.

    Args:
        data: images.
        split: which rows.
        protocol: how they become features.
        network: of the protocol's extractor.
        most: number of rows, drawn at random; None for all.

    Raises:
        ConfigError: an unknown split.
        DataError: no rows, or no images.
    """
    n = rows_of(data, split)
    if not n:
        what = f"the data have no {split} rows"
        raise DataError(what, "use the reference train" if split == "held-out" else "use images of a finite set")
    n, extractor = min(n, most or n), EXTRACTORS.find(protocol.extractor)
    told = json.dumps(data.fingerprint(), sort_keys=True, default=str, allow_nan=False)
    fingerprint = hashlib.sha256(told.encode()).hexdigest()
    marks = [_VERSION, fingerprint, split, n, _SEED, extractor.name, extractor.sha256]
    marks += [protocol.resize, protocol.quantised, protocol.dtype, protocol.ddof]
    key = hashlib.sha256(json.dumps(marks, allow_nan=False).encode()).hexdigest()
    path = cache_file("x").parent / "statistics" / f"{protocol.name}-{key[:24]}.npz"
    found = _read(path, key, n, extractor.dim)
    if found is None:
        found = _computed(data, split, protocol, (extractor, network), n)
        _write(path, found | {"key": np.array(key)})
    labels = torch.from_numpy(found["labels"]) if "labels" in found else None
    gaussian = Gaussian(torch.from_numpy(found["mean"]), torch.from_numpy(found["cov"]), n)
    return Reference(split, fingerprint, gaussian, torch.from_numpy(found["kept"]), labels)


def _computed(
    data: RowsLike, split: Split, protocol: Rules, by: tuple[Extractor, nn.Module], n: int
) -> dict[str, np.ndarray]:
    rows = data.take(n, _SEED, split == "held-out")
    sums, kept, done = None, list[Tensor](), 0
    for images in torch.split(rows["x"], 1000):
        made = extracted(images, *by, protocol.resize, protocol.quantised)
        sums = Sums.of(made) if sums is None else sums.plus(Sums.of(made, sums.shift))
        if done < KEPT:
            kept.append(made[: KEPT - done])
        done += len(made)
    assert sums is not None
    gaussian = sums.gaussian()
    found = {"mean": gaussian.mean.numpy(), "cov": gaussian.cov.numpy(), "kept": torch.cat(kept).numpy()}
    return found | ({"labels": rows["y"][:KEPT].cpu().numpy()} if "y" in rows else {})


def _read(path: Path, key: str, n: int, dim: int) -> dict[str, np.ndarray] | None:
    """The arrays of a file; None if it is missing, damaged, or of something else."""
    if not path.exists():
        return None
    try:
        found = stored(path)
    except DataError:
        return None
    kept = min(n, KEPT)
    shapes = {"mean": (dim,), "cov": (dim, dim), "kept": (kept, dim), "key": ()}
    if "labels" in found:
        shapes["labels"] = (kept,)
    if any(name not in found or found[name].shape != shape for name, shape in shapes.items()):
        return None
    numbers = [found[name] for name in ("mean", "cov", "kept")]
    whole = all(values.dtype.kind == "f" and bool(np.isfinite(values).all()) for values in numbers)
    return found if whole and str(found["key"]) == key else None


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A cache that cannot be written costs time, not the number."""
    try:
        kept_whole(path, lambda out: np.savez(out, allow_pickle=False, **arrays))
    except DataError as error:
        warnings.warn(f"the features of the real rows are not kept: {error.what}", stacklevel=3)
