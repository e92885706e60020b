"""Many seeds of one recipe: an ordinary run each, in one folder, and what they come to together.

```
PARENT/seeds.json   what was asked, how it is carried out, which seeds diverged; mean and standard error of each metric
PARENT/seed0/ …     runs like any other: each can be opened, sampled, resumed on its own
```

Everything follows from the folder: stopped or killed, the same call continues it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from .. import runs
from ..base import distributed
from ..base.errors import ConfigError, DataError, EquilibriaError, RunError
from ..base.records import parsed, record
from ..data import Dataset, load
from ..recipes import Recipe, default_for
from ..recipes import recipe as named
from ..training import Settings, disk, progress
from . import folder as run_folder
from . import side_by_side

FORMAT = 1
_FILE = "seeds.json"


@record
class Spread:
    r"""A metric over seeds: the mean :math:`\bar x` and its standard error :math:`s/\sqrt{n}`, :math:`s` with n - 1.

    Args:
        mean: over the seeds that have the metric.
        error: standard error of the mean; None for one seed.
        n: how many seeds.
        floor: what a perfect sampler scores, None where it is unknown.
        unit: what the number counts.
    """

    mean: float
    error: float | None
    n: int
    floor: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Seeds:
    """The runs of several seeds. Made by :func:`train_seeds` and :func:`resume_seeds`.

    Attributes:
        path: the folder.
        runs: the run of each seed, by seed.
        failed: what went wrong with the seeds that diverged.
        in_turn: why the seeds were trained one after another; empty where they were trained side by side.
        finished: whether every seed was played to the end, or diverged.
        metrics: each metric over the seeds that have it.
    """

    path: Path
    runs: dict[int, Path]
    failed: dict[int, str]
    in_turn: str
    finished: bool
    metrics: dict[str, Spread]


def train_seeds(
    recipe: str | Recipe | None = None,
    data: Any = None,
    *,
    seeds: int | Sequence[int] = 5,
    steps: int | None = None,
    out: str | Path | None = None,
    settings: Settings | None = None,
    together: bool = True,
) -> Seeds:
    """Train a recipe once per seed, side by side where the game allows, and judge all.

    Side by side (:class:`~equilibria.core.ensemble.Ensemble`) each run is the lone run of its seed up to rounding.
    Games that convolve gain nothing by it, and those that do not run so are trained one after another.

    Args:
        recipe: a name or a :class:`Recipe`; None for the default of the data.
        data: anything :func:`equilibria.data.load` takes, or a :class:`~equilibria.data.Dataset`.
        seeds: how many (0, 1, …), or which.
        steps: rounds of each; None for what the recipe says.
        out: a folder; where it holds these very seeds already, they are continued. None for a new one under ``runs/``.
        settings: as for :func:`equilibria.train`, the same for all.
        together: False trains one after another whatever the game.

    Raises:
        ConfigError: an argument is wrong.
        RunError: the folder holds something else, or cannot be written.

    Examples:
        >>> import tempfile
        >>> quick = Settings(progress=False, doctor=False)
        >>> out = tempfile.mkdtemp()
        >>> done = train_seeds("gan", "ring8-U", seeds=2, steps=2, out=out, settings=quick)
        >>> done.metrics["modes"].n, sorted(done.runs)
        (2, [0, 1])
    """
    chosen, numbers = settings or Settings(), _numbers(seeds)
    if data is None:
        raise ConfigError("no data was given", "pass data=, for example data='digits'")
    if recipe is not None and not isinstance(recipe, (str, Recipe)):
        raise ConfigError(
            f"a {type(recipe).__name__} for many seeds", "give a recipe, of which each seed makes its own"
        )
    if chosen.auto_remedy:
        raise ConfigError("auto_remedy for many seeds, whose recipes it would make different", "leave it out")
    if distributed.here().count > 1:
        raise ConfigError("many seeds on several processes", "train the seeds on one process, or one seed on several")
    progress.trackers_named(chosen.trackers)
    dataset = data if isinstance(data, Dataset) else load(data)
    row = named(recipe) if isinstance(recipe, str) else recipe or default_for(dataset.spec)
    rounds = row.steps if steps is None else steps
    if rounds < 1:
        raise ConfigError(f"steps={rounds}", "use at least 1")
    told = run_folder.described(row, dataset, chosen, [])
    asked = {name: told[name] for name in ("recipe", "data", "settings")}
    asked |= {"format": FORMAT, "seeds": numbers, "steps": rounds, "together": together}
    span = f"s{numbers[0]}" + (f"-{numbers[-1]}" if len(numbers) > 1 else "")
    path = Path(out) if out is not None else run_folder.default_folder(dataset.name, row.name, span)
    _make(path, asked)
    return _carry_out(path, dataset)


def resume_seeds(path: str | Path, data: Any = None) -> Seeds:
    """Continue what :func:`train_seeds` began, from each run's newest checkpoint.

    Args:
        path: the folder that holds ``seeds.json``.
        data: the data again, where it was given in Python.

    Raises:
        RunError: no such folder, it is damaged, or the data is not what it was.
    """
    folder = Path(path)
    return _carry_out(folder, runs.data_again(folder, read(folder), data))


def holds_seeds(path: Path) -> bool:
    """Whether a folder is one of several seeds."""
    return (path / _FILE).is_file()


def read(path: Path) -> dict[str, Any]:
    """The ``seeds.json`` of a folder.

    Raises:
        RunError: there is none, it is damaged, or a newer version wrote it.
    """
    file = path / _FILE
    try:
        info = parsed(file.read_bytes())
    except FileNotFoundError as error:
        raise RunError(f"{path} holds no {_FILE}", "give the folder that train with several seeds made") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error})", "restore it from a copy; the runs are untouched") from error
    kinds = {"format": int, "recipe": dict, "data": dict, "settings": dict, "seeds": list, "steps": int}
    for name, kind in kinds.items():
        if not isinstance(info, dict) or not isinstance(info.get(name), kind):
            raise RunError(f"{file} is damaged: '{name}' is missing or of the wrong kind", "restore it from a copy")
    if info["format"] > FORMAT:
        raise RunError(f"{path} was written by a newer version", "upgrade equilibria")
    found: dict[str, Any] = info
    return found


def _numbers(seeds: int | Sequence[int]) -> list[int]:
    numbers = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise ConfigError(f"seeds={seeds!r}", "give how many, at least 1, or different whole numbers from 0 on")
    return numbers


def _make(path: Path, asked: dict[str, Any]) -> None:
    """Make the folder, or make sure that it is of the same seeds."""
    if holds_seeds(path):
        was = read(path)
        for name, value in asked.items():
            if was.get(name) != json.loads(json.dumps(value)):
                raise RunError(
                    f"{path} holds seeds trained with other {name}", f"choose another --out, or: --resume {path}"
                )
        return
    if not path.is_dir() or any(path.iterdir()):
        run_folder.refuse_existing(path)
    disk.make_folder(path)
    disk.write_atomically(path / _FILE, json.dumps(asked, indent=1))


def _carry_out(path: Path, data: Dataset) -> Seeds:
    with run_folder.locked(path):
        info = read(path)
        row = run_folder.part(path, info["recipe"], Recipe)
        settings = run_folder.part(path, info["settings"], Settings)
        dataset, steps = data.to(settings.where()), int(info["steps"])
        failed = {int(seed): str(why) for seed, why in info.get("failed", {}).items()}
        folders = {int(seed): path / f"seed{seed}" for seed in info["seeds"]}
        left = {s: f for s, f in folders.items() if s not in failed and not _done(f, steps, settings)}
        in_turn = side_by_side.unfit(row, dataset, settings) if info.get("together", True) else "it was asked for"
        at_once = not in_turn and len(left) > 1
        if at_once:
            failed |= side_by_side.play(side_by_side.Group(left, row, dataset, settings, steps))
            left = {seed: folder for seed, folder in left.items() if seed not in failed}
        if not at_once or all(_played(folder, steps) for folder in left.values()):
            failed |= _one_by_one(left, row, dataset, settings, steps)
        finished = all(s in failed or _done(f, steps, settings) for s, f in folders.items())
        metrics = summary([folder for seed, folder in folders.items() if seed not in failed])
        told = {"failed": failed, "in_turn": in_turn, "finished": finished, "cores": os.cpu_count()}
        told["metrics"] = {name: asdict(spread) for name, spread in metrics.items()}
        disk.write_atomically(path / _FILE, json.dumps(info | told, indent=1))
        return Seeds(path, folders, failed, in_turn, finished, metrics)


def _played(folder: Path, steps: int) -> bool:
    return folder.is_dir() and run_folder.played(folder) >= steps


def _done(folder: Path, steps: int, settings: Settings) -> bool:
    last = "evaluation.json" if settings.evaluate else "report.html"
    return _played(folder, steps) and (folder / last).exists()


def _one_by_one(left: dict[int, Path], row: Recipe, data: Dataset, settings: Settings, steps: int) -> dict[int, str]:
    """Train, or train on, or judge each; what went wrong with those that diverged. Ctrl-C ends it."""
    failed: dict[int, str] = {}
    for seed, folder in left.items():
        try:
            if folder.exists():
                run = runs.resume(folder, data)
            else:
                run = runs.train(row, data, steps=steps, seed=seed, out=folder, settings=settings)
        except (ConfigError, DataError, RunError):
            raise
        except EquilibriaError as error:  # a loss that is not finite: a result, and not the other seeds' affair
            failed[seed] = error.what
            continue
        if not run.finished:
            break
    return failed


def summary(folders: Sequence[Path]) -> dict[str, Spread]:
    """Mean and standard error of each metric over the runs that were judged."""
    values: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        try:
            judged = parsed((folder / "evaluation.json").read_bytes())
        except (OSError, ValueError):
            continue
        for name, told in judged.items() if isinstance(judged, dict) else ():
            if isinstance(told, dict) and isinstance(told.get("value"), (int, float)):
                values.setdefault(name, []).append(told)
    spreads = {}
    for name, told in values.items():
        numbers = [float(one["value"]) for one in told]
        error = stdev(numbers) / math.sqrt(len(numbers)) if len(numbers) > 1 else None
        spreads[name] = Spread(
            mean=fmean(numbers), error=error, n=len(numbers), floor=told[0].get("floor"), unit=told[0].get("unit", "")
        )
    return spreads
