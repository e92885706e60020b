"""GAM: two trained pairs compared by exchanging their discriminators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..base.errors import ConfigError, DataError

Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Battle:
    """The result of :func:`gam`.

    Attributes:
        r_test: errors of the first discriminator on held-out data over those of the second.
        r_samples: errors of the first discriminator on samples of the second generator, over those of the second
            discriminator on samples of the first.
        errors: the four shares of errors: on data by the first and the second, on the other's samples by the first and
            the second.
        winner: 1, 2, or 0 for a tie.
    """

    r_test: float
    r_samples: float
    errors: tuple[float, float, float, float]
    winner: int


@torch.no_grad()
def gam(first: tuple[Score, Tensor], second: tuple[Score, Tensor], held_out: Tensor, tolerance: float = 0.2) -> Battle:
    r"""The generative adversarial metric (Im et al. 2016, section 5): who fools the other's discriminator more often.

    .. math:: r_{\text{test}} = \frac{\epsilon(D_1(x_{\text{test}}))}{\epsilon(D_2(x_{\text{test}}))}, \qquad
              r_{\text{samples}} = \frac{\epsilon(D_1(G_2(z)))}{\epsilon(D_2(G_1(z)))}

    with :math:`\epsilon` the share of points on the wrong side of a score of 0. The first model wins if
    :math:`r_{\text{samples}} < 1` and :math:`r_{\text{test}} \approx 1`, the second if :math:`r_{\text{samples}} > 1`
    and :math:`r_{\text{test}} \approx 1`. Otherwise it is a tie: the discriminators are not equally good on data, so
    their errors on samples cannot be compared. So that no ratio divides by 0, a share is
    :math:`(\text{errors} + 1/2) / (n + 1)`.

    The metric is not transitive, and it says nothing of the diversity of samples.

    Args:
        first: the first discriminator, from points to logits ``(n,)``, and samples of the first generator.
        second: the same of the second model.
        held_out: points of the data that neither was trained on.
        tolerance: how far ``r_test`` may be from 1, as a factor: :math:`|\log r| \le \log(1 + \text{tolerance})`. The
            paper gives no number.

    Raises:
        ConfigError: a tolerance that is not positive.
        DataError: no points, or scores that are not one per point.

    Examples:
        >>> def sees_all(x): return torch.where(x == 0, 1.0, -1.0)
        >>> def sees_some(x): return torch.where(x < 2, 1.0, -1.0)
        >>> data, near, far = torch.zeros(100), torch.ones(100), 3 * torch.ones(100)
        >>> gam((sees_all, near), (sees_some, far), data).winner
        1
    """
    if not tolerance > 0:
        raise ConfigError(f"tolerance={tolerance} is not positive", settings={"tolerance": 0.2})
    (judge_1, made_1), (judge_2, made_2) = first, second
    errors = (
        _errors(judge_1, held_out, True),
        _errors(judge_2, held_out, True),
        _errors(judge_1, made_2, False),
        _errors(judge_2, made_1, False),
    )
    r_test, r_samples = errors[0] / errors[1], errors[2] / errors[3]
    alike = 1 / (1 + tolerance) <= r_test <= 1 + tolerance
    winner = 0 if not alike or r_samples == 1 else 1 if r_samples < 1 else 2
    return Battle(r_test, r_samples, errors, winner)


def _errors(judge: Score, points: Tensor, real: bool) -> float:
    """The share of points on the wrong side of 0; a score of exactly 0 is an error."""
    if not len(points):
        raise DataError("no points to be told apart", "give at least one sample of each side")
    scores = judge(points)
    if scores.shape != (len(points),):
        raise DataError(f"scores of shape {tuple(scores.shape)} for {len(points)} points", "give one logit per point")
    wrong = scores <= 0 if real else scores >= 0
    return (float(wrong.sum()) + 0.5) / (len(points) + 1)
