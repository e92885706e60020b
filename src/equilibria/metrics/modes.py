"""Mode coverage against a law with known modes, with the score of a perfect sampler of the same size."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..base.errors import ConfigError, DataError, ShapeError
from ..base.records import record
from .checks import LawLike, generator
from .measured import Measured

Array = npt.NDArray[Any]
_FLOOR_SEEDS = 40
# If all centres are at least this many thresholds apart, a sample of one component is within the threshold of another
# with probability < 1e-8, so the components can be counted separately and the floors have closed forms.
_APART = 3.0


@record
class ModesFloor:
    """Expectation and standard deviation of each number of :class:`Modes` for a perfect sampler of the same size."""

    captured: float
    high_quality: float
    reverse_kl: float
    captured_sd: float
    high_quality_sd: float
    reverse_kl_sd: float


@record
class Modes:
    """Captured modes, share of high-quality samples, and evenness; ``floor`` is the score of a perfect sampler.

    Args:
        captured: number of modes that are the nearest mode of at least one high-quality sample.
        total: modes of the law.
        high_quality: share of samples within the threshold of their nearest mode.
        reverse_kl: KL(histogram of nearest modes among high-quality samples || weights), in nats.
        n: number of samples.
        counts: high-quality samples by mode.
        floor: the same three numbers for a perfect sampler.
    """

    captured: int
    total: int
    high_quality: float
    reverse_kl: float
    n: int
    counts: tuple[int, ...]
    floor: ModesFloor

    def measured(self) -> dict[str, Measured]:
        """The three numbers, each beside its floor."""
        f, n = self.floor, self.n
        values = {
            "modes": Measured(
                value=self.captured, floor=f.captured, spread=f.captured_sd, unit=f"of {self.total}", n=n, higher=True
            ),
            "high_quality": Measured(
                value=self.high_quality, floor=f.high_quality, spread=f.high_quality_sd, unit="share", n=n, higher=True
            ),
            "reverse_kl": Measured(value=self.reverse_kl, floor=f.reverse_kl, spread=f.reverse_kl_sd, unit="nats", n=n),
        }
        return values

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "total": self.total,
            "n": self.n,
            "counts": list(self.counts),
            **{name: m.to_dict() for name, m in self.measured().items()},
        }

    def __str__(self) -> str:
        """One line, each value with its floor in brackets."""
        f = self.floor
        return (
            f"modes {self.captured}/{self.total} ({f.captured:.4g}), high quality {100 * self.high_quality:.1f} % "
            f"({100 * f.high_quality:.1f} %), reverse KL {self.reverse_kl:.4f} nats ({f.reverse_kl:.4f}), "
            f"n = {self.n} (in brackets: a perfect sampler)"
        )


def modes(samples: Tensor, law: LawLike, threshold: float = 3.0) -> Modes:
    r"""Captured modes, share of high-quality samples and reverse KL of generated points against a mixture law.

    Protocol of VEEGAN (Srivastava et al. 2017, section 4) and PacGAN (Lin et al. 2018, section 4.1): a sample
    :math:`x` belongs to its nearest component by Mahalanobis distance; it is of high quality if

    .. math:: \min_k \|x - c_k\| / \sigma < \text{threshold},

    and a mode is captured if at least one high-quality sample belongs to it. The reverse KL (in nats) compares the
    histogram of the high-quality samples' modes with the law's weights. Without any high-quality sample it is
    :math:`\max_k -\log w_k`, the largest value that it can take. A sample that is not finite is not of high quality.

    The floor is exact for well separated components: :math:`F_{\chi^2_d}(\text{threshold}^2)` of high quality (98.9 %
    in two dimensions), and the binomial expectation of the plug-in KL, which is :math:`(K-1)/(2N)` to first order.
    Otherwise it is the mean over 40 samples of the law.

    Args:
        samples: ``(n, d)``.
        law: has ``modes (k, d)``, ``std``, ``weights`` and ``sample``.
        threshold: in standard deviations of a component.

    Raises:
        DataError: the law has no modes.
        ShapeError: the samples do not have the law's dimension, or there are none.
        ConfigError: the threshold is not positive.

    Examples:
        >>> from types import SimpleNamespace
        >>> line = SimpleNamespace(modes=torch.tensor([[-1.0], [1.0]]), std=0.01, weights=None)
        >>> found = modes(torch.full((100, 1), 1.0), line)
        >>> found.captured, found.high_quality, round(found.reverse_kl, 4)
        (1, 1.0, 0.6931)
    """
    centres, std, weights = _components(law)
    if not threshold > 0:
        raise ConfigError(f"threshold={threshold}: it must be positive", "use threshold=3.0")
    if samples.dim() != 2 or samples.shape[1] != centres.shape[1] or not len(samples):
        raise ShapeError(
            f"samples of shape {tuple(samples.shape)} do not fit a law on {centres.shape[1]} dimensions",
            f"pass at least one row of shape (n, {centres.shape[1]})",
        )
    counts = _counts(samples, centres, std, threshold)
    separation = float(torch.pdist(centres).min()) if len(centres) > 1 else math.inf
    if separation >= _APART * threshold * std:
        from scipy.special import chdtr

        share = float(chdtr(centres.shape[1], threshold**2))
        floor = _exact_floor(len(samples), tuple(weights), share)
    else:
        floor = _sampled_floor(law, len(samples), threshold)
    return _modes(counts, len(samples), weights, floor)


def label_modes(labels: Tensor, weights: Tensor) -> Modes:
    r"""Mode coverage from the classes that a classifier gives the samples (stacked digits, digit classes).

    Every sample is of high quality; ``reverse_kl`` is KL(histogram of the labels || weights) in nats, base e, as in
    PacGAN (Lin et al. 2018, section 4.2).

    Args:
        labels: ``(n,)`` integers from 0 to k - 1.
        weights: ``(k,)`` share of each class in the real data.

    Raises:
        DataError: a label is out of range, or a weight is not positive.

    Examples:
        >>> label_modes(torch.arange(1000) % 10, torch.full((10,), 0.1)).reverse_kl
        0.0
        >>> floor = label_modes(torch.zeros(26_000, dtype=torch.long), torch.full((1000,), 1e-3)).floor
        >>> round(floor.reverse_kl, 4), round(floor.reverse_kl_sd, 4)
        (0.0193, 0.0009)
    """
    share = _weights(weights, len(weights))
    flat = labels.detach().cpu().reshape(-1)
    if not len(flat) or int(flat.min()) < 0 or int(flat.max()) >= len(share):
        raise DataError(f"labels outside 0 … {len(share) - 1}, or none at all", "pass one weight per class")
    counts = torch.bincount(flat.long(), minlength=len(share)).numpy()
    return _modes(counts, len(flat), share, _exact_floor(len(flat), tuple(share), 1.0))


def _modes(counts: Array, n: int, weights: Array, floor: ModesFloor) -> Modes:
    return Modes(
        captured=int((counts > 0).sum()),
        total=len(counts),
        high_quality=float(counts.sum() / n),
        reverse_kl=_reverse_kl(counts, weights),
        n=n,
        counts=tuple(int(c) for c in counts),
        floor=floor,
    )


def _components(law: LawLike) -> tuple[Tensor, float, Array]:
    if law.modes is None or law.std is None:
        raise DataError(f"the law {getattr(law, 'name', law)!r} has no modes to count", "use metrics.transport for it")
    centres = law.modes.detach().to("cpu", torch.float64)
    return centres, float(law.std), _weights(law.weights, len(centres))


def _weights(given: object, k: int) -> Array:
    weights: Array = np.full(k, 1 / k) if given is None else np.asarray(given, dtype=np.float64)
    if weights.shape != (k,) or not (weights > 0).all():
        raise DataError(f"weights {weights.tolist()} for {k} modes", "give one positive weight per mode")
    shares: Array = weights / weights.sum()
    return shares


def _counts(samples: Tensor, centres: Tensor, std: float, threshold: float) -> Array:
    """High-quality samples by nearest mode; a row that is not finite has no nearest mode."""
    x = samples.detach().to("cpu", torch.float64)
    x = x[torch.isfinite(x).all(1)]
    distance, nearest = torch.cdist(x, centres, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    counts: Array = torch.bincount(nearest[distance < threshold * std], minlength=len(centres)).numpy()
    return counts


def _reverse_kl(counts: Array, weights: Array) -> float:
    if not counts.sum():
        return float(-np.log(weights.min()))
    q = counts / counts.sum()
    held = q > 0
    return max(float((q[held] * np.log(q[held] / weights[held])).sum()), 0.0)


@functools.lru_cache(maxsize=256)
def _exact_floor(n: int, weights: tuple[float, ...], share: float) -> ModesFloor:
    """Moments of the score of a perfect sampler whose samples are of high quality with probability ``share``."""
    from scipy import stats

    held = max(round(n * share), 1)
    found, kl = 0.0, 0.0
    missed_variance = 0.0
    for weight, copies in zip(*np.unique(np.asarray(weights), return_counts=True), strict=True):
        missed = (1 - weight * share) ** n
        found += copies * (1 - missed)
        missed_variance += copies * missed * (1 - missed)
        # E[q log(q/w)] over the binomial count, within 12 standard deviations of its mean.
        reach = 12 * math.sqrt(held * weight * (1 - weight)) + 12
        j = np.arange(max(1, math.floor(held * weight - reach)), min(held, math.ceil(held * weight + reach)) + 1)
        kl += copies * float((stats.binom.pmf(j, held, weight) * (j / held) * np.log(j / (held * weight))).sum())
    return ModesFloor(
        captured=float(found),
        high_quality=share,
        reverse_kl=float(max(kl, 0.0)),
        # Captures of different modes are negatively correlated: without the covariances the spread is too wide.
        captured_sd=math.sqrt(missed_variance),
        high_quality_sd=math.sqrt(share * (1 - share) / n),
        # 2 N KL is chi-squared with K - 1 degrees of freedom in the limit.
        reverse_kl_sd=math.sqrt((len(weights) - 1) / 2) / held,
    )


def _sampled_floor(law: LawLike, n: int, threshold: float) -> ModesFloor:
    centres, std, weights = _components(law)
    rows = []
    for seed in range(_FLOOR_SEEDS):
        counts = _counts(law.sample(n, generator(seed)), centres, std, threshold)
        rows.append(((counts > 0).sum(), counts.sum() / n, _reverse_kl(counts, weights)))
    mean, sd = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1)
    return ModesFloor(
        captured=float(mean[0]),
        high_quality=float(mean[1]),
        reverse_kl=float(mean[2]),
        captured_sd=float(sd[0]),
        high_quality_sd=float(sd[1]),
        reverse_kl_sd=float(sd[2]),
    )
