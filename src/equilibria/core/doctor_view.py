"""The pair of networks of a game that the doctor examines: generator, discriminator, and how to call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..losses import Objective

Rows = dict[str, Tensor]


@dataclass(frozen=True)
class Examined:
    """A generator and its discriminator, in the units in which the game is trained.

    Attributes:
        generator: called ``generator(codes)``, or ``generator(codes, label)`` where ``real`` gives labels.
        discriminator: called ``discriminator(x)``, or ``discriminator(x, label)``.
        codes: ``n -> (n, …)`` fresh latent codes, from torch's global random generator.
        real: maps rows of the data to the discriminator's input and to the labels that the networks take (or None).
        objective: the adversarial losses; None if they are not an objective of :mod:`equilibria.losses`.
        call: other calling conventions, ``{"generator": fn(z, y), "discriminator": fn(x, y)}``.
        latent: the dimension of the latent codes; 0 if they are not vectors of independent numbers.
        unseen: what the doctor cannot examine, each with the reason.
        from_rows: what of the real rows generated ones are made from, where real rows serve as codes: the latent space
            is then not assessed.
    """

    generator: nn.Module
    discriminator: nn.Module
    codes: Callable[[int], Tensor]
    real: Callable[[Rows], tuple[Tensor, Tensor | None]]
    objective: Objective | None = None
    call: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    latent: int = 0
    unseen: Mapping[str, str] = field(default_factory=dict)
    from_rows: tuple[str, ...] = ()
