"""Which losses a training uses: a named objective, two callables, or unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..base.errors import ConfigError
from ..losses import OBJECTIVES, MaximumLikelihood, Minimax, NonSaturating, Objective, Wasserstein

_UNBOUNDED = (Wasserstein,)
_PROBABILISTIC = (NonSaturating, Minimax, MaximumLikelihood)


@dataclass(frozen=True)
class Declared:
    """The losses as the doctor uses them, on the discriminator's own outputs.

    Attributes:
        pair: the named objective, or None where two callables or nothing were given.
        own: ``(loss_d(real, fake), loss_g(fake))`` on the discriminator's outputs as in the user's loop.
    """

    pair: Objective | None = None
    own: tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]] | None = None

    @property
    def known(self) -> bool:
        """Whether anything was declared."""
        return self.pair is not None or self.own is not None

    @property
    def wasserstein(self) -> bool:
        """Whether the losses are linear in the scores, so that the critic must be Lipschitz."""
        if self.own is not None:
            zero, far = torch.zeros(4), torch.full((4,), 1e3)
            try:
                down, flat, up = (float(self.own[0](h, zero)) for h in (-far, zero, far))
            except (RuntimeError, ValueError):  # a loss on probabilities raises for other numbers
                return False
            return abs(down + up - 2 * flat) < 1e-3 * abs(up - down) and abs(up - down) > 1.0
        return isinstance(self.pair, _UNBOUNDED)

    @property
    def probabilistic(self) -> bool:
        """Whether scores are log-odds, so that large scores mean saturation."""
        return self.pair is None or isinstance(self.pair, _PROBABILISTIC)

    @property
    def trained(self) -> str:
        """The name of the generator's loss, if it is one of those that every check-up measures; else empty."""
        if self.own is not None:
            return ""
        return {Minimax: "saturating", NonSaturating: "nonsaturating"}.get(type(self.pair or NonSaturating()), "")

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """The generator's loss for scores; the non-saturating one if no objective was declared."""
        if self.own is not None:
            return self.own[1](fake)
        pair = self.pair or NonSaturating()
        return pair.generator(fake, real if pair.pairs else None)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss for scores."""
        if self.own is not None:
            return self.own[0](real, fake)
        return (self.pair or NonSaturating()).discriminator(real, fake)


def declared(given: Any) -> Declared:
    """The declared losses from a name of :data:`~equilibria.losses.OBJECTIVES`, an objective, two callables or None.

    Raises:
        ConfigError: an unknown name, or callables that do not return one number.

    Examples:
        >>> declared("hinge").pair
        Hinge()
    """
    if given is None:
        return Declared()
    if isinstance(given, Objective):
        return Declared(given)
    if isinstance(given, str):
        return Declared(OBJECTIVES.find(given))
    if isinstance(given, (tuple, list)) and len(given) == 2 and all(callable(f) for f in given):
        loss_d, loss_g = given
        half = torch.full((4,), 0.5)
        for value in (loss_d(half, half), loss_g(half)):
            if not isinstance(value, Tensor) or value.numel() != 1:
                raise ConfigError(
                    "a loss callable does not return one number", "objective=(loss_d(real, fake), loss_g(fake))"
                )
        return Declared(own=(loss_d, loss_g))
    raise ConfigError(f"objective of type {type(given).__name__}", "a name, or (loss_d(real, fake), loss_g(fake))")


def expects_logits(loss_d: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Whether a discriminator's loss is large for perfect *probabilities* (1 for real, 0 for fake).

    Binary cross entropy on probabilities is 0 there; with logits in place of probabilities it is log(1 + e^-1) + log 2.

    Examples:
        >>> from torch.nn.functional import binary_cross_entropy_with_logits as bce
        >>> expects_logits(lambda r, f: bce(r, torch.ones_like(r)) + bce(f, torch.zeros_like(f)))
        True
    """
    sure = torch.full((4,), 1 - 1e-6)
    with torch.no_grad():
        try:
            return float(loss_d(sure, 1 - sure)) > 0.3 and float(loss_d(1e3 * sure, -1e3 * sure)) < 1e-3
        except (RuntimeError, ValueError):  # it raises for a number that is not a probability
            return False
