"""Divergences between laws: the f-GAN table, and the distances that GAN theory uses.

Laws are probabilities of ``k`` atoms, or densities on a grid of ``k`` points with quadrature weights; leading axes are
a batch. Everything with a logarithm is in nats.

All terms are computed from the logarithms of the two laws, in float64, and returned in the laws' type. So ratios of
densities far out in the tails neither overflow nor become 0/0 (:func:`f_divergence_of_logs` takes the logarithms).
Where an entry is zero, the slope in this entry is defined as 0. The chain rule is then right for every differentiable
family of laws: an entry that is >= 0 everywhere and 0 here has derivative 0 here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .checks import check_laws, check_masses, check_points, check_positive

Map = Callable[[Tensor], Tensor]


def softplus(t: Tensor) -> Tensor:
    r""":math:`\log(1 + e^t)` to full precision everywhere, with all its derivatives.

    ``torch.nn.functional.softplus`` returns its argument beyond 20, an error that is visible in float64.

    Examples:
        >>> softplus(torch.tensor([-1e4, 0.0, 1e4])).tolist()
        [-0.0, 0.6931471824645996, 10000.0]
    """
    return -logsigmoid(-t)


def expm1(t: Tensor) -> Tensor:
    r""":math:`e^t - 1`, whose slope is :math:`e^t` to full precision.

    torch derives the slope of its own ``expm1`` as the result plus one, which is rounded to 0 below -37.

    Examples:
        >>> t = torch.tensor(-36.0, requires_grad=True)
        >>> torch.autograd.grad(expm1(t), t)[0], torch.autograd.grad(torch.expm1(t), t)[0]
        (tensor(2.3195e-16), tensor(0.))
    """
    return torch.where(t > -1, torch.expm1(t.clamp(min=-1)), t.clamp(max=-1).exp() - 1)


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
        excess: ``(log p, log q)``, both finite, to :math:`q\,[f(p/q) - f(1) - f'(1)(p/q - 1)] \ge 0`.
        at_zero: :math:`f(0^+)`, the cost per unit of ``q`` where ``p`` has no mass.
        at_infinity: :math:`\lim_u f(u)/u`, the cost per unit of ``p`` where ``q`` has no mass.
        slope: ``u`` to :math:`f'(u)`, the optimal ``T`` at ratio ``u = p/q``.
        conjugate: ``t`` to :math:`f^*(t)`, on the interior of its domain.
        output_map: ``v`` to :math:`g_f(v)`, increasing, from the real line into the domain of the conjugate.
        conjugate_output: ``v`` to :math:`f^*(g_f(v))`, written so that it neither overflows nor cancels.
        optimal_score: ``log(p/q)`` to the optimal ``v``.
        threshold: :math:`f'(1)`, the value of ``T`` that separates real from fake.
        at_one: :math:`f(1)`.
    """

    name: str
    excess: Callable[[Tensor, Tensor], Tensor]
    at_zero: float
    at_infinity: float
    slope: Map
    conjugate: Map
    output_map: Map
    conjugate_output: Map
    optimal_score: Map
    threshold: float
    at_one: float = 0.0

    def f(self, u: Tensor) -> Tensor:
        """The convex function itself, at ``u >= 0``.

        Examples:
            >>> F_DIVERGENCES["kl"].f(torch.tensor([0.0, 1.0]))
            tensor([0., 0.])
        """
        return self.perspective(u, torch.ones_like(u))

    def perspective(self, p: Tensor, q: Tensor) -> Tensor:
        """:math:`q f(p/q)`, with its limits where one of them is 0.

        Examples:
            >>> F_DIVERGENCES["kl"].perspective(torch.tensor([0.5, 0.0]), torch.tensor([0.25, 0.0]))
            tensor([0.3466, 0.0000])
        """
        wide_p, wide_q = _wide(p), _wide(q)
        return (_terms(self, _log(wide_p), _log(wide_q)) + _linear(self, wide_p, wide_q)).to(p.dtype)

    def contribution(self, p: Tensor, q: Tensor) -> Tensor:
        """:math:`q\\,[f(p/q) - f(1) - f'(1)(p/q - 1)]`, which is not negative, with its limits at 0.

        Examples:
            >>> F_DIVERGENCES["kl"].contribution(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 1.0]))
            tensor([0.5000, 0.0000])
        """
        return _terms(self, _log(_wide(p)), _log(_wide(q))).to(p.dtype)


def _wide(law: Tensor) -> Tensor:
    """In float64, where the device has it."""
    return law if law.device.type == "mps" else law.double()


def _log(law: Tensor) -> Tensor:
    """The logarithm; minus infinity, as a constant, where there is no mass."""
    some = law > 0
    return torch.where(some, torch.where(some, law, 1.0).log(), -torch.inf)


def _terms(row: FDivergence, log_p: Tensor, log_q: Tensor) -> Tensor:
    """The excess of each point, with its limits where a law has no mass; an infinite limit is a constant."""
    in_p, in_q = log_p > -torch.inf, log_q > -torch.inf
    both = in_p & in_q
    inside = row.excess(torch.where(both, log_p, 0.0), torch.where(both, log_q, 0.0))
    # The linear terms f(1) q + f'(1)(p - q) are not part of the excess.
    only_q = _one_sided(log_q, row.at_zero - row.at_one + row.threshold)
    only_p = _one_sided(log_p, row.at_infinity - row.threshold)
    return torch.where(both, inside, torch.where(in_q, only_q, torch.where(in_p, only_p, 0.0)))


def _one_sided(log_mass: Tensor, price: float) -> Tensor:
    return log_mass.exp() * price if math.isfinite(price) else torch.full_like(log_mass, price)


def _linear(row: FDivergence, p: Tensor, q: Tensor) -> Tensor:
    some_p, some_q = (torch.where(law > 0, law, 0.0) for law in (p, q))  # slope 0 where there is no mass
    return row.at_one * some_q + row.threshold * (some_p - some_q)


def _by_sign(r: Tensor, below: Map, above: Map) -> Tensor:
    """``below(r)`` where ``r <= 0``, ``above(r)`` elsewhere; each sees only its own side."""
    return torch.where(r > 0, above(r.clamp(min=0)), below(r.clamp(max=0)))


def _forward_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``p log(p/q) - p + q``."""
    r = log_p - log_q
    below = log_q.exp() * _by_sign(r, lambda t: t * t.exp() - expm1(t), torch.zeros_like)
    above = log_p.exp() * _by_sign(r, torch.zeros_like, lambda t: t + expm1(-t))
    return below + above


def _square(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``(p - q)^2 / q``."""
    r = log_p - log_q
    larger = torch.where(r > 0, 2 * log_p - log_q, log_q)
    return larger.exp() * expm1(-r.abs()).square()


def _hellinger(log_p: Tensor, log_q: Tensor) -> Tensor:
    r = log_p - log_q
    return torch.maximum(log_p, log_q).exp() * expm1(-r.abs() / 2).square()


def _jeffreys(log_p: Tensor, log_q: Tensor) -> Tensor:
    far = (log_p - log_q).abs()
    return torch.maximum(log_p, log_q).exp() * -expm1(-far) * far


def _shares(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``p log(2p/(p+q)) + q log(2q/(p+q))``."""
    p, q, r = log_p.exp(), log_q.exp(), log_p - log_q
    far = p * (_LOG2 + logsigmoid(r)) + q * (_LOG2 + logsigmoid(-r))
    share = (r.clamp(-1.0, 1.0) / 2).tanh()  # (p - q)/(p + q); without the rounding of log 2
    near = (p + q) / 2 * ((1 + share) * share.log1p() + (1 - share) * (-share).log1p())
    return torch.where(r.abs() < 1, near, far)


def _jeffreys_conjugate(t: Tensor) -> Tensor:
    log_w = log_lambert_w_exp(1 - t)
    return log_w.exp() + (-log_w).exp() + t - 2


_LOG2 = math.log(2)
_ROWS = (
    FDivergence(
        name="kl",
        excess=_forward_kl,
        at_zero=0.0,
        at_infinity=math.inf,
        slope=lambda u: 1 + u.log(),
        conjugate=lambda t: (t - 1).exp(),
        output_map=lambda v: v,
        conjugate_output=lambda v: (v - 1).exp(),
        optimal_score=lambda r: 1 + r,
        threshold=1.0,
    ),
    FDivergence(
        name="reverse-kl",
        excess=lambda log_p, log_q: _forward_kl(log_q, log_p),
        at_zero=math.inf,
        at_infinity=0.0,
        slope=lambda u: -1 / u,
        conjugate=lambda t: -1 - (-t).log(),
        output_map=lambda v: -(-v).exp(),
        conjugate_output=lambda v: v - 1,
        optimal_score=lambda r: r,
        threshold=-1.0,
    ),
    FDivergence(
        name="pearson",
        excess=_square,
        at_zero=1.0,
        at_infinity=math.inf,
        slope=lambda u: 2 * (u - 1),
        conjugate=lambda t: t.square() / 4 + t,
        output_map=lambda v: v,
        conjugate_output=lambda v: v.square() / 4 + v,
        optimal_score=lambda r: 2 * expm1(r),
        threshold=0.0,
    ),
    FDivergence(
        name="neyman",
        excess=lambda log_p, log_q: _square(log_q, log_p),
        at_zero=math.inf,
        at_infinity=1.0,
        slope=lambda u: 1 - u.pow(-2),
        conjugate=lambda t: 2 - 2 * (1 - t).sqrt(),
        output_map=lambda v: -expm1(-v),
        conjugate_output=lambda v: -2 * expm1(-v / 2),
        optimal_score=lambda r: 2 * r,
        threshold=0.0,
    ),
    FDivergence(
        name="squared-hellinger",
        excess=_hellinger,
        at_zero=1.0,
        at_infinity=1.0,
        slope=lambda u: 1 - u.rsqrt(),
        conjugate=lambda t: t / (1 - t),
        output_map=lambda v: -expm1(-v),
        conjugate_output=expm1,
        optimal_score=lambda r: r / 2,
        threshold=0.0,
    ),
    FDivergence(
        name="jeffreys",
        excess=_jeffreys,
        at_zero=math.inf,
        at_infinity=math.inf,
        slope=lambda u: 1 + u.log() - 1 / u,
        conjugate=_jeffreys_conjugate,
        output_map=lambda v: v,
        conjugate_output=_jeffreys_conjugate,
        optimal_score=lambda r: r - expm1(-r),
        threshold=0.0,
    ),
    FDivergence(
        name="js",
        excess=_shares,
        at_zero=_LOG2,
        at_infinity=_LOG2,
        slope=lambda u: _LOG2 + (u / (1 + u)).log(),
        conjugate=lambda t: -(2 - t.exp()).log(),
        output_map=lambda v: _LOG2 + logsigmoid(v),
        conjugate_output=lambda v: softplus(v) - _LOG2,
        optimal_score=lambda r: r,
        threshold=0.0,
    ),
    FDivergence(
        name="gan",
        excess=_shares,
        at_zero=0.0,
        at_infinity=0.0,
        slope=lambda u: (u / (1 + u)).log(),
        conjugate=lambda t: -(-expm1(t)).log(),
        output_map=logsigmoid,
        conjugate_output=softplus,
        optimal_score=lambda r: r,
        threshold=-_LOG2,
        at_one=-2 * _LOG2,
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

    def log_mix(a: float, b: float, share: Tensor, rest: Tensor) -> Tensor:
        log_a, log_b = (math.log(w) if w > 0 else -math.inf for w in (a, b))
        return torch.logaddexp(share + log_a, rest + log_b)

    def logit(ratio: Tensor) -> Tensor:
        shifted = ratio + math.log(prior / (1 - prior))
        shares = logsigmoid(shifted), logsigmoid(-shifted)
        return log_mix(real_target, fake_target, *shares) - log_mix(1 - real_target, 1 - fake_target, *shares)

    # At an infinite ratio the result is a constant; its slope would be infinity less infinity.
    infinite = log_ratio.isinf()
    return torch.where(infinite, logit(log_ratio.detach()), logit(torch.where(infinite, 0.0, log_ratio)))


def f_divergence(name: str, p: Tensor, q: Tensor, weights: Tensor | None = None) -> Tensor:
    r""":math:`D_f(p\|q) = \sum_i w_i\, q_i f(p_i/q_i)` (Nowozin et al. 2016, eq. 2).

    Where a law has no mass, the limits :math:`f(0^+)` and :math:`p \lim_u f(u)/u` are used; the result may be infinite,
    and such a term has slope 0. The sum is over :math:`q\,[f(p/q) - f(1) - f'(1)(p/q - 1)]`, whose terms are not
    negative; what is subtracted sums to the constant :math:`f(1)` for laws. So the result is never below its minimum
    :math:`f(1)`, also for nearly equal laws in float32. The slopes are those of the sum above.

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
    row, (wide_p, wide_q) = _row(name), (_wide(p), _wide(q))
    return _of_laws(row, _log(wide_p), _log(wide_q), (wide_p, wide_q), weights).to(p.dtype)


def f_divergence_of_logs(name: str, log_p: Tensor, log_q: Tensor, weights: Tensor | None = None) -> Tensor:
    r""":func:`f_divergence` of two laws that are given by their logarithms.

    A density far out in its tail rounds to 0 (in float32 beyond 14 standard deviations of a Gaussian, in float64 beyond
    38), where the ratio of two densities is lost and divergences become infinite. Their logarithms keep it.

    Args:
        name: a key of :data:`F_DIVERGENCES`.
        log_p: ``(..., k)``; minus infinity where there is no mass.
        log_q: the same shape.
        weights: quadrature weights ``(k,)``, as in :func:`f_divergence`.

    Raises:
        ValueError: as in :func:`f_divergence`.

    Examples:
        >>> x = torch.linspace(-14, 14, 2001)
        >>> logs = [-(x - mean).square() / 2 - math.log(2 * math.pi) / 2 for mean in (0.0, 1.3)]
        >>> width = torch.full_like(x, 0.014)
        >>> f_divergence_of_logs("kl", *logs, width), f_divergence("kl", logs[0].exp(), logs[1].exp(), width)
        (tensor(0.8450), tensor(inf))
    """
    row, (wide_p, wide_q) = _row(name), (_wide(log_p), _wide(log_q))
    laws = (wide_p.exp(), wide_q.exp())
    check_laws(*laws, None if weights is None else _wide(weights))
    return _of_laws(row, wide_p, wide_q, laws, weights).to(log_p.dtype)


def f_integral(name: str, p: Tensor, q: Tensor, weights: Tensor | None = None) -> Tensor:
    r""":math:`\sum_i w_i\, q_i f(p_i/q_i)` of two measures of any mass.

    It is a divergence only between laws (:func:`f_divergence`, which has the same arguments). Use it if the mass may
    vary, as in a fit whose density may partly lie outside the grid.

    Examples:
        >>> f_integral("kl", torch.tensor([1.0]), torch.tensor([2.0]))
        tensor(-0.6931)
    """
    row = _row(name)
    check_masses(p, q)
    wide_p, wide_q = _wide(p), _wide(q)
    terms = _terms(row, _log(wide_p), _log(wide_q)) + _linear(row, wide_p, wide_q)
    return _total(terms, weights).to(p.dtype)


def _row(name: str) -> FDivergence:
    if name not in F_DIVERGENCES:
        raise ValueError(f"unknown f-divergence '{name}'; known: {', '.join(F_DIVERGENCES)}")
    return F_DIVERGENCES[name]


def _of_laws(
    row: FDivergence, log_p: Tensor, log_q: Tensor, laws: tuple[Tensor, Tensor], weights: Tensor | None
) -> Tensor:
    found = _total(_terms(row, log_p, log_q), weights)
    finite = found < torch.inf
    excess = torch.where(finite, found, 0.0)
    # Of laws the linear terms sum to f(1): only their slopes are needed. Rounding may leave the range of the excess.
    slopes = _total(_linear(row, *laws), weights)
    within = excess.clamp(0.0, row.at_zero + row.at_infinity - row.at_one).detach()
    value = within + (excess - excess.detach()) + (slopes - slopes.detach()) + row.at_one
    return torch.where(finite, value, torch.inf)


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
    if points.shape != p.shape or p.ndim != 1 or not order >= 1:
        raise ValueError(f"points {tuple(points.shape)}, laws {tuple(p.shape)}, order {order}: want (k,), (k,), >= 1")
    check_points(points=points)
    points, by = points.sort()
    steps_p, steps_q = p[by].cumsum(0), q[by].cumsum(0)
    if order == 1:
        return ((steps_p - steps_q).abs()[:-1] * points.diff()).sum()
    levels = torch.cat([steps_p, steps_q]).clamp(max=1.0).sort().values
    widths = torch.diff(levels, prepend=levels.new_zeros(1))
    middle = (levels - widths / 2).detach()
    last = len(points) - 1
    gaps = [points[torch.searchsorted(steps.detach(), middle).clamp(max=last)] for steps in (steps_p, steps_q)]
    total = (widths * (gaps[0] - gaps[1]).abs().pow(order)).sum()
    apart = total > 0
    return torch.where(apart, torch.where(apart, total, 1.0).pow(1 / order), 0.0)


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
