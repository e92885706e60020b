"""Schedules against their formulas, with numbers and with tensors for the time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from equilibria.base.errors import ConfigError
from equilibria.base.records import decode, encode
from equilibria.base.schedules import Bursts, Clock, Cosine, Decay, Linear, value_at
from equilibria.core.game import make_draw

TIMES = [0.0, 0.1, 0.25, 0.5, 0.8, 1.0]


def cosine(t: float, start: float, end: float, until: float) -> float:
    return end + (start - end) * math.cos(math.pi / 2 * min(t / until, 1.0)) ** 2  # (1 + cos 2x)/2 = cos² x


def linear(t: float, start: float, end: float, until: float) -> float:
    return end if t >= until else start * (1 - t / until) + end * t / until


def decay(t: float, start: float, end: float, until: float) -> float:
    x = min(t / until, 1.0)
    return math.exp((1 - x) * math.log(start) + x * math.log(end))


@pytest.mark.parametrize("until", [1.0, 0.5])
@pytest.mark.parametrize(("kind", "formula"), [(Cosine, cosine), (Linear, linear), (Decay, decay)])
@pytest.mark.parametrize("t", TIMES)
def test_a_schedule_is_its_formula_for_numbers_and_tensors(t: float, kind: Any, formula: Any, until: float) -> None:
    schedule = kind(start=2.0, end=0.5, until=until)
    wanted = formula(t, 2.0, 0.5, until)
    assert schedule(Clock(0, t)) == pytest.approx(wanted, rel=1e-12)
    draw = make_draw({"x": torch.zeros(1, dtype=torch.float64)}, seed=0, step=3, time=t)
    found = schedule(draw)
    assert isinstance(found, torch.Tensor) and found.dim() == 0
    assert float(found) == pytest.approx(wanted, rel=1e-12)


def test_bursts_are_long_at_the_start_and_now_and_then() -> None:
    turns = [Bursts(usual=5, burst=100, first=25, every=500)(Clock(step, 0.0)) for step in range(1001)]
    assert turns[:25] == [100] * 25 and [i for i, n in enumerate(turns) if n == 100][25:] == [500, 1000]
    assert set(turns) == {5, 100}


@pytest.mark.parametrize(("t", "wanted"), [(0.0, 2.0), (0.25, 2.0), (0.5, 2.0), (0.6, 1.5), (0.7, 1.0), (1.0, 1.0)])
def test_a_line_may_begin_late(t: float, wanted: float) -> None:
    schedule = Linear(start=2.0, end=1.0, after=0.5, until=0.7)
    assert schedule(Clock(0, t)) == pytest.approx(wanted, rel=1e-12)
    assert float(schedule(Clock(0, torch.tensor(t, dtype=torch.float64)))) == pytest.approx(wanted, rel=1e-12)
    with pytest.raises(ConfigError, match="after"):
        Linear(start=2.0, end=1.0, after=0.5, until=0.5)


def test_a_value_is_itself_or_what_its_schedule_says() -> None:
    assert value_at(0.3, None) == 0.3
    assert value_at(Linear(start=1.0, end=0.0), Clock(0, 0.25)) == 0.75


@pytest.mark.parametrize(
    "schedule", [Cosine(start=1.0, end=0.0), Linear(start=1.0, end=0.0), Decay(start=1.0, end=0.1), Bursts()]
)
def test_a_schedule_is_a_record(schedule: Any) -> None:
    assert decode(encode(schedule)) == schedule


def test_a_schedule_says_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="Cosine has no setting 'stop'"):
        decode({"type": "Cosine", "start": 1.0, "stop": 0.0})


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.0, 0.0), (1.0, -1.0)])
def test_a_decay_cannot_reach_zero(start: float, end: float) -> None:
    with pytest.raises(ConfigError, match="positive"):
        Decay(start=start, end=end)
