"""A discriminator that cannot teach, and a gradient that does not reach the generator."""

from __future__ import annotations

from .row import Planted, loop_with, nets_with

_STRONG = loop_with(objective="saturating", r1=0.0, turns_d=10, rate=0.0001, rate_d=0.002)
_CERTAIN = loop_with(r1=0.0, turns_d=10, rate=2e-05, rate_d=0.005)
_COPIES = ("discriminator-overfitted", "memorisation")
PLANTED = (
    Planted("blank-input", ("discriminator-blind",), nets_with(ignore_input=True)),
    Planted("dead-discriminator", ("discriminator-blind",), nets_with(activation="relu", bias_d=-50.0)),
    Planted("weak-discriminator", ("discriminator-too-weak",), loop_with(rate_d=1e-06)),
    Planted("small-discriminator", ("discriminator-too-weak", "oscillation"), nets_with(width_d=2, depth_d=1)),
    Planted("tiny-batch", ("noisy-generator-gradient",), loop_with(batch=2, r1=0.0, rate=0.005, rate_d=0.005)),
    Planted("saturated-loss", ("vanishing-generator-gradient",), _STRONG, setting="digits"),
    Planted("strong-discriminator", ("discriminator-too-strong",), _CERTAIN, setting="logistic-digits"),
    Planted("few-rows", _COPIES, loop_with(points=64, r1=0.0), setting="digits", measure="generalisation"),
    Planted("memorised", _COPIES, loop_with(points=32, steps=3000, r1=0.1), setting="digits", measure="novelty"),
)
