"""Many comparisons: Holm's correction, and groups of methods that are not told apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..base.errors import DataError

Group = tuple[str, ...]


def holm(ps: ArrayLike) -> list[float]:
    r"""Adjusted p values: claims where they are at most :math:`\alpha` hold all together with probability
    :math:`1 - \alpha` (Holm 1979).

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\big(1, (m - j + 1)\, p_{(j)}\big)

    Args:
        ps: the p values of all comparisons that were made, in any order.

    Raises:
        DataError: one is not between 0 and 1.

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    try:
        p = np.asarray(ps, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("the p values hold something other than numbers", "give a list of numbers") from error
    if p.ndim != 1:
        raise DataError(f"p values of the shape {p.shape}: a list is needed", "give one p value per comparison")
    if (wrong := ~((p >= 0) & (p <= 1))).any():
        first = int(np.flatnonzero(wrong)[0])
        what = f"p value {first} is {p[first]}: each is between 0 and 1"
        raise DataError(what, "give the p value of each comparison that was made; 1 where no test was possible")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.minimum(1.0, p[order] * np.arange(len(p), 0, -1)))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return [float(one) for one in adjusted]


def groups(methods: Sequence[str], apart: Iterable[Collection[str]]) -> tuple[Group, ...]:
    """The largest sets of methods of which no two were told apart.

    A method is in several sets if it was told apart from neither of two methods that were told apart: "not told
    apart" is not "equal". Found by splitting every set that holds a pair, and leaving out subsets (Piepho 2004).

    Args:
        methods: ordered from the best to the worst.
        apart: the pairs that were told apart.

    Raises:
        DataError: a name is there twice, or a pair is not one of two of the methods.

    Examples:
        >>> groups(["a", "b", "c"], [("a", "c")])
        (('a', 'b'), ('b', 'c'))
    """
    place = {name: index for index, name in enumerate(methods)}
    if len(place) < len(methods):
        twice = next(name for name in methods if list(methods).count(name) > 1)
        raise DataError(f"the method '{twice}' is there twice", "give each method one name")
    sets = [frozenset(place.values())]
    for pair in apart:
        names = frozenset(pair)
        if len(names) != 2 or not names <= place.keys():
            what = f"{tuple(pair)!r} is not a pair of two of the methods ({', '.join(methods)})"
            raise DataError(what, "give the names of two different methods")
        both = frozenset(place[name] for name in names)
        halves = [one - {index} for one in sets if both <= one for index in both]
        kept = [one for one in sets if not both <= one]
        for half in sorted(halves, key=len, reverse=True):
            if not any(half <= other for other in kept):
                kept.append(half)
        sets = kept
    return tuple(tuple(methods[index] for index in sorted(one)) for one in sorted(sets, key=sorted) if one)


def letters(methods: Sequence[str], found: Sequence[Group]) -> dict[str, str]:
    """The compact letter display: methods that share a letter were not told apart (Piepho 2004).

    Args:
        methods: all of them.
        found: what :func:`groups` returned.

    Examples:
        >>> letters(["a", "b", "c"], [("a", "b"), ("b", "c")])
        {'a': 'a', 'b': 'ab', 'c': 'b'}
    """
    return {name: "".join(_letter(i) for i, group in enumerate(found) if name in group) for name in methods}


def _letter(index: int) -> str:
    """``a`` to ``z``, then ``a1`` to ``z1``, and so on."""
    return chr(ord("a") + index % 26) + (str(index // 26) if index >= 26 else "")
