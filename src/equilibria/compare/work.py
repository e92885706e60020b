"""Training the cells of a comparison: one block after another, each claimed before it is begun."""

from __future__ import annotations

import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType

import torch

from .. import runs
from ..base import own_files
from ..base.errors import ConfigError, DataError, EquilibriaError, RunError
from ..data import Dataset
from ..runs import RunStopped, seeds
from . import cells
from .claims import Claims
from .plan import Block, Plan, folder_of, read

_POLL = 2.0
_STOPPED = 130
Told = Callable[[str], None]


def missing(folder: Path, plan: Plan) -> list[Block]:
    """The blocks that have a cell without a result, in order."""
    return [block for block in plan.blocks() if not _done(folder, block)]


def _done(folder: Path, block: Block) -> bool:
    return all(cells.file_of(folder, block.method, block.problem, seed).is_file() for seed in block.seeds)


def work(folder: Path, told: Told, *, only: int | None = None, once: bool = False) -> bool:
    """Train blocks that nobody else works on until every cell has a result.

    Args:
        folder: of the comparison.
        told: called with a line about each block.
        only: work on this block alone, by its number from 0 on (for arrays of jobs).
        once: work on one block and return.

    Returns:
        Whether every cell that was asked for has a result; False if a signal ended the work.

    Raises:
        ConfigError: there is no block of that number.
        RunError: the folder is damaged, or cannot be written.
    """
    plan, before = read(folder), torch.get_num_threads()
    torch.set_num_threads(plan.threads)
    try:
        return _worked(folder, plan, told, only, once)
    finally:
        torch.set_num_threads(before)


def _worked(folder: Path, plan: Plan, told: Told, only: int | None, once: bool) -> bool:
    blocks, claims = plan.blocks(), Claims(folder)
    if only is not None:
        if not 0 <= only < len(blocks):
            raise ConfigError(f"there is no cell {only} among {len(blocks)}", f"--cell 0 to --cell {len(blocks) - 1}")
        blocks = [blocks[only]]
    open_data = cache(lambda problem: plan.problems[problem].load().to(plan.settings.where()))
    while left := [block for block in blocks if not _done(folder, block)]:
        begun = False
        for block in left:
            with claims.held(block.name) as mine:
                if not mine or _done(folder, block):
                    continue
                begun = True
                told(f"{block.method} on {block.problem}, {_counted(block.seeds)}")
                if not _train(folder, plan, block, open_data(block.problem)):
                    return False
            if once:
                return True
        if not begun:
            if once:
                return True
            time.sleep(_POLL)  # the others work on what is left; if one ends early, its block is free again
    return True


def _counted(numbers: Sequence[int]) -> str:
    return f"seed {numbers[0]}" if len(numbers) == 1 else f"seeds {numbers[0]} to {numbers[-1]} side by side"


def _train(folder: Path, plan: Plan, block: Block, data: Dataset) -> bool:
    """Train or continue a block, and keep its cells. Returns False if a signal stopped it."""
    row, rounds = plan.methods[block.method], plan.rounds[block.method, block.problem]
    first = folder / folder_of(block.method, block.problem, block.seeds[0])
    failed: dict[int, str] = {}
    try:
        if block.together:
            done = seeds.train_seeds(
                row, data, seeds=block.seeds, steps=rounds, out=first.parent, settings=plan.settings
            )
            failed = dict(done.failed)
        elif first.exists():
            runs.resume(first, data)
        else:
            runs.train(row, data, steps=rounds, seed=block.seeds[0], out=first, settings=plan.settings)
    except RunStopped:
        return False
    except (ConfigError, DataError, RunError):
        raise
    except EquilibriaError as error:  # a loss that is not finite: a result of this cell
        failed[block.seeds[0]] = error.what
    for seed in block.seeds:
        path = folder_of(block.method, block.problem, seed)
        own = (block.method, block.problem, seed, folder / path, path.as_posix(), failed.get(seed, ""))
        cells.keep(folder, cells.read_run(*own, memory=_memory()))
    return True


def _memory() -> float:
    """The most memory that this process has had, in MB: an upper bound of what the last cell needed."""
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def work_in_processes(folder: Path, jobs: int) -> bool:
    """Let this many processes of this machine work until every cell has a result.

    Returns:
        Whether every cell has one.

    Raises:
        RunError: a process ended with an error; its last line is the message.
    """
    words = [sys.executable, "-m", "equilibria", "compare", "work", str(folder)]
    for file in own_files.in_use():
        words += ["--with", str(file.path)]
    with tempfile.TemporaryDirectory() as logs:
        errors = [Path(logs) / str(i) for i in range(jobs)]
        workers = [_started(words, log) for log in errors]
        try:
            with _ended_by_a_signal():
                codes = [worker.wait() for worker in workers]
        except KeyboardInterrupt:
            for worker in workers:
                worker.terminate()
            codes = [worker.wait() for worker in workers]
        for log, code in zip(errors, codes, strict=True):
            if code not in (0, _STOPPED):
                last = (log.read_text(encoding="utf-8").strip().splitlines() or ["no output"])[-2:]
                again = f"equilibria compare work {shlex.quote(str(folder))}"
                raise RunError(f"a worker ended with code {code}: {' '.join(last)}", again)
    return not missing(folder, read(folder))


def _started(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as errors:
        return subprocess.Popen(words, stderr=errors)


@contextmanager
def _ended_by_a_signal() -> Iterator[None]:
    """SIGTERM becomes KeyboardInterrupt inside, so that the workers are told."""

    def ask(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
