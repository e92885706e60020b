"""The command line: parse, call, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .errors import ConfigError, EquilibriaError

app = typer.Typer(
    name="equilibria",
    help="Train any GAN on your own data, and learn why a run works or fails.\n\n"
    "Start with: equilibria train --data digits --steps 2000",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)
out = Console()
err = Console(stderr=True)

RunArg = Annotated[Path, typer.Argument(help="A run's folder, as `equilibria train` made it.", show_default=False)]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(help="A recipe (see `equilibria recipes`); none for the default.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="ring8-U, grid25, digits, mnist, …, a folder of images, a .npz or .npy file, or hf:NAME."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Rounds to play; none for what the recipe says.")] = None,
    seed: Annotated[int, typer.Option(help="All randomness of the run follows from it.")] = 0,
    folder: Annotated[Path | None, typer.Option("--out", help="A folder that does not exist yet.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, …")] = "auto",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    resume: Annotated[Path | None, typer.Option(help="Continue this run; nothing else is needed.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the recipe (batch=128, optimizer.lr=1e-4), of the data (data.size=32) "
                     "or of the run (run.checkpoint_every=500). Repeatable."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train a recipe on data, or continue a run.

    [dim]equilibria train --data digits --steps 2000
    equilibria train wgan-gp --data grid25 --seed 3 --set optimizer.lr=2e-4
    equilibria train cgan --data photos/ --set data.size=32
    equilibria train --resume runs/2026-11-22_digits_r3gan_seed0[/dim]
    """
    from . import runs

    if resume is not None:
        if recipe or data or setting:
            raise ConfigError("--resume takes everything but --steps from the run", "leave the other options out")
        run = runs.resume(resume, steps=steps)
    else:
        run = _start(recipe, data, setting or [], folder, steps=steps, seed=seed, device=device, precision=precision)
    _after(run, as_json)
    if not run.finished:
        raise typer.Exit(130)


def _start(recipe: str | None, data: str | None, setting: list[str], folder: Path | None, **how: Any) -> Any:
    from . import runs
    from .data import DataOptions, load
    from .recipes import default_for
    from .recipes import recipe as named

    if data is None:
        raise ConfigError("no data was named", "add --data, for example --data digits")
    row = named(recipe) if recipe else None
    groups = _grouped(setting)
    options = _set(DataOptions(), groups["data"])
    base = runs.Settings(device=how["device"], precision=how["precision"])
    settings = _set(base, groups["run"])
    dataset = load(data, options=options)
    chosen = (row or default_for(dataset.spec)).with_settings(groups["recipe"])
    return runs.train(chosen, dataset, steps=how["steps"], seed=how["seed"], out=folder, settings=settings)


def _grouped(pairs: list[str]) -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, str]] = {"recipe": {}, "data": {}, "run": {}}
    for pair in pairs:
        path, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set {pair}", "write key=value, for example --set batch=128")
        head, _, rest = path.partition(".")
        group = head if head in {"data", "run"} and rest else "recipe"
        groups[group][rest if group != "recipe" else path] = text
    return groups


def _set(value: Any, changes: dict[str, str]) -> Any:
    from .records import replace_at

    for path, text in changes.items():
        value = replace_at(value, path, text)
    return value


def _after(run: Any, as_json: bool) -> None:
    seconds = _seconds(run)
    if as_json:
        done = {"run": str(run.path), "step": run.play.round, "finished": run.finished, "seconds": seconds}
        print(json.dumps({**done, "report": str(run.path / "report.html")}))
        return
    if not run.finished:
        out.print(f"Stopped at round {run.play.round} of {run.info['steps']}; nothing is lost. Continue with:")
        out.print(f"  equilibria train --resume {run.path}", highlight=False, soft_wrap=True)
        return
    rate = f", {run.play.round / seconds:.1f} rounds/s" if seconds > 0 else ""
    out.print(f"[bold]{run.recipe.name}[/bold] on {run.data.name}: {run.play.round} rounds in {seconds:.0f} s{rate}")
    evaluation = run.path / "evaluation.json"
    if evaluation.exists():
        _print_metrics(json.loads(evaluation.read_text()))
    out.print(f"Report:  {(run.path / 'report.html').resolve()}", highlight=False, soft_wrap=True)
    out.print(f"Samples: equilibria sample {run.path} -n 64 --out samples.png", highlight=False, soft_wrap=True)


def _seconds(run: Any) -> float:
    from .training.checkpoint import listed

    states = listed(run.path / "checkpoints")
    return float(json.loads((states[-1] / "state.json").read_text()).get("seconds", 0.0)) if states else 0.0


def _print_metrics(measured: dict[str, dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("metric", "value", "perfect sampler", "unit"):
        table.add_column(column, justify="right" if column in {"value", "perfect sampler"} else "left")
    for name, row in measured.items():
        floor = "–" if row["floor"] is None else f"{row['floor']:.4g}"
        value = "not finite" if row["value"] is None else f"{row['value']:.4g}"
        table.add_row(name.replace("_", " "), value, floor, row["unit"])
    out.print(table)


@app.command()
def sample(
    run: RunArg,
    n: Annotated[int, typer.Option("-n", help="How many.")] = 64,
    to: Annotated[Path, typer.Option("--out", help="A .png picture, or .npy / .npz numbers.")] = Path("samples.png"),
    label: Annotated[int | None, typer.Option(help="The class to sample, for a conditional run.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other samples.")] = 0,
) -> None:
    """Sample from a run's generator into a picture or an array."""
    from . import runs, samples

    opened = runs.open_run(run)
    labels = None if label is None else [label] * n
    samples.write(opened.sample(n, labels, seed), opened.data, to)
    out.print(f"{n} samples in {to}", highlight=False)


@app.command()
def evaluate(
    run: RunArg,
    n: Annotated[int | None, typer.Option("-n", help="How many samples; none for the usual number.")] = None,
    seed: Annotated[int, typer.Option(help="Of the samples and of every random choice in the metrics.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Judge a run's samples, each number beside what a perfect sampler of the same size scores."""
    from . import runs

    found = {name: value.to_dict() for name, value in runs.open_run(run).evaluate(n, seed).items()}
    if as_json:
        print(json.dumps(found))
    else:
        _print_metrics(found)


@app.command()
def recipes(as_json: JsonFlag = False) -> None:
    """List the recipes: name, year, paper, and what is particular about each."""
    from .recipes import RECIPES
    from .records import encode

    if as_json:
        print(json.dumps([encode(row) for row in RECIPES.values()]))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("recipe", "year", "paper", "what"):
        table.add_column(column, no_wrap=column != "what")
    for row in RECIPES.values():
        table.add_row(row.name, str(row.year), row.cite, row.about)
    out.print(table)


@app.command()
def report(run: RunArg) -> None:
    """Write a run's report.html again and print its path."""
    from . import runs

    out.print(str(runs.open_run(run).report().resolve()), highlight=False, soft_wrap=True)


@app.command()
def cite(run: RunArg) -> None:
    """Print the BibTeX of what a run used."""
    from . import runfolder
    from .recipes import citation
    from .records import decode

    row = decode(runfolder.read(run)["recipe"])
    if not row.cite:
        raise ConfigError(f"{run} plays a game of your own", "cite your own paper")
    print(citation(row.cite))


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
    as_json: JsonFlag = False,
) -> None:
    """List the runs in a folder, newest first."""
    from . import runfolder
    from .training.checkpoint import listed

    rows = []
    for path in sorted(folder.glob("*/run.json"), key=lambda p: p.stat().st_mtime, reverse=True):
        info = runfolder.read(path.parent)
        saved = listed(path.parent / "checkpoints")
        step = int(saved[-1].name.split("-")[1]) if saved else 0
        told = {"recipe": info["recipe"]["name"], "data": info["data"]["name"], "seed": info["seed"]}
        rows.append({"run": str(path.parent), **told, "step": step, "steps": info["steps"]})
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        out.print(f"no runs in {folder}; make one with: equilibria train --data digits")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(v) for v in row.values()))
    out.print(table)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Exit codes: 0 done, 1 a mistake in what was given, 2 wrong usage, 130 stopped."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    try:
        code = app(given, standalone_mode=False)
        return int(code or 0)
    except EquilibriaError as error:
        if debug:
            raise
        err.print(f"[bold red]error:[/bold red] {error.what}.", highlight=False, soft_wrap=True)
        if error.fix:
            err.print(f"[bold]fix:[/bold] {error.fix}.", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        shown = getattr(error, "show", None)
        if shown is not None:
            shown()
            return int(getattr(error, "exit_code", 2))
        if debug:
            raise
        err.print(f"[bold red]error:[/bold red] {type(error).__name__}: {error}", highlight=False, soft_wrap=True)
        err.print("This is a defect of equilibria; run again with --debug for the traceback.", highlight=False)
        return 70


if __name__ == "__main__":
    sys.exit(main())
