"""A number for each row of a tensor, equal for equal bits: which rows were seen before."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

MOST_ROWS = 256
"""Rows of a batch that are kept and hashed."""


def row_hashes(x: Tensor) -> Tensor:
    """One int64 for each row of ``(n, …)``: the bits of its entries times fixed odd numbers, summed with wrap-around.

    Examples:
        >>> a = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]])
        >>> h = row_hashes(a).tolist()
        >>> h[0] == h[1], h[0] == h[2]
        (True, False)
    """
    rows = x.detach().reshape(len(x), -1)
    if rows.is_complex():
        rows = torch.view_as_real(rows).flatten(1)
    if rows.is_floating_point():
        wide = rows.dtype == torch.float64
        rows = (rows if wide else rows.float()) + 0.0  # so that -0 is 0
        bits = rows.contiguous().view(torch.int64 if wide else torch.int32).long()
    else:
        bits = rows.long()
    return (bits * _weights(bits.shape[1], str(bits.device))).sum(1)


@functools.lru_cache(16)
def _weights(count: int, device: str) -> Tensor:
    draw = torch.Generator().manual_seed(count)
    return (torch.randint(-(2**62), 2**62, (count,), generator=draw) * 2 + 1).to(device)
