"""The f-GAN table and the divergences against scipy, POT, quadrature, and the definition of a conjugate."""

from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from equilibria.theory import divergences as dv

NAMES = tuple(dv.F_DIVERGENCES)
U = torch.tensor([0.03, 0.2, 0.7, 1.0, 1.4, 3.0, 20.0], dtype=torch.float64)
V = torch.linspace(-3, 3, 13, dtype=torch.float64)

# Written again from Nowozin et al. 2016 (Tables 1, 2 and 6), so that a slip in the table cannot hide.
F = {
    "kl": lambda u: u * np.log(u),
    "reverse-kl": lambda u: -np.log(u),
    "pearson": lambda u: (u - 1) ** 2,
    "neyman": lambda u: (1 - u) ** 2 / u,
    "squared-hellinger": lambda u: (np.sqrt(u) - 1) ** 2,
    "jeffreys": lambda u: (u - 1) * np.log(u),
    "js": lambda u: -(u + 1) * np.log((1 + u) / 2) + u * np.log(u),
    "gan": lambda u: u * np.log(u) - (u + 1) * np.log(u + 1),
}


def laws(seed: int, k: int = 7) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k))
    return torch.from_numpy(p), torch.from_numpy(q)


@pytest.mark.parametrize("name", NAMES)
def test_f_is_the_papers(name: str) -> None:
    np.testing.assert_allclose(dv.F_DIVERGENCES[name].f(U).numpy(), F[name](U.numpy()), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_slope_is_the_derivative_of_f(name: str) -> None:
    row, h = dv.F_DIVERGENCES[name], 1e-6
    finite = (F[name](U.numpy() + h) - F[name](U.numpy() - h)) / (2 * h)
    np.testing.assert_allclose(row.slope(U).numpy(), finite, rtol=1e-5, atol=1e-7)
    assert row.slope(torch.ones(1, dtype=torch.float64)).item() == pytest.approx(row.threshold, abs=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_conjugate_is_the_supremum(name: str) -> None:
    row = dv.F_DIVERGENCES[name]
    for t in row.slope(U).tolist():
        found = scipy.optimize.minimize_scalar(
            lambda log_u, t=t: F[name](np.exp(log_u)) - t * np.exp(log_u),
            bounds=(-8, 8),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert row.conjugate(torch.tensor(t, dtype=torch.float64)).item() == pytest.approx(
            -found.fun, rel=1e-8, abs=1e-9
        )


@pytest.mark.parametrize("name", NAMES)
def test_output_map_is_increasing_and_its_composition_agrees(name: str) -> None:
    row = dv.F_DIVERGENCES[name]
    t = row.output_map(V)
    assert bool((t.diff() > 0).all())
    torch.testing.assert_close(row.conjugate_output(V), row.conjugate(t), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_optimal_score_maps_to_the_slope(name: str) -> None:
    row = dv.F_DIVERGENCES[name]
    torch.testing.assert_close(row.output_map(row.optimal_score(U.log())), row.slope(U), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_variational_bound_is_tight_and_never_exceeded(name: str, seed: int) -> None:
    row = dv.F_DIVERGENCES[name]
    p, q = laws(seed)

    def bound(v: Tensor) -> Tensor:
        return (p * row.output_map(v) - q * row.conjugate_output(v)).sum(-1)

    value = float((q.numpy() * F[name](p.numpy() / q.numpy())).sum())
    best = row.optimal_score((p / q).log())
    assert dv.f_divergence(name, p, q).item() == pytest.approx(value, rel=1e-12, abs=1e-13)
    assert bound(best).item() == pytest.approx(value, rel=1e-10)
    nearby = best + torch.randn(200, len(p), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 0.3
    assert bool((bound(nearby) <= value + 1e-12).all())


@pytest.mark.parametrize(("name", "value"), [("js", 2 * math.log(2)), ("gan", 0.0), ("squared-hellinger", 2.0)])
def test_disjoint_supports_finite_rows(name: str, value: float) -> None:
    p, q = torch.tensor([0.4, 0.6, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, 0.0])
    assert dv.f_divergence(name, p, q).item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", ["kl", "reverse-kl", "pearson", "neyman", "jeffreys"])
def test_disjoint_supports_infinite_rows(name: str) -> None:
    p, q = torch.tensor([0.4, 0.6, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, 0.0])
    assert dv.f_divergence(name, p, q).item() == math.inf


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_against_scipy(seed: int) -> None:
    p, q = laws(seed)
    assert dv.kl(p, q).item() == pytest.approx(scipy.stats.entropy(p, q), rel=1e-10)
    distance = scipy.spatial.distance.jensenshannon(p, q)
    assert dv.js(p, q).item() == pytest.approx(distance**2, rel=1e-9)
    assert 0 <= dv.js(p, q).item() <= math.log(2)
    assert dv.js(p, q).item() == pytest.approx(dv.js(q, p).item(), rel=1e-12)
    assert dv.total_variation(p, q).item() == pytest.approx(0.5 * np.abs(p.numpy() - q.numpy()).sum(), rel=1e-12)
    assert dv.chi2(p, q).item() == pytest.approx(scipy.stats.chisquare(p, q).statistic, rel=1e-9)


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_wasserstein_against_a_transport_solver(order: float, seed: int) -> None:
    p, q = laws(seed)
    points = torch.from_numpy(np.random.default_rng(seed + 50).normal(size=len(p)))
    cost = np.abs(points.numpy()[:, None] - points.numpy()[None]) ** order
    exact = ot.emd2(p.numpy(), q.numpy(), cost) ** (1 / order)
    assert dv.wasserstein_1d(p, q, points, order).item() == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("shift", [-2.0, 0.0, 1e-3, 5.0])
def test_parallel_lines(shift: float) -> None:
    """Arjovsky et al. 2017, Example 1: only the Wasserstein distance is continuous in the shift."""
    points = torch.tensor([0.0, shift])
    p = torch.tensor([1.0, 0.0])
    q = torch.tensor([0.0, 1.0]) if shift else p
    assert dv.wasserstein_1d(p, q, points).item() == pytest.approx(abs(shift))
    expected = (math.log(2), 1.0, math.inf) if shift else (0.0, 0.0, 0.0)
    found = (dv.js(p, q).item(), dv.total_variation(p, q).item(), dv.kl(p, q).item())
    assert found == pytest.approx(expected)


def test_densities_by_quadrature_match_closed_forms_of_gaussians() -> None:
    x = torch.linspace(-20, 20, 20_001, dtype=torch.float64)
    weights = torch.full_like(x, (x[1] - x[0]).item())
    p, q = (torch.exp(-((x - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (0.0, 1.3))
    d = 1.3**2
    closed = {"kl": d / 2, "reverse-kl": d / 2, "jeffreys": d, "pearson": math.expm1(d), "neyman": math.expm1(d)}
    closed["squared-hellinger"] = 2 - 2 * math.exp(-d / 8)
    for name, value in closed.items():
        assert dv.f_divergence(name, p, q, weights).item() == pytest.approx(value, rel=1e-9), name
    assert dv.total_variation(p, q, weights).item() == pytest.approx(2 * scipy.stats.norm.cdf(0.65) - 1, rel=1e-6)


def test_laws_batch_over_leading_axes() -> None:
    rows = [laws(seed) for seed in range(3)]
    p, q = (torch.stack([row[i] for row in rows]) for i in (0, 1))
    torch.testing.assert_close(dv.js(p, q), torch.stack([dv.js(*row) for row in rows]))


def test_energy_value_is_the_minimum_over_energies() -> None:
    """EBGAN's discriminator loss is piecewise linear in each energy: its minimum lies at 0 or at the margin."""
    p, q = laws(3)
    margin = 1.7
    pointwise = np.minimum(q.numpy() * margin, p.numpy() * margin)
    assert dv.energy_value(p, q, margin).item() == pytest.approx(pointwise.sum(), rel=1e-12)
    energies = np.linspace(0, 3, 301)
    brute = sum(
        (a * energies + b * np.maximum(margin - energies, 0)).min() for a, b in zip(p.numpy(), q.numpy(), strict=True)
    )
    assert dv.energy_value(p, q, margin).item() == pytest.approx(float(brute), abs=1e-12)


@pytest.mark.parametrize("y", [-700.0, -30.0, -1.0, 0.0, 0.5, 0.9999, 1.0, 1.0001, 2.0, 40.0, 1e4])
def test_lambert_w_against_scipy(y: float) -> None:
    omega = scipy.special.wrightomega(y)
    u = dv.log_lambert_w_exp(torch.tensor(y, dtype=torch.float64))
    assert u.item() == pytest.approx(math.log(omega), rel=1e-14, abs=1e-14)


def test_lambert_w_has_the_derivatives_of_the_root() -> None:
    y = torch.linspace(-5, 8, 27, dtype=torch.float64, requires_grad=True)
    u = dv.log_lambert_w_exp(y)
    (first,) = torch.autograd.grad(u.sum(), y, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), y, create_graph=True)
    omega = u.exp().detach()
    torch.testing.assert_close(first.detach(), 1 / (1 + omega), rtol=1e-12, atol=0)
    torch.testing.assert_close(second.detach(), -omega / (1 + omega) ** 3, rtol=1e-9, atol=1e-14)


def test_softplus_is_exact_where_torchs_is_not() -> None:
    t = torch.tensor([-800.0, -30.0, 0.0, 25.0, 800.0], dtype=torch.float64, requires_grad=True)
    np.testing.assert_allclose(dv.softplus(t).detach().numpy(), np.logaddexp(0, t.detach().numpy()), rtol=1e-15)
    (slope,) = torch.autograd.grad(dv.softplus(t).sum(), t)
    np.testing.assert_allclose(slope.numpy(), scipy.special.expit(t.detach().numpy()), rtol=1e-12)


@pytest.mark.parametrize("prior", [0.5, 0.2])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.9, 0.0), (0.9, 0.1), (1.0, 0.3)])
def test_optimal_logit_formula(alpha: float, beta: float, prior: float) -> None:
    p, q = laws(5)
    share = prior * p / (prior * p + (1 - prior) * q)
    found = dv.optimal_logit((p / q).log(), alpha, beta, prior)
    torch.testing.assert_close(found.sigmoid(), alpha * share + beta * (1 - share), rtol=1e-12, atol=1e-15)


def test_optimal_logit_at_extreme_ratios() -> None:
    r = torch.tensor([-torch.inf, -1e4, 1e4, torch.inf], dtype=torch.float64)
    torch.testing.assert_close(dv.optimal_logit(r), r)
    smoothed = dv.optimal_logit(r, 0.9, 0.2).sigmoid()
    torch.testing.assert_close(smoothed, torch.tensor([0.2, 0.2, 0.9, 0.9], dtype=torch.float64))


def test_divergences_differentiate_through_empty_atoms() -> None:
    p = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    q = torch.tensor([0.25, 0.75, 0.0], dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(dv.kl(p, q), q)
    torch.testing.assert_close(grad, torch.tensor([-2.0, -2 / 3, 0.0], dtype=torch.float64))


HALF = torch.tensor([0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: dv.f_divergence("hellinger", HALF, HALF), "unknown f-divergence 'hellinger'"),
        (lambda: dv.kl(HALF, torch.ones(3) / 3), "want floats of one shape"),
        (lambda: dv.kl(torch.tensor([1, 0]), torch.tensor([1, 0])), "want floats"),
        (lambda: dv.js(HALF, torch.tensor([-0.5, 1.5])), "q has an entry that is not >= 0"),
        (lambda: dv.js(HALF, torch.tensor([torch.nan, 1.0])), "q has an entry that is not >= 0"),
        (lambda: dv.total_variation(2 * HALF, HALF), "p sums to 2, not 1"),
        (lambda: dv.wasserstein_1d(HALF, HALF, torch.zeros(3)), "want"),
        (lambda: dv.wasserstein_1d(HALF, HALF, torch.zeros(2), order=0.5), ">= 1"),
        (lambda: dv.optimal_logit(HALF, prior=1.0), "the prior 1.0"),
    ],
)
def test_mistakes_are_named(call, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", r"\(").replace(")", r"\)")):
        call()
