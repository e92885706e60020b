"""The folder of a run: what is in it, and how it is made, locked, and read back.

```
RUN/run.json        recipe, data and its fingerprint, seed, settings, versions, hardware, command
RUN/metrics.jsonl   one line per logged round
RUN/checkups.jsonl  one line per check-up of the doctor
RUN/checkpoints/    step-00012000/ …
RUN/sources/        what the run started from, as far as opening it needs (sources.py)
RUN/stages/         component-01/ …: runs of their own, in a run of several (procedures.py), without checkpoints
RUN/samples/        step-00001000.npz and .png
RUN/diagnosis.json  what the doctor makes of them
RUN/evaluation.json metrics beside the floors of a perfect sampler
RUN/report.html     everything above in one file
RUN/.lock           held while a process trains here; .lock.json names it (lock.py)
```
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..base import own_files
from ..base.errors import ConfigError, RunError
from ..base.records import decode, encode, parsed
from ..data import Dataset
from ..training import checkpoint, disk

FORMAT = 1
_NEEDED: dict[str, type | tuple[type, ...]] = {
    "recipe": dict,
    "data": dict,
    "seed": int,
    "steps": int,
    "horizon": int,
    "own": list,
    "settings": dict,
}
_NEEDED_OF_DATA: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "source": (str, type(None)),
    "options": dict,
    "spec": dict,
    "fingerprint": dict,
}
T = TypeVar("T")


def default_folder(data: str, recipe: str, seed: int | str, root: Path = Path("runs")) -> Path:
    """A new folder name: date, data, recipe and seed; a number is appended where it exists.

    Examples:
        >>> default_folder("pairs:a,b", "cogan", 3).name[10:]
        '_pairs-a-b_cogan_seed3'
    """
    words = [f"{datetime.now(UTC):%Y-%m-%d}", data, recipe, f"seed{seed}"]
    name = "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", word).strip("-.") or "own" for word in words)
    path, count = root / name, 2
    while path.exists():
        path, count = root / f"{name}-{count}", count + 1
    return path


def refuse_existing(path: Path) -> None:
    """Refuse a folder that is there already.

    Raises:
        RunError: says so, and how to continue where it is a run.
    """
    if os.path.lexists(path):
        resume = f", or continue it: equilibria train --resume {path}" if (path / "run.json").exists() else ""
        raise RunError(f"the folder {path} exists already", f"choose another --out{resume}")


def create(path: Path, info: dict[str, Any], fill: Callable[[Path], None] | None = None) -> None:
    """Make the folder with its run.json and with what ``fill`` puts there, whole or not at all.

    Raises:
        RunError: the folder exists, or cannot be written.
    """
    refuse_existing(path)
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    made = [p for p in (temporary, *path.parents) if not p.exists()]
    try:
        disk.make_folder(temporary)
        if fill is not None:
            fill(temporary)
        disk.write_atomically(temporary / "run.json", json.dumps(info, indent=1))
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


def read(path: Path) -> dict[str, Any]:
    """The run.json of a folder, validated.

    Raises:
        RunError: no run is there, it is damaged, or a newer version wrote it.
    """
    file, keep = path / "run.json", "restore it from a copy; checkpoints are untouched"
    if not file.is_file():
        why = "it has no run.json" if path.is_dir() else "there is no such folder"
        raise RunError(
            f"{path} is not a run: {why}", "give the folder that a training run made; `equilibria runs` lists them"
        )
    try:
        info = parsed(file.read_bytes())
    except PermissionError as error:
        raise RunError(f"{file} cannot be read (no permission)", "ask its owner, or copy the run") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{file} is damaged ({error})", keep) from error
    if not isinstance(info, dict) or not isinstance(info.get("format"), int):
        raise RunError(f"{file} is not the record of a run", keep)
    if info["format"] > FORMAT:
        raise RunError(
            f"{path} was written by a newer version (format {info['format']}; this one reads up to {FORMAT})",
            "upgrade equilibria",
        )
    for inside, needed in ((info, _NEEDED), (info.get("data"), _NEEDED_OF_DATA)):
        for name, kind in needed.items():
            if not isinstance(inside, dict) or not isinstance(inside.get(name, ...), kind):
                raise RunError(f"{file} is damaged: '{name}' is missing or of the wrong kind", keep)
    return info


def played(path: Path) -> int:
    """The rounds that a run's checkpoints say are played; of a run in stages, those of all stages."""
    folders = (checkpoint.listed(part / "checkpoints") for part in (path, *path.glob("stages/*")))
    return sum(checkpoint.round_of(saved[-1]) for saved in folders if saved)


def part(path: Path, value: Any, kind: type[T]) -> T:
    """A record out of run.json.

    Raises:
        RunError: it is damaged, or of a class that is not known here.
    """
    try:
        found = decode(value)
    except (ConfigError, TypeError, ValueError, KeyError) as error:
        what = error.what if isinstance(error, ConfigError) else str(error)
        raise RunError(
            f"the {kind.__name__} in {path / 'run.json'} cannot be read ({what})",
            "upgrade equilibria, import the module that defines it, or restore the file from a copy",
        ) from error
    if not isinstance(found, kind):
        raise RunError(f"{path / 'run.json'} is damaged: no {kind.__name__}", "restore it from a copy")
    return found


def described(recipe: Any, data: Dataset, settings: Any, own: list[str]) -> dict[str, Any]:
    """What run.json says of a run before its seed and rounds; ``own`` are the modules that were made in Python.

    ``with`` lists the files of one's own that were in use (:mod:`equilibria.base.own_files`).
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
