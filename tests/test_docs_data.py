"""The code of docs/data.md runs, and the options of its commands can be set."""

import re
from pathlib import Path

import pytest

from equilibria.base.settings import replace_at
from equilibria.data import DataOptions

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    exec(compile("\n".join(blocks), "docs/data.md", "exec"), {})
    said = capsys.readouterr().out
    assert "a list of 12 Pillow images" in said and "a DataLoader of 12 examples with labels" in said


def test_the_options_can_be_set() -> None:
    pairs = re.findall(r"--set data\.(\w+)=(\S+)", PAGE.replace("`", " "))
    assert len(pairs) >= 7
    for name, text in pairs:
        assert getattr(replace_at(DataOptions(), name, text), name) != getattr(DataOptions(), name)
