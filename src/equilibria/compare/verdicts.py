"""Which methods are told apart, which are not, and what the number of seeds and problems cannot support."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..base.errors import DataError, did_you_mean
from .across import NO_SCALE, excess, scale_of
from .exact import least_paired_p, mann_whitney, paired_permutation, stratified
from .intervals import improvement, mean_improvement, welch
from .limits import paired_limit, seeds_limit, uneven_limit
from .multiplicity import Group, groups, holm
from .values import Interval, Values, middle, probability, seeds_of

Cells = Mapping[str, Values]

Scope = Literal["problem", "together", "general"]


@dataclass(frozen=True)
class Comparison:
    """Two methods, compared by one test.

    Attributes:
        scope: ``"problem"``: one problem (exact Mann-Whitney test); ``"together"``: these problems (its sum over
            them); ``"general"``: other problems like these (sign changes of the differences of median excesses).
        problem: the name of the problem; empty for several.
        first: the method that is better in the test: a claim says that it is better.
        second: the other.
        p: of this test alone.
        adjusted: after Holm's correction for all comparisons of the study.
        apart: whether a difference is claimed.
        improvement: the probability that a seed of the first is better than a seed of the second.
        difference: of the means, first less second, in units of the metric; None for several problems. Not corrected
            for the number of comparisons.
    """

    scope: Scope
    problem: str
    first: str
    second: str
    p: float
    adjusted: float
    apart: bool
    improvement: Interval
    difference: Interval | None


@dataclass(frozen=True)
class Verdicts:
    """What a study found.

    Attributes:
        comparisons: of all pairs, on each problem and over problems.
        groups: for each problem the groups of methods that are not told apart, the best first; under ``""`` those over
            all problems, if there are several.
        limits: sentences that say what the numbers of seeds and problems cannot support.
    """

    comparisons: tuple[Comparison, ...]
    groups: dict[str, tuple[Group, ...]]
    limits: tuple[str, ...]

    def claims(self) -> tuple[Comparison, ...]:
        """The comparisons in which a difference is claimed."""
        return tuple(one for one in self.comparisons if one.apart)


def verdicts(
    study: Mapping[str, Mapping[str, ArrayLike]],
    floors: Mapping[str, float | None] | None = None,
    level: float = 0.05,
) -> Verdicts:
    r"""Compare all pairs of methods of a study, with one correction for all that is compared.

    On each problem by :func:`~equilibria.compare.exact.mann_whitney`; over the problems that both methods have, if
    there are several, by :func:`~equilibria.compare.exact.stratified`; and beyond them, if the floors are given and
    there are enough problems for any claim, by :func:`~equilibria.compare.exact.paired_permutation` of the differences
    of the median excess. Where no effect of any kind exists, the probability of one claim or more in the whole study is
    at most ``level`` (:func:`~equilibria.compare.multiplicity.holm`). A test that cannot be significant even alone is
    not counted: it can make no false claim.

    Args:
        study: for each problem, and each method on it, the values of its seeds: lower is better, ``inf`` for a seed
            that failed.
        floors: for each problem the score of a perfect sampler. A problem without one is left out of the paired test,
            and so is one that has no scale (:func:`~equilibria.compare.across.excess`).
        level: the probability of a false claim.

    Raises:
        DataError: there is no problem, one has less than two methods or no name, a floor is of another problem, or a
            value is ``nan``.
        ConfigError: the level is not between 0 and 1.

    Examples:
        >>> found = verdicts({"ring": {"a": [1, 2, 3, 4, 5], "b": [6, 7, 8, 9, 10], "c": [3, 6, 7, 8, 11]}})
        >>> [(one.first, one.second, round(one.adjusted, 3)) for one in found.claims()]
        [('a', 'b', 0.024)]
        >>> found.groups["ring"]
        (('a', 'c'), ('c', 'b'))
        >>> verdicts({"ring": {"a": [1, 2, 3], "b": [4, 5, 6]}}).limits[0]
        '3 seeds of each method cannot support a claim on one problem...'
    """
    limit, cells = probability("level", level), _checked(study, floors)
    found = [_on(problem, pair, cells[problem]) for problem in cells for pair in combinations(cells[problem], 2)]
    normalised, said = _normalised(cells, floors or {})
    if len(cells) > 1:
        found += _several(cells, normalised)
    counted = [one for one in found if _least(one, cells, normalised) <= limit]
    adjusted = dict(zip(map(id, counted), holm([one.p for one in counted]), strict=True))
    done = tuple(
        replace(one, adjusted=adjusted.get(id(one), 1.0), apart=adjusted.get(id(one), 1.0) <= limit) for one in found
    )
    return Verdicts(done, _groups(cells, done), (*_limits(cells, normalised, done, limit), *said))


def _checked(
    study: Mapping[str, Mapping[str, ArrayLike]], floors: Mapping[str, float | None] | None
) -> dict[str, Cells]:
    if not study:
        raise DataError("the study has no problem", "give at least one, as {'problem': {'method': [values]}}")
    for problem, methods in study.items():
        if len(methods) < 2:
            what = f"{problem} has {len(methods)} method{'s' * (len(methods) != 1)}: a comparison needs two"
            raise DataError(what, "add a method, or leave out this problem")
        if not isinstance(problem, str) or not problem:
            raise DataError(f"the problem {problem!r} has no name", "give each problem a name, a text")
    for problem in floors or {}:
        if problem not in study:
            raise DataError(f"floors has '{problem}', which the study lacks", did_you_mean(problem, study))
    return {p: {m: seeds_of(f"{p}/{m}", v) for m, v in methods.items()} for p, methods in study.items()}


def _made(scope: Scope, problem: str, p: float, pair: tuple[str, str], better: Interval, lead: float) -> Comparison:
    """A comparison, not yet corrected, with the method first that has the lead."""
    if lead < 0:
        pair = pair[1], pair[0]
        better = Interval(*(None if one is None else 1 - one for one in (better.estimate, better.high, better.low)))
    return Comparison(scope, problem, *pair, p, 1.0, False, better, None)


def _lead(a: Values, b: Values) -> int:
    """How far twice the Mann-Whitney statistic is from its mean, positive where ``a`` is better."""
    return int((a[:, None] < b).sum()) - int((a[:, None] > b).sum())


def _on(problem: str, pair: tuple[str, str], cells: Cells) -> Comparison:
    a, b = cells[pair[0]], cells[pair[1]]
    made = _made("problem", problem, mann_whitney(a, b), pair, improvement(a, b), _lead(a, b))
    return replace(made, difference=welch(cells[made.first], cells[made.second]))


def _normalised(cells: Mapping[str, Cells], floors: Mapping[str, float | None]) -> tuple[dict[str, Cells], list[str]]:
    """The excess on each problem that has a floor and a scale, and why a problem with a floor has none."""
    found: dict[str, Cells] = {}
    said = []
    for problem, methods in cells.items():
        floor = floors.get(problem)
        if floor is None or len(cells) == 1:
            continue
        if scale_of(methods, floor) is None:
            said.append(f"{problem} is left out of the paired test: {NO_SCALE}.")
        else:
            found[problem] = excess(methods, floor)
    return found, said


def _several(cells: Mapping[str, Cells], normalised: Mapping[str, Cells]) -> list[Comparison]:
    """The comparisons over problems, and beyond them, of the pairs that share several."""
    methods = list(dict.fromkeys(name for problem in cells.values() for name in problem))
    found = []
    for pair in combinations(methods, 2):
        shared = _shared(cells, *pair)
        if len(shared) < 2:
            continue
        one, other = ([cells[p][name] for p in shared] for name in pair)
        better = mean_improvement([improvement(a, b) for a, b in zip(one, other, strict=True)])
        lead: float = sum(_lead(a, b) for a, b in zip(one, other, strict=True))
        found.append(_made("together", "", stratified(one, other), pair, better, lead))
        if scaled := _shared(normalised, *pair):
            apart = [_apart(*(middle(normalised[p][name]) for name in pair)) for p in scaled]
            failures = sum(np.sign(d) for d in apart if math.isinf(d))
            lead = -float(failures or sum(d for d in apart if math.isfinite(d)))
            found.append(_made("general", "", paired_permutation(apart), pair, better, lead))
    return found


def _apart(a: float, b: float) -> float:
    return 0.0 if a == b else a - b  # also where both failed


def _shared(cells: Mapping[str, Cells], a: str, b: str) -> list[str]:
    return [problem for problem, methods in cells.items() if a in methods and b in methods]


def _least(one: Comparison, cells: Mapping[str, Cells], normalised: Mapping[str, Cells]) -> float:
    """The least p value that the test of a comparison can give with these numbers of seeds and problems."""
    if one.scope == "general":
        return least_paired_p(len(_shared(normalised, one.first, one.second)))
    shared = [one.problem] if one.scope == "problem" else _shared(cells, one.first, one.second)
    sizes = [(len(cells[p][one.first]), len(cells[p][one.second])) for p in shared]
    return min(1.0, 2 / math.prod(math.comb(n + m, n) for n, m in sizes))


def _groups(cells: Mapping[str, Cells], done: tuple[Comparison, ...]) -> dict[str, tuple[Group, ...]]:
    found = {}
    for problem, methods in cells.items():
        order = sorted(methods, key=lambda name: middle(methods[name]))
        found[problem] = groups(order, [(c.first, c.second) for c in done if c.problem == problem and c.apart])
    over = [c for c in done if c.scope == "together"]
    if over:
        names = list(dict.fromkeys(name for c in over for name in (c.first, c.second)))
        score = {name: fmean(_better(c, name) for c in over if name in (c.first, c.second)) for name in names}
        order = sorted(names, key=lambda name: -score[name])
        found[""] = groups(order, [(c.first, c.second) for c in over if c.apart])
    return found


def _better(one: Comparison, name: str) -> float:
    better = one.improvement.estimate or 0.0
    return better if name == one.first else 1 - better


def _limits(
    cells: Mapping[str, Cells], normalised: Mapping[str, Cells], done: tuple[Comparison, ...], limit: float
) -> tuple[str, ...]:
    alone = [c for c in done if c.scope == "problem"]
    short = [c for c in alone if len(alone) * _least(c, cells, normalised) > limit]
    largest = max(len(values) for methods in cells.values() for values in methods.values())
    every = seeds_limit(largest, len(alone), limit) if len(short) == len(alone) else ""
    some = ""
    if short and not every:
        one, sizes = short[0], cells[short[0].problem]
        example = (one.first, len(sizes[one.first]), one.second, len(sizes[one.second]))
        some = uneven_limit(len(short), len(alone), example)
    pairs = len({frozenset((c.first, c.second)) for c in alone})
    beyond = paired_limit(len(normalised) or len(cells), pairs, "problem", limit) if len(cells) > 1 else ""
    return tuple(one for one in (every, some, beyond) if one)
