"""The doctor in our own runs: nothing of it stays, its check-ups survive a stop, and what it says is shown."""

from __future__ import annotations

import gc
import json
import math
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import equilibria as eq
from equilibria import cli
from equilibria.base.errors import ConfigError, RunError
from equilibria.core.game import Batch, Contest, Draw, Game, Loss, Player
from equilibria.data import DataSpec, load
from equilibria.doctor import REMEDIES, Diagnosis, Doctor, Evidence, Finding, NotAssessed, Severity, State
from equilibria.doctor.chart import Checkup, Memory
from equilibria.doctor.remedies import remedies
from equilibria.doctor.watch import Watch
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import MLPPair
from equilibria.reports import render
from equilibria.runs.folder import RunFolder
from equilibria.training import checkpoint
from equilibria.training.doctor_adapter import adapter_of

QUIET = eq.Settings(
    device="cpu", progress=False, evaluate=False, log_every=1, sample_every=50, checkpoint_every=5, keep=2
)
POINTS = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)).numpy()
SMALL = MLPPair(width=8)


def tiny(name: str, **changes: Any) -> Any:
    """A recipe with small networks and batches."""
    return replace(eq.recipe(name), **{"networks": SMALL, "batch": 16} | changes)


def ensemble() -> eq.Ensemble:
    plane = eq.load(POINTS).spec
    torch.manual_seed(5)
    return eq.Ensemble(lambda seed: TwoPlayer().build(SMALL, plane), seeds=(1, 2, 3))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No costlier tests in a diagnosis: for tests of what is recorded, resumed and shown, not of what is found."""
    monkeypatch.setattr("equilibria.doctor.doctor.examine_deeply", lambda *given: ({}, []))


def left(run: eq.Run) -> dict[str, Any]:
    """Everything that a run learnt and logged."""
    samples = {p.name: p.read_bytes() for p in (run.path / "samples").glob("*.npz")}
    state = {n: t.clone() for n, t in run.play.tensors().items()}
    return {**state, **samples, "rows": (run.path / "metrics.jsonl").read_bytes()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[n], b[n]) if isinstance(a[n], Tensor) else a[n] == b[n] for n in a
    )


def planted(*found: Finding) -> Callable[..., Diagnosis]:
    """In place of the doctor's conclusions."""

    def conclude(chart: Any, *rest: Any) -> Diagnosis:
        sick = any(f.severity is Severity.CRITICAL for f in found)
        state = State.SICK if sick else State.ON_THE_WAY
        return Diagnosis(
            state, found, (NotAssessed("the weather", reason="look out"),), chart.last.step, len(chart.checkups), 1.25
        )

    return conclude


def collapse(onset: int = 10, *names: str, severity: Severity = Severity.CRITICAL) -> Finding:
    return Finding(
        "mode-collapse",
        severity,
        onset,
        (Evidence("samples/coverage", 0.125, ">", 0.5),),
        "the generator makes few of the data's <kinds>",
        "a paper",
        remedies(*(names or ("slope-penalty", "more-data"))),
    )


@pytest.mark.usefixtures("no_report")
def test_nothing_of_the_doctor_outlives_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[weakref.ref[Any]] = []
    look = Doctor.look

    def watched(self: Doctor, *given: Any) -> Any:
        called.append(weakref.ref(self))
        return look(self, *given)

    monkeypatch.setattr(Doctor, "look", watched)
    run = eq.train(tiny("gan"), POINTS, steps=12, out=tmp_path / "a", settings=QUIET)
    game = weakref.ref(run.play.game)
    gc.collect()
    assert called and called[0]() is None and game() is not None
    del run
    gc.collect()
    assert game() is None


@pytest.mark.usefixtures("no_report")
def test_a_doctor_that_fails_is_disabled_and_the_run_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = tiny("gan")
    without = eq.train(row, POINTS, steps=25, out=tmp_path / "a", settings=replace(QUIET, doctor=False))
    look = Doctor.look

    def failing(self: Doctor, step: int, *rest: Any) -> Any:
        if step >= 20:
            raise ZeroDivisionError("no\nluck")
        return look(self, step, *rest)

    monkeypatch.setattr(Doctor, "look", failing)
    with pytest.warns(UserWarning, match="round 20: ZeroDivisionError: no luck"):
        run = eq.train(row, POINTS, steps=25, out=tmp_path / "b", settings=QUIET)
    assert same(left(without), left(run)) and run.finished
    told = json.loads((run.path / "diagnosis.json").read_text())
    assert told["step"] == 10 and "round 20" in told["note"]
    assert [c.step for c in RunFolder.open(run.path, strict=False).checkups] == [10]


@pytest.mark.usefixtures("quick", "no_report")
def test_a_stopped_run_goes_on_with_its_check_ups(tmp_path: Path) -> None:
    row, often = tiny("gan"), replace(QUIET, checkpoint_every=1, keep=99)
    whole = eq.train(row, POINTS, steps=40, out=tmp_path / "whole", settings=often)
    for stop in (3, 12, 20, 29):  # before the first check-up, between two, at one, just before one
        out = tmp_path / str(stop)
        shutil.copytree(whole.path, out)
        for path in checkpoint.listed(out / "checkpoints"):
            if checkpoint.round_of(path) > stop:
                (path / "state.json").unlink()  # as if it had been killed there, the rows of later rounds written
        with open(out / "checkups.jsonl", "a") as file:
            file.write('{"step": 4')
        with pytest.warns(UserWarning, match="damaged"):
            again = eq.resume(out, POINTS)
        assert same(left(whole), left(again))
        a, b = (RunFolder.open(run.path, strict=False).checkups for run in (whole, again))
        assert [c.step for c in a] == [10, 20, 30, 40]
        assert [(c.step, repr(sorted(c.vitals.items())), c.arrays) for c in a] == [
            (c.step, repr(sorted(c.vitals.items())), c.arrays) for c in b
        ]


@pytest.mark.usefixtures("no_report")
def test_a_run_without_what_the_doctor_remembers_raises_no_false_alarm(tmp_path: Path) -> None:
    row = tiny("gan")
    out = tmp_path / "a"
    eq.train(row, POINTS, steps=12, out=out, settings=replace(QUIET, doctor=False))
    found = eq.open_run(out, POINTS).diagnose()
    names = {f.condition for f in found.findings}
    assert found.checkups == 1 and found.step == 12
    assert not names & {"generator-never-updated", "discriminator-never-updated"}
    eq.train(row, POINTS, steps=12, out=tmp_path / "b", settings=QUIET)
    (checkpoint.listed(tmp_path / "b" / "checkpoints")[-1] / "doctor.safetensors").write_bytes(b"torn")
    assert eq.open_run(tmp_path / "b", POINTS).diagnose().checkups == 2


def test_diagnose_concludes_from_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "points.npy", POINTS)
    out, data = tmp_path / "run", str(tmp_path / "points.npy")
    row = tiny("gan")
    settings = replace(QUIET, checkpoint_every=5)
    run = eq.train(row, data, steps=25, out=out, settings=settings)
    kept = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    told = json.loads((out / "diagnosis.json").read_text())
    found = eq.open_run(out).diagnose().to_dict()
    assert found["checkups"] == 3 and {**found, "seconds": 0} == {**told, "seconds": 0}
    assert run.diagnose().to_dict()["findings"] == told["findings"]
    assert cli.main(["diagnose", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == told["findings"]
    assert cli.main(["diagnose", str(out)]) == 0
    assert "at step 25 (3 check-ups" in capsys.readouterr().out
    lines = (out / "checkups.jsonl").read_text().splitlines()
    (out / "checkups.jsonl").write_text(lines[0] + "\n" + lines[1][:40])
    assert eq.open_run(out).diagnose().checkups == 2  # the torn line is a fresh look's now
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != "checkups.jsonl"} == {
        p: raw for p, raw in kept.items() if p.name != "checkups.jsonl"
    }
    (tmp_path / "points.npy").unlink()
    assert cli.main(["diagnose", str(out)]) == 1


@pytest.mark.usefixtures("quick")
def test_findings_are_shown_where_a_person_looks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = replace(collapse(2, severity=Severity.WARNING), status="resolved", condition="oscillation")
    monkeypatch.setattr("equilibria.doctor.doctor.conclude", planted(collapse(), old))
    np.save(tmp_path / "points.npy", POINTS)
    given = ["train", "gan", "--data", str(tmp_path / "points.npy"), "--steps", "20", "--out", str(tmp_path / "run")]
    given += ["--set", "batch=8", "--set", "networks.vector.width=8", "--set", "run.sample_every=50"]
    given += ["--set", "run.evaluate=false"]
    assert cli.main(given) == 0
    said = capsys.readouterr()
    assert "round 20/20" in said.err and "doctor: mode-collapse" in said.err.splitlines()[-1]
    assert "doctor" not in said.err.splitlines()[0]
    assert "Doctor:  sick at round 20\n" in said.out and "oscillation" not in said.out
    assert f"  critical: mode-collapse since round 10. Do: {REMEDIES['slope-penalty'].what}" in said.out
    assert f"equilibria diagnose {tmp_path / 'run'}" in said.out
    page = (tmp_path / "run" / "report.html").read_text()
    for text in ("Diagnosis", "Mode collapse", "since round 10", "&lt;kinds&gt;", "samples/coverage", "0.125", "R1"):
        assert text in page
    assert page.index(">Diagnosis<") < page.index(">Training<") and "1 earlier finding, resolved" in page
    assert "The weather: look out" in page and "torch.autograd.grad(discriminator(x_real)" in page
    assert cli.main([*given, "--out", str(tmp_path / "b"), "--json", "--set", "run.progress=false"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["findings"]) == ("sick", ["mode-collapse"])


def test_a_damaged_diagnosis_is_left_out_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"format": 1, "recipe": {"name": "gan"}, "data": {"name": "grid25"}}')
    for text in ('{"state": "sick", "findings": [3, {"evidence": [1]}], "not_assessed": []}', "[1]", '{"state": 7}'):
        (tmp_path / "diagnosis.json").write_text(text)
        page = render(RunFolder.open(tmp_path, strict=False)).read_text()
        assert "diagnosis.json" in page and ("Diagnosis" in page) == text.startswith('{"state": "sick"')
    (tmp_path / "diagnosis.json").write_text('{"state": null, "note": "no doctor: too few rows"}')
    assert "No doctor: too few rows." in render(RunFolder.open(tmp_path, strict=False)).read_text()


def test_a_short_run_calls_no_doctor_and_one_can_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "equilibria.training.doctor_adapter.DoctorAdapter.doctor", lambda self: pytest.fail("a doctor was called")
    )
    row = tiny("gan")
    eq.train(row, POINTS, steps=8, out=tmp_path / "a", settings=QUIET)
    told = json.loads((tmp_path / "a" / "diagnosis.json").read_text())
    assert told["state"] is None and told["note"] == "too early: no check-up has been due"
    with pytest.raises(ConfigError, match=r"auto_remedy=True.*doctor=True"):
        replace(QUIET, doctor=False, auto_remedy=True)


def test_a_run_in_stages_of_which_none_has_begun_has_no_diagnosis(tmp_path: Path) -> None:
    run = eq.train(tiny("gan"), POINTS, steps=2, out=tmp_path / "a", settings=QUIET)
    run.recipe = eq.recipe("adagan")
    with pytest.raises(RunError, match=r"--resume"):
        run.diagnose()


# The adapter ---------------------------------------------------------------------------------------------------------


class Line(Game):
    """A game of one's own, as small as can be: x = a z + b against a linear score."""

    def __init__(self, bare: bool = False) -> None:
        super().__init__()
        self.maker, self.judge = nn.Linear(1, 2), nn.Linear(2, 1)
        self.gain = nn.Parameter(torch.ones(())) if bare else torch.ones(())
        self.players = (
            Player("discriminator", ("judge",)),
            Player("generator", ("maker", "gain") if bare else ("maker",)),
        )

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": torch.randn(n, 1)}

    def draw(self, batch: Batch) -> Batch:
        return {"real": batch["x"], "unused": torch.randn(3), **self.codes(len(batch["x"]))}

    def contests(self, draw: Draw) -> dict[str, Contest]:
        return {"data": Contest((draw["real"],), (self.sample(draw),), lambda x: self.judge(x)[:, 0])}

    def loss(self, player: str, draw: Draw) -> Loss:
        contest = self.contests(draw)["data"]
        gap = contest.scores("fake").mean() - contest.scores("real").mean()
        return Loss(gap if player == "discriminator" else -gap)

    def sample(self, draw: Draw) -> Tensor:
        return self.gain * self.maker(draw["latent"])


def played(game: Game, data: Any = POINTS) -> tuple[eq.Play, eq.Dataset]:
    found = load(data)
    specs = {p.name: eq.recipe("gan").optimizer for p in game.players}
    play = eq.Play(game, eq.recipe("gan").update, specs, lambda seed, turn: found.batch(16, seed, turn))
    play.prepare()
    return play, found


def test_a_users_game_is_examined_through_its_first_contest() -> None:
    game = Line()
    adapter = adapter_of(*played(game))
    assert adapter.networks == {"generator": game.maker, "discriminator": game.judge}
    doctor = adapter.doctor()
    assert doctor.look(0).vitals["latent/dependence"] > 0.1 and set(doctor.optimizers) == {"generator", "discriminator"}
    assert doctor.subject.draw_codes(5)[0].shape == (5, 1)
    with pytest.raises(ConfigError, match="parameters of one side"):
        adapter_of(*played(Line(bare=True)))


def test_two_players_are_seen_in_the_units_of_their_game() -> None:
    row = tiny("r3gan-small")
    data = load(POINTS * 50 + 1000)
    game = row.game.build(row.networks, data.spec)
    play, _ = played(game, POINTS * 50 + 1000)
    doctor = adapter_of(play, data).doctor()
    assert abs(float(doctor.subject.real.mean())) < 0.3 and 0.7 < float(doctor.subject.real.std()) < 1.4
    assert doctor.subject.holdout is not None and doctor.chart.facts["latent/size"] == 2
    assert doctor.chart.objective.pair == row.game.objective and "labels" not in {
        one.argument for one in doctor.chart.not_assessed
    }


def test_labels_are_one_hot_and_noise_is_seen() -> None:
    row = tiny("cgan")
    play, data = played(row.game.build(row.networks, load("digits").spec), "digits")
    labels = adapter_of(play, data).doctor().subject.labels
    assert labels is not None and labels.shape == (1617, 10) and bool((labels.sum(1) == 1).all())
    row = tiny("instance-noise")
    play, data = played(row.game.build(row.networks, load(POINTS).spec))
    subject = adapter_of(play, data).doctor().subject
    x = torch.zeros(400, 2)
    assert float(subject.score(x).detach().std()) > 0
    play.round = play.horizon  # the noise is gone at the end
    assert float(subject.score(x).detach().std()) < 1e-6


def test_other_contests_are_listed_as_not_assessed() -> None:
    found = adapter_of(*played(tiny("d2gan").game.build(SMALL, load(POINTS).spec))).doctor()
    said = {one.what: one.reason for one in found.chart.not_assessed}
    assert "'first'" in said["the contest 'second'"]
    three = adapter_of(*played(ensemble()))
    assert "only member 0" in three.pair.unseen["members 1 to 2 of the ensemble"]
    assert three.doctor().optimizers == {}
    data = DataSpec(kind="vector", shape=(2,))
    code = adapter_of(*played(eq.recipe("aae").game.build(SMALL, data))).doctor()
    assert "the samples" in {one.what for one in code.chart.not_assessed} and code.subject.real.shape[1] != 2


def test_a_check_up_and_a_memory_come_back_as_they_were() -> None:
    made = Checkup(7, {"a": 0.1, "b": float("inf"), "c": float("nan")}, {"d": (1.0, float("-inf"))}, {"e": "f"}, 0.25)
    back = Checkup.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False)))
    assert repr(back) == repr(made)
    net = nn.Linear(2, 2)
    memory = Memory.of({"generator": net})
    memory.moved["generator"] = torch.ones(6)
    again = memory.restored(memory.tensors(), 3)
    assert torch.equal(again.start["generator"], memory.start["generator"]) and "generator" in again.moved
    other = Memory.of({"generator": nn.Linear(3, 3)}).restored(memory.tensors(), 3)
    assert bool(other.start["generator"].isnan().all()) and len(other.start["generator"]) == 12


# Between check-ups ---------------------------------------------------------------------------------------------------


def falls_at(step: int) -> Callable[[Any, Any], None]:
    """A hook that takes the generator's output layer apart after a round, as a diverged step would."""

    def hook(play: Any, losses: Any) -> None:
        if play.round == step:
            with torch.no_grad():
                for name, tensor in play.tensors().items():
                    if "generator" in name and name.endswith("bias") and tensor.numel() == 2:
                        tensor += 40.0

    return hook


def checked(path: Path) -> list[int]:
    return [c.step for c in RunFolder.open(path, strict=False).checkups]


LONG = replace(QUIET, checkpoint_every=700, log_every=100, sample_every=400, keep=99)


@pytest.fixture(scope="module")
def fallen(tmp_path_factory: pytest.TempPathFactory) -> eq.Run:
    """A run that falls at round 690."""
    out = tmp_path_factory.mktemp("fallen") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("equilibria.doctor.doctor.examine_deeply", lambda *given: ({}, []))
        return eq.train(tiny("gan"), POINTS, steps=760, out=out, settings=LONG, hooks=[falls_at(690)])


@pytest.mark.usefixtures("quick", "no_report")
def test_a_late_fall_of_a_run_brings_its_check_ups_forward(tmp_path: Path, fallen: eq.Run) -> None:
    eq.train(tiny("gan"), POINTS, steps=760, out=tmp_path / "calm", settings=LONG)
    calm, falls = checked(tmp_path / "calm"), checked(fallen.path)
    assert not [step for step in calm if 690 <= step < 760]
    assert [step for step in falls if step < 690] == [step for step in calm if step < 690]
    assert 690 < next(step for step in falls if step >= 690) <= 735  # two pulses, twenty rounds apart


@pytest.mark.usefixtures("quick", "no_report")
def test_the_watch_goes_on_after_a_stop(tmp_path: Path, fallen: eq.Run) -> None:
    out = tmp_path / "stopped"
    shutil.copytree(fallen.path, out)
    for path in checkpoint.listed(out / "checkpoints"):
        if checkpoint.round_of(path) > 700:  # after the fall, before the second pulse
            (path / "state.json").unlink()
    with pytest.warns(UserWarning, match="damaged"):
        again = eq.resume(out, POINTS, hooks=[falls_at(690)])
    assert same(left(fallen), left(again))
    assert checked(out) == checked(fallen.path)


def test_a_watch_is_stored_and_restored() -> None:
    watch = Watch()
    normal = torch.Generator().manual_seed(0)
    for turn in range(30):
        values = torch.randn(3, generator=normal).tolist()
        watch.take({"gap": values[0], "spread/0": values[1], **({"moved/generator": values[2]} if turn > 9 else {})})
    watch.take({"gap": 90.0, "spread/0": -90.0, "moved/generator": math.nan})
    again = Watch.restored(watch.tensors())
    assert (again.upcoming, again.pulses, again._off) == (watch.upcoming, watch.pulses, watch._off)
    assert again._off == {("gap", 1), ("spread/0", -1), ("moved/generator", 1)}
    assert Watch.restored({}) == Watch() == Watch.restored({"watch/steps": torch.zeros(3)})
