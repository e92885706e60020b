"""Laws: densities against quadrature and scipy, samples against densities."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from equilibria.base.errors import ConfigError, DataError, ShapeError
from equilibria.data import LAWS, Curves, GaussianMixture, Law, Segment, law, load

PLANAR = [
    "ring8-U",
    "ring8-M",
    "ring8-P",
    "grid25",
    "circle",
    "mescheder-gaussian",
    "swissroll:0.2",
    "moons:0.1",
    "parallel-lines:0.5,0.1",
    "mescheder-line:0.1",
    "mescheder-circle:0.1",
    "mescheder-four-lines:0.1",
]
NO_DENSITY = ["parallel-lines", "parallel-lines:0.5", "dirac", "swissroll:0", "mescheder-line", "mescheder-circle"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def width(found: Law) -> float:
    return found.noise if isinstance(found, Curves) else float(found.std)


def density_grid(found: Law) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Midpoints covering eight widths beyond the samples, and the density there.

    For a law smoothed by N(0, s² I) the Riemann sum with step .6 s is exact to exp(-2 π² / .36), far below rounding.
    """
    sample = found.sample(4000, generator(1)).double()
    s = width(found)
    step = 0.6 * s
    axes = [np.arange(float(sample[:, i].min()) - 8 * s, float(sample[:, i].max()) + 8 * s, step) for i in (0, 1)]
    x, y = np.meshgrid(*axes, indexing="ij")
    points = torch.from_numpy(np.stack([x.ravel(), y.ravel()], axis=1))
    density = found.log_prob(points).exp().numpy().reshape(x.shape)
    return x, y, density, step**2


@pytest.mark.parametrize("name", PLANAR)
def test_density_integrates_to_one_and_its_entropy_is_that_of_the_samples(name: str) -> None:
    found = law(name)
    _, _, density, cell = density_grid(found)
    assert density.sum() * cell == pytest.approx(1.0, abs=1e-9)
    entropy = -float(np.where(density > 0, density * np.log(np.where(density > 0, density, 1.0)), 0.0).sum() * cell)
    logs = found.log_prob(found.sample(20_000, generator(2)))
    error = float(logs.std()) / math.sqrt(len(logs))
    assert -float(logs.mean()) == pytest.approx(entropy, abs=5 * error)


@pytest.mark.parametrize("name", PLANAR)
def test_samples_fall_into_cells_as_the_density_says(name: str) -> None:
    found = law(name)
    x, y, density, cell = density_grid(found)
    n = 20_000
    sample = found.sample(n, generator(3)).double().numpy()
    # cells whose edges are edges of the quadrature grid, so that no mass is split
    block_x, block_y = max(1, x.shape[0] // 12), max(1, x.shape[1] // 12)
    step = math.sqrt(cell)
    edges_x = x[::block_x, 0] - step / 2
    edges_y = y[0, ::block_y] - step / 2
    counts, _, _ = np.histogram2d(sample[:, 0], sample[:, 1], bins=[np.append(edges_x, 1e9), np.append(edges_y, 1e9)])
    mass = np.add.reduceat(np.add.reduceat(density * cell, np.arange(0, x.shape[0], block_x), axis=0),
                           np.arange(0, x.shape[1], block_y), axis=1)  # fmt: skip
    big = mass * n > 20
    expected, seen = mass[big] * n, counts[big]
    statistic = float(((seen - expected) ** 2 / expected).sum())
    assert big.sum() >= 4
    assert stats.chi2.sf(statistic, df=len(expected)) > 1e-4


@pytest.mark.parametrize("weights", [None, [0.2, 0.5, 0.3]])
def test_mixture_log_density_is_scipys(weights: list[float] | None) -> None:
    centres = [[0.0, 0.0, 1.0], [2.0, -1.0, 0.5], [0.3, 0.2, 0.1]]
    found = GaussianMixture(centres, std=0.4, weights=weights)
    x = torch.randn(50, 3, generator=generator(), dtype=torch.float64)
    parts = [stats.multivariate_normal(c, 0.4**2 * np.eye(3)).logpdf(x.numpy()) for c in centres]
    oracle = np.logaddexp.reduce(np.stack(parts) + np.log(weights or [1 / 3] * 3)[:, None], axis=0)
    np.testing.assert_allclose(found.log_prob(x).numpy(), oracle, rtol=1e-12, atol=1e-12)


def test_log_density_far_from_every_mode_stays_finite() -> None:
    assert float(law("ring8-P").log_prob(torch.tensor([[50.0, 0.0]]))) == pytest.approx(
        -(49.0**2) / (2 * 0.01**2) - math.log(8 * 2 * math.pi * 0.01**2), rel=1e-12
    )


def test_log_density_is_differentiable_and_gives_the_score() -> None:
    x = torch.randn(7, 2, generator=generator(), dtype=torch.float64, requires_grad=True)
    (score,) = torch.autograd.grad(GaussianMixture([[1.0, -1.0]], std=0.5).log_prob(x).sum(), x)
    torch.testing.assert_close(score, -(x.detach() - torch.tensor([1.0, -1.0], dtype=torch.float64)) / 0.25)


def test_noisy_line_has_the_density_of_the_error_function() -> None:
    found = law("mescheder-line:0.05")
    x = torch.tensor([[0.3, 0.02], [1.0, 0.0], [-1.1, 0.05], [0.0, 0.2]], dtype=torch.float64)
    along = (stats.norm.cdf((x[:, 0] + 1) / 0.05) - stats.norm.cdf((x[:, 0] - 1) / 0.05)) / 2
    oracle = np.log(along) + stats.norm.logpdf(x[:, 1], scale=0.05)
    np.testing.assert_allclose(found.log_prob(x).numpy(), oracle, rtol=1e-10)


@pytest.mark.parametrize("at", [(0.0, -0.6), (1.2, 0.9), (-1.88, 0.05)])
def test_swissroll_density_is_the_integral_along_the_spiral(at: tuple[float, float]) -> None:
    s = 0.25 / 7.5

    def term(t: float) -> float:
        dx, dy = at[0] - t * math.cos(t) / 7.5, at[1] - t * math.sin(t) / 7.5
        return math.exp(-(dx * dx + dy * dy) / (2 * s * s)) / (2 * math.pi * s * s) / (3 * math.pi)

    knots = np.linspace(1.5 * math.pi, 4.5 * math.pi, 200)
    oracle = sum(integrate.quad(term, a, b, epsabs=0, epsrel=1e-12)[0] for a, b in itertools.pairwise(knots))
    assert float(law("swissroll").log_prob(torch.tensor([at], dtype=torch.float64)).exp()) == pytest.approx(
        oracle, rel=1e-9
    )


def test_swissroll_radius_and_mescheder_circle_are_uniform() -> None:
    x = law("swissroll:0").sample(4000, generator()).norm(dim=1).numpy() * 7.5
    assert stats.kstest(x, "uniform", args=(1.5 * math.pi, 3 * math.pi)).pvalue > 1e-3
    points = law("mescheder-circle").sample(4000, generator()).numpy()
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, atol=1e-6)
    angles = np.arctan2(points[:, 1], points[:, 0]) % (2 * math.pi)
    assert stats.kstest(angles, "uniform", args=(0, 2 * math.pi)).pvalue > 1e-3


def test_moons_are_two_half_circles() -> None:
    x, which = law("moons:0").draw(500, generator())
    centre = torch.tensor([[0.0, 0.0], [1.0, 0.5]])[which]
    np.testing.assert_allclose((x - centre).norm(dim=1), 1.0, atol=1e-6)
    above = (x - centre)[:, 1] >= -1e-6
    assert torch.equal(above, which == 0)


def test_gaussian_on_the_line_passes_kolmogorov_smirnov() -> None:
    sample = law("gaussian:1,2").sample(4000, generator())[:, 0].numpy()
    assert stats.kstest(sample, "norm", args=(1, 2)).pvalue > 1e-3


def test_three_standard_deviations_hold_98_9_percent() -> None:
    found = law("ring8-U")
    assert found.modes is not None
    distance = torch.cdist(found.sample(50_000, generator()), found.modes).amin(1) / found.std
    assert float((distance < 3).float().mean()) == pytest.approx(1 - math.exp(-4.5), abs=0.002)


def test_conventions_of_the_shared_problems() -> None:
    for name, radius, std in (("ring8-U", 2, 0.02), ("ring8-M", 2, math.sqrt(0.02)), ("ring8-P", 1, 0.01)):
        found = law(name)
        assert found.modes is not None and found.modes.shape == (8, 2) and found.std == pytest.approx(std)
        np.testing.assert_allclose(found.modes.norm(dim=1), radius, rtol=1e-6)
    grid = law("grid25").modes
    assert grid is not None and grid.unique(dim=0).shape == (25, 2) and set(grid.unique().tolist()) == {-4, -2, 0, 2, 4}
    weights = law("circle").weights
    assert weights is not None and float(weights[-1] / weights[0]) == pytest.approx(3.0)


def test_weighted_components_come_as_often_as_their_weights() -> None:
    found = GaussianMixture([[0.0], [1.0], [2.0]], std=0.1, weights=[1.0, 2.0, 5.0])
    _, which = found.draw(40_000, generator())
    counts = np.bincount(which.numpy(), minlength=3)
    assert stats.chisquare(counts, np.array([1, 2, 5]) / 8 * 40_000).pvalue > 1e-3


def test_parallel_lines_are_theta_apart() -> None:
    x = law("parallel-lines:0.25").sample(1000, generator())
    assert set(x[:, 0].tolist()) == {0.25}
    assert stats.kstest(x[:, 1].numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("name", NO_DENSITY)
def test_singular_laws_say_that_they_have_no_density(name: str) -> None:
    found = law(name)
    with pytest.raises(DataError, match="has no density"):
        found.log_prob(torch.zeros(1, found.dim))


@pytest.mark.parametrize("name", LAWS)
def test_every_law_samples_reproducibly_and_leaves_the_global_generator_alone(name: str) -> None:
    found, before = law(name), torch.get_rng_state()
    x = found.sample(64, generator(5))
    assert x.shape == (64, found.dim) and x.dtype == torch.float32 and bool(x.isfinite().all())
    assert torch.equal(x, found.sample(64, generator(5)))
    assert torch.equal(torch.get_rng_state(), before)


def test_names_are_read_leniently_and_reopen() -> None:
    assert law("RING8_u").name == "ring8-U" and law("two_moons").name == "moons"
    again = law(law("parallel-lines:0.5").name)
    assert again.parameters() == law("parallel-lines:.5").parameters()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("grid52", "did you mean 'grid25'"),
        ("grid25:a", "not a list of numbers"),
        ("dirac:1,2", "write 'dirac:0' "),
        ("gaussian:nan", "finite"),
    ],
)
def test_a_wrong_name_or_parameter_is_a_config_error(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        law(name)


def test_bad_mixtures_and_points_are_refused() -> None:
    with pytest.raises(DataError, match="std=0"):
        law("grid25:0")
    with pytest.raises(DataError, match="weights"):
        GaussianMixture([[0.0], [1.0]], std=1.0, weights=[1.0, -1.0])
    with pytest.raises(DataError, match="centres"):
        GaussianMixture([], std=1.0)
    with pytest.raises(DataError, match="noise=-1"):
        Curves([Segment((0.0, 1.0))], noise=-1.0)
    with pytest.raises(ShapeError, match=r"\(n, 2\), not \(3, 5\)"):
        law("grid25").log_prob(torch.zeros(3, 5))


def test_a_law_given_as_a_value_is_a_data_set() -> None:
    data = load(GaussianMixture([[0.0, 0.0, 0.0]], std=1.0, name="ball"))
    assert data.source is None and data.law is not None and data.spec.shape == (3,)
