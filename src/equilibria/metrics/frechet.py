"""The Fréchet distance: squared Wasserstein-2 between the Gaussians with the moments of two feature samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..base.errors import ShapeError
from .checks import pair, points
from .measured import Measured
from .scoring import Score, Suite, compared

_BLOCK = 4096  # rows whose outer products are summed at once


def gaussian_frechet(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    r"""Squared Wasserstein-2 distance of two Gaussians.

    .. math:: d^2 = \|\mu_a - \mu_b\|^2 + \operatorname{tr}\bigl(\Sigma_a + \Sigma_b
              - 2(\Sigma_a^{1/2}\Sigma_b\Sigma_a^{1/2})^{1/2}\bigr)

    (Dowson & Landau 1982, equation 4; Heusel et al. 2017, equation 6). The root is the root of a symmetric positive
    semi-definite matrix, so the value is real and not negative, also for singular covariances.

    Args:
        mean_a: ``(d,)``.
        cov_a: ``(d, d)``, symmetric and positive semi-definite.
        mean_b: ``(d,)``.
        cov_b: ``(d, d)``.

    Raises:
        ShapeError: the dimensions of the moments differ.

    Examples:
        >>> one = torch.eye(1)
        >>> round(gaussian_frechet(torch.zeros(1), one, torch.tensor([3.0]), 4 * one), 6)
        10.0
    """
    d = mean_a.numel()
    if mean_b.shape != (d,) or cov_a.shape != (d, d) or cov_b.shape != (d, d):
        shapes = ", ".join(str(tuple(t.shape)) for t in (mean_a, cov_a, mean_b, cov_b))
        raise ShapeError(f"moments of shapes {shapes}", "pass (d,), (d, d), (d,), (d, d)")
    mean_a, cov_a, mean_b, cov_b = (t.detach().to("cpu", torch.float64) for t in (mean_a, cov_a, mean_b, cov_b))
    return _distance(mean_a, cov_a, root_of(cov_a), mean_b, cov_b)


def root_of(cov: Tensor) -> Tensor:
    """The symmetric root of a covariance ``(d, d)``; negative eigenvalues, which rounding leaves, count as zero.

    Examples:
        >>> root_of(torch.tensor([[4.0, 0.0], [0.0, 9.0]])).diagonal().tolist()
        [2.0, 3.0]
    """
    values, vectors = torch.linalg.eigh(cov)
    root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return root


def _distance(mean_a: Tensor, cov_a: Tensor, root: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    squared = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return max(float(squared), 0.0)


@dataclass(frozen=True)
class Gaussian:
    """The moments of a feature sample, from which several Fréchet distances are taken.

    Attributes:
        mean: ``(d,)`` float64.
        cov: ``(d, d)`` float64, unbiased (``n - 1``).
        n: number of rows.

    Examples:
        >>> x = torch.tensor([[0.0], [2.0]])
        >>> round(Sums.of(x).gaussian().to(Sums.of(x + 3).gaussian()), 6)
        9.0
    """

    mean: Tensor
    cov: Tensor
    n: int

    @cached_property
    def root(self) -> Tensor:
        """The root of the covariance, computed once."""
        return root_of(self.cov)

    def to(self, other: Gaussian) -> float:
        """:func:`gaussian_frechet` of these moments and those of another sample."""
        return _distance(self.mean, self.cov, self.root, other.mean, other.cov)


@dataclass(frozen=True)
class Sums:
    """Sums over rows that add up: the moments of any union of blocks follow from those of its blocks.

    Attributes:
        n: number of rows.
        total: ``(d,)`` float64, the sum of the rows less ``shift``.
        outer: ``(d, d)`` float64, the sum of their outer products.
        shift: a fixed vector near the mean, so that nothing cancels.
    """

    n: int
    total: Tensor
    outer: Tensor
    shift: Tensor

    @classmethod
    def of(cls, rows: Tensor, shift: Tensor | None = None) -> Sums:
        """The sums of rows ``(n, d)`` of any float dtype, accumulated in float64 in blocks.

        Raises:
            ShapeError: no rows.
            DataError: an entry is not finite.
        """
        near = points(rows[:1000], "rows").mean(0) if shift is None else shift
        total, outer = torch.zeros_like(near), torch.zeros(len(near), len(near), dtype=torch.float64)
        for block in torch.split(rows, _BLOCK):
            centred = points(block, "rows") - near
            total += centred.sum(0)
            outer += centred.T @ centred
        return cls(len(rows), total, outer, near)

    def plus(self, other: Sums) -> Sums:
        """The sums of both sets of rows; both have the same shift."""
        return Sums(self.n + other.n, self.total + other.total, self.outer + other.outer, self.shift)

    def minus(self, other: Sums) -> Sums:
        """The sums without a part of the rows."""
        return Sums(self.n - other.n, self.total - other.total, self.outer - other.outer, self.shift)

    def gaussian(self) -> Gaussian:
        """Their moments.

        Raises:
            ShapeError: fewer than two rows.
        """
        if self.n < 2:
            raise ShapeError(f"{self.n} rows have no covariance", "pass at least two rows")
        off = self.total / self.n
        cov = (self.outer - self.n * torch.outer(off, off)) / (self.n - 1)
        return Gaussian(self.shift + off, (cov + cov.T) / 2, self.n)


def jackknifed(rows: Tensor, reference: Gaussian, groups: int = 4) -> float:
    r"""The standard deviation of the Fréchet distance of rows to a reference, by the delete-a-group jackknife.

    .. math:: s^2 = \frac{g-1}{g} \sum_i (\theta_{(i)} - \bar\theta)^2

    with :math:`\theta_{(i)}` computed without the i-th of g blocks of rows (Kott 2001); rows are in random order.

    Args:
        rows: ``(n, d)`` features.
        reference: the moments of the reference.
        groups: number of blocks.

    Examples:
        >>> x = torch.linspace(0, 1, 40)[torch.randperm(40, generator=torch.Generator().manual_seed(0)), None]
        >>> 0 < jackknifed(x + 1, Sums.of(x).gaussian()) < 0.2
        True
    """
    parts = [Sums.of(block, reference.mean) for block in torch.tensor_split(rows, groups)]
    whole = reduce(Sums.plus, parts)
    left = torch.tensor([reference.to(whole.minus(part).gaussian()) for part in parts], dtype=torch.float64)
    return float(((groups - 1) * left.var(correction=0)).sqrt())


class Extrapolated(NamedTuple):
    """A distance extrapolated to infinitely many samples, its standard error in the fit, and the plain distance."""

    value: float
    error: float
    plain: float


def extrapolated(rows: Tensor, reference: Gaussian, count: int = 6, least: int = 5000) -> Extrapolated:
    r"""The Fréchet distance extrapolated to infinitely many samples, and that of all rows.

    The distance at N samples is, to first order, :math:`a + b / N`; the value is the intercept of a line through the
    distances at several N (Chong & Forsyth 2020, section 3). Only the bias of the samples is removed, not that of the
    reference, as there. N goes from ``least``, or half of the rows if there are fewer than twice as many, to all rows;
    the first N rows are taken, so they must be in random order.

    Args:
        rows: ``(n, d)`` features.
        reference: the moments of the reference.
        count: number of values of N.
        least: the smallest N.

    Raises:
        ShapeError: fewer rows than four for each N.

    Examples:
        >>> draws = torch.Generator().manual_seed(0)
        >>> x = torch.randn(400, 2, generator=draws)
        >>> unit = Gaussian(torch.zeros(2).double(), torch.eye(2).double(), 400)
        >>> abs(extrapolated(x, unit).value) < 0.05
        True
    """
    from scipy import stats

    n = len(rows)
    if n < 4 * count:
        raise ShapeError(f"{n} rows for {count} distances", f"pass at least {4 * count} rows")
    ends = [round(float(end)) for end in np.linspace(min(least, n // 2), n, count)]
    sums, values = Sums.of(rows[: ends[0]], reference.mean), []
    for end, following in zip(ends, [*ends[1:], n], strict=True):
        values.append(reference.to(sums.gaussian()))
        if following > end:
            sums = sums.plus(Sums.of(rows[end:following], reference.mean))
    fit = stats.linregress(1 / np.asarray(ends), values)
    return Extrapolated(float(fit.intercept), float(fit.intercept_stderr), values[-1])


def frechet_distance(x: Tensor, y: Tensor) -> float:
    r"""Fréchet distance between two feature samples: :func:`gaussian_frechet` of their means and covariances.

    Covariances are unbiased (``n - 1``). The estimate is biased upwards, and the bias grows with ``d / n``. Compare it
    only with values for the same features and the same ``n``, and state its floor (real against real). With the pool
    features of the 2015 Inception network it is the FID; with any other features it must not be called FID.

    Args:
        x: ``(n, d)`` features of generated samples.
        y: ``(m, d)`` features of real samples.

    Raises:
        ShapeError: different dimensions, or fewer than two rows.
        DataError: an entry is not finite.

    Examples:
        >>> x = torch.tensor([[0.0], [2.0]])
        >>> round(frechet_distance(x, x + 3), 6)
        9.0
    """
    a, b = pair(x, y, least=2)
    return gaussian_frechet(a.mean(0), _covariance(a), b.mean(0), _covariance(b))


def _covariance(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / (len(x) - 1)


def _frechet(fake: Tensor, pool: Tensor, suite: Suite) -> dict[str, Measured]:
    def score(a: Tensor, b: Tensor) -> list[float]:
        return [frechet_distance(a, b)]

    return compared(["frechet"], score, fake, pool, suite, suite.linear, unit="distance²")


SCORES = (Score("features", _frechet),)
