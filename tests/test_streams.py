"""Data that stays on the disk: the rows of the data in memory, bit for bit, without their copy in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equilibria.base.errors import ConfigError, DataError
from equilibria.data import DataOptions, load, streams

DISK, MEMORY = DataOptions(stream="true"), DataOptions(stream="false")
RANDOM = np.random.default_rng(0)


def array(folder: Path, *shape: int, name: str = "x.npy") -> Path:
    np.save(folder / name, RANDOM.integers(0, 256, shape, dtype=np.uint8))
    return folder / name


def pictures(folder: Path, mode: str = "RGB") -> Path:
    for k in range(2):
        (folder / f"class{k}").mkdir(parents=True)
        for i in range(9):
            size = (8, 10, 3) if mode == "RGB" else (8, 10)
            Image.fromarray(RANDOM.integers(0, 256, size, dtype=np.uint8)).save(folder / f"class{k}/{i}.png")
    return folder


def same(path: Path, **options: object) -> None:
    disk, memory = (load(path, options=DataOptions(stream=how, **options)) for how in ("true", "false"))
    assert disk.spec == memory.spec and (disk.size, disk.held_out_size) == (memory.size, memory.held_out_size)
    for turn in (*range(6), 2, 40):  # straddles epochs; reads ahead, again, and elsewhere
        for seed in (0, 1):
            found, own = disk.batch(5, seed, turn), memory.batch(5, seed, turn)
            assert found.keys() == own.keys() and all(torch.equal(found[name], own[name]) for name in own)
    for held in (False, True):
        found, own = disk.take(7, 3, held), memory.take(7, 3, held)
        assert all(torch.equal(found[name], own[name]) for name in own)


@pytest.mark.parametrize("shape", [(23, 6, 7), (23, 1, 6, 7), (23, 6, 7, 3), (23, 3, 6, 7)])
@pytest.mark.parametrize("options", [{}, {"size": 4, "grayscale": True}, {"held_out": 0.4, "size": 9, "crop": "none"}])
def test_an_array_on_the_disk_deals_what_it_deals_in_memory(
    shape: tuple[int, ...], options: dict[str, object], tmp_path: Path
) -> None:
    same(array(tmp_path, *shape), **options)


@pytest.mark.parametrize("options", [{}, {"size": 4}, {"grayscale": True}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_folder_of_images_does_too(mode: str, options: dict[str, object], tmp_path: Path) -> None:
    same(pictures(tmp_path / "photos", mode), **options)


def test_labels_given_beside_go_with_the_rows(tmp_path: Path) -> None:
    path, y = array(tmp_path, 20, 4, 4), np.arange(20) % 3
    found, own = (load(path, labels=y, options=how).batch(20 - 2, 0, 0) for how in (DISK, MEMORY))
    assert torch.equal(found["y"], own["y"]) and torch.equal(found["x"], own["x"])


def test_the_next_batch_is_read_before_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, read = load(array(tmp_path, 30, 4, 4), options=DISK), streams.ArrayFile.read
    by: list[str] = []

    def told(self: streams.ArrayFile, index: list[int]) -> torch.Tensor:
        if self is data.store.store.table.x:  # an earlier test's store may still be reading ahead
            by.append(threading.current_thread().name)
        return read(self, index)

    monkeypatch.setattr(streams.ArrayFile, "read", told)
    for turn in range(4):
        data.batch(4, 0, turn)
    data.store._reader.shutdown()
    assert by[0] == "MainThread" and len(by) == 5 and all(name.startswith("read-ahead") for name in by[1:])


def test_auto_streams_what_takes_more_than_its_share_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = array(tmp_path, 10, 4, 4)
    assert load(path).fingerprint()["kind"] == "array"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(streams, "SHARE", 159 / memory)
    found = load(path)
    assert found.fingerprint()["kind"] == "stream" and found.options.stream == "true"
    monkeypatch.setattr(streams, "SHARE", 161 / memory)
    assert load(path).fingerprint()["kind"] == "array"


def test_the_fingerprint_survives_a_copy_and_tells_a_change(tmp_path: Path) -> None:
    path = array(tmp_path, 10, 4, 4)
    was = load(path, options=DISK).fingerprint()
    shutil.copy(path, tmp_path / "again.npy")
    os.utime(tmp_path / "again.npy", (1, 1))
    assert load(tmp_path / "again.npy", options=DISK).fingerprint() == was
    x = np.load(path)
    x[3, 0, 0] += 1
    np.save(path, x)
    assert load(path, options=DISK).fingerprint() != was
    folder = pictures(tmp_path / "photos")
    was = load(folder, options=DISK).fingerprint()
    shutil.copytree(folder, tmp_path / "moved")
    assert load(tmp_path / "moved", options=DISK).fingerprint() == was
    (folder / "class0/3.png").rename(folder / "class0/30.png")
    assert load(folder, options=DISK).fingerprint() != was


def test_what_cannot_be_streamed_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stream='maybe'"):
        DataOptions(stream="maybe")
    np.save(tmp_path / "float.npy", np.zeros((4, 3, 3), dtype=np.float32))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(np.zeros((4, 3, 3), dtype=np.uint8)))
    np.savez(tmp_path / "many.npz", x=np.zeros((4, 3, 3), dtype=np.uint8))
    for name in ("float.npy", "fortran.npy", "many.npz"):
        with pytest.raises(DataError, match="cannot be streamed"):
            load(tmp_path / name, options=DISK)
        load(tmp_path / name)
    path = array(tmp_path, 10, 4, 4)
    for source in (f"pairs:{path},{path}", f"stacked:{path}"):
        with pytest.raises(DataError, match="cannot be streamed"):
            load(source, options=DISK)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(DataError, match="cut off"):
        load(path, options=DISK)


def test_a_file_that_goes_bad_while_it_is_read_says_so(tmp_path: Path) -> None:
    path = array(tmp_path, 10, 4, 4)
    data = load(path, options=DISK)
    os.truncate(path, 200)
    with pytest.raises(DataError, match="become shorter"):
        data.batch(9, 0, 0)
    folder = pictures(tmp_path / "photos")
    data = load(folder, options=DISK)
    for one in folder.rglob("*.png"):
        one.write_bytes(one.read_bytes()[:60])
    with pytest.raises(DataError, match="cannot be decoded"):
        data.batch(9, 0, 0)


TRAINS = """
import resource, sys, torch
torch.set_num_threads(1)
from equilibria.data import DataOptions, load
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import MLPPair
from equilibria.core.optimizers import Adam
from equilibria.core.play import Play
from equilibria.core.updates import Alternating

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def playing(path):
    data = load(path, options=DataOptions(stream="true"))
    game = TwoPlayer().build(MLPPair(width=32, depth=2), data.spec)
    data.fingerprint()
    specs = {p.name: Adam() for p in game.players}
    play = Play(game, Alternating(), specs, lambda seed, turn: data.batch(256, seed, turn))
    play.advance(int(sys.argv[3]))

playing(sys.argv[1])
base = peak()
playing(sys.argv[2])
print(peak() - base)
"""


def grown(folder: Path, count: int, rounds: int) -> int:
    """Bytes by which training on ``count`` images of 28 x 28 needs more memory than on a thousand."""
    few, many = folder / "few.npy", folder / "many.npy"
    for path, n in ((few, 1000), (many, count)):
        x = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(n, 28, 28))
        x[:: max(1, n // 1000)] = 7
        x.flush()
    done = subprocess.run(
        [sys.executable, "-c", TRAINS, str(few), str(many), str(rounds)], capture_output=True, text=True, check=True
    )
    many.unlink()
    return int(done.stdout)


def test_training_holds_no_copy_of_the_data(tmp_path: Path) -> None:
    assert grown(tmp_path, 150_000, 20) < 118_000_000 / 2  # the rows alone are 118 MB


@pytest.mark.slow
def test_a_million_images_train_in_a_hundred_megabytes(tmp_path: Path) -> None:
    assert grown(tmp_path, 1_000_000, 400) < 100_000_000


# damaged files -------------------------------------------------------------------------------------------------------


def damaged(folder: Path, which: list[int]) -> Path:
    """Twenty images, some cut off behind their headers."""
    folder.mkdir()
    for i in range(20):
        path = folder / f"{i:02d}.png"
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (9, 7), dtype=np.uint8)).save(path)
        if i in which:
            path.write_bytes(path.read_bytes()[:60])
    return folder


def test_damaged_images_are_left_out_of_a_streamed_folder_as_of_one_in_memory(tmp_path: Path) -> None:
    folder = damaged(tmp_path / "photos", [0, 7, 19])
    rows = {}
    for stream in ("true", "false"):
        with pytest.warns(UserWarning, match="3 of 20 images"):
            data = load(folder, stream=stream, corrupt="skip")
        assert (data.size, data.held_out_size) == (15, 2) and "left out: 3 images" in data.described()
        rows[stream] = [data.batch(5, 0, 1)["x"], data.take(2, held_out=True)["x"]]
    assert all(map(torch.equal, rows["true"], rows["false"]))


def test_a_damaged_held_out_file_is_noticed_at_the_start(tmp_path: Path) -> None:
    whole = load(damaged(tmp_path / "whole", []), stream="true")
    held, train = whole.store.store.order.held.tolist(), whole.store.store.order.train.tolist()
    folder = damaged(tmp_path / "held", [held[1]])
    with pytest.raises(DataError, match=rf"{held[1]:02d}\.png cannot be decoded.*data\.corrupt=skip"):
        load(folder, stream="true")
    load(damaged(tmp_path / "train", [train[-1]]), stream="true")  # met in the first epoch


# the doubts of arrays ------------------------------------------------------------------------------------------------

DARK = np.random.default_rng(0).integers(0, 21, (6, 5, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    "x",
    [
        DARK,
        np.full((5, 3, 8, 3), 200, np.uint8),
        np.full((3, 8, 8), 200, np.uint8),
        np.full((6, 40, 2), 200, np.uint8),
        np.full((4, 8, 8), 200, np.uint8),
        np.full((4, 8, 8), 20, np.uint8),
    ],
)
def test_a_streamed_array_is_doubted_like_one_in_memory(x: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", x)
    said = []
    for stream in ("false", "true"):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            try:
                load(tmp_path / "x.npy", stream=stream)
            except DataError as error:
                said.append(str(error))
                continue
        said.append("|".join(str(one.message) for one in found))
    assert said[0] == said[1]


def test_a_bright_array_is_not_read_whole_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_BYTES", 100)
    np.save(tmp_path / "x.npy", np.full((50, 8, 8), 200, np.uint8))
    counted, read = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *given: counted.append(given[1]) or read(*given))
    load(tmp_path / "x.npy", stream="true")
    assert sum(counted) <= 100 + 64
