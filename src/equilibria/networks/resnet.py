"""The residual network from images to images, with reflected borders."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..base.records import record
from .init import check_init, initialise
from .layers import activation, check_input, sequence
from .norms import norm_layer
from .padding import cropping, padding
from .pairs import OUTPUTS, check_choice, check_counts, output_layers
from .patch import IMAGE_NORMS
from .translators import Translator, check_images


class ReflectionPad(nn.Module):
    """``pad`` pixels of the image's own mirror image on each side: ``(n, c, h, w)`` to ``(n, c, h + 2p, w + 2p)``.

    Of plain operations: torch's own sums its gradient in an order that changes from run to run on a GPU.

    Examples:
        >>> ReflectionPad(1)(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))[0, 0]
        tensor([[4., 3., 4., 3.],
                [2., 1., 2., 1.],
                [4., 3., 4., 3.],
                [2., 1., 2., 1.]])
    """

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, h + 2 pad, w + 2 pad)``; sides must be longer than ``pad``."""
        for dim in (2, 3):
            side = x.shape[dim]
            first, last = x.narrow(dim, 1, self.pad), x.narrow(dim, side - 1 - self.pad, self.pad)
            x = torch.cat([first.flip(dim), x, last.flip(dim)], dim=dim)
        return x

    def extra_repr(self) -> str:
        """The number of pixels."""
        return f"{self.pad}"


class Doubling(nn.Module):
    """A transposed 3 x 3 convolution of stride 2 to exactly twice the sides.

    The values of torch's ``padding=1, output_padding=1``, whose third derivative torch 2.13 cannot take.

    Args:
        inputs: channels in.
        outputs: channels out.
        bias: whether a constant is added to each channel.

    Examples:
        >>> Doubling(4, 2)(torch.zeros(1, 4, 5, 6)).shape
        torch.Size([1, 2, 10, 12])
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 3, 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inputs, h, w)`` to ``(n, outputs, 2h, 2w)``."""
        out: Tensor = self.conv(x)[:, :, 1:, 1:]
        return out


class NormedResidualBlock(nn.Module):
    """Two convolutions with norms beside an identity, no activation behind the sum (Johnson et al. 2016).

    Args:
        channels: ``c`` of the input and the output.
        norm: see :func:`~equilibria.networks.norms.norm_layer`.

    Examples:
        >>> NormedResidualBlock(4)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 4, 8, 8])
    """

    def __init__(self, channels: int, norm: str = "instance") -> None:
        super().__init__()
        biased = norm == "none"
        self.body = sequence(
            ReflectionPad(1),
            nn.Conv2d(channels, channels, 3, bias=biased),
            norm_layer(norm, channels),
            activation("relu"),
            ReflectionPad(1),
            nn.Conv2d(channels, channels, 3, bias=biased),
            norm_layer(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, h, w)``."""
        out: Tensor = x + self.body(x)
        return out


class ResidualGenerator(nn.Module):
    """A network of images in a Sequential, which checks what it is given.

    Args:
        body: the layers.
        source: shape of the input.

    Examples:
        >>> ResidualGenerator(nn.Sequential(nn.Conv2d(1, 3, 1)), (1, 8, 8))(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, body: nn.Sequential, source: tuple[int, ...]) -> None:
        super().__init__()
        self.source = tuple(source)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """``x`` ``(n, *source)``; returns ``(n, *target)``.

        Raises:
            ShapeError: an image does not fit.
        """
        check_input(x, self.source, "the residual generator")
        out: Tensor = self.body(x)
        return out


@record
class ResNet(Translator):
    """The generator of CycleGAN (Zhu et al. 2017, appendix 7.2, after Johnson et al. 2016), for small images as well.

    A 7 x 7 convolution, two of stride 2 (fewer for small images), residual blocks, as many transposed convolutions, a
    7 x 7 convolution and a tanh; reflected borders; the norm behind each convolution but the last. The paper has 6
    blocks at 128 pixels and 9 from 256 on.

    Args:
        width: channels of the first convolution; each halving doubles them.
        blocks: residual blocks; ``None``: 9 from 256 pixels on, 6 below.
        halvings: convolutions of stride 2; ``None``: at most the paper's 2, while sides are even and 8 pixels remain on
            each. A given number pads images that it does not halve, and crops the result.
        norm: ``instance`` (the paper's), ``batch``, ``layer`` or ``none``.
        output: ``tanh``, ``linear``, or ``auto``, which is tanh.
        init: see :func:`~equilibria.networks.initialise`.

    Raises:
        ConfigError: a field has a value it may not take.

    Examples:
        >>> [ResNet().halvings_for((1, side, side)) for side in (8, 16, 28, 32, 256)]
        [0, 1, 1, 2, 2]
    """

    width: int = 64
    blocks: int | None = None
    halvings: int | None = None
    norm: str = "instance"
    output: str = "auto"
    init: str = "normal02"

    def __post_init__(self) -> None:
        """Check every field."""
        check_counts(self, 1, "width")
        check_counts(self, 0, "blocks", "halvings")
        check_choice(self, "norm", IMAGE_NORMS)
        check_choice(self, "output", OUTPUTS)
        check_init(self.init)

    def halvings_for(self, shape: tuple[int, ...]) -> int:
        """How often images of this shape are halved."""
        if self.halvings is not None:
            return self.halvings
        fits = [n for n in (1, 2) if all(side % 2**n == 0 and side // 2**n >= 8 for side in shape[1:])]
        return max(fits, default=0)

    def build(self, source: tuple[int, ...], target: tuple[int, ...]) -> ResidualGenerator:
        """The network for images of these shapes."""
        check_images(source, target, "a residual network")
        count = self.halvings_for(source)
        step, least = 2**count, max(4, 2 * 2**count)
        height, width = (max(least, step * -(-side // step)) for side in source[1:])
        blocks = self.blocks if self.blocks is not None else 9 if min(source[1:]) >= 256 else 6
        layers: list[nn.Module] = [
            *padding(source, (height, width)),
            ReflectionPad(3),
            *self._after(nn.Conv2d(source[0], self.width, 7, bias=self._bias), self.width),
        ]
        for level in range(count):
            inputs = self.width * 2**level
            layers += self._after(nn.Conv2d(inputs, 2 * inputs, 3, 2, 1, bias=self._bias), 2 * inputs)
        layers += [NormedResidualBlock(self.width * 2**count, self.norm) for _ in range(blocks)]
        for level in range(count, 0, -1):
            inputs = self.width * 2**level
            layers += self._after(Doubling(inputs, inputs // 2, self._bias), inputs // 2)
        layers += [ReflectionPad(3), nn.Conv2d(self.width, target[0], 7), *output_layers(self.output, target)]
        layers += cropping(target, (height, width))
        net = ResidualGenerator(sequence(*layers), source)
        initialise(net, self.init)
        return net

    @property
    def _bias(self) -> bool:
        return self.norm == "none"

    def _after(self, conv: nn.Module, channels: int) -> list[nn.Module]:
        return [conv, norm_layer(self.norm, channels), activation("relu")]
