"""The code of docs/explore.md runs, and its commands have the options and pages that they are written with."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from equilibria.cli import app
from equilibria.cli.exploring import PAGES

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "explore.md").read_text()


def blocks(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))


def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(blocks("python"), "docs/explore.md", "exec"), names)
    assert names["sevens"].shape == (64, 1, 8, 8) and names["one"].shape == (1, 1, 8, 8)  # type: ignore[attr-defined]


def test_the_commands_have_the_options_they_are_written_with() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for line in filter(None, blocks("sh").splitlines()):
        program, command, *words = line.split("#")[0].split()
        words = words if command == "train" else words[1:]
        assert program == "equilibria"
        options = {name for parameter in commands[command].params for name in parameter.opts}
        given = {word for word in words if word.startswith("--")}
        assert given <= options, line
        if command == "explore":
            page = words[0] if words and not words[0].startswith("--") else "interpolate"
            own = {"--out", "--seed", "--best", "--pick"} | {f"--{name}" for name in PAGES[page].options}
            assert page in PAGES and given <= own, line
