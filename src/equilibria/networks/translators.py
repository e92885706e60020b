"""What a network from images to images is: a record that builds it for two shapes."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from ..base.errors import ShapeError


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
