"""Witnesses of errata: what is commonly printed is computed beside what is true (docs/theory/errata.md)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import chi2, entropy, norm
from torch import Tensor

import battery
from equilibria.core.game import field_of, make_draw, parameters_of, state_of
from equilibria.losses import Minimax
from equilibria.theory import nash
from equilibria.theory.divergences import F_DIVERGENCES, f_divergence, js, kl
from equilibria.theory.landscape import fit_mixture
from equilibria.theory.smoothing import Atoms, gauss_hermite, noised_gradient, pull
from equilibria.theory.supports import generator_gradient, jacobian_singular_values, smooth_norm, vanishing_bound
from equilibria.theory.value import (
    density_descent,
    optimal_conditional_discriminator,
    optimal_discriminator,
    value,
    value_of_laws,
    virtual_criterion,
)
from test_battery import GAMES

F64 = torch.float64


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)[:, None]


def jsd(p: np.ndarray, q: np.ndarray) -> float:
    m = (p + q).ravel() / 2
    return float(entropy(p.ravel(), m) + entropy(q.ravel(), m)) / 2


# The discriminator and the value: E2, E3, E19, E20, E25, E50, E52 -----------------------------------------------------


def test_a_two_valued_discriminator_has_no_finite_value() -> None:
    """E2: D in {0, 1} errs somewhere on every pair of laws that overlap, and log 0 is the price."""
    p, q = torch.tensor([0.5, 0.3, 0.2], dtype=F64), torch.tensor([0.2, 0.3, 0.5], dtype=F64)
    for hard in itertools.product([-math.inf, math.inf], repeat=3):
        assert float(value_of_laws(torch.tensor(hard, dtype=F64), p, q)) == -math.inf
    best = float(value_of_laws(optimal_discriminator(p, q), p, q))
    assert best == pytest.approx(2 * jsd(p.numpy(), q.numpy()) - math.log(4), abs=1e-12) and math.isfinite(best)


def test_the_value_rises_with_real_scores_and_falls_with_fake_ones() -> None:
    """E3: and the generator's loss does not read the real scores at all."""
    real, fake = torch.randn(2, 7, dtype=F64)
    up, down = (torch.func.grad(value, argnums=i)(real, fake) for i in (0, 1))
    assert bool((up > 0).all() and (down < 0).all())
    step = 1e-6
    assert float((value(real + step, fake) - value(real - step, fake)) / (2 * step)) == pytest.approx(float(up.sum()))
    assert torch.equal(Minimax().generator(fake, real), Minimax().generator(fake, real + 5))


def test_expectations_are_push_forwards_and_need_no_inverse() -> None:
    """E20: G(z) = z² has none, and its law is chi-square; for G(z) = 2z + 1 the printed density integrates to 0."""

    def seen(x: float) -> float:
        return -float(np.logaddexp(0, x - 1))

    through = quad(lambda z: norm.pdf(z) * seen(z * z), -9, 9, epsabs=1e-12)[0]
    density = quad(lambda x: chi2.pdf(x, 1) * seen(x), 0, 90, epsabs=1e-10, limit=200)[0]
    assert through == pytest.approx(density, abs=1e-8)

    printed = quad(lambda x: norm.pdf((x - 1) / 2) * (x - 1) / 2, -30, 30)[0]
    right = quad(lambda x: norm.pdf((x - 1) / 2) / 2, -30, 30)[0]
    assert printed == pytest.approx(0, abs=1e-12) and right == pytest.approx(1)


def test_the_latents_own_density_weighs_the_generator_s_term() -> None:
    """E19: under p_z(x) the term of a law off the latent's support is 0 whatever D, z ~ U(0, 1), G(z) = z + 2."""

    def uniform(t: float) -> float:
        return float(0 <= t <= 1)

    def loss(z: float) -> float:
        return math.log(1 - 1 / (1 + math.exp(2.5 - (z + 2))))

    right = quad(lambda z: uniform(z) * loss(z), 0, 1)[0]
    printed = [quad(lambda z, x=x: uniform(x) * loss(z), 0, 1)[0] for x in (2.5, 0.5)]
    assert round(right, 4) == -0.7035 and printed == pytest.approx([0, right])


def test_a_discriminator_blind_to_labels_of_fakes_accepts_a_generator_that_ignores_them() -> None:
    """E25: p(x|y) at x = y, and a generator that tosses a coin: the pairs differ by .2158 nats, the images by 0."""
    p, q = torch.eye(2, dtype=F64), torch.full((2, 2), 0.5, dtype=F64)
    joint = virtual_criterion((p / 2).flatten(), (q / 2).flatten()) + math.log(4)
    assert float(joint) / 2 == pytest.approx(jsd(p.numpy() / 2, q.numpy() / 2), abs=1e-12)
    assert round(float(joint) / 2, 4) == 0.2158
    assert float(js((p / 2).sum(0), (q / 2).sum(0))) == 0
    seen = optimal_conditional_discriminator(p, q).sigmoid()
    assert seen.numpy() == pytest.approx(np.array([[2 / 3, 0], [0, 2 / 3]]))


def test_the_optimal_discriminator_follows_the_curve_of_the_data() -> None:
    """E50: D* > 1/2 exactly where the data's density is above the generator's; with the names swapped it is below."""
    x = np.linspace(-3, 4.3, 74)
    p, q = norm.pdf(x), norm.pdf(x, 1.3)
    d = optimal_discriminator(torch.tensor(p), torch.tensor(q)).sigmoid().numpy()
    assert ((d > 0.5) == (p > q)).all() and d == pytest.approx(p / (p + q))
    at_zero = optimal_discriminator(torch.tensor([norm.pdf(0)]), torch.tensor([norm.pdf(0, 1.3)])).sigmoid()
    assert round(float(at_zero), 4) == 0.6995 and round(1 - float(at_zero), 4) == 0.3005


def test_the_pointwise_maximum_needs_weights_that_are_not_negative() -> None:
    """E52: at a = b = -1 the point a/(a+b) is the minimum of a log y + b log(1 - y); at a = 2, b = -1 it is outside."""
    y = np.linspace(1e-9, 1 - 1e-9, 100_001)

    def total(a: float, b: float) -> np.ndarray:
        return a * np.log(y) + b * np.log(1 - y)

    assert y[total(-1, -1).argmin()] == pytest.approx(0.5) and total(-1, -1).max() > 20
    assert 2 / (2 - 1) > 1 and y[total(2, -1).argmax()] == y[-1]
    assert y[total(3, 1).argmax()] == pytest.approx(0.75, abs=1e-4)


# Disjoint and thin laws: E5, E8, E17, E33 -----------------------------------------------------------------------------


def test_disjoint_laws_are_log_two_apart_and_not_zero() -> None:
    """E5: on supp p the mean is p/2, so each KL is log 2; and it stays so wherever the second law is."""
    for place in (1, 2, 3):
        p, q = torch.eye(4, dtype=F64)[0], torch.eye(4, dtype=F64)[place]
        m = (p + q) / 2
        assert [float(kl(law, m)) for law in (p, q)] == pytest.approx([math.log(2)] * 2)
        assert round(float(js(p, q)), 6) == 0.693147 and float(kl(p, p)) == 0


def test_a_sup_norm_bound_leaves_a_large_gradient() -> None:
    """E8: D = ε/2 (1 + sin(x/ε²)) is within ε of D* = 0 and moves the generator by 4,975 bounds."""
    epsilon = 0.01

    def judge(x: Tensor) -> Tensor:
        return epsilon / 2 * (1 + (x[:, 0] / epsilon**2).sin())

    x = torch.linspace(-1e-3, 1e-3, 20_001, dtype=F64)[:, None]
    start, z = {"at": torch.zeros(1, dtype=F64)}, torch.zeros(8, 1, dtype=F64)
    found = generator_gradient(judge, lambda p, z: z + p["at"], start, z)
    assert float(judge(x).max()) <= epsilon and smooth_norm(judge, x) > 1
    assert found.norm == pytest.approx(1 / (2 * epsilon) / (1 - epsilon / 2))
    assert found.norm > 4900 * vanishing_bound(epsilon, found.jacobian)


def test_a_rectifier_layer_makes_more_pieces_than_it_has_units() -> None:
    """E17: three units on a plane of latents make 1 + 3 + 3 = 7 affine pieces, not fewer than 3."""
    weights = torch.tensor([[1.0, 0.2], [-0.4, 1.0], [0.7, -0.9]], dtype=F64)
    offsets = torch.tensor([0.1, -0.2, 0.3], dtype=F64)
    axis = torch.linspace(-3, 3, 241, dtype=F64)
    z = torch.cartesian_prod(axis, axis)
    active = z @ weights.T + offsets > 0
    patterns = {tuple(row) for row in active.tolist()}
    slopes = {tuple((weights * active[i, :, None]).flatten().tolist()) for i in range(len(z))}
    assert len(patterns) == len(slopes) == sum(math.comb(3, i) for i in range(3)) == 7


def test_no_latent_need_have_the_slope_of_the_mean_value_theorem() -> None:
    """E33: once round a circle the quotient is 0 and every slope is 1; only the largest slope is bounded from below."""

    def circle(z: Tensor) -> Tensor:
        return torch.cat([z.cos(), z.sin()], 1)

    z = torch.linspace(0, 2 * math.pi, 101, dtype=F64)[:, None]
    slopes = jacobian_singular_values(circle, z)
    quotient = float((circle(z[-1:]) - circle(z[:1])).norm()) / (2 * math.pi)
    assert quotient < 1e-12 and slopes.numpy() == pytest.approx(1)
    for last in (10, 40, 77):
        part = float((circle(z[last : last + 1]) - circle(z[:1])).norm() / (z[last] - z[0]))
        assert float(slopes[: last + 1].max()) >= part and part < 0.99


# What the generator descends: E14, E57, E59, E63 ----------------------------------------------------------------------


def test_both_losses_are_linear_in_the_law_and_of_no_one_curvature_in_parameters() -> None:
    """E14: data of two modes, D* frozen at N(0, 1), generator N(θ, 1)."""
    x = np.linspace(-12, 12, 4801)

    def model(theta: float) -> np.ndarray:
        return norm.pdf(x, theta)

    frozen = np.log((norm.pdf(x, -3, 0.5) + norm.pdf(x, 3, 0.5)) / 2 + 1e-300) - np.log(model(0.0))

    def loss(law: np.ndarray, saturating: bool) -> float:
        each = -np.logaddexp(0, frozen) if saturating else np.logaddexp(0, -frozen)
        return float((each * law).sum() * (x[1] - x[0]))

    for saturating in (True, False):
        ends = [loss(model(m), saturating) for m in (-1.0, 2.0)]
        mixed = loss(0.3 * model(-1.0) + 0.7 * model(2.0), saturating)
        assert mixed == pytest.approx(0.3 * ends[0] + 0.7 * ends[1], abs=1e-10)
        curvatures = [
            loss(model(t + 0.05), saturating) - 2 * loss(model(t), saturating) + loss(model(t - 0.05), saturating)
            for t in np.linspace(-5, 5, 41)
        ]
        assert min(curvatures) < -1e-5 and max(curvatures) > 1e-5


def test_the_total_kl_cannot_vanish_where_mass_was_moved() -> None:
    """E57: the term of the region with p → 0 vanishes, and the KL grows all the same."""
    for moved in (0.3, 0.45, 0.499):
        p, q = np.array([0.5 - moved, 0.5 + moved]), np.array([0.5, 0.5])
        terms = p * np.log(p / q)
        assert float(kl(torch.tensor(p), torch.tensor(q))) == pytest.approx(terms.sum()) and terms.sum() > 0.19
    assert abs(terms[0]) < 0.01 < 0.6 < terms.sum()


def test_the_f_of_the_2014_game_is_not_normalised() -> None:
    """E59: f(1) = -log 4, and D_f = 2 JSD - log 4."""
    p, q = np.array([0.1, 0.2, 0.7]), np.array([0.6, 0.3, 0.1])
    assert float(F_DIVERGENCES["gan"].f(torch.ones((), dtype=F64))) == pytest.approx(-math.log(4))
    found = float(f_divergence("gan", torch.tensor(p), torch.tensor(q)))
    assert found == pytest.approx(2 * jsd(p, q) - math.log(4), abs=1e-12)


# Games: E12, E22, E29, E30, E31, E40 ---------------------------------------------------------------------------------


def test_the_adversary_of_an_autoencoder_ascends_the_value() -> None:
    """E22: its block of the field is +∇V, and a step along it raises V = E log D(z) + E log(1 - D(e(x)))."""
    play = battery.started(GAMES["aae"])
    game, draw = play.game, make_draw(play.deal().tensors, seed=0)
    mine = game.moved("discriminator")

    def total() -> Tensor:
        contest = game.contests(draw)["codes"]
        real, fake = contest.scores("real").sigmoid(), contest.scores("fake").sigmoid()
        return real.log().mean() + (1 - fake).log().mean()

    ascent = torch.autograd.grad(total(), list(mine.values()))
    block = field_of(game, parameters_of(game), state_of(game), draw)["discriminator"]
    for name, slope in zip(mine, ascent, strict=True):
        torch.testing.assert_close(block[name], slope, rtol=1e-4, atol=1e-6)
    before = float(total().detach())
    values = {}
    for sign in (1, -1):
        with torch.no_grad():
            for (_, parameter), slope in zip(mine.items(), ascent, strict=True):
                parameter.add_(sign * 0.05 * slope)
            values[sign] = float(total())
            for (_, parameter), slope in zip(mine.items(), ascent, strict=True):
                parameter.sub_(sign * 0.05 * slope)
    assert values[-1] < before < values[1]


def test_writing_min_max_makes_no_equilibrium() -> None:
    """E29: matching pennies: min max = 1, max min = -1, and no cell from which nobody gains by leaving."""
    payoff = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert nash.pure_values(payoff) == (1.0, -1.0) and nash.saddle_points(payoff) == []
    for i, j in itertools.product(range(2), repeat=2):
        assert payoff[i].max() > payoff[i, j] or payoff[:, j].min() < payoff[i, j]


def test_the_nearest_narrow_gaussian_is_the_widest_one_unshifted() -> None:
    """E30: what leaves one candidate for an equilibrium: JSD of N(0, 4) and N(u, w²) over |w| <= 1, by quadrature."""
    x = np.linspace(-30, 30, 12_001)

    def apart(u: float, w: float) -> float:
        return jsd(norm.pdf(x, 0, 2), norm.pdf(x, u, w))

    shifts, widths = np.linspace(0, 6, 25), np.linspace(0.1, 1, 10)
    table = np.array([[apart(u, w) for w in widths] for u in shifts])
    assert (np.diff(table, axis=0) > 0).all() and (np.diff(table, axis=1) < 0).all()


def test_noise_on_the_data_alone_is_learned_and_on_both_sides_it_is_not() -> None:
    """E31: N(0, 1) with noise of variance .64: the best generator has variance 1.64 in the one case, 1 in the other."""
    x = torch.linspace(-14, 14, 2001, dtype=F64)[:, None]
    weights, variance = torch.full((2001,), 0.014, dtype=F64), 0.64
    data = torch.tensor(norm.pdf(x[:, 0].numpy(), 0, math.sqrt(1 + variance)))
    seen = fit_mixture("js", data, x, weights, torch.full((1, 1), 0.3))
    assert seen.std**2 == pytest.approx(1 + variance, abs=1e-4) and seen.divergence == pytest.approx(0, abs=1e-9)
    own = seen.std**2 - variance  # with noise on the generator's side too, what is seen is its law widened as well
    assert own == pytest.approx(1, abs=1e-4)


def test_small_steps_are_part_of_the_convergence_theorem() -> None:
    """E12, E40: the same update with too large a step does not converge, though the criterion is convex."""
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.5, 0.3])
    path = density_descent(torch.tensor(p), torch.tensor(q), 60).numpy()
    assert entropy(p, path[-1]) < 1e-12
    log_q, late = np.log(q), []
    for _ in range(400):
        log_q = log_q - 4.5 * (log_q - np.logaddexp(np.log(p), log_q))
        log_q = log_q - np.logaddexp.reduce(log_q)
        late.append(entropy(p, np.exp(log_q)))
    assert min(late[-20:]) > 0.01  # near p a step multiplies errors by 1 - η/2


# Noise: E46 -----------------------------------------------------------------------------------------------------------


def test_the_weights_of_the_corollary_belong_to_the_noised_point() -> None:
    """E46: kernels at g + ε' with a and b at g give another vector than 2 ∇JSD."""
    real = Atoms(column(-1.0, 0.5, 2.0), torch.tensor([0.2, 0.5, 0.3], dtype=F64))
    made, std = Atoms(column(0.0, 1.0)), 0.6
    noise, weights = gauss_hermite(made.points, std, 60)
    seen = (made.points[:, None] + noise).flatten(0, 1)
    right = pull(seen, real, made, std)
    clean = pull(made.points, real, made, std)
    kernels = [right.data / right.a[:, None], right.model / right.b[:, None]]
    a, b = (w.repeat_interleave(len(noise))[:, None] for w in (clean.a, clean.b))
    printed = float((weights.repeat(2)[:, None] * (a * kernels[0] - b * kernels[1])).sum() / 2)
    wanted = noised_gradient(lambda t: Atoms(made.points + t), torch.zeros((), dtype=F64), real, std, nodes=60)
    own = float((weights.repeat(2)[:, None] * right.slope).sum() / 2)
    assert own == pytest.approx(float(wanted), abs=1e-12) and abs(printed - own) > 0.02


# Elsewhere: not in the lecture notes, but in widely copied material ---------------------------------------------------


def test_eight_angles_from_zero_to_a_full_turn_are_seven_modes() -> None:
    """The published notebook's linspace(0, 2π, 8) puts the first and the last mode on one point."""
    angles = np.linspace(0, 2 * np.pi, 8)
    centres = np.stack([np.cos(angles), np.sin(angles)], 1)
    apart = np.linalg.norm(centres[:, None] - centres, axis=-1) + 9 * np.eye(8)
    assert apart.min() < 1e-12 and (apart < 1e-9).sum() == 2
