"""The maximum mean discrepancy under mixtures of Gaussian kernels, as a loss that is differentiated."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base.errors import ConfigError, DataError
from .base import wide

SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)  # of the MMD-GAN (Li et al. 2017, section 5)


def mixture(x: Tensor, y: Tensor, scales: tuple[float, ...] = SCALES) -> Tensor:
    r"""The kernel :math:`k(x, y) = \sum_s \exp(-\|x - y\|^2 / 2 s^2)` for all pairs of rows.

    Args:
        x: ``(n, d)``.
        y: ``(m, d)``.
        scales: the values of s, in the units of the rows.

    Returns:
        ``(n, m)``.

    Examples:
        >>> mixture(torch.zeros(1, 2), torch.ones(1, 2), scales=(1.0,)).item() == torch.tensor(-1.0).exp().item()
        True
    """
    squares = (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)
    return torch.stack([torch.exp(-squares / (2 * s**2)) for s in scales]).sum(0)


def squared_discrepancy(x: Tensor, y: Tensor, scales: tuple[float, ...] = SCALES, unbiased: bool = False) -> Tensor:
    r"""The squared maximum mean discrepancy of two samples (Gretton et al. 2012, equations 3 and 5).

    .. math::
        \text{biased: } & \frac1{n^2} \sum_{i, j} k(x_i, x_j) + \frac1{m^2} \sum_{i, j} k(y_i, y_j)
            - \frac2{nm} \sum_{i, j} k(x_i, y_j) \ge 0 \\
        \text{unbiased: } & \text{the first two without } i = j, \text{ over } n(n-1) \text{ and } m(m-1)

    with the kernel of :func:`mixture`. The unbiased one has mean 0 for equal laws and can be negative.

    Args:
        x: ``(n, …)``, rows of one law; flattened.
        y: ``(m, …)``, rows of the other.
        scales: of the kernel, in the units of the rows.
        unbiased: which estimate.

    Returns:
        0-dim, in float32 or wider.

    Raises:
        DataError: a side without rows, or with one row for the unbiased estimate.

    Examples:
        >>> squared_discrepancy(torch.zeros(3, 1), torch.full((4, 1), 1e3)).item()
        10.0
    """
    x, y = wide(x).flatten(1), wide(y).flatten(1)
    if unbiased and min(len(x), len(y)) < 2:
        raise DataError(f"an unbiased discrepancy of {len(x)} and {len(y)} rows", "use a batch of 2 or more")
    within = [mixture(side, side, scales) for side in (x, y)]
    across = mixture(x, y, scales).mean()
    if not unbiased:
        return within[0].mean() + within[1].mean() - 2 * across
    means = [(k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1)) for k in within]
    return means[0] + means[1] - 2 * across


def root(squared: Tensor, eps: float = 1e-8) -> Tensor:
    r"""The discrepancy itself, :math:`\sqrt{\max(M, 0) + \epsilon}`, whose slope is finite at M = 0.

    Examples:
        >>> root(torch.tensor(4.0)).item()
        2.0
    """
    return (squared.clamp(min=0) + eps).sqrt()


def need_scales(scales: tuple[float, ...]) -> None:
    """Refuse a kernel without scales, or with one that is not positive, with ConfigError."""
    if not scales or not min(scales) > 0:
        raise ConfigError(f"scales={scales} of a kernel: the rule is one or more above 0", settings={"scales": (1.0,)})
