"""Views: data derived row by row, aligned with what it comes from, and pyramids that can be put together again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equilibria.base.errors import ConfigError, DataError
from equilibria.base.records import decode, encode
from equilibria.data import (
    VIEWS,
    Column,
    Dataset,
    DataView,
    Edges,
    Halved,
    Negative,
    Residual,
    Reweighted,
    enlarge,
    halve,
    load,
)

RNG = np.random.default_rng(1)
ALIGNED = [Halved(), Residual(), Edges(), Negative()]


def images(n: int = 30, size: int = 8, channels: int = 3) -> np.ndarray:
    return RNG.integers(0, 256, (n, channels, size, size), dtype=np.uint8)


def floats(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) / 127.5 - 1


def oracle(view: DataView, x: np.ndarray) -> np.ndarray:
    """The view of images in [-1, 1] by numpy and scipy alone."""
    from scipy.ndimage import grey_dilation

    if isinstance(view, Negative):
        return -x
    if isinstance(view, Edges):
        return np.stack([[grey_dilation(c, size=(3, 3), mode="nearest") - c - 1 for c in image] for image in x])
    n, c, h, w = x.shape
    small = x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))
    if isinstance(view, Halved):
        return small

    # linear interpolation at the centres of the fine pixels, which lie at quarters of a coarse one
    def doubled(a: np.ndarray) -> np.ndarray:
        at = (np.arange(2 * a.shape[-1]) + 0.5) / 2 - 0.5
        return np.apply_along_axis(lambda row: np.interp(at, np.arange(len(row)), row), -1, a)

    return x - doubled(doubled(small).swapaxes(-1, -2)).swapaxes(-1, -2)


@pytest.mark.parametrize("view", ALIGNED, ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("stored", ["bytes", "floats"])
def test_a_view_changes_each_row_and_keeps_its_place(view: DataView, stored: str) -> None:
    x, y = images(), np.arange(30) % 3
    data = load((x if stored == "bytes" else floats(x), y))
    derived = view(data)
    assert (derived.size, derived.held_out_size, derived.class_names) == (
        data.size,
        data.held_out_size,
        ("0", "1", "2"),
    )
    for own, rows in (
        (data.batch(20, 5, 9), derived.batch(20, 5, 9)),
        (data.take(40, 2), derived.take(40, 2)),
        (data.take(3, held_out=True), derived.take(3, held_out=True)),
    ):
        assert tuple(rows["x"].shape[1:]) == derived.spec.shape and torch.equal(rows["y"], own["y"])
        np.testing.assert_allclose(rows["x"], oracle(view, own["x"].double().numpy()), atol=1e-6)
        for column in derived.spec.columns:
            assert tuple(rows[column.name].shape[1:]) == column.shape


@pytest.mark.parametrize("view", ALIGNED, ids=lambda v: type(v).__name__)
def test_a_view_has_its_fingerprint(view: DataView) -> None:
    data = load(images())
    told = view(data).fingerprint()
    assert told == {"kind": "view", "view": encode(view), "of": data.fingerprint()}
    assert json.loads(json.dumps(told)) == told and decode(told["view"]) == view
    assert view(load(images())).fingerprint() != told


def test_the_coarse_image_is_the_half_size_one() -> None:
    data = load("digits")
    band, small = Residual()(data), Halved()(data)
    assert band.spec.columns == (Column(name="coarse", kind="image", shape=(1, 4, 4)),) and small.spec.shape == (
        1,
        4,
        4,
    )
    assert torch.equal(band.batch(50, 1, 3)["coarse"], small.batch(50, 1, 3)["x"])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 4), channels=st.sampled_from([1, 3]))
def test_a_pyramid_is_put_together_again(seed: int, levels: int, channels: int) -> None:
    """Bands and the smallest image give the images back to 1e-6; all stays in its range."""
    rows = np.random.default_rng(seed).uniform(-1, 1, (5, channels, 32, 32)).astype(np.float32)
    rows[0] = np.sign(rows[0])  # the largest bands
    data, bands = load(rows, held_out=0.0), []
    for _ in range(levels):
        bands.append(Residual()(data).take(5)["x"])
        assert float(bands[-1].abs().max()) <= 2.0
        data = Halved()(data)
    made = data.take(5)["x"]
    assert float(made.abs().max()) <= 1.0
    for band in reversed(bands):
        made = enlarge(made) + band
    assert float((made - load(rows, held_out=0.0).take(5)["x"]).abs().max()) < 1e-6


def test_the_test_above_sees_another_resampling() -> None:
    x = torch.rand(3, 1, 8, 8) * 2 - 1
    nearest = x - halve(x).repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert float((enlarge(halve(x)) + nearest - x).abs().max()) > 0.1


def test_enlarging_is_bilinear_interpolation_and_halving_is_pooling() -> None:
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    other = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarge(x), other)
    torch.testing.assert_close(halve(other), torch.nn.functional.avg_pool2d(other, 2))
    assert torch.equal(enlarge(torch.ones(1, 1)), torch.ones(2, 2))
    with pytest.raises(DataError, match=r"7 x 5 cannot be halved.*data\.size=6x4 "):
        halve(x)


def test_a_suffix_names_a_view(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", images())
    for name in VIEWS:
        for of in ("digits", f"{tmp_path}/a.npy"):
            named, derived = load(f"{of}-{name}"), VIEWS[name](load(of))
            rows, own = named.batch(9, 4, 2), derived.batch(9, 4, 2)
            assert rows.keys() == own.keys() and all(torch.equal(rows[k], own[k]) for k in own)
            assert named.spec == derived.spec and named.source == f"{of}-{name}"
            assert load(named.source).fingerprint() == named.fingerprint()
    streamed = load(f"{tmp_path}/a.npy-edges", stream="true")
    assert torch.equal(streamed.batch(9, 4, 2)["x"], load(f"{tmp_path}/a.npy-edges").batch(9, 4, 2)["x"])
    with pytest.raises(DataError, match="did you mean"):
        load("digit-edges")


def test_a_path_goes_before_a_suffix(tmp_path: Path) -> None:
    np.save(tmp_path / "a", images())
    (tmp_path / "a.npy").rename(tmp_path / "a.npy-edges")  # of no format
    with pytest.raises(DataError, match="of no format"):
        load(f"{tmp_path}/a.npy-edges")


def test_views_of_views_and_of_pairs() -> None:
    twice = Residual()(Halved()(load("digits")))
    assert twice.spec.shape == (1, 4, 4) and twice.spec.column("coarse").shape == (1, 2, 2)
    pairs = Halved()(load("pairs:digits,digits-negative"))
    assert not pairs.spec.paired and pairs.spec.column("other").shape == (1, 8, 8)
    rows, own = pairs.batch(6, 0, 0), load("pairs:digits,digits-negative").batch(6, 0, 0)
    assert torch.equal(rows["other"], own["other"]) and torch.equal(rows["x"], halve(own["x"]))


@pytest.mark.parametrize("view", ALIGNED, ids=lambda v: type(v).__name__)
def test_images_are_needed(view: DataView) -> None:
    for data in (load("grid25"), load(np.zeros((9, 4)))):
        with pytest.raises(DataError, match="of vectors"):
            view(data)


def test_odd_sizes_cannot_be_halved() -> None:
    for view in (Halved(), Residual()):
        with pytest.raises(DataError, match=r"7 x 7 cannot be halved.*--set data\.size=6"):
            view(load(images(size=7)))
    with pytest.raises(DataError, match="has a column 'coarse' already"):
        Residual()(Residual()(load("digits")))


# Weights --------------------------------------------------------------------------------------------------------------


def rows_of(data: Dataset, draws: int) -> np.ndarray:
    return np.concatenate([data.batch(16, seed=0, turn=t)["x"][:, 0].long().numpy() for t in range(draws)])


def test_rows_are_dealt_by_weight() -> None:
    data = load({"x": np.arange(20.0), "text": np.arange(40).reshape(20, 2)}, held_out=0.2)
    order = data.batch(16, 7, 0)["x"][:, 0].long().numpy()
    weights = RNG.random(16)
    weights[3] = 0.0
    view = Reweighted(weights=tuple(weights), seed=7)
    derived = view(data)
    found = np.bincount(rows_of(derived, 1250), minlength=20)
    expected = np.zeros(20)
    expected[order] = weights / weights.sum() * found.sum()
    deviations = (found - expected) / np.sqrt(np.maximum(expected, 1e-9))
    assert found[order[3]] == 0 and np.abs(deviations[expected > 0]).max() < 4.5 and found[expected == 0].sum() == 0
    rows = derived.batch(9, 3, 4)
    assert torch.equal(rows["text"][:, 0], 2 * rows["x"][:, 0].long())
    assert all(torch.equal(derived.batch(9, 3, 4)[k], v) for k, v in rows.items())
    assert set(derived.take(4, held_out=True)["x"][:, 0].tolist()).isdisjoint(order.tolist())
    told = derived.fingerprint()
    assert told["sha256"] == hashlib.sha256(weights.tobytes()).hexdigest() and told["of"] == data.fingerprint()
    assert decode(encode(view)) == view


def test_a_law_is_reweighted_on_rows_drawn_once() -> None:
    law = load("grid25")
    derived = Reweighted(weights=(1.0, 2.0, 0.0))(law)
    known = {tuple(row) for row in law.batch(3, 0, 0)["x"].tolist()}
    assert derived.size == 3 and {tuple(row) for row in derived.batch(3, 1, 1)["x"].tolist()} <= known


@pytest.mark.parametrize("weights", [(), (0.0, 0.0), (1.0, -1.0), (1.0, float("nan"))])
def test_what_are_no_weights_is_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=f"{len(weights)} weights"):
        Reweighted(weights=weights)
    with pytest.raises(ConfigError, match=r"2 weights .*1617"):
        Reweighted(weights=(1.0, 1.0))(load("digits"))
