"""Arrays on disk (.npy, .npz) and the local cache of the named data sets. Nothing is ever unpickled."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError

__all__ = ["CACHED", "Arrays", "cache_file", "read_arrays"]

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
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return Arrays(found)
        with found:
            arrays = {key: found[key] for key in found.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error) or "pickle" in str(error):
            raise DataError(
                f"{path} holds Python objects or is no array file; such files are never unpickled",
                "save numbers: np.savez('data.npz', x=x.astype('float32'))",
            ) from error
        raise DataError(f"{path} cannot be read as an array file ({error})", "save it again with np.savez") from error
    return _chosen(arrays, path)


def _chosen(arrays: Mapping[str, np.ndarray], path: Path) -> Arrays:
    names = tuple(str(n) for n in arrays.get("names", ()))
    if "x_train" in arrays and "x_test" in arrays:
        parts = [arrays["x_train"], arrays["x_test"]]
        if parts[0].shape[1:] != parts[1].shape[1:]:
            raise DataError(f"{path}: x_train and x_test differ in shape", "give rows of one shape")
        labelled = "y_train" in arrays and "y_test" in arrays
        y = np.concatenate([arrays["y_train"], arrays["y_test"]]) if labelled else None
        return Arrays(np.concatenate(parts), y, len(parts[1]), names)
    label_key = next((k for k in _LABELS if k in arrays), None)
    candidates = [k for k in _IMAGES if k in arrays] or [k for k in arrays if k not in (*_LABELS, "names")]
    if not candidates:
        raise DataError(f"{path} has no array of examples (found {list(arrays)})", "save it as x")
    return Arrays(arrays[candidates[0]], arrays[label_key] if label_key else None, 0, names)
