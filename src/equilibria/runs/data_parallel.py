"""A run on several processes: which games allow it, one common state, and which process writes.

Two processes with half a batch each give the weights of one process with the whole batch, up to rounding, if each
player's loss is a mean over rows. :func:`refuse_unfit` tests this before anything is written.
"""

from __future__ import annotations

import copy
import json
import math
import shlex
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..base import distributed
from ..base.errors import ConfigError, RunError
from ..base.randomness import mix, own_randomness, reseed
from ..base.records import written
from ..core.game import Draw, Game, Loss, gradients, make_draw
from ..core.play import Play
from ..recipes import Recipe
from ..training import Settings, best, checkups, disk, fit, hooks
from . import creation
from .folder import RunFolder
from .lock import locked
from .session import Live

L = TypeVar("L", bound=Live)
_ROUNDING = 1e-6  # relative, of gradients in float64; a loss that is not a mean over rows differs by far more
_AWAY = 0.02  # standard deviation of the noise added to parameters: at the start some terms have zero gradient
DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_NATIVE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def begin(play: Play, path: Path, info: dict[str, Any], row: Recipe, settings: Settings) -> Path:
    """Check that the processes may train this run together, and copy the first process's state to all.

    The number of processes is written into ``info``, the content of run.json.

    Returns:
        The first process's ``path``: a default folder name contains the date, which must be the same on all.

    Raises:
        ConfigError: the run or its game does not allow several processes, or its batch does not divide by them.
        RunError: the processes were not started with the same recipe, data, seed and rounds.
    """
    here = distributed.here()
    info["processes"] = here.count
    if here.count == 1:
        return path
    alone = "train on one process"
    if row.procedure is not None:
        raise ConfigError(
            f"'{row.name}' trains several games one after another, and {here.count} processes train one game", alone
        )
    if settings.auto_remedy:
        raise ConfigError(f"auto_remedy on {here.count} processes", f"leave it out, or {alone}")
    if play.game.seeds:
        raise ConfigError(f"an Ensemble on {here.count} processes", f"{alone}, or start a run of other seeds on each")
    if row.batch % here.count:
        fit_batch = max(1, row.batch // here.count) * here.count
        raise ConfigError(f"batch {row.batch} on {here.count} processes", f"use --set batch={fit_batch}")
    names = {name: [*tensor.shape] for name, tensor in play.tensors().items()}
    same = {name: info[name] for name in ("recipe", "seed", "steps")} | {"data": info["data"]["fingerprint"]}
    known = json.dumps([same, names, play.round, play.turn], sort_keys=True, default=str)
    if distributed.any_process(distributed.broadcast_text(known) != known):
        raise RunError(
            "the processes were started with different recipes, data, seeds, rounds or networks",
            "start all with the same command, the same data and the same run folder",
        )
    distributed.broadcast_tensors(list(play.tensors().values()))  # a user's own networks may have been made unseeded
    refuse_unfit(play)
    return Path(distributed.broadcast_text(str(path)))


@contextmanager
def held(path: Path, info: dict[str, Any] | None = None, fill: Callable[[Path], None] | None = None) -> Iterator[None]:
    """Lock a run's folder for writing; if ``info`` is given, make it first. The first process does it, the others wait.

    ``fill`` puts further files into a folder that is made, before it has its name.

    All processes leave together, after the first one has written the last file.

    Raises:
        RunError: the folder cannot be made or locked, or is not a run; or a process has ended (the fix says how to
            continue).
    """
    lock = locked(path)

    def take() -> None:
        if info is None:
            RunFolder.open(path)
        else:
            creation.create(path, info, fill)
        lock.__enter__()

    distributed.run_on_first(take)
    try:
        yield
        distributed.broadcast_text("")
    except distributed.ProcessLostError as error:
        again = f"equilibria train --resume {shlex.quote(str(path))}"
        fix = f"continue from the last checkpoint: {again} (on any number of processes)"
        raise RunError(error.what, fix) from error
    finally:
        if distributed.here().is_first:
            lock.__exit__(None, None, None)


def rewind(path: Path, info: dict[str, Any], round: int) -> None:
    """Cut the logs of a run to the round from which it continues, and write ``info`` to run.json if it has changed.

    Raises:
        RunError: a file cannot be written.
    """

    def write() -> None:
        if info != RunFolder.open(path).info:
            disk.write_atomically(path / "run.json", written(info, indent=1))
        for name in ("metrics.jsonl", checkups.ROWS):
            if (path / name).exists():
                hooks.cut_rows(path / name, round)
        best.drop_after(path, round)

    distributed.run_on_first(write)


def followed(run: L) -> L:
    """Train the run along with the first process, without hooks and without writing files."""
    fit(run.play, int(run.info["steps"]))
    return run


def refuse_unfit(play: Play) -> None:
    """Refuse a game whose losses are not means over rows, and one whose state depends on which rows a process has.

    All processes run one turn of each player, in float64, with a few rows each, on a copy of the game with noise added
    to its parameters. The mean of their gradients must equal the gradient of all these rows at once, and ``after`` must
    leave the same buffers. Dropout is switched off for the comparison, and a warning says so: its masks on several
    processes have the right distribution, but they are not the masks of one process.

    Raises:
        ConfigError: names the player and the relative difference of the gradients.
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
            if distributed.any_process(not _distance(*states) < _ROUNDING):
                raise ConfigError(
                    f"the buffers that the turn of '{player.name}' writes depend on which rows the process has",
                    "train on one process",
                )
    if dropped and here.is_first:
        warnings.warn(
            f"dropout on {here.count} processes has other masks than on one: the same distribution, not the same bits",
            stacklevel=2,
        )


def _few(play: Play, count: int) -> Draw:
    """The first rows of the first turn in float64, at half time; two rows per process if the batch has as many."""
    tensors = play.game.deal(play.batches, play.seed, 0, 0)
    wide = {n: t.double() if t.is_floating_point() else t for n, t in tensors.items()}
    rows = math.gcd(*(len(t) for name, t in wide.items() if name not in play.game.whole))
    each = next((n for n in (2 * count, count) if rows % n == 0), 1)
    draw = make_draw(wide, mix(play.seed, 0, 4), step=play.horizon // 2, time=0.5)
    return draw.part(0, rows // each, play.game.whole)


def _distance(whole: dict[str, Tensor], found: dict[str, Tensor]) -> float:
    """The norm of the difference relative to the norm of ``whole`` (at least 1e-9)."""
    if not whole:
        return 0.0
    a, b = (torch.cat([t.double().reshape(-1) for t in side.values()]) for side in (whole, found))
    return float((a - b).norm() / a.norm().clamp(min=1e-9))


def _compare(game: Game, player: str, apart: float) -> None:
    if not distributed.any_process(not apart < _ROUNDING):
        return
    native = next((name for name, part in game.named_modules() if isinstance(part, _NATIVE)), None)
    why = f" ('{native}' is torch's batch norm, which sees only the rows of its own process)" if native else ""
    raise ConfigError(
        f"the loss of '{player}' is not a mean over rows: the mean gradient of parts of a batch differs from the "
        f"gradient of the batch by {apart:.1%}{why}",
        "use equilibria.networks.BatchNorm in its place" if native else "train on one process",
    )


def _left_by(game: Game, player: str, draw: Draw, loss: Loss) -> dict[str, Tensor]:
    """The buffers after the player's turn; the game's own are then restored."""
    buffers = dict(game.named_buffers())
    before = {name: buffer.clone() for name, buffer in buffers.items()}
    reseed(draw.seed)
    with torch.no_grad():
        game.after(player, draw, loss.carry)
        left = {name: buffer.clone() for name, buffer in buffers.items()}
        for name, buffer in buffers.items():
            buffer.copy_(before[name])
    return left
