"""The statistics of a comparison, against other programs, enumeration and closed forms that share no code with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from equilibria.base.errors import ConfigError, DataError
from equilibria.compare import (
    collapsed,
    excess,
    groups,
    holm,
    improvement,
    interquartile_mean,
    least_p,
    least_paired_p,
    letters,
    mann_whitney,
    mean_improvement,
    paired_limit,
    paired_permutation,
    pairs_needed,
    seeds_limit,
    seeds_needed,
    stratified,
    student,
    verdicts,
    welch,
    wilson,
)

INF = math.inf
FEW = st.sampled_from([0.0, 1.0, 2.0, 3.0, INF])  # many ties
SEEDS = st.lists(FEW, min_size=1, max_size=5)


# Exact tests ---------------------------------------------------------------------------------------------------------


def ranked(values: list[float], one: float) -> float:
    """The rank of a value, the mean of its places where it has several."""
    return sum(v < one for v in values) + (sum(v == one for v in values) + 1) / 2


def enumerated(a: list[float], b: list[float]) -> dict[float, float]:
    """The law of the centred rank sum of ``a`` when the labels are exchanged in all ways, and the observed one last."""
    both = a + b
    ranks = [ranked(both, one) for one in both]
    centre = len(a) * (len(both) + 1) / 2
    law: dict[float, float] = {}
    chosen = [sum(c) - centre for c in combinations(ranks, len(a))]
    for one in chosen:
        law[one] = law.get(one, 0) + 1 / len(chosen)
    return law


def observed(a: list[float], b: list[float]) -> float:
    return sum(ranked(a + b, one) for one in a) - len(a) * (len(a) + len(b) + 1) / 2


@given(SEEDS, SEEDS)
def test_mann_whitney_is_the_enumeration_with_ties_and_failures(a: list[float], b: list[float]) -> None:
    expected = sum(q for s, q in enumerated(a, b).items() if abs(s) >= abs(observed(a, b)))
    assert mann_whitney(a, b) == pytest.approx(expected, abs=1e-12)
    assert mann_whitney(b, a) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 3), (5, 5), (5, 8), (10, 10), (25, 20)])
def test_mann_whitney_without_ties_is_scipys(n: int, m: int) -> None:
    rng = np.random.default_rng(n + m)
    for shift in (0, 0.5, 2):
        a, b = rng.normal(size=n), rng.normal(shift, size=m)
        assert mann_whitney(a, b) == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue, rel=1e-9)
    assert least_p(n, m) == pytest.approx(mann_whitney(range(n), range(n, n + m)), rel=1e-9)


@given(st.lists(st.tuples(SEEDS, SEEDS), min_size=1, max_size=2))
def test_the_stratified_test_is_the_enumeration_of_both_problems(cells: list[tuple[list[float], list[float]]]) -> None:
    total, expected = abs(sum(observed(a, b) for a, b in cells)), 0.0
    for parts in product(*(enumerated(a, b).items() for a, b in cells)):
        if abs(sum(s for s, _ in parts)) >= total:
            expected += math.prod(q for _, q in parts)
    assert stratified(*zip(*cells, strict=True)) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_sign_changes_are_the_enumeration(d: list[int]) -> None:
    sums = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in product((-1, 1), repeat=len(d))]
    expected = sum(one >= abs(sum(d)) for one in sums) / len(sums)
    assert paired_permutation(d) == expected
    assert paired_permutation([0.1 * x for x in d]) == expected, "rounding makes no difference"


def test_sign_changes_are_scipys_and_sampled_ones_near() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(0.4, size=12)
    result = stats.permutation_test(
        (d, -d), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert paired_permutation(d) == pytest.approx(result.pvalue, rel=1e-9)
    many = rng.normal(0.3, size=22)
    halves = [np.array(list(product((-1, 1), repeat=11))) @ part for part in (many[:11], many[11:])]
    every = np.abs(np.add.outer(*halves)) >= abs(many.sum()) - 1e-9
    assert paired_permutation(many, draws=50_000) == pytest.approx(every.mean(), abs=0.01)
    assert paired_permutation(np.ones(40), draws=999) == 1 / 1000, "the observed signs are counted"
    assert paired_permutation(many, draws=500, seed=1) == paired_permutation(many, draws=500, seed=1)


@given(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, INF, -INF]), min_size=1, max_size=7))
def test_an_infinite_difference_is_the_limit_of_a_large_one(d: list[float]) -> None:
    large = [one if math.isfinite(one) else math.copysign(1e6, one) for one in d]
    assert paired_permutation(d) == paired_permutation(large)


def test_the_least_p_values_and_what_they_need() -> None:
    assert least_paired_p(5) == paired_permutation([1, 2, 3, 4, 5]) == 0.0625
    for comparisons in (1, 3, 10, 45, 190):
        n, k = seeds_needed(comparisons), pairs_needed(comparisons)
        assert comparisons * least_p(n, n) <= 0.05 < comparisons * least_p(n - 1, n - 1)
        assert comparisons * least_paired_p(k) <= 0.05 < comparisons * least_paired_p(k - 1)
    assert (seeds_needed(45), pairs_needed(1)) == (7, 6)
    assert "5 seeds cannot support a paired claim" in paired_limit(5, 1, "seed") and not paired_limit(6, 1)
    assert "at least 7 seeds, or at most 6" in seeds_limit(5, 45) and not seeds_limit(7, 45)


# Many comparisons ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.01, 0.02, 0.05]), min_size=1, max_size=60))
def test_holm_is_that_of_statsmodels(ps: list[float]) -> None:
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1].tolist(), abs=1e-12)


def test_holm_is_monotone_and_keeps_the_order() -> None:
    assert holm([0.01, 0.011, 0.9]) == pytest.approx([0.03, 0.03, 0.9]), "a larger p has no smaller adjusted p"
    assert holm([0.9, 0.011, 0.01]) == pytest.approx([0.9, 0.03, 0.03])
    assert holm([]) == []


@given(st.integers(1, 7), st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6))))
def test_groups_are_the_largest_sets_without_a_pair_told_apart(k: int, drawn: set[tuple[int, int]]) -> None:
    names = [f"m{i}" for i in range(k)]
    apart = {(a, b) for a, b in drawn if a < b < k}
    free = [
        set(some)
        for size in range(1, k + 1)
        for some in combinations(range(k), size)
        if not any({a, b} <= set(some) for a, b in apart)
    ]
    largest = sorted(sorted(one) for one in free if not any(one < other for other in free))
    found = groups(names, [(names[a], names[b]) for a, b in apart])
    assert [list(one) for one in found] == [[names[i] for i in one] for one in largest]
    shown = letters(names, found)
    for a, b in combinations(range(k), 2):
        assert bool(set(shown[names[a]]) & set(shown[names[b]])) == ((a, b) not in apart)


# Intervals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(2, 2), (5, 5), (5, 9)])
def test_student_and_welch_are_scipys(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(1, 2, n), rng.normal(0, 1, m)
    mean, difference = student(a), welch(a, b)
    one = stats.ttest_1samp(a, 0).confidence_interval()
    two = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert (mean.low, mean.high) == pytest.approx((one.low, one.high), rel=1e-10)
    assert (difference.low, difference.high) == pytest.approx((two.low, two.high), rel=1e-10)
    assert difference.estimate == pytest.approx(a.mean() - b.mean())


def test_a_failed_seed_leaves_no_mean_and_one_seed_no_interval() -> None:
    for found in (student([1, INF]), welch([1, 2], [1, INF]), welch([INF, 2], [1, 2])):
        assert (found.estimate, found.low, found.high) == (None, None, None)
    assert (student([2]).estimate, student([2]).low) == (2, None)
    assert (welch([2], [1, 1]).estimate, welch([2], [1, 1]).high) == (1, None)
    same = welch([2, 2], [1, 1])
    assert (same.low, same.high) == (1, 1)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 10), (5, 5), (1, 2), (50, 200)])
def test_wilson_is_its_closed_form(k: int, n: int) -> None:
    z = stats.norm.ppf(0.975)
    share = k / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    found = wilson(k, n)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-12)


@given(SEEDS, SEEDS)
def test_improvement_is_the_count_and_turns_with_the_methods(a: list[float], b: list[float]) -> None:
    found, turned = improvement(a, b), improvement(b, a)
    count = sum((x < y) + 0.5 * (x == y) for x in a for y in b) / (len(a) * len(b))
    assert found.estimate == pytest.approx(count) and found.estimate == pytest.approx(1 - turned.estimate)
    assert found.low == pytest.approx(1 - turned.high, abs=1e-9) and found.low < 1 and found.high > 0
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_the_ends_of_improvement_solve_the_equation_of_the_paper() -> None:
    found, z = improvement([1, 2, 3, 4, 9], [3.5, 6, 7, 8]), stats.norm.ppf(0.975)
    for end in (found.low, found.high):
        q1, q2 = end / (2 - end), 2 * end**2 / (1 + end)  # Hanley & McNeil 1982, for an area `end`
        both = (5 + 4) / 2 - 1
        variance = (end * (1 - end) + both * (q1 - end**2) + both * (q2 - (end**2))) / 20
        assert abs(found.estimate - end) == pytest.approx(z * math.sqrt(variance), rel=1e-6)


# Over problems -------------------------------------------------------------------------------------------------------


def test_the_interquartile_mean_is_a_trimmed_mean() -> None:
    rng = np.random.default_rng(0)
    cells = [rng.normal(i, 1, 4) for i in range(3)]
    assert interquartile_mean(cells).estimate == pytest.approx(stats.trim_mean(np.concatenate(cells), 0.25))
    uneven = [np.array([0.0, 1.0]), np.array([10.0, 11.0, 12.0, 13.0])]  # each problem has half of the weight
    assert interquartile_mean(uneven).estimate == pytest.approx((1 + (10 + 11) / 2) / 2)
    assert interquartile_mean([[1, 2, 3, INF]]).estimate == 2.5
    assert interquartile_mean([[1, 2, INF, INF]]).estimate is None


def test_the_interval_of_the_interquartile_mean_is_near_that_of_scipy() -> None:
    cells = [np.random.default_rng(3).normal(0, 1, 200)]
    found = interquartile_mean(cells)
    theirs = stats.bootstrap(
        cells, lambda x, axis: stats.trim_mean(x, 0.25, axis=axis), method="percentile", n_resamples=2000, rng=0
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)
    assert found == interquartile_mean(cells) != interquartile_mean(cells, seed=1)


def test_the_excess_has_its_floor_at_0_and_the_median_method_at_1() -> None:
    found = excess({"a": [1.5, 2, 2.5], "b": [3, 5, 7], "c": [8, 9, INF], "d": [INF, INF, 1]}, 1.0)
    assert np.median(found["b"]) == 1 and found["c"][2] == INF
    moved = excess({"a": [15, 20, 25], "b": [30, 50, 70], "c": [80, 90, INF], "d": [INF, INF, 10]}, 10.0)
    assert all(np.array_equal(found[name], moved[name]) for name in found), "units do not count"


# Two groups of seeds -------------------------------------------------------------------------------------------------


def test_a_cell_of_two_groups_is_found_and_one_group_is_not() -> None:
    good = [1.0, 1.1, 0.9, 1.05, 0.95, 1.02, 0.97]
    found = collapsed([*good, 10.0, 11.0, 9.0])
    assert found.found and (found.collapsed, found.failed) == (3, 0) and (found.better, found.worse) == (1.0, 10.0)
    assert found.share == wilson(3, 10)
    assert not collapsed(good).found and not collapsed([1.0] * 5).found and not collapsed([1.0, 50.0]).found
    assert collapsed([x - 5 for x in [*good, 10.0, 11.0, 9.0]]).collapsed == 3, "values may be negative"


def test_failed_seeds_have_collapsed_whatever_the_others_are() -> None:
    found = collapsed([1.0, 1.1, INF, 0.9, INF])
    assert found.found and (found.collapsed, found.failed) == (2, 2) and found.worse is None and found.better == 1.0
    both = collapsed([1.0, 1.1, 0.9, 1.05, 0.95, 10.0, INF])
    assert (both.collapsed, both.failed) == (2, 1)
    every = collapsed([INF, INF])
    assert every.collapsed == 2 and every.better is None and every.share.estimate == 1


# Verdicts ------------------------------------------------------------------------------------------------------------


def cells_of(seed: int, methods: int, n: int, **better: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"m{i}": rng.normal(10 - better.get(f"m{i}", 0), 1, n) for i in range(methods)}


def test_one_method_that_is_better_is_a_group_of_its_own() -> None:
    found = verdicts({"ring": cells_of(0, 4, 5, m2=8)})
    assert [one.first for one in found.claims()] == ["m2"] * 3
    assert found.groups["ring"][0] == ("m2",) and len(found.groups["ring"]) == 2 and not found.limits
    assert all(one.difference.high < 0 and one.improvement.estimate == 1 for one in found.claims())


def test_the_adjusted_values_are_holms_over_the_whole_study() -> None:
    study = {"ring": cells_of(1, 4, 6), "grid": cells_of(2, 4, 6, m1=3)}
    found = verdicts(study).comparisons
    assert len(found) == 6 + 6 + 6
    assert [one.adjusted for one in found] == pytest.approx(multipletests([one.p for one in found], method="holm")[1])
    for one in found[:12]:
        a, b = study[one.problem][one.first], study[one.problem][one.second]
        assert one.p == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue, rel=1e-9)
        assert (a[:, None] < b).mean() >= 0.5, "the first is the better one"


def test_a_test_that_cannot_be_significant_is_not_counted() -> None:
    study = {f"p{i}": cells_of(i, 2, 5, m0=9) for i in range(5)}
    scopes = {one.scope: one for one in verdicts(study, dict.fromkeys(study, 0.0)).comparisons}
    assert scopes["general"].p == 0.0625 and scopes["general"].adjusted == 1
    assert scopes["together"].adjusted == pytest.approx(6 * 2 / math.comb(10, 5) ** 5, rel=1e-9)
    assert scopes["problem"].adjusted == pytest.approx(5 * least_p(5, 5))
    more = {f"p{i}": cells_of(i, 2, 6, m0=9) for i in range(6)}
    assert len(verdicts(more, dict.fromkeys(more, 0.0)).claims()) == 8, "0.03125 comes last, and alone"


def test_a_study_says_what_it_cannot_support() -> None:
    ten = verdicts({"ring": cells_of(0, 10, 5, m0=20)})
    assert not ten.claims() and any("at least 7 seeds" in one for one in ten.limits)
    five = {f"p{i}": cells_of(i, 2, 5) for i in range(5)}
    assert any("5 problems cannot support a paired claim" in one for one in verdicts(five).limits)
    uneven = verdicts({"ring": {"a": [1, 2], "b": [3, 4, 5, 6, 7], "c": [1, 2, 3, 4, 8]}})
    assert any("2 of 3 pairs have too few seeds" in one for one in uneven.limits), uneven.limits
    solved = {f"p{i}": cells_of(i, 2, 5) for i in range(3)}
    said = verdicts(solved, {"p0": 0.0, "p1": 20.0, "p2": 0.0}).limits
    assert any(one.startswith("p1 is left out of the paired test") for one in said)


def test_the_direction_is_that_of_the_test() -> None:
    """On 6 problems b is slightly better by rank; on one of them it failed: paired by magnitude a is better."""
    a, b = [5.0, 5.2, 5.4, 5.6, 5.8], [4.9, 5.1, 5.3, 5.5, 5.7]
    study = {f"p{i}": {"a": a, "b": b} for i in range(6)} | {"p6": {"a": a, "b": [INF] * 5}}
    found = {one.scope: one for one in verdicts(study, dict.fromkeys(study, 0.0)).comparisons}
    assert found["general"].first == "a" and found["general"].improvement.estimate < 0.6
    turned = {p: {"b": cells["b"], "a": cells["a"]} for p, cells in study.items()}
    again = {one.scope: one for one in verdicts(turned, dict.fromkeys(study, 0.0)).comparisons}
    for scope in ("general", "together"):
        assert (again[scope].first, again[scope].p) == (found[scope].first, pytest.approx(found[scope].p))
        assert again[scope].improvement.low == pytest.approx(found[scope].improvement.low)


def test_a_failed_seed_ranks_worst_and_is_counted() -> None:
    survivors = {"a": [1.0, 1.1, 1.2, 1.3, 1.4], "b": [0.1, 0.2, INF, INF, INF]}
    found = verdicts({"ring": survivors})
    one = found.comparisons[0]
    assert (one.first, one.difference.estimate) == ("a", None) and one.improvement.estimate == 0.6
    assert found.groups["ring"] == (("a", "b"),)


def test_methods_may_lack_problems() -> None:
    found = verdicts({"p": cells_of(0, 3, 5), "q": cells_of(1, 2, 5)})
    assert [(c.scope, {c.first, c.second}) for c in found.comparisons if not c.problem] == [("together", {"m0", "m1"})]
    assert found.groups[""] == (tuple(sorted(found.groups[""][0], key=found.groups[""][0].index)),)


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: mann_whitney([1, math.nan], [1]), DataError, r"\[1\] is nan.*math\.inf"),
        (lambda: mann_whitney([1], [-INF]), DataError, "-inf.*negate"),
        (lambda: mann_whitney([], [1]), DataError, "at least 1"),
        (lambda: mann_whitney([["x"]], [1]), DataError, "other than numbers"),
        (lambda: mann_whitney(range(150), range(150)), DataError, "at most 200"),
        (lambda: stratified([[1]], [[1], [2]]), DataError, "1 problems and b has 2"),
        (lambda: stratified([], []), DataError, "no problem"),
        (lambda: paired_permutation([math.nan]), DataError, "nan"),
        (lambda: paired_permutation("abc"), DataError, "numbers"),
        (lambda: student(["a"]), DataError, "other than numbers"),
        (lambda: holm([0.1, 1.2]), DataError, "p value 1 is 1.2"),
        (lambda: holm([math.nan]), DataError, "p value 0 is nan"),
        (lambda: holm([[0.1]]), DataError, "shape"),
        (lambda: groups(["a", "a"], []), DataError, "'a' is there twice"),
        (lambda: groups(["a", "b"], [("a", "c")]), DataError, "not a pair"),
        (lambda: wilson(6, 5), ConfigError, "k=6"),
        (lambda: least_p(0, 5), ConfigError, "n=0"),
        (lambda: seeds_needed(1, 2.0), ConfigError, r"level=2\.0"),
        (lambda: excess({"a": [1.0], "b": [1.0]}, 2.0), DataError, "no scale"),
        (lambda: excess({"a": [INF], "b": [INF]}, 0.0), DataError, "no scale"),
        (lambda: excess({"a": [1.0]}, math.nan), DataError, "floor=nan"),
        (lambda: interquartile_mean([]), DataError, "no problem"),
        (lambda: mean_improvement([]), DataError, "at least one"),
        (lambda: verdicts({}), DataError, "no problem"),
        (lambda: verdicts({"p": {"a": [1]}}), DataError, "p has 1 method"),
        (lambda: verdicts({"p": {"a": [1], "b": [math.nan]}}), DataError, "p/b"),
        (lambda: verdicts({"ring": {"a": [1], "b": [2]}}, {"rind": 0.0}), DataError, "did you mean 'ring'"),
        (lambda: verdicts({"": {"a": [1], "b": [2]}}), DataError, "no name"),
    ],
)
def test_bad_input_is_refused_with_a_fix(call: Callable[[], object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as raised:
        call()
    assert raised.value.fix
