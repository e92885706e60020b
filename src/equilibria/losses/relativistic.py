"""Relativistic objectives: each score is compared with scores of the other side."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ..base.errors import ConfigError
from ..base.records import record
from ..theory.divergences import softplus
from .base import Objective, both_sides, margins


@record
class RelativisticPairing(Objective):
    r"""RpGAN: each fake score is compared with a real one (Jolicoeur-Martineau 2018; Huang et al. 2024, eq. 2).

    .. math:: L_D = E\,\mathrm{sp}(h(y) - h(x)), \qquad L_G = E\,\mathrm{sp}(h(x) - h(y))

    for real ``x`` and fake ``y`` paired at random, that is, row by row. With ``saturating`` it is the zero-sum game of
    Huang et al.'s equation, :math:`L_G = -L_D`; their code, and the default here, is the swap. The optimum is
    :math:`\min L_D = \log 2 - JSD(p \times q, q \times p)`, at :math:`h^* = \log(p/q)` plus any constant: scores have
    no origin, and none of them is a probability.

    Examples:
        >>> import torch
        >>> h = torch.zeros(4)
        >>> RelativisticPairing().discriminator(h, h), RelativisticPairing().generator(h, h)
        (tensor(0.6931), tensor(0.6931))
    """

    pairs: ClassVar[bool] = True
    saturating: bool = False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-margins(fake, real)).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        gaps = margins(fake, real)
        return -softplus(-gaps).mean() if self.saturating else softplus(gaps).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return log_ratio


@record
class RelativisticAverage(Objective):
    r"""RaGAN: each score is compared with the mean of the other side (Jolicoeur-Martineau 2018).

    .. math::
        L_D = E_p\,\mathrm{sp}(-(h - E_q h)) + E_q\,\mathrm{sp}(h - E_p h), \qquad
        L_G = E_q\,\mathrm{sp}(-(h - E_p h)) + E_p\,\mathrm{sp}(h - E_q h)

    Means of the batch stand for :math:`E_p h, E_q h`, so this is not a mean over rows: halves of a batch do not average
    to the whole. No factor 1/2 (the author's code has one).

    Examples:
        >>> import torch
        >>> h = torch.zeros(4)
        >>> RelativisticAverage().discriminator(h, h)
        tensor(1.3863)
    """

    pairs: ClassVar[bool] = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        fake, real = both_sides(fake, real)
        return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        fake, real = both_sides(fake, real)
        return softplus(real.mean() - fake).mean() + softplus(real - fake.mean()).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        raise ConfigError(
            "RelativisticAverage has no optimal score at a point: its means couple all points",
            "use RelativisticPairing, whose optimum is log(p/q) plus a constant",
        )


OBJECTIVES: dict[str, Objective] = {
    "relativistic-pairing": RelativisticPairing(),
    "relativistic-pairing-saturating": RelativisticPairing(saturating=True),
    "relativistic-average": RelativisticAverage(),
}
ALIASES = {
    "relativistic": "relativistic-pairing",
    "rpgan": "relativistic-pairing",
    "ragan": "relativistic-average",
}
