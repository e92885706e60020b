"""Nonsense settings are refused by the record that has them, wherever they come from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from equilibria import cli
from equilibria.base import bounds
from equilibria.base.errors import ConfigError
from equilibria.base.fields import is_record
from equilibria.base.schedules import Bursts, Cosine, Decay, Linear
from equilibria.core.optimizers import OPTIMIZERS, Adam
from equilibria.core.registry import UPDATES
from equilibria.data import DataOptions
from equilibria.losses import OBJECTIVES, PENALTIES
from equilibria.recipes import RECIPES, recipe
from equilibria.training import Settings

SCHEDULES = (Cosine(start=1.0, end=0.5), Linear(start=1.0, end=0.5), Decay(start=1.0, end=0.5), Bursts())
UNBOUNDED = {"year", "size"}  # of a paper; of images, which the data bounds


def records(value: Any) -> Iterator[Any]:
    """A record and all that are in it."""
    if isinstance(value, (tuple, list)):
        for one in value:
            yield from records(one)
    elif is_record(value):
        yield value
        for field in dataclasses.fields(value):
            yield from records(getattr(value, field.name))


def everything() -> list[Any]:
    registries = (OBJECTIVES, PENALTIES, UPDATES, OPTIMIZERS)
    named = [one() if isinstance(one, type) else one for registry in registries for one in registry.values()]
    found = records([*RECIPES.values(), Settings(), DataOptions(), *named, *SCHEDULES])
    return list({repr(one): one for one in found}.values())


def numbers() -> list[tuple[Any, str]]:
    """Every number in every record that a recipe, a run or a data set is made of, once per class and field."""
    found = {}
    for one in everything():
        for field in dataclasses.fields(one):
            value = getattr(one, field.name)
            value = value[0] if isinstance(value, tuple) and value else value
            if isinstance(value, (int, float)) and not isinstance(value, bool) and field.name not in UNBOUNDED:
                found[type(one).__name__, field.name] = (one, field.name)
    return list(found.values())


def with_value(one: Any, name: str, value: Any) -> Any:
    now = getattr(one, name)
    return dataclasses.replace(one, **{name: (value, *now[1:]) if isinstance(now, tuple) else value})


@pytest.mark.parametrize(("one", "name"), numbers(), ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_no_number_is_nonsense(one: Any, name: str) -> None:
    """Not NaN, not infinite, and a count or a size not negative and not beyond any machine."""
    now = getattr(one, name)
    whole = isinstance(now[0] if isinstance(now, tuple) else now, int)
    for value in (-1, 10**12) if whole else (math.nan, math.inf, -math.inf):
        with pytest.raises(ConfigError) as raised:
            with_value(one, name, value)
        assert name in raised.value.what and str(value) in raised.value.what.replace("_", "")


@pytest.mark.parametrize(
    "setting",
    [
        "game.discriminator_turns=0", "averages.0.decay=nan", "averages.0.decay=1", "optimizer.betas=0.5,1",
        "optimizer.eps=0", "networks.vector.slope=-0.1", "batch=0", "batch=1000000000000", "steps=-1",
        "networks.vector.width=1000000000",
    ],
)  # fmt: skip
def test_the_command_line_says_value_and_rule(setting: str) -> None:
    path, _, value = setting.partition("=")
    with pytest.raises(ConfigError) as raised:
        recipe("gan").with_settings({path: value})
    assert path.rpartition(".")[2] in raised.value.what and raised.value.fix


def test_bounds_are_checked_at_both_ends() -> None:
    assert 0.999 in bounds.DECAY and 0 in bounds.DECAY and 1.0 not in bounds.DECAY and -1e-9 not in bounds.DECAY
    assert 0 not in bounds.POSITIVE and 1e-30 in bounds.POSITIVE and math.nan not in bounds.FINITE
    assert Adam(betas=(0.0, 0.9)).betas == (0.0, 0.9)


def test_every_bound_is_of_a_setting_that_exists() -> None:
    known = {
        name
        for one in everything()
        for f in dataclasses.fields(one)
        for name in (f.name, f"{type(one).__name__}.{f.name}")
    }
    assert not set(bounds.BOUNDS) - known


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["gan", "--data", ""], "--data"),
        (["", "--data", "digits"], "RECIPE"),
        (["gan", "--data", "digits", "--device", ""], "--device"),
        (["gan", "--data", "digits", "--precision", " "], "--precision"),
        (["gan", "--data", "ring8-M", "--steps", "3", "--set", "steps=4"], "--set steps"),
        (["gan", "--data", "ring8-M", "--set", "averages.0.player=nobody", "--steps", "2"], "nobody"),
    ],
)
def test_words_that_mean_nothing_are_refused(
    words: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", *words, "--out", str(tmp_path / "run")]) == 1
    assert named in capsys.readouterr().err and not (tmp_path / "run").exists()
