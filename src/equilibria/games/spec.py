"""What a recipe says about its game: a record that makes the modules and joins them into a game."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError, did_you_mean, not_known
from ..base.records import record
from ..core.game import Batch, Game, Tensors, default
from ..data import DataSpec
from ..metrics.measures import Measure
from ..networks import Energy, Generator, Head, Networks, as_logits, check_pair


@record
class Latent:
    """The law of the latent codes: ``size`` independent standard normals, or uniforms on [-1, 1].

    Examples:
        >>> Latent(size=3).codes(2).shape
        torch.Size([2, 3])
    """

    prepared_on: ClassVar[int] = 0
    size: int = 64
    law: str = "normal"

    def __post_init__(self) -> None:
        if self.law not in {"normal", "uniform"}:
            raise not_known("law", self.law, ["normal", "uniform"])
        if self.size < 1:
            raise ConfigError(f"size={self.size} of the latent codes is below 1", settings={"size": 64})

    def codes(self, n: int, like: Tensor | None = None) -> Tensor:
        """``(n, size)`` codes from the global generator, on the device of ``like``."""
        device = like.device if like is not None else None
        if self.law == "normal":
            return torch.randn(n, self.size, device=device)
        return torch.rand(n, self.size, device=device) * 2 - 1

    def state(self) -> Tensors:
        """Nothing: the law does not depend on the data."""
        return {}

    def prepared(self, x: Tensor) -> Tensors:
        """Nothing."""
        return {}

    def entries(self, n: int, like: Tensor | None, state: Mapping[str, Tensor]) -> Batch:
        """``latent`` ``(n, size)``."""
        return {"latent": self.codes(n, like)}


class GameSpec(ABC):
    """Abstract record: a family of games, before the data's shape and the networks are known."""

    @abstractmethod
    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        """The modules of the game, by name. Parameters are drawn from the global generator.

        Raises:
            DataError: the game needs something the data does not have (labels, a second domain).
        """

    @abstractmethod
    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        """The game of these modules.

        Raises:
            ShapeError: a module's output does not fit.
        """

    @default
    def measures(self) -> tuple[Measure, ...]:
        """What is measured of a trained game of this family besides its samples: accuracy, cycle error, purity, …"""
        return ()

    @default
    def sides(self) -> Mapping[str, tuple[str, ...]]:
        """The players on the generator's and on the discriminator's side of the adversarial losses, by their names."""
        return {"generator": ("generator",), "discriminator": ("discriminator",)}

    def build(self, networks: Networks, data: DataSpec, own: Mapping[str, nn.Module] | None = None) -> Game:
        """The game, with the user's own modules in place of the made ones where given.

        Raises:
            ConfigError: a module of the user's has a name that the game does not know.
        """
        modules = self.make(networks, data)
        if data.encoding is not None:
            _end_in_blocks(modules, data)
        for name in own or {}:
            if name not in modules:
                raise ConfigError(f"{type(self).__name__} has no module '{name}'", did_you_mean(name, modules))
        return self.assemble({**modules, **(own or {})}, data)


def _end_in_blocks(modules: Mapping[str, nn.Module], data: DataSpec) -> None:
    """Let the generators of a table's rows end in a softmax over each of its one-hot blocks."""
    assert data.encoding is not None
    for part in (part for module in modules.values() for part in module.modules()):
        if isinstance(part, Generator) and part.shape == tuple(data.shape):
            part.end_in(data.encoding.blocks)


def fit_pair(
    generator: nn.Module, discriminator: nn.Module, latent: int, shape: tuple[int, ...], classes: int = 0
) -> None:
    """Try a pair of networks on a few points before anything is trained; what looks wrong becomes a warning.

    Raises:
        ShapeError: an input or output does not fit.
    """
    for suspicion in check_pair(generator, discriminator, latent, shape, classes):
        warnings.warn(suspicion, stacklevel=4)


def logits(discriminator: nn.Module, classifies: bool = False) -> nn.Module:
    """The discriminator with outputs ``(n,)``; ours are so already.

    Args:
        discriminator: the network.
        classifies: whether the game trains a classifier in the discriminator.

    Raises:
        ConfigError: the network has one, and the game does not train it: then labels would have no effect.
    """
    if not classifies and getattr(discriminator, "auxiliary", False):
        what = "the discriminator tells classes in a second output (condition=classifier), which no loss trains"
        fix = "set condition=projection, or train acgan, which has terms for it"
        raise ConfigError(what, fix)
    return discriminator if isinstance(discriminator, (Head, Energy)) else as_logits(discriminator)


@record
class OwnGame(GameSpec):
    """A game made in Python: run.json keeps its class name, and it has to be given again to continue."""

    kind: str = "Game"

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        raise ConfigError(f"this run plays a {self.kind} that was made in Python", "pass game= again, built as before")

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        raise ConfigError(f"this run plays a {self.kind} that was made in Python", "pass game= again, built as before")
