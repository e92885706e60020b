"""The field exam: training loops as strangers write them, each with a fault and repaired, and healthy ones.

The loops were written without knowledge of how the doctor reads a training step, and are not changed to what it finds:
they are changed only if an independent measure shows that the fault does no harm or that the repaired loop does not
train.
"""

from __future__ import annotations

from . import conditions, data, healthy, healthy_losses, late, losses, networks, paths, penalties, wiring
from .case import FieldCase

_MODULES = (paths, wiring, losses, penalties, networks, conditions, data, late, healthy, healthy_losses)
CASES: dict[str, FieldCase] = {
    case.name: case for module in _MODULES for case in vars(module).values() if isinstance(case, FieldCase)
}
"""Every case by its name."""

__all__ = ["CASES", "FieldCase"]
