"""Runs that start from runs: what is taken over, what is refused, and that the first folder may go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import equilibria as eq
from equilibria import cli
from equilibria.base import records
from equilibria.base.errors import ConfigError, RunError
from equilibria.core.game import Game
from equilibria.data import Dataset, DataSpec
from equilibria.games.boosting import Boosting, Mixture
from equilibria.games.stages import Finished, Procedure, Stage, Task
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import MLPPair
from equilibria.recipes import START, Recipe, Source
from equilibria.runs import sources
from equilibria.training import checkpoint

QUIET = eq.Settings(
    device="cpu", progress=False, evaluate=False, doctor=False, log_every=1, checkpoint_every=2, sample_every=1000
)
ONE, TWO = (torch.randn(60, 2, generator=torch.Generator().manual_seed(k)).numpy() * (1 + k) for k in (0, 1))
SETS = [
    w
    for pair in ("run.progress=false", "run.evaluate=false", "run.doctor=false", "run.sample_every=1000")
    for w in ("--set", pair)
]


def small(name: str = "gan", **changes: Any) -> Recipe:
    return replace(eq.recipe(name), networks=MLPPair(width=6, depth=1), batch=8, **changes)


def state(run: Path) -> dict[str, torch.Tensor]:
    """The newest checkpoint's tensors."""
    return load_file(checkpoint.listed(run / "checkpoints")[-1] / "state.safetensors")


def same(one: torch.Tensor, two: torch.Tensor) -> bool:
    """Equal after steps of a learning rate of 1e-30, which is a step in what is zero only."""
    return one.shape == two.shape and torch.allclose(one, two, rtol=0, atol=1e-20)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a file of points; tests read it."""
    folder = tmp_path_factory.mktemp("sources")
    np.save(folder / "one.npy", ONE)
    np.save(folder / "two.npy", TWO)
    game = TwoPlayer(latent=eq.Latent(size=2), standardise=True)
    eq.train(small(game=game), str(folder / "one.npy"), steps=6, out=folder / "first", settings=QUIET)
    return folder / "first"


@pytest.fixture(autouse=True)
def records_stay_as_they_are() -> Iterator[None]:
    known = dict(records.KNOWN)
    yield
    for name in set(records.KNOWN) - set(known):
        del records.KNOWN[name]


# Fine-tuning ---------------------------------------------------------------------------------------------------------


def test_parameters_buffers_and_averages_are_taken_over(first: Path, tmp_path: Path) -> None:
    still = {"optimizer.lr": "1e-30"}
    row = sources.recipe_of(first, json.loads((first / "run.json").read_text())).with_settings(still)
    eq.train(row, TWO, steps=1, seed=5, out=tmp_path / "run", settings=QUIET, start=first)
    before, after = state(first), state(tmp_path / "run")
    game = [name for name in before if name.startswith("game/")]
    assert {"game/shift", "game/scale"} <= set(game)  # buffers that a fresh run would take from the other data
    assert all(same(before[name], after[name]) for name in game)
    for name in (n for n in before if n.startswith("ema/")):
        own, kept = before[f"game/{name.split('/', 2)[2]}"], before[name]
        decay = min(0.999, 2 / 11)  # the average's first round
        torch.testing.assert_close(after[name], decay * kept + (1 - decay) * own)
    assert not torch.equal(before[name], own), "the average says nothing of its own"


def test_a_fine_tuned_run_needs_the_first_folder_no_more(first: Path, tmp_path: Path) -> None:
    gone = Path(shutil.copytree(first, tmp_path / "gone"))
    two, out = str(first.parent / "two.npy"), str(tmp_path / "tuned")
    start = ["train", "--from", str(gone), "--data", two, "--steps", "4", *SETS, "--set", "run.checkpoint_every=2"]
    assert cli.main([*start, "--out", out]) == 0
    shutil.rmtree(gone)
    info = json.loads((tmp_path / "tuned" / "run.json").read_text())
    (source,) = info["recipe"]["sources"]
    assert source["name"] == START and source["run"] == str(gone) and len(source["sha256"]) == 64
    assert info["recipe"]["game"] == json.loads((first / "run.json").read_text())["recipe"]["game"]
    picture = str(tmp_path / "s.png")
    for words in (
        ["sample", out, "-n", "9", "--out", picture],
        ["evaluate", out, "-n", "30"],
        ["report", out],
        ["diagnose", out],
        ["train", "--resume", out, "--steps", "6"],
        ["train", "--from", out, "--steps", "1", "--out", str(tmp_path / "again"), *SETS],  # its data, its recipe
    ):
        assert cli.main(words) == 0, words
    assert eq.open_run(out).play.round == 6
    kept = json.loads((tmp_path / "again" / "run.json").read_text())
    assert kept["data"]["source"] == two and [s["run"] for s in kept["recipe"]["sources"]] == [out]


def test_without_a_checkpoint_it_starts_from_its_copy_again(first: Path, tmp_path: Path) -> None:
    start = Path(shutil.copytree(first, tmp_path / "start"))
    whole = eq.train(data=str(first.parent / "two.npy"), steps=4, out=tmp_path / "whole", settings=QUIET, start=start)
    shutil.rmtree(start)
    cut = Path(shutil.copytree(tmp_path / "whole", tmp_path / "cut"))
    shutil.rmtree(cut / "checkpoints")
    again = eq.resume(cut)
    assert again.finished and whole.recipe == again.recipe
    one, two = state(tmp_path / "whole"), state(cut)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_what_does_not_fit_is_listed_and_the_fix_works(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--from", str(first), "--steps", "1", "--out", str(tmp_path / "run"), *SETS]
    wider = [*words, "--set", "networks.width=7"]
    assert cli.main(wider) == 1 and not (tmp_path / "run").exists()
    said = capsys.readouterr().err
    assert "generator.body.0.weight (6, 2) -> (7, 2)" in said and "discriminator" in said
    fix = said.split("add ")[1].split(".\n")[0].split()
    assert cli.main([*wider, *fix]) == 0
    before, after = state(first), state(tmp_path / "run")
    assert torch.equal(before["game/shift"], after["game/shift"])
    assert cli.main([*wider[:-1], "networks.depth=2", "--out", str(tmp_path / "deeper")]) == 1
    assert "nothing -> (6, 6)" in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_several_seeds_and_processes_start_from_a_run(first: Path, tmp_path: Path) -> None:
    words = ["train", "--from", str(first), "--steps", "2", *SETS]
    assert cli.main([*words, "--seeds", "2", "--out", str(tmp_path / "two")]) == 0
    found = [state(tmp_path / "two" / name) for name in ("seed0", "seed1")]
    assert not all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    told = json.loads((tmp_path / "two" / "seeds.json").read_text())
    assert told["finished"] and "starts from another run" in told["in_turn"]
    code = "import sys; sys.argv[0] = 'equilibria'; from equilibria.cli import main; sys.exit(main())"
    shared = [*words, "--processes", "2", "--device", "cpu", "--out", str(tmp_path / "shared")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code, *shared], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "shared" / "sources" / START / "run.json").is_file()


# What goes wrong -----------------------------------------------------------------------------------------------------


def test_a_copy_that_is_damaged_or_missing_is_said(first: Path, tmp_path: Path) -> None:
    eq.train(data=ONE, steps=1, out=tmp_path / "run", settings=QUIET, start=first)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    copy = tmp_path / "run" / "sources" / START
    (file,) = copy.rglob("state.safetensors")
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(RunError) as raised:
        eq.resume(tmp_path / "run", ONE)
    assert str(copy) in raised.value.what and str(copy) in raised.value.fix
    shutil.rmtree(copy)
    with pytest.raises(RunError, match="missing"):
        eq.resume(tmp_path / "run", ONE)


def test_another_run_than_the_one_meant_is_refused(first: Path, tmp_path: Path) -> None:
    row = small(sources=(Source(name=START, run=str(first), sha256="0" * 64),))
    with pytest.raises(RunError) as raised:
        eq.train(row, ONE, steps=1, out=tmp_path / "run", settings=QUIET)
    assert "000000000000" in raised.value.what and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("start", "says"),
    [("nowhere", "no such folder"), ({"judge": "x"}, "no source 'judge'")],
)
def test_a_start_that_is_none_is_refused(tmp_path: Path, start: Any, says: str) -> None:
    with pytest.raises((ConfigError, RunError), match=says):
        eq.train(small(), ONE, steps=1, out=tmp_path / "run", settings=QUIET, start=start)
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_needs_a_run_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = small(sources=(Source(name="teacher"),))
    with pytest.raises(ConfigError) as raised:
        eq.train(row, ONE, steps=1, out=tmp_path / "run", settings=QUIET)
    assert "'teacher'" in raised.value.what and "--from" in raised.value.fix
    assert sources.named(row, "runs/a").sources[0].run == "runs/a"
    filled = sources.named(row, {"teacher": "a", START: "b"}).sources
    assert [(s.name, s.run) for s in filled] == [("teacher", "a"), (START, "b")]


def test_a_run_in_stages_is_no_start_and_its_stages_are(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = Boosting(components=2, judge=MLPPair(width=4, depth=1), judge_steps=2)
    one = str(first.parent / "one.npy")
    eq.train(small("adagan", procedure=judge), one, steps=1, out=tmp_path / "boosted", settings=QUIET)
    words = ["train", "--from", str(tmp_path / "boosted"), "--steps", "1", "--out", str(tmp_path / "run"), *SETS]
    assert cli.main(words) == 1
    fix = capsys.readouterr().err.split("start from one of them: ")[1].split(".\n")[0].split()
    assert fix[0] == "--from" and cli.main([*words[:1], *fix, *words[3:], "--data", one]) == 0


# Stages that start from stages, and procedures that start from runs --------------------------------------------------


def chain() -> Procedure:
    """Two stages of one game, the second wider in its discriminator and started from the first."""

    @eq.record
    class Chain(Procedure):
        def plan(self, row: Any, data: DataSpec) -> dict[str, int]:
            return {"narrow": row.steps, "wide": row.steps}

        def settled(self, row: Any, data: Dataset) -> Procedure:
            return self

        def stages(self, done: tuple[Finished, ...], task: Task) -> Stage | None:
            if len(done) == 2:
                return None
            if not done:
                return Stage("narrow", task.row)
            wide = replace(task.row, networks=replace(task.row.networks, discriminator_width=9))
            return Stage("wide", wide, start="narrow")

        def joined(self, done: tuple[Finished, ...], data: DataSpec) -> Game:
            return Mixture(tuple(stage.game for stage in done[-1:]))

    return Chain()


def test_a_stage_starts_from_the_one_before_it(tmp_path: Path) -> None:
    row = small(procedure=chain()).with_settings({"optimizer.lr": "1e-30"})
    run = eq.train(row, ONE, steps=2, out=tmp_path / "run", settings=QUIET)
    assert run.finished and [*run.stages] == ["narrow", "wide"]
    one, two = (state(folder) for folder in run.stages.values())
    generator = [n for n in one if n.startswith("game/generator")]
    assert all(same(one[n], two[n]) for n in generator), "what fits is taken over"
    assert one["game/discriminator.trunk.body.0.weight"].shape != two["game/discriminator.trunk.body.0.weight"].shape
    sampled = eq.open_run(tmp_path / "run").sample(5)
    assert torch.equal(sampled, run.sample(5))


def test_the_stages_of_a_procedure_start_from_a_run(first: Path, tmp_path: Path) -> None:
    start = Path(shutil.copytree(first, tmp_path / "start"))
    game = TwoPlayer(latent=eq.Latent(size=2), standardise=True)
    plan = Boosting(components=2, judge=MLPPair(width=4, depth=1), judge_steps=2)
    row = small("adagan", game=game, procedure=plan).with_settings({"optimizer.lr": "1e-30"})
    run = eq.train(row, ONE, steps=1, out=tmp_path / "run", settings=QUIET, start=start)
    before = state(first)
    for folder in run.stages.values():
        after = state(folder)
        assert all(same(before[n], after[n]) for n in before if n.startswith("game/"))
    shutil.rmtree(start)
    for stage in ("component-02",):
        shutil.rmtree(tmp_path / "run" / "stages" / stage)
    assert eq.resume(tmp_path / "run", ONE).finished, "the whole keeps the copy that later stages start from"
