"""A run that is continued beyond its rounds: its schedules, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import equilibria
from equilibria.base.errors import ConfigError
from equilibria.base.schedules import schedules_in
from equilibria.cli import app
from equilibria.recipes import recipe
from equilibria.training import Settings, checkpoint

pytestmark = pytest.mark.usefixtures("no_report")  # no test here reads the page of a run

QUIET = Settings(progress=False, doctor=False, evaluate=False, device="cpu", checkpoint_every=3, sample_every=1000)
ROW = recipe("gan").with_settings({"batch": "8", "optimizer.lr": "linear(start=0.004,end=0.001)"})


def trained(out: Path, settings: Settings = QUIET, steps: int = 6) -> Any:
    return equilibria.train(ROW, "ring8-U", steps=steps, out=out, settings=settings)


def rates(run: Any, rounds: int) -> list[float]:
    """The learning rate of each further round, read from the optimiser."""
    found = []
    for _ in range(rounds):
        run.play.advance()
        found.append(run.play.optimizers["generator"].param_groups[0]["lr"])
    return found


def test_added_rounds_keep_the_last_values_and_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path / "a", Settings(doctor=False, evaluate=False, device="cpu"))
    capsys.readouterr()
    run = equilibria.resume(tmp_path / "a", steps=9)
    said = capsys.readouterr().err
    assert "optimizer.lr=0.001" in said and "round 6" in said and "--restart-schedules" in said
    assert rates(run, 2) == pytest.approx([0.001, 0.001])


def test_restarted_schedules_begin_again_and_resume_to_the_bit(tmp_path: Path) -> None:
    for name in "ab":
        trained(tmp_path / name)
    whole = equilibria.resume(tmp_path / "a", steps=12, restart_schedules=True)
    info = json.loads((tmp_path / "a" / "run.json").read_text())
    assert (info["schedules_from"], info["horizon"], info["steps"]) == (6, 12, 12)
    halves = equilibria.resume(tmp_path / "b", steps=12, restart_schedules=True)
    checkpoint.drop(tmp_path / "b" / "checkpoints", 9)  # as if it had been killed after round 9
    halves = equilibria.resume(tmp_path / "b")
    for (name, one), other in zip(whole.play.tensors().items(), halves.play.tensors().values(), strict=True):
        assert one.equal(other), name
    assert equilibria.open_run(tmp_path / "a").play.schedules_from == 6


def test_the_rate_starts_again(tmp_path: Path) -> None:
    trained(tmp_path / "a")
    run = equilibria.resume(tmp_path / "a", steps=6)
    run.play.horizon, run.play.schedules_from = 12, 6
    assert rates(run, 4) == pytest.approx([0.004, 0.0035, 0.003, 0.0025])


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "a")
    with pytest.raises(ConfigError, match="added rounds"):
        equilibria.resume(tmp_path / "a", restart_schedules=True)
    with pytest.raises(ConfigError, match="round 6"):
        equilibria.resume(tmp_path / "a", steps=5, restart_schedules=True)
    done = CliRunner().invoke(app, ["train", "--data", "ring8-U", "--restart-schedules"])
    assert isinstance(done.exception, ConfigError)


def test_schedules_of_a_recipe_by_their_paths() -> None:
    assert [path for path, _ in schedules_in(ROW)] == ["optimizer.lr"]
    assert {path for path, _ in schedules_in(recipe("wgan"))} == {"game.discriminator_turns"}
    assert not list(schedules_in(recipe("gan")))
