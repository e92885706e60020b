"""Many seeds of one recipe: one ordinary run per seed, in one folder, and the statistics of their metrics.

```
PARENT/seeds.json   the arguments, how the seeds are trained, the diverged seeds; mean and 95 % interval of each metric
PARENT/seed0/ …     ordinary runs: each can be opened, sampled and resumed by itself
```

The state is in the folder: after a stop or a kill the same call continues the work.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import runs
from ..base import distributed
from ..base.arguments import place, seed_of, whole
from ..base.errors import ConfigError, DataError, EquilibriaError, RunError
from ..base.records import parsed, written
from ..base.spread import Spread, spread
from ..data import Dataset, load
from ..recipes import Recipe, default_for
from ..recipes import recipe as named
from ..training import Settings, disk, progress
from . import creation, own_files, side_by_side
from .folder import RunFolder, part
from .lock import locked
from .stopped import RunStopped, to_the_end

FORMAT = 1
_FILE = "seeds.json"


@dataclass(frozen=True)
class Seeds:
    """The runs of several seeds. Made by :func:`train_seeds` and :func:`resume_seeds`.

    Attributes:
        path: the folder.
        runs: the run folder of each seed.
        failed: the error message of each seed that diverged.
        in_turn: why the seeds were trained one after another; empty if they were trained side by side.
        finished: whether every seed was trained to the end, or diverged.
        metrics: statistics of each metric over all seeds, failed ones among them.
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
    """Train a recipe once per seed, side by side if the game allows it, and evaluate all runs.

    Side by side (as one :class:`~equilibria.core.ensemble.Ensemble`) each run equals a separate run with its seed, up
    to rounding. Games with convolutions are not faster that way; they, and games that cannot be stacked, are trained
    one after another.

    Args:
        recipe: a name or a :class:`Recipe`; None for the default of the data.
        data: anything :func:`equilibria.data.load` takes, or a :class:`~equilibria.data.Dataset`.
        seeds: how many (seeds 0, 1, …), or the list of seeds.
        steps: rounds of each run; None for the recipe's number.
        out: a folder. If it already holds these seeds, they are continued. None for a new one under ``runs/``.
        settings: as for :func:`equilibria.train`, the same for all seeds.
        together: False trains the seeds one after another for every game.

    Raises:
        ConfigError: an argument is wrong.
        RunError: the folder holds something else, or cannot be written.
        RunStopped: a signal ended the training; it carries the runs so far.

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
            f"a {type(recipe).__name__} for many seeds", "give a recipe: each seed builds its own game from it"
        )
    if chosen.auto_remedy:
        raise ConfigError("auto_remedy with many seeds would give them different recipes", "leave it out")
    if distributed.here().count > 1:
        raise ConfigError("many seeds on several processes", "train the seeds on one process, or one seed on several")
    progress.trackers_named(chosen.trackers)
    dataset = data if isinstance(data, Dataset) else load(data)
    row = named(recipe) if isinstance(recipe, str) else recipe or default_for(dataset.spec)
    row = creation.with_batch_of(row, dataset)
    rounds = row.steps if steps is None else whole("steps", steps, None)
    if rounds < 1:
        raise ConfigError(f"steps={rounds}", "use at least 1")
    described = creation.described(row, dataset, chosen, [])
    asked = {name: described[name] for name in ("recipe", "data", "settings")}
    if described["with"]:
        asked["with"] = described["with"]
    asked |= {"format": FORMAT, "seeds": numbers, "steps": rounds, "together": together}
    span = f"s{numbers[0]}" + (f"-{numbers[-1]}" if len(numbers) > 1 else "")
    path = place("out", out) if out is not None else creation.default_folder(dataset.name, row.name, span)
    _make(path, asked)
    return to_the_end(_carry_out(path, dataset))


def resume_seeds(path: str | Path, data: Any = None) -> Seeds:
    """Continue the runs of :func:`train_seeds`, each from its newest checkpoint.

    Args:
        path: the folder that holds ``seeds.json``.
        data: the data again, if it was given in Python.

    Raises:
        RunError: there is no such folder, it is damaged, or the data has changed.
        RunStopped: a signal ended the training; it carries the runs so far.
    """
    folder = place("path", path)
    return to_the_end(_carry_out(folder, runs.data_again(folder, read(folder), data, "resume_seeds")))


def holds_seeds(path: Path) -> bool:
    """Whether a folder holds the runs of :func:`train_seeds`."""
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
        raise RunError(f"{path} holds no {_FILE}", "give the folder that training with several seeds made") from error
    except OSError as error:
        raise disk.read_error(error, file) from error
    except ValueError as error:
        raise RunError(f"{file} is damaged ({error})", "restore it from a copy; the runs are untouched") from error
    kinds = {"format": int, "recipe": dict, "data": dict, "settings": dict, "seeds": list, "steps": int}
    for name, kind in kinds.items():
        if not isinstance(info, dict) or not isinstance(info.get(name), kind):
            raise RunError(f"{file} is damaged: '{name}' is missing or of the wrong kind", "restore it from a copy")
    if info["format"] > FORMAT:
        raise RunError(f"{path} was written by a newer version", "upgrade equilibria")
    found: dict[str, Any] = info
    return found


def _numbers(seeds: Any) -> list[int]:
    if isinstance(seeds, str):
        raise ConfigError(f"seeds={seeds!r} is a text", "give a number of seeds, or a list of them: seeds=3")
    numbers = list(range(seeds)) if isinstance(seeds, int) else [seed_of(seed) for seed in seeds]
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise ConfigError(f"seeds={seeds!r}", "give a number of seeds, at least 1, or a list of different seeds >= 0")
    return numbers


def _make(path: Path, asked: dict[str, Any]) -> None:
    """Make the folder, or check that it was made with the same arguments."""
    if holds_seeds(path):
        was = read(path)
        for name, value in asked.items():
            if was.get(name) != parsed(written(value).encode()):
                fix = f"choose another --out, or continue those: equilibria train --resume {shlex.quote(str(path))}"
                raise RunError(f"{path} holds seeds trained with other {name}", fix)
        return
    if not path.is_dir() or any(path.iterdir()):
        creation.refuse_existing(path)
    disk.make_folder(path)
    disk.write_atomically(path / _FILE, written(asked, indent=1))


def _carry_out(path: Path, data: Dataset) -> Seeds:
    with locked(path):
        info = read(path)
        with own_files.explained(path, info):
            row = part(path / _FILE, info["recipe"], Recipe)
        settings = part(path / _FILE, info["settings"], Settings)
        dataset, steps = data.to(settings.where()), int(info["steps"])
        failed = {int(seed): str(why) for seed, why in info.get("failed", {}).items()}
        folders = {int(seed): path / f"seed{seed}" for seed in info["seeds"]}
        left = {s: f for s, f in folders.items() if s not in failed and not _done(f, steps, settings)}
        why_not = side_by_side.why_not(row, dataset, settings) if info.get("together", True) else "it was asked for"
        at_once = not why_not and len(left) > 1
        if at_once:
            failed |= side_by_side.play(side_by_side.Group(left, row, dataset, settings, steps))
            disk.write_atomically(path / _FILE, written(info | {"failed": failed}, indent=1))
            left = {seed: folder for seed, folder in left.items() if seed not in failed}
        if not at_once or all(_played(folder, steps) for folder in left.values()):
            failed |= _one_by_one(left, row, dataset, settings, steps)
        finished = all(s in failed or _done(f, steps, settings) for s, f in folders.items())
        metrics = summary([folder for seed, folder in folders.items() if seed not in failed], len(failed))
        results = {"failed": failed, "in_turn": why_not, "finished": finished, "cores": os.cpu_count()}
        results["metrics"] = {name: asdict(spread) for name, spread in metrics.items()}
        disk.write_atomically(path / _FILE, written(info | results, indent=1))
        return Seeds(path, folders, failed, why_not, finished, metrics)


def _played(folder: Path, steps: int) -> bool:
    return folder.is_dir() and RunFolder.open(folder).played >= steps


def _done(folder: Path, steps: int, settings: Settings) -> bool:
    last = {"evaluation.json": settings.evaluate, "report.html": settings.report and not settings.evaluate}
    return _played(folder, steps) and all((folder / name).exists() for name, asked in last.items() if asked)


def _one_by_one(left: dict[int, Path], row: Recipe, data: Dataset, settings: Settings, steps: int) -> dict[int, str]:
    """Train, continue or evaluate each seed; returns the error messages of those that diverged. Ctrl-C ends it."""
    failed: dict[int, str] = {}
    for seed, folder in left.items():
        try:
            if folder.exists():
                runs.resume(folder, data)
            else:
                runs.train(row, data, steps=steps, seed=seed, out=folder, settings=settings)
        except RunStopped:
            break
        except (ConfigError, DataError, RunError):
            raise
        except EquilibriaError as error:  # a loss that is not finite: a result of this seed only
            failed[seed] = error.what
    return failed


def summary(folders: Sequence[Path], failed: int = 0) -> dict[str, Spread]:
    """Each metric over the evaluated runs, and over ``failed`` further ones that came to no result."""
    found: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        with suppress(RunError):  # a folder without a run has not been evaluated yet
            for name, result in RunFolder.open(folder, strict=False).evaluation.items():
                found.setdefault(name, []).append(result)
    return {name: _spread(results, failed) for name, results in found.items()}


def _spread(results: list[dict[str, Any]], failed: int) -> Spread:
    first = results[0]
    values = [one["value"] for one in results] + [None] * failed
    return spread(values, higher=bool(first.get("higher")), floor=first.get("floor"), unit=first.get("unit", ""))
