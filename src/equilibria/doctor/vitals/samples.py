"""Vitals of the samples: distance to the data, spread, duplicates, memorisation, use of codes and labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...metrics.neighbours import birthday, expected_coverage, nearest_unseen
from ...metrics.neighbours import neighbours as neighbours_of
from ...metrics.scoring import halves
from ...theory.supports import two_nn_dimension
from ..chart import Chart
from ..probe import probe
from ..space import Space
from ..subject import Subject

Values = dict[str, float]
_K = 5
_DIMENSION = 256
_SPLITS = 5
CLOSENESS = ("distance", "coverage", "precision", "recall", "density")
"""The vitals ``samples/…`` that compare samples with the data."""


def distances(real: Tensor, fake: Tensor, chart: Chart, seed: int) -> tuple[Values, dict[str, tuple[float, ...]]]:
    """Distances between generated and real rows in the data's space, and the share of samples in each cell."""
    space = chart.space
    a, b = space(real), space(fake)
    if len(b) < 16:
        return {"probe/auc": 1.0, "probe/jsd": math.log(2), "samples/distance": math.inf}, {}
    probed = probe(a, b, seed)
    found = neighbours_of(b, a, _K)
    cells = space.cells(b)
    expected = space.shares
    rare = cells < 0.2 * expected
    # A cell counts as missing only if the lack of samples cannot be chance: at least five are expected.
    rare &= expected * len(b) >= 5
    values = {
        "probe/auc": probed.auc,
        "probe/jsd": probed.jsd,
        "samples/distance": space.sliced(a, b),
        "samples/spread": spread(b) / max(spread(a), 1e-12),
        "samples/coverage": found.coverage / expected_coverage(len(a), len(b), _K),
        "samples/precision": found.precision / max(chart.facts.get("real/precision", 1.0), 1e-6),
        "samples/recall": found.recall / max(chart.facts.get("real/recall", 1.0), 1e-6),
        "samples/density": found.density / max(chart.facts.get("real/density", 1.0), 1e-6),
        "samples/size": float(b.square().mean().sqrt() / a.square().mean().sqrt().clamp(min=1e-12)),
        "cells/missing": float(expected[rare].sum()),
        "cells/covered": float((~rare & (expected > 0)).sum()) / max(int((expected > 0).sum()), 1),
    }
    arrays = {"cells": tuple(cells.tolist()), "mean": tuple(b.mean(0)[:8].tolist())}
    return values, arrays


def spread(z: Tensor) -> float:
    """Median distance of pairs of rows."""
    half = len(z) // 2
    return float((z[:half] - z[half : 2 * half]).norm(dim=1).median())


def spread_within(z: Tensor, labels: Tensor | None) -> float:
    """Median distance of pairs of rows with the same label; of any pairs if there are no labels."""
    if labels is None or len(labels) != len(z):
        return spread(z)
    order = torch.argsort(_classes(labels.cpu()), stable=True)
    y, rows = _classes(labels.cpu())[order], z[order]
    same = y[1:] == y[:-1]
    return float((rows[1:] - rows[:-1])[same].norm(dim=1).median()) if bool(same.any()) else spread(z)


def values_lost(real: Tensor, fake: Tensor) -> Values:
    """The largest share of real rows whose value of a discrete column almost no sample has.

    A column of a table counts as discrete if it has two or three values, each in 3 % of the rows at least, and is not
    part of a one-hot block. A value is lost if the samples that are nearer to it than to the others are fewer than a
    tenth of its share. Nothing without such a column, or if over half of all columns are of this kind.

    Examples:
        >>> real = torch.stack([torch.linspace(0, 1, 200), torch.tensor([-1.0, 1.0]).repeat(100)], 1)
        >>> values_lost(real, -real.abs())
        {'samples/values-lost': 0.5}
    """
    if real.dim() != 2 or not 1 < real.shape[1] <= 512 or len(fake) < 64:
        return {}
    x, made, worst, count = real.float(), fake.float(), 0.0, 0
    ones = ((x == 0) | (x == 1)).all(0)
    for i in range(x.shape[1]):
        values, counts = x[:, i].unique(return_counts=True)  # type: ignore[no-untyped-call]
        if not 2 <= len(values) <= 3 or float(counts.min()) < 0.03 * len(x) or (bool(ones[i]) and int(ones.sum()) > 1):
            continue
        count += 1
        shares = counts / len(x)
        nearest = (made[:, i : i + 1] - values).abs().argmin(1).bincount(minlength=len(values)) / len(made)
        lost = shares[(nearest < 0.1 * shares) & (shares * len(made) >= 5)]
        worst = max(worst, float(lost.max()) if len(lost) else 0.0)
    return {"samples/values-lost": worst} if 0 < count <= x.shape[1] / 2 else {}


def ranges(real: Tensor, fake: Tensor) -> Values:
    """Extremes and saturation of the raw values."""
    r, f = real.detach().float(), fake.detach().float()
    f = f[torch.isfinite(f.flatten(1)).all(1)]
    if not len(f):
        return {}
    low, high = float(f.min()), float(f.max())
    width = max(high - low, 1e-12)
    edge = 0.005 * width

    def at_edge(x: Tensor) -> float:
        return float(((x <= low + edge) | (x >= high - edge)).float().mean())

    slack = 0.02 * max(float(r.max() - r.min()), 1e-12)
    return _columns(r) | {
        "samples/low": low,
        "samples/high": high,
        "real/low": float(r.min()),
        "real/high": float(r.max()),
        "samples/at-edge": at_edge(f),
        "real/at-edge": at_edge(r),
        "real/outside": float(((r < low - slack) | (r > high + slack)).float().mean()),
    }


def _columns(real: Tensor) -> Values:
    """How far the columns of vectors lie from 0, and how unlike their spreads are; constant columns do not count."""
    if real.dim() != 2 or len(real) < 16:
        return {}
    spreads = real.std(0)
    used = spreads[spreads > 1e-6 * spreads.max().clamp(min=1e-12)]
    if not len(used):
        return {}
    whole = float(spreads.square().mean().sqrt())
    return {
        "real/column-offset": float(real.mean(0).abs().max()) / whole,
        "real/column-ratio": float(used.max() / used.median()),
    }


def diversity(fake: Tensor, chart: Chart) -> Values:
    """Intrinsic dimension of the samples, and how many of them are near copies of another."""
    z = chart.space(fake)[:_DIMENSION]
    near = chart.facts.get("real/nearest", 0.0)
    gaps = torch.cdist(z, z) + 1e9 * torch.eye(len(z))
    values = {"samples/duplicates": float((gaps.min(1).values < 0.01 * near).float().mean()) if near > 0 else math.nan}
    if near > 0:
        values["samples/support"] = birthday(z, 0.01 * near).support_at_least
    try:
        values["samples/dimension"] = two_nn_dimension(z.double())
    except ValueError:  # all rows alike
        values["samples/dimension"] = 0.0
    return values


def perfect(z: Tensor, n: int, space: Space, facts: Values) -> Values:
    """What a perfect sampler scores in the vitals of closeness, over divisions of real rows in two: mean, deviation."""
    found: dict[str, list[float]] = {name: [] for name in CLOSENESS}
    for a, b in halves(z, _SPLITS, 0):
        score = neighbours_of(b[:n], a[:n], _K)
        found["distance"].append(space.sliced(a[:n], b[:n]))
        found["coverage"].append(score.coverage / expected_coverage(n, n, _K))
        for name in ("precision", "recall", "density"):
            found[name].append(getattr(score, name) / max(facts[f"real/{name}"], 1e-6))
    values: Values = {}
    for name, row in found.items():
        numbers = torch.tensor(row, dtype=torch.float64)
        values |= {f"perfect/{name}": float(numbers.mean()), f"perfect/{name}-spread": float(numbers.std())}
    return values


def memorised(subject: Subject, fake: Tensor, space: Space) -> Values:
    """How often a sample's nearest real row is an unseen one, over how often by chance; and the lowest by chance."""
    if subject.some_unseen is None:
        return {}
    made, seen, unseen = space(fake), space(subject.some_real[0][:2048]), space(subject.some_unseen[:2048])
    if not (len(made) and len(seen) and len(unseen)):
        return {}
    ratio, deviation = nearest_unseen(made[:_DIMENSION], seen, unseen)
    closer, by_chance = closeness_to_seen(space, made, seen, unseen)
    return {
        "samples/memorised": ratio,
        "samples/memorised-by-chance": 1 - 3 * deviation,
        "samples/closer": closer,
        "samples/closer-by-chance": 1 - 3 * by_chance,
    }


def closeness_to_seen(space: Space, fake: Tensor, seen: Tensor, unseen: Tensor) -> tuple[float, float]:
    r"""The samples' sliced distance to the training rows over that of unseen real rows, and its deviation by chance.

    .. math:: \frac{\operatorname{mean}_i W(F_i, S)}{\operatorname{mean}_i W(U_i, S)}

    over subsets :math:`F_i` of the samples and :math:`U_i` of the unseen rows, all of the same size (at most half of
    the unseen rows, so that they differ), against the training rows S. A perfect sampler has 1; below, the samples are
    closer to the rows that the discriminator has seen than rows of the law itself are. The deviation is that of one
    :math:`W(U_i, S)` over their mean.

    Examples:
        >>> from equilibria.doctor.space import space_of
        >>> draw = torch.Generator().manual_seed(0)
        >>> seen, unseen, other = (torch.randn(n, 2, generator=draw) for n in (20, 400, 200))
        >>> space = space_of(seen)
        >>> copies = seen[torch.randint(20, (200,), generator=draw)]
        >>> rows = space(seen), space(unseen)
        >>> copied, honest = (closeness_to_seen(space, space(x), *rows)[0] for x in (copies, other))
        >>> copied < 0.8 < honest
        True
    """
    size = max(min(len(fake), len(unseen) // 2, 256), 1)
    draw = torch.Generator().manual_seed(0)
    levels = min(size, len(seen))
    target, means = space.quantiles(seen, levels), []
    for rows in (fake, unseen):
        chosen = [rows[torch.randperm(len(rows), generator=draw)[:size]] for _ in range(_SPLITS)]
        means.append(torch.stack([(space.quantiles(some, levels) - target).abs().mean() for some in chosen]))
    found, expected = (float(each.mean()) for each in means)
    return found / max(expected, 1e-12), float(means[1].std()) / max(expected, 1e-12)


def dependence(subject: Subject, space: Space, real_spread: float) -> Values:
    """How much samples depend on the code and on the label, with everything else fixed."""
    if subject.codes is None or subject.codes_are_rows:
        return {}
    n = 128
    z, y = subject.draw_codes(n)
    state = torch.get_rng_state()

    def made(z: Tensor, y: Tensor | None) -> Tensor:
        torch.set_rng_state(state)  # the network's own noise is the same in each call
        with torch.no_grad():
            return subject.make((z, y))

    first = made(z, y)
    moved = _shift(space, first, made(z[torch.randperm(n)], y))
    torch.set_rng_state(state)
    torch.randn(1)
    with torch.no_grad():
        shaken = _shift(space, first, subject.make((z, y)))
    size = max(real_spread, 1e-12)
    values = {"latent/dependence": moved / size, "latent/own-noise": shaken / size}
    if subject.classes is not None and y is not None:
        values |= _agreement(subject, space, first, y)
    return values


def _shift(space: Space, a: Tensor, b: Tensor) -> float:
    """Median distance of rows to their partners, in the space of the data."""
    x, y = space(a), space(b)
    return float((x - y).norm(dim=1).median()) if len(x) == len(y) and len(x) else math.nan


def _agreement(subject: Subject, space: Space, made: Tensor, y: Tensor) -> Values:
    """Share of samples whose nearest real rows have the label that was asked for."""
    real, classes = subject.some_real
    assert classes is not None
    x = space(real[:2048])
    known = _classes(classes[: len(x)].cpu())
    asked = _classes(y.cpu())
    z = space(made)
    if len(z) != len(asked) or len(x) != len(known):
        return {}
    nearest = torch.cdist(z, x).topk(5, largest=False).indices
    voted = torch.mode(known[nearest], dim=1).values
    counts = torch.bincount(known).float()
    return {
        "label/agreement": float((voted == asked).float().mean()),
        "label/chance": float((counts / counts.sum()).square().sum()),
    }


def _classes(y: Tensor) -> Tensor:
    """Labels as integers, converted from one-hot rows if needed."""
    return y.argmax(1) if y.dim() == 2 else y.long()
