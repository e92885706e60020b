"""Directions in the space of codes: of the largest changes in a network, and from one attribute to another."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..base.errors import ConfigError, ShapeError


class Directions(NamedTuple):
    """Directions in order of the variance that they explain.

    Attributes:
        steps: ``(k, d)``; row i moves the i-th coordinate by one standard deviation.
        deviations: ``(k,)``, the standard deviations of the coordinates, in the unit of the activations.
        explained: ``(k,)``, shares of the activations' variance.
    """

    steps: Tensor
    deviations: Tensor
    explained: Tensor


def principal_directions(codes: Tensor, activations: Tensor, count: int = 8) -> Directions:
    r"""Principal components of activations, carried to the codes by least squares: GANSpace (Härkönen et al. 2020).

    With activations :math:`y_i` of the codes :math:`z_i`, their principal components V and coordinates
    :math:`x_i = V^T (y_i - \bar y)`, the direction of component k in the space of codes is the k-th column of

    .. math:: U = \arg\min_U \sum_i \|U x_i - (z_i - \bar z)\|^2

    (section 2.2, for generators whose codes enter the first layer). A step is :math:`\sigma_k u_k`, with
    :math:`\sigma_k` the standard deviation of :math:`x_k`. The sign is that in which the largest number of the step is
    positive.

    Where the layer is linear, :math:`y = W z`, and codes are standard normal, the steps converge to the right singular
    vectors of W in order of their singular values, the directions of Shen & Zhou 2021 (SeFa).

    Args:
        codes: ``(n, d)``.
        activations: ``(n, …)``, flattened.
        count: directions; fewer are returned where the activations vary in fewer.

    Returns:
        Computed in float64, returned in the type of ``codes``.

    Raises:
        ShapeError: no activations for each code.
        ConfigError: fewer than 2 codes, or activations that are not finite or do not vary.

    Examples:
        >>> z = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
        >>> found = principal_directions(z, z * torch.tensor([1.0, 5.0, 0.2]), count=2)
        >>> found.steps.round().abs().tolist()  # the second number of a code changes the most
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    if codes.dim() != 2 or len(activations) != len(codes):
        what = f"activations {tuple(activations.shape)} of codes {tuple(codes.shape)}"
        raise ShapeError(what, "give codes (n, d) and n activations")
    if len(codes) < 2 or count < 1:
        raise ConfigError(f"{count} directions of {len(codes)} codes", settings={"count": 8})
    y = activations.detach().flatten(1).double()
    if not bool(y.isfinite().all()):
        raise ConfigError("activations that are not finite", "use codes of an earlier checkpoint: best_round=True")
    y = y - y.mean(0)
    z = codes.detach().double()
    z = z - z.mean(0)
    # The smaller of the two matrices of products has the same spectrum.
    axes, variances = _components(y)
    kept = int((variances > variances[0].clamp(min=torch.finfo(torch.float64).tiny) * 1e-10).sum())
    if not kept or not float(variances[0]) > 0:
        raise ConfigError("activations that do not depend on the codes", "train the run longer")
    kept = min(kept, count)
    x = y @ axes[:, :kept]
    steps = (x.T @ z) / x.square().sum(0)[:, None] * variances[:kept].sqrt()[:, None]
    largest = steps.gather(1, steps.abs().argmax(1, keepdim=True))
    steps = steps * largest.sign()
    deviations, explained = variances[:kept].sqrt(), variances[:kept] / variances.sum()
    return Directions(steps.to(codes), deviations.to(codes), explained.to(codes))


def _components(y: Tensor) -> tuple[Tensor, Tensor]:
    """Axes ``(p, k)`` of centred rows ``(n, p)`` and the variances along them, the largest first."""
    n, p = y.shape
    if p <= n:
        values, axes = torch.linalg.eigh(y.T @ y / n)
        return axes.flip(1), values.flip(0).clamp(min=0)
    values, left = torch.linalg.eigh(y @ y.T / n)
    values, left = values.flip(0).clamp(min=0), left.flip(1)
    axes = y.T @ left
    return axes / torch.linalg.vector_norm(axes, dim=0).clamp(min=1e-150), values


def attribute_direction(plus: Tensor, minus: Tensor) -> Tensor:
    r"""The direction to an attribute: the mean code of samples that have it minus that of others, ``(d,)``.

    .. math:: \bar z_{+} - \bar z_{-}

    Radford et al. 2016 (DCGAN, section 6.3.2) take means of three codes, because single codes are unstable
    (``equilibria reproduce radford2016`` measures it).

    Args:
        plus: codes ``(n, d)`` of samples with the attribute.
        minus: codes ``(m, d)`` of samples without it.

    Raises:
        ShapeError: no codes, or codes of different sizes.

    Examples:
        >>> attribute_direction(torch.tensor([[1.0, 2.0], [3.0, 2.0]]), torch.tensor([[0.0, 2.0]])).tolist()
        [2.0, 0.0]
    """
    if plus.dim() != 2 or minus.dim() != 2 or not len(plus) or not len(minus) or plus.shape[1] != minus.shape[1]:
        what = f"a direction from codes {tuple(minus.shape)} to codes {tuple(plus.shape)}"
        raise ShapeError(what, "give at least one code of the same size on either side")
    return plus.mean(0) - minus.mean(0)
