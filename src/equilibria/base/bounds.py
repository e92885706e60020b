"""The values that settings may have: one table for all records.

A setting of one name means the same everywhere, so its bound stands here once; ``Class.field`` is for the few names
that mean something else in one class. Records also check what is particular to them (a relation of two settings).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from .errors import ConfigError

_SIZE, _COUNT = 10**6, 10**9  # of a layer or a batch; of rounds and steps


@dataclasses.dataclass(frozen=True)
class Bound:
    """An interval of numbers.

    Args:
        least: the smallest allowed value.
        most: the largest allowed value.
        open_below: whether ``least`` itself is excluded.
        open_above: whether ``most`` itself is excluded.
        why: a clause that explains the upper end, as in "at most 10, <why>".

    Examples:
        >>> 0.0 in Bound(0, 1, open_above=True), 1.0 in Bound(0, 1, open_above=True), str(Bound(0, open_below=True))
        (True, False, 'greater than 0')
    """

    least: float = -math.inf
    most: float = math.inf
    open_below: bool = False
    open_above: bool = False
    why: str = ""

    def __contains__(self, value: float) -> bool:
        above = value > self.least if self.open_below else value >= self.least
        below = value < self.most if self.open_above else value <= self.most
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        parts = []
        if math.isfinite(self.least):
            parts.append(f"greater than {self.least:g}" if self.open_below else f"at least {self.least:g}")
        if math.isfinite(self.most):
            shown = f"{self.most:,}" if self.most > 1 else f"{self.most:g}"
            parts.append(f"less than {shown}" if self.open_above else f"at most {shown}")
        return " and ".join(parts) + (f" ({self.why})" if self.why else "") if parts else "a finite number"


FINITE = Bound()
POSITIVE = Bound(0, open_below=True)
WEIGHT = Bound(0)
SHARE = Bound(0, 1)
DECAY = Bound(0, 1, open_above=True)
MOMENTUM = Bound(-1, 1, open_below=True, open_above=True)
SIZE = Bound(1, _SIZE, why="a layer of that width has a million weights for each number that enters it, 4 MB")
ROWS = Bound(1, _SIZE, why="even rows of one number are then 4 MB at each layer")
COUNT = Bound(1, _COUNT)
NUMBER = Bound(0, _COUNT)

BOUNDS: dict[str, Bound] = {
    # optimisers and averages
    "betas": DECAY, "decay": DECAY, "momentum": MOMENTUM, "Adam.betas": MOMENTUM,
    "RMSprop.alpha": DECAY, "momentum_decay": WEIGHT,
    "eps": POSITIVE, "epsilon": WEIGHT, "weight_decay": WEIGHT, "rate": POSITIVE, "judge_rate": POSITIVE,
    # schedules
    "start": FINITE, "end": FINITE, "until": Bound(0, 1, open_below=True),
    "burst": COUNT, "every": COUNT, "usual": COUNT, "first": NUMBER,
    # weights of losses and penalties
    "weight": WEIGHT, "gamma": WEIGHT, "adversarial": WEIGHT, "cycle": WEIGHT, "identity": WEIGHT, "l1": WEIGHT,
    "discriminator_weight": WEIGHT, "generator_weight": WEIGHT,
    "adversarial_weight": WEIGHT, "labelled_weight": WEIGHT, "marginal": WEIGHT, "margin": POSITIVE,
    "centre_weight": WEIGHT, "rounding": WEIGHT, "LAG.noise": SIZE,
    "pseudo_weight": WEIGHT, "one_sided": WEIGHT, "reconstruction": WEIGHT, "scales": POSITIVE,
    "beta": WEIGHT, "prior": FINITE, "center": WEIGHT,
    "spread": WEIGHT, "noise": WEIGHT, "input_noise": WEIGHT, "a": FINITE, "b": FINITE, "c": FINITE, "alpha": WEIGHT,
    "TripleGAN.alpha": SHARE, "pseudo_pairs": SHARE, "real_target": SHARE, "fake_target": SHARE, "Clip.value": POSITIVE,
    # networks
    "slope": SHARE, "input_scale": POSITIVE, "dropout": DECAY, "input_dropout": DECAY,
    "width": SIZE, "hidden": SIZE, "maps": SIZE, "code": SIZE, "discriminator_width": SIZE, "generator_width": SIZE,
    "dense": SIZE,
    "Latent.size": SIZE,
    "depth": Bound(0, 1000), "stem_layers": Bound(0, 1000), "blocks": Bound(0, 1000), "levels": Bound(1, 30),
    # laws
    "distance": WEIGHT, "along": WEIGHT, "across": WEIGHT, "petals": SIZE, "Category.classes": Bound(2, 100_000),
    "Classifying.classes": Bound(0, 100_000),
    # how often and how many
    "discriminator_turns": COUNT, "pool": Bound(0, _SIZE), "batch": ROWS, "Recipe.steps": NUMBER, "rounds": COUNT,
    "Lookahead.period": Bound(2, _COUNT), "Lookahead.rate": Bound(0, 1, open_below=True),
    "Competitive.steps": Bound(1, 1000), "Unrolled.steps": Bound(0, 1000),
    "judge_steps": COUNT, "Search.steps": COUNT, "starts": ROWS,
    "generators": Bound(1, 10_000), "components": Bound(1, 10_000), "keep": COUNT,
}  # fmt: skip


def check(made: Any) -> None:
    """Hold the numbers of a record of this library to the table; a record of somebody else's means what it says itself.

    Raises:
        ConfigError: one is not finite or out of bounds; it names the setting, the value and the bound.
    """
    kind = type(made).__name__
    if not type(made).__module__.startswith(f"{__package__.partition('.')[0]}."):
        return
    for own in dataclasses.fields(made):
        bound = BOUNDS.get(f"{kind}.{own.name}", BOUNDS.get(own.name))
        value = getattr(made, own.name)
        if bound is None:
            continue
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and not isinstance(number, bool) and number not in bound:
                what = f"{own.name}={value!r}: it must be {bound}"
                if own.default is dataclasses.MISSING:
                    raise ConfigError(what, f"use a value that is {bound}")
                raise ConfigError(what, settings={own.name: own.default})
