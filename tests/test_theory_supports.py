"""Ranks, dimensions, perfect discriminators and the vanishing gradient, against numpy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import null_space
from torch import Tensor, nn

from equilibria.theory.supports import (
    crossing_discriminator,
    generator_gradient,
    intersect_transversally,
    intersection_dimension,
    jacobian_rank,
    jacobian_singular_values,
    pca_dimension,
    set_distance,
    smooth_norm,
    smooth_perfect_discriminator,
    smooth_step,
    two_nn_dimension,
    vanishing_bound,
)

F64 = torch.float64


def mlp(inputs: int, outputs: int, act: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 16), act, nn.Linear(16, 16), act, nn.Linear(16, outputs)).double()


# Lemma 1: rank and dimension ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [nn.ReLU(), nn.LeakyReLU(0.2), nn.Softplus(), nn.Tanh()], ids=repr)
@pytest.mark.parametrize("k", [1, 3])
def test_the_rank_is_that_of_finite_differences_and_at_most_dim_z(act: nn.Module, k: int) -> None:
    generate, z = mlp(k, 8, act), torch.randn(6, k, dtype=F64)
    found = jacobian_rank(generate, z)
    step = 1e-6 * torch.eye(k, dtype=F64)
    with torch.no_grad():
        slopes = torch.stack([(generate(z + e) - generate(z - e)) / 2e-6 for e in step], 2)
    singular = np.linalg.svd(slopes.numpy(), compute_uv=False)
    assert jacobian_singular_values(generate, z).detach().numpy() == pytest.approx(singular, abs=1e-7)
    assert found.tolist() == (singular > 1e-6).sum(1).tolist()
    assert int(found.max()) <= k


def test_a_linear_map_cannot_raise_the_dimension_but_can_lower_it() -> None:
    squash = torch.randn(4, 1, dtype=F64) @ torch.randn(1, 3, dtype=F64)
    assert jacobian_rank(lambda z: z @ squash.T, torch.randn(5, 3, dtype=F64)).tolist() == [1] * 5


@pytest.mark.parametrize("k", [1, 2, 4])
def test_samples_of_a_generator_have_the_dimension_of_its_latents(k: int) -> None:
    weights = torch.randn(k, 9, dtype=F64)
    x = torch.rand(1500, k, dtype=F64) @ weights
    assert two_nn_dimension(x) == pytest.approx(k, rel=0.12)
    assert pca_dimension(x, share=1.0) == k
    assert pca_dimension(x, share=1.0, neighbours=12) == k


def test_a_curve_has_a_large_hull_and_a_small_dimension() -> None:
    t = torch.linspace(0, 2 * math.pi, 800, dtype=F64)
    knot = torch.stack([t.sin() + 2 * (2 * t).sin(), t.cos() - 2 * (2 * t).cos(), -(3 * t).sin()], 1)
    jittered = knot + 1e-9 * torch.randn(knot.shape, dtype=F64)
    assert pca_dimension(jittered) == 3 and pca_dimension(jittered, neighbours=6) == pytest.approx(1, abs=0.02)


def test_a_reference_estimate_of_two_nn() -> None:
    """The slope by numpy's least squares, without the intercept."""
    x = torch.rand(400, 2, dtype=F64)
    d = np.sort(np.linalg.norm(x.numpy()[:, None] - x.numpy(), axis=-1), 1)
    log_ratio = np.sort(np.log(d[:, 2] / d[:, 1]))[:360]
    rest = -np.log(1 - np.arange(1, 361) / 401)
    assert two_nn_dimension(x) == pytest.approx(np.linalg.lstsq(log_ratio[:, None], rest, rcond=None)[0][0], rel=1e-9)


# Definitions 2.1, 2.2 and Lemma 2 ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("d", "j", "k", "shared"), [(2, 1, 1, 0), (3, 1, 1, 0), (3, 2, 2, 0), (4, 2, 3, 1), (5, 2, 2, 2)]
)
def test_dimensions_of_intersections(d: int, j: int, k: int, shared: int) -> None:
    common = torch.randn(d, shared, dtype=F64)
    a = torch.cat([common, torch.randn(d, j - shared, dtype=F64)], 1)
    b = torch.cat([common, torch.randn(d, k - shared, dtype=F64)], 1)
    wanted = null_space(torch.cat([a, -b], 1).numpy()).shape[1]
    assert intersection_dimension(a, b) == wanted
    assert intersect_transversally(a, b) == (j + k - wanted == d)


def test_curves_that_meet_in_space_part_under_a_random_translation() -> None:
    """Lemma 2: they align where they meet, and after independent translations almost surely do not meet."""
    a, b = torch.randn(3, 1, dtype=F64), torch.randn(3, 1, dtype=F64)
    assert not intersect_transversally(a, b)
    across = torch.linalg.cross(a[:, 0], b[:, 0])
    moved = torch.randn(1000, 3, dtype=F64)
    assert float((moved @ across / across.norm()).abs().min()) > 0


def test_translations_must_be_absolutely_continuous() -> None:
    """Lemma 2 with the same segment twice: shifts along it have no atoms, and the copies overlap and align."""
    direction = torch.tensor([[1.0], [0.0]], dtype=F64)
    assert not intersect_transversally(direction, direction)
    shifts = torch.from_numpy(np.random.default_rng(0).uniform(0, 0.4, (2, 1000)))  # of [0, 1] x {0} along itself
    overlap = (torch.minimum(*shifts) + 1) - torch.maximum(*shifts)
    assert float(overlap.min()) > 0.5 and len(shifts.unique()) == 2000
    apart = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 1000, 2)))  # with a density in the plane
    assert float((apart[0] - apart[1])[:, 1].abs().min()) > 0  # parallel lines at different heights do not meet


def test_crossing_supports_have_a_discriminator_that_is_flat_almost_everywhere() -> None:
    """Theorem 2.2 for a circle and a line that cross in two points, at random points of both."""

    def to_circle(x: Tensor) -> Tensor:
        return (x.norm(dim=1) - 1).abs()

    def to_line(x: Tensor) -> Tensor:
        return (x[:, 1] - 0.5).abs()

    judge = crossing_discriminator(to_circle, to_line)
    rng = np.random.default_rng(0)
    angles, along = torch.from_numpy(rng.uniform(0, 2 * math.pi, 4000)), torch.from_numpy(rng.uniform(-2, 2, 4000))
    real = torch.stack([angles.cos(), angles.sin()], 1)
    fake = torch.stack([along, torch.full_like(along, 0.5)], 1)
    real = real / real.norm(dim=1, keepdim=True)
    for points, wanted, other in ((real, 1.0, to_line), (fake, 0.0, to_circle)):
        clear = other(points) > 1e-9  # rounding puts a point of the circle up to 1e-16 beside it
        assert float(clear.double().mean()) > 0.999
        assert bool((judge(points)[clear] == wanted).all())
        # Locally constant: it has the same value in a ball whose radius is less than half the way to the other set.
        for _ in range(20):
            step = torch.from_numpy(rng.standard_normal(points.shape))
            step = 0.45 * other(points)[:, None] * step / step.norm(dim=1, keepdim=True)
            assert bool((judge(points + step)[clear] == wanted).all())
    crossing = torch.tensor([[math.sqrt(0.75), 0.5]], dtype=F64)
    sides = judge(crossing + 1e-3 * torch.tensor([[1.0, 0.0], [-0.5, math.sqrt(0.75)]], dtype=F64))
    assert sides.tolist() == [0.0, 1.0]  # and not continuous where they cross
    with pytest.raises(ValueError, match=r"\(n,\)"):
        crossing_discriminator(to_circle, lambda x: x)(real)
    with pytest.raises(ValueError, match=">= 0"):
        crossing_discriminator(to_circle, lambda x: -to_line(x))(real)


# Theorem 2.1 -------------------------------------------------------------------------------------------------------


def test_the_step_is_flat_at_both_ends_and_smooth_between() -> None:
    t = torch.linspace(-0.5, 1.5, 20001, dtype=F64)
    values = smooth_step(t).numpy()
    assert values[t.numpy() <= 0].max() == 0 and values[t.numpy() >= 1].min() == 1 and (np.diff(values) >= 0).all()
    fourth = np.diff(values, 4) / float(t[1] - t[0]) ** 4  # a kink in any derivative up to the third would explode
    assert np.abs(fourth).max() < 1e4


def lines(n: int) -> tuple[Tensor, Tensor]:
    u = torch.linspace(0, 1, n, dtype=F64)
    return torch.stack([torch.zeros_like(u), u], 1), torch.stack([torch.ones_like(u), u], 1)


def test_a_perfect_discriminator_is_flat_on_both_supports() -> None:
    """The nets are coarse; the statement is for all points of the lines between them too."""
    judge = smooth_perfect_discriminator(*lines(21), net=0.025)
    real, fake = lines(97)
    x = torch.cat([real, fake]).requires_grad_()
    scores = judge(x)
    (slopes,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    assert scores.detach().tolist() == [1.0] * 97 + [0.0] * 97
    assert float(slopes.detach().abs().max()) == 0
    near = x.detach() + 0.3 * torch.nn.functional.normalize(torch.randn(194, 2, dtype=F64), dim=1)
    assert judge(near).tolist() == [1.0] * 97 + [0.0] * 97, "constant on the thickened sets"
    between = judge(torch.tensor([[0.5, 0.5]], dtype=F64)).item()
    assert 0 < between < 1, "E6: not everywhere"


def test_its_slopes_are_those_of_finite_differences() -> None:
    judge = smooth_perfect_discriminator(*lines(5))
    x = torch.tensor([[0.45, 0.3], [0.55, 0.9], [0.5, -0.2]], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(judge, (x,)) and torch.autograd.gradgradcheck(judge, (x,))


# Theorem 2.4 -------------------------------------------------------------------------------------------------------

START = {"shift": torch.tensor([1.0, 0.0], dtype=F64), "stretch": torch.tensor(1.0, dtype=F64)}


def generate(parameters: dict[str, Tensor], z: Tensor) -> Tensor:
    return parameters["shift"] + parameters["stretch"] * torch.cat([torch.zeros_like(z), z], 1)


def imperfect(epsilon: float) -> tuple[nn.Module, float]:
    perfect = smooth_perfect_discriminator(*lines(33), net=0.02)
    axis = torch.linspace(-0.5, 1.5, 41, dtype=F64)
    grid = torch.cartesian_prod(axis, axis)

    def error(x: Tensor) -> Tensor:
        return (1 + (x[:, 0] + x[:, 1]).sin() / 2) * (1 - 2 * perfect(x))

    scale = 0.999 * epsilon / smooth_norm(error, grid)
    return (lambda x: perfect(x) + scale * error(x)), smooth_norm(lambda x: scale * error(x), grid)


def test_the_generator_gets_no_gradient_from_a_perfect_discriminator() -> None:
    z = torch.linspace(0, 1, 50, dtype=F64)[:, None]
    assert generator_gradient(smooth_perfect_discriminator(*lines(33), net=0.02), generate, START, z).norm == 0


def test_the_gradient_is_below_the_bound_and_of_first_order() -> None:
    z = torch.linspace(0, 1, 50, dtype=F64)[:, None]
    sizes, norms = [0.3, 0.1, 0.03, 0.01], []
    for epsilon in sizes:
        judge, norm = imperfect(epsilon)
        assert norm < epsilon
        found = generator_gradient(judge, generate, START, z)
        assert 0 < found.norm < vanishing_bound(epsilon, found.jacobian)
        norms.append(found.norm)
    slope = np.polyfit(np.log(sizes), np.log(norms), 1)[0]
    assert slope == pytest.approx(1, abs=0.05)


def test_the_bound_on_the_square_does_not_bound_the_norm() -> None:
    """E41: D = ε/4 (2 + sin x) where D* = 0 has a gradient of about ε/4, which is above M²ε²/(1-ε)²."""
    epsilon, z = 0.01, torch.zeros(20, 1, dtype=F64)

    def judge(x: Tensor) -> Tensor:
        return epsilon / 4 * (2 + x[:, 0].sin())

    found = generator_gradient(judge, lambda p, z: z + p["at"], {"at": torch.zeros(1, dtype=F64)}, z)
    assert smooth_norm(judge, torch.linspace(-9, 9, 999, dtype=F64)[:, None]) < epsilon and found.jacobian == 1
    assert (epsilon / (1 - epsilon)) ** 2 < found.norm < vanishing_bound(epsilon, found.jacobian)


def test_the_gradient_and_the_moment_in_closed_form() -> None:
    """D = σ(w·x): the saturating slope is -E σ(h) w; J = [I, (0, z)] has spectral norm sqrt(1 + z²)."""
    w, z = torch.tensor([0.7, -0.4], dtype=F64), torch.linspace(-1, 2, 30, dtype=F64)[:, None]
    x = generate(START, z)
    weights = (x @ w).sigmoid()[:, None]
    wanted = torch.cat([(weights * w).mean(0), (weights[:, 0] * (z[:, 0] * w[1])).mean()[None]])
    found = generator_gradient(lambda x: (x @ w).sigmoid(), generate, START, z)
    assert found.norm == pytest.approx(float(wanted.norm()), rel=1e-12)
    assert found.jacobian == pytest.approx(math.sqrt(float((1 + z.square()).mean())), rel=1e-12)
    weights = (-(x @ w)).sigmoid()[:, None]
    wanted = torch.cat([(weights * w).mean(0), (weights[:, 0] * (z[:, 0] * w[1])).mean()[None]])
    other = generator_gradient(lambda x: (x @ w).sigmoid(), generate, START, z, saturating=False)
    assert other.norm == pytest.approx(float(wanted.norm()), rel=1e-12)


def test_the_sup_norm_alone_is_not_enough() -> None:
    """E8: D* + ε sin(x/ε²) is within ε of D* and has slopes of 1/ε."""
    epsilon, x = 0.01, torch.linspace(0, 1, 5001, dtype=F64)[:, None]

    def error(x: Tensor) -> Tensor:
        return epsilon * (x[:, 0] / epsilon**2).sin()

    assert float(error(x).abs().max()) <= epsilon and smooth_norm(error, x) > 0.99 / epsilon


def test_wrong_calls_say_what_is_wanted() -> None:
    with pytest.raises(ValueError, match="must be disjoint"):
        smooth_perfect_discriminator(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"resolution 0\.3"):
        smooth_perfect_discriminator(torch.zeros(1, 2), torch.ones(1, 2), net=0.3)
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\)"):
        vanishing_bound(1.0, 1.0)
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        generator_gradient(lambda x: x[:, 0] + 2, generate, START, torch.zeros(2, 1, dtype=F64))
    with pytest.raises(ValueError, match="no parameters"):
        generator_gradient(lambda x: x[:, 0], lambda p, z: z, {}, torch.zeros(2, 1))
    with pytest.raises(ValueError, match="coincide"):
        two_nn_dimension(torch.zeros(20, 2))
    with pytest.raises(ValueError, match="share 2"):
        pca_dimension(torch.zeros(20, 2), share=2)
    with pytest.raises(ValueError, match=r"pass \(n, k\)"):
        jacobian_rank(lambda z: z, torch.zeros(3))
    with pytest.raises(ValueError, match="keep rows"):
        jacobian_rank(lambda z: z[:1], torch.zeros(3, 2))
    with pytest.raises(ValueError, match="none of them empty"):
        set_distance(torch.zeros(0, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="tangents"):
        intersection_dimension(torch.eye(2), torch.eye(3))
