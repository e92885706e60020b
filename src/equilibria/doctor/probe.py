"""The probe: an independent classifier that the doctor trains at each check-up and tests on held-out rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Probe:
    r"""How well the probe separates two sets of rows.

    Attributes:
        auc: chance that a real row scores above a generated one, on rows it was not fitted to; 1/2 if they cannot be
            separated.
        jsd: lower bound on the Jensen-Shannon divergence in nats,
            :math:`\tfrac12(E_p \log D + E_q \log(1-D) + \log 4)` of the probe's D on those rows (Goodfellow et al.
            2014, Theorem 1: any D gives a lower bound), and not below 0.
    """

    auc: float
    jsd: float


def probe(real: Tensor, fake: Tensor, seed: int = 0) -> Probe:
    """Fit ridge-penalised logistic regression on local and global features, and test it on the other half.

    Features are Gaussian bumps around landmarks of both sets at three widths, the coordinates and their squares; the
    fit is Newton's. It does not use the discriminator.

    Args:
        real: ``(n, d)`` rows in standardised coordinates.
        fake: ``(m, d)`` rows.
        seed: of the split and the landmarks.

    Examples:
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> far, near = probe(x[:200], x[200:] + 5), probe(x[:200], x[200:])
        >>> far.auc > 0.99, 0.35 < near.auc < 0.65, far.jsd > 0.6
        (True, True, True)
    """
    n = min(len(real), len(fake))
    if n < 16:
        return Probe(1.0, math.log(2))
    draw = torch.Generator().manual_seed(seed)
    a = real[torch.randperm(len(real), generator=draw)[:n]].double()
    b = fake[torch.randperm(len(fake), generator=draw)[:n]].double()
    h = n // 2
    fit, test = torch.cat([a[:h], b[:h]]), torch.cat([a[h:], b[h:]])
    low, high = torch.quantile(torch.cat([a, b]), torch.tensor([0.001, 0.999], dtype=torch.float64))
    reach = float(max(abs(low), abs(high), 1.0)) * 3
    fit, test = fit.clamp(-reach, reach), test.clamp(-reach, reach)
    marks = torch.cat([a[: min(h, 48)], b[: min(h, 48)]]).clamp(-reach, reach)
    spread = torch.cdist(marks, marks)
    near = float((spread + 1e9 * torch.eye(len(marks), dtype=torch.float64)).min(1).values.median())
    middle = float(spread.median())
    widths = [max(w, 1e-6) for w in (near, math.sqrt(max(near, 1e-9) * max(middle, 1e-9)), middle)]

    def features(x: Tensor) -> Tensor:
        d = torch.cdist(x, marks)
        bumps = [torch.exp(-0.5 * (d / w).square()) for w in widths]
        return torch.cat([*bumps, x, x.square()], 1)

    f, g = features(fit), features(test)
    centre, width = f.mean(0), f.std(0).clamp(min=1e-8)
    f, g = (f - centre) / width, (g - centre) / width
    target = torch.cat([torch.ones(h), torch.zeros(h)]).double()
    weights, offset = _logistic(f, target, ridge=0.05)
    scores = g @ weights + offset
    real_scores, fake_scores = scores[: n - h], scores[n - h :]
    bound = 0.5 * (
        torch.nn.functional.logsigmoid(real_scores).mean()
        + torch.nn.functional.logsigmoid(-fake_scores).mean()
        + math.log(4)
    )
    return Probe(auc(real_scores, fake_scores), max(float(bound), 0.0))


def _logistic(f: Tensor, target: Tensor, ridge: float, rounds: int = 6) -> tuple[Tensor, Tensor]:
    """Newton's method; the penalty is ``ridge * n / 2 * |w|^2`` so that it does not depend on n."""
    n, k = f.shape
    x = torch.cat([f, torch.ones(n, 1, dtype=f.dtype)], 1)
    w = torch.zeros(k + 1, dtype=f.dtype)
    penalty = torch.full((k + 1,), ridge, dtype=f.dtype)
    penalty[-1] = 1e-6
    for _ in range(rounds):
        p = torch.sigmoid(x @ w)
        slope = x.T @ (p - target) / n + penalty * w
        curve = (x.T * (p * (1 - p)).clamp(min=1e-6)) @ x / n + torch.diag(penalty)
        w = w - torch.linalg.solve(curve, slope)
    return w[:-1], w[-1]


def auc(real: Tensor, fake: Tensor) -> float:
    """Chance that a real score exceeds a fake one, ties counted half (Mann-Whitney).

    Examples:
        >>> auc(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]))
        0.875
    """
    both = torch.cat([real, fake]).double()
    if not bool(torch.isfinite(both).all()):
        return math.nan
    _, group, count = torch.unique(both, return_inverse=True, return_counts=True)
    last = count.cumsum(0).double()
    rank = (last - (count.double() - 1) / 2)[group]
    n, m = len(real), len(fake)
    return float((rank[:n].sum() - n * (n + 1) / 2) / (n * m))
