"""The networks of super-resolution: an image and noise planes to a larger image, and a critic with a latent map."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ..base.records import record
from .conv import ConvPair
from .heads import Encoder, Generator, Head, Trunk
from .layers import Downsample, Upsample, activation, check_input
from .pairs import Networks, check_counts
from .progressive import EqualisedRate


def _conv(inputs: int, outputs: int, kind: str) -> nn.Module:
    """A 3 x 3 convolution with an equalised rate and an activation; ``kind=""`` for none."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    return nn.Sequential(EqualisedRate(conv), activation(kind)) if kind else EqualisedRate(conv, gain=1.0)


class Enlarger(nn.Module):
    r"""Noise planes and an image to an image of ``2 ** doublings`` times its size.

    Residual blocks at the low resolution, then convolutions behind each doubling. Every resolution adds to the image:
    :math:`I_k = u(I_{k-1}) + t_k(h_k)`, where u repeats pixels. The output is linear.

    Args:
        source: shape ``(c, h, w)`` of the low-resolution image.
        noise: number of noise planes.
        widths: channels at each resolution, the low one first.
        blocks: residual blocks at the low resolution.

    Examples:
        >>> net = Enlarger((1, 4, 4), noise=3, widths=[8, 8, 4])
        >>> net(torch.zeros(2, 1, 4, 4), torch.randn(2, 3, 4, 4)).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(self, source: tuple[int, ...], noise: int, widths: list[int], blocks: int = 2) -> None:
        super().__init__()
        self.source, self.noise = tuple(source), noise
        self.first = _conv(source[0] + noise, widths[0], "")
        self.blocks = nn.ModuleList(
            nn.Sequential(_conv(widths[0], widths[0], "relu"), _conv(widths[0], widths[0], "")) for _ in range(blocks)
        )
        pairs = list(pairwise(widths))
        self.levels = nn.ModuleList(
            nn.Sequential(Upsample(), _conv(a, b, "leaky_relu"), _conv(b, b, "leaky_relu")) for a, b in pairs
        )
        self.to_image = nn.ModuleList(_conv(b, source[0], "") for _, b in pairs)
        self.enlarge = Upsample()

    def forward(self, low: Tensor, z: Tensor) -> Tensor:
        """``low`` ``(n, *source)``, ``z`` ``(n, noise, h, w)``; returns ``(n, c, h f, w f)`` with f = 2^doublings.

        Raises:
            ShapeError: an image or its noise does not fit.
        """
        check_input(low, self.source, "the generator")
        check_input(z, (self.noise, *self.source[1:]), "the noise of the generator")
        h = self.first(torch.cat([low, z], dim=1))
        for block in self.blocks:
            h = h + block(h) / len(self.blocks)
        image: Tensor | None = None
        for level, to_image in zip(self.levels, self.to_image, strict=True):
            h = level(h)
            image = to_image(h) if image is None else self.enlarge(image) + to_image(h)
        assert image is not None
        return image


class LatentCritic(nn.Module):
    r"""An image and a low-resolution map to a latent map: the last feature map with a fixed sign for each channel.

    .. math:: P(x, r)_k = (-1)^{k+1}\, f_k(x, r)

    for channels :math:`k = 0, 1, \ldots` of the feature map f at the low resolution, which :math:`r` enters as further
    channels. f is the output of leaky rectifiers: the signs let P have either sign everywhere.

    Args:
        shape: of the images.
        widths: channels at each resolution, the low one first.
        blocks: convolutions at the low resolution, at least 1.

    Examples:
        >>> net = LatentCritic((1, 16, 16), widths=[8, 8, 4])
        >>> net(torch.zeros(2, 1, 16, 16), torch.zeros(2, 1, 4, 4)).shape
        torch.Size([2, 8, 4, 4])
    """

    signs: Tensor

    def __init__(self, shape: tuple[int, ...], widths: list[int], blocks: int = 2) -> None:
        super().__init__()
        self.shape = tuple(shape)
        factor = 2 ** (len(widths) - 1)
        self.low = (shape[0], *(side // factor for side in shape[1:]))
        pairs = list(pairwise(widths))[::-1]
        self.from_image = nn.ModuleList(_conv(shape[0], b, "leaky_relu") for _, b in pairs)
        self.levels = nn.ModuleList(
            nn.Sequential(_conv(b, b, "leaky_relu"), nn.PixelUnshuffle(2), _conv(4 * b, a, "leaky_relu"))
            for a, b in pairs
        )
        inputs = [widths[0] + shape[0], *[widths[0]] * (blocks - 1)]
        self.last = nn.Sequential(*(_conv(each, widths[0], "leaky_relu") for each in inputs))
        self.halve = Downsample()
        self.register_buffer("signs", (torch.arange(widths[0]) % 2 * 2.0 - 1.0)[:, None, None])

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """``x`` ``(n, *shape)``, ``residual`` of the low-resolution shape; returns ``(n, widths[0], h, w)``.

        Raises:
            ShapeError: an image or a residual does not fit.
        """
        check_input(x, self.shape, "the critic")
        check_input(residual, self.low, "the residual of the critic")
        h: Tensor | None = None
        for from_image, level in zip(self.from_image, self.levels, strict=True):
            h = level(from_image(x) if h is None else h + from_image(x))
            x = self.halve(x)
        assert h is not None
        latent: Tensor = self.last(torch.cat([h, residual], dim=1)) * self.signs
        return latent


@record
class SuperResolution(Networks):
    """A generator that enlarges images and a critic with a latent map (Berthelot et al. 2020), smaller.

    All convolutions have equalised rates and no norms. What has no part in super-resolution (networks from or to codes)
    is that of a convolutional pair.

    Args:
        width: channels at the low resolution; each doubling halves them.
        least: channels of a resolution at least.
        blocks: residual blocks of the generator, and convolutions of the critic, at the low resolution.
        codes: networks from and to codes, and discriminators of whole images.

    Raises:
        ConfigError: a field has a value that is not allowed.

    Examples:
        >>> pair = SuperResolution(width=8, least=4, blocks=1)
        >>> made = pair.enlarger((1, 16, 16), doublings=2, noise=3)(torch.zeros(2, 1, 4, 4), torch.randn(2, 3, 4, 4))
        >>> pair.critic((1, 16, 16), doublings=2)(made, torch.zeros(2, 1, 4, 4)).shape
        torch.Size([2, 8, 4, 4])
    """

    width: int = 64
    least: int = 16
    blocks: int = 2
    codes: ConvPair = ConvPair()

    def __post_init__(self) -> None:
        """Check every field."""
        check_counts(self, 1, "width", "least", "blocks")

    def _widths(self, doublings: int) -> list[int]:
        return [max(self.width >> level, min(self.width, self.least)) for level in range(doublings + 1)]

    def enlarger(self, shape: tuple[int, ...], doublings: int, noise: int) -> Enlarger:
        """A network from images of a ``2 ** doublings``-th of ``shape``, and noise, to images of ``shape``."""
        source = (shape[0], *(side >> doublings for side in shape[1:]))
        return Enlarger(source, noise, self._widths(doublings), self.blocks)

    def critic(self, shape: tuple[int, ...], doublings: int) -> LatentCritic:
        """A network from images of ``shape`` and a low-resolution map to a latent map."""
        return LatentCritic(shape, self._widths(doublings), self.blocks)

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> Generator:
        """Codes to images."""
        return self.codes.generator(latent, shape, classes)

    def discriminator(self, shape: tuple[int, ...], classes: int = 0) -> Head:
        """Images to one logit each."""
        return self.codes.discriminator(shape, classes)

    def trunk(self, shape: tuple[int, ...], classes: int = 0) -> Trunk:
        """Images to features."""
        return self.codes.trunk(shape, classes)

    def encoder(self, shape: tuple[int, ...], latent: int) -> Encoder:
        """Images to codes."""
        return self.codes.encoder(shape, latent)
