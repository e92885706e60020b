"""Wasserstein facts, against closed forms, POT, scipy and finite differences."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import ot
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from equilibria.theory.divergences import js, kl, total_variation
from equilibria.theory.transport import assignment, costs, exact_plan, line_potential, parallel_lines, sinkhorn, sliced

F64 = torch.float64


def laws(n: int, m: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    cost = ot.dist(rng.normal(size=(n, 2)), rng.normal(size=(m, 2)), metric="euclidean")
    return torch.tensor(rng.dirichlet(np.ones(n))), torch.tensor(rng.dirichlet(np.ones(m))), torch.tensor(cost)


# Parallel lines ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theta", [-0.5, 0.0, 0.01, 2.0])
def test_distances_of_parallel_lines(theta: float) -> None:
    """The same laws as atoms of the plane: lines on a fine grid, sorted by place."""
    n = 40
    u = torch.arange(n, dtype=F64) / n
    real = torch.stack([torch.zeros_like(u), u], 1)
    fake = torch.stack([torch.full_like(u, theta), u], 1)
    places = torch.unique(torch.cat([real, fake]), dim=0)
    p, q = ((costs(places, law) == 0).double().sum(1) / n for law in (real, fake))
    found = parallel_lines(theta)
    assert float(assignment(real, fake).cost) == pytest.approx(found.w1, abs=1e-12)
    divergences = [float(d(p, q)) for d in (js, kl, total_variation)]
    assert divergences == pytest.approx([found.js, found.kl, found.total_variation], abs=1e-12)
    assert float(kl(q, p)) == found.reverse_kl


def test_the_slope_in_theta_is_its_sign() -> None:
    u = torch.rand(30, dtype=F64)
    for theta in (-0.3, 0.7):
        at = torch.tensor(theta, dtype=F64, requires_grad=True)
        fake = torch.stack([at.expand(30), u], 1)
        (slope,) = torch.autograd.grad(assignment(torch.stack([torch.zeros_like(u), u], 1), fake).cost, at)
        assert float(slope) == pytest.approx(math.copysign(1, theta))


# Exact transport ---------------------------------------------------------------------------------------------------


def test_assignment_is_the_best_permutation() -> None:
    x, y = torch.randn(6, 3, dtype=F64), torch.randn(6, 3, dtype=F64)
    for order in (1.0, 2.0):
        cost = np.linalg.norm(x.numpy()[:, None] - y.numpy(), axis=-1) ** order
        best = min(permutations(range(6)), key=lambda p: cost[range(6), p].sum())
        found = assignment(x, y, order)
        assert found.partner.tolist() == list(best)
        assert float(found.cost) == pytest.approx(cost[range(6), best].mean())


def test_slopes_of_the_assignment() -> None:
    x, y = torch.randn(5, 2, dtype=F64, requires_grad=True), torch.randn(5, 2, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: assignment(a, b).cost, (x, y))


def test_coinciding_points_have_no_slope() -> None:
    x = torch.zeros(2, 2, dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(costs(x, torch.zeros(2, 2, dtype=F64)).sum(), x)
    assert slope.tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(("n", "m"), [(1, 4), (7, 7), (12, 5)])
def test_plans_and_duals(n: int, m: int) -> None:
    p, q, cost = laws(n, m)
    found = exact_plan(p, q, cost)
    assert float(found.cost) == pytest.approx(ot.emd2(p.numpy(), q.numpy(), cost.numpy()), abs=1e-12)
    assert found.plan.sum(1).numpy() == pytest.approx(p.numpy()) and found.plan.sum(0).numpy() == pytest.approx(
        q.numpy()
    )
    assert float(p @ found.source + q @ found.target) == pytest.approx(float(found.cost), abs=1e-9)
    assert float((found.source[:, None] + found.target - cost).max()) < 1e-9


def test_the_slope_of_transport_is_that_of_its_critic() -> None:
    """∇θ W = -E ∇θ f*(g): on the line, with f* from the dual, against differences of scipy's distance."""
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=9), rng.normal(size=9) + 0.4
    h = 1e-6
    wanted = (wasserstein_distance(x, z + h) - wasserstein_distance(x, z - h)) / (2 * h)
    places = torch.tensor(np.concatenate([x, z]))
    p, q = (
        torch.cat([torch.ones(9), torch.zeros(9)]).double() / 9,
        torch.cat([torch.zeros(9), torch.ones(9)]).double() / 9,
    )
    f = line_potential(p, q, places).numpy()
    order = np.argsort(places.numpy())
    at = {place: i for i, place in enumerate(places.numpy()[order])}
    slopes = np.diff(f[order]) / np.diff(places.numpy()[order])
    # An atom feels the potential on the side from which its mass comes; matched by rank, that is the sign of its move.
    moves = np.sign(np.sort(x) - np.sort(z))
    felt = [slopes[at[v] if move > 0 else at[v] - 1] for v, move in zip(np.sort(z), moves, strict=True)]
    assert -np.mean(felt) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_critic_on_the_line_attains_w1(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, p, q = rng.normal(size=8), rng.dirichlet(np.ones(8)), rng.dirichlet(np.ones(8))
    f = line_potential(torch.tensor(p), torch.tensor(q), torch.tensor(points)).numpy()
    assert (p - q) @ f == pytest.approx(wasserstein_distance(points, points, p, q), abs=1e-12)
    lipschitz = np.abs(f[:, None] - f) - np.abs(points[:, None] - points)
    assert lipschitz.max() < 1e-12
    cost = torch.tensor(np.abs(points[:, None] - points))
    assert float(exact_plan(torch.tensor(p), torch.tensor(q), cost).cost) == pytest.approx((p - q) @ f, abs=1e-10)


# Sliced and entropic -----------------------------------------------------------------------------------------------


def test_sliced_distances() -> None:
    x, y, directions = torch.randn(20, 3), torch.randn(20, 3) + 1, torch.randn(3, 7)
    wanted = np.mean([wasserstein_distance(x @ u / u.norm(), y @ u / u.norm()) for u in directions.T])
    assert float(sliced(x, y, directions)) == pytest.approx(wanted, rel=1e-5)
    flat = x.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: sliced(a, y.double(), directions.double(), 2.0), (flat,))


@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_entropic_transport(epsilon: float) -> None:
    p, q, cost = laws(6, 9)
    found = sinkhorn(p, q, cost, epsilon)
    plan = ot.sinkhorn(
        p.numpy(), q.numpy(), cost.numpy(), epsilon, method="sinkhorn_log", numItermax=20000, stopThr=1e-12
    )
    assert found.plan.numpy() == pytest.approx(plan, abs=1e-8)
    product = np.outer(p, q)
    assert float(found.cost) == pytest.approx(
        (plan * cost.numpy()).sum() + epsilon * (plan * np.log(plan / product)).sum()
    )
    assert float(p @ found.source + q @ found.target) == pytest.approx(float(found.cost), abs=1e-8)


def test_entropic_transport_tends_to_the_exact_one() -> None:
    p, q, cost = laws(6, 9)
    exact = float(exact_plan(p, q, cost).cost)
    excess = [float(sinkhorn(p, q, cost, e, rounds=50000, tolerance=1e-7).cost) - exact for e in (0.3, 0.1, 0.03, 0.01)]
    assert excess == sorted(excess, reverse=True) and 0 < excess[-1] < 0.05


def test_the_slope_of_the_entropic_cost_is_its_plan() -> None:
    p, q, cost = laws(4, 3)
    free = cost.clone().requires_grad_()
    found = sinkhorn(p, q, free, 0.3)
    (slope,) = torch.autograd.grad(found.cost, free)
    h, i, j = 1e-5, 2, 1
    bump = torch.zeros_like(cost)
    bump[i, j] = h
    wanted = (sinkhorn(p, q, cost + bump, 0.3).cost - sinkhorn(p, q, cost - bump, 0.3).cost) / (2 * h)
    assert torch.allclose(slope, found.plan) and float(slope[i, j]) == pytest.approx(float(wanted), abs=1e-6)


def test_it_stays_finite_where_kernels_underflow() -> None:
    cost = 1e4 * (1 - torch.eye(3, dtype=F64))
    third = torch.full((3,), 1 / 3, dtype=F64)
    assert float(sinkhorn(third, third, cost, 0.1).cost) == pytest.approx(0.1 * math.log(3), rel=1e-6)


def test_wrong_calls_say_what_is_wanted() -> None:
    p, q, cost = laws(3, 2)
    with pytest.raises(ValueError, match=r"p .* is not a law"):
        exact_plan(2 * p, q, cost)
    with pytest.raises(ValueError, match=r"want \(3, 2\)"):
        exact_plan(p, q, cost.T)
    with pytest.raises(ValueError, match="entries that are not finite"):
        exact_plan(p, q, cost / 0)
    with pytest.raises(ValueError, match=r"2 points to 3.*exact_plan"):
        assignment(torch.zeros(2, 1), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="order 0"):
        costs(torch.zeros(2, 1), torch.zeros(3, 1), 0)
    with pytest.raises(ValueError, match="directions"):
        sliced(torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="raise epsilon"):
        sinkhorn(p, q, cost, 1e-4, rounds=2)
    with pytest.raises(ValueError, match="positive laws"):
        sinkhorn(p, q, cost, 0.0)
    with pytest.raises(ValueError, match=r"all must be \(k,\)"):
        line_potential(p, q, p)
