"""Which classes samples have where none are asked for: those of the data, in its shares."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..base.randomness import mix

__all__ = ["classes_by_quota", "drawn_classes"]


def drawn_classes(n: int, shares: Sequence[float], seed: int) -> Tensor:
    r"""Classes of ``n`` samples, in random order, each class as often as its share says, give or take one.

    A systematic sample: with one uniform number :math:`u` on [0, 1), sample :math:`i` has the class
    :math:`F^{-1}((i + u)/n)` of the shares' distribution function, so class c has :math:`n s_c` samples in expectation.

    Args:
        n: how many.
        shares: of each class in the data, in any unit.
        seed: of u and of the order.

    Returns:
        ``(n,)`` int64.

    Examples:
        >>> drawn_classes(8, (25, 0, 75), seed=0).bincount().tolist()
        [2, 0, 6]
    """
    generator = torch.Generator().manual_seed(mix(seed, 14))
    places = (torch.arange(n, dtype=torch.float64) + torch.rand((), generator=generator, dtype=torch.float64)) / n
    weights = torch.tensor(shares, dtype=torch.float64)
    ends = weights.cumsum(0) / weights.sum()
    last = int(weights.nonzero().max())
    classes = torch.searchsorted(ends, places, right=True).clamp(max=last)
    return classes[torch.randperm(n, generator=generator)]


def classes_by_quota(n: int, shares: Sequence[float]) -> Tensor:
    """Classes of ``n`` samples of a picture: any first part of them has the shares of the data as nearly as it can.

    The next sample is of the class that lacks most of its quota; within each K samples, K the number of classes, they
    are in order. For even shares these are the classes 0, 1, …, K - 1 again and again.

    Examples:
        >>> classes_by_quota(8, (25, 75)).tolist(), classes_by_quota(5, (7, 7, 7)).tolist()
        ([0, 1, 1, 1, 0, 1, 1, 1], [0, 1, 2, 0, 1])
    """
    quota = torch.tensor(shares, dtype=torch.float64)
    quota = quota / quota.sum()
    given, chosen = torch.zeros_like(quota), []
    for i in range(n):
        lacking = quota * (i + 1) - given
        lacking[quota == 0] = -torch.inf
        c = int(lacking.argmax())
        given[c] += 1
        chosen.append(c)
    k = len(shares)
    return torch.tensor([c for start in range(0, n, k) for c in sorted(chosen[start : start + k])], dtype=torch.int64)
