r"""Supports of laws: rank and dimension of a generator's output, and perfect discriminators with zero gradient there.

A generator that maps a few latent dimensions into many dimensions has a law on a low-dimensional set. Two such laws can
almost always be separated by a discriminator that is constant on both, and then the generator's gradient is zero
(Arjovsky & Bottou 2017, section 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .checks import check_points
from .slopes import input_slopes

Map = Callable[[Tensor], Tensor]
Parameters = Mapping[str, Tensor]
Generate = Callable[[Parameters, Tensor], Tensor]
_CHUNK = 512


def jacobian_singular_values(generate: Map, z: Tensor) -> Tensor:
    r"""Singular values of :math:`J_g(z) = \partial g / \partial z` at every latent.

    Args:
        generate: maps ``(n, k)`` to ``(n, ...)``, each row independently.
        z: latent codes ``(n, k)``.

    Returns:
        ``(n, min(d, k))``, descending, with ``d`` the size of a generated row.

    Raises:
        ValueError: ``z`` is not a matrix, a row of output is missing, or a slope is not finite.

    Examples:
        >>> jacobian_singular_values(lambda z: torch.cat([3 * z, 4 * z], 1), torch.zeros(1, 1))
        tensor([[5.]])
    """
    if z.ndim != 2:
        raise ValueError(f"latents of shape {tuple(z.shape)}; pass (n, k)")
    if len(made := generate(z)) != len(z):
        raise ValueError(f"{len(z)} latents gave an output of shape {tuple(made.shape)}; the generator must keep rows")

    def row(one: Tensor) -> Tensor:
        return generate(one[None])[0].flatten()

    slopes: Tensor = torch.func.vmap(torch.func.jacrev(row))(z)
    check_points(slopes=slopes)
    values: Tensor = torch.linalg.svdvals(slopes)
    return values


def jacobian_rank(generate: Map, z: Tensor, relative: float | None = None) -> Tensor:
    r"""Numerical rank of the generator's Jacobian at every latent code; at most ``dim z``.

    If ``g`` is composed of affine maps and rectifiers, leaky rectifiers or smooth strictly increasing functions, then
    ``g(Z)`` is *contained in* a countable union of manifolds of dimension at most ``dim Z``, so it has measure zero
    where ``dim Z < dim X`` (Arjovsky & Bottou 2017, Lemma 1). Often printed as "is a union of less than n manifolds"
    (E17, E43): a rectifier layer alone has up to ``2^n`` pieces, and a linear map cannot raise the dimension but can
    lower it. Without this structure the statement fails: a continuous curve can fill a square.

    Args:
        generate: maps ``(n, k)`` to ``(n, ...)``, each row independently.
        z: latent codes ``(n, k)``.
        relative: singular values above this fraction of the largest count; by default machine epsilon times
            ``max(d, k)``.

    Returns:
        ``(n,)``, integers.

    Raises:
        ValueError: ``z`` is not a matrix, a row of output is missing, or ``relative`` is outside [0, 1).

    Examples:
        >>> jacobian_rank(lambda z: torch.cat([z, z.square(), z[:, :1]], 1), torch.ones(1, 2)).tolist()
        [2]
    """
    if relative is not None and not 0 <= relative < 1:
        raise ValueError(f"a share of the largest singular value of {relative}; want [0, 1)")
    values = jacobian_singular_values(generate, z)
    if relative is None:
        sizes = max(generate(z[:1]).numel(), z.shape[1])
        relative = sizes * torch.finfo(values.dtype).eps
    return (values > relative * values[:, :1]).sum(1)


def two_nn_dimension(points: Tensor, discard: float = 0.1) -> float:
    r"""Intrinsic dimension from the ratio of the two nearest distances (Facco et al. 2017, the TwoNN estimator).

    With locally constant density :math:`\mu = r_2/r_1` has :math:`F(\mu) = 1 - \mu^{-d}`, so ``d`` is the slope of
    :math:`-\log(1 - F(\mu_i))` against :math:`\log\mu_i` through the origin.

    Args:
        points: ``(n, ...)`` without duplicates; every row is flattened.
        discard: share of the largest ratios left out of the fit.

    Raises:
        ValueError: fewer than 10 points, duplicates, or ``discard`` outside [0, 1).

    Examples:
        >>> line = torch.rand(2000, 1, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1.0, 2.0, 3.0]])
        >>> round(two_nn_dimension(line))
        1
    """
    if len(points) < 10 or not 0 <= discard < 1:
        raise ValueError(f"{len(points)} points, discard {discard}; give at least 10 points and discard in [0, 1)")
    check_points(points=points)
    x = points.flatten(1).double()
    two = torch.cat([torch.cdist(part, x).topk(3, largest=False).values[:, 1:] for part in torch.split(x, _CHUNK)])
    if bool((two[:, 0] == 0).any()):
        raise ValueError(
            "some points coincide: the ratio of their two nearest distances is undefined; remove duplicates"
        )
    log_ratio = (two[:, 1] / two[:, 0]).log().sort().values
    kept = max(2, round((1 - discard) * len(x)))
    below = torch.arange(1, kept + 1, dtype=x.dtype) / (len(x) + 1)
    slope = -(torch.log1p(-below) @ log_ratio[:kept]) / log_ratio[:kept].square().sum()
    return float(slope)


def pca_dimension(points: Tensor, share: float = 0.99, neighbours: int | None = None) -> float:
    r"""Number of principal components with ``share`` of the variance, of all points or of each neighbourhood.

    The global number bounds the dimension of an *affine* hull; for a circle it is 2. With ``neighbours`` it is the mean
    over points of the number for the point and its nearest neighbours, which also works for curved sets (Fukunaga &
    Olsen 1971); the neighbourhood must be small compared with the radius of curvature.

    Args:
        points: ``(n, ...)``; every row is flattened.
        share: share of the variance, in (0, 1].
        neighbours: size of a neighbourhood, without the point itself.

    Raises:
        ValueError: too few points, or ``share`` outside (0, 1].

    Examples:
        >>> angle = torch.linspace(0, 6.28, 500)
        >>> circle = torch.stack([angle.cos(), angle.sin()], 1)
        >>> pca_dimension(circle), pca_dimension(circle, neighbours=8)
        (2.0, 1.0)
    """
    size = len(points) if neighbours is None else neighbours + 1
    if not 0 < share <= 1 or not 2 <= size <= len(points):
        raise ValueError(f"{len(points)} points, neighbourhoods of {size}, share {share}: want 2 <= size <= n, (0, 1]")
    check_points(points=points)
    x = points.flatten(1).double()
    if neighbours is None:
        groups = x[None]
    else:
        near = torch.cat([torch.cdist(part, x).topk(size, largest=False).indices for part in torch.split(x, _CHUNK)])
        groups = x[near]
    variances = torch.linalg.svdvals(groups - groups.mean(1, keepdim=True)).square()
    carried = variances.cumsum(1) / variances.sum(1, keepdim=True)
    return float(((carried < share - 1e-12).sum(1) + 1).double().mean())


def intersection_dimension(tangent_a: Tensor, tangent_b: Tensor) -> int:
    r"""Dimension of the intersection of two tangent spaces, :math:`\dim A + \dim B - \dim(A + B)`.

    Args:
        tangent_a: spanning columns ``(d, j)``.
        tangent_b: spanning columns ``(d, k)``.

    Raises:
        ValueError: not two matrices with ``d`` rows.

    Examples:
        >>> intersection_dimension(torch.eye(3)[:, :2], torch.eye(3)[:, 1:])
        1
    """
    if tangent_a.ndim != 2 or tangent_b.ndim != 2 or len(tangent_a) != len(tangent_b):
        raise ValueError(f"tangents {tuple(tangent_a.shape)} and {tuple(tangent_b.shape)}; pass (d, j) and (d, k)")
    check_points(tangent_a=tangent_a, tangent_b=tangent_b)
    rank = torch.linalg.matrix_rank
    return int(rank(tangent_a) + rank(tangent_b) - rank(torch.cat([tangent_a, tangent_b], 1)))


def intersect_transversally(tangent_a: Tensor, tangent_b: Tensor) -> bool:
    r"""Whether two tangent spaces at a common point span the whole space (Arjovsky & Bottou 2017, Definition 2.1).

    Manifolds that meet at a point where this fails *perfectly align*. If both lack full dimension, a pair of
    independent, *absolutely* continuous random translations removes perfect alignment **with probability 1** (Lemma 2;
    often printed as "with high probability", E44), and the remaining intersection has measure zero in both (Lemma 3).
    A law without atoms is not enough: a segment and its copy, each shifted at random *along* the segment, still
    overlap. Two curves that meet in 3-D space align in this sense: after the translations they no longer meet.

    Arguments and errors as in :func:`intersection_dimension`.

    Examples:
        >>> intersect_transversally(torch.eye(2)[:, :1], torch.eye(2)[:, 1:])
        True
        >>> intersect_transversally(torch.eye(3)[:, :1], torch.eye(3)[:, 1:2])
        False
    """
    both = intersection_dimension(tangent_a, tangent_b)
    rank = torch.linalg.matrix_rank
    return int(rank(tangent_a) + rank(tangent_b)) - both == len(tangent_a)


def set_distance(a: Tensor, b: Tensor) -> float:
    r""":math:`\min_{x \in A, y \in B} \|x - y\|` of two finite sets.

    Args:
        a: ``(n, d)``.
        b: ``(m, d)``.

    Raises:
        ValueError: a set is empty or the dimensions differ.

    Examples:
        >>> set_distance(torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [6.0, 8.0]]))
        5.0
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or 0 in (len(a), len(b)):
        raise ValueError(f"sets {tuple(a.shape)} and {tuple(b.shape)}; pass (n, d) and (m, d), none of them empty")
    check_points(a=a, b=b)
    return min(float(_distances(part, b).min()) for part in torch.split(a, _CHUNK))


def smooth_step(t: Tensor) -> Tensor:
    r"""An infinitely differentiable step: 0 for ``t <= 0``, 1 for ``t >= 1``, all derivatives 0 at both ends.

    .. math:: \frac{\psi(t)}{\psi(t) + \psi(1-t)} = \sigma\Big(\frac{1}{1-t} - \frac1t\Big), \qquad \psi(t) = e^{-1/t}

    Examples:
        >>> smooth_step(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]))
        tensor([0.0000, 0.0000, 0.5000, 1.0000, 1.0000])
    """
    inside = (t > 0) & (t < 1)
    safe = torch.where(inside, t, torch.full_like(t, 0.5))
    return torch.where(inside, (1 / (1 - safe) - 1 / safe).sigmoid(), (t >= 1).to(t.dtype))


def smooth_perfect_discriminator(real: Tensor, fake: Tensor, net: float = 0.0) -> Map:
    r"""A smooth discriminator of accuracy 1 whose gradient is zero on both supports (A&B 2017, Theorem 2.1).

    Assumption: the supports lie in disjoint compact sets ``M`` and ``P``. Let :math:`\delta` be their distance and
    thicken both to closed :math:`\delta/3`-neighbourhoods: a smooth function that is 1 on the one and 0 on the other is
    locally constant on both sets. Urysohn's lemma alone gives a continuous function, not a smooth one, and no zero
    gradient (E7). This function is explicit, for sets given by finite nets:

    .. math:: D^*(x) = 1 - \prod_{y \in \text{real}} (1 - \beta(\|x - y\|)),

    with :math:`\beta` = 1 up to :math:`\delta/3` + ``net`` and 0 from :math:`2\delta/3` on. The statement is for all
    ``x`` in ``M`` or ``P``, not for all ``x`` (E6): between them the function must decrease.

    Args:
        real: a net of ``M``, ``(n, d)``.
        fake: a net of ``P``, ``(m, d)``.
        net: every point of ``M`` (of ``P``) is within this distance of a row of ``real`` (of ``fake``); 0 for finite
            sets. The distance of the sets is then at least the distance of the nets minus twice this value.

    Returns:
        A map from ``(k, d)`` to probabilities ``(k,)``, differentiable to every order; it refuses other shapes.

    Raises:
        ValueError: the sets touch, or the net is too coarse for their distance.

    Examples:
        >>> discriminator = smooth_perfect_discriminator(torch.zeros(1, 2), torch.ones(1, 2))
        >>> discriminator(torch.tensor([[0.1, 0.0], [0.9, 1.0]])).tolist()
        [1.0, 0.0]
    """
    delta = set_distance(real, fake) - 2 * net
    if net < 0 or delta <= 0 or net >= delta / 3:
        raise ValueError(
            f"the distance of the sets is {delta:.3g}, the net's resolution {net:.3g}; the sets must be disjoint and "
            "the resolution below a third of the distance: give more points"
        )
    inner, outer = delta / 3 + net, 2 * delta / 3

    def discriminator(x: Tensor) -> Tensor:
        if x.ndim != 2 or x.shape[1] != real.shape[1]:
            raise ValueError(
                f"points of shape {tuple(x.shape)} for supports in {real.shape[1]} dimensions; want (k, d)"
            )
        squares = (x[:, None] - real).square().sum(-1)
        # A function of the squared distance: it is smooth at the centre, where the distance itself is not.
        return 1 - (1 - smooth_step((outer**2 - squares) / (outer**2 - inner**2))).prod(1)

    return discriminator


def crossing_discriminator(to_real: Map, to_fake: Map) -> Map:
    r"""A discriminator of accuracy 1 for supports that intersect, flat almost everywhere (A&B 2017, Theorem 2.2).

    .. math:: D^*(x) = 1 \text{ if } d(x, M) < d(x, P), \quad 0 \text{ otherwise}

    Assumptions: ``p`` and ``q`` are supported in closed manifolds ``M`` and ``P`` that do not perfectly align and lack
    full dimension, and null sets of a manifold are null under its law. The intersection is then null under both laws
    (Lemma 3). A point of ``M`` outside ``P`` has :math:`d(x, M) = 0 < d(x, P)`; distances are continuous, so
    :math:`D^*` is 1 in a neighbourhood, and smooth with slope 0 there; likewise for ``P``. On the intersection it is
    not continuous, and nothing is claimed.

    Args:
        to_real: ``(n, d)`` to the distances to ``M``, ``(n,)``.
        to_fake: ``(n, d)`` to the distances to ``P``, ``(n,)``.

    Returns:
        A map from ``(n, d)`` to ``(n,)``, of zeros and ones.

    Raises:
        ValueError: by the map, if the distances are not ``(n,)`` or one is not >= 0.

    Examples:
        Two lines that cross at the origin.

        >>> discriminator = crossing_discriminator(lambda x: x[:, 1].abs(), lambda x: x[:, 0].abs())
        >>> discriminator(torch.tensor([[0.3, 0.0], [0.0, -0.2]])).tolist()
        [1.0, 0.0]
    """

    def discriminator(x: Tensor) -> Tensor:
        real, fake = to_real(x), to_fake(x)
        if not real.shape == fake.shape == x.shape[:1]:
            raise ValueError(f"{len(x)} points have distances {tuple(real.shape)} and {tuple(fake.shape)}; want (n,)")
        if not bool(((real >= 0) & (fake >= 0)).all()):  # NaN is refused as well
            raise ValueError("a distance to a support is not >= 0")
        return (real < fake).to(x.dtype)

    return discriminator


def smooth_norm(function: Map, points: Tensor) -> float:
    r""":math:`\|D\| = \sup_x |D(x)| + \|\nabla_x D(x)\|_2`, the norm of A&B 2017, Theorem 2.4, over given points.

    The theorem needs the gradient in the norm (often left unspecified, E8): :math:`D^* + \epsilon \sin(x/\epsilon^2)`
    is within :math:`\epsilon` of :math:`D^*` in the sup norm and has slopes of :math:`1/\epsilon`.

    Args:
        function: ``(n, d)`` to ``(n,)``; pass the difference of two discriminators for their distance.
        points: the points of the supremum, ``(n, d)``; a grid gives a lower bound of the true one.

    Raises:
        ValueError: ``function`` does not return one value per row.

    Examples:
        >>> smooth_norm(lambda x: 3 * x[:, 0], torch.tensor([[1.0, 0.0]]))
        6.0
    """
    values, slopes = input_slopes(function, points)
    return float((values.abs() + slopes.flatten(1).norm(dim=1)).max())


class GeneratorGradient(NamedTuple):
    """The norm of a generator's gradient, and the constant ``M`` of its bound.

    Attributes:
        norm: norm of the gradient of the loss with respect to all parameters.
        jacobian: ``M``, the root of the mean squared spectral norm of the generator's parameter Jacobian.
    """

    norm: float
    jacobian: float


def generator_gradient(
    discriminator: Map, generate: Generate, parameters: Parameters, z: Tensor, saturating: bool = True
) -> GeneratorGradient:
    r"""The norm of :math:`\nabla_\theta E_z \log(1 - D(g_\theta(z)))`, or of :math:`-\log D`, and ``M`` for the bound.

    Args:
        discriminator: maps ``(n, d)`` to probabilities ``(n,)`` in (0, 1).
        generate: maps ``(parameters, z)`` to ``(n, d)``, each row independently.
        parameters: tensors by name.
        z: latent codes ``(n, k)``: the expectation is the mean over them.
        saturating: whether the loss is :math:`\log(1 - D)`; otherwise it is :math:`-\log D`.

    Raises:
        ValueError: no parameters, ``z`` is not a matrix, a score outside [0, 1], or a loss that is not finite.

    Examples:
        >>> start, z = {"shift": torch.zeros(1)}, torch.zeros(4, 1)
        >>> made = generator_gradient(lambda x: x[:, 0].sigmoid(), lambda p, z: z + p["shift"], start, z)
        >>> made.norm, made.jacobian
        (0.5, 1.0)
    """
    if not parameters:
        raise ValueError("no parameters of the generator are given; pass them by name")
    if z.ndim != 2:
        raise ValueError(f"latents of shape {tuple(z.shape)}; pass (n, k)")
    own = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    with torch.enable_grad():
        scores = discriminator(generate(own, z))
        loss = torch.log1p(-scores).mean() if saturating else -scores.log().mean()
        if not bool(loss.isfinite()) or not bool(((scores >= 0) & (scores <= 1)).all()):
            found = f"scores from {scores.min().item():.4g} to {scores.max().item():.4g}, a loss of {loss.item()}"
            raise ValueError(f"{found}; the scores are probabilities and must lie strictly between 0 and 1")
        grads = torch.autograd.grad(loss, list(own.values()), allow_unused=True, materialize_grads=True)

    def row(values: Parameters, one: Tensor) -> Tensor:
        return generate(values, one[None])[0].flatten()

    slopes = torch.func.vmap(torch.func.jacrev(row), in_dims=(None, 0))(dict(parameters), z)
    flat = torch.cat([slope.flatten(2) if slope.ndim > 2 else slope[..., None] for slope in slopes.values()], 2)
    moment = torch.linalg.matrix_norm(flat, ord=2).square().mean()
    return GeneratorGradient(math.hypot(*(float(g.norm()) for g in grads)), float(moment.sqrt()))


def vanishing_bound(epsilon: float, jacobian: float) -> float:
    r"""The bound on a generator's gradient if the discriminator is nearly perfect (A&B 2017, Theorem 2.4).

    .. math:: \big\| \nabla_\theta E_z \log(1 - D(g_\theta(z))) \big\|_2 < \frac{M \epsilon}{1 - \epsilon}

    Assumptions: a perfect flat :math:`D^*` exists (Theorems 2.1, 2.2), ``D`` is differentiable,
    :math:`\|D - D^*\| < \epsilon < 1` in :func:`smooth_norm`, and :math:`E_z \|J_\theta g_\theta(z)\|_2^2 \le M^2`.
    The proof bounds the *square* of the norm by :math:`M^2\epsilon^2/(1-\epsilon)^2`; printed without the square on
    the left it is false (E41, E42). The corollary's limit, no gradient at all, follows.

    Args:
        epsilon: distance of the discriminator from the perfect one, in (0, 1).
        jacobian: ``M``.

    Raises:
        ValueError: ``epsilon`` outside (0, 1) or a negative ``M``.

    Examples:
        >>> vanishing_bound(0.5, 2.0)
        2.0
    """
    if not 0 < epsilon < 1 or not jacobian >= 0:
        raise ValueError(f"epsilon {epsilon} must lie in (0, 1) and M {jacobian} must be >= 0")
    return jacobian * epsilon / (1 - epsilon)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # Without matmul: cdist's matmul mode loses half of the digits of a small distance.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
