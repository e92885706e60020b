"""The checks of reproductions can fail: each is given one planted error, and its verdict turns.

Only the part of a reproduction that the error concerns is run, so that no network is trained here. Each test names its
reproductions in the mark ``plants``; one without such a test fails the suite.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from equilibria import reproduce
from equilibria.core.updates import Consensus
from equilibria.data import GaussianMixture, load
from equilibria.losses import R1, R2
from equilibria.reproduce import (
    arjovsky2017_lines,
    arjovsky2017principled_bound,
    arjovsky2017principled_noise,
    goodfellow2014_interpolation,
    mescheder2017numerics_consensus,
    mescheder2018_eigenvalues,
    nagarajan2017_stability,
    nie2019_assumptions,
    tolstikhin2017_coverage,
)
from equilibria.theory import assumptions, supports
from equilibria.theory.smoothing import noise_distance_bound
from equilibria.theory.spectra import stability_bounds
from equilibria.theory.transport import LineDistances, parallel_lines
from planted_errors import Plant, hold, turned

# Nagarajan & Kolter, Theorem 3.1 -------------------------------------------------------------------------------------


def scaled_bounds(complex_by: float, real_by: float) -> Plant:
    def planted(*blocks: object) -> tuple[float, float]:
        of_complex, of_real = stability_bounds(*blocks)  # type: ignore[arg-type]
        return complex_by * of_complex, real_by * of_real

    return lambda patch: patch.setattr(nagarajan2017_stability, "stability_bounds", planted)


@pytest.mark.plants("nagarajan2017_stability")
@pytest.mark.parametrize("by", [(0.9, 1.0), (1.1, 1.0), (1.0, 0.9), (1.0, 1.1)])
def test_bounds_that_are_too_weak_or_too_strong(by: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    assert turned(nagarajan2017_stability._of_tightness, monkeypatch, scaled_bounds(*by))


# Mescheder et al. 2018, R1 and R2 ------------------------------------------------------------------------------------


@pytest.mark.plants("mescheder2018_eigenvalues")
@pytest.mark.parametrize(("name", "wrong"), [("R1", R2), ("R2", R1)])
def test_one_penalty_in_place_of_the_other(name: str, wrong: type, monkeypatch: pytest.MonkeyPatch) -> None:
    assert turned(
        mescheder2018_eigenvalues._sides,
        monkeypatch,
        lambda patch: patch.setattr(mescheder2018_eigenvalues, name, wrong),
    )


# Parallel lines ------------------------------------------------------------------------------------------------------


@pytest.mark.plants("arjovsky2017_lines")
@pytest.mark.parametrize(
    "wrong",
    [
        lambda d: d._replace(js=0.0),  # E5
        lambda d: d._replace(js=d.js / 2),
        lambda d: d._replace(total_variation=min(1.0, d.w1)),
        lambda d: d._replace(kl=0.0),
        lambda d: d._replace(reverse_kl=1.0),
        lambda d: d._replace(w1=d.w1**2),
    ],
)
def test_a_wrong_distance_of_parallel_lines(
    wrong: Callable[[LineDistances], LineDistances], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert turned(
        arjovsky2017_lines._exact,
        monkeypatch,
        lambda patch: patch.setattr(arjovsky2017_lines, "parallel_lines", lambda theta: wrong(parallel_lines(theta))),
    )


# Theorem 2.4 ---------------------------------------------------------------------------------------------------------


def larger_jacobian(*arguments: object) -> supports.GeneratorGradient:
    found = supports.generator_gradient(*arguments)  # type: ignore[arg-type]
    return found._replace(jacobian=3 * found.jacobian)


@pytest.mark.plants("arjovsky2017principled_bound")
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("generator_gradient", larger_jacobian),
        ("vanishing_bound", lambda epsilon, jacobian: jacobian * epsilon),
        ("vanishing_bound", lambda epsilon, jacobian: 2 * supports.vanishing_bound(epsilon, jacobian)),
    ],
)
def test_a_bound_that_is_not_the_theorem_s(
    name: str, wrong: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is the theorem's only with its M and its 1 - epsilon; a larger one bounds the gradient too."""
    monkeypatch.setattr(arjovsky2017principled_bound, name, wrong)
    failed = [check.name for check in arjovsky2017principled_bound.run(True).checks if not check.holds]
    assert failed


def test_the_bound_itself_holds() -> None:
    assert arjovsky2017principled_bound.run(True).holds


# Theorem 3.3 ---------------------------------------------------------------------------------------------------------


@pytest.mark.plants("arjovsky2017principled_noise")
@pytest.mark.parametrize(
    "wrong",
    [
        lambda js, variance, diameter: noise_distance_bound(variance) + 2 * diameter * math.sqrt(js),
        lambda js, variance, diameter: 2 * noise_distance_bound(variance) + 4 * diameter * math.sqrt(js),
        lambda js, variance, diameter: 2 * noise_distance_bound(variance) + 2 * diameter * js,
        lambda js, variance, diameter: 2 * variance + 2 * diameter * math.sqrt(js),
    ],
)
def test_another_bound_on_the_transport_distance(
    wrong: Callable[[float, float, float], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert turned(
        arjovsky2017principled_noise._of_bound,
        monkeypatch,
        lambda patch: patch.setattr(arjovsky2017principled_noise, "transport_bound", wrong),
    )


# Consensus -----------------------------------------------------------------------------------------------------------


@pytest.mark.plants("mescheder2017numerics_consensus")
@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_consensus_with_another_weight(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule that trains, not a formula for it, is what is compared."""

    def weighted(gamma: float) -> Consensus:
        return Consensus(gamma=factor * gamma)

    for run in (mescheder2017numerics_consensus._of_bilinear, mescheder2017numerics_consensus._of_dirac):
        with monkeypatch.context() as patch:
            assert turned(run, patch, lambda one: one.setattr(mescheder2017numerics_consensus, "Consensus", weighted))


# Six assumptions -----------------------------------------------------------------------------------------------------


@pytest.mark.plants("nie2019_assumptions")
def test_a_generator_that_has_learned_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Assumption 6: the samples are at the training points because they were trained to be there."""
    short = [assumptions.relax_population(points=20, seed=seed) for seed in range(2)]
    untrained = [assumptions.relax_population(points=20, seed=seed, steps=0) for seed in range(2)]
    memorised = nie2019_assumptions._few(short)[0], nie2019_assumptions._few(untrained)[0]
    assert memorised[0].holds and not memorised[1].holds


# Boosted mixtures ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ten_modes() -> GaussianMixture:
    return GaussianMixture(torch.rand(10, 2, generator=torch.Generator().manual_seed(0)) * 30 - 15, 0.5)


@pytest.mark.plants("tolstikhin2017_coverage")
@pytest.mark.parametrize(("sampler", "holds"), [("perfect", True), ("blob", False), ("five modes", False)])
def test_coverage_by_a_blob_and_by_half_of_the_modes(sampler: str, holds: bool, ten_modes: GaussianMixture) -> None:
    """A wide Gaussian covers the data as well as a perfect sampler does, and passed once; a perfect sampler did not."""
    draws = [torch.Generator().manual_seed(seed) for seed in range(4)]
    test, rows = ten_modes.sample(1000, draws[0]), ten_modes.sample(2000, draws[1])
    assert ten_modes.modes is not None
    half = GaussianMixture(ten_modes.modes[:5], 0.5).sample(2000, draws[2])
    made = {"perfect": ten_modes.sample(2000, draws[3]), "blob": tolstikhin2017_coverage.blob(rows, 2000, 4)}
    ends = {name: tolstikhin2017_coverage.seen(points, test, ten_modes) for name, points in made.items()}
    ends["single GAN"] = tolstikhin2017_coverage.seen(half[:200], test, ten_modes)
    ends["five modes"] = tolstikhin2017_coverage.seen(half, test, ten_modes)
    assert hold(tolstikhin2017_coverage._of_samplers([ends | {"adagan": ends[sampler]}])) is holds
    assert sampler != "blob" or ends["blob"].coverage > ends["perfect"].coverage - 0.02


# Paths between codes -------------------------------------------------------------------------------------------------


@pytest.mark.plants("goodfellow2014_interpolation")
def test_paths_of_a_generator_that_has_learned_nothing() -> None:
    """Its steps are even, as those of a trained one; its images are not like the training images."""
    data = load("digits")
    rows = data.take(400)["x"]
    shares, codes = torch.linspace(0, 1, 9), torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    untrained = goodfellow2014_interpolation._trained(data, 0, 0)
    lost = [
        goodfellow2014_interpolation._walk(untrained, goodfellow2014_interpolation.lerp(a, b, shares))
        for a, b in zip(codes[::2], codes[1::2], strict=True)
    ]
    nearest = torch.cdist(rows.flatten(1), rows.flatten(1)).fill_diagonal_(torch.inf).argmin(1)
    learned = [
        goodfellow2014_interpolation.Walk(torch.lerp(rows[i], rows[nearest[i]], shares[:, None, None, None]))
        for i in range(4)
    ]
    assert hold(goodfellow2014_interpolation._of_walks("lerp", learned, rows))
    even, near = goodfellow2014_interpolation._of_walks("lerp", lost, rows)
    assert even.holds and not near.holds


# Every reproduction --------------------------------------------------------------------------------------------------


def marked(path: Path) -> set[str]:
    """The names in the marks ``plants`` of the tests of a file."""
    found: set[str] = set()
    for test in ast.walk(ast.parse(path.read_text())):
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
            for mark in test.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.plants":
                    found |= {ast.literal_eval(name) for name in mark.args}
    return found


def test_every_reproduction_has_a_planted_error() -> None:
    files = Path(__file__).parent.glob("test_reproduce_gates*.py")
    assert set().union(*map(marked, files)) == set(reproduce.keys())
