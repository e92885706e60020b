"""Self-attention between the places of a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError
from .spectral import spectral

SHRINK = 8


class SelfAttention(nn.Module):
    r"""Each place of a feature map reads from all others (SAGAN: Zhang et al. 2019, section 3, equations 1 to 3).

    .. math:: s_{ij} = f(x_i)^\top g(x_j), \qquad \beta_{j,i} = \frac{e^{s_{ij}}}{\sum_k e^{s_{kj}}}, \qquad
              y_j = x_j + \gamma\, v\Big( \sum_i \beta_{j,i}\, h(x_i) \Big)

    for the places :math:`i, j` of a map of ``c`` channels, where f, g, h are 1 x 1 convolutions to ``max(1, c // 8)``
    channels and v is one back to ``c``. The scalar :math:`\gamma` is a parameter that begins at 0, so the layer begins
    as the identity, and :math:`\gamma` is its only parameter with a gradient in the first step.

    Time and memory grow with the square of the number of places: 256 places (16 x 16) are 65,536 weights an image.

    Args:
        channels: ``c`` of the input ``(n, c, h, w)`` and of the output.
        spectral_norm: whether the four convolutions are spectrally normalised.

    Raises:
        ConfigError: no channel.

    Examples:
        >>> layer, x = SelfAttention(16), torch.randn(2, 16, 4, 4)
        >>> torch.equal(layer(x), x), layer.weights(x).shape
        (True, torch.Size([2, 16, 16]))
    """

    def __init__(self, channels: int, spectral_norm: bool = False) -> None:
        super().__init__()
        if channels < 1:
            raise ConfigError(f"self-attention of {channels} channels: the least is 1", "SelfAttention(channels=64)")
        inner = max(1, channels // SHRINK)
        self.f, self.g, self.h = (spectral(nn.Conv2d(channels, inner, 1), spectral_norm) for _ in range(3))
        self.v = spectral(nn.Conv2d(inner, channels, 1), spectral_norm)
        self.gamma = nn.Parameter(torch.zeros(()))

    def weights(self, x: Tensor) -> Tensor:
        r"""The shares :math:`\beta` ``(n, hw, hw)``: row j has what place j reads from each place; rows sum to 1."""
        f, g = self.f(x).flatten(2), self.g(x).flatten(2)
        return torch.einsum("ncj,nci->nji", g, f).softmax(2)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, h, w)``."""
        read = torch.einsum("nji,nci->ncj", self.weights(x), self.h(x).flatten(2))
        out: Tensor = x + self.gamma * self.v(read.reshape(len(x), -1, *x.shape[2:]))
        return out
