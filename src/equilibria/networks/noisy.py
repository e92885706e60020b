"""Perceptrons with Gaussian noise on every layer and weight normalisation (Salimans et al. 2016, on MNIST)."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base.errors import ConfigError
from ..base.records import record
from .heads import Encoder, Generator, Head, Trunk
from .layers import volume
from .norms import BatchNorm
from .pairs import Networks, check_counts, check_sizes, output_layers

_SMALL = 0.1  # of the last layers, in the authors' code
Whole = TypeVar("Whole", bound=nn.Module)


class GaussianNoise(nn.Module):
    r"""Adds independent normal noise to every entry while training: ``x + s e`` with ``e ~ N(0, 1)``.

    In evaluation mode it is the identity. As with dropout, the noise comes from torch's global generator, which a turn
    seeds from its draw.

    Args:
        std: the standard deviation s; 0 for none.

    Raises:
        ConfigError: it is negative.

    Examples:
        >>> GaussianNoise(0.5).eval()(torch.ones(2)).tolist()
        [1.0, 1.0]
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        if not std >= 0:
            raise ConfigError(f"noise std={std} is below 0", "std=0.5")
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        """``(n, …)`` to the same shape."""
        return x + self.std * torch.randn_like(x) if self.training and self.std else x

    def extra_repr(self) -> str:
        """The standard deviation."""
        return f"std={self.std}"


class WeightNorm(nn.Module):
    r"""An affine map whose weights have a length of their own (Salimans & Kingma 2016, equation 2).

    .. math:: y_j = g_j \frac{v_j^\top x}{\|v_j\|_2} + b_j

    The paper chooses the first g by the data, so that outputs have variance 1. Here all are ``length``: with 1, inputs
    of independent entries of variance 1 give outputs of variance 1.

    Args:
        inputs: size of the input vectors ``(n, inputs)``.
        outputs: size of the output vectors ``(n, outputs)``.
        length: of the weights of each output, at first.

    Examples:
        >>> [round(length, 4) for length in WeightNorm(4, 3, length=2.0).weight().norm(dim=1).tolist()]
        [2.0, 2.0, 2.0]
    """

    def __init__(self, inputs: int, outputs: int, length: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.scale = nn.Parameter(torch.full((outputs,), length))

    def weight(self) -> Tensor:
        """The weights that the layer uses, ``(outputs, inputs)``."""
        v = self.linear.weight
        return v * (self.scale * v.square().sum(1).rsqrt())[:, None]

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inputs)`` to ``(n, outputs)``."""
        return F.linear(x, self.weight(), self.linear.bias)


@record
class NoisyPair(Networks):
    """The perceptrons of Salimans et al. 2016 on MNIST (their code), for images as vectors and for vectors.

    The generator has two hidden layers with softplus, each followed by a batch norm. The discriminator has noise on its
    input and after each hidden layer, and weight norms. Its features are the last hidden layer before that layer's
    noise. The paper's pixels are in [0, 1], with noise .3 on them; for data in [-1, 1] that is .6. The paper's
    generator ends in a sigmoid, which is a tanh here.

    Args:
        width: units of each hidden layer of the generator.
        hidden: units of the discriminator's hidden layers.
        input_noise: standard deviation of the noise on the discriminator's input, in the data's units.
        noise: the same on its hidden layers.
        output: the generator's last operation, ``linear`` or ``tanh``; ``auto`` is tanh for images, linear for vectors.

    Raises:
        ConfigError: a width is below 1, or a standard deviation is negative.

    Examples:
        >>> pair = NoisyPair(width=16, hidden=(16, 8))
        >>> pair.trunk((1, 4, 4)).features, pair.encoder((1, 4, 4), 10)(torch.zeros(2, 1, 4, 4)).shape
        (8, torch.Size([2, 10]))
    """

    width: int = 500
    hidden: tuple[int, ...] = (1000, 500, 250, 250, 250)
    input_noise: float = 0.6
    noise: float = 0.5
    output: str = "auto"

    def __post_init__(self) -> None:
        """Check every field."""
        check_counts(self, 1, "width")
        if not self.hidden:
            raise ConfigError("hidden=() has no layers", "hidden=(500, 250): the width of each")

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> Generator:
        """Codes to points."""
        check_sizes(latent, classes)
        layers: list[nn.Module] = []
        for inputs in (latent + classes, self.width):
            layers += [nn.Linear(inputs, self.width), nn.Softplus(), BatchNorm(self.width)]
        layers += [WeightNorm(self.width, volume(shape), length=_SMALL), *output_layers(self.output, shape)]
        return Generator(nn.Sequential(*layers), latent, shape, classes)

    def discriminator(self, shape: tuple[int, ...], classes: int = 0) -> Head:
        """Points to logits."""
        trunk = self.trunk(shape, classes)
        return _replaced(Head(trunk), "logit", self._last(trunk.features, 1))

    def trunk(self, shape: tuple[int, ...], classes: int = 0) -> Trunk:
        """Points to the features before the last noise."""
        check_sizes(1, classes)
        layers, inputs = [GaussianNoise(self.input_noise)], volume(shape) + classes
        return Trunk(nn.Sequential(*layers, *self._hidden(inputs)), shape, self.hidden[-1], classes)

    def encoder(self, shape: tuple[int, ...], latent: int) -> Encoder:
        """Points to codes (or to the scores of classes)."""
        check_sizes(latent, 0)
        return _replaced(Encoder(self.trunk(shape), latent), "code", self._last(self.hidden[-1], latent))

    def _hidden(self, inputs: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for width in self.hidden:
            layers += [WeightNorm(inputs, width), nn.ReLU(), GaussianNoise(self.noise)]
            inputs = width
        return layers[:-1]

    def _last(self, inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(GaussianNoise(self.noise), WeightNorm(inputs, outputs, length=_SMALL))


def _replaced(net: Whole, name: str, layer: nn.Module) -> Whole:
    """A network with another last layer."""
    setattr(net, name, layer)
    return net
