"""`equilibria sample`, `evaluate`, `diagnose`, `report`, `cite`, `runs`, `recipes`: what there is, how good it is."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..base.errors import ConfigError, EquilibriaError
from ..base.records import parsed
from .console import JsonFlag, RunArg, app, print_table, quoted, say


def print_metrics(measured: dict[str, dict[str, Any]]) -> None:
    """Print a table of metrics beside what a perfect sampler scores."""
    rows = [
        {
            "metric": name.replace("_", " "),
            "value": "not finite" if row["value"] is None else f"{row['value']:.4g}",
            "perfect sampler": "–" if row["floor"] is None else f"{row['floor']:.4g}",
            "unit": row["unit"],
        }
        for name, row in measured.items()
    ]
    print_table(rows, right=("value", "perfect sampler"))


def print_diagnosis(run: Path, stages: Mapping[str, Path]) -> None:
    """Print in brief what ``diagnosis.json`` says: the state, and each active finding with what to do.

    Args:
        run: the run's folder.
        stages: the folders of its stages, each of which has a diagnosis of its own; empty for a run without stages.
    """
    found = False
    for name, folder in (stages or {"": run}).items():
        told = kept_diagnosis(folder)
        lines = brief(told)
        if name and lines:
            say(f"Stage {name}")
        for line in lines:
            say(line)
        found = found or bool(told.get("findings"))
    if found:
        say(f"More:    equilibria diagnose {quoted(run)}")


def kept_diagnosis(run: Path) -> dict[str, Any]:
    """The ``diagnosis.json`` of a run; empty where there is none, or it is damaged."""
    try:
        told = parsed((run / "diagnosis.json").read_bytes())
        brief(told)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return {}
    return dict(told)


def brief(told: dict[str, Any]) -> list[str]:
    """A diagnosis in a few lines.

    Examples:
        >>> brief({"state": "on the way", "step": 40, "findings": []})
        ['Doctor:  on the way at round 40, nothing found']
    """
    if told.get("state") is None:
        return [f"Doctor:  {told['note']}"] if told.get("note") else []
    active = [f for f in told["findings"] if f["status"] == "active" and f["severity"] != "info"]
    head = f"Doctor:  {told['state']} at round {told['step']}"
    lines = [head + (f" ({told['note']})" if told.get("note") else "") + ("" if active else ", nothing found")]
    for finding in active:
        what = finding["remedies"][0]["what"] if finding["remedies"] else "see the report"
        lines.append(f"  {finding['severity']}: {finding['condition']} since round {finding['onset']}. Do: {what}")
    return lines


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
    from .. import runs
    from ..runs import samples

    samples.check_name(to)
    opened = runs.open_run(run)
    labels = None if label is None else [label] * n
    samples.write(opened.sample(n, labels, seed), to, opened.spec, lambda: opened.data)
    say(f"{n} samples in {to}")


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
    from .. import runs

    found = {name: value.to_dict() for name, value in runs.open_run(run).evaluate(n, seed).items()}
    if as_json:
        print(json.dumps(found))
    else:
        print_metrics(found)


@app.command()
def diagnose(run: RunArg, as_json: JsonFlag = False) -> None:
    """Say whether a run is healthy, and if not, why, since when, on what evidence and what to change.

    The doctor concludes from its check-ups during training and from a look at the newest checkpoint.

    [dim]equilibria diagnose runs/digits

    equilibria diagnose runs/digits --json[/dim]
    """
    from .. import runs

    found = runs.open_run(run).diagnose()
    if as_json:
        print(json.dumps(found.to_dict()))
    else:
        say(str(found))


@app.command()
def recipes(as_json: JsonFlag = False) -> None:
    """List the recipes: name, year, paper, and what is particular about each.

    [dim]equilibria recipes

    equilibria recipes --json[/dim]
    """
    from ..base.records import encode
    from ..recipes import RECIPES

    if as_json:
        print(json.dumps([encode(row) for row in RECIPES.values()]))
        return
    rows = [{"recipe": r.name, "year": str(r.year), "paper": r.cite, "what": r.about} for r in RECIPES.values()]
    print_table(rows, wraps=("what",))


@app.command()
def report(run: RunArg) -> None:
    """Write a run's report.html again and print its path.

    [dim]equilibria report runs/digits[/dim]
    """
    from .. import runs

    say(str(runs.write_report(run).resolve()))


@app.command()
def cite(run: RunArg) -> None:
    """Print the BibTeX of what a run used.

    [dim]equilibria cite runs/digits >> references.bib[/dim]
    """
    from .. import runs

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
        print_table([{key: str(value) for key, value in row.items()} for row in rows], right=("seed", "step", "steps"))
    else:
        say(f"no runs in {folder}; make one with: equilibria train --data digits")


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _row(path: Path) -> dict[str, Any]:
    from ..runs import folder as run_folder

    info = run_folder.read(path)
    told = {"recipe": info["recipe"].get("name", ""), "data": info["data"]["name"], "seed": info["seed"]}
    return {"run": str(path), **told, "step": run_folder.played(path), "steps": info["steps"]}
