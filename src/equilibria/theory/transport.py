r"""Wasserstein distances: exact transport with its dual, assignment, sliced and entropic transport, parallel lines.

Every distance here is differentiable in the points, so it can serve as a loss (Arjovsky et al. 2017).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import eye_array, kron, vstack
from torch import Tensor

from .checks import check_law, check_points, readable


class LineDistances(NamedTuple):
    """Distances of two laws; those with logarithms are in nats."""

    w1: float
    js: float
    kl: float
    reverse_kl: float
    total_variation: float


def parallel_lines(theta: float) -> LineDistances:
    r"""The distances of :math:`(0, U)` and :math:`(\theta, U)`, ``U`` uniform on [0, 1] (Arjovsky et al. 2017, ex. 1).

    Only :math:`W_1 = |\theta|` is continuous. For every :math:`\theta \ne 0` JSD is ``log 2``, both KL infinite and TV
    1: they are constant at their maxima, so their slopes are zero *and their values are not* (E5; "either constant or
    infinite" omits the jump at 0, E61).

    Examples:
        >>> parallel_lines(0.25)
        LineDistances(w1=0.25, js=0.693..., kl=inf, reverse_kl=inf, total_variation=1.0)
    """
    if theta == 0:
        return LineDistances(0.0, 0.0, 0.0, 0.0, 0.0)
    return LineDistances(abs(theta), math.log(2), math.inf, math.inf, 1.0)


def costs(x: Tensor, y: Tensor, order: float = 1.0) -> Tensor:
    r""":math:`\|x_i - y_j\|^r`, ``(n, m)``, with gradient zero where points coincide.

    Args:
        x: ``(n, d)``.
        y: ``(m, d)``.
        order: ``r >= 1``.

    Raises:
        ValueError: shapes that do not fit, ``order < 1``, or points that are not finite.

    Examples:
        >>> costs(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
        tensor([[5.]])
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not order >= 1:
        raise ValueError(f"points {tuple(x.shape)} and {tuple(y.shape)}, order {order}; want (n, d), (m, d), >= 1")
    check_points(x=x, y=y)
    squares = (x[:, None] - y).square().sum(-1)
    apart = squares > 0
    return torch.where(apart, torch.where(apart, squares, 1.0).pow(order / 2), 0.0)


class Assignment(NamedTuple):
    """An optimal matching.

    Attributes:
        cost: mean cost, a scalar, differentiable in the points. Its root of order ``r`` is the distance.
        partner: for each row of ``x`` the index of its row of ``y``, ``(n,)``.
    """

    cost: Tensor
    partner: Tensor


def assignment(x: Tensor, y: Tensor, order: float = 1.0) -> Assignment:
    r"""Exact transport of two sets of the same size: :math:`\min_\pi \frac1n \sum_i \|x_i - y_{\pi(i)}\|^r`.

    Among the optimal plans of uniform laws on ``n`` points there is a permutation (Birkhoff). If it is unique, the
    gradient is that of the matched pairs.

    Args:
        x: ``(n, d)``.
        y: ``(n, d)``.
        order: ``r >= 1``.

    Raises:
        ValueError: sets of different sizes or dimensions, or points that are not finite.

    Examples:
        >>> assignment(torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [2.0]]))
        Assignment(cost=tensor(2.), partner=tensor([1, 0]))
    """
    if len(x) != len(y):
        raise ValueError(f"assignment of {len(x)} points to {len(y)}; pass sets of equal size, or use exact_plan")
    cost = costs(x, y, order)
    rows, columns = linear_sum_assignment(cost.detach().cpu().numpy())
    partner = torch.as_tensor(columns, device=cost.device)
    return Assignment(cost[torch.as_tensor(rows, device=cost.device), partner].mean(), partner)


class Plan(NamedTuple):
    """An optimal plan and its dual certificate.

    Attributes:
        cost: the minimal expected cost, a scalar, differentiable in the costs.
        plan: ``(n, m)``, with the two laws as marginals.
        source: dual potential of the first law, ``(n,)``.
        target: dual potential of the second, ``(m,)``; ``source_i + target_j <= cost_ij``.
    """

    cost: Tensor
    plan: Tensor
    source: Tensor
    target: Tensor


def exact_plan(p: Tensor, q: Tensor, cost: Tensor) -> Plan:
    r"""Optimal transport of two discrete laws by linear programming, with Kantorovich's dual.

    .. math:: \min_{\pi \in \Pi(p, q)} \sum_{ij} \pi_{ij} c_{ij} = \max_{u_i + v_j \le c_{ij}} p \cdot u + q \cdot v

    For the cost :math:`\|x - y\|` on one set of points the best pair is ``v = -u`` with ``u`` 1-Lipschitz:
    :math:`W_1 = \sup_{\|f\|_L \le 1} E_p f - E_q f` (Kantorovich & Rubinstein). A critic reaches that supremum, and at
    the optimum :math:`\nabla_\theta W_1 = -E_z \nabla_\theta f^*(g_\theta(z))` (Arjovsky et al. 2017, Theorem 3).

    Args:
        p: probabilities ``(n,)``.
        q: probabilities ``(m,)``.
        cost: ``(n, m)``.

    Raises:
        ValueError: not two laws, or a cost of another shape.

    Examples:
        >>> found = exact_plan(torch.tensor([0.5, 0.5]), torch.tensor([1.0]), torch.tensor([[1.0], [3.0]]))
        >>> found.cost.item()
        2.0
    """
    check_law(p, "p")
    check_law(q, "q")
    n, m = len(p), len(q)
    if cost.shape != (n, m):
        raise ValueError(f"a cost of shape {tuple(cost.shape)} for laws of {n} and {m} atoms; want ({n}, {m})")
    if not bool(cost.isfinite().all()):
        raise ValueError("the costs have entries that are not finite; forbid a pair by a large cost, not by infinity")
    margins = vstack([kron(eye_array(n), np.ones((1, m))), kron(np.ones((1, n)), eye_array(m))]).tocsr()
    wanted = np.concatenate([_normalised(p), _normalised(q)])
    found = linprog(cost.detach().double().cpu().numpy().ravel(), A_eq=margins, b_eq=wanted, method="highs")
    if found.status != 0:
        raise ValueError(f"no optimal plan was found ({found.message}); scale the costs to a moderate range")
    plan = cost.new_tensor(found.x.reshape(n, m))
    duals = cost.new_tensor(found.eqlin.marginals)
    return Plan((plan * cost).sum(), plan, duals[:n], duals[n:])


def line_potential(p: Tensor, q: Tensor, points: Tensor) -> Tensor:
    r"""The 1-Lipschitz critic that attains :math:`W_1` between two laws on the line.

    .. math:: f'(x) = \mathrm{sign}(F_q(x) - F_p(x)), \qquad E_p f - E_q f = \int |F_p - F_q| = W_1

    Args:
        p: probabilities ``(k,)``.
        q: probabilities ``(k,)``.
        points: ``(k,)``, in any order.

    Returns:
        ``f`` at the points, ``(k,)``, zero at the leftmost.

    Raises:
        ValueError: not two laws on these points.

    Examples:
        >>> line_potential(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.0, 3.0]))
        tensor([ 0., -3.])
    """
    check_law(p, "p")
    check_law(q, "q")
    if not p.shape == q.shape == points.shape:
        raise ValueError(f"laws {tuple(p.shape)}, {tuple(q.shape)}, points {tuple(points.shape)}; all must be (k,)")
    check_points(points=points)
    by = points.argsort()
    slopes = (q - p)[by].cumsum(0)[:-1].sign()
    heights = torch.zeros_like(points)
    heights[by[1:]] = (slopes * points[by].diff()).cumsum(0)
    return heights


def sliced(x: Tensor, y: Tensor, directions: Tensor, order: float = 1.0) -> Tensor:
    r"""Sliced transport cost, the mean over given directions of :math:`W_r^r(u \cdot x, u \cdot y)`; differentiable.

    On the line the optimal plan of sets of equal size matches by rank, so sorting is enough (Rabin et al. 2012).

    Args:
        x: ``(n, d)``.
        y: ``(n, d)``.
        directions: ``(d, p)``; their columns are normalised.
        order: ``r >= 1``.

    Raises:
        ValueError: sets of different sizes, directions of another dimension or of length zero, or entries that are not
            finite.

    Examples:
        >>> sliced(torch.zeros(4, 2), torch.ones(4, 2), torch.eye(2))
        tensor(1.)
    """
    if x.shape != y.shape or x.ndim != 2 or directions.ndim != 2 or directions.shape[0] != x.shape[1] or not order >= 1:
        shapes = f"{tuple(x.shape)}, {tuple(y.shape)}, directions {tuple(directions.shape)}, order {order}"
        raise ValueError(f"points {shapes}; want (n, d) twice, (d, p), >= 1")
    check_points(x=x, y=y, directions=directions)
    if readable(directions) and not bool((directions != 0).any(0).all()):
        raise ValueError("a direction is zero; give columns that can be normalised")
    lines: Tensor = directions / torch.linalg.vector_norm(directions, dim=0)
    gaps: Tensor = (x @ lines).sort(0).values - (y @ lines).sort(0).values
    return gaps.abs().pow(order).mean()


def sinkhorn(p: Tensor, q: Tensor, cost: Tensor, epsilon: float, rounds: int = 2000, tolerance: float = 1e-9) -> Plan:
    r"""Entropic transport in the log domain (Cuturi 2013), differentiable in the costs.

    .. math:: \min_{\pi \in \Pi(p, q)} \sum \pi_{ij} c_{ij} + \epsilon\, KL(\pi \| p \otimes q)

    Args:
        p: probabilities ``(n,)``, positive.
        q: probabilities ``(m,)``, positive.
        cost: ``(n, m)``.
        epsilon: in the unit of the cost; a smaller value is closer to exact transport and slower.
        rounds: maximal number of iterations.
        tolerance: error of the marginal, in total variation, at which the iteration stops.

    Returns:
        ``cost`` is the whole objective with the entropy; by the envelope theorem its gradient in the costs is the plan.

    Raises:
        ValueError: not two positive laws, another shape, ``epsilon <= 0``, or a final error of the marginal above 1e-3.

    Examples:
        >>> half = torch.tensor([0.5, 0.5])
        >>> found = sinkhorn(half, half, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), epsilon=0.05)
        >>> round(found.cost.item(), 4)
        0.0347
    """
    check_law(p, "p")
    check_law(q, "q")
    if cost.shape != (len(p), len(q)) or not epsilon > 0 or not bool((p > 0).all() and (q > 0).all()):
        raise ValueError(f"cost {tuple(cost.shape)}, epsilon {epsilon}; want ({len(p)}, {len(q)}), > 0, positive laws")
    log_p, log_q, scaled = p.log(), q.log(), cost.detach() / epsilon
    u, v = torch.zeros_like(p), torch.zeros_like(q)
    missed = math.inf
    for _ in range(rounds):
        u = -torch.logsumexp(log_q + v - scaled, 1)
        v = -torch.logsumexp(log_p[:, None] + u[:, None] - scaled, 0)
        log_plan = log_p[:, None] + log_q + u[:, None] + v - scaled
        missed = float((log_plan.exp().sum(1) - p).abs().sum()) / 2
        if missed < max(tolerance, 4 * torch.finfo(p.dtype).eps):
            break
    if not missed <= 1e-3:
        raise ValueError(f"error of the marginal {missed:.2g} after {rounds} rounds; raise epsilon={epsilon} or rounds")
    plan = log_plan.exp()
    entropy = (plan * (u[:, None] + v - scaled)).sum()
    # At the optimum only the explicit cost changes the objective; u and v contribute nothing to first order.
    return Plan((plan * cost).sum() + epsilon * entropy, plan, epsilon * u, epsilon * v)


def _normalised(law: Tensor) -> np.ndarray:
    exact = law.detach().double().cpu().numpy()
    return np.asarray(exact / exact.sum())
