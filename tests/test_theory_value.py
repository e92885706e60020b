"""The value and what maximises it against quadrature, brute force and trained discriminators (T1-T5, T27)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize
from torch import Tensor

from equilibria.losses import OBJECTIVES, Objective
from equilibria.theory import value as theory

GRID = torch.linspace(-12, 13.3, 4001, dtype=torch.float64)
STEP = torch.full_like(GRID, float(GRID[1] - GRID[0]))


def gaussian(x: Tensor, mean: float, std: float = 1.0) -> Tensor:
    return torch.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))


def laws(seed: int, k: int = 6) -> tuple[Tensor, Tensor]:
    source = np.random.default_rng(seed)
    p, q = (torch.from_numpy(source.dirichlet(np.ones(k))) for _ in "pq")
    return p, q


# T1, T5 ---------------------------------------------------------------------------------------------------------------


def test_the_value_in_logits_is_the_value_in_probabilities() -> None:
    h = np.random.default_rng(0).standard_normal((2, 50)) * 3
    d = 1 / (1 + np.exp(-h))
    wanted = np.log(d[0]).mean() + np.log(1 - d[1]).mean()
    real, fake = torch.from_numpy(h)
    assert theory.value(real, fake).item() == pytest.approx(wanted, abs=1e-12)
    assert theory.nagarajan_kolter_value(torch.nn.functional.logsigmoid, real, fake).item() == pytest.approx(wanted)
    assert theory.nagarajan_kolter_value(lambda t: t, real, fake).item() == pytest.approx(h[0].mean() - h[1].mean())


@pytest.mark.parametrize(("real", "fake", "wanted"), [(1e4, -1e4, 0.0), (-1e4, 1e4, -2e4), (1e4, 1e4, -1e4)])
def test_the_value_is_finite_in_its_tails(real: float, fake: float, wanted: float) -> None:
    assert theory.value(torch.tensor([real]), torch.tensor([fake])).item() == pytest.approx(wanted, abs=1e-6)


def test_the_literal_form_has_no_optimal_discriminator() -> None:
    """E1: p log D + q (1 - log D) at p = .1, q = .6 runs off to infinity; the right form is bounded by 0."""
    p, q = 0.1, 0.6
    literal = [p * math.log(d) + q * (1 - math.log(d)) for d in (1e-1, 1e-3, 1e-9)]
    assert [round(v, 2) for v in literal] == [1.75, 4.05, 10.96]
    h = torch.log(torch.tensor([1e-1, 1e-3, 1e-9])).reshape(3, 1).expand(3, 2)
    ours = theory.value_of_laws(h, torch.tensor([p, 1 - p]), torch.tensor([q, 1 - q]))
    assert float(ours.max()) < 0


def test_slopes_at_zero() -> None:
    assert theory.slopes_at_zero(torch.nn.functional.logsigmoid) == (0.5, -0.25)
    assert theory.slopes_at_zero(lambda t: -t.exp()) == (-1.0, -1.0)


# T2 -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "beta", "prior"), [(1.0, 0.0, 0.5), (0.9, 0.0, 0.5), (0.9, 0.1, 0.5), (1.0, 0.0, 0.2)]
)
@pytest.mark.parametrize(("p", "q"), [(0.3, 0.7), (0.05, 0.6), (1.2, 0.4)])
def test_the_optimal_discriminator_by_brute_force(alpha: float, beta: float, prior: float, p: float, q: float) -> None:
    d = np.linspace(1e-5, 1 - 1e-5, 200_001)
    log, rest = np.log(d), np.log(1 - d)
    total = prior * p * (alpha * log + (1 - alpha) * rest) + (1 - prior) * q * (beta * log + (1 - beta) * rest)
    h = theory.optimal_discriminator(torch.tensor([p]), torch.tensor([q]), alpha, beta, prior)
    assert h.sigmoid().item() == pytest.approx(d[total.argmax()], abs=1e-4)


def test_nowhere_and_on_one_side_only() -> None:
    h = theory.optimal_discriminator(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
    assert h.tolist() == [0.0, math.inf, -math.inf]
    assert theory.value_of_laws(h, torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])).item() == 0


def test_the_label_counts_on_both_sides() -> None:
    p, q = torch.stack([laws(0)[0], laws(1)[0]]), torch.stack([laws(0)[1], laws(1)[1]])
    shares, other = torch.tensor([0.3, 0.7], dtype=torch.float64), torch.tensor([0.5, 0.5], dtype=torch.float64)
    found = theory.optimal_conditional_discriminator(p, q, shares, other)
    wanted = np.log((p * shares[:, None]).numpy() / (q * other[:, None]).numpy())
    assert np.allclose(found.numpy(), wanted)
    same = theory.optimal_conditional_discriminator(p, q, shares)
    assert np.allclose(same.numpy(), np.log(p.numpy() / q.numpy()))
    blind = (p * shares[:, None]).sum(0) / (q * shares[:, None]).sum(0)  # what D(x) without the label reaches
    assert not np.allclose(found.numpy(), np.log(blind.numpy()), atol=0.1)


SEPARABLE = [name for name in OBJECTIVES if name != "wasserstein" and not name.startswith("relativistic")]


@pytest.mark.parametrize("name", SEPARABLE)
def test_each_objective_s_own_optimum(name: str) -> None:
    objective: Objective = OBJECTIVES[name]
    p, q = torch.tensor([0.3, 0.7, 0.1], dtype=torch.float64), torch.tensor([0.4, 0.2, 0.6], dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)

    def each(side: str) -> Callable[[Tensor], Tensor]:
        def one(h: Tensor) -> Tensor:
            return objective.discriminator(h[None], zero) if side == "real" else objective.discriminator(zero, h[None])

        return lambda h: torch.func.vmap(one)(h)

    found = theory.pointwise_optimum(each("real"), each("fake"), p, q, reach=30.0)
    wanted = objective.optimal_score((p / q).log())
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)


def test_a_trained_discriminator_finds_it() -> None:
    """N(0, 1) against N(1.3, 1): sup error of D below .05 on [-3, 4.3], the value within .02 of the criterion."""
    x = torch.linspace(-7, 8.3, 400, dtype=torch.float64)
    width = float(x[1] - x[0])
    p, q = gaussian(x, 0.0), gaussian(x, 1.3)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)).double()
    rule = torch.optim.LBFGS(net.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def lost() -> Tensor:
        rule.zero_grad()
        loss = -theory.value_of_laws(net(x[:, None])[:, 0], p, q, torch.full_like(x, width))
        loss.backward()
        return loss

    rule.step(lost)  # type: ignore[arg-type]
    inside = (x >= -3) & (x <= 4.3)
    error = (net(x[:, None])[:, 0].sigmoid() - p / (p + q)).detach().abs()[inside].max()
    assert float(error) < 0.05
    assert -float(lost().detach()) == pytest.approx(criterion_by_quadrature(1.3), abs=0.02)


# T3, T4 ---------------------------------------------------------------------------------------------------------------


def criterion_by_quadrature(shift: float) -> float:
    def inside(x: float) -> float:
        p, q = (math.exp(-((x - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (0.0, shift))
        return p * math.log(p / (p + q)) + q * math.log(q / (p + q))

    return quad(inside, -12, 12 + shift, epsabs=1e-12)[0]


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.3, 3.0])
def test_the_virtual_criterion_by_quadrature(shift: float) -> None:
    p, q = gaussian(GRID, 0.0), gaussian(GRID, shift)
    found = theory.virtual_criterion(p, q, STEP).item()
    assert found == pytest.approx(criterion_by_quadrature(shift), abs=1e-8)
    h = theory.optimal_discriminator(p, q)
    assert theory.value_of_laws(h, p, q, STEP).item() == pytest.approx(found, abs=1e-8)


@given(st.integers(0, 10_000))
def test_no_discriminator_beats_the_criterion(seed: int) -> None:
    p, q = laws(seed)
    top = theory.virtual_criterion(p, q).item()
    best = minimize(
        lambda h: -theory.value_of_laws(torch.from_numpy(h), p, q).item(),
        np.zeros(len(p)),
        jac=lambda h: ((q * torch.from_numpy(h).sigmoid()) - p * torch.from_numpy(-h).sigmoid()).numpy(),
    )
    assert -best.fun == pytest.approx(top, abs=1e-6) and -math.log(4) - 1e-12 <= top <= 1e-12
    assert theory.virtual_criterion(p, p).item() == pytest.approx(-math.log(4), abs=1e-12)


def test_disjoint_laws_reach_the_maximum() -> None:
    p, q = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert theory.virtual_criterion(p, q).item() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_descent_in_the_space_of_laws_converges(seed: int, rate: float) -> None:
    p, q = laws(seed)
    path = theory.density_descent(p, q, steps=int(60 / rate), rate=rate)
    divergence = (p * (p / path[-1]).log()).sum().item()
    assert divergence < 1e-6
    assert torch.allclose(path.sum(1), torch.ones(len(path), dtype=torch.float64))
    criterion = theory.virtual_criterion(p.expand_as(path), path)
    assert bool((criterion.diff() <= 1e-12).all())


def test_its_direction_is_the_gradient_of_the_criterion() -> None:
    """The first step against finite differences of C on the simplex, in log-coordinates."""
    p, q = laws(3)
    rate, e = 1e-3, 1e-6

    def at(weights: np.ndarray) -> float:
        m = (p.numpy() + weights) / 2
        return float(np.sum(p.numpy() * np.log(p.numpy() / m)) + np.sum(weights * np.log(weights / m)))

    slope = np.array([(at(q.numpy() + e * d) - at(q.numpy() - e * d)) / (2 * e) for d in np.eye(len(q))])
    moved = np.log(theory.density_descent(p, q, 1, rate)[1].numpy() / q.numpy()) / -rate
    assert np.allclose(moved - moved.mean(), slope - slope.mean(), atol=1e-3)


# T27 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.4, 1.3])
def test_noise_on_the_inputs_is_a_penalty_to_first_order(shift: float) -> None:
    """V less the noised V, over gamma/2, tends to Omega at the optimal discriminator (h = shift²/2 - shift x)."""

    def density(x: float, m: float, variance: float = 1.0) -> float:
        return math.exp(-((x - m) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)

    def sp(t: float) -> float:
        return max(t, 0) + math.log1p(math.exp(-abs(t)))

    def h(x: float) -> float:
        return shift * shift / 2 - shift * x

    def value(variance: float) -> float:  # noise on the points widens both laws
        def inside(x: float) -> float:
            return -density(x, 0, variance) * sp(-h(x)) - density(x, shift, variance) * sp(h(x))

        return quad(inside, -14, 14 + shift, epsabs=1e-13, limit=200)[0]

    gamma = 1e-3
    measured = (value(1.0) - value(1.0 + gamma)) / (gamma / 2)

    p, q = gaussian(GRID, 0.0), gaussian(GRID, shift)
    logit = shift * shift / 2 - shift * GRID
    # Means over a fine grid, weighted through repeated evaluation: the function takes samples, so use one per node.
    doubt = [theory.js_smoothing(one, none) for one, none in sides(logit, shift)]
    trust = [theory.js_smoothing(none, one) for one, none in sides(logit, shift)]
    omega = float((STEP * (p * torch.stack(doubt) + q * torch.stack(trust))).sum())
    assert measured == pytest.approx(omega, rel=2e-3)


def sides(logit: Tensor, shift: float) -> list[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
    """At each node one example on one side, with slope -shift, and one without slope on the other."""
    slope, none = torch.full((1, 1), -shift, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    return [((h[None], slope), (h[None], none)) for h in logit]


# Errors ---------------------------------------------------------------------------------------------------------------


def test_wrong_calls_say_what_is_wanted() -> None:
    p, q = laws(0)
    with pytest.raises(ValueError, match="at least one of each"):
        theory.value(torch.zeros(0), torch.zeros(1))
    with pytest.raises(ValueError, match=r"one \(..., k\)"):
        theory.value_of_laws(torch.zeros(3), p, q)
    with pytest.raises(ValueError, match="entries >= 0"):
        theory.optimal_discriminator(-p, q)
    with pytest.raises(ValueError, match=r"\(c, k\)"):
        theory.optimal_conditional_discriminator(p, q)
    with pytest.raises(ValueError, match="sums to"):
        theory.virtual_criterion(2 * p, q)
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        theory.density_descent(p, q, 3, rate=2.0)
    with pytest.raises(ValueError, match="no mass"):
        theory.density_descent(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0]), 3)
    with pytest.raises(ValueError, match="slopes"):
        theory.js_smoothing((torch.zeros(2), torch.zeros(3, 1)), (torch.zeros(2), torch.zeros(2, 1)))
