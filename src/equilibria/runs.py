"""A recipe trained on data, with its folder: create it, continue it, open it, sample and judge it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import metrics, runfolder
from .data import DataOptions, Dataset, load
from .errors import ConfigError, RunError
from .game import Game
from .games.spec import GameSpec, OwnGame
from .metrics import Measured
from .play import Play
from .recipes import Recipe, citation, default_for
from .recipes import recipe as named
from .records import decode, encode, record
from .seeding import mix, own_randomness, reseed
from .training import checkpoint, fit, hooks, progress


@record
class Settings:
    """How a run is carried out; nothing here changes what is learnt but the precision.

    Args:
        device: ``"auto"`` (an accelerator where there is one), ``"cpu"``, ``"cuda"``, …
        precision: ``"float32"``, or ``"bfloat16"`` (autocast; losses and slope penalties stay in float32).
        log_every: rounds between two lines of metrics.jsonl; None for 200 lines a run.
        sample_every: rounds between two kept samples; None for 12 a run.
        checkpoint_every: rounds between two checkpoints; None for 10 a run.
        keep: checkpoints kept, the newest.
        progress: whether to show a progress bar.
        trackers: ``"tensorboard"``, ``"wandb"``, …, through accelerate.
    """

    device: str = "auto"
    precision: str = "float32"
    log_every: int | None = None
    sample_every: int | None = None
    checkpoint_every: int | None = None
    keep: int = 3
    progress: bool = True
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.precision not in {"float32", "bfloat16"}:
            raise ConfigError(f"precision '{self.precision}'", "use float32 or bfloat16")
        for name in ("log_every", "sample_every", "checkpoint_every", "keep"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}={value}", "use at least 1")

    def where(self) -> torch.device:
        """The device.

        Raises:
            ConfigError: there is no such device here.
        """
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            return torch.zeros(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"device '{name}' is not available here", "use --device cpu") from error


@dataclass
class Run:
    """A run: its folder, what run.json says, the recipe, the data, and the live state.

    Made by :func:`train`, :func:`resume` and :func:`open_run`.
    """

    path: Path
    info: dict[str, Any]
    recipe: Recipe
    data: Dataset
    play: Play

    @property
    def finished(self) -> bool:
        """Whether all rounds asked for have been played."""
        return self.play.round >= int(self.info["steps"])

    def sample(self, n: int, labels: Tensor | Sequence[int] | None = None, seed: int = 0) -> Tensor:
        """``n`` samples of the averaged generator, ``(n, …)``; a function of the seed.

        Raises:
            ConfigError: labels for a game without labels, or not ``n`` of them.
        """
        given = None if labels is None else torch.as_tensor(labels, dtype=torch.long, device=self.play.device)
        if given is not None:
            classes = getattr(self.play.game, "classes", 0)
            if not classes:
                raise ConfigError("labels were asked for and this run's game has none", "leave them out")
            if given.shape != (n,) or bool((given < 0).any()) or bool((given >= classes).any()):
                raise ConfigError(f"labels of shape {tuple(given.shape)}", f"give {n} whole numbers in 0…{classes - 1}")
        return self.play.sample(n, seed, given).cpu()

    def evaluate(self, n: int | None = None, seed: int = 0) -> dict[str, Measured]:
        """Metrics of fresh samples, each beside what a perfect sampler of the same size scores; kept in evaluation.json."""
        judged = judge(self.play, self.data, n, seed)
        text = json.dumps({name: value.to_dict() for name, value in judged.items()}, indent=1)
        checkpoint.write_atomically(self.path / "evaluation.json", text)
        return judged

    def report(self) -> Path:
        """Write report.html, one file that needs no network, and return its path."""
        from .reports import render

        real = self.data.take(2000)["x"].cpu() if self.data.spec.kind == "vector" else None
        return render(self.path, bibtex=self.cite(), real=real)

    def rows(self) -> list[dict[str, Any]]:
        """What was logged, one dictionary per logged round."""
        return hooks.read_rows(self.path / "metrics.jsonl")

    def cite(self) -> str:
        """BibTeX of the paper behind the recipe; empty for a game of your own."""
        return citation(self.recipe.cite) if self.recipe.cite else ""


def judge(play: Play, data: Dataset, n: int | None = None, seed: int = 0) -> dict[str, Measured]:
    """Metrics of a play's samples against its data."""
    count = n or (2500 if data.law is not None else 2000)
    classes = getattr(play.game, "classes", 0)
    labels = torch.arange(count, device=play.device) % classes if classes else None
    samples = play.sample(count, mix(seed, 7), labels).cpu()
    return metrics.evaluate(samples, data, labels=None if labels is None else labels.cpu(), suite=metrics.Suite(seed=seed))


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
    chosen = settings or Settings()
    dataset = data if isinstance(data, Dataset) else load(data)
    row, game = _as_recipe(recipe, dataset)
    rounds = row.steps if steps is None else steps
    if rounds < 1:
        raise ConfigError(f"steps={rounds}", "use at least 1")
    play = _play(row, game, dataset, seed, rounds, chosen, modules)
    play.batches(seed, 0)  # data too small for the batch is refused before anything is written
    path = Path(out) if out is not None else runfolder.default_folder(dataset.name, row.name, seed)
    info = {
        "format": runfolder.FORMAT,
        "recipe": encode(row),
        "data": {
            "name": dataset.name,
            "source": dataset.source,
            "options": encode(dataset.options),
            "spec": encode(dataset.spec),
            "fingerprint": dataset.fingerprint(),
        },
        "seed": seed,
        "steps": rounds,
        "horizon": rounds,
        "own": sorted(modules) or ([type(game).__name__] if game else []),
        "settings": encode(chosen),
        **runfolder.surroundings(),
    }
    runfolder.create(path, info)
    play.prepare()
    run = Run(path, info, row, dataset.to(play.device), play)
    return _carry_out(run, chosen, seconds=0.0)


def resume(path: str | Path, data: Any = None, *, steps: int | None = None, **modules: Any) -> Run:
    """Continue a run from its newest whole checkpoint, to the bit as if it had never stopped.

    Args:
        path: the run's folder.
        data: the data again, for a run whose data was given in Python.
        steps: play up to this round instead of what the run was made for.
        modules: your own networks again (``generator=…``), or ``game=…``, for a run that was made with them.

    Raises:
        RunError: no run, another process trains in it, or data or networks are not those of the run.
    """
    run, seconds = _open(Path(path), data, modules)
    if steps is not None:
        run.info["steps"] = steps
        checkpoint.write_atomically(run.path / "run.json", json.dumps(run.info, indent=1))
    hooks.cut_rows(run.path / "metrics.jsonl", run.play.round)
    return _carry_out(run, decode(run.info["settings"]), seconds)


def open_run(path: str | Path, data: Any = None, **modules: Any) -> Run:
    """Open a run to sample from it, judge it or report on it, at its newest whole checkpoint.

    Raises:
        RunError: no run is there, or it needs its data or networks again (see :func:`resume`).
    """
    return _open(Path(path), data, modules)[0]


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


def _play(
    row: Recipe,
    game: Game | None,
    data: Dataset,
    seed: int,
    horizon: int,
    settings: Settings,
    modules: dict[str, nn.Module],
) -> Play:
    device = settings.where()
    with own_randomness():
        reseed(mix(seed, 5))
        game = game if game is not None else row.game.build(row.networks, data.spec, modules)
    game.to(device)
    moved = data.to(device)
    names = [p.name for p in game.players]
    return Play(
        game,
        row.update,
        {name: row.optimizer_of(name) for name in names},
        lambda own, turn: moved.batch(row.batch, own, turn),
        seed=seed,
        horizon=horizon,
        averages=tuple(a for a in row.averages if a.player in names),
        precision=settings.precision,
    )


def _open(path: Path, data: Any, modules: dict[str, Any]) -> tuple[Run, float]:
    info = runfolder.read(path)
    row: Recipe = decode(info["recipe"])
    settings: Settings = decode(info["settings"])
    game = modules.pop("game", None)
    missing = [name for name in info.get("own", []) if name not in modules and game is None]
    if missing:
        raise RunError(f"{path} was trained with your own {', '.join(missing)}", "pass them again, built as before")
    dataset = _data_again(path, info, data)
    play = _play(row, game, dataset, int(info["seed"]), int(info.get("horizon", info["steps"])), settings, modules)
    saved = checkpoint.newest(path / "checkpoints")
    if saved is None:
        play.prepare()
    else:
        play.load(saved.tensors, saved.round, saved.turn)
    return Run(path, info, row, dataset.to(play.device), play), saved.seconds if saved else 0.0


def _data_again(path: Path, info: dict[str, Any], given: Any) -> Dataset:
    was = info["data"]
    if given is None and was["source"] is None:
        raise RunError(f"the data of {path} was given in Python and is not kept with the run", "pass data= again")
    options: DataOptions = decode(was["options"])
    source = was["source"] if given is None else given
    data = source if isinstance(source, Dataset) else load(source, options=options)
    if data.fingerprint() != was["fingerprint"]:
        raise RunError(f"the data is not what {path} was trained on (its fingerprint differs)", "give the same data")
    return data


def _carry_out(run: Run, settings: Settings, seconds: float) -> Run:
    """Train to the last round with the hooks that settings ask for; leave a checkpoint and a report."""
    steps = int(run.info["steps"])
    log = hooks.Log(run.path / "metrics.jsonl", settings.log_every or max(1, steps // 200))
    saves = hooks.Checkpoints(
        run.path / "checkpoints", settings.checkpoint_every or max(1, steps // 10), settings.keep, seconds
    )
    pictures = progress.sample_hook(run.path, run.data, settings.sample_every or max(1, steps // 12), log)
    watching: list[hooks.Hook] = [log, pictures, saves]
    if settings.progress:
        watching.append(progress.Bar(log, steps, run.play.round))
    if settings.trackers:
        watching.append(progress.Trackers(log, settings.trackers, run.path))
    with runfolder.locked(run.path):
        if run.play.round == 0:
            saves.look(run.play, {})
        fit(run.play, steps, watching)
        if saves.saved != run.play.round:
            saves.look(run.play, {})
        if run.finished and run.data.law is not None:
            run.evaluate()
        run.report()
    return run
