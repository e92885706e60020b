"""The reader of a run's folder: what it gives of a whole run, and what damage does in strict and in lenient mode."""

from __future__ import annotations

import ast
import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import equilibria as eq
from equilibria.base.errors import RunError
from equilibria.recipes import Recipe
from equilibria.runs.folder import RunFolder, runs_in
from test_architecture import ROOT

KEPT = Path(__file__).with_name("old_runs")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEPT / "gan", tmp_path / "a run"))


def test_a_whole_run(run: Path) -> None:
    found = RunFolder.open(run)
    info = json.loads((run / "run.json").read_text())
    assert found.info == info and found.whole and found.notes == ()
    assert isinstance(found.recipe, Recipe) and found.recipe.name == "gan" and found.recipe.batch == 32
    assert found.settings.keep == 1 and found.spec.shape == (2,) and found.options.held_out == 0.1
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert list(found.rows) == [json.loads(line) for line in lines] and found.rows[-1]["step"] == 60
    assert [one.step for one in found.checkups] == [
        json.loads(line)["step"] for line in (run / "checkups.jsonl").read_text().splitlines()
    ]
    assert found.diagnosis == json.loads((run / "diagnosis.json").read_text())
    assert found.evaluation == json.loads((run / "evaluation.json").read_text())
    assert [one.step for one in found.snapshots] == [30, 60]
    stored = np.load(run / "samples" / "step-00000060.npz")["x"]
    assert np.array_equal(found.snapshots[1].array(), stored) and found.snapshots[0].picture() is None
    picture = found.snapshots[1].picture()
    assert picture is not None and picture.mode == "RGB" and found.points() is None
    assert [path.name for path in found.checkpoints] == ["step-00000060"] and found.played == 60 and not found.stages


def test_a_run_in_stages() -> None:
    found = RunFolder.open(KEPT / "adagan")
    assert list(found.stages) == ["component-01", "component-02"] and found.played == 40 + 20
    assert found.evaluation == found.diagnosis == {} and found.checkpoints == []
    assert {path.name for path in runs_in(KEPT)} == {"gan", "r3gan-conditional", "adagan"}


def test_files_are_read_when_the_folder_is_opened_again(run: Path) -> None:
    first = RunFolder.open(run)
    rows = first.rows
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 61}\n{"step": 62, "lo')
    assert first.rows is rows and RunFolder.open(run).rows[-1] == {"step": 61}, "a torn last line is being written"


def without(name: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        info = json.loads((run / "run.json").read_text())
        del info[name]
        (run / "run.json").write_text(json.dumps(info))

    return change


def written(file: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda run: (run / file).write_text(change((run / file).read_text())) and None


def other(value: Any) -> Callable[[str], str]:
    return lambda _: json.dumps(value)


DAMAGE: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "a key of run.json": (without("horizon"), "info", "'horizon' is missing"),
    "a newer format": (written("run.json", lambda text: text.replace('"format": 1', '"format": 99')), "info", "99"),
    "names that are none": (
        written("run.json", lambda text: text.replace('"own": []', '"own": [{}]')),
        "info",
        "'own' does not list names",
    ),
    "a row": (written("metrics.jsonl", lambda text: "nonsense\n" + text), "rows", "line 1 of metrics.jsonl"),
    "a step": (written("metrics.jsonl", lambda text: '{"step": true}\n' + text), "rows", "line 1 of metrics.jsonl"),
    "a check-up": (written("checkups.jsonl", lambda text: '{"step": 1}\n' + text), "checkups", "line 1 of checkups"),
    "an evaluation": (written("evaluation.json", lambda text: text[:-9]), "evaluation", "evaluation.json is damaged"),
    "a metric": (written("evaluation.json", other({"w1": 3, "fid": {"value": "x"}})), "evaluation", "2 metrics"),
    "a diagnosis": (written("diagnosis.json", other([1])), "diagnosis", "diagnosis.json is damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_or_noted(run: Path, name: str) -> None:
    damage, piece, what = DAMAGE[name]
    damage(run)
    with pytest.raises(RunError, match=what) as refused:
        getattr(RunFolder.open(run), piece)
    assert str(run) in refused.value.what
    found = RunFolder.open(run, strict=False)
    for other_piece in ("rows", "checkups", "evaluation", "diagnosis", "snapshots"):
        getattr(found, other_piece)
    assert len(found.notes) == 1 and what in found.notes[0] and str(run) not in found.notes[0]


@pytest.mark.parametrize("name", ["a diagnosis", "a row"])
def test_the_fix_of_damage_works_when_it_is_pasted(run: Path, name: str) -> None:
    damage, piece, _ = DAMAGE[name]
    damage(run)
    with pytest.raises(RunError) as refused:
        getattr(RunFolder.open(run), piece)
    pasted = refused.value.fix.split(": ", 1)[1]
    if pasted.startswith("RunFolder"):
        assert len(eval(pasted, {"RunFolder": RunFolder}).rows) == len(RunFolder.open(KEPT / "gan").rows)
    else:
        subprocess.run(pasted, shell=True, check=True)
        assert RunFolder.open(run).diagnosis == {}


def test_the_evaluation_is_written_again_by_the_command_of_its_fix(run: Path) -> None:
    DAMAGE["an evaluation"][0](run)
    with pytest.raises(RunError) as refused:
        _ = RunFolder.open(run).evaluation
    command = shlex.split(refused.value.fix.split(": ", 1)[1])
    assert command == ["equilibria", "evaluate", str(run)]


def test_a_folder_that_is_no_run_says_where_one_is(run: Path, tmp_path: Path) -> None:
    for nowhere in (tmp_path, tmp_path / "gone", tmp_path / "gone" / "deeper"):
        for strict in (True, False):
            with pytest.raises(RunError, match="is not a run") as refused:
                RunFolder.open(nowhere, strict=strict)
            command = shlex.split(refused.value.fix.split(": ", 1)[1])
            assert command == ["equilibria", "runs", *([str(tmp_path)] if "deeper" not in str(nowhere) else [])]


def test_a_report_is_written_of_a_damaged_run(run: Path) -> None:
    for name in ("a row", "a check-up", "an evaluation", "a diagnosis", "a key of run.json"):
        DAMAGE[name][0](run)
    page = eq.runs.write_report(run).read_text(encoding="utf-8")
    for what in (
        "horizon",
        "metrics.jsonl",
        "checkups.jsonl",
        "evaluation.json is damaged",
        "diagnosis.json is damaged",
    ):
        assert what in page


FILES = ("run.json", "metrics.jsonl", "checkups.jsonl", "diagnosis.json", "evaluation.json")
READS = {"read_bytes", "read_text", "read_rows", "loads"}
CONSTANTS = {"ROWS", "DIAGNOSIS", "METRICS", "EVALUATION"}


def readers(source: str) -> list[str]:
    """Functions that name a file of a run and call something that reads: ``(… / "run.json").read_text()``."""
    found = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        names = {n.value for n in ast.walk(function) if isinstance(n, ast.Constant) and n.value in FILES}
        names |= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and n.id in CONSTANTS}
        calls = {
            getattr(n.func, "attr", getattr(n.func, "id", "")) for n in ast.walk(function) if isinstance(n, ast.Call)
        }
        if names and calls & READS:
            found.append(function.name)
    return found


def test_nothing_else_reads_a_run() -> None:
    """The training package has the low-level parser of a log and writes; everything above asks RunFolder."""
    planted = 'def kept(run):\n    return parsed((run / "diagnosis.json").read_bytes())\n'
    assert readers(planted) == ["kept"]
    for package in ("runs", "reports", "cli", "training"):
        for file in sorted((ROOT / "src" / "equilibria" / package).rglob("*.py")):
            if file.name != "folder.py":
                assert not readers(file.read_text(encoding="utf-8")), file
