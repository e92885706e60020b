"""The U-Net: convolutions down to a few pixels and up again, with dropout whose masks are arguments."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..base.records import record
from .init import check_init, initialise
from .layers import activation, check_input, sequence
from .norms import norm_layer
from .padding import Crop, ZeroPad, padded_pyramid
from .pairs import OUTPUTS, check_choice, check_counts, check_share, output_layers
from .patch import IMAGE_NORMS
from .translators import Translator, check_images


class UNetGenerator(nn.Module):
    r"""Convolutions down to a few pixels and up again, each level also handed across (Ronneberger et al. 2015).

    .. math:: e_1 = C(x), \quad e_{i+1} = N(C(a(e_i))), \qquad
              d_L = m_L \odot N(C^\top(a(e_L))), \quad d_i = m_i \odot N(C^\top(a([d_{i+1}, e_i]))), \quad
              y = \tanh(C^\top(a([d_2, e_1])))

    with strided 4 x 4 convolutions :math:`C`, norms :math:`N`, leaky ReLU on the way down and ReLU on the way up. The
    masks :math:`m` of dropout are arguments of the forward pass and not drawn in it: they are the only noise of Isola
    et al. 2017, in training and in use, and all noise of a game is in its draw.

    Args:
        downs: layers of each level on the way down, first to last.
        ups: layers of each level on the way up, the one next to the bottleneck first.
        source: shape of the input.
        dropped: shapes ``(c, h, w)`` of the first outputs of ``ups`` that are multiplied by a mask.
        share: the probability that a value is dropped.

    Examples:
        >>> net = UNet(width=4).build((1, 16, 16), (3, 16, 16))
        >>> net(torch.zeros(5, 1, 16, 16), net.masks(5)).shape
        torch.Size([5, 3, 16, 16])
    """

    def __init__(
        self,
        downs: list[nn.Module],
        ups: list[nn.Module],
        source: tuple[int, ...],
        dropped: tuple[tuple[int, ...], ...] = (),
        share: float = 0.5,
    ) -> None:
        super().__init__()
        self.source, self.share = tuple(source), share
        self.dropped = dropped if share else ()
        self.downs, self.ups = nn.ModuleList(downs), nn.ModuleList(ups)

    @property
    def noise(self) -> int:
        """How many values the masks of one image have; 0 without dropout."""
        return sum(c * h * w for c, h, w in self.dropped)

    def masks(self, n: int, like: Tensor | None = None) -> Tensor:
        """Fresh masks ``(n, noise)`` from the global generator: 0 with probability ``share``, else 1 / (1 - share)."""
        kept = torch.rand(n, self.noise, device=like.device if like is not None else None) >= self.share
        return kept.to(torch.get_default_dtype()) / (1.0 - self.share)

    def forward(self, x: Tensor, masks: Tensor | None = None) -> Tensor:
        """``x`` ``(n, *source)`` and masks ``(n, noise)``, or None to drop nothing; returns ``(n, *target)``.

        Raises:
            ShapeError: an image or the masks do not fit.
        """
        check_input(x, self.source, "the U-Net")
        if masks is not None:
            check_input(masks, (self.noise,), "the dropout of the U-Net")
        reached, start = [x], 0
        for down in self.downs:
            reached.append(down(reached[-1]))
        out = reached.pop()
        for index, up in enumerate(self.ups):
            out = up(out if index == 0 else torch.cat([out, reached.pop()], dim=1))
            if masks is not None and index < len(self.dropped):
                shape = self.dropped[index]
                size = shape[0] * shape[1] * shape[2]
                out = out * masks[:, start : start + size].reshape(-1, *shape)
                start += size
        return out


@record
class UNet(Translator):
    """The generator of pix2pix (Isola et al. 2017, section 3.2.1 and appendix 6.1.1).

    Widths double from ``width`` up to ``8 * width``; a norm behind each convolution but the first, the last, and those
    whose map is of one pixel (there a norm over pixels gives a constant). The norms on the way up matter: without them
    a U-Net with a tanh and an L1 loss tends to end in a constant image.

    Args:
        width: channels of the first level.
        levels: how often the image is halved, at most as often as its sides are even; the paper's 8 make one pixel of
            256. An image with an odd side is padded (:func:`~equilibria.networks.padding.padded_pyramid`), and the
            result cropped.
        dropout: the probability that a value is dropped, in training and in use.
        dropped: how many levels of the way up have dropout, from the bottleneck on, never the last.
        norm: ``instance`` (the paper's batch norm at its batch size of 1), ``batch``, ``layer`` or ``none``.
        output: ``tanh``, ``linear``, or ``auto``, which is tanh.
        init: see :func:`~equilibria.networks.initialise`.

    Raises:
        ConfigError: a field has a value it may not take.

    Examples:
        >>> net = UNet(width=64).build((3, 256, 256), (3, 256, 256))
        >>> [tuple(shape) for shape in net.dropped]
        [(512, 2, 2), (512, 4, 4), (512, 8, 8)]
    """

    width: int = 64
    levels: int = 8
    dropout: float = 0.5
    dropped: int = 3
    norm: str = "instance"
    output: str = "auto"
    init: str = "normal02"

    def __post_init__(self) -> None:
        """Check every field."""
        check_counts(self, 1, "width", "levels")
        check_counts(self, 0, "dropped")
        check_share(self, "dropout")
        check_choice(self, "norm", IMAGE_NORMS)
        check_choice(self, "output", OUTPUTS)
        check_init(self.init)

    def build(self, source: tuple[int, ...], target: tuple[int, ...]) -> UNetGenerator:
        """The network for images of these shapes."""
        check_images(source, target, "a U-Net")
        padded = _halved(source)
        sizes = self._sizes(padded)
        widths = [self.width * min(2**level, 8) for level in range(len(sizes))]
        downs, ups = self._downs(source[0], widths, sizes), self._ups(target, widths, sizes)
        up_sizes = [(widths[level - 1], *sizes[level - 1]) for level in range(len(sizes) - 1, 0, -1)]
        if padded != source:
            downs[0] = nn.Sequential(ZeroPad(*padded[1:]), downs[0])
            ups[-1] = nn.Sequential(ups[-1], Crop(*source[1:]))
        net = UNetGenerator(downs, ups, source, tuple(up_sizes[: self.dropped]), self.dropout)
        initialise(net, self.init)
        return net

    def _sizes(self, shape: tuple[int, ...]) -> list[tuple[int, int]]:
        """Height and width behind each halving."""
        _, h, w = shape
        sizes: list[tuple[int, int]] = []
        while h % 2 == 0 and w % 2 == 0 and len(sizes) < self.levels:
            h, w = h // 2, w // 2
            sizes.append((h, w))
        return sizes

    def _downs(self, channels: int, widths: list[int], sizes: list[tuple[int, int]]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        inputs = channels
        for level, outputs in enumerate(widths):
            before = [activation("leaky_relu")] if level else []
            norm = self._norm(sizes[level]) if level else "none"
            conv = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=norm == "none")
            layers.append(sequence(*before, conv, norm_layer(norm, outputs)))
            inputs = outputs
        return layers

    def _ups(self, target: tuple[int, ...], widths: list[int], sizes: list[tuple[int, int]]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        inputs = widths[-1]
        for level in range(len(widths) - 1, 0, -1):
            outputs, norm = widths[level - 1], self._norm(sizes[level - 1])
            conv = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=norm == "none")
            layers.append(sequence(activation("relu"), conv, norm_layer(norm, outputs)))
            inputs = 2 * outputs
        last = nn.ConvTranspose2d(inputs, target[0], 4, 2, 1)
        return [*layers, sequence(activation("relu"), last, *output_layers(self.output, target))]

    def _norm(self, size: tuple[int, int]) -> str:
        return "none" if self.norm == "instance" and size == (1, 1) else self.norm


def _halved(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape, its sides padded where one is odd."""
    _, height, width = shape
    return shape if height % 2 == 0 and width % 2 == 0 else (shape[0], *padded_pyramid(height, width).padded)
