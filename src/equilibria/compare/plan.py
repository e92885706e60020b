"""What a comparison trains: methods on problems with seeds. It is written into ``plan.json`` before anything runs."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base import own_files
from ..base.arguments import seed_of, whole
from ..base.errors import ConfigError, RunError, did_you_mean
from ..base.records import encode, parsed, written
from ..data import DataOptions, Dataset, load
from ..recipes import Recipe, recipe
from ..runs import side_by_side
from ..runs.folder import part
from ..runs.own_files import explained
from ..training import Settings, disk

FORMAT = 1
FILE = "plan.json"
QUIET = Settings(progress=False, report=False, sample_every=10**9)
"""How a cell is trained where nothing else is said."""


@dataclass(frozen=True)
class Problem:
    """Data that every method is trained on.

    Attributes:
        source: as :func:`equilibria.data.load` takes it.
        options: how it is prepared.
        fingerprint: of the data when the comparison was planned; other data are refused later.
    """

    source: str
    options: DataOptions
    fingerprint: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"source": self.source, "options": encode(self.options), "fingerprint": dict(self.fingerprint)}

    def load(self) -> Dataset:
        """The data.

        Raises:
            RunError: it is not what it was when the comparison was planned.
        """
        data = load(self.source, options=self.options)
        if _plain(data.fingerprint()) != dict(self.fingerprint):
            raise RunError(
                f"the data '{self.source}' have changed since the comparison was planned", "give another --out"
            )
        return data


@dataclass(frozen=True)
class Block:
    """What one worker does at a time: a method on a problem, with one seed, or with all that train side by side.

    Attributes:
        method: its name in the comparison.
        problem: the name of the data.
        seeds: the seeds; each is a cell.
        together: whether they are trained side by side.
    """

    method: str
    problem: str
    seeds: tuple[int, ...]
    together: bool

    @property
    def name(self) -> str:
        """A name that is a file's name, and is unique in a comparison."""
        seeds = f"s{self.seeds[0]}" + (f"-{self.seeds[-1]}" if len(self.seeds) > 1 else "")
        return f"{filename(self.method)}+{filename(self.problem)}+{seeds}"


@dataclass(frozen=True)
class Plan:
    """Everything that decides the results of a comparison.

    Attributes:
        methods: recipes by their names in the comparison.
        problems: data by name.
        seeds: of every method on every problem.
        rounds: of a method on a problem.
        together: the methods and problems whose seeds are trained side by side.
        metrics: the first is the one by which methods are told apart; empty for the first that a problem has.
        settings: of every run.
        threads: of every worker; the last bits of a result depend on it.
    """

    methods: dict[str, Recipe]
    problems: dict[str, Problem]
    seeds: tuple[int, ...]
    rounds: dict[tuple[str, str], int]
    together: frozenset[tuple[str, str]]
    metrics: tuple[str, ...]
    settings: Settings
    threads: int

    @property
    def pairs(self) -> Iterator[tuple[str, str]]:
        """Every method with every problem."""
        return ((method, problem) for problem in self.problems for method in self.methods)

    def blocks(self) -> list[Block]:
        """What there is to do, in order: seed by seed over all methods, so that an early look is fair to each."""
        whole_blocks = [Block(*pair, self.seeds, True) for pair in self.pairs if pair in self.together]
        single = [
            Block(*pair, (seed,), False) for seed in self.seeds for pair in self.pairs if pair not in self.together
        ]
        return whole_blocks + single

    def written(self) -> str:
        """The text of ``plan.json``."""
        values = {
            "format": FORMAT,
            "methods": {name: encode(row) for name, row in self.methods.items()},
            "problems": {name: one.to_dict() for name, one in self.problems.items()},
            "seeds": list(self.seeds),
            "rounds": [[*pair, rounds] for pair, rounds in self.rounds.items()],
            "together": sorted(map(list, self.together)),
            "metrics": list(self.metrics),
            "settings": encode(self.settings),
            "threads": self.threads,
            "with": [file.to_dict() for file in own_files.in_use()],
        }
        return written(values, indent=1)


def folder_of(method: str, problem: str, seed: int) -> Path:
    """The folder of a cell's run, relative to the comparison's.

    Examples:
        >>> folder_of("wgan-gp", "few:mnist,100", 3).as_posix()
        'runs/wgan-gp/few-mnist-100/seed3'
    """
    return Path("runs") / filename(method) / filename(problem) / f"seed{seed}"


def filename(word: str) -> str:
    """A word as a part of a path: other characters than letters, digits, points and lines become a dash."""
    return re.sub(r"[^A-Za-z0-9.=_-]+", "-", word)[:60].strip("-.") or "own"


def named(words: Sequence[str | Recipe]) -> dict[str, Recipe]:
    """Methods by name, from ``RECIPE`` or ``RECIPE:SETTING=VALUE,SETTING=VALUE``, or recipes.

    Raises:
        ConfigError: an unknown recipe or setting, the same method twice, or fewer than two.

    Examples:
        >>> {name: row.batch for name, row in named(["gan", "gan:batch=32"]).items()}
        {'gan': 64, 'gan:batch=32': 32}
    """
    found: dict[str, Recipe] = {}
    for word in words:
        if isinstance(word, Recipe):
            name, row = word.name, word
        else:
            first, settings = settings_of(word)
            name, row = word, recipe(first).with_settings(settings)
        if name in found:
            raise ConfigError(f"the method '{name}' is given twice", f"leave one out, or change it: {name}:batch=32")
        found[name] = row
    _distinct("method", found)
    return found


def settings_of(word: str) -> tuple[str, list[tuple[str, str]]]:
    """The recipe and the settings of a method; a comma inside a value stays where no ``=`` follows before the next.

    Raises:
        ConfigError: a piece is not ``key=value``.

    Examples:
        >>> settings_of("gan:batch=8,game.penalties=r1,r2")
        ('gan', [('batch', '8'), ('game.penalties', 'r1,r2')])
    """
    first, _, settings = word.partition(":")
    pairs: list[tuple[str, str]] = []
    for piece in settings.split(",") if settings else []:
        key, equals, value = piece.partition("=")
        if equals:
            pairs.append((key.strip(), value))
        elif pairs:
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]},{piece}")
        else:
            raise ConfigError(f"'{piece}' in the method '{word}' is not key=value", "write it as gan:batch=32")
    return first, pairs


def _distinct(what: str, names: Mapping[str, Any]) -> None:
    """Refuse names that would share a folder."""
    folders: dict[str, str] = {}
    for name in names:
        other = folders.setdefault(filename(name), name)
        if other != name:
            raise ConfigError(f"the {what}s '{other}' and '{name}' would share a folder", "rename one")


def planned(
    methods: Sequence[str | Recipe],
    data: Sequence[str | Dataset],
    *,
    seeds: int | Sequence[int] = 5,
    steps: int | None = None,
    metrics: Sequence[str] = (),
    settings: Settings = QUIET,
    options: DataOptions | None = None,
    threads: int = 1,
) -> Plan:
    """A plan; everything is checked, nothing is trained or written.

    Args:
        methods: recipes, by name with settings (``"wgan-gp:optimizer.lr=1e-3"``) or as records.
        data: names of data, or data sets that have one.
        seeds: how many (0, 1, …), or which.
        steps: rounds of every run; None for each recipe's own.
        metrics: names; the methods are told apart by the first.
        settings: of every run.
        options: how the data are prepared.
        threads: of every worker.

    Raises:
        ConfigError: an argument is wrong, or a method does not fit a problem.
        DataError: data that cannot be read.
    """
    rows, problems = named(methods), _problems(data, options or DataOptions())
    if not rows or not problems:
        missing = "method" if not rows else "data"
        raise ConfigError(f"no {missing} was named", "equilibria compare gan wgan-gp --data ring8-U --seeds 5")
    numbers = tuple(range(whole("seeds", seeds, 1))) if isinstance(seeds, int) else tuple(map(seed_of, seeds))
    if not numbers or len(set(numbers)) < len(numbers):
        raise ConfigError(f"seeds={seeds!r}", "give a number of seeds, at least 1, or a list of different seeds")
    if steps is not None:
        whole("steps", steps, 1)
    pairs = [(method, problem) for problem in problems for method in rows]
    together = set()
    for method, problem in pairs:
        why_not = side_by_side.why_not(rows[method], problems[problem][1], settings)
        if not why_not and len(numbers) > 1:
            together.add((method, problem))
    rounds = {(method, problem): steps or rows[method].steps for method, problem in pairs}
    found = {name: one for name, (one, _) in problems.items()}
    return Plan(rows, found, numbers, rounds, frozenset(together), tuple(metrics), settings, threads)


def _problems(data: Sequence[str | Dataset], options: DataOptions) -> dict[str, tuple[Problem, Dataset]]:
    found: dict[str, tuple[Problem, Dataset]] = {}
    for one in data:
        rows = one if isinstance(one, Dataset) else load(one, options=options)
        if rows.source is None:
            raise ConfigError(
                f"the data '{rows.name}' were given in Python, and every worker opens them again",
                "save them: numpy.savez('mine.npz', x=x), and give 'mine.npz'",
            )
        name = one if isinstance(one, str) else rows.name
        if name in found:
            raise ConfigError(f"the data '{name}' are given twice", "leave one out")
        found[name] = Problem(rows.source, rows.options, _plain(rows.fingerprint())), rows
    _distinct("problem", found)
    return found


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return parsed(written(value).encode())


def default_folder(plan: Plan) -> Path:
    """``comparisons/…``, a function of the plan: the same command finds what it has begun.

    Examples:
        >>> default_folder(planned(["gan", "wgan-gp"], ["ring8-U"], seeds=1)).name[:15]
        '2-on-ring8-U-1s'
    """
    digest = hashlib.sha256(plan.written().encode()).hexdigest()[:6]
    words = f"{len(plan.methods)}-on-{'-'.join(map(filename, plan.problems))[:40]}-{len(plan.seeds)}s-{digest}"
    return Path("comparisons") / words


def kept(folder: Path, plan: Plan) -> Plan:
    """Write a plan into a new folder, or find the same one there.

    Raises:
        RunError: the folder holds something else, or another plan.
    """
    if (folder / FILE).is_file():
        text, was = plan.written(), parsed((folder / FILE).read_bytes())
        now = parsed(text.encode())
        different = [name for name in now if now[name] != was.get(name)]
        if different:
            raise RunError(
                f"{folder} holds a comparison with other {' and '.join(different)}",
                "give another --out, or the first command again",
            )
        return read(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"the folder {folder} exists already and holds no {FILE}", "choose another --out")
    disk.make_folder(folder)
    disk.write_atomically(folder / FILE, plan.written())
    return plan


def holds_plan(folder: Path) -> bool:
    """Whether a folder holds a comparison."""
    return (folder / FILE).is_file()


def read(folder: Path) -> Plan:
    """The plan of a folder.

    Raises:
        RunError: there is none, it is damaged, or a newer version wrote it.
    """
    file = folder / FILE
    try:
        values = parsed(file.read_bytes())
    except FileNotFoundError as error:
        near = [path.name for path in folder.parent.glob("*") if holds_plan(path)] if folder.parent.is_dir() else []
        fix = did_you_mean(folder.name, near) if near else "give the folder that `equilibria compare` made"
        raise RunError(f"{folder} holds no {FILE}", fix) from error
    except OSError as error:
        raise disk.read_error(error, file) from error
    except ValueError as error:
        raise RunError(f"{file} is damaged ({error})", "restore it from a copy; the runs are untouched") from error
    if isinstance(values, dict) and isinstance(values.get("format"), int) and values["format"] > FORMAT:
        raise RunError(f"{folder} was written by a newer version", "upgrade equilibria")
    try:
        with explained(folder, values):
            return Plan(
                methods={name: part(file, one, Recipe) for name, one in values["methods"].items()},
                problems={name: _problem(file, one) for name, one in values["problems"].items()},
                seeds=tuple(int(seed) for seed in values["seeds"]),
                rounds={(method, problem): int(rounds) for method, problem, rounds in values["rounds"]},
                together=frozenset((method, problem) for method, problem in values["together"]),
                metrics=tuple(values["metrics"]),
                settings=part(file, values["settings"], Settings),
                threads=int(values["threads"]),
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{file} is damaged ({error!r})", "restore it from a copy; the runs are untouched") from error


def _problem(file: Path, values: Mapping[str, Any]) -> Problem:
    return Problem(str(values["source"]), part(file, values["options"], DataOptions), dict(values["fingerprint"]))


def threads_for(jobs: int) -> int:
    """Threads of a worker where this many work on this machine at once."""
    return max(1, (os.cpu_count() or 1) // jobs)
