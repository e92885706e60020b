"""What an objective is, and the operations that several families share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from ..base.errors import ConfigError, DataError, ShapeError
from ..theory.divergences import softplus


class Objective(ABC):
    """A pair of losses, one per player; ``pairs`` says whether the generator's reads the real scores as well."""

    pairs: ClassVar[bool] = False

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss (0-dim) for the scores of real and of fake examples, ``(n, ...)`` each."""

    @abstractmethod
    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """The generator's loss (0-dim) for the scores of fake examples, and of real ones where ``pairs`` is set."""

    @abstractmethod
    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        """A score that minimises the discriminator's loss at each point, as a function of ``log(p/q)`` there.

        Raises:
            ConfigError: the minimiser is not a function of the density ratio at a point.
        """


def wide(scores: Tensor) -> Tensor:
    """Scores in float32 or wider; empty scores raise DataError."""
    if scores.numel() == 0:
        raise DataError(f"scores of shape {tuple(scores.shape)} are empty", "give at least one example of each side")
    return scores.float() if scores.dtype in (torch.bfloat16, torch.float16) else scores


def both_sides(fake: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
    """Fake and real scores of a relativistic loss; a missing side raises ConfigError."""
    if real is None:
        raise ConfigError("a relativistic generator loss got no real scores", "call generator(fake, real)")
    return wide(fake), wide(real)


def margins(fake: Tensor, real: Tensor | None) -> Tensor:
    """``h(x) - h(y)`` for real ``x`` and fake ``y``, row by row."""
    fake, real = both_sides(fake, real)
    if fake.shape != real.shape:
        sizes = f"{tuple(real.shape)} real and {tuple(fake.shape)} fake scores"
        raise ShapeError(f"{sizes} cannot be paired", "draw as many latents as there are real examples")
    return real - fake


def cross_entropy(h: Tensor, target: float) -> Tensor:
    """The mean binary cross entropy of logits ``h`` against one target in [0, 1], in nats."""
    one = target in (0.0, 1.0)  # then the other term is nothing, and would cost as much
    return (softplus(-h if target else h) if one else target * softplus(-h) + (1 - target) * softplus(h)).mean()


def check_targets(real: float, fake: float) -> None:
    """Refuse label-smoothing targets outside ``0 <= fake < real <= 1`` with ConfigError."""
    if not 0 <= fake < real <= 1:
        what = f"real_target={real}, fake_target={fake}: the rule is 0 <= fake_target < real_target <= 1"
        raise ConfigError(what, settings={"real_target": 1.0, "fake_target": 0.0})
