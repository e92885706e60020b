"""A new folder of a run: its name, its run.json, and the surroundings that run.json names."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ..base import own_files
from ..base.errors import RunError
from ..base.records import encode, written
from ..data import Dataset
from ..recipes import Recipe
from ..training import disk
from .folder import FORMAT

_LONGEST = 60  # characters of each part of a folder's name, which a file system bounds by 255 bytes


def default_folder(data: str, recipe: str, seed: int | str, root: Path = Path("runs")) -> Path:
    """A new folder name: date, data, recipe and seed; a number is appended where it exists.

    Examples:
        >>> default_folder("pairs:a,b", "cogan", 3).name[10:]
        '_pairs-a-b_cogan_seed3'
    """
    words = [f"{datetime.now(UTC):%Y-%m-%d}", data, recipe, f"seed{seed}"]
    name = "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", word)[:_LONGEST].strip("-.") or "own" for word in words)
    path, count = root / name, 2
    while path.exists():
        path, count = root / f"{name}-{count}", count + 1
    return path


def with_batch_of(row: Recipe, data: Dataset) -> Recipe:
    """The recipe with a batch that the data has rows for, and a warning where it was larger.

    Examples:
        >>> import warnings
        >>> from equilibria.data import load
        >>> from equilibria.recipes import recipe
        >>> with warnings.catch_warnings(record=True) as said:
        ...     warnings.simplefilter("always")
        ...     with_batch_of(recipe("gan"), load(torch.zeros(9, 2), held_out=0.0)).batch, len(said)
        (9, 1)
    """
    if data.size is None or row.batch <= data.size:
        return row
    rows = "row" if data.size == 1 else "rows"
    what = f"a batch of {row.batch} rows is more than the {data.size} training {rows} of '{data.name}'"
    warnings.warn(f"{what}: the batch is {data.size} {rows}", stacklevel=4)
    return replace(row, batch=data.size)


def refuse_existing(path: Path) -> None:
    """Refuse a folder that is there already.

    Raises:
        RunError: says so, and how to continue where it is a run.
    """
    if os.path.lexists(path):
        again = f", or continue it: equilibria train --resume {shlex.quote(str(path))}"
        fix = f"choose another --out{again if (path / 'run.json').exists() else ''}"
        raise RunError(f"the folder {path} exists already", fix)


def create(path: Path, info: dict[str, Any], fill: Callable[[Path], None] | None = None) -> None:
    """Make the folder with its run.json and with what ``fill`` puts there, whole or not at all.

    Raises:
        RunError: the folder exists, or cannot be written.
    """
    refuse_existing(path)
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    disk.clear_begun(path)
    made = [p for p in (temporary, *path.parents) if not p.exists()]
    try:
        disk.make_folder(temporary)
        if fill is not None:
            fill(temporary)
        disk.write_atomically(temporary / "run.json", written(info, indent=1))
        temporary.rename(path)
        disk.sync(path.parent)
    except (OSError, RunError) as error:
        _unmake(made)
        refuse_existing(path)  # another run has just been begun there
        cause = error if isinstance(error, OSError) else error.__cause__
        raise disk.disk_error(cause, path) if isinstance(cause, OSError) else error from error


def _unmake(made: list[Path]) -> None:
    """Take away the folders just made, the run's and those above it, as far as nobody else has put anything there."""
    shutil.rmtree(made[0], ignore_errors=True)
    with suppress(OSError):
        for folder in made[1:]:
            folder.rmdir()


def described(recipe: Any, data: Dataset, settings: Any, own: list[str]) -> dict[str, Any]:
    """What run.json says of a run before its seed and rounds; ``own`` are the modules that were made in Python.

    ``with`` lists the user files in use (:mod:`equilibria.base.own_files`).
    """
    return {
        "format": FORMAT,
        "recipe": encode(recipe),
        "data": {
            "name": data.name,
            "source": data.source,
            "options": encode(data.options),
            "spec": encode(data.spec),
            "fingerprint": data.fingerprint(),
            "class_names": list(data.class_names),
        },
        "own": own,
        "with": [file.to_dict() for file in own_files.in_use()],
        "settings": encode(settings),
        **surroundings(),
    }


def surroundings() -> dict[str, Any]:
    """Versions, hardware, command and date, for run.json."""
    names = ("equilibria", "torch", "numpy", "scipy", "safetensors")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "versions": {"python": platform.python_version(), **{n: _version(n) for n in names}},
        "hardware": {
            "machine": platform.machine(),
            "system": platform.system(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": gpu,
        },
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
