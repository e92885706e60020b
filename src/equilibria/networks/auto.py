"""A pair of networks that is chosen by the shape of the data."""

from __future__ import annotations

from torch import nn

from ..base.records import record
from .conv import ConvPair
from .heads import Encoder, Generator, Trunk
from .layers import volume
from .mlp import MLPPair
from .pairs import Networks


@record
class Auto(Networks):
    """One pair for vectors ``(d,)`` and another for images ``(c, h, w)``.

    Args:
        vector: the pair for vectors.
        image: the pair for images.

    Examples:
        >>> type(Auto().pick((2,))).__name__, type(Auto().pick((1, 28, 28))).__name__
        ('MLPPair', 'ConvPair')
    """

    vector: Networks = MLPPair()
    image: Networks = ConvPair()

    def pick(self, shape: tuple[int, ...]) -> Networks:
        """The pair for points of this shape.

        Raises:
            ConfigError: the shape is neither a vector's nor an image's.
        """
        volume(shape)
        return self.vector if len(shape) == 1 else self.image

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> Generator:
        """The generator of the pair for this shape."""
        return self.pick(shape).generator(latent, shape, classes)

    def discriminator(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        """The discriminator of the pair for this shape."""
        return self.pick(shape).discriminator(shape, classes)

    def trunk(self, shape: tuple[int, ...], classes: int = 0) -> Trunk:
        """The trunk of the pair for this shape."""
        return self.pick(shape).trunk(shape, classes)

    def encoder(self, shape: tuple[int, ...], latent: int) -> Encoder:
        """The encoder of the pair for this shape."""
        return self.pick(shape).encoder(shape, latent)
