"""The Inception network of 2015 whose pool features define FID, as a plain module with folded batch norms.

The file of weights is a TorchScript archive. Nothing of it is executed: no code of the archive is run, and nothing is
unpickled. Its SHA-256 is known, so the order of its tensors is known too: weight, offset, mean and variance of each
convolution, in the order in which :class:`Inception2015` lists its convolutions, as raw little-endian float32 members
of the zip file.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..base.errors import DataError

Size = int | tuple[int, int]
_FOLDER = "out_jit_module/data/"
_EPS = 1e-3


class Inception2015(nn.Module):
    r"""Pool features of the Inception network of 2015-12-05 (Szegedy et al. 2016), as FID uses them.

    It differs from the published architecture as the TensorFlow graph does: average pools leave out the padding, and
    the last block has a max pool in their place. Batch norms are folded into the convolutions before them:
    :math:`w' = w\,(v + 10^{-3})^{-1/2},\; b' = \beta - m\,(v + 10^{-3})^{-1/2}`.

    Args:
        path: the file of weights.

    Raises:
        DataError: the file is no archive of these tensors.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        with torch.device("meta"):  # no weights are drawn: the global generator stays as it is
            self.body = nn.Sequential(*_stem(), *_blocks())
        convolutions = [one for one in self.body.modules() if isinstance(one, nn.Conv2d)]
        try:
            with zipfile.ZipFile(path) as archive:
                for i, one in enumerate(convolutions):
                    _fill(one, archive, 4 * i)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path} does not hold the weights of inception-2015 ({error})", "fetch it again"
            ) from error
        self.requires_grad_(False).eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Features ``(n, 2048)`` of pixels ``(n, 3, 299, 299)`` in 0 … 255."""
        made: Tensor = self.body((pixels - 128) / 128)
        return made.mean((2, 3))


def _fill(one: nn.Conv2d, archive: zipfile.ZipFile, first: int) -> None:
    """Read the four tensors of a convolution and fold its batch norm."""
    shapes = [tuple(one.weight.shape), *[(one.out_channels,)] * 3]
    weight, offset, mean, variance = (_tensor(archive, first + i, shape) for i, shape in enumerate(shapes))
    gain = (variance + _EPS).rsqrt()
    folded = weight * gain[:, None, None, None]
    one.weight = nn.Parameter(folded.contiguous(memory_format=torch.channels_last))  # the faster layout on a CPU
    one.bias = nn.Parameter(offset - mean * gain)


def _tensor(archive: zipfile.ZipFile, number: int, shape: tuple[int, ...]) -> Tensor:
    raw = archive.read(f"{_FOLDER}{number}")
    if len(raw) != 4 * math.prod(shape):
        raise ValueError(f"tensor {number} has {len(raw)} bytes, and {shape} was expected")
    return torch.from_numpy(np.frombuffer(raw, "<f4").astype(np.float32).reshape(shape))


def _conv(given: int, made: int, kernel: Size, stride: int = 1, padded: bool = True) -> nn.Sequential:
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (sides[0] // 2, sides[1] // 2) if padded and stride == 1 else (0, 0)
    return nn.Sequential(nn.Conv2d(given, made, sides, stride, padding), nn.ReLU(inplace=True))


def _tower(given: int, *layers: tuple[int, Size] | tuple[int, Size, int]) -> nn.Sequential:
    """Convolutions in a row: (channels, kernel) or (channels, kernel, stride)."""
    made = []
    for layer in layers:
        made.append(_conv(given, *layer))
        given = layer[0]
    return nn.Sequential(*made)


class _Branches(nn.Module):
    """Branches of one input, side by side in the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def _average() -> nn.Module:
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def _stem() -> list[nn.Module]:
    return [
        _conv(3, 32, 3, 2),
        _conv(32, 32, 3, padded=False),
        _conv(32, 64, 3),
        nn.MaxPool2d(3, 2),
        _conv(64, 80, 1),
        _conv(80, 192, 3, padded=False),
        nn.MaxPool2d(3, 2),
    ]


def _blocks() -> list[nn.Module]:
    """35 x 35 (three blocks), 17 x 17 (four), 8 x 8 (two), with a reduction before the second and the third."""
    small = [
        _Branches(
            _tower(given, (64, 1)),
            _tower(given, (48, 1), (64, 5)),
            _tower(given, (64, 1), (96, 3), (96, 3)),
            nn.Sequential(_average(), _tower(given, (pooled, 1))),
        )
        for given, pooled in ((192, 32), (256, 64), (288, 64))
    ]
    first = _Branches(_tower(288, (384, 3, 2)), _tower(288, (64, 1), (96, 3), (96, 3, 2)), nn.MaxPool2d(3, 2))
    across, down = (1, 7), (7, 1)
    middle = [
        _Branches(
            _tower(768, (192, 1)),
            _tower(768, (c, 1), (c, across), (192, down)),
            _tower(768, (c, 1), (c, down), (c, across), (c, down), (192, across)),
            nn.Sequential(_average(), _tower(768, (192, 1))),
        )
        for c in (128, 160, 160, 192)
    ]
    second = _Branches(
        _tower(768, (192, 1), (320, 3, 2)),
        _tower(768, (192, 1), (192, across), (192, down), (192, 3, 2)),
        nn.MaxPool2d(3, 2),
    )
    last = [
        _Branches(
            _tower(given, (320, 1)),
            nn.Sequential(_tower(given, (384, 1)), _split()),
            nn.Sequential(_tower(given, (448, 1), (384, 3)), _split()),
            nn.Sequential(pool, _tower(given, (192, 1))),
        )
        for given, pool in ((1280, _average()), (2048, nn.MaxPool2d(3, 1, 1)))
    ]
    return [*small, first, *middle, second, *last]


def _split() -> nn.Module:
    return _Branches(_tower(384, (384, (1, 3))), _tower(384, (384, (3, 1))))
