"""The recurrent generator that paints an image as a sum of canvases."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..base.records import record
from .conv import ConvPair
from .heads import Encoder, Generator, Head, Trunk
from .pairs import Networks, check_counts, check_sizes


class CanvasGenerator(nn.Module):
    r"""Codes to images in T steps with the same weights (GRAN: Im et al. 2016, section 4).

    .. math:: h_z = \tanh(W z + b), \qquad h_{c,t} = g(C_{t-1}), \qquad \Delta C_t = f([h_z, h_{c,t}]), \qquad
              x = \tanh(C_T)

    with a convolutional encoder g, a convolutional decoder f and canvases :math:`C_t = C_{t-1} + \Delta C_t` that begin
    at :math:`C_0 = 0`. The paper has a logistic function, for data in [0, 1], where tanh stands here, for data in
    [-1, 1].

    Args:
        decode: f, from ``(n, 2 code)`` to ``(n, *shape)``, of any range.
        encode: g, from ``(n, *shape)`` to ``(n, code)``.
        latent: size of the codes.
        code: size of h_z and of h_c.
        shape: of the images.
        steps: T.
    """

    def __init__(
        self, decode: nn.Module, encode: nn.Module, latent: int, code: int, shape: tuple[int, ...], steps: int
    ) -> None:
        super().__init__()
        self.shape, self.steps = tuple(shape), steps
        self.embed = nn.Linear(latent, code)
        self.encode, self.decode = encode, decode

    def canvases(self, z: Tensor) -> Tensor:
        r"""The increments :math:`\Delta C_1, …, \Delta C_T` ``(n, T, *shape)``."""
        return torch.stack(self._painted(z)[1], dim=1)

    def forward(self, z: Tensor) -> Tensor:
        """``(n, latent)`` to ``(n, *shape)``."""
        return self._painted(z)[0].tanh()

    def _painted(self, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        code, canvas = self.embed(z).tanh(), z.new_zeros(len(z), *self.shape)
        added: list[Tensor] = []
        for _ in range(self.steps):
            added.append(self.decode(torch.cat([code, self.encode(canvas)], dim=1)))
            canvas = canvas + added[-1]
        return canvas, added


@record
class CanvasPair(Networks):
    """The generator of GRAN (:class:`CanvasGenerator`) against the discriminator of a convolutional pair.

    The number of parameters does not depend on the number of steps.

    Args:
        steps: T, how often the generator adds to its canvas.
        code: size of what the decoder reads of the latent code, and of the canvas.
        pair: discriminator, decoder and encoder.

    Raises:
        ConfigError: a size below 1.

    Examples:
        >>> pair = CanvasPair(steps=3, code=8, pair=ConvPair(width=4))
        >>> G, z = pair.generator(5, (1, 8, 8)), torch.randn(2, 5)
        >>> G.body.canvases(z).shape, torch.allclose(G(z), G.body.canvases(z).sum(1).tanh())
        (torch.Size([2, 3, 1, 8, 8]), True)
    """

    steps: int = 3
    code: int = 64
    pair: ConvPair = ConvPair()

    def __post_init__(self) -> None:
        """Check every field."""
        check_counts(self, 1, "steps", "code")

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> Generator:
        """Codes to images."""
        check_sizes(latent, classes)
        linear = replace(self.pair, output="linear")
        parts = linear.generator(2 * self.code, shape), linear.encoder(shape, self.code)
        body = CanvasGenerator(*parts, latent + classes, self.code, shape, self.steps)
        return Generator(body, latent, shape, classes)

    def discriminator(self, shape: tuple[int, ...], classes: int = 0) -> Head:
        """Images to logits, as the pair's."""
        return self.pair.discriminator(shape, classes)

    def trunk(self, shape: tuple[int, ...], classes: int = 0) -> Trunk:
        """Images to features, as the pair's."""
        return self.pair.trunk(shape, classes)

    def encoder(self, shape: tuple[int, ...], latent: int) -> Encoder:
        """Images to codes, as the pair's."""
        return self.pair.encoder(shape, latent)
