r"""Instance noise: smoothed laws, their optimal discriminator, and the gradient that a generated sample receives.

Noise is :math:`\epsilon \sim N(0, s^2 I)`, drawn independently for every point. A law is a finite set of atoms with
weights. A continuous law is represented in the same way: its atoms are quadrature nodes, its weights density times
quadrature weight (Arjovsky & Bottou 2017, section 3). Everything with a logarithm is in nats.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .checks import CLOSE

_LOG_TAU = math.log(2 * math.pi)
_LOG2 = math.log(2)


class Atoms(NamedTuple):
    """A law of finitely many atoms.

    Attributes:
        points: ``(k, d)``.
        weights: ``(k,)``, non-negative, with sum 1; without them all atoms have the same weight.
    """

    points: Tensor
    weights: Tensor | None = None


def smoothed_log_density(x: Tensor, law: Atoms, std: float) -> Tensor:
    r""":math:`\log P_{X+\epsilon}(x) = \log \int P_\epsilon(x - y)\, dP_X(y)`, a density for every law (Theorem 3.1).

    Args:
        x: ``(n, d)``.
        law: law of the points without noise.
        std: ``s > 0``.

    Returns:
        ``(n,)``, in nats, finite also far from the atoms.

    Raises:
        ValueError: shapes that do not fit, weights that are not a law, or ``std <= 0``.

    Examples:
        >>> smoothed_log_density(torch.zeros(1, 1), Atoms(torch.zeros(1, 1)), std=1.0).exp()
        tensor([0.3989])
    """
    return torch.logsumexp(_log_kernel(x, law, std), 1)


def noisy_optimal_logit(x: Tensor, real: Atoms, fake: Atoms, std: float) -> Tensor:
    r"""The optimal discriminator between the noised laws: :math:`\log P_{r+\epsilon} - \log P_{g+\epsilon}`, a logit.

    It is finite and smooth everywhere, even where the clean supports are disjoint. Shapes and errors as in
    :func:`smoothed_log_density`.

    Examples:
        >>> noisy_optimal_logit(torch.zeros(1, 1), Atoms(torch.zeros(1, 1)), Atoms(torch.ones(1, 1)), std=1.0)
        tensor([0.5000])
    """
    return smoothed_log_density(x, real, std) - smoothed_log_density(x, fake, std)


class Pull(NamedTuple):
    """The two weights of Theorem 3.2 and the two parts of the field, at each point.

    Attributes:
        a: ``(n,)``, weight of the data's part.
        b: ``(n,)``, weight of the generator's own part.
        data: ``(n, d)``; descent along it moves the point towards the data.
        model: ``(n, d)``; it is subtracted, so descent moves the point away from generated mass.
    """

    a: Tensor
    b: Tensor
    data: Tensor
    model: Tensor

    @property
    def slope(self) -> Tensor:
        r""":math:`\nabla_x \log(1 - D^*(x))`, ``(n, d)``: the gradient of the saturating loss in the sample."""
        return self.data - self.model


def pull(x: Tensor, real: Atoms, fake: Atoms, std: float) -> Pull:
    r"""The gradient at a generated point under the optimal discriminator between noised laws (Theorem 3.2).

    .. math::
        \nabla_x \log(1 - D^*(x)) = a \int P_\epsilon(x - y) \nabla_x \|x - y\|^2 dP_r(y)
            - b \int P_\epsilon(x - y) \nabla_x \|x - y\|^2 dP_g(y)

        a = \frac{1}{2 s^2} \frac{1}{P_{r+\epsilon}(x) + P_{g+\epsilon}(x)}, \qquad
        b = a \frac{P_{r+\epsilon}(x)}{P_{g+\epsilon}(x)}

    Both weights are positive, and **b > a exactly where** :math:`P_{r+\epsilon}(x) > P_{g+\epsilon}(x)`. All terms are
    evaluated at the discriminator's input: the clean sample in Theorem 3.2, the noised one in Corollary 3.2 (printed
    at the clean one, E46). The second part is necessary: without it ``p = q`` is not stationary (E11).

    Args:
        x: ``(n, d)``.
        real: law of the data, without noise.
        fake: law of the generator, without noise, treated as constant.
        std: ``s > 0``.

    Raises:
        ValueError: as in :func:`smoothed_log_density`.

    Examples:
        >>> found = pull(torch.zeros(1, 1), Atoms(torch.ones(1, 1)), Atoms(torch.zeros(1, 1)), std=1.0)
        >>> found.slope
        tensor([[-0.3775]])
    """
    kernels = [_log_kernel(x, law, std) for law in (real, fake)]
    log_r, log_g = (torch.logsumexp(kernel, 1) for kernel in kernels)
    log_a = -math.log(2 * std**2) - torch.logaddexp(log_r, log_g)
    log_b = log_a + log_r - log_g

    def part(log_weight: Tensor, kernel: Tensor, law: Atoms) -> Tensor:
        # One exponential of the sum: far from both laws the weight overflows while the kernel vanishes.
        share = (log_weight[:, None] + kernel).exp()
        return (share[:, :, None] * 2 * (x[:, None] - law.points)).sum(1)

    return Pull(log_a.exp(), log_b.exp(), part(log_a, kernels[0], real), part(log_b, kernels[1], fake))


Generate = Callable[[Tensor], Atoms]


def clean_gradient(generate: Generate, theta: Tensor, real: Atoms, std: float) -> Tensor:
    r"""Theorem 3.2: the generator's gradient with noise on the discriminator's training data only.

    .. math:: E_z \nabla_\theta \log(1 - D^*(g_\theta(z))), \qquad D^* = \frac{P_{r+\epsilon}}{P_{r+\epsilon}
        + P_{g+\epsilon}} \text{ held fixed, samples clean}

    It is **not** :math:`2 \nabla JSD(P_{r+\epsilon}, P_{g+\epsilon})`, nor, as often printed, half of that (E9): for
    this the generator's samples must be noised too (:func:`noised_gradient`).

    Args:
        generate: maps parameters to generated atoms; their weights may not depend on the parameters.
        theta: parameters, any shape.
        real: law of the data, without noise.
        std: ``s > 0``.

    Returns:
        The gradient, with the shape of ``theta``.

    Raises:
        ValueError: as in :func:`smoothed_log_density`, or atoms that do not depend on ``theta``.

    Examples:
        One data point at 1, one sample at 0.

        >>> clean_gradient(lambda t: Atoms(t[None]), torch.zeros(1), Atoms(torch.ones(1, 1)), std=1.0)
        tensor([-0.3775])
    """
    return _through(generate, theta, lambda made: pull(made.points, real, made, std).slope)


def noised_gradient(generate: Generate, theta: Tensor, real: Atoms, std: float, nodes: int = 32) -> Tensor:
    r"""Corollary 3.2: the generator's gradient with noise on all inputs of the discriminator.

    .. math:: E_{z,\epsilon'} \nabla_\theta \log(1 - D^*(g_\theta(z) + \epsilon'))
        = 2 \nabla_\theta JSD(P_{r+\epsilon}, P_{g+\epsilon})

    The left side is computed by Gauss-Hermite quadrature over :math:`\epsilon'`, with ``D*`` fixed. The noise belongs
    on *both* sides of the equation (printed on the right only, E45), and the factor 2 is needed (E9).

    Args:
        generate: maps parameters to generated atoms; their weights may not depend on the parameters.
        theta: parameters, any shape.
        real: law of the data, without noise.
        std: ``s > 0``.
        nodes: quadrature nodes per dimension; use more if atoms are many ``std`` apart.

    Returns:
        The gradient, with the shape of ``theta``.

    Raises:
        ValueError: as in :func:`clean_gradient`, or more than :math:`10^6` nodes in total.

    Examples:
        >>> noised_gradient(lambda t: Atoms(t[None]), torch.zeros(1), Atoms(torch.ones(1, 1)), std=1.0)
        tensor([-0.3980])
    """

    def slopes(made: Atoms) -> Tensor:
        noise, weights = gauss_hermite(made.points, std, nodes)
        seen = (made.points[:, None] + noise).flatten(0, 1)
        felt = pull(seen, real, made, std).slope.view(len(made.points), len(noise), -1)
        return (weights[:, None] * felt).sum(1)

    return _through(generate, theta, slopes)


def smoothed_js(real: Atoms, fake: Atoms, std: float, nodes: int = 32) -> Tensor:
    r""":math:`JSD(P_{r+\epsilon}, P_{g+\epsilon})` in nats, by Gauss-Hermite quadrature around every atom.

    Continuous and differentiable in the atoms: with growing noise the laws overlap and the value falls below ``log 2``.

    Args:
        real: law of the data, without noise.
        fake: law of the generator, without noise.
        std: ``s > 0``.
        nodes: quadrature nodes per dimension.

    Raises:
        ValueError: as in :func:`smoothed_log_density`, or more than :math:`10^6` nodes in total.

    Examples:
        >>> smoothed_js(Atoms(torch.zeros(1, 1)), Atoms(torch.ones(1, 1)), std=0.05)
        tensor(0.6931)
    """

    def half(law: Atoms, sign: int) -> Tensor:
        noise, weights = gauss_hermite(law.points, std, nodes)
        seen = (law.points[:, None] + noise).flatten(0, 1)
        log_share = logsigmoid(sign * noisy_optimal_logit(seen, real, fake, std)).view(len(law.points), -1)
        return _log_weights(law).exp() @ (log_share @ weights)

    return _LOG2 + (half(real, 1) + half(fake, -1)) / 2


def noise_distance_bound(variance: float) -> float:
    r""":math:`W_1(P_X, P_{X+\epsilon}) \le V^{1/2}`, :math:`V = E\|\epsilon\|^2` (A&B 2017, Lemma 4).

    Raises:
        ValueError: a negative variance.

    Examples:
        >>> noise_distance_bound(4.0)
        2.0
    """
    if not variance >= 0:
        raise ValueError(f"the noise's variance {variance} is negative; it is the mean of squared norms")
    return math.sqrt(variance)


def transport_bound(js: float, variance: float, diameter: float) -> float:
    r"""A bound on the distance of the clean laws from the JSD of the noised ones (A&B 2017, Theorem 3.3).

    .. math:: W_1(P_r, P_g) \le 2 V^{1/2} + 2 C \sqrt{JSD(P_{r+\epsilon}, P_{g+\epsilon})}

    Assumption: both noised laws are supported in a ball of diameter ``C``, so Gaussian noise must be truncated.

    Args:
        js: JSD of the noised laws, in nats, in [0, log 2].
        variance: ``V``, the mean squared norm of the noise.
        diameter: ``C``.

    Raises:
        ValueError: a number is out of range.

    Examples:
        >>> transport_bound(0.0, variance=0.01, diameter=3.0)
        0.2
    """
    if not 0 <= js <= _LOG2 + 1e-6 or not diameter >= 0:
        raise ValueError(f"JSD {js} must lie in [0, log 2] nats and the diameter {diameter} must be >= 0")
    return 2 * noise_distance_bound(variance) + 2 * diameter * math.sqrt(js)


def gauss_hermite(like: Tensor, std: float, nodes: int) -> tuple[Tensor, Tensor]:
    r"""Nodes ``(m, d)`` and weights ``(m,)`` with which :math:`\sum_i w_i f(x_i)` is :math:`E f(\epsilon)`.

    Exact for polynomials of degree below twice ``nodes`` in each coordinate.

    Args:
        like: ``(..., d)``: gives the dimension, the dtype and the device.
        std: standard deviation of the noise.
        nodes: nodes per dimension.

    Raises:
        ValueError: ``std <= 0``, or more than :math:`10^6` nodes in total; sample the noise instead.

    Examples:
        >>> at, weights = gauss_hermite(torch.zeros(1, 2), std=2.0, nodes=3)
        >>> round(float(weights @ at[:, 0] ** 4), 3)
        48.0
    """
    if like.ndim == 0 or not std > 0:
        raise ValueError(f"points of shape {tuple(like.shape)}, noise of std {std}; want (..., d) and > 0")
    d = like.shape[-1]
    if nodes < 1 or nodes**d > 10**6:
        raise ValueError(f"{nodes} nodes in each of {d} dimensions; want 1 to 10^6 in total, or sample the noise")
    at, weights = np.polynomial.hermite_e.hermegauss(nodes)
    points = np.array(list(itertools.product(at, repeat=d)))
    shares = np.array([math.prod(row) for row in itertools.product(weights / weights.sum(), repeat=d)])
    return std * like.new_tensor(points), like.new_tensor(shares)


def _through(generate: Generate, theta: Tensor, slopes: Callable[[Atoms], Tensor]) -> Tensor:
    """The mean slope at the generated points, pulled back to the parameters; the discriminator gets them detached."""
    own = theta.detach().requires_grad_()
    with torch.enable_grad():
        made = generate(own)
    fixed = Atoms(made.points.detach(), None if made.weights is None else made.weights.detach())
    felt = _log_weights(fixed).exp()[:, None] * slopes(fixed)
    if not made.points.requires_grad:
        raise ValueError("the generated atoms do not depend on theta; compute them from the argument of `generate`")
    (found,) = torch.autograd.grad(made.points, own, felt)
    return found


def _log_weights(law: Atoms) -> Tensor:
    if law.points.ndim != 2 or len(law.points) == 0:
        raise ValueError(f"atoms of shape {tuple(law.points.shape)}; pass (k, d) with k >= 1")
    k = len(law.points)
    if law.weights is None:
        return law.points.new_full((k,), -math.log(k))
    total = float(law.weights.sum())
    # Written so that NaN weights are refused as well.
    if law.weights.shape != (k,) or not bool((law.weights >= 0).all()) or not abs(total - 1) <= CLOSE:
        raise ValueError(f"weights {tuple(law.weights.shape)} of sum {total:.6g} for {k} atoms; want (k,), >= 0, sum 1")
    return law.weights.log()


def _log_kernel(x: Tensor, law: Atoms, std: float) -> Tensor:
    """Log of weight times Gaussian density, ``(n, k)``."""
    if not std > 0:
        raise ValueError(f"the noise's standard deviation {std} must be > 0; without noise the law may have no density")
    log_weights = _log_weights(law)
    d = law.points.shape[1]
    if x.ndim != 2 or x.shape[1] != d:
        raise ValueError(f"points of shape {tuple(x.shape)} against atoms of dimension {d}; pass (n, {d})")
    squares = (x[:, None] - law.points).square().sum(-1)
    return log_weights - squares / (2 * std**2) - d * (math.log(std) + _LOG_TAU / 2)
