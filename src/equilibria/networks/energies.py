"""Discriminators that are autoencoders: a point's score is minus the error of its reconstruction (EBGAN)."""

from __future__ import annotations

from torch import Tensor, nn

from ..base.records import record
from .auto import Auto
from .heads import Encoder, Generator, Trunk
from .minibatch import BATCHWISE
from .norms import BatchNorm
from .pairs import Networks

_TINY = 1e-12  # under the root, whose gradient at an exact reconstruction would be infinite


class Energy(nn.Module):
    r"""An autoencoder as a discriminator (Zhao et al. 2017, section 2.3): minus the norm of the reconstruction's error.

    .. math:: h(x) = -E(x), \qquad E(x) = \| d(e(x)) - x \|_2 \ge 0

    in the data's units, over all entries of a point. With classes, the decoder is given the label: ``d(e(x), y)``.

    Args:
        encoder: points to codes ``(n, k)``.
        decoder: codes (and labels) to points.

    Examples:
        >>> import torch
        >>> net = EnergyPair(code=3).discriminator((2,))
        >>> x = torch.randn(4, 2)
        >>> net(x).shape, bool((net(x) <= 0).all())
        (torch.Size([4]), True)
    """

    def __init__(self, encoder: Encoder, decoder: Generator) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    @property
    def rowwise(self) -> bool:
        """Whether the score of a point does not depend on the other points of its batch."""
        return not any(isinstance(module, (BatchNorm, *BATCHWISE)) for module in self.modules())

    def features(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The code of each point, ``(n, k)``: what the pull-away term reads."""
        coded: Tensor = self.encoder(x)
        return coded

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The reconstruction of each point, ``(n, *shape)``."""
        made: Tensor = self.decoder(self.encoder(x), *(() if y is None else (y,)))
        return made

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """``x`` ``(n, *shape)``, one-hot ``y`` ``(n, classes)``; returns ``(n,)``, at most 0, higher for more real.

        Raises:
            ShapeError: a point or a label does not fit.
        """
        error = (self.reconstruct(x, y) - x).flatten(1)
        return -(error.square().sum(1) + _TINY).sqrt()


@record
class EnergyPair(Networks):
    """Another pair whose discriminator is replaced by an autoencoder of its layers (:class:`Energy`).

    The generator, trunk and encoder are those of the pair; the discriminator is the pair's encoder and, as decoder,
    a second generator of the pair.

    Args:
        pair: the pair of architectures.
        code: numbers between encoder and decoder.

    Raises:
        ConfigError: ``code`` is below 1.
    """

    pair: Networks = Auto()
    code: int = 32

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> Generator:
        """The pair's generator."""
        return self.pair.generator(latent, shape, classes)

    def discriminator(self, shape: tuple[int, ...], classes: int = 0) -> Energy:
        """An autoencoder with a score per point."""
        encoder = self.pair.encoder(shape, self.code)
        return Energy(encoder, self.pair.generator(self.code, shape, classes))

    def trunk(self, shape: tuple[int, ...], classes: int = 0) -> Trunk:
        """The pair's trunk."""
        return self.pair.trunk(shape, classes)

    def encoder(self, shape: tuple[int, ...], latent: int) -> Encoder:
        """The pair's encoder."""
        return self.pair.encoder(shape, latent)
