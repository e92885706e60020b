"""One to five images, batches larger than the data, very large images, long and odd names: read, or one clear line."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import equilibria as eq
from equilibria.base.errors import DataError
from equilibria.data import load
from equilibria.runs.creation import default_folder, with_batch_of

RNG = np.random.default_rng(0)


def pictures(folder: Path, count: int, shape: tuple[int, ...] = (8, 9)) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_batch_larger_than_the_data_shrinks_and_says_so(count: int, tmp_path: Path) -> None:
    data = load(pictures(tmp_path / "few", count))
    with pytest.warns(UserWarning, match=rf"64 rows is more than the {data.size} .*the batch is {data.size} "):
        row = with_batch_of(eq.recipe("gan"), data)
    assert row == eq.recipe("gan").with_settings([("batch", str(data.size))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_batch_of(row, data) is row
        assert with_batch_of(eq.recipe("gan"), load("moons")).batch == eq.recipe("gan").batch


def test_one_image_is_trained_on_and_resumed(tmp_path: Path) -> None:
    folder, settings = pictures(tmp_path / "one", 1), eq.Settings(progress=False, evaluate=False, doctor=False)
    with pytest.warns(UserWarning, match="the batch is 1 row"):
        run = eq.train("dcgan", data=folder, steps=1, out=tmp_path / "run", settings=settings)
    assert run.recipe.batch == 1 and torch.isfinite(run.sample(2)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert eq.resume(tmp_path / "run", steps=2).play.round == 2


def test_very_large_images_are_one_line_and_what_it_says_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(tmp_path / "photos", 3)
    pictures(tmp_path / "large", 1, (30, 40, 3))
    (tmp_path / "large/0.png").rename(folder / "large.png")
    Image.fromarray(RNG.integers(0, 256, (60, 80), dtype=np.uint8)).save(folder / "larger.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow warns of 1,200 and refuses 4,800
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"large\.png has 40 x 30 pixels.*MAX_IMAGE_PIXELS = 1200"):
            load(folder, size=8)
    with pytest.warns(UserWarning, match="2 of 5 images"):
        assert load(folder, size=8, corrupt="skip", held_out=0.0).size == 3
    (folder / "large.png").unlink()
    with pytest.raises(DataError, match=r"larger\.jpg.*4800 pixels"):
        load(folder, size=8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4800)
    assert load(folder, size=8, held_out=0.0).size == 4


NAMES = ["é" * 127 + "x", "two\nlines", "tab\t\"quotes' <b>&amp;", "日本語" * 20, "\x1b[31mred", " spaces ", "a,b;c:d"]


def test_long_and_odd_names_are_classes_and_stay_on_one_line(tmp_path: Path) -> None:
    assert len(os.fsencode(NAMES[0])) == 255
    for k, name in enumerate(NAMES):
        pictures(tmp_path / "set" / name, 2 + k)
    longest = tmp_path / "set" / NAMES[1] / ("n" * 251 + ".png")
    (tmp_path / "set" / NAMES[1] / "0.png").rename(longest)
    data = load(tmp_path / "set", held_out=0.0)
    assert set(data.class_names) == set(NAMES)
    counts = torch.bincount(data.whole()["y"]).tolist()
    assert dict(zip(data.class_names, counts, strict=True)) == {name: 2 + k for k, name in enumerate(NAMES)}
    said = data.described()
    assert "\n" not in said and "\x1b" not in said and len(said) < 800
    longest.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"n{251}"):
        load(tmp_path / "set")


def test_the_name_of_a_run_fits_a_file_system(tmp_path: Path) -> None:
    name = default_folder("x" * 255, "r" * 255, 7, tmp_path).name
    assert len(name) < 200 and name.endswith("seed7")
    (tmp_path / name).mkdir()
    assert default_folder("x" * 255, "r" * 255, 7, tmp_path).name == f"{name}-2"
    assert default_folder("日本語\n", "gan", 0, tmp_path).name.endswith("own_gan_seed0")
