"""Maximum mean discrepancy: the unbiased estimator, the kernel of the kernel inception distance, a permutation test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..base.errors import ConfigError, ShapeError
from ..base.records import record
from .checks import generator, pair, points
from .measured import P_VALUE, Measured
from .scoring import Score, Suite

Kernel = Callable[[Tensor, Tensor], Tensor]


@record
class MmdTest:
    """Unbiased squared MMD with its null distribution under permutations.

    Args:
        value: the estimate.
        p: share of the permutations, including the identity, with a score of at least ``value``.
        null_sd: standard deviation of the permuted values; a perfect sampler scores 0 ± ``null_sd``.
        permutations: number drawn.
    """

    value: float
    p: float
    null_sd: float
    permutations: int


def polynomial(x: Tensor, y: Tensor) -> Tensor:
    r"""The kernel :math:`(x^\top y / d + 1)^3` of the kernel inception distance (Bińkowski et al. 2018, section 4).

    Args:
        x: ``(n, d)``.
        y: ``(m, d)``.

    Returns:
        ``(n, m)``.

    Examples:
        >>> polynomial(torch.ones(1, 2), torch.ones(1, 2)).item()
        8.0
    """
    return (x @ y.T / x.shape[1] + 1) ** 3


def gaussian(scale: float) -> Kernel:
    r"""The kernel :math:`\exp(-\|x - y\|^2 / 2 s^2)`, which is characteristic: its MMD is 0 only for equal laws.

    Raises:
        ConfigError: the scale is not positive.

    Examples:
        >>> round(gaussian(1.0)(torch.zeros(1, 2), torch.ones(1, 2)).item(), 4)
        0.3679
    """
    if not scale > 0:
        raise ConfigError(f"kernel scale {scale}: it must be positive", "use median_scale(real)")
    return lambda x, y: torch.exp(-torch.cdist(x, y).square() / (2 * scale**2))


def median_scale(x: Tensor) -> float:
    """Median distance between different rows, the usual scale of :func:`gaussian` (Gretton et al. 2012, section 8).

    Args:
        x: ``(n, d)``; the first 2000 rows are used.

    Raises:
        ShapeError: fewer than two rows.

    Examples:
        >>> median_scale(torch.tensor([[0.0], [3.0]]))
        3.0
    """
    return float(torch.pdist(points(x[:2000], "rows", least=2)).median())


def log_windows(centres: Tensor, rows: Tensor, widths: Sequence[float]) -> Tensor:
    r"""The logarithm of a Parzen estimate: the mean of Gaussian densities about samples of a model.

    .. math:: \log \frac1S \sum_{s=1}^S \mathcal N(x_i;\, c_{si}, \sigma^2 I)

    (Breuleux et al. 2011, with centres that may depend on the row: a conditional density.)

    Args:
        centres: ``(S, n, d)``, a set of centres for each row, or ``(S, 1, d)``, the same for all rows.
        rows: ``(n, d)``.
        widths: values of :math:`\sigma`, above 0.

    Returns:
        ``(len(widths), n)`` in nats, in the dtype of ``rows``; float64 is advised, for d in the hundreds.

    Raises:
        ConfigError: a width is not positive.

    Examples:
        >>> log_windows(torch.zeros(1, 1, 2), torch.zeros(1, 2), [1.0]).item()  # -log 2π
        -1.8378770351409912
    """
    if not min(widths) > 0:
        raise ConfigError(f"a window of width {min(widths)}: it must be positive", "choose it on held-out rows")
    if centres.shape[1] == 1:
        squares = torch.cdist(centres[:, 0], rows).square()
    else:
        squares = (centres - rows).square().sum(2)
    d = rows.shape[1]
    found = [torch.logsumexp(-squares / (2 * w**2), 0) - d / 2 * math.log(2 * math.pi * w**2) for w in widths]
    return torch.stack(found) - math.log(len(centres))


def mmd2(x: Tensor, y: Tensor, kernel: Kernel = polynomial) -> float:
    r"""Unbiased estimate of the squared maximum mean discrepancy.

    .. math:: \frac{1}{n(n-1)}\sum_{i \ne j} k(x_i, x_j) + \frac{1}{m(m-1)}\sum_{i \ne j} k(y_i, y_j)
              - \frac{2}{nm}\sum_{i,j} k(x_i, y_j)

    (Gretton et al. 2012, Lemma 6, equation 3). Its expectation is 0 for equal laws, so it may be negative. With
    :func:`polynomial` on Inception features it is the KID, here over all rows instead of averaged over subsets.

    Args:
        x: ``(n, d)``.
        y: ``(m, d)``.
        kernel: maps ``(n, d), (m, d)`` to ``(n, m)``.

    Raises:
        ShapeError: different dimensions, or fewer than two rows.
        DataError: an entry is not finite.

    Examples:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> mmd2(x, x, lambda a, b: a @ b.T)
        -0.5
    """
    a, b = pair(x, y, least=2)
    gram, n = _gram(a, b, kernel)
    return float(_statistics(gram, n, _sides(n, len(b))[:, None])[0])


def mmd_test(x: Tensor, y: Tensor, kernel: Kernel = polynomial, permutations: int = 200, seed: int = 0) -> MmdTest:
    r"""Test of equal laws: :func:`mmd2` against its values after random permutations of the pooled rows.

    .. math:: p = \frac{1 + \#\{b : T_b \ge T\}}{1 + B}

    (Phipson & Smyth 2010), which is exact at every sample size: under equal laws :math:`P(p \le \alpha) \le \alpha`.

    Args:
        x: ``(n, d)``.
        y: ``(m, d)``.
        kernel: maps ``(n, d), (m, d)`` to ``(n, m)``.
        permutations: number drawn; the smallest p is ``1 / (1 + permutations)``.
        seed: seed of the permutations.

    Raises:
        ShapeError: different dimensions, or fewer than two rows.
        DataError: an entry is not finite.
        ConfigError: fewer than two permutations.

    Examples:
        >>> x = torch.linspace(0, 1, 20)[:, None]
        >>> mmd_test(x, x + 5, permutations=99).p
        0.01
    """
    if permutations < 2:
        raise ConfigError(f"permutations={permutations}: at least 2 are needed", "use permutations=200")
    a, b = pair(x, y, least=2)
    gram, n = _gram(a, b, kernel)
    sides, draws = _sides(n, len(b)), generator(seed)
    orders = [torch.randperm(len(sides), generator=draws) for _ in range(permutations)]
    values = _statistics(gram, n, torch.stack([sides, *(sides[order] for order in orders)], dim=1))
    value, null = values[0], values[1:]
    # A permutation that restores the same sides must count as equal despite rounding.
    slack = 1e-9 * gram.abs().max()
    return MmdTest(
        value=float(value),
        p=(1 + int((null >= value - slack).sum())) / (1 + permutations),
        null_sd=float(null.std()),
        permutations=permutations,
    )


@record
class Kid:
    """The kernel inception distance with its standard error.

    Args:
        value: the mean of the unbiased estimates of the subsets; it may be negative.
        error: the standard error of that mean.
        subsets: number of subsets.
        size: rows of each side in a subset.
    """

    value: float
    error: float
    subsets: int
    size: int


def kid(x: Tensor, y: Tensor, size: int = 1000, seed: int = 0) -> Kid:
    r"""The mean of :func:`mmd2` over disjoint subsets, with the kernel :func:`polynomial`, and its standard error.

    Each estimate is unbiased at every size (Bińkowski et al. 2018, section 4), so the size changes the error only. The
    subsets are disjoint, hence independent, and the standard error is their standard deviation over the root of their
    number; published values often use 100 subsets that overlap, whose spread is not a standard error.

    Args:
        x: ``(n, d)`` features of generated samples.
        y: ``(m, d)`` features of real samples.
        size: rows of a side in a subset, at most a tenth of the smaller side.
        seed: seed of the subsets.

    Raises:
        ShapeError: different dimensions, or fewer than 20 rows.
        DataError: an entry is not finite.

    Examples:
        >>> x = torch.linspace(-1, 1, 40)[:, None]
        >>> kid(x + 3, x).value > 10
        True
    """
    a, b = pair(x, y, least=20)
    n, draws = min(len(a), len(b)), generator(seed)
    size = max(2, min(size, n // 10))
    a, b = (rows[torch.randperm(len(rows), generator=draws)[:n]] for rows in (a, b))
    blocks = [slice(start, start + size) for start in range(0, n - size + 1, size)]
    values = torch.tensor([mmd2(a[rows], b[rows]) for rows in blocks], dtype=torch.float64)
    return Kid(
        value=float(values.mean()), error=float(values.std()) / len(blocks) ** 0.5, subsets=len(blocks), size=size
    )


def _sides(n: int, m: int) -> Tensor:
    return torch.cat([torch.ones(n, dtype=torch.float64), torch.zeros(m, dtype=torch.float64)])


def _gram(a: Tensor, b: Tensor, kernel: Kernel) -> tuple[Tensor, int]:
    """Gram matrix of the pooled rows without its diagonal."""
    both = torch.cat([a, b])
    gram = kernel(both, both)
    if gram.shape != (len(both), len(both)):
        raise ShapeError(f"the kernel gave {tuple(gram.shape)} for {len(both)} rows", "make it return (n, m)")
    return gram - torch.diag(gram.diagonal()), len(a)


def _statistics(gram: Tensor, n: int, sides: Tensor) -> Tensor:
    """The estimator for each column of ``sides (n + m, b)``, 1 on one side and 0 on the other."""
    m = len(gram) - n
    ours = gram @ sides
    theirs = gram.sum(1, keepdim=True) - ours
    within_x = (sides * ours).sum(0) / (n * (n - 1))
    within_y = ((1 - sides) * theirs).sum(0) / (m * (m - 1))
    return within_x + within_y - 2 * (sides * theirs).sum(0) / (n * m)


def _mmd(fake: Tensor, pool: Tensor, suite: Suite) -> dict[str, Measured]:
    n = min(len(fake), len(pool) // 2, suite.quadratic)
    test = mmd_test(fake[:n], pool[:n], permutations=suite.permutations, seed=suite.seed)
    return {
        "mmd2": Measured(value=test.value, floor=0.0, spread=test.null_sd, unit="mmd²", n=n),
        # Under equal laws p is uniform on (0, 1].
        "mmd_p": Measured(value=test.p, floor=0.5, spread=12**-0.5, unit=P_VALUE, n=n, higher=True),
    }


SCORES = (Score("features", _mmd),)
