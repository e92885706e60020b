"""Rows that a user gives: every form is read to the same rows, and what is none of the data's is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from equilibria.base.errors import DataError, ShapeError
from equilibria.data import Column, DataOptions, DataSpec, load
from equilibria.runs.rows import all_rows, checked, rows_of

GRAY = DataSpec(kind="image", shape=(1, 4, 6), classes=3, paired=True)
PLANE = DataSpec(kind="vector", shape=(2,), columns=(Column(name="caption", kind="text", shape=(3,), classes=9),))
PLAIN = DataOptions()


def test_images_come_in_every_layout() -> None:
    x = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 6), dtype=np.uint8)
    expected = torch.from_numpy(x.astype(np.float64) / 255 * 2 - 1).float()
    forms: list[Any] = [x, x[:, 0], x.transpose(0, 2, 3, 1), torch.from_numpy(x), expected, expected.double()]
    for form in forms:
        torch.testing.assert_close(rows_of(form, ("x",), GRAY, PLAIN)["x"], expected)


def test_a_folder_is_read_in_its_order_with_the_options_of_the_data(tmp_path: Path) -> None:
    for i in range(12):
        Image.new("RGB", (40, 40), (20 * i, 20 * i, 20 * i)).save(tmp_path / f"{i:02d}.png")
    spec, options = DataSpec(kind="image", shape=(1, 8, 8)), DataOptions(size=8, grayscale=True, held_out=0.5)
    found = rows_of(tmp_path, ("x",), spec, options)["x"]
    assert found.shape == (12, 1, 8, 8), "held-out rows are rows as well"
    np.testing.assert_allclose(found.mean((1, 2, 3)).numpy(), np.arange(12) * 20 / 127.5 - 1, atol=1e-2)


@pytest.mark.parametrize("stream", ["false", "true"])
def test_all_rows_of_a_data_set_are_in_the_order_of_the_source(tmp_path: Path, stream: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    data = load(tmp_path / "x.npy", options=DataOptions(stream=stream))
    torch.testing.assert_close(all_rows(data)["x"], torch.from_numpy(x / 127.5 - 1).float())
    assert len(all_rows(load("digits"))["y"]) == 1797 and len(all_rows(load("ring8-U"))["x"]) == 64
    both = all_rows(load(f"pairs:{tmp_path}/x.npy,{tmp_path}/x.npy-negative"))
    torch.testing.assert_close(both["other"], -both["x"])


def test_the_only_column_needed_may_be_called_x() -> None:
    x = torch.rand(3, 1, 4, 6)
    assert torch.equal(rows_of({"x": x, "y": torch.zeros(3)}, ("other",), GRAY, PLAIN)["other"], x)
    assert torch.equal(rows_of({"x": x, "other": -x}, ("other",), GRAY, PLAIN)["other"], -x)
    both = rows_of({"y": np.array([0.0, 2.0, -1.0]), "x": x}, ("x", "y"), GRAY, PLAIN)
    assert both["y"].tolist() == [0, 2, -1] and both["y"].dtype == torch.int64
    caption = rows_of([[1, 2, 3]] and np.array([[1, 2, 8]]), ("caption",), PLANE, PLAIN)["caption"]
    assert caption.dtype == torch.int64


def test_some_of_the_columns_will_do_and_those_beside_are_kept() -> None:
    x = torch.rand(3, 1, 4, 6)
    some = rows_of({"x": x, "y": torch.zeros(9), "more": x}, ("x", "other"), GRAY, PLAIN, ())
    assert list(some) == ["x"]
    beside = rows_of({"x": x, "other": -x[:2], "more": x}, ("x",), GRAY, PLAIN, ("other",))
    assert {name: len(column) for name, column in beside.items()} == {"x": 3, "other": 2}
    with pytest.raises(DataError, match="'x'"):
        rows_of({"more": x}, ("x", "other"), GRAY, PLAIN, ())


@pytest.mark.parametrize(
    ("given", "needed", "error", "said"),
    [
        ({"y": [0]}, ("x", "y"), DataError, "'x'"),
        (torch.rand(3, 1, 4, 6), ("x", "y"), DataError, "x, y"),
        (torch.rand(3, 1, 6, 4), ("x",), ShapeError, r"\(n, 1, 4, 6\)"),
        (torch.rand(0, 1, 4, 6), ("x",), ShapeError, "at least one row"),
        (torch.rand(3, 1, 4, 6) * 255, ("x",), DataError, r"\[-1, 1\]"),
        (torch.rand(3, 1, 4, 6) * float("nan"), ("x",), DataError, "finite"),
        ({"y": np.array([3])}, ("y",), DataError, "0 to 2"),
        ({"y": np.array([0.5])}, ("y",), DataError, "whole"),
        ({"x": torch.rand(3, 1, 4, 6), "y": np.array([0])}, ("x", "y"), ShapeError, "'y': 1"),
        (np.array(["a"]), ("x",), DataError, "numbers"),
        (7, ("x",), DataError, "int"),
        ("no/such/folder", ("x",), DataError, "no/such/folder"),
        (torch.rand(3, 2), ("caption",), DataError, "'caption'"),
    ],
)
def test_what_is_none_of_the_data_is_refused(
    given: Any, needed: tuple[str, ...], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        rows_of(given, needed, GRAY, PLAIN)


def test_values_are_copied_from_the_users_memory() -> None:
    mine = np.zeros((2, 2), np.float32)
    found = checked(mine, Column(name="x", kind="vector", shape=(2,)))
    found += 1
    assert mine.max() == 0
