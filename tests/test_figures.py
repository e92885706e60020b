"""Figures against pixels that are known beforehand, and against independent libraries."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from equilibria.base.errors import DataError, ShapeError
from equilibria.figures import (
    bounds_of,
    curves,
    image_grid,
    plane_of,
    plots,
    png,
    scatter,
    series,
    strip,
    thumbnail,
    write_png,
)

VERMILION = (213, 94, 0)


def has(picture: Image.Image, color: tuple[int, int, int], at_least: int = 1) -> bool:
    return int((np.asarray(picture.convert("RGB")) == color).all(axis=-1).sum()) >= at_least


def bluish(picture: Image.Image) -> Any:
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    return (pixels[..., 2] - pixels[..., 0]) > 60


@pytest.mark.parametrize(("value", "level"), [(-1.0, 0), (0.0, 128), (1.0, 255), (-7.0, 0), (3.0, 255)])
def test_grid_maps_the_house_range_to_bytes(value: float, level: int) -> None:
    assert image_grid(torch.full((1, 1, 4, 4), value)).getpixel((9, 9)) == (level,) * 3


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_grid_puts_each_image_in_its_place(dtype: Any) -> None:
    levels = np.linspace(-1, 1, 7).astype(dtype)
    grid = image_grid(np.broadcast_to(levels[:, None, None, None], (7, 3, 5, 10)), columns=3, tile=40)
    assert grid.size == (3 * 40 + 2, 3 * 20 + 2)
    for i, level in enumerate(np.rint((levels.astype(np.float32) + 1) * 127.5).astype(int)):
        assert grid.getpixel((41 * (i % 3) + 20, 21 * (i // 3) + 10)) == (level,) * 3
    assert grid.getpixel((40, 5)) == grid.getpixel((100, 55)) == (255, 255, 255)


def test_grid_enlarges_without_inventing_colours() -> None:
    digits = np.rint(load_digits().images[:9] * 15.9).astype(np.uint8)[:, None]
    grid = image_grid(digits, tile=64)
    assert grid.size == (3 * 64 + 2, 3 * 64 + 2)
    first = np.asarray(grid)[:64, :64, 0]
    assert np.array_equal(first, np.kron(digits[0, 0], np.ones((8, 8), np.uint8)))


def test_grid_shows_what_is_not_finite() -> None:
    images = torch.zeros(2, 1, 4, 4)
    assert not has(image_grid(images), VERMILION)
    images[1, 0, 0, 0], images[1, 0, 3, 3] = float("nan"), float("-inf")
    assert has(image_grid(images, tile=8), VERMILION, at_least=8)


def test_grid_gutters_can_be_transparent_and_captions_leave_images_alone() -> None:
    images = torch.ones(2, 1, 8, 8)
    clear = image_grid(images, columns=2, tile=8, background=None)
    assert [clear.getpixel((x, 4)) for x in (7, 8, 9)] == [(255,) * 4, (255, 255, 255, 0), (255,) * 4]
    captioned = image_grid(images, columns=2, labels=["7", "a caption far too long"], tile=40)
    assert captioned.size == (81, 56)
    assert np.asarray(captioned)[:40, :40].min() == 255 and np.asarray(captioned)[40:, 41:].min() < 200


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (2, 2, 8, 8), (0, 1, 8, 8), (2, 1, 0, 8)])
def test_grid_refuses_what_is_no_batch_of_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="1, 3 or 4 channels"):
        image_grid(torch.zeros(shape))
    with pytest.raises(ShapeError, match="3 labels for 2 images"):
        image_grid(torch.zeros(2, 1, 8, 8), labels=["a", "b", "c"])


def test_strip_and_thumbnail_keep_proportions() -> None:
    wide = Image.new("RGB", (100, 50), "red")
    assert thumbnail(wide, 25).size == (50, 25) and thumbnail(wide, 100).size == (200, 100)
    made = strip([wide, wide], ["0", "100"], height=25)
    assert made.size == (50 + 12 + 50, 45) and made.getpixel((25, 12)) == (255, 0, 0)
    with pytest.raises(ShapeError, match="1 captions for 2 pictures"):
        strip([wide, wide], ["0"])


def test_png_is_bare_and_white_stays_white(tmp_path: Path) -> None:
    picture = scatter(np.random.default_rng(0).normal(size=(50, 2)))
    small = Image.open(io.BytesIO(png(picture, colors=64)))
    assert small.convert("RGB").getpixel((picture.width - 2, 2)) == (255, 255, 255)
    assert len(png(picture, colors=64)) < len(png(picture)) / 2
    written = write_png(picture, tmp_path / "a.png")
    assert written.read_bytes() == png(picture) and Image.open(written).info == {}
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("dimension", [3, 8])
def test_plane_agrees_with_an_independent_pca(dimension: int) -> None:
    rng = np.random.default_rng(dimension)
    points = rng.normal(size=(300, dimension)) @ rng.normal(size=(dimension, dimension)) + 5
    plane, oracle = plane_of(points), PCA(2).fit(points)
    assert np.allclose(np.abs(np.sum(plane.axes * oracle.components_, axis=1)), 1, atol=1e-9)
    assert np.allclose(plane.share, oracle.explained_variance_ratio_, atol=1e-12)
    assert np.allclose(np.abs(plane.project(points)), np.abs(oracle.transform(points)), atol=1e-8)


def test_bounds_are_square_and_deaf_to_an_outlier() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (2000, 2)) * [2, 1]
    points[0], points[1] = 1e6, np.nan
    left, right, bottom, top = bounds_of(points)
    assert right - left == pytest.approx(top - bottom) == pytest.approx(4 * 1.15, rel=0.01)
    assert bounds_of(np.full((3, 2), np.nan)) == (-1, 1, -1, 1) and bounds_of(np.ones((3, 2))) == (0, 2, 0, 2)


def test_scatter_puts_a_point_where_it_belongs() -> None:
    window = (-1.0, 1.0, -1.0, 1.0)
    marked = bluish(scatter(np.array([[0.5, -0.5]] * 9), bounds=window, bare=True))
    rows, columns = np.nonzero(marked)
    assert (columns.mean() / marked.shape[1], rows.mean() / marked.shape[0]) == pytest.approx((0.75, 0.75), abs=0.01)


@pytest.mark.parametrize(("odd", "confessed"), [(0.0, False), (99.0, True), (np.nan, True)])
def test_scatter_counts_what_it_cannot_show(odd: float, confessed: bool) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 2))
    samples[3, 1] = odd
    pixels = np.asarray(scatter(samples, bounds=(-1, 1, -1, 1))).astype(int)
    assert bool(((pixels[..., 0] - pixels[..., 2]) > 150).any()) == confessed


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_scatter_draws_real_and_samples_in_any_dimension(dimension: int) -> None:
    real = torch.randn(200, dimension)
    both, alone = scatter(real * 0.5, real), scatter(real * 0.5)
    assert bluish(both).any() and bluish(alone).any() and png(both) != png(alone)
    with pytest.raises(ShapeError, match="one space"):
        scatter(real, torch.zeros(4, dimension + 1))
    with pytest.raises(ShapeError, match=r"\(n, d\)"):
        scatter(torch.zeros(3))


def test_series_takes_numbers_only() -> None:
    rows = [{"step": 1, "a": 2}, {"step": 2, "b": 1.0}, {"step": 3, "a": True}, {"step": 4, "a": "x"}, {"a": 5.0}]
    steps, values = series([*rows, {"step": 6, "a": None}], "a")
    assert steps.tolist() == [1, 6] and values[0] == 2 and np.isnan(values[1])


def test_long_series_become_medians_inside_their_deciles() -> None:
    class Recorder:
        def __getattr__(self, name: str) -> Any:
            return lambda *values, **_: setattr(self, f"seen_{name}", values)

    values, seen = np.random.default_rng(0).normal(size=1000), Recorder()
    plots._line(seen, np.arange(1000.0), values, 50, "a", "red")  # type: ignore[arg-type]
    cut = values.reshape(50, 20)
    steps, low, high = seen.seen_fill_between
    assert np.allclose(steps, np.arange(1000).reshape(50, 20).mean(axis=1))
    assert np.allclose(low, np.percentile(cut, 10, axis=1)) and np.allclose(high, np.percentile(cut, 90, axis=1))
    assert np.allclose(seen.seen_plot[1], np.sort(cut, axis=1)[:, 9:11].mean(axis=1))


def test_curves_refuse_unlogged_keys_and_mark_divergence() -> None:
    rows = [{"step": i, "a": float(i)} for i in range(10)]
    with pytest.raises(DataError, match=r"b, c .*10 rows"):
        curves(rows, ["b", "c"])
    assert not has(curves(rows, ["a"]), VERMILION)
    assert has(curves([*rows, {"step": 10, "a": float("inf")}], ["a"]), VERMILION, at_least=20)
    assert curves([{"step": 3, "a": float("nan")}], ["a"]).size == curves(rows, ["a"], levels={"floor": 3.0}).size
    assert png(curves([{"step": i, "a": 10.0**i} for i in range(30)], ["a"]))[1:4] == b"PNG"


def test_pictures_do_not_depend_on_the_users_style() -> None:
    rows = [{"step": i, "a": np.sin(i / 9), "b": i / 30} for i in range(300)]

    def drawn() -> list[bytes]:
        points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
        return [png(p) for p in (curves(rows, ["a", "b"], ylabel="x", levels={"l": 1.0}), scatter(points, points))]

    plain = drawn()
    style = {"axes.facecolor": "k", "figure.facecolor": "k", "text.color": "w", "font.size": 20, "lines.linewidth": 5}
    with matplotlib.rc_context({**style, "axes.grid": True, "xtick.color": "w", "legend.fontsize": 20}):
        assert drawn() == plain


def test_import_leaves_pyplot_alone() -> None:
    code = "import sys, equilibria.reports; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
