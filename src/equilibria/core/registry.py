"""Update rules by name."""

from __future__ import annotations

from ..base.registry import Registry
from .lookahead import Lookahead
from .play import Rule
from .second_order import Competitive, GradientRegularised, Symplectic
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
        "competitive": Competitive(),
        "symplectic": Symplectic(),
        "gradient-regularised": GradientRegularised(players=("generator",)),
        "jare": GradientRegularised(),
        "lookahead": Lookahead(),
    },
    aliases={
        "optimistic-mirror-descent": "optimistic",
        "extra-gradient": "extragradient",
        "competitive-gradient-descent": "competitive",
        "cgd": "competitive",
        "sga": "symplectic",
        "lookahead-minmax": "lookahead",
    },
    base=Rule,
)
"""Update rules by name, with their default settings."""
