"""Vitals of the game's dynamics: the tail of the gradient at the samples, and the rotation of the players."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...base.errors import ConfigError
from ...theory.spectra import leading_eigenvalues
from ..chart import Chart
from ..subject import Params, Subject

Values = dict[str, float]
_ROWS, _IMAGE_ROWS = 64, 32
_TOLERANCE, _RESTARTS = 1e-2, 10
_MOST = 200_000  # parameters; for more, the products take longer than all check-ups of a run together


def tail_index(sizes: Tensor, share: float = 0.1) -> float:
    r"""Hill's estimator of the tail index of positive numbers (Hill 1975).

    .. math:: \hat\alpha = \Big(\frac1k \sum_{i=1}^{k} \log \frac{X_{(i)}}{X_{(k+1)}}\Big)^{-1},
        \qquad X_{(1)} \ge X_{(2)} \ge \dots

    where :math:`P(X > x) \sim x^{-\alpha}`: no mean for :math:`\alpha \le 1` (Cauchy: 1), no variance for
    :math:`\alpha \le 2`. Its standard error is about :math:`\alpha/\sqrt{k}`. A thin tail has no index; its
    estimate is large, and grows as the share falls.

    Args:
        sizes: ``(n,)``, not negative.
        share: of the numbers that belong to the tail, ``k / n``.

    Returns:
        The index; infinite if all numbers of the tail are equal, NaN if fewer than two numbers are in it or the tail
        contains zero.

    Examples:
        >>> round(tail_index(torch.arange(1, 10001) ** -0.5), 1)  # the quantiles of a Pareto law of index 2
        2.0
    """
    ordered = sizes.double().sort(descending=True).values
    k = int(share * len(ordered))
    if k < 2 or not bool(torch.isfinite(ordered).all()) or float(ordered[k]) <= 0:
        return math.nan
    mean = float((ordered[:k] / ordered[k]).log().mean())
    return 1 / mean if mean > 0 else math.inf


def gradient_tail(subject: Subject, chart: Chart) -> Values:
    r"""The tail index of the norms :math:`\|\partial \ell_G / \partial x_i\|` over generated rows.

    Under the noise of Arjovsky & Bottou 2017 (Theorem 2.6) it is that of the parameters' gradient, which is the same
    times the generator's Jacobian, of bounded norm; and one backward pass gives it for all rows.
    """
    if subject.rows.whole:  # no gradient passes through whole numbers
        return {}
    read = subject.raw if chart.objective.own is not None else subject.score
    x, y = subject.batch(512)
    with torch.no_grad():
        made, asked = subject.sample_with_labels(len(x))
    point = made.detach().clone().requires_grad_()
    with torch.no_grad():
        h_real = read(x, y)
    loss = chart.objective.generator(read(point, asked), h_real)
    if not loss.requires_grad:  # the score does not depend on its input
        return {}
    (slope,) = torch.autograd.grad(loss, point, allow_unused=True, materialize_grads=True)
    return {"gradient/tail": tail_index(slope.flatten(1).norm(dim=1))}


def jacobian_rotation(subject: Subject, chart: Chart) -> Values:
    r"""Leading eigenvalues of the Jacobian of :math:`v = (-\partial_{\theta_G}\ell_G, -\partial_{\theta_D}\ell_D)`.

    At the players' parameters, on 64 real rows and 64 codes (half of that for images), for the declared losses and
    equal rates: without a penalty of the loop unless the losses contain it, and without the optimisers.

    Raises:
        ConfigError: the codes are not known, a player has no trainable parameter, or the networks are large.
        RuntimeError: an operation of the networks has no second derivative.
        ValueError: as in :func:`rotation`.
    """
    if subject.codes is None:
        raise ConfigError("the generator's codes are not known", "pass latent=")
    players = [_trainable(net) for net in subject.networks.values()]
    if not all(players):
        raise ConfigError("a player has no trainable parameter", "set requires_grad=True on its parameters")
    if (size := sum(p.numel() for own in players for p in own.values())) > _MOST:
        raise ConfigError(
            f"{size:,} parameters, and a diagnosis takes at most {_MOST:,}",
            "for larger networks use equilibria.theory.spectra.leading_eigenvalues",
        )
    at = torch.cat([p.reshape(-1).float() for own in players for p in own.values()]).requires_grad_()
    moved = _split(at, players)
    real, y = subject.batch(_IMAGE_ROWS if subject.wide else _ROWS)
    codes = subject.draw_codes(len(real))
    read = subject.raw if chart.objective.own is not None else subject.score
    h, k = read(real, y, moved[1]), read(subject.make(codes, moved[0]), codes[1], moved[1])
    losses = (chart.objective.generator(k, h), chart.objective.discriminator(h, k))
    field = torch.cat([-_slope(loss, own) for loss, own in zip(losses, moved, strict=True)])

    def product(u: Tensor) -> Tensor:
        # The transposed Jacobian has the same eigenvalues and needs one derivative less than J u. Third derivatives
        # of torch's norms are wrong.
        if not field.requires_grad:
            return torch.zeros_like(u)
        (found,) = torch.autograd.grad(field, at, u, retain_graph=True, materialize_grads=True)
        return found

    return rotation(product, at.detach())


def _trainable(net: nn.Module) -> Params:
    return {n: p.detach() for n, p in net.named_parameters() if p.requires_grad and p.is_floating_point()}


def _split(at: Tensor, players: list[Params]) -> list[Params]:
    """One vector as the parameters of each player."""
    pieces = iter(torch.split(at, [p.numel() for own in players for p in own.values()]))
    return [{n: next(pieces).view_as(p).to(p.dtype) for n, p in own.items()} for own in players]


def _slope(loss: Tensor, own: Params) -> Tensor:
    if not loss.requires_grad:
        return torch.cat([torch.zeros_like(p).reshape(-1).float() for p in own.values()])
    found = torch.autograd.grad(loss, list(own.values()), create_graph=True, allow_unused=True, materialize_grads=True)
    return torch.cat([g.reshape(-1).float() for g in found])


def rotation(product: Callable[[Tensor], Tensor], like: Tensor) -> Values:
    r"""Rotation of a vector field, from the leading eigenvalues :math:`\lambda` of its Jacobian.

    With :math:`\max \mathrm{Re}\,\lambda > 0` the point is unstable; if the pair of the largest
    :math:`|\mathrm{Im}\,\lambda|` has a large :math:`|\mathrm{Im}\,\lambda| / |\mathrm{Re}\,\lambda|`, only steps below
    :math:`2|\mathrm{Re}\,\lambda|/|\lambda|^2` contract (Mescheder et al. 2017, Lemma 4; Nagarajan & Kolter 2017).

    Args:
        product: ``u`` to ``J u`` or ``J^T u``: the eigenvalues are the same.
        like: ``(n,)``, the vectors' type and device.

    Returns:
        ``jacobian/real-part``, ``jacobian/imaginary-part`` and ``jacobian/rotation``.

    Raises:
        ValueError: the eigenvalues did not converge, or a product is not finite.

    Examples:
        The Dirac-GAN rotates and does not contract.

        >>> turn = torch.tensor([[0.0, 0.5], [-0.5, 0.0]])
        >>> round(rotation(lambda u: turn @ u, torch.zeros(2))["jacobian/imaginary-part"], 6)
        0.5
    """
    rightmost = leading_eigenvalues(product, like, 1, "LR", _TOLERANCE, _RESTARTS)
    fastest = leading_eigenvalues(product, like, 2, "LI", _TOLERANCE, _RESTARTS)
    pair = fastest[fastest.imag.abs().argmax()]
    real, imaginary = abs(float(pair.real)), abs(float(pair.imag))
    return {
        "jacobian/real-part": float(rightmost.real.max()),
        "jacobian/imaginary-part": imaginary,
        "jacobian/rotation": imaginary / real if real > 0 else math.inf if imaginary > 0 else 0.0,
    }
