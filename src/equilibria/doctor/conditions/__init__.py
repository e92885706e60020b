"""Every condition the doctor knows, root causes first: what stands earlier explains what stands later."""

from __future__ import annotations

from .adversary import GRADIENTS, NOISE, OPPONENT
from .networks import GROWTH, INPUTS
from .rule import Rule, View
from .samples import SAMPLES
from .wiring import WIRING

RULES: tuple[Rule, ...] = (*WIRING, *INPUTS, *OPPONENT, *GROWTH, *GRADIENTS, *NOISE, *SAMPLES)
__all__ = ["RULES", "Rule", "View"]
