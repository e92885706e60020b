"""Faults of training: rates, sizes, batches and data that make a game go wrong in a loop whose code is right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from .changes import recipe_with, setting_with, shape_with
from .fault import Change, Fault, Needs, Variant, needs, words
from .kit import Kit, Setting


def _free(objective: str, rates: tuple[float, float], **more: Any) -> Change:
    """A change to a loss without a penalty."""
    return recipe_with(objective=objective, penalty=None, clip=0.0, rates=rates, **more)


def _stronger(factor: float) -> Change:
    def change(s: Setting) -> Setting:
        assert s.recipe.penalty is not None
        return replace(
            s, recipe=replace(s.recipe, penalty=replace(s.recipe.penalty, weight=factor * s.recipe.penalty.weight))
        )

    return change


def _few(rows: int) -> Change:
    def change(s: Setting) -> Setting:
        x = s.shape.rows.x
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(6))
        few = replace(s.shape.rows, x=x[order[:rows]])
        return replace(s, shape=replace(s.shape, rows=few), holdout=x[order[len(x) // 2 :]])

    return change


def _one_side(k: Kit) -> None:
    first = k.x.flatten(1)[:, 0]
    k.kept = torch.nonzero(first > first.quantile(0.6)).flatten()


def _sorted_start(k: Kit) -> None:
    k.kept = k.x.flatten(1).sum(1).argsort()[: len(k.x) // 3]


_ADAM = ("adam", "adam")
_POINTS = needs(groups="points", network="dense", not_network="spectral bounded", not_style="scheduled logits")
_LOGISTIC = "cross-entropy softplus"

_ROTATING = recipe_with(
    objective="wasserstein", penalty=None, clip=0.3, rates=(3e-2, 3e-2), ratio=1, optimiser=("sgd", "sgd")
)


def _points(**more: Any) -> Needs:
    return replace(_POINTS, **words(more))


FAULTS = (
    Fault(
        "saturating-and-strong",
        ("vanishing-generator-gradient", "discriminator-too-strong"),
        "dynamics",
        (
            Variant(
                "a saturating loss, the discriminator at twenty times the rate",
                change=_free("saturating", (5e-4, 1e-2), optimiser=_ADAM),
            ),
            Variant(
                "a saturating loss, and five discriminator steps",
                change=_free("saturating", (2e-4, 5e-3), ratio=5, optimiser=_ADAM),
                split="held-out",
            ),
        ),
        _points(objectives=_LOGISTIC, style="many", not_style="scheduled logits targets"),
        steps=900,
    ),
    Fault(
        "discriminator-strong",
        ("discriminator-too-strong", "vanishing-generator-gradient"),
        "dynamics",
        (
            Variant(
                "the discriminator's rate is a thousand times the generator's",
                change=_free("cross-entropy", (1e-5, 1e-2), optimiser=_ADAM),
            ),
            Variant(
                "five discriminator steps at a high rate for a slow generator",
                change=_free("cross-entropy", (3e-5, 4e-3), ratio=5, optimiser=_ADAM),
                split="held-out",
            ),
        ),
        _points(objectives="cross-entropy", style="many", not_style="scheduled logits targets"),
        steps=900,
    ),
    Fault(
        "discriminator-slow",
        ("discriminator-too-weak",),
        "dynamics",
        (
            Variant("the discriminator's rate is 1e-6", change=_free("cross-entropy", (1e-3, 1e-6), optimiser=_ADAM)),
            Variant(
                "the discriminator's rate is a hundredth of a high one",
                change=_free("cross-entropy", (2e-3, 2e-5), optimiser=_ADAM),
                split="held-out",
            ),
        ),
        _points(objectives="cross-entropy", not_style="scheduled logits targets"),
        steps=1200,
    ),
    Fault(
        "discriminator-small",
        ("discriminator-too-weak", "oscillation"),
        "dynamics",
        (
            Variant("two hidden units", change=shape_with(width_d=2)),
            Variant("no hidden layer", change=shape_with(depth_d=0), split="held-out"),
        ),
        _points(
            not_network="spectral bounded layernorm",
            laws="ring grid moons swissroll spirals pinwheel lopsided zigzag targets checkerboard lissajous",
        ),
        steps=1200,
    ),
    Fault(
        "generator-small",
        ("generator-lacks-capacity",),
        "dynamics",
        (
            Variant("no hidden layer", change=shape_with(depth_g=0)),
            Variant("two hidden units", change=shape_with(width_g=2), split="held-out"),
        ),
        _points(
            laws="ring grid moons swissroll spirals pinwheel lopsided zigzag hoops checkerboard lissajous",
            not_network="spectral bounded layernorm",
        ),
        steps=1200,
    ),
    Fault(
        "high-rates-with-momentum",
        ("mode-collapse", "mode-hopping", "oscillation", "mode-dropping"),
        "dynamics",
        (
            Variant(
                "Adam at 1e-2 with betas of 0.9 and 0.999",
                change=_free("cross-entropy", (1e-2, 1e-2), betas=(0.9, 0.999), optimiser=_ADAM),
            ),
            Variant(
                "the generator at 1e-2, the discriminator at 1e-3, with momentum",
                change=_free("softplus", (1e-2, 1e-3), betas=(0.9, 0.999), optimiser=_ADAM),
                split="held-out",
            ),
        ),
        _points(
            objectives=_LOGISTIC,
            laws="ring grid moons spirals pinwheel lopsided zigzag targets checkerboard lissajous",
            not_style="scheduled logits targets",
        ),
        steps=1200,
    ),
    Fault(
        "generator-ahead",
        ("discriminator-too-weak", "mode-collapse", "mode-hopping"),
        "dynamics",
        (
            Variant(
                "six generator steps for one of a slower discriminator",
                change=lambda s: replace(_free("cross-entropy", (1e-3, 2e-4), optimiser=_ADAM)(s), made_steps=6),
            ),
            Variant(
                "ten generator steps for one",
                change=lambda s: replace(_free("cross-entropy", (5e-4, 5e-4), optimiser=_ADAM)(s), made_steps=10),
                split="held-out",
            ),
        ),
        _points(objectives="cross-entropy", style="turns"),
        steps=800,
    ),
    Fault(
        "loader-skewed",
        ("mode-dropping", "mode-collapse"),
        "dynamics",
        (
            Variant("rows on one side are filtered away", _one_side),
            Variant("a sorted set is cut after a third", _sorted_start, split="held-out"),
        ),
        _points(laws="ring grid moons spirals swissroll pinwheel lopsided zigzag targets checkerboard lissajous"),
        steps=1200,
    ),
    Fault(
        "players-rotate",
        ("oscillation", "mode-hopping", "divergence"),
        "dynamics",
        (
            Variant(
                "plain gradient descent with a bilinear loss and a linear critic",
                change=lambda s: shape_with(depth_d=0)(_ROTATING(s)),
            ),
            Variant(
                "a cut critic with momentum at a high rate",
                change=recipe_with(
                    objective="wasserstein",
                    penalty=None,
                    clip=0.1,
                    rates=(5e-3, 1e-2),
                    betas=(0.9, 0.99),
                    optimiser=_ADAM,
                ),
                split="held-out",
            ),
        ),
        _points(
            objectives="cross-entropy softplus wasserstein hinge",
            not_style="scheduled logits targets",
            not_network="spectral bounded layernorm",
        ),
        steps=1500,
    ),
    Fault(
        "rows-few",
        ("discriminator-overfitted", "memorisation"),
        "dynamics",
        (
            Variant("sixty rows", change=_few(60)),
            Variant("twenty rows", change=_few(20), split="held-out"),
        ),
        needs(groups="images", network="dense"),
        steps=1100,
        truth="law",
    ),
    Fault(
        "batch-small",
        ("noisy-generator-gradient",),
        "dynamics",
        (
            Variant("batches of four", change=setting_with(batch=4)),
            Variant("batches of two", change=setting_with(batch=2), split="held-out"),
        ),
        _points(not_style="accumulation logits with-loader", not_network="batchnorm spectral bounded"),
        steps=1200,
    ),
    Fault(
        "penalty-heavy",
        ("lipschitz-too-tight", "discriminator-too-weak", "discriminator-blind"),
        "dynamics",
        (
            Variant("a penalty a thousand times too strong", change=_stronger(1e3)),
            Variant("a penalty ten thousand times too strong", change=_stronger(1e4), split="held-out"),
        ),
        _points(penalties="r1"),
        steps=1200,
    ),
    Fault(
        "one-code",
        ("latent-too-small",),
        "dynamics",
        (
            Variant("one number of noise", change=shape_with(latent=1)),
            Variant(
                "noise of two numbers that are 0 or 1",
                change=lambda s: replace(shape_with(latent=2)(s), codes="binary"),
                split="held-out",
            ),
        ),
        _points(laws="gauss6 heavytail grid ring valley lopsided zigzag skeletons outlines checkerboard skewed"),
        steps=1200,
    ),
    Fault(
        "rates-too-high",
        ("divergence", "overflow", "exploding-gradient", "not-a-number"),
        "dynamics",
        (
            Variant("Adam at 0.3", change=recipe_with(rates=(0.3, 0.3), optimiser=_ADAM)),
            Variant(
                "gradient descent at 5",
                change=recipe_with(rates=(5.0, 5.0), optimiser=("sgd", "sgd")),
                split="held-out",
            ),
        ),
        _points(not_network="spectral bounded layernorm batchnorm", not_style="clipped-gradients"),
    ),
)
"""The faults of this file."""
