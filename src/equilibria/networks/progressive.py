"""The pair that grows: equalised learning rates, pixelwise norms, minibatch deviation and levels that are faded in."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base.errors import ConfigError
from ..base.records import record
from .heads import Encoder, Generator, Head, Trunk
from .layers import Downsample, Reshape, Upsample, activation, volume
from .minibatch import MinibatchDeviation
from .pairs import Networks, check_counts, check_share, check_sizes

LARGEST_BASE = 8
_TINY = 1e-8


class EqualisedRate(nn.Module):
    r"""A layer whose weight is scaled at run time by the constant of He's initialisation (Karras et al. 2018, 4.1).

    .. math:: \hat w = w\, g / \sqrt{\text{fan in}}, \qquad w \sim N(0, 1)

    An optimiser such as Adam, whose steps do not depend on the scale of a parameter, then moves every layer equally
    fast in units of its own scale. The bias begins at 0.

    Args:
        layer: an ``nn.Linear`` or ``nn.Conv2d``; it becomes part of this module and is initialised.
        gain: g, :math:`\sqrt2` before a rectifier, 1 before an output.

    Examples:
        >>> _ = torch.manual_seed(0)
        >>> layer = EqualisedRate(nn.Linear(800, 50), gain=1.0)
        >>> abs(layer(torch.randn(1000, 800)).std().item() - 1) < 0.02
        True
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, gain: float = math.sqrt(2.0)) -> None:
        super().__init__()
        self.layer = layer
        self.scale = gain / math.sqrt(layer.weight[0].numel())
        nn.init.normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output with the scaled weight."""
        layer, weight = self.layer, self.layer.weight * self.scale
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight, layer.bias)
        return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding)

    def extra_repr(self) -> str:
        """The factor of the weight."""
        return f"scale={self.scale:.4g}"


class PixelNorm(nn.Module):
    r"""Each place's vector of channels, divided by its root mean square (Karras et al. 2018, section 4.2).

    .. math:: b_{uv} = a_{uv} \Big/ \sqrt{\tfrac1c \sum_k (a^k_{uv})^2 + 10^{-8}}

    Examples:
        >>> PixelNorm()(torch.tensor([[3.0, 4.0]])).square().mean().item()
        1.0
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, …)`` to ``(n, c, …)``."""
        return x * (x.square().mean(1, keepdim=True) + _TINY).rsqrt()


class FadeIn(nn.Module):
    r"""A new level beside the old one (Karras et al. 2018, figure 2): :math:`(1 - \alpha)\, old + \alpha\, new`.

    :math:`\alpha` is a buffer that begins at 0; :meth:`at` moves it to :math:`\min(1, t / \text{share})`. At
    :math:`\alpha = 0` the result is the old one, bit for bit.

    Args:
        share: of a run, after which the old level is out.

    Examples:
        >>> fade, old, new = FadeIn(share=0.5), torch.zeros(2), torch.ones(2)
        >>> fade(old, new), fade.at(torch.tensor(0.25)), fade(old, new)
        (tensor([0., 0.]), None, tensor([0.5000, 0.5000]))
    """

    alpha: Tensor

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("alpha", torch.zeros(()))

    def forward(self, old: Tensor, new: Tensor) -> Tensor:
        """The two of one shape, blended."""
        return (1 - self.alpha) * old + self.alpha * new

    @torch.no_grad()
    def at(self, time: Tensor) -> None:
        """Write α for the finished share ``time`` of the run, 0-dim."""
        self.alpha.copy_((time / self.share).clamp(0.0, 1.0))


def fade_in(module: nn.Module, time: Tensor) -> None:
    """Move every :class:`FadeIn` in ``module`` to the finished share ``time`` of the run."""
    for part in module.modules():
        if isinstance(part, FadeIn):
            part.at(time)


class GrowingGenerator(nn.Module):
    """Codes ``(n, latent)`` to images, from the base up; the last level is faded in if ``fade`` is not 0.

    Args:
        latent: size of the codes, labels among them.
        shape: of the images.
        widths: channels of each level, the base first.
        base: height and width of the base.
        fade: share of the run in which the last level is faded in.
    """

    def __init__(
        self, latent: int, shape: tuple[int, ...], widths: list[int], base: tuple[int, int], fade: float
    ) -> None:
        super().__init__()
        top = len(widths) - 1
        first = EqualisedRate(nn.Linear(latent, widths[0] * base[0] * base[1]), gain=math.sqrt(2.0) / 4)
        layers = [PixelNorm(), first, Reshape((widths[0], *base)), activation("leaky_relu"), PixelNorm()]
        self.levels = nn.ModuleDict({"0": nn.Sequential(*layers, *_conv(widths[0], widths[0], True))})
        for level in range(1, top + 1):
            inputs, outputs = widths[level - 1], widths[level]
            convs = [*_conv(inputs, outputs, True), *_conv(outputs, outputs, True)]
            self.levels[str(level)] = nn.Sequential(Upsample(), *convs)
        shown = [level for level in (top - 1, top) if level == top or (fade and level >= 0)]
        self.to_image = nn.ModuleDict(
            {str(level): EqualisedRate(nn.Conv2d(widths[level], shape[0], 1), gain=1.0) for level in shown}
        )
        self.fades = nn.ModuleDict({str(top): FadeIn(fade)} if len(shown) == 2 else {})
        self.enlarge = Upsample()

    def forward(self, z: Tensor) -> Tensor:
        """``(n, latent)`` to ``(n, *shape)``."""
        *lower, (top, last) = self.levels.items()
        x = z
        for _, level in lower:
            x = level(x)
        image: Tensor = self.to_image[top](last(x))
        if top in self.fades:
            old = self.to_image[lower[-1][0]](x)
            image = self.fades[top](self.enlarge(old), image)
        return image


class GrowingTrunk(nn.Module):
    """Images to ``(n, widths[0])`` features, mirrored; the level of the image's own size is faded in.

    Args:
        shape: of the images.
        widths: channels of each level, the base first.
        base: height and width of the base.
        fade: share of the run in which the first level is faded in.
    """

    def __init__(self, shape: tuple[int, ...], widths: list[int], base: tuple[int, int], fade: float) -> None:
        super().__init__()
        top = len(widths) - 1
        seen = [level for level in (top, top - 1) if level == top or (fade and level >= 0)]
        self.from_image = nn.ModuleDict(
            {str(level): nn.Sequential(*_conv(shape[0], widths[level], False, side=1)) for level in seen}
        )
        self.levels = nn.ModuleDict()
        for level in range(top, 0, -1):
            convs = [*_conv(widths[level], widths[level], False), *_conv(widths[level], widths[level - 1], False)]
            self.levels[str(level)] = nn.Sequential(*convs, Downsample())
        dense = EqualisedRate(nn.Linear(widths[0] * base[0] * base[1], widths[0]))
        self.levels["0"] = nn.Sequential(
            MinibatchDeviation(),
            *_conv(widths[0] + 1, widths[0], False),
            nn.Flatten(),
            dense,
            activation("leaky_relu"),
        )
        self.fades = nn.ModuleDict({str(top): FadeIn(fade)} if len(seen) == 2 else {})
        self.halve = Downsample()

    def forward(self, image: Tensor) -> Tensor:
        """``(n, *shape)`` to ``(n, widths[0])``."""
        (top, first), *rest = self.levels.items()
        x: Tensor = first(self.from_image[top](image))
        if top in self.fades:
            x = self.fades[top](self.from_image[rest[0][0]](self.halve(image)), x)
        for _, level in rest:
            x = level(x)
        return x


def _conv(inputs: int, outputs: int, normed: bool, side: int = 3) -> list[nn.Module]:
    norms = [PixelNorm()] if normed else []
    return [EqualisedRate(nn.Conv2d(inputs, outputs, side, padding=side // 2)), activation("leaky_relu"), *norms]


@record
class GrowingPair(Networks):
    r"""The networks of progressive growing (Karras et al. 2018), smaller: one pair for each resolution.

    Images are halved down to a base of 4 to 8 pixels a side. A level has the same names and shapes in the networks of
    every resolution, so that a larger pair can begin with the parameters of a smaller one; its last level is then
    faded in (:class:`FadeIn`), and at the start it is the smaller pair's function of the halved image. All weights have
    equalised rates; the generator has pixelwise norms and a linear output, the discriminator minibatch deviation.
    Labels enter by projection.

    Args:
        width: channels of the base; each doubling halves them.
        least: channels of a level at least.
        fade: share of the run in which the level of the image's own size is faded in; 0 if it is there from the start.

    Raises:
        ConfigError: a field has a value that is not allowed; or (when built) images that cannot be halved to a base of
            at most 8 pixels a side.

    Examples:
        >>> pair = GrowingPair(width=16, least=4)
        >>> pair.discriminator((1, 16, 16))(pair.generator(8, (1, 16, 16))(torch.randn(3, 8))).shape
        torch.Size([3])
        >>> GrowingPair.halvings((1, 28, 28)), GrowingPair.halvings((3, 64, 64))
        (2, 4)
    """

    width: int = 128
    least: int = 16
    fade: float = 0.0

    def __post_init__(self) -> None:
        """Check every field."""
        check_counts(self, 1, "width", "least")
        check_share(self, "fade")

    @staticmethod
    def halvings(shape: tuple[int, ...]) -> int:
        """How often images of this shape are halved.

        Raises:
            ConfigError: not an image, or one whose base would have more than 8 pixels a side.
        """
        volume(shape)
        h, w, levels = (*shape[1:], 0) if len(shape) == 3 else (0, 0, 0)
        while h % 2 == 0 and w % 2 == 0 and min(h, w) >= 8:
            h, w, levels = h // 2, w // 2, levels + 1
        if not 0 < max(h, w) <= LARGEST_BASE:
            what = f"points of shape {tuple(shape)}, and images that grow are 4 to 8 pixels a side after halvings"
            raise ConfigError(what, "--set data.size=32")
        return levels

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> Generator:
        """Codes to images."""
        check_sizes(latent, classes)
        widths, base = self._levels(shape)
        return Generator(GrowingGenerator(latent + classes, shape, widths, base, self.fade), latent, shape, classes)

    def discriminator(self, shape: tuple[int, ...], classes: int = 0) -> Head:
        """Images to logits."""
        check_sizes(1, classes)
        trunk = self._trunk(shape)
        net = Head(trunk, classes)
        net.logit = EqualisedRate(nn.Linear(trunk.features, 1), gain=1.0)
        if classes:
            net.embed = EqualisedRate(nn.Linear(trunk.features, classes, bias=False), gain=1.0)
        return net

    def trunk(self, shape: tuple[int, ...], classes: int = 0) -> Trunk:
        """Images to features.

        Raises:
            ConfigError: with classes, which only the last layer of this discriminator reads.
        """
        if classes:
            raise ConfigError(f"a trunk of a GrowingPair with classes={classes}, which it does not read", "classes=0")
        return self._trunk(shape)

    def encoder(self, shape: tuple[int, ...], latent: int) -> Encoder:
        """Refused: an encoder's code may not depend on the rest of the batch, as minibatch deviation does.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("GrowingPair has no encoder", "--set networks=conv")

    def _levels(self, shape: tuple[int, ...]) -> tuple[list[int], tuple[int, int]]:
        count = self.halvings(shape)
        widths = [max(self.width >> level, min(self.width, self.least)) for level in range(count + 1)]
        return widths, (shape[1] >> count, shape[2] >> count)

    def _trunk(self, shape: tuple[int, ...]) -> Trunk:
        widths, base = self._levels(shape)
        return Trunk(GrowingTrunk(shape, widths, base, self.fade), shape, widths[0], 0, flat=False)
