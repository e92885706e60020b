"""Runs that are killed and continued, against the run that was never stopped: every byte of the state and of the log.

``python tests/test_resume.py CASES KILLS FOLDER`` is the driver: a process of its own that forks the runs it kills, so
that a kill costs no import.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import equilibria as eq
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import MLPPair
from equilibria.optimizers import Adam, RMSprop
from equilibria.penalties import R1
from equilibria.recipes import For, Recipe

ROUNDS = int(os.environ.get("ROUNDS", "60"))
OFTEN = eq.Settings(device="cpu", progress=False, log_every=1, checkpoint_every=2, sample_every=40, keep=2)
POINTS = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).numpy()


def mixed(**changes: Any) -> Recipe:
    """Adam against RMSprop with momentum terms of their own, and a penalty that draws noise."""
    row = Recipe(
        name="mixed",
        year=0,
        cite="",
        source="",
        about="",
        game=TwoPlayer(penalties=(R1(),), discriminator_turns=2),
        networks=MLPPair(width=8),
        optimizer=Adam(lr=1e-3),
        optimizers=(For(player="discriminator", optimizer=RMSprop(lr=1e-3)),),
        batch=8,
    )
    return replace(row, **changes)


def adversarial_autoencoder() -> Recipe:
    """Players that share modules."""
    return replace(eq.recipe("aae"), networks=MLPPair(width=8), batch=8)


def ensemble() -> eq.Ensemble:
    """Three games in one, made in Python, so it has to be given again."""
    plane = eq.load(POINTS).spec
    torch.manual_seed(5)
    return eq.Ensemble(lambda seed: TwoPlayer().build(MLPPair(width=8), plane), seeds=(1, 2, 3))


def play(case: str, out: Path, steps: int = ROUNDS) -> None:
    """Begin the run, or continue it where it is."""
    game = ensemble() if case == "ensemble" else None
    if out.exists():
        again = {} if game is None else {"game": game}
        eq.resume(out, POINTS, **again)
    else:
        recipe = game or (adversarial_autoencoder() if case == "aae" else mixed())
        eq.train(recipe, POINTS, steps=steps, seed=7, out=out, settings=OFTEN)


def content(out: Path) -> dict[str, str]:
    """The bytes of what the run learnt and logged: weights, averages, optimisers, rows, samples."""
    last = max((out / "checkpoints").iterdir())
    files = [last / "state.safetensors", out / "metrics.jsonl", *sorted((out / "samples").glob("*.npz"))]
    return {str(f.relative_to(out)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_the_same_seed_gives_the_same_bits_here_and_in_another_process(tmp_path: Path) -> None:
    torch.rand(3)  # whatever the caller has drawn before
    play("mixed", tmp_path / "a", 12)
    play("mixed", tmp_path / "b", 12)
    code = "import sys, pathlib, test_resume; test_resume.play('mixed', pathlib.Path(sys.argv[1]), 12)"
    where = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "c")], check=True, env={**os.environ, "PYTHONPATH": where}
    )
    assert content(tmp_path / "a") == content(tmp_path / "b") == content(tmp_path / "c")


def test_a_run_that_is_stopped_at_any_round_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play("mixed", tmp_path / "whole", 9)
    for stop in (1, 2, 5):
        out, advance = tmp_path / str(stop), eq.Play.advance

        def stopping(self: eq.Play, rounds: int = 1, stop: int = stop, advance: Any = advance) -> Any:
            if self.round == stop - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return advance(self, rounds)

        with monkeypatch.context() as patch:
            patch.setattr(eq.Play, "advance", stopping)
            play("mixed", out, 9)
        assert not eq.open_run(out).finished
        assert eq.resume(out, POINTS).finished
        assert content(out) == content(tmp_path / "whole")


def drive(case: str, kills: int, folder: Path) -> int:
    """Kill and continue until ``kills`` kills have hit; how many of them were inside a checkpoint's write.

    Every other kill waits until a checkpoint is being written. Each run that comes to its end is compared.
    """
    random.seed(kills)
    whole, cut = folder / "whole", folder / "cut"
    began = time.monotonic()
    assert os.waitpid(forked(lambda: play(case, whole)), 0)[1] == 0
    span, wanted = time.monotonic() - began, content(whole)
    hits = inside = 0
    while hits < kills:
        child = forked(lambda: play(case, cut))
        writing = hits % 2 == 1 and await_write(child, cut / "checkpoints")
        time.sleep(random.uniform(0, 0.003) if writing else random.uniform(0, 0.7 * span))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            hits += 1
            inside += any((cut / "checkpoints").glob(".tmp-*"))
            continue
        assert status == 0
        assert content(cut) == wanted, "a run that was killed differs from the one that was not"
        shutil.rmtree(cut)
    assert os.waitpid(forked(lambda: play(case, cut)), 0)[1] == 0
    assert content(cut) == wanted, "a run that was killed differs from the one that was not"
    return inside


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def await_write(child: int, folder: Path) -> bool:
    """Wait until a checkpoint is being written; False once the child has ended."""
    for _ in range(random.randrange(1, 5)):
        while not any(folder.glob(".tmp-step-*")):
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return False
        # one of the next writes, not always the first
        time.sleep(0.005)
    return True


def driven(cases: list[str], kills: int, folder: Path, rounds: int = 60) -> int:
    """The driver in a process of its own."""
    where = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, __file__, ",".join(cases), str(kills), str(folder)],
        env={**os.environ, "PYTHONPATH": where, "OMP_NUM_THREADS": "1", "ROUNDS": str(rounds)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return int(done.stdout.split()[-1])


CASES = ["aae", "mixed", "ensemble"]


def test_a_killed_run_ends_the_same(tmp_path: Path) -> None:
    assert driven(CASES, int(os.environ.get("KILLS", "3")), tmp_path, rounds=16) >= 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
def test_a_run_killed_twenty_times_ends_the_same(tmp_path: Path, case: str) -> None:
    kills = int(os.environ.get("KILLS", "20"))
    assert driven([case], kills, tmp_path) >= 1, "no kill fell into a checkpoint's write"


def main(cases: str, kills: str, folder: str) -> int:
    """Drive each case in a folder of its own."""
    inside = 0
    play("mixed", Path(folder) / "warm", 1)  # what torch imports late is imported once, not by every child
    for case in cases.split(","):
        (Path(folder) / case).mkdir()
        inside += drive(case, int(kills), Path(folder) / case)
    return inside


if __name__ == "__main__":
    torch.set_num_threads(1)
    eq.Run.report = lambda run: run.path  # half of a small run's time, and no part of its state
    print(main(*sys.argv[1:]))
