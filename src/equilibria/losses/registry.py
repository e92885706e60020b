"""The objectives by name, as the command line, recipes and the doctor take them."""

from __future__ import annotations

from ..base.registry import Registry
from ..theory.divergences import F_DIVERGENCES
from .base import Objective
from .f_gan import FGan
from .logistic import Exponential, MaximumLikelihood, Minimax, NonSaturating
from .margin import Hinge, LeastSquares, Wasserstein
from .penalties import R1, R2, Dragan, DriftPenalty, GradientPenalty, JSRegulariser, Penalty
from .relativistic import RelativisticAverage, RelativisticPairing
from .terms import FeatureMatching, PreservedDistances, PullAway, Term

# Mao et al. 2017: eq. 9 (the 0-1 code), eq. 8 (the generator minimises a Pearson divergence), and the 0-1 code in
# signs, which is the same game for scores shifted and doubled.
LEAST_SQUARES_BINARY = LeastSquares(a=0.0, b=1.0, c=1.0)
LEAST_SQUARES_PEARSON = LeastSquares(a=-1.0, b=1.0, c=0.0)
LEAST_SQUARES_SIGNED = LeastSquares(a=-1.0, b=1.0, c=1.0)

OBJECTIVES: Registry[Objective] = Registry(
    "objective",
    {
        "minimax": Minimax(),
        "nonsaturating": NonSaturating(),
        "maximum-likelihood": MaximumLikelihood(),
        "least-squares": LEAST_SQUARES_BINARY,
        "least-squares-pearson": LEAST_SQUARES_PEARSON,
        "least-squares-signed": LEAST_SQUARES_SIGNED,
        "hinge": Hinge(),
        "wasserstein": Wasserstein(),
        **{f"f-gan-{name}": FGan(divergence=name) for name in F_DIVERGENCES},
        "relativistic-pairing": RelativisticPairing(),
        "relativistic-pairing-saturating": RelativisticPairing(saturating=True),
        "relativistic-average": RelativisticAverage(),
        "exponential": Exponential(),
    },
    aliases={
        "saturating": "minimax",
        "gan": "nonsaturating",
        "vanilla": "nonsaturating",
        "non-saturating": "nonsaturating",
        "logistic": "nonsaturating",
        "mle": "maximum-likelihood",
        "lsgan": "least-squares",
        "wgan": "wasserstein",
        "relativistic": "relativistic-pairing",
        "rpgan": "relativistic-pairing",
        "ragan": "relativistic-average",
    },
    base=Objective,
)
"""Objectives by the name that the command line takes."""

PENALTIES: Registry[Penalty] = Registry(
    "penalty",
    {
        "r1": R1(),
        "r2": R2(),
        "gradient-penalty": GradientPenalty(),
        "gradient-penalty-one-sided": GradientPenalty(one_sided=True),
        "dragan": Dragan(),
        "js-regulariser": JSRegulariser(),
        "drift": DriftPenalty(),
    },
    aliases={"wgan-gp": "gradient-penalty", "gp": "gradient-penalty", "roth": "js-regulariser"},
    base=Penalty,
)
"""Penalties by name, with their default weights."""

TERMS: Registry[Term] = Registry(
    "term",
    {
        "feature-matching": FeatureMatching(),
        "pull-away": PullAway(),
        "preserved-distances": PreservedDistances(),
    },
    aliases={"repelling": "pull-away"},
    base=Term,
)
"""Terms of a player's loss by name, with their default weights."""
