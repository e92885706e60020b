"""What may happen around a run: other processes, clocks, signals, a loss of power, and a great many checkpoints."""

from __future__ import annotations

import gc
import itertools
import os
import random
import re
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import equilibria as eq
from equilibria.base.errors import RunError
from equilibria.runs.lock import HOLDER, held_by, locked
from equilibria.training import checkpoint, disk, hooks
from test_checkpoint import play_of
from test_resume import OFTEN, POINTS, content, forked, mixed, play

# Two processes and one folder ----------------------------------------------------------------------------------------


def race(count: int, work: Callable[[], object]) -> list[int]:
    """Exit codes of processes that do the same at the same instant: 0, or 7 where it was refused."""
    ready, go = os.pipe(), os.pipe()

    def child() -> None:
        os.write(ready[1], b".")
        os.close(go[1])
        os.read(go[0], 1)  # returns in all of them when the parent closes its end
        try:
            work()
        except RunError as error:
            os._exit(7 if "exists already" in error.what or "another process is training" in error.what else 1)

    children = [forked(child) for _ in range(count)]
    for _ in children:
        os.read(ready[0], 1)
    os.close(go[1])
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    for end in (*ready, go[0]):
        os.close(end)
    return codes


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> eq.Settings:
    """Settings of runs that are not judged, and reported by nobody: most of a small run's time."""
    monkeypatch.setattr(eq.Run, "report", lambda run: run.path)
    return replace(OFTEN, evaluate=False, doctor=False, sample_every=1000)


def test_of_runs_begun_in_one_folder_at_the_same_instant_one_goes_on(tmp_path: Path, bare: eq.Settings) -> None:
    for k in range(2):
        out = tmp_path / str(k) / "run"
        codes = race(3, lambda out=out: eq.train(mixed(), POINTS, steps=2, out=out, settings=bare))
        assert sorted(codes) == [0, 7, 7]
        assert [row["step"] for row in eq.open_run(out).rows()] == [1, 2]
        assert [p.name for p in out.parent.iterdir()] == ["run"], "the refused ones leave nothing"


def test_of_runs_continued_at_the_same_instant_one_goes_on(tmp_path: Path, bare: eq.Settings) -> None:
    eq.train(mixed(), POINTS, steps=2, out=tmp_path / "run", settings=bare)
    codes = race(3, lambda: eq.resume(tmp_path / "run", POINTS, steps=40))
    assert codes.count(0) >= 1 and set(codes) <= {0, 7}
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == len(set(rows)) == 40, "two have written"


def test_the_lock_of_a_dead_process_holds_nobody_up(tmp_path: Path) -> None:
    def hold() -> None:
        with locked(tmp_path):
            (tmp_path / "held").touch()
            time.sleep(60)

    child = forked(hold)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with pytest.raises(RunError, match="another process"), locked(tmp_path):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert held_by(tmp_path) == (child, socket.gethostname()), "a killed process leaves its name behind"
    with locked(tmp_path):
        assert held_by(tmp_path) == (os.getpid(), socket.gethostname())
    assert not (tmp_path / HOLDER).exists()


def test_a_refusal_names_the_process_and_its_fix_ends_it(tmp_path: Path) -> None:
    def hold() -> None:
        with locked(tmp_path):
            (tmp_path / "held").touch()
            time.sleep(60)

    child = forked(hold)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with pytest.raises(RunError, match=f"process {child} on {re.escape(socket.gethostname())}") as refused:
        locked(tmp_path).__enter__()
    subprocess.run(refused.value.fix.rpartition(": ")[2], shell=True, check=True)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    with locked(tmp_path):
        pass


@pytest.mark.parametrize(
    "told",
    [
        "",
        "{",
        "[]",
        "3",
        '{"pid": 1}',
        '{"pid": true, "host": "a"}',
        '{"pid": -1, "host": "a"}',
        '{"pid": 1, "host": "a;b"}',
    ],
)
def test_what_names_the_holder_is_read_without_trust(tmp_path: Path, told: str) -> None:
    with locked(tmp_path):
        (tmp_path / HOLDER).write_text(told)
        with pytest.raises(RunError, match="another process") as refused, locked(tmp_path):
            pass
    assert held_by(tmp_path) is None and "kill" not in refused.value.fix


def test_a_lock_file_that_came_with_a_copy_of_the_folder_holds_nobody_up(tmp_path: Path) -> None:
    """The lock is the kernel's, not the file: what is in it, and from which machine it is, does not matter."""
    (tmp_path / ".lock").write_text("copied")
    (tmp_path / HOLDER).write_text('{"host": "elsewhere", "pid": 1}')
    with locked(tmp_path):
        pass


def test_what_dead_processes_left_half_written_is_cleared(tmp_path: Path, bare: eq.Settings) -> None:
    eq.train(mixed(), POINTS, steps=2, out=tmp_path / "run", settings=bare)
    disk.make_folder(tmp_path / "run" / "samples")
    gone = forked(lambda: None)
    os.waitpid(gone, 0)
    for place in (tmp_path / "run", tmp_path / "run" / "samples"):
        for pid in (gone, os.getpid(), 10**30):
            (place / f".tmp-report.html-{pid}").write_text("half")
    eq.resume(tmp_path / "run", POINTS)
    left = [p.name for p in (tmp_path / "run").rglob(".tmp-*")]
    assert left == [f".tmp-report.html-{os.getpid()}"] * 2, "a living process is still writing its own"


# Clocks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [pytest.param(-1e6, marks=pytest.mark.slow), "both ways"])
def test_nothing_but_the_seconds_shown_depends_on_a_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: Any
) -> None:
    play("mixed", tmp_path / "quiet", 12)
    turns = itertools.count()
    jumps = random.Random(0)

    def now() -> float:
        return 1e9 + (jumps.uniform(-1e6, 1e6) if jump == "both ways" else jump * next(turns))

    with monkeypatch.context() as patch:
        for name in ("time", "monotonic", "perf_counter", "process_time"):
            patch.setattr(time, name, now)
        play("mixed", tmp_path / "jumping", 7)
        run = eq.resume(tmp_path / "jumping", POINTS, steps=12)
    wanted, found = content(tmp_path / "quiet"), content(tmp_path / "jumping")
    saved = [checkpoint.read(path) for path in checkpoint.listed(tmp_path / "jumping" / "checkpoints")]
    assert run.seconds >= 0 and all(s.seconds >= 0 for s in saved)
    assert found["metrics.jsonl"] == wanted["metrics.jsonl"]
    # a run made for 12 rounds has other schedules than one made for 7 and continued, but this game has none
    assert {k: v for k, v in found.items() if "state" in k} == {k: v for k, v in wanted.items() if "state" in k}


# Signals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("during", ["evaluate", "report"])
def test_a_signal_after_the_last_round_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    """SIGTERM then ends the process at once; the weights are on the disk, and what is missing is made by resuming."""
    play("mixed", tmp_path / "whole", 4)
    with monkeypatch.context() as patch:
        patch.setattr(eq.Run, during, lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
        child = forked(lambda: play("mixed", tmp_path / "run", 4))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    assert checkpoint.newest(tmp_path / "run" / "checkpoints").round == 4  # type: ignore[union-attr]
    assert not (tmp_path / "run" / "report.html").exists()
    assert eq.resume(tmp_path / "run", POINTS).finished
    assert content(tmp_path / "run") == content(tmp_path / "whole")
    for name in ("evaluation.json", "report.html"):
        assert (tmp_path / "run" / name).exists()


# Power ---------------------------------------------------------------------------------------------------------------


class Tape:
    """The order in which files and folders are synced and renamed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, str]] = []
        sync, rename, replace = os.fsync, os.rename, os.replace

        def synced(handle: int) -> None:
            self.events.append(("sync", os.readlink(f"/proc/self/fd/{handle}")))
            sync(handle)

        def renamed(real: Callable[..., None]) -> Callable[..., None]:
            def call(old: Any, new: Any, **more: Any) -> None:
                self.events.append(("rename", str(new)))
                real(old, new, **more)

            return call

        patch.setattr(os, "fsync", synced)
        patch.setattr(os, "rename", renamed(rename))
        patch.setattr(os, "replace", renamed(replace))

    def at(self, kind: str, end: str) -> int:
        return next(i for i, (what, path) in enumerate(self.events) if what == kind and path.endswith(end))


def test_a_checkpoint_is_on_the_disk_before_it_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = play_of()
    (tmp_path / "deep").mkdir()
    with monkeypatch.context() as patch:
        tape = Tape(patch)
        checkpoint.save(kept, tmp_path / "deep" / "checkpoints")
    name = tape.at("rename", "step-00000000")
    assert tape.at("sync", "/deep") < name, "a new folder's name is kept in the one above it"
    assert tape.at("sync", "state.safetensors") < name
    assert tape.at("rename", "state.json") < name
    inside = [i for i, (what, path) in enumerate(tape.events) if what == "sync" and "/.tmp-step" in path]
    assert inside and max(inside) < name
    assert tape.events[-1] == ("sync", str(tmp_path / "deep" / "checkpoints"))


def test_rows_are_on_the_disk_before_the_checkpoint_after_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        tape = Tape(patch)
        play("mixed", tmp_path / "run", 2)
    assert tape.at("sync", "metrics.jsonl") < tape.at("rename", "checkpoints/step-00000002")
    created = tape.at("rename", "/run")
    assert any(what == "sync" and ".tmp-run.json" in path for what, path in tape.events[:created])
    assert ("sync", str(tmp_path)) in tape.events[created:]


# A long time ---------------------------------------------------------------------------------------------------------


def soak(folder: Path, saves: int) -> tuple[int, int, float]:
    """Most files, most bytes, and growth of memory in MB from a tenth of the way on, over so many checkpoints."""
    kept, log = play_of(), hooks.Log(folder / "metrics.jsonl", 1)
    hook = hooks.Checkpoints(folder / "checkpoints", 1, 3, log)
    most = heaviest = 0
    start = resident = 0.0
    for i in range(saves):
        kept.round += 1
        if i % 7 == 0:
            (folder / "checkpoints" / f".tmp-step-{i}-1").mkdir(parents=True)  # as a killed run leaves it
        hook.look(kept, {})
        if i % 50 == 49:
            files = [path for path in folder.rglob("*") if path.is_file()]
            most, heaviest = max(most, len(files)), max(heaviest, sum(path.stat().st_size for path in files))
            gc.collect()
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
            start = resident if i < saves // 10 else start
    return most, heaviest, resident - start


def test_checkpoints_take_bounded_room(tmp_path: Path) -> None:
    checkpoint.save(play_of(), tmp_path / "one")
    one = sum(path.stat().st_size for path in (tmp_path / "one").rglob("*") if path.is_file())
    (tmp_path / "many").mkdir()
    files, heavy, _ = soak(tmp_path / "many", 100)
    assert files == 3 * 2 and heavy <= 3 * (one + 20)
    assert len(list((tmp_path / "many" / "checkpoints").iterdir())) == 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_hours_of_checkpoints_take_bounded_room_and_memory(tmp_path: Path) -> None:
    """One every nine seconds."""
    files, _, grown = soak(tmp_path, 4000)
    assert files == 3 * 2 and grown < 4


def test_the_whole_of_a_long_run_is_cleared_of_what_kills_leave(tmp_path: Path) -> None:
    disk.make_folder(tmp_path / "checkpoints")
    for name in (".tmp-step-00000009-123", ".tmp-gone-step-00000001-123"):
        (tmp_path / "checkpoints" / name).mkdir()
    eq.train(mixed(), POINTS, steps=2, out=tmp_path / "run", settings=OFTEN)
    checkpoint.save(play_of(), tmp_path / "checkpoints")
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000000"]
