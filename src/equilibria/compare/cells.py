"""What came of a cell: its metrics, its cost and the doctor's verdict, read from its run folder."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import runs
from ..base.errors import RunError
from ..base.records import parsed, written
from ..core.updates import Alternating
from ..doctor import DiagnosisText
from ..runs.folder import RunFolder
from ..training import disk
from .plan import filename

FOLDER = "cells"


@dataclass(frozen=True)
class Cell:
    """One method on one problem with one seed.

    Attributes:
        method: its name in the comparison.
        problem: the name of the data.
        seed: of the run.
        status: ``"ok"``, or why there is no result (``"diverged at round 812"``).
        metrics: as :meth:`equilibria.metrics.Measured.to_dict` wrote them, by name.
        rounds: rounds that were played.
        cost: ``discriminator updates``, ``examples``, ``seconds`` and ``memory`` (MB), as far as they are known.
        state: the doctor's word for the run; empty if it did not look.
        findings: the conditions that it found, the cause first.
        run: the run's folder, relative to the comparison's where it is inside.
    """

    method: str
    problem: str
    seed: int
    status: str
    metrics: dict[str, dict[str, Any]]
    rounds: int
    cost: dict[str, float]
    state: str
    findings: tuple[str, ...]
    run: str

    @property
    def ok(self) -> bool:
        """Whether the run has a result."""
        return self.status == "ok"

    def value(self, metric: str) -> float:
        """A metric, signed so that less is better; infinite where there is no number: it ranks worst."""
        found = self.metrics.get(metric, {})
        number = found.get("value")
        if not self.ok or number is None:
            return math.inf
        return -float(number) if found.get("higher") else float(number)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "findings": list(self.findings)}


def read_run(method: str, problem: str, seed: int, path: Path, run: str, why: str = "", memory: float = 0.0) -> Cell:
    """The cell of a run that has come to its end.

    Args:
        method: its name in the comparison.
        problem: the name of the data.
        seed: of the run.
        path: the run's folder.
        run: how the folder is named in the result.
        why: that the run failed, if it did.
        memory: the most memory of the worker's process, in MB; 0 if it is not known.

    Raises:
        RunError: it has no evaluation, and has not failed.
    """
    folder = RunFolder.open(path, strict=False)
    diverged = folder.diverged
    status = why or ("" if diverged is None else f"diverged at round {diverged[0]}: {diverged[1]} is not finite")
    metrics = {} if status else folder.evaluation
    if not status and not metrics:
        raise RunError(f"{path} has no evaluation", f"equilibria evaluate {shlex.quote(str(path))}")
    diagnosis = DiagnosisText(folder.diagnosis)
    cost = _cost(path) | ({"memory": memory} if memory else {})
    found = tuple(finding.condition for finding in diagnosis.active)
    return Cell(method, problem, seed, status or "ok", metrics, folder.played, cost, diagnosis.state or "", found, run)


def _cost(path: Path) -> dict[str, float]:
    """What a run took. Where players alternate, all but the discriminator are taken to have one turn a round."""
    run = runs.open_run(path)
    play, others = run.play, len(run.play.game.players) - 1
    updates = play.turn - play.round * others if isinstance(play.rule, Alternating) else play.round
    return {
        "rounds": float(play.round),
        "discriminator updates": float(updates),
        "examples": float(updates * run.recipe.batch),
        "seconds": round(run.seconds, 3),
    }


def file_of(folder: Path, method: str, problem: str, seed: int) -> Path:
    """The file of a cell, in the folder of a comparison."""
    return folder / FOLDER / f"{filename(method)}+{filename(problem)}+s{seed}.json"


def keep(folder: Path, cell: Cell) -> None:
    """Write what came of a cell.

    Raises:
        RunError: the folder cannot be written.
    """
    disk.make_folder(folder / FOLDER)
    disk.write_atomically(file_of(folder, cell.method, cell.problem, cell.seed), written(cell.to_dict(), indent=1))


def read(file: Path) -> Cell | None:
    """The cell of a file; None if there is none yet.

    Raises:
        RunError: it is damaged.
    """
    try:
        values = parsed(file.read_bytes())
        return Cell(**{**values, "findings": tuple(values["findings"])})
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk.read_error(error, file) from error
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{file} is damaged ({error})", f"delete it, and give the command again: rm {shlex.quote(str(file))}"
        ) from error


def metric_names(cells: Iterable[Cell]) -> list[str]:
    """Names of all metrics, in the order in which they are first met."""
    return list(dict.fromkeys(name for cell in cells for name in cell.metrics))
