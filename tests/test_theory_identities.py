"""Identities of losses and divergences, against scipy's quadrature, brute force and sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad, quad
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import cauchy, entropy, kstest, norm
from torch import Tensor

from equilibria.theory.divergences import F_DIVERGENCES
from equilibria.theory.identities import (
    cauchy_scale,
    contribution,
    generator_gradients,
    misprinted_js,
    noisy_updates,
    pairing_value,
    product_js,
    slopes_in_logits,
    slopes_in_probability,
    split_codes,
    split_joint,
)

F64 = torch.float64
GRID = torch.linspace(-14, 14, 2801, dtype=F64)
WEIGHTS = torch.full_like(GRID, 0.01)


def log_normal(theta: Tensor, x: Tensor) -> Tensor:
    mean, log_std = theta if theta.ndim else (theta, torch.zeros((), dtype=F64))
    return -((x - mean) / log_std.exp()).square() / 2 - log_std - math.log(2 * math.pi) / 2


def at(mean: float, std: float = 1.0) -> Tensor:
    return torch.tensor([mean, math.log(std)], dtype=F64)


# Theorem 2.5 -------------------------------------------------------------------------------------------------------


def test_the_printed_numbers() -> None:
    """N(0, 1) against N(1.3, 1): .8509901 and .4490099, both sides."""
    found = generator_gradients(log_normal(at(0), GRID), log_normal, torch.tensor(1.3, dtype=F64), GRID, WEIGHTS)
    assert [round(float(g), 7) for g in found] == [0.4490099, 0.8509901, 0.4490099, 0.8509901]


@pytest.mark.parametrize(("mean", "std"), [(1.3, 1.0), (-0.7, 0.5), (0.2, 2.0)])
def test_both_losses_through_the_latent(mean: float, std: float) -> None:
    """E_z ∇θ of the frozen loss at x = mean + std z, by scipy over z: the path the generator takes."""

    def slope(x: float, saturating: bool) -> float:
        h = 1e-5

        def loss(v: float) -> float:
            ratio = norm.logpdf(v) - norm.logpdf(v, mean, std)
            return -np.logaddexp(0, ratio) if saturating else np.logaddexp(0, -ratio)

        return (loss(x + h) - loss(x - h)) / (2 * h)

    found = generator_gradients(log_normal(at(0), GRID), log_normal, at(mean, std), GRID, WEIGHTS)
    for saturating, gradient in ((True, found.saturating), (False, found.nonsaturating)):
        wanted = [
            quad(lambda z, w=w, s=saturating: norm.pdf(z) * slope(mean + std * z, s) * w(z), -9, 9, epsabs=1e-10)[0]
            for w in (lambda z: 1.0, lambda z: std * z)
        ]
        assert gradient.tolist() == pytest.approx(wanted, abs=1e-7)
    assert torch.allclose(found.saturating, found.two_js, atol=1e-9)
    assert torch.allclose(found.nonsaturating, found.reverse_kl_less_two_js, atol=1e-9)


def test_densities_must_integrate_to_one() -> None:
    with pytest.raises(ValueError, match=r"0\.5"):
        generator_gradients(log_normal(at(0), GRID), lambda t, x: log_normal(t, x) - math.log(2), at(1), GRID, WEIGHTS)
    with pytest.raises(ValueError, match="all must be"):
        generator_gradients(log_normal(at(0), GRID)[1:], log_normal, at(1), GRID, WEIGHTS)


# Theorem 2.6 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 20])
def test_updates_are_cauchy_whatever_the_batch(n: int) -> None:
    jacobian = torch.randn(n, 3, 2, dtype=F64)
    draws = noisy_updates(jacobian, 4000, torch.Generator().manual_seed(1), value_noise=0.5, slope_noise=2.0)
    scale = cauchy_scale(jacobian, value_noise=0.5, slope_noise=2.0)
    wanted = np.linalg.norm(jacobian.numpy(), axis=1).mean(0) * 4
    assert scale.numpy() == pytest.approx(wanted)
    for column, size in zip(draws.T, scale, strict=True):
        assert kstest(column.numpy(), cauchy(scale=float(size)).cdf).pvalue > 0.01
        assert kstest(column.numpy(), norm(scale=float(column.std())).cdf).pvalue < 1e-6


def test_the_mean_of_many_ratios_is_one_ratio() -> None:
    """Means of 200 ratios of standard normals are Cauchy(0, 1)."""
    draws = noisy_updates(torch.ones(200, 1, 1, dtype=F64), 2000, torch.Generator().manual_seed(0))
    assert kstest(draws[:, 0].numpy(), cauchy.cdf).pvalue > 0.05


# Contributions, E4, E49 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_contributions_are_never_negative_and_sum_to_the_divergence(name: str) -> None:
    p, q = (torch.distributions.Dirichlet(torch.ones(9, dtype=F64)).sample() for _ in range(2))
    found = contribution(name, p, q)
    row = F_DIVERGENCES[name]
    at_one = float(row.f(torch.ones((), dtype=F64)))
    wanted = sum(float(b) * float(row.f(a / b)) for a, b in zip(p, q, strict=True)) - at_one
    assert float(found.min()) >= -1e-12 and float(found.sum()) == pytest.approx(wanted, abs=1e-9)


def test_dropped_modes_cost_the_forward_kl_and_not_the_reverse() -> None:
    one, rare = torch.ones(1, dtype=F64), torch.tensor([1e-200], dtype=F64)
    assert contribution("kl", one, rare) > 400 and contribution("reverse-kl", one, rare) == pytest.approx(1)
    assert contribution("kl", rare, one) == pytest.approx(1) and contribution("reverse-kl", rare, one) > 400
    assert contribution("js", one, rare) == pytest.approx(math.log(2)) == contribution("js", rare, one)


def test_the_misprinted_jsd() -> None:
    p, q = torch.tensor([0.1, 0.2, 0.7], dtype=F64), torch.tensor([0.6, 0.3, 0.1], dtype=F64)
    assert [round(float(misprinted_js(*pair)), 6) for pair in ((p, q), (q, p))] == [0.170779, 0.175189]
    apart = torch.eye(2, dtype=F64)
    assert round(float(misprinted_js(apart[0], apart[1])), 6) == 0.519860 == round(0.75 * math.log(2), 6)
    m = (p + q).numpy() / 2
    assert float(misprinted_js(p, q)) == pytest.approx(entropy(p, m) / 2 + entropy(q, m) / 4)


@pytest.mark.parametrize("d", [0.001, 0.01, 0.1, 0.5])
def test_slopes_of_the_two_losses(d: float) -> None:
    h = math.log(d / (1 - d))
    found, step = slopes_in_logits(torch.tensor(h, dtype=F64)), 1e-6
    wanted = [
        (math.log(1 - expit(h + step)) - math.log(1 - expit(h - step))) / (2 * step),
        -(math.log(expit(h + step)) - math.log(expit(h - step))) / (2 * step),
    ]
    assert [float(s) for s in found] == pytest.approx(wanted, abs=1e-6)
    assert [float(s) for s in found] == pytest.approx([-d, -(1 - d)], rel=1e-9)
    inside = slopes_in_probability(torch.tensor(d, dtype=F64))
    chain = d * (1 - d)
    assert [float(s) * chain for s in inside] == pytest.approx([float(s) for s in found], rel=1e-9)
    assert inside.nonsaturating == pytest.approx(-1 / d)


# Relativistic pairing ----------------------------------------------------------------------------------------------


def discrete(k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k))


@pytest.mark.parametrize("seed", range(3))
def test_pairing_measures_the_jsd_of_ordered_pairs(seed: int) -> None:
    p, q = discrete(5, seed)

    def loss(h: np.ndarray) -> float:
        return float(sum(p[i] * q[j] * np.logaddexp(0, h[j] - h[i]) for i in range(5) for j in range(5)))

    best = minimize(loss, np.zeros(5), tol=1e-12)
    found = float(product_js(torch.tensor(p), torch.tensor(q)))
    assert math.log(2) - best.fun == pytest.approx(found, abs=1e-7)
    star = torch.tensor(np.log(p / q) + 3.7)
    assert float(pairing_value(star, torch.tensor(p), torch.tensor(q))) + math.log(2) == pytest.approx(found, abs=1e-12)
    pairs, m = np.outer(p, q), (np.outer(p, q) + np.outer(q, p)) / 2
    assert found == pytest.approx((entropy(pairs.ravel(), m.ravel()) + entropy(pairs.T.ravel(), m.ravel())) / 2)


def test_pairing_of_continuous_laws() -> None:
    """N(0, 1) against N(1, 1): h = -x up to a constant; the value by double quadrature."""
    wanted = dblquad(lambda y, x: -norm.pdf(x) * norm.pdf(y, 1) * np.logaddexp(0, x - y), -6, 6, -5, 7, epsabs=1e-7)[0]
    x = torch.linspace(-8, 9, 801, dtype=F64)
    p, q = (torch.softmax(-(x - m).square() / 2, 0) for m in (0.0, 1.0))
    assert float(pairing_value(-x, p, q)) == pytest.approx(wanted, abs=1e-6)
    assert float(product_js(p, q)) == pytest.approx(wanted + math.log(2), abs=1e-6)


def test_pairing_is_zero_for_equal_laws_and_log_two_for_disjoint_ones() -> None:
    p = torch.tensor([0.3, 0.7, 0.0, 0.0], dtype=F64)
    assert float(product_js(p, p)) == pytest.approx(0, abs=1e-12)
    assert float(product_js(p, p.flip(0))) == pytest.approx(math.log(2))


# Autoencoders ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_splits_of_autoencoders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data, prior = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(3))
    encoder, decoder = rng.dirichlet(np.ones(3), 4), rng.dirichlet(np.ones(4), 3)
    joint, codes = data[:, None] * encoder, data @ encoder
    found = split_joint(*(torch.tensor(a) for a in (data, encoder, prior, decoder)))
    assert float(found.joint) == pytest.approx(entropy(joint.ravel(), (prior[:, None] * decoder).T.ravel()))
    assert float(found.decoding + found.prior) == pytest.approx(float(found.joint), abs=1e-12)
    assert float(found.prior) == pytest.approx(entropy(codes, prior))
    assert float(found.data) == pytest.approx(entropy(data, prior @ decoder)) and found.data <= found.joint
    split = split_codes(torch.tensor(data), torch.tensor(encoder), torch.tensor(prior))
    assert float(split.mean) == pytest.approx(sum(data[i] * entropy(encoder[i], prior) for i in range(4)))
    information = entropy(codes) - sum(data[i] * entropy(encoder[i]) for i in range(4))
    assert float(split.information) == pytest.approx(information, abs=1e-12)
    assert float(split.information + split.prior) == pytest.approx(float(split.mean), abs=1e-12)


def test_wrong_calls_say_what_is_wanted() -> None:
    half, eye = torch.tensor([0.5, 0.5]), torch.eye(2)
    with pytest.raises(ValueError, match="one of kl"):
        contribution("hinge", half, half)
    with pytest.raises(ValueError, match=r"strictly in \(0, 1\)"):
        slopes_in_probability(torch.tensor([0.0]))
    with pytest.raises(ValueError, match=r"noise 0\.0"):
        cauchy_scale(torch.ones(1, 1, 1), value_noise=0.0)
    with pytest.raises(ValueError, match=r"\(k,\)"):
        pairing_value(torch.zeros(3), half, half)
    with pytest.raises(ValueError, match="twice"):
        product_js(eye, eye)
    with pytest.raises(ValueError, match="row of the encoder"):
        split_codes(half, 2 * eye, half)
    with pytest.raises(ValueError, match="its rows are"):
        split_joint(half, eye, half, torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"\(m, k\)"):
        split_codes(half, torch.ones(3, 2), half)
