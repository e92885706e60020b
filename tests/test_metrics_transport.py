"""Wasserstein distances against POT, scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from equilibria.base.errors import ConfigError, DataError, ShapeError
from equilibria.metrics.transport import exact_w1, halves, line_w1, sliced_w1, two_sample_floor


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_exact_is_the_optimum_of_the_linear_programme(d: int) -> None:
    x, y = normal(60, d, 0), 2 * normal(60, d, 1) + 1
    cost = ot.dist(x.numpy(), y.numpy(), metric="euclidean")
    assert exact_w1(x, y) == pytest.approx(float(ot.emd2([], [], cost)), rel=1e-9)


@given(n=st.integers(1, 40), m=st.integers(1, 40), seed=st.integers(0, 999))
def test_line_is_scipys_distance_at_any_sizes(n: int, m: int, seed: int) -> None:
    x, y = normal(n, 1, seed), normal(m, 1, seed + 1) * 2 + 0.5
    ours = line_w1(x, y)
    assert ours == pytest.approx(scipy.stats.wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy()), abs=1e-12)
    assert ours == pytest.approx(line_w1(y, x), abs=1e-12)
    if n == m:
        assert ours == pytest.approx(exact_w1(x, y), abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 35)])
def test_sliced_is_pots_along_the_same_lines(n: int, m: int) -> None:
    x, y = normal(n, 4, 0), normal(m, 4, 1) + 0.3
    lines = torch.randn(4, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    theirs = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), projections=(lines / lines.norm(dim=0)).numpy(), p=1)
    assert sliced_w1(x, y, projections=32, seed=7) == pytest.approx(float(theirs), rel=1e-9)


@pytest.mark.parametrize("d", [2, 3, 10])
def test_a_translation_costs_its_length(d: int) -> None:
    x = normal(20, d, 0)
    shift = torch.zeros(d, dtype=torch.float64)
    shift[0] = 3.0
    assert exact_w1(x, x + shift) == pytest.approx(3.0)
    # E|u_1| on the sphere: Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2)).
    mean = math.gamma(d / 2) / (math.sqrt(math.pi) * math.gamma((d + 1) / 2))
    assert sliced_w1(x, x + shift, projections=20_000) == pytest.approx(3 * mean, rel=0.02)


def test_sliced_directions_follow_the_seed_alone() -> None:
    x, y = normal(50, 3, 0), normal(50, 3, 1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = sliced_w1(x, y, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    assert sliced_w1(x, y, seed=1) == first != sliced_w1(x, y, seed=2)


def test_floor_is_the_distance_of_fresh_samples() -> None:
    floor, spread = two_sample_floor(normal(400, 2, 0), exact_w1, repeats=10)
    fresh = [exact_w1(normal(200, 2, 10 + s), normal(200, 2, 100 + s)) for s in range(20)]
    assert 0.3 * np.std(fresh) < spread < 3 * np.std(fresh)
    # The splits of one pool share its rows: the scale is that of the fresh pairs, not of the mean over splits.
    assert floor == pytest.approx(np.mean(fresh), abs=4 * np.std(fresh))


def test_halves_are_disjoint() -> None:
    for a, b in halves(torch.arange(11), repeats=3, seed=0):
        assert len(a) == len(b) == 5 and not set(a.tolist()) & set(b.tolist())


def test_images_are_flattened() -> None:
    x, y = normal(10, 12, 0), normal(10, 12, 1)
    assert exact_w1(x.reshape(10, 3, 2, 2), y.reshape(10, 3, 2, 2)) == exact_w1(x, y)


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="same size"):
        exact_w1(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ShapeError, match="dimension"):
        sliced_w1(torch.zeros(3, 2), torch.zeros(3, 4))
    with pytest.raises(ShapeError, match="n³"):
        exact_w1(torch.zeros(5001, 1), torch.zeros(5001, 1))
    with pytest.raises(ShapeError, match="line"):
        line_w1(torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(DataError, match="1 of 2 samples"):
        exact_w1(torch.tensor([[0.0], [math.nan]]), torch.zeros(2, 1))
    with pytest.raises(ConfigError, match="projections"):
        sliced_w1(torch.zeros(3, 2), torch.zeros(3, 2), projections=0)
    with pytest.raises(ShapeError, match="split"):
        two_sample_floor(torch.zeros(1, 2), exact_w1)
