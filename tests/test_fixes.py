"""The fixes that are written out in the code work when they are pasted: settings resolve, commands exist."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from equilibria import cli
from equilibria.base.errors import ConfigError
from equilibria.base.settings import replace_at
from equilibria.data import DataOptions
from equilibria.recipes import RECIPES
from equilibria.training import Settings

SOURCE = Path(__file__).resolve().parents[1] / "src" / "equilibria"
ERRORS = {"ConfigError", "DataError", "RunError", "ShapeError", "EquilibriaError"}
SETTING = re.compile(r"--set ('[^']+'|[\w.]+=[^\s;,)`']+)")
COMMAND = re.compile(r"\bequilibria ([a-z]+)\b")


def fixes() -> Iterator[tuple[str, str]]:
    """Where an error is raised, and its fix where that is written out (what is filled in stands as ``{…}``)."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS and len(node.args) > 1:
                text = node.args[1]
                if isinstance(text, ast.Constant):
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", str(text.value)
                elif isinstance(text, ast.JoinedStr):
                    parts = [str(p.value) if isinstance(p, ast.Constant) else "{…}" for p in text.values]
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", "".join(parts)


FIXES = list(fixes())
PASTED = [(place, found) for place, fix in FIXES for found in SETTING.findall(fix) if "{…}" not in found]
COMMANDS = sorted({(place, name) for place, fix in FIXES for name in COMMAND.findall(fix)})


def resolves(pair: str) -> bool:
    """Whether a setting can be made: of the data, of a run, of a sample's codes, or in a recipe."""
    path, _, text = pair.partition("=")
    head, _, rest = path.partition(".")
    if head == "code":  # of `equilibria sample`: a code that a game lets its user choose
        codes = (code for row in RECIPES.values() for code in getattr(row.game, "codes", ()))
        return any(code.name == rest for code in codes)
    own = {"data": [DataOptions()], "run": [Settings()]}.get(head, list(RECIPES.values()))
    for record in own:
        try:
            replace_at(record, rest if head in {"data", "run"} else path, text)
        except ConfigError:
            continue
        return True
    return False


@pytest.mark.parametrize(("place", "pair"), PASTED)
def test_a_setting_in_a_fix_can_be_made(place: str, pair: str) -> None:
    assert resolves(shlex.split(pair)[0]), place


@pytest.mark.parametrize(("place", "name"), COMMANDS)
def test_a_command_in_a_fix_exists(place: str, name: str) -> None:
    assert name in get_command(cli.app).commands, place  # type: ignore[attr-defined]


def test_a_setting_that_does_not_exist_is_seen() -> None:
    """The check itself: wrong names and wrong values are refused."""
    assert FIXES and not resolves("data.sise=64") and not resolves("batch=many") and not resolves("game.objective=x")
    assert not resolves("code.zz=3")
    assert resolves("data.size=64") and resolves("run.keep=2") and resolves("game.objective=hinge")
