"""Truncation of latent codes: samples that are more typical and less diverse."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..base.errors import ConfigError


def truncated_normal(codes: Tensor, threshold: float) -> Tensor:
    r"""Standard normal codes as codes of the normal law truncated to [-threshold, threshold], each number on its own.

    Brock et al. 2019 (BigGAN, section 3.1) draw again each number of a code that is beyond the threshold. The numbers
    then follow the truncated law, and so do these, which are the same quantiles of it:

    .. math:: z' = \Phi^{-1}\big(\Phi(-t) + (\Phi(t) - \Phi(-t))\,\Phi(z)\big) .

    The map increases in z and in t, so codes of several thresholds stay comparable: a picture keeps its kind.

    Args:
        codes: any shape, standard normal.
        threshold: t, positive; infinity changes nothing.

    Returns:
        The same shape and type, computed in float64.

    Raises:
        ConfigError: a threshold that is not positive.

    Examples:
        >>> truncated_normal(torch.tensor([-8.0, 0.0, 8.0]), 0.5)
        tensor([-0.5000,  0.0000,  0.5000])
    """
    if not threshold > 0:
        raise ConfigError(f"threshold={threshold} of truncated codes is not positive", settings={"threshold": 0.5})
    if math.isinf(threshold):
        return codes
    # By symmetry of the law from the upper tail, where the distribution function of a number has all its digits.
    side, z = codes.double().sign(), codes.double().abs()
    half = (torch.special.ndtr(torch.tensor(threshold, dtype=torch.float64)) - 0.5).to(z.device)
    tail = 0.5 - 2 * half * (0.5 - torch.special.ndtr(-z))
    found = -torch.special.ndtri(tail.clamp(min=torch.finfo(torch.float64).tiny))
    made: Tensor = side * found.clamp(max=threshold) + 0.0  # not -0
    return made.to(codes.dtype)


def scaled_codes(codes: Tensor, psi: float, centre: Tensor | None = None) -> Tensor:
    r"""Codes moved towards their mean: :math:`\bar z + \psi\,(z - \bar z)`.

    The truncation of Karras et al. 2019 (StyleGAN, appendix B), who apply it to the output w of a mapping network. Here
    it is applied to the codes themselves.

    Args:
        codes: ``(n, d)``.
        psi: 1 changes nothing, 0 gives the mean.
        centre: the mean code ``(d,)``; None for 0, the mean of the standard normal law and of the uniform one.

    Raises:
        ConfigError: a psi that is not finite.

    Examples:
        >>> scaled_codes(torch.tensor([[2.0, -4.0]]), 0.5).tolist()
        [[1.0, -2.0]]
    """
    if not math.isfinite(psi):
        raise ConfigError(f"psi={psi} is not finite", settings={"psi": 0.7})
    middle = torch.zeros(codes.shape[-1]).to(codes) if centre is None else centre.to(codes)
    return torch.lerp(middle.expand_as(codes), codes, psi)
