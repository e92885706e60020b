"""`equilibria train`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ..base.errors import ConfigError
from ..base.records import written
from . import workers
from .console import UNFINISHED, JsonFlag, WithFiles, app, print_table, quoted, say
from .results import print_diagnosis, print_metrics, stored_diagnosis
from .settings import applied, from_options, grouped, refuse_misplaced

_Setting = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="key=value: a setting of the recipe (batch=128, optimizer.lr=1e-4, game.objective=hinge, "
        "game.penalties=r1,r2), of the data (data.size=32) or of the run (run.checkpoint_every=500, run.doctor=false, "
        "run.trackers=tensorboard). Repeatable; applied in order.",
    ),
]
_Seeds = Annotated[
    int | None,
    typer.Option(
        help="Train this many seeds, from --seed on: one run each in one folder, simultaneously if the game allows it, "
        "and mean, 95 % interval and median of each metric. The same command with --out continues them."
    ),
]

_Data = Annotated[
    str | None,
    typer.Option(help="ring8-U, grid25, digits, mnist, …, a folder or .zip of images, a .npz or .npy, or hf:NAME."),
]
_Resume = Annotated[
    Path | None,
    typer.Option(help="Continue this run; --steps can set a larger number of rounds, --device another device."),
]
_Minutes = Annotated[
    float | None,
    typer.Option(
        help="Train as many rounds as fit into this time on this machine, and at most --steps, by the time of the "
        "first rounds; run.json has their number."
    ),
]
_Restart = Annotated[
    bool,
    typer.Option(
        "--restart-schedules",
        help="With --resume and --steps: schedules (of learning rates, …) begin again now and end at --steps; else "
        "the added rounds are played with their last values.",
    ),
]
_From = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        help="A finished run to start from: its weights, or the run that the recipe needs. Recipe "
        "and data are those of that run if not given. NAME=RUN for one of several sources.",
    ),
]
_AutoRemedy = Annotated[
    bool,
    typer.Option(
        "--auto-remedy", help="After a critical finding, go back to a checkpoint and continue with the doctor's remedy."
    ),
]


@app.command()
def train(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(help="A recipe (see `equilibria recipes`); a default if not given."),
    ] = None,
    data: _Data = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Number of rounds (a round is one turn of every player); the recipe's if not given."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all randomness of the run; 0 if not given.")] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="A new folder; one under runs/ if not given.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; the best available one if not given.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 (the default) or bfloat16.")] = None,
    resume: _Resume = None,
    restart_schedules: _Restart = False,
    minutes: _Minutes = None,
    begin: _From = None,
    setting: _Setting = None,
    auto_remedy: _AutoRemedy = False,
    seeds: _Seeds = None,
    processes: workers.Count = None,
    own: WithFiles = None,
    as_json: JsonFlag = False,
) -> None:
    """Train a recipe on data, or continue a run.

    [dim]equilibria train --data digits --steps 2000

    equilibria train wgan-gp --data grid25 --seed 3 --set optimizer.lr=2e-4

    equilibria train cgan --data photos/ --set data.size=32

    equilibria train gan --data ring8-U --seeds 16

    equilibria train my-gan --with my_gan.py --data digits

    equilibria train --from runs/digits --data photos/

    equilibria train --resume runs/2026-11-22_digits_r3gan_seed0[/dim]
    """
    workers.spread(context, processes)
    _refuse_empty({"RECIPE": recipe, "--data": data, "--device": device, "--precision": precision})
    if resume is not None:
        fixed = {"RECIPE": recipe, "--seed": seed, "--out": folder, "--precision": precision}
        several = {
            "--from": begin,
            "--set": setting,
            "--auto-remedy": auto_remedy,
            "--seeds": seeds,
            "--minutes": minutes,
        }
        _refuse_beside_resume(fixed | {name: value or None for name, value in several.items()})
        begun = partial(_continued, resume, data, steps=steps, device=device, restart_schedules=restart_schedules)
    else:
        if restart_schedules:
            raise ConfigError("--restart-schedules without --resume", "add --resume RUN --steps N, or leave it out")
        base = {"device": device or "auto", "precision": precision or "float32", "auto_remedy": str(auto_remedy)}
        how = {"steps": steps, "seed": seed or 0, "count": seeds, "begin": begin or [], "minutes": minutes}
        begun = partial(_start, recipe, data, setting or [], folder, base, **how)
    _to_the_end(begun, as_json)


def _to_the_end(begun: Callable[[], Any], as_json: bool) -> None:
    """Train, and print what came of it, of a run that a signal has stopped as well."""
    from .. import runs
    from ..base import distributed

    try:
        run = begun()
    except runs.RunStopped as stopped:
        run = stopped.run
    if hasattr(run, "in_turn"):
        _after_seeds(run, as_json)
    elif distributed.from_environment().is_first:
        _after(run, as_json)
    if not run.finished:
        raise typer.Exit(UNFINISHED)
    if getattr(run, "failed", None):  # a seed has diverged
        raise typer.Exit(1)


def _refuse_empty(given: dict[str, str | None]) -> None:
    if empty := [name for name, value in given.items() if value is not None and not value.strip()]:
        raise ConfigError(f"{empty[0]} '' is empty", f"leave {empty[0]} out, or give it a value")


def _refuse_beside_resume(fixed: dict[str, Any]) -> None:
    if given := [name for name, value in fixed.items() if value is not None]:
        raise ConfigError(f"{given[0]} together with --resume, which takes it from the run", f"leave {given[0]} out")


def _continued(path: Path, data: str | None, **how: Any) -> Any:
    from .. import runs
    from ..runs import seeds

    if not seeds.holds_seeds(path):
        return runs.resume(path, data, **how)
    if given := [name.replace("_", "-") for name, value in how.items() if value not in (None, False)]:
        raise ConfigError(
            f"--{given[0]} together with --resume of many seeds", f"leave it out, or resume a run in {path}"
        )
    return seeds.resume_seeds(path, data)


def _start(
    recipe: str | None, data: str | None, setting: list[str], folder: Path | None, base: dict[str, str], **how: Any
) -> Any:
    from .. import runs
    from ..data import DataOptions, load
    from ..data.sources import reopened
    from ..recipes import default_for
    from ..recipes import recipe as named
    from ..runs import creation, seeds, sources
    from ..runs.folder import RunFolder
    from ..training import Settings

    count, begin = how.pop("count"), how.pop("begin")
    if data is None and not begin:
        raise ConfigError("no data was named", "add --data, for example --data digits")
    if count is not None and count < 1:
        raise ConfigError(f"--seeds {count}", "use at least 1")
    if folder is not None and count is None:
        creation.refuse_existing(folder)
    row = named(recipe) if recipe else None
    groups = grouped(setting)
    if how["steps"] is not None and any(path == "steps" for path, _ in groups["recipe"]):
        raise ConfigError(f"--steps {how['steps']} beside --set steps", "give the rounds once: --steps")
    settings = applied(from_options(Settings(), base), groups["run"], "run.")
    start = _start_from(begin, row)
    first = Path(next(iter(start.values())) if isinstance(start, dict) else start) if start else None
    found = RunFolder.open(first) if first is not None else None
    info = found.info if found is not None else None
    options = found.options if found is not None else DataOptions()
    options = applied(options, groups["data"], "data.")
    if data is None and first is not None and info is not None and not (groups["data"] and info["data"]["source"]):
        dataset = runs.data_again(first, info, None)
    elif data is None:
        dataset = reopened((info or {})["data"]["source"], options)
    else:
        dataset = load(data, options=options)
    if row is None:
        row = sources.recipe_of(first, info) if first is not None and info is not None else default_for(dataset.spec)
    chosen = sources.named(row, start)
    refuse_misplaced(chosen, groups["recipe"], {"data": options, "run": settings})
    chosen = chosen.with_settings(groups["recipe"])
    if count is None:
        return runs.train(chosen, dataset, out=folder, settings=settings, **how)
    if how["minutes"] is not None:
        raise ConfigError("--minutes with --seeds", "give --steps: all seeds are trained for as many rounds")
    numbers = range(how["seed"], how["seed"] + count)
    return seeds.train_seeds(chosen, dataset, seeds=numbers, steps=how["steps"], out=folder, settings=settings)


def _start_from(begin: list[str], row: Any) -> str | dict[str, str] | None:
    """The value of ``--from``: a run, or runs by the names of the recipe's sources."""
    known = {source.name for source in row.sources} | {"start"} if row is not None else {"start"}
    named = dict(word.split("=", 1) for word in begin if word.partition("=")[0] in known and "=" in word)
    if not named and len(begin) <= 1:
        return begin[0] if begin else None
    if len(named) != len(begin):
        raise ConfigError(
            f"--from {' --from '.join(begin)}",
            f"name each: --from NAME=RUN, with NAME one of {', '.join(sorted(known))}",
        )
    return named


def _after_seeds(done: Any, as_json: bool) -> None:
    if as_json:
        metrics = {name: asdict(spread) for name, spread in done.metrics.items()}
        values = {"path": str(done.path), "finished": done.finished, "in_turn": done.in_turn, "metrics": metrics}
        print(written(values | {"failed": done.failed, "runs": {s: str(p) for s, p in done.runs.items()}}))
        return
    how = f"one after another ({done.in_turn})" if done.in_turn else "side by side"
    say(f"{len(done.runs)} seeds {how}, in {done.path}")
    for seed, why in done.failed.items():
        say(f"  seed {seed} has no result: {why}")
    if not done.finished:
        say(f"Stopped; nothing is lost. Continue with:\n  equilibria train --resume {quoted(done.path)}")
        return
    rows = [
        {
            "metric": name.replace("_", " "),
            "mean": _shown(one.mean),
            "95 % interval": "–" if one.low is None else f"{one.low:.4g} to {one.high:.4g}",
            "median": _shown(one.median) if one.n > one.failed else "failed",
            "seeds": str(one.n + one.failed) + (f", {one.failed} failed" if one.failed else ""),
            "perfect sampler": _shown(one.floor),
            "unit": one.unit,
        }
        for name, one in done.metrics.items()
        if not name.startswith("column/")
    ]
    if rows:
        print_table(rows, right=("mean", "95 % interval", "median", "seeds", "perfect sampler"))


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _state_of(folder: Path) -> dict[str, Any]:
    """The state of a run and the active conditions in its stored diagnosis."""
    diagnosis = stored_diagnosis(folder)
    return {"state": diagnosis.state or None, "findings": [finding.condition for finding in diagnosis.active]}


def _after(run: Any, as_json: bool) -> None:
    from ..runs.folder import RunFolder

    if as_json:
        done = {
            "run": str(run.path),
            "step": run.play.round,
            "finished": run.finished,
            "seconds": round(run.seconds, 3),
        }
        done |= _state_of(run.path)
        if run.stages:
            done["stages"] = {name: _state_of(folder) for name, folder in run.stages.items()}
        print(written({**done, "report": str(run.path / "report.html")}))
        return
    if not run.finished:
        say(f"Stopped at round {run.play.round} of {run.info['steps']}; nothing is lost. Continue with:")
        say(f"  equilibria train --resume {quoted(run.path)}")
        return
    rate = f", {run.play.round / run.seconds:.1f} rounds/s" if run.seconds > 0 else ""
    say(f"{run.recipe.name} on {run.info['data']['name']}: {run.play.round} rounds in {run.seconds:.0f} s{rate}")
    if measured := RunFolder.open(run.path, strict=False).evaluation:
        print_metrics(measured)
    print_diagnosis(run.path, run.stages)
    if (best := RunFolder.open(run.path, strict=False).best) and best[0].round != run.play.round:
        say(f"Best:    round {best[0].round:,} by {best[0].measure} ({best[0].value:.3g}); sample it with --best")
    say(f"Report:  {(run.path / 'report.html').resolve()}")
    say(f"Samples: equilibria sample {quoted(run.path)} -n 64 --out samples.png")
