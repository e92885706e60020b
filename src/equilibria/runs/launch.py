"""Start a run and continue it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from ..base import distributed
from ..base.errors import ConfigError, EquilibriaError
from ..core.game import Game
from ..core.play import Play
from ..data import Dataset, load
from ..games.spec import GameSpec, OwnGame
from ..recipes import START, Recipe, Source, citation, default_for
from ..recipes import recipe as named
from ..training import Settings, checkpoint, engine, progress
from . import auto_remedy, creation, data_parallel, procedures, sources
from .folder import RunFolder
from .run import Run, data_again, open_run, opened, restored
from .session import Session
from .stopped import to_the_end


def train(
    recipe: str | Recipe | GameSpec | Game | None = None,
    data: Any = None,
    *,
    steps: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    settings: Settings | None = None,
    start: sources.Start | None = None,
    **modules: nn.Module,
) -> Run:
    """Train a recipe, or a game of your own, on data.

    Args:
        recipe: a name, a :class:`Recipe`, a game's record, or a :class:`~equilibria.core.game.Game`;
            None for the default, or for that of the run to start from.
        data: anything :func:`equilibria.data.load` takes, or a :class:`~equilibria.data.Dataset`; None for that of the
            run to start from.
        steps: rounds to play; None for what the recipe says.
        seed: all randomness of the run is a function of it.
        out: a folder that does not exist yet; None for one under ``runs/``.
        settings: device, precision, how often to log, sample and checkpoint.
        start: the folder of a finished run: the source that the recipe needs, or else the run whose parameters, buffers
            and averages training begins with (fine-tuning). Folders by name for a recipe with several sources.
            The weights are copied into the new run.
        modules: your own networks in place of the recipe's, by their names in the game (``generator=…``).

    Returns:
        The finished run.

    Raises:
        EquilibriaError: what is wrong with an argument, before anything is trained or written.
        RunStopped: a signal ended the training (Ctrl-C, SIGTERM, SIGHUP); a checkpoint of the last round was written,
            and the exception carries the run.

    Examples:
        >>> import tempfile, pathlib
        >>> out = pathlib.Path(tempfile.mkdtemp()) / "run"
        >>> run = train("wgan-gp", data="ring8-U", steps=2, out=out, settings=Settings(progress=False))
        >>> run.sample(3).shape
        torch.Size([3, 2])
    """
    with distributed.joined():
        run = _trained(recipe, data, modules, Order(steps, seed, out, settings or Settings(), start))
    return to_the_end(run)


@dataclass(frozen=True)
class Order:
    """How :func:`train` was called.

    Attributes:
        steps: rounds; None for the recipe's.
        seed: of the run.
        out: the folder; None for one under ``runs/``.
        settings: of the run.
        start: the run, or the runs by name, to start from.
        report: whether a report is written at the end.
    """

    steps: int | None
    seed: int
    out: str | Path | None
    settings: Settings
    start: sources.Start | None = None
    report: bool = True


def _trained(
    recipe: str | Recipe | GameSpec | Game | None, data: Any, modules: dict[str, nn.Module], order: Order
) -> Run:
    if order.out is not None:
        creation.refuse_existing(Path(order.out))
    chosen = order.settings
    progress.trackers_named(chosen.trackers)
    device = chosen.where()
    dataset = _data_of(data, order.start).to(device)
    row, game = _as_recipe(recipe, dataset, order.start)
    if row.cite:
        citation(row.cite)  # what the report cites at the end is known before anything is trained
    if game is not None and modules:
        raise ConfigError(f"{min(modules)}= beside a game made in Python", "build the game with it")
    rounds = row.steps if order.steps is None else order.steps
    if rounds < 1:
        raise ConfigError(f"steps={rounds}", "use at least 1")
    with sources.taken(sources.named(row, order.start)) as taken:
        run, chosen = _begun(taken.row, game, dataset, (modules, taken, rounds), order)
        run.path = data_parallel.begin(run.play, run.path, run.info, run.recipe, chosen)
        with data_parallel.held(run.path, run.info, taken.write):
            return _carry_out(run, chosen, None, order.report)


def _begun(
    row: Recipe,
    game: Game | None,
    data: Dataset,
    given: tuple[dict[str, nn.Module], sources.Taken, int],
    order: Order,
) -> tuple[Run, Settings]:
    """The run at round 0, and the settings with what was chosen for its networks; nothing is written yet."""
    modules, taken, rounds = given
    chosen, seed, device = order.settings, order.seed, order.settings.where()
    frozen = sources.modules(row, taken.folder, open_run)
    if row.procedure is not None:
        row, rounds = procedures.settled(row, rounds, data, seed, modules, frozen)
        play = procedures.joined(row, data.spec, (), seed, 0, device)
    else:
        batches, game = data.batches(row.batch), game or row.build(data.spec, seed, {**modules, **frozen})
        game, chosen = engine.settled(game, device, chosen, partial(batches, seed, 0))
        play = row.play(game, batches, seed=seed, horizon=rounds, settings=chosen)
        play.prepare()
        sources.begin(play, row, taken.folder)
    own = sorted(modules) or (["game"] if isinstance(row.game, OwnGame) else [])
    info = creation.described(row, data, chosen, own) | {"seed": seed, "steps": rounds, "horizon": rounds}
    path = Path(order.out or creation.default_folder(data.name, row.name, seed))
    return Run(path, info, row, play, data), chosen


def _data_of(data: Any, start: sources.Start | None) -> Dataset:
    """The data that were given, or else those of the run to start from.

    Raises:
        ConfigError: no data, and no single run to take them from.
    """
    if data is not None:
        return data if isinstance(data, Dataset) else load(data)
    if start is None or isinstance(start, Mapping):
        raise ConfigError("no data was given", "pass data=, for example data='digits'")
    return data_again(Path(start), RunFolder.open(start).info, None)


def resume(
    path: str | Path, data: Any = None, *, steps: int | None = None, device: str | None = None, **modules: Any
) -> Run:
    """Continue a run from its newest whole checkpoint, to the bit as if it had never stopped.

    Args:
        path: the run's folder.
        data: the data again, for a run whose data was given in Python.
        steps: play up to this round instead of what the run was made for.
        device: where to continue, if not where the run began; other hardware rounds otherwise.
        modules: your own networks again (``generator=…``), or ``game=…``, for a run that was made with them.

    Raises:
        RunError: no run, another process trains in it, or data or networks are not those of the run.
        RunStopped: a signal ended the training, as in :func:`train`.
    """
    with distributed.joined():
        run = _resumed(Path(path), data, modules, steps, device)
    return to_the_end(run)


def _resumed(
    folder: Path, data: Any, modules: dict[str, Any], steps: int | None, device: str | None, report: bool = True
) -> Run:
    with data_parallel.held(folder):
        run, settings = opened(folder, data, modules, device)
        saved = restored(run)
        if steps is not None and run.recipe.procedure is not None:
            raise ConfigError(f"steps={steps} for a run of several stages", "their rounds are fixed: leave it out")
        if steps is not None:
            if steps < run.play.round:
                raise ConfigError(f"steps={steps}, and {folder} is at round {run.play.round}", "ask for more rounds")
            run.info["steps"] = steps
        if saved is None and run.recipe.procedure is None:
            if checkpoint.listed(folder / "checkpoints"):
                warnings.warn(f"no checkpoint of {folder} is whole: it starts again from round 0", stacklevel=2)
            run.begin(run.play)
        data_parallel.begin(run.play, folder, run.info, run.recipe, settings)
        data_parallel.rewind(folder, run.info, run.play.round)
        return _carry_out(run, settings, saved, report)


def _as_recipe(
    given: str | Recipe | GameSpec | Game | None, data: Dataset, start: sources.Start | None
) -> tuple[Recipe, Game | None]:
    if given is None and isinstance(start, (str, Path)):
        return sources.recipe_of(Path(start), RunFolder.open(start).info), None
    if given is None:
        return default_for(data.spec), None
    if isinstance(given, str):
        return named(given), None
    if isinstance(given, Recipe):
        return given, None
    if isinstance(given, GameSpec):
        return _own_row(given), None
    if isinstance(given, Game):
        return _own_row(OwnGame(kind=type(given).__name__)), given
    raise ConfigError(f"a {type(given).__name__} is no recipe", "give a name, a Recipe, a game's record or a Game")


def _own_row(game: GameSpec) -> Recipe:
    return Recipe(name="own-game", year=0, cite="", source="yours", about="a game of your own", game=game)


def _played_with(run: Run, row: Recipe, settings: Settings) -> Play:
    """A fresh play of a changed recipe on the run's data; with the user's networks or game only the training changes.

    Raises:
        ConfigError: the change is not one of the training alone.
    """
    seed, game = int(run.info["seed"]), run.play.game
    if not run.info["own"]:
        frozen = sources.modules(row, run.path / "sources", open_run)
        game = engine.placed(row.build(run.spec, seed, frozen), run.play.device, settings)
    elif (row.game, row.networks) != (run.recipe.game, run.recipe.networks):
        raise ConfigError("a game made in Python is not made again", "change it yourself")
    horizon = int(run.info["horizon"])
    return row.play(game, run.data.batches(row.batch), seed=seed, horizon=horizon, settings=settings)


def _carry_out(run: Run, settings: Settings, resumed: checkpoint.Saved | None, report: bool = True) -> Run:
    """Train to the last round; leave an evaluation and a report."""
    if not distributed.here().is_first:
        return data_parallel.followed(run)
    if settings.progress and report:  # a stage has the data of the whole
        progress.announce(f"data: {run.data.described()}")
    if run.recipe.procedure is not None:
        _carry_out_stages(run, settings)
    elif settings.auto_remedy:
        auto_remedy.train_with_remedies(run, settings, resumed, lambda row: _played_with(run, row, settings))
    else:
        Session(run, settings, resumed).play()
    if run.finished and settings.evaluate:
        try:
            run.evaluate(classify=False)
        except EquilibriaError as error:  # samples of a user's game may not fit the data's metrics
            warnings.warn(f"the run is complete, and it was not evaluated: {error.what}", stacklevel=2)
    if report:
        run.report()
    return run


def _carry_out_stages(run: Run, settings: Settings) -> None:
    """Train the stages of a procedure, each an ordinary run that is evaluated and reported together with the whole."""
    here = replace(settings, device=str(run.play.device), evaluate=False)

    def train_stage(row: Recipe, data: Dataset, *, seed: int, out: Path, start: Path | None) -> Run:
        if start is not None:  # of the stage before, what fits: this one may be wider or finer
            row = replace(row, sources=(*row.sources, Source(name=START, run=str(start), partial=True)))
        return _trained(row, data, {}, Order(None, seed, out, here, report=False))

    def resume_stage(folder: Path, data: Dataset, *, device: str) -> Run:
        return _resumed(folder, data, {}, None, device, report=False)

    site = procedures.Site(run.path, run.recipe, run.data, int(run.info["seed"]), run.play.device)
    run.play, run.seconds = procedures.carry_out(site, procedures.Runs(train_stage, resume_stage, open_run))
