"""Runs under treatment: back to before the onset, on with the remedy, and all of it on record."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import equilibria as eq
from equilibria import cli
from equilibria.base.errors import EquilibriaError
from equilibria.base.records import encode
from equilibria.core.optimizers import RMSprop
from equilibria.doctor import Diagnosis, Finding, Remedy, Severity
from equilibria.doctor.remedies import remedies
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import Minimax, NonSaturating
from equilibria.reports import render
from equilibria.runs.folder import RunFolder
from equilibria.training import checkpoint, disk
from test_doctor_runs import POINTS, QUIET, SMALL, collapse, left, planted, same, tiny

AUTO = replace(QUIET, auto_remedy=True)
SATURATING = tiny("gan-minimax")


def while_minimax(finding: Finding) -> Callable[..., Diagnosis]:
    """The finding from its onset on, for as long as the generator's loss is the saturating one."""

    def conclude(chart: Any, *rest: Any) -> Diagnosis:
        sick = isinstance(chart.objective.pair, Minimax) and chart.last.step >= finding.onset
        return planted(*([finding] if sick else []))(chart)

    return conclude


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Plants conclusions; the costlier tests, which they do not read, are run only where that is asked for."""

    def planted_with(conclude: Callable[..., Diagnosis], deep: bool = False) -> None:
        monkeypatch.setattr("equilibria.doctor.doctor.conclude", conclude)
        if not deep:
            monkeypatch.setattr("equilibria.doctor.doctor.examine_deeply", lambda *given: ({}, []))

    return planted_with


def told(run: eq.Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run.path / "run.json").read_text()).get("remedies", [])
    return found


def test_back_to_before_the_onset_and_on_with_the_remedy(tmp_path: Path, plant: Any) -> None:
    plant(while_minimax(collapse(20, "more-data", "non-saturating-loss", "slope-penalty")), deep=True)
    with pytest.warns(UserWarning, match=r"mode-collapse since round 20.* round 15 with 'non-sat"):
        run = eq.train(SATURATING, POINTS, steps=42, out=tmp_path / "a", settings=AUTO)
    (row,) = told(run)
    assert (row["step"], row["rolled_back_to"], row["condition"]) == (20, 15, "mode-collapse")
    assert row["remedy"] == "non-saturating-loss" and row["evidence"] == [
        "samples/coverage = 0.125 (should be above 0.5)"
    ]
    assert run.finished and run.recipe.game.objective == NonSaturating() and eq.open_run(run.path, POINTS).finished
    info = json.loads((run.path / "run.json").read_text())
    assert info["recipe"] == encode(run.recipe) and info["recipe_at_start"] == encode(SATURATING)
    assert [c.step for c in RunFolder.open(run.path, strict=False).checkups] == [10, 20, 30, 40, 42]
    assert [r["step"] for r in run.rows() if "loss/generator" in r] == list(range(1, 43))
    assert "Back to round 15; train the generator on" in (run.path / "report.html").read_text()

    by_hand = tmp_path / "b"  # the same by hand: up to round 15, another recipe, and on
    eq.train(SATURATING, POINTS, steps=42, out=by_hand, settings=replace(QUIET, keep=99, doctor=False))
    checkpoint.drop(by_hand / "checkpoints", 15)
    info = json.loads((by_hand / "run.json").read_text())
    (by_hand / "run.json").write_text(json.dumps(info | {"recipe": encode(run.recipe)}))
    assert same(left(eq.resume(by_hand, POINTS)), left(run))


@pytest.mark.usefixtures("no_report")
def test_without_the_flag_nothing_is_changed(tmp_path: Path, plant: Any) -> None:
    plant(planted(collapse(10)))
    run = eq.train(SATURATING, POINTS, steps=12, out=tmp_path / "a", settings=QUIET)
    assert told(run) == [] and run.recipe == SATURATING


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.INFO])
@pytest.mark.usefixtures("no_report")
def test_what_is_not_critical_is_left_to_a_person(tmp_path: Path, plant: Any, severity: Severity) -> None:
    plant(planted(collapse(10, severity=severity), replace(collapse(10), status="resolved")))
    assert told(eq.train(SATURATING, POINTS, steps=12, out=tmp_path / "a", settings=AUTO)) == []


@pytest.mark.usefixtures("no_report")
def test_three_remedies_at_most_and_none_twice(tmp_path: Path, plant: Any) -> None:
    names = ("lower-learning-rates", "lower-learning-rates", "slope-penalty", "balance-turns", "non-saturating-loss")
    plant(planted(collapse(10, *names)))
    with pytest.warns(UserWarning, match="back to round 5"):
        run = eq.train(SATURATING, POINTS, steps=22, out=tmp_path / "a", settings=AUTO)
    assert [row["remedy"] for row in told(run)] == ["lower-learning-rates", "slope-penalty", "balance-turns"]
    assert run.finished and run.recipe.optimizer.lr == pytest.approx(SATURATING.optimizer.lr / 3)
    assert json.loads((run.path / "diagnosis.json").read_text())["state"] == "sick"


@pytest.mark.usefixtures("no_report")
def test_other_shapes_begin_again(tmp_path: Path, plant: Any) -> None:
    row = replace(SATURATING, game=replace(SATURATING.game, latent=Latent(size=3)))

    def conclude(chart: Any, *rest: Any) -> Diagnosis:
        return planted(*([collapse(20, "larger-latent")] if chart.facts["latent/size"] == 3 else []))(chart)

    plant(conclude)
    with pytest.warns(UserWarning, match="back to round 0 with 'larger-latent'"):
        run = eq.train(row, POINTS, steps=25, out=tmp_path / "a", settings=AUTO, seed=4)
    assert told(run)[0]["rolled_back_to"] == 0 and run.finished
    fresh = eq.train(run.recipe, POINTS, steps=25, out=tmp_path / "b", settings=QUIET, seed=4)
    assert same(left(run), left(fresh))


@pytest.mark.usefixtures("no_report")
def test_a_remedy_that_does_not_fit_is_passed_over(tmp_path: Path, plant: Any) -> None:
    own = Remedy("too-much", "a batch of more rows than there are", settings=(("batch", 9999),))
    unknown = Remedy("no-such", "a setting that is not there", settings=(("game.nonsense", 1),))
    nothing = Remedy("as-it-is", "what is set already", settings=(("batch", 16),))
    finding = replace(collapse(10), remedies=(own, unknown, nothing, *remedies("use-labels", "slope-penalty")))
    plant(planted(finding))
    with pytest.warns(UserWarning, match="slope-penalty"):
        run = eq.train(SATURATING, POINTS, steps=12, out=tmp_path / "a", settings=AUTO)
    assert [row["remedy"] for row in told(run)] == ["slope-penalty"]


@pytest.mark.usefixtures("no_report")
def test_networks_of_ones_own_keep_their_game(tmp_path: Path, plant: Any) -> None:
    plant(planted(collapse(10, "larger-latent", "slope-penalty", "lower-learning-rates")))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))
    with pytest.warns(UserWarning, match="back to round 5 with 'lower-learning-rates'"):
        run = eq.train(SATURATING, POINTS, steps=22, out=tmp_path / "a", settings=AUTO, generator=net)
    assert run.finished and run.play.game.generator is net
    game = TwoPlayer().build(SMALL, eq.load(POINTS).spec)
    with pytest.warns(UserWarning, match="back to round 5 with 'lower-learning-rates'"):
        assert eq.train(game, POINTS, steps=22, out=tmp_path / "b", settings=AUTO).finished


def test_a_run_that_diverges_is_taken_back(tmp_path: Path, plant: Any) -> None:
    row = tiny("lsgan", optimizer=RMSprop(lr=1e20))
    calm = Remedy("calm", "small steps", settings=(("optimizer", {"type": "Adam", "lr": 1e-3}),))

    def conclude(chart: Any, *rest: Any) -> Diagnosis:
        broken = chart.last["numbers/parameters"] > 0 or chart.last["numbers/outputs"] > 0
        onset = chart.last.step
        finding = replace(collapse(onset), condition="not-a-number", remedies=(calm,))
        return planted(*([finding] if broken else []))(chart)

    plant(conclude)
    with pytest.raises(EquilibriaError, match="the run has diverged"):
        eq.train(row, POINTS, steps=40, out=tmp_path / "a", settings=QUIET)
    said = json.loads((tmp_path / "a" / "diagnosis.json").read_text())
    assert said["findings"][0]["condition"] == "not-a-number"
    with pytest.warns(UserWarning, match="not-a-number since round"):
        run = eq.train(row, POINTS, steps=40, out=tmp_path / "b", settings=AUTO)
    assert (
        run.finished and run.recipe.optimizer.lr == 1e-3 and all(p.isfinite().all() for p in run.play.game.parameters())
    )
    assert "+ NotANumber" not in (run.path / "report.html").read_text()


@pytest.mark.usefixtures("no_report")
def test_interrupted_at_any_moment_it_can_be_resumed(
    tmp_path: Path, plant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(while_minimax(collapse(20, "non-saturating-loss")))
    with pytest.warns(UserWarning, match="back to round 15"):
        whole = eq.train(SATURATING, POINTS, steps=32, out=tmp_path / "whole", settings=AUTO)
    write = disk.write_atomically

    def killed(*given: Any) -> None:
        raise KeyboardInterrupt

    def killed_at_the_record(path: Path, content: Any) -> None:
        if path.name == "run.json" and '"remedies"' in content:
            raise KeyboardInterrupt
        write(path, content)

    moments = {"checkpoint.drop": killed, "disk.write_atomically": killed_at_the_record, "drop_later_rounds": killed}
    for moment, instead in moments.items():
        out = tmp_path / moment
        with monkeypatch.context() as patch:
            patch.setattr(f"equilibria.runs.auto_remedy.{moment}", instead)
            with pytest.raises(KeyboardInterrupt):
                eq.train(SATURATING, POINTS, steps=32, out=out, settings=AUTO)
        if moment == "drop_later_rounds":
            again = eq.resume(out, POINTS)
        else:
            with pytest.warns(UserWarning, match="back to round 15"):
                again = eq.resume(out, POINTS)
        assert len(told(again)) == 1 and same(left(again), left(whole))


@pytest.mark.usefixtures("no_report")
def test_stopped_after_a_remedy_it_goes_on_as_it_would_have(
    tmp_path: Path, plant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(while_minimax(collapse(20, "non-saturating-loss")))
    with pytest.warns(UserWarning, match="back to round 15"):
        whole = eq.train(SATURATING, POINTS, steps=45, out=tmp_path / "whole", settings=AUTO)
    advance, seen = eq.Play.advance, []

    def stopping(self: eq.Play, rounds: int = 1) -> Any:
        seen.append(self.round)
        if self.round == 33:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(self, rounds)

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="back to round 15"):
        patch.setattr(eq.Play, "advance", stopping)
        with pytest.raises(eq.RunStopped) as stopped:
            eq.train(SATURATING, POINTS, steps=45, out=tmp_path / "cut", settings=AUTO)
    run = stopped.value.run
    assert not run.finished and seen.count(16) == 2
    again = eq.resume(run.path, POINTS)
    assert same(left(again), left(whole)) and told(again) == told(whole) and again.recipe == whole.recipe


@pytest.mark.filterwarnings("default")
def test_the_command(tmp_path: Path, plant: Any, capsys: pytest.CaptureFixture[str]) -> None:
    plant(while_minimax(collapse(10, "non-saturating-loss")))
    given = ["train", "gan-minimax", "--data", "ring8-U", "--steps", "12", "--out", str(tmp_path / "a")]
    given.append("--auto-remedy")
    given += ["--set", "batch=8", "--set", "networks.vector.width=8", "--set", "run.sample_every=50"]
    assert cli.main([*given, "--set", "run.evaluate=false"]) == 0
    said = capsys.readouterr()
    assert "warning: mode-collapse since round 10, found at round 10: back to round 9" in said.err
    assert "Doctor:  on the way at round 12, nothing wrong" in said.out
    assert "Remedies applied" in render(RunFolder.open(tmp_path / "a", strict=False)).read_text()
    assert cli.main(["train", "--resume", str(tmp_path / "a"), "--auto-remedy"]) == 1
    assert "--auto-remedy" in capsys.readouterr().err
