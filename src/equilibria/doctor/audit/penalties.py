r"""Reads a gradient penalty from the slopes g of the discriminator and the gradient v = dL/dg that came back to them.

With V = n v for n rows, a penalty :math:`\lambda (\|g\| - k)^2` gives
:math:`V = 2\lambda g - 2\lambda k\, g/\|g\|`; without the second term it is :math:`\lambda \|g\|^2` (R1, R2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .losses import RESIDUAL, two_term_fit


@dataclass(frozen=True)
class Penalty:
    """A penalty that was read.

    Attributes:
        weight: its lambda.
        target: the norm k that slopes are drawn to.
        axis: the single axis over which the norm is taken, or None for the whole row.
    """

    weight: float
    target: float
    axis: int | None = None


def penalty_of(g: Tensor, v: Tensor) -> Penalty | None:
    """The penalty; None where it has another form, or is not active.

    Args:
        g: slopes ``(n, …)``.
        v: the gradient of the loss with respect to them.

    Examples:
        >>> g = torch.randn(8, 2, 3, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
        >>> loss = 10 * (g.flatten(1).norm(dim=1) - 1).square().mean()
        >>> found = penalty_of(g.detach(), torch.autograd.grad(loss, g)[0])
        >>> round(found.weight, 3), round(found.target, 3), found.axis
        (10.0, 1.0, None)
        >>> wrong = 10 * (g.norm(dim=1) - 1).square().mean()
        >>> penalty_of(g.detach(), torch.autograd.grad(wrong, g)[0]).axis
        1
    """
    g, v = g.detach().double(), v.detach().double()
    if not float(v.norm()) or not bool(torch.isfinite(g).all() and torch.isfinite(v).all()):
        return None
    whole = g.flatten(1).norm(dim=1).reshape(-1, *[1] * (g.dim() - 1))
    if (found := _fitted(g, v, whole, len(g), None)) is not None:
        return found
    for axis in range(g.dim()):
        if g.dim() > 2 or axis == 0:  # over the columns of (n, d) it is that of the row
            norms = g.norm(dim=axis, keepdim=True)
            if (found := _fitted(g, v, norms, norms.numel(), axis)) is not None:
                return found
    return None


def _fitted(g: Tensor, v: Tensor, norms: Tensor, count: int, axis: int | None) -> Penalty | None:
    first, second = g.flatten(), (g / norms.clamp(min=1e-30)).flatten()
    y = count * v.flatten()
    (a, b), residual = two_term_fit(torch.stack([first, second], 1), y)
    if residual > RESIDUAL:
        return None
    return Penalty(a / 2, -b / a if a else math.nan, axis)
