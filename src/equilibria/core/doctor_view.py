"""What a doctor may look at in a game: who makes points, who judges them, and how they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..losses import Objective

Rows = dict[str, Tensor]


@dataclass(frozen=True)
class Examined:
    """A generator and the discriminator that judges it, in the units that the game is played in.

    Attributes:
        generator: called ``generator(codes)``, or ``generator(codes, label)`` where ``real`` gives labels.
        discriminator: called ``discriminator(x)``, or ``discriminator(x, label)``.
        codes: ``n -> (n, …)`` fresh codes, from the global generator.
        real: what the discriminator is fed for rows of the data, and their labels as the networks take them, or None.
        objective: the adversarial losses; None where they are not a pair of ours.
        call: other calling conventions, ``{"generator": fn(z, y), "discriminator": fn(x, y)}``.
        latent: the size of the codes; 0 where they are no vectors of independent numbers.
        unseen: what is not looked at, and why.
    """

    generator: nn.Module
    discriminator: nn.Module
    codes: Callable[[int], Tensor]
    real: Callable[[Rows], tuple[Tensor, Tensor | None]]
    objective: Objective | None = None
    call: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    latent: int = 0
    unseen: Mapping[str, str] = field(default_factory=dict)
