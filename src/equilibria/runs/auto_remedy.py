"""Automatic remedies: after a critical finding the run goes back to before its onset and continues with the remedy."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..base.errors import EquilibriaError, RunError
from ..base.records import encode, written
from ..core.play import Play
from ..data import Dataset
from ..doctor import Diagnosis, Finding, Remedy, Severity
from ..recipes import Recipe
from ..training import Settings, best, checkpoint, disk, hooks
from ..training.checkups import ROWS
from .session import Live, Session

MOST = 3
"""Remedies applied to a run at most; if three do not help, a person has to decide."""
_KEPT = 12  # checkpoints: an onset may lie far before the check-up that confirms the finding
_SAMPLES = re.compile(r"step-(\d+)\.(npz|png)")


class RemediedRun(Live):
    """A run whose recipe may be changed."""

    recipe: Recipe


@dataclass(frozen=True)
class ChosenRemedy:
    """A remedy to apply, and the finding that calls for it.

    Attributes:
        step: the round of the check-up that made the finding.
        finding: what is wrong.
        remedy: what to change.
        recipe: the recipe with the change.
        play: a fresh play of that recipe.
    """

    step: int
    finding: Finding
    remedy: Remedy
    recipe: Recipe
    play: Play


class _RemedyNeededError(Exception):
    """Ends a session: a remedy is to be applied."""

    def __init__(self, chosen: ChosenRemedy) -> None:
        super().__init__(chosen.finding.condition)
        self.chosen = chosen


Again = Callable[[Recipe], Play]
"""Makes a fresh play of a changed recipe, at round 0; raises an EquilibriaError if the recipe does not fit the run."""


def train_with_remedies(run: Any, settings: Settings, resumed: checkpoint.Saved | None, again: Again) -> None:
    """Train a run to its end and apply a remedy after a critical finding, at most :data:`MOST` times.

    Args:
        run: the run; each remedy changes its recipe, its play and its ``run.json``.
        settings: the settings of the run.
        resumed: the checkpoint from which the play was continued.
        again: makes a fresh play of a changed recipe.

    Raises:
        EquilibriaError: the run has diverged, and no remedy is left.
    """
    settings, saved = replace(settings, keep=max(settings.keep, _KEPT)), resumed

    def alarm(diagnosis: Diagnosis) -> None:
        found = choose_remedy(run, diagnosis, again)
        if found is not None:
            raise _RemedyNeededError(found)

    while True:
        session = Session(run, settings, saved, alarm)
        try:
            session.play()
            return
        except _RemedyNeededError as needed:
            chosen = needed.chosen
        except EquilibriaError:  # the losses are not finite; the doctor has made a last check-up
            last = session.checkups.diagnosis if session.checkups is not None else None
            found = choose_remedy(run, last, again) if last is not None else None
            if found is None:
                raise
            chosen = found
        saved = apply_remedy(run, chosen)


def choose_remedy(run: Any, diagnosis: Diagnosis, again: Again) -> ChosenRemedy | None:
    """The best remedy of the first critical finding that has one: it changes the recipe and was not applied before."""
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
                return ChosenRemedy(diagnosis.step, finding, remedy, recipe, again(recipe))
            except (EquilibriaError, ValueError, TypeError, AttributeError):
                continue  # the recipe has no such setting, or the rest of the recipe does not allow it
    return None


def apply_remedy(run: Any, chosen: ChosenRemedy) -> checkpoint.Saved | None:
    """Take the run back to before the onset, with the remedy in its recipe; returns the checkpoint to continue from.

    Later checkpoints are deleted before ``run.json`` is written, so an interruption leaves a run that can be resumed.
    """
    folder, play = run.path / "checkpoints", chosen.play
    checkpoint.drop(folder, max(chosen.finding.onset - 1, 0))
    saved = checkpoint.newest(folder)
    if saved is not None:
        try:
            play.load(_without_others(saved.tensors, run.recipe, chosen), saved.round, saved.turn)
        except RunError:  # the remedy changed the shapes of networks: the saved parameters do not fit
            checkpoint.drop(folder, -1)
            saved = None
    if saved is None:
        run.begin(play)
    row = {
        "step": chosen.step,
        "rolled_back_to": play.round,
        "condition": chosen.finding.condition,
        "onset": chosen.finding.onset,
        "evidence": [str(evidence) for evidence in chosen.finding.evidence],
        "remedy": chosen.remedy.name,
        "what": chosen.remedy.what,
        "settings": dict(chosen.remedy.settings),
    }
    run.info.setdefault("recipe_at_start", run.info["recipe"])
    run.info["recipe"] = encode(chosen.recipe)
    run.info.setdefault("remedies", []).append(row)
    disk.write_atomically(run.path / "run.json", written(run.info, indent=1))
    run.recipe, run.play = chosen.recipe, play
    drop_later_rounds(run.path, play.round)
    warnings.warn(
        f"{row['condition']} since round {row['onset']}, found at round {row['step']}: back to round {play.round} "
        f"with '{row['remedy']}' ({row['what']})",
        stacklevel=2,
    )
    return saved


def _without_others(tensors: dict[str, Tensor], before: Recipe, chosen: ChosenRemedy) -> dict[str, Tensor]:
    """The saved tensors without the optimiser state of players whose kind of optimiser has changed."""
    names = [player.name for player in chosen.play.game.players]
    changed = {n for n in names if type(before.optimizer_of(n)) is not type(chosen.recipe.optimizer_of(n))}
    return {k: t for k, t in tensors.items() if not (k.startswith("opt/") and k.split("/")[1] in changed)}


def drop_later_rounds(path: Path, step: int) -> None:
    """Delete the logged rows and samples of rounds after ``step``, which are trained again."""
    for name in ("metrics.jsonl", ROWS):
        if (path / name).exists():
            hooks.cut_rows(path / name, step)
    best.drop_after(path, step)
    for file in (path / "samples").glob("step-*"):
        match = _SAMPLES.fullmatch(file.name)
        if match and int(match[1]) > step:
            file.unlink(missing_ok=True)


def _fits(recipe: Recipe, data: Dataset) -> bool:
    return data.size is None or recipe.batch <= data.size
