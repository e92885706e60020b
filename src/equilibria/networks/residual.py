"""A small residual pair without normalisation, whose blocks are initialised as the identity (Fixup)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ..base.records import record
from .heads import Encoder, Generator, Head, Trunk
from .init import initialise
from .layers import Downsample, Reshape, Upsample, activation
from .padding import cropping, padding, pyramid
from .pairs import CONDITIONS, OUTPUTS, Networks, check_choice, check_counts, check_sizes, output_layers


class ResidualBlock(nn.Module):
    r"""Two convolutions with a skip connection: :math:`x + W_2 * a(W_1 * a(x))`, channels unchanged.

    ``fixup(blocks)`` initialises it as Zhang, Dauphin & Ma 2019 ("Fixup initialization", section 3): the last
    convolution is zero, the other is scaled by :math:`L^{-1/(2m-2)}` with :math:`L` blocks of :math:`m = 2` layers.

    Args:
        channels: ``c`` of the input and the output.
        kind: the activation.
        slope: negative slope of ``leaky_relu``.

    Examples:
        >>> block = ResidualBlock(4)
        >>> block.fixup(blocks=9)
        >>> x = torch.randn(2, 4, 8, 8)
        >>> bool((block(x) == x).all())
        True
    """

    def __init__(self, channels: int, kind: str = "leaky_relu", slope: float = 0.2) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = activation(kind, slope)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, h, w)``."""
        out: Tensor = x + self.last(self.activation(self.first(self.activation(x))))
        return out

    @torch.no_grad()
    def fixup(self, blocks: int) -> None:
        """Initialise the block as the identity, in a network with this number of blocks."""
        nn.init.kaiming_normal_(self.first.weight)
        self.first.weight.mul_(blocks**-0.5)
        self.first.bias.zero_()  # type: ignore[union-attr]
        self.last.weight.zero_()
        self.last.bias.zero_()  # type: ignore[union-attr]


@record
class ResPair(Networks):
    """Residual networks without normalisation, with Fixup initialisation, after R3GAN (Huang et al. 2024, section 3).

    Smaller and simpler than theirs: blocks of two 3 x 3 convolutions, a 1 x 1 convolution where the number of channels
    changes, average pooling for downsampling, nearest neighbours for upsampling, no tanh.

    Args:
        width: channels at the image's own resolution; each halving doubles them, up to ``width * cap``.
        cap: the largest multiple of ``width``.
        blocks: residual blocks per level.
        activation: in both networks.
        slope: negative slope of ``leaky_relu``.
        output: the generator's last operation, ``linear`` or ``tanh``; ``auto`` is linear here.
        condition: how the discriminator uses a label, ``projection``, ``concat`` or ``classifier``.

    Raises:
        ConfigError: a field has a value that is not allowed.

    Examples:
        >>> pair = ResPair(width=4)
        >>> pair.discriminator((1, 28, 28))(pair.generator(8, (1, 28, 28))(torch.randn(3, 8))).shape
        torch.Size([3])
    """

    width: int = 16
    cap: int = 4
    blocks: int = 1
    activation: str = "leaky_relu"
    slope: float = 0.2
    output: str = "auto"
    condition: str = "projection"

    def __post_init__(self) -> None:
        """Check every field."""
        check_counts(self, 1, "width", "cap", "blocks")
        check_choice(self, "output", OUTPUTS)
        check_choice(self, "condition", CONDITIONS)
        activation(self.activation, self.slope)

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> Generator:
        """Codes to images."""
        check_sizes(latent, classes)
        levels, h, w, padded = pyramid(shape)
        widths = self._widths(levels)[::-1]
        layers: list[nn.Module] = [
            nn.Linear(latent + classes, widths[0] * h * w),
            Reshape((widths[0], h, w)),
            *self._blocks(widths[0]),
        ]
        for inputs, outputs in pairwise(widths):
            layers += _change(inputs, outputs)  # before the upsampling: a quarter of the work
            layers += [Upsample(), *self._blocks(outputs)]
        layers += [activation(self.activation, self.slope), nn.Conv2d(widths[-1], shape[0], 3, padding=1)]
        ending = output_layers("linear" if self.output == "auto" else self.output, shape)
        net = Generator(nn.Sequential(*layers, *ending, *cropping(shape, padded)), latent, shape, classes)
        _start(net)
        return net

    def discriminator(self, shape: tuple[int, ...], classes: int = 0) -> Head:
        """Images to logits."""
        check_sizes(1, classes)
        joined = classes if self.condition == "concat" else 0
        net = Head(self._trunk(shape, joined), classes - joined, auxiliary=self.condition == "classifier")
        _start(net)
        return net

    def trunk(self, shape: tuple[int, ...], classes: int = 0) -> Trunk:
        """Images to the flattened feature map of the smallest level."""
        check_sizes(1, classes)
        net = self._trunk(shape, classes)
        _start(net)
        return net

    def encoder(self, shape: tuple[int, ...], latent: int) -> Encoder:
        """Images to codes."""
        check_sizes(latent, 0)
        net = Encoder(self._trunk(shape, 0), latent)
        _start(net)
        return net

    def _widths(self, levels: int) -> list[int]:
        return [self.width * min(2**level, self.cap) for level in range(levels + 1)]

    def _blocks(self, channels: int) -> list[nn.Module]:
        return [ResidualBlock(channels, self.activation, self.slope) for _ in range(self.blocks)]

    def _trunk(self, shape: tuple[int, ...], classes: int) -> Trunk:
        levels, h, w, padded = pyramid(shape)
        widths = self._widths(levels)
        layers = padding(shape, padded)
        layers += [nn.Conv2d(shape[0] + classes, widths[0], 3, padding=1), *self._blocks(widths[0])]
        for inputs, outputs in pairwise(widths):
            layers += [Downsample(), *_change(inputs, outputs), *self._blocks(outputs)]
        layers += [activation(self.activation, self.slope), nn.Flatten()]
        return Trunk(nn.Sequential(*layers), shape, widths[-1] * h * w, classes, flat=False)


def _change(inputs: int, outputs: int) -> list[nn.Module]:
    return [] if inputs == outputs else [nn.Conv2d(inputs, outputs, 1)]


def _start(net: nn.Module) -> None:
    """He's initialisation outside the residual blocks, Fixup inside."""
    initialise(net, "kaiming")
    blocks = [part for part in net.modules() if isinstance(part, ResidualBlock)]
    for block in blocks:
        block.fixup(len(blocks))
