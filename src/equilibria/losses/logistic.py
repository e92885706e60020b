"""Logistic objectives: the 2014 game in its three generator losses, and the exponential loss."""

from __future__ import annotations

from torch import Tensor

from ..base.records import record
from ..theory.divergences import optimal_logit, softplus
from .base import Objective, check_targets, cross_entropy, wide


@record
class Minimax(Objective):
    r"""The zero-sum game of Goodfellow et al. 2014, eq. 1, in logits; the generator's loss saturates.

    .. math::
        L_D = E_p[\alpha\,\mathrm{sp}(-h) + (1-\alpha)\,\mathrm{sp}(h)]
            + E_q[\beta\,\mathrm{sp}(-h) + (1-\beta)\,\mathrm{sp}(h)], \qquad
        L_G = -E_q[\beta\,\mathrm{sp}(-h) + (1-\beta)\,\mathrm{sp}(h)]

    with :math:`\alpha` = ``real_target`` and :math:`\beta` = ``fake_target`` (label smoothing, Salimans et al. 2016,
    sec. 3.4; 0.9 and 0 there). Optimum: :math:`D^* = (\alpha p + \beta q)/(p + q)`; at targets 1 and 0
    :math:`\min L_D = \log 4 - 2\,JSD(p, q)`.

    Examples:
        >>> import torch
        >>> h = torch.zeros(4)
        >>> Minimax().discriminator(h, h), Minimax().generator(h)
        (tensor(1.3863), tensor(-0.6931))
    """

    real_target: float = 1.0
    fake_target: float = 0.0

    def __post_init__(self) -> None:
        check_targets(self.real_target, self.fake_target)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return cross_entropy(wide(real), self.real_target) + cross_entropy(wide(fake), self.fake_target)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -cross_entropy(wide(fake), self.fake_target)

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return optimal_logit(log_ratio, self.real_target, self.fake_target)


@record
class NonSaturating(Objective):
    r"""The discriminator of :class:`Minimax`; the generator maximises the log-probability of being taken for real.

    .. math:: L_G = E_q\,\mathrm{sp}(-h) = -E_q \log D

    (Goodfellow et al. 2014, sec. 3.) With an optimal discriminator its gradient is that of
    :math:`KL(q\|p) - 2\,JSD(q, p)` (Arjovsky & Bottou 2017, Theorem 2.5). The generator's labels are not smoothed.

    Examples:
        >>> import torch
        >>> NonSaturating(real_target=0.9).generator(torch.zeros(4))
        tensor(0.6931)
    """

    real_target: float = 1.0
    fake_target: float = 0.0

    def __post_init__(self) -> None:
        check_targets(self.real_target, self.fake_target)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return cross_entropy(wide(real), self.real_target) + cross_entropy(wide(fake), self.fake_target)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return softplus(-wide(fake)).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return optimal_logit(log_ratio, self.real_target, self.fake_target)


@record
class MaximumLikelihood(Objective):
    r"""The discriminator of :class:`Minimax`; the generator descends :math:`KL(p\|q)` when it is optimal.

    .. math:: L_G = -E_q e^{h}

    (Goodfellow 2016, sec. 3.2.4, without its factor 1/2.) Overflows where ``exp(h)`` does.

    Examples:
        >>> import torch
        >>> MaximumLikelihood().generator(torch.zeros(4))
        tensor(-1.)
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return cross_entropy(wide(real), 1.0) + cross_entropy(wide(fake), 0.0)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -wide(fake).exp().mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return log_ratio


@record
class Exponential(Objective):
    r"""The exponential (boosting) loss, a proper loss whose divergence is Hellinger's.

    .. math:: L_D = E_p e^{-h} + E_q e^{h}, \qquad L_G = E_q e^{-h}, \quad\text{or saturating}\quad L_G = -E_q e^{h}

    Optimum: :math:`h^* = \tfrac12 \log(p/q)`; :math:`1 - \tfrac12 \min L_D = 1 - \int \sqrt{pq}
    = \tfrac12 \int (\sqrt p - \sqrt q)^2` (Reid & Williamson 2011). Overflows where ``exp(|h|)`` does.

    Examples:
        >>> import torch
        >>> h = torch.zeros(4)
        >>> Exponential().discriminator(h, h), Exponential().generator(h)
        (tensor(2.), tensor(1.))
    """

    saturating: bool = False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return (-wide(real)).exp().mean() + wide(fake).exp().mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -wide(fake).exp().mean() if self.saturating else (-wide(fake)).exp().mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return log_ratio / 2


OBJECTIVES: dict[str, Objective] = {
    "minimax": Minimax(),
    "nonsaturating": NonSaturating(),
    "maximum-likelihood": MaximumLikelihood(),
    "exponential": Exponential(),
}
ALIASES = {
    "saturating": "minimax",
    "gan": "nonsaturating",
    "vanilla": "nonsaturating",
    "non-saturating": "nonsaturating",
    "logistic": "nonsaturating",
    "mle": "maximum-likelihood",
}
