"""Runs through Python: what is kept, what must be given again, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import equilibria as eq
from equilibria import metrics
from equilibria.base.errors import ConfigError, DataError, EquilibriaError, RunError, ShapeError
from equilibria.base.randomness import mix
from equilibria.games.coupled import CoGAN
from equilibria.networks import MLPPair
from equilibria.runs import creation
from equilibria.runs.lock import locked
from equilibria.training import checkpoint
from test_resume import OFTEN, POINTS, content, ensemble, mixed

SHOWN = replace(OFTEN, sample_every=8)  # samples of rounds 1 and 2


def pasted(error: EquilibriaError, **names: Any) -> eq.Run:
    """What the call in a fix gives, where the named variables hold what the run was given in Python."""
    call = error.fix.split(": ", 1)[1]
    run: eq.Run = eval(call, {"equilibria": eq, **names})
    return run


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on an array; tests read it."""
    out = tmp_path_factory.mktemp("runs") / "done"
    eq.train(mixed(), POINTS, steps=4, out=out, settings=SHOWN)
    return out


def test_what_a_run_leaves(done: Path) -> None:
    left = {p.name for p in done.iterdir()}
    told = {"run.json", "metrics.jsonl", "diagnosis.json", "evaluation.json", "report.html"}
    assert left == {*told, "best", "checkpoints", "samples", ".lock"}
    info = json.loads((done / "run.json").read_text())
    assert info["steps"] == 4 and info["data"]["fingerprint"]["count"] == 200 and "torch" in info["versions"]
    assert [row["step"] for row in eq.open_run(done).rows()] == [1, 2, 3, 4]
    assert len(checkpoint.listed(done / "checkpoints")) == 2


def test_an_opened_run_samples_as_it_did_without_its_data(done: Path) -> None:
    run = eq.open_run(done)
    assert run.finished and run.play.round == 4
    assert torch.equal(run.sample(5, seed=1), eq.open_run(done).sample(5, seed=1))
    assert not torch.equal(run.sample(5, seed=1), run.sample(5, seed=2))
    assert run.sample(1203).shape == (1203, 2) and len(run.sample(1203).unique(dim=0)) == 1203
    with pytest.raises(RunError, match="given in Python") as refused:
        _ = run.data
    assert pasted(refused.value, data=POINTS).data.size == 180
    assert eq.open_run(done, POINTS).data.size == 180


def test_data_is_needed_to_continue_and_has_to_be_the_same(done: Path) -> None:
    with pytest.raises(RunError, match="not kept") as refused:
        eq.resume(done)
    assert pasted(refused.value, data=POINTS).finished
    with pytest.raises(RunError, match="fingerprint differs"):
        eq.resume(done, POINTS + 1e-3)
    assert eq.resume(done, POINTS).finished


def test_more_rounds_can_be_asked_for_and_fewer_cannot(tmp_path: Path) -> None:
    eq.train(mixed(), POINTS, steps=2, out=tmp_path / "a", settings=OFTEN)
    with pytest.raises(ConfigError, match="is at round 2"):
        eq.resume(tmp_path / "a", POINTS, steps=1)
    run = eq.resume(tmp_path / "a", POINTS, steps=5)
    assert run.finished and run.play.round == 5 and eq.open_run(tmp_path / "a").info["steps"] == 5


@pytest.mark.filterwarnings("default")
def test_a_run_without_a_whole_checkpoint_is_begun_again_not_sampled(tmp_path: Path) -> None:
    out = tmp_path / "a"
    eq.train(mixed(), POINTS, steps=3, out=out, settings=OFTEN)
    before = content(out)
    for path in checkpoint.listed(out / "checkpoints"):
        (path / "state.json").unlink()
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(RunError, match="has no whole checkpoint") as refused,
    ):
        eq.open_run(out)
    with pytest.warns(UserWarning, match="starts again from round 0"):
        pasted(refused.value, data=POINTS)
    assert content(out) == before


def test_one_folder_is_trained_in_by_one_process(done: Path) -> None:
    before = content(done)
    with locked(done), pytest.raises(RunError, match="another process"):
        eq.resume(done, POINTS, steps=9)
    assert content(done) == before and json.loads((done / "run.json").read_text())["steps"] == 4
    assert eq.open_run(done).finished


def test_own_networks_are_needed_again(tmp_path: Path) -> None:
    def net() -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))

    out = tmp_path / "a"
    eq.train(mixed(), POINTS, steps=2, out=out, settings=OFTEN, generator=net())
    for call in (eq.open_run, partial(eq.resume, data=POINTS)):
        with pytest.raises(RunError, match="with your own generator") as refused:
            call(out)
        assert pasted(refused.value, data=POINTS, generator=net()).sample(3).shape == (3, 2)
    with pytest.raises(RunError, match="discriminator"):
        eq.open_run(out, generator=net(), discriminator=net())
    with pytest.raises(RunError, match="in the checkpoint and"):
        eq.open_run(out, generator=nn.Sequential(nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 2)))
    assert eq.open_run(out, generator=net()).sample(3).shape == (3, 2)


def test_an_ensemble_is_sampled_judged_and_reported(tmp_path: Path) -> None:
    out = tmp_path / "e"
    eq.train(ensemble(), POINTS, steps=3, out=out, settings=SHOWN)
    with pytest.raises(RunError, match="with your own game"):
        eq.open_run(out)
    with pytest.raises(RunError, match=r"Ensemble.*TwoPlayerGame"):
        eq.open_run(out, game=ensemble().member(0))
    run = eq.open_run(out, POINTS, game=ensemble())
    assert run.sample(4).shape == (3, 4, 2) and run.sample(503).shape == (3, 503, 2)
    judged = run.evaluate(60)
    members = [metrics.evaluate(rows, run.data)["w1"] for rows in run.play.sample(60, mix(0, 7)).cpu()]
    assert judged["w1"].value == pytest.approx(np.mean([one.value for one in members]))
    assert judged["w1"].floor == members[0].floor
    assert "report" in run.report().name and np.load(out / "samples" / "step-00000001.npz")["x"].shape == (3, 2500, 2)


def test_an_ensemble_on_a_law_logs_the_modes_of_each_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equilibria.metrics.Suite", partial(metrics.Suite, exact=50, linear=500))
    run = eq.train(ensemble(), "ring8-U", steps=1, out=tmp_path / "e", settings=SHOWN)
    counted = [row for row in run.rows() if "quality/modes" in row]
    assert [len(row["quality/modes"]) for row in counted] == [3]
    assert json.loads((tmp_path / "e" / "evaluation.json").read_text())["modes"]["floor"] == 8


@pytest.mark.parametrize("kind", ["images", "points"])
def test_pairs_are_judged_domain_by_domain(tmp_path: Path, kind: str) -> None:
    data = "pairs:digits,digits-negative"
    if kind == "points":
        np.save(tmp_path / "a.npy", POINTS)
        np.save(tmp_path / "b.npy", POINTS + 9)
        data = f"pairs:{tmp_path}/a.npy,{tmp_path}/b.npy"
    recipe = mixed(game=CoGAN(hidden=8, stem_layers=1), averages=(eq.Average(player="generators"),), optimizers=())
    run = eq.train(recipe, data, steps=2, out=tmp_path / "run", settings=SHOWN)
    judged = run.evaluate(40)
    name = "frechet" if kind == "images" else "w1"
    assert {f"first/{name}", f"second/{name}"} <= judged.keys()
    if kind == "points":  # untrained samples near 0: the second domain is 9 further away
        assert judged["second/w1"].value > judged["first/w1"].value + 5
    assert run.report().exists() and sorted((tmp_path / "run" / "samples").glob("*.png"))


def test_a_conditional_run_of_images_samples_by_label(tmp_path: Path) -> None:
    run = eq.train(
        replace(eq.recipe("cgan"), networks=MLPPair(width=8), batch=8), "digits", steps=2,
        out=tmp_path / "c", settings=OFTEN,
    )  # fmt: skip
    assert run.sample(4, labels=[3, 3, 1, 0]).shape == (4, 1, 8, 8)
    assert run.sample(601, labels=[2] * 601).shape == (601, 1, 8, 8)
    for labels in ([3], [10] * 4, [-1] * 4):
        with pytest.raises(ConfigError, match="whole numbers in 0…9"):
            run.sample(4, labels=labels)
    assert {"frechet", "recall"} <= run.evaluate(60).keys()
    with pytest.raises(ConfigError, match="ask for at least 1"):
        run.sample(0)
    with pytest.raises(ConfigError, match="samples are too few"):
        run.evaluate(3)


class Narrow(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z[:, :1]


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"data": None}, ConfigError, "no data was given"),
        ({"recipe": 3}, ConfigError, "a int is no recipe"),
        ({"recipe": "wgan-pg"}, ConfigError, "did you mean 'wgan-gp'"),
        ({"steps": 0}, ConfigError, "steps=0"),
        ({"data": (POINTS, [0, 1])}, DataError, "2 labels for 200 examples"),
        ({"data": POINTS * float("nan")}, DataError, "NaN"),
        ({"generator": nn.Linear(64, 3)}, ShapeError, r"shape \(3,\), and the data has \(2,\)"),
        ({"generator": nn.Linear(9, 2)}, ShapeError, "64"),
        ({"critic": nn.Linear(2, 1)}, ConfigError, "no module 'critic'"),
        ({"settings": eq.Settings(device="cuda:99")}, ConfigError, "device 'cuda:99' is not available"),
        ({"settings": eq.Settings(device="meta")}, ConfigError, "device 'meta' is not available"),
        ({"settings": replace(OFTEN, trackers=("tensorbord",))}, ConfigError, "did you mean 'tensorboard'"),
        ({"recipe": "cgan"}, DataError, "needs labels"),
    ],
)
def test_a_mistake_leaves_nothing_behind(tmp_path: Path, given: dict[str, Any], error: type, says: str) -> None:
    call = {"recipe": mixed(), "data": POINTS, "steps": 2, "out": tmp_path / "deep" / "run", "settings": OFTEN, **given}
    with pytest.raises(error, match=says) as raised:
        eq.train(**call)
    assert isinstance(raised.value, EquilibriaError) and raised.value.fix
    assert not list(tmp_path.iterdir())


def test_settings_say_what_they_take() -> None:
    with pytest.raises(ConfigError, match="keep=0"):
        eq.Settings(keep=0)
    with pytest.raises(ConfigError, match="precision='float8'"):
        eq.Settings(precision="float8")


def test_a_default_folder_says_what_it_holds(tmp_path: Path) -> None:
    first = creation.default_folder("hf:a/b", "wgan-gp", 3, tmp_path)
    assert first.name[10:] == "_hf-a-b_wgan-gp_seed3"
    first.mkdir()
    assert creation.default_folder("hf:a/b", "wgan-gp", 3, tmp_path).name == first.name + "-2"


def test_trackers_hear_every_row_and_a_resumed_run_takes_back_what_it_plays_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("accelerate")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "a"
    settings = replace(OFTEN, trackers=("tensorboard",))
    run = eq.train(mixed(), POINTS, steps=3, out=out, settings=settings)
    eq.resume(out, POINTS, steps=5)
    heard = EventAccumulator(str(out / "tensorboard"))
    heard.Reload()
    steps = [(e.step, e.value) for e in heard.Scalars("loss/generator")]
    rows = eq.open_run(out).rows()
    assert [s for s, _ in steps] == [1, 2, 3, 4, 5] and run.path == out
    assert [v for _, v in steps] == pytest.approx([row["loss/generator"] for row in rows])
