"""Runs that are killed and continued, against the run that was never stopped: every byte of the state and of the log.

``python tests/test_resume.py CASES KILLS FOLDER [JSON]`` is the driver: a process of its own that forks the runs it
kills, so that a kill costs no import. It kills each of the cases (names with commas, or ``all``) that often, and leaves
what it counted in the last file. In every third resume one read of a file of the run fails (EIO or EACCES).
"""

from __future__ import annotations

import builtins
import errno
import hashlib
import io
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
from equilibria.base.errors import EquilibriaError
from equilibria.base.provenance import commit
from equilibria.core.optimizers import Adam, RMSprop
from equilibria.games.boosting import Boosting
from equilibria.games.growing import Growing
from equilibria.games.pyramids import BandGAN, LaplacianPyramid
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import R1
from equilibria.networks import ConvPair, GrowingPair, MLPPair
from equilibria.recipes import For, Recipe
from equilibria.training import checkpoint, checkups

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


def growing() -> Recipe:
    """Two stages: images of 8 px, and the same networks with one more level."""
    return small("progressive", GrowingPair(width=4, least=2), procedure=Growing(first=8))


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
    "growing": (growing, larger()),
    "law": (lambda: small("r3gan-small"), "ring8-U"),  # fresh rows each turn, and check-ups that know the modes
    "seeds": (mixed, POINTS),  # three runs side by side
    "seeds-in-turn": (mixed, POINTS),  # two, one after the other
    "processes": (mixed, POINTS),  # two processes share each batch
}
KINDS = {
    "procedure": "procedures",
    "pyramid": "procedures",
    "growing": "procedures",
    "seeds": "seeds",
    "seeds-in-turn": "seeds",
}
KINDS |= {"processes": "processes"}


def play(case: str, out: Path, steps: int = ROUNDS) -> None:
    """Begin the run, or continue it where it is."""
    make, data = CASES[case]
    played = make()
    if KINDS.get(case) == "seeds":
        together, count = case == "seeds", 3 if case == "seeds" else 2
        eq.train_seeds(played, data, seeds=count, steps=steps, out=out, settings=OFTEN, together=together)
    elif out.exists():
        again = {"game": played} if isinstance(played, eq.Game) else {}
        eq.resume(out, data, **again)
    else:
        eq.train(played, data, steps=steps, seed=7, out=out, settings=OFTEN)


def parts(out: Path) -> list[Path]:
    """The run's folder, and those of its stages or seeds."""
    return [out, *sorted((out / "stages").glob("[!.]*")), *sorted(out.glob("seed[0-9]*"))]


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
    resumes: int = 0
    faults: int = 0  # resumes in which a read failed
    stopped: int = 0  # of these, those that ended with the reason; the others did without the file


def drive(case: str, kills: int, folder: Path) -> Count:
    """Kill and continue until ``kills`` kills have hit.

    Every other kill waits until a checkpoint is being written. Each run that comes to its end is compared. In every
    third resume no kill comes, and one read of a file of the run fails: it ends with the reason, or does without.
    """
    random.seed(f"{case} {kills}")
    whole, cut, hit = folder / "whole", folder / "cut", folder / "hit"
    began = time.monotonic()
    assert os.waitpid(forked(lambda: begun(case, whole)), 0)[1] == 0
    span, wanted, count, kept = time.monotonic() - began, content(whole), Count(), 0
    while count.kills < kills or cut.exists():
        count.resumes += cut.exists()
        fails = cut.exists() and count.resumes % 3 == 0
        at, code = (random.randrange(1, 13), random.choice([errno.EIO, errno.EACCES])) if fails else (0, 0)
        hit.unlink(missing_ok=True)
        child = forked(lambda at=at, code=code: begun(case, cut, at, code, hit))
        if count.kills < kills and not fails:
            writing = count.kills % 2 == 1 and await_write(child, cut)
            doze(child, random.uniform(0, 0.003) if writing else random.uniform(0, 0.7 * span))
            kill(child)
        status = os.waitpid(child, 0)[1]
        count.faults += hit.exists()
        if os.WIFSIGNALED(status) or (hit.exists() and os.waitstatus_to_exitcode(status) == REFUSED):
            count.kills += os.WIFSIGNALED(status)
            count.stopped += not os.WIFSIGNALED(status)
            count.inside += os.WIFSIGNALED(status) and writes(cut)
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
    rounds: list[tuple[int, int]] = []
    for part in parts(out):
        saved = checkpoint.listed(part / "checkpoints")
        here = checkpoint.read(saved[-1]).round if saved else 0
        file = part / "metrics.jsonl"
        rows = [line for line in file.read_text().splitlines() if line.endswith("}")] if file.exists() else []
        steps = {json.loads(line)["step"] for line in rows}
        if part != out or len(parts(out)) == 1:  # what a run of stages logs itself is one row a stage
            assert steps >= {*range(1, here + 1)}, "a row is younger than the checkpoint after it"
            rounds.append((here, max(steps, default=0)))
    if (out / "seeds.json").exists() and json.loads((out / "seeds.json").read_text())["together"]:
        rounds = [min(rounds, default=(0, 0))]  # those side by side continue from their newest common round
    kept, seen = sum(here for here, _ in rounds), sum(last for _, last in rounds)
    return kept, max(seen, kept)


SUMMED = ("kills", "resumes", "faults", "stopped")
REFUSED = 3
"""The exit code of a process that ended with an error of ours."""


def begun(case: str, out: Path, fails: int = 0, code: int = 0, hit: Path = Path()) -> None:
    """Play in a process group of its own, where two processes are asked for in two; exits with :data:`REFUSED`."""
    os.setpgid(0, 0)
    if fails:
        fail_a_read(out, fails, code, hit)
    if case == "processes":
        meeting = out.parent / f"meeting-{os.getpid()}"
        told = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "EQUILIBRIA_MEETING": str(meeting)}
        os.environ |= told | {"GLOO_SOCKET_IFNAME": "lo", "RANK": "0"}
        if (other := os.fork()) == 0:
            os.environ["RANK"] = "1"
    try:
        play(case, out)
    except EquilibriaError as error:
        print(f"  {case}: {error}", file=sys.stderr)
        os._exit(REFUSED)
    if case == "processes":
        os._exit(0 if os.environ["RANK"] == "1" else os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))


def kill(child: int) -> None:
    """End a process and all that it has started, at once."""
    for _ in range(2):  # it may be about to become the leader of its group
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(child, signal.SIGKILL)


def fail_a_read(out: Path, at: int, code: int, hit: Path) -> None:
    """From here on the read with this number (from 1) of a file in ``out`` fails; ``hit`` then says that it did."""
    real, load, left = io.open, checkpoint.load_file, [at]

    def check(file: Any) -> None:
        if isinstance(file, (str, Path)) and Path(file).is_relative_to(out) and Path(file).is_file():
            left[0] -= 1
            if left[0] == 0:
                hit.touch()
                raise OSError(code, os.strerror(code), str(file))

    def opens(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if "r" in mode:
            check(file)
        return real(file, mode, *rest, **more)

    def loads(file: Any, *rest: Any) -> Any:
        check(file)
        return load(file, *rest)

    io.open = builtins.open = opens
    checkpoint.load_file = checkups.load_file = loads


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


def ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def doze(child: int, seconds: float) -> None:
    """Sleep for so long, or until the child has ended."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not ended(child):
        time.sleep(min(left, 0.02))


def await_write(child: int, out: Path) -> bool:
    """Wait until a checkpoint is being written; False once the child has ended."""
    for _ in range(random.randrange(1, 5)):
        while not writes(out):
            if ended(child):
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


def by_kind(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """The sums over the cases of each kind of run."""
    found: dict[str, dict[str, int]] = {}
    for case, count in counts.items():
        own = found.setdefault(KINDS.get(case, "single"), {})
        for name in ("kills", "inside", "compared", "resumes", "faults", "stopped"):
            own[name] = own.get(name, 0) + count[name]
    return found


def main(cases: str, kills: str, folder: str, report: str = "") -> None:
    """Drive each case in a folder of its own; the report is written after each, and keeps other cases in it."""
    import torch.distributed.nn  # what two processes import late; play() has the rest imported

    counts = json.loads(Path(report).read_text())["cases"] if report and Path(report).exists() else {}
    for case in CASES if cases == "all" else cases.split(","):
        here = Path(folder) / case
        here.mkdir(parents=True)
        play(case, here / "warm", 1)  # what torch imports late is imported once, not by every child
        began = time.monotonic()
        counts[case] = asdict(drive(case, int(kills), here)) | {"rounds": ROUNDS, "commit": commit()}
        counts[case]["seconds"] = round(time.monotonic() - began)
        print(case, counts[case], flush=True)
        told = {
            "command": f"ROUNDS={ROUNDS} python tests/test_resume.py {cases} {kills} FOLDER JSON",
            **{
                name: sum(count[name] for count in counts.values())
                for name in ("kills", "resumes", "faults", "stopped")
            },
            "checkpoint_every": OFTEN.checkpoint_every,
            "different": 0,  # one that differs ends the driver
            "kinds": by_kind(counts),
            "cases": counts,
            "torch": torch.__version__,
        }
        if report:
            Path(report).write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    eq.Run.report = lambda run: run.path  # half of a small run's time, and no part of its state
    main(*sys.argv[1:])
