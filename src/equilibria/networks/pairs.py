"""A pair of architectures: a record that builds a generator, a discriminator, a trunk and an encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

from torch import nn

from ..base.errors import ConfigError, not_known
from .heads import Encoder, Generator, Trunk

_MOST = 1_000_000


class Networks(ABC):
    """A pair of architectures. Concrete classes are records; weights are drawn from torch's global generator.

    Seed the generator before each call (``torch.manual_seed``): the same seed, record and shape give the same weights.
    """

    @abstractmethod
    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> Generator:
        """A network ``(n, latent) -> (n, *shape)``; with ``classes`` it is called ``(z, y)``, ``y`` float one-hot."""

    @abstractmethod
    def discriminator(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        """A network ``(n, *shape) -> (n,)`` of logits; with ``classes`` it is called ``(x, y)``."""

    @abstractmethod
    def trunk(self, shape: tuple[int, ...], classes: int = 0) -> Trunk:
        """The discriminator without its last layer: ``(n, *shape) -> (n, trunk.features)``; labels by concatenation."""

    @abstractmethod
    def encoder(self, shape: tuple[int, ...], latent: int) -> Encoder:
        """A network ``(n, *shape) -> (n, latent)`` with the layers of the trunk."""


def check_choice(owner: object, field: str, known: Collection[str | int]) -> None:
    """Check that a field of a record has an allowed value.

    Raises:
        ConfigError: it has another value.
    """
    value = getattr(owner, field)
    if value in known:
        return
    sizes = [one for one in known if isinstance(one, int)]
    if not sizes:
        raise not_known(field, value, map(str, known))
    near = min(sizes, key=lambda one: abs(one - value)) if isinstance(value, (int, float)) else sizes[0]
    raise ConfigError(f"{field}={value!r} is none of {', '.join(map(str, sizes))}", settings={field: near})


def check_counts(owner: object, least: int, *fields: str) -> None:
    """Check that integer fields of a record lie between ``least`` and one million; ``None`` is allowed.

    Raises:
        ConfigError: one is smaller, larger, or not an integer.
    """
    for field in fields:
        value = getattr(owner, field)
        if value is not None and (not isinstance(value, int) or not least <= value <= _MOST):
            what = f"{type(owner).__name__}: {field}={value!r} is not a whole number of {least} to {_MOST:,}"
            raise ConfigError(what, settings={field: type(owner).__dataclass_fields__[field].default})  # type: ignore[attr-defined]


def check_share(owner: object, *fields: str) -> None:
    """Check that fields of a record lie in [0, 1).

    Raises:
        ConfigError: one is outside.
    """
    for field in fields:
        value = getattr(owner, field)
        if not 0.0 <= value < 1.0:
            what = f"{type(owner).__name__}: {field}={value!r} is not a share in [0, 1)"
            raise ConfigError(what, settings={field: type(owner).__dataclass_fields__[field].default})  # type: ignore[attr-defined]


def check_sizes(latent: int, classes: int) -> None:
    """Check the latent size and the number of classes of a network.

    Raises:
        ConfigError: the latent size is not positive, or the number of classes is 1 or negative.
    """
    if latent < 1:
        raise ConfigError(f"latent={latent} is below 1", "latent=64")
    if classes < 0 or classes == 1:
        raise ConfigError(f"classes={classes} (0 for unconditional networks, else 2 or more)", "classes=0")


def output_layers(output: str, shape: tuple[int, ...]) -> list[nn.Module]:
    """The last layers of a generator: a tanh (``tanh``) or none (``linear``); ``auto`` is tanh for images."""
    wanted = output == "tanh" or (output == "auto" and len(shape) == 3)
    return [nn.Tanh()] if wanted else []


OUTPUTS = ("auto", "linear", "tanh")
CONDITIONS = ("concat", "projection", "classifier")
