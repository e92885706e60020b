"""Bad minima counted, and Gaussian fits, against brute force, scipy and moment matching."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize, minimize_scalar
from scipy.special import expit
from scipy.stats import entropy, norm

from equilibria.theory.divergences import F_DIVERGENCES
from equilibria.theory.landscape import (
    OFF,
    fit_mixture,
    landscape_count,
    mixture_density,
    paired_value,
    separable_value,
    strict_local_minima,
    trapped,
)

F64 = torch.float64
CONFIGURATIONS = [at for n in (1, 2, 3) for at in itertools.product(range(OFF, n), repeat=n)]


def places(at: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """The node of each generated point; points off the data get nodes of their own."""
    n = len(at)
    nodes = np.array([a if a != OFF else n + i for i, a in enumerate(at)])
    return nodes, 2 * n


@pytest.mark.parametrize("at", CONFIGURATIONS, ids=str)
def test_separable_values_are_suprema(at: tuple[int, ...]) -> None:
    """The logit at every place is free: one bounded search for each."""
    nodes, size = places(at)
    n, total = len(at), 0.0
    for place in range(size):
        real, fake = int(place < n), int((nodes == place).sum())
        found = minimize_scalar(
            lambda h, r=real, f=fake: r * np.logaddexp(0, -h) + f * np.logaddexp(0, h),
            bounds=(-30, 30),
            method="bounded",
        )
        total -= found.fun
    assert separable_value(at) == pytest.approx(total / n, abs=1e-8)


@pytest.mark.parametrize("at", CONFIGURATIONS, ids=str)
def test_paired_values_are_suprema(at: tuple[int, ...]) -> None:
    nodes, size = places(at)
    n = len(at)
    difference = np.eye(size)[nodes] - np.eye(size)[:n]

    def loss(h: np.ndarray) -> tuple[float, np.ndarray]:
        gaps = difference @ h
        return float(np.logaddexp(0, gaps).sum()) / n, difference.T @ expit(gaps) / n

    tight = {"gtol": 1e-12, "ftol": 1e-16, "maxiter": 2000}
    best = minimize(loss, np.zeros(size), jac=True, method="L-BFGS-B", bounds=[(-50, 50)] * size, options=tight)
    assert paired_value(at) == pytest.approx(-best.fun, abs=1e-5)


def test_cycles_by_linear_programming() -> None:
    """A pair is off every cycle iff its difference can be 1 while all differences stay >= 0."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        at = tuple(int(a) for a in rng.integers(OFF, 5, 5))
        nodes, size = places(at)
        difference = np.eye(size)[:5] - np.eye(size)[nodes]
        free = 0
        for i in range(5):
            found = linprog(
                -difference[i], A_ub=np.vstack([-difference, difference[i]]), b_ub=[0] * 5 + [1], bounds=(None, None)
            )
            free += -found.fun > 0.5
        assert paired_value(at) == pytest.approx(-math.log(2) * (5 - free) / 5)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_all_collapsed_assignments_are_bad_minima_of_a_separable_loss(n: int) -> None:
    minima = strict_local_minima(n, separable_value)
    least = -math.log(4)
    collapsed = [at for at in minima if separable_value(at) > least + 1e-9]
    assert len(collapsed) == n**n - math.factorial(n) == landscape_count(n).collapsed
    assert all(len(set(at)) < n for at in collapsed) and len(minima) == landscape_count(n).assignments
    assert set(collapsed) <= set(trapped(n, separable_value))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_paired_loss_has_global_minima_only(n: int) -> None:
    minima = strict_local_minima(n, paired_value)
    assert sorted(minima) == sorted(itertools.permutations(range(n))) and len(minima) == landscape_count(n).bijections
    assert all(paired_value(at) == pytest.approx(-math.log(2)) for at in minima)
    assert trapped(n, paired_value) == []


def test_two_points_by_hand() -> None:
    assert separable_value((0, 0)) == pytest.approx((math.log(1 / 3) + 2 * math.log(2 / 3)) / 2)
    assert separable_value((OFF, OFF)) == 0 == paired_value((OFF, OFF)) and paired_value((0, 0)) == -math.log(2) / 2


# Fits --------------------------------------------------------------------------------------------------------------

X = torch.linspace(-12, 12, 1201, dtype=F64)[:, None]
W = torch.full((1201,), 0.02, dtype=F64)


def two_modes(half: float, std: float = 0.5, share: float = 0.5) -> torch.Tensor:
    x = X[:, 0].numpy()
    return torch.tensor(share * norm.pdf(x, -half, std) + (1 - share) * norm.pdf(x, half, std))


@pytest.mark.parametrize("name", [n for n in F_DIVERGENCES if n not in {"pearson", "neyman"}])
def test_a_gaussian_target_is_found_by_every_divergence(name: str) -> None:
    target = torch.tensor(norm.pdf(X[:, 0].numpy(), 0.8, 0.7))
    found = fit_mixture(name, target, X, W, torch.zeros(1, 1))
    assert (found.centres.item(), found.std) == pytest.approx((0.8, 0.7), abs=1e-4)
    assert found.divergence == pytest.approx(-math.log(4) if name == "gan" else 0, abs=1e-8)


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_the_forward_kl_matches_moments(share: float) -> None:
    found = fit_mixture("kl", two_modes(2.0, share=share), X, W, torch.ones(1, 1))
    mean = 2 * (1 - 2 * share)
    assert found.centres.item() == pytest.approx(mean, abs=1e-5)
    assert found.std == pytest.approx(math.sqrt(0.25 + 4 - mean**2), abs=1e-5)
    fitted = norm.pdf(X[:, 0].numpy(), mean, found.std)
    assert found.divergence == pytest.approx(entropy(two_modes(2.0, share=share).numpy(), fitted), abs=1e-6)


def test_the_reverse_kl_takes_one_mode() -> None:
    found = fit_mixture("reverse-kl", two_modes(2.0), X, W, torch.ones(1, 1))
    assert (found.centres.item(), found.std) == pytest.approx((2.0, 0.5), abs=0.01)
    assert found.divergence == pytest.approx(math.log(2), abs=0.01), "half of the mass is missed"


@pytest.mark.parametrize(("half", "covers"), [(0.8, True), (3.0, False)])
def test_jsd_switches_with_the_separation(half: float, covers: bool) -> None:
    """The better of two local searches, one from each pattern, against a grid search by scipy's quantities."""
    target = two_modes(half)
    fits = [fit_mixture("js", target, X, W, torch.tensor([[m]]), s) for m, s in ((0.0, half), (half, 0.5))]
    best = min(fits, key=lambda fit: fit.divergence)
    assert (abs(best.centres.item()) < 0.05) == covers

    x, p = X[:, 0].numpy(), target.numpy()

    def left(place: np.ndarray) -> float:
        q = norm.pdf(x, place[0], math.exp(place[1])) + 1e-300
        m = (p + q) / 2
        return float(np.sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / m), 0) + q * np.log(q / m)) * 0.02)

    search = [minimize(left, [m, math.log(s)], method="Nelder-Mead", tol=1e-9).fun for m, s in ((0, half), (half, 0.5))]
    assert best.divergence == pytest.approx(min(search), abs=1e-6)


def test_densities_of_mixtures() -> None:
    x = np.linspace(-3, 3, 9)
    found = mixture_density(
        torch.tensor(x)[:, None], torch.tensor([[0.0], [1.5]], dtype=F64), torch.tensor(0.4, dtype=F64)
    )
    assert found.numpy() == pytest.approx((norm.pdf(x, 0, 0.4) + norm.pdf(x, 1.5, 0.4)) / 2, rel=1e-9)


def test_wrong_calls_say_what_is_wanted() -> None:
    one = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="at least one"):
        landscape_count(0)
    with pytest.raises(ValueError, match=r"data 0\.\.1"):
        separable_value((0, 2))
    with pytest.raises(ValueError, match="landscape_count"):
        strict_local_minima(7, paired_value)
    with pytest.raises(ValueError, match="unknown divergence"):
        fit_mixture("tv", two_modes(1), X, W, one)
    with pytest.raises(ValueError, match=r"integrates to 0\.5"):
        fit_mixture("kl", two_modes(1) / 2, X, W, one)
    with pytest.raises(ValueError, match=r"\(k, d\)"):
        fit_mixture("kl", two_modes(1), X[:, 0], W, one)
    with pytest.raises(ValueError, match=r"want \(m, 1\)"):
        fit_mixture("kl", two_modes(1), X, W, torch.zeros(1, 2))
    with pytest.raises(ValueError, match="must be > 0"):
        fit_mixture("kl", two_modes(1), X, W, one, std=0.0)
