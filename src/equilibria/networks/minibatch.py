"""Layers by which a discriminator sees how its batch varies: minibatch discrimination and minibatch deviation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError

_TINY = 1e-8


class MinibatchDiscrimination(nn.Module):
    r"""Features of a point beside its closeness to the other points of the batch (Salimans et al. 2016, section 3.2).

    .. math:: M_i = f_i^\top T \in \mathbb{R}^{B \times C}, \qquad
              o_{ib} = \beta_b + \sum_{j \ne i} \exp(-\|M_{ib} - M_{jb}\|_1)

    and the output is :math:`[f_i, o_i]`. As in the authors' code a point is not compared with itself, each vector
    :math:`T_{\cdot bc}` is a direction of length :math:`e^{s_{bc}}` (weight normalisation), and :math:`\beta` begins at
    -1. Without it, B equal rows have :math:`o = n - 1 + \beta`.

    Real and generated batches must go through the discriminator separately.

    Args:
        features: size A of the input vectors.
        kernels: B, the number of values that are appended.
        dimensions: C, of the space in which points are compared.

    Raises:
        ConfigError: a size below 1.

    Examples:
        >>> layer = MinibatchDiscrimination(3, kernels=2, dimensions=4)
        >>> same = torch.ones(5, 3)
        >>> layer(same).shape, layer.closeness(same)[0].tolist()
        (torch.Size([5, 5]), [4.0, 4.0])
    """

    def __init__(self, features: int, kernels: int = 100, dimensions: int = 5) -> None:
        super().__init__()
        if min(features, kernels, dimensions) < 1:
            what = f"features={features}, kernels={kernels}, dimensions={dimensions}: the least is 1"
            raise ConfigError(what, settings={"kernels": 100, "dimensions": 5})
        self.kernels, self.dimensions = kernels, dimensions
        self.weight = nn.Parameter(torch.empty(features, kernels, dimensions).normal_(0.0, 0.05))
        self.log_scale = nn.Parameter(torch.zeros(kernels, dimensions))
        self.bias = nn.Parameter(torch.full((kernels,), -1.0))

    @property
    def added(self) -> int:
        """The number of values that are appended."""
        return self.kernels

    def closeness(self, f: Tensor) -> Tensor:
        """``(n, features)`` to the sums over the other rows ``(n, kernels)``, each in [0, n - 1], without the bias."""
        directions = self.weight * (self.log_scale.exp() * (self.weight.square().sum(0) + _TINY).rsqrt())
        points = torch.einsum("na,abc->nbc", f, directions)
        apart = (points[:, None] - points[None]).abs().sum(3)
        others = 1 - torch.eye(len(f), dtype=f.dtype, device=f.device)
        return ((-apart).exp() * others[:, :, None]).sum(1)

    def forward(self, f: Tensor) -> Tensor:
        """``(n, features)`` to ``(n, features + kernels)``."""
        return torch.cat([f, self.closeness(f) + self.bias], dim=1)

    def extra_repr(self) -> str:
        """The numbers of kernels and dimensions."""
        return f"kernels={self.kernels}, dimensions={self.dimensions}"


class MinibatchDeviation(nn.Module):
    r"""One more channel with the mean standard deviation of the batch (Karras et al. 2018, section 3).

    .. math:: \bar s = \frac1{chw} \sum_{k,u,v} \sqrt{\frac1n \sum_i (x_{ikuv} - \bar x_{kuv})^2 + \epsilon}

    :math:`\bar s` is one number for the batch, repeated for every row (and place).

    Args:
        eps: added to the variance under the root, which has no finite derivative at 0.

    Examples:
        >>> MinibatchDeviation(eps=0.0)(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
        tensor([[1.0000, 0.0000, 1.5000],
                [3.0000, 4.0000, 1.5000]])
    """

    added = 1

    def __init__(self, eps: float = _TINY) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, …)`` to ``(n, c + 1, …)``."""
        spread = ((x - x.mean(0)).square().mean(0) + self.eps).sqrt().mean()
        return torch.cat([x, spread.expand(len(x), 1, *x.shape[2:])], dim=1)


MINIBATCH = ("none", "discrimination", "deviation")


def minibatch_layer(kind: str, features: int, kernels: int = 100) -> tuple[list[nn.Module], int]:
    """The layer named ``kind`` (of :data:`MINIBATCH`), if any, for vectors, and the size of its output.

    Examples:
        >>> minibatch_layer("deviation", 8)
        ([MinibatchDeviation()], 9)
    """
    if kind == "none":
        return [], features
    layer = MinibatchDiscrimination(features, kernels) if kind == "discrimination" else MinibatchDeviation()
    return [layer], features + layer.added


BATCHWISE = (MinibatchDiscrimination, MinibatchDeviation)
"""Layers whose output for a row depends on the other rows, besides batch norms."""
