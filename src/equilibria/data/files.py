"""Arrays on disk (.npy, .npz) and the local cache of the named data sets. Nothing is ever unpickled."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base.errors import DataError

__all__ = ["Arrays", "cache_file", "check_memory", "chosen", "memory", "read_arrays", "stored"]

_IMAGES = ("x", "images", "data")
_LABELS = ("y", "labels")


class Arrays(NamedTuple):
    """Unchecked arrays: examples, their labels, further ones by name.

    ``test`` is how many of the last examples are the source's own test set, ``names`` are those of the classes,
    ``columns`` those of the examples' numbers. ``decoded``: the examples are pictures that the options were applied to.
    """

    x: Any
    y: Any = None
    test: int = 0
    names: tuple[str, ...] = ()
    others: Mapping[str, Any] | None = None
    columns: tuple[str, ...] = ()
    decoded: bool = False


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

    In an ``.npz`` the examples are ``x``, ``images``, ``data`` or the first array, the labels ``y`` or ``labels``, the
    names of the classes ``names``; any other array is a column of its own name. With ``x_train`` and ``x_test`` (and
    ``y_train`` and ``y_test``, ``NAME_train`` and ``NAME_test``) the test set is held out.

    Raises:
        DataError: not such a file, damaged, or holding Python objects.
    """
    return chosen(stored(path), path)


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


def memory() -> int | None:
    """Bytes of the machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(needed: int, what: str) -> None:
    """Refuse what would not fit beside the rest: more than four fifths of the machine's memory.

    Raises:
        DataError: it would not.
    """
    known = memory()
    if known is not None and needed > 0.8 * known:
        raise DataError(
            f"{what} need {needed / 1e9:.1f} GB, the machine has {known / 1e9:.1f} GB", "give fewer, or smaller ones"
        )


def chosen(arrays: Mapping[str, Any], where: object) -> Arrays:
    """Which of the arrays are the examples, the labels and further columns (:func:`read_arrays` has the rule).

    Raises:
        DataError: there are no examples, or an array has only one of its two parts.
    """
    names = tuple(str(n) for n in np.atleast_1d(arrays.get("names", ())))
    if "x_train" in arrays and "x_test" in arrays:
        return _split(arrays, names, where)
    label = next((k for k in _LABELS if k in arrays), None)
    examples = next((k for k in (*_IMAGES, *arrays) if k in arrays and k not in (*_LABELS, "names")), None)
    if examples is None:
        raise DataError(f"{where} has no array of examples (found {list(arrays)})", "save it as x")
    others = {k: v for k, v in arrays.items() if k not in (examples, label, "names")}
    return Arrays(arrays[examples], arrays[label] if label else None, 0, names, others)


def _split(arrays: Mapping[str, Any], names: tuple[str, ...], where: object) -> Arrays:
    """Arrays in two parts, those for training above those of the test set."""
    parts: dict[str, list[np.ndarray]] = {}
    for key in arrays:
        name, _, part = key.rpartition("_")
        both = [f"{name}_train", f"{name}_test"]
        if part in ("train", "test") and all(one in arrays for one in both):
            parts[name] = [np.asarray(arrays[one]) for one in both]
        elif key != "names":
            raise DataError(
                f"the array '{key}' of {where}, which has a test set, is not in two parts",
                f"save it as {name or key}_train and {name or key}_test, or save the file without it",
            )
    x = _joined(where, "x", parts.pop("x"))
    test = len(arrays["x_test"])
    others = {name: _joined(where, name, both, (len(x) - test, test)) for name, both in parts.items()}
    return Arrays(x, others.pop("y", None), test, names, others)


def _joined(where: object, name: str, parts: list[np.ndarray], counts: tuple[int, int] | None = None) -> np.ndarray:
    first, second = (part.shape for part in parts)
    if not first or not second or first[1:] != second[1:]:
        raise DataError(
            f"{where}: {name}_train has shape {first}, and its test set {second}",
            "give rows of one shape, one below the other",
        )
    if counts is not None and counts != (first[0], second[0]):
        raise DataError(
            f"{where}: {name}_train and {name}_test have {first[0]} and {second[0]} rows, x_train and x_test {counts}",
            "give one row per example, in the same order",
        )
    return np.concatenate(parts)
