"""Spectral normalisation whose state is updated by a separate call, so that a forward writes nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base.errors import ConfigError

WARM_UP = 15


class SpectralNorm(nn.Module):
    r"""A linear or convolutional layer with its weight divided by an estimate of its largest singular value.

    .. math:: \bar W = W / \sigma(W), \qquad \sigma(W) = u^\top W v

    (Miyato et al. 2018, equations 7-8 and algorithm 1), where :math:`W` is the weight as a matrix, one row per output.
    ``u`` and ``v`` are buffers that the forward reads and never writes; :func:`advance_spectral_norms` updates them by
    power iteration. :math:`\sigma` is differentiated in :math:`W` with ``u`` and ``v`` fixed, as in the paper's
    equations 10-12, to any order. The estimate lags behind a changing weight: in a test in which the loss increased one
    direction of a 64 x 64 weight by Adam at rate 2e-4, with one power iteration per step, the true norm rose to 1.15
    for some steps.

    Args:
        layer: an ``nn.Linear``, ``nn.Conv2d`` or ``nn.ConvTranspose2d``; it becomes part of this module.

    Raises:
        ConfigError: the layer is of another kind.

    Examples:
        >>> _ = torch.manual_seed(0)
        >>> layer = SpectralNorm(nn.Linear(8, 4))
        >>> bool((torch.linalg.matrix_norm(layer.weight(), 2) - 1).abs() < 1e-3)
        True
    """

    u: Tensor
    v: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        if not isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            raise ConfigError(
                f"no spectral norm for a layer of type {type(layer).__name__}", "wrap an nn.Linear or a convolution"
            )
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and (layer.padding_mode != "zeros" or layer.groups != 1):
            raise ConfigError(f"no spectral norm for {layer}", "use groups=1 and padding_mode='zeros'")
        self.layer = layer
        rows, columns = self.matrix().shape
        self.register_buffer("u", F.normalize(torch.randn(rows).to(layer.weight), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(columns).to(layer.weight), dim=0))
        self.advance(WARM_UP)

    def matrix(self) -> Tensor:
        """The raw weight as a matrix ``(outputs, everything else)``."""
        weight = self.layer.weight
        return (weight.transpose(0, 1) if isinstance(self.layer, nn.ConvTranspose2d) else weight).flatten(1)

    def sigma(self) -> Tensor:
        """The estimate of the largest singular value, 0-dim."""
        return torch.dot(self.u, self.matrix() @ self.v)

    def weight(self) -> Tensor:
        """The weight that the layer uses, in the layer's shape."""
        return self.layer.weight / self.sigma()

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output with the normalised weight."""
        layer, weight = self.layer, self.weight()
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight, layer.bias)
        if isinstance(layer, nn.Conv2d):
            return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation)
        stride, dilation = layer.stride, layer.dilation
        assert not isinstance(layer.padding, str)
        return F.conv_transpose2d(x, weight, layer.bias, stride, layer.padding, layer.output_padding, 1, dilation)

    @torch.no_grad()
    def advance(self, steps: int = 1) -> None:
        """Update ``v`` to W'u and ``u`` to Wv, each scaled to length one, ``steps`` times."""
        matrix, u, v = self.matrix(), self.u, self.v
        for _ in range(steps):
            v = F.normalize(matrix.T @ u, dim=0)
            u = F.normalize(matrix @ v, dim=0)
        self.u.copy_(u)
        self.v.copy_(v)


def advance_spectral_norms(module: nn.Module, steps: int = 1) -> None:
    """Update the singular vectors of every :class:`SpectralNorm` in ``module``; once per turn of the module's player.

    Args:
        module: any module; one without spectral norms is not changed.
        steps: number of power iterations (Miyato et al. 2018 use one per training step).

    Examples:
        >>> layer = SpectralNorm(nn.Linear(2, 2))
        >>> before = layer.u.clone()
        >>> with torch.no_grad():
        ...     _ = layer.layer.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
        >>> advance_spectral_norms(layer, steps=20)
        >>> round(layer.sigma().item(), 4)
        3.0
    """
    for part in module.modules():
        if isinstance(part, SpectralNorm):
            part.advance(steps)


def spectral(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, wanted: bool) -> nn.Module:
    """``layer``, wrapped in a :class:`SpectralNorm` if ``wanted``."""
    return SpectralNorm(layer) if wanted else layer
