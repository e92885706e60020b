"""Every JSON file and output is JSON for a strict parser, and a run that diverged says so wherever it is looked at."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import equilibria as eq
from equilibria.base.errors import EquilibriaError
from equilibria.base.records import parsed, written
from equilibria.cli import main
from equilibria.runs.folder import RunFolder
from equilibria.training import hooks

TINY = {"networks.vector.width": "8", "batch": "16", "optimizer": "sgd(lr=1e30)"}
OFTEN = eq.Settings(device="cpu", progress=False, evaluate=False, log_every=1, checkpoint_every=1, sample_every=1000)


def refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def strict(text: str) -> Any:
    """The value of a text by RFC 8259, which knows no NaN."""
    return json.loads(text, parse_constant=refuse)


def diverge(out: Path, settings: eq.Settings = OFTEN) -> EquilibriaError:
    with pytest.raises(EquilibriaError, match="diverged") as raised:
        eq.train(eq.recipe("wgan").with_settings(TINY), "ring8-M", steps=8, out=out, settings=settings)
    return raised.value


@pytest.fixture(scope="module")
def diverged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("diverged") / "run"
    diverge(out)
    return out


def test_every_json_file_of_a_diverged_run_passes_a_strict_parser(diverged: Path) -> None:
    read = 0
    for file in sorted(diverged.rglob("*.json*")):
        for text in file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            strict(text)
            read += 1
    assert read >= 5
    rows = eq.open_run(diverged).rows()
    assert not all(math.isfinite(v) for v in rows[-1].values()), "the last row holds what was not finite"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_come_back_from_a_log(tmp_path: Path, value: float) -> None:
    log = hooks.Log(tmp_path / "metrics.jsonl", 1)
    log.write({"step": 1, "loss/generator": value, "each": [0.5, value]})
    strict(log.path.read_text())
    hooks.cut_rows(log.path, 1)
    strict(log.path.read_text())
    row = hooks.read_rows(log.path)[0]
    assert repr([row["loss/generator"], *row["each"]]) == repr([value, 0.5, value])


def test_logs_of_earlier_versions_are_read() -> None:
    row = hooks.parse_rows(b'{"step": 3, "loss/generator": NaN, "b": [Infinity, -Infinity], "c": "nanometre"}\n')[0][1]
    assert math.isnan(row["loss/generator"]) and row["b"] == [math.inf, -math.inf] and row["c"] == "nanometre"


def test_what_is_written_is_read_back() -> None:
    value = {"a": [1.5, {"b": math.inf}], "c": (math.nan,), "d": None, "e": "ü\x1b"}
    assert strict(written(value)) == {"a": [1.5, {"b": "inf"}], "c": ["nan"], "d": None, "e": "ü\x1b"}
    assert parsed(written({"a": 1}, indent=1).encode()) == {"a": 1}


def test_json_is_written_in_one_place() -> None:
    """``json.dumps`` writes NaN unless it is told not to."""
    package = Path(eq.__file__).parent
    found = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if re.search(r"json\.dumps?\((?!.*allow_nan=False)", file.read_text(encoding="utf-8"))
    }
    shown_or_sent = {"base/distributed.py", "runs/data_parallel.py", "recipes/row.py", "reports/report.py"}
    assert found <= shown_or_sent | {"doctor/diagnosis_text.py"}


@pytest.mark.filterwarnings("default")
def test_a_diverged_run_says_so(diverged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = RunFolder.open(diverged).diverged
    assert at is not None
    assert main(["runs", str(diverged.parent)]) == 0
    assert f"diverged at {at[0]}" in capsys.readouterr().out
    assert main(["runs", str(diverged.parent), "--json"]) == 0
    assert [row["state"] for row in strict(capsys.readouterr().out)] == [f"diverged at {at[0]}"]
    assert main(["evaluate", str(diverged), "-n", "64", "--json"]) == 1
    shown = capsys.readouterr()
    assert f"diverged at round {at[0]}" in shown.err and strict(shown.out)


def test_training_a_run_that_diverges_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"--set={name}={value}" for name, value in TINY.items()]
    quiet = ["--set=run.progress=false", "--set=run.log_every=1", "--device=cpu"]
    arguments = ["train", "wgan", "--data", "ring8-M", "--steps", "8", "--out", str(tmp_path / "run"), *words, *quiet]
    assert main(arguments) == 1
    assert "diverged" in capsys.readouterr().err
    assert main(["train", "--resume", str(tmp_path / "run")]) == 1


def test_a_run_that_diverges_between_two_logged_rounds_keeps_its_last_whole_checkpoint(tmp_path: Path) -> None:
    seldom = eq.Settings(
        device="cpu", progress=False, evaluate=False, doctor=False, log_every=100, checkpoint_every=1, sample_every=1000
    )
    error = diverge(tmp_path / "run", seldom)
    at = RunFolder.open(tmp_path / "run").diverged
    assert at is not None and at[1] in error.what
    run = eq.open_run(tmp_path / "run")
    assert run.play.round == at[0] - 1
    assert all(bool(p.isfinite().all()) for p in run.play.game.parameters())


def test_a_run_that_is_whole_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Path(__file__).with_name("old_runs") / "gan"
    shutil.copytree(kept, tmp_path / "run")
    assert RunFolder.open(tmp_path / "run").diverged is None
    assert main(["runs", str(tmp_path), "--json"]) == 0
    assert strict(capsys.readouterr().out)[0]["state"] in {"finished", "unfinished"}
