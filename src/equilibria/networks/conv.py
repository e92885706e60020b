"""The convolutional pair for images: strided convolutions, with the norms, attention and minibatch layers of GANs."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from ..base.records import record
from .attention import SelfAttention
from .heads import Encoder, Generator, Head, Trunk
from .init import check_init, initialise
from .layers import Reshape, activation
from .minibatch import MINIBATCH, minibatch_layer
from .norms import VirtualBatchNorm, WithReference, norm_layer
from .padding import cropping, padding, pyramid
from .pairs import CONDITIONS, OUTPUTS, Networks, check_choice, check_counts, check_sizes, output_layers
from .spectral import spectral

NORMS = ("none", "batch", "layer")
GENERATOR_NORMS = (*NORMS, "virtual")
KERNELS = (2, 4, 6, 8)


@record
class ConvPair(Networks):
    """Strided convolutions down, strided transposed convolutions up (Radford et al. 2016), by default without norms.

    Images are halved by the rule of :func:`~equilibria.networks.padding.pyramid`; sizes that cannot be are padded.

    The default has no norms because penalties on input slopes (R1, R2, WGAN-GP) and paired losses assume that a score
    depends on one point only, which is false with batch norm (Gulrajani et al. 2017, section 4). DCGAN as published is
    ``ConvPair(width=64, norm="batch", generator_activation="relu", init="normal02")``: strided convolutions instead of
    pooling, batch norm in both networks except at the generator's output and the discriminator's input, no hidden fully
    connected layer, tanh at the output.

    Args:
        width: channels of the discriminator's first level; each halving doubles them, up to ``width * cap``.
        cap: the largest multiple of the width.
        kernel: side of the kernels: 2, 4, 6 or 8.
        norm: ``none``, ``batch`` or ``layer``, in both networks.
        activation: activation of the discriminator, and of the generator if ``generator_activation`` is None.
        generator_activation: activation of the generator; ``None``: as ``activation``.
        slope: negative slope of ``leaky_relu``.
        init: see :func:`~equilibria.networks.initialise`.
        output: the generator's last operation, ``linear`` or ``tanh``; ``auto`` is tanh.
        spectral_norm: whether every layer of the discriminator is spectrally normalised.
        condition: how the discriminator uses a label, ``projection``, ``concat`` (constant planes) or ``classifier``
            (it tells the label, and is not given it).
        generator_norm: norm of the generator, which may be ``virtual`` as well; ``None``: as ``norm``.
        reference: rows of the reference batch of ``virtual``.
        generator_spectral: whether every layer of the generator is spectrally normalised.
        attention: in both networks a :class:`~equilibria.networks.SelfAttention` stands behind the feature map whose
            sides are those of the image halved so often (at most as often as the network does); 0 for none.
        minibatch: what the discriminator learns of the rest of its batch before its last layer: ``none``,
            ``discrimination`` or ``deviation`` (:class:`~equilibria.networks.MinibatchDiscrimination`,
            :class:`~equilibria.networks.MinibatchDeviation`).
        kernels: of minibatch discrimination; its time grows with their number and the square of the batch.
        generator_width: channels of the generator's last level, which double up to its first; ``None``: as ``width``.
        dense: widths of fully connected layers, with an activation each, between the code and the generator's smallest
            map. Without them a code enters the smallest map by one affine map.

    Raises:
        ConfigError: a field has a value that is not allowed.

    Examples:
        >>> import torch
        >>> pair = ConvPair(width=8)
        >>> G, D = pair.generator(16, (1, 28, 28), classes=10), pair.discriminator((1, 28, 28), classes=10)
        >>> y = torch.eye(10)
        >>> D(G(torch.randn(10, 16), y), y).shape
        torch.Size([10])
    """

    width: int = 32
    cap: int = 8
    kernel: int = 4
    norm: str = "none"
    activation: str = "leaky_relu"
    generator_activation: str | None = None
    slope: float = 0.2
    init: str = "kaiming"
    output: str = "auto"
    spectral_norm: bool = False
    condition: str = "projection"
    generator_norm: str | None = None
    reference: int = 64
    generator_spectral: bool = False
    attention: int = 0
    minibatch: str = "none"
    kernels: int = 100
    generator_width: int | None = None
    dense: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check every field."""
        check_counts(self, 1, "width", "generator_width", "cap", "kernels")
        check_counts(self, 0, "attention")
        check_counts(self, 2, "reference")
        check_choice(self, "kernel", KERNELS)
        check_choice(self, "norm", NORMS)
        check_choice(self, "output", OUTPUTS)
        check_choice(self, "condition", CONDITIONS)
        check_choice(self, "minibatch", MINIBATCH)
        if self.generator_norm is not None:
            check_choice(self, "generator_norm", GENERATOR_NORMS)
        check_init(self.init)
        activation(self.activation, self.slope)
        activation(self.generator_activation or self.activation, self.slope, "generator_activation")

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> Generator:
        """Codes to images: a linear map to the smallest level, then upsampling by two up to the image's size."""
        check_sizes(latent, classes)
        levels, h, w, padded = pyramid(shape)
        widths = self._widths(levels, self.width if self.generator_width is None else self.generator_width)[::-1]
        biased = self._generator_norm != "batch"
        sizes = (latent + classes, *self.dense)
        first = nn.Linear(sizes[-1], widths[0] * h * w, bias=biased)
        layers: list[nn.Module] = [
            *self._dense(sizes),
            spectral(first, self.generator_spectral),
            Reshape((widths[0], h, w)),
            *self._up(widths[0], levels, levels),
        ]
        border = self.kernel // 2 - 1
        for level, (inputs, outputs) in zip(range(levels - 1, 0, -1), pairwise(widths), strict=True):
            conv = nn.ConvTranspose2d(inputs, outputs, self.kernel, 2, border, bias=biased)
            layers += [spectral(conv, self.generator_spectral), *self._up(outputs, level, levels)]
        last = nn.ConvTranspose2d(widths[-1], shape[0], self.kernel, 2, border)
        layers += [spectral(last, self.generator_spectral)]
        layers += [*output_layers(self.output, shape), *cropping(shape, padded)]
        body: nn.Module = nn.Sequential(*layers)
        if self._generator_norm == "virtual":
            labels = torch.eye(classes)[torch.arange(self.reference) % classes] if classes else torch.zeros(1, 0)
            codes = torch.randn(self.reference, latent)
            body = WithReference(body, torch.cat([codes, labels.expand(self.reference, -1)], dim=1))
        net = Generator(body, latent, shape, classes)
        initialise(net, self.init)
        return net

    def discriminator(self, shape: tuple[int, ...], classes: int = 0) -> Head:
        """Images to logits; the last feature map is flattened and followed by one affine map."""
        check_sizes(1, classes)
        joined = classes if self.condition == "concat" else 0
        trunk = self._trunk(shape, joined, self.spectral_norm, self.minibatch)
        net = Head(trunk, classes - joined, self.spectral_norm, self.condition == "classifier")
        initialise(net, self.init)
        return net

    def trunk(self, shape: tuple[int, ...], classes: int = 0) -> Trunk:
        """Images to the flattened feature map of the smallest level."""
        check_sizes(1, classes)
        net = self._trunk(shape, classes, self.spectral_norm, self.minibatch)
        initialise(net, self.init)
        return net

    def encoder(self, shape: tuple[int, ...], latent: int) -> Encoder:
        """Images to codes; never spectrally normalised."""
        check_sizes(latent, 0)
        net = Encoder(self._trunk(shape, 0, False), latent)
        initialise(net, self.init)
        return net

    def _widths(self, levels: int, width: int) -> list[int]:
        return [width * min(2**level, self.cap) for level in range(levels)]

    @property
    def _generator_norm(self) -> str:
        return self.norm if self.generator_norm is None else self.generator_norm

    def _dense(self, sizes: tuple[int, ...]) -> list[nn.Module]:
        """Fully connected layers from the first size to the last, each with its activation."""
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            kind = self.generator_activation or self.activation
            layers += [spectral(nn.Linear(inputs, outputs), self.generator_spectral), activation(kind, self.slope)]
        return layers

    def _up(self, channels: int, level: int, levels: int) -> list[nn.Module]:
        """What follows a map of the generator whose sides are halved ``level`` of ``levels`` times."""
        norm = self._generator_norm
        norms = [VirtualBatchNorm(channels, self.reference)] if norm == "virtual" else _norms(norm, channels)
        kind = self.generator_activation or self.activation
        return [
            *norms,
            activation(kind, self.slope),
            *self._attention(channels, level, levels, self.generator_spectral),
        ]

    def _attention(self, channels: int, level: int, levels: int, constrained: bool) -> list[nn.Module]:
        here = self.attention and level == min(self.attention, levels)
        return [SelfAttention(channels, constrained)] if here else []

    def _trunk(self, shape: tuple[int, ...], classes: int, constrained: bool, minibatch: str = "none") -> Trunk:
        levels, h, w, padded = pyramid(shape)
        layers = padding(shape, padded)
        inputs = shape[0] + classes
        for level, outputs in enumerate(self._widths(levels, self.width)):
            norm = self.norm if level else "none"
            conv = nn.Conv2d(inputs, outputs, self.kernel, 2, self.kernel // 2 - 1, bias=norm != "batch")
            layers += [
                spectral(conv, constrained),
                *_norms(norm, outputs),
                activation(self.activation, self.slope),
                *self._attention(outputs, level + 1, levels, constrained),
            ]
            inputs = outputs
        more, features = minibatch_layer(minibatch, inputs * h * w, self.kernels)
        return Trunk(nn.Sequential(*layers, nn.Flatten(), *more), shape, features, classes, flat=False)


def _norms(norm: str, channels: int) -> list[nn.Module]:
    return [] if norm == "none" else [norm_layer(norm, channels)]
