"""Sources: every form that `load` reads, and the one line that it says to each that it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from equilibria.base.errors import DataError
from equilibria.data import DataOptions, load
from equilibria.data.sources import reopened

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (12, 6, 5), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
ALL = DataOptions(held_out=0.0)


def pixels(x: torch.Tensor) -> np.ndarray:
    return ((x + 1) * 127.5).round().to(torch.uint8).numpy()


def rows_of(x: np.ndarray) -> set[bytes]:
    return {np.ascontiguousarray(row).tobytes() for row in x}


def save(path: Path, array: np.ndarray, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **how)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, image in enumerate(COLOUR):
        save(tmp_path / "shots" / ("cats" if i % 3 else "dogs") / f"{i}.png", image)
    return tmp_path / "shots"


# arrays ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (GRAY, (1, 6, 5)),
        (COLOUR, (3, 6, 5)),
        (COLOUR.transpose(0, 3, 1, 2), (3, 6, 5)),
        (torch.from_numpy(GRAY), (1, 6, 5)),
        (GRAY.astype(np.int64), (1, 6, 5)),
        (GRAY[..., None], (1, 6, 5)),
        (GRAY.astype(np.float32) / 255, (1, 6, 5)),
        (GRAY.astype(np.float64) / 127.5 - 1, (1, 6, 5)),
    ],
)
def test_images_in_memory_come_out_channels_first_in_minus_one_to_one(x: Any, shape: tuple[int, ...]) -> None:
    data = load(x, options=ALL)
    assert data.spec.kind == "image" and data.spec.shape == shape and data.source is None
    expected = COLOUR.transpose(0, 3, 1, 2) if shape[0] == 3 else GRAY[:, None]
    assert rows_of(pixels(data.take(12)["x"])) == rows_of(expected)


def test_boolean_images_are_black_and_white() -> None:
    assert set(load(GRAY > 127, options=ALL).take(12)["x"].unique().tolist()) == {-1.0, 1.0}


def test_vectors_are_kept_as_they_are() -> None:
    x = RNG.normal(3, 20, (9, 4))
    data = load(x, options=ALL)
    assert data.spec.kind == "vector" and data.spec.shape == (4,)
    assert rows_of(data.take(9)["x"].numpy()) == rows_of(x.astype(np.float32))
    assert load(np.arange(5.0)).spec.shape == (1,)


def test_memory_given_is_not_written_to() -> None:
    x = RNG.random((6, 4, 4)).astype(np.float32)
    before = x.copy()
    load(x).batch(4, 0, 0)
    np.testing.assert_array_equal(x, before)


BAD = np.ones((4, 3))
BAD_AT = BAD.copy()
BAD_AT[2, 1] = np.nan
BAD_AT[3, 0] = np.inf


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (BAD_AT, r"2 NaN or infinite values of 12, the first at index \(2, 1\)"),
        (np.full((2, 2), 1e300), "as float32 has 4 NaN or infinite"),
        (GRAY.astype(np.float32), r"range over \[\d+, 25\d\].*0\.\.255, or floats in \[0, 1\] or \[-1, 1\]"),
        (GRAY.astype(np.int64) * 300, "whole-number pixels range"),
        (np.zeros((4, 6, 5, 4), dtype=np.uint8), r"neither 1 nor 3 channels.*\.\.\., :3"),
        (np.zeros((4, 2, 6, 5), dtype=np.uint8), "neither 1 nor 3 channels"),
        (np.zeros((1, 2, 3, 4, 5)), r"shape \(1, 2, 3, 4, 5\)"),
        (np.zeros((0, 3)), "is empty"),
        (np.array([[1], [None]], dtype=object), "'object' values"),
        (np.array(["a", "b"]), "not numbers"),
        (np.zeros((3, 2), dtype=complex), "'complex128' values"),
        (torch.zeros(3, 2, dtype=torch.complex64), "complex"),
        (None, "a NoneType is no source"),
    ],
)
def test_unusable_arrays_are_refused_with_the_reason(x: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load(x)


# labels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([5, 2] * 6, ("2", "5")),
        (torch.tensor([5, 2] * 6), ("2", "5")),
        (np.array([[1], [0]] * 6), ("0", "1")),
        (np.array([1.0, 3.0] * 6), ("1", "3")),
        (np.array(["dog", "cat"] * 6), ("cat", "dog")),
        (np.array([True, False] * 6), ("False", "True")),
    ],
)
def test_labels_become_classes_with_names(labels: Any, names: tuple[str, ...]) -> None:
    data = load((GRAY, labels))
    assert data.class_names == names and data.spec.classes == 2
    known = {GRAY[i].tobytes(): i % 2 for i in range(12)}
    rows = load(GRAY, labels, ALL).take(12)
    first = names.index(str(np.asarray(labels).ravel()[0]).removesuffix(".0"))
    for x, y in zip(pixels(rows["x"]), rows["y"], strict=True):
        assert int(y) == (first if known[x.tobytes()] == 0 else 1 - first)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 1], "2 labels for 12 examples"),
        ([0.5] * 12, "0.5 at index 0 is not a whole number"),
        ([0] * 11 + [-1], "-1 at index 11 is negative"),
        ([np.nan] * 12, "nan at index 0"),
        (np.eye(12), "argmax"),
        (np.array([None] * 12), "'object' values"),
    ],
)
def test_unusable_labels_are_refused(labels: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load(GRAY, labels)


# files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [("x", "y"), ("images", "labels"), ("data", "y"), ("stuff", "labels")])
def test_npz_is_read_by_its_usual_names(tmp_path: Path, keys: tuple[str, str]) -> None:
    np.savez(tmp_path / "d.npz", **{keys[1]: np.arange(12) % 2, keys[0]: GRAY})
    data = load(tmp_path / "d.npz")
    assert data.spec.shape == (1, 6, 5) and data.spec.classes == 2 and data.name == "d"
    assert data.source == str((tmp_path / "d.npz").resolve())
    assert load(data.source).fingerprint() == data.fingerprint()


def test_npz_with_a_test_set_holds_it_out(tmp_path: Path) -> None:
    arrays = {"x_train": GRAY[:7], "y_train": np.arange(7) % 2, "x_test": GRAY[7:], "y_test": np.ones(5, dtype=int)}
    np.savez(tmp_path / "d.npz", **arrays, names=np.array(["no", "yes"]))
    data = load(str(tmp_path / "d.npz"))
    assert (data.size, data.held_out_size, data.class_names) == (7, 5, ("no", "yes"))
    assert rows_of(pixels(data.take(5, held_out=True)["x"])) == rows_of(GRAY[7:])


def test_npy_with_a_file_of_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", COLOUR)
    np.save(tmp_path / "y.npy", np.arange(12) % 4)
    data = load(tmp_path / "x.npy", labels=tmp_path / "y.npy")
    assert data.spec.shape == (3, 6, 5) and data.spec.classes == 4 and data.source is None


def test_files_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "o.npz", x=np.array([None, 1], dtype=object))
    for name in ("o.npy", "o.npz"):
        with pytest.raises(DataError, match="never unpickled"):
            load(tmp_path / name)


def test_broken_and_foreign_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "cut.npz", x=GRAY)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:100])
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "table.txt").write_text("1,2\n")
    np.savez(tmp_path / "only_y.npz", y=np.arange(3))
    for name, says in (
        ("cut.npz", "cut.npz"),
        ("text.npy", "text.npy"),
        ("table.txt", "no format"),
        ("only_y.npz", "no array of examples"),
        ("gone.npz", "there is no file or folder .*gone.npz"),
    ):
        with pytest.raises(DataError, match=says):
            load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "says"), [("digit", "did you mean 'digits'"), ("grid52", "did you mean 'grid25'"), ("zzz", "known: ")]
)
def test_unknown_names_suggest_the_nearest(name: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load(name)


# names and compositions -----------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    found = load_digits()
    data = load("digits", options=ALL)
    assert data.spec.classes == 10 and data.source == "digits" and data.spec.shape == (1, 8, 8)
    known = {
        np.rint(x * 255 / 16).astype(np.uint8).tobytes(): y for x, y in zip(found.images, found.target, strict=True)
    }
    rows = data.take(1797)
    assert [known[x.tobytes()] for x in pixels(rows["x"])] == rows["y"].tolist()
    assert load("digits", options=DataOptions(size=16)).spec.shape == (1, 16, 16)


def test_a_named_set_comes_from_the_cache_or_says_how_to_fill_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("EQUILIBRIA_DATA", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"run: python -m equilibria\.data\.fetch fashion-mnist"):
        load("fashion-mnist")
    arrays = {"x_train": GRAY[:7, None], "y_train": [1] * 7, "x_test": GRAY[7:, None], "y_test": [0] * 5}
    np.savez(tmp_path / "fashion-mnist.npz", **arrays, names=np.array(["top", "boot"]))
    data = load("fashion-mnist")
    assert (data.name, data.source, data.size, data.class_names) == ("fashion-mnist",) * 2 + (7, ("top", "boot"))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("pairs:digits", "does not name two domains"),
        ("pairs:digits,nothing", "neither a known data set"),
        ("stacked:nothing", "neither a known data set"),
    ],
)
def test_unusable_compositions_are_refused(source: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load(source)


def test_domains_and_channels_have_to_fit(tmp_path: Path, folder: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros((4, 3)))
    unlike = load(f"pairs:digits,{folder}")
    assert not unlike.spec.paired and unlike.spec.column("other").shape == (3, 6, 5)
    with pytest.raises(DataError, match="negative of vectors"):
        load(f"pairs:digits,{tmp_path / 'v.npy'}-negative")
    with pytest.raises(DataError, match="does not name gray images"):
        load(f"stacked:{folder}")
    both = load(f"pairs:digits,{folder}-negative", options=DataOptions(size=8, grayscale=True))
    assert both.source == f"pairs:digits,{folder}-negative" and both.spec.shape == (1, 8, 8)


def test_the_import_is_light() -> None:
    code = (
        "import sys, equilibria.data; "
        "print([m for m in ('sklearn', 'PIL', 'datasets', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout


# a name beside a folder of the same name -----------------------------------------------------------------------------


def crowded(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir()
        for i in range(3):
            Image.fromarray(np.full((9, 9), 80 * i + 90, dtype=np.uint8)).save(folder / name / f"{i}.png")


DOUBLE = {
    "digits": ("./digits", "name:digits"),
    "digits-edges": ("./digits-edges", "name:digits-edges"),
    "moons": ("./moons", "name:moons"),
    "few:digits,20": ("few:./digits,20", "few:name:digits,20"),
    "pairs:photos,digits": ("pairs:photos,./digits", "pairs:photos,name:digits"),
    "aligned:digits,digits-negative": ("aligned:./digits,digits-negative", "aligned:name:digits,digits-negative"),
}


@pytest.mark.parametrize("source", DOUBLE)
def test_a_name_and_a_folder_of_that_name_are_asked_for(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowded(tmp_path, "digits", "moons", "photos")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="there too") as caught:
        load(source)
    for text in DOUBLE[source]:
        assert f"'{text}'" in caught.value.fix


def test_each_reading_is_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowded(tmp_path, "digits", "moons")
    monkeypatch.chdir(tmp_path)
    assert load("./digits").spec.shape == load("./digits-edges").spec.shape == (1, 9, 9)
    assert load("name:digits-edges").source == "digits-edges" and load("name:moons").law is not None
    digits = load("name:digits")
    assert digits.spec.shape == (1, 8, 8) and load("pairs:name:digits,./moons").spec.column("other").shape == (1, 9, 9)
    # what a run has stored is reopened as it was, whatever lies in the folder it is continued from
    assert reopened(digits.source, DataOptions()).fingerprint() == digits.fingerprint()
    with pytest.raises(DataError, match="did you mean 'digits'"):
        load("name:digitz")
