"""What claims more memory than there is gets refused first: arrays, archives, networks, stored runs."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import equilibria as eq
from equilibria.base import memory
from equilibria.base.errors import ConfigError, DataError, EquilibriaError
from equilibria.data.files import check_memory, stored
from equilibria.recipes import recipe

TERABYTES = (10**6, 10**6)


def claiming(shape: tuple[int, ...], payload: bytes = b"") -> bytes:
    """An array file whose header says this shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue() + payload


@contextmanager
def at_most(most: int) -> Iterator[None]:
    """No more than so many bytes are held by Python objects and arrays at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 4 * 2**20)


@pytest.mark.parametrize("shape", [TERABYTES, (10, 10), (-1, 4)])
@pytest.mark.parametrize("archive", [False, True], ids=["npy", "npz"])
def test_array_larger_than_its_file(tmp_path: Path, shape: tuple[int, ...], archive: bool) -> None:
    path = tmp_path / ("x.npz" if archive else "x.npy")
    content = claiming(shape, b"\0" * 16)
    if archive:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("x.npy", content)
    else:
        path.write_bytes(content)
    with at_most(2**20), pytest.raises(DataError) as caught:
        stored(path)
    assert str(shape) in str(caught.value) and "np.savez" in str(caught.value)


def test_array_that_keeps_its_word(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(claiming((2, 2), b"\0" * 16))
    assert stored(tmp_path / "x.npy")["x"].shape == (2, 2)


@pytest.mark.usefixtures("small_machine")
def test_few_bytes_that_unpack_to_more_than_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.zeros((4, 2**20), np.uint8), y=np.zeros(4, np.uint8))
    assert path.stat().st_size < 2**14
    with at_most(2**20), pytest.raises(DataError, match="the machine has"):
        stored(path)


def test_bound_given_by_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.zeros((2, 2**20), np.uint8))
    assert stored(path, most=2**22)["x"].shape == (2, 2**20)
    with at_most(2**20), pytest.raises(DataError, match="unpacked"):
        stored(path, most=2**20)


@pytest.mark.usefixtures("small_machine")
def test_four_fifths_of_the_memory_may_be_asked_for() -> None:
    check_memory(int(3.2 * 2**20), "so many rows")
    with pytest.raises(DataError, match="so many rows"):
        check_memory(int(3.3 * 2**20), "so many rows")


def test_memory_that_is_not_known_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: None)
    assert memory.too_large(10**18) == ""


def test_networks_larger_than_the_machine() -> None:
    wide = recipe("gan").with_settings({"networks.vector.width": "1000000"})
    with at_most(2**26), pytest.raises(ConfigError, match="the machine has"):
        eq.train(wide, data="ring8-U", steps=1)


def test_stored_run_whose_networks_were_made_huge(tmp_path: Path) -> None:
    run = eq.train("gan", data="ring8-U", steps=2, out=tmp_path / "run")
    file = run.path / "run.json"
    text = json.loads(file.read_text())
    text["recipe"]["networks"]["vector"]["width"] = 10**6
    file.write_text(json.dumps(text))
    with at_most(2**26), pytest.raises(EquilibriaError, match="the machine has"):
        eq.open_run(run.path).sample(4)
