"""Records: frozen, to JSON and back, and settable by dotted path."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from equilibria.base.errors import ConfigError
from equilibria.base.records import decode, encode, is_record, record
from equilibria.base.settings import replace_at
from equilibria.training import Settings


@record
class Leaf:
    rate: float = 0.1
    count: int | None = None
    name: str = "leaf"
    on: bool = False
    pair: tuple[float, float] = (0.0, 1.0)


@record
class Tree:
    leaf: Leaf = Leaf()
    leaves: tuple[Leaf, ...] = ()
    rate: float | Leaf = 1.0
    optional: Leaf | None = None


leaves = st.builds(
    Leaf,
    rate=st.floats(allow_nan=False),
    count=st.none() | st.integers(),
    name=st.text(),
    on=st.booleans(),
    pair=st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False)),
)
trees = st.builds(
    Tree,
    leaf=leaves,
    leaves=st.lists(leaves).map(tuple),
    rate=st.floats(allow_nan=False) | leaves,
    optional=st.none() | leaves,
)


@given(trees)
def test_a_record_goes_to_json_and_back(tree: Tree) -> None:
    assert decode(json.loads(json.dumps(encode(tree)))) == tree


def test_a_record_is_frozen_and_takes_keywords_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Leaf().rate = 2.0  # type: ignore[misc]
    with pytest.raises(ConfigError, match=r"by name.*Leaf\(rate="):
        Leaf(0.1)  # type: ignore[call-arg]
    assert is_record(Leaf()) and not is_record(0.1) and hash(Leaf()) == hash(Leaf())


@pytest.mark.parametrize("value", [torch.zeros(2), lambda: 0, object(), {1, 2}], ids=lambda v: type(v).__name__)
def test_what_has_no_plain_form_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"Tree\.rate is"):
        Tree(rate=value)
    with pytest.raises(ConfigError, match="build it from records"):
        encode({"rate": value})


def test_unknown_types_and_fields_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown record type 'Laef'.*did you mean"):
        decode({"type": "Laef"})
    with pytest.raises(ConfigError, match=r"Leaf has no setting 'rtae'.*did you mean 'rate'"):
        decode({"type": "Leaf", "rtae": 1.0})


def test_two_records_of_one_name_are_refused() -> None:
    twin = type("Leaf", (), {"__module__": "elsewhere", "__annotations__": {}})
    with pytest.raises(TypeError, match="two records are called Leaf"):
        record(twin)


@pytest.mark.parametrize(
    ("path", "text", "wanted"),
    [
        ("leaf.rate", "1e-3", Tree(leaf=Leaf(rate=1e-3))),
        ("leaf.count", "3", Tree(leaf=Leaf(count=3))),
        ("leaf.count", "none", Tree()),
        ("leaf.name", "oak", Tree(leaf=Leaf(name="oak"))),
        ("leaf.on", "TRUE", Tree(leaf=Leaf(on=True))),
        ("leaf.pair", "(0.5, 0.9)", Tree(leaf=Leaf(pair=(0.5, 0.9)))),
        ("leaf.pair.1", "0.5", Tree(leaf=Leaf(pair=(0.0, 0.5)))),
        ("rate", "2", Tree(rate=2.0)),
    ],
)
def test_a_setting_is_read_as_its_field_says(path: str, text: str, wanted: Tree) -> None:
    assert replace_at(Tree(), path, text) == wanted


def test_a_setting_inside_a_tuple_leaves_the_others() -> None:
    tree = Tree(leaves=(Leaf(), Leaf(rate=3.0)))
    assert replace_at(tree, "leaves.1.rate", "4").leaves == (Leaf(), Leaf(rate=4.0))


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("leaf.rtae", "1", "--set leaf.rate=1"),
        ("leaf.rate", "fast", "a value of type float is needed"),
        ("leaf.count", "1.5", "int"),
        ("leaf.rate.x", "1", "further than there are settings"),
        ("leaf.pair.7", "1", "no index into 2 entries"),
        ("leaf.pair.x", "1", "no index"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(path: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace_at(Tree(), path, text)


def test_an_empty_tuple_is_read_as_its_entries_are_declared() -> None:
    assert replace_at(Settings(), "trackers", "tensorboard,wandb").trackers == ("tensorboard", "wandb")
