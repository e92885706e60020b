"""Edges of the theory: laws without mass at some points, densities that round to zero, near-equal laws, NaN points.

The oracles are exact fractions, mpmath with 60 digits, and closed forms of Gaussians.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from equilibria.base.errors import DataError
from equilibria.losses import FGan
from equilibria.metrics import transport as measured
from equilibria.theory import divergences as dv
from equilibria.theory import identities, supports, transport, value

NAMES = tuple(dv.F_DIVERGENCES)
APART = (0.5, 0.5, 0.0, 0.0), (0.0, 0.0, 0.4, 0.6)
HALF_SHARED = (0.5, 0.25, 0.25, 0.0, 0.0), (0.0, 0.5, 0.125, 0.375, 0.0)


def log(x: Fraction) -> mpmath.mpf:
    with mpmath.workdps(60):
        return mpmath.log(mpmath.mpf(x.numerator) / x.denominator)


def exact_f(name: str, u: Fraction) -> mpmath.mpf:
    """f of Nowozin et al. 2016, Table 1, at a positive ratio, with 60 digits."""
    with mpmath.workdps(60):
        x = mpmath.mpf(u.numerator) / u.denominator
        return {
            "kl": lambda: x * mpmath.log(x),
            "reverse-kl": lambda: -mpmath.log(x),
            "pearson": lambda: (x - 1) ** 2,
            "neyman": lambda: (1 - x) ** 2 / x,
            "squared-hellinger": lambda: (mpmath.sqrt(x) - 1) ** 2,
            "jeffreys": lambda: (x - 1) * mpmath.log(x),
            "js": lambda: -(x + 1) * mpmath.log((1 + x) / 2) + x * mpmath.log(x),
            "gan": lambda: x * mpmath.log(x) - (x + 1) * mpmath.log(x + 1),
        }[name]()


# f(0) and lim f(u)/u, from the same table by hand.
AT_ZERO = {"pearson": 1, "squared-hellinger": 1, "kl": 0, "js": math.log(2), "gan": 0}
AT_INFINITY = {"neyman": 1, "squared-hellinger": 1, "reverse-kl": 0, "js": math.log(2), "gan": 0}


def exact(name: str, p: list[Fraction], q: list[Fraction]) -> float:
    """The divergence of two laws given by fractions."""
    total = mpmath.mpf(0)
    with mpmath.workdps(60):
        for a, b in zip(p, q, strict=True):
            if a and b:
                total += mpmath.mpf(b.numerator) / b.denominator * exact_f(name, a / b)
            elif b:
                total += float(b) * mpmath.mpf(AT_ZERO.get(name, math.inf))
            elif a:
                total += float(a) * mpmath.mpf(AT_INFINITY.get(name, math.inf))
    return float(total)


# Laws without mass at some points ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_disjoint_laws_have_the_slope_zero(kind: torch.dtype) -> None:
    """p = (.5, .5, 0, 0), q = (0, 0, .4, .6): the criterion is at its maximum, and flat in every direction."""
    p, q = (torch.tensor(law, dtype=kind, requires_grad=True) for law in APART)
    found = value.virtual_criterion(p, q)
    assert found.item() == 0
    for slope in torch.autograd.grad(found, (p, q)):
        assert slope.tolist() == pytest.approx([0.0] * 4, abs=2 * torch.finfo(kind).eps)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("laws", [APART, HALF_SHARED])
def test_values_where_a_law_has_no_mass(name: str, laws: tuple[tuple[float, ...], ...]) -> None:
    p, q = (torch.tensor(law, dtype=torch.float64) for law in laws)
    wanted = exact(name, *([Fraction(x) for x in law] for law in laws))
    assert dv.f_divergence(name, p, q).item() == pytest.approx(wanted, rel=1e-14, abs=1e-15)
    shares = identities.contribution(name, p, q)
    assert not bool(shares.isnan().any()) and bool((shares >= 0).all())


@pytest.mark.parametrize("name", NAMES)
def test_slopes_in_the_parameters_of_laws_without_mass_at_some_points(name: str) -> None:
    """A family of laws that keeps its empty atoms empty; central differences of 60 digits in its parameter."""

    def family(t: Fraction) -> list[Fraction]:
        square = t * t
        return [Fraction(0), square / (1 + square), 1 / (1 + square), Fraction(0)]

    if name in ("reverse-kl", "neyman", "jeffreys"):
        p = [Fraction(0), Fraction(1, 4), Fraction(3, 4), Fraction(0)]  # else the divergence is infinite
    elif name in ("kl", "pearson"):
        p = [Fraction(0), Fraction(1), Fraction(0), Fraction(0)]
    else:
        p = [Fraction(1, 2), Fraction(1, 4), Fraction(0), Fraction(1, 4)]
    at, step = Fraction(3, 4), Fraction(1, 10**8)
    wanted = (exact(name, p, family(at + step)) - exact(name, p, family(at - step))) / float(2 * step)

    t = torch.tensor(float(at), dtype=torch.float64, requires_grad=True)
    zero, square = torch.zeros_like(t), t * t
    q = torch.stack([zero * t, square / (1 + square), 1 / (1 + square), zero * t])
    law = torch.tensor([float(x) for x in p], dtype=torch.float64)
    (slope,) = torch.autograd.grad(dv.f_divergence(name, law, q), t)
    assert slope.item() == pytest.approx(wanted, rel=1e-6, abs=1e-7)


def test_an_infinite_divergence_has_no_nan_slope() -> None:
    p, q = (torch.tensor(law, requires_grad=True) for law in APART)
    found = dv.kl(p, q)
    assert found.item() == math.inf
    assert all(bool((slope == 0).all()) for slope in torch.autograd.grad(found, (p, q)))


def test_the_value_at_an_infinite_optimal_logit_has_slopes() -> None:
    p, q = (torch.tensor(law, requires_grad=True) for law in HALF_SHARED)
    logit = value.optimal_discriminator(p, q)
    found = value.value_of_laws(logit, p, q)
    assert found.item() == pytest.approx(exact("gan", *([Fraction(x) for x in law] for law in HALF_SHARED)), abs=1e-6)
    assert all(bool(slope.isfinite().all()) for slope in torch.autograd.grad(found, (p, q)))


def test_generator_gradients_of_disjoint_laws() -> None:
    """Both halves of Theorem 2.5 where the model has no mass at the data: the saturating loss has slope 0."""
    x = torch.linspace(0, 1, 8, dtype=torch.float64)
    weights = torch.full_like(x, 1.0)
    log_real = torch.tensor([0.25] * 4 + [0.0] * 4, dtype=torch.float64).log()

    def log_model(theta: Tensor, points: Tensor) -> Tensor:
        inside = torch.log_softmax(theta * points[4:], 0)
        return torch.cat([torch.full((4,), -torch.inf, dtype=torch.float64), inside])

    found = identities.generator_gradients(log_real, log_model, torch.tensor(0.7, dtype=torch.float64), x, weights)
    assert found.saturating.item() == 0 and found.two_js.item() == pytest.approx(0, abs=1e-15)
    assert math.isnan(found.nonsaturating.item()) and math.isnan(found.reverse_kl_less_two_js.item())


# Densities that round to zero ----------------------------------------------------------------------------------------


def log_gaussian(mean: Tensor | float, x: Tensor) -> Tensor:
    return -(x - mean).square() / 2 - math.log(2 * math.pi) / 2


SHIFT = 1.3
D = SHIFT**2
CLOSED: dict[str, tuple[float, float]] = {  # value, slope in the shift, of N(0, 1) against N(shift, 1)
    "kl": (D / 2, SHIFT),
    "reverse-kl": (D / 2, SHIFT),
    "jeffreys": (D, 2 * SHIFT),
    "pearson": (math.expm1(D), 2 * SHIFT * math.exp(D)),
    "neyman": (math.expm1(D), 2 * SHIFT * math.exp(D)),
    "squared-hellinger": (-2 * math.expm1(-D / 8), SHIFT / 2 * math.exp(-D / 8)),
}


def js_by_mpmath(shift: float) -> tuple[float, float]:
    """Twice the JSD of N(0, 1) and N(shift, 1), and its slope in the shift."""

    def two_js(s: mpmath.mpf) -> mpmath.mpf:
        def inside(x: mpmath.mpf) -> mpmath.mpf:
            p, q = mpmath.npdf(x, 0, 1), mpmath.npdf(x, s, 1)
            return p * mpmath.log(2 * p / (p + q)) + q * mpmath.log(2 * q / (p + q))

        return mpmath.quad(inside, [-20, -8, -2, 0, 2, 4, 10, 20])

    with mpmath.workdps(30):
        e, at = mpmath.mpf(10) ** -8, mpmath.mpf(shift)
        return float(two_js(at)), float((two_js(at + e) - two_js(at - e)) / (2 * e))


@pytest.fixture(scope="module")
def closed() -> dict[str, tuple[float, float]]:
    two_js = js_by_mpmath(SHIFT)
    return CLOSED | {"js": two_js, "gan": (two_js[0] - math.log(4), two_js[1])}


@pytest.mark.parametrize(("kind", "reach", "error"), [(torch.float64, 38.0, 1e-11), (torch.float32, 14.0, 3e-5)])
@pytest.mark.parametrize("name", NAMES)
def test_grids_on_which_densities_round_to_zero(
    name: str, kind: torch.dtype, reach: float, error: float, closed: dict[str, tuple[float, float]]
) -> None:
    x = torch.linspace(-reach, reach, 4001, dtype=kind)
    weights = torch.full_like(x, 2 * reach / 4000)
    mean = torch.tensor(SHIFT, dtype=kind, requires_grad=True)
    logs = log_gaussian(0.0, x), log_gaussian(mean, x)
    assert float(logs[1].detach().exp().min()) < torch.finfo(kind).tiny  # the grid reaches that far
    found = dv.f_divergence_of_logs(name, *logs, weights)
    (slope,) = torch.autograd.grad(found, mean)
    wanted, wanted_slope = closed[name]
    assert found.item() == pytest.approx(wanted, rel=error) and slope.item() == pytest.approx(wanted_slope, rel=error)


@pytest.mark.parametrize(("kind", "reach", "error"), [(torch.float64, 38.0, 1e-9), (torch.float32, 14.0, 3e-5)])
def test_criterion_and_generator_gradients_on_these_grids(
    kind: torch.dtype, reach: float, error: float, closed: dict[str, tuple[float, float]]
) -> None:
    x = torch.linspace(-reach, reach, 4001, dtype=kind)
    weights = torch.full_like(x, 2 * reach / 4000)
    mean = torch.tensor(SHIFT, dtype=kind, requires_grad=True)
    criterion = value.virtual_criterion(log_gaussian(0.0, x).exp(), log_gaussian(mean, x).exp(), weights)
    (slope,) = torch.autograd.grad(criterion, mean)
    assert criterion.item() == pytest.approx(closed["gan"][0], rel=error)
    assert slope.item() == pytest.approx(closed["js"][1], rel=error)
    found = identities.generator_gradients(log_gaussian(0.0, x), log_gaussian, mean.detach(), x, weights)
    two_js, reverse = closed["js"][1], SHIFT - closed["js"][1]
    assert [float(slope) for slope in found] == pytest.approx([two_js, reverse, two_js, reverse], rel=error)


@pytest.mark.parametrize("name", NAMES)
def test_contributions_far_out_are_numbers(name: str) -> None:
    for kind, reach in ((torch.float64, 60.0), (torch.float32, 30.0)):
        x = torch.linspace(-reach, reach, 601, dtype=kind)
        shares = identities.contribution(name, log_gaussian(0.0, x).exp(), log_gaussian(SHIFT, x).exp())
        assert not bool(shares.isnan().any()) and bool((shares >= 0).all())


# Near-equal laws in float32 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_near_equal_laws_stay_in_range(name: str, seed: int) -> None:
    """Laws that differ in the last bits of float32: never below the minimum, and right to a tenth per cent."""
    rng = np.random.default_rng(seed)
    p = torch.from_numpy(rng.dirichlet(np.ones(50)).astype(np.float32))
    noise = torch.from_numpy(rng.choice([-1.0, 1.0], 50).astype(np.float32))
    for size in (0.0, 1e-7, 1e-6, 1e-5, 1e-4):
        q = p * (1 + size * noise)
        found, low = dv.f_divergence(name, p, q).item(), -math.log(4) if name == "gan" else 0.0
        assert found >= np.float32(low)
        second = {"kl": 1, "reverse-kl": 1, "squared-hellinger": 0.5, "js": 0.5, "gan": 0.5}.get(name, 2)
        # To second order D = f''(1)/2 sum (p - q)^2 / q, from the entries as they were rounded.
        a, b = p.double().numpy(), q.double().numpy()
        wanted = low + second / 2 * float(((a - b) ** 2 / b).sum())
        assert found == pytest.approx(wanted, rel=1e-3, abs=1e-20) or name == "gan"


def test_disjoint_laws_in_float32_do_not_exceed_log_two() -> None:
    for seed in range(20):
        p, q = (torch.from_numpy(x.astype(np.float32)) for x in np.random.default_rng(seed).dirichlet(np.ones(99), 2))
        law, other = torch.cat([p, torch.zeros(99)]), torch.cat([torch.zeros(99), q])
        assert dv.js(law, other).item() <= np.float32(math.log(2)) and value.virtual_criterion(law, other).item() <= 0


# f-GAN's output maps far out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["neyman", "squared-hellinger"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("v", [-30.0, -3.0, 0.0, 0.5, 1.0, 1.0001, 20.0, 36.0, 80.0])
def test_slopes_of_output_maps_keep_their_digits(name: str, kind: torch.dtype, v: float) -> None:
    """g_f(v) = 1 - e^-v; f*(g_f(v)) = 2 - 2 e^(-v/2) (Neyman), e^v - 1 (Hellinger)."""
    wanted = [mpmath.exp(-v), mpmath.exp(-v / 2) if name == "neyman" else mpmath.exp(v)]
    loss, error = FGan(divergence=name), 4e-6 if kind == torch.float32 else 1e-14
    score = torch.tensor([v], dtype=kind, requires_grad=True)
    maps: list[Callable[[Tensor], Tensor]] = [
        lambda h: -loss.discriminator(h, torch.zeros_like(h)),
        lambda h: loss.discriminator(torch.zeros_like(h), h),
    ]
    for function, slope in zip(maps, wanted, strict=True):
        (found,) = torch.autograd.grad(function(score), score)
        assert found.item() == pytest.approx(float(slope), rel=error)


@pytest.mark.parametrize("v", [-50.0, -36.0, -1.5, -1.0, -1e-9, 0.0, 1e-9, 0.7, 300.0])
def test_expm1_and_its_slopes(v: float) -> None:
    t = torch.tensor(v, dtype=torch.float64, requires_grad=True)
    found = dv.expm1(t)
    (first,) = torch.autograd.grad(found, t, create_graph=True)
    (second,) = torch.autograd.grad(first, t)
    assert found.item() == pytest.approx(float(mpmath.expm1(v)), rel=1e-15)
    assert first.item() == second.item() == pytest.approx(float(mpmath.exp(v)), rel=1e-14)


# Points that are not numbers -----------------------------------------------------------------------------------------

BAD = torch.tensor([[0.0, 1.0], [math.nan, 0.0], [2.0, 2.0]])
GOOD = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]])
LAW = torch.full((3,), 1 / 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda bad: transport.assignment(bad, GOOD),
        lambda bad: transport.assignment(GOOD, bad),
        lambda bad: transport.costs(GOOD, bad, order=2.0),
        lambda bad: transport.sliced(bad, GOOD, torch.eye(2)),
        lambda bad: transport.line_potential(LAW, LAW, bad[:, 0]),
        lambda bad: dv.wasserstein_1d(LAW, LAW, bad[:, 0]),
        lambda bad: supports.set_distance(bad, GOOD),
        lambda bad: supports.two_nn_dimension(bad.repeat(4, 1)),
        lambda bad: supports.pca_dimension(bad),
        lambda bad: supports.intersection_dimension(bad, GOOD),
        lambda bad: supports.jacobian_rank(lambda z: z * bad[1], torch.ones(2, 2)),
    ],
)
@pytest.mark.parametrize("entry", [math.nan, math.inf])
def test_points_that_are_not_finite_are_refused(call: Callable[[Tensor], object], entry: float) -> None:
    bad = torch.where(BAD.isnan(), entry, BAD)
    with pytest.raises(ValueError, match="not finite"):
        call(bad)


@pytest.mark.parametrize("distance", [measured.exact_w1, measured.sliced_w1])
def test_measures_refuse_them_too(distance: Callable[[Tensor, Tensor], float]) -> None:
    with pytest.raises(DataError):
        distance(BAD, GOOD)


def test_equal_laws_have_distance_zero_and_slope_zero() -> None:
    law = torch.tensor([0.5, 0.25, 0.25], requires_grad=True)
    found = dv.wasserstein_1d(law, law.detach(), torch.tensor([0.0, 1.0, 3.0]), order=2.0)
    assert found.item() == 0 and torch.autograd.grad(found, law)[0].tolist() == [0.0] * 3
