"""Many seeds: each an ordinary run, which is the lone run of its seed, and continued as if never stopped."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from equilibria import runs
from equilibria.base.errors import ConfigError, EquilibriaError, RunError
from equilibria.cli import app
from equilibria.core.ensemble import Ensemble
from equilibria.data import load
from equilibria.recipes import RECIPES, Recipe
from equilibria.runs import seeds, side_by_side
from equilibria.training import Settings, checkpoint, hooks, trainer

ROW = RECIPES["gan"].with_settings(
    {"networks.vector.width": "16", "networks.vector.depth": "2", "batch": "16", "optimizer.eps": "1e-4"}
)
QUIET = Settings(progress=False, log_every=2, checkpoint_every=4, sample_every=100, evaluate=False, doctor=False)
JUDGED = replace(QUIET, evaluate=True)
STEPS = 12


def trained(out: Path, **changes: Any) -> seeds.Seeds:
    return seeds.train_seeds(ROW, "ring8-U", **{"seeds": 3, "steps": STEPS, "out": out, "settings": QUIET, **changes})


def last(run: Path) -> checkpoint.Saved:
    saved = checkpoint.newest(run / "checkpoints")
    assert saved is not None
    return saved


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> seeds.Seeds:
    return trained(tmp_path_factory.mktemp("whole") / "seeds", settings=JUDGED)


def test_each_run_is_the_lone_run_of_its_seed(whole: seeds.Seeds, tmp_path: Path) -> None:
    assert whole.finished and whole.in_turn == "" and not whole.failed
    for seed, path in list(whole.runs.items())[1:2]:
        lone = runs.train(ROW, "ring8-U", steps=STEPS, seed=seed, out=tmp_path / str(seed), settings=JUDGED)
        found, own = last(path), last(lone.path)
        assert (found.round, found.turn) == (own.round, own.turn) and found.tensors.keys() == own.tensors.keys()
        torch.testing.assert_close(found.tensors, own.tensors, rtol=1e-3, atol=1e-5)
        for row, theirs in zip(hooks.read_rows(path / "metrics.jsonl"), lone.rows(), strict=True):
            assert row == pytest.approx(theirs, rel=1e-3, abs=1e-5)
        assert {p.name for p in path.iterdir()} == {p.name for p in lone.path.iterdir()}
        info, theirs = runs.open_run(path).info, lone.info
        assert {k: info[k] for k in ("recipe", "data", "seed", "steps", "horizon", "own")} == {
            k: theirs[k] for k in ("recipe", "data", "seed", "steps", "horizon", "own")
        }
        assert info["beside"] == [0, 1, 2]


def test_the_summary_is_mean_and_interval_of_the_evaluations(whole: seeds.Seeds) -> None:
    judged = [json.loads((path / "evaluation.json").read_text()) for path in whole.runs.values()]
    values = [one["reverse_kl"]["value"] if "reverse_kl" in one else one["modes"]["value"] for one in judged]
    name = "reverse_kl" if "reverse_kl" in judged[0] else "modes"
    assert whole.metrics[name].mean == pytest.approx(fmean(values))
    half = 4.302652729911275 * stdev(values) / 3**0.5  # the table of Student's t: 97.5 %, 2 degrees of freedom
    assert (whole.metrics[name].low, whole.metrics[name].high) == pytest.approx(
        (fmean(values) - half, fmean(values) + half)
    )
    kept = json.loads((whole.path / "seeds.json").read_text())
    assert kept["finished"] and kept["metrics"][name]["n"] == 3


def evaluated(folder: Path, value: float | None, higher: bool = False) -> Path:
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    score = {"value": value, "floor": 0.0, "unit": "nats", "n": 10, "higher": higher, "spread": 0.0}
    (folder / "evaluation.json").write_text(json.dumps({"score": score}))
    return folder


@pytest.mark.parametrize(
    ("values", "failed", "higher", "wanted"),
    [
        ((1.0, 2.0, 6.0), 0, False, (2.0, 3.0)),
        ((1.0, 2.0, 6.0), 1, False, (4.0, None)),  # the fourth ranks behind 6
        ((1.0, 2.0, 6.0), 1, True, (1.5, None)),  # and where higher is better, before 1
        ((1.0, 2.0), 2, False, (None, None)),
        ((1.0, 2.0, None), 0, False, (2.0, None)),  # not a finite number: a failure
    ],
)
def test_failed_seeds_rank_worst_and_leave_no_mean(
    tmp_path: Path, values: tuple[float | None, ...], failed: int, higher: bool, wanted: tuple[float | None, ...]
) -> None:
    folders = [evaluated(tmp_path / str(i), value, higher) for i, value in enumerate(values)]
    found = seeds.summary(folders, failed)["score"]
    assert (found.median, found.mean) == wanted and (found.low is None) == (found.mean is None)
    assert found.n + found.failed == len(values) + failed


def test_a_run_of_many_samples_and_continues_alone(whole: seeds.Seeds, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(whole.runs[1], alone)
    assert runs.open_run(alone).sample(5).shape == (5, 2)
    assert runs.resume(alone, steps=STEPS + 4).play.round == STEPS + 4


class Stops:
    """Asks the loop to stop, as Ctrl-C does, when a round is reached."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, round: int) -> None:
        advance = trainer.Play.advance

        def played(play: Any, rounds: int = 1) -> Any:
            found = advance(play, rounds)
            if play.round == round:
                signal.raise_signal(signal.SIGINT)
            return found

        monkeypatch.setattr(trainer.Play, "advance", played)


@pytest.mark.parametrize("by", ["command", "folder"])
def test_stopped_and_continued_is_never_stopped(
    by: str, whole: seeds.Seeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "seeds"
    with monkeypatch.context() as patch:
        Stops(patch, 7)
        with pytest.raises(runs.RunStopped) as stopped:
            trained(out)
    assert not stopped.value.run.finished and not list(out.rglob(".tmp-*"))
    done = trained(out) if by == "command" else seeds.resume_seeds(out)
    assert done.finished
    for seed, path in done.runs.items():
        found, own = last(path).tensors, last(whole.runs[seed]).tensors
        assert all(torch.equal(found[name], own[name]) for name in own)
        rows = [row for row in hooks.read_rows(whole.runs[seed] / "metrics.jsonl") if "loss/generator" in row]
        assert [row for row in hooks.read_rows(path / "metrics.jsonl") if "loss/generator" in row] == rows


def test_in_turn_stopped_and_continued_is_the_lone_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "seeds"
    with monkeypatch.context() as patch:
        Stops(patch, 7)
        with pytest.raises(runs.RunStopped) as stopped:
            trained(out, seeds=2, together=False)
    assert not stopped.value.run.finished and not (out / "seed1").exists()
    done = seeds.resume_seeds(out)
    assert done.finished and done.in_turn
    lone = runs.train(ROW, "ring8-U", steps=STEPS, seed=1, out=tmp_path / "lone", settings=QUIET)
    found, own = last(done.runs[1]).tensors, last(lone.path).tensors
    assert all(torch.equal(found[name], own[name]) for name in own)


def test_members_whose_newest_checkpoints_differ_go_on_from_the_newest_common_one(
    whole: seeds.Seeds, tmp_path: Path
) -> None:
    out = tmp_path / "seeds"
    trained(out)
    for seed in (0, 1, 2):
        shutil.rmtree(out / f"seed{seed}/checkpoints/step-{STEPS:08d}")
    torn = out / "seed2/checkpoints/step-00000008/state.safetensors"
    torn.write_bytes(torn.read_bytes()[:-9])
    for path in out.glob("seed*/report.html"):
        path.unlink()
    done = seeds.resume_seeds(out)
    for seed, path in done.runs.items():
        found, own = last(path).tensors, last(whole.runs[seed]).tensors
        assert all(torch.equal(found[name], own[name]) for name in own)


def test_a_seed_that_diverges_is_told_and_costs_the_others_nothing(
    whole: seeds.Seeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = hooks.Log.look

    def diverges(self: hooks.Log, play: Any, losses: Any) -> None:
        if self.path.parent.name == "seed1" and play.round >= 6:
            raise EquilibriaError("loss/generator is nan at round 6: the run has diverged")
        look(self, play, losses)

    monkeypatch.setattr(hooks.Log, "look", diverges)
    done = trained(tmp_path / "seeds")
    assert done.finished and set(done.failed) == {1}
    found, own = last(done.runs[2]).tensors, last(whole.runs[2]).tensors
    assert all(torch.equal(found[name], own[name]) for name in own)


def test_an_ensembles_state_taken_apart_is_put_together_again() -> None:
    data = load("ring8-U")
    games = [ROW.build(data.spec, seed, {}) for seed in (0, 1)]
    plays = [ROW.play(game, data.batches(16), horizon=10, settings=QUIET) for game in games]
    play = side_by_side._ensemble([0, 1], plays)
    play.advance(3)
    assert isinstance(play.game, Ensemble)
    again = play.game.stacked_tensors([play.game.member_tensors(play.tensors(), i) for i in range(2)])
    assert again.keys() == play.tensors().keys()
    assert all(torch.equal(value, play.tensors()[name]) for name, value in again.items())


@pytest.mark.parametrize(
    ("row", "source", "why"),
    [
        (RECIPES["wgan-gp"], "digits", "convolutions"),
        (RECIPES["adagan"], "ring8-U", "several games"),
        (RECIPES["r3gan-small"], "ring8-U", ""),
        (RECIPES["wgan"], "ring8-U", ""),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_goes_side_by_side_is_tried(row: Recipe, source: str, why: str) -> None:
    found = side_by_side.why_not(row, load(source), QUIET)
    assert why in found and bool(why) == bool(found)


def test_a_game_that_is_another_side_by_side_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = Ensemble.loss

    def wrong(self: Ensemble, player: str, draw: Any) -> Any:
        found = loss(self, player, draw)
        return found._replace(total=found.total * 1.1)

    monkeypatch.setattr(Ensemble, "loss", wrong)
    assert "differs" in side_by_side.why_not(ROW, load("ring8-U"), QUIET)


def test_wrong_calls_are_refused_before_anything_is_written(tmp_path: Path, whole: seeds.Seeds) -> None:
    for changes in ({"seeds": 0}, {"seeds": [1, 1]}, {"seeds": [-1]}, {"steps": 0}):
        with pytest.raises(ConfigError):
            trained(tmp_path / "none", **changes)
    with pytest.raises(ConfigError, match="auto_remedy"):
        trained(tmp_path / "none", settings=Settings(auto_remedy=True))
    with pytest.raises(ConfigError, match="Linear"):
        seeds.train_seeds(nn.Linear(1, 1), "ring8-U", out=tmp_path / "none")  # type: ignore[arg-type]
    assert not (tmp_path / "none").exists()
    with pytest.raises(RunError, match="other seeds"):
        trained(whole.path, seeds=4, settings=JUDGED)
    with pytest.raises(RunError, match=r"holds no seeds\.json"):
        seeds.resume_seeds(tmp_path)


def test_the_command_line_prints_the_table_and_json(tmp_path: Path) -> None:
    words = ["train", "gan", "--data", "ring8-U", "--seeds", "2", "--seed", "3", "--steps", "2", "--set", "batch=16"]
    words += ["--set", "run.progress=false", "--set", "run.doctor=false", "--out", str(tmp_path / "out")]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0 and "side by side" in first.output and "interval" in first.output
    again = CliRunner().invoke(app, [*words, "--json"])
    told = json.loads(again.output)
    assert told["finished"] and sorted(told["runs"]) == ["3", "4"] and told["metrics"]["modes"]["n"] == 2
    wrong = CliRunner().invoke(app, [*words, "--processes", "2"])
    assert isinstance(wrong.exception, ConfigError)


@pytest.mark.slow
def test_the_doctor_looks_at_each_member_as_at_a_lone_run(tmp_path: Path) -> None:
    watched = replace(QUIET, doctor=True)
    done = trained(tmp_path / "seeds", settings=watched, seeds=2)
    lone = runs.train(ROW, "ring8-U", steps=STEPS, seed=1, out=tmp_path / "lone", settings=watched)
    own, theirs = (hooks.read_rows(path / "checkups.jsonl") for path in (done.runs[1], lone.path))
    assert [row["step"] for row in own] == [row["step"] for row in theirs] and own
    assert {p.name for p in done.runs[1].iterdir()} == {p.name for p in lone.path.iterdir()}
