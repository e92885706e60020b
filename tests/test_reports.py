"""Figures against pixels and independent libraries; reports against a parser that knows nothing of how they are made."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from equilibria.errors import DataError, RunError, ShapeError
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
from equilibria.reports import folder as run_folder
from equilibria.reports import render
from equilibria.reports.page import number, tree
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

VERMILION = (213, 94, 0)
VOID = {"meta", "img", "input", "br", "link", "hr"}


def has(picture: Image.Image, color: tuple[int, int, int], at_least: int = 1) -> bool:
    return int((np.asarray(picture.convert("RGB")) == color).all(axis=-1).sum()) >= at_least


def bluish(picture: Image.Image) -> Any:
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    return (pixels[..., 2] - pixels[..., 0]) > 60


# ------------------------------------------------------------------------------------------------------------ images


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
    with pytest.raises(ShapeError, match="1 or 3 channels"):
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


# ------------------------------------------------------------------------------------------------------------ points


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


# ------------------------------------------------------------------------------------------------------------ curves


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
    with pytest.raises(DataError, match="none of b, c is in the 10 rows"):
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


# ------------------------------------------------------------------------------------------------------------ reports


class Page(html.parser.HTMLParser):
    """What a browser would find: balanced elements with attributes, texts by element, addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts.setdefault(tag, []).append(data)

    def all(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        return [a for t, a in self.elements if t == tag and (not kind or kind in a.get("class", "").split())]

    def text(self, tag: str = "body") -> str:
        return "".join(self.texts.get(tag, []))

    def pictures(self) -> list[Image.Image]:
        sources = [a["src"].removeprefix("data:image/png;base64,") for a in self.all("img")]
        return [Image.open(io.BytesIO(base64.b64decode(s, validate=True))) for s in sources]


def page(folder: Path, **given: Any) -> Page:
    return Page(render(folder, **given).read_text(encoding="utf-8"))


INFO: dict[str, Any] = {
    "format": 1,
    "recipe": {"type": "Recipe", "name": "r3gan", "year": 2024, "cite": "huang2024r3gan", "source": "section 3",
               "game": {"type": "TwoPlayer", "penalties": [{"type": "R1", "weight": 0.25}]}, "batch": 256},
    "data": {"name": "digits", "source": None, "fingerprint": {"sha256": "ab12"}, "spec": {"kind": "image"}},
    "seed": 3, "steps": 12000, "versions": {"equilibria": "0.1.0"}, "hardware": {"device": "cpu"},
    "command": "equilibria train r3gan --data digits", "created": "2026-11-22T21:30:00+00:00",
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run on digits: twenty snapshots, losses, scores and an evaluation."""
    (tmp_path / "samples").mkdir()
    (tmp_path / "run.json").write_text(json.dumps(INFO))
    digits = (load_digits().images[:16, None] / 8 - 1).astype(np.float16)
    for step in range(600, 12001, 600):
        np.savez(tmp_path / "samples" / f"step-{step:08d}.npz", x=digits * np.float16(step / 12000))
    rows = [{"step": s, "loss/generator": 1.0, "score/real": 0.5, "recall": s / 14000} for s in range(0, 12001, 400)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"step": 12400, "lo')
    scores = {"recall": {"value": 0.875, "floor": 0.951, "unit": "share", "n": 1797}}
    (tmp_path / "evaluation.json").write_text(json.dumps(scores))
    return tmp_path


def test_report_says_everything(run: Path) -> None:
    seen = page(run, bibtex="@article{huang2024r3gan,\n  title = {A & B}\n}", notes=["Trained <at night>."])
    assert seen.text("h1") == "r3gan on digits"
    titles = ["Samples", "Evaluation", "Training", "Configuration", "Data", "Reproduce", "Cite", "Notes"]
    assert seen.texts["h2"] == titles
    said = seen.text("p")
    assert "played 12\u202f000 rounds on digits from seed 3" in said and "recall 0.875 (perfect sampler 0.951)" in said
    assert "equilibria train r3gan --data digits" in seen.text("pre") and "title = {A & B}" in seen.text("pre")
    assert json.loads("".join(seen.texts["details"]).removeprefix("run.json")) == INFO
    assert seen.texts["li"] == ["Trained <at night>."]
    assert {"game.penalties.0.weight", "batch"} <= {a.get("title") for a in seen.all("th")}
    assert "an array in memory" in seen.text("td") and "ab12" in seen.text("td")


def test_report_shows_the_samples_as_stored(run: Path) -> None:
    seen = page(run)
    frames = seen.all("div", "frame")
    assert len(frames) == 16 and [f["data-round"] for f in (frames[0], frames[-1])] == ["600", "12\u202f000"]
    assert ["hidden" in f for f in frames] == [True] * 15 + [False]
    stored = np.load(run / "samples" / "step-00012000.npz")["x"]
    last = np.asarray(seen.pictures()[15].convert("RGBA"))
    oracle = np.kron(np.rint((stored[0, 0].astype(float) + 1) * 127.5), np.ones((22, 22)))
    assert np.array_equal(last[:176, :176, 0], oracle)
    assert [t["data-frame"] for t in seen.all("button", "thumb")] == ["0", "2", "4", "6", "9", "11", "13", "15"]
    assert seen.all("input")[0]["max"] == "15"


def test_report_needs_nothing_else(run: Path) -> None:
    text = render(run).read_text(encoding="utf-8")
    seen = Page(text)
    addresses = [a[key] for _, a in seen.elements for key in ("src", "href", "action", "srcset") if key in a]
    assert addresses and all(address.startswith("data:image/png;base64,") for address in addresses)
    assert not any(mark in seen.text("style") + seen.text("script") for mark in ("url(", "@import", "fetch", "http"))
    policy = next(a["content"] for a in seen.all("meta") if "http-equiv" in a)
    digest = base64.b64encode(hashlib.sha256(seen.text("script").encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert all("alt" in a for a in seen.all("img")) and len(seen.text("script").strip().splitlines()) <= 16
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text


def test_text_from_the_run_stays_text(run: Path) -> None:
    bad = "<script>alert('1')</script>\"&amp;"
    info = json.loads(json.dumps(INFO).replace("r3gan", "NAME").replace("digits", "NAME").replace("ab12", "NAME"))
    text = json.dumps({**info, "hardware": "NAME", "seed": "NAME", "created": "NAME", "steps": "NAME"})
    (run / "run.json").write_text(text.replace("NAME", json.dumps(bad)[1:-1]))
    (run / "evaluation.json").write_text(json.dumps({bad: {"value": bad, "floor": bad, "unit": bad, "n": bad}}))
    (run / "metrics.jsonl").write_text(json.dumps({"step": 1, bad: 1.0, f"loss/{bad}": 2.0}) + "\n")
    seen = page(run, bibtex=bad, notes=[bad])
    assert len(seen.all("script")) == 1 and seen.text("h1") == f"{bad} on {bad}" and bad in seen.text("li")


@pytest.mark.parametrize(
    ("gone", "note", "title"),
    [
        ("samples", "No samples have been stored yet.", "Samples"),
        ("metrics.jsonl", "No round has been logged yet.", "Training"),
        ("evaluation.json", "not been evaluated", ""),
    ],
)
def test_report_survives_a_missing_piece(run: Path, gone: str, note: str, title: str) -> None:
    (run / gone).rename(run / "gone")
    seen = page(run)
    assert note in seen.text("li") and title not in seen.texts["h2"]


def test_report_of_a_run_that_has_only_begun(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    seen = page(tmp_path)
    assert seen.text("h1") == "a recipe without a name on unnamed data" and len(seen.texts["li"]) == 3
    (tmp_path / "run.json").write_text(json.dumps(INFO))
    (tmp_path / "metrics.jsonl").write_text('{"step": 5, "modes": 2}\n')
    assert "has logged round 5 of 12\u202f000" in page(tmp_path).text("p")
    assert "not evaluated against a perfect sampler" in page(tmp_path).text("p")


def test_logged_rows_are_read_without_trust(run: Path) -> None:
    lines = ['{"step": 2, "a": 1.0}', "garbage", '{"step": 1, "a": 3.0}', '{"step": 2, "b": NaN}', "[1]", '{"step": 3']
    (run / "metrics.jsonl").write_text("\n".join(lines))
    found = run_folder.read(run)
    assert [row["step"] for row in found.rows] == [1, 2] and found.rows[1]["a"] == 1.0 and "b" in found.rows[1]
    assert found.notes == ("2 damaged lines of metrics.jsonl were left out.",)
    assert "b is not finite from round 2" in page(run).text("li")


def test_damaged_samples_are_named_and_pictures_stand_in(run: Path) -> None:
    folder = run / "samples"
    (folder / "step-00000600.npz").write_bytes(b"PK\x03\x04 torn")
    np.savez(folder / "step-00012000.npz", x=np.array([{}], dtype=object))
    write_png(Image.new("RGB", (30, 30), (1, 2, 3)), folder / "step-00012000.png")
    (run / "evaluation.json").write_text("{")
    seen = page(run)
    assert "round 600 are damaged" in seen.text("li") and "evaluation.json is damaged" in seen.text("li")
    assert has(seen.pictures()[len(seen.all("div", "frame")) - 1], (1, 2, 3), at_least=900)


@pytest.mark.parametrize("dimension", [1, 2, 6])
def test_points_are_shown_over_the_real_data(run: Path, dimension: int) -> None:
    rng = np.random.default_rng(0)
    for file in sorted((run / "samples").iterdir())[:-2]:
        file.unlink()
    for file in (run / "samples").iterdir():
        np.savez(file, x=rng.normal(size=(30, dimension)).astype(np.float16))
    assert "30 samples" in page(run).text("figcaption")
    said = page(run, real=torch.randn(50, dimension)).text("figcaption")
    assert "over 50 real points" in said and ("principal axes of the real data" in said) == (dimension > 2)
    np.savez(run / "samples" / "real.npz", x=rng.normal(size=(40, dimension)))
    assert "over 40 real points" in page(run).text("figcaption")


def test_report_is_repeatable_and_replaced_whole(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = render(run).read_bytes()
    assert render(str(run)).read_bytes() == before

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        render(run, notes=["changed"])
    assert (run / "report.html").read_bytes() == before and not list(run.glob(".*.tmp"))


@pytest.mark.parametrize(("text", "match"), [(None, "no run.json"), ("[]", "not a JSON object"), ("{", "not a JSON")])
def test_folders_that_hold_no_run_are_refused(tmp_path: Path, text: str | None, match: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=match):
        render(tmp_path)
    with pytest.raises(RunError, match="is not a folder"):
        render(tmp_path / "nowhere")


def test_numbers_and_settings_read_well() -> None:
    assert [number(v) for v in (12345, 0.5, float("inf"), 10**20, True)] == [
        "12\u202f345", "0.5", "not finite", "1e+20", "True"
    ]  # fmt: skip
    rows = Page(tree({"a": {"type": "Adam", "betas": (0.0, 0.99), "on": True, "more": [], "x": 1e-8}})).texts["td"]
    assert rows == ["Adam", "0, 0.99", "yes", "none", "1e-08"]
