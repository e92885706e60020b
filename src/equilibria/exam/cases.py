"""The planted diseases and the healthy runs: which loop, what is changed, which condition it is, how it is verified.

Each disease is planted in three settings, each with other laws, other architectures and other seeds: one for developing
thresholds; one that was held out until the exam of 2026-11-26 and has been developed on since (``seen``); and one that
is held out and run only for the report. A setting was chosen by the independent measure alone: its healthy loop must be
healthy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..doctor import Condition
from .loop import Loop
from .nets import Networks

C = Condition
Change = Callable[[Loop], Loop]


@dataclass(frozen=True)
class Case:
    """A disease in a setting.

    Attributes:
        name: of the disease.
        conditions: any of these among the first two findings is right.
        healthy: the loop without the fault.
        change: what the fault changes.
        measure: of :mod:`~equilibria.exam.truth`, by which it is verified as sick.
    """

    name: str
    conditions: tuple[C, ...]
    healthy: Loop
    change: Change
    measure: str = "quality"

    @property
    def sick(self) -> Loop:
        """The loop with the fault."""
        return self.change(self.healthy)

    @property
    def onset(self) -> int:
        """The step at which the fault begins: half time for the spike of the learning rate, else the start."""
        return self.sick.steps // 2 if "overflow" in self.sick.faults else 0


def loop_with(**fields: Any) -> Change:
    """A change of a loop's fields."""
    return lambda loop: replace(loop, **fields)


def nets_with(**fields: Any) -> Change:
    """A change of the networks' fields."""
    return lambda loop: replace(loop, nets=replace(loop.nets, **fields))


def both(*changes: Change) -> Change:
    """Changes one after another."""

    def all_of(loop: Loop) -> Loop:
        for change in changes:
            loop = change(loop)
        return loop

    return all_of


def fault(name: str) -> Change:
    """A mistake in the code."""
    return lambda loop: replace(loop, faults=(*loop.faults, name))


RING = Loop()
GRID = Loop(data="grid25", nets=Networks(width=96, width_d=96, depth=3, depth_d=3, activation="relu"), steps=2000)
MOONS = Loop(data="moons", nets=Networks(activation="tanh", latent=4), objective="hinge", momentum=0.0)
DIGITS = Loop(data="digits", nets=Networks(width=128, width_d=128, latent=16, output="tanh"), r1=1.0, batch=64)
DIGITS_B = replace(DIGITS, nets=replace(DIGITS.nets, width=160, width_d=160, latent=24), batch=96, objective="hinge")
RING_BN = replace(RING, nets=Networks(norm="batch", activation="relu"))
DIGITS_BN = replace(DIGITS, nets=replace(DIGITS.nets, norm="batch"))
DIGITS_CONV = replace(
    DIGITS, nets=Networks(kind="conv", norm="batch", latent=16, output="tanh"), steps=1000, rate=2e-3, rate_d=1e-3
)
WGAN = Loop(objective="wasserstein", r1=0.0, penalty=1.0, turns_d=3, momentum=0.0, rate=5e-4, rate_d=1e-3)
WGAN_B = replace(WGAN, data="moons", nets=Networks(width=96, width_d=96, activation="relu"), batch=96)
CIRCLE = Loop(
    data="circle", nets=Networks(width=80, width_d=96, depth_d=3, latent=6), batch=160, rate=8e-4, rate_d=8e-4
)
CURVE = Loop(
    data="mescheder-circle",
    nets=Networks(width=80, width_d=80, activation="tanh", latent=4),
    objective="hinge",
    momentum=0.0,
)
RING_P = Loop(data="ring8-P", nets=Networks(width=80, width_d=80, latent=12), batch=96, objective="least-squares")
RING_M = replace(RING_P, data="ring8-M", objective="hinge")
DIGITS_C = replace(DIGITS_B, objective="least-squares")
DIGITS_R = replace(
    DIGITS_B,
    nets=replace(DIGITS_B.nets, activation="relu"),
    objective="nonsaturating",
    r1=2.0,
    rate=7e-4,
    rate_d=7e-4,
)
WGAN_C = replace(WGAN, data="ring8-M", nets=Networks(width=80, width_d=80, depth_d=3, latent=6), batch=96)
CIRCLE_BN = replace(CIRCLE, nets=replace(CIRCLE.nets, norm="batch", activation="relu"))

_STRONG = loop_with(objective="saturating", r1=0.0, turns_d=10, rate=1e-4, rate_d=2e-3)
_CERTAIN = loop_with(r1=0.0, turns_d=10, rate=2e-5, rate_d=5e-3)
_HOPPING = both(loop_with(r1=0.0, momentum=0.9, rate=2e-3, rate_d=5e-4), nets_with(depth_d=1, activation="relu"))
_ROTATING = both(loop_with(r1=0.0, objective="wasserstein", momentum=0.9, rate=5e-3, rate_d=5e-3), nets_with(depth_d=0))
_EXPLODING = loop_with(optimizer="sgd", objective="least-squares", rate=3.0, rate_d=3.0)
_BURST = (C.EXPLODING_GRADIENT, C.DIVERGENCE, C.NOT_A_NUMBER, C.OVERFLOW)
_SHORT = (C.MODE_COLLAPSE, C.MODE_HOPPING, C.DISCRIMINATOR_TOO_WEAK)  # too few turns of D: what it does, or what it is
_COPIES = (C.DISCRIMINATOR_OVERFITTED, C.MEMORISATION)

Planted = tuple[str, tuple[C, ...], str, Change, str]
"""Name, conditions that are right, setting, what is changed, measure."""
PLANTED: tuple[Planted, ...] = (
    ("generator-not-stepped", (C.GENERATOR_NEVER_UPDATED,), "plain", fault("generator-not-stepped"), "quality"),
    ("generator-detached", (C.GENERATOR_NEVER_UPDATED,), "plain", fault("generator-detached"), "quality"),
    (
        "discriminator-not-stepped",
        (C.DISCRIMINATOR_NEVER_UPDATED,),
        "plain",
        fault("discriminator-not-stepped"),
        "quality",
    ),
    ("swapped-labels", (C.SWAPPED_LABELS,), "plain", fault("swapped-labels"), "quality"),
    ("real-twice", (C.SAME_BATCH_TWICE,), "plain", fault("real-twice"), "quality"),
    ("fake-twice", (C.SAME_BATCH_TWICE,), "plain", fault("fake-twice"), "quality"),
    ("shared-optimizer", (C.WRONG_PLAYER_TRAINED,), "plain", fault("shared-optimizer"), "quality"),
    ("half-optimised", (C.PARAMETERS_NOT_OPTIMISED,), "plain", fault("half-optimised"), "quality"),
    ("no-zero-grad", (C.GRADIENTS_ACCUMULATE,), "plain", fault("no-zero-grad"), "quality"),
    ("double-sigmoid", (C.DOUBLE_SIGMOID,), "logistic-digits", fault("double-sigmoid"), "quality"),
    ("bad-row", (C.NOT_A_NUMBER,), "plain", fault("bad-row"), "quality"),
    ("overflow", (C.OVERFLOW, C.NOT_A_NUMBER, C.DIVERGENCE), "plain", fault("overflow"), "quality"),
    ("exploding", _BURST, "plain", _EXPLODING, "quality"),
    ("divergence", (C.DIVERGENCE, C.EXPLODING_GRADIENT), "plain", loop_with(rate=0.5, rate_d=0.5), "quality"),
    ("one-class-loader", (C.MODE_DROPPING, C.MODE_COLLAPSE), "plain", fault("one-class-loader"), "quality"),
    ("blank-input", (C.DISCRIMINATOR_BLIND,), "plain", nets_with(blank=True), "quality"),
    ("dead-discriminator", (C.DISCRIMINATOR_BLIND,), "plain", nets_with(activation="relu", bias_d=-50.0), "quality"),
    ("weak-discriminator", (C.DISCRIMINATOR_TOO_WEAK,), "plain", loop_with(rate_d=1e-6), "quality"),
    (
        "small-discriminator",
        (C.DISCRIMINATOR_TOO_WEAK, C.OSCILLATION),
        "plain",
        nets_with(width_d=2, depth_d=1),
        "quality",
    ),
    ("generator-heavy", _SHORT, "plain", loop_with(turns=20, r1=0.0), "quality"),
    ("mode-hopping", (C.MODE_HOPPING, C.MODE_COLLAPSE), "plain", _HOPPING, "quality"),
    ("rotation", (C.OSCILLATION,), "smooth", _ROTATING, "quality"),
    ("affine-generator", (C.GENERATOR_LACKS_CAPACITY,), "plain", nets_with(depth=0), "quality"),
    ("tiny-batch", (C.NOISY_GRADIENT,), "plain", loop_with(batch=2, r1=0.0, rate=5e-3, rate_d=5e-3), "quality"),
    ("saturated-loss", (C.VANISHING_GRADIENT,), "digits", _STRONG, "quality"),
    ("strong-discriminator", (C.DISCRIMINATOR_TOO_STRONG,), "logistic-digits", _CERTAIN, "quality"),
    ("few-rows", _COPIES, "digits", loop_with(points=64, r1=0.0), "generalisation"),
    ("memorised", _COPIES, "digits", loop_with(points=32, steps=3000, r1=0.1), "novelty"),
    ("label-hidden", (C.LABEL_IGNORED,), "labelled", fault("label-hidden"), "agreement"),
    ("deaf-generator", (C.LATENT_IGNORED,), "labelled-digits", nets_with(deaf=True), "quality"),
    ("one-latent", (C.LATENT_TOO_SMALL,), "digits", nets_with(latent=1), "quality"),
    ("range-sigmoid", (C.DATA_RANGE_MISMATCH,), "digits", nets_with(output="sigmoid"), "quality"),
    ("range-bytes", (C.DATA_RANGE_MISMATCH,), "digits", loop_with(scale=127.5), "quality"),
    ("saturated-output", (C.OUTPUT_SATURATION,), "digits", nets_with(gain=1e3), "quality"),
    (
        "unconstrained-critic",
        (C.LIPSCHITZ_VIOLATED,),
        "wgan",
        loop_with(penalty=0.0, rate_d=5e-3, rate=5e-3, momentum=0.9),
        "quality",
    ),
    ("tight-clipping", (C.LIPSCHITZ_TOO_TIGHT,), "wgan", loop_with(penalty=0.0, clip=1e-3), "quality"),
    ("frozen-statistics", (C.TRAIN_EVAL_MISMATCH,), "batchnorm", fault("frozen-statistics"), "quality"),
    (
        "leaking-batches",
        (C.BATCHNORM_LEAKAGE,),
        "batchnorm",
        both(nets_with(norm_d="batch"), loop_with(r1=0.0)),
        "quality",
    ),
)


def _cases(settings: dict[str, Loop]) -> tuple[Case, ...]:
    return tuple(
        Case(name, conditions, settings[where], change, measure) for name, conditions, where, change, measure in PLANTED
    )


DEVELOPED = _cases(
    {
        "plain": RING,
        "smooth": MOONS,
        "digits": DIGITS,
        "logistic-digits": DIGITS,
        "wgan": WGAN,
        "batchnorm": RING_BN,
        "labelled": replace(RING, conditional=True),
        "labelled-digits": replace(DIGITS, conditional=True),
    }
)
SEEN = _cases(
    {
        "plain": GRID,
        "smooth": replace(MOONS, data="swissroll", scale=0.3),
        "digits": DIGITS_B,
        "logistic-digits": replace(DIGITS_B, objective="nonsaturating"),
        "wgan": WGAN_B,
        "batchnorm": DIGITS_BN,
        "labelled": replace(GRID, conditional=True),
        "labelled-digits": replace(DIGITS_B, conditional=True),
    }
)

HELD_OUT = _cases(
    {
        "plain": CIRCLE,
        "smooth": CURVE,
        "digits": DIGITS_C,
        "logistic-digits": DIGITS_R,
        "wgan": WGAN_C,
        "batchnorm": CIRCLE_BN,
        "labelled": replace(RING_P, conditional=True, objective="nonsaturating"),
        "labelled-digits": replace(DIGITS_R, conditional=True),
    }
)

_HEALTHY_A: dict[str, Loop] = {
    "ring": RING,
    "ring-hinge": replace(RING, objective="hinge"),
    "ring-saturating": replace(RING, objective="saturating"),
    "ring-slow": replace(RING, rate=2e-4, rate_d=2e-4),
    "ring-batchnorm": RING_BN,
    "ring-conditional": replace(RING, conditional=True),
    "wgan-gp": WGAN,
    "wgan-large-losses": replace(WGAN, scale=5.0, rate=1e-3),
    "digits": DIGITS,
    "digits-small-steps": replace(DIGITS, rate=3e-4, rate_d=3e-4),
    "moons": MOONS,
    "strong-penalty": replace(RING, r1=1.0),
    "small-data": replace(RING, points=256),
    "sigmoid-discriminator": replace(RING, nets=Networks(sigmoid=True)),
    "arrived": replace(RING, data="gaussian", nets=Networks(latent=2), r1=0.3),
    "rmsprop": replace(RING, optimizer="rmsprop", rate=5e-4, rate_d=5e-4),
    "two-turns": replace(RING, turns_d=2),
}
_HEALTHY_B: dict[str, Loop] = {
    "grid": GRID,
    "grid-least-squares": replace(GRID, objective="least-squares"),
    "grid-slow": replace(GRID, rate=3e-4, rate_d=3e-4),
    "swissroll": replace(MOONS, data="swissroll", scale=0.3),
    "digits-b": DIGITS_B,
    "digits-batchnorm": DIGITS_BN,
    "digits-conditional": replace(DIGITS_B, conditional=True, objective="nonsaturating"),
    "digits-dropout": replace(DIGITS, nets=replace(DIGITS.nets, dropout=0.3)),
    "wgan-moons": WGAN_B,
    "wgan-moons-large": replace(WGAN_B, scale=5.0, rate=1e-3),
    "moons-small-data": replace(MOONS, points=300, r1=0.3),
    "ring-tanh": replace(RING, nets=Networks(activation="tanh")),
    "ring-strong-penalty": replace(RING, r1=0.5, nets=Networks(width=96, width_d=96)),
    "ring-least-squares": replace(RING, objective="least-squares"),
    "moons-sigmoid": replace(MOONS, objective="nonsaturating", nets=replace(MOONS.nets, sigmoid=True)),
    "arrived": replace(MOONS, data="mescheder-gaussian", objective="nonsaturating", r1=0.3),
    "digits-conv": DIGITS_CONV,
    "grid-wide-latent": replace(GRID, nets=replace(GRID.nets, latent=64)),
}
_HEALTHY_C: dict[str, Loop] = {
    "circle": CIRCLE,
    "circle-least-squares": replace(CIRCLE, objective="least-squares"),
    "circle-slow": replace(CIRCLE, rate=2.5e-4, rate_d=2.5e-4),
    "circle-batchnorm": CIRCLE_BN,
    "circle-dropout": replace(CIRCLE, nets=replace(CIRCLE.nets, dropout=0.1)),
    "ring-p": RING_P,
    "ring-p-conditional": replace(RING_P, conditional=True, objective="nonsaturating"),
    "ring-m-hinge": RING_M,
    "ring-m-sigmoid": replace(RING_M, objective="nonsaturating", nets=replace(RING_M.nets, sigmoid=True)),
    "ring-m-small-data": replace(RING_M, objective="least-squares", points=300, r1=0.3),
    "four-lines": replace(CURVE, data="mescheder-four-lines", objective="least-squares"),
    "curve": CURVE,
    "curve-rmsprop": replace(CURVE, optimizer="rmsprop", rate=5e-4, rate_d=5e-4),
    "swissroll-deep": Loop(
        data="swissroll", nets=Networks(width=96, width_d=96, depth=3, depth_d=3, latent=4), scale=0.3
    ),
    "arrived": replace(CURVE, data="mescheder-gaussian", objective="least-squares", r1=0.3),
    "digits-least-squares": DIGITS_C,
    "digits-relu": DIGITS_R,
    "digits-batchnorm": replace(DIGITS_C, nets=replace(DIGITS_C.nets, norm="batch")),
    "wgan-ring": WGAN_C,
    "wgan-ring-large": replace(WGAN_C, scale=5.0, rate=1e-3),
    "wgan-circle": replace(WGAN_C, data="circle"),
}
HEALTHY = {"developed": _HEALTHY_A, "seen": _HEALTHY_B, "held-out": _HEALTHY_C}
CASES = {"developed": DEVELOPED, "seen": SEEN, "held-out": HELD_OUT}
FIRST_SEED = {"developed": 0, "seen": 100, "held-out": 300}
"""The seeds of a half count from here; no two halves share one."""
