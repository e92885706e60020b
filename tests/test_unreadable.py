"""Files that cannot be read now, that are damaged, or that are no files: nothing is lost, and the reason is given."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import equilibria as eq
from equilibria.base.errors import RunError
from equilibria.training import checkpoint, checkups, disk
from test_checkpoint import play_of, same, state

TINY = {"networks.vector.width": "8", "batch": "16"}
pytestmark = pytest.mark.usefixtures("no_report")  # no test here reads the page of a run

QUIET = eq.Settings(
    device="cpu", progress=False, evaluate=False, doctor=False, checkpoint_every=2, keep=3, sample_every=1000
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 rounds with checkpoints of rounds 4, 6 and 8; tests copy it."""
    out = tmp_path_factory.mktemp("unreadable") / "run"
    eq.train(eq.recipe("gan").with_settings(TINY), "ring8-M", steps=8, out=out, settings=QUIET)
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def contents(run: Path) -> dict[str, str]:
    """A digest of every file of a run but its lock."""
    files = (p for p in sorted(run.rglob("*")) if p.is_file() and not p.name.startswith(".lock"))
    return {str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def failing(monkeypatch: pytest.MonkeyPatch, code: int, when: Callable[[Path], bool]) -> None:
    """Let every read of such a file fail with an error of the file system."""
    real = checkpoint._digest

    def digest(path: Path, *rest: Any) -> str:
        if when(path):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *rest)

    monkeypatch.setattr(checkpoint, "_digest", digest)


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOMEM])
def test_a_checkpoint_that_cannot_be_read_now_stops_a_resume(
    run: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    before = contents(run)
    failing(monkeypatch, code, lambda path: "step-00000008" in str(path))
    with pytest.raises(RunError) as raised:
        eq.resume(run)
    assert "step-00000008" in raised.value.what and os.strerror(code) in raised.value.what
    assert contents(run) == before
    monkeypatch.undo()
    assert eq.resume(run).play.round == 8


def test_a_damaged_checkpoint_is_kept_aside_and_its_round_is_played_again(run: Path, finished: Path) -> None:
    for number in (6, 8):
        (run / "checkpoints" / f"step-{number:08d}" / "state.safetensors").write_bytes(b"torn")
    with pytest.warns(UserWarning, match="damaged"):
        again = eq.resume(run)
    assert again.play.round == 8
    names = {p.name for p in (run / "checkpoints").iterdir()}
    assert {"damaged-step-00000006", "damaged-step-00000008"} <= names
    last = "checkpoints/step-00000008/state.safetensors"
    assert contents(run)[last] == contents(finished)[last]


def test_a_checkpoint_without_the_doctors_memory_is_whole(run: Path) -> None:
    assert not list(run.rglob("doctor.safetensors"))
    assert eq.open_run(run).diagnose().state


def test_a_whole_checkpoint_is_not_called_damaged(tmp_path: Path) -> None:
    play = play_of()
    checkpoint.save(play, tmp_path)
    checkpoint.save(play, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000000"]


def test_a_second_damaged_one_does_not_replace_the_first(tmp_path: Path) -> None:
    play = play_of()
    for content in (b"one", b"two"):
        checkpoint.save(play, tmp_path)
        (tmp_path / "step-00000000" / "state.safetensors").write_bytes(content)
    checkpoint.save(play, tmp_path)
    kept = sorted(p.name for p in tmp_path.iterdir())
    assert kept == ["damaged-step-00000000", "damaged-step-00000000-2", "step-00000000"]
    saved = checkpoint.newest(tmp_path)
    assert saved is not None and same(saved.tensors, state(play))


def test_checkpoints_have_the_permissions_of_other_files(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = checkpoint.save(play_of(), tmp_path)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o644}


PLANTED = {
    "link": lambda place, outside: place.symlink_to(outside),
    "folder": lambda place, outside: place.symlink_to(outside.parent, target_is_directory=True),
    "pipe": lambda place, outside: os.mkfifo(place),
    "dangling": lambda place, outside: place.symlink_to(outside.parent / "nothing"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["metrics.jsonl", "samples", "checkpoints", ".lock", "run.json", "checkpoints/x"])
@pytest.mark.parametrize("kind", PLANTED)
def test_a_run_with_links_pipes_or_devices_is_refused(run: Path, tmp_path: Path, name: str, kind: str) -> None:
    outside = tmp_path / "outside" / "file"
    outside.parent.mkdir()
    outside.write_text("precious")
    place = run / name
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    PLANTED[kind](place, outside)
    for call in (eq.resume, eq.open_run):
        with pytest.raises(RunError) as raised:
            call(run)
        assert str(place) in raised.value.what
    assert [p.name for p in outside.parent.iterdir()] == ["file"] and outside.read_text() == "precious"


def test_a_file_that_is_deleted_while_the_folder_is_read_is_left_out(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the checkpoint that a training process replaces while somebody lists its runs."""
    real = Path.lstat

    def gone(self: Path) -> os.stat_result:
        if self.name == "state.json":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return real(self)

    monkeypatch.setattr(Path, "lstat", gone)
    assert not list(disk.irregular(run)) and eq.open_run(run).play.round == 8


def test_a_checkpoint_that_cannot_be_deleted_keeps_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play, real = play_of(), checkpoint._discard
    for _ in range(3):
        checkpoint.save(play, tmp_path, keep=9)
        play.advance()

    def stuck(path: Path) -> None:
        if path.name == "step-00000000":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        real(path)

    monkeypatch.setattr(checkpoint, "_discard", stuck)
    checkpoint.save(play, tmp_path, keep=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000000", "step-00000003"]


def test_a_run_below_a_link_is_opened(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(run, target_is_directory=True)
    assert eq.open_run(tmp_path / "elsewhere").play.round == 8


LONG = """
import sys, equilibria as eq
row = eq.recipe("gan").with_settings({"networks.vector.width": "8", "batch": "16"})
settings = eq.Settings(device="cpu", progress=False, evaluate=False, doctor=False, checkpoint_every=1000, log_every=1)
eq.train(row, "ring8-M", steps=100_000, out=sys.argv[1], settings=settings)
"""


def begun(out: Path, *before: str) -> subprocess.Popen[str]:
    """A long run in another process that has logged some rounds."""
    command = [*before, sys.executable, "-c", LONG, str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    until = time.monotonic() + 60
    while not (out / "metrics.jsonl").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()[1]
    return process


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_a_checkpoint_of_the_last_round(tmp_path: Path, number: signal.Signals) -> None:
    process = begun(tmp_path / "run")
    process.send_signal(number)
    process.communicate(timeout=60)
    saved = checkpoint.newest(tmp_path / "run" / "checkpoints")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert saved is not None and saved.round == rows[-1]["step"] and saved.round % 1000


@pytest.mark.timeout(120)
def test_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    process = begun(tmp_path / "run", "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    alive = process.poll() is None
    process.kill()
    process.communicate()
    assert alive


@pytest.mark.timeout(120)
def test_a_run_whose_folder_is_deleted_stops(tmp_path: Path) -> None:
    process = begun(tmp_path / "run")
    while (tmp_path / "run").exists():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "run" in error.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "checkups.jsonl", "doctor.safetensors", "state.json"])
def test_whatever_cannot_be_read_now_a_resume_stops_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Otherwise the doctor would go on without its memory, and examine at other rounds than the uninterrupted run."""
    run = Path(shutil.copytree(Path(__file__).with_name("old_runs") / "gan", tmp_path / "run"))
    (run / "run.json").write_text((run / "run.json").read_text().replace('"steps": 60', '"steps": 64'))
    before, opens, loads, code = contents(run), io.open, checkups.load_file, errno.EIO

    def refuse(file: Any) -> None:
        if isinstance(file, (str, Path)) and Path(file).name == name:
            raise OSError(code, os.strerror(code), str(file))

    def opened(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if "r" in mode:
            refuse(file)
        return opens(file, mode, *rest, **more)

    def loaded(file: Any, *rest: Any) -> Any:
        refuse(file)
        return loads(file, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", opened)
        patch.setattr(checkups, "load_file", loaded)
        with pytest.raises(RunError, match="cannot be read") as raised:
            eq.resume(run)
    assert os.strerror(code) in raised.value.what and raised.value.fix
    assert contents(run) == before
