"""Conditions of the networks: ranges, norms, latent codes, labels; and values that grow without bound."""

from __future__ import annotations

import math

from ..chart import median
from ..evidence import Evidence, about, above, below, context, equal
from ..findings import Severity
from .rule import Level, Rule, View, when

Found = tuple[Evidence, ...] | None
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def _range(view: View) -> Found:
    width = view["real/high"] - view["real/low"]
    lows, highs = view.history.lowest("samples/low"), view.history.highest("samples/high")
    if view.at < 5 or not width > 0:
        return None
    low, high = lows[view.at], highs[view.at]
    # A bounded range: its limit has not changed for four check-ups, and many values are there.
    stuck_low = lows[view.at - 4] - low <= 0.02 * width and low - view["real/low"] > 0.1 * width
    stuck_high = high - highs[view.at - 4] <= 0.02 * width and view["real/high"] - high > 0.1 * width
    crowded = view.median("samples/at-edge") > 0.15 and high - low > 1e-3 * width
    bounded = (stuck_low or stuck_high) and crowded and view["real/outside"] > 0.1 and view["samples/spread"] > 0.05
    return _uneven(view) or when(
        bounded and view.far and not view.update_exploded,
        view,
        below("real/outside", 0.1, "real values lie in the range of the samples, whose limits do not change"),
        context("samples/at-edge", "share of values at those limits"),
        context("samples/low", "lower limit of the samples' range"),
        context("samples/high", "upper limit of the samples' range"),
        context("real/low", "lower limit of the data"),
        context("real/high", "upper limit of the data"),
    )


def _uneven(view: View) -> Found:
    uneven = (view["real/column-offset"] > 5 or view["real/column-ratio"] > 20) and view.at >= 13
    return when(
        uneven and view.far and not view.update_exploded,
        view,
        below("real/column-offset", 5, "every column lies around 0"),
        below("real/column-ratio", 20, "columns have comparable spreads"),
    )


def _saturated(view: View) -> Found:
    more = view["samples/at-edge"] - view["real/at-edge"]
    # Limits that do not change, like those of a tanh; otherwise they are just the most extreme rows.
    slack = 0.02 * (view["real/high"] - view["real/low"])
    held = all(max(ends) - min(ends) <= slack for ends in (view.past("samples/low", 3), view.past("samples/high", 3)))
    return when(
        view["samples/at-edge"] > 0.8 and more > 0.15 and held and not view.update_exploded,
        view,
        below("samples/at-edge", 0.8, "or not far above the share in the data"),
        context("real/at-edge", "the same share in the data"),
    )


def _mismatch(view: View) -> Found:
    train, evaluated = view.median("samples/train-distance"), view.median("samples/eval-distance")
    return when(
        evaluated > 2 * train + 0.15 or train > 2 * evaluated + 0.3,
        view,
        about("samples/eval-distance", "samples/train-distance", "samples are alike in both modes"),
        context("samples/train-distance", "distance to the data in train mode"),
    )


def _leak(view: View) -> Found:
    # Over the whole run, because the generator was trained by the discriminator of all earlier steps too.
    gap = view.median_so_far("scores/auc") - view.median_so_far("scores/mixed-auc")
    return when(
        gap > 0.25 and view["scores/auc"] > 0.8 and view.median("samples/distance") > 2 * view.fact("floor/distance"),
        view,
        context("scores/auc", "batches of either real or generated rows"),
        about("scores/mixed-auc", "scores/auc", "the same if real and generated rows share a batch"),
    )


def _latent_ignored(view: View) -> Found:
    # An untrained generator has over 0.01; one whose first steps were far too large may have died.
    never = view.median_so_far("latent/dependence") < 1e-3 and not view.update_exploded
    return when(
        view["latent/dependence"] < 0.02 and (view["samples/spread"] > 0.02 or never),
        view,
        above("latent/dependence", 0.02, "another latent code gives another sample"),
        context("samples/spread", "samples vary, so something other than the code makes them vary"),
    )


def _narrow(view: View) -> Found:
    real, fake, size = view.fact("real/dimension"), view.median("samples/dimension"), view.fact("latent/size")
    shows = 0 < size < 0.6 * real and fake < 0.6 * real and view["samples/spread"] > 0.1
    return when(shows, view, about("samples/dimension", real, f"as the data; the code has {size:.0f} dimensions"))


def _label(view: View) -> Found:
    chance = view["label/chance"]
    limit = chance + 0.3 * (1 - chance)
    before = view.past("label/agreement", 8)
    rising = len(before) > 4 and view.median("label/agreement") > median(before[:3]) + 0.1
    unused = view.median("label/score-change") == 0
    return when(
        view.median("label/agreement") < limit and ((not rising and len(before) > 4) or unused),
        view,
        above("label/agreement", limit, f"labels that are ignored give {chance:.2f}"),
    )


def _diverged(view: View) -> Found:
    size = view["samples/size"]
    finite = view.history.finite("samples/size")
    count = finite.counts[view.at]
    last, largest = finite.values[max(0, count - 4) : count], finite.highest[count - 1] if count else 0.0
    # Growing, not oscillating: the last values are all near the largest so far, and the winner does not alternate.
    growing = size > 4 and min(last, default=0.0) >= 0.5 * largest and not view.winner_alternates
    burst = (view["size/generator"] > 30 or view.update_exploded) and view.far
    return when(
        growing or burst or not math.isfinite(view["samples/distance"]),
        view,
        about("samples/size", 1, "samples are of the data's size"),
        about("size/generator", 1, "parameters keep the size they started with"),
        about("size/discriminator", 1, "parameters keep the size they started with"),
    )


def _exploding(view: View) -> Found:
    at_first = view.early("gradient/declared")
    grown = view["gradient/declared"] > 100 * max(at_first, 1e-3)
    return when(grown and view.far, view, about("gradient/declared", at_first, "its size at the start"))


def _lipschitz(view: View) -> Found:
    first = view.chart.checkups[0]["slopes/between"]  # an unbounded critic is steep after a few steps
    slope = view.median("slopes/between")
    steep = slope > 10 and slope > 10 * first
    return when(
        view.chart.objective.wasserstein and steep,
        view,
        about("slopes/between", 1, "under a gradient penalty; steady under weight clipping"),
        context("scores/spread", "grows with the slopes"),
    )


def _tight(view: View) -> Found:
    """A critic without slope; or log-odds that hardly differ between rows that are easily told apart."""
    scale = view.chart.space.scale
    flat = view.chart.objective.wasserstein and 0 < view["slopes/largest"] * scale < 1e-4  # 0: it is blind
    apart = view.very_far and view.median("probe/auc", 5) > 0.85 and view.at >= 13
    heavy = view.penalty > 20  # R1 has half of gamma: below 1 for points, below 10 for images
    flattened = heavy and view.chart.objective.probabilistic and view.median("scores/spread", 5) < 0.02
    return when(
        (flat and view.median("probe/auc") > 0.75) or (flattened and apart),
        view,
        above(
            "slopes/largest",
            1e-4 / scale,
            "a flatter critic gives almost no gradient; under a gradient penalty it is about 1",
        ),
        above("scores/spread", 0.02, "log-odds of rows that can be told apart differ"),
    )


def _loosened(view: View) -> tuple[str, ...]:
    return ("loosen-clipping",) if view.chart.objective.wasserstein else ("weaker-penalty",)


def _discrete(view: View) -> Found:
    return when(
        view.median("samples/values-lost") > 0 and view["samples/spread"] > 0.3,
        view,
        equal("samples/values-lost", 0, "every value of every discrete column is sampled"),
        context("samples/spread", "the samples vary in the other columns"),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        Level.INPUTS,
        "discrete-column",
        CRITICAL,
        _discrete,
        3,
        "A column of the table has two or three values and is coded as one number, and a value of it is not sampled: "
        "a generator is smooth, so the rarer value has to be crossed over, and the discriminator can tell every number "
        "between the two.",
        "Xu et al. 2019 (CTGAN), section 4.2: discrete columns as one-hot, drawn by Gumbel softmax",
        ("one-hot-columns",),
        12,
    ),
    Rule(
        Level.INPUTS,
        "data-range-mismatch",
        CRITICAL,
        _range,
        4,
        "Part of the data lies outside the range that the generator can produce (a tanh ends at -1 and 1, a sigmoid "
        "at 0 and 1), or columns have other origins or scales than the rest, so that the discriminator can separate "
        "real from generated rows by the range alone.",
        "Arjovsky & Bottou 2017, Theorem 2.1: separable supports",
        ("match-data-range",),
        14,
    ),
    Rule(
        Level.INPUTS,
        "output-saturation",
        CRITICAL,
        _saturated,
        3,
        "Nearly all values of the samples are at the limits of their range, far more than in the data: the last "
        "activation is saturated, its derivative is almost zero, and no gradient passes through it.",
        "Glorot & Bengio 2010",
        ("smaller-output-weights", "lower-learning-rates"),
        12,
    ),
    Rule(
        Level.INPUTS,
        "lipschitz-violated",
        CRITICAL,
        _lipschitz,
        3,
        "The critic's slopes grow without bound. The Wasserstein loss is a distance only over functions of bounded "
        "slope; unbounded, the critic's loss measures only how steep it has become.",
        "Arjovsky et al. 2017, equation 2; Gulrajani et al. 2017",
        ("gradient-penalty",),
        14,
    ),
    Rule(
        Level.INPUTS,
        "lipschitz-too-tight",
        CRITICAL,
        _tight,
        3,
        "The discriminator is almost flat: its weights are cut to so small values, or a penalty on its slope is so "
        "strong, that no input changes its score, and the generator gets almost no gradient.",
        "Arjovsky et al. 2017, section 3; Gulrajani et al. 2017, section 3",
        _loosened,
        12,
    ),
    Rule(
        Level.INPUTS,
        "train-eval-mismatch",
        CRITICAL,
        _mismatch,
        3,
        "Samples in eval mode are far worse than in train mode (or the reverse): the running statistics of a batch "
        "norm do not match the activations.",
        "Ioffe & Szegedy 2015, Algorithm 2",
        ("fix-normalisation",),
        14,
    ),
    Rule(
        Level.INPUTS,
        "latent-ignored",
        CRITICAL,
        _latent_ignored,
        3,
        "Samples do not depend on the latent code: with everything else fixed, another code gives the same sample. "
        "Their variation comes from elsewhere (the label, the network's own noise).",
        "Zhu et al. 2017 (BicycleGAN), section 3",
        ("use-latent",),
        12,
    ),
    Rule(
        Level.INPUTS,
        "latent-too-small",
        CRITICAL,
        _narrow,
        3,
        "The samples lie on a set of lower dimension than the data: a generator cannot produce more dimensions than "
        "its latent code has.",
        "Arjovsky & Bottou 2017, Lemma 1",
        ("larger-latent",),
    ),
    Rule(
        Level.INPUTS,
        "label-ignored",
        CRITICAL,
        _label,
        3,
        "Samples do not have the label that was asked for. The discriminator must see the label of real and generated "
        "rows alike, or the generator cannot learn from it to use the label.",
        "Mirza & Osindero 2014, equation 2, with D conditioned in both terms",
        ("use-labels",),
        14,
    ),
    Rule(
        Level.INPUTS,
        "batchnorm-leakage",
        CRITICAL,
        _leak,
        3,
        "The discriminator separates batches rather than rows: with real and generated rows in one batch it hardly "
        "can. Its batch norm uses the batch's statistics to see whether the batch is real.",
        "Salimans et al. 2016, section 3.5",
        ("norm-without-batch",),
    ),
    Rule(
        Level.GROWTH,
        "divergence",
        CRITICAL,
        _diverged,
        2,
        "The samples, or the generator's parameters, have left the scale of the data and keep growing: the steps are "
        "larger than the stability limit of the game's dynamics.",
        "Mescheder et al. 2017, section 3: a step size above the limit set by the spectrum diverges",
        ("lower-learning-rates", "slope-penalty", "clip-gradients"),
        10,
    ),
    Rule(
        Level.GROWTH,
        "exploding-gradient",
        CRITICAL,
        _exploding,
        2,
        "The generator's gradient has grown a hundredfold since the start while samples are far from the data.",
        "Arjovsky & Bottou 2017, Theorem 2.6; Pascanu et al. 2013",
        ("clip-gradients", "slope-penalty"),
    ),
)
