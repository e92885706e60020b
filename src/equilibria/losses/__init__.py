r"""Adversarial losses and penalties, by family; every formula stands in the docstring of its class.

A score :math:`h` is a logit, higher is more real; :math:`\sigma` is the logistic function and
:math:`\mathrm{sp}(t) = \log(1 + e^t)`. Losses are minimised, are means over every entry of the scores (rows, or rows
and places of a patch map), and are computed in float32 or wider. A factor 1/2 is there only if the equation shows it.

>>> sorted(OBJECTIVES)[:3]
['energy-margin', 'exponential', 'f-gan-gan']
"""

from .augmentation import Augmentation
from .base import Objective
from .f_gan import FGan
from .logistic import Exponential, MaximumLikelihood, Minimax, NonSaturating
from .margin import (
    LEAST_SQUARES_BINARY,
    LEAST_SQUARES_PEARSON,
    LEAST_SQUARES_SIGNED,
    EnergyMargin,
    Hinge,
    LeastSquares,
    Wasserstein,
)
from .penalties import R1, R2, Clip, Dragan, DriftPenalty, GradientPenalty, InstanceNoise, JSRegulariser, Penalty
from .registry import (
    OBJECTIVES,
    PENALTIES,
    TERMS,
)
from .relativistic import RelativisticAverage, RelativisticPairing
from .terms import (
    AuxiliaryClassifier,
    ClassifiedSamples,
    FeatureMatching,
    PreservedDistances,
    PullAway,
    Term,
)

__all__ = [
    "LEAST_SQUARES_BINARY",
    "LEAST_SQUARES_PEARSON",
    "LEAST_SQUARES_SIGNED",
    "OBJECTIVES",
    "PENALTIES",
    "R1",
    "R2",
    "TERMS",
    "Augmentation",
    "AuxiliaryClassifier",
    "ClassifiedSamples",
    "Clip",
    "Dragan",
    "DriftPenalty",
    "EnergyMargin",
    "Exponential",
    "FGan",
    "FeatureMatching",
    "GradientPenalty",
    "Hinge",
    "InstanceNoise",
    "JSRegulariser",
    "LeastSquares",
    "MaximumLikelihood",
    "Minimax",
    "NonSaturating",
    "Objective",
    "Penalty",
    "PreservedDistances",
    "PullAway",
    "RelativisticAverage",
    "RelativisticPairing",
    "Term",
    "Wasserstein",
]
