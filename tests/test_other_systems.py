"""Training, resuming and reading on a system that lacks what only Unix has (simulated: these tests run on Linux)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import equilibria as eq
from equilibria.base import processes

WITHOUT = """
import errno, os, signal, stat, sys
for module in ("fcntl", "resource", "pwd", "grp", "termios", "tty"):
    sys.modules[module] = None  # importing it fails
names = "fork O_DIRECTORY O_NOFOLLOW sysconf sched_getaffinity getuid geteuid killpg waitid"
for name in names.split():
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGQUIT", "SIGUSR1"):
    delattr(signal, name)
really = os.open
def opens(path, flags, *rest, **more):
    if not isinstance(path, int) and os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))  # a folder is no file on Windows
    return really(path, flags, *rest, **more)
os.open = opens
"""
TRAIN = """
import equilibria as eq
from equilibria.cli import main
out = sys.argv[1]
quiet = ["--set=run.progress=false", "--set=run.evaluate=false", "--set=run.doctor=false"]
quiet += ["--set=run.checkpoint_every=2", "--device=cpu"]
small = ["--set=networks.vector.width=8", "--set=batch=16"]
assert main(["train", "gan", "--data", "ring8-U", "--steps", "5", "--out", out, *quiet, *small]) == 0
assert main(["train", "--resume", out, "--steps", "8"]) == 0
assert main(["runs", os.path.dirname(out)]) == 0
assert main(["sample", out, "-n", "4", "--out", os.path.join(os.path.dirname(out), "x.png")]) == 0
assert eq.open_run(out).play.round == 8
assert not [name for name in sys.modules if name in ("fcntl", "resource", "pwd") and sys.modules[name]]
"""


@pytest.mark.timeout(290)
def test_a_run_is_trained_and_continued_without_what_only_unix_has(tmp_path: Path) -> None:
    out = tmp_path / "run"
    where = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": where, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT + TRAIN, str(out)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    run = eq.open_run(out)
    assert run.finished and [row["step"] for row in run.rows() if "loss/generator" in row][-1] == 8


def test_on_windows_no_signal_asks_whether_a_process_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """There, ``os.kill(pid, 0)`` sends Ctrl-C to the process."""

    def refused(*_: int) -> None:
        raise AssertionError("a signal was sent")

    asked: list[int] = []
    monkeypatch.setattr(os, "kill", refused)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(processes, "_alive_on_windows", lambda pid: bool(asked.append(pid)))
    assert not processes.alive(17) and asked == [17]
