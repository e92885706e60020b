"""`equilibria compare`: plans, claims, kills, existing runs, and what the tables say."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equilibria import cli, compare
from equilibria.base.errors import ConfigError, EquilibriaError, RunError
from equilibria.compare import cells, page, results, summarised, tables
from equilibria.compare.cells import Cell
from equilibria.compare.claims import Claims, Holder
from equilibria.compare.plan import default_folder, folder_of, named
from equilibria.training import Settings

QUIET = replace(compare.QUIET, doctor=False, best="none")


def points(folder: Path, n: int = 60, seed: int = 0) -> str:
    path = folder / f"points{seed}.npy"
    np.save(path, np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32))
    return str(path)


def small(folder: Path, *methods: str, seeds: int = 2, **how: Any) -> compare.plan.Plan:  # type: ignore[name-defined]
    return compare.planned(
        methods or ("gan:batch=4", "wgan-gp:batch=4"), [points(folder)], seeds=seeds, steps=4, settings=QUIET, **how
    )


def cell(method: str, seed: int, value: float | None, *, higher: bool = False, problem: str = "p") -> Cell:
    metrics = {"score": {"value": value, "floor": 0.9 if higher else 0.1, "spread": 0.0, "unit": "", "n": 9}}
    metrics["score"]["higher"] = higher
    status = "ok" if value is not None else "diverged at round 3: the loss is not finite"
    return Cell(method, problem, seed, status, metrics if value is not None else {}, 4, {}, "", (), f"runs/{seed}")


# Plans ----------------------------------------------------------------------------------------------------------------


def test_a_method_is_a_recipe_with_settings_and_commas_inside_values_stay() -> None:
    found = named(["gan:batch=32,optimizer.lr=1e-3", "wgan-gp", "gan:game.penalties=r1,r2"])
    first, _, third = found.values()
    assert first.batch == 32
    assert len(third.game.penalties) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("methods", "data", "said"),
    [
        (["gan", "gan"], "ring8-U", "given twice"),
        (["gan", "wgan-pg"], "ring8-U", "wgan-gp"),
        (["gan:32"], "ring8-U", "not key=value"),
        ([], "ring8-U", "no method"),
        (["gan"], None, "no data"),
    ],
)
def test_wrong_words_are_named_before_anything_is_written(methods: list[str], data: str | None, said: str) -> None:
    with pytest.raises(EquilibriaError, match=said):
        compare.planned(methods, [data] if data else [], seeds=2)


def test_data_without_a_source_are_refused_with_a_fix() -> None:
    from equilibria.data import load

    with pytest.raises(ConfigError, match=r"numpy\.savez"):
        compare.planned(["gan"], [load(np.zeros((20, 2), np.float32))], seeds=2)


def test_a_plan_is_read_back_as_it_was_and_another_is_refused(tmp_path: Path) -> None:
    plan, out = small(tmp_path), tmp_path / "c"
    compare.kept(out, plan)
    again = compare.kept(out, plan)
    assert again.written() == plan.written() == compare.read(out).written()
    with pytest.raises(RunError, match="other seeds"):
        compare.kept(out, small(tmp_path, seeds=3))
    assert default_folder(plan) == default_folder(again) != default_folder(small(tmp_path, seeds=3))


def test_changed_data_are_refused(tmp_path: Path) -> None:
    plan = small(tmp_path)
    points(tmp_path, n=61)
    with pytest.raises(RunError, match="have changed"):
        next(iter(plan.problems.values())).load()


def test_a_damaged_plan_is_named(tmp_path: Path) -> None:
    compare.kept(tmp_path / "c", small(tmp_path))
    (tmp_path / "c" / "plan.json").write_text('{"format": 1}')
    with pytest.raises(RunError, match="damaged"):
        compare.read(tmp_path / "c")
    with pytest.raises(RunError, match=r"holds no plan\.json"):
        compare.read(tmp_path / "d")


# Claims ---------------------------------------------------------------------------------------------------------------


def test_a_block_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    mine, other = Claims(tmp_path), Claims(tmp_path)
    with mine.held("a") as first, other.held("a") as second, other.held("b") as third:
        assert (first, second, third) == (True, False, True)
    with other.held("a") as later:
        assert later


def test_the_claim_of_an_ended_process_is_taken_over(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    dead = replace(Holder.here(), pid=ended.pid)
    for holder, free in (
        (dead, True),
        (replace(Holder.here(), begun="1"), True),  # another process has the same number now
        (replace(dead, place="another machine"), False),
    ):
        (tmp_path / "claims" / "a.json").write_text(json.dumps(vars(holder)))
        with claims.held("a") as mine:
            assert mine is free


def test_a_claim_of_another_machine_is_dead_when_it_is_not_touched(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    file = tmp_path / "claims" / "a.json"
    file.write_text(json.dumps(vars(replace(Holder.here(), place="another machine"))))
    os.utime(file, (time.time() - 1000, time.time() - 1000))
    with claims.held("a") as mine:
        assert mine


# Work -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of one method whose seeds train side by side, and one whose do not."""
    folder = tmp_path_factory.mktemp("compare")
    compare.kept(folder / "c", small(folder, seeds=3))
    assert compare.work(folder / "c", lambda line: None)
    compare.opened(folder / "c")
    return folder / "c"


def test_every_cell_is_an_ordinary_run_and_the_tables_have_it(done: Path) -> None:
    plan = compare.read(done)
    assert len(plan.together) == 1
    found = results.collected(done, plan)
    assert len(found) == 6
    for one in found:
        assert (done / one.run / "run.json").is_file()
        evaluation = json.loads((done / one.run / "evaluation.json").read_text())
        assert one.metrics == evaluation
    lines = (done / "results.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(len(one.metrics) for one in found)


def test_the_cost_counts_the_turns_of_the_discriminator(done: Path) -> None:
    by_method = {one.method: one.cost for one in results.collected(done, compare.read(done))}
    assert by_method["gan:batch=4"]["discriminator updates"] == 4
    assert by_method["wgan-gp:batch=4"]["discriminator updates"] == 20  # five a round
    assert by_method["wgan-gp:batch=4"]["examples"] == 80


KILLED = """
import sys
from pathlib import Path
from equilibria import compare
compare.work(Path(sys.argv[1]), lambda line: None)
"""


def worker(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], env=environment)


def test_killed_workers_leave_the_same_bytes(done: Path, tmp_path: Path) -> None:
    compare.kept(tmp_path / "c", compare.read(done))
    chance = random.Random(3)
    for _ in range(4):
        one = worker(tmp_path / "c")
        time.sleep(chance.uniform(3.0, 9.0))
        one.send_signal(signal.SIGKILL)
        one.wait()
    last = [worker(tmp_path / "c") for _ in range(2)]
    assert [one.wait(300) for one in last] == [0, 0]
    compare.opened(tmp_path / "c")
    assert (tmp_path / "c" / "results.csv").read_bytes() == (done / "results.csv").read_bytes()


def test_one_cell_or_the_next_one(done: Path, tmp_path: Path) -> None:
    out, plan = tmp_path / "c", compare.read(done)
    compare.kept(out, plan)
    with pytest.raises(ConfigError, match="no cell 9 among"):
        compare.work(out, lambda line: None, only=9)
    assert compare.work(out, lambda line: None, only=3)
    assert [block.seeds for block in compare.missing(out, plan)] == [(0, 1, 2), (0,), (1,)]
    assert compare.work(out, lambda line: None, once=True)
    assert len(compare.missing(out, plan)) == 2


def test_a_seed_that_diverges_is_a_result_and_ranks_worst(tmp_path: Path) -> None:
    plan = small(tmp_path, "gan:batch=4", "gan:batch=4,optimizer.lr=1e30", seeds=2)
    compare.kept(tmp_path / "c", plan)
    assert compare.work(tmp_path / "c", lambda line: None)
    study = compare.opened(tmp_path / "c")
    worst = study.summary.rows[-1]
    assert worst.method.endswith("1e30")
    assert worst.ok == 0
    assert worst.median is None
    assert worst.mean.estimate is None
    assert worst.collapse.failed == 2
    assert "failed" in str(study)


# Runs that were there already -----------------------------------------------------------------------------------------


def test_runs_are_compared_and_refused_by_the_field_that_differs(done: Path, tmp_path: Path) -> None:
    from equilibria import runs

    plan = compare.read(done)
    ours = [done / folder_of(*pair, seed) for pair in plan.pairs for seed in plan.seeds]
    found = compare.of_these(ours).summary
    assert {row.method for row in found.rows} == {"gan:batch=4", "wgan-gp:batch=4"}
    data = next(iter(plan.problems.values())).load()
    runs.train(plan.methods["gan:batch=4"], data, steps=5, out=tmp_path / "longer", settings=QUIET)
    with pytest.raises(RunError, match="rounds 4 and 5"):
        compare.of_these([*ours, tmp_path / "longer"])
    other = points(tmp_path)
    np.save(other, np.load(other) + 1)
    runs.train(plan.methods["gan:batch=4"], other, steps=4, out=tmp_path / "other", settings=QUIET)
    with pytest.raises(RunError, match="data fingerprint"):
        compare.of_these([*ours, tmp_path / "other"])
    with pytest.raises(RunError, match="no evaluation"):
        bare = Settings(progress=False, evaluate=False, doctor=False, best="none")
        runs.train(plan.methods["gan:batch=4"], data, steps=4, out=tmp_path / "bare", settings=bare)
        compare.of_these([tmp_path / "bare"])


# What is said ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("higher", [False, True])
def test_methods_are_ordered_by_their_medians_in_the_sense_of_the_metric(higher: bool) -> None:
    low, high = [0.2, 0.3, 0.25, 0.28, 0.22], [0.5, 0.6, 0.7, 0.65, 0.55]
    found = [cell("low", i, v, higher=higher) for i, v in enumerate(low)]
    found += [cell("high", i, v, higher=higher) for i, v in enumerate(high)]
    summary = summarised(found, 5)
    first, second = summary.rows
    assert (first.method, second.method) == (("high", "low") if higher else ("low", "high"))
    by_name = {row.method: row for row in summary.rows}
    assert by_name["low"].median == 0.25
    assert by_name["low"].worst == (0.2 if higher else 0.3)
    mean = by_name["high"].mean
    assert mean.low is not None and mean.high is not None and mean.estimate == pytest.approx(0.6)
    assert mean.low < 0.6 < mean.high
    assert summary.verdicts is not None
    assert [(c.first, c.second) for c in summary.verdicts.claims()] == [(first.method, second.method)]
    assert (first.letter, second.letter) == ("a", "b")


def test_a_failed_seed_ranks_worst_and_there_is_no_mean() -> None:
    found = [cell("a", i, v) for i, v in enumerate([1.0, 2.0, None])] + [cell("b", i, 9.0) for i in range(3)]
    first = summarised(found, 3).rows[0]
    assert (first.method, first.median, first.mean.estimate, first.worst, first.ok) == ("a", 2.0, None, None, 2)
    assert found[2].value("score") == math.inf


def test_every_form_has_every_method_and_its_claim() -> None:
    found = [cell("a|b_c", i, 0.2 + 0.01 * i) for i in range(5)] + [cell("d", i, 0.6 + 0.01 * i) for i in range(5)]
    summary = summarised(found, 5)
    assert "On p a|b_c is better than d." in tables.text(summary)
    assert "a\\|b_c" in tables.markdown(summary)
    assert "a|b\\_c" in tables.latex(summary)
    assert json.loads(tables.as_json(summary))["rows"][0]["method"] == "a|b_c"


def test_the_page_has_every_seed_loads_nothing_and_escapes_names() -> None:
    found = [cell("<b>a", i, 0.2 + 0.01 * i) for i in range(5)] + [cell("d", i, None if i else 0.5) for i in range(5)]
    made = page.html(summarised(found, 5))
    assert "&lt;b&gt;a" in made and "<b>a" not in made
    assert "http" not in made.replace("http-equiv", "")
    assert made == page.html(summarised(found, 5))


def test_the_command_of_a_cell_trains_it_again(done: Path) -> None:
    plan = compare.read(done)
    line = page.command(plan, "gan:batch=4", next(iter(plan.problems))).splitlines()[1]
    assert line.startswith("equilibria train gan --set batch=4 --data ") and line.endswith("--steps 4 --seed 1")


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'score'"):
        summarised([cell("a", 0, 1.0), cell("b", 0, 2.0)], 1, ["scores"])


def test_cells_come_back_from_their_files(tmp_path: Path) -> None:
    one = cell("a", 3, 1.5)
    cells.keep(tmp_path, one)
    file = cells.file_of(tmp_path, "a", "p", 3)
    assert cells.read(file) == one
    assert cells.read(tmp_path / "none.json") is None
    file.write_text("{}")
    with pytest.raises(RunError, match="damaged"):
        cells.read(file)


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_trains_prints_and_prints_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["compare", "gan:batch=4", "gan-simultaneous:batch=4", "--data", points(tmp_path), "--seeds", "2"]
    words += ["--steps", "2", "--set", "run.doctor=false", "--set", "run.best=none"]
    assert cli.main(words) == 0
    first = capsys.readouterr().out
    assert "Methods with a letter in common are not told apart" in first
    folder = next((tmp_path / "comparisons").iterdir())
    assert cli.main(["compare", str(folder)]) == 0
    again = capsys.readouterr().out
    assert again.strip() in first
    assert cli.main([*words, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2
    assert cli.main(["compare", "gan", "--data", "ring8-U", "--set", "batch=3"]) == 1
    assert "gan:batch=3" in capsys.readouterr().err


def test_a_plan_is_worked_on_by_other_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "c")
    words = ["gan:batch=4", "wgan-gp:batch=4", "--data", points(tmp_path), "--seeds", "1", "--steps", "2"]
    words += ["--set", "run.doctor=false", "--set", "run.best=none"]
    assert cli.main(["compare", "plan", *words, "--out", out]) == 0
    assert "2 cells, numbers 0 to 1" in capsys.readouterr().out
    assert cli.main(["compare", out]) == 1  # no result yet
    assert "equilibria compare work" in capsys.readouterr().err
    assert cli.main(["compare", "work", out, "--cell", "1"]) == 0
    assert "cells without a result: 1" in capsys.readouterr().out
    assert cli.main(["compare", "work", out]) == 0
    assert "Every cell has a result" in capsys.readouterr().out
