"""Fixes work when they are pasted: those that are written out in the code, and all that the suite raises."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from conftest import Raised
from equilibria import cli
from equilibria.base.errors import ConfigError
from equilibria.base.settings import replace_at
from equilibria.core.optimizers import Adam
from equilibria.data import NAMED, DataOptions
from equilibria.recipes import RECIPES
from equilibria.training import Settings

SOURCE = Path(__file__).resolve().parents[1] / "src" / "equilibria"
ERRORS = {"ConfigError", "DataError", "RunError", "ShapeError", "EquilibriaError"}
SETTING = re.compile(r"""--set ('[^']+'|[\w.]+=[^\s;)`'"]*[^\s;,.)`'"])""")
COMMAND = re.compile(r"\bequilibria ([a-z]+)\b")
WHOLE = re.compile(r"(?:^|[\s`])equilibria ([a-z]+[^`\n;]*?)(?=`|$| \()")
FETCH = re.compile(r"python -m equilibria\.data\.fetch ([\w-]+)")


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


def resolves(pair: str, root: Any = None, place: str = "") -> bool:
    """Whether a setting can be made: in this record; else of the data, of a run, of a sample's codes, in a recipe."""
    path, _, text = pair.partition("=")
    head, _, rest = path.partition(".")
    if head == "code":  # of `equilibria sample`: a code that a game lets its user choose
        codes = (code for row in RECIPES.values() for code in getattr(row.game, "codes", ()))
        return any(code.name == rest for code in codes)
    elsewhere = {"data": [DataOptions()], "run": [Settings()]}.get(head, list(RECIPES.values()))
    inside = rest if head in {"data", "run"} else path
    tries = [(record, inside) for record in elsewhere]
    if root is not None and path.startswith(place) and not (head in {"data", "run"} and not place):
        tries = [(root, path.removeprefix(place))]
    for record, where in tries:
        try:
            replace_at(record, where, text)
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


def wrong_with(one: Raised) -> list[str]:
    """The parts of a fix that do not work: settings, commands, fetches, keyword arguments of a record."""
    wrong = [pair for pair in SETTING.findall(one.fix) if not resolves(shlex.split(pair)[0], one.root, one.place)]
    commands = get_command(cli.app).commands  # type: ignore[attr-defined]
    for line in WHOLE.findall(one.fix):
        name, *words = shlex.split(line)
        try:
            commands[name].make_context(name, words)
        except Exception:  # a usage error of the parser, which is another class in each release
            wrong.append(line)
    wrong += [name for name in FETCH.findall(one.fix) if name not in NAMED or NAMED[name].fetch is None]
    if one.made is not None:
        cls, settings = one.made
        try:
            cls(**dict(settings))
        except ConfigError:
            wrong.append(f"{cls.__name__}: {one.fix}")
    return wrong


def tried(one: Raised) -> int:
    """How many parts of a fix are settings, commands, fetches or keyword arguments of a record."""
    return sum(len(kind.findall(one.fix)) for kind in (SETTING, WHOLE, FETCH)) + (one.made is not None)


def test_what_does_not_work_is_seen() -> None:
    gan = RECIPES["gan"]

    def wrong(fix: str, root: Any = None, made: Any = None) -> list[str]:
        return wrong_with(Raised(fix, root, "", made))

    assert wrong("add --set optimizer.lrr=1, or `equilibria train --resume runs/a`", gan) == ["optimizer.lrr=1"]
    assert wrong("run `equilibria tarin`") == ["tarin"] and wrong("`equilibria train --resum runs/a`")
    assert wrong("python -m equilibria.data.fetch x") == ["x"] and wrong("lr=0", made=(Adam, (("lr", 0.0),)))
    assert not wrong("--set 'game.penalties=r1(gamma=2)' or --set batch=4 (known: r1, r2)", gan)
    assert not wrong("python -m equilibria.data.fetch mnist") and not wrong("lr=1", made=(Adam, (("lr", 1.0),)))


@pytest.mark.slow  # one process sees the fixes of its own tests only: run without xdist
def test_every_fix_that_the_suite_raised_works(
    raised: list[tuple[Raised, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Comes last (tests/conftest.py): how many there are depends on which tests were run."""
    wrong = {(place, one.fix): bad for one, place in raised if (bad := wrong_with(one))}
    parts, failing = sum(tried(one) for one, _ in raised), sum(map(len, wrong.values()))
    with capsys.disabled():
        print(f"\n{len(raised)} fixes raised, {parts} settings and commands in them, {parts - failing} work")
    assert not wrong
