"""What the README says runs as it stands there, in the order in which it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from equilibria.cli import app

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    code = "\n".join(blocks("python"))
    assert code.count("eq.train(") == 2
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "huang2024r3gan" in done.stdout and (tmp_path / "runs" / "own" / "report.html").exists()


def test_the_commands_of_the_readme_exist() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("equilibria ")]
    assert len(lines) >= 5
    for line in lines:
        command, *words = shlex.split(line, comments=True)[1:]
        shown = CliRunner().invoke(app, [command, "--help"]).output
        options = [word for word in words if word.startswith("--")]
        assert "Usage" in shown and all(option in shown for option in options), line
