"""A run on several processes: which games it is right for, one state for all, and who writes.

Two processes with half a batch each give the weights of one process with the whole batch, up to rounding, if each
player's loss is a mean over rows. :func:`refuse_unfit` tries that out before anything is written.
"""

from __future__ import annotations

import copy
import json
import math
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..base import distributed
from ..base.errors import ConfigError, RunError
from ..base.randomness import mix, own_randomness, reseed
from ..core.game import Draw, Game, Loss, clocked, gradients
from ..core.play import Play
from ..recipes import Recipe
from ..training import Settings, checkups, disk, fit, hooks
from . import folder as run_folder
from .session import Live

L = TypeVar("L", bound=Live)
_ROUNDING = 1e-6  # of gradients in float64, relative: what is not a mean over rows is far above it
_AWAY = 0.02  # standard deviation of what is added to parameters: at the start some terms' gradients are zero
DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_NATIVE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def begin(play: Play, path: Path, info: dict[str, Any], row: Recipe, settings: Settings) -> Path:
    """Make sure that all processes may train this together, and give all the first one's state.

    ``info``, what run.json says, is told how many they are.

    Returns:
        The first process's ``path``: a default folder carries the date of one clock.

    Raises:
        ConfigError: the run or its game is not for several processes, or its batch does not divide by them.
        RunError: the processes were not started with the same recipe, data, seed and rounds.
    """
    here = distributed.here()
    info["processes"] = here.count
    if here.count == 1:
        return path
    alone = "train on one process"
    if row.procedure is not None:
        raise ConfigError(f"'{row.name}' trains several games in turn, and {here.count} processes train one", alone)
    if settings.auto_remedy:
        raise ConfigError(f"auto_remedy on {here.count} processes", f"leave it out, or {alone}")
    if play.game.seeds:
        raise ConfigError(f"an Ensemble on {here.count} processes", f"{alone}; give each process seeds of its own")
    if row.batch % here.count:
        fit_batch = max(1, row.batch // here.count) * here.count
        raise ConfigError(f"batch {row.batch} on {here.count} processes", f"use --set batch={fit_batch}")
    names = {name: [*tensor.shape] for name, tensor in play.tensors().items()}
    same = {name: info[name] for name in ("recipe", "seed", "steps")} | {"data": info["data"]["fingerprint"]}
    known = json.dumps([same, names, play.round, play.turn], sort_keys=True, default=str)
    if distributed.anyone(distributed.told(known) != known):
        raise RunError(
            "the processes were started with different recipes, data, seeds, rounds or networks",
            "start all with the same command, and let all see the same data and the same run folder",
        )
    distributed.copied(list(play.tensors().values()))  # networks of one's own may have been made without a seed
    refuse_unfit(play)
    return Path(distributed.told(str(path)))


@contextmanager
def held(path: Path, info: dict[str, Any] | None = None) -> Iterator[None]:
    """Hold a run's folder for writing, made anew where ``info`` is given: the first process does, the others wait.

    All leave together, when the first one has written the last file.

    Raises:
        RunError: the folder cannot be made or held, or is no run; or a process has ended, with the way to continue.
    """
    lock = run_folder.locked(path)

    def take() -> None:
        if info is None:
            run_folder.read(path)
        else:
            run_folder.create(path, info)
        lock.__enter__()

    distributed.led(take)
    try:
        yield
        distributed.told("")
    except distributed.GoneError as error:
        again = f"equilibria train --resume {shlex.quote(str(path))}"
        fix = f"continue from the last checkpoint: {again} (on any number of processes)"
        raise RunError(error.what, fix) from error
    finally:
        if distributed.here().leads:
            lock.__exit__(None, None, None)


def rewind(path: Path, info: dict[str, Any], round: int) -> None:
    """Bring a run's files to the round that it is continued from, and run.json to what it is continued with.

    Raises:
        RunError: one cannot be written.
    """

    def write() -> None:
        if info != run_folder.read(path):
            disk.write_atomically(path / "run.json", json.dumps(info, indent=1))
        for name in ("metrics.jsonl", checkups.ROWS):
            if (path / name).exists():
                hooks.cut_rows(path / name, round)

    distributed.led(write)


def followed(run: L) -> L:
    """The run, played along with the first process: nothing is looked at, nothing written."""
    fit(run.play, int(run.info["steps"]))
    return run


def refuse_unfit(play: Play) -> None:
    """Refuse a game whose losses are not means over rows, and one whose state depends on which rows a process has.

    All processes play one turn of each player, in float64, with a few rows each, on a copy of the game away from its
    start; the mean of their gradients must be the gradient of all these rows at once, and ``after`` must leave the same
    buffers. Dropout is left out of the comparison, and warned of: its masks are as good as those of one process, and
    others.

    Raises:
        ConfigError: names the player and how far the gradients are apart.
    """
    here = distributed.here()
    game = copy.deepcopy(play.game).double()
    dropped = [layer for layer in game.modules() if isinstance(layer, DROPOUT) and layer.p > 0]
    for layer in dropped:
        layer.p = 0.0
    with own_randomness():
        with torch.no_grad():
            reseed(mix(play.seed, 6))
            for parameter in game.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=_AWAY)
            draw = _few(play, here.count)
        for player in game.players:
            whole, loss = gradients(game, player.name, draw)
            part = draw.part(here.rank, here.count, game.whole)
            with distributed.together():
                found, part_loss = gradients(game, player.name, part)
            _compare(game, player.name, _distance(whole, found))
            states = [_left_by(game, player.name, *turn) for turn in ((draw, loss), (part, part_loss))]
            if distributed.anyone(not _distance(*states) < _ROUNDING):
                raise ConfigError(
                    f"what the turn of '{player.name}' writes into the game's buffers depends on the process's rows",
                    "train on one process",
                )
    if dropped and here.leads:
        warnings.warn(
            f"dropout on {here.count} processes has other masks than on one: the same law, not the same numbers",
            stacklevel=2,
        )


def _few(play: Play, count: int) -> Draw:
    """The first rows of the first turn, two for each process where the batch has them, in float64, in mid-run."""
    tensors = play.game.deal(play.batches, play.seed, 0, 0)
    wide = {n: t.double() if t.is_floating_point() else t for n, t in tensors.items()}
    rows = math.gcd(*(len(t) for name, t in wide.items() if name not in play.game.whole))
    each = next((n for n in (2 * count, count) if rows % n == 0), 1)
    draw = clocked(wide, mix(play.seed, 0, 4), step=play.horizon // 2, time=0.5)
    return draw.part(0, rows // each, play.game.whole)


def _distance(whole: dict[str, Tensor], found: dict[str, Tensor]) -> float:
    """The norm of the difference relative to that of ``whole``; rounding of a zero counts as zero."""
    if not whole:
        return 0.0
    a, b = (torch.cat([t.double().reshape(-1) for t in side.values()]) for side in (whole, found))
    return float((a - b).norm() / a.norm().clamp(min=1e-9))


def _compare(game: Game, player: str, apart: float) -> None:
    if not distributed.anyone(not apart < _ROUNDING):
        return
    native = next((name for name, part in game.named_modules() if isinstance(part, _NATIVE)), None)
    why = f" ('{native}' is torch's batch norm, which sees its own rows only)" if native else ""
    raise ConfigError(
        f"the loss of '{player}' is no mean over rows: parts of a batch have another mean gradient than the whole, "
        f"by {apart:.1%}{why}",
        "use equilibria.networks.BatchNorm in its place" if native else "train on one process",
    )


def _left_by(game: Game, player: str, draw: Draw, loss: Loss) -> dict[str, Tensor]:
    """The buffers after the player's turn, which are then put back."""
    buffers = dict(game.named_buffers())
    before = {name: buffer.clone() for name, buffer in buffers.items()}
    reseed(draw.seed)
    with torch.no_grad():
        game.after(player, draw, loss.carry)
        left = {name: buffer.clone() for name, buffer in buffers.items()}
        for name, buffer in buffers.items():
            buffer.copy_(before[name])
    return left
