"""Data given as Python values: lists, dicts, torch data sets and loaders; each is read to the rows of its array."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import equilibria as eq
from equilibria.base.errors import DataError
from equilibria.data import load

RNG = np.random.default_rng(0)
N = 12
COLOUR = RNG.integers(0, 256, (N, 6, 5, 3), dtype=np.uint8)
GRAY = np.ascontiguousarray(COLOUR[..., 0])
VECTORS = RNG.normal(size=(N, 3)).astype(np.float32)
Y = np.arange(N) % 3
PICTURES = [Image.fromarray(image) for image in COLOUR]


class Items(Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Endless(IterableDataset[Any]):
    def __init__(self, count: int | None = None) -> None:
        self.count = count

    def __iter__(self) -> Iterator[torch.Tensor]:
        index = 0
        while self.count is None or index < self.count:
            yield torch.from_numpy(VECTORS[index % N])
            index += 1


def plain(batch: list[Any]) -> Any:
    return torch.stack([x for x, _ in batch]), [int(y) for _, y in batch]


PAIRED = TensorDataset(torch.from_numpy(VECTORS), torch.from_numpy(Y))
LIST = [(torch.from_numpy(x), int(y)) for x, y in zip(VECTORS, Y, strict=True)]
# what is given, the array that it is, whether its labels are Y, what the line says of it
SOURCES: dict[str, tuple[Any, np.ndarray, bool, str]] = {
    "array": (VECTORS, VECTORS, False, "given as an array"),
    "tensor": (torch.from_numpy(VECTORS), VECTORS, False, "given as a tensor"),
    "pair": ((VECTORS, Y), VECTORS, True, "given as a pair of examples and labels"),
    "pair of lists": ((PICTURES, list(Y)), COLOUR, True, "given as a pair"),
    "pictures": (PICTURES, COLOUR, False, "given as a list of 12 Pillow images"),
    "pictures in a tuple": (tuple(PICTURES), COLOUR, False, "given as a list of 12 Pillow images"),
    "gray pictures": ([Image.fromarray(image) for image in GRAY], GRAY, False, "a list of 12 Pillow images"),
    "arrays": (list(COLOUR), COLOUR, False, "given as a list of 12 arrays"),
    "tensors": ([torch.from_numpy(x) for x in VECTORS], VECTORS, False, "given as a list of 12 tensors"),
    "list of pairs": (LIST, VECTORS, True, "given as a list of 12 examples with labels"),
    "pictures and labels": (list(zip(PICTURES, Y, strict=True)), COLOUR, True, "12 Pillow images with labels"),
    "nested lists": (VECTORS.tolist(), VECTORS, False, "given as a list of numbers"),
    "dict": ({"x": VECTORS, "y": Y}, VECTORS, True, "given as a dict of arrays (x, y)"),
    "dict of lists": ({"images": PICTURES, "labels": list(Y)}, COLOUR, True, "a dict of arrays (images, labels)"),
    "data set": (Items(list(VECTORS)), VECTORS, False, "a torch data set Items of 12 examples"),
    "data set of pairs": (PAIRED, VECTORS, True, "a torch data set TensorDataset of 12 examples with labels"),
    "data set of pictures": (Items(PICTURES), COLOUR, False, "a torch data set Items of 12 Pillow images"),
    "data set of dicts": (
        Items([{"image": x, "label": int(y)} for x, y in zip(PICTURES, Y, strict=True)]), COLOUR, True, "Items of 12",
    ),
    "iterable data set": (Endless(N), VECTORS, False, "a torch data set Endless of 12 examples"),
    "loader": (DataLoader(PAIRED, batch_size=5), VECTORS, True, "a DataLoader of 12 examples with labels"),
    "shuffling loader": (DataLoader(PAIRED, batch_size=5, shuffle=True), VECTORS, True, "the order of its data set"),
    "loader of rows": (DataLoader(Items(list(VECTORS)), batch_size=4), VECTORS, False, "a DataLoader of 12 examples"),
    "loader of a part": (
        DataLoader(PAIRED, sampler=SubsetRandomSampler([7, 1, 4])), VECTORS[[1, 4, 7]], False, "3 examples with labels",
    ),
    "loader of a subset": (DataLoader(Subset(PAIRED, range(6))), VECTORS[:6], False, "6 examples with labels"),
    "loader with a collate of its own": (
        DataLoader(LIST, batch_size=5, collate_fn=plain), VECTORS, True, "in which it deals",
    ),
    "loader without batches": (DataLoader(PAIRED, batch_size=None), VECTORS, True, "12 examples with labels"),
    "loader that drops the last": (DataLoader(PAIRED, 5, drop_last=True), VECTORS[:10], False, "10 examples"),
    "loader with batches of its own": (
        DataLoader(PAIRED, batch_sampler=BatchSampler(range(6), 4, False)), VECTORS[:6], False, "6 examples",
    ),
    "loader of an iterable data set": (DataLoader(Endless(N), batch_size=5), VECTORS, False, "in which it deals"),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_a_value_is_read_to_its_rows_and_said(name: str) -> None:
    source, x, labelled, says = SOURCES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load(source, held_out=0.0)
    rows = data.whole()
    if x.dtype == np.uint8:
        images = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(((rows["x"] + 1) * 127.5).round().numpy(), images)
    else:
        np.testing.assert_array_equal(rows["x"].numpy(), x)
    if labelled:
        assert rows["y"].tolist() == Y.tolist() and data.class_names == ("0", "1", "2")
    assert says in data.described(), data.described()


def test_a_dict_may_hold_further_columns() -> None:
    data = load({"x": VECTORS, "y": Y, "other": PICTURES}, held_out=0.0)
    column = data.spec.column("other")
    assert column is not None and column.kind == "image" and column.shape == (3, 6, 5)
    other = ((data.whole()["other"] + 1) * 127.5).round().numpy()
    np.testing.assert_array_equal(other, COLOUR.transpose(0, 3, 1, 2))
    assert "dict of arrays (x, y, other)" in data.described()


def test_the_order_of_a_shuffling_loader_is_that_of_its_data(tmp_path: Path) -> None:
    """Given again, it is known again: the fingerprint is of the data set and not of one order."""

    def shuffled() -> DataLoader[Any]:
        return DataLoader(PAIRED, batch_size=4, shuffle=True)

    assert load(shuffled()).fingerprint() == load(shuffled()).fingerprint() == load((VECTORS, Y)).fingerprint()
    row = eq.recipe("gan").with_settings([("batch", "4")])
    settings = eq.Settings(progress=False, evaluate=False, doctor=False)
    eq.train(row, data=shuffled(), steps=1, out=tmp_path / "run", settings=settings)
    with pytest.raises(eq.EquilibriaError, match="pass it again"):
        eq.resume(tmp_path / "run", steps=2)
    with pytest.raises(eq.EquilibriaError, match="fingerprint"):
        eq.resume(tmp_path / "run", data=(VECTORS[::-1].copy(), Y), steps=2)
    assert eq.resume(tmp_path / "run", data=shuffled(), steps=2).play.round == 2


def test_options_are_applied_to_pictures_once() -> None:
    deep = RNG.integers(0, 4096, (3, 6, 5)).astype(np.uint16)
    expected = np.rint(deep * (255.0 / 4095))
    for source in ([Image.fromarray(one) for one in deep], Items([Image.fromarray(one) for one in deep])):
        found = load(source, held_out=0.0, range=(0, 4095)).whole()["x"]
        np.testing.assert_array_equal(((found[:, 0] + 1) * 127.5).round().numpy(), expected)
    assert load(PICTURES, size="4x3", held_out=0.0).spec.shape == (3, 3, 4)


def test_deep_pictures_that_hold_bytes_are_refused() -> None:
    pictures = [Image.fromarray(image.astype(np.uint16)) for image in GRAY]
    with pytest.raises(DataError, match=r"data\.range=0,255"):
        load(pictures)
    found = load(pictures, range=(0, 255), held_out=0.0).whole()["x"][:, 0]
    np.testing.assert_array_equal(((found + 1) * 127.5).round().numpy(), GRAY)


def test_a_loader_that_deals_by_weight_is_read_as_it_deals() -> None:
    sampler = WeightedRandomSampler([1.0] * 6 + [0.0] * 6, 5, generator=torch.Generator().manual_seed(0))
    rows = load(DataLoader(PAIRED, sampler=sampler), held_out=0.0).whole()["x"]
    assert len(rows) == 5 and {tuple(row) for row in rows.tolist()} <= {tuple(row) for row in VECTORS[:6].tolist()}
    again = RandomSampler(PAIRED, replacement=True, num_samples=30)
    assert load(DataLoader(PAIRED, sampler=again), held_out=0.0).size == 30


def test_what_has_no_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equilibria.data.values.machine_memory", lambda: 4 * 1000)
    for source in (Endless(), DataLoader(Endless(), batch_size=7)):
        with pytest.raises(DataError, match=r"more than \d+ items.*\.npy"):
            load(source)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ([], "empty list"),
        ([PICTURES[0], VECTORS[0]], "item 1 is a ndarray"),
        ([PICTURES[0], Image.new("RGB", (3, 3))], r"5x6, 1 is 3x3.*data\.size=64"),
        ([np.zeros(3), np.zeros(4)], r"0 is \(3,\), 1 is \(4,\)"),
        (["a.png", "b.png"], "item 0 is a str"),
        ([[1.0, 2.0], [3.0]], "rows of one length"),
        ((x for x in PICTURES), "generator is no source"),
        ({"y": Y}, "no array of examples"),
        (Items([]), "empty"),
        (Items([{"caption": 1}]), "has no x"),
        (Items([(VECTORS[0], 1), (VECTORS[1],)]), "1 of 2 items have a label"),
        (Items([(1, 2, 3)]), "item 0 of the Items has 3 parts"),
        (DataLoader(Items([1]), collate_fn=list), "batch 0 of the DataLoader"),
        (7, "int is no source"),
    ],
)
def test_what_cannot_be_read_is_one_line(source: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        load(source)
    assert "\n" not in str(caught.value)
