"""Pictures of two attributes: a shape in a colour, at a place and of a size that are noise."""

from __future__ import annotations

import torch
from torch import Tensor

SHAPES = ("disc", "cross")
COLOURS = ("red", "blue")
SIDE = 16


def pictures(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """``n`` pictures ``(n, 3, 16, 16)`` in [-1, 1], their shape ``(n,)`` and their colour ``(n,)``.

    The attributes are independent and uniform. The centre is uniform in a square of 2 pixels around the middle, the
    half width uniform from 5 to 6 pixels, the brightness uniform from .7 to 1; edges are smoothed over a pixel.

    Examples:
        >>> x, shape, colour = pictures(5, seed=0)
        >>> x.shape, bool((x.abs() <= 1).all()), len(shape) == len(colour) == 5
        (torch.Size([5, 3, 16, 16]), True, True)
    """
    source = torch.Generator().manual_seed(seed)
    shape = torch.randint(len(SHAPES), (n,), generator=source)
    colour = torch.randint(len(COLOURS), (n,), generator=source)
    middle = (SIDE - 1) / 2
    centre = middle + 2 * (torch.rand(n, 2, generator=source) - 0.5)
    half = (5 + torch.rand(n, generator=source))[:, None, None]
    bright = 0.7 + 0.3 * torch.rand(n, generator=source)
    steps = torch.arange(SIDE, dtype=torch.float32)
    down, across = (steps[None] - centre[:, i, None] for i in range(2))
    down, across = down[:, :, None].abs(), across[:, None, :].abs()
    disc = (down.square() + across.square()).sqrt() - half
    bars = (torch.maximum(down - half / 3, across - half), torch.maximum(down - half, across - half / 3))
    outside = torch.where(shape[:, None, None] == 0, disc, torch.minimum(*bars))
    ink = (0.5 - outside).clamp(0, 1) * bright[:, None, None]
    x = torch.zeros(n, 3, SIDE, SIDE)
    x[torch.arange(n), 2 * colour] = ink
    return 2 * x - 1, shape, colour
