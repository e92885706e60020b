"""The planted diseases and the healthy runs: the loop, the change, the expected condition, and the verifying measure.

Each disease is planted in three settings with different laws, architectures and seeds. ``developed`` served to develop
the thresholds. ``seen`` was held out until the exam of 2026-11-26 and has been used for development since.
``held-out`` is run only for the report. Settings were chosen by the independent measure only: the healthy loop must be
healthy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..doctor import CONDITIONS
from .loop import Loop
from .nets import Networks
from .planted import PLANTED, Change, both, fault, loop_with, nets_with


@dataclass(frozen=True)
class Case:
    """A disease in a setting.

    Attributes:
        name: name of the disease.
        conditions: the diagnosis is right if one of these is among the first two findings.
        healthy: the loop without the fault.
        change: adds the fault to a loop.
        measure: the measure of :mod:`~equilibria.exam.truth` by which the run is verified as sick.
    """

    name: str
    conditions: tuple[str, ...]
    healthy: Loop
    change: Change
    measure: str = "quality"

    def __post_init__(self) -> None:
        for condition in self.conditions:
            CONDITIONS.find(condition)

    @property
    def sick(self) -> Loop:
        """The loop with the fault."""
        return self.change(self.healthy)

    @property
    def onset(self) -> int:
        """The step at which the fault begins: half time for the spike of the learning rate, else the start."""
        return self.sick.steps // 2 if "overflow" in self.sick.faults else 0


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


def _cases(settings: dict[str, Loop]) -> tuple[Case, ...]:
    return tuple(Case(row.name, row.conditions, settings[row.setting], row.change, row.measure) for row in PLANTED)


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
"""The first seed of each half; no two halves share a seed."""

__all__ = [
    "CASES",
    "DEVELOPED",
    "FIRST_SEED",
    "HEALTHY",
    "HELD_OUT",
    "SEEN",
    "Case",
    "both",
    "fault",
    "loop_with",
    "nets_with",
]
