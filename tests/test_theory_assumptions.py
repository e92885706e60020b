"""Each assumption of Nie & Patel relaxed alone produces its failure, and the control does not."""

from __future__ import annotations

import math

import pytest
from scipy.integrate import quad
from scipy.stats import norm

from equilibria.theory.assumptions import (
    ASSUMPTIONS,
    relax_density,
    relax_discriminator,
    relax_divergence,
    relax_equal_priors,
    relax_generator,
    relax_population,
)


def jsd_of_normals(apart: float) -> float:
    """Of N(0, 1) and N(apart, 1)."""

    def integrand(x: float) -> float:
        p, q = norm.pdf(x), norm.pdf(x, apart)
        return (p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))) / 2

    return quad(integrand, -9, 9 + apart)[0]


def test_the_table_has_all_six() -> None:
    assert list(ASSUMPTIONS) == ["density", "equal-priors", "discriminator", "generator", "divergence", "population"]


def test_thin_supports() -> None:
    found = relax_density()
    assert found.relaxed["js"] == pytest.approx(math.log(2), abs=1e-3)
    assert found.relaxed["saturating"] < 1e-3 < 0.3 < found.control["saturating"]
    assert found.control["js"] == pytest.approx(jsd_of_normals(1.0), abs=0.03)
    assert found.relaxed["nonsaturating"] > 5 * found.control["nonsaturating"]


@pytest.mark.parametrize("prior", [0.2, 0.8])
def test_unequal_priors(prior: float) -> None:
    found = relax_equal_priors(prior, points=2000)
    assert found.control["bias"] == pytest.approx(0, abs=0.05)
    assert found.relaxed["bias"] == pytest.approx(math.log(prior / (1 - prior)), abs=0.06)


def test_a_small_discriminator() -> None:
    found = relax_discriminator()
    assert found.relaxed["accuracy"] == pytest.approx(0.5, abs=0.05) and found.control["accuracy"] > 0.65
    assert found.relaxed["w1"] == found.control["w1"] > 1.5 * found.relaxed["w1_floor"]


def test_a_small_generator() -> None:
    found = relax_generator()
    assert found.control["js"] < 1e-6 and found.control["modes"] == 8
    half = 0.75 * math.log(4 / 3)  # what sitting exactly on four of eight modes leaves
    assert 0.5 * half < found.relaxed["js"] <= half and found.relaxed["modes"] == 4
    assert found.control["accuracy"] == pytest.approx(0.5, abs=1e-3) and found.relaxed["accuracy"] > 0.7


@pytest.mark.parametrize("separation", [1.0, 2.0])
def test_another_divergence(separation: float) -> None:
    found = relax_divergence("reverse-kl", separation)
    assert found.control["width"] == pytest.approx(math.sqrt(separation**2 / 2 + 0.3**2), abs=1e-3)
    assert found.control["centre"] == pytest.approx(0, abs=1e-3)
    assert (found.relaxed["centre"], found.relaxed["width"]) == pytest.approx((separation, 0.3), abs=0.01)


def test_few_samples() -> None:
    found = relax_population()
    assert found.relaxed["to_train"] < 1e-6 < 0.05 < found.relaxed["to_test"]
    assert found.control["to_train"] == pytest.approx(found.control["to_test"], rel=0.4)
    assert found.relaxed["critic_train"] > 0.1 and found.relaxed["critic_held_out"] < 0
    seen = {name: sides["critic_train"] - sides["critic_held_out"] for name, sides in found._asdict().items()}
    assert seen["relaxed"] > 5 * seen["control"]


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert relax_equal_priors(points=50, seed=3) == relax_equal_priors(points=50, seed=3)
    assert relax_equal_priors(points=50, seed=3) != relax_equal_priors(points=50, seed=4)


def test_wrong_calls_say_what_is_wanted() -> None:
    with pytest.raises(ValueError, match="all must be > 0"):
        relax_density(offset=0.0)
    with pytest.raises(ValueError, match=r"lie in \(0, 1\)"):
        relax_equal_priors(1.0)
    with pytest.raises(ValueError, match="pass 1 to 7"):
        relax_generator(8)
    with pytest.raises(ValueError, match=r"\(0, 3\]"):
        relax_divergence(separation=4.0)
    with pytest.raises(ValueError, match="unknown divergence"):
        relax_divergence("tv")
    with pytest.raises(ValueError, match="at least 2"):
        relax_population(1)
