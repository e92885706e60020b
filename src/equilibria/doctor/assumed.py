"""Codes where none were declared: their shape by the generator's first layer, their law by what the loop feeds it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BETWEEN = 2.2  # kurtosis: 1.8 of a uniform law, 3 of a normal one


@dataclass
class AssumedCodes:
    """Deals codes of a shape: standard normal ones, until :meth:`take` has seen others.

    Attributes:
        shape: of one code.
        uniform: whether codes are uniform between ``low`` and ``high``; else normal.
        low, high: the ends of the uniform law; mean minus and plus the deviation of the normal one.

    Examples:
        >>> codes = AssumedCodes((4,))
        >>> codes.take(2 * torch.rand(64, 4, generator=torch.Generator().manual_seed(0)) - 1)
        >>> codes.uniform, codes.low, codes.high, codes(3).shape
        (True, -1.0, 1.0, torch.Size([3, 4]))
    """

    shape: tuple[int, ...]
    uniform: bool = False
    low: float = -1.0
    high: float = 1.0

    def __call__(self, n: int) -> Tensor:
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        if self.uniform:
            return middle + half * (2 * torch.rand(n, *self.shape) - 1)
        return middle + half * torch.randn(n, *self.shape)

    def take(self, rows: Tensor) -> None:
        """Set the law to that of the codes that the loop feeds; rows of another shape say nothing."""
        if tuple(rows.shape[1:]) != self.shape or not rows.is_floating_point() or rows.numel() < 64:
            return
        values = rows.detach().double().flatten()
        if not bool(values.isfinite().all()) or float(values.std()) == 0:
            return
        mean, deviation = float(values.mean()), float(values.std())
        self.uniform = float(((values - mean) / deviation).pow(4).mean()) < _BETWEEN
        if self.uniform:
            half = deviation * 3**0.5
            self.low, self.high = _rounded(mean - half), _rounded(mean + half)
        elif abs(mean) < 0.1 and abs(deviation - 1) < 0.1:
            self.low, self.high = -1.0, 1.0
        else:
            self.low, self.high = mean - deviation, mean + deviation


def _rounded(value: float) -> float:
    return float(round(value)) if abs(value - round(value)) < 0.1 else value


def shapes_of_codes(generator: nn.Module) -> list[tuple[int, ...]]:
    """Shapes that a code may have, by the first layer with weights; a label's embedding may take a part of its input.

    Examples:
        >>> shapes_of_codes(nn.Sequential(nn.ConvTranspose2d(64, 8, 4), nn.Tanh()))
        [(64, 1, 1)]
        >>> shapes_of_codes(nn.ModuleDict({"table": nn.Embedding(10, 6), "net": nn.Linear(16, 2)}))
        [(16,), (10,), (6,)]
    """
    layers = [m for m in generator.modules() if isinstance(m, (nn.Linear, *_TRANSPOSED, nn.modules.conv._ConvNd))]
    tables = [m for m in generator.modules() if isinstance(m, nn.Embedding)]
    if not layers:
        return []
    first = layers[0]
    if isinstance(first, nn.Linear):
        beside = [0, *(t.embedding_dim for t in tables), *(t.num_embeddings for t in tables)]
        sizes = dict.fromkeys(first.in_features - used for used in beside)
        return [(size,) for size in sizes if size > 0]
    if isinstance(first, _TRANSPOSED):
        return [(first.in_channels, *[1] * len(first.kernel_size))]
    return []


__all__ = ["AssumedCodes", "shapes_of_codes"]
