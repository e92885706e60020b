"""Start a run and continue it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from ..base import distributed
from ..base.arguments import instance, place, seed_of, whole
from ..base.errors import ConfigError, EquilibriaError
from ..base.schedules import Clock, schedules_in
from ..core.game import Game, refuse_incomplete
from ..core.play import Play
from ..data import Dataset, load
from ..games.spec import GameSpec, OwnGame
from ..recipes import START, Recipe, Source, citation, default_for
from ..recipes import recipe as named
from ..training import Settings, checkpoint, engine, progress
from . import auto_remedy, creation, data_parallel, extras, procedures, sources
from .asking import with_classes_of
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
    **more: Any,
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
        more: your own networks in place of the recipe's, by their names in the game (``generator=…``), and

            - ``batch``: real examples per turn; ``optimizer``: a record, or records by player: both in place of the
              recipe's, for a game of your own too;
            - ``hooks``: functions ``f(play, losses)`` that are called after every round, or objects with ``due``,
              ``look`` and ``close`` (:class:`~equilibria.training.Hook`); they read the play and must not change it;
            - ``metrics``: functions ``f(samples, real) -> float`` by name, the less the better; they are logged as
              ``quality/NAME`` at 20 rounds, and evaluated at the end beside what real rows score;
            - ``minutes``: train as many rounds as fit into this time on this machine, by the time of the first rounds,
              and at most ``steps``. Their number is written into run.json, so the run can be repeated.

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
        modules, own = extras.split(more)
        order = Order(steps, seed, out, settings or Settings(), start, more=more, extras=own).checked()
        run = _trained(recipe, data, modules, order)
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
        more: the further arguments of the call.
        extras: the hooks and metrics among them.
    """

    steps: int | None
    seed: int
    out: str | Path | None
    settings: Settings
    start: sources.Start | None = None
    report: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)
    extras: extras.Extras = field(default_factory=extras.Extras)

    def checked(self) -> Order:
        """The same, with arguments of the declared kinds.

        Raises:
            ConfigError: names the argument that is of another kind.
        """
        steps = None if self.steps is None else whole("steps", self.steps, None)
        out = None if self.out is None else place("out", self.out)
        settings = instance("settings", self.settings, Settings, "settings=equilibria.Settings()")
        if not isinstance(self.start, Mapping) and self.start is not None:
            place("start", self.start)
        return replace(self, steps=steps, seed=seed_of(self.seed), out=out, settings=settings)


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
    row = creation.with_batch_of(extras.changed(row, order.more), dataset)
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
        if order.more.get("minutes") is not None:
            raise ConfigError(f"minutes for the stages of '{row.name}'", "give steps, the rounds of each stage")
        row, rounds = procedures.settled(row, rounds, data, seed, modules, frozen)
        play = procedures.joined(row, data.spec, (), seed, 0, device)
    else:
        batches = data.batches(row.batch)
        game = with_classes_of(game or row.build(data.spec, seed, {**modules, **frozen}), data.spec)
        game, chosen = engine.settled(game, device, chosen, partial(batches, seed, 0))
        again = partial(row.play, batches=batches, seed=seed, settings=chosen)
        play = again(game, horizon=rounds)
        play.prepare()
        if isinstance(row.game, OwnGame):
            play.rehearse()
        if (minutes := order.more.get("minutes")) is not None:
            most = extras.rounds_in(minutes, play, again)
            rounds = most if order.steps is None else min(most, order.steps)
            play.horizon = rounds
        sources.begin(play, row, taken.folder)
    own = sorted(modules) or (["game"] if isinstance(row.game, OwnGame) else [])
    info = creation.described(row, data, chosen, own) | {"seed": seed, "steps": rounds, "horizon": rounds}
    if play.game.classes:
        info["classes_of_samples"] = "the classes of the data, in its shares"
    path = Path(order.out or creation.default_folder(data.name, row.name, seed))
    return Run(path, info, row, play, data, extras=order.extras), chosen


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
    path: str | Path,
    data: Any = None,
    *,
    steps: int | None = None,
    restart_schedules: bool = False,
    device: str | None = None,
    **more: Any,
) -> Run:
    """Continue a run from its newest whole checkpoint, to the bit as if it had never stopped.

    Args:
        path: the run's folder.
        data: the data again, for a run whose data was given in Python.
        steps: play up to this round instead of what the run was made for. Schedules (of learning rates, penalties,
            turns) end at the round that the run was made for: the added rounds are played with their last values.
        restart_schedules: begin the schedules again where the run is now, and end them at ``steps``.
        device: where to continue, if not where the run began; other hardware rounds otherwise.
        more: your own networks again (``generator=…``), or ``game=…``, for a run that was made with them; ``hooks``
            and ``metrics`` as in :func:`train`.

    Raises:
        RunError: no run, another process trains in it, or data or networks are not those of the run.
        RunStopped: a signal ended the training, as in :func:`train`.
    """
    with distributed.joined():
        modules, own = extras.split(more, ("hooks", "metrics"))
        longer = Longer(None if steps is None else whole("steps", steps, None), restart_schedules, own)
        run = _resumed(place("path", path), data, modules, longer, device)
    return to_the_end(run)


@dataclass(frozen=True)
class Longer:
    """How far a run is continued.

    Attributes:
        steps: the last round; None for that of the run.
        restart: whether the schedules begin again.
        extras: hooks and metrics.
    """

    steps: int | None = None
    restart: bool = False
    extras: extras.Extras = field(default_factory=extras.Extras)

    def set_of(self, run: Run, tell: bool) -> None:
        """Set the last round of a run, and say what its schedules do in the added rounds.

        Raises:
            ConfigError: fewer rounds than were played, a run of several stages, or schedules without added rounds.
        """
        if self.steps is None:
            if self.restart:
                raise ConfigError("schedules begin again over added rounds, and none were asked for", "give steps too")
            return
        if run.recipe.procedure is not None:
            raise ConfigError(f"steps={self.steps} for a run of several stages", "their rounds are fixed: leave it out")
        if self.steps < run.play.round:
            raise ConfigError(f"steps={self.steps}, and {run.path} is at round {run.play.round}", "ask for more rounds")
        run.info["steps"] = self.steps
        if self.restart:
            run.info |= {"horizon": self.steps, "schedules_from": run.play.round}
            run.play.horizon, run.play.schedules_from = self.steps, run.play.round
        elif tell and self.steps > run.play.horizon and (ended := list(schedules_in(run.recipe))):
            end = Clock(run.play.horizon - run.play.schedules_from, 1.0)
            values = ", ".join(f"{path}={_short(schedule(end))}" for path, schedule in ended)
            progress.announce(
                f"the schedules end at round {run.play.horizon:,}: the rounds after it are played with {values}; "
                "--restart-schedules (in Python: restart_schedules=True) begins them again"
            )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _resumed(
    folder: Path, data: Any, modules: dict[str, Any], longer: Longer, device: str | None, report: bool = True
) -> Run:
    with data_parallel.held(folder):
        run, settings = opened(folder, data, modules, device)
        saved = restored(run)
        run.extras = longer.extras
        longer.set_of(run, tell=settings.progress and distributed.here().is_first)
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
        refuse_incomplete(given)
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
    play = row.play(game, run.data.batches(row.batch), seed=seed, horizon=horizon, settings=settings)
    play.schedules_from = run.play.schedules_from
    return play


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
    if report and settings.report:
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
        return _resumed(folder, data, {}, Longer(), device, report=False)

    site = procedures.Site(run.path, run.recipe, run.data, int(run.info["seed"]), run.play.device)
    run.play, run.seconds = procedures.carry_out(site, procedures.Runs(train_stage, resume_stage, open_run))
