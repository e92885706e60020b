"""The statistics of a comparison in simulated studies: false claims, coverage, power, false and found collapses."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from equilibria.compare import (
    collapsed,
    improvement,
    interquartile_mean,
    mean_improvement,
    student,
    verdicts,
    welch,
)

Rng = np.random.Generator
Law = Callable[[Rng, int], np.ndarray]


def normal(rng: Rng, n: int) -> np.ndarray:
    return rng.normal(10, 1, n)


def log_normal(rng: Rng, n: int) -> np.ndarray:
    return np.exp(rng.normal(0, 1, n))


def failing(rng: Rng, n: int) -> np.ndarray:
    """About one seed of seven fails."""
    return np.where(rng.random(n) < 0.15, math.inf, log_normal(rng, n))


# False claims --------------------------------------------------------------------------------------------------------

# 500 studies of one recipe under several names. With 10 names and 5 seeds no claim is possible at all, so that a test
# that is wrong by a factor of 7 would meet the gate; the other rows have the fewest seeds at which claims are possible.
STUDIES = [
    (normal, 10, 5, 1),
    (failing, 10, 7, 1),
    *((law, n, 5, 1) for law in (normal, log_normal, failing) for n in (2, 4)),
    (log_normal, 3, 5, 3),
]


@pytest.mark.parametrize(("law", "methods", "n", "problems"), STUDIES)
def test_one_recipe_under_several_names_is_rarely_told_apart(law: Law, methods: int, n: int, problems: int) -> None:
    rng, claimed = np.random.default_rng(methods + n), 0
    for _ in range(500):
        study = {f"p{p}": {f"m{i}": law(rng, n) for i in range(methods)} for p in range(problems)}
        claimed += bool(verdicts(study).claims())
    assert claimed / 500 <= 0.07
    assert claimed > 0 or (methods, n) == (10, 5) or problems > 1, "claims are possible at this size"


def test_nine_equal_methods_beside_a_better_one_are_rarely_claimed_to_differ() -> None:
    rng, false, found = np.random.default_rng(0), 0, 0
    for _ in range(60):
        cells = {f"m{i}": rng.normal(0 if i else -6, 1, 8) for i in range(10)}
        claims = verdicts({"p": cells}).claims()
        false += any(one.first != "m0" for one in claims)
        found += sum(one.first == "m0" for one in claims)
    assert false <= 0.07 * 60 and found >= 0.95 * 60 * 9


# Power ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("methods", "n"), [(2, 5), (4, 5), (4, 10), (10, 7), (10, 10)])
def test_a_large_difference_is_claimed(methods: int, n: int) -> None:
    rng, found = np.random.default_rng(n), 0
    for _ in range(50):
        cells = {f"m{i}": rng.normal(0 if i else -8, 1, n) for i in range(methods)}
        found += all(one.apart for one in verdicts({"p": cells}).comparisons if "m0" in (one.first, one.second))
    assert found >= 0.9 * 50


def test_ten_methods_with_five_seeds_are_told_apart_over_three_problems() -> None:
    rng, found = np.random.default_rng(0), 0
    for _ in range(10):
        study = {f"p{p}": {f"m{i}": rng.normal(0 if i else -3, 1, 5) for i in range(10)} for p in range(3)}
        claims = verdicts(study).claims()
        assert all((one.scope, one.first) == ("together", "m0") for one in claims)
        found += len(claims)
    assert found >= 0.9 * 90


# Coverage ------------------------------------------------------------------------------------------------------------


def covered(interval: object, truth: float) -> bool:
    return interval.low <= truth <= interval.high  # type: ignore[attr-defined]


def test_intervals_of_means_cover_at_five_seeds() -> None:
    rng, runs = np.random.default_rng(0), 4000
    means = sum(covered(student(rng.normal(3, 1, 5)), 3) for _ in range(runs))
    differences = sum(covered(welch(rng.normal(3, 1, 5), rng.normal(1, 2, 5)), 2) for _ in range(runs))
    assert means / runs == pytest.approx(0.95, abs=0.015)
    assert 0.92 <= differences / runs <= 0.98


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0, 3.0])
def test_the_interval_of_the_probability_of_improvement_covers(n: int, shift: float) -> None:
    rng, runs, truth = np.random.default_rng(n), 3000, norm.cdf(shift / math.sqrt(2))
    hits = sum(covered(improvement(rng.normal(0, 1, n), rng.normal(shift, 1, n)), truth) for _ in range(runs))
    assert 0.92 <= hits / runs <= 0.99


def test_the_interval_of_improvement_covers_where_seeds_fail() -> None:
    rng, runs, truth = np.random.default_rng(1), 3000, 0.3 + 0.7 * 0.5
    hits = 0
    for _ in range(runs):
        b = np.where(rng.random(5) < 0.3, math.inf, rng.normal(0, 1, 5))
        hits += covered(improvement(rng.normal(0, 1, 5), b), truth)
    assert 0.92 <= hits / runs <= 0.99


def test_the_mean_over_problems_of_improvement_covers() -> None:
    rng, runs, shifts = np.random.default_rng(2), 1500, (0.0, 0.5, 1.0, 3.0)
    truth, hits = float(np.mean(norm.cdf(np.array(shifts) / math.sqrt(2)))), 0
    for _ in range(runs):
        hits += covered(mean_improvement([improvement(rng.normal(size=5), rng.normal(s, 1, 5)) for s in shifts]), truth)
    assert 0.92 <= hits / runs <= 0.99


def test_the_interval_of_the_interquartile_mean_covers_at_five_seeds() -> None:
    rng, runs, hits = np.random.default_rng(0), 1000, 0
    for _ in range(runs):  # symmetric, so that the truth is the centre
        cells = [rng.normal(centre, 1, 5) for centre in (0.5, 1.0, 1.0, 1.5)]
        hits += covered(interquartile_mean(cells, draws=500), 1.0)
    assert 0.92 <= hits / runs <= 0.98


# Collapse ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 6, 8, 10])
@pytest.mark.parametrize("law", [normal, log_normal, lambda r, n: normal(r, n) - 10, lambda r, n: log_normal(r, n) - 1])
def test_one_group_is_rarely_said_to_have_collapsed(law: Law, n: int) -> None:
    rng, cells = np.random.default_rng(100 + n), 1000
    assert sum(collapsed(law(rng, n)).found for _ in range(cells)) / cells <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / cells)


@pytest.mark.parametrize(("n", "bad"), [(10, 3), (10, 1), (10, 5), (6, 2), (5, 1)])
def test_seeds_that_are_ten_times_worse_are_found(n: int, bad: int) -> None:
    rng, hits = np.random.default_rng(n), 0
    for _ in range(200):
        values = np.exp(rng.normal(0, 0.1, n))
        values[:bad] *= 10
        found = collapsed(rng.permutation(values))
        hits += found.found and found.collapsed == bad
    assert hits >= 0.95 * 200
