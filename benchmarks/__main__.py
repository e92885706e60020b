"""`python -m benchmarks`, from the root of a checkout: this library against others, measured alternately."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from equilibria.cli.console import JsonFlag, failed, say
from equilibria.figures.panels import rendered
from equilibria.training.disk import make_folder, write_atomically

from . import Plan, drawn, matching, measured, surroundings
from .quality import judged

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of comparisons; none for all that are possible.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Measuring time per side and pair.")] = 5.0,
    pairs: Annotated[int, typer.Option(help="Number of alternations of the two sides.")] = 5,
    threads: Annotated[int, typer.Option(help="Threads of torch, on both sides.")] = 1,
    peers: Annotated[Path | None, typer.Option(help="A folder with clones of the peers.", show_default=False)] = None,
    python: Annotated[
        Path | None, typer.Option(help="The interpreter that runs the peers.", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The floors only, three pairs of half a second.")] = False,
    quality: Annotated[int, typer.Option(help="Compare samples after this many rounds instead.")] = 0,
    seeds: Annotated[int, typer.Option(help="Seeds of --quality.")] = 3,
    folder: Annotated[Path | None, typer.Option("--out", help="A folder for bench.json and bench.png.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure rounds per second against hand-written loops and other projects, as ratios with their spread.

    [dim]python -m benchmarks --quick

    python -m benchmarks dcgan wgan-gp --peers ~/peers --out figures/

    python -m benchmarks dcgan --peers ~/peers --quality 500[/dim]
    """
    plan = Plan(*((0.5, 3) if quick else (seconds, pairs)), threads, peers, python)
    torch.set_num_threads(threads)
    results: dict[str, Any] = {"machine": surroundings(threads)}
    rows = []
    for row in matching(names or [], plan, quick):
        for found in _judged(row, plan, quality, seeds) if quality else _timed(row, plan):
            rows.append({"name": row.name, "other": row.other, **found})
            if not as_json:
                say(_line(rows[-1]))
    results["quality" if quality else "rows"] = rows
    if folder is not None:
        _keep(results, folder)
    if as_json:
        print(json.dumps(results))
    else:
        machine = results["machine"]
        say(f"{machine['processor']}, {machine['cores']} cores, {threads} thread(s), torch {torch.__version__}")


def _timed(row: Any, plan: Any) -> list[dict[str, Any]]:
    with row.sides(plan) as (ours, other):
        return [found.to_dict() for found in measured(ours, other, plan, row.targets)]


def _judged(row: Any, plan: Any, rounds: int, seeds: int) -> list[dict[str, Any]]:
    return judged(row, plan, rounds, seeds)


def _line(row: dict[str, Any]) -> str:
    if "distance" in row:
        error = row["standard_error"]
        spread = f"{row['distance']:.4g}" + (f" ± {error:.2g}" if error is not None else " (one seed)")
        return f"{row['name']}: {row['who']} after {row['rounds']} rounds: {spread} from the held-out digits"
    wanted = "" if row["target"] is None else f", wanted {row['target']:g}: {'met' if row['met'] else 'MISSED'}"
    rates = f"{row['rounds_per_second']:.4g} and {row['other_rounds_per_second']:.4g} rounds/s"
    spread = f"{row['ratio']:.2f}x [{row['least']:.2f}, {row['most']:.2f}]"
    return f"{row['name']}, {row['setting']}: {spread} of {row['other']}{wanted} ({rates})"


def _keep(results: dict[str, Any], folder: Path) -> None:
    make_folder(folder)
    kind = "quality" if "quality" in results else "bench"
    write_atomically(folder / f"{kind}.json", json.dumps(results, indent=1) + "\n")
    if results.get("rows"):
        write_atomically(folder / "bench.png", rendered(drawn(results["rows"])))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 on success, 1 for a wrong argument, 2 for wrong usage."""
    try:
        return int(app(arguments, prog_name="python -m benchmarks", standalone_mode=False) or 0)
    except Exception as error:
        return failed(error)


if __name__ == "__main__":
    sys.exit(main())
