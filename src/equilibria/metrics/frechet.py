"""The Fréchet distance: squared Wasserstein-2 between the Gaussians with the moments of two feature samples."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base.errors import ShapeError
from .checks import pair
from .measured import Measured
from .scoring import Score, Suite, compared


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
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    squared = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return max(float(squared), 0.0)


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
