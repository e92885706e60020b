"""Functions of codes, against SciPy, NumPy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial import geometric_slerp
from scipy.stats import kstest, truncnorm
from sklearn.decomposition import PCA

from equilibria.base.errors import ConfigError, ShapeError
from equilibria.latents import (
    attribute_direction,
    closed_path,
    lerp,
    principal_directions,
    scaled_codes,
    slerp,
    truncated_normal,
)

SHARES = torch.linspace(0, 1, 9)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [2, 3, 64])
def test_slerp_is_the_great_arc_between_directions(size: int) -> None:
    a, b = normal(4, size), normal(4, size, seed=1)
    found = slerp(a, b, SHARES)
    for i in range(4):
        p, q = a[i].double().numpy(), b[i].double().numpy()
        arc = geometric_slerp(p / np.linalg.norm(p), q / np.linalg.norm(q), SHARES.double().numpy(), tol=1e-5)
        lengths = np.linalg.norm(p) + SHARES.double().numpy() * (np.linalg.norm(q) - np.linalg.norm(p))
        np.testing.assert_allclose(found[i].numpy(), lengths[:, None] * arc, atol=2e-6)
    assert torch.equal(found[:, 0], a) and torch.equal(found[:, -1], b)
    torch.testing.assert_close(slerp(a[0], b[0], SHARES), found[0], rtol=0, atol=0)


def test_slerp_of_codes_of_one_length_is_the_formula_of_white() -> None:
    a, b = (torch.nn.functional.normalize(normal(5, 16, seed=s), dim=1) * 4 for s in (0, 1))
    for p, q, made in zip(a.double().numpy(), b.double().numpy(), slerp(a, b, SHARES).numpy(), strict=True):
        angle = math.acos(p @ q / 16)
        for t, point in zip(SHARES.tolist(), made, strict=True):
            want = (math.sin((1 - t) * angle) * p + math.sin(t * angle) * q) / math.sin(angle)
            np.testing.assert_allclose(point, want, atol=2e-6)


def test_slerp_of_parallel_and_antipodal_codes_and_of_codes_without_a_direction() -> None:
    a = torch.tensor([3.0, 0.0, 4.0])
    torch.testing.assert_close(slerp(a, 2 * a, SHARES), (1 + SHARES)[:, None] * a)
    around = slerp(a, -a, SHARES).double()
    torch.testing.assert_close(around.norm(dim=1), torch.full((9,), 5.0, dtype=torch.float64))
    turned = torch.acos((around @ a.double() / 25).clamp(-1, 1))  # at a constant speed, half a turn in all
    torch.testing.assert_close(turned, SHARES.double() * math.pi, rtol=0, atol=1e-3)
    nearly = slerp(a, -a * (1 + 1e-7) + torch.tensor([0.0, 1e-6, 0.0]), SHARES)
    assert bool((nearly.norm(dim=1) - 5).abs().max() < 1e-4)  # the formula for unequal lengths would be unbounded
    assert torch.equal(slerp(torch.zeros(3), a, SHARES), lerp(torch.zeros(3).double(), a.double(), SHARES).float())
    assert bool(slerp(torch.tensor([1.0]), torch.tensor([-1.0]), SHARES).isfinite().all())


def test_the_middle_of_a_segment_is_short_and_that_of_an_arc_is_not() -> None:
    a, b, half = normal(2000, 100), normal(2000, 100, seed=1), torch.tensor([0.5])
    assert float(lerp(a, b, half).square().sum(-1).mean()) == pytest.approx(50, rel=0.02)
    assert float(slerp(a, b, half).square().sum(-1).mean()) == pytest.approx(100, rel=0.02)


def test_a_closed_path_goes_through_its_stops_and_never_stops_twice() -> None:
    stops = normal(2, 3, 8)
    loop = closed_path(stops, 4)
    assert loop.shape == (2, 12, 8) and torch.equal(loop[:, ::4], stops)
    sizes = torch.cat([loop, loop[:, :1]], 1).diff(dim=1).norm(dim=-1)
    assert float(sizes.min()) > 0


@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.0, 2.0, 5.0])
def test_truncated_codes_are_quantiles_of_the_truncated_law(threshold: float) -> None:
    z = torch.linspace(-6, 6, 241, dtype=torch.float64)
    cdf = 0.5 * (1 + torch.erf(z / math.sqrt(2))).numpy()
    law = truncnorm(-threshold, threshold)
    inner = np.abs(z.numpy()) < 4  # further out this oracle, not the function, loses digits
    np.testing.assert_allclose(truncated_normal(z, threshold).numpy()[inner], law.ppf(cdf)[inner], atol=1e-10)
    made = truncated_normal(normal(4000), threshold)
    assert kstest(made.numpy(), law.cdf).pvalue > 0.01 and float(made.abs().max()) <= threshold


def test_truncation_of_wide_thresholds_changes_nothing_and_of_none_is_refused() -> None:
    z = normal(50, 4)
    assert torch.equal(truncated_normal(z, math.inf), z) and torch.equal(scaled_codes(z, 1.0), z)
    torch.testing.assert_close(truncated_normal(z, 9.0), z)
    centre = torch.tensor([1.0, 2.0, 3.0, 4.0])
    torch.testing.assert_close(scaled_codes(z, 0.3, centre).mean(0), centre + 0.3 * (z.mean(0) - centre))
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ConfigError, match="threshold"):
            truncated_normal(z, wrong)
    with pytest.raises(ConfigError, match="psi"):
        scaled_codes(z, math.nan)


@pytest.mark.parametrize(("rows", "width"), [(400, 12), (30, 60)])
def test_components_are_those_of_scikit_learn(rows: int, width: int) -> None:
    z = normal(rows, 6)
    y = (z @ normal(6, width, seed=1)).relu()
    found, pca = principal_directions(z, y, 4), PCA(4, svd_solver="full").fit(y.double().numpy())
    shares = pca.explained_variance_ratio_
    np.testing.assert_allclose(found.explained.numpy(), shares, rtol=1e-5)
    coordinates = pca.transform(y.double().numpy())
    centred = z.double().numpy() - z.double().numpy().mean(0)
    u, *_ = np.linalg.lstsq(coordinates, centred, rcond=None)
    want = u * coordinates.std(0)[:, None]
    want *= np.sign(np.take_along_axis(want, np.abs(want).argmax(1)[:, None], 1))
    np.testing.assert_allclose(found.steps.numpy(), want, atol=1e-4)


def test_directions_of_a_linear_layer_are_its_right_singular_vectors() -> None:
    left, right = (torch.linalg.qr(normal(5, 5, seed=s))[0] for s in (1, 2))
    weight = left @ torch.diag(torch.tensor([9.0, 5.0, 3.0, 1.5, 0.5])) @ right.T
    z = normal(20_000, 5)
    found = principal_directions(z, z @ weight.T, 5)
    _, sizes, vectors = np.linalg.svd(weight.numpy())
    cosines = np.abs((found.steps.numpy() * vectors).sum(1)) / np.linalg.norm(found.steps.numpy(), axis=1)
    assert cosines.min() > 0.995
    np.testing.assert_allclose(found.deviations.numpy(), sizes, rtol=0.03)
    np.testing.assert_allclose(np.linalg.norm(found.steps.numpy(), axis=1), 1.0, rtol=0.03)  # one deviation of a code


def test_directions_of_fewer_factors_than_asked_for() -> None:
    z = normal(100, 4)
    assert len(principal_directions(z, z @ normal(4, 1, seed=1), 3).steps) == 1
    for codes, activations in ((z, torch.zeros(100, 3)), (z[:1], z[:1]), (z, z * math.nan)):
        with pytest.raises(ConfigError):
            principal_directions(codes, activations)
    with pytest.raises(ShapeError):
        principal_directions(z, z[:50])


def test_a_direction_of_an_attribute() -> None:
    plus, minus = normal(3, 7), normal(5, 7, seed=1)
    want = plus.numpy().mean(0) - minus.numpy().mean(0)
    np.testing.assert_allclose(attribute_direction(plus, minus).numpy(), want, atol=1e-6)
    for wrong in (plus[:0], plus[:, :3]):
        with pytest.raises(ShapeError):
            attribute_direction(wrong, minus)
    with pytest.raises(ShapeError):
        slerp(plus, minus, SHARES)
