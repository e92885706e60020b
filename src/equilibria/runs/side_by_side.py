"""Runs of one recipe trained side by side as one ensemble, each with its own folder, hooks and checkpoints."""

from __future__ import annotations

import copy
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from .. import runs
from ..base.errors import ConfigError, DataError, EquilibriaError, RunError
from ..base.randomness import mix, own_randomness, reseed
from ..core.ensemble import Ensemble
from ..core.game import Batch, Batches, Game, Loss
from ..core.optimizers import SGD
from ..core.play import Play
from ..data import Dataset
from ..recipes import Recipe
from ..training import Hook, Settings, checkpoint, fit, progress
from . import creation, data_parallel
from .lock import locked
from .session import Session

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_ROUNDING = 1e-2  # relative to one round's step in float32; the error of a wrong ensemble is far larger


@dataclass(frozen=True)
class Group:
    """The runs that are trained side by side: a folder per seed, and what they have in common."""

    folders: dict[int, Path]
    row: Recipe
    data: Dataset
    settings: Settings
    steps: int


def why_not(row: Recipe, data: Dataset, settings: Settings) -> str:
    """The reason to train these games one after another; empty if side by side is correct and faster.

    It is tested: one round of an ensemble of two must equal one round of the two games trained separately.
    """
    if row.procedure is not None:
        return f"'{row.name}' trains several games one after another"
    if row.sources:
        return f"'{row.name}' starts from another run"
    if settings.trackers:
        return "trackers follow one run at a time"
    if settings.precision != "float32":
        return "bfloat16 rounds too much for a member to equal its separate run"

    def batches(seed: int, turn: int) -> Batch:
        return data.batch(row.batch, seed, turn)

    with own_randomness():
        games = []
        for seed in range(2):
            reseed(mix(seed, 5))
            games.append(row.game.build(row.networks, data.spec, {}).to(settings.where()))
    if any(isinstance(part, _CONVOLUTIONS) for part in games[0].modules()):
        return "networks with convolutions are not faster side by side"
    if any(isinstance(part, data_parallel.DROPOUT) and part.p > 0 for part in games[0].modules()):
        return "dropout has different masks side by side than in a separate run"
    try:
        difference = _relative_difference(games, row, batches)
    except (RuntimeError, NotImplementedError, ValueError, EquilibriaError) as error:
        return f"it does not run side by side ({(str(error).splitlines() or ['?'])[0][:120]})"
    return "" if difference < _ROUNDING else f"side by side a round differs from the separate run by {difference:.1%}"


def _relative_difference(games: list[Game], row: Recipe, batches: Batches) -> float:
    """Distance of members from separate games after one round of gradient descent, relative to the games' movement."""
    ensemble = Ensemble(lambda seed: copy.deepcopy(games[seed]), range(len(games)))
    before = [[p.detach().clone() for p in game.parameters()] for game in games]
    for seed, game in [*enumerate(games), (0, ensemble)]:
        # Gradient descent, not Adam: Adam's first step has full size for any gradient, so it would amplify rounding.
        play = Play(game, row.update, {p.name: SGD(lr=0.1) for p in game.players}, batches, seed=seed)
        play.prepare()
        play.advance()
    off, moved = 0.0, 0.0
    for i, game in enumerate(games):
        rows = zip(before[i], game.parameters(), ensemble.member(i).parameters(), strict=True)
        for start, separate, member in rows:
            off += float((separate - member).detach().square().sum())
            moved += float((separate - start).detach().square().sum())
    return float("inf") if not moved else (off / moved) ** 0.5


def play(group: Group) -> dict[int, str]:
    """Train the group from its newest common checkpoint to the last round, or until a signal stops it.

    Each run gets a last checkpoint; :func:`equilibria.runs.resume` then evaluates it.

    Returns:
        The error message of each seed that diverged.

    Raises:
        RunError: a folder is locked by another process, damaged, or cannot be written.
    """
    _create(group)
    with ExitStack() as held:
        for folder in group.folders.values():
            held.enter_context(locked(folder))
        opened = {seed: runs.opened(folder, group.data, {})[0] for seed, folder in group.folders.items()}
        saved = _common(list(group.folders.values()))
        members = list(opened.values())
        whole = _ensemble(list(opened), [run.play for run in members])
        if saved is None:
            whole.prepare()
        else:
            whole.load(_stacked([one.tensors for one in saved], whole.game), saved[0].round, saved[0].turn)
        sessions = {}
        for i, (seed, run) in enumerate(opened.items()):
            one = None if saved is None else saved[i]
            checkpoint.drop(run.path / "checkpoints", whole.round)
            data_parallel.rewind(run.path, run.info, whole.round)
            run.seconds = one.seconds if one else 0.0
            _give(whole, i, run.play)
            sessions[seed] = Session(run, group.settings, one)
        return _play_on(whole, sessions, group)


def _create(group: Group) -> None:
    missing = {seed: folder for seed, folder in group.folders.items() if not folder.exists()}
    if not missing:
        return
    info = creation.described(group.row, group.data, group.settings, [])
    info |= {"steps": group.steps, "horizon": group.steps, "processes": 1, "beside": list(group.folders)}
    for seed, folder in missing.items():
        creation.create(folder, info | {"seed": seed})


def _common(folders: list[Path]) -> list[checkpoint.Saved] | None:
    """The checkpoints of the newest round for which every run has a complete one; None if there is no such round."""
    rounds = [{checkpoint.round_of(p): p for p in checkpoint.listed(folder / "checkpoints")} for folder in folders]
    for number in sorted(set.intersection(*(set(own) for own in rounds)), reverse=True):
        try:
            return [checkpoint.read(own[number]) for own in rounds]
        except checkpoint.DamagedError:
            continue
    return None


def _ensemble(seeds: list[int], plays: list[Play]) -> Play:
    games = {seed: own.game for seed, own in zip(seeds, plays, strict=True)}
    first = plays[0]
    return Play(
        Ensemble(lambda seed: copy.deepcopy(games[seed]), seeds),
        first.rule,
        first.specs,
        first.batches,
        horizon=first.horizon,
        averages=first.averages,
        precision=first.precision,
        launch=first.launch.fresh(),
    )


def _give(whole: Play, i: int, own: Play) -> None:
    """Copy a member's state from the ensemble's play into the member's own play."""
    assert isinstance(whole.game, Ensemble)
    own.load(whole.game.member_tensors(whole.tensors(), i), whole.round, whole.turn)


def _stacked(parts: list[dict[str, Tensor]], game: Game) -> dict[str, Tensor]:
    assert isinstance(game, Ensemble)
    return game.stacked_tensors(parts)


class _Members:
    """One hook of the ensemble's play that calls the hooks of every run with that run's own play and losses."""

    def __init__(self, sessions: dict[int, Session]) -> None:
        self.failed: dict[int, str] = {}
        self.sessions = sessions
        self.watching: dict[int, list[Hook]] = {}
        for seed, one in sessions.items():
            self.watching[seed] = one.hooks

    def due(self, step: int) -> bool:
        return any(hook.due(step) for watching in self.watching.values() for hook in watching)

    def look(self, play: Play, losses: dict[str, Loss]) -> None:
        for i, (seed, watching) in enumerate(self.watching.items()):
            due = [hook for hook in watching if seed not in self.failed and hook.due(play.round)]
            if not due:
                continue
            own = self.sessions[seed].run.play
            _give(play, i, own)
            try:
                for hook in due:
                    hook.look(own, {name: _of(loss, i) for name, loss in losses.items()})
            except (ConfigError, DataError, RunError):
                raise
            except EquilibriaError as error:  # its loss is not finite; the other members are not affected
                self.failed[seed] = error.what
        if len(self.failed) == len(self.sessions):
            raise _AllFailedError

    def close(self, play: Play) -> None:
        for seed, watching in self.watching.items():
            for hook in watching:
                hook.close(self.sessions[seed].run.play)


class _AllFailedError(Exception):
    """Every member has diverged."""


def _of(loss: Loss, i: int) -> Loss:
    """A member's part of an ensemble's loss."""
    parts = {name: value[i] for name, value in loss.parts.items() if name != "each"}
    return Loss(loss.parts["each"][i], parts)


def _play_on(whole: Play, sessions: dict[int, Session], group: Group) -> dict[int, str]:
    members = _Members(sessions)
    watching: list[Hook] = [members]
    if group.settings.progress:
        first = next(iter(sessions.values()))
        progress.announce(f"data: {first.run.data.described()}")
        watching.append(progress.Bar(first.log, group.steps, whole.round))
    begun = time.monotonic()
    try:
        for one in sessions.values():
            one.saves.look(one.run.play, {})
        fit(whole, group.steps, watching)
    except _AllFailedError:
        return members.failed
    share = (time.monotonic() - begun) / len(sessions)
    for i, (seed, one) in enumerate(sessions.items()):
        if seed not in members.failed:
            _give(whole, i, one.run.play)
            one.saves.before, one.saves.started = one.run.seconds + share, time.monotonic()
            try:
                one.saves.look(one.run.play, {})
            except (ConfigError, DataError, RunError):
                raise
            except EquilibriaError as error:  # it has diverged since its last logged round
                members.failed[seed] = error.what
    return members.failed
