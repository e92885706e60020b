"""Objectives against pointwise minimisation, the divergences they measure, and the generator gradients they give."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from equilibria.base.errors import ConfigError, DataError, ShapeError
from equilibria.base.records import decode, encode
from equilibria.losses import (
    LEAST_SQUARES_BINARY,
    LEAST_SQUARES_PEARSON,
    LEAST_SQUARES_SIGNED,
    OBJECTIVES,
    EnergyMargin,
    Exponential,
    FGan,
    Hinge,
    LeastSquares,
    MaximumLikelihood,
    Minimax,
    NonSaturating,
    Objective,
    RelativisticAverage,
    RelativisticPairing,
    Wasserstein,
)
from equilibria.theory import divergences as dv

REAL, FAKE = [0.5, -1.0, 2.0], [0.3, -0.7, -2.0]

# (discriminator, generator) at REAL and FAKE, from the papers' formulas in double precision by numpy, not by this code.
GOLDEN = {
    "minimax": (1.09957866237942, -0.4614897681323191),
    "nonsaturating": (1.09957866237942, 1.2614897681323192),
    "maximum-likelihood": (1.09957866237942, -0.6605931315346751),
    "least-squares": (1.6383333333333332, 2.063333333333333),
    "least-squares-pearson": (1.3383333333333334, 0.7633333333333333),
    "least-squares-signed": (1.3383333333333334, 2.063333333333333),
    "hinge": (1.3666666666666667, 0.7999999999999999),
    "energy-margin": (9.533333333333333, 0.7999999999999999),
    "wasserstein": (-1.2999999999999998, 0.7999999999999999),
    "f-gan-kl": (-0.2569813679293306, -0.2430186320706694),
    "f-gan-reverse-kl": (-0.6466174095305695, 1.8),
    "f-gan-pearson": (-0.9183333333333332, 0.4183333333333333),
    "f-gan-neyman": (-1.178655645182143, 1.3320382356515734),
    "f-gan-squared-hellinger": (-0.18602427799589447, 0.33940686846532486),
    "f-gan-jeffreys": (-1.0369244857453346, 0.5369244857453347),
    "f-gan-js": (-0.2867156987404708, 0.2316574124276262),
    "f-gan-gan": (1.09957866237942, -0.4614897681323191),
    "relativistic-pairing": (0.4902146805893095, 1.7902146805893093),
    "relativistic-pairing-saturating": (0.4902146805893095, -0.4902146805893095),
    "relativistic-average": (0.6794970735049094, 3.2794970735049094),
    "exponential": (1.8139757220041057, 3.381209009027615),
}


def laws(seed: int, total: int = 24, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Counts of two laws with full support, so that a mean over repeated rows is an exact expectation."""
    rng = np.random.default_rng(seed)
    return tuple(1 + rng.multinomial(total - k, rng.dirichlet(np.ones(k))) for _ in range(2))  # type: ignore[return-value]


def expected_loss(objective: Objective, h: Tensor, p: np.ndarray, q: np.ndarray) -> Tensor:
    """The discriminator's loss of a score per atom, with expectations exact (over the product law where it pairs)."""
    real, fake = h.repeat_interleave(torch.from_numpy(p)), h.repeat_interleave(torch.from_numpy(q))
    if objective.pairs:
        real, fake = real.repeat_interleave(len(fake)), fake.repeat(len(real))
    return objective.discriminator(real, fake)


POINTWISE = {
    **{name: o for name, o in OBJECTIVES.items() if name not in ("wasserstein", "relativistic-average")},
    "one-sided": Minimax(real_target=0.9),
    "two-sided": NonSaturating(real_target=0.9, fake_target=0.2),
    "skewed-codes": LeastSquares(a=-0.5, b=2.0, c=0.3),
}


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("seed", range(3))
def test_optimal_score_minimises_pointwise(name: str, seed: int) -> None:
    objective, (p, q) = POINTWISE[name], laws(seed)
    best = objective.optimal_score(torch.log(torch.from_numpy(p / q)))
    least = expected_loss(objective, best, p, q).item()
    for atom in range(len(p)):
        for delta in (-3.0, -1.0, -0.1, -1e-3, 1e-3, 0.1, 1.0, 3.0):
            moved = best.clone()
            moved[atom] += delta
            assert expected_loss(objective, moved, p, q).item() >= least - 1e-12, (atom, delta)


@pytest.mark.parametrize("name", [name for name in POINTWISE if name not in ("hinge", "energy-margin")])
def test_minimisation_from_scratch_finds_the_optimal_score(name: str) -> None:
    objective, (p, q) = POINTWISE[name], laws(7)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        h = torch.tensor(values, requires_grad=True)
        total = expected_loss(objective, h, p, q)
        (grad,) = torch.autograd.grad(total, h)
        return total.item(), grad.numpy()

    found = scipy.optimize.minimize(loss, np.zeros(len(p)), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    best = objective.optimal_score(torch.log(torch.from_numpy(p / q))).numpy()
    if objective.pairs:
        found, best = found - found.mean(), best - best.mean()
    np.testing.assert_allclose(found, best, atol=1e-6)


def hellinger(p: np.ndarray, q: np.ndarray) -> float:
    return float(((np.sqrt(p) - np.sqrt(q)) ** 2).sum())


def jsd(p: np.ndarray, q: np.ndarray) -> float:
    m = (p + q) / 2
    return float((p * np.log(p / m) + q * np.log(q / m)).sum() / 2)


VALUES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "minimax": lambda p, q: math.log(4) - 2 * jsd(p, q),
    "nonsaturating": lambda p, q: math.log(4) - 2 * jsd(p, q),
    "least-squares": lambda p, q: 0.25 - float(((p - q) ** 2 / (p + q)).sum()) / 8,
    "least-squares-pearson": lambda p, q: 1 - float(((p - q) ** 2 / (p + q)).sum()) / 2,
    "hinge": lambda p, q: 2 * float(np.minimum(p, q).sum()),
    "energy-margin": lambda p, q: 10 * (1 - 0.5 * float(np.abs(p - q).sum())),
    "exponential": lambda p, q: 2 - hellinger(p, q),
    "f-gan-kl": lambda p, q: -float((p * np.log(p / q)).sum()),
    "f-gan-reverse-kl": lambda p, q: -float((q * np.log(q / p)).sum()),
    "f-gan-pearson": lambda p, q: -float(((p - q) ** 2 / q).sum()),
    "f-gan-neyman": lambda p, q: -float(((p - q) ** 2 / p).sum()),
    "f-gan-squared-hellinger": lambda p, q: -hellinger(p, q),
    "f-gan-jeffreys": lambda p, q: -float(((p - q) * np.log(p / q)).sum()),
    "f-gan-js": lambda p, q: -2 * jsd(p, q),
    "f-gan-gan": lambda p, q: math.log(4) - 2 * jsd(p, q),
    "relativistic-pairing": lambda p, q: math.log(2) - jsd(np.outer(p, q), np.outer(q, p)),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("seed", range(3))
def test_the_minimum_is_the_divergence(name: str, seed: int) -> None:
    p, q = laws(seed)
    best = OBJECTIVES[name].optimal_score(torch.log(torch.from_numpy(p / q)))
    value = expected_loss(OBJECTIVES[name], best, p, q).item()
    assert value == pytest.approx(VALUES[name](p / p.sum(), q / q.sum()), rel=1e-12)


def test_least_squares_generator_criterion_is_a_chi_square() -> None:
    """Mao et al. 2017, Theorem 1, with the arguments in the order that is true."""
    p, q = laws(1)
    h = LEAST_SQUARES_PEARSON.optimal_score(torch.log(torch.from_numpy(p / q)))
    twice = 2 * sum(LEAST_SQUARES_PEARSON.generator(h.repeat_interleave(torch.from_numpy(c))).item() for c in (p, q))
    p, q = p / p.sum(), q / q.sum()
    assert twice == pytest.approx(float(((2 * q - (p + q)) ** 2 / (p + q)).sum()), rel=1e-12)
    assert twice == pytest.approx(float(((p - q) ** 2 / (p + q)).sum()), rel=1e-12)


def test_signed_least_squares_is_the_binary_game_in_other_units() -> None:
    real, fake = torch.randn(2, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    signed = LEAST_SQUARES_SIGNED.discriminator(2 * real - 1, 2 * fake - 1)
    torch.testing.assert_close(signed, 4 * LEAST_SQUARES_BINARY.discriminator(real, fake))


# Generator gradients. The generator is a shift, G(z) = theta + z with z ~ N(0, 1), and the data are N(0, 1); the score
# is frozen at its optimum for theta = 1.3. Expectations are quadratures of the loss of one row at a time.
THETA = 1.3
GRID = torch.linspace(-14, 14, 8001, dtype=torch.float64)
STEP = (GRID[1] - GRID[0]).item()
NORMAL = torch.exp(-(GRID**2) / 2) / math.sqrt(2 * math.pi)


def generator_slope(objective: Objective) -> float:
    theta = torch.tensor(THETA, dtype=torch.float64, requires_grad=True)
    x = theta + GRID
    log_ratio = -(x**2) / 2 + (x - THETA) ** 2 / 2
    scores = objective.optimal_score(log_ratio)
    rows = torch.func.vmap(lambda h: objective.generator(h[None]))(scores)
    (slope,) = torch.autograd.grad((rows * NORMAL).sum() * STEP, theta)
    return slope.item()


def divergence_slope(divergence: Callable[[Tensor, Tensor, Tensor], Tensor]) -> float:
    """The derivative in theta of a divergence between N(0, 1) and N(theta, 1), by central differences."""
    x = torch.linspace(-13, 15, 8001, dtype=torch.float64)
    weights = torch.full_like(x, (x[1] - x[0]).item())
    p = torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)

    def at(theta: float) -> float:
        return divergence(p, torch.exp(-((x - theta) ** 2) / 2) / math.sqrt(2 * math.pi), weights).item()

    h = 1e-4
    return (8 * (at(THETA + h) - at(THETA - h)) - (at(THETA + 2 * h) - at(THETA - 2 * h))) / (12 * h)


def test_nonsaturating_descends_reverse_kl_less_twice_jsd() -> None:
    """Arjovsky & Bottou 2017, Theorem 2.5."""
    slope = generator_slope(NonSaturating())
    assert slope == pytest.approx(0.850990, abs=5e-7)
    assert slope == pytest.approx(divergence_slope(lambda p, q, w: dv.kl(q, p, w) - 2 * dv.js(q, p, w)), rel=1e-7)


def test_minimax_descends_twice_jsd() -> None:
    slope = generator_slope(Minimax())
    assert slope == pytest.approx(0.449010, abs=5e-7)
    assert slope == pytest.approx(divergence_slope(lambda p, q, w: 2 * dv.js(q, p, w)), rel=1e-7)


def test_maximum_likelihood_descends_kl() -> None:
    assert generator_slope(MaximumLikelihood()) == pytest.approx(THETA, rel=1e-9)


def test_saturating_exponential_descends_hellinger() -> None:
    by_value = divergence_slope(lambda p, q, w: dv.f_divergence("squared-hellinger", p, q, w))
    assert generator_slope(Exponential(saturating=True)) == pytest.approx(by_value, rel=1e-7)


@pytest.mark.parametrize("name", dv.F_DIVERGENCES)
def test_f_gan_descends_its_divergence(name: str) -> None:
    by_value = divergence_slope(lambda p, q, w: dv.f_divergence(name, p, q, w))
    assert generator_slope(FGan(divergence=name)) == pytest.approx(by_value, rel=1e-6)


def test_the_trick_of_the_gan_row_is_nonsaturating() -> None:
    trick = FGan(divergence="gan", trick=True)
    h = torch.linspace(-5, 5, 11)
    torch.testing.assert_close(trick.generator(h), NonSaturating().generator(h))


@pytest.mark.parametrize("objective", [Minimax(), FGan(divergence="kl"), FGan(divergence="js")])
def test_descent_on_laws_converges_with_an_optimal_discriminator(objective: Objective) -> None:
    """Goodfellow et al. 2014, Proposition 2, by exponentiated gradient on the simplex."""
    p = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    q = p.flip(0)
    for _ in range(400):
        scores = objective.optimal_score((p / q).log())
        cost = torch.func.vmap(lambda h: objective.generator(h[None]))(scores)
        q = q * torch.exp(-0.5 * (cost - cost.mean()))
        q = q / q.sum()
    assert dv.kl(p, q).item() < 1e-6


@pytest.mark.parametrize("name", OBJECTIVES)
def test_golden_values(name: str) -> None:
    objective = OBJECTIVES[name]
    real, fake = (torch.tensor(x, dtype=torch.float64) for x in (REAL, FAKE))
    found = (objective.discriminator(real, fake).item(), objective.generator(fake, real).item())
    assert found == pytest.approx(GOLDEN[name], rel=1e-9)


FINITE = ["minimax", "nonsaturating", "least-squares", "hinge", "wasserstein", "relativistic-pairing"]
FINITE += ["relativistic-average", "relativistic-pairing-saturating", "f-gan-gan", "f-gan-js"]


@pytest.mark.parametrize("name", FINITE)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_finite_at_huge_logits(name: str, sign: float) -> None:
    real = torch.full((3,), sign * 1e4, requires_grad=True)
    fake = torch.full((3,), -sign * 1e4, requires_grad=True)
    for loss in (OBJECTIVES[name].discriminator(real, fake), OBJECTIVES[name].generator(fake, real)):
        assert math.isfinite(loss.item())
        first = torch.autograd.grad(loss, (real, fake), create_graph=True, allow_unused=True)
        for slope in first:
            assert slope is None or bool(slope.isfinite().all())


def test_huge_logits_have_the_value_of_the_limit() -> None:
    wrong_real, wrong_fake = torch.full((2,), -1e4), torch.full((2,), 1e4)
    assert Minimax().discriminator(wrong_real, wrong_fake).item() == 2e4
    assert Minimax().discriminator(-wrong_real, -wrong_fake).item() == 0
    assert NonSaturating().generator(-wrong_fake).item() == 1e4
    assert RelativisticPairing().discriminator(wrong_real, wrong_fake).item() == 2e4


@pytest.mark.parametrize("name", OBJECTIVES)
def test_second_derivatives(name: str) -> None:
    objective = OBJECTIVES[name]
    real, fake = torch.randn(2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    inputs = (real.requires_grad_(), fake.requires_grad_())
    for loss in (objective.discriminator, lambda r, f: objective.generator(f, r) + 0 * r.sum()):
        assert torch.autograd.gradcheck(loss, inputs)
        assert torch.autograd.gradgradcheck(lambda r, f, loss=loss: loss(r, f) + 0 * (r**2 + f**2).sum(), inputs)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_vmap_gives_what_a_loop_gives(name: str) -> None:
    objective = OBJECTIVES[name]
    real, fake = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(2))

    def both(r: Tensor, f: Tensor) -> Tensor:
        return objective.discriminator(r, f) + 2 * objective.generator(f, r)

    slope = torch.func.grad(both, argnums=(0, 1))
    batched = torch.func.vmap(slope)(real, fake)
    for i in range(3):
        torch.testing.assert_close((batched[0][i], batched[1][i]), slope(real[i], fake[i]))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_low_precision_scores_are_widened(name: str) -> None:
    objective = OBJECTIVES[name]
    real, fake = torch.randn(2, 8, generator=torch.Generator().manual_seed(3)).bfloat16()
    pairs = ((objective.discriminator, (real, fake)), (objective.generator, (fake, real)))
    for loss, scores in pairs:
        assert loss(*scores).dtype == torch.float32
        torch.testing.assert_close(loss(*scores), loss(*(s.float() for s in scores)), rtol=0, atol=0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_patch_maps_average_over_everything(name: str) -> None:
    objective = OBJECTIVES[name]
    real, fake = torch.randn(2, 4, 1, 3, 3, generator=torch.Generator().manual_seed(4))
    for flat, mapped in (
        (objective.discriminator(real.flatten(), fake.flatten()), objective.discriminator(real, fake)),
        (objective.generator(fake.flatten(), real.flatten()), objective.generator(fake, real)),
    ):
        assert mapped.ndim == 0
        torch.testing.assert_close(mapped, flat)


@pytest.mark.parametrize("objective", [RelativisticPairing(), RelativisticAverage()])
def test_relativistic_generator_swaps_the_sides(objective: Objective) -> None:
    real, fake = torch.randn(2, 6, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(objective.generator(fake, real), objective.discriminator(fake, real))


@pytest.mark.parametrize("objective", [RelativisticPairing(), RelativisticAverage()])
def test_relativistic_losses_ignore_the_origin(objective: Objective) -> None:
    real, fake = torch.randn(2, 6, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(objective.discriminator(real + 5, fake + 5), objective.discriminator(real, fake))


@pytest.mark.parametrize("objective", [Minimax(real_target=0.9), RelativisticPairing(saturating=True), Wasserstein()])
def test_zero_sum_objectives_have_opposite_gradients_at_the_fakes(objective: Objective) -> None:
    real, fake = torch.randn(2, 6, generator=torch.Generator().manual_seed(7))
    of_d = torch.func.grad(lambda f: objective.discriminator(real, f))(fake)
    of_g = torch.func.grad(lambda f: objective.generator(f, real))(fake)
    torch.testing.assert_close(of_g, -of_d)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_records_survive_json(name: str) -> None:
    assert decode(encode(OBJECTIVES[name])) == OBJECTIVES[name]


def test_pairs_says_who_needs_real_scores() -> None:
    needing = {name for name, o in OBJECTIVES.items() if o.pairs}
    assert needing == {"relativistic-pairing", "relativistic-pairing-saturating", "relativistic-average"}


H = torch.zeros(3)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: Minimax(real_target=0.1, fake_target=0.2), ConfigError, "real_target=0.1, fake_target=0.2"),
        (lambda: NonSaturating(real_target=1.2), ConfigError, "real_target=1.2"),
        (lambda: LeastSquares(a=1.0, b=0.0), ConfigError, "a=1.0 .*b=0.0.*a < b"),
        (lambda: FGan(divergence="hellinger"), ConfigError, "divergence='squared-hellinger'"),
        (lambda: EnergyMargin(margin=0.0), ConfigError, "margin=0.0"),
        (lambda: Wasserstein().optimal_score(H), ConfigError, "no optimal score"),
        (lambda: RelativisticAverage().optimal_score(H), ConfigError, "no optimal score"),
        (lambda: RelativisticPairing().generator(H), ConfigError, "no real scores"),
        (lambda: RelativisticPairing().discriminator(H, torch.zeros(4)), ShapeError, "cannot be paired"),
        (lambda: Hinge().discriminator(H, torch.zeros(0)), DataError, "empty"),
    ],
)
def test_mistakes_are_named(call: Callable[[], object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()
