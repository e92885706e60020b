"""Divergences between laws: the f-GAN table, and the distances that GAN theory uses.

Laws are probabilities of ``k`` atoms, or densities on a grid of ``k`` points with quadrature weights; leading axes are
a batch. Everything with a logarithm is in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .checks import check_laws, check_masses, check_positive

Map = Callable[[Tensor], Tensor]


def softplus(t: Tensor) -> Tensor:
    r""":math:`\log(1 + e^t)` to full precision everywhere, with all its derivatives.

    ``torch.nn.functional.softplus`` returns its argument beyond 20, an error that is visible in float64.

    Examples:
        >>> softplus(torch.tensor([-1e4, 0.0, 1e4])).tolist()
        [-0.0, 0.6931471824645996, 10000.0]
    """
    return -logsigmoid(-t)


def log_lambert_w_exp(y: Tensor) -> Tensor:
    r""":math:`\log W(e^y)`, where :math:`W` is the principal branch of Lambert's function.

    It solves :math:`u + e^u = y`, so it is finite where :math:`e^y` overflows. Newton's iterates decrease monotonically
    to the root because the start lies above it (the left side is increasing and convex). They are differentiable
    operations, so derivatives of every order are those of the root.

    Args:
        y: any shape.

    Examples:
        >>> log_lambert_w_exp(torch.tensor([1.0, 1e4 + 9.210340371976184])).exp()
        tensor([1.0000e+00, 1.0000e+04])
    """
    u = torch.where(y < 1, y, y.clamp(min=1).log())
    for _ in range(8):
        slope = u.exp() + 1
        u = u - (slope - 1 + u - y) / slope
    return u


@dataclass(frozen=True)
class FDivergence:
    r"""One row of the table of f-divergences (Nowozin et al. 2016, Tables 1 and 2 and appendix).

    .. math:: D_f(p\|q) = E_q f(p/q) = \sup_T E_p T - E_q f^*(T), \qquad T = g_f(v)

    Attributes:
        name: kebab-case.
        perspective: ``(p, q)`` to :math:`q f(p/q)`, with its limits where one of them is 0.
        slope: ``u`` to :math:`f'(u)`, the optimal ``T`` at ratio ``u = p/q``.
        conjugate: ``t`` to :math:`f^*(t)`, on the interior of its domain.
        output_map: ``v`` to :math:`g_f(v)`, increasing, from the real line into the domain of the conjugate.
        conjugate_output: ``v`` to :math:`f^*(g_f(v))`, written so that it neither overflows nor cancels.
        optimal_score: ``log(p/q)`` to the optimal ``v``.
        threshold: :math:`f'(1)`, the value of ``T`` that separates real from fake.
    """

    name: str
    perspective: Callable[[Tensor, Tensor], Tensor]
    slope: Map
    conjugate: Map
    output_map: Map
    conjugate_output: Map
    optimal_score: Map
    threshold: float

    def f(self, u: Tensor) -> Tensor:
        """The convex function itself, at ``u >= 0``.

        Examples:
            >>> F_DIVERGENCES["kl"].f(torch.tensor([0.0, 1.0]))
            tensor([0., 0.])
        """
        return self.perspective(u, torch.ones_like(u))


def _shares(p: Tensor, q: Tensor, scale: float) -> Tensor:
    """``p log(scale p/(p+q)) + q log(scale q/(p+q))``."""
    return torch.xlogy(p, scale * p / (p + q)) + torch.xlogy(q, scale * q / (p + q))


def _jeffreys_conjugate(t: Tensor) -> Tensor:
    log_w = log_lambert_w_exp(1 - t)
    return log_w.exp() + (-log_w).exp() + t - 2


_LOG2 = math.log(2)
_ROWS = (
    FDivergence(
        name="kl",
        perspective=lambda p, q: torch.xlogy(p, p / q),
        slope=lambda u: 1 + u.log(),
        conjugate=lambda t: (t - 1).exp(),
        output_map=lambda v: v,
        conjugate_output=lambda v: (v - 1).exp(),
        optimal_score=lambda r: 1 + r,
        threshold=1.0,
    ),
    FDivergence(
        name="reverse-kl",
        perspective=lambda p, q: torch.xlogy(q, q / p),
        slope=lambda u: -1 / u,
        conjugate=lambda t: -1 - (-t).log(),
        output_map=lambda v: -(-v).exp(),
        conjugate_output=lambda v: v - 1,
        optimal_score=lambda r: r,
        threshold=-1.0,
    ),
    FDivergence(
        name="pearson",
        perspective=lambda p, q: (p - q).square() / q,
        slope=lambda u: 2 * (u - 1),
        conjugate=lambda t: t.square() / 4 + t,
        output_map=lambda v: v,
        conjugate_output=lambda v: v.square() / 4 + v,
        optimal_score=lambda r: 2 * r.expm1(),
        threshold=0.0,
    ),
    FDivergence(
        name="neyman",
        perspective=lambda p, q: (p - q).square() / p,
        slope=lambda u: 1 - u.pow(-2),
        conjugate=lambda t: 2 - 2 * (1 - t).sqrt(),
        output_map=lambda v: -(-v).expm1(),
        conjugate_output=lambda v: -2 * (-v / 2).expm1(),
        optimal_score=lambda r: 2 * r,
        threshold=0.0,
    ),
    FDivergence(
        name="squared-hellinger",
        perspective=lambda p, q: (p.sqrt() - q.sqrt()).square(),
        slope=lambda u: 1 - u.rsqrt(),
        conjugate=lambda t: t / (1 - t),
        output_map=lambda v: -(-v).expm1(),
        conjugate_output=lambda v: v.expm1(),
        optimal_score=lambda r: r / 2,
        threshold=0.0,
    ),
    FDivergence(
        name="jeffreys",
        perspective=lambda p, q: (p - q) * (p / q).log(),
        slope=lambda u: 1 + u.log() - 1 / u,
        conjugate=_jeffreys_conjugate,
        output_map=lambda v: v,
        conjugate_output=_jeffreys_conjugate,
        optimal_score=lambda r: r - (-r).expm1(),
        threshold=0.0,
    ),
    FDivergence(
        name="js",
        perspective=lambda p, q: _shares(p, q, 2.0),
        slope=lambda u: _LOG2 + (u / (1 + u)).log(),
        conjugate=lambda t: -(2 - t.exp()).log(),
        output_map=lambda v: _LOG2 + logsigmoid(v),
        conjugate_output=lambda v: softplus(v) - _LOG2,
        optimal_score=lambda r: r,
        threshold=0.0,
    ),
    FDivergence(
        name="gan",
        perspective=lambda p, q: _shares(p, q, 1.0),
        slope=lambda u: (u / (1 + u)).log(),
        conjugate=lambda t: -(-t.expm1()).log(),
        output_map=logsigmoid,
        conjugate_output=softplus,
        optimal_score=lambda r: r,
        threshold=-_LOG2,
    ),
)
F_DIVERGENCES: dict[str, FDivergence] = {row.name: row for row in _ROWS}


def optimal_logit(log_ratio: Tensor, real_target: float = 1.0, fake_target: float = 0.0, prior: float = 0.5) -> Tensor:
    r"""The logit of the discriminator that is optimal for the logistic loss (Goodfellow et al. 2014, Proposition 1).

    .. math:: D^* = \frac{\alpha \pi p + \beta (1 - \pi) q}{\pi p + (1 - \pi) q}

    with smoothed labels :math:`\alpha` = ``real_target``, :math:`\beta` = ``fake_target``, and the share :math:`\pi` =
    ``prior`` of real examples. Without smoothing it is ``log(p/q) + logit(prior)``. Infinite ratios are allowed.

    Args:
        log_ratio: ``log(p/q)``, any shape.
        real_target: in [0, 1].
        fake_target: in [0, 1].
        prior: in (0, 1).

    Raises:
        ValueError: a target or the prior is out of range.

    Examples:
        >>> optimal_logit(torch.tensor([0.0, torch.inf]), real_target=0.9).sigmoid()
        tensor([0.4500, 0.9000])
    """
    if not (0 <= real_target <= 1 and 0 <= fake_target <= 1 and 0 < prior < 1):
        raise ValueError(f"targets {real_target} and {fake_target} must be in [0, 1], the prior {prior} in (0, 1)")
    shifted = log_ratio + math.log(prior / (1 - prior))
    log_share, log_rest = logsigmoid(shifted), logsigmoid(-shifted)

    def log_mix(a: float, b: float) -> Tensor:
        log_a, log_b = (math.log(w) if w > 0 else -math.inf for w in (a, b))
        return torch.logaddexp(log_share + log_a, log_rest + log_b)

    return log_mix(real_target, fake_target) - log_mix(1 - real_target, 1 - fake_target)


def f_divergence(name: str, p: Tensor, q: Tensor, weights: Tensor | None = None) -> Tensor:
    r""":math:`D_f(p\|q) = \sum_i w_i\, q_i f(p_i/q_i)` (Nowozin et al. 2016, eq. 2).

    Where a law has no mass, the limits :math:`f(0^+)` and :math:`p \lim_u f(u)/u` are used; the result may be infinite.

    Args:
        name: a key of :data:`F_DIVERGENCES`.
        p: probabilities or densities ``(..., k)``.
        q: the same shape.
        weights: quadrature weights ``(k,)``; without them ``p`` and ``q`` are probabilities and must sum to 1.

    Returns:
        ``(...)``. In nats for the rows with a logarithm. ``"js"`` is twice the Jensen-Shannon divergence; ``"gan"`` is
        ``"js"`` minus ``log 4``.

    Raises:
        ValueError: unknown name, other shapes, negative entries, or laws that do not sum (or integrate) to 1.

    Examples:
        >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
        >>> round(f_divergence("pearson", p, q).item(), 6)
        0.333333
    """
    check_laws(p, q, weights)
    return f_integral(name, p, q, weights)


def f_integral(name: str, p: Tensor, q: Tensor, weights: Tensor | None = None) -> Tensor:
    r""":math:`\sum_i w_i\, q_i f(p_i/q_i)` of two measures of any mass.

    It is a divergence only between laws (:func:`f_divergence`, which has the same arguments). Use it if the mass may
    vary, as in a fit whose density may partly lie outside the grid.

    Examples:
        >>> f_integral("kl", torch.tensor([1.0]), torch.tensor([2.0]))
        tensor(-0.6931)
    """
    if name not in F_DIVERGENCES:
        raise ValueError(f"unknown f-divergence '{name}'; known: {', '.join(F_DIVERGENCES)}")
    check_masses(p, q)
    nowhere = (p == 0) & (q == 0)
    one = torch.ones_like(p)
    terms = F_DIVERGENCES[name].perspective(torch.where(nowhere, one, p), torch.where(nowhere, one, q))
    return _total(torch.where(nowhere, torch.zeros_like(terms), terms), weights)


def kl(p: Tensor, q: Tensor, weights: Tensor | None = None) -> Tensor:
    r""":math:`KL(p\|q) = \sum p \log(p/q)` in nats; infinite where ``q`` misses mass of ``p``.

    Arguments and errors as in :func:`f_divergence`.

    Examples:
        >>> kl(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))
        tensor(0.6931)
    """
    return f_divergence("kl", p, q, weights)


def js(p: Tensor, q: Tensor, weights: Tensor | None = None) -> Tensor:
    r""":math:`\tfrac12 KL(p\|m) + \tfrac12 KL(q\|m)`, ``m = (p+q)/2``, in nats: from 0 to ``log 2``.

    Arguments and errors as in :func:`f_divergence`.

    Examples:
        >>> js(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
        tensor(0.6931)
    """
    return f_divergence("js", p, q, weights) / 2


def chi2(p: Tensor, q: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Pearson's :math:`\chi^2(p\|q) = \sum (p-q)^2/q`.

    Arguments and errors as in :func:`f_divergence`.

    Examples:
        >>> round(chi2(torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])).item(), 6)
        0.333333
    """
    return f_divergence("pearson", p, q, weights)


def total_variation(p: Tensor, q: Tensor, weights: Tensor | None = None) -> Tensor:
    r""":math:`\tfrac12 \sum |p - q|`, from 0 to 1.

    Arguments and errors as in :func:`f_divergence`.

    Examples:
        >>> total_variation(torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75]))
        tensor(0.2500)
    """
    check_laws(p, q, weights)
    return _total((p - q).abs(), weights) / 2


def wasserstein_1d(p: Tensor, q: Tensor, points: Tensor, order: float = 1.0) -> Tensor:
    r"""The Wasserstein distance of two laws on the same points of the line.

    .. math:: W_r(p, q) = \Big( \int_0^1 |F_p^{-1}(s) - F_q^{-1}(s)|^r \, ds \Big)^{1/r}

    The integral is exact: both quantile functions are steps, and the sum runs over the pieces where both are constant.

    Args:
        p: probabilities ``(k,)``.
        q: probabilities ``(k,)``.
        points: positions of the atoms, ``(k,)``, in any order.
        order: ``r >= 1``.

    Raises:
        ValueError: the laws or the points do not fit each other, or ``order < 1``.

    Examples:
        >>> wasserstein_1d(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.0, 3.0]))
        tensor(3.)
    """
    check_laws(p, q)
    if points.shape != p.shape or p.ndim != 1 or order < 1:
        raise ValueError(f"points {tuple(points.shape)}, laws {tuple(p.shape)}, order {order}: want (k,), (k,), >= 1")
    points, by = points.sort()
    steps_p, steps_q = p[by].cumsum(0), q[by].cumsum(0)
    if order == 1:
        return ((steps_p - steps_q).abs()[:-1] * points.diff()).sum()
    levels = torch.cat([steps_p, steps_q]).clamp(max=1.0).sort().values
    widths = torch.diff(levels, prepend=levels.new_zeros(1))
    middle = (levels - widths / 2).detach()
    last = len(points) - 1
    gaps = [points[torch.searchsorted(steps.detach(), middle).clamp(max=last)] for steps in (steps_p, steps_q)]
    return (widths * (gaps[0] - gaps[1]).abs().pow(order)).sum().pow(1 / order)


def energy_value(p: Tensor, q: Tensor, margin: float, weights: Tensor | None = None) -> Tensor:
    r"""The least value of EBGAN's discriminator loss over all energies: :math:`m (1 - TV(p, q))`.

    .. math:: \min_{D \ge 0} E_p D + E_q [m - D]^+

    (Zhao et al. 2017; the minimiser is 0 where ``p >= q`` and ``m`` elsewhere). Errors as in :func:`f_divergence`, and
    for a margin that is not positive.

    Examples:
        >>> energy_value(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5]), margin=10.0)
        tensor(10.)
    """
    check_positive(margin=margin)
    return margin * (1 - total_variation(p, q, weights))


def _total(terms: Tensor, weights: Tensor | None) -> Tensor:
    return (terms if weights is None else terms * weights).sum(-1)
