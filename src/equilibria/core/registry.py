"""Update rules by name."""

from __future__ import annotations

from ..base.registry import Registry
from .play import Rule
from .updates import Alternating, Consensus, Extragradient, Optimistic, Simultaneous, Unrolled

UPDATES: Registry[Rule] = Registry(
    "update rule",
    {
        "alternating": Alternating(),
        "simultaneous": Simultaneous(),
        "extragradient": Extragradient(),
        "past-extragradient": Extragradient(past=True),
        "optimistic": Optimistic(),
        "consensus": Consensus(),
        "unrolled": Unrolled(),
    },
    aliases={"optimistic-mirror-descent": "optimistic", "extra-gradient": "extragradient"},
    base=Rule,
)
"""Update rules by name, with their default settings."""
