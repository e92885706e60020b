"""`equilibria train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from . import workers
from .console import UNFINISHED, JsonFlag, app, quoted, say
from .judging import kept_diagnosis, print_diagnosis, print_metrics


@app.command()
def train(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(help="A recipe (see `equilibria recipes`); none for the default."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="ring8-U, grid25, digits, mnist, …, a folder of images, a .npz or .npy file, or hf:NAME."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Rounds to play; none for what the recipe says.")] = None,
    seed: Annotated[int | None, typer.Option(help="All randomness of the run follows from it; 0 if none.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="A folder that does not exist yet; none for one under runs/.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; none for the best there is.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 (the default) or bfloat16.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Continue this run; --steps may ask for more rounds, --device for another one."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="key=value: a setting of the recipe (batch=128, optimizer.lr=1e-4), of the data (data.size=32) or of "
            "the run (run.checkpoint_every=500, run.doctor=false, run.trackers=tensorboard). Repeatable.",
        ),
    ] = None,
    auto_remedy: Annotated[
        bool, typer.Option("--auto-remedy", help="At a critical finding of the doctor, go back and on with its remedy.")
    ] = False,
    processes: Annotated[
        int | None, typer.Option(help="Processes of this machine that share each batch; under torchrun leave it out.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train a recipe on data, or continue a run.

    [dim]equilibria train --data digits --steps 2000

    equilibria train wgan-gp --data grid25 --seed 3 --set optimizer.lr=2e-4

    equilibria train cgan --data photos/ --set data.size=32

    equilibria train --resume runs/2026-11-22_digits_r3gan_seed0[/dim]
    """
    if processes is not None:
        workers.spread(context, processes)
    from .. import ranks, runs

    if resume is not None:
        fixed = {"RECIPE": recipe, "--data": data, "--seed": seed, "--out": folder, "--precision": precision}
        fixed |= {"--set": setting[0] if setting else None, "--auto-remedy": auto_remedy or None}
        if given := [name for name, value in fixed.items() if value is not None]:
            raise ConfigError(f"{given[0]} beside --resume, which takes it from the run", f"leave {given[0]} out")
        run = runs.resume(resume, steps=steps, device=device)
    else:
        base = {"device": device or "auto", "precision": precision or "float32", "auto_remedy": str(auto_remedy)}
        run = _start(recipe, data, setting or [], folder, base, steps=steps, seed=seed or 0)
    if ranks.announced().leads:
        _after(run, as_json)
    if not run.finished:
        raise typer.Exit(UNFINISHED)


def _start(
    recipe: str | None, data: str | None, setting: list[str], folder: Path | None, base: dict[str, str], **how: Any
) -> Any:
    from .. import runfolder, runs
    from ..data import DataOptions, load
    from ..recipes import default_for
    from ..recipes import recipe as named
    from ..training import Settings

    if data is None:
        raise ConfigError("no data was named", "add --data, for example --data digits")
    if folder is not None:
        runfolder.refuse_existing(folder)
    row = named(recipe) if recipe else None
    groups = _grouped(setting)
    settings = _set(Settings(), {**base, **groups["run"]})
    dataset = load(data, options=_set(DataOptions(), groups["data"]))
    chosen = (row or default_for(dataset.spec)).with_settings(groups["recipe"])
    return runs.train(chosen, dataset, out=folder, settings=settings, **how)


def _grouped(pairs: list[str]) -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, str]] = {"recipe": {}, "data": {}, "run": {}}
    for pair in pairs:
        path, equals, text = pair.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set {pair}", "write key=value, for example --set batch=128")
        head, _, rest = path.partition(".")
        group = head if head in {"data", "run"} and rest else "recipe"
        groups[group][rest if group != "recipe" else path] = text
    return groups


def _set(value: Any, changes: dict[str, str]) -> Any:
    from ..records import replace_at

    for path, text in changes.items():
        value = replace_at(value, path, text)
    return value


def _after(run: Any, as_json: bool) -> None:
    if as_json:
        done = {
            "run": str(run.path),
            "step": run.play.round,
            "finished": run.finished,
            "seconds": round(run.seconds, 3),
        }
        said = kept_diagnosis(run.path)
        found = [f["condition"] for f in said.get("findings", []) if f["status"] == "active"]
        done |= {"state": said.get("state"), "findings": found}
        print(json.dumps({**done, "report": str(run.path / "report.html")}))
        return
    if not run.finished:
        say(f"Stopped at round {run.play.round} of {run.info['steps']}; nothing is lost. Continue with:")
        say(f"  equilibria train --resume {quoted(run.path)}")
        return
    rate = f", {run.play.round / run.seconds:.1f} rounds/s" if run.seconds > 0 else ""
    say(f"{run.recipe.name} on {run.info['data']['name']}: {run.play.round} rounds in {run.seconds:.0f} s{rate}")
    evaluation = run.path / "evaluation.json"
    if evaluation.exists():
        print_metrics(json.loads(evaluation.read_text(encoding="utf-8")))
    print_diagnosis(run.path)
    say(f"Report:  {(run.path / 'report.html').resolve()}")
    say(f"Samples: equilibria sample {quoted(run.path)} -n 64 --out samples.png")
