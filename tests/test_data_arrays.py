"""Arrays whose meaning is doubtful: stated by an option, or read with a warning of both readings, or refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equilibria import cli
from equilibria.base.errors import ConfigError, DataError
from equilibria.data import load
from equilibria.figures import image_grid

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (24, 18, 3), dtype=np.uint8)
BYTES = RNG.integers(0, 256, (20, 6, 5), dtype=np.uint8)


def rows(x: Any, **options: Any) -> np.ndarray:
    """The rows as they are dealt, in order; a doubt is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found: np.ndarray = load(x, held_out=0.0, **options).whole()["x"].numpy()
    return found


def warned(x: Any, says: str) -> np.ndarray:
    with pytest.warns(UserWarning, match=says):
        found: np.ndarray = load(x, held_out=0.0).whole()["x"].numpy()
    return found


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected.astype(np.float32), atol=2e-6)


# one picture ----------------------------------------------------------------------------------------------------------


def test_one_rgb_picture_is_one_row() -> None:
    expected = PICTURE.transpose(2, 0, 1)[None] / 127.5 - 1
    close(warned(PICTURE, r"one picture.*kind=image.*24 gray images"), expected)
    close(rows(PICTURE, kind="image"), expected)
    close(rows(PICTURE.astype(np.int64), kind="image"), expected)
    close(rows(PICTURE / 255, kind="image"), PICTURE.transpose(2, 0, 1)[None] / 127.5 - 1)


def test_one_rgb_picture_with_channels_first_is_warned_of() -> None:
    x = torch.rand(3, 24, 18)
    assert warned(x, r"3 gray images.*x\[None\]").shape == (3, 1, 24, 18)
    assert rows(x, kind="image").shape == (3, 1, 24, 18)
    assert rows(x[None], kind="image").shape == (1, 3, 24, 18)


def test_one_gray_picture_is_stated() -> None:
    gray = PICTURE[..., 0]
    assert warned(gray, r"24 vectors of 18 bytes.*kind=image").shape == (24, 18)
    close(rows(gray, kind="image"), gray[None, None] / 127.5 - 1)
    assert rows(RNG.integers(0, 256, (30, 64), dtype=np.uint8)).shape == (30, 64)  # flattened images: no doubt


# series ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(20, 100, 1), (20, 100, 2), (20, 100, 3), (20, 100, 4)])
def test_series_are_refused_in_these_words(shape: tuple[int, ...]) -> None:
    x = RNG.random(shape)
    with pytest.raises(DataError, match=r"series are not supported.*kind=image.*kind=vector"):
        load(x)
    np.testing.assert_array_equal(rows(x, kind="vector"), x.reshape(20, -1).astype(np.float32))


def test_series_that_are_stated_are_refused() -> None:
    for x in (RNG.random((20, 100, 12)), RNG.random((20, 100))):
        with pytest.raises(DataError, match="series are not supported"):
            load(x, kind="series")
    with pytest.raises(DataError, match=r"range over.*series.*not supported"):
        load(RNG.standard_normal((20, 100, 12)))


def test_video_is_refused_in_these_words() -> None:
    with pytest.raises(DataError, match="video and volumes are not supported"):
        load(np.zeros((5, 8, 16, 16, 3), dtype=np.uint8))


# masks, label maps, counts, depths ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("high", [1, 20])
def test_masks_and_label_maps_are_warned_of_and_stated(high: int, dtype: Any) -> None:
    x = RNG.integers(0, high + 1, (20, 16, 16)).astype(dtype)
    close(warned(x, rf"from 0 to {high}.*range=0,{high} .*range=0,255")[:, 0], x / 127.5 - 1)
    close(rows(x, range=(0, high))[:, 0], x / high * 2 - 1)
    close(rows(x, range=(0, 255))[:, 0], x / 127.5 - 1)


def test_boolean_masks_are_black_and_white_without_doubt() -> None:
    x = RNG.integers(0, 2, (20, 16, 16)).astype(bool)
    np.testing.assert_array_equal(rows(x)[:, 0], np.where(x, 1.0, -1.0))


def test_counts_in_bytes_are_warned_of_and_kept_as_stated() -> None:
    x = RNG.integers(0, 6, (200, 4)).astype(np.uint8)
    close(warned(x, r"counts.*kind=vector"), x / 127.5 - 1)
    np.testing.assert_array_equal(rows(x, kind="vector"), x)
    np.testing.assert_array_equal(rows(x.astype(np.int64)), x)  # other whole numbers are kept


@pytest.mark.parametrize(
    ("x", "span"),
    [
        (RNG.integers(0, 4096, (20, 16, 16)).astype(np.uint16), (0, 4095)),
        (RNG.integers(0, 65536, (20, 16, 16)).astype(np.uint16), (0, 65535)),
        (RNG.integers(-1000, 1001, (20, 16, 16)), (-1000, 1000)),
        (RNG.random((20, 16, 16)) * 255, (0, 255)),
        (RNG.random((20, 16, 16)) * 2000 - 1000, (-1000, 1000)),
        (RNG.standard_normal((20, 3, 16, 16)).clip(-3, 3), (-3, 3)),
    ],
)
def test_other_pixels_need_a_range(x: np.ndarray, span: tuple[float, float]) -> None:
    with pytest.raises(DataError, match=r"range over.*data\.range="):
        load(x)
    images = x if x.ndim == 4 else x[:, None]
    close(rows(x, range=span), (images - span[0]) / (span[1] - span[0]) * 2 - 1)


def test_values_outside_a_range_become_its_ends_and_are_counted() -> None:
    x = np.linspace(-2, 2, 20 * 16 * 16).reshape(20, 16, 16)
    with pytest.warns(UserWarning, match=f"{int((np.abs(x) > 1).sum()):,} of 5,120"):
        data = load(x, range=(-1, 1), held_out=0.0)
    close(data.whole()["x"].numpy()[:, 0], x.clip(-1, 1))
    assert "outside" in data.described() and "-1 … 1" in data.described()


@pytest.mark.parametrize(("low", "high"), [(0.4, 0.9), (0.0, 0.2)])
def test_floats_in_a_part_of_the_range_are_warned_of_with_both_readings(low: float, high: float) -> None:
    x = RNG.random((20, 16, 16)) * (high - low) + low
    close(warned(x, r"range=-1\.0,1\.0 .*range=0\.0,1\.0 ")[:, 0], x * 2 - 1)
    close(rows(x, range=(-1, 1))[:, 0], x)
    close(rows(x, range=(0, 1))[:, 0], x * 2 - 1)


@pytest.mark.parametrize(
    "x", [RNG.random((20, 16, 16)), RNG.random((20, 16, 16)) * 2 - 1, BYTES, BYTES.astype(np.int64)]
)
def test_plain_images_are_read_without_a_word(x: np.ndarray) -> None:
    scaled = x / 127.5 - 1 if x.dtype != float else x * 2 - 1 if x.min() >= 0 else x
    close(rows(x)[:, 0], scaled)


# channels -------------------------------------------------------------------------------------------------------------


def test_channels_that_may_be_first_or_last_are_warned_of() -> None:
    x = RNG.integers(0, 256, (20, 3, 16, 3), dtype=np.uint8)
    assert warned(x, r"channels are last.*kind=image").shape == (20, 3, 16, 3)
    assert rows(x, kind="image").shape == (20, 3, 16, 3)


def test_a_fourth_channel_is_kept_by_option() -> None:
    x = RNG.integers(0, 256, (20, 16, 15, 4), dtype=np.uint8)
    with pytest.raises(DataError, match=r"alpha=keep"):
        load(x)
    close(rows(x, alpha="keep"), x.transpose(0, 3, 1, 2) / 127.5 - 1)
    close(rows(x.transpose(0, 3, 1, 2), alpha="keep"), x.transpose(0, 3, 1, 2) / 127.5 - 1)


def test_a_grid_shows_a_fourth_channel_on_white() -> None:
    x = np.zeros((1, 4, 8, 8), dtype=np.uint8)
    x[:, 3, :4] = 255
    grid = np.asarray(image_grid(x, tile=8).convert("RGB"))
    assert set(grid[:4].ravel()) == {0} and set(grid[4:].ravel()) == {255}
    floats = np.asarray(image_grid(torch.from_numpy(x) / 127.5 - 1, tile=8).convert("RGB"))
    np.testing.assert_array_equal(grid, floats)


# where options are set ------------------------------------------------------------------------------------------------


def test_columns_beside_the_examples_keep_their_rule() -> None:
    x = RNG.random((12, 4))
    masks = RNG.integers(0, 2, (12, 9, 3)).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load({"x": x, "mask": masks}, kind="vector", held_out=0.0)
    assert data.spec.column("mask").shape == (1, 9, 3)


@pytest.mark.parametrize("setting", [{"kind": "image"}, {"range": (0.0, 1.0)}, {"kind": "series"}])
def test_options_of_images_are_refused_by_a_law(setting: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=f"data.{next(iter(setting))}="):
        load("moons", **setting)


@pytest.mark.parametrize(
    "setting", [{"kind": "picture"}, {"alpha": "drop"}, {"classes": "some"}, {"range": (1.0, 0.0)}]
)
def test_options_outside_their_rule_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        load("digits", **setting)


def test_a_range_cannot_be_streamed_and_a_resumed_run_reads_alike(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", BYTES % 21)
    with pytest.raises(DataError, match="stream=false"):
        load(tmp_path / "a.npy", range=(0, 20), stream="true")
    data = load(tmp_path / "a.npy", range=(0, 20))
    assert load(data.source, options=data.options).fingerprint() == data.fingerprint()


def test_a_run_on_images_with_alpha_begins_says_what_it_read_and_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", RNG.integers(0, 256, (40, 8, 8, 4), dtype=np.uint8))
    run, picture = tmp_path / "run", tmp_path / "s.png"
    line = ["train", "gan", "--data", str(tmp_path / "a.npy"), "--steps", "2", "--out", str(run)]
    small = ["batch=4", "networks.image.width=4", "data.alpha=keep", "run.evaluate=false", "run.doctor=false"]
    assert cli.main([*line, *(word for one in small for word in ("--set", one))]) == 0
    said = capsys.readouterr()
    assert "36 training rows, 4 held out" in said.out + said.err
    assert cli.main(["sample", str(run), "-n", "4", "--out", str(picture)]) == 0 and picture.is_file()
    assert cli.main(["train", "--resume", str(run), "--steps", "3"]) == 0
    said = capsys.readouterr()
    assert "36 training rows, 4 held out" in said.out + said.err


def test_a_range_is_set_on_the_command_line_and_kept_with_the_run(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RNG.integers(0, 4096, (40, 8, 8)).astype(np.uint16))
    run = tmp_path / "run"
    line = ["train", "gan", "--data", str(tmp_path / "a.npy"), "--steps", "1", "--out", str(run)]
    small = ["batch=4", "networks.image.width=4", "data.range=0,4095", "run.evaluate=false", "run.doctor=false"]
    assert cli.main([*line, *(word for one in small for word in ("--set", one))]) == 0
    assert cli.main(["train", "--resume", str(run), "--steps", "2"]) == 0
