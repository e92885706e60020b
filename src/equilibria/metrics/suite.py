"""Everything that applies to a set of generated samples, each number beside what a perfect sampler would score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from ..base.errors import ShapeError
from ..base.records import record
from .checks import LawLike, generator, points
from .classifier import Classifier, stacked_classes
from .frechet import frechet_distance
from .kernel import mmd_test
from .measured import Measured
from .modes import label_modes, modes
from .neighbours import memorisation, neighbours
from .transport import exact_w1, halves, sliced_w1

Features = Callable[[Tensor], Tensor]
Scores = Callable[[Tensor, Tensor], Sequence[float]]
_FITTED = 5000


class DatasetLike(Protocol):
    """What the metrics need of a data set: its law, if it has one, and rows that are or are not dealt in training."""

    @property
    def law(self) -> Any: ...
    @property
    def size(self) -> int | None: ...
    @property
    def held_out_size(self) -> int | None: ...

    def take(self, n: int, seed: int = 0, held_out: bool = False) -> dict[str, Tensor]: ...


@record
class Suite:
    """Sizes and conventions of :func:`evaluate`; two tables compare only under one suite.

    Args:
        exact: most samples for W1 by assignment, whose time grows like the cube.
        quadratic: most samples for the kernel and neighbour metrics.
        linear: most samples for the others.
        projections: directions of sliced W1.
        k: neighbours of precision, recall, density and coverage.
        repeats: splits of real data behind a floor.
        permutations: of the kernel test.
        components: principal components of pixels where no features are given.
        threshold: standard deviations within which a sample is of high quality.
        seed: of every random choice.
    """

    exact: int = 1000
    quadratic: int = 2000
    linear: int = 10_000
    projections: int = 128
    k: int = 5
    repeats: int = 5
    permutations: int = 200
    components: int = 64
    threshold: float = 3.0
    seed: int = 0


def evaluate(
    samples: Tensor,
    against: DatasetLike | LawLike | Tensor,
    *,
    labels: Tensor | None = None,
    classifier: Classifier | None = None,
    features: Features | None = None,
    suite: Suite | None = None,
) -> dict[str, Measured]:
    """The metrics that apply to ``samples``, each with its floor: fresh real rows scored under the same protocol.

    A mixture law gives ``modes``, ``high_quality`` and ``reverse_kl``; vectors ``w1`` and ``sliced_w1``; images, and
    anything with ``features``, ``frechet``, ``mmd2``, ``mmd_p``, ``precision``, ``recall``, ``density``, ``coverage``
    and, where rows are held out, ``memorisation``. A classifier adds ``classes``, ``class_kl``, ``digit_fid`` and, with
    ``labels``, ``agreement``. Images without features are compared in the principal components of the real pixels and
    the norm of what those leave out: such a ``frechet`` is not an FID. Samples that are not finite are left out and
    counted in ``finite``.

    Finite data are split in two for the floor, so at most half of their rows serve as the reference; ``n`` says how
    many samples were scored. Reference and floor come from the rows that were dealt in training: real rows of a test
    set that was drawn otherwise (MNIST's is) score above the floor themselves.

    Args:
        samples: ``(n, d)`` or ``(n, c, h, w)``.
        against: a data set, a law, or real rows.
        labels: ``(n,)`` classes that the samples were asked to have.
        classifier: judges class content; one-channel classifiers judge stacked images channel by channel.
        features: maps rows to ``(n, d)``.
        suite: sizes and conventions.

    Raises:
        ShapeError: no samples, or not of the shape of the real rows.

    Examples:
        >>> real = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> scores = evaluate(real[:200] + 1, real)
        >>> sorted(scores), scores["w1"].excess > 0.9
        (['sliced_w1', 'w1'], True)
    """
    suite = suite if suite is not None else Suite()
    if samples.dim() < 2 or not len(samples):
        raise ShapeError(f"samples of shape {tuple(samples.shape)}", "pass at least one row, (n, d) or (n, c, h, w)")
    samples = samples.detach()
    whole = torch.isfinite(samples.flatten(1)).all(1)
    kept, found = samples[whole], {}
    if len(kept) < len(samples):
        share = len(kept) / len(samples)
        found["finite"] = Measured(value=share, floor=1.0, unit="share", n=len(samples), higher=True)
    law = _law(against)
    if law is not None and law.modes is not None and law.std and len(law.modes) > 1:
        found.update(modes(samples, law, suite.threshold).measured())
    if len(kept) < 2 * (suite.k + 1):
        return found
    pool = _pool(against, law, min(len(kept), suite.linear), suite.seed)
    if pool.shape[1:] != kept.shape[1:]:
        raise ShapeError(
            f"samples of shape {tuple(kept.shape[1:])} against real rows of shape {tuple(pool.shape[1:])}",
            "evaluate against the data that the generator was trained on",
        )
    if features is None and pool.dim() == 2:
        found.update(_vectors(kept, pool, suite))
    else:
        # Every stride-th row: both halves of the pool weigh the same in the components.
        fitted = features or pixel_features(pool[:: 1 + len(pool) // _FITTED], suite.components)
        found.update(_featured(kept, pool, against, fitted, suite))
    if classifier is not None:
        found.update(_classes(kept, pool, labels[whole] if labels is not None else None, classifier, suite))
    return found


def pixel_features(real: Tensor, components: int = 64) -> Features:
    r"""Features of raw pixels: the leading principal components of real rows, and the norm of what they leave out.

    The last coordinate sees what the components cannot: noise, or a sample far off the span of the data.

    Args:
        real: ``(n, …)`` rows that the components are fitted to, by subspace iteration.
        components: at most ``min(n - 1, d)`` are taken.

    Returns:
        A map from rows to ``(n, components + 1)``.

    Raises:
        ShapeError: fewer than two rows.
        DataError: an entry is not finite.

    Examples:
        >>> real = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
        >>> pixel_features(real, 1)(torch.tensor([[0.0, 2.0]])).abs().tolist()
        [[0.0, 2.0]]
    """
    rows = points(real, "real rows", least=2)
    mean = rows.mean(0)
    centred = rows - mean
    taken = min(components, len(rows) - 1, rows.shape[1])
    basis = torch.randn(rows.shape[1], min(taken + 8, rows.shape[1]), dtype=torch.float64, generator=generator(0))
    for _ in range(8):
        basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
    turn = torch.linalg.eigh(basis.T @ centred.T @ centred @ basis).eigenvectors.flip(1)
    axes = (basis @ turn)[:, :taken]

    def features(x: Tensor) -> Tensor:
        off = points(x) - mean
        along = off @ axes
        return torch.cat([along, (off - along @ axes.T).norm(dim=1, keepdim=True)], dim=1)

    return features


def digit_fid(x: Tensor, y: Tensor, classifier: Classifier) -> float:
    """Fréchet distance in the features of a small classifier: "digit-FID", never to be quoted as an FID.

    Args:
        x: generated images ``(n, c, h, w)``.
        y: real images ``(m, c, h, w)``.
        classifier: quote its accuracy beside the number.

    Raises:
        ShapeError: images that the classifier does not know.

    Examples:
        >>> x = torch.rand(10, 1, 8, 8)
        >>> round(digit_fid(x, x, Classifier((1, 8, 8), 10, seed=0)), 6)
        0.0
    """
    return frechet_distance(classifier.features(x), classifier.features(y))


def _law(against: DatasetLike | LawLike | Tensor) -> LawLike | None:
    if isinstance(against, Tensor):
        return None
    return cast("LawLike | None", against.law if hasattr(against, "law") else against)


def _pool(against: DatasetLike | LawLike | Tensor, law: LawLike | None, n: int, seed: int) -> Tensor:
    """Up to ``2 n`` real rows, none of them twice."""
    if law is not None:
        return law.sample(2 * n, generator(seed))
    if isinstance(against, Tensor):
        return against[torch.randperm(len(against), generator=generator(seed))[: 2 * n].to(against.device)]
    data = cast("DatasetLike", against)
    return data.take(min(2 * n, data.size or 2 * n), seed)["x"]


def _compare(fake: Tensor, pool: Tensor, most: int, scores: Scores, suite: Suite) -> tuple[int, Any, Any, Any]:
    """Sample size, values, floors and their spreads of several scores at once."""
    n = min(len(fake), len(pool) // 2, most)
    values = np.asarray(scores(fake[:n], pool[:n]))
    floors = np.asarray([scores(a, b) for a, b in halves(pool[: 2 * n], suite.repeats, suite.seed)])
    return n, values, floors.mean(0), floors.std(0, ddof=1) if len(floors) > 1 else np.zeros_like(values)


def _rows(names: Sequence[str], compared: tuple[int, Any, Any, Any], unit: str, higher: bool) -> dict[str, Measured]:
    n, *columns = compared
    return {
        name: Measured(value=float(value), floor=float(floor), spread=float(spread), unit=unit, n=n, higher=higher)
        for name, value, floor, spread in zip(names, *columns, strict=True)
    }


def _vectors(fake: Tensor, pool: Tensor, suite: Suite) -> dict[str, Measured]:
    exact = _compare(fake, pool, suite.exact, lambda a, b: [exact_w1(a, b)], suite)
    sliced = _compare(fake, pool, suite.linear, lambda a, b: [sliced_w1(a, b, suite.projections, suite.seed)], suite)
    return {**_rows(["w1"], exact, "distance", False), **_rows(["sliced_w1"], sliced, "distance", False)}


def _featured(
    fake: Tensor, pool: Tensor, against: DatasetLike | LawLike | Tensor, features: Features, suite: Suite
) -> dict[str, Measured]:
    ours, real = points(features(fake[: suite.linear])), points(features(pool))
    moments = _compare(ours, real, suite.linear, lambda a, b: [frechet_distance(a, b)], suite)
    found = _rows(["frechet"], moments, "distance²", False)
    n = min(len(ours), len(real) // 2, suite.quadratic)
    test = mmd_test(ours[:n], real[:n], permutations=suite.permutations, seed=suite.seed)
    found["mmd2"] = Measured(value=test.value, floor=0.0, spread=test.null_sd, unit="mmd²", n=n)
    # Under equal laws p is uniform on (0, 1].
    found["mmd_p"] = Measured(value=test.p, floor=0.5, spread=12**-0.5, unit="p-value", n=n, higher=True)

    def near(a: Tensor, b: Tensor) -> list[float]:
        found = neighbours(a, b, suite.k)
        return [found.precision, found.recall, found.density, found.coverage]

    names = ["precision", "recall", "density", "coverage"]
    found.update(_rows(names, _compare(ours, real, suite.quadratic, near, suite), "share", True))
    unseen = 0 if isinstance(against, Tensor) else getattr(against, "held_out_size", None) or 0
    if unseen >= 4:
        rows = cast("DatasetLike", against).take(min(unseen, suite.quadratic), suite.seed, held_out=True)["x"]
        found["memorisation"] = _memorisation(ours[: suite.quadratic], real, points(features(rows)), suite)
    return found


def _memorisation(fake: Tensor, train: Tensor, held_out: Tensor, suite: Suite) -> Measured:
    # Unseen rows in the place of the samples, against the other unseen rows: no sampler can have memorised less.
    floors = [memorisation(a, train, b, suite.seed) for a, b in halves(held_out, max(suite.repeats, 2), suite.seed)]
    return Measured(
        value=memorisation(fake, train, held_out, suite.seed),
        floor=1.0,
        spread=float(np.std(floors, ddof=1)),
        unit="ratio",
        n=len(fake),
        higher=True,
    )


def _classes(fake: Tensor, pool: Tensor, labels: Tensor | None, judge: Classifier, suite: Suite) -> dict[str, Measured]:
    stacked = judge.shape[0] == 1 and fake.dim() == 4 and fake.shape[1] > 1
    told = stacked_classes(judge, fake) if stacked else judge.predict(fake)
    shares = judge.shares
    for _ in range(fake.shape[1] - 1 if stacked else 0):
        shares = torch.outer(shares, judge.shares).flatten()
    counted = label_modes(told, shares).measured()
    found = {"classes": counted["modes"], "class_kl": counted["reverse_kl"]}
    if not stacked:
        ours, real = judge.features(fake[: suite.linear]), judge.features(pool)
        compared = _compare(ours, real, suite.linear, lambda a, b: [frechet_distance(a, b)], suite)
        found.update(_rows(["digit_fid"], compared, "distance²", False))
    if labels is not None:
        n, most = len(told), judge.accuracy ** (fake.shape[1] if stacked else 1)
        right = float((told == labels.to(told.device)).double().mean())
        spread = (most * (1 - most) / n) ** 0.5
        found["agreement"] = Measured(value=right, floor=most, spread=spread, unit="share", n=n, higher=True)
    return found
