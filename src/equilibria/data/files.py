"""Arrays on disk (.npy, .npz) and the local cache of the named data sets. Nothing is ever unpickled."""

from __future__ import annotations

import math
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np

from ..base.errors import DataError
from ..base.memory import too_large

__all__ = ["Arrays", "cache_file", "check_memory", "chosen", "read_arrays", "stored"]

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


def kept_whole(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """A file of the cache, written under a temporary name, synced and renamed: a reader sees the whole file or none.

    Args:
        path: of the file; its folder is made.
        write: writes the contents; after an error of its own nothing is kept.

    Raises:
        DataError: the file cannot be written.

    Examples:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     kept_whole(Path(folder) / "new" / "a.bin", lambda out: out.write(b"whole")).read_bytes()
        b'whole'
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        with os.fdopen(descriptor, "wb") as out:
            write(out)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's file is its owner's alone, a cache may be shared
        os.replace(temporary, path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            what = f"{path} cannot be written ({error.strerror or error})"
            raise DataError(what, "free its disk, or name another folder: export EQUILIBRIA_DATA=FOLDER") from error
        raise
    return path


def read_arrays(path: Path) -> Arrays:
    """The arrays of a ``.npy`` or ``.npz`` file.

    In an ``.npz`` the examples are ``x``, ``images``, ``data`` or the first array, the labels ``y`` or ``labels``, the
    names of the classes ``names``; any other array is a column of its own name. With ``x_train`` and ``x_test`` (and
    ``y_train`` and ``y_test``, ``NAME_train`` and ``NAME_test``) the test set is held out.

    Raises:
        DataError: not such a file, damaged, or holding Python objects.
    """
    return chosen(stored(path), path)


def stored(path: Path, most: int | None = None) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` by name; that of an ``.npy`` as ``x``.

    Args:
        path: the file.
        most: bytes that the arrays may have together, unpacked; None for what the machine's memory allows. It is
            checked before anything is unpacked, and so is what each array says of its own size.

    Raises:
        DataError: not such a file, damaged, holding Python objects, or larger unpacked than the machine's memory.
    """
    try:
        with path.open("rb") as file:  # opened here, because np.load leaves the file of a damaged archive open
            _check_sizes(file, path, most)
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


def _check_sizes(file: IO[bytes], path: Path, most: int | None) -> None:
    """Hold what the headers of a file say to its length, and that to a bound: a few kilobytes may claim terabytes."""
    if not zipfile.is_zipfile(file):
        file.seek(0)
        _check_claim(file, path.stat().st_size, path)
        return
    with zipfile.ZipFile(file) as archive:
        total = sum(one.file_size for one in archive.infolist())
        if most is not None and total > most:
            raise DataError(f"the arrays of {path} have {total / 1e9:.1f} GB unpacked", f"at most {most / 1e9:.1f} GB")
        check_memory(total, f"the arrays of {path}")
        for one in archive.infolist():
            with archive.open(one) as member:
                _check_claim(member, one.file_size, path)


def _check_claim(file: IO[bytes], length: int, path: Path) -> None:
    if file.read(6) != b"\x93NUMPY":
        return  # np.load says what is wrong
    version = tuple(file.read(2))
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed > length:
        what = f"an array in {path} says that it has the shape {shape}, {claimed / 1e9:.1f} GB"
        raise DataError(f"{what}, and the file holds {length:,} bytes", "save it again with np.savez")


def check_memory(needed: int, what: str) -> None:
    """Refuse what would not fit beside the rest: more than four fifths of the machine's memory.

    Raises:
        DataError: it would not.
    """
    if why := too_large(needed):
        raise DataError(f"{what} {why}", "give fewer, or smaller ones")


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
