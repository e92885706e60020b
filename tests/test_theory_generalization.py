"""Finite samples: birthdays, floors, neural net distances, against scipy, sampling and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.spatial import cKDTree
from scipy.stats import binom
from torch import Tensor
from torch.nn.functional import logsigmoid

from equilibria.theory.divergences import js
from equilibria.theory.generalization import (
    ascend,
    birthday_batch,
    collision_bound,
    collision_probability,
    critic_value,
    fresh_distance,
    generalization_gap,
    kl_floor,
    neural_net_distance,
    sample_bound,
    support_from_batch,
)

F64 = torch.float64


def affine(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    return x @ parameters["w"] + parameters["b"]


def start(d: int) -> dict[str, Tensor]:
    return {"w": torch.zeros(d, dtype=F64), "b": torch.zeros((), dtype=F64)}


# The birthday test -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("support", "batch", "exact"), [(100, 12, 0.497), (10_000, 118, 0.500), (160_000, 471, 0.500)])
def test_the_printed_birthdays(support: int, batch: int, exact: float) -> None:
    assert round(collision_probability(batch, support), 3) == exact
    assert birthday_batch(support) == batch
    assert collision_bound(batch, support) <= collision_probability(batch, support)


def test_the_printed_bound() -> None:
    assert round(collision_bound(12, 100), 3) == 0.483


def test_repeats_counted() -> None:
    rng = np.random.default_rng(0)
    draws = np.sort(rng.integers(50, size=(20000, 9)), 1)
    seen = (np.diff(draws, axis=1) == 0).any(1).mean()
    assert collision_probability(9, 50) == pytest.approx(seen, abs=0.012)


@pytest.mark.parametrize("mass", [0.05, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("support", [1, 40, 500])
def test_the_bound_holds_for_part_of_the_mass(mass: float, support: int) -> None:
    """``mass`` on some atoms, the rest on so many that they never repeat: exact by conditioning on the number there."""
    for batch in (2, 14, 60):
        exact = sum(binom.pmf(k, batch, mass) * collision_probability(k, support) for k in range(1, batch + 1))
        assert 0 < collision_bound(batch, support, mass) <= exact + 1e-12


def test_the_printed_bound_for_part_of_the_mass_is_too_large() -> None:
    """One atom of mass 1/2, two draws: they agree with probability 1/4; Arora & Zhang's Theorem 1 claims .393."""
    rng = np.random.default_rng(0)
    agree = (rng.random((40_000, 2)) < 0.5).all(1).mean()
    printed = 1 - math.exp(-(2**2 - 2) * 0.5 / 2)
    assert agree == pytest.approx(0.25, abs=0.01) and round(printed, 3) == 0.393
    assert collision_bound(2, 1, mass=0.5) <= 0.25 < printed


def test_batches_and_supports() -> None:
    assert collision_probability(41, 40) == 1.0 and support_from_batch(400) == 160_000
    assert birthday_batch(365) == 23


# Floors and distances ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("modes", "samples"), [(1, 10), (8, 2500), (25, 2500), (1000, 26_000), (30, 7)])
def test_the_floor_of_the_kl(modes: int, samples: int) -> None:
    n = np.arange(1, samples + 1)
    wanted = modes * (binom.pmf(n, samples, 1 / modes) * n / samples * np.log(n * modes / samples)).sum()
    assert kl_floor(modes, samples) == pytest.approx(wanted, abs=1e-10)


def test_the_printed_floors() -> None:
    assert round(kl_floor(1000, 26_000), 4) == 0.0193 and round(kl_floor(8, 2500), 4) == 0.0014
    rng = np.random.default_rng(0)
    counts = rng.multinomial(26_000, np.full(1000, 1e-3), size=200) / 26_000
    drawn = np.where(counts > 0, counts * np.log(np.maximum(counts, 1e-9) * 1000), 0).sum(1)
    assert kl_floor(1000, 26_000) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / math.sqrt(200))
    assert round(drawn.std(), 4) == pytest.approx(0.0009, abs=1.01e-4)


@pytest.mark.parametrize(("d", "printed"), [(2, 0.055), (50, 1.02), (400, 1.27)])
def test_a_fresh_point_is_far_from_every_sample(d: int, printed: float) -> None:
    found = fresh_distance(d, 1000, 1000, torch.Generator().manual_seed(0))
    assert found == pytest.approx(printed, rel=0.02)
    rng = np.random.default_rng(1)
    tree = cKDTree(rng.normal(size=(1000, d)) / math.sqrt(d))
    assert found == pytest.approx(tree.query(rng.normal(size=(200, d)) / math.sqrt(d))[0].mean(), rel=0.08)


# Neural net distance -----------------------------------------------------------------------------------------------


def test_an_affine_critic_reaches_its_supremum() -> None:
    real, fake = torch.randn(60, 2, dtype=F64), torch.randn(60, 2, dtype=F64) + torch.tensor([0.8, -0.3])

    def loss(w: np.ndarray) -> float:
        up, down = real.numpy() @ w[:2] + w[2], fake.numpy() @ w[:2] + w[2]
        return float(np.logaddexp(0, -up).mean() + np.logaddexp(0, down).mean())

    wanted = 2 * math.log(2) - minimize(loss, np.zeros(3), tol=1e-12).fun
    found = neural_net_distance(affine, start(2), (real, fake), steps=500, rate=0.05)
    assert found.distance == pytest.approx(wanted, abs=1e-6)


def test_the_unrestricted_logarithmic_distance_is_twice_the_jsd() -> None:
    """A critic with one free logit per atom, on laws of rational weights."""
    counts = torch.tensor([[1, 2, 5], [4, 3, 1]])
    real, fake = (torch.repeat_interleave(torch.arange(3), c) for c in counts)
    found = neural_net_distance(
        lambda p, i: p["h"][i], {"h": torch.zeros(3, dtype=F64)}, (real, fake), steps=600, rate=0.1
    )
    assert found.distance == pytest.approx(2 * float(js(*(counts.double() / 8))), abs=1e-7)


def test_the_linear_measure_gives_total_variation() -> None:
    real, fake = torch.tensor([0, 0, 1]), torch.tensor([1, 1, 0])
    critic = {"h": torch.zeros(2, dtype=F64)}
    found = neural_net_distance(lambda p, i: p["h"][i], critic, (real, fake), torch.sigmoid, steps=400, rate=0.5)
    assert found.distance == pytest.approx(1 / 3, abs=1e-3) and found.distance <= 1 / 3


def test_undecided_critics_see_nothing() -> None:
    for measure in (logsigmoid, torch.sigmoid, lambda h: h):
        assert critic_value(torch.zeros(4), torch.zeros(7), measure) == 0


def test_the_gap_closes_with_the_sample() -> None:
    """Two samples of one law: what the critic sees is in the samples, about p/n of it."""
    draw = torch.Generator().manual_seed(0)
    gaps = []
    for n in (20, 200, 2000):
        four = [torch.randn(n, 6, generator=draw, dtype=F64) for _ in range(4)]
        found = generalization_gap(affine, start(6), (four[0], four[1]), (four[2], four[3]), steps=300, rate=0.05)
        assert found.train > 0 > found.held_out and found.gap == found.train - found.held_out
        gaps.append(found.gap)
    assert gaps[0] > 4 * gaps[1] > 16 * gaps[2]


def test_a_restricted_critic_generalises_where_transport_does_not() -> None:
    """E64: empirical copies of one law stay apart in W1, where for an affine critic they are next to 0."""
    draw = torch.Generator().manual_seed(0)
    assert fresh_distance(100, 200, 200, draw) > 1.0
    x, y = (torch.randn(2000, 100, generator=draw, dtype=F64) / 10 for _ in range(2))
    assert neural_net_distance(affine, start(100), (x, y), steps=200, rate=0.02).distance < 0.05


def test_the_sample_bound_in_numbers() -> None:
    found = sample_bound(1000, 0.05, 2.0, 3.0, 1.5, constant=0.7)
    assert found == pytest.approx(0.7 * 1000 * 4 * math.log(3 * 1.5 * 1000 / 0.05) / 0.0025)


def test_the_search_keeps_the_best_point_and_changes_nothing_given() -> None:
    at = {"x": torch.tensor(3.0, dtype=F64)}
    found = ascend(lambda p: -p["x"].square(), at, steps=1, rate=100.0)
    assert found["x"] == 3.0 and at["x"] == 3.0 and not at["x"].requires_grad


def test_wrong_calls_say_what_is_wanted() -> None:
    with pytest.raises(ValueError, match="both counts"):
        collision_probability(0, 10)
    with pytest.raises(ValueError, match="mass 0 "):
        collision_bound(3, 10, 0)
    with pytest.raises(ValueError, match=r"probability 1\.0"):
        birthday_batch(10, 1.0)
    with pytest.raises(ValueError, match="all must be >= 1"):
        fresh_distance(0, 1, 1, torch.Generator())
    with pytest.raises(ValueError, match="must all be > 0"):
        sample_bound(10, 0.0, 1, 1, 1)
    with pytest.raises(ValueError, match="no parameters"):
        ascend(lambda p: torch.zeros(()), {}, 1, 0.1)
    with pytest.raises(ValueError, match="nan at the start"):
        ascend(lambda p: p["x"] * math.nan, {"x": torch.zeros(())}, 1, 0.1)
