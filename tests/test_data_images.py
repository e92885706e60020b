"""Folders of images: every form of picture is read as it is shown, and each fault is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from equilibria.base.errors import DataError
from equilibria.data import DataOptions, load

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


def test_a_folder_gives_images_with_its_subfolders_as_classes(folder: Path) -> None:
    data = load(folder, options=ALL)
    assert data.spec.shape == (3, 6, 5) and data.class_names == ("cats", "dogs") and data.source == str(folder)
    rows = data.take(12)
    classes = {COLOUR[i].transpose(2, 0, 1).tobytes(): int(i % 3 == 0) for i in range(12)}
    assert [classes[x.tobytes()] for x in pixels(rows["x"])] == rows["y"].tolist()
    assert len(rows_of(pixels(rows["x"]))) == 12


def test_an_image_beside_the_class_folders_is_left_out_and_said(folder: Path) -> None:
    save(folder / "more.png", COLOUR[0])
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("hello")
    with pytest.warns(UserWarning, match=r"more\.png.*classes=none"):
        data = load(folder, options=ALL)
    assert data.class_names == ("cats", "dogs") and data.size == 12
    none = load(folder, options=ALL, classes="none")
    assert none.spec.classes == 0 and none.size == 13


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
    with pytest.warns(UserWarning, match="2 of 14 images"):
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
    with pytest.raises(DataError, match="1 image files"):
        load(tmp_path, options=DataOptions(corrupt="skip"))
    for part in ("train", "test"):
        save(tmp_path / "both" / part / "a.png", COLOUR[0])
    with pytest.raises(DataError, match=r"which are splits, not classes.*both/train"):
        load(tmp_path / "both")
