"""The code of docs/runs.md runs, and its commands are commands."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from equilibria.cli import app

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "runs.md").read_text()


def blocks(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))


def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(blocks("python"), "docs/runs.md", "exec"), names)
    assert names["images"].shape == (100, 1, 8, 8) and names["y"].shape == (100,)  # type: ignore[attr-defined]
    assert names["points"].shape == (5, 2)  # type: ignore[attr-defined]
    assert capsys.readouterr().out.startswith(str(names["best"].play.round))  # type: ignore[attr-defined]


def test_the_commands_have_the_options_they_are_written_with() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for line in filter(None, blocks("sh").splitlines()):
        program, command, *words = line.split("#")[0].split()
        assert program == "equilibria"
        options = {name for parameter in commands[command].params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
