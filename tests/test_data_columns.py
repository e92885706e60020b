"""Columns and streams: what belongs together stays together, what is independent is so, in batches and evaluation."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import equilibria as eq
from equilibria.base.errors import DataError
from equilibria.data import Column, DataOptions, Dataset, halve, load
from equilibria.data import store as stores

RNG = np.random.default_rng(0)
ALL = {"held_out": 0.0}
Rows = dict[str, torch.Tensor]


def numbered(n: int) -> dict[str, Any]:
    """Arrays of every kind whose row i tells i."""
    i = np.arange(n)
    bits = (i[:, None] >> np.arange(8)) & 1
    return {
        "x": i[:, None].astype(np.float32),
        "picture": np.broadcast_to((i % 256).astype(np.uint8)[:, None, None, None], (n, 3, 2, 4)),
        "text": np.stack([i, i // 2, 2 + i % 5], 1),
        "y": i % 2,
        "kind": i,
        "bits": bits,
        "place": np.stack([i * 0.5, -i * 1.0], 1),
    }


def said(rows: Rows) -> dict[str, list[int]]:
    """The row number that each column tells."""
    told = {
        "x": rows["x"][:, 0],
        "picture": ((rows["picture"][:, 0, 0, 0] + 1) * 127.5).round(),
        "text": rows["text"][:, 0],
        "kind": rows["kind"],
        "bits": (rows["bits"] * 2 ** torch.arange(8)).sum(1),
        "place": rows["place"][:, 0] * 2,
    }
    return {name: [int(v) for v in column] for name, column in told.items()}


def misaligned(rows: Rows) -> list[str]:
    """The columns that tell other rows than ``x`` does."""
    told = said(rows)
    wrong = [name for name, own in told.items() if own != told["x"]]
    return wrong + ["y"] * (rows["y"].tolist() != [i % 2 for i in told["x"]])


# Aligned columns ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(size=st.integers(4, 200), n=st.integers(1, 300), seed=st.integers(0, 2**63 - 1), turn=st.integers(0, 10**6))
def test_columns_of_one_stream_stay_together(size: int, n: int, seed: int, turn: int) -> None:
    data = load(numbered(size))
    assert data.size is not None
    assert misaligned(data.batch(min(n, data.size), seed, turn)) == []
    for held in (False, True):
        assert misaligned(data.take(n, seed, held)) == []


@pytest.mark.parametrize("column", ["picture", "text", "kind", "bits", "place", "y"])
def test_the_test_above_sees_a_planted_misalignment(column: str) -> None:
    arrays = numbered(60)
    data = load({**arrays, column: np.roll(arrays[column], 1, 0)})
    assert data.size is not None
    assert misaligned(data.batch(data.size, 3, 1)) == [column] and misaligned(data.take(20, 5)) == [column]


def test_what_an_npz_holds_becomes_columns_of_their_kind(tmp_path: Path) -> None:
    arrays = numbered(40)
    np.savez(tmp_path / "d.npz", **arrays, names=np.array(["even", "odd"]))
    data = load(tmp_path / "d.npz")
    assert data.spec.columns == (
        Column(name="picture", kind="image", shape=(3, 2, 4)),
        Column(name="text", kind="text", shape=(3,), classes=40),
        Column(name="kind", kind="label", classes=40),
        Column(name="bits", kind="attributes", shape=(8,)),
        Column(name="place", kind="vector", shape=(2,)),
    )
    assert data.class_names == ("even", "odd") and not data.spec.paired
    rows = data.take(36)
    assert {n: v.dtype for n, v in rows.items()} == {
        **dict.fromkeys(("x", "picture", "bits", "place"), torch.float32),
        **dict.fromkeys(("text", "kind", "y"), torch.int64),
    }
    assert misaligned(rows) == [] and sorted(said(rows)["x"]) == sorted(set(said(rows)["x"]))
    moved = data.to("cpu")
    assert all(torch.equal(moved.batch(9, 2, 7)[name], own) for name, own in data.batch(9, 2, 7).items())


@pytest.mark.parametrize(
    ("values", "kind", "shape"),
    [
        (RNG.random((6, 1, 4, 4)), "image", (1, 4, 4)),
        (RNG.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8), "image", (3, 4, 4)),
        (RNG.integers(0, 256, (6, 4, 5), dtype=np.uint8), "image", (1, 4, 5)),
        (np.array([0, 1, 1, 0, 1, 1]), "label", ()),
        (np.array([3, -1, 2, 0, -1, 1]), "label", ()),
        (np.zeros((6, 2), dtype=bool), "attributes", (2,)),
        (np.ones((6, 1)), "attributes", (1,)),
        (np.full((6, 2), 5, dtype=np.uint8), "text", (2,)),
        (np.arange(12).reshape(6, 2), "text", (2,)),
        (np.arange(6.0), "vector", (1,)),
        (RNG.normal(size=(6, 3)), "vector", (3,)),
    ],
)
def test_the_kind_of_an_array_is_guessed_by_the_rule(values: np.ndarray, kind: str, shape: tuple[int, ...]) -> None:
    data = load({"x": np.arange(6.0), "more": values}, held_out=0.0)
    (column,) = data.spec.columns
    assert (column.kind, column.shape, column.stream) == (kind, shape, "")
    assert column.classes == (int(values.max()) + 1 if kind in ("label", "text") else 0)
    rows = data.take(6)
    order = rows["x"][:, 0].long().numpy()
    found = rows["more"].numpy()
    if kind != "image":
        np.testing.assert_array_equal(found.reshape(values.shape), values[order].astype(found.dtype))
    else:
        raw = values[order].astype(float)
        raw = raw * 2 - 1 if values.dtype != np.uint8 else raw / 127.5 - 1
        raw = raw.transpose(0, 3, 1, 2) if raw.shape[-1] == 3 else raw.reshape(6, *shape)
        np.testing.assert_allclose(found, raw, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("meta", np.array(["a"] * 6), "'<U1' values"),
        ("meta", np.array(3.0), "1 rows, and there are 6 examples"),
        ("meta", np.zeros(5), "5 rows, and there are 6 examples"),
        ("meta", np.zeros((6, 4, 4)), "of no kind"),
        ("meta", np.zeros((6, 2, 2, 2, 2)), "of no kind"),
        ("meta", np.zeros((6, 2, 4, 4)), "neither 1 nor 3 channels"),
        ("meta", np.array([0, 1, -2, 0, 1, 0]), "-2 at index 2"),
        ("meta", np.array([[0, 3], [-1, 0]] * 3), "a token -1"),
        ("meta", np.array([[0.5, np.nan]] * 6), "NaN"),
        ("meta", np.zeros((6, 2), dtype=complex), "complex"),
        ("two words", np.zeros(6), "cannot be called so"),
        ("", np.zeros(6), "cannot be called so"),
    ],
)
def test_an_array_that_is_not_understood_is_named(name: str, values: np.ndarray, says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **{"x": np.arange(6.0), name: values})
    with pytest.raises(DataError, match=f"the array '{name}' of .*d.npz.*{says}"):
        load(tmp_path / "d.npz")


def test_a_test_set_has_its_columns_too(tmp_path: Path) -> None:
    arrays = numbered(50)
    parts = {f"{k}_train": v[:40] for k, v in arrays.items()} | {f"{k}_test": v[40:] for k, v in arrays.items()}
    np.savez(tmp_path / "d.npz", **parts)
    data = load(tmp_path / "d.npz")
    held = data.take(10, held_out=True)
    assert (data.size, data.held_out_size) == (40, 10) and sorted(said(held)["kind"]) == list(range(40, 50))
    assert misaligned(held) == [] and misaligned(data.batch(40, 0, 0)) == []
    np.savez(tmp_path / "bad.npz", **parts, extra=np.zeros(50))
    with pytest.raises(DataError, match="'extra'"):
        load(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", **{**parts, "place_test": np.zeros((9, 2))})
    with pytest.raises(DataError, match=r"place_test .*40 and 9"):
        load(tmp_path / "bad.npz")


def test_a_column_is_in_the_fingerprint() -> None:
    arrays = numbered(30)
    told = load(arrays).fingerprint()
    assert told["columns"]["kind"]["sha256"] == hashlib.sha256(np.arange(30).astype("<i8").tobytes()).hexdigest()
    assert load(arrays).fingerprint() == told
    for name in ("picture", "text", "kind", "bits", "place"):
        changed = {**arrays, name: np.array(arrays[name])}
        changed[name].flat[-1] = 0 if name != "bits" else 1 - changed[name].flat[-1]
        assert load(changed).fingerprint() != told, name
    plain = load((arrays["x"], arrays["y"])).fingerprint()
    assert "columns" not in plain and "unlabelled" not in plain and plain["sha256"] == told["sha256"]


# Aligned sources ------------------------------------------------------------------------------------------------------


def pictures(folder: Path, names: list[str], colour: bool = True, shape: tuple[int, int] = (8, 6)) -> list[np.ndarray]:
    """Random image files; the arrays in the order of the names given."""
    made = []
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        made.append(RNG.integers(0, 256, (*shape, 3) if colour else shape, dtype=np.uint8))
        Image.fromarray(made[-1]).save(folder / name)
    return made


def pixels(x: torch.Tensor) -> np.ndarray:
    return ((x + 1) * 127.5).round().to(torch.uint8).numpy()


def test_two_folders_are_aligned_by_the_names_of_their_files(tmp_path: Path) -> None:
    stems = [f"{k}/{i}" for k in ("cats", "dogs") for i in range(8)]
    photos = pictures(tmp_path / "A", [f"{s}.png" for s in stems])
    # written in another order, with suffixes that sort otherwise, in gray, and of another size
    suffixes = [".bmp", ".tif", ".png"]
    sketched = [f"{s}{suffixes[i % 3]}" for i, s in enumerate(stems)]
    sketches = pictures(tmp_path / "B", sketched[::-1], colour=False, shape=(4, 5))[::-1]
    data = load(f"aligned:{tmp_path}/A,{tmp_path}/B")
    assert data.spec.shape == (3, 8, 6) and not data.spec.paired and data.class_names == ("cats", "dogs")
    assert data.spec.columns == (Column(name="other", kind="image", shape=(1, 4, 5)),)
    partner = {photo.transpose(2, 0, 1).tobytes(): sketch for photo, sketch in zip(photos, sketches, strict=True)}
    for rows in (data.batch(14, 3, 2), data.take(14), data.take(2, held_out=True)):
        for x, other in zip(pixels(rows["x"]), pixels(rows["other"]), strict=True):
            np.testing.assert_array_equal(other[0], partner[x.tobytes()])
    assert data.source is not None and load(data.source).fingerprint() == data.fingerprint()


def test_a_picture_without_a_partner_is_named_or_left_out(tmp_path: Path) -> None:
    photos = pictures(tmp_path / "A", [f"{i}.png" for i in range(9)])
    sketches = pictures(tmp_path / "B", [f"{i}.png" for i in range(9)])
    (tmp_path / "B" / "4.png").unlink()
    with pytest.raises(DataError, match=r"'A' .*'4'"):
        load(f"aligned:{tmp_path}/A,{tmp_path}/B")
    broken = (tmp_path / "A" / "7.png").read_bytes()
    (tmp_path / "A" / "7.png").write_bytes(broken[: len(broken) // 2])
    with pytest.warns(UserWarning, match="left out"):
        data = load(f"aligned:{tmp_path}/A,{tmp_path}/B", corrupt="skip", held_out=0.0)
    rows = data.take(7)
    partner = {p.transpose(2, 0, 1).tobytes(): s for p, s in zip(photos, sketches, strict=True)}
    for x, other in zip(pixels(rows["x"]), pixels(rows["other"]), strict=True):
        np.testing.assert_array_equal(other, partner[x.tobytes()].transpose(2, 0, 1))
    assert data.size == 7
    pictures(tmp_path / "C", ["1.png", "1.bmp"])
    with pytest.raises(DataError, match=r"'C' .*'1'"):
        load(f"aligned:{tmp_path}/C,{tmp_path}/C")
    with pytest.raises(DataError, match="no two pictures"), pytest.warns(UserWarning, match="left out"):
        load(f"aligned:{tmp_path}/A,{pictures(tmp_path / 'D', ['z.png']) and tmp_path / 'D'}", corrupt="skip")


def test_other_sources_are_aligned_in_their_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(30.0), y=np.arange(30) % 3)
    np.savez(
        tmp_path / "b.npz", x=np.arange(30.0)[:, None] * [2, 3], y=np.arange(30) % 5, text=np.arange(60).reshape(30, 2)
    )
    data = load(f"aligned:{tmp_path}/a.npz,{tmp_path}/b.npz")
    assert [c.name for c in data.spec.columns] == ["other", "other_text"] and data.spec.classes == 3
    rows = data.batch(20, 1, 4)
    i = rows["x"][:, 0]
    assert torch.equal(rows["other"], torch.stack([2 * i, 3 * i], 1))
    assert torch.equal(rows["other_text"][:, 0], 2 * i.long()) and torch.equal(rows["y"], i.long() % 3)
    np.save(tmp_path / "short.npy", np.zeros(29))
    with pytest.raises(DataError, match=r"'a' has 30 rows.*'short' 29 rows"):
        load(f"aligned:{tmp_path}/a.npz,{tmp_path}/short.npy")
    # a view of other rows of the same data
    wide = load("aligned:digits,digits-halved").take(9)
    np.testing.assert_allclose(wide["other"], wide["x"].numpy().reshape(9, 1, 4, 2, 4, 2).mean((3, 5)), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"size": 3}, {"size": 4, "grayscale": True}, {"size": 5, "crop": "none"}])
@pytest.mark.parametrize("stream", ["true", "false"])
def test_pictures_side_by_side_are_two_columns(stream: str, options: dict[str, Any], tmp_path: Path) -> None:
    wide = pictures(tmp_path / "wide", [f"{i}.png" for i in range(8)], shape=(6, 14))
    for i, image in enumerate(wide):
        for half, folder in ((image[:, :7], "left"), (image[:, 7:], "right")):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(half).save(tmp_path / folder / f"{i}.png")
    data = load(f"aligned:{tmp_path}/wide", stream=stream, **options)
    apart = load(f"aligned:{tmp_path}/left,{tmp_path}/right", **options)
    assert data.spec.shape == apart.spec.shape and data.spec.columns == apart.spec.columns
    for found, own in ((data.batch(5, 1, 3), apart.batch(5, 1, 3)), (data.take(7), apart.take(7))):
        assert torch.equal(found["x"], own["x"]) and torch.equal(found["other"], own["other"])
    assert data.source is not None and load(data.source, options=data.options).fingerprint() == data.fingerprint()
    np.save(tmp_path / "wide.npy", np.stack(wide))
    saved = load(f"aligned:{tmp_path}/wide.npy", stream=stream, **options)
    assert all(torch.equal(saved.take(7)[name], own) for name, own in data.take(7).items())


def test_a_picture_of_odd_width_has_no_halves(tmp_path: Path) -> None:
    pictures(tmp_path / "odd", ["0.png", "1.png"], shape=(4, 7))
    with pytest.raises(DataError, match="7 pixels wide"):
        load(f"aligned:{tmp_path}/odd")
    with pytest.raises(DataError, match="of vectors"):
        load(f"aligned:{np.save(tmp_path / 'v.npy', np.zeros((4, 4))) or tmp_path / 'v.npy'}")


# Independent streams --------------------------------------------------------------------------------------------------


def matches(data: Dataset, n: int, draws: int) -> tuple[float, float, float]:
    """The mean share of matching rows in batches, in ``take``, and in held-out rows, times their number."""
    found = []
    for kind in range(3):
        count = 0
        for seed in range(draws):
            rows = (
                data.batch(n, seed, seed % 7)
                if kind == 0
                else data.take(n if kind == 1 else data.held_out_size or 0, seed, held_out=kind == 2)
            )
            count += int((rows["x"][:, 0] == rows["other"][:, 0]).sum())
        found.append(count / draws)
    return found[0], found[1], found[2]


def test_columns_of_two_streams_are_independent(tmp_path: Path) -> None:
    """Two random orders of the same rows meet in one place on average, whatever their number; its deviation is 1."""
    np.save(tmp_path / "a.npy", np.arange(60.0))
    data = load(f"pairs:{tmp_path}/a.npy,{tmp_path}/a.npy", held_out=0.5)
    assert data.spec.columns[0].stream == "other"
    for mean in matches(data, 30, 400):
        assert abs(mean - 1.0) < 5 / 400**0.5


def test_the_test_above_sees_streams_in_the_same_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", np.arange(60.0))
    data = load(f"pairs:{tmp_path}/a.npy,{tmp_path}/a.npy", held_out=0.5)
    mix = stores.mix
    monkeypatch.setattr(stores, "mix", lambda *numbers: numbers[1] if numbers[0] == stores._OTHER else mix(*numbers))
    assert matches(data, 30, 3) == (30.0, 30.0, 30.0)


def test_domains_may_be_unlike(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **numbered(40))
    data = load(f"pairs:digits,{tmp_path}/a.npz")
    assert not data.spec.paired and data.spec.column("other") == Column(
        name="other", kind="vector", shape=(1,), stream="other"
    )
    assert data.spec.column("other_text").stream == "other" and "other_y" not in data.batch(4, 0, 0)
    assert (data.size, data.held_out_size) == (36, 4)
    rows = data.take(36)
    assert torch.equal(rows["other"][:, 0], rows["other_kind"].float())  # the second stream's own columns are aligned
    laws = load("pairs:moons,grid25")
    assert laws.size is None and laws.spec.paired and tuple(laws.batch(5, 0, 0)["other"].shape) == (5, 2)
    with pytest.raises(DataError, match=r"two domains.*one shape"):
        eq.recipe("cogan").build(data.spec, 0)
    with pytest.raises(DataError, match="aligned"):
        eq.recipe("cogan").build(load("aligned:digits,digits-edges").spec, 0)


# Few labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [10, 37, 100, 1617])
def test_few_labels_are_kept_evenly_and_always_the_same(count: int) -> None:
    whole, few = load("digits"), load(f"few:digits,{count}")
    assert few.size is not None and few.spec.classes == 10 and few.spec.unlabelled == (count < 1617)
    rows, own = few.batch(few.size, 3, 0), whole.batch(few.size, 3, 0)
    assert torch.equal(rows["x"], own["x"]) and rows["y"].dtype == torch.int64
    kept = rows["y"] >= 0
    assert int(kept.sum()) == count and torch.equal(rows["y"][kept], own["y"][kept])
    assert set(rows["y"][~kept].tolist()) <= {-1}
    counts = torch.bincount(rows["y"][kept], minlength=10)
    assert count == 1617 or int(counts.max() - counts.min()) <= 1
    held, others = few.take(180, held_out=True), whole.take(180, held_out=True)
    assert torch.equal(held["y"], others["y"])
    assert load(few.source).fingerprint() == few.fingerprint()
    if count < 1617:
        assert few.fingerprint()["unlabelled"] == 1617 - count


@pytest.mark.parametrize("n", [16, 64, 250])
def test_labelled_rows_are_a_stream_of_their_own(n: int) -> None:
    """Each comes as often as any other, though a batch is longer than they are many, and independently of the batch."""
    few = load("few:digits,30")
    known = few.batch(few.size or 0, 0, 0)
    x, y = known["x"][known["y"] >= 0], known["y"][known["y"] >= 0]
    turns = [few.batch(n, 5, turn) for turn in range(60)]
    rows, label = torch.cat([t["labelled"] for t in turns]), torch.cat([t["label"] for t in turns])
    which = torch.cdist(rows.flatten(1), x.flatten(1)).min(1)
    assert torch.equal(rows, x[which.indices]) and torch.equal(y[which.indices], label)
    counts = which.indices.bincount(minlength=30)
    assert int(counts.max() - counts.min()) <= 1
    assert torch.equal(few.batch(n, 5, 3)["labelled"], turns[3]["labelled"])
    assert not torch.equal(few.batch(n, 6, 3)["labelled"], turns[3]["labelled"])
    assert few.spec.columns == (
        Column(name="labelled", kind="image", shape=(1, 8, 8), stream="labelled"),
        Column(name="label", kind="label", classes=10, stream="labelled"),
    )


def test_labelled_rows_of_an_evaluation_are_held_out_as_the_others_are() -> None:
    few, whole = load("few:digits,30"), load("digits")
    held, taken = whole.take(180, held_out=True), few.take(180, seed=3, held_out=True)
    which = torch.cdist(taken["labelled"].flatten(1), held["x"].flatten(1)).argmin(1)
    assert torch.equal(taken["labelled"], held["x"][which]) and torch.equal(taken["label"], held["y"][which])
    assert not torch.equal(taken["labelled"], taken["x"])


def test_labelled_rows_are_seen_through_the_views_of_the_data() -> None:
    few, plain = load("few:digits-halved,30"), load("few:digits,30")
    assert few.batch(8, 0, 0)["labelled"].shape == (8, 1, 4, 4)
    assert torch.equal(few.batch(8, 0, 0)["label"], plain.batch(8, 0, 0)["label"])


def test_all_rows_come_in_the_order_of_the_source() -> None:
    few, digits = load("few:digits,100").whole(), load("digits").whole()
    assert torch.equal(few["x"], digits["x"]) and set(few["y"][few["y"] != digits["y"]].tolist()) == {-1}
    assert misaligned(load(numbered(50)).whole()) == []
    assert torch.equal(load("digits-halved").whole()["x"], halve(digits["x"]))


def test_fewer_labels_are_some_of_more() -> None:
    def kept(count: int) -> set[bytes]:
        data = load(f"few:digits,{count}")
        rows = data.batch(1617, 0, 0)
        return {x.numpy().tobytes() for x in rows["x"][rows["y"] >= 0]}

    assert kept(20) < kept(100) < kept(400)


def test_a_small_class_keeps_what_it_has() -> None:
    data = {"x": np.arange(100.0), "y": np.array([0] * 95 + [1] * 5)}
    rows = stores.labelled_rows(torch.tensor(data["y"]), torch.arange(100), 40)
    assert data["y"][rows.numpy()].tolist().count(1) == 5 and len(rows) == 40


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("few:digits", "does not name"),
        ("few:digits,none", "does not name"),
        ("few:digits,0", "does not name"),
        ("few:digits,9", "9 labels of 'digits'"),
        ("few:digits,1618", "1617 labelled training rows"),
    ],
)
def test_impossible_few_labels_are_refused(source: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load(source)


def test_few_labels_of_aligned_and_streamed_pictures(tmp_path: Path) -> None:
    names = [f"{k}/{i}.png" for k in "ab" for i in range(10)]
    pictures(tmp_path / "wide", names, shape=(6, 12))
    for source in (f"few:{tmp_path}/wide,4", f"few:aligned:{tmp_path}/wide,4"):
        disk, memory = (load(source, stream=how) for how in ("true", "false"))
        assert all(
            torch.equal(disk.batch(7, 0, t)[n], own) for t in range(3) for n, own in memory.batch(7, 0, t).items()
        )
        assert int((memory.batch(18, 0, 0)["y"] >= 0).sum()) == 4
    assert "other" in memory.batch(1, 0, 0)
    with pytest.raises(DataError, match="has no labels"):
        load(f"few:{tmp_path}/wide/a,4")


def test_a_game_that_needs_every_label_refuses_few() -> None:
    with pytest.raises(DataError, match=r"y = -1"):
        eq.recipe("cgan").build(load("few:digits,100").spec, 0)
    eq.recipe("gan").build(load("few:digits,100").spec, 0)


def test_minus_one_marks_no_label_where_it_is_said_to() -> None:
    x, y = np.arange(12.0), np.array([4, -1, 7] * 4)
    with pytest.raises(DataError, match=r"-1 at index 1 is negative.*data\.unlabelled=true"):
        load(x, labels=y)
    data = load(x, labels=y, unlabelled=True, held_out=0.0)
    rows = data.take(12)
    expected = torch.tensor([{0: 0, 1: -1, 2: 1}[int(i) % 3] for i in rows["x"][:, 0]])
    assert torch.equal(rows["y"], expected) and data.spec.unlabelled and data.class_names == ("4", "7")
    assert data.fingerprint()["labels"] == {"4": 4, "7": 4} and data.fingerprint()["unlabelled"] == 4


# What was there before ------------------------------------------------------------------------------------------------

_DIGITS = "0b7e9c3202d7bcd255d6a19a238d3743bf5e320ba74812a6679958a017c55382"
BEFORE = {
    "digits": ("be6d533bcf793362", "629023ee2226ab8b", "d7e075cf296d3bdd", "30aa48f1df93b73d"),
    "pairs:digits,digits-negative": ("300fa79e2f9c5eda", "1ffca645f6c2829f", "d7e075cf296d3bdd", "30aa48f1df93b73d"),
    "pairs:digits,digits-edges": ("60971da11a5c6335", "068c7d39d4f89b17", "d7e075cf296d3bdd", "30aa48f1df93b73d"),
    "stacked:digits": ("1caf6cec3a380a2c", "2a2481b26f0b40b5", "3ca43f024b43d15e", "ff2c87dc1dd20622"),
}


def digest(rows: Rows, *without: str) -> str:
    found = hashlib.sha256()
    for name in sorted(rows.keys() - set(without)):
        found.update(f"{name}{rows[name].dtype}{tuple(rows[name].shape)}".encode())
        found.update(rows[name].contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("source", BEFORE)
def test_the_rows_of_earlier_versions_are_dealt_bit_for_bit(source: str) -> None:
    data = load(source)
    found = (
        digest(data.batch(9, 0, 0)),
        digest(data.batch(9, 2**40, 11)),
        # the second of two domains was taken in the order of the first, which is no longer so
        digest(data.take(30, 0), "other"),
        digest(data.take(30, 5, held_out=True), "other"),
    )
    assert found == BEFORE[source]


def test_the_fingerprints_of_earlier_versions_hold() -> None:
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    array = {
        "kind": "array",
        "shape": [1, 8, 8],
        "dtype": "uint8",
        "count": 1797,
        "held_out": 180,
        "range": [0.0, 255.0],
    }
    digits = {**array, "sha256": _DIGITS, "labels": counts}
    negative = {**digits, "sha256": "899774d586c63b2d1748c1c245dde75d455ff985bb97ef582183d1fc0b6c32dd"}
    assert load("digits").fingerprint() == {**digits, "labels": dict(zip(map(str, range(10)), counts, strict=True))}
    pairs = load("pairs:digits,digits-negative").fingerprint()
    assert pairs == {"kind": "pairs", "first": digits, "second": negative}
    assert load("stacked:digits").fingerprint() == {"kind": "stacked", "of": digits}


def test_options_are_given_by_name() -> None:
    assert load("digits", size=16).spec.shape == (1, 16, 16)
    assert load("digits", options=DataOptions(size=16), held_out=0.5).options == DataOptions(size=16, held_out=0.5)
    with pytest.raises(eq.EquilibriaError, match=r"no setting 'sise'.*did you mean 'size'"):
        load("digits", sise=16)
    with pytest.raises(eq.EquilibriaError, match=r"size=big"):
        load("digits", size="big")
