"""Runs that are killed and continued, against the run that was never stopped: every byte of the state and of the log.

``python tests/test_resume.py CASES KILLS FOLDER [JSON]`` is the driver: a process of its own that forks the runs it
kills, so that a kill costs no import. It kills each of the cases (names with commas, or ``all``) that often, and leaves
what it counted in the last file.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import equilibria as eq
from equilibria.core.optimizers import Adam, RMSprop
from equilibria.games.boosting import Boosting
from equilibria.games.pyramids import BandGAN, LaplacianPyramid
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import R1
from equilibria.networks import ConvPair, MLPPair
from equilibria.recipes import For, Recipe
from equilibria.training import checkpoint

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


NARROW = MLPPair(width=8)


def small(name: str, networks: Any = NARROW, **changes: Any) -> Recipe:
    return replace(eq.recipe(name), networks=networks, batch=8, **changes)


def ensemble() -> eq.Ensemble:
    """Three games in one, made in Python, so it has to be given again."""
    plane = eq.load(POINTS).spec
    torch.manual_seed(5)
    return eq.Ensemble(lambda seed: TwoPlayer().build(MLPPair(width=8), plane), seeds=(1, 2, 3))


def pictures() -> tuple[Any, Any]:
    """Images with labels."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (90, 8, 8), generator=generator).byte().numpy(), torch.arange(90).numpy() % 3


def boosted() -> Recipe:
    """Two components, each a run of its own, with the weights of the second from a judge of the first."""
    return small("adagan", procedure=Boosting(components=2, judge=MLPPair(width=8), judge_steps=20))


def pyramid() -> Recipe:
    """Two stages: images of 8 px, and the band of their doubling."""
    return small("lapgan", ConvPair(width=2), procedure=LaplacianPyramid(levels=1, band=BandGAN(width=2)))


def larger() -> Any:
    """Images that can be halved once."""
    return torch.randint(256, (90, 16, 16), generator=torch.Generator().manual_seed(2)).byte().numpy()


CASES: dict[str, tuple[Callable[[], Any], Any]] = {
    "mixed": (mixed, POINTS),
    "aae": (lambda: small("aae"), POINTS),  # players that share modules
    "ensemble": (ensemble, POINTS),
    "wgan-gp": (lambda: small("wgan-gp"), POINTS),
    "conditional": (lambda: small("cgan", ConvPair(width=4, norm="batch")), pictures()),
    "procedure": (boosted, POINTS),
    "pyramid": (pyramid, larger()),
    "law": (lambda: small("r3gan-small"), "ring8-U"),  # fresh rows each turn, and check-ups that know the modes
}


def play(case: str, out: Path, steps: int = ROUNDS) -> None:
    """Begin the run, or continue it where it is."""
    make, data = CASES[case]
    played = make()
    if out.exists():
        again = {"game": played} if isinstance(played, eq.Game) else {}
        eq.resume(out, data, **again)
    else:
        eq.train(played, data, steps=steps, seed=7, out=out, settings=OFTEN)


def parts(out: Path) -> list[Path]:
    """The run's folder, and those of its stages."""
    return [out, *sorted((out / "stages").glob("*"))]


def content(out: Path) -> dict[str, str]:
    """The bytes of what the run learnt and logged: weights, averages, optimisers, rows, samples, check-ups."""
    files = [file for part in parts(out) for file in checkpoint.listed(part / "checkpoints")[-1:]]
    files = [file / "state.safetensors" for file in files]
    for pattern in ("metrics.jsonl", "samples/*.npz", "weights/*.npz"):
        files += [file for part in parts(out) for file in sorted(part.glob(pattern))]
    found = {str(f.relative_to(out)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    for file in (part / "checkups.jsonl" for part in parts(out)):
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        # all but what a check-up cost
        found[str(file.relative_to(out))] = json.dumps([{**row, "seconds": 0} for row in rows])
    return found


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
            with pytest.raises(eq.RunStopped):
                play("mixed", out, 9)
        assert not eq.open_run(out).finished
        assert eq.resume(out, POINTS).finished
        assert content(out) == content(tmp_path / "whole")


@dataclass
class Count:
    """What was done to a case: kills that hit, those of them inside a checkpoint's write, runs compared."""

    kills: int = 0
    inside: int = 0
    compared: int = 0
    lost: int = 0  # most rounds that one kill cost


def drive(case: str, kills: int, folder: Path) -> Count:
    """Kill and continue until ``kills`` kills have hit.

    Every other kill waits until a checkpoint is being written. Each run that comes to its end is compared.
    """
    random.seed(f"{case} {kills}")
    whole, cut = folder / "whole", folder / "cut"
    began = time.monotonic()
    assert os.waitpid(forked(lambda: play(case, whole)), 0)[1] == 0
    span, wanted, count, kept = time.monotonic() - began, content(whole), Count(), 0
    while count.kills < kills or cut.exists():
        child = forked(lambda: play(case, cut))
        if count.kills < kills:
            writing = count.kills % 2 == 1 and await_write(child, cut)
            time.sleep(random.uniform(0, 0.003) if writing else random.uniform(0, 0.7 * span))
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            count.kills += 1
            count.inside += writes(cut)
            before, (kept, seen) = kept, survived(cut)
            assert kept >= before, "a checkpoint was lost"
            count.lost = max(count.lost, seen - kept)
            continue
        assert status == 0
        assert content(cut) == wanted, "a run that was killed differs from the one that was not"
        count.compared += 1
        kept = 0
        shutil.rmtree(cut)
    return count


def survived(out: Path) -> tuple[int, int]:
    """The round of the newest checkpoint, which has to be whole with all rows before it, and the last round logged."""
    kept = seen = 0
    for part in parts(out):
        saved = checkpoint.listed(part / "checkpoints")
        here = checkpoint.read(saved[-1]).round if saved else 0
        file = part / "metrics.jsonl"
        rows = [line for line in file.read_text().splitlines() if line.endswith("}")] if file.exists() else []
        steps = {json.loads(line)["step"] for line in rows}
        if part != out or len(parts(out)) == 1:  # what a run of stages logs itself is one row a stage
            assert steps >= {*range(1, here + 1)}, "a row is younger than the checkpoint after it"
            kept, seen = kept + here, seen + max(steps, default=0)
    return kept, max(seen, kept)


def writes(out: Path) -> bool:
    """Whether a checkpoint is being written."""
    return any(any((part / "checkpoints").glob(".tmp-*")) for part in parts(out))


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


def await_write(child: int, out: Path) -> bool:
    """Wait until a checkpoint is being written; False once the child has ended."""
    for _ in range(random.randrange(1, 5)):
        while not writes(out):
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return False
        # one of the next writes, not always the first
        time.sleep(0.005)
    return True


def driven(cases: list[str], kills: int, folder: Path, rounds: int = 60) -> dict[str, dict[str, int]]:
    """The driver in a process of its own; what it counted."""
    where = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, __file__, ",".join(cases), str(kills), str(folder), str(folder / "kills.json")],
        env={**os.environ, "PYTHONPATH": where, "OMP_NUM_THREADS": "1", "ROUNDS": str(rounds)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    counts: dict[str, dict[str, int]] = json.loads((folder / "kills.json").read_text())["cases"]
    return counts


def test_a_killed_run_ends_the_same(tmp_path: Path) -> None:
    counts = driven(["aae", "mixed", "ensemble"], int(os.environ.get("KILLS", "3")), tmp_path, rounds=16)
    assert all(count["compared"] for count in counts.values())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
def test_a_run_killed_twenty_times_ends_the_same(tmp_path: Path, case: str) -> None:
    kills = int(os.environ.get("KILLS", "20"))
    assert driven([case], kills, tmp_path)[case]["inside"] >= 1, "no kill fell into a checkpoint's write"


def main(cases: str, kills: str, folder: str, report: str = "") -> None:
    """Drive each case in a folder of its own."""
    began, counts = time.monotonic(), {}
    for case in CASES if cases == "all" else cases.split(","):
        here = Path(folder) / case
        here.mkdir(parents=True)
        play(case, here / "warm", 1)  # what torch imports late is imported once, not by every child
        counts[case] = asdict(drive(case, int(kills), here))
        print(case, counts[case], flush=True)
    told = {
        "command": f"python tests/test_resume.py {cases} {kills} FOLDER JSON",
        "kills": sum(count["kills"] for count in counts.values()),
        "rounds": ROUNDS,
        "checkpoint_every": OFTEN.checkpoint_every,
        "different": 0,  # one that differs ends the driver
        "cases": counts,
        "seconds": round(time.monotonic() - began),
        "torch": torch.__version__,
    }
    if report:
        Path(report).write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    eq.Run.report = lambda run: run.path  # half of a small run's time, and no part of its state
    main(*sys.argv[1:])
