"""Sample quality of both sides after equal rounds, in the features of a fixed classifier."""

from __future__ import annotations

import math
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equilibria.base.errors import ConfigError
from equilibria.base.randomness import own_randomness, reseed
from equilibria.core.play import Play
from equilibria.metrics.classifier import Classifier, train_classifier
from equilibria.metrics.frechet import frechet_distance

from . import ours, peers
from .measure import Plan
from .registry import Benchmark, Borrowed

SAMPLES = 2048
_JUDGE_STEPS = 600


def judged(row: Benchmark, plan: Plan, rounds: int, seeds: int) -> list[dict[str, Any]]:
    """Fréchet distance between samples and held-out digits, by side: the mean over seeds and its standard error.

    Both sides train the same networks for equally many rounds on the same rows. Both are sampled in training mode:
    batch statistics, no moving average.

    Raises:
        ConfigError: this comparison has no samples of the other side.
    """
    if row.quality is None:
        raise ConfigError(f"'{row.name}' has no quality to compare", "leave it out, or --quality")
    borrowed = row.quality
    data = borrowed.data()
    rows = data.take(int(data.size or 0))
    classifier = train_classifier(rows["x"], rows["y"], steps=_JUDGE_STEPS)
    held_out = classifier.features(data.take(SAMPLES, held_out=True)["x"])
    found: dict[str, list[float]] = {name: [] for name in (*borrowed.settings, row.other)}
    for seed in range(seeds):
        for name, settings in borrowed.settings.items():
            play = ours.played(borrowed.row, data, settings, partial(borrowed.modules, plan), seed)
            play.advance(rounds)
            found[name].append(_distance(classifier, held_out, _samples(play, seed)))
        found[row.other].append(_distance(classifier, held_out, _theirs(borrowed, plan, rounds, seed)))
    return [
        {
            "who": name,
            "rounds": rounds,
            "distance": statistics.mean(values),
            "standard_error": statistics.stdev(values) / math.sqrt(seeds) if seeds > 1 else None,
            "distances": values,
            "judge_accuracy": classifier.accuracy,
        }
        for name, values in found.items()
    ]


def _distance(classifier: Classifier, held_out: Tensor, samples: Tensor) -> float:
    return float(frechet_distance(held_out, classifier.features(samples)))


def _theirs(borrowed: Borrowed, plan: Plan, rounds: int, seed: int) -> Tensor:
    with tempfile.TemporaryDirectory() as folder, peers.running(borrowed.script, plan, seed) as peer:
        peer(rounds)
        return peer.samples(SAMPLES, Path(folder) / "samples.npy")


@torch.no_grad()
def _samples(play: Play, seed: int) -> Tensor:
    with own_randomness():
        reseed(seed)
        generator = play.game.generator
        assert isinstance(generator, torch.nn.Module)
        return torch.cat([generator(play.game.codes(64)["latent"]) for _ in range(SAMPLES // 64)])
