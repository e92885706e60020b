"""Objectives on raw scores: least squares, hinge, energies with a margin, Wasserstein."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base.errors import ConfigError
from ..base.records import record
from .base import Objective, wide


@record
class LeastSquares(Objective):
    r"""LSGAN (Mao et al. 2017, eq. 2): ``a`` codes fake, ``b`` real, ``c`` what the generator wants to be taken for.

    .. math::
        L_D = \tfrac12 E_p(h - b)^2 + \tfrac12 E_q(h - a)^2, \qquad L_G = \tfrac12 E_q(h - c)^2

    Optimum: :math:`h^* = (b p + a q)/(p + q)`. If ``b - c = 1`` and ``b - a = 2``, twice the generator's criterion,
    :math:`E_p(h^*-c)^2 + E_q(h^*-c)^2`, is :math:`\int (p-q)^2/(p+q)`, from 0 to 2. The default is the 0-1 code.

    Examples:
        >>> h = torch.zeros(4)
        >>> LeastSquares().discriminator(h, h), LeastSquares().generator(h)
        (tensor(0.5000), tensor(0.5000))
    """

    a: float = 0.0
    b: float = 1.0
    c: float = 1.0

    def __post_init__(self) -> None:
        if not self.a < self.b:
            what = f"a={self.a} (fake), b={self.b} (real): the rule is a < b, as higher scores are more real"
            raise ConfigError(what, settings={"a": 0.0, "b": 1.0})

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return (wide(real) - self.b).square().mean() / 2 + (wide(fake) - self.a).square().mean() / 2

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return (wide(fake) - self.c).square().mean() / 2

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return self.a + (self.b - self.a) * torch.sigmoid(log_ratio)


@record
class Hinge(Objective):
    r"""The hinge loss (Lim & Ye 2017; Zhang et al. 2019, eq. 4).

    .. math:: L_D = E_p[1 - h]^+ + E_q[1 + h]^+, \qquad L_G = -E_q h

    Optimum: :math:`h^* = \mathrm{sign}(p - q)` (anything in [-1, 1] where ``p = q``);
    :math:`\min L_D = 2 \int \min(p, q) = 2(1 - TV(p, q))`.

    Examples:
        >>> h = torch.zeros(4)
        >>> Hinge().discriminator(h, h), Hinge().generator(h + 2)
        (tensor(2.), tensor(-2.))
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return torch.relu(1 - wide(real)).mean() + torch.relu(1 + wide(fake)).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -wide(fake).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return torch.sign(log_ratio)


@record
class EnergyMargin(Objective):
    r"""EBGAN's losses of an energy :math:`E(x) \ge 0` with a margin (Zhao et al. 2017, eqs. 1-2), for ``h = -E``.

    .. math::
        L_D = E_p E(x) + E_q[m - E(x)]^+ = E_p[-h]^+ + E_q[m + h]^+, \qquad L_G = E_q E(x) = -E_q h

    Optimum: :math:`E^* = 0` where p > q and m where p < q (anything in [0, m] where they are equal), and
    :math:`\min L_D = m \int \min(p, q) = m\,(1 - TV(p, q))`, which is m at the equilibrium p = q. Scores above 0,
    which no energy has, cost nothing; for logits the loss is a hinge loss with its corners at 0 and -m.

    Args:
        margin: m, above 0, in the units of the energy. A recipe's energy is the norm of a reconstruction's error.

    Raises:
        ConfigError: the margin is not positive.

    Examples:
        >>> EnergyMargin(margin=2.0).discriminator(torch.tensor([-0.5]), torch.tensor([-0.5]))
        tensor(2.)
    """

    margin: float = 10.0

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return torch.relu(-wide(real)).mean() + torch.relu(self.margin + wide(fake)).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -wide(fake).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return torch.where(log_ratio < 0, -self.margin, torch.zeros_like(log_ratio))


@record
class Wasserstein(Objective):
    r"""The dual of the Wasserstein-1 distance (Arjovsky et al. 2017, eq. 2); needs a constraint or penalty on slopes.

    .. math:: L_D = E_q h - E_p h, \qquad L_G = -E_q h

    Over 1-Lipschitz scores :math:`\min L_D = -W_1(p, q)`.

    Examples:
        >>> Wasserstein().discriminator(torch.ones(4), torch.zeros(4))
        tensor(-1.)
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return wide(fake).mean() - wide(real).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -wide(fake).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        raise ConfigError(
            "Wasserstein has no optimal score at a point: a Kantorovich potential depends on both laws as a whole",
            "use theory.divergences.wasserstein_1d for the value on the line",
        )


# Mao et al. 2017: eq. 9 (the 0-1 code), eq. 8 (the generator minimises a Pearson divergence), and the 0-1 code in
# signs, which is the same game for scores shifted and doubled.
LEAST_SQUARES_BINARY = LeastSquares(a=0.0, b=1.0, c=1.0)
LEAST_SQUARES_PEARSON = LeastSquares(a=-1.0, b=1.0, c=0.0)
LEAST_SQUARES_SIGNED = LeastSquares(a=-1.0, b=1.0, c=1.0)

OBJECTIVES: dict[str, Objective] = {
    "least-squares": LEAST_SQUARES_BINARY,
    "least-squares-pearson": LEAST_SQUARES_PEARSON,
    "least-squares-signed": LEAST_SQUARES_SIGNED,
    "hinge": Hinge(),
    "energy-margin": EnergyMargin(),
    "wasserstein": Wasserstein(),
}
ALIASES = {"lsgan": "least-squares", "wgan": "wasserstein", "ebgan": "energy-margin"}
