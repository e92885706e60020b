"""`equilibria train --processes`: one process stops all, one killed ends all, and the run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import equilibria as eq
from equilibria.base.processes import alive, temporary_folder
from equilibria.runs.lock import held_by
from equilibria.training import disk

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


@pytest.mark.slow
@pytest.mark.ci_slow
def test_workers_end_with_a_checkpoint_when_their_launcher_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    run = tmp_path / "run"
    launcher = started(*ENDLESS, "--out", str(run), "--processes", "2")
    worker = worker_of(launcher, 1, run, 0)
    first = held_by(run)
    assert first is not None and alive(first[0]) and alive(worker)
    refused = started("--resume", str(run))
    told = refused.communicate(timeout=60)[1]
    assert refused.returncode == 1 and f"process {first[0]} on {first[1]}" in told, told
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.communicate(timeout=60)  # its pipes close when the last worker has ended
    until = time.monotonic() + 10
    while (alive(first[0]) or alive(worker)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(first[0]) and not alive(worker)
    last = max(row["step"] for row in eq.open_run(run).rows())
    assert newest(run) == last, "the last round has a checkpoint"
    assert not list((tmp_path / "scratch").glob("equilibria-*"))


def test_what_killed_processes_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ours = [tmp_path / "scratch" / f"equilibria-{pid}-abc" for pid in (gone.pid, os.getpid())]
    begun = [tmp_path / f".tmp-run-{gone.pid}", tmp_path / f".tmp-run-{os.getpid()}", tmp_path / ".tmp-run-other-1x"]
    for folder in (*ours, *begun, tmp_path / "scratch" / "equilibria-cache"):
        folder.mkdir(parents=True)
        (folder / "file").touch()
        os.utime(folder, (0, 0))
    with temporary_folder() as made:
        assert made.is_dir()
    assert sorted(p.name for p in (tmp_path / "scratch").iterdir()) == [ours[1].name, "equilibria-cache"]
    disk.clear_begun(tmp_path / "run")
    assert [folder.exists() for folder in begun] == [False, True, True]


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
