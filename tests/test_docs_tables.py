"""The page on tables: its code runs, and its numbers are those of the results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/tables.md", "exec"), names)


def test_the_options_of_the_page_are_options() -> None:
    from equilibria.data import DataOptions

    named = set(re.findall(r"`data\.(\w+)=", PAGE))
    assert {"kind", "category", "missing", "drop", "label"} <= named
    assert named <= set(DataOptions.__dataclass_fields__)  # type: ignore[attr-defined]
