"""The discriminator: too strong, too weak, blind, overfitted; and the gradient that reaches the generator."""

from __future__ import annotations

from ..chart import Checkup, median
from ..evidence import Evidence, about, above, below, context
from ..findings import Severity
from .rule import Level, Rule, View, when

Signs = tuple[Evidence, ...] | None
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def _blind(view: View) -> Signs:
    apart = view["probe/auc"] > 0.9 and view.far
    undecided = abs(view.median("scores/auc") - 0.5) < 0.1
    flat = view["slopes/between"] < 1e-6 or view["scores/spread"] < 1e-6
    unable = view.chart.last["learn/discriminator"] < 0.65
    return when(
        apart and (flat or (undecided and unable)) and not view.update_exploded,
        view,
        about("scores/auc", 1, "the sides differ as much as here"),
        above("slopes/between", 1e-6, "the score depends on its input"),
        context("probe/auc", "an independent classifier tells the sides apart"),
    )


def _weak(view: View) -> Signs:
    """Its steps are right and too small: it hardly moves at all, or neither catches up nor gains much."""
    gap = view.median("probe/auc") - view.median("scores/auc", 8)
    tries = not view.balance("wiring/gain", 0.1) < 0.3 and not view.mean("wiring/descent", 8) < 0.4
    lags = view.far and median(_pace(c) for c in view.chart.checkups[: view.at + 1]) < 0.02
    catches_up = max((v for v in view.past("scores/auc", 8) if v == v), default=0.0) > 0.95
    gains = sum(max(v, 0.0) for v in view.past("wiring/gain", 8)) / 8 > 0.2
    outrun = view.far_and_stalled and view.very_far and not (catches_up or gains or view.covers_part)
    return when(
        view["probe/auc"] > 0.9 and gap > 0.15 and tries and (lags or outrun),
        view,
        about("scores/auc", "probe/auc", "it ranks the rows as well as an independent classifier"),
        context("probe/auc", "an independent classifier tells the sides apart"),
        about("motion/discriminator", "motion/generator", "the players move at comparable rates"),
        context("motion/generator", "what each step changes, relative to the parameters' size"),
    )


def _pace(checkup: Checkup) -> float:
    """How much the discriminator moves for what the generator moves."""
    return checkup["motion/discriminator"] / max(checkup["motion/generator"], 1e-12)


def _vanishing(view: View) -> Signs:
    declared, standard = view.median("gradient/declared"), view.median("gradient/nonsaturating")
    against = max(standard, view.early("gradient/declared"))
    return when(
        declared < 1e-2 * against and view["scores/auc"] > 0.9 and view.far,
        view,
        above("gradient/declared", 1e-2 * against, "a hundredth of the non-saturating gradient, or of the first one"),
        context("gradient/nonsaturating", "what the loss -log D would give"),
        context("scores/fake", "log-odds that the discriminator gives the samples"),
    )


def _why_vanished(view: View) -> tuple[str, ...]:
    """The loss alone, or a discriminator that is sure of every row as well."""
    if view.median("scores/certainty") > 4:
        return "known-good-base", "non-saturating-loss", "slope-penalty"
    return "non-saturating-loss", "slope-penalty"


def _strong(view: View) -> Signs:
    sure = view.median("scores/auc") > 0.98 and view.median("scores/certainty") > 4
    return when(
        sure and view.far_and_stalled and view.chart.objective.probabilistic,
        view,
        below("scores/auc", 0.98, "the generator still learns"),
        below("scores/certainty", 4, "log-odds; beyond it the discriminator is sure of every row"),
        context("samples/distance", "falls while training goes well"),
    )


def _noisy(view: View) -> Signs:
    """The loop's own batches are much noisier than batches of 64 rows; or those do not agree on a direction either."""
    recent = view.chart.checkups[max(0, view.at - 7) : view.at + 1]
    louder = median(c["gradient/snr"] / max(c["gradient/step-snr"], 1e-9) for c in recent) > 15
    drowned = view.far and louder and view.median("gradient/agreement", 8) < 0.8
    lost = (
        view.far_and_stalled
        and view.very_far
        and view.median("gradient/snr", 5) < 0.05
        and view["gradient/declared"] > 0
    )
    return when(
        drowned or lost,
        view,
        above("gradient/agreement", 0.8, "the loop's batch has the direction of large ones"),
        above("gradient/snr", 0.05, "batches of 64 agree on a direction"),
        about("gradient/step-snr", "gradient/snr", "the loop's own batches hold as much signal"),
    )


def _overfitted(view: View) -> Signs:
    return when(
        view.median("scores/seen-unseen-auc") > 0.75,
        view,
        about("scores/seen-unseen-auc", 0.5, "training rows and unseen ones score alike"),
        context("scores/unseen", "mean score of unseen real rows"),
        context("scores/real", "mean score of training rows"),
    )


def _memorised(view: View) -> Signs:
    near = about("samples/memorised", 1, "samples are as near to unseen rows as to training rows")
    return when(view.median("samples/memorised") < 0.75, view, near)


RULES: tuple[Rule, ...] = (
    Rule(
        Level.OPPONENT,
        "discriminator-blind",
        CRITICAL,
        _blind,
        3,
        "The discriminator gives real and generated rows the same score though they are far apart, and cannot learn "
        "otherwise: its score does not depend on its input, or its units are dead.",
        "Goodfellow et al. 2014, Proposition 1: the optimal score is log p/q",
        ("seeing-discriminator",),
    ),
    Rule(
        Level.OPPONENT,
        "discriminator-too-weak",
        CRITICAL,
        _weak,
        3,
        "The discriminator tells the sides apart much worse than an independent classifier does, and the samples have "
        "stopped getting nearer to the data: it does not keep up with the generator.",
        "Goodfellow et al. 2014, section 4: D must be kept near its optimum",
        ("faster-discriminator", "larger-discriminator"),
    ),
    Rule(
        Level.GRADIENTS,
        "vanishing-generator-gradient",
        CRITICAL,
        _vanishing,
        3,
        "The discriminator is sure of the samples, and the generator's loss is flat there: next to no gradient reaches "
        "the generator, so it cannot improve.",
        "Goodfellow et al. 2014, section 3; Arjovsky & Bottou 2017, Theorem 2.4",
        _why_vanished,
    ),
    Rule(
        Level.GRADIENTS,
        "discriminator-too-strong",
        CRITICAL,
        _strong,
        3,
        "The discriminator is sure of every row while the samples have stopped getting nearer to the data: it has won, "
        "and its slope tells the generator little about where to go.",
        "Arjovsky & Bottou 2017, Theorems 2.1, 2.4 and 2.6",
        ("known-good-base", "slope-penalty", "slow-discriminator"),
    ),
    Rule(
        Level.GRADIENTS,
        "memorisation",
        CRITICAL,
        _memorised,
        3,
        "Samples sit on training rows: they are much nearer to them than to unseen rows of the same law.",
        "Arora et al. 2017: on few points copies cannot be told from the law",
        ("more-data", "slope-penalty"),
    ),
    Rule(
        Level.GRADIENTS,
        "discriminator-overfitted",
        CRITICAL,
        _overfitted,
        3,
        "The discriminator scores its training rows above unseen real ones: it has learnt the rows, not the law, and "
        "pushes the generator towards copies of them.",
        "Karras et al. 2020 (ADA), section 2; Arora et al. 2017",
        ("more-data", "slope-penalty"),
    ),
    Rule(
        Level.NOISE,
        "noisy-generator-gradient",
        CRITICAL,
        _noisy,
        3,
        "The generator's gradient is mostly noise: batches disagree on where to go, and the samples do not get "
        "nearer to "
        "the data.",
        "Arjovsky & Bottou 2017, Theorem 2.6",
        ("larger-batch", "slope-penalty"),
    ),
)
