"""The folder of a run: what is in it, and how it is made, locked, and read back.

```
RUN/run.json        recipe, data and its fingerprint, seed, settings, versions, hardware, command
RUN/metrics.jsonl   one line per logged round
RUN/checkpoints/    step-00012000/ …
RUN/samples/        step-00001000.npz and .png
RUN/evaluation.json metrics beside the floors of a perfect sampler
RUN/report.html     everything above in one file
```
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from .errors import RunError
from .training import checkpoint

FORMAT = 1
_NEEDED = ("format", "recipe", "data", "seed", "steps", "settings")


def default_folder(data: str, recipe: str, seed: int, root: Path = Path("runs")) -> Path:
    """A new folder name: date, data, recipe and seed; a number is appended where it exists."""
    words = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{datetime.now(UTC):%Y-%m-%d}_{data}_{recipe}_seed{seed}".replace("_", "\0"))
    name = words.replace("\0", "_").replace("-_", "_")
    path, count = root / name, 2
    while path.exists():
        path, count = root / f"{name}-{count}", count + 1
    return path


def create(path: Path, info: dict[str, Any]) -> None:
    """Make the folder with its run.json, whole or not at all.

    Raises:
        RunError: the folder exists, or cannot be written.
    """
    if path.exists():
        resume = " or continue it with --resume" if (path / "run.json").exists() else ""
        raise RunError(f"the folder {path} exists already", f"choose another --out{resume}")
    made = [p for p in (path, *path.parents) if not p.exists()]
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise checkpoint.disk_error(error, path) from error
    try:
        checkpoint.write_atomically(path / "run.json", json.dumps(info, indent=1))
    except RunError:
        shutil.rmtree(made[-1], ignore_errors=True)
        raise


def read(path: Path) -> dict[str, Any]:
    """The run.json of a folder, validated.

    Raises:
        RunError: no run is there, it is damaged, or a newer version wrote it.
    """
    file = path / "run.json"
    if not file.exists():
        raise RunError(f"{path} is not a run: it has no run.json", "give the folder that a training run made")
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} is damaged ({error})", "restore it from a copy; checkpoints are untouched") from error
    if not isinstance(info, dict) or not isinstance(info.get("format"), int):
        raise RunError(f"{file} is not the record of a run", "restore it from a copy; checkpoints are untouched")
    if info["format"] > FORMAT:
        raise RunError(
            f"{path} was written by a newer version (format {info['format']}; this one reads up to {FORMAT})",
            "upgrade equilibria",
        )
    missing = [key for key in _NEEDED if key not in info]
    if missing:
        raise RunError(f"{file} lacks {', '.join(missing)}", "restore it from a copy; checkpoints are untouched")
    return info


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the folder for writing; the lock goes with the process, however it ends.

    Raises:
        RunError: another process trains in this folder.
    """
    try:
        handle = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise checkpoint.disk_error(error, path / ".lock") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"another process is training in {path}", "wait for it, or stop it first") from error
        yield
    finally:
        os.close(handle)


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
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
