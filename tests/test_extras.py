"""What a call in Python adds to a run: hooks, metrics, optimiser, batch, a budget of time; and a plain generator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import equilibria
from equilibria.base.errors import ConfigError
from equilibria.cli import app
from equilibria.core.optimizers import SGD, Adam
from equilibria.games.two_player import TwoPlayer
from equilibria.recipes import recipe
from equilibria.training import Settings

pytestmark = pytest.mark.usefixtures("no_report")  # no test here reads the page of a run

QUIET = Settings(progress=False, doctor=False, evaluate=False, device="cpu", best="none", sample_every=1000)


def trained(out: Path, row: Any = "gan", steps: int = 6, **more: Any) -> Any:
    return equilibria.train(row, "ring8-U", steps=steps, out=out, settings=QUIET, **more)


class Watching:
    """A hook as an object."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.closed = 0

    def due(self, step: int) -> bool:
        return step % 2 == 0

    def look(self, play: Any, losses: Any) -> None:
        self.seen.append(play.round)

    def close(self, play: Any) -> None:
        self.closed += 1


def test_hooks_are_called_and_change_nothing(tmp_path: Path) -> None:
    watching, rounds = Watching(), []
    run = trained(tmp_path / "a", hooks=[watching, lambda play, losses: rounds.append((play.round, sorted(losses)))])
    assert watching.seen == [2, 4, 6] and watching.closed == 1
    assert rounds[0] == (1, ["discriminator", "generator"]) and len(rounds) == 6
    plain = trained(tmp_path / "b")
    assert all(a.equal(b) for a, b in zip(run.play.tensors().values(), plain.play.tensors().values(), strict=True))
    equilibria.resume(tmp_path / "a", steps=8, hooks=watching)
    assert watching.seen[3:] == [8] and watching.closed == 2


def test_own_metrics_are_logged_and_evaluated_beside_real_rows(tmp_path: Path) -> None:
    def off_centre(samples: Tensor, real: Tensor) -> float:
        return float((samples.mean(0) - real.mean(0)).norm())

    run = trained(tmp_path / "a", steps=20, metrics={"off_centre": off_centre})
    logged = [row["quality/off_centre"] for row in run.rows() if "quality/off_centre" in row]
    assert len(logged) == 20
    found = run.evaluate(500)["off_centre"]
    real = run.data.take(1000, 1)["x"]
    assert found.floor > 0.005 and found.floor == pytest.approx(off_centre(real[:500], real[500:]), abs=0.12)
    assert found.repeats == 5
    assert json.loads((tmp_path / "a" / "evaluation.json").read_text())["off_centre"]["value"] == found.value


def test_optimiser_and_batch_of_an_own_game(tmp_path: Path) -> None:
    run = trained(tmp_path / "a", TwoPlayer(), batch=12, optimizer=SGD(lr=0.05))
    assert run.recipe.batch == 12 and run.recipe.optimizer == SGD(lr=0.05)
    assert equilibria.open_run(tmp_path / "a").recipe == run.recipe
    by_player = trained(tmp_path / "b", recipe("gan"), optimizer={"generator": Adam(lr=0.5)})
    assert by_player.recipe.optimizer_of("generator") == Adam(lr=0.5)
    assert by_player.recipe.optimizer_of("discriminator") == recipe("gan").optimizer


def test_a_budget_of_minutes_becomes_a_number_of_rounds(tmp_path: Path) -> None:
    run = trained(tmp_path / "a", steps=None, minutes=0.01)
    info = json.loads((tmp_path / "a" / "run.json").read_text())
    assert info["steps"] == info["horizon"] == run.play.round == run.play.horizon < recipe("gan").steps
    assert trained(tmp_path / "b", steps=3, minutes=0.02).play.round == 3
    same = trained(tmp_path / "c", steps=run.play.round)
    assert all(a.equal(b) for a, b in zip(run.play.tensors().values(), same.play.tensors().values(), strict=True))
    words = ["train", "gan", "--data", "ring8-U", "--minutes", "0.005", "--out", str(tmp_path / "d")]
    assert CliRunner().invoke(app, [*words, "--set", "run.doctor=false", "--set", "run.evaluate=false"]).exit_code == 0


@pytest.mark.parametrize(
    "more",
    [
        {"batch": 0},
        {"batch": 2.5},
        {"batch": True},
        {"optimizer": Adam},
        {"optimizer": "adam"},
        {"optimizer": torch.optim.Adam},
        {"hooks": 3},
        {"hooks": [Watching]},
        {"metrics": [len]},
        {"metrics": {"a": 1}},
        {"minutes": 0},
        {"minutes": "5"},
        {"minutes": float("nan")},
        {"epochs": 5},
        {"generator": 5},
        {"optimiser": {"generatr": Adam()}},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_before_anything_is_written(more: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        trained(tmp_path / "a", **more)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["gan", "cgan", "wgan-gp", "r3gan-small", "dcgan"])
def test_the_generator_is_a_plain_module_that_samples_alike(name: str, tmp_path: Path) -> None:
    data: Any = "ring8-U"
    small = {"batch": "8"}
    if name in ("cgan", "dcgan"):
        draw = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=draw)
        data = equilibria.load(pixels, labels=torch.arange(40) % 3)
    run = equilibria.train(recipe(name).with_settings(small), data, steps=3, out=tmp_path / "a", settings=QUIET)
    generator = run.generator
    assert isinstance(generator, nn.Module) and not generator.training
    draw_of = run.play.codes(5, seed=4, labels=run.labels(5, seed=4))
    codes = [draw_of[entry] for entry in ("latent", "label") if entry in draw_of]
    with torch.no_grad():
        made = generator(*codes)
    torch.testing.assert_close(made, run.sample(5, seed=4), rtol=1e-5, atol=1e-6)
    before, live = run.sample(2), {k: v.clone() for k, v in run.play.game.state_dict().items()}
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.zero_()
    assert torch.equal(run.sample(2), before), "the module is a copy"
    assert all(torch.equal(v, live[k]) for k, v in run.play.game.state_dict().items()), "of the weights in training too"
