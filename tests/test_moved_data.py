"""A run whose data was moved: the new place is given once, checked, and remembered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import equilibria as eq
from equilibria import cli
from equilibria.base.errors import DataError, RunError

pytestmark = pytest.mark.usefixtures("no_report")  # no test here reads the page of a run

QUIET = eq.Settings(device="cpu", progress=False, evaluate=False, doctor=False, sample_every=1000)
TINY = {"networks.vector.width": "8", "batch": "16"}


@pytest.fixture
def moved(tmp_path: Path) -> tuple[Path, Path]:
    """A run of 4 rounds, and the place where its data is now."""
    place, now = tmp_path / "points.npy", tmp_path / "archive" / "points.npy"
    np.save(place, np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32))
    row = eq.recipe("gan").with_settings(TINY)
    eq.train(row, str(place), steps=4, out=tmp_path / "run", settings=QUIET)
    now.parent.mkdir()
    shutil.move(place, now)
    return tmp_path / "run", now


def told(*words: str) -> tuple[int, str]:
    """Exit code and text of a command."""
    done = CliRunner().invoke(cli.app, list(words))
    return done.exit_code, done.output + str(done.exception or "")


def test_the_error_says_how_to_give_the_new_place(moved: tuple[Path, Path]) -> None:
    run, _ = moved
    for call in (lambda: eq.resume(run), lambda: eq.open_run(run).evaluate(50)):
        with pytest.raises(DataError) as raised:
            call()
        assert "--data" in raised.value.fix and "data=" in raised.value.fix and str(run) in raised.value.what


@pytest.mark.parametrize("command", ["evaluate", "diagnose", "resume"])
def test_the_new_place_is_used_and_remembered(moved: tuple[Path, Path], command: str) -> None:
    run, now = moved
    words = ["train", "--resume", str(run), "--steps", "6"] if command == "resume" else [command, str(run)]
    assert told(*words)[0] != 0
    code, text = told(*words, "--data", str(now))
    assert code == 0, text
    assert json.loads((run / "run.json").read_text())["data"]["source"] == str(now)
    assert told(*words)[0] == 0


def test_other_data_is_refused_and_not_remembered(moved: tuple[Path, Path], tmp_path: Path) -> None:
    run, _ = moved
    other = tmp_path / "other.npy"
    np.save(other, np.ones((200, 2), np.float32))
    before = (run / "run.json").read_bytes()
    with pytest.raises(RunError, match="fingerprint"):
        eq.resume(run, str(other))
    assert (run / "run.json").read_bytes() == before
