"""The numbers of a protocol (FID and its relatives) of a run's samples, and the conditions they were measured under."""

from __future__ import annotations

import platform
import warnings
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import Tensor

from ..base.errors import ConfigError, RunError
from ..base.randomness import mix
from ..base.records import encode, written
from ..core.play import Play
from ..data import Dataset
from ..metrics import Measured
from ..metrics.extractors import EXTRACTORS, extracted
from ..metrics.neighbours import nearest_pairs
from ..metrics.protocols import FEWEST, PROTOCOLS, Protocol, Reference, Split, protocol_scores
from ..metrics.references import KEPT, reference_of, rows_of
from ..training import disk
from ..training.pictures import rows_for
from .samples import Asked, shown

SAMPLES = 10_000
"""Samples of an evaluation by a protocol, where no number is given. Papers use 50,000."""


@dataclass(frozen=True)
class Asking:
    """What an evaluation by a protocol is asked to do.

    Attributes:
        protocol: its name.
        n: number of samples.
        seed: of the samples.
        reference: the real rows that they are compared with.
        real: number of these rows, drawn at random; None for all.
    """

    protocol: str
    n: int = SAMPLES
    seed: int = 0
    reference: Split = "train"
    real: int | None = None


@dataclass(frozen=True)
class ByProtocol:
    """The numbers, and the conditions they were measured under."""

    metrics: dict[str, Measured]
    conditions: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = {name: value.to_dict() for name, value in self.metrics.items()}
        return {"metrics": found, "conditions": self.conditions}


def file_of(protocol: str) -> str:
    """The file in a run's folder that keeps the numbers of a protocol.

    Examples:
        >>> file_of("fid")
        'evaluation-fid.json'
    """
    return f"evaluation-{protocol}.json"


def evaluate_by(play: Play, data: Dataset, asking: Asking) -> ByProtocol:
    """The numbers of a protocol of a play's samples against its data.

    Raises:
        ConfigError: an unknown protocol or reference, too few samples, or samples that are no images of the data.
        DataError: the network is not in the cache, or the data have no such rows.
    """
    rules = PROTOCOLS.find(asking.protocol)
    if data.spec.kind != "image" or play.game.judged.get(_view(play)) != "x" or play.game.seeds:
        what = f"the protocol {rules.name} compares images, and '{data.name}' with this run gives none"
        raise ConfigError(what, "leave --protocol out, or open a run of one seed on images")
    if asking.n < FEWEST:
        raise ConfigError(f"{asking.n} samples are too few for the protocol {rules.name}", f"use at least {FEWEST}")
    rows_of(data, asking.reference)  # an unknown reference is refused before anything is computed
    extractor = EXTRACTORS.find(rules.extractor)
    network = extractor.load().to(play.device)
    reference = reference_of(data, asking.reference, rules, network, asking.real)
    against: Split = "held-out" if asking.reference == "train" else "train"
    other = None
    if rows_of(data, against):
        other = reference_of(data, against, rules, network, min(asking.n, KEPT))
    fake = extracted(drawn_images(play, data, asking), extractor, network, rules.resize, rules.quantised)
    found = protocol_scores(fake, reference, other, rules, asking.seed, data.class_names)
    return ByProtocol(found, _conditions(play, asking, rules, reference, other))


def evaluate_and_keep(path: Path, play: Play, data: Dataset, asking: Asking) -> ByProtocol:
    """:func:`evaluate_by`, kept with its conditions in the run's folder; a warning where that cannot be written.

    Errors as there.
    """
    found = evaluate_by(play, data, asking)
    try:
        disk.write_atomically(path / file_of(found.conditions["protocol"]["name"]), written(found.to_dict(), indent=1))
    except RunError as error:
        warnings.warn(f"the evaluation is not kept with the run: {error.what}", stacklevel=3)
    return found


def _view(play: Play) -> str:
    return next(iter(play.game.judged))


def drawn_images(play: Play, data: Dataset, asking: Asking) -> Tensor:
    """The samples that are evaluated: with the classes of the data, in its shares."""
    own = mix(asking.seed, 7)
    labels = play.classes(asking.n, own) if play.game.classes else None
    asked = Asked(labels, rows_for(play.game, lambda: data, asking.n, asking.seed))
    return shown(play, asking.n, own, asked)[_view(play)]


def _conditions(
    play: Play, asking: Asking, rules: Protocol, reference: Reference, other: Reference | None
) -> dict[str, Any]:
    extractor = EXTRACTORS.find(rules.extractor)
    half = len(reference.kept) // 2
    split, count = ("other half of the", half) if other is None else (other.split, len(other.kept))
    return {
        "protocol": encode(rules),
        "extractor": {"id": extractor.name, "sha256": extractor.sha256, "dtype": rules.dtype},
        "n": {"samples": asking.n, "real": reference.gaussian.n},
        "reference": {"split": reference.split, "fingerprint": reference.fingerprint},
        "floor": {"split": split, "n": min(count, asking.n)},
        "seed": asking.seed,
        "round": play.round,
        "weights": "averaged" if play.averages else "live",
        "labels": "the classes of the data, in its shares" if play.game.classes else "none",
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
    }


_PACKAGES = ("equilibria", "torch", "numpy", "scipy")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def nearest_training(made: Tensor, data: Dataset, column: str = "x", most: int = 10_000) -> tuple[Tensor, Tensor]:
    """The training image nearest to each sample in the pixels, and the distances.

    Args:
        made: samples ``(n, c, h, w)``.
        data: the images.
        column: the column that the samples are compared with.
        most: training rows that are searched, drawn at random if there are more.

    Returns:
        ``(n, c, h, w)``, and ``(n,)`` root mean squares over the pixels, on their scale of [-1, 1].
    """
    real = data.take(min(data.size or most, most))[column].cpu()
    which, distance = nearest_pairs(made, real)
    return real[which], distance / made[0].numel() ** 0.5
