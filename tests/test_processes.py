"""`equilibria train --processes`: one process stops all, one killed ends all, and the run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import equilibria as eq

CLI = [sys.executable, "-c", "import sys; from equilibria.cli import main; sys.exit(main())", "train"]
ENDLESS = ["gan", "--data", "ring8-U", "--steps", "1000000", "--set", "batch=16", "--set", "run.checkpoint_every=5"]
ENDLESS += ["--set", "run.doctor=false", "--set", "run.evaluate=false", "--set", "run.log_every=1"]


def started(*words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen([*CLI, *words], env=environment, stdout=pipe, stderr=pipe, text=True)


def newest(run: Path) -> int:
    return max((int(p.name[5:]) for p in (run / "checkpoints").glob("step-*")), default=-1)


def worker_of(launcher: subprocess.Popen[str], rank: int, run: Path, beyond: int) -> int:
    """The process of this rank, once the run has a checkpoint after ``beyond``."""
    until = time.monotonic() + 60
    while time.monotonic() < until and launcher.poll() is None:
        children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
        if newest(run) > beyond and len(children) == 2:
            return int(children[rank])
        time.sleep(0.05)
    launcher.terminate()
    raise AssertionError(launcher.communicate(timeout=60))


def heard_from(process: int) -> set[str]:
    """The addresses, as the kernel writes them, at which a process listens."""
    held = {os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir()}
    rows = [row.split() for kind in ("tcp", "tcp6") for row in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held}


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.ci_slow)])
def test_one_process_stops_all_and_one_killed_ends_all_and_the_run_goes_on(tmp_path: Path, rank: int) -> None:
    run = tmp_path / "run"
    launcher = started(*ENDLESS, "--out", str(run), "--processes", "2")
    worker = worker_of(launcher, 1, run, 0)
    assert heard_from(worker) and heard_from(worker) <= {"0100007F"}  # 127.0.0.1
    os.kill(worker, signal.SIGTERM)
    said, told = launcher.communicate(timeout=60)
    assert launcher.returncode == 130 and "Stopped at round" in said, (said, told)
    stopped = newest(run)

    launcher = started("--resume", str(run), "--processes", "2")
    os.kill(worker_of(launcher, rank, run, stopped), signal.SIGKILL)
    killed = time.monotonic()
    said, told = launcher.communicate(timeout=60)
    assert launcher.returncode == 1 and time.monotonic() - killed < 60
    assert f"process {rank} was ended by SIGKILL" in told, told
    assert f"process {rank} of 2 ended before the run did" in told and f"equilibria train --resume {run}" in told, told

    until = newest(run) + 3
    launcher = started("--resume", str(run), "--steps", str(until))
    said, told = launcher.communicate(timeout=60)
    assert launcher.returncode == 0, told
    info = json.loads((run / "run.json").read_text())
    assert (info["processes"], info["steps"], newest(run)) == (1, until, until)
    assert [row["step"] for row in eq.open_run(run).rows() if "loss/generator" in row] == list(range(1, until + 1))


STEP = """
import os, sys, torch
from pathlib import Path
from equilibria.base import distributed
def threads():
    return [name for task in Path("/proc/self/task").iterdir() if "gloo" in (name := (task / "comm").read_text())]
assert "torch._dynamo" not in sys.modules
with distributed.joined():
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = distributed.mean(torch.ones(1))[0]
    torch.optim.Adam([weight], fused=True).step()
    assert threads()
assert not threads()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_the_group_leaves_no_thread_behind_where_an_optimiser_first_steps_in_it(tmp_path: Path) -> None:
    told = {**os.environ, "WORLD_SIZE": "2", "EQUILIBRIA_MEETING": str(tmp_path / "met"), "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen([sys.executable, "-c", STEP], env={**told, "RANK": str(rank)}) for rank in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]


def test_processes_that_no_launcher_has_started_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    from equilibria.cli import main

    assert main(["train", "gan", "--data", "ring8-U", "--processes", "0"]) == 1
    assert "use at least 1" in capfd.readouterr().err
