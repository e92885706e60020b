"""Vitals of tier 3: the generator's Jacobian in its codes, and the noise under which real and fake look alike."""

from __future__ import annotations

import math

import torch

from ...base.errors import ConfigError
from ..chart import Chart
from ..probe import probe
from ..subject import Subject

Values = dict[str, float]
_POINTS = 8
_MOST = 256  # dimensions of a code; each costs two forward passes
_STEP = 1e-2
_APART = 0.6  # AUC of the probe below which the sides count as inseparable


def stretch(subject: Subject, chart: Chart) -> Values:
    r"""The generator's Jacobian in its codes at 8 of them, by central differences, in the space of the data.

    Its singular values are :math:`s_1 \ge s_2 \ge \dots`.
    ``latent/stretch`` is the median of :math:`s_1`, ``latent/rank`` that of
    :math:`(\sum s_i^2)^2 / \sum s_i^4`, the number of directions in which samples move, and ``latent/conditioning``
    that of :math:`s_1/s_k`, where ``k`` is the data's dimension (at most the code's) (Odena et al. 2018).

    Raises:
        ConfigError: codes are not known, are not vectors, or have more than 256 dimensions.
    """
    if subject.codes is None or subject.codes_are_rows:
        raise ConfigError("the generator's codes are not known", "pass latent=")
    subject.mode(training=False)  # in train mode, batch norm makes a sample depend on the other codes
    z, y = subject.draw_codes(_POINTS)
    if z.dim() != 2 or not z.is_floating_point() or z.shape[1] > _MOST:
        raise ConfigError(f"codes of shape {tuple(z.shape)}", f"this vital needs vectors of at most {_MOST} numbers")
    size = z.shape[1]
    step = _STEP * float(z.std().clamp(min=1e-6))
    moves = step * torch.eye(size, dtype=z.dtype, device=z.device)
    found: dict[str, list[float]] = {"stretch": [], "rank": [], "conditioning": []}
    dimension = chart.facts.get("real/dimension", math.nan)
    kept = min(size, max(1, round(dimension))) if math.isfinite(dimension) else 1
    for i in range(_POINTS):
        label = None if y is None else y[i : i + 1].expand(2 * size, *y.shape[1:])
        with torch.no_grad():
            made = chart.space(subject.make((torch.cat([z[i] + moves, z[i] - moves]), label)))
        if len(made) < 2 * size:  # rows that are not finite are left out of the space
            raise ConfigError("samples that are not finite", "train from finite parameters")
        values = torch.linalg.svdvals(((made[:size] - made[size:]) / (2 * step)).double())
        squares = values.square()
        found["stretch"].append(float(values[0]))
        found["rank"].append(float(squares.sum().square() / squares.square().sum().clamp(min=1e-300)))
        last = float(values[min(kept, len(values)) - 1])
        found["conditioning"].append(float(values[0]) / last if last > 0 else math.inf)
    return {f"latent/{name}": sorted(v)[len(v) // 2] for name, v in found.items()}


def inseparable(subject: Subject, chart: Chart) -> Values:
    r"""The standard deviation of Gaussian noise, in units of the data's, that makes real and fake inseparable.

    The smallest power of :math:`\sqrt 2` times the smallest one tried, :math:`2^{-6}`, at which the probe's AUC on
    :math:`x + \sigma\epsilon` falls below 0.6. It measures how far apart the supports are, which the discriminator's
    certainty does not (Arjovsky & Bottou 2017, section 3). Infinite if 8 times the data's size is not enough.
    """
    with torch.no_grad():
        x, _ = subject.batch(512)
        real, fake = chart.space(x), chart.space(subject.sample(len(x)))
    fake = fake[torch.isfinite(fake).all(1)]
    if min(len(real), len(fake)) < 32:
        return {}

    def inseparable_at(level: int) -> bool:
        sigma = _sigma(level)
        noisy = [side + sigma * torch.randn_like(side) for side in (real, fake)]
        return probe(noisy[0], noisy[1], level).auc < _APART

    low, high = -1, 19  # bisection, because more noise never helps the probe
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if inseparable_at(middle) else (middle, high)
    return {"noise/inseparable": _sigma(high) if high < 19 else math.inf}


def _sigma(level: int) -> float:
    return float(2.0 ** (level / 2 - 6))
