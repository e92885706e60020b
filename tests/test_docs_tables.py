"""The page on tables: its code runs, and its numbers are those of the results."""

from __future__ import annotations

import json
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


def test_the_numbers_of_the_page_are_those_of_the_results() -> None:
    results = json.loads((ROOT / "docs" / "results" / "tables.json").read_text(encoding="utf-8"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines()]
    shown = {(row[0], row[1]): row[2:] for row in rows if len(row) == 9 and row[0] in results["data"]}
    wanted = {(name, seed): one for name, own in results["data"].items() for seed, one in own["seeds"].items()}
    assert shown.keys() == wanted.keys() and {name for name, _ in shown} == {"wine", "iris", "adult"}
    for key, one in wanted.items():
        found = [float(cell) for cell in (*shown[key][1:4], *shown[key][5:])]
        numbers = [*one["worst"].values(), *one["auc"].values()]
        assert found == pytest.approx(numbers, abs=0.0051)
        # the gates, held by the numbers themselves
        assert max(one["worst"]["mean"], one["worst"]["spread"]) <= 0.10 and one["worst"]["total_variation"] <= 0.05
        assert max(one["auc"].values()) <= 0.75 and one["holds"]
