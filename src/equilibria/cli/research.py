"""`equilibria reproduce`: the literature, run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .console import JsonFlag, app, print_table, say


@app.command()
def reproduce(
    key: Annotated[str | None, typer.Argument(help="A reproduction, or a paper's key for all of its.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them, one after another.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds and rounds; the same rules.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Say what there is, and run nothing.")] = False,
    folder: Annotated[Path, typer.Option("--out", help="Where pictures and JSON go.")] = Path("reproduced"),
    as_json: JsonFlag = False,
) -> None:
    """Run a figure, table or theorem of a paper: a picture, the numbers, and whether the claim holds.

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
        raise ConfigError(f"'{key}' beside --all", "leave one of them out")
    verdicts = []
    for verdict in claims.reproduce(chosen, folder, quick):
        verdicts.append(verdict)
        if not as_json:
            _print_verdict(verdict, folder)
    if as_json:
        print(json.dumps([{"key": v.key, "verdict": v.word, "seconds": round(v.seconds, 1)} for v in verdicts]))
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
        print(json.dumps([{"key": key, **asdict(claim)} for key, claim in found.items()]))
        return
    rows = [
        {"key": k, "where": c.figure, "quick / full": f"{c.budget[0]:g} / {c.budget[1]:g} s", "claim": c.statement}
        for k, c in found.items()
    ]
    print_table(rows, wraps=("where", "claim"))


def _print_verdict(verdict: Any, folder: Path) -> None:
    say(f"{verdict.key}: {verdict.word} ({verdict.seconds:.1f} s)  {folder / verdict.key}.png")
    if verdict.word == "error":
        say(f"  {verdict.record['error']}")
    for check in verdict.record.get("checks", []):
        mark = "holds" if check["holds"] else "FAILS"
        say(f"  {mark}  {check['name']}: {check['measured']:.6g}, should be {check['rule']}")
