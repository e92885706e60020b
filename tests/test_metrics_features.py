"""Fréchet, kernel and neighbour metrics against closed forms, naive loops, scipy, scikit-learn and POT."""

from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import scipy.linalg
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from equilibria.base.errors import ConfigError, DataError, ShapeError
from equilibria.metrics.frechet import frechet_distance, gaussian_frechet
from equilibria.metrics.kernel import gaussian, median_scale, mmd2, mmd_test, polynomial
from equilibria.metrics.neighbours import (
    birthday,
    expected_coverage,
    memorisation,
    nearest_distances,
    nearest_unseen,
    neighbours,
)


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance(d: int, seed: int, rank: int | None = None) -> Tensor:
    a = normal(rank or d, d, seed)
    return a.T @ a / d


@pytest.mark.parametrize("rank", [None, 2])
def test_frechet_of_gaussians_is_bures(rank: int | None) -> None:
    a, b, m = covariance(5, 0, rank), covariance(5, 1), normal(2, 5, 2)
    got = gaussian_frechet(m[0], a, m[1], b)
    root = scipy.linalg.sqrtm((a + 1e-13 * torch.eye(5)).numpy() @ b.numpy()).real
    assert got == pytest.approx(
        float((m[0] - m[1]).square().sum() + a.trace() + b.trace()) - 2 * np.trace(root), abs=1e-5
    )
    if rank is None:
        theirs = ot.gaussian.bures_wasserstein_distance(m[0].numpy(), m[1].numpy(), a.numpy(), b.numpy())
        assert got == pytest.approx(float(theirs) ** 2, rel=1e-8)


def test_frechet_of_commuting_gaussians_in_closed_form() -> None:
    s, t = torch.tensor([1.0, 4.0, 9.0]), torch.tensor([4.0, 4.0, 1.0])
    got = gaussian_frechet(torch.zeros(3), s.diag(), torch.ones(3), t.diag())
    assert got == pytest.approx(3 + float((s.sqrt() - t.sqrt()).square().sum()))


def test_frechet_of_samples_uses_unbiased_moments_and_is_finite_below_full_rank() -> None:
    x, y = normal(40, 3, 0), normal(50, 3, 1) * 2 + 1
    mean = [torch.as_tensor(v.mean(0)) for v in (x, y)]
    cov = [torch.as_tensor(np.cov(v.numpy().T)) for v in (x, y)]
    assert frechet_distance(x, y) == pytest.approx(gaussian_frechet(mean[0], cov[0], mean[1], cov[1]), rel=1e-10)
    thin = normal(5, 50, 2)
    assert frechet_distance(thin, thin) == pytest.approx(0.0, abs=1e-4)
    assert frechet_distance(thin, normal(5, 50, 3)) > 10


def naive_mmd2(x: Tensor, y: Tensor, kernel: object) -> float:
    def k(a: Tensor, b: Tensor) -> float:
        if kernel == "polynomial":
            return float((a @ b / len(a) + 1) ** 3)
        return math.exp(-float((a - b).square().sum()) / (2 * 1.5**2))

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@pytest.mark.parametrize("name", ["polynomial", "gaussian"])
def test_mmd_is_the_double_sum(name: str) -> None:
    x, y = normal(12, 3, 0), normal(9, 3, 1) + 1
    kernel = polynomial if name == "polynomial" else gaussian(1.5)
    assert mmd2(x, y, kernel) == pytest.approx(naive_mmd2(x, y, name), rel=1e-9)


def test_mmd_is_unbiased_and_finds_the_population_value() -> None:
    # Gaussian kernel, N(0, 1) against N(2, 1): 2 s / sqrt(s^2 + 2) (1 - exp(-4 / (2 (s^2 + 2)))).
    s = 1.5
    population = 2 * s / math.sqrt(s**2 + 2) * (1 - math.exp(-4 / (2 * (s**2 + 2))))
    same = np.array([mmd2(normal(30, 1, i), normal(30, 1, 1000 + i), gaussian(s)) for i in range(300)])
    apart = np.array([mmd2(normal(30, 1, i), normal(30, 1, 1000 + i) + 2, gaussian(s)) for i in range(300)])
    assert abs(same.mean()) < 4 * same.std() / math.sqrt(300)
    assert abs(apart.mean() - population) < 4 * apart.std() / math.sqrt(300)


def test_permutation_p_is_uniform_under_equal_laws_and_small_otherwise() -> None:
    p = np.array([mmd_test(normal(25, 2, i), normal(25, 2, 1000 + i), gaussian(1.0), 59, i).p for i in range(300)])
    assert abs(p.mean() - 0.5) < 4 / math.sqrt(12 * 300) + 1 / 60
    for level in (0.05, 0.2, 0.5):
        assert abs((p <= level).mean() - level) < 4 * math.sqrt(level * (1 - level) / 300)
    test = mmd_test(normal(50, 2, 0), normal(40, 2, 1) + 1, gaussian(1.0), 99)
    assert test.p == 0.01 and test.value > 5 * test.null_sd
    assert test.value == pytest.approx(mmd2(normal(50, 2, 0), normal(40, 2, 1) + 1, gaussian(1.0)))
    assert mmd_test(torch.zeros(5, 1), torch.zeros(5, 1)).p == 1.0


def test_median_scale_is_the_median_distance() -> None:
    x = normal(51, 3, 0)
    naive = sorted(float((x[i] - x[j]).norm()) for i in range(51) for j in range(i))
    assert median_scale(x) == pytest.approx(naive[(len(naive) - 1) // 2])


@pytest.mark.parametrize(("n", "m", "k"), [(60, 45, 3), (1300, 1100, 5)])
def test_neighbours_against_scikit_learn(n: int, m: int, k: int) -> None:
    real, fake = normal(n, 3, 0), normal(m, 3, 1) * 0.7 + 0.4
    got = neighbours(fake, real, k)
    x, y = real.numpy(), fake.numpy()
    real_radius = NearestNeighbors(n_neighbors=k).fit(x).kneighbors()[0][:, -1]
    fake_radius = NearestNeighbors(n_neighbors=k).fit(y).kneighbors()[0][:, -1]
    distance = np.linalg.norm(x[:, None] - y[None], axis=2)
    assert got.precision == pytest.approx((distance <= real_radius[:, None]).any(0).mean())
    assert got.recall == pytest.approx((distance <= fake_radius[None]).any(1).mean())
    assert got.density == pytest.approx((distance <= real_radius[:, None]).sum() / (k * m))
    assert got.coverage == pytest.approx((distance <= real_radius[:, None]).any(1).mean())
    assert nearest_distances(fake, real).numpy() == pytest.approx(distance.min(0))


@pytest.mark.parametrize(("n", "m", "k"), [(50, 50, 5), (80, 20, 2)])
def test_perfect_sampler_has_density_one_and_the_expected_coverage(n: int, m: int, k: int) -> None:
    runs = [neighbours(normal(m, 2, i), normal(n, 2, 1000 + i), k) for i in range(200)]
    for name, expected in (("coverage", expected_coverage(n, m, k)), ("density", 1.0)):
        scores = np.array([getattr(r, name) for r in runs])
        assert abs(scores.mean() - expected) < 4 * scores.std() / math.sqrt(200), name


def test_collapse_keeps_precision_and_loses_recall_and_coverage() -> None:
    real = normal(200, 2, 0)
    got = neighbours(0.01 * normal(200, 2, 1), real)
    assert got.precision == 1.0 and got.recall < 0.05 and got.coverage < 0.2
    far = neighbours(real + 100, real)
    assert (far.precision, far.recall, far.density, far.coverage) == (0.0, 0.0, 0.0, 0.0)


def test_the_deviation_of_nearest_unseen_rows_is_that_of_random_divisions() -> None:
    rows, samples = normal(90, 2, 0), normal(60, 2, 1)
    ratios, deviation = [], 0.0
    for seed in range(400):
        order = torch.randperm(90, generator=torch.Generator().manual_seed(seed))
        ratio, deviation = nearest_unseen(samples, rows[order[:45]], rows[order[45:]])
        ratios.append(ratio)
    assert np.mean(ratios) == pytest.approx(1, abs=4 * deviation / 20)
    assert np.std(ratios) == pytest.approx(deviation, rel=0.09)  # 400 divisions: 3.5 %


def test_rows_that_come_twice_belong_to_either_side() -> None:
    rows = torch.arange(50.0)[:, None]
    ratio, deviation = nearest_unseen(rows.repeat(4, 1), rows, rows)
    assert abs(ratio - 1) < 3 * deviation


def test_memorisation_tells_copies_from_fresh_samples() -> None:
    train, held_out = normal(500, 2, 0), normal(200, 2, 1)
    fresh = [memorisation(normal(200, 2, 10 + i), train, held_out, seed=i) for i in range(20)]
    assert np.mean(fresh) == pytest.approx(1.0, abs=0.1)
    assert memorisation(held_out[:100] * 0 + train[:100], train[:200], held_out) < 1e-6
    assert memorisation(train[:100] + 1e-3, train, held_out) < 0.8
    assert memorisation(held_out[:1], train, held_out[:1]) == math.inf
    assert memorisation(train[:1], train[:1], train[:1]) == 1.0


def test_birthday_counts_the_support() -> None:
    assert birthday(normal(100, 3, 0), near=1e-6).support == math.inf
    sizes = []
    for seed in range(50):
        which = torch.randint(400, (100,), generator=torch.Generator().manual_seed(seed))
        sizes.append(1 / birthday(normal(400, 3, 0)[which], near=1e-6).support)
    assert 1 / np.mean(sizes) == pytest.approx(400, rel=4 * np.std(sizes) / math.sqrt(50) / np.mean(sizes))
    none = birthday(torch.arange(100.0), near=0.5)
    assert none.support_at_least == pytest.approx(4950 / -math.log(0.05))
    # A year of 365 equally likely days: 23 people are needed for an even chance.
    assert 0.5 + math.sqrt(0.25 + 2 * math.log(2) * 365) == pytest.approx(23, abs=0.1)
    year = birthday(torch.arange(365.0).repeat(2), near=0.5)
    assert year.half == pytest.approx(0.5 + math.sqrt(0.25 + 2 * math.log(2) * year.support))


def test_refusals() -> None:
    one = torch.zeros(1, 2)
    with pytest.raises(ShapeError, match="at least 2 rows"):
        frechet_distance(one, one)
    with pytest.raises(ShapeError, match="moments"):
        gaussian_frechet(torch.zeros(2), torch.eye(2), torch.zeros(3), torch.eye(3))
    with pytest.raises(ConfigError, match="scale"):
        gaussian(0.0)
    with pytest.raises(ConfigError, match="permutations"):
        mmd_test(torch.zeros(3, 1), torch.zeros(3, 1), permutations=0)
    with pytest.raises(ShapeError, match="kernel"):
        mmd2(torch.zeros(3, 1), torch.zeros(3, 1), lambda a, b: a)
    with pytest.raises(ConfigError, match="k=0"):
        neighbours(torch.zeros(9, 1), torch.zeros(9, 1), 0)
    with pytest.raises(ShapeError, match="at least 6 rows"):
        neighbours(torch.zeros(5, 1), torch.zeros(9, 1))
    with pytest.raises(ConfigError, match="near"):
        birthday(torch.zeros(5, 1), 0.0)
    with pytest.raises(DataError, match="reference points"):
        memorisation(one, one, one * math.nan)
    with pytest.raises(ConfigError, match="coverage"):
        expected_coverage(5, 5, 5)
