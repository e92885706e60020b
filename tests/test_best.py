"""The best checkpoint: which round is kept, that a kill changes nothing, and what opens it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import equilibria
from equilibria.base.errors import RunError
from equilibria.cli import app
from equilibria.core.game import Loss
from equilibria.data import load
from equilibria.doctor.space import space_of
from equilibria.recipes import recipe
from equilibria.training import Settings, checkpoint
from equilibria.training.best import FOLDER, Best, _features, drop_after, judge_of, kept

QUIET = Settings(progress=False, doctor=False, evaluate=False, device="cpu", checkpoint_every=20, sample_every=100)
ROW = recipe("gan").with_settings({"batch": "16", "optimizer.lr": "0.003"})


def trained(out: Path, steps: int = 100) -> Any:
    return equilibria.train(ROW, "ring8-U", steps=steps, out=out, settings=QUIET, seed=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trained(tmp_path_factory.mktemp("best") / "run")


class Scripted:
    """A judge that gives these numbers in turn."""

    def __init__(self, numbers: dict[int, float]) -> None:
        self.numbers = numbers

    def __call__(self, play: Any) -> float:
        return self.numbers[play.round]


def rounds(folder: Path) -> list[int]:
    return [one.round for one in kept(folder)]


def played(run: Any, folder: Path, numbers: dict[int, float], upto: int, saves: tuple[int, ...] = ()) -> Best:
    """The hook at rounds 1 … ``upto`` of a play that stands still, with checkpoints at ``saves``."""
    best = Best(folder, 1, 99, "distance", Scripted(numbers))
    for step in range(1, upto + 1):
        run.play.round = step
        if best.due(step):
            best.look(run.play, dict[str, Loss]())
        if step in saves:
            best.prune()
            checkpoint.save(run.play, folder / "checkpoints", 3)
    return best


def test_the_smallest_number_is_kept_and_ties_keep_the_first(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", 2)
    shutil.rmtree(run.path / FOLDER)
    played(run, run.path, {1: 5.0, 2: 3.0, 3: 4.0, 4: 3.0, 5: 9.0}, 5)
    assert rounds(run.path / FOLDER) == [2, 1]
    drop_after(run.path, 1)  # the run goes back to round 1
    assert rounds(run.path / FOLDER) == [1]


def test_what_was_surpassed_goes_only_after_a_later_checkpoint(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", 2)
    shutil.rmtree(run.path / FOLDER, ignore_errors=True)
    shutil.rmtree(run.path / "checkpoints")
    numbers = {1: 5.0, 2: 4.0, 3: 3.0, 4: 2.0, 5: 1.0, 6: 0.5}
    played(run, run.path, numbers, 5, saves=(2, 4))
    assert set(rounds(run.path / FOLDER)) >= {2, 5}, "a run that goes back to round 2 still has its best one"
    run.play.round = 5
    best = Best(run.path, 1, 99, "distance", Scripted(numbers))
    checkpoint.save(run.play, run.path / "checkpoints", 3)
    best.prune()
    assert rounds(run.path / FOLDER) == [5]


def test_a_run_that_was_killed_keeps_the_same_round_and_bits(run: Any, tmp_path: Path) -> None:
    whole = kept(run.path / FOLDER)[0]
    assert 0 < whole.round <= 100 and whole.round % 5 == 0 and whole.measure == "distance"
    for cut in (80, 60):  # as if it had been killed soon after that checkpoint
        again = trained(tmp_path / f"again{cut}")
        checkpoint.drop(again.path / "checkpoints", cut)
        resumed = equilibria.resume(again.path)
        found = kept(resumed.path / FOLDER)[0]
        assert (found.round, found.value) == (whole.round, whole.value)
        assert (found.path / "state.safetensors").read_bytes() == (whole.path / "state.safetensors").read_bytes()


def test_its_samples_are_the_ones_that_were_measured(run: Any) -> None:
    best = equilibria.open_run(run.path, best_round=True)
    judge, one = judge_of("distance", load("ring8-U")), kept(run.path / FOLDER)[0]
    assert best.play.round == one.round and judge(best.play) == pytest.approx(one.value, rel=1e-6)
    newest = equilibria.open_run(run.path)
    assert judge(newest.play) >= one.value and newest.play.round == 100


def test_the_distance_is_smaller_for_samples_of_the_law(run: Any) -> None:
    judge = judge_of("distance", load("ring8-U"))
    good, bad = judge(_Still(load("ring8-U").law.sample(512, torch.Generator().manual_seed(5)))), judge(run.play)
    assert good < bad / 2


def test_the_distance_of_images_sees_noise_and_a_missing_class() -> None:
    digits = load("digits")
    judge, rows = judge_of("distance", digits), digits.take(256, 3)
    good = judge(_Still(rows["x"]))
    noisy = judge(_Still(rows["x"] + 0.3 * torch.randn(rows["x"].shape, generator=torch.Generator().manual_seed(0))))
    few = judge(_Still(rows["x"][rows["y"] < 5].repeat(3, 1, 1, 1)))
    assert good < 0.9 * noisy and good < 0.9 * few  # its floor is high: 180 rows are held out


def test_the_last_feature_is_what_the_components_leave_out() -> None:
    rows = load("digits").take(300)["x"]
    space = space_of(rows)
    assert space.axes is not None
    basis = torch.linalg.qr(space.axes.double()).Q
    flat = ((rows.flatten(1) - space.mean) / space.scale).double()
    left = (flat - flat @ basis @ basis.T).norm(dim=1) / space.axes.shape[1] ** 0.5
    torch.testing.assert_close(_features(space, rows)[:, -1], left, rtol=1e-3, atol=1e-3)


class _Still:
    """A play whose samples are these rows."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows, self.device = rows, torch.device("cpu")
        self.game = type("G", (), {"judged": {"samples": "x"}, "needs": (), "shows": (), "classes": 0})()

    def views(self, n: int, *rest: Any, **more: Any) -> dict[str, torch.Tensor]:
        return {"samples": self.rows[:n]}


def test_the_command_samples_it_and_the_report_names_it(run: Any, tmp_path: Path) -> None:
    cli = CliRunner()
    for words, name in (([], "newest"), (["--best"], "best")):
        out = tmp_path / f"{name}.npz"
        assert cli.invoke(app, ["sample", str(run.path), "-n", "9", "--out", str(out), *words]).exit_code == 0
    with np.load(tmp_path / "best.npz") as made:
        expected = equilibria.open_run(run.path, best_round=True).sample(9)
        assert np.array_equal(made["x"], expected.numpy())
    run.evaluate(200)
    assert f"The samples of round {kept(run.path / FOLDER)[0].round}" in run.report().read_text()


def test_its_evaluation_is_kept_beside_that_of_the_newest_round(run: Any) -> None:
    cli, best = CliRunner(), kept(run.path / FOLDER)[0].round
    newest = cli.invoke(app, ["evaluate", str(run.path), "-n", "200"])
    assert newest.exit_code == 0 and newest.output.startswith("Round 100:")
    told = (run.path / "evaluation.json").read_bytes()
    of_best = cli.invoke(app, ["evaluate", str(run.path), "-n", "200", "--best"])
    assert best < 100 and of_best.exit_code == 0 and of_best.output.startswith(f"Round {best}:")
    assert (run.path / "evaluation.json").read_bytes() == told
    own = json.loads((run.path / f"evaluation-{best}.json").read_text())
    expected = equilibria.open_run(run.path, best_round=True).evaluate(200)
    assert own == {name: value.to_dict() for name, value in expected.items()} != json.loads(told)


def test_without_one_it_is_said(tmp_path: Path) -> None:
    none = Settings(progress=False, doctor=False, evaluate=False, device="cpu", best="none")
    out = tmp_path / "run"
    equilibria.train(ROW, "ring8-U", steps=2, out=out, settings=none)
    assert not (out / FOLDER).exists()
    with pytest.raises(RunError, match="keeps no best round"):
        equilibria.open_run(out, best_round=True)


def test_a_metric_that_the_samples_do_not_have_is_a_warning(tmp_path: Path) -> None:
    odd = Settings(progress=False, doctor=False, evaluate=False, device="cpu", best="frechet")
    with pytest.warns(UserWarning, match="no metric 'frechet'"):
        equilibria.train(ROW, "ring8-U", steps=2, out=tmp_path / "run", settings=odd)
    metric = Settings(progress=False, doctor=False, evaluate=False, device="cpu", best="w1")
    equilibria.train(ROW, "ring8-U", steps=2, out=tmp_path / "other", settings=metric)
    assert kept(tmp_path / "other" / FOLDER)[0].measure == "w1"


def test_rows_that_are_all_alike_have_no_scale(tmp_path: Path) -> None:
    one = load(torch.full((20, 2), 3.0), kind="vector")
    equilibria.train(ROW, one, steps=2, out=tmp_path / "run", settings=QUIET)
    assert kept(tmp_path / "run" / FOLDER) == []


def test_a_folder_that_is_damaged_is_left_out(run: Any, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    for one in kept(copy / FOLDER):
        os.truncate(one.path / "measure.json", 3)
    assert kept(copy / FOLDER) == []
    assert equilibria.open_run(copy).play.round == 100
