"""`equilibria reproduce` and `exam`: tests of papers' claims, and of the doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..base.errors import ConfigError
from ..base.records import written
from .console import JsonFlag, app, print_table, say


@app.command()
def reproduce(
    key: Annotated[
        str | None, typer.Argument(help="A reproduction, or a paper's key for all of its reproductions.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them, one after another.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds and rounds; the same rules.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the reproductions without running them.")] = False,
    folder: Annotated[Path, typer.Option("--out", help="Folder for pictures and JSON.")] = Path("reproduced"),
    as_json: JsonFlag = False,
) -> None:
    """Reproduce a figure, table or theorem of a paper: a picture, the numbers, and whether the claim holds.

    [dim]equilibria reproduce --list

    equilibria reproduce mescheder2018 --quick

    equilibria reproduce --all --quick --out figures/[/dim]

    Exit code 1 if a claim fails.
    """
    from .. import reproduce as claims

    if (key is None) == (not every and not listed):
        raise ConfigError("nothing to reproduce was named", "name one (see --list), or give --all")
    chosen = claims.matching(key) if key is not None else claims.keys()
    if listed:
        _list_claims(chosen, as_json)
        return
    if key is not None and every:
        raise ConfigError(f"'{key}' together with --all", "leave one of them out")
    verdicts = []
    for verdict in claims.reproduce(chosen, folder, quick):
        verdicts.append(verdict)
        if not as_json:
            _print_verdict(verdict, folder)
    if as_json:
        print(written([{"key": v.key, "verdict": v.word, "seconds": round(v.seconds, 1)} for v in verdicts]))
    else:
        held = sum(v.word == "holds" for v in verdicts)
        say(f"{held} of {len(verdicts)} hold, {sum(v.seconds for v in verdicts):.0f} s; pictures and JSON in {folder}")
    if any(v.word != "holds" for v in verdicts):
        raise typer.Exit(1)


def _list_claims(chosen: list[str], as_json: bool) -> None:
    from dataclasses import asdict

    from ..reproduce import claim_of

    found = {key: claim_of(key) for key in chosen}
    if as_json:
        print(written([{"key": key, **asdict(claim)} for key, claim in found.items()]))
        return
    rows = [
        {"key": k, "where": c.figure, "quick / full": f"{c.budget[0]:g} / {c.budget[1]:g} s", "claim": c.statement}
        for k, c in found.items()
    ]
    print_table(rows, wraps=("where", "claim"))


def _print_verdict(verdict: Any, folder: Path) -> None:
    word = f"{verdict.word} (quick: fewer seeds and rounds)" if verdict.record.get("quick") else verdict.word
    say(f"{verdict.key}: {word}, {verdict.seconds:.1f} s, {folder / verdict.key}.png")
    if verdict.word == "error":
        say(f"  {verdict.record['error']}")
    for check in verdict.record.get("checks", []):
        mark = "holds" if check["holds"] else "FAILS"
        say(f"  {mark}  {check['name']}: {check['measured']:.6g}, should be {check['rule']}")


@app.command()
def exam(
    half: Annotated[
        str, typer.Option(help="developed or seen (thresholds were set on them), or held-out.")
    ] = "held-out",
    seeds: Annotated[int, typer.Option(help="Seeds of each planted disease.")] = 5,
    healthy: Annotated[int, typer.Option(help="Seeds of each healthy run.")] = 7,
    only: Annotated[list[str] | None, typer.Option(help="A case by name. Repeatable; none for all.")] = None,
    cures: Annotated[int, typer.Option(help="Seeds of each disease on which the first remedy is tried.")] = 5,
    processes: Annotated[int, typer.Option(help="Parallel processes, one thread each.")] = 2,
    folder: Annotated[Path, typer.Option("--out", help="Folder for exam.json and exam.md.")] = Path("exam"),
    pictures: Annotated[
        Path | None, typer.Option(help="Only draw a picture of each condition, into this folder.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Test the doctor on planted diseases and healthy runs: rates of correct findings and of false alarms.

    [dim]equilibria exam --only swapped-labels --seeds 1 --half developed

    equilibria exam --pictures docs/images/conditions

    equilibria exam --json > exam.json[/dim]
    """
    from ..base.provenance import commit
    from ..exam import Plan, markdown, run_exam
    from ..training.disk import make_folder, write_atomically

    if pictures is not None:
        from ..exam.pictures import draw_conditions

        make_folder(pictures)
        draw_conditions(pictures, say)
        return
    plan = Plan(half, seeds, healthy, tuple(only or ()), cures, processes)
    make_folder(folder)
    found = {"commit": commit(), **run_exam(plan, None if as_json else _print_result)}
    text = written(found, indent=1)
    write_atomically(folder / "exam.json", text + "\n")
    write_atomically(folder / "exam.md", markdown(found, seeds, half))
    if as_json:
        print(text)
    else:
        _say_exam(found, seeds, half, folder)


def _print_result(kind: str, result: Any) -> None:
    findings = ", ".join(f"{name} since {at}" for name, at in result.said[:2]) or "no finding"
    cured = "" if result.cured is None else f"; after {result.remedy}: {result.cured:.2f}"
    control = "" if kind == "healthy" else f" (control {result.control:.2f})"
    say(f"{kind:8} {result.name} seed {result.seed}: {result.truth:.2f}{control}  {findings}{cured}")


def _say_exam(found: dict[str, Any], seeds: int, half: str, folder: Path) -> None:
    from ..exam import markdown

    say(markdown(found, seeds, half))
    say(f"written to {folder / 'exam.json'} and {folder / 'exam.md'}")
