r"""The value of the game of Goodfellow et al. 2014, the discriminator that maximises it, and the generator's objective.

Scores ``h`` are logits, :math:`D = \sigma(h)`, higher is more real. Laws are probabilities of ``k`` atoms, or densities
on a grid of ``k`` points with quadrature weights. Values are in nats.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .checks import check_law, check_laws, check_masses, check_positive
from .divergences import f_divergence, kl, optimal_logit, softplus

Map = Callable[[Tensor], Tensor]


def value(real: Tensor, fake: Tensor) -> Tensor:
    r"""The value of the game (Goodfellow et al. 2014, eq. 1) from logits of real and of generated examples.

    .. math:: V(D, G) = E_p \log D(x) + E_z \log(1 - D(G(z))) = -E_p\,\mathrm{sp}(-h) - E_q\,\mathrm{sp}(h)

    finite for every logit. The discriminator ascends it; the generator descends its second term.

    E1: some texts print ``1 - log D(G(z))`` instead of ``log(1 - D(G(z)))``. Then no optimal discriminator exists:
    :math:`p \log D + q(1 - \log D)` grows without bound as ``D`` goes to 0 wherever ``q > p``. E3: ``V`` increases in
    :math:`D(x)` and decreases in :math:`D(G(z))`, not the reverse.

    Args:
        real: logits, any shape.
        fake: logits, any shape.

    Raises:
        ValueError: a side is empty.

    Examples:
        >>> value(torch.zeros(3), torch.zeros(2)), value(torch.full((3,), -1e4), torch.full((2,), 1e4))
        (tensor(-1.3863), tensor(-20000.))
    """
    _check_sides(real, fake)
    return -softplus(-real).mean() - softplus(fake).mean()


def value_of_laws(logit: Tensor, p: Tensor, q: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""The value of a discriminator between two laws, :math:`-\sum w\,[p\,\mathrm{sp}(-h) + q\,\mathrm{sp}(h)]`.

    Args:
        logit: ``h`` at each point, ``(..., k)``; an optimal one is infinite where one law has no mass.
        p: ``(..., k)``.
        q: ``(..., k)``.
        weights: quadrature weights ``(k,)`` where ``p`` and ``q`` are densities.

    Raises:
        ValueError: the shapes do not fit, or a law does not sum (or integrate) to 1.

    Examples:
        >>> p = torch.tensor([0.5, 0.5])
        >>> value_of_laws(torch.zeros(2), p, p)
        tensor(-1.3863)
    """
    if p.shape != q.shape or logit.shape[-1:] != p.shape[-1:]:
        raise ValueError(f"logits {tuple(logit.shape)}, laws {tuple(p.shape)}, {tuple(q.shape)}; want one (..., k)")
    check_laws(p, q, weights)
    # The inner choice keeps infinite logits out of the branch that is not used: its slope would be 0 times infinity.
    terms = p * softplus(torch.where(p > 0, -logit, 0.0)) + q * softplus(torch.where(q > 0, logit, 0.0))
    return -(terms if weights is None else terms * weights).sum(-1)


def optimal_discriminator(
    p: Tensor, q: Tensor, real_target: float = 1.0, fake_target: float = 0.0, prior: float = 0.5
) -> Tensor:
    r"""The logit of the discriminator that maximises the value (Goodfellow et al. 2014, Prop. 1).

    .. math:: D^* = \frac{\alpha\pi p + \beta(1-\pi)q}{\pi p + (1-\pi)q}

    with labels :math:`\alpha, \beta` and the share :math:`\pi` of real examples (the posterior :math:`p/(p+q)` needs
    equal shares, E58). For :math:`a, b \ge 0`, not both 0, :math:`a \log y + b \log(1-y)` is largest at
    :math:`a/(a+b)` (E52: printed for all real ``a, b``). It needs no inverse of ``G``:
    :math:`E_z \phi(G(z)) = E_q \phi` for any ``G`` (E20: printed with ``z = G^{-1}(x)``, which does not exist if the
    latent space has another dimension, and with a wrong Jacobian). Where neither law has mass every value is optimal;
    the logit 0 is returned there.

    Args:
        p: densities or probabilities, any shape.
        q: the same shape.
        real_target: in [0, 1].
        fake_target: in [0, 1].
        prior: in (0, 1).

    Raises:
        ValueError: shapes differ, an entry is negative, or a target or the prior is out of range.

    Examples:
        >>> optimal_discriminator(torch.tensor([3.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])).sigmoid()
        tensor([0.7500, 1.0000, 0.5000])
    """
    if p.shape != q.shape or not bool((p >= 0).all() and (q >= 0).all()):
        raise ValueError(f"densities {tuple(p.shape)} and {tuple(q.shape)}; want one shape and entries >= 0")
    nowhere = (p == 0) & (q == 0)
    ratio = _log(torch.where(nowhere, 1.0, p)) - _log(torch.where(nowhere, 1.0, q))
    found = optimal_logit(ratio, real_target, fake_target, prior)
    return torch.where(nowhere, torch.zeros_like(found), found)


def optimal_conditional_discriminator(
    p: Tensor, q: Tensor, real_shares: Tensor | None = None, fake_shares: Tensor | None = None
) -> Tensor:
    r"""The optimal logit of a discriminator that sees the label, per label and point.

    .. math:: h^*(x, y) = \log \frac{p(x|y)\,p(y)}{q(x|y)\,q(y)}

    for :math:`E_{p(x,y)} \log D(x,y) + E_{q(x,y)} \log(1 - D(x,y))` (Mirza & Osindero 2014, eq. 2, with ``D``
    conditioned in both terms; E25: printed as ``D(G(z|y))``, where the label of a fake has no effect). If fakes are
    generated for the labels of the data, the shares cancel.

    Args:
        p: :math:`p(x|y)`, ``(c, k)``.
        q: :math:`q(x|y)`, ``(c, k)``.
        real_shares: :math:`p(y)`, ``(c,)``; equal if not given.
        fake_shares: :math:`q(y)`, ``(c,)``; the shares of the data if not given.

    Raises:
        ValueError: the shapes do not fit, an entry is negative, or given shares do not sum to 1.

    Examples:
        >>> p, q = torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([[0.25, 0.75], [1.0, 0.0]])
        >>> optimal_conditional_discriminator(p, q).exp()
        tensor([[2.0000, 0.6667],
                [1.0000, 1.0000]])
    """
    real = p.new_ones(len(p)) if real_shares is None else real_shares
    fake = real if fake_shares is None else fake_shares
    if p.ndim != 2 or real.shape != p.shape[:1] or fake.shape != p.shape[:1]:
        raise ValueError(
            f"laws {tuple(p.shape)}, shares {tuple(real.shape)}, {tuple(fake.shape)}; want (c, k) and (c,)"
        )
    for name, shares in (("real_shares", real_shares), ("fake_shares", fake_shares)):
        if shares is not None:
            check_law(shares, name)
    return optimal_discriminator(p * real[:, None], q * fake[:, None])


def pointwise_optimum(real_loss: Map, fake_loss: Map, p: Tensor, q: Tensor, reach: float = 60.0) -> Tensor:
    r"""The score that minimises any separable discriminator's loss at each point, by bisection on its derivative.

    .. math:: h^*(x) = \arg\min_h\; p(x)\,\ell_{real}(h) + q(x)\,\ell_{fake}(h)

    for losses whose sum is convex in ``h``. It uses no closed form, so it is an independent check of every objective's
    ``optimal_score``. If the minimisers form an interval (hinge, ``p = q``) it returns one of them.

    Args:
        real_loss: elementwise, the loss of a real example's score.
        fake_loss: elementwise, the loss of a fake example's score.
        p: densities, any shape.
        q: the same shape.
        reach: scores are sought in ``[-reach, reach]``; an end is returned if the minimum is beyond it.

    Raises:
        ValueError: shapes differ, an entry is negative, or ``reach`` is not positive.

    Examples:
        >>> p, q = torch.tensor([0.6]), torch.tensor([0.2])
        >>> pointwise_optimum(lambda h: (h - 1) ** 2, lambda h: h**2, p, q)
        tensor([0.7500])
    """
    check_masses(p, q)
    check_positive(reach=reach)

    def slope(h: Tensor) -> Tensor:
        found: Tensor = torch.func.grad(lambda at: (p * real_loss(at) + q * fake_loss(at)).sum())(h)
        return found

    low, high = torch.full_like(p, -reach), torch.full_like(p, reach)
    for _ in range(80):
        middle = (low + high) / 2
        rising = slope(middle) > 0
        low, high = torch.where(rising, low, middle), torch.where(rising, middle, high)
    return (low + high) / 2


def virtual_criterion(p: Tensor, q: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""The generator's objective against an optimal discriminator (Goodfellow et al. 2014, Theorem 1).

    .. math:: C(G) = \max_D V(D, G) = -\log 4 + KL(p\|m) + KL(q\|m) = -\log 4 + 2\,JSD(p, q), \quad m = \tfrac12(p+q)

    It ranges from :math:`-\log 4`, reached exactly at ``p = q``, to 0, reached by laws with disjoint supports, where it
    is constant and its gradient is zero. It is computed as
    :math:`\sum p \log\frac{p}{p+q} + q \log\frac{q}{p+q}`, whose slope in :math:`q` is :math:`\log\frac{q}{p+q}`,
    and 0 in an entry without mass (:mod:`~equilibria.theory.divergences`).

    Arguments and errors as in :func:`~equilibria.theory.divergences.f_divergence`.

    Examples:
        >>> p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.0, 0.0, 1.0])
        >>> abs(virtual_criterion(p, q).item()) < 1e-6, virtual_criterion(p, p)
        (True, tensor(-1.3863))
    """
    return f_divergence("gan", p, q, weights)


def density_descent(p: Tensor, q: Tensor, steps: int, rate: float = 0.5) -> Tensor:
    r"""Descent on the virtual criterion in the space of laws, with an optimal discriminator at each step.

    .. math:: q \leftarrow q\, e^{-\eta\, g} / Z, \qquad g = \log(1 - D^*) = \log \frac{q}{p + q}

    (Goodfellow et al. 2014, Prop. 2, by exponentiated gradient.) The value is linear in ``q`` for each ``D``, its
    maximum over ``D`` is convex in ``q``, and its gradient at the maximising ``D`` is a subgradient of the maximum; so
    it converges to ``p`` if the initial ``q`` has mass wherever ``p`` has.

    E12, E40, E56: nothing follows for the parameters of a network (the criterion is not convex in them), for large
    steps, or for a discriminator that is not optimal.

    Args:
        p: probabilities ``(k,)``.
        q: initial law, ``(k,)``.
        steps: number of steps.
        rate: :math:`\eta` in (0, 1]; 1 replaces ``q`` by the mean of ``p`` and ``q``.

    Returns:
        All laws of the descent, ``(steps + 1, k)``, with the initial one first.

    Raises:
        ValueError: the rate is out of range, ``q`` misses mass of ``p``, or they are not laws.

    Examples:
        >>> density_descent(torch.tensor([0.9, 0.1]), torch.tensor([0.5, 0.5]), steps=40)[-1]
        tensor([0.9000, 0.1000])
    """
    if not 0 < rate <= 1 or steps < 0 or p.ndim != 1:
        raise ValueError(f"rate {rate}, steps {steps}, laws {tuple(p.shape)}; want a rate in (0, 1], steps >= 0, (k,)")
    if not bool(torch.isfinite(kl(p, q))):
        raise ValueError("q has no mass at an atom of p, and multiplicative steps keep it at zero; start with q > 0")
    path = [q]
    for _ in range(steps):
        q = path[-1]
        grown = torch.where(q > 0, q * ((p + q) / torch.where(q > 0, q, torch.ones_like(q))) ** rate, 0.0)
        path.append(grown / grown.sum())
    return torch.stack(path)


def nagarajan_kolter_value(f: Map, real: Tensor, fake: Tensor) -> Tensor:
    r"""The value in the form of Nagarajan & Kolter 2017: :math:`V = E_p f(h) + E_q f(-h)`, for real-valued ``h``.

    :math:`f(t) = \log\sigma(t)` gives :func:`value`, :math:`f(t) = t` gives the Wasserstein value. A discriminator that
    cannot separate the laws has ``h = 0``.

    Raises:
        ValueError: a side is empty.

    Examples:
        >>> nagarajan_kolter_value(torch.nn.functional.logsigmoid, torch.zeros(2), torch.zeros(2))
        tensor(-1.3863)
    """
    _check_sides(real, fake)
    return f(real).mean() + f(-fake).mean()


def slopes_at_zero(f: Map) -> tuple[float, float]:
    r""":math:`(f'(0), f''(0))`, which determine the stability of the equilibrium.

    Nagarajan & Kolter 2017 need :math:`f'(0) \ne 0` and :math:`f''(0) < 0`; concavity alone is not enough (E26).

    Examples:
        >>> slopes_at_zero(torch.nn.functional.logsigmoid), slopes_at_zero(lambda t: 1 * t)
        ((0.5, -0.25), (1.0, 0.0))
    """
    first = torch.func.grad(lambda t: f(t).sum())
    zero = torch.zeros((), dtype=torch.float64)
    return float(first(zero)), float(torch.func.grad(first)(zero))


def js_smoothing(real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]) -> Tensor:
    r"""The first-order effect of input noise on the discriminator's value (Roth et al. 2017).

    .. math:: V_\gamma = V - \tfrac{\gamma}{2}\,\Omega + O(\gamma^2), \qquad
        \Omega = E_p (1-D)^2 \|\nabla_x h\|^2 + E_q D^2 \|\nabla_x h\|^2

    where :math:`V_\gamma` has Gaussian noise of variance :math:`\gamma` on real and fake inputs and ``D`` is optimal
    for the clean laws; for another ``D`` the Laplacian of ``h`` remains as well:
    :math:`\Omega = E_p[D(1-D)\|\nabla h\|^2 - (1-D)\Delta h] + E_q[D(1-D)\|\nabla h\|^2 + D\Delta h]`.

    Args:
        real: logits ``(n,)`` and slopes ``(n, ...)`` at real points.
        fake: the same at fake points.

    Returns:
        :math:`\Omega`, 0-dim; R1 and R2 are its two terms without their weights.

    Raises:
        ValueError: logits and slopes do not fit.

    Examples:
        >>> side = (torch.zeros(2), torch.ones(2, 3))
        >>> js_smoothing(side, side)
        tensor(1.5000)
    """
    for logit, slope in (real, fake):
        if logit.ndim != 1 or len(slope) != len(logit):
            raise ValueError(f"logits {tuple(logit.shape)} with slopes {tuple(slope.shape)}; want (n,) and (n, ...)")
    squares = [slope.square().flatten(1).sum(1) for _, slope in (real, fake)]
    doubt, trust = torch.sigmoid(-real[0]).square(), torch.sigmoid(fake[0]).square()
    return (doubt * squares[0]).mean() + (trust * squares[1]).mean()


def _log(law: Tensor) -> Tensor:
    """The logarithm; minus infinity, as a constant, where there is no mass."""
    some = law > 0
    return torch.where(some, torch.where(some, law, 1.0).log(), -torch.inf)


def _check_sides(real: Tensor, fake: Tensor) -> None:
    if not real.numel() or not fake.numel():
        raise ValueError(f"{real.numel()} real and {fake.numel()} fake logits; want at least one of each")
