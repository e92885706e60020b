r"""Reads which loss is trained from pairs (score, derivative of the loss with respect to it).

For the N scores s of one call, y = N dL/ds follows a law that names the loss. It is fitted by least squares in float64,
and accepted where the residual is below 3e-5 of the size of y (float32; below four units of the last place in lower
precision): right laws come to about 1e-7, wrong ones to 1e-2 unless scores hardly spread. All laws that fit are kept.

================================  =========================================  =============================
family                            y                                          read
================================  =========================================  =============================
linear (Wasserstein)              constant                                   weight
hinge                             0 or one constant, split by s              weight
binary cross entropy on logits    :math:`w(\sigma(s) - t)`                   weight w, target t
the same on probabilities         :math:`w((1-t)/(1-s) - t/s)`               weight, target
least squares                     :math:`w(s - t)`                           weight, target
cross entropy of classes          :math:`w(\mathrm{softmax}(s) - e_y)`       weight, labels y
================================  =========================================  =============================
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

RESIDUAL = 3e-5
"""Of the size of y, in float32."""


@dataclass(frozen=True)
class Law:
    """A loss that fits.

    Attributes:
        family: ``linear``, ``hinge``, ``logits``, ``probabilities``, ``least-squares``.
        weight: of the loss.
        target: that scores are drawn to; NaN where the family has none.
        residual: of the fit, relative to the size of y.
    """

    family: str
    weight: float
    target: float
    residual: float


def laws(s: Tensor, y: Tensor, precision: torch.dtype = torch.float32) -> list[Law]:
    """Every law that fits, best first; empty where scores hardly differ, or no law fits.

    Args:
        s: scores, any shape.
        y: their number times the gradient at them, the same shape.
        precision: in which the loss was computed.

    Examples:
        >>> s = torch.linspace(-2, 3, 50)
        >>> found = laws(s, torch.sigmoid(s) - 0.9)
        >>> [(law.family, round(law.target, 4)) for law in found]
        [('logits', 0.9)]
        >>> [law.family for law in laws(s, torch.where(s < 1, -1.0, 0.0))]
        ['hinge']
    """
    s, y = s.detach().flatten().double(), y.detach().flatten().double()
    finite = s.isfinite() & y.isfinite()
    s, y = s[finite], y[finite]
    size = float(y.norm())
    if (
        len(s) < 4
        or size == 0
        or float(s.max() - s.min()) < 8 * torch.finfo(precision).eps * max(float(s.abs().max()), 1e-3)
    ):
        return []
    limit = RESIDUAL if precision in (torch.float32, torch.float64) else 4 * torch.finfo(precision).eps
    one = torch.ones_like(s)
    found = []
    constant = float(y.mean())
    if float((y - constant).norm()) < limit * size:
        found.append(Law("linear", abs(constant), math.nan, float((y - constant).norm()) / size))
    elif (law := _hinge(s, y, limit)) is not None:
        found.append(law)
    forms = [("logits", torch.sigmoid(s), one), ("least-squares", s, one)]
    if bool(((s > 0) & (s < 1)).all()):
        forms.append(("probabilities", 1 / (1 - s), -1 / s))
    for family, first, second in forms:
        (a, b), residual = two_term_fit(torch.stack([first, second], 1), y)
        if residual >= limit:
            continue
        if family == "probabilities":
            weight, target = a + b, b / (a + b) if a + b else math.nan
        else:
            weight, target = a, -b / a if a else math.nan
        if abs(weight) > limit * size / math.sqrt(len(s)):  # else a constant, which is linear
            found.append(Law(family, weight, target, residual))
    if bool(((s >= 0) & (s <= 1)).all()) and not any(law.family == "probabilities" for law in found):
        found += [law for target in (0.0, 1.0) if (law := _logarithm(s, y, target, limit)) is not None]
    return sorted(found, key=lambda law: law.residual)


def _logarithm(s: Tensor, y: Tensor, target: float, limit: float) -> Law | None:
    """The cross entropy of one target, whose slope spans many magnitudes: its factor is the same in every row."""
    factor = -y * s if target else y * (1 - s)
    weight = float(factor.mean())
    residual = float((factor - weight).norm() / factor.norm()) if weight else math.inf
    return Law("probabilities", weight, target, residual) if residual < limit else None


def _hinge(s: Tensor, y: Tensor, limit: float) -> Law | None:
    active = y != 0
    level = float(y[active].mean())
    if not (~active).any() or float((y[active] - level).norm()) > limit * float(y.norm()):
        return None
    on, off = s[active], s[~active]
    if float(on.max()) <= float(off.min()) or float(off.max()) <= float(on.min()):
        edge = (on.max() + off.min()) / 2 if float(on.max()) <= float(off.min()) else (off.max() + on.min()) / 2
        return Law("hinge", abs(level), float(edge), 0.0)
    return None


def two_term_fit(columns: Tensor, y: Tensor) -> tuple[tuple[float, float], float]:
    """Two coefficients by least squares, each column scaled to 1; and the residual relative to ``y``."""
    scale = columns.norm(dim=0).clamp(min=1e-300)
    found = torch.linalg.lstsq(columns / scale, y[:, None], driver="gelsd").solution[:, 0]
    residual = float((columns / scale @ found - y).norm() / y.norm())
    a, b = (found / scale).tolist()
    return (a, b), residual if math.isfinite(residual) else math.inf


def clamped(s: Tensor, y: Tensor) -> bool:
    """Whether scores are clamped to [0, 1] before a logarithm: no gradient outside, that of the logarithm inside.

    Examples:
        >>> s = torch.tensor([-0.5, 0.2, 0.4, 0.7, 0.9, 1.5])
        >>> clamped(s, torch.where((s > 0) & (s < 1), -1 / s, 0.0))
        True
    """
    s, y = s.detach().flatten().double(), y.detach().flatten().double()
    inside = (s > 1e-6) & (s < 1 - 1e-6)
    outside = (s < 0) | (s > 1)
    if int(inside.sum()) < 3 or not bool(outside.any()) or bool((y[outside] != 0).any()):
        return False
    return any(law.family == "probabilities" for law in laws(s[inside], y[inside]))


def class_head(s: Tensor, y: Tensor) -> tuple[float, Tensor] | None:
    """The weight and the labels of a cross entropy of classes on logits ``(n, K)``; None if it is none.

    ``y`` is n times the gradient. Rows without gradient are left out.

    Examples:
        >>> s = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
        >>> y = s.softmax(1) - torch.eye(4)[[0, 1, 2, 3, 0, 1]]
        >>> class_head(s, y)[1].tolist()
        [0, 1, 2, 3, 0, 1]
    """
    s, y = s.detach().double(), y.detach().double()
    if s.dim() != 2 or s.shape[1] < 2 or not float(y.norm()):
        return None
    asked = s.softmax(1) - torch.nn.functional.one_hot(y.argmin(1), s.shape[1])
    weight = float((asked * y).sum() / asked.square().sum())
    if float((weight * asked - y).norm()) > RESIDUAL * float(y.norm()) or weight <= 0:
        return None
    return weight, y.argmin(1)
