"""Everything a person can give wrongly on the command line: one clear line, a fix, exit code 1, and nothing lost."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from equilibria import EquilibriaError, cli
from equilibria.runs.lock import locked
from equilibria.training import checkpoint

Case = tuple[Callable[[Path], list[str]], str, str]
TINY = ["--steps", "2", "--set", "batch=4", "--set", "networks.vector.width=8", "--set", "run.progress=false"]


def points(folder: Path, change: Callable[[Any], Any] = lambda x: x) -> str:
    """An array file of vectors."""
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    np.save(folder / "points.npy", change(x))
    return str(folder / "points.npy")


def photos(folder: Path, sizes: tuple[tuple[int, int], ...] = ((8, 8),) * 12) -> Path:
    """A folder of gray pictures."""
    (folder / "photos").mkdir()
    for i, size in enumerate(sizes):
        Image.new("L", size, 20 * i).save(folder / "photos" / f"{i:02d}.png")
    return folder / "photos"


def train(data: Callable[[Path], Any], *more: str, recipe: str = "gan") -> Callable[[Path], list[str]]:
    return lambda tmp: ["train", recipe, "--data", str(data(tmp)), "--out", str(tmp / "out"), *TINY, *more]


def one_corrupt(tmp: Path) -> Path:
    folder = photos(tmp)
    whole = (folder / "05.png").read_bytes()
    (folder / "05.png").write_bytes(whole[: len(whole) // 2])
    return folder


def poked(x: Any) -> Any:
    x[7, 1] = np.nan
    return x


def images(shape: tuple[int, ...], scale: float = 1.0) -> Callable[[Path], str]:
    return lambda tmp: points(tmp, lambda x: scale * np.random.default_rng(0).random(shape).astype(np.float32))


def empty(tmp: Path) -> Path:
    (tmp / "empty").mkdir()
    return tmp / "empty"


def existing(tmp: Path) -> list[str]:
    (tmp / "keep").mkdir()
    (tmp / "keep" / "work.txt").write_text("mine")
    return ["train", "gan", "--data", points(tmp), "--out", str(tmp / "keep"), *TINY]


def below_a_file(tmp: Path) -> list[str]:
    return ["train", "gan", "--data", points(tmp), "--out", str(tmp / "points.npy" / "out"), *TINY]


BAD: dict[str, Case] = {
    "empty folder": (train(empty), r"the folder \S+empty has no images", "folder that holds the image files"),
    "no such path": (train(lambda t: t / "nowhere"), r"there is no file or folder \S+nowhere", "check the path"),
    "corrupt image": (train(one_corrupt), r"the image \S+05\.png cannot be decoded", "corrupt='skip'"),
    "mixed sizes": (
        train(lambda t: photos(t, ((8, 8),) * 9 + ((9, 8),))),
        r"mixed sizes: \S+00\.png is 8x8, \S+09\.png is 9x8",
        "size=64",
    ),
    "channels": (train(images((40, 2, 8, 8))), r"shape \(40, 2, 8, 8\) has neither 1 nor 3 channels", "gray or RGB"),
    "NaN": (
        train(lambda t: points(t, poked)),
        r"1 NaN or infinite values of 80, the first at index \(7, 1\)",
        "remove those",
    ),
    "range": (train(images((40, 1, 8, 8), 255.0)), r"float pixels range over \[0\.\d+, 25\d", r"uint8"),
    "fit": (train(points, "--set", "data.fit=squeeze"), r"fit='squeeze' is unknown", "data.fit=crop"),
    "unknown recipe": (train(points, recipe="wgan-pg"), "no recipe 'wgan-pg'", "did you mean 'wgan-gp'"),
    "unknown data": (
        train(lambda t: "digit"),
        "'digit' is neither a known data set nor a file",
        "did you mean 'digits'",
    ),
    "no data": (lambda t: ["train", "gan", "--out", str(t / "out")], "no data was named", "--data digits"),
    "labels missing": (train(points, recipe="cgan"), "a conditional game needs labels", "labels"),
    "folder exists": (existing, r"the folder \S+keep exists already", "choose another --out"),
    "below a file": (below_a_file, r"\S+out cannot be written: Not a directory", "check the path"),
    "set no equals": (train(points, "--set", "batch"), "--set batch", "--set batch=128"),
    "set no key": (train(points, "--set", "=3"), "--set =3", "--set batch=128"),
    "set unknown": (train(points, "--set", "bach=3"), "Recipe has no setting 'bach'", "--set batch=3"),
    "set deep": (train(points, "--set", "optimizer.lrr=3"), "Adam has no setting 'lrr'", "--set optimizer.lr=3"),
    "set too deep": (train(points, "--set", "batch.x=3"), "'batch.x' goes further than", "--set batch=4"),
    "set kind": (train(points, "--set", "batch=many"), "'batch=many': a value of type int", "--set batch=4"),
    "set index": (
        train(points, "--set", "averages.7.decay=0.5"),
        "7 is no index into 1 entries",
        "--set averages.0.decay=0.5",
    ),
    "set name": (train(points, "--set", "name=mine"), "'name' says where a recipe comes from", "--set batch=64"),
    "set run": (train(points, "--set", "run.keep=0"), "keep=0", "--set run.keep=1"),
    "set run unknown": (train(points, "--set", "run.kep=1"), "Settings has no setting 'kep'", "--set run.keep=1"),
    "set data": (train(points, "--set", "data.crop=left"), "crop='left' is unknown", "'center'"),
    "tracker": (
        train(points, "--set", "run.trackers=tensorbord"),
        "unknown tracker 'tensorbord'",
        "did you mean 'tensorboard'",
    ),
    "steps": (train(points, "--steps", "0"), "steps=0", "at least 1"),
    "device": (train(points, "--device", "cuda:99"), "device 'cuda:99' is not available here", "--device cpu"),
    "precision": (train(points, "--precision", "half"), "precision='half'", "--precision float32"),
    "resume nothing": (
        lambda t: ["train", "--resume", str(t / "no")],
        r"\S+no is not a run: there is no such folder",
        "equilibria runs",
    ),
    "resume no run": (
        lambda t: ["train", "--resume", str(empty(t))],
        r"\S+empty is not a run: it has no run.json",
        "equilibria runs",
    ),
    "resume and data": (
        lambda t: ["train", "--resume", str(t), "--seed", "3"],
        "--seed .*--resume",
        "leave --seed out",
    ),
    **{
        f"{name} nothing": (lambda t, name=name: [name, str(t)], "is not a run", "equilibria runs")
        for name in ("sample", "report", "cite", "evaluate")
    },
}


def complaint(capsys: pytest.CaptureFixture[str], what: str, fix: str) -> None:
    """What was printed is one line that says what, and one that says how to fix it."""
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith(("error:", "fix:"))]
    assert len(lines) == 2 and lines[0].startswith("error:") and lines[1].startswith("fix:"), said.err
    assert re.search(what, lines[0]) and re.search(fix, lines[1]), lines
    assert "Traceback" not in said.err and "\x1b" not in said.err and not said.out


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_gives_a_message_of_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, what, fix = BAD[name]
    arguments = make(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert cli.main(arguments) == 1
    complaint(capsys, what, fix)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_debug_shows_where(tmp_path: Path) -> None:
    with pytest.raises(EquilibriaError, match="is not a run"):
        cli.main(["cite", str(tmp_path), "--debug"])


def test_brackets_in_a_name_are_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cite", str(tmp_path / "[red]a[/red]")]) == 1
    assert "[red]a[/red] is not a run" in capsys.readouterr().err


# A run that exists ---------------------------------------------------------------------------------------------------


OFTEN = ["--set", "run.checkpoint_every=1", "--set", "run.sample_every=8"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a file of points."""
    folder = tmp_path_factory.mktemp("bad")
    assert cli.main(["train", "gan", "--data", points(folder), "--out", str(folder / "run"), *TINY, *OFTEN]) == 0
    return folder / "run"


@pytest.fixture
def run(tmp_path: Path, finished: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "run")


def edit(path: Path, **changes: Any) -> None:
    info = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in {**info, **changes}.items() if v is not None}))


RUN_JSON: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "truncated": (lambda f: f.write_text(f.read_text()[:99]), r"run\.json is damaged", "restore run.json"),
    "binary": (lambda f: f.write_bytes(b"\xff\x00\x81"), r"run\.json is damaged", "restore run.json"),
    "a list": (lambda f: f.write_text("[1]"), r"run\.json is damaged: it is not a JSON object", "restore"),
    "newer": (lambda f: edit(f, format=99), r"written by a newer version \(format 99", "upgrade equilibria"),
    "no seed": (lambda f: edit(f, seed=None), "'seed' is missing or of the wrong kind", "restore"),
    "data": (lambda f: edit(f, data={"name": "x"}), "'source' is missing or of the wrong kind", "restore"),
    "steps": (lambda f: edit(f, steps="many"), "'steps' is missing or of the wrong kind", "restore"),
    "record": (
        lambda f: edit(f, settings={"type": "Recipe2"}),
        r"Settings in .* \(unknown record type 'Recipe2'",
        "upgrade",
    ),
    "field": (lambda f: edit(f, settings={"type": "Settings", "wings": 2}), "no setting 'wings'", "upgrade"),
    "kind": (lambda f: edit(f, settings={"keep": 2}), "damaged: no Settings", "restore"),
}


@pytest.mark.parametrize("name", RUN_JSON)
@pytest.mark.parametrize("command", [["train", "--resume"], ["evaluate"]])
def test_a_damaged_run_json(run: Path, capsys: pytest.CaptureFixture[str], name: str, command: list[str]) -> None:
    damage, what, fix = RUN_JSON[name]
    damage(run / "run.json")
    kept = (run / "metrics.jsonl").read_bytes()
    assert cli.main([*command, str(run)]) == 1
    complaint(capsys, what, fix)
    assert (run / "metrics.jsonl").read_bytes() == kept and len(checkpoint.listed(run / "checkpoints")) == 3


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("keep", [0, 20], ids=["emptied", "truncated"])
def test_a_damaged_checkpoint_is_stepped_over(run: Path, capsys: pytest.CaptureFixture[str], keep: int) -> None:
    state = run / "checkpoints" / "step-00000002" / "state.safetensors"
    whole, rows = state.read_bytes(), (run / "metrics.jsonl").read_bytes()
    state.write_bytes(whole[:keep])
    assert cli.main(["train", "--resume", str(run)]) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert len(warned) == 1 and "step-00000002 is damaged" in warned[0] and "using the one before it" in warned[0]
    assert state.read_bytes() == whole and (run / "metrics.jsonl").read_bytes() == rows


def test_a_checkpoint_of_a_newer_version(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(run / "checkpoints" / "step-00000002" / "state.json", format=99)
    assert cli.main(["sample", str(run), "--out", str(run / "s.npy")]) == 1
    complaint(capsys, "has format 99", "upgrade equilibria")


def test_the_second_of_two_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = (run / "metrics.jsonl").read_bytes()
    with locked(run):
        assert cli.main(["train", "--resume", str(run), "--steps", "9"]) == 1
    complaint(capsys, "another process is training in", f"kill {os.getpid()}")
    assert (run / "metrics.jsonl").read_bytes() == kept


def test_changed_and_missing_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert cli.main(["train", "gan", "--data", points(tmp_path), "--out", str(run), *TINY]) == 0
    capsys.readouterr()
    points(run.parent, lambda x: x + 1)
    assert cli.main(["train", "--resume", str(run)]) == 1
    complaint(capsys, "fingerprint differs", "the same data")
    (run.parent / "points.npy").unlink()
    assert cli.main(["train", "--resume", str(run)]) == 1
    complaint(capsys, r"there is no file or folder \S+points\.npy", "check the path")
    assert cli.main(["sample", str(run), "--out", str(run / "s.npy")]) == 0  # samples need no data
    assert cli.main(["report", str(run)]) == 0


@pytest.mark.parametrize(
    ("more", "what", "fix"),
    [
        (["--out", "s.gif"], "samples cannot be written as 's.gif'", r"\.png, \.npy or \.npz"),
        (["--out", "none/s.npy"], "there is no folder none", "another --out"),
        (["--out", "s.npy", "-n", "0"], "0 samples", "at least 1"),
        (["--out", "s.npy", "--label", "3"], "this run's game has no classes", "leave them out"),
    ],
)
def test_samples_that_cannot_be(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, more: list[str], what: str, fix: str
) -> None:
    monkeypatch.chdir(run.parent)
    assert cli.main(["sample", str(run), *more]) == 1
    complaint(capsys, what, fix)
    assert not (run.parent / "s.npy").exists()


def test_too_few_samples_to_evaluate(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(run), "-n", "3"]) == 1
    complaint(capsys, "3 samples", "at least 12")


# Disks ---------------------------------------------------------------------------------------------------------------

SITES = ["run.json", ".lock", "metrics.jsonl", "state.json", "step-00000001.npz", "step-00000001.png", "report.html"]


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_is_full_or_read_only_at_any_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, site: str, code: int
) -> None:
    out, real_open, real_os_open = tmp_path / "run", builtins.open, os.open

    def refuse(path: Any, writing: bool) -> None:
        if writing and site in str(path) and str(tmp_path) in str(path):
            raise OSError(code, os.strerror(code), str(path))

    def opened(path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        refuse(path, any(letter in mode for letter in "wax"))
        return real_open(path, mode, *rest, **more)

    def os_opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        refuse(path, bool(flags & os.O_CREAT))
        return real_os_open(path, flags, *rest, **more)

    data = points(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", opened)
        patch.setattr(io, "open", opened)
        patch.setattr(os, "open", os_opened)
        assert cli.main(["train", "gan", "--data", data, "--out", str(out), *TINY, *OFTEN]) == 1
    place = {"run.json": "run", "state.json": "checkpoints/step-00000000"}.get(site, site)
    said = "no space left on the device while writing {}" if code == errno.ENOSPC else r"{} cannot be written"
    complaint(capsys, said.format(rf"\S+{re.escape(place)}"), "free some space" if code == errno.ENOSPC else "choose")
    assert not list(tmp_path.rglob(".tmp-*"))
    if site == "run.json":
        assert not out.exists()
        return
    for path in checkpoint.listed(out / "checkpoints"):
        assert checkpoint.read(path).tensors
    assert cli.main(["train", "--resume", str(out)]) == 0
    assert [row["step"] for row in map(json.loads, (out / "metrics.jsonl").read_text().splitlines())] == [1, 2]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A small disk of its own, mounted with the options given; skipped where that is not allowed."""
    (tmp_path / "disk").mkdir()

    def mount(options: str) -> Path:
        call = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path / "disk")]
        if subprocess.run(call, capture_output=True, check=False).returncode:
            pytest.skip("mounting needs root")
        return tmp_path / "disk"

    yield mount
    if os.path.ismount(tmp_path / "disk"):
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)


def test_a_disk_that_fills_up(disk: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, data = disk("size=200k"), points(tmp_path)
    given = ["--data", data, *TINY, "--set", "networks.vector.width=32", "--set", "run.checkpoint_every=1"]
    assert cli.main(["train", "gan", "--out", str(tmp_path / "whole"), *given]) == 0
    capsys.readouterr()
    assert cli.main(["train", "gan", "--out", str(place / "run"), *given]) == 1
    complaint(capsys, r"no space left on the device while writing \S+", "free some space, then resume")
    assert not list(place.rglob(".tmp-*")) and len(checkpoint.listed(place / "run" / "checkpoints")) >= 1
    kept = checkpoint.newest(place / "run" / "checkpoints")
    assert kept is not None
    subprocess.run(["mount", "-o", "remount,size=9m", str(place)], check=True)
    assert cli.main(["train", "--resume", str(place / "run")]) == 0
    for name in ("metrics.jsonl", "checkpoints/step-00000002/state.safetensors"):
        assert (place / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_read_only_folder(disk: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, data = disk("size=9m"), points(tmp_path)
    assert cli.main(["train", "gan", "--data", data, "--out", str(place / "run"), *TINY]) == 0
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    capsys.readouterr()
    for arguments in (
        ["train", "gan", "--data", data, "--out", str(place / "new"), *TINY],
        ["train", "--resume", str(place / "run"), "--steps", "4"],
        ["report", str(place / "run")],
    ):
        assert cli.main(arguments) == 1
        complaint(capsys, "cannot be written", "a folder that can be written")
    assert cli.main(["sample", str(place / "run"), "--out", str(tmp_path / "s.npy")]) == 0
    capsys.readouterr()


@pytest.mark.filterwarnings("default")
def test_an_evaluation_that_cannot_be_kept_is_still_told(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", full)
    assert cli.main(["evaluate", str(run), "-n", "30", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["w1"]["n"] > 0 and "warning: the evaluation is not kept" in said.err
