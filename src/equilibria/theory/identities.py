r"""Exact identities between losses, gradients and divergences.

Laws are probabilities of ``k`` atoms, or densities on a grid with quadrature weights. Everything is in nats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .checks import CLOSE, check_law, check_laws, check_masses, check_positive
from .divergences import F_DIVERGENCES, f_divergence_of_logs, js, kl, softplus

LogDensity = Callable[[Tensor, Tensor], Tensor]


class GeneratorGradients(NamedTuple):
    """Gradients at one parameter, each with its shape. Without sampling noise the first two equal the last two.

    Attributes:
        saturating: gradient of ``E log(1 - D*)``.
        nonsaturating: gradient of ``E[-log D*]``.
        two_js: gradient of ``2 JSD(q, p)``.
        reverse_kl_less_two_js: gradient of ``KL(q || p) - 2 JSD(q, p)``.
    """

    saturating: Tensor
    nonsaturating: Tensor
    two_js: Tensor
    reverse_kl_less_two_js: Tensor


def generator_gradients(
    log_real: Tensor, log_model: LogDensity, theta: Tensor, points: Tensor, weights: Tensor
) -> GeneratorGradients:
    r"""The gradients of the generator's two losses at an optimal, frozen discriminator (A&B 2017, Theorem 2.5).

    .. math::
        E_z[\nabla_\theta \log(1 - D^*(g_\theta(z)))] = 2 \nabla_\theta JSD(q_\theta, p)

        E_z[-\nabla_\theta \log D^*(g_\theta(z))] = \nabla_\theta [KL(q_\theta\|p) - 2 JSD(q_\theta, p)]

    Assumptions: ``p`` and ``q`` are continuous densities, positive on the grid, and :math:`D^* = p/(p + q_{\theta_0})`
    is fixed at :math:`\theta_0`. So :math:`-\log D` descends a *reverse* KL, which is large for unrealistic samples and
    small for dropped modes, minus a JSD, which has the wrong sign. It is not "maximising a concave function instead of
    minimising a convex one" (E14): for a frozen ``D`` both losses are linear in ``q``.

    Expectations are integrals over the grid, :math:`E_z \phi(g_\theta(z)) = \int \phi\, q_\theta`. The push-forward
    needs no inverse of ``g`` (printed proofs invert it, E20). Everything is computed from the logarithms, so densities
    may round to 0 in the tails. If the model has mass where the data have none (a logarithm of minus infinity), the
    reverse KL and :math:`-\log D^*` are infinite, and their two gradients are NaN.

    Args:
        log_real: :math:`\log p` at the points, ``(k,)``.
        log_model: maps ``(theta, points)`` to :math:`\log q_\theta`, ``(k,)``.
        theta: parameters, any shape.
        points: the grid, ``(k,)`` or ``(k, d)``.
        weights: quadrature weights, ``(k,)``.

    Raises:
        ValueError: shapes that do not fit, or densities whose integral over the grid is not 1.

    Examples:
        N(0, 1) against N(1.3, 1).

        >>> import math
        >>> x = torch.linspace(-12, 12, 2001, dtype=torch.float64)
        >>> log_q = lambda mean, x: -(x - mean).square() / 2 - math.log(2 * math.pi) / 2
        >>> found = generator_gradients(log_q(0, x), log_q, torch.tensor(1.3), x, torch.full_like(x, 0.012))
        >>> round(found.nonsaturating.item(), 6), round(found.saturating.item(), 6)
        (0.85099, 0.44901)
    """
    own = theta.detach().requires_grad_()
    with torch.enable_grad():
        log_q = log_model(own, points)
        p, q = log_real.exp(), log_q.exp()
        if p.shape != q.shape or p.shape != weights.shape:
            shapes = f"{tuple(p.shape)}, {tuple(q.shape)} and {tuple(weights.shape)}"
            raise ValueError(f"log densities and weights of shape {shapes}; all must be (k,)")
        check_law(p, "the real density", weights)
        check_law(q, "the model density", weights)
        # Where the model has no mass its part of an expectation is 0 and has slope 0.
        frozen = torch.where(log_q > -torch.inf, log_real - log_q, 0.0).detach()
        two_js = f_divergence_of_logs("js", log_real, log_q, weights)
        values = (
            (weights * q) @ logsigmoid(-frozen),
            (weights * q) @ -logsigmoid(frozen),
            two_js,
            f_divergence_of_logs("kl", log_q, log_real, weights) - two_js,
        )
        slopes = [torch.autograd.grad(value, own, retain_graph=True)[0] for value in values]
    found = (torch.where(value.isfinite(), slope, torch.nan) for value, slope in zip(values, slopes, strict=True))
    return GeneratorGradients(*found)


def cauchy_scale(jacobian: Tensor, value_noise: float = 1.0, slope_noise: float = 1.0) -> Tensor:
    r"""The law of each coordinate of a :math:`-\log D` update under a noisy perfect discriminator: Cauchy(0, scale).

    Assumptions (A&B 2017, Theorem 2.6): the supports admit a perfect flat :math:`D^*`; :math:`D^* - D` is centred
    Gaussian white noise in ``x``, :math:`\nabla D^* - \nabla D` another, independent one. Then each term is a ratio of
    independent centred normals, and their mean over ``z`` is Cauchy again: it has no expectation and no variance for
    any batch size. Without white noise this does not follow (E48), and such a ``D`` takes values outside (0, 1): it is
    a model of gradient noise only.

    Args:
        jacobian: :math:`J_\theta g_\theta(z)`, ``(n, d, p)``.
        value_noise: standard deviation of ``D* - D``.
        slope_noise: standard deviation of each coordinate of its slope.

    Returns:
        The scale of each coordinate, ``(p,)``: the mean over ``z`` of column norms times ``slope_noise/value_noise``.

    Raises:
        ValueError: another shape, or noise that is not positive.

    Examples:
        >>> cauchy_scale(torch.ones(5, 4, 1))
        tensor([2.])
    """
    _check_jacobian(jacobian, value_noise, slope_noise)
    columns: Tensor = torch.linalg.vector_norm(jacobian, dim=1)
    return columns.mean(0) * slope_noise / value_noise


def noisy_updates(
    jacobian: Tensor,
    repeats: int,
    generator: torch.Generator,
    value_noise: float = 1.0,
    slope_noise: float = 1.0,
) -> Tensor:
    r"""Draws of :math:`E_z[-\nabla_\theta \log D(g_\theta(z))]` under the noise of :func:`cauchy_scale`.

    Args:
        jacobian: ``(n, d, p)``.
        repeats: number of draws.
        generator: random generator of the noise.
        value_noise: standard deviation of ``D* - D``.
        slope_noise: standard deviation of each coordinate of its slope.

    Returns:
        ``(repeats, p)``.

    Raises:
        ValueError: another shape, or noise or a number of draws that is not positive.

    Examples:
        >>> noisy_updates(torch.ones(5, 4, 1), repeats=3, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([3, 1])
    """
    _check_jacobian(jacobian, value_noise, slope_noise)
    check_positive(repeats=repeats)
    n, d, _ = jacobian.shape
    noise = torch.randn(repeats, n, 1 + d, generator=generator, dtype=jacobian.dtype, device=jacobian.device)
    value, slope = value_noise * noise[..., 0], slope_noise * noise[..., 1:]
    return -torch.einsum("rnd,ndp->rp", slope / value[..., None], jacobian) / n


def contribution(name: str, p: Tensor, q: Tensor) -> Tensor:
    r"""The contribution of each point to an f-divergence, :math:`q f(p/q)`, in a form that is non-negative.

    .. math:: q\,[f(p/q) - f(1) - f'(1)(p/q - 1)]

    The added terms integrate to a constant, so they change no comparison of laws; without them a point's share depends
    on the normalisation of ``f``. Where :math:`p > 0, q \to 0` the forward KL's density of cost
    :math:`p \log(p/q) - p + q` grows without limit (dropped modes are expensive); where :math:`q > 0, p \to 0` it goes
    to ``q``. The reverse KL does the opposite; JSD is bounded in both cases. These contributions vanish or explode, not
    "the KL" (E57): the total cannot vanish if the laws differ.

    Args:
        name: a key of ``F_DIVERGENCES``.
        p: densities, any shape.
        q: the same shape.

    Raises:
        ValueError: unknown name, other shapes, or a negative entry.

    Examples:
        >>> p, q = torch.tensor([1.0, 1e-9]), torch.tensor([1e-9, 1.0])
        >>> contribution("kl", p, q), contribution("reverse-kl", p, q)
        (tensor([19.7233,  1.0000]), tensor([ 1.0000, 19.7233]))
    """
    if name not in F_DIVERGENCES or p.shape != q.shape:
        raise ValueError(
            f"'{name}' of {tuple(p.shape)} and {tuple(q.shape)}; one shape, one of {', '.join(F_DIVERGENCES)}"
        )
    check_masses(p, q)
    return F_DIVERGENCES[name].contribution(p, q)


def misprinted_js(p: Tensor, q: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""The Jensen-Shannon divergence as it is often misprinted, as evidence for erratum E4.

    .. math:: \tfrac12 \big( KL(p\|m) + \tfrac12 KL(q\|m) \big) \ne \tfrac12 KL(p\|m) + \tfrac12 KL(q\|m)

    It is not symmetric, and disjoint laws reach 3/4 of ``log 2``. Arguments and errors as in
    :func:`~equilibria.theory.divergences.f_divergence`.

    Examples:
        >>> p, q = torch.tensor([0.1, 0.2, 0.7]), torch.tensor([0.6, 0.3, 0.1])
        >>> misprinted_js(p, q), misprinted_js(q, p), js(p, q)
        (tensor(0.1708), tensor(0.1752), tensor(0.2306))
    """
    check_laws(p, q, weights)
    m = (p + q) / 2
    return (kl(p, m, weights) + kl(q, m, weights) / 2) / 2


class LossSlopes(NamedTuple):
    """Slopes of the generator's two losses, both of which are *descended*.

    Attributes:
        saturating: slope of ``log(1 - d)``.
        nonsaturating: slope of ``-log d``.
    """

    saturating: Tensor
    nonsaturating: Tensor


def slopes_in_logits(logits: Tensor) -> LossSlopes:
    r"""Slopes of the generator's losses in the discriminator's logit ``h``: :math:`-\sigma(h)` and :math:`-\sigma(-h)`.

    If fakes are recognised (``h`` far below 0), the first goes to 0 and the second to -1: this is the saturation.
    Texts often compare the slope of ``log x`` at 0 with that of ``1 - log x`` at 1 (E49), which is another function at
    another point. The losses must be compared at the *same* ``d = D(G(z))``, see :func:`slopes_in_probability`.

    Examples:
        >>> slopes_in_logits(torch.tensor([-10.0]))
        LossSlopes(saturating=tensor([-4.5398e-05]), nonsaturating=tensor([-1.0000]))
    """
    return LossSlopes(-logits.sigmoid(), -(-logits).sigmoid())


def slopes_in_probability(d: Tensor) -> LossSlopes:
    r"""Slopes of the generator's losses in ``d = D(G(z))``: :math:`-1/(1-d)`, near -1 at 0, and :math:`-1/d`.

    Raises:
        ValueError: a probability outside (0, 1).

    Examples:
        >>> slopes_in_probability(torch.tensor([0.01]))
        LossSlopes(saturating=tensor([-1.0101]), nonsaturating=tensor([-100.]))
    """
    if not bool(((d > 0) & (d < 1)).all()):
        raise ValueError(f"probabilities from {d.min().item()} to {d.max().item()}; all must lie strictly in (0, 1)")
    return LossSlopes(-1 / (1 - d), -1 / d)


def pairing_value(scores: Tensor, p: Tensor, q: Tensor) -> Tensor:
    r""":math:`E_{x \sim p, y \sim q} \log \sigma(h(x) - h(y))`, the value of a relativistic pairing discriminator.

    A constant added to ``h`` changes nothing, so the output of such a discriminator is not a probability.

    Args:
        scores: ``h`` at the atoms, ``(k,)``.
        p: probabilities ``(k,)``.
        q: probabilities ``(k,)``.

    Raises:
        ValueError: shapes differ, or they are not laws.

    Examples:
        >>> half = torch.tensor([0.5, 0.5])
        >>> pairing_value(torch.zeros(2), half, half)
        tensor(-0.6931)
    """
    if scores.ndim != 1 or not scores.shape == p.shape == q.shape:
        raise ValueError(f"scores {tuple(scores.shape)}, laws {tuple(p.shape)} and {tuple(q.shape)}; all must be (k,)")
    check_laws(p, q)
    return p @ -softplus(scores - scores[:, None]) @ q


def product_js(p: Tensor, q: Tensor) -> Tensor:
    r"""The divergence of relativistic pairing: the JSD of the two laws of *ordered pairs*, in nats.

    .. math:: \sup_h E_{x \sim p, y \sim q} \log \sigma(h(x) - h(y)) + \log 2 = JSD(p \times q, q \times p)

    attained at :math:`h = \log(p/q)` plus any constant (:func:`pairing_value`). It is 0 exactly when ``p = q`` and
    ``log 2`` exactly when the laws are disjoint.

    Args:
        p: probabilities ``(k,)``.
        q: probabilities ``(k,)``.

    Raises:
        ValueError: not two laws on the same atoms.

    Examples:
        >>> product_js(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
        tensor(0.6931)
    """
    if p.ndim != 1 or p.shape != q.shape:
        raise ValueError(f"laws of shape {tuple(p.shape)} and {tuple(q.shape)}; pass (k,) twice")
    check_laws(p, q)
    pairs = torch.outer(p, q)
    return js(pairs.flatten(), pairs.T.flatten())


class JointSplit(NamedTuple):
    """Parts of the KL between an autoencoder's two joint laws; ``joint = decoding + prior >= data``."""

    joint: Tensor
    decoding: Tensor
    prior: Tensor
    data: Tensor


def split_joint(data: Tensor, encoder: Tensor, prior: Tensor, decoder: Tensor) -> JointSplit:
    r"""The objective of autoencoders with a prior, and its parts (Makhzani 2018; Makhzani & Frey 2017).

    .. math:: KL(q(x,z) \| p(z) p(x|z)) = KL(q(x,z) \| q(z) p(x|z)) + KL(q(z) \| p(z)) \ge KL(p_{data} \| p_\theta)

    with :math:`q(x,z) = p_{data}(x) q(z|x)`, ``q(z)`` the *aggregated* posterior (printed as "posterior", E24) and
    :math:`p_\theta(x) = \sum_z p(z) p(x|z)`.

    Args:
        data: ``(m,)``.
        encoder: rows ``q(z|x)``, ``(m, k)``.
        prior: ``(k,)``.
        decoder: rows ``p(x|z)``, ``(k, m)``.

    Raises:
        ValueError: shapes that do not fit, or rows that are not laws.

    Examples:
        >>> half, eye = torch.tensor([0.5, 0.5]), torch.eye(2)
        >>> [round(float(part), 4) for part in split_joint(half, eye, torch.tensor([0.25, 0.75]), eye)]
        [0.1438, 0.0, 0.1438, 0.1438]
    """
    joint, codes = _joint(data, encoder, prior)
    if decoder.shape != encoder.T.shape:
        raise ValueError(f"a decoder of shape {tuple(decoder.shape)}; its rows are p(x|z): {tuple(encoder.T.shape)}")
    _check_rows(decoder, "decoder")
    flat = joint.flatten()
    return JointSplit(
        kl(flat, (prior[:, None] * decoder).T.flatten()),
        kl(flat, (codes[:, None] * decoder).T.flatten()),
        kl(codes, prior),
        kl(data, prior @ decoder),
    )


class CodeSplit(NamedTuple):
    """The VAE's regulariser and its two parts: ``mean = information + prior``."""

    mean: Tensor
    information: Tensor
    prior: Tensor


def split_codes(data: Tensor, encoder: Tensor, prior: Tensor) -> CodeSplit:
    r"""The VAE's regulariser is a mutual information, absent in adversarial autoencoders, plus a KL to the prior.

    .. math:: E_x KL(q(z|x) \| p(z)) = I_q(x; z) + KL(q(z) \| p(z))

    Args:
        data: ``(m,)``.
        encoder: rows ``q(z|x)``, ``(m, k)``.
        prior: ``(k,)``.

    Raises:
        ValueError: shapes that do not fit, or rows that are not laws.

    Examples:
        >>> half = torch.tensor([0.5, 0.5])
        >>> split_codes(half, torch.eye(2), half)
        CodeSplit(mean=tensor(0.6931), information=tensor(0.6931), prior=tensor(0.))
    """
    joint, codes = _joint(data, encoder, prior)
    return CodeSplit(
        data @ kl(encoder, prior.expand_as(encoder)),
        kl(joint.flatten(), torch.outer(data, codes).flatten()),
        kl(codes, prior),
    )


def _joint(data: Tensor, encoder: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    if encoder.shape != data.shape + prior.shape or data.ndim != 1:
        shapes = f"{tuple(data.shape)}, {tuple(encoder.shape)}, {tuple(prior.shape)}"
        raise ValueError(f"data, encoder and prior of shapes {shapes}; want (m,), (m, k), (k,)")
    check_law(data, "data")
    check_law(prior, "prior")
    _check_rows(encoder, "encoder")
    joint = data[:, None] * encoder
    return joint, joint.sum(0)


def _check_rows(conditional: Tensor, name: str) -> None:
    if not bool((conditional >= 0).all()) or not bool(((conditional.sum(1) - 1).abs() <= CLOSE).all()):
        raise ValueError(f"a row of the {name} is not a law: entries must be >= 0 and each row must sum to 1")


def _check_jacobian(jacobian: Tensor, value_noise: float, slope_noise: float) -> None:
    if jacobian.ndim != 3 or not (value_noise > 0 and slope_noise > 0):
        shape = tuple(jacobian.shape)
        raise ValueError(f"a Jacobian {shape}, noise {value_noise} and {slope_noise}; want (n, d, p) and both > 0")
