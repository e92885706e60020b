"""Metrics with a protocol: FID and its relatives, whose numbers can be compared with published ones.

A protocol fixes what changes the number: the network, the resize, the rounding to bytes, the precision. The name FID
belongs to these protocols alone; a Fréchet distance of other features has another name (``frechet``, ``digit_fid``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..base.errors import ConfigError, ShapeError
from ..base.records import record
from ..base.registry import Registry, spelled
from .checks import generator, points
from .extractors import EXTRACTORS
from .frechet import Gaussian, Sums, extrapolated, jackknifed
from .kernel import kid
from .measured import Measured
from .neighbours import balls
from .resizing import RESIZES

Split = Literal["train", "held-out"]
_RESERVED = ("fid", "fid-clean", "clean-fid", "kid", "kid-clean", "fid-infinity", "inception-score")
FEWEST = 48
"""Samples, and real rows, of an evaluation by a protocol, at least; half of them are enough for a floor."""


@record
class Protocol:
    """How images become features, and how the features are compared; numbers of two protocols are not comparable.

    Args:
        name: of the protocol, and of its Fréchet distance.
        extractor: the id of the feature network.
        resize: ``"tf1-bilinear"`` or ``"bicubic-antialiased"`` (:mod:`~equilibria.metrics.resizing`).
        quantised: whether samples are rounded to whole bytes first, as a file of images would be.
        dtype: of the network; statistics are float64.
        ddof: subtracted from the number of rows in a covariance.
        k: neighbours of precision, recall, density and coverage.
        rows: largest number of rows of a side in these and in KID; their time is quadratic.
        subset: rows of a subset of KID.
        sizes: sample sizes of the extrapolation to infinity.
    """

    name: str
    extractor: str = "inception-2015"
    resize: str = RESIZES[0]
    quantised: bool = True
    dtype: str = "float32"
    ddof: int = 1
    k: int = 5
    rows: int = 5000
    subset: int = 1000
    sizes: int = 6


PROTOCOLS: Registry[Protocol] = Registry(
    "protocol",
    {
        "fid": Protocol(name="fid"),
        "fid-clean": Protocol(name="fid-clean", resize=RESIZES[1]),
    },
    aliases={"clean-fid": "fid-clean"},
)
"""Protocols by name: ``fid`` of Heusel et al. 2017, ``fid-clean`` of Parmar et al. 2022."""


def check_metric_name(name: str) -> None:
    """Refuse the name of a metric of a protocol for anything else.

    Raises:
        ConfigError: the name is ``fid``, ``kid`` or the like.

    Examples:
        >>> check_metric_name("digit_fid")
        >>> check_metric_name("FID")
        Traceback (most recent call last):
        equilibria.base.errors.ConfigError: 'FID' is a number of the network inception-2015 under a protocol, ...
    """
    if spelled(name) in _RESERVED:
        missing = not EXTRACTORS["inception-2015"].path.exists()
        first = "python -m equilibria.metrics.fetch inception-2015; then " if missing else ""
        raise ConfigError(
            f"'{name}' is a number of the network inception-2015 under a protocol, and nothing else has that name",
            f"{first}equilibria evaluate RUN --protocol fid (in training use the metric frechet)",
        )


@dataclass(frozen=True)
class Reference:
    """The real rows that samples are compared with, as features.

    Attributes:
        split: ``"train"`` or ``"held-out"``.
        fingerprint: SHA-256 of what the data are.
        gaussian: the moments of all rows.
        kept: ``(m, d)`` float32, features of the first rows, in random order.
        labels: ``(m,)`` int64, their classes, or None.
    """

    split: Split
    fingerprint: str
    gaussian: Gaussian
    kept: Tensor
    labels: Tensor | None = None


def protocol_scores(
    fake: Tensor,
    reference: Reference,
    other: Reference | None,
    protocol: Protocol,
    seed: int = 0,
    names: Sequence[str] = (),
) -> dict[str, Measured]:
    """The numbers of a protocol, each beside what real rows score.

    The Fréchet distance, its extrapolation to infinitely many samples, KID, precision, recall, density, coverage, and
    the coverage of each class (``coverage/NAME``), whose mean by the shares of the classes is the coverage. The floor
    is the score of rows of the other split; without one, the kept rows are split in two.

    The spread of the Fréchet distance is by the jackknife, that of its extrapolation the standard error of the fit,
    that of KID the standard error over subsets; those of the shares take the balls as given.

    Args:
        fake: ``(n, d)`` features of samples.
        reference: real rows.
        other: further real rows that are not among them.
        protocol: whose features all these are.
        seed: of the order of the samples and of the subsets.
        names: of the classes.

    Raises:
        ShapeError: fewer than 48 rows, or different dimensions.
        DataError: an entry is not finite.
    """
    if min(len(fake), len(reference.kept)) < FEWEST or fake.dim() != 2 or fake.shape[1] != reference.kept.shape[1]:
        what = f"features of shape {tuple(fake.shape)} against {tuple(reference.kept.shape)}"
        raise ShapeError(what, f"pass at least {FEWEST} samples and real rows with the same features")
    rows = fake[torch.randperm(len(fake), generator=generator(seed))]
    base, real = _floor(reference, other, len(fake))
    side = min(len(rows), len(reference.kept), protocol.rows)
    floor_side = min(len(real), len(base.kept), side)
    numbers = _linear(rows, reference.gaussian, real, base.gaussian, protocol)
    ours = kid(rows[:side], reference.kept[:side], protocol.subset, seed)
    theirs = kid(real[:floor_side], base.kept[:floor_side], protocol.subset, seed)
    suffix = protocol.name.replace("-", "_").removeprefix("fid")
    numbers[f"kid{suffix}"] = Measured(
        value=ours.value, floor=theirs.value, spread=theirs.error, unit="mmd²", n=ours.subsets * ours.size
    )
    return numbers | _shares(
        (points(rows[:side]), points(reference.kept[:side]), reference.labels),
        (points(real[:floor_side]), points(base.kept[:floor_side]), base.labels),
        protocol.k,
        names,
    )


def _floor(reference: Reference, other: Reference | None, n: int) -> tuple[Reference, Tensor]:
    """The reference of the floor, and the real rows in place of samples."""
    if other is not None and len(other.kept) >= FEWEST:
        return reference, other.kept[:n]
    half = len(reference.kept) // 2
    first, labels = reference.kept[:half], reference.labels
    gaussian = Sums.of(first).gaussian()
    own = Reference(reference.split, reference.fingerprint, gaussian, first, None if labels is None else labels[:half])
    return own, reference.kept[half:][:n]


def _linear(rows: Tensor, to: Gaussian, real: Tensor, base: Gaussian, protocol: Protocol) -> dict[str, Measured]:
    name = protocol.name.replace("-", "_")
    ours, theirs = (extrapolated(*pair, protocol.sizes) for pair in ((rows, to), (real, base)))

    def measured(value: float, floor: float, spread: float) -> Measured:
        return Measured(value=value, floor=floor, spread=spread, unit="distance²", n=len(rows))

    return {
        name: measured(ours.plain, theirs.plain, jackknifed(real, base)),
        f"{name}_infinity": measured(ours.value, theirs.value, theirs.error),
    }


Side = tuple[Tensor, Tensor, Tensor | None]
"""Samples, real rows, and the classes of the real rows."""


def _shares(ours: Side, theirs: Side, k: int, names: Sequence[str]) -> dict[str, Measured]:
    """Precision, recall, density, coverage, and the coverage of each class, of samples and of real rows."""
    values, floors = _averages(*ours, k, names), _averages(*theirs, k, names)
    found = {}
    for name, (value, _, n) in values.items():
        floor, spread, _ = floors.get(name, (None, 0.0, 0))
        found[name] = Measured(value=value, floor=floor, spread=spread, unit="share", n=n, higher=True)
    return found


def _averages(
    fake: Tensor, real: Tensor, labels: Tensor | None, k: int, names: Sequence[str]
) -> dict[str, tuple[float, float, int]]:
    """By name: a mean, its standard error for given balls, and the number of points that were averaged."""
    held, recalled, covered = balls(fake, real, k)
    columns = {"precision": held > 0, "recall": recalled, "density": held / k, "coverage": covered}
    if labels is not None:
        own = labels[: len(real)]
        for c, name in enumerate(names):
            if int((own == c).sum()) > 1:
                columns[f"coverage/{name}"] = covered[own == c]
    return {
        name: (float(column.double().mean()), float(column.double().std()) / len(column) ** 0.5, len(column))
        for name, column in columns.items()
    }
