"""`python -m benchmarks.quality_time`: what is timed, what is scored, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from benchmarks import Plan
from benchmarks.quality_time import CONTESTANTS, MARKS, Contestant, Scorer, chosen, compared, curves, picture, summary

from equilibria.base.errors import ConfigError
from equilibria.data import load


class Paced:
    """A side whose round takes a hundredth of a second, and whose samples are held-out rows or noise."""

    def __init__(self, real: bool, horizon: int) -> None:
        self.real, self.horizon, self.asked = real, horizon, list[int]()

    def advance(self, rounds: int) -> float:
        self.asked.append(rounds)
        return rounds * 0.01

    def samples(self, labels: torch.Tensor) -> torch.Tensor:
        data = load("digits")
        rows = data.take(int(data.held_out_size or 0), held_out=True)
        if not self.real:
            return torch.rand(len(labels), 1, 8, 8) * 2 - 1
        return torch.stack([rows["x"][rows["y"] == label][0] for label in labels])


def contestant(name: str, real: bool, made: list[Paced], share: float = 1.0) -> Contestant:
    @contextmanager
    def side(data: Any, plan: Plan, seed: int, horizon: int) -> Iterator[Paced]:
        made.append(Paced(real, horizon))
        yield made[-1]

    return Contestant(name, side, conditional=True, share=share)


def test_a_budget_is_spent_in_rounds_of_the_measured_length_and_scored_at_each_mark() -> None:
    made: list[Paced] = []
    lines: list[str] = []
    field = (contestant("real", True, made), contestant("noise", False, made, share=0.5))
    rows, pictures = compared(field, "digits", 10.0, Plan(), 2, lines.append, n=60)
    assert [(row["name"], row["seed"], row["rounds"]) for row in rows] == [
        ("real", 0, 1000),
        ("noise, 0.5 of the time", 0, 500),
        ("real", 1, 1000),
        ("noise, 0.5 of the time", 1, 500),
    ]
    assert [side.horizon for side in made[2:]] == [1000, 500] * 2
    assert all(sum(side.asked) == side.horizon for side in made[2:])
    assert [round(mark["seconds"], 2) for mark in rows[0]["marks"]] == [round(10 * share, 2) for share in MARKS]
    last = {row["name"]: row["marks"][-1] for row in rows}
    assert last["real"]["agreement"] > 0.9 > 0.5 > last["noise, 0.5 of the time"]["agreement"]
    assert last["real"]["distance"] < last["noise, 0.5 of the time"]["distance"]
    assert len(lines) == 4 * len(MARKS) and len(pictures) == 2 * len(MARKS)
    told = summary(rows)
    assert [row["seeds"] for row in told] == [2, 2] and told[0]["seconds"] == pytest.approx(10.0)
    assert len(curves(rows).axes[0].lines) == 3
    assert picture(pictures, [row["name"] for row in told]).height > 2 * len(MARKS) * 28


def test_each_of_ours_has_a_side_that_trains_and_is_sampled() -> None:
    data = load("digits")
    for one in CONTESTANTS:
        if "PyTorch-GAN" in one.name or one.share != 1.0 or "dcgan" in one.name.lower():
            continue
        with one.side(data, Plan(), 0, 4) as side:
            assert side.advance(2) > 0
            assert side.samples(torch.arange(6)).shape == (6, 1, 8, 8)


def test_the_floor_is_between_two_halves_of_the_held_out_rows() -> None:
    scorer = Scorer.of(load("digits"), 100)
    assert len(scorer.real) == 100 and scorer.floor > 0


def test_scripts_take_part_only_where_they_are(tmp_path: Any) -> None:
    assert not [one for one in chosen([], Plan()) if "PyTorch-GAN" in one.name]
    assert chosen([], Plan(peers=tmp_path)) == CONTESTANTS
    with pytest.raises(ConfigError, match="r3gan"):
        chosen(["r3gann"], Plan())
