"""Nearest-neighbour metrics on features: precision, recall, density, coverage, memorisation, birthday test."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..base.errors import ConfigError, ShapeError
from ..base.records import record
from .checks import generator, pair, points
from .measured import Measured
from .scoring import Score, Suite, compared

_ROWS = 1024


@record
class Neighbours:
    """Fidelity (precision, density) and diversity (recall, coverage) of generated samples; ``k`` neighbours."""

    precision: float
    recall: float
    density: float
    coverage: float
    k: int


@record
class Birthday:
    """Near-duplicates among generated samples, and the support size that follows from them.

    Args:
        collisions: number of pairs closer than the given distance.
        pairs: number of all pairs.
        support: ``pairs / collisions``, the number of equally likely distinct samples; infinite without a collision.
        support_at_least: lower end of the one-sided 95 % interval, with the count of collisions as a Poisson variable.
        half: batch size at which a collision has probability 1/2.
    """

    collisions: int
    pairs: int
    support: float
    support_at_least: float
    half: float


def neighbours(fake: Tensor, real: Tensor, k: int = 5) -> Neighbours:
    r"""Precision, recall, density and coverage.

    With :math:`B_k(z)` the closed ball around :math:`z` up to its k-th nearest neighbour in its own set:

    .. math:: \text{precision} = \tfrac1M \sum_j 1[y_j \in \cup_i B_k(x_i)], \quad
              \text{recall} = \tfrac1N \sum_i 1[x_i \in \cup_j B_k(y_j)],

    .. math:: \text{density} = \tfrac{1}{kM} \sum_j \sum_i 1[y_j \in B_k(x_i)], \quad
              \text{coverage} = \tfrac1N \sum_i 1[\exists j: y_j \in B_k(x_i)]

    for real :math:`x_1 … x_N` and generated :math:`y_1 … y_M` (Kynkäänniemi et al. 2019, section 2; Naeem et al.
    2020, section 3). For equal laws density has expectation 1 and coverage that of :func:`expected_coverage`.

    Args:
        fake: ``(m, d)`` generated features.
        real: ``(n, d)`` real features.
        k: neighbours, the point itself not counted.

    Raises:
        ShapeError: different dimensions, or no more than ``k`` rows.
        ConfigError: ``k`` is not positive.
        DataError: an entry is not finite.

    Examples:
        >>> x = torch.arange(10.0)[:, None]
        >>> neighbours(x + 100, x, k=2).precision
        0.0
    """
    if k < 1:
        raise ConfigError(f"k={k}: at least one neighbour is needed", "use k=5")
    y, x = pair(fake, real, least=k + 1)
    held, recalled, covered = balls(y, x, k)
    return Neighbours(
        precision=float((held > 0).double().mean()),
        recall=float(recalled.double().mean()),
        density=float(held.mean() / k),
        coverage=float(covered.double().mean()),
        k=k,
    )


def balls(fake: Tensor, real: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """What :func:`neighbours` averages, point by point.

    Args:
        fake: ``(m, d)`` float64.
        real: ``(n, d)`` float64.
        k: neighbours.

    Returns:
        For each sample the number of real balls that hold it, ``(m,)`` float64; for each real point whether a ball of
        a sample holds it (recall), and whether its own ball holds a sample (coverage), both ``(n,)`` bool.

    Raises:
        ShapeError: no more than ``k`` rows.

    Examples:
        >>> x = torch.arange(4.0).double()[:, None]
        >>> [part.tolist() for part in balls(x + 0.1, x, 1)]
        [[2.0, 2.0, 2.0, 1.0], [True, True, True, True], [True, True, True, True]]
    """
    real_radius, fake_radius = _radii(real, k), _radii(fake, k)
    recalled = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    held = torch.zeros(len(fake), dtype=torch.float64)
    for rows, distance in _distances(real, fake):
        inside = distance <= real_radius[rows, None]
        held += inside.sum(0)
        covered[rows] = inside.any(1)
        recalled[rows] = (distance <= fake_radius).any(1)
    return held, recalled, covered


def expected_coverage(n: int, m: int, k: int = 5) -> float:
    r"""Coverage of a perfect sampler, exactly, for any law without atoms.

    .. math:: 1 - \prod_{i=1}^{k} \frac{N - i}{N + M - i}

    (Naeem et al. 2020, section 3.3): the k nearest of the other N + M - 1 points are all real with that product.

    Args:
        n: real samples.
        m: generated samples.
        k: neighbours.

    Raises:
        ConfigError: ``n`` is not above ``k``, or ``m`` is not positive.

    Examples:
        >>> round(expected_coverage(10_000, 10_000, 5), 4)
        0.9688
    """
    if not (n > k >= 1 and m >= 1):
        raise ConfigError(f"coverage of {n} real points by {m} with k={k}", "use n > k and m > 0")
    return 1 - math.prod((n - i) / (n + m - i) for i in range(1, k + 1))


def memorisation(fake: Tensor, train: Tensor, held_out: Tensor, seed: int = 0) -> float:
    r"""The ratio of the samples' mean distance to the training set and to held-out data.

    .. math:: \frac{\operatorname{mean}_j \min_i \|y_j - x_i^{\text{train}}\|}
                   {\operatorname{mean}_j \min_i \|y_j - x_i^{\text{held out}}\|}

    A sampler of the law itself scores 1 on average; copies of training rows score 0, copies of held-out rows infinity.
    A nearest neighbour is closer in a larger set, so the larger set is reduced at random to the size of the smaller.
    With few held-out rows this removes the originals of most copies, and the ratio moves towards 1.

    Args:
        fake: ``(m, d)``.
        train: ``(n, d)`` training rows of the generator.
        held_out: ``(h, d)`` real rows that were not used in training.
        seed: seed of the reduction.

    Raises:
        ShapeError: different dimensions.
        DataError: an entry is not finite.

    Examples:
        >>> memorisation(torch.zeros(2, 1), torch.tensor([[1.0]]), torch.tensor([[2.0]]))
        0.5
    """
    y, seen = pair(fake, train)
    y, unseen = pair(y, held_out)
    size, draws = min(len(seen), len(unseen)), generator(seed)
    near = [_nearest(y, rows[torch.randperm(len(rows), generator=draws)[:size]]).mean() for rows in (seen, unseen)]
    if near[1] == 0:
        return 1.0 if near[0] == 0 else math.inf
    return float(near[0] / near[1])


def nearest_unseen(fake: Tensor, train: Tensor, held_out: Tensor, seed: int = 0) -> tuple[float, float]:
    r"""How often the nearest real row of a sample was held out, over how often by chance; and the deviation by chance.

    Of N = n + h real rows, let :math:`c_i` samples have row i as their nearest one. If samples depend on training rows
    and held-out rows alike, every h of the N rows are equally likely to be those held out, and

    .. math:: r = \frac{N}{m h} \sum_{i \in \text{held out}} c_i, \quad E\, r = 1, \quad
              \operatorname{Var} r = \Big(\frac{N}{m h}\Big)^2 \frac{h\,(N - h)}{N - 1}\, \sigma_c^2

    (a sum of draws without replacement). Copies of training rows score 0. Few held-out rows give a large deviation, and
    not a bias, as they do in :func:`memorisation`.

    Args:
        fake: ``(m, d)`` samples.
        train: ``(n, d)`` training rows of the generator.
        held_out: ``(h, d)`` real rows that were not used in training.
        seed: of the order in which rows at the same distance are taken.

    Returns:
        r and its standard deviation by chance.

    Raises:
        ShapeError: different dimensions.
        DataError: an entry is not finite.

    Examples:
        >>> rows = torch.arange(40.0)[:, None]
        >>> nearest_unseen(rows[:30], rows[:30], rows[30:])[0]
        0.0
    """
    y, seen = pair(fake, train)
    y, unseen = pair(y, held_out)
    both, h = torch.cat([seen, unseen]), len(unseen)
    order = torch.randperm(len(both), generator=generator(seed))
    nearest = order[torch.cat([distance.argmin(1) for _, distance in _distances(y, both[order])])]
    counts = torch.bincount(nearest, minlength=len(both)).double()
    chance = len(y) * h / len(both)
    variance = h * (len(both) - h) / (len(both) - 1) * counts.var(correction=0)
    return float(counts[len(seen) :].sum() / chance), float(variance.sqrt() / chance)


def birthday(samples: Tensor, near: float) -> Birthday:
    r"""Support size of a generator from near-duplicates in a batch (after Arora & Zhang 2018, section 3).

    Two independent samples collide with probability :math:`\sum_i p_i^2`, which is :math:`1/m` for m equally likely
    outcomes. The share of colliding pairs is an unbiased estimate of it; the original test uses the batch size at which
    half of the batches contain a duplicate. If the outcomes are not equally likely, the true support is larger.

    Args:
        samples: ``(n, d)`` independent generated samples.
        near: distance below which two samples count as equal, for example the smallest one among as many real rows.

    Raises:
        ConfigError: ``near`` is not positive.
        ShapeError: fewer than two samples.
        DataError: an entry is not finite.

    Examples:
        >>> twice = torch.arange(100.0).repeat(2)[:, None]
        >>> birthday(twice, near=0.5).support
        199.0
    """
    if not near > 0:
        raise ConfigError(f"near={near}: it must be positive", "use the smallest distance among as many real rows")
    x = points(samples, least=2)
    ordered = sum(int((distance < near).sum()) for _, distance in _distances(x, x))
    collisions, pairs = (ordered - len(x)) // 2, len(x) * (len(x) - 1) // 2
    support = pairs / collisions if collisions else math.inf
    # Upper 95 % limit of the mean of a Poisson count (Garwood 1936).
    from scipy import stats

    most = float(stats.chi2.ppf(0.95, 2 * (collisions + 1))) / 2
    return Birthday(
        collisions=collisions,
        pairs=pairs,
        support=support,
        support_at_least=pairs / most,
        half=0.5 + math.sqrt(0.25 + 2 * math.log(2) * support),
    )


def nearest_distances(x: Tensor, to: Tensor) -> Tensor:
    """Distance of every row of ``x (n, d)`` to its nearest row of ``to (m, d)``, as ``(n,)`` float64.

    Raises:
        ShapeError: different dimensions.
        DataError: an entry is not finite.

    Examples:
        >>> nearest_distances(torch.tensor([[0.0]]), torch.tensor([[3.0], [-2.0]])).item()
        2.0
    """
    a, b = pair(x, to)
    return _nearest(a, b)


def nearest_pairs(x: Tensor, to: Tensor) -> tuple[Tensor, Tensor]:
    """For every row of ``x (n, d)`` the number of its nearest row of ``to (m, d)``, and the distance, both ``(n,)``.

    Raises:
        ShapeError: different dimensions.
        DataError: an entry is not finite.

    Examples:
        >>> [part.tolist() for part in nearest_pairs(torch.tensor([[0.0]]), torch.tensor([[3.0], [-2.0]]))]
        [[1], [2.0]]
    """
    a, b = pair(x, to)
    found = [distance.min(1) for _, distance in _distances(a, b)]
    return torch.cat([one.indices for one in found]), torch.cat([one.values for one in found])


def _nearest(x: Tensor, to: Tensor) -> Tensor:
    return torch.cat([distance.min(1).values for _, distance in _distances(x, to)])


def _radii(x: Tensor, k: int) -> Tensor:
    """Distance to the k-th nearest other row; the row itself is the nearest of all."""
    if len(x) <= k:
        raise ShapeError(f"{len(x)} rows have no {k}-th neighbour", f"pass more than {k} rows, or a smaller k")
    return torch.cat([distance.kthvalue(k + 1, dim=1).values for _, distance in _distances(x, x)])


def _distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Distances in blocks of rows of ``x``, so that the memory is linear in the number of points."""
    for start in range(0, len(x), _ROWS):
        rows = slice(start, min(start + _ROWS, len(x)))
        yield rows, torch.cdist(x[rows], y)


def _neighbourhoods(fake: Tensor, pool: Tensor, suite: Suite) -> dict[str, Measured]:
    names = ["precision", "recall", "density", "coverage"]

    def score(a: Tensor, b: Tensor) -> list[float]:
        found = neighbours(a, b, suite.k)
        return [getattr(found, name) for name in names]

    return compared(names, score, fake, pool, suite, suite.quadratic, unit="share", higher=True)


SCORES = (Score("features", _neighbourhoods),)
