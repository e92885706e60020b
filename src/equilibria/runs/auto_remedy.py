"""A run under treatment: when the doctor finds something critical, back to before its onset, and on with the remedy."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..base.errors import EquilibriaError, RunError
from ..base.records import encode
from ..core.play import Play
from ..data import Dataset
from ..doctor import Diagnosis, Finding, Remedy, Severity
from ..recipes import Recipe
from ..training import Settings, checkpoint, disk, hooks
from ..training.checkups import ROWS
from .session import Live, Session

MOST = 3
"""Remedies that a run is given; what three do not cure needs a person."""
_KEPT = 12  # checkpoints: an onset may lie far behind the check-up that is sure of it
_SAMPLES = re.compile(r"step-(\d+)\.(npz|png)")


class Treated(Live):
    """A run whose recipe may be changed."""

    recipe: Recipe


@dataclass(frozen=True)
class Prescription:
    """What is to be done, and why.

    Attributes:
        step: the round at which it was found.
        finding: what is wrong.
        remedy: what to change.
        recipe: the recipe with the change made.
        play: a fresh play of it.
    """

    step: int
    finding: Finding
    remedy: Remedy
    recipe: Recipe
    play: Play


class _CalledError(Exception):
    """Ends a session: there is something to be done."""

    def __init__(self, prescription: Prescription) -> None:
        super().__init__(prescription.finding.condition.value)
        self.prescription = prescription


Again = Callable[[Recipe], Play]
"""A fresh play of a changed recipe, at round 0; it raises an EquilibriaError where the recipe does not fit the run."""


def attend(run: Any, settings: Settings, resumed: checkpoint.Saved | None, again: Again) -> None:
    """Play a run to its end; at most :data:`MOST` times something critical is remedied on the way.

    Args:
        run: the run; its recipe, play and ``run.json`` are changed with each remedy.
        settings: how it is carried out.
        resumed: the checkpoint that the play was continued from.
        again: makes a fresh play of a changed recipe.

    Raises:
        EquilibriaError: the run has diverged, and no remedy is left.
    """
    settings, saved = replace(settings, keep=max(settings.keep, _KEPT)), resumed

    def alarm(diagnosis: Diagnosis) -> None:
        found = prescribed(run, diagnosis, again)
        if found is not None:
            raise _CalledError(found)

    while True:
        session = Session(run, settings, saved, alarm)
        try:
            session.play()
            return
        except _CalledError as called:
            chosen = called.prescription
        except EquilibriaError:  # the losses are no numbers any more; the doctor has had a last look
            said = session.checkups.diagnosis if session.checkups is not None else None
            found = prescribed(run, said, again) if said is not None else None
            if found is None:
                raise
            chosen = found
        saved = treat(run, chosen)


def prescribed(run: Any, diagnosis: Diagnosis, again: Again) -> Prescription | None:
    """The best remedy for the first critical finding that has one: it changes the recipe, and was not given before."""
    given = run.info.get("remedies", [])
    if len(given) >= MOST:
        return None
    tried = {row["remedy"] for row in given}
    for finding in diagnosis.active:
        if finding.severity is not Severity.CRITICAL:
            continue
        for remedy in finding.remedies:
            if not remedy.settings or remedy.name in tried:
                continue
            try:
                recipe = remedy.apply(run.recipe)
                if recipe == run.recipe or not _fits(recipe, run.data):
                    continue
                return Prescription(diagnosis.step, finding, remedy, recipe, again(recipe))
            except (EquilibriaError, ValueError, TypeError, AttributeError):
                continue  # the recipe has no such setting, or the setting does not go with the rest of it
    return None


def treat(run: Any, chosen: Prescription) -> checkpoint.Saved | None:
    """Take the run back to before the onset, with the remedy in its recipe; the checkpoint it goes on from.

    Later checkpoints go first and ``run.json`` is written after: whenever this is interrupted, the run can be resumed.
    """
    folder, play = run.path / "checkpoints", chosen.play
    checkpoint.drop(folder, max(chosen.finding.onset - 1, 0))
    saved = checkpoint.newest(folder)
    if saved is not None:
        try:
            play.load(_without_others(saved.tensors, run.recipe, chosen), saved.round, saved.turn)
        except RunError:  # networks of other shapes: what was learnt does not fit them
            checkpoint.drop(folder, -1)
            saved = None
    if saved is None:
        play.prepare()
    row = {
        "step": chosen.step,
        "rolled_back_to": play.round,
        "condition": chosen.finding.condition.value,
        "onset": chosen.finding.onset,
        "evidence": [str(evidence) for evidence in chosen.finding.evidence],
        "remedy": chosen.remedy.name,
        "what": chosen.remedy.what,
        "settings": dict(chosen.remedy.settings),
    }
    run.info.setdefault("recipe_at_start", run.info["recipe"])
    run.info["recipe"] = encode(chosen.recipe)
    run.info.setdefault("remedies", []).append(row)
    disk.write_atomically(run.path / "run.json", json.dumps(run.info, indent=1))
    run.recipe, run.play = chosen.recipe, play
    cut(run.path, play.round)
    warnings.warn(
        f"{row['condition']} since round {row['onset']}, found at round {row['step']}: back to round {play.round} "
        f"with '{row['remedy']}' ({row['what']})",
        stacklevel=2,
    )
    return saved


def _without_others(tensors: dict[str, Tensor], before: Recipe, chosen: Prescription) -> dict[str, Tensor]:
    """What was saved, less what an optimiser of another kind would not know."""
    names = [player.name for player in chosen.play.game.players]
    changed = {n for n in names if type(before.optimizer_of(n)) is not type(chosen.recipe.optimizer_of(n))}
    return {k: t for k, t in tensors.items() if not (k.startswith("opt/") and k.split("/")[1] in changed)}


def cut(path: Path, step: int) -> None:
    """Drop what a run's folder says of rounds after ``step``, which are to be played again."""
    for name in ("metrics.jsonl", ROWS):
        if (path / name).exists():
            hooks.cut_rows(path / name, step)
    for file in (path / "samples").glob("step-*"):
        match = _SAMPLES.fullmatch(file.name)
        if match and int(match[1]) > step:
            file.unlink(missing_ok=True)


def _fits(recipe: Recipe, data: Dataset) -> bool:
    return data.size is None or recipe.batch <= data.size
