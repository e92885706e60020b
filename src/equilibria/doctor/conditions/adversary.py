"""Conditions of the discriminator (too strong, too weak, blind, overfitted) and of the generator's gradient."""

from __future__ import annotations

from ..chart import Checkup, median
from ..evidence import Evidence, about, above, below, context
from ..findings import Severity
from .rule import Level, Rule, View, when

Found = tuple[Evidence, ...] | None
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def _blind(view: View) -> Found:
    apart = view["probe/auc"] > 0.9 and view.far
    undecided = abs(view.median("scores/auc") - 0.5) < 0.1
    flat = view["slopes/between"] < 1e-6 or view["scores/spread"] < 1e-6 or view.median_so_far("scores/spread") < 1e-4
    unable = view.chart.last["learn/discriminator"] < 0.65
    return when(
        apart and (flat or (undecided and unable and view.stalled)) and not view.update_exploded,
        view,
        about("scores/auc", 1, "real and generated rows differ as much as here"),
        above("slopes/between", 1e-6, "the score depends on its input"),
        context("probe/auc", "an independent classifier separates real from generated rows"),
    )


def _weak(view: View) -> Found:
    """It hardly moves; or it neither catches up nor improves; or it cannot separate what others can, even alone."""
    gap = view.median("probe/auc") - view.median("scores/auc", 8)
    tries = not view.balance("wiring/gain", 0.1) < 0.3 and not view.mean("wiring/descent", 8) < 0.2
    relative = _relative(view)
    behind = view.median_so_far("probe/auc") - view.median_so_far("scores/auc")
    slow = view.far and (relative < 0.02 or (relative < 0.2 and behind > (0.3 if view.very_far else 0.4)))
    recent = [v for v in view.past("scores/auc", 8) if v == v]
    catches_up = max(recent, default=0.0) > 0.95
    gains = sum(max(v, 0.0) for v in view.past("wiring/gain", 8)) / 8 > 0.2
    turns = relative > 0.3 and max(recent, default=0.0) - min(recent, default=0.0) > 0.4  # both players lead in turn
    outrun = view.far_and_stalled and view.very_far and not (catches_up or gains or turns or view.covers_part)
    incapable = view.very_far and view["probe/auc"] > 0.95 and view.chart.last["learn/discriminator"] < 0.75
    return when(
        view["probe/auc"] > 0.9 and gap > 0.15 and tries and (slow or outrun or incapable),
        view,
        about("scores/auc", "probe/auc", "it ranks the rows as well as an independent classifier"),
        context("probe/auc", "an independent classifier separates real from generated rows"),
        about("motion/discriminator", "motion/generator", "the players move at comparable rates"),
        context("motion/generator", "change per step, relative to the parameters' norm"),
    )


def _relative(view: View) -> float:
    """Its median over all check-ups so far."""
    return view.history.medians_of("relative motion", _relative_motion)[view.at]


def _relative_motion(checkup: Checkup) -> float:
    """The movement of the discriminator relative to that of the generator."""
    return checkup["motion/discriminator"] / max(checkup["motion/generator"], 1e-12)


def _vanishing(view: View) -> Found:
    declared, standard = view.median("gradient/declared"), view.median("gradient/nonsaturating")
    against = max(standard, view.early("gradient/declared"))
    return when(
        declared < 1e-2 * against and view["scores/auc"] > 0.9 and view.far,
        view,
        above("gradient/declared", 1e-2 * against, "a hundredth of the non-saturating gradient, or of the first one"),
        context("gradient/nonsaturating", "the gradient of the loss -log D"),
        context("scores/fake", "log-odds that the discriminator gives the samples"),
    )


def _why_vanished(view: View) -> tuple[str, ...]:
    """Remedies for the loss alone, or also for a discriminator that is certain about every row."""
    if view.median("scores/certainty") > 4:
        return "known-good-base", "non-saturating-loss", "slope-penalty"
    return "non-saturating-loss", "slope-penalty"


def _strong(view: View) -> Found:
    """It is certain about every row; or it won all the time and the generator hardly moves."""
    certain = view.median("scores/auc") > 0.98 and view.median("scores/certainty") > 4 and view.far_and_stalled
    wins = min(view.median("scores/auc"), view.median_so_far("scores/auc")) > 0.85
    outruns = wins and view.very_far and _relative(view) > 8
    return when(
        (certain or outruns) and view.chart.objective.probabilistic,
        view,
        below("scores/auc", 0.98, "a generator that still learns keeps it lower"),
        below("scores/certainty", 4, "log-odds; above it the discriminator is certain about every row"),
        context("samples/distance", "decreases in a healthy training"),
        about("motion/discriminator", "motion/generator", "the players move at comparable rates"),
        context("motion/generator", "change per step, relative to the parameters' norm"),
    )


def _why_strong(view: View) -> tuple[str, ...]:
    """Remedies for certainty, or for a generator that hardly moves."""
    if view.median("scores/certainty") > 4:
        return "known-good-base", "slope-penalty", "slow-discriminator"
    return "slow-discriminator", "known-good-base"


def _noisy(view: View) -> Found:
    """The loop's own batches are much noisier than batches of 64 rows; or even those disagree on a direction."""
    recent = view.chart.checkups[max(0, view.at - 7) : view.at + 1]
    noisier = median([c["gradient/snr"] / max(c["gradient/step-snr"], 1e-9) for c in recent]) > 15
    # One batch's gradient has the cosine c with the mean, where c^2 / (1 - c^2) is its signal over noise.
    cosine, large = view.median_so_far("gradient/agreement"), view.median_so_far("gradient/snr")
    noisier |= cosine > 0.2 and large > 5 and large > 10 * cosine**2 / max(1 - cosine**2, 1e-9)
    # The loop's gradients are of its whole loss, and are compared with those of its adversarial term.
    alike = view.purely_adversarial and view.median("gradient/agreement", 8) < 0.8
    loop_noise = view.far and noisier and alike
    batch_noise = (
        view.far_and_stalled
        and view.very_far
        and view.median("gradient/snr", 5) < 0.05
        and view["gradient/declared"] > 0
    )
    return when(
        loop_noise or batch_noise,
        view,
        above("gradient/agreement", 0.8, "the gradient of the loop's batch has the direction of large batches"),
        above("gradient/snr", 0.05, "batches of 64 agree on a direction"),
        about("gradient/step-snr", "gradient/snr", "the loop's own batches have as much signal"),
    )


def _overfitted(view: View) -> Found:
    by_chance = min(0.85, view.median("samples/closer-by-chance", 5))
    return when(
        view.median("scores/seen-unseen-auc") > 0.75 or view.median("samples/closer", 5) < by_chance,
        view,
        about("scores/seen-unseen-auc", 0.5, "training rows and unseen ones score alike"),
        context("scores/unseen", "mean score of unseen real rows"),
        context("scores/real", "mean score of training rows"),
        about("samples/closer", 1, "samples are as far from the training rows as unseen real rows are"),
    )


def _memorised(view: View) -> Found:
    expected = about("samples/memorised", 1, "samples are as close to unseen rows as to training rows")
    lowest = min(0.5, view.median("samples/memorised-by-chance"))  # with so many unseen rows
    return when(view.median("samples/memorised") < lowest, view, expected)


RULES: tuple[Rule, ...] = (
    Rule(
        Level.DISCRIMINATOR,
        "discriminator-blind",
        CRITICAL,
        _blind,
        3,
        "The discriminator gives real and generated rows the same score although they are far apart, and cannot learn "
        "to separate them: its score does not depend on its input, or its units are dead.",
        "Goodfellow et al. 2014, Proposition 1: the optimal score is log p/q",
        ("seeing-discriminator",),
        12,
    ),
    Rule(
        Level.DISCRIMINATOR,
        "discriminator-too-weak",
        CRITICAL,
        _weak,
        3,
        "The discriminator separates real from generated rows much worse than an independent classifier does, and the "
        "samples no longer get closer to the data: it does not keep up with the generator.",
        "Goodfellow et al. 2014, section 4: D must be kept near its optimum",
        ("faster-discriminator", "larger-discriminator"),
        14,
    ),
    Rule(
        Level.GRADIENTS,
        "vanishing-generator-gradient",
        CRITICAL,
        _vanishing,
        3,
        "The discriminator is certain that the samples are fake, and the generator's loss is flat there: almost no "
        "gradient reaches the generator, so it cannot improve.",
        "Goodfellow et al. 2014, section 3; Arjovsky & Bottou 2017, Theorem 2.4",
        _why_vanished,
        14,
    ),
    Rule(
        Level.GRADIENTS,
        "discriminator-too-strong",
        CRITICAL,
        _strong,
        3,
        "The discriminator is certain about every row while the samples no longer get closer to the data, and its "
        "gradient gives the generator almost no information; or it wins all the time while the generator hardly moves.",
        "Arjovsky & Bottou 2017, Theorems 2.1, 2.4 and 2.6",
        _why_strong,
        14,
    ),
    Rule(
        Level.GRADIENTS,
        "memorisation",
        CRITICAL,
        _memorised,
        3,
        "Samples are copies of training rows: they are much closer to training rows than to unseen rows of the same "
        "distribution.",
        "Arora et al. 2017: with few points, copies cannot be distinguished from the distribution",
        ("more-data", "slope-penalty"),
        10,
    ),
    Rule(
        Level.GRADIENTS,
        "discriminator-overfitted",
        CRITICAL,
        _overfitted,
        3,
        "The discriminator scores its training rows above unseen real ones: it has learnt the rows, not their "
        "distribution, and pushes the generator towards copies of them.",
        "Karras et al. 2020 (ADA), section 2; Arora et al. 2017",
        ("more-data", "slope-penalty"),
        10,
    ),
    Rule(
        Level.NOISE,
        "noisy-generator-gradient",
        CRITICAL,
        _noisy,
        3,
        "The generator's gradient is mostly noise: batches disagree on the direction, and the samples do not get "
        "closer to the data.",
        "Arjovsky & Bottou 2017, Theorem 2.6",
        ("larger-batch", "slope-penalty"),
        14,
    ),
)
