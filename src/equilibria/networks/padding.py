"""Images of any size in networks that halve them: padded before the first layer, cropped behind the last."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from ..base.errors import ShapeError
from .layers import volume

LARGEST_BASE = 8


class Pyramid(NamedTuple):
    """How images are halved.

    Attributes:
        levels: how often, at least once.
        height: of the smallest level.
        width: of the smallest level.
        padded: height and width that are halved; those of the image where nothing is padded.
    """

    levels: int
    height: int
    width: int
    padded: tuple[int, int]


def pyramid(shape: tuple[int, ...]) -> Pyramid:
    r"""The halvings of images ``(c, h, w)`` down to 4 to 8 pixels on the shorter side.

    Sides that stay even down to 4 to 8 pixels both are halved as they are. Other images are halved :math:`L \ge 1`
    times, the most that leaves 4 pixels on the shorter side, and each side :math:`s` is padded to the next multiple:

    .. math:: s' = 2^L \max(4, \lceil s / 2^L \rceil)

    Raises:
        ShapeError: not an image.

    Examples:
        >>> pyramid((1, 28, 28))
        Pyramid(levels=2, height=7, width=7, padded=(28, 28))
        >>> pyramid((3, 24, 37)), pyramid((3, 31, 31)).padded
        (Pyramid(levels=2, height=6, width=10, padded=(24, 40)), (32, 32))
    """
    if len(shape) != 3:
        raise ShapeError(f"a convolutional pair needs images (c, h, w), not {tuple(shape)}", "use MLPPair for vectors")
    volume(shape)
    _, height, width = shape
    h, w, levels = height, width, 0
    while h % 2 == 0 and w % 2 == 0 and min(h, w) >= 8:
        h, w, levels = h // 2, w // 2, levels + 1
    if levels and max(h, w) <= LARGEST_BASE:
        return Pyramid(levels, h, w, (height, width))
    return padded_pyramid(height, width)


def padded_pyramid(height: int, width: int) -> Pyramid:
    """The halvings of images whose sides are padded to the next multiple, as :func:`pyramid` states.

    Examples:
        >>> padded_pyramid(25, 37)
        Pyramid(levels=2, height=7, width=10, padded=(28, 40))
    """
    levels, shorter = 1, min(height, width)
    while -(-shorter // 2**levels) >= 8:
        levels += 1
    h, w = (max(4, -(-side // 2**levels)) for side in (height, width))
    return Pyramid(levels, h, w, (h * 2**levels, w * 2**levels))


class ZeroPad(nn.Module):
    """Images in the middle of larger ones, zeros (mid-gray) around: ``(n, c, h, w)`` to ``(n, c, H, W)``.

    Where the sides differ by an odd number, there is one more row below and one more column on the right.

    Args:
        height: ``H``.
        width: ``W``.

    Examples:
        >>> import torch
        >>> ZeroPad(3, 4)(torch.ones(1, 1, 2, 2))[0, 0]
        tensor([[0., 1., 1., 0.],
                [0., 1., 1., 0.],
                [0., 0., 0., 0.]])
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, H, W)``."""
        rows, columns = self.height - x.shape[2], self.width - x.shape[3]
        return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))

    def extra_repr(self) -> str:
        """The sides."""
        return f"{self.height}, {self.width}"


class Crop(nn.Module):
    """The middle of larger images, the inverse of :class:`ZeroPad`: ``(n, c, H, W)`` to ``(n, c, h, w)``.

    Args:
        height: ``h``.
        width: ``w``.

    Examples:
        >>> import torch
        >>> x = torch.randn(2, 3, 5, 6)
        >>> torch.equal(Crop(5, 6)(ZeroPad(8, 9)(x)), x)
        True
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, H, W)`` to ``(n, c, h, w)``."""
        top, left = (x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2
        return x[:, :, top : top + self.height, left : left + self.width]

    def extra_repr(self) -> str:
        """The sides."""
        return f"{self.height}, {self.width}"


def padding(shape: tuple[int, ...], padded: tuple[int, int]) -> list[nn.Module]:
    """The first layer of a network of images ``(c, h, w)`` that needs them ``padded``; none where they fit.

    Examples:
        >>> padding((1, 28, 28), (28, 28)), padding((1, 25, 28), (28, 28))
        ([], [ZeroPad(28, 28)])
    """
    return [] if tuple(shape[1:]) == padded else [ZeroPad(*padded)]


def cropping(shape: tuple[int, ...], padded: tuple[int, int]) -> list[nn.Module]:
    """The last layer of a network that makes ``padded`` images where ``(c, h, w)`` are wanted; none where they fit.

    Examples:
        >>> cropping((1, 25, 28), (28, 28))
        [Crop(25, 28)]
    """
    return [] if tuple(shape[1:]) == padded else [Crop(*shape[1:])]
