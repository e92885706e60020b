"""Sources: every form that `load` reads, and the one line that it says to each that it cannot."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import TensorDataset

from equilibria.data import DataOptions, load
from equilibria.errors import DataError

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
        ([[1.0]], "a list is no source"),
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
    (tmp_path / "table.csv").write_text("1,2\n")
    np.savez(tmp_path / "only_y.npz", y=np.arange(3))
    for name, says in (
        ("cut.npz", "cut.npz"),
        ("text.npy", "text.npy"),
        ("table.csv", "no format"),
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


# folders --------------------------------------------------------------------------------------------------------------


def test_a_folder_gives_images_with_its_subfolders_as_classes(folder: Path) -> None:
    data = load(folder, options=ALL)
    assert data.spec.shape == (3, 6, 5) and data.class_names == ("cats", "dogs") and data.source == str(folder)
    rows = data.take(12)
    classes = {COLOUR[i].transpose(2, 0, 1).tobytes(): int(i % 3 == 0) for i in range(12)}
    assert [classes[x.tobytes()] for x in pixels(rows["x"])] == rows["y"].tolist()
    assert len(rows_of(pixels(rows["x"]))) == 12


def test_images_beside_subfolders_have_no_labels(folder: Path) -> None:
    save(folder / "more.png", COLOUR[0])
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("hello")
    data = load(folder, options=ALL)
    assert data.spec.classes == 0 and data.size == 13


def test_a_folder_of_gray_images_has_one_channel_and_a_mixed_one_three(tmp_path: Path) -> None:
    for i, image in enumerate(GRAY):
        save(tmp_path / f"{i}.png", image)
    assert rows_of(pixels(load(tmp_path, options=ALL).take(12)["x"])) == rows_of(GRAY)
    save(tmp_path / "colour.png", COLOUR[0])
    mixed = load(tmp_path, options=ALL)
    assert mixed.spec.shape == (3, 6, 5)
    assert rows_of(pixels(mixed.take(13)["x"])) == rows_of(np.repeat(GRAY[:, None], 3, axis=1)) | rows_of(
        COLOUR[:1].transpose(0, 3, 1, 2)
    )
    assert load(tmp_path, options=DataOptions(grayscale=True)).spec.shape == (1, 6, 5)


def test_special_pixels_are_read_as_shown(tmp_path: Path) -> None:
    clear = np.zeros((4, 4, 4), dtype=np.uint8)
    clear[:2, :, 3] = 255
    Image.fromarray(clear).save(tmp_path / "clear.png")
    x = pixels(load(tmp_path / "clear.png").take(1)["x"])[0]
    assert x[:, :2].max() == 0 and x[:, 2:].min() == 255  # transparent pixels are shown on white
    deep = (np.arange(16, dtype=np.uint16) * 257 * 17).reshape(4, 4)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(pixels(load(tmp_path / "deep.png").take(1)["x"])[0, 0], deep // 257)
    turned = Image.fromarray(COLOUR[0])
    exif = turned.getexif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    x = pixels(load(tmp_path / "turned.png").take(1)["x"])[0]
    np.testing.assert_array_equal(x, np.rot90(COLOUR[0], -1).transpose(2, 0, 1))
    palette = Image.fromarray(COLOUR[0]).quantize(64)
    palette.save(tmp_path / "palette.png")
    x = pixels(load(tmp_path / "palette.png").take(1)["x"])[0]
    np.testing.assert_array_equal(x, np.asarray(palette.convert("RGB")).transpose(2, 0, 1))


def test_mixed_sizes_name_two_files_and_the_fix(folder: Path) -> None:
    save(folder / "cats" / "big.png", np.zeros((9, 9, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"1\.png is 5x6, .*big\.png is 9x9.*size=64"):
        load(folder)
    assert load(folder, options=DataOptions(size=4)).spec.shape == (3, 4, 4)


def test_size_takes_the_central_square_or_squeezes(tmp_path: Path) -> None:
    wide = np.zeros((8, 16, 3), dtype=np.uint8)
    wide[:, 4:12] = 200
    save(tmp_path / "wide.png", wide)
    cut = pixels(load(tmp_path, options=DataOptions(size=8)).take(1)["x"])
    assert cut.shape == (1, 3, 8, 8) and set(cut.ravel()) == {200}
    squeezed = pixels(load(tmp_path, options=DataOptions(size=8, crop="none")).take(1)["x"])
    assert squeezed[..., 0].max() < 20 and squeezed[..., 4].min() > 180


@pytest.mark.parametrize("size", [3, 4, 9])
def test_arrays_and_files_are_fitted_alike(folder: Path, size: int) -> None:
    options = DataOptions(size=size, held_out=0.0)
    files = pixels(load(folder, options=options).take(12)["x"])
    arrays = pixels(load(COLOUR, options=options).take(12)["x"])
    assert rows_of(files) == rows_of(arrays) and files.shape == (12, 3, size, size)


def test_resampling_is_that_of_pillow() -> None:
    smooth = (127 + 90 * np.sin(np.arange(20) / 4)[:, None] * np.cos(np.arange(20) / 5)[None, :]).astype(np.uint8)
    for size in (7, 20, 33):
        ours = pixels(load(smooth[None], options=DataOptions(size=size)).take(1)["x"])[0, 0].astype(int)
        theirs = np.asarray(Image.fromarray(smooth).resize((size, size), Image.Resampling.BICUBIC)).astype(int)
        assert np.abs(ours - theirs).max() <= 1  # Pillow rounds after each axis


def test_grayscale_of_arrays_is_the_luma_of_pillow() -> None:
    ours = pixels(load(COLOUR, options=DataOptions(grayscale=True, held_out=0.0)).take(12)["x"]).astype(int)
    theirs = np.stack([np.asarray(Image.fromarray(c).convert("L")) for c in COLOUR]).astype(int)
    total = sorted(x.sum() for x in ours), sorted(x.sum() for x in theirs)
    assert np.abs(np.subtract(*total)).max() <= 30  # at most one a pixel
    floats = load(COLOUR.astype(np.float32) / 255, options=DataOptions(grayscale=True, size=3))
    assert floats.spec.shape == (1, 3, 3) and float(floats.take(5)["x"].abs().max()) <= 1.0


def test_a_corrupt_image_is_named_or_skipped_with_a_count(folder: Path) -> None:
    (folder / "cats" / "bad.png").write_bytes(b"not a picture")
    cut = folder / "dogs" / "cut.png"
    save(cut, RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    cut.write_bytes(cut.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"bad\.png cannot be decoded.*corrupt='skip'"):
        load(folder)
    with pytest.warns(UserWarning, match="2 of 14 images of .* are left out"):
        data = load(folder, options=DataOptions(corrupt="skip", held_out=0.0))
    assert data.size == 12 and np.bincount(data.take(12)["y"]).tolist() == [8, 4]
    (folder / "cats" / "bad.png").unlink()
    with pytest.raises(DataError, match=r"cut\.png cannot be decoded"):
        load(folder)


def test_hopeless_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="has no images"):
        load(tmp_path)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match="none of 1 image files can be decoded"):
        load(tmp_path, options=DataOptions(corrupt="skip"))
    for part in ("train", "test"):
        save(tmp_path / "both" / part / "a.png", COLOUR[0])
    with pytest.raises(DataError, match=r"which are splits, not classes.*both/train"):
        load(tmp_path / "both")


# names, other libraries -----------------------------------------------------------------------------------------------


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


class Pictures(TorchDataset[Any]):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        return Image.fromarray(COLOUR[index]), index % 2


def test_torch_data_sets_are_read_whole() -> None:
    data = load(Pictures(), options=ALL)
    assert data.spec.shape == (3, 6, 5) and data.spec.classes == 2 and data.name == "Pictures" and data.source is None
    assert rows_of(pixels(data.take(12)["x"])) == rows_of(COLOUR.transpose(0, 3, 1, 2))
    assert load(TensorDataset(torch.randn(8, 3))).spec.shape == (3,)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([torch.zeros(2), torch.zeros(3)], r"mixed shapes: 0 is \(2,\), 1 is \(3,\)"),
        ([(torch.zeros(2), 0, 1)], "3 parts"),
        ([(torch.zeros(2), 0), torch.zeros(2)], "1 of 2 items have a label"),
        (["text"], "item 0 is a str"),
        ([], "is empty"),
    ],
)
def test_unusable_torch_data_sets_are_refused(items: list[Any], says: str) -> None:
    class Items(TorchDataset[Any]):
        def __len__(self) -> int:
            return len(items)

        def __getitem__(self, index: int) -> Any:
            return items[index]

    with pytest.raises(DataError, match=says):
        load(Items())


def fake_hub(found: Any) -> types.ModuleType:
    module = types.ModuleType("datasets")

    def load_dataset(name: str) -> Any:
        if found is None:
            raise ConnectionError("no network\nmore")
        return found

    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    return module


class Split(dict[str, Any]):
    """The part of a Hub split that is used: columns by name, features, a length."""

    def __init__(self, columns: dict[str, Any], features: dict[str, Any]) -> None:
        super().__init__(columns)
        self.features = features

    def __len__(self) -> int:
        return len(next(iter(self.values())))


def feature(kind: str, **fields: Any) -> Any:
    return type(kind, (), fields)()


def test_hub_data_sets_give_images_classes_and_their_test_split(monkeypatch: Any) -> None:
    features = {"label": feature("ClassLabel", names=["no", "yes"]), "img": feature("Image")}
    train, test = (
        Split({"label": [i % 2 for i in part], "img": [Image.fromarray(COLOUR[i]) for i in part]}, features)
        for part in (range(8), range(8, 12))
    )
    monkeypatch.setitem(sys.modules, "datasets", fake_hub({"train": train, "test": test}))
    data = load("hf:some/name")
    assert (data.size, data.held_out_size, data.class_names) == (8, 4, ("no", "yes"))
    assert data.source == "hf:some/name"
    assert rows_of(pixels(data.take(4, held_out=True)["x"])) == rows_of(COLOUR[8:].transpose(0, 3, 1, 2))
    vectors = Split({"v": [[1.0, 2.0], [3.0, 4.0]]}, {"v": feature("List")})
    monkeypatch.setitem(sys.modules, "datasets", fake_hub({"all": vectors}))
    assert load("hf:vectors").spec.shape == (2,)


def test_hub_failures_are_one_line(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"equilibria\[hub\]"):
        load("hf:some/name")
    monkeypatch.setitem(sys.modules, "datasets", fake_hub(None))
    with pytest.raises(DataError, match=r"cannot be loaded \(no network\)"):
        load("hf:some/name")
    text = Split({"text": ["a"]}, {"text": feature("Value")})
    monkeypatch.setitem(sys.modules, "datasets", fake_hub({"train": text}))
    with pytest.raises(DataError, match="no column of images or numbers"):
        load("hf:some/name")


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
    with pytest.raises(DataError, match=r"shapes \(1, 8, 8\) and \(3, 6, 5\)"):
        load(f"pairs:digits,{folder}")
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
