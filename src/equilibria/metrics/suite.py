"""All metrics that apply to a set of generated samples, each with the score of a perfect sampler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from ..base.errors import DataError, ShapeError
from ..base.registry import modules_in
from .checks import LawLike, generator, points
from .classifier import Classifier, stacked_classes
from .frechet import frechet_distance
from .measured import Measured
from .modes import label_modes, modes
from .neighbours import nearest_unseen
from .scoring import Suite, compared

Features = Callable[[Tensor], Tensor]
_FITTED = 5000


class DatasetLike(Protocol):
    """The interface of a data set that the metrics use: its law, if any, and training or held-out rows."""

    @property
    def law(self) -> Any: ...
    @property
    def size(self) -> int | None: ...
    @property
    def held_out_size(self) -> int | None: ...

    def take(self, n: int, seed: int = 0, held_out: bool = False) -> dict[str, Tensor]: ...


def evaluate(
    samples: Tensor,
    against: DatasetLike | LawLike | Tensor,
    *,
    labels: Tensor | None = None,
    classifier: Classifier | None = None,
    features: Features | None = None,
    suite: Suite | None = None,
) -> dict[str, Measured]:
    """The metrics that apply to ``samples``, each with its floor: the score of fresh real rows with the same protocol.

    A mixture law gives ``modes``, ``high_quality`` and ``reverse_kl``; vectors ``w1`` and ``sliced_w1``; images, and
    anything with ``features``, ``frechet``, ``mmd2``, ``mmd_p``, ``precision``, ``recall``, ``density``, ``coverage``
    and, where rows are held out, ``memorisation``. A classifier adds ``classes``, ``class_kl``, ``digit_fid`` and, with
    ``labels``, ``agreement``. Images without features are compared in the principal components of the real pixels and
    the norm of the residual: such a ``frechet`` is not an FID. Samples that are not finite are left out and counted in
    ``finite``.

    Data of finite size are split in two for the floor, so at most half of the rows serve as the reference; ``n`` is the
    number of scored samples. Reference and floor come from the training rows: the real rows of a test set with another
    distribution (as MNIST's) do not reach the floor themselves.

    Args:
        samples: ``(n, d)`` or ``(n, c, h, w)``.
        against: a data set, a law, or real rows.
        labels: ``(n,)`` requested classes of the samples.
        classifier: classifies the samples; a one-channel classifier classifies stacked images channel by channel.
        features: maps rows to ``(n, d)``.
        suite: sizes and conventions.

    Raises:
        ShapeError: no samples, or samples of another shape than the real rows.

    Examples:
        >>> real = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> scores = evaluate(real[:200] + 1, real)
        >>> {"sliced_w1", "w1"} <= scores.keys(), scores["w1"].excess > 0.9
        (True, True)
    """
    suite = suite if suite is not None else Suite()
    if against is None:
        raise DataError("no data to compare with was given", "pass a data set, a law, or a tensor of real rows")
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
            "evaluate against the generator's training data",
        )
    if features is None and pool.dim() == 2:
        found.update(_listed("vectors", kept, pool, suite))
    else:
        # Every stride-th row: both halves of the pool have the same weight in the components.
        fitted = features or pixel_features(pool[:: 1 + len(pool) // _FITTED], suite.components)
        found.update(_featured(kept, pool, against, fitted, suite))
    if classifier is not None:
        found.update(_classes(kept, pool, labels[whole] if labels is not None else None, classifier, suite))
    return found


def pixel_features(real: Tensor, components: int = 64) -> Features:
    r"""Features of raw pixels: the leading principal components of real rows, and the norm of the residual.

    The residual measures what the components do not represent: noise, or samples outside the span of the data.

    Args:
        real: ``(n, …)`` rows from which the components are computed, by subspace iteration.
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
    """Fréchet distance in the features of a small classifier, "digit-FID"; it must not be called FID.

    Args:
        x: generated images ``(n, c, h, w)``.
        y: real images ``(m, c, h, w)``.
        classifier: the classifier; report its accuracy together with the number.

    Raises:
        ShapeError: the images do not have the shape of the classifier's images.

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
    """Up to ``2 n`` different real rows."""
    if law is not None:
        return law.sample(2 * n, generator(seed))
    if isinstance(against, Tensor):
        return against[torch.randperm(len(against), generator=generator(seed))[: 2 * n].to(against.device)]
    data = cast("DatasetLike", against)
    return data.take(min(2 * n, data.size or 2 * n), seed)["x"]


def _listed(on: str, fake: Tensor, pool: Tensor, suite: Suite) -> dict[str, Measured]:
    """The scores that the modules of this folder list."""
    package = __name__.rpartition(".")[0]
    found: dict[str, Measured] = {}
    for score in (score for module in modules_in(package) for score in getattr(module, "SCORES", ())):
        if score.on == on:
            found.update(score.measured(fake, pool, suite))
    return found


def _featured(
    fake: Tensor, pool: Tensor, against: DatasetLike | LawLike | Tensor, features: Features, suite: Suite
) -> dict[str, Measured]:
    ours, real = points(features(fake[: suite.linear])), points(features(pool))
    found = _listed("features", ours, real, suite)
    unseen = 0 if isinstance(against, Tensor) else getattr(against, "held_out_size", None) or 0
    if unseen:
        rows = cast("DatasetLike", against).take(min(unseen, suite.quadratic), suite.seed, held_out=True)["x"]
        found["memorisation"] = _memorisation(ours[: suite.quadratic], real, points(features(rows)), suite)
    return found


def _memorisation(fake: Tensor, train: Tensor, held_out: Tensor, suite: Suite) -> Measured:
    ratio, spread = nearest_unseen(fake, train, held_out, suite.seed)
    return Measured(value=ratio, floor=1.0, spread=spread, unit="ratio", n=len(fake), higher=True)


def _classes(
    fake: Tensor, pool: Tensor, labels: Tensor | None, classifier: Classifier, suite: Suite
) -> dict[str, Measured]:
    stacked = classifier.shape[0] == 1 and fake.dim() == 4 and fake.shape[1] > 1
    predicted = stacked_classes(classifier, fake) if stacked else classifier.predict(fake)
    shares = classifier.shares
    for _ in range(fake.shape[1] - 1 if stacked else 0):
        shares = torch.outer(shares, classifier.shares).flatten()
    counted = label_modes(predicted, shares).measured()
    found = {"classes": counted["modes"], "class_kl": counted["reverse_kl"]}
    if not stacked:
        ours, real = classifier.features(fake[: suite.linear]), classifier.features(pool)

        def score(a: Tensor, b: Tensor) -> list[float]:
            return [frechet_distance(a, b)]

        found.update(compared(["digit_fid"], score, ours, real, suite, suite.linear, unit="distance²"))
    if labels is not None:
        n, most = len(predicted), classifier.accuracy ** (fake.shape[1] if stacked else 1)
        right = float((predicted == labels.to(predicted.device)).double().mean())
        spread = (most * (1 - most) / n) ** 0.5
        found["agreement"] = Measured(value=right, floor=most, spread=spread, unit="share", n=n, higher=True)
    return found
