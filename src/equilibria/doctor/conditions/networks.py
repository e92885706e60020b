"""What the networks do with what they are given: ranges, norms, codes, labels; and whether they blow up."""

from __future__ import annotations

import math

from ..findings import Condition, Evidence, Severity
from .rule import Rule, View, when

Signs = tuple[Evidence, ...] | None
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def _range(view: View) -> Signs:
    width = view["real/high"] - view["real/low"]
    lows, highs = view.past("samples/low", view.at + 1), view.past("samples/high", view.at + 1)
    if len(lows) < 6 or not width > 0:
        return None
    low, high = min(lows), max(highs)
    # A bounded range: its end has not moved for four check-ups, and values crowd there.
    stuck_low = min(lows[:-4]) - low <= 0.02 * width and low - view["real/low"] > 0.1 * width
    stuck_high = high - max(highs[:-4]) <= 0.02 * width and view["real/high"] - high > 0.1 * width
    crowded = view.median("samples/at-edge") > 0.15 and high - low > 1e-3 * width
    return when(
        (stuck_low or stuck_high) and crowded and view["real/outside"] > 0.1 and view.far,
        view,
        ("real/outside", "below 0.1: real values lie in the range that samples have, whose ends do not move"),
        ("samples/at-edge", "share of values at those ends"),
        ("samples/low", "lower end of the samples' range"),
        ("samples/high", "upper end"),
        ("real/low", "lower end of the data"),
        ("real/high", "upper end"),
    )


def _saturated(view: View) -> Signs:
    more = view["samples/at-edge"] - view["real/at-edge"]
    # Ends that stay where they are, as those of a tanh: else it is a few rows that happen to be farthest out.
    slack = 0.02 * (view["real/high"] - view["real/low"])
    held = all(max(ends) - min(ends) <= slack for ends in (view.past("samples/low", 3), view.past("samples/high", 3)))
    return when(
        view["samples/at-edge"] > 0.8 and more > 0.15 and held and not view.blown,
        view,
        ("samples/at-edge", "not above 0.8 and far above that of the data"),
        ("real/at-edge", "the same share of the data"),
    )


def _mismatch(view: View) -> Signs:
    train, evaluated = view.median("samples/train-distance"), view.median("samples/eval-distance")
    return when(
        evaluated > 2 * train + 0.15 or train > 2 * evaluated + 0.3,
        view,
        ("samples/eval-distance", "about that in train mode"),
        ("samples/train-distance", "distance to the data in train mode"),
    )


def _leak(view: View) -> Signs:
    # Over the whole run: what the discriminator has learnt in the end does not undo what it taught until then.
    so_far = view.at + 1
    gap = view.median("scores/auc", so_far) - view.median("scores/mixed-auc", so_far)
    return when(
        gap > 0.25 and view["scores/auc"] > 0.8 and view.median("samples/distance") > 2 * view.fact("floor/distance"),
        view,
        ("scores/auc", "batches of one side each"),
        ("scores/mixed-auc", "about the same when both sides share a batch"),
    )


def _deaf(view: View) -> Signs:
    return when(
        view["latent/dependence"] < 0.02 and view["samples/spread"] > 0.02,
        view,
        ("latent/dependence", "above 0.02: another code gives another sample"),
        ("samples/spread", "samples vary all the same, so something else makes them vary"),
    )


def _narrow(view: View) -> Signs:
    real, fake, size = view.fact("real/dimension"), view.median("samples/dimension"), view.fact("latent/size")
    shows = 0 < size < 0.6 * real and fake < 0.6 * real and view["samples/spread"] > 0.1
    return when(
        shows, view, ("samples/dimension", f"about {real:.1f}, as the data; the code has {size:.0f} dimensions")
    )


def _label(view: View) -> Signs:
    chance = view["label/chance"]
    limit = chance + 0.3 * (1 - chance)
    before = view.past("label/agreement", 8)
    rising = len(before) > 4 and view.median("label/agreement") > before[0] + 0.1
    return when(
        view.median("label/agreement") < limit and not rising and len(before) > 4,
        view,
        ("label/agreement", f"well above {chance:.2f}, which is chance"),
    )


def _diverged(view: View) -> Signs:
    size = view["samples/size"]
    sizes = [v for v in view.past("samples/size", view.at + 1) if math.isfinite(v)]
    # Growing, not swinging: the last values are all near the largest so far, and no player wins in turn.
    growing = size > 4 and min(sizes[-4:], default=0.0) >= 0.5 * max(sizes, default=0.0) and not view.swings
    burst = (view["size/generator"] > 30 or view.blown) and view.far
    return when(
        growing or burst or not math.isfinite(view["samples/distance"]),
        view,
        ("samples/size", "about 1: samples are of the data's size"),
        ("size/generator", "parameters are of the size they started with"),
        ("size/discriminator", "the same"),
    )


def _exploding(view: View) -> Signs:
    at_first = view.early("gradient/declared")
    grown = view["gradient/declared"] > 100 * max(at_first, 1e-3)
    return when(grown and view.far, view, ("gradient/declared", f"about {at_first:.2g}, as at the start"))


def _lipschitz(view: View) -> Signs:
    first = view.chart.checkups[0]["slopes/between"]  # an unbounded critic is steep after a few steps
    slope = view.median("slopes/between")
    steep = slope > 10 and slope > 10 * first
    return when(
        view.chart.objective.wasserstein and steep,
        view,
        ("slopes/between", "about 1 for a critic held by a gradient penalty, and steady under clipping"),
        ("scores/spread", "grows with the slopes"),
    )


def _tight(view: View) -> Signs:
    scale = view.chart.space.scale
    return when(
        view.chart.objective.wasserstein and view["slopes/largest"] * scale < 1e-4 and view.median("probe/auc") > 0.75,
        view,
        ("slopes/largest", "about 1, at least 1e-4: a critic flatter than this gives next to no gradient"),
    )


INPUTS: tuple[Rule, ...] = (
    Rule(
        Condition.DATA_RANGE_MISMATCH,
        CRITICAL,
        _range,
        4,
        "Part of the data lies outside the range that the generator can produce (a tanh ends at -1 and 1, a sigmoid at "
        "0 and 1), so the discriminator can always tell, by the range alone.",
        "Arjovsky & Bottou 2017, Theorem 2.1: separable supports",
        ("match-data-range",),
        14,
    ),
    Rule(
        Condition.OUTPUT_SATURATION,
        CRITICAL,
        _saturated,
        3,
        "Nearly all values of the samples sit at the ends of their range, far more than in the data: the last "
        "activation is saturated, its derivative is almost zero, and no gradient comes through it.",
        "Glorot & Bengio 2010",
        ("smaller-output-weights", "lower-learning-rates"),
        12,
    ),
    Rule(
        Condition.LIPSCHITZ_VIOLATED,
        CRITICAL,
        _lipschitz,
        3,
        "The critic's slopes grow without bound. The Wasserstein loss is a distance only over functions of "
        "bounded slope; "
        "unbounded, the critic's loss measures how steep it has become and nothing else.",
        "Arjovsky et al. 2017, equation 2; Gulrajani et al. 2017",
        ("gradient-penalty",),
        14,
    ),
    Rule(
        Condition.LIPSCHITZ_TOO_TIGHT,
        CRITICAL,
        _tight,
        3,
        "The critic is almost flat: its weights are held so small that no input changes its score, and the generator "
        "gets next to no gradient.",
        "Arjovsky et al. 2017, section 3; Gulrajani et al. 2017, section 3",
        ("loosen-clipping",),
        12,
    ),
    Rule(
        Condition.TRAIN_EVAL_MISMATCH,
        CRITICAL,
        _mismatch,
        3,
        "Samples in eval mode are far worse than in train mode (or the reverse): the running statistics of a "
        "batch norm "
        "do not fit what the network computes.",
        "Ioffe & Szegedy 2015, Algorithm 2",
        ("fix-normalisation",),
        14,
    ),
    Rule(
        Condition.LATENT_IGNORED,
        CRITICAL,
        _deaf,
        3,
        "Samples do not depend on the code: with everything else held fixed, another code gives the same sample. What "
        "variety there is comes from elsewhere (the label, the network's own noise).",
        "Zhu et al. 2017 (BicycleGAN), section 3",
        ("use-latent",),
        12,
    ),
    Rule(
        Condition.LATENT_TOO_SMALL,
        CRITICAL,
        _narrow,
        3,
        "The samples lie on a set of lower dimension than the data: a generator cannot make more dimensions "
        "than its code "
        "has.",
        "Arjovsky & Bottou 2017, Lemma 1",
        ("larger-latent",),
    ),
    Rule(
        Condition.LABEL_IGNORED,
        CRITICAL,
        _label,
        3,
        "Samples do not have the label that was asked for. The discriminator must see the label beside real and "
        "generated "
        "rows alike, or it cannot teach the generator to obey it.",
        "Mirza & Osindero 2014, equation 2, with D conditioned in both terms",
        ("use-labels",),
    ),
    Rule(
        Condition.BATCHNORM_LEAKAGE,
        CRITICAL,
        _leak,
        3,
        "The discriminator tells batches apart rather than rows: with real and generated rows in one batch it "
        "hardly can. "
        "Its batch norm reads the side off the batch's statistics.",
        "Salimans et al. 2016, section 3.5",
        ("norm-without-batch",),
    ),
)
GROWTH: tuple[Rule, ...] = (
    Rule(
        Condition.DIVERGENCE,
        CRITICAL,
        _diverged,
        2,
        "The samples, or the generator's parameters, have left the scale of the data and keep growing: the steps are "
        "larger than the game's dynamics allow.",
        "Mescheder et al. 2017, section 3: a step size above the limit set by the spectrum diverges",
        ("lower-learning-rates", "slope-penalty", "clip-gradients"),
        10,
    ),
    Rule(
        Condition.EXPLODING_GRADIENT,
        CRITICAL,
        _exploding,
        2,
        "The generator's gradient has grown a hundredfold since the start while samples are far from the data.",
        "Arjovsky & Bottou 2017, Theorem 2.6; Pascanu et al. 2013",
        ("clip-gradients", "slope-penalty"),
    ),
)
