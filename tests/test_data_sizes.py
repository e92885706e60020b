"""Rectangles, and how images of another shape come to a size: against slices, Pillow and arithmetic by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import equilibria as eq
from equilibria.base.errors import ConfigError
from equilibria.base.records import decode, encode
from equilibria.data import DataOptions, Dataset, load

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (6, 10, 3), dtype=np.uint8)  # 10 wide, 6 high


def pixels(data: Dataset) -> np.ndarray:
    x = ((data.whole()["x"] + 1) * 127.5).round().to(torch.uint8).numpy()
    return x.transpose(0, 2, 3, 1)


def pad(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image in the middle of black, pixel by pixel."""
    out = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = (height - len(image)) // 2, (width - len(image[0])) // 2
    for i, row in enumerate(image):
        for j, pixel in enumerate(row):
            out[top + i, left + j] = pixel
    return out


SMALLER = PICTURE[:3, :5]
# size, fit: what is read of PICTURE without resampling
EXACT: list[tuple[str | int, str, np.ndarray]] = [
    ("10x6", "crop", PICTURE),
    ("10x6", "pad", PICTURE),
    ("10x6", "stretch", PICTURE),
    (6, "crop", PICTURE[:, 2:8]),
    ("5x6", "crop", PICTURE[:, 2:7]),
    ("10x3", "crop", PICTURE[1:4]),
    (10, "pad", pad(PICTURE, 10, 10)),
    ("10x9", "pad", pad(PICTURE, 9, 10)),
    ("13x6", "pad", pad(PICTURE, 6, 13)),
]


def source(form: str, folder: Path) -> Any:
    """One picture as a folder, a streamed folder, an array, or a streamed array."""
    if form == "folder":
        Image.fromarray(PICTURE).save(folder / "0.png")
        return folder
    np.save(folder / "x.npy", PICTURE[None])
    return folder / "x.npy"


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize("form", ["folder", "array"])
def test_a_size_with_width_and_height_is_read_as_by_slices(form: str, stream: str, tmp_path: Path) -> None:
    place = source(form, tmp_path)
    for size, fit, expected in EXACT:
        data = load(place, held_out=0.0, stream=stream, size=size, fit=fit)
        assert data.spec.shape == (3, *expected.shape[:2]), (size, fit)
        np.testing.assert_array_equal(pixels(data)[0], expected, err_msg=f"{size} {fit}")


@pytest.mark.parametrize(
    ("size", "fit", "box"),
    [
        ("5x8", "stretch", (0, 0, 10, 6)),
        ("20x12", "crop", (0, 0, 10, 6)),
        ("3x6", "crop", (3, 0, 6, 6)),
        ("8x2", "crop", (0, 2, 10, 4)),  # 10 wide and 6 high: 2.5 rows, and Python rounds to 2
        ("12x12", "crop", (2, 0, 8, 6)),
    ],
)
def test_resampling_is_that_of_pillow(size: str, fit: str, box: tuple[int, ...], tmp_path: Path) -> None:
    smooth = np.dstack([np.mgrid[0:6, 0:10][1] * 20, np.mgrid[0:6, 0:10][0] * 30, np.full((6, 10), 90)]).astype("u1")
    Image.fromarray(smooth).save(tmp_path / "0.png")
    width, height = (int(side) for side in size.split("x"))
    expected = np.asarray(Image.fromarray(smooth).crop(box).resize((width, height), Image.Resampling.BICUBIC))
    found = pixels(load(tmp_path, held_out=0.0, size=size, fit=fit))[0]
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_padding_resamples_the_whole_image(tmp_path: Path) -> None:
    Image.fromarray(np.full((6, 10, 3), 200, dtype=np.uint8)).save(tmp_path / "0.png")
    found = pixels(load(tmp_path, held_out=0.0, size="5x9", fit="pad"))[0]
    np.testing.assert_array_equal(found, pad(np.full((3, 5, 3), 200), 9, 5))
    with_alpha = load(tmp_path, held_out=0.0, size="5x9", fit="pad", alpha="keep").whole()["x"][0]
    assert with_alpha[3].tolist() == [[-1.0] * 5] * 3 + [[1.0] * 5] * 3 + [[-1.0] * 5] * 3
    floats = load(np.full((2, 1, 6, 10), 0.5), held_out=0.0, size="5x9", fit="pad").whole()["x"][0, 0]
    assert floats[0].tolist() == [-1.0] * 5 and floats[4].tolist() == [0.0] * 5


def test_pictures_side_by_side_are_fitted_one_by_one(tmp_path: Path) -> None:
    left, right = PICTURE, PICTURE[::-1]
    Image.fromarray(np.concatenate([left, right], axis=1)).save(tmp_path / "0.png")
    rows = load(f"aligned:{tmp_path}", held_out=0.0, size="5x6").whole()
    for name, of in (("x", left), ("other", right)):
        np.testing.assert_array_equal(((rows[name][0] + 1) * 127.5).round().numpy().transpose(1, 2, 0), of[:, 2:7])


def test_the_line_says_how_images_were_fitted(tmp_path: Path) -> None:
    for i, shape in enumerate([(6, 10), (6, 10), (9, 9)]):
        Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / f"{i}.png")
    said = load(tmp_path, held_out=0.0, size="10x6", fit="pad").described()
    assert "10 x 6 pixels" in said and "1 images of other sizes" in said


@pytest.mark.parametrize("bad", ["64x", "x64", "big", "0x8", 0, -3, "8x8x8", "8x-8", "70000x8"])
def test_a_size_that_is_none_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigError, match=r"data\.size=64"):
        DataOptions(size=bad)


def test_options_of_earlier_versions_are_read() -> None:
    old = encode(DataOptions(size=32))
    del old["fit"]
    for crop, fit in (("center", "crop"), ("none", "stretch")):
        assert decode(old | {"crop": crop}) == DataOptions(size=32, fit=fit)
    for options in (DataOptions(size="64x96", fit="pad"), DataOptions(size="64x64")):
        assert decode(json.loads(json.dumps(encode(options)))) == options
    assert DataOptions(size="64x64") == DataOptions(size=64)


def test_a_folder_of_rectangles_goes_through_a_run(tmp_path: Path) -> None:
    """24 x 37 pixels, which cannot be halved: train, sample, evaluate, diagnose, report."""
    folder = tmp_path / "photos"
    for k, name in enumerate(("high", "low")):
        (folder / name).mkdir(parents=True)
        for i in range(12):
            image = np.full((37, 24), 40 + i, dtype=np.uint8)
            image[18 * k + i // 2 : 18 * k + 10, 4:20] = 255
            Image.fromarray(image).save(folder / name / f"{i}.png")
    row = eq.recipe("wgan-gp").with_settings(
        [("batch", "4"), ("game.discriminator_turns", "1"), ("networks.image.width", "2")]
    )
    settings = eq.Settings(progress=False, sample_every=2, evaluate=False, doctor=False)
    run = eq.train(row, data=folder, steps=2, out=tmp_path / "run", settings=settings)
    assert run.sample(5).shape == (5, 1, 37, 24)
    assert all(one.value == one.value for one in run.evaluate(20, classify=False).values())
    pictures = sorted((tmp_path / "run" / "samples").glob("*.png"))
    with Image.open(pictures[-1]) as shown:
        assert shown.height > shown.width
    assert "</html>" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert eq.resume(tmp_path / "run", steps=3).play.round == 3
