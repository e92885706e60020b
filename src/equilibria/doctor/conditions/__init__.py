"""Every condition that the doctor knows, by name. A condition is one :class:`Rule` in a module of this folder.

Each module lists its rules as ``RULES``; the modules are found by listing the folder. Rules are ordered by their level,
root causes first, then by module and by their place in it: what stands earlier explains what stands later.

>>> CONDITIONS["mode-collapse"].level.name
'SAMPLES'
"""

from __future__ import annotations

from ...base.registry import Registry, modules_in
from .rule import Level, Rule, View

_FOUND: list[Rule] = [rule for module in modules_in(__name__) for rule in getattr(module, "RULES", ())]
CONDITIONS: Registry[Rule] = Registry(
    "condition", {rule.condition: rule for rule in sorted(_FOUND, key=lambda rule: rule.level)}
)
"""The rules by the name of their condition, root causes first."""


def rules() -> list[Rule]:
    """The rules, root causes first; rules that were added to :data:`CONDITIONS` later are in their place."""
    return sorted(CONDITIONS.values(), key=lambda rule: rule.level)


__all__ = ["CONDITIONS", "Level", "Rule", "View", "rules"]
