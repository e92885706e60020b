"""The networks that translate between two shapes of points, and their discriminators."""

from __future__ import annotations

from torch import nn

from ..base.records import record
from .auto import Auto
from .conv import ConvPair
from .heads import Encoder, Generator, Head, Trunk
from .layers import Reshape, volume
from .pairs import Networks, output_layers
from .patch import PatchDiscriminator, PatchGAN
from .translators import Translator
from .unet import UNet


@record
class ImageToImage(Networks):
    """A translator of images and a discriminator of patches.

    What has no part in translation (networks from or to codes) is that of a convolutional pair.

    Args:
        translator: from images to images.
        patch: the discriminator.
        codes: networks from and to codes, and discriminators of whole images.

    Examples:
        >>> import torch
        >>> pair = ImageToImage(translator=UNet(width=4), patch=PatchGAN(width=4))
        >>> translated = pair.translation((1, 16, 16), (3, 16, 16))(torch.zeros(2, 1, 16, 16))
        >>> pair.patches((3, 16, 16))(translated).shape
        torch.Size([2, 6, 6])
    """

    translator: Translator = UNet()
    patch: PatchGAN = PatchGAN()
    codes: ConvPair = ConvPair()

    def translation(self, source: tuple[int, ...], target: tuple[int, ...]) -> nn.Module:
        """A network ``(n, *source) -> (n, *target)``."""
        return self.translator.build(source, target)

    def patches(self, shape: tuple[int, ...]) -> PatchDiscriminator:
        """A discriminator ``(n, *shape) -> (n, h', w')``."""
        return self.patch.build(shape)

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


def translator(networks: Networks, source: tuple[int, ...], target: tuple[int, ...]) -> nn.Module:
    """A network ``(n, *source) -> (n, *target)`` of any architecture.

    Of :class:`ImageToImage` it is its translator. Any other pair gives an encoder with as many outputs as a point of
    the target has values, so that vectors, and images as vectors, are translated too.

    Examples:
        >>> import torch
        >>> from equilibria.networks import MLPPair
        >>> translator(MLPPair(width=8), (2,), (3,))(torch.zeros(5, 2)).shape
        torch.Size([5, 3])
    """
    chosen = _picked(networks, target)
    if isinstance(chosen, ImageToImage):
        return chosen.translation(source, target)
    return nn.Sequential(chosen.encoder(source, volume(target)), *output_layers("auto", target), Reshape(target))


def discriminator(networks: Networks, shape: tuple[int, ...]) -> nn.Module:
    """The discriminator of points of this shape: of patches where the networks have it, else of whole points.

    Examples:
        >>> import torch
        >>> from equilibria.networks import MLPPair
        >>> discriminator(MLPPair(width=8), (2,))(torch.zeros(5, 2)).shape
        torch.Size([5])
    """
    chosen = _picked(networks, shape)
    return chosen.patches(shape) if isinstance(chosen, ImageToImage) else chosen.discriminator(shape)


def _picked(networks: Networks, shape: tuple[int, ...]) -> Networks:
    return networks.pick(shape) if isinstance(networks, Auto) else networks
