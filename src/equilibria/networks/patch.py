"""Discriminators of patches: one score for each place of an image, and the patch that each score sees."""

from __future__ import annotations

from torch import Tensor, nn

from ..base.errors import ConfigError, ShapeError
from ..base.records import record
from .init import check_init, initialise
from .layers import Downsample, activation, check_input, sequence
from .norms import BatchNorm, InstanceNorm, LayerNorm, norm_layer
from .padding import ZeroPad, padding
from .pairs import check_choice, check_counts
from .spectral import SpectralNorm, spectral

IMAGE_NORMS = ("none", "batch", "layer", "instance")
_WINDOWS = (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)
_POINTWISE = (ZeroPad, nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Dropout)
_NORMS = (BatchNorm, InstanceNorm, LayerNorm)


class PatchDiscriminator(nn.Module):
    """Images to a map of scores, one for each patch (Isola et al. 2017, section 3.2.2).

    Args:
        body: convolutions from ``(n, c, h, w)`` to ``(n, 1, h', w')``.
        shape: shape of an image.

    Examples:
        >>> import torch
        >>> net = PatchDiscriminator(nn.Conv2d(3, 1, 4, stride=2, padding=1), (3, 8, 8))
        >>> net(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 4, 4])
    """

    def __init__(self, body: nn.Sequential | nn.Conv2d, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.body = body

    @property
    def rowwise(self) -> bool:
        """Whether the scores of an image do not depend on the other images of its batch."""
        return not any(isinstance(module, BatchNorm) for module in self.modules())

    def forward(self, x: Tensor) -> Tensor:
        """``x`` ``(n, *shape)``; returns logits ``(n, h', w')``, higher for more real.

        Raises:
            ShapeError: an image does not fit.
        """
        check_input(x, self.shape, "the discriminator of patches")
        scores: Tensor = self.body(x).squeeze(1)
        return scores


@record
class PatchGAN:
    r"""The convolutional discriminator of patches (Isola et al. 2017, section 3.2.2 and appendix 6.1.2).

    ``layers`` convolutions of stride 2, then two of stride 1, all with 4 x 4 kernels; widths double from ``width`` up
    to ``8 * width``; a norm behind each but the first and the last. The side of the patch that a score sees is

    ========  ===  ===  ===  ===  ===
    layers      0    1    2    3    4
    pixels      7   16   34   70  142
    ========  ===  ===  ===  ===  ===

    so the paper's C64-C128-C256-C512 is ``layers=3``. :func:`receptive_field` computes these numbers from the layers.
    A norm over the pixels of an image couples all places; the patch is that of the convolutions.

    Args:
        width: channels of the first convolution.
        layers: convolutions of stride 2; ``None``: the most, up to the paper's 3, whose patch is no larger than the
            image, and at least 1 (images of less than 6 pixels are padded).
        norm: ``instance`` (which is the paper's batch norm at its batch size of 1), ``batch``, ``layer`` or ``none``.
        slope: the leak of the activations.
        init: see :func:`~equilibria.networks.initialise`.
        spectral_norm: whether every convolution is spectrally normalised.

    Raises:
        ConfigError: a field has a value it may not take.

    Examples:
        >>> import torch
        >>> net = PatchGAN(width=4, layers=3).build((3, 256, 256))
        >>> net(torch.zeros(1, 3, 256, 256)).shape, receptive_field(net)
        (torch.Size([1, 30, 30]), (70, 70))
    """

    width: int = 64
    layers: int | None = None
    norm: str = "instance"
    slope: float = 0.2
    init: str = "normal02"
    spectral_norm: bool = False

    def __post_init__(self) -> None:
        """Check every field."""
        check_counts(self, 1, "width")
        check_counts(self, 0, "layers")
        check_choice(self, "norm", IMAGE_NORMS)
        check_init(self.init)

    def build(self, shape: tuple[int, ...]) -> PatchDiscriminator:
        """The network for images of this shape.

        Raises:
            ShapeError: no image, or one that is smaller than the given number of ``layers`` needs.
        """
        if len(shape) != 3:
            raise ShapeError(f"points of shape {shape} have no patches", "use MLPPair for vectors")
        count = self.layers_for(min(shape[1:]))
        needed = 3 * 2**count  # each of the two convolutions of stride 1 takes a pixel away
        if self.layers is not None and min(shape[1:]) < needed:
            raise ShapeError(
                f"images of {shape[1]} x {shape[2]} leave no score behind {count} convolutions of stride 2",
                f"use layers={max(0, count - 1)}, or images of {needed} pixels or more",
            )
        height, width = (max(side, needed) for side in shape[1:])
        layers, inputs = padding(shape, (height, width)), shape[0]
        for index in range(count + 1):
            outputs, norm = self.width * min(2**index, 8), self.norm if index else "none"
            stride = 2 if index < count else 1
            conv = nn.Conv2d(inputs, outputs, 4, stride, 1, bias=norm == "none")
            layers += [spectral(conv, self.spectral_norm), norm_layer(norm, outputs)]
            layers.append(activation("leaky_relu", self.slope))
            inputs = outputs
        layers.append(spectral(nn.Conv2d(inputs, 1, 4, 1, 1), self.spectral_norm))
        net = PatchDiscriminator(sequence(*layers), shape)
        initialise(net, self.init)
        return net

    def layers_for(self, side: int) -> int:
        """How many convolutions of stride 2 there are for images of this side.

        Examples:
            >>> [PatchGAN().layers_for(side) for side in (8, 16, 32, 64, 256)]
            [1, 1, 1, 2, 3]
        """
        if self.layers is not None:
            return self.layers
        return max(n for n in (1, 2, 3) if n == 1 or 9 * 2**n - 2 <= side)


def receptive_field(net: nn.Module) -> tuple[int, int]:
    r"""Height and width, in pixels, of the patch that one output of a convolutional network sees.

    A layer of kernel :math:`k`, dilation :math:`d` and stride :math:`s` widens the patch by :math:`d (k - 1)` steps of
    the layers before it, each of :math:`\prod s` pixels:

    .. math:: r = 1 + \sum_l d_l (k_l - 1) \prod_{m < l} s_m

    Norms count as pointwise, although their statistics are of all pixels.

    Args:
        net: convolutions, pooling, activations and norms, one after the other.

    Raises:
        ConfigError: a layer whose outputs see no patch (an affine map), or whose patch is not known here.

    Examples:
        >>> receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3, stride=2), nn.ReLU(), nn.Conv2d(1, 1, (3, 5))))
        (7, 11)
    """
    size, step = [1, 1], [1, 1]
    for layer in _in_order(net):
        for axis in range(2):
            kernel, stride = _window(layer, axis)
            size[axis] += (kernel - 1) * step[axis]
            step[axis] *= stride
    return size[0], size[1]


def _in_order(net: nn.Module) -> list[nn.Module]:
    """The layers of stride or extent, first to last."""
    if isinstance(net, PatchDiscriminator):
        return _in_order(net.body)
    if isinstance(net, nn.Sequential):
        return [layer for part in net for layer in _in_order(part)]
    if isinstance(net, SpectralNorm):
        return _in_order(net.layer)
    if isinstance(net, (*_WINDOWS, Downsample)):
        return [net]
    if isinstance(net, (*_POINTWISE, *_NORMS)):
        return []
    raise ConfigError(
        f"the receptive field of a {type(net).__name__} is not known", "give convolutions and pooling in a Sequential"
    )


def _window(layer: nn.Module, axis: int) -> tuple[int, int]:
    """Extent (with dilation) and stride along an axis."""
    if isinstance(layer, Downsample):
        return 2, 2
    assert isinstance(layer, _WINDOWS)
    dilation = _at(getattr(layer, "dilation", 1), axis)
    return dilation * (_at(layer.kernel_size, axis) - 1) + 1, _at(layer.stride, axis)


def _at(value: int | tuple[int, ...], axis: int) -> int:
    return value if isinstance(value, int) else value[axis]
