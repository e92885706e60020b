"""The code of docs/metrics.md runs, and its commands have the options they are written with."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from equilibria.cli import app
from equilibria.metrics.extractors import EXTRACTORS

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")


def blocks(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))


def test_the_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(compile(blocks("python"), "docs/metrics.md", "exec"), names)
    assert names["pixels"].shape == (2, 3, 299, 299)  # type: ignore[attr-defined]
    assert 7 < float(capsys.readouterr().out.split()[0]) < 9  # eight features, moved by one


def test_the_commands_have_the_options_they_are_written_with() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for line in filter(None, blocks("sh").splitlines()):
        if line.startswith("python -m equilibria.metrics.fetch "):
            assert line.split()[-1] in EXTRACTORS
            continue
        program, command, *words = line.split()
        assert program == "equilibria"
        options = {name for parameter in commands[command].params for name in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, line
