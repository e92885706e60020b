"""Batches: pure functions of (n, seed, turn), without replacement, apart from what is held out."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equilibria.base.errors import ConfigError, DataError
from equilibria.data import DataOptions, Dataset, law, load

SOURCES = [
    "grid25",
    "moons",
    "digits",
    "pairs:digits,digits-edges",
    "stacked:digits",
    "aligned:digits,digits-edges",
    "few:digits,100",
    "digits-residual",
    "pairs:digits-halved,moons",
]


def numbered(n: int, held_out: float = 0.1) -> Dataset:
    """Rows that carry their own index."""
    return load(np.arange(n, dtype=np.float32)[:, None], options=DataOptions(held_out=held_out))


def ids(rows: dict[str, torch.Tensor]) -> list[int]:
    return [int(v) for v in rows["x"][:, 0]]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("source", SOURCES)
def test_a_batch_depends_on_n_seed_and_turn_alone(source: str) -> None:
    data, other = load(source), load(source)
    straight = [data.batch(300, 7, turn) for turn in range(8)]
    state = torch.get_rng_state()
    for turn in (5, 1, 7, 0):
        other.batch(13, 1, turn)
        other.take(11, seed=turn)
        torch.manual_seed(turn)
        assert same(other.batch(300, 7, turn), straight[turn])
    torch.set_rng_state(state)
    data.batch(300, 7, 0)
    data.take(20, 1, held_out=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(straight[0]["x"], straight[1]["x"])
    assert not torch.equal(straight[0]["x"], data.batch(300, 8, 0)["x"])


@settings(deadline=None, max_examples=60)
@given(size=st.integers(2, 60), share=st.integers(1, 60), seed=st.integers(0, 2**63 - 1))
def test_epochs_are_without_replacement(size: int, share: int, seed: int) -> None:
    n = min(share, size)
    data = numbered(size, held_out=0.0)
    dealt = [i for turn in range(2 * size) for i in ids(data.batch(n, seed, turn))]
    for epoch in range(2 * n):
        assert sorted(dealt[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_epochs_and_seeds_have_their_own_order() -> None:
    data = numbered(100, held_out=0.0)
    orders = {tuple(ids(data.batch(100, seed, turn))) for seed in range(5) for turn in range(5)}
    assert len(orders) == 25


def test_many_seeds_do_not_disturb_each_other_through_the_cache() -> None:
    data = numbered(50)
    first = [ids(data.batch(40, seed, 3)) for seed in range(600)]
    assert first == [ids(data.batch(40, seed, 3)) for seed in range(600)]


@pytest.mark.parametrize(("size", "share", "held"), [(10, 0.1, 1), (2, 0.1, 1), (100, 0.25, 25), (7, 0.99, 6)])
def test_held_out_rows_never_come_out_of_a_batch(size: int, share: float, held: int) -> None:
    data = numbered(size, share)
    assert (data.size, data.held_out_size) == (size - held, held)
    trained = {i for turn in range(4) for i in ids(data.batch(size - held, 0, turn))}
    kept = ids(data.take(held, held_out=True))
    assert len(trained) == size - held and sorted(trained | set(kept)) == list(range(size))
    assert set(ids(data.take(size - held))) == trained


def test_the_split_is_the_same_for_every_seed_and_process() -> None:
    assert set(ids(numbered(40).take(4, seed=0, held_out=True))) == set(ids(numbered(40).take(4, 9, held_out=True)))
    assert sorted(ids(numbered(40).take(4, held_out=True))) == [5, 14, 22, 34]


def test_take_is_without_replacement_and_then_even() -> None:
    data = numbered(30, held_out=0.0)
    assert sorted(ids(data.take(30, seed=3))) == list(range(30))
    counts = np.bincount(ids(data.take(75, seed=3)), minlength=30)
    assert set(counts.tolist()) == {2, 3}
    assert ids(data.take(30, seed=3)) != ids(data.batch(30, 3, 0))


def test_one_row_holds_nothing_out() -> None:
    data = load(np.zeros((1, 8, 8), dtype=np.uint8))
    assert (data.size, data.held_out_size) == (1, 0)
    with pytest.raises(DataError, match="no rows are held out"):
        data.take(1, held_out=True)


def test_impossible_requests_are_refused() -> None:
    data = numbered(20)
    with pytest.raises(DataError, match=r"19 rows .*18"):
        data.batch(19, 0, 0)
    for call in (lambda: data.batch(0, 0, 0), lambda: data.batch(1, 0, -1), lambda: data.take(0)):
        with pytest.raises(DataError, match="at least one row"):
            call()


def test_uint8_covers_minus_one_to_one_exactly() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    x = load(values, options=DataOptions(held_out=0.0)).take(256)["x"].flatten().sort().values
    assert float(x[0]) == -1.0 and float(x[-1]) == 1.0
    np.testing.assert_allclose(x, np.arange(256) / 127.5 - 1, atol=1e-6)
    assert torch.equal(((x + 1) * 127.5).round().to(torch.uint8), torch.arange(256, dtype=torch.uint8))


def test_law_batches_are_fresh_and_apart_from_evaluation() -> None:
    data = load("grid25")
    assert data.size is None and data.held_out_size is None and data.law is law("grid25")
    dealt = [data.batch(16, 0, turn)["x"] for turn in range(50)]
    dealt += [data.take(16, 0)["x"], data.take(16, 0, held_out=True)["x"]]
    assert len({tuple(x.flatten().tolist()) for x in dealt}) == 52


def test_a_labelled_law_deals_its_components() -> None:
    data = load("ring8-U", options=DataOptions(labelled=True))
    rows, modes = data.batch(500, 0, 0), law("ring8-U").modes
    assert modes is not None and data.spec.classes == 8 and len(data.class_names) == 8
    assert torch.equal(torch.cdist(rows["x"], modes).argmin(1), rows["y"])
    assert "y" not in load("ring8-U").batch(5, 0, 0) and load("gaussian").spec.classes == 0


def test_labels_stay_with_their_rows() -> None:
    x = np.arange(60, dtype=np.float32)[:, None]
    data = load((x, (np.arange(60) % 3) * 10))
    rows = data.batch(50, 0, 0)
    assert data.class_names == ("0", "10", "20")
    assert torch.equal(rows["x"][:, 0].long() % 3, rows["y"])


def test_pairs_are_independent_in_batches_and_for_evaluation() -> None:
    data = load("pairs:digits,digits-negative")
    assert data.spec.paired and data.spec.shape == (1, 8, 8) and data.source == "pairs:digits,digits-negative"
    for dealt in (data.batch(64, 0, 0), data.take(64), data.take(64, held_out=True)):
        matches = (dealt["other"] + dealt["x"]).abs().amax((1, 2, 3)) < 1e-6
        assert int(matches.sum()) <= 3
    # the second domain goes through all its rows as well
    others = torch.cat([data.batch(539, 0, turn)["other"] for turn in range(3)])
    assert len(others.unique(dim=0)) == len(torch.cat([data.batch(539, 0, t)["x"] for t in range(3)]).unique(dim=0))


def test_edges_are_the_dilation_less_the_image() -> None:
    from scipy.ndimage import grey_dilation

    taken = load("aligned:digits,digits-edges").take(10)
    x = ((taken["x"] + 1) * 127.5).round().numpy()[:, 0]
    oracle = np.stack([grey_dilation(image, size=(3, 3)) - image for image in x])
    np.testing.assert_allclose(((taken["other"] + 1) * 127.5).round().numpy()[:, 0], oracle)
    own = load("digits-edges").take(10)["x"]
    np.testing.assert_allclose(((own + 1) * 127.5).round().numpy()[:, 0], oracle)


def test_stacked_digits_spell_their_class() -> None:
    data, digits = load("stacked:digits"), load("digits")
    assert data.spec.shape == (3, 8, 8) and data.spec.classes == 1000 and data.class_names[427] == "4-2-7"
    whole = digits.take(1617)
    known = {x.numpy().tobytes(): int(y) for x, y in zip(whole["x"], whole["y"], strict=True)}
    rows = data.batch(64, 0, 0)
    for x, y in zip(rows["x"], rows["y"], strict=True):
        a, b, c = (known[channel.numpy().tobytes()] for channel in x)
        assert int(y) == 100 * a + 10 * b + c
    assert len(data.batch(1000, 0, 0)["y"].unique()) > 500


def test_fingerprints_tell_data_apart_and_are_json() -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 5, 4), dtype=np.uint8)
    y = np.arange(20) % 2
    told = load((x, y)).fingerprint()
    assert told["sha256"] == hashlib.sha256(x.tobytes() + y.astype("<i8").tobytes()).hexdigest()
    assert (told["shape"], told["dtype"], told["count"]) == ([1, 5, 4], "uint8", 20)
    assert told["range"] == [x.min(), x.max()] and told["labels"] == {"0": 10, "1": 10}
    x[3, 2, 1] ^= 1
    assert load((x, y)).fingerprint()["sha256"] != told["sha256"]
    for source in SOURCES:
        told = load(source).fingerprint()
        assert json.loads(json.dumps(told)) == told == load(source).fingerprint()
    assert load("grid25:0.1").fingerprint()["sha256"] != load("grid25").fingerprint()["sha256"]


@pytest.mark.parametrize("source", SOURCES)
def test_moving_keeps_batches_and_source_reopens(source: str) -> None:
    data = load(source)
    moved = data.to("cpu")
    assert moved is not data and same(moved.batch(32, 4, 9), data.batch(32, 4, 9))
    assert data.source is not None and same(load(data.source).batch(32, 4, 9), data.batch(32, 4, 9))
    rows = data.batch(8, 0, 0)
    assert rows["x"].dtype == torch.float32 and tuple(rows["x"].shape) == (8, *data.spec.shape)
    assert rows.get("y", torch.zeros(1, dtype=torch.int64)).dtype == torch.int64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("source", SOURCES)
def test_a_gpu_deals_the_same_batches(source: str) -> None:
    data = load(source)
    there = data.to("cuda")
    for turn in (0, 5, 40):
        rows = there.batch(64, 3, turn)
        assert all(v.is_cuda for v in rows.values())
        assert same({k: v.cpu() for k, v in rows.items()}, data.batch(64, 3, turn))
    assert there.fingerprint() == data.fingerprint()


@pytest.mark.parametrize("wrong", [{"size": 0}, {"crop": "left"}, {"corrupt": "ignore"}, {"held_out": 1.0}])
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        DataOptions(**wrong)  # type: ignore[arg-type]
