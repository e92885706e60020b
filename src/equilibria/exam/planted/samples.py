"""Samples that collapse, miss modes, move without end or cannot fit the data."""

from __future__ import annotations

from .row import Planted, both, fault, loop_with, nets_with

_HOPPING = both(loop_with(r1=0.0, momentum=0.9, rate=0.002, rate_d=0.0005), nets_with(depth_d=1, activation="relu"))
_ROTATING = both(
    loop_with(r1=0.0, objective="wasserstein", momentum=0.9, rate=0.005, rate_d=0.005), nets_with(depth_d=0)
)
# Too few turns of the discriminator: named by what it does to the samples, or by what it is.
_SHORT = ("mode-collapse", "mode-hopping", "discriminator-too-weak")
PLANTED = (
    Planted("one-class-loader", ("mode-dropping", "mode-collapse"), fault("one-class-loader")),
    Planted("generator-heavy", _SHORT, loop_with(turns=20, r1=0.0)),
    Planted("mode-hopping", ("mode-hopping", "mode-collapse"), _HOPPING),
    Planted("rotation", ("oscillation",), _ROTATING, setting="smooth"),
    Planted("affine-generator", ("generator-lacks-capacity",), nets_with(depth=0)),
)
