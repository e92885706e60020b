"""The command line: parse, call, print."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .errors import ConfigError, EquilibriaError

_UNFINISHED = -1  # of a run that said how to continue it; Typer itself ends with 130 on Ctrl-C
_WIDE = 200  # columns where there is no terminal: a pipe or a file cuts nothing off

app = typer.Typer(
    name="equilibria",
    help="""Train any GAN on your own data, and learn why a run works or fails.

    A recipe is a complete configuration of a paper; a run is a recipe trained on data, in a folder of its own.

    [bold]Begin[/bold]: train the default recipe; see what else there is; use your own images
      equilibria train --data digits --steps 2000
      equilibria recipes
      equilibria train wgan-gp --data photos/ --set data.size=32

    [bold]Then[/bold]: find a run, see it, judge it, continue it to the bit after Ctrl-C
      equilibria runs
      equilibria sample RUN -n 64 --out samples.png
      equilibria evaluate RUN
      equilibria train --resume RUN

    Every command says more with --help; --debug shows the traceback of an error.""",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)
out = Console(width=None if sys.stdout.isatty() else _WIDE)
err = Console(stderr=True, width=None if sys.stderr.isatty() else _WIDE)

RunArg = Annotated[Path, typer.Argument(help="A run's folder, as `equilibria train` made it.", show_default=False)]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]


@app.command()
def train(
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
            "the run (run.checkpoint_every=500, run.trackers=tensorboard). Repeatable.",
        ),
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
        fixed = {"RECIPE": recipe, "--data": data, "--seed": seed, "--out": folder, "--precision": precision}
        fixed["--set"] = setting[0] if setting else None
        if given := [name for name, value in fixed.items() if value is not None]:
            raise ConfigError(f"{given[0]} beside --resume, which takes it from the run", f"leave {given[0]} out")
        run = runs.resume(resume, steps=steps, device=device)
    else:
        base = {"device": device or "auto", "precision": precision or "float32"}
        run = _start(recipe, data, setting or [], folder, base, steps=steps, seed=seed or 0)
    _after(run, as_json)
    if not run.finished:
        raise typer.Exit(_UNFINISHED)


def _start(
    recipe: str | None, data: str | None, setting: list[str], folder: Path | None, base: dict[str, str], **how: Any
) -> Any:
    from . import runfolder, runs
    from .data import DataOptions, load
    from .recipes import default_for
    from .recipes import recipe as named
    from .training import Settings

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
    from .records import replace_at

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
        print(json.dumps({**done, "report": str(run.path / "report.html")}))
        return
    if not run.finished:
        _say(f"Stopped at round {run.play.round} of {run.info['steps']}; nothing is lost. Continue with:")
        _say(f"  equilibria train --resume {_quoted(run.path)}")
        return
    rate = f", {run.play.round / run.seconds:.1f} rounds/s" if run.seconds > 0 else ""
    _say(f"{run.recipe.name} on {run.info['data']['name']}: {run.play.round} rounds in {run.seconds:.0f} s{rate}")
    evaluation = run.path / "evaluation.json"
    if evaluation.exists():
        _print_metrics(json.loads(evaluation.read_text(encoding="utf-8")))
    _say(f"Report:  {(run.path / 'report.html').resolve()}")
    _say(f"Samples: equilibria sample {_quoted(run.path)} -n 64 --out samples.png")


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))


def _say(text: str) -> None:
    """Print a line as it is: a bracket in a name is no markup, and a long path is not broken."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_table(rows: list[dict[str, str]], right: tuple[str, ...] = (), wraps: tuple[str, ...] = ()) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in rows[0]:
        side: Literal["left", "right"] = "right" if column in right else "left"
        table.add_column(column, justify=side, no_wrap=column not in wraps, overflow="fold")
    for row in rows:
        table.add_row(*(escape(value) for value in row.values()))
    out.print(table)


def _print_metrics(measured: dict[str, dict[str, Any]]) -> None:
    rows = [
        {
            "metric": name.replace("_", " "),
            "value": "not finite" if row["value"] is None else f"{row['value']:.4g}",
            "perfect sampler": "–" if row["floor"] is None else f"{row['floor']:.4g}",
            "unit": row["unit"],
        }
        for name, row in measured.items()
    ]
    _print_table(rows, right=("value", "perfect sampler"))


@app.command()
def sample(
    run: RunArg,
    n: Annotated[int, typer.Option("-n", help="How many.")] = 64,
    to: Annotated[Path, typer.Option("--out", help="A .png picture, or .npy / .npz numbers.")] = Path("samples.png"),
    label: Annotated[int | None, typer.Option(help="The class to sample, for a conditional run.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other samples.")] = 0,
) -> None:
    """Sample from a run's generator into a picture or an array.

    [dim]equilibria sample runs/digits -n 100 --out digits.png

    equilibria sample runs/digits -n 10000 --seed 1 --out digits.npz[/dim]
    """
    from . import runs, samples

    samples.check_name(to)
    opened = runs.open_run(run)
    labels = None if label is None else [label] * n
    samples.write(opened.sample(n, labels, seed), to, opened.spec, lambda: opened.data)
    _say(f"{n} samples in {to}")


@app.command()
def evaluate(
    run: RunArg,
    n: Annotated[int | None, typer.Option("-n", help="How many samples; none for the usual number.")] = None,
    seed: Annotated[int, typer.Option(help="Of the samples and of every random choice in the metrics.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Judge a run's samples, each number beside what a perfect sampler of the same size scores.

    [dim]equilibria evaluate runs/digits

    equilibria evaluate runs/digits -n 5000 --json[/dim]
    """
    from . import runs

    found = {name: value.to_dict() for name, value in runs.open_run(run).evaluate(n, seed).items()}
    if as_json:
        print(json.dumps(found))
    else:
        _print_metrics(found)


@app.command()
def recipes(as_json: JsonFlag = False) -> None:
    """List the recipes: name, year, paper, and what is particular about each.

    [dim]equilibria recipes

    equilibria recipes --json[/dim]
    """
    from .recipes import RECIPES
    from .records import encode

    if as_json:
        print(json.dumps([encode(row) for row in RECIPES.values()]))
        return
    rows = [{"recipe": r.name, "year": str(r.year), "paper": r.cite, "what": r.about} for r in RECIPES.values()]
    _print_table(rows, wraps=("what",))


@app.command()
def report(run: RunArg) -> None:
    """Write a run's report.html again and print its path.

    [dim]equilibria report runs/digits[/dim]
    """
    from . import runs

    _say(str(runs.write_report(run).resolve()))


@app.command()
def cite(run: RunArg) -> None:
    """Print the BibTeX of what a run used.

    [dim]equilibria cite runs/digits >> references.bib[/dim]
    """
    from . import runs

    found = runs.cite(run)
    if not found:
        raise ConfigError(f"{run} plays a game of your own", "cite your own paper")
    print(found)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
    as_json: JsonFlag = False,
) -> None:
    """List the runs in a folder, newest first.

    [dim]equilibria runs

    equilibria runs experiments/ --json[/dim]
    """
    rows = []
    for path in sorted(folder.glob("*/run.json"), key=_changed, reverse=True):
        try:
            rows.append(_row(path.parent))
        except EquilibriaError as error:
            warnings.warn(error.what, stacklevel=2)  # the others are still to be listed
    if as_json:
        print(json.dumps(rows))
    elif rows:
        _print_table([{key: str(value) for key, value in row.items()} for row in rows], right=("seed", "step", "steps"))
    else:
        _say(f"no runs in {folder}; make one with: equilibria train --data digits")


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _row(path: Path) -> dict[str, Any]:
    from . import runfolder

    info = runfolder.read(path)
    told = {"recipe": info["recipe"].get("name", ""), "data": info["data"]["name"], "seed": info["seed"]}
    return {"run": str(path), **told, "step": runfolder.played(path), "steps": info["steps"]}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Exit codes: 0 done, 1 a mistake in what was given, 2 wrong usage, 130 stopped."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            code = int(app(given, prog_name="equilibria", standalone_mode=False) or 0)
        except (KeyboardInterrupt, typer.Abort):
            code = 130
        except Exception as error:
            if debug:
                raise
            return _failed(error)
    if code == 130:
        _tell("stopped", "what was under way is not kept; `equilibria runs` lists what can be resumed.")
    return 130 if code == _UNFINISHED else code


def _failed(error: Exception) -> int:
    """Say what is wrong, and return the exit code."""
    if isinstance(error, EquilibriaError):
        _tell("error", f"{error.what}.")
        if error.fix:
            _tell("fix", f"{error.fix}.")
        return 1
    show = getattr(error, "show", None)
    if show is not None:  # wrong usage
        show()
        return int(getattr(error, "exit_code", 2))
    _tell("error", f"{type(error).__name__}: {error}")
    _tell("fix", "this is a defect of equilibria; run again with --debug for the traceback.")
    return 70


def _tell(kind: str, text: str) -> None:
    line = " ".join(text.splitlines())
    err.print(f"[bold]{kind}:[/bold] {escape(line)}", highlight=False, soft_wrap=True)


def _warn(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        _tell("warning", str(message))


if __name__ == "__main__":
    sys.exit(main())
