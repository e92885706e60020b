"""Data sets of other libraries: torch's by value, the Hub's by name."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import TensorDataset

from equilibria.base.errors import DataError
from equilibria.data import DataOptions, load

COLOUR = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
ALL = DataOptions(held_out=0.0)


def pixels(x: torch.Tensor) -> np.ndarray:
    return ((x + 1) * 127.5).round().to(torch.uint8).numpy()


def rows_of(x: np.ndarray) -> set[bytes]:
    return {np.ascontiguousarray(row).tobytes() for row in x}


class Pictures(TorchDataset[Any]):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        return Image.fromarray(COLOUR[index]), index % 2


def test_torch_data_sets_are_read_whole() -> None:
    data = load(Pictures(), options=ALL)
    assert data.spec.shape == (3, 6, 5) and data.spec.classes == 2 and data.name == "Pictures" and data.source is None
    assert rows_of(pixels(data.take(12)["x"])) == rows_of(COLOUR.transpose(0, 3, 1, 2))
    assert load(TensorDataset(torch.randn(8, 3))).spec.shape == (3,)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([torch.zeros(2), torch.zeros(3)], r"mixed shapes: 0 is \(2,\), 1 is \(3,\)"),
        ([(torch.zeros(2), 0, 1)], "3 parts"),
        ([(torch.zeros(2), 0), torch.zeros(2)], "1 of 2 items have a label"),
        (["text"], "item 0 is a str"),
        ([], "is empty"),
    ],
)
def test_unusable_torch_data_sets_are_refused(items: list[Any], says: str) -> None:
    class Items(TorchDataset[Any]):
        def __len__(self) -> int:
            return len(items)

        def __getitem__(self, index: int) -> Any:
            return items[index]

    with pytest.raises(DataError, match=says):
        load(Items())


def fake_hub(found: Any) -> types.ModuleType:
    module = types.ModuleType("datasets")

    def load_dataset(name: str) -> Any:
        if found is None:
            raise ConnectionError("no network\nmore")
        return found

    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    return module


class Split(dict[str, Any]):
    """The part of a Hub split that is used: columns by name, features, a length."""

    def __init__(self, columns: dict[str, Any], features: dict[str, Any]) -> None:
        super().__init__(columns)
        self.features = features

    def __len__(self) -> int:
        return len(next(iter(self.values())))


def feature(kind: str, **fields: Any) -> Any:
    return type(kind, (), fields)()


def test_hub_data_sets_give_images_classes_and_their_test_split(monkeypatch: Any) -> None:
    features = {"label": feature("ClassLabel", names=["no", "yes"]), "img": feature("Image")}
    train, test = (
        Split({"label": [i % 2 for i in part], "img": [Image.fromarray(COLOUR[i]) for i in part]}, features)
        for part in (range(8), range(8, 12))
    )
    monkeypatch.setitem(sys.modules, "datasets", fake_hub({"train": train, "test": test}))
    data = load("hf:some/name")
    assert (data.size, data.held_out_size, data.class_names) == (8, 4, ("no", "yes"))
    assert data.source == "hf:some/name"
    assert rows_of(pixels(data.take(4, held_out=True)["x"])) == rows_of(COLOUR[8:].transpose(0, 3, 1, 2))
    vectors = Split({"v": [[1.0, 2.0], [3.0, 4.0]]}, {"v": feature("List")})
    monkeypatch.setitem(sys.modules, "datasets", fake_hub({"all": vectors}))
    assert load("hf:vectors").spec.shape == (2,)


def test_hub_failures_are_one_line(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"equilibria\[hub\]"):
        load("hf:some/name")
    monkeypatch.setitem(sys.modules, "datasets", fake_hub(None))
    with pytest.raises(DataError, match=r"cannot be loaded \(no network\)"):
        load("hf:some/name")
    text = Split({"text": ["a"]}, {"text": feature("Value")})
    monkeypatch.setitem(sys.modules, "datasets", fake_hub({"train": text}))
    with pytest.raises(DataError, match="no column"):
        load("hf:some/name")
