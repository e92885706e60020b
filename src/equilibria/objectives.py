r"""The adversarial losses: what the discriminator and the generator each minimise, given scores.

A score :math:`h` is a logit, higher is more real; :math:`\sigma` is the logistic function and
:math:`\mathrm{sp}(t) = \log(1 + e^t)`. Losses are minimised, are means over every entry of the scores (rows, or rows
and places of a patch map), and are computed in float32 or wider. A factor 1/2 is there only if the equation shows it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from .errors import ConfigError, DataError, ShapeError, did_you_mean
from .records import record
from .theory.divergences import F_DIVERGENCES, FDivergence, optimal_logit, softplus


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


def _wide(scores: Tensor) -> Tensor:
    if scores.numel() == 0:
        raise DataError(f"scores of shape {tuple(scores.shape)} are empty", "give at least one example of each side")
    return scores.float() if scores.dtype in (torch.bfloat16, torch.float16) else scores


def _both(fake: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
    if real is None:
        raise ConfigError("a relativistic generator loss got no real scores", "call generator(fake, real)")
    return _wide(fake), _wide(real)


def _margins(fake: Tensor, real: Tensor | None) -> Tensor:
    """``h(x) - h(y)`` for real ``x`` and fake ``y``, row by row."""
    fake, real = _both(fake, real)
    if fake.shape != real.shape:
        sizes = f"{tuple(real.shape)} real and {tuple(fake.shape)} fake scores"
        raise ShapeError(f"{sizes} cannot be paired", "draw as many latents as there are real examples")
    return real - fake


def _cross_entropy(h: Tensor, target: float) -> Tensor:
    one = target in (0.0, 1.0)  # then the other term is nothing, and would cost as much
    return (softplus(-h if target else h) if one else target * softplus(-h) + (1 - target) * softplus(h)).mean()


def _check_targets(real: float, fake: float) -> None:
    if not 0 <= fake < real <= 1:
        raise ConfigError(f"targets real={real}, fake={fake}", "use 0 <= fake_target < real_target <= 1")


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
        >>> h = torch.zeros(4)
        >>> Minimax().discriminator(h, h), Minimax().generator(h)
        (tensor(1.3863), tensor(-0.6931))
    """

    real_target: float = 1.0
    fake_target: float = 0.0

    def __post_init__(self) -> None:
        _check_targets(self.real_target, self.fake_target)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return _cross_entropy(_wide(real), self.real_target) + _cross_entropy(_wide(fake), self.fake_target)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -_cross_entropy(_wide(fake), self.fake_target)

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return optimal_logit(log_ratio, self.real_target, self.fake_target)


@record
class NonSaturating(Objective):
    r"""The discriminator of :class:`Minimax`; the generator maximises the log-probability of being taken for real.

    .. math:: L_G = E_q\,\mathrm{sp}(-h) = -E_q \log D

    (Goodfellow et al. 2014, sec. 3.) With an optimal discriminator its gradient is that of
    :math:`KL(q\|p) - 2\,JSD(q, p)` (Arjovsky & Bottou 2017, Theorem 2.5). The generator's labels are not smoothed.

    Examples:
        >>> NonSaturating(real_target=0.9).generator(torch.zeros(4))
        tensor(0.6931)
    """

    real_target: float = 1.0
    fake_target: float = 0.0

    def __post_init__(self) -> None:
        _check_targets(self.real_target, self.fake_target)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return _cross_entropy(_wide(real), self.real_target) + _cross_entropy(_wide(fake), self.fake_target)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return softplus(-_wide(fake)).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return optimal_logit(log_ratio, self.real_target, self.fake_target)


@record
class MaximumLikelihood(Objective):
    r"""The discriminator of :class:`Minimax`; the generator descends :math:`KL(p\|q)` when it is optimal.

    .. math:: L_G = -E_q e^{h}

    (Goodfellow 2016, sec. 3.2.4, without its factor 1/2.) Overflows where ``exp(h)`` does.

    Examples:
        >>> MaximumLikelihood().generator(torch.zeros(4))
        tensor(-1.)
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return _cross_entropy(_wide(real), 1.0) + _cross_entropy(_wide(fake), 0.0)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -_wide(fake).exp().mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return log_ratio


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
            raise ConfigError(f"codes a={self.a} (fake), b={self.b} (real)", "use a < b: higher scores are more real")

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return (_wide(real) - self.b).square().mean() / 2 + (_wide(fake) - self.a).square().mean() / 2

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return (_wide(fake) - self.c).square().mean() / 2

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
        return torch.relu(1 - _wide(real)).mean() + torch.relu(1 + _wide(fake)).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -_wide(fake).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return torch.sign(log_ratio)


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
        return _wide(fake).mean() - _wide(real).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -_wide(fake).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        raise ConfigError(
            "Wasserstein has no optimal score at a point: a Kantorovich potential depends on both laws as a whole",
            "use theory.divergences.wasserstein_1d for the value on the line",
        )


@record
class FGan(Objective):
    r"""The variational bound of an f-divergence (Nowozin et al. 2016, eq. 6); one step of each player per turn there.

    .. math::
        L_D = -E_p\, g_f(v) + E_q\, f^*(g_f(v)), \qquad
        L_G = -E_q\, f^*(g_f(v)), \quad\text{or with the trick}\quad L_G = -E_q\, g_f(v)

    Optimum: :math:`g_f(v^*) = f'(p/q)`, :math:`\min L_D = -D_f(p\|q)`. The trick (sec. 3.2) is the non-saturating form.
    With ``"pearson"`` the conjugate is Table 2's on the whole line: it decreases for ``v < -2``, where the generator
    without the trick is pushed the wrong way.

    Examples:
        >>> FGan(divergence="gan").discriminator(torch.zeros(4), torch.zeros(4))
        tensor(1.3863)
    """

    divergence: str = "kl"
    trick: bool = False

    def __post_init__(self) -> None:
        if self.divergence not in F_DIVERGENCES:
            raise ConfigError(f"no f-divergence '{self.divergence}'", did_you_mean(self.divergence, F_DIVERGENCES))

    @property
    def row(self) -> FDivergence:
        """The divergence's row of the table."""
        return F_DIVERGENCES[self.divergence]

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return self.row.conjugate_output(_wide(fake)).mean() - self.row.output_map(_wide(real)).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        reward = self.row.output_map if self.trick else self.row.conjugate_output
        return -reward(_wide(fake)).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return self.row.optimal_score(log_ratio)


@record
class RelativisticPairing(Objective):
    r"""RpGAN: each fake is judged against a real one (Jolicoeur-Martineau 2018; Huang et al. 2024, eq. 2).

    .. math:: L_D = E\,\mathrm{sp}(h(y) - h(x)), \qquad L_G = E\,\mathrm{sp}(h(x) - h(y))

    for real ``x`` and fake ``y`` paired at random, that is, row by row. With ``saturating`` it is the zero-sum game of
    Huang et al.'s equation, :math:`L_G = -L_D`; their code, and the default here, is the swap. The optimum is
    :math:`\min L_D = \log 2 - JSD(p \times q, q \times p)`, at :math:`h^* = \log(p/q)` plus any constant: scores have
    no origin, and none of them is a probability.

    Examples:
        >>> h = torch.zeros(4)
        >>> RelativisticPairing().discriminator(h, h), RelativisticPairing().generator(h, h)
        (tensor(0.6931), tensor(0.6931))
    """

    pairs: ClassVar[bool] = True
    saturating: bool = False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-_margins(fake, real)).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        margins = _margins(fake, real)
        return -softplus(-margins).mean() if self.saturating else softplus(margins).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return log_ratio


@record
class RelativisticAverage(Objective):
    r"""RaGAN: each example is judged against the mean of the other side (Jolicoeur-Martineau 2018).

    .. math::
        L_D = E_p\,\mathrm{sp}(-(h - E_q h)) + E_q\,\mathrm{sp}(h - E_p h), \qquad
        L_G = E_q\,\mathrm{sp}(-(h - E_p h)) + E_p\,\mathrm{sp}(h - E_q h)

    Means of the batch stand for :math:`E_p h, E_q h`, so this is not a mean over rows: halves of a batch do not average
    to the whole. No factor 1/2 (the author's code has one).

    Examples:
        >>> h = torch.zeros(4)
        >>> RelativisticAverage().discriminator(h, h)
        tensor(1.3863)
    """

    pairs: ClassVar[bool] = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        fake, real = _both(fake, real)
        return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        fake, real = _both(fake, real)
        return softplus(real.mean() - fake).mean() + softplus(real - fake.mean()).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        raise ConfigError(
            "RelativisticAverage has no optimal score at a point: its means couple all points",
            "use RelativisticPairing, whose optimum is log(p/q) plus a constant",
        )


@record
class Exponential(Objective):
    r"""The exponential (boosting) loss, a proper loss whose divergence is Hellinger's.

    .. math:: L_D = E_p e^{-h} + E_q e^{h}, \qquad L_G = E_q e^{-h}, \quad\text{or saturating}\quad L_G = -E_q e^{h}

    Optimum: :math:`h^* = \tfrac12 \log(p/q)`; :math:`1 - \tfrac12 \min L_D = 1 - \int \sqrt{pq}
    = \tfrac12 \int (\sqrt p - \sqrt q)^2` (Reid & Williamson 2011). Overflows where ``exp(|h|)`` does.

    Examples:
        >>> h = torch.zeros(4)
        >>> Exponential().discriminator(h, h), Exponential().generator(h)
        (tensor(2.), tensor(1.))
    """

    saturating: bool = False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return (-_wide(real)).exp().mean() + _wide(fake).exp().mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -_wide(fake).exp().mean() if self.saturating else (-_wide(fake)).exp().mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return log_ratio / 2


# Mao et al. 2017: eq. 9 (the 0-1 code), eq. 8 (the generator minimises a Pearson divergence), and the 0-1 code in
# signs, which is the same game for scores shifted and doubled.
LEAST_SQUARES_BINARY = LeastSquares(a=0.0, b=1.0, c=1.0)
LEAST_SQUARES_PEARSON = LeastSquares(a=-1.0, b=1.0, c=0.0)
LEAST_SQUARES_SIGNED = LeastSquares(a=-1.0, b=1.0, c=1.0)

OBJECTIVES: dict[str, Objective] = {
    "minimax": Minimax(),
    "nonsaturating": NonSaturating(),
    "maximum-likelihood": MaximumLikelihood(),
    "least-squares": LEAST_SQUARES_BINARY,
    "least-squares-pearson": LEAST_SQUARES_PEARSON,
    "least-squares-signed": LEAST_SQUARES_SIGNED,
    "hinge": Hinge(),
    "wasserstein": Wasserstein(),
    **{f"f-gan-{name}": FGan(divergence=name) for name in F_DIVERGENCES},
    "relativistic-pairing": RelativisticPairing(),
    "relativistic-pairing-saturating": RelativisticPairing(saturating=True),
    "relativistic-average": RelativisticAverage(),
    "exponential": Exponential(),
}
"""Objectives by the name that the command line takes."""
