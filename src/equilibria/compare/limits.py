"""What a number of seeds or problems cannot support, in one sentence each."""

from __future__ import annotations

from .exact import least_p, least_paired_p, pairs_needed, seeds_needed
from .values import probability


def seeds_limit(n: int, comparisons: int, level: float = 0.05) -> str:
    """Why no pair can be told apart on one problem with ``n`` seeds of each method; empty if one can.

    Args:
        n: seeds of each method.
        comparisons: number of comparisons that are corrected for.
        level: the probability of a false claim.

    Examples:
        >>> print(seeds_limit(5, 45))
        5 seeds of each method cannot support a claim on one problem: the least p value of an exact test is 0.0079,
        times 45 comparisons 0.36. It takes at least 7 seeds, or at most 6 comparisons.
        >>> seeds_limit(5, 6)
        ''
    """
    least, limit = least_p(n, n), probability("level", level)
    if comparisons * least <= limit:
        return ""
    what = f"{_count(n, 'seed')} of each method cannot support a claim on one problem: the least p value of an exact"
    fix = f"It takes at least {seeds_needed(comparisons, limit)} seeds"
    fix += f", or at most {_count(int(limit / least), 'comparison')}" if least <= limit else ""
    return f"{what} test is {least:.2g}{_times(comparisons, least)}. {fix}."


def paired_limit(n: int, comparisons: int, unit: str = "problem", level: float = 0.05) -> str:
    """Why no pair can be told apart by a paired test with ``n`` differences; empty if one can.

    Args:
        n: number of differences.
        comparisons: number of comparisons that are corrected for.
        unit: what there is one difference of, ``"problem"`` or ``"seed"``.
        level: the probability of a false claim.

    Examples:
        >>> print(paired_limit(5, 1, "seed"))
        5 seeds cannot support a paired claim: the least p value of 5 changes of sign is 0.062. It takes at least 6
        seeds.
    """
    least, limit = least_paired_p(n), probability("level", level)
    if comparisons * least <= limit:
        return ""
    what = f"{_count(n, unit)} cannot support a paired claim: the least p value of {_count(n, 'change')} of sign is"
    return (
        f"{what} {least:.2g}{_times(comparisons, least)}. It takes at least {pairs_needed(comparisons, limit)} {unit}s."
    )


def uneven_limit(pairs: int, of: int, example: tuple[str, int, str, int]) -> str:
    """That some of the pairs have too few seeds for a claim, with one of them as example.

    Examples:
        >>> uneven_limit(2, 3, ("gan", 2, "wgan", 5))
        '2 of 3 pairs have too few seeds for a claim, for example gan (2) and wgan (5).'
    """
    a, n, b, m = example
    return f"{pairs} of {of} pairs have too few seeds for a claim, for example {a} ({n}) and {b} ({m})."


def _count(n: int, unit: str) -> str:
    return f"{n} {unit}{'s' * (n != 1)}"


def _times(comparisons: int, least: float) -> str:
    return f", times {comparisons} comparisons {min(1.0, comparisons * least):.2g}" if comparisons > 1 else ""
