"""Metrics of generated samples, each with its floor: the score of a perfect sampler at the same sample size.

The functions that share their module's name are imported from it: ``from equilibria.metrics.modes import modes``,
``from equilibria.metrics.neighbours import neighbours``.
"""

from __future__ import annotations

from .battle import Battle, gam
from .classifier import Classifier, stacked_classes, train_classifier
from .extractors import EXTRACTORS, Extractor, extracted
from .frechet import Gaussian, Sums, extrapolated, frechet_distance, gaussian_frechet, jackknifed
from .kernel import Kid, MmdTest, gaussian, kid, median_scale, mmd2, mmd_test, polynomial
from .measured import Measured, table
from .measures import (
    MEASURES,
    Accuracy,
    CodePurity,
    CycleError,
    Diversity,
    GradientEnergy,
    InverseError,
    LabelKept,
    Measure,
    NearestMode,
    Purity,
    Reconstruction,
)
from .modes import Modes, ModesFloor, label_modes
from .neighbours import (
    Birthday,
    Neighbours,
    birthday,
    expected_coverage,
    memorisation,
    nearest_distances,
    nearest_pairs,
    nearest_unseen,
)
from .protocols import PROTOCOLS, Protocol, Reference, protocol_scores
from .references import reference_of
from .resizing import quantised, resized
from .scoring import Score, Suite, compared
from .suite import digit_fid, evaluate, pixel_features
from .tables import associations, table_scores, told_apart
from .transport import exact_w1, line_w1, sliced_w1, two_sample_floor

__all__ = [
    "EXTRACTORS",
    "MEASURES",
    "PROTOCOLS",
    "Accuracy",
    "Battle",
    "Birthday",
    "Classifier",
    "CodePurity",
    "CycleError",
    "Diversity",
    "Extractor",
    "Gaussian",
    "GradientEnergy",
    "InverseError",
    "Kid",
    "LabelKept",
    "Measure",
    "Measured",
    "MmdTest",
    "Modes",
    "ModesFloor",
    "NearestMode",
    "Neighbours",
    "Protocol",
    "Purity",
    "Reconstruction",
    "Reference",
    "Score",
    "Suite",
    "Sums",
    "associations",
    "birthday",
    "compared",
    "digit_fid",
    "evaluate",
    "exact_w1",
    "expected_coverage",
    "extracted",
    "extrapolated",
    "frechet_distance",
    "gam",
    "gaussian",
    "gaussian_frechet",
    "jackknifed",
    "kid",
    "label_modes",
    "line_w1",
    "median_scale",
    "memorisation",
    "mmd2",
    "mmd_test",
    "nearest_distances",
    "nearest_pairs",
    "nearest_unseen",
    "pixel_features",
    "polynomial",
    "protocol_scores",
    "quantised",
    "reference_of",
    "resized",
    "sliced_w1",
    "stacked_classes",
    "table",
    "table_scores",
    "told_apart",
    "train_classifier",
    "two_sample_floor",
]
