"""Arrays on disk (.npy, .npz) and the local cache of the named data sets. Nothing is ever unpickled."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base.errors import DataError

__all__ = ["CACHED", "Arrays", "cache_file", "check_memory", "read_arrays", "stored"]

CACHED = ("mnist", "fashion-mnist", "cifar10")
_IMAGES = ("x", "images", "data")
_LABELS = ("y", "labels")


class Arrays(NamedTuple):
    """Unchecked examples, their labels, and how many of the last of them are the source's own test set."""

    x: Any
    y: Any = None
    test: int = 0
    names: tuple[str, ...] = ()


def cache_file(name: str) -> Path:
    """Where the arrays of a named data set are kept: ``$EQUILIBRIA_DATA`` or ``~/.cache/equilibria``.

    Examples:
        >>> cache_file("mnist").name
        'mnist.npz'
    """
    folder = os.environ.get("EQUILIBRIA_DATA")
    return (Path(folder).expanduser() if folder else Path.home() / ".cache" / "equilibria") / f"{name}.npz"


def read_arrays(path: Path) -> Arrays:
    """The arrays of a ``.npy`` or ``.npz`` file.

    In an ``.npz`` the examples are ``x``, ``images``, ``data`` or the first array, the labels ``y`` or ``labels``;
    with ``x_train`` and ``x_test`` (and ``y_train``, ``y_test``) the test set is held out.

    Raises:
        DataError: not such a file, damaged, or holding Python objects.
    """
    return _chosen(stored(path), path)


def stored(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` by name; that of an ``.npy`` as ``x``.

    Raises:
        DataError: not such a file, damaged, holding Python objects, or larger unpacked than the machine's memory.
    """
    try:
        with path.open("rb") as file:  # opened here, because np.load leaves the file of a damaged archive open
            if zipfile.is_zipfile(file):
                check_memory(sum(one.file_size for one in zipfile.ZipFile(file).infolist()), f"the arrays of {path}")
            file.seek(0)
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return {"x": found}
            return {key: found[key] for key in found.files}
    except DataError:
        raise
    except Exception as error:  # a decoder of hostile bytes may raise anything
        if "pickle" in str(error):
            raise DataError(
                f"{path} holds Python objects or is no array file; such files are never unpickled",
                "save numbers: np.savez('data.npz', x=x.astype('float32'))",
            ) from error
        why = str(error)[:200] or type(error).__name__
        raise DataError(f"{path} cannot be read as an array file ({why})", "save it again with np.savez") from error


def check_memory(needed: int, what: str) -> None:
    """Refuse what would not fit beside the rest: more than four fifths of the machine's memory.

    Raises:
        DataError: it would not.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return
    if needed > 0.8 * memory:
        raise DataError(
            f"{what} need {needed / 1e9:.1f} GB, the machine has {memory / 1e9:.1f} GB", "give fewer, or smaller ones"
        )


def _chosen(arrays: Mapping[str, np.ndarray], path: Path) -> Arrays:
    names = tuple(str(n) for n in np.atleast_1d(arrays.get("names", ())))
    if "x_train" in arrays and "x_test" in arrays:
        parts = [arrays["x_train"], arrays["x_test"]]
        labels = [arrays[name] for name in ("y_train", "y_test") if name in arrays]
        y = _joined(path, "y_train", labels) if len(labels) == 2 else None
        return Arrays(_joined(path, "x_train", parts), y, len(parts[1]), names)
    label_key = next((k for k in _LABELS if k in arrays), None)
    candidates = [k for k in _IMAGES if k in arrays] or [k for k in arrays if k not in (*_LABELS, "names")]
    if not candidates:
        raise DataError(f"{path} has no array of examples (found {list(arrays)})", "save it as x")
    return Arrays(arrays[candidates[0]], arrays[label_key] if label_key else None, 0, names)


def _joined(path: Path, name: str, parts: list[np.ndarray]) -> np.ndarray:
    first, second = (part.shape for part in parts)
    if not first or not second or first[1:] != second[1:]:
        raise DataError(
            f"{path}: {name} has shape {first}, and its test set {second}",
            "give rows of one shape, one below the other",
        )
    return np.concatenate(parts)
