"""Mistakes in the loop."""

from __future__ import annotations

from .row import Planted, fault

PLANTED = (
    Planted("generator-not-stepped", ("generator-never-updated",), fault("generator-not-stepped")),
    Planted("generator-detached", ("generator-never-updated",), fault("generator-detached")),
    Planted("discriminator-not-stepped", ("discriminator-never-updated",), fault("discriminator-not-stepped")),
    Planted("swapped-labels", ("swapped-labels",), fault("swapped-labels")),
    Planted("real-twice", ("same-batch-twice",), fault("real-twice")),
    Planted("fake-twice", ("same-batch-twice",), fault("fake-twice")),
    Planted("shared-optimizer", ("wrong-player-trained",), fault("shared-optimizer")),
    Planted("half-optimised", ("parameters-not-optimised",), fault("half-optimised")),
    Planted("no-zero-grad", ("gradients-accumulate",), fault("no-zero-grad")),
    Planted("double-sigmoid", ("double-sigmoid",), fault("double-sigmoid"), setting="logistic-digits"),
    Planted("bad-row", ("not-a-number",), fault("bad-row")),
    Planted("overflow", ("overflow", "not-a-number", "divergence"), fault("overflow")),
)
