"""Networks from images to images of the same height and width: a U-Net with dropout, and a residual network."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ..base.errors import ShapeError
from ..base.records import record
from .init import check_init, initialise
from .layers import activation, check_input
from .norms import norm_layer
from .pairs import OUTPUTS, check_choice, check_counts, check_share, output_layers
from .patch import IMAGE_NORMS


class Translator(ABC):
    """Abstract record: an architecture of networks from images to images."""

    @abstractmethod
    def build(self, source: tuple[int, ...], target: tuple[int, ...]) -> nn.Module:
        """A network ``(n, *source) -> (n, *target)``; weights are drawn from the global generator.

        Raises:
            ShapeError: the shapes are no images of one height and width, or of a size that cannot be built for.
        """


def check_images(source: tuple[int, ...], target: tuple[int, ...], who: str) -> None:
    """Hold two shapes to images of the same height and width.

    Raises:
        ShapeError: they are not.

    Examples:
        >>> check_images((1, 16, 16), (3, 16, 16), "a U-Net")
    """
    if len(source) != 3 or len(target) != 3:
        raise ShapeError(f"{who} from {source} to {target}", "use networks for vectors, for example MLPPair")
    if source[1:] != target[1:]:
        raise ShapeError(
            f"{who} from images of {source[1]} x {source[2]} to images of {target[1]} x {target[2]}",
            "bring both to one size when the data is read, for example size=64",
        )


# The U-Net -----------------------------------------------------------------------------------------------------------


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
            256.
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
        sizes = self._sizes(source)
        widths = [self.width * min(2**level, 8) for level in range(len(sizes))]
        downs, ups = self._downs(source[0], widths, sizes), self._ups(target, widths, sizes)
        up_sizes = [(widths[level - 1], *sizes[level - 1]) for level in range(len(sizes) - 1, 0, -1)]
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
        if not sizes:
            near = tuple(max(2, 8 * round(side / 8)) for side in shape[1:])
            raise ShapeError(
                f"images of {shape[1]} x {shape[2]} cannot be halved",
                f"resize or pad them, for example to {near[0]} x {near[1]}",
            )
        return sizes

    def _downs(self, channels: int, widths: list[int], sizes: list[tuple[int, int]]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        inputs = channels
        for level, outputs in enumerate(widths):
            before = [activation("leaky_relu")] if level else []
            norm = self._norm(sizes[level]) if level else "none"
            conv = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=norm == "none")
            layers.append(_joined(*before, conv, norm_layer(norm, outputs)))
            inputs = outputs
        return layers

    def _ups(self, target: tuple[int, ...], widths: list[int], sizes: list[tuple[int, int]]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        inputs = widths[-1]
        for level in range(len(widths) - 1, 0, -1):
            outputs, norm = widths[level - 1], self._norm(sizes[level - 1])
            conv = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=norm == "none")
            layers.append(_joined(activation("relu"), conv, norm_layer(norm, outputs)))
            inputs = 2 * outputs
        last = nn.ConvTranspose2d(inputs, target[0], 4, 2, 1)
        return [*layers, _joined(activation("relu"), last, *output_layers(self.output, target))]

    def _norm(self, size: tuple[int, int]) -> str:
        return "none" if self.norm == "instance" and size == (1, 1) else self.norm


def _joined(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))


# The residual network ------------------------------------------------------------------------------------------------


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
        self.body = _joined(
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
        halvings: convolutions of stride 2; ``None``: at most the paper's 2, while 8 pixels remain on each side.
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
        least = max(4, 2 * 2**count)
        if any(side % 2**count or side < least for side in source[1:]):
            raise ShapeError(
                f"images of {source[1]} x {source[2]} cannot be halved {count} times",
                f"use sides of at least {least} that {2**count} divides, or fewer halvings",
            )
        blocks = self.blocks if self.blocks is not None else 9 if min(source[1:]) >= 256 else 6
        layers: list[nn.Module] = [
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
        net = ResidualGenerator(_joined(*layers), source)
        initialise(net, self.init)
        return net

    @property
    def _bias(self) -> bool:
        return self.norm == "none"

    def _after(self, conv: nn.Module, channels: int) -> list[nn.Module]:
        return [conv, norm_layer(self.norm, channels), activation("relu")]
