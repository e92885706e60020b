"""A recipe trained on data, with its folder: create it, continue it, open it, sample and judge it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import procedures, processes, ranks, remedying, runfolder, samples
from .data import DataOptions, Dataset, DataSpec, load
from .doctor import Diagnosis
from .errors import ConfigError, EquilibriaError, RunError
from .game import Batch, Batches, Game
from .games.spec import GameSpec, OwnGame
from .metrics import Measured
from .play import Play
from .recipes import Recipe, citation, default_for
from .recipes import recipe as named
from .seeding import mix, own_randomness, reseed
from .sessions import Session
from .training import Settings, checkpoint, checkups, disk, engine, hooks, progress


@dataclass
class Run:
    """A run: its folder, what run.json says, the recipe, and the live state.

    The data is opened when it is first asked for. Made by :func:`train`, :func:`resume` and :func:`open_run`.
    """

    path: Path
    info: dict[str, Any]
    recipe: Recipe
    play: Play
    given: Dataset | None = None
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether all rounds asked for have been played."""
        return self.play.round >= int(self.info["steps"])

    @property
    def spec(self) -> DataSpec:
        """What rows of the data are."""
        return runfolder.part(self.path, self.info["data"]["spec"], DataSpec)

    @property
    def data(self) -> Dataset:
        """The data that the run was trained on.

        Raises:
            RunError: it was given in Python, or is not what it was.
            DataError: its source is gone.
        """
        if self.given is None:
            self.given = data_again(self.path, self.info, None).to(self.play.device)
        return self.given

    def sample(self, n: int, labels: Tensor | Sequence[int] | None = None, seed: int = 0) -> Tensor:
        """``n`` samples of the averaged generator, ``(n, …)``, of an ensemble ``(members, n, …)``; fixed by the seed.

        Raises:
            ConfigError: ``n`` is below 1, labels for a game without labels, or not ``n`` of them.
        """
        asked = None if labels is None else torch.as_tensor(labels, dtype=torch.long, device=self.play.device)
        if asked is not None:
            classes = getattr(self.play.game, "classes", 0)
            if not classes:
                raise ConfigError("labels were asked for and this run's game has none", "leave them out")
            if asked.shape != (n,) or bool((asked < 0).any()) or bool((asked >= classes).any()):
                raise ConfigError(f"labels {asked[:8].tolist()}", f"give {n} whole numbers in 0…{classes - 1}")
        return samples.drawn(self.play, n, seed, asked)

    def evaluate(self, n: int | None = None, seed: int = 0, classify: bool = True) -> dict[str, Measured]:
        """Metrics of fresh samples, each beside what a perfect sampler of that size scores; kept in evaluation.json.

        With ``classify``, samples of labelled images are also judged by a classifier of the data, which is trained the
        first time (a minute for MNIST) and kept in the cache.

        Raises:
            ConfigError: too few samples.
        """
        judged = samples.judge(self.play, self.data, n, seed, classify)
        text = json.dumps({name: value.to_dict() for name, value in judged.items()}, indent=1)
        try:
            disk.write_atomically(self.path / "evaluation.json", text)
        except RunError as error:
            warnings.warn(f"the evaluation is not kept with the run: {error.what}", stacklevel=2)
        return judged

    def diagnose(self) -> Diagnosis:
        """What the doctor makes of the run: of its check-ups so far, and of a look at it as it is.

        Raises:
            RunError: the run cannot be examined, or its data is not at hand.
        """
        if self.recipe.procedure is not None:
            raise RunError(f"{self.path} is a run of several components", "diagnose those in its folder stages/")
        saved = checkpoint.listed(self.path / "checkpoints")
        at_round = next((p for p in saved if checkpoint.round_of(p) == self.play.round), None)
        return checkups.diagnosed(self.path, self.play, self.data, at_round)

    def report(self) -> Path:
        """Write report.html, one file that needs no network, and return its path."""
        return write_report(self.path, self.given)

    def rows(self) -> list[dict[str, Any]]:
        """What was logged, one dictionary per logged round."""
        return hooks.read_rows(self.path / "metrics.jsonl")

    def cite(self) -> str:
        """BibTeX of the paper behind the recipe; empty for a game of your own."""
        return cite(self.path)


@ranks.joined()
def train(
    recipe: str | Recipe | GameSpec | Game | None = None,
    data: Any = None,
    *,
    steps: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    settings: Settings | None = None,
    **modules: nn.Module,
) -> Run:
    """Train a recipe, or a game of your own, on data.

    Args:
        recipe: a name, a :class:`Recipe`, a game's record, or a :class:`~equilibria.game.Game`; None for the default.
        data: anything :func:`equilibria.data.load` takes, or a :class:`~equilibria.data.Dataset`.
        steps: rounds to play; None for what the recipe says.
        seed: all randomness of the run is a function of it.
        out: a folder that does not exist yet; None for one under ``runs/``.
        settings: device, precision, how often to log, sample and checkpoint.
        modules: your own networks in place of the recipe's, by their names in the game (``generator=…``).

    Returns:
        The finished run; unfinished if it was stopped by Ctrl-C (continue with :func:`resume`).

    Raises:
        EquilibriaError: what is wrong with an argument, before anything is trained or written.

    Examples:
        >>> import tempfile, pathlib
        >>> out = pathlib.Path(tempfile.mkdtemp()) / "run"
        >>> run = train("wgan-gp", data="ring8-U", steps=2, out=out, settings=Settings(progress=False))
        >>> run.sample(3).shape
        torch.Size([3, 2])
    """
    if data is None:
        raise ConfigError("no data was given", "pass data=, for example data='digits'")
    if out is not None:
        runfolder.refuse_existing(Path(out))
    chosen = settings or Settings()
    progress.trackers_named(chosen.trackers)
    device = chosen.where()
    dataset = (data if isinstance(data, Dataset) else load(data)).to(device)
    row, game = _as_recipe(recipe, dataset)
    if game is not None and modules:
        raise ConfigError(f"{min(modules)}= beside a game made in Python", "build the game with it")
    rounds = row.steps if steps is None else steps
    if rounds < 1:
        raise ConfigError(f"steps={rounds}", "use at least 1")
    batches, game = partial(_batch, dataset, row.batch), game or _built(row, dataset.spec, seed, modules)
    game, chosen = engine.settled(game, device, chosen, partial(batches, seed, 0))
    play = _play(row, game, batches, seed, rounds, chosen)
    play.prepare()
    if row.procedure is not None:  # the lone game was a trial: it fits the data, and so will the components
        row, plan = procedures.settled(row, row.procedure, rounds, dataset, modules)
        play, rounds = procedures.mixture((), plan, seed, device), rounds * plan.components
    own = sorted(modules) or (["game"] if isinstance(row.game, OwnGame) else [])
    info = runfolder.described(row, dataset, chosen, own) | {"seed": seed, "steps": rounds, "horizon": rounds}
    path = Path(out or runfolder.default_folder(dataset.name, row.name, seed))
    path = processes.begin(play, path, info, row, chosen)
    with processes.held(path, info):
        return _carry_out(Run(path, info, row, play, dataset), chosen, None)


@ranks.joined()
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
    """
    folder = Path(path)
    with processes.held(folder):
        run, settings = opened(folder, data, modules, device)
        saved = _restored(run)
        if steps is not None and run.recipe.procedure is not None:
            raise ConfigError(f"steps={steps} for a run of several components", "their rounds are fixed: leave it out")
        if steps is not None:
            if steps < run.play.round:
                raise ConfigError(f"steps={steps}, and {folder} is at round {run.play.round}", "ask for more rounds")
            run.info["steps"] = steps
        if saved is None:
            if checkpoint.listed(folder / "checkpoints"):
                warnings.warn(f"no checkpoint of {folder} is whole: it starts again from round 0", stacklevel=2)
            run.play.prepare()
        processes.begin(run.play, folder, run.info, run.recipe, settings)
        processes.rewind(folder, run.info, run.play.round)
        return _carry_out(run, settings, saved)


def open_run(path: str | Path, data: Any = None, **modules: Any) -> Run:
    """Open a run to sample from it, judge it or report on it, at its newest whole checkpoint.

    The data is opened when it is first asked for: samples need none.

    Raises:
        RunError: no run is there, it has no checkpoint, or it needs its networks again (see :func:`resume`).
    """
    folder = Path(path)
    run, _ = opened(folder, data, modules, reading=True)
    if _restored(run) is None and not run.play.round:
        raise RunError(f"{folder} has no whole checkpoint", f"train it: equilibria train --resume {folder}")
    return run


def write_report(path: Path, data: Dataset | None = None) -> Path:
    """Write a run's report.html from what is in its folder, over real points where the data is at hand.

    Raises:
        RunError: no run is there, or the file cannot be written.
    """
    from .reports import render

    info, real = runfolder.read(path), None
    if info["data"]["spec"].get("kind") == "vector":
        with suppress(EquilibriaError):  # a report without real points is a report
            real = (data or data_again(path, info, None)).take(2000)["x"].cpu()
    try:
        return render(path, bibtex=cite(path), real=real)
    except OSError as error:
        raise disk.disk_error(error, path / "report.html") from error


def cite(path: Path) -> str:
    """BibTeX of the paper behind a run's recipe; empty for a game of your own.

    Raises:
        RunError: no run is there.
    """
    key = runfolder.read(path)["recipe"].get("cite")
    return citation(key) if key else ""


def _as_recipe(given: str | Recipe | GameSpec | Game | None, data: Dataset) -> tuple[Recipe, Game | None]:
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


def _built(row: Recipe, spec: DataSpec, seed: int, modules: dict[str, nn.Module]) -> Game:
    with own_randomness():
        reseed(mix(seed, 5))
        return row.game.build(row.networks, spec, modules)


def _play(row: Recipe, game: Game, batches: Batches, seed: int, horizon: int, settings: Settings) -> Play:
    names = [player.name for player in game.players]
    return Play(
        game,
        row.update,
        {name: row.optimizer_of(name) for name in names},
        batches,
        seed=seed,
        horizon=horizon,
        averages=tuple(a for a in row.averages if a.player in names),
        precision=settings.precision,
        launch=engine.launched(next(game.parameters()).device, settings),
    )


def _played_with(run: Run, row: Recipe, settings: Settings) -> Play:
    """A fresh play of a changed recipe on the run's data; of networks or a game of one's own only the training changes.

    Raises:
        ConfigError: the change is not one of the training alone.
    """
    seed, game = int(run.info["seed"]), run.play.game
    if not run.info["own"]:
        game = engine.placed(_built(row, run.spec, seed, {}), run.play.device, settings)
    elif (row.game, row.networks) != (run.recipe.game, run.recipe.networks):
        raise ConfigError("a game made in Python is not made again", "change it yourself")
    return _play(row, game, partial(_batch, run.data, row.batch), seed, int(run.info["horizon"]), settings)


def _batch(data: Dataset, size: int, own: int, turn: int) -> Batch:
    return data.batch(size, own, turn)


def opened(
    path: Path, data: Any, modules: dict[str, Any], device: str | None = None, reading: bool = False
) -> tuple[Run, Settings]:
    """The run as run.json describes it, at round 0; for reading on any device, and without its data."""
    info = runfolder.read(path)
    row = runfolder.part(path, info["recipe"], Recipe)
    settings = runfolder.part(path, info["settings"], Settings)
    spec = runfolder.part(path, info["data"]["spec"], DataSpec)
    game = _game_again(path, info, row, spec, modules)
    where = replace(settings, device="auto" if reading else device or settings.device).where()
    given = None if reading and data is None else data_again(path, info, data).to(where)
    horizon, seed = int(info["horizon"]), int(info["seed"])
    game = engine.placed(game, where, settings)
    play = _play(row, game, lambda own, turn: run.data.batch(row.batch, own, turn), seed, horizon, settings)
    if row.procedure is not None:
        play = procedures.reopened(path, row.procedure, seed, where, open_run)
    run = Run(path, info, row, play, given)
    return run, settings


def _game_again(path: Path, info: dict[str, Any], row: Recipe, spec: DataSpec, modules: dict[str, Any]) -> Game:
    own, again = info["own"], "pass them again, built as before"
    if missing := [name for name in own if name not in modules]:
        raise RunError(f"{path} was trained with your own {', '.join(missing)}", f"{again}: resume(…, {missing[0]}=…)")
    if unknown := [name for name in modules if name not in own]:
        raise RunError(f"{path} was trained without a {unknown[0]} of yours", "leave it out")
    if "game" not in own:
        return _built(row, spec, int(info["seed"]), modules)
    game, kind = modules["game"], getattr(row.game, "kind", "Game")
    if not isinstance(game, Game) or type(game).__name__ != kind:
        raise RunError(f"{path} plays a {kind}, not a {type(game).__name__}", again)
    return game


def _restored(run: Run) -> checkpoint.Saved | None:
    """Bring the play to the newest whole checkpoint, if there is one."""
    saved = checkpoint.newest(run.path / "checkpoints")
    if saved is not None:
        run.play.load(saved.tensors, saved.round, saved.turn)
        run.seconds = saved.seconds
    return saved


def data_again(path: Path, info: dict[str, Any], given: Any) -> Dataset:
    """The data that a folder's ``info`` tells of, or the same data given again; refused where it is not the same."""
    was = info["data"]
    if given is None and was["source"] is None:
        raise RunError(f"the data of {path} was given in Python and is not kept with the run", "pass data= again")
    options = runfolder.part(path, was["options"], DataOptions)
    source = was["source"] if given is None else given
    data = source if isinstance(source, Dataset) else load(source, options=options)
    if data.fingerprint() != was["fingerprint"]:
        raise RunError(f"the data is not what {path} was trained on (its fingerprint differs)", "give the same data")
    return data


def _carry_out(run: Run, settings: Settings, resumed: checkpoint.Saved | None) -> Run:
    """Train to the last round; leave an evaluation and a report."""
    if not ranks.here().leads:
        return processes.followed(run)
    plan = run.recipe.procedure
    if plan is None and settings.auto_remedy:
        remedying.attend(run, settings, resumed, lambda row: _played_with(run, row, settings))
    elif plan is None:
        Session(run, settings, resumed).play()
    else:
        site = procedures.Site(run.path, plan, run.data, int(run.info["seed"]), run.play.device)
        row, here = replace(run.recipe, procedure=None), replace(settings, device=str(run.play.device), evaluate=False)
        how = procedures.Runs(partial(train, row, settings=here), resume, open_run)
        run.play, run.seconds = procedures.grow(site, how)
    if run.finished and settings.evaluate:
        try:
            run.evaluate(classify=False)
        except EquilibriaError as error:  # a game of one's own may sample what no metric of the data judges
            warnings.warn(f"the run is complete, and it was not evaluated: {error.what}", stacklevel=2)
    run.report()
    return run
