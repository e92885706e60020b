"""What rules read of a history is computed in one pass; at each check-up a number is that of its definition."""

from __future__ import annotations

import math
import random
import statistics
import time
from itertools import pairwise

import pytest
import torch
from torch import nn

from equilibria.doctor import Doctor
from equilibria.doctor.chart import Checkup
from equilibria.doctor.conclude import conclude
from equilibria.doctor.conditions import View
from equilibria.doctor.conditions.history import History

NAMES = ("samples/distance", "wiring/gain", "motion/generator", "motion/discriminator", "scores/auc")


def number(draw: random.Random) -> float:
    return draw.choice([draw.uniform(-1, 1), draw.uniform(-1, 1), 0.25, 0.0, math.nan, math.inf, -math.inf])


def checkups(seed: int, count: int, back: bool = False) -> list[Checkup]:
    draw, step, made = random.Random(seed), 0, []
    for _ in range(count):
        step += draw.choice([0, 1, 7, 40]) - (9 if back and draw.random() < 0.3 else 0)
        made.append(Checkup(step, {name: number(draw) for name in NAMES if draw.random() < 0.9}))
    return made


def same(a: float, b: float) -> bool:
    return a == b or (a != a and b != b)


def middle(values: list[float]) -> float:
    kept = [v for v in values if math.isfinite(v)]
    return statistics.median(kept) if kept else math.nan


def stalled(rows: list[Checkup]) -> bool:
    """The definition: the distance has not fallen by a fifth over the last third of the steps."""
    now, distance = rows[-1].step, [row["samples/distance"] for row in rows]
    late = [d for row, d in zip(rows, distance, strict=True) if row.step > 0.67 * now]
    earlier = [d for row, d in zip(rows, distance, strict=True) if 0.25 * now < row.step <= 0.67 * now]
    return len(rows) >= 8 and bool(late) and bool(earlier) and not middle(late) < 0.8 * middle(earlier)


@pytest.mark.parametrize("back", [False, True], ids=["steps grow", "steps go back"])
@pytest.mark.parametrize("seed", range(6))
def test_every_number_is_that_of_its_definition(seed: int, back: bool) -> None:
    rows = checkups(seed, 70, back)
    assert back == any(b.step < a.step for a, b in pairwise(rows))
    history = History(rows)
    for i in range(len(rows)):
        view, past = View(None, i, False, history), rows[: i + 1]  # type: ignore[arg-type]
        gain = [row["wiring/gain"] for row in past]
        finite = [v for v in gain if math.isfinite(v)]
        assert view.stalled == stalled(past)
        assert view.update_exploded == any(
            row[f"motion/{p}"] > 0.3 for row in past for p in ("generator", "discriminator")
        )
        assert same(view.median_so_far("wiring/gain"), middle(gain))
        assert same(view.median("wiring/gain", 5), middle(gain[-5:]))
        assert not finite or history.finite("wiring/gain").highest[len(finite) - 1] == max(finite)
        size = math.fsum(map(abs, finite))
        if abs(size - 0.1) > 1e-9:
            wanted = math.fsum(finite) / size if size >= 0.1 else math.nan
            assert view.balance("wiring/gain", 0.1) == pytest.approx(wanted, abs=1e-12, nan_ok=True)
        wanted = math.fsum(finite) / len(finite) if finite else math.nan
        assert view.mean_so_far("wiring/gain") == pytest.approx(wanted, abs=1e-12, nan_ok=True)
        ranked = [v for v in (row["scores/auc"] for row in past) if v == v]
        assert history.share_above("scores/auc", 0.2)[i] == (sum(v > 0.2 for v in ranked), len(ranked))
        assert same(history.lowest("wiring/gain")[i], min(gain)) and same(history.highest("wiring/gain")[i], max(gain))


def test_a_diagnosis_is_linear_in_its_history() -> None:
    torch.manual_seed(0)
    doctor = Doctor(nn.Linear(2, 2), nn.Linear(2, 1), real=torch.randn(64, 2), latent=2)
    first = doctor.look(1)
    draw = random.Random(0)

    def seconds(count: int) -> float:
        doctor.chart.checkups[:] = [
            Checkup(5 * i, {name: value * draw.uniform(0.5, 2) for name, value in first.vitals.items()}, first.arrays)
            for i in range(count)
        ]
        begun = time.process_time()
        conclude(doctor.chart)
        return time.process_time() - begun

    short, long = (min(seconds(count) for _ in range(3)) for count in (150, 1200))
    assert long < 24 * short, "eight times the history; a quadratic diagnosis takes 64 times as long"
