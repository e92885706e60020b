"""All readings of a window, in the order in which a training step needs what they speak of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from . import inputs, signs, slopes, updates
from .inputs import Seen
from .passes import Window
from .reading import Reading
from .signs import Losses
from .updates import Pauses, Rates

ORDER = (
    "unbounded-logarithm",
    "no-gradient-path",
    "wrong-player-trained",
    "discriminator-blind",
    "generator-never-updated",
    "discriminator-never-updated",
    "adversarial-term-missing",
    "parameters-not-optimised",
    "gradients-accumulate",
    "other-players-gradient",
    "same-batch-twice",
    "few-rows-used",
    "mode-dropping",
    "same-target-for-both",
    "swapped-labels",
    "double-sigmoid",
    "missing-sigmoid",
    "sigmoid-on-critic",
    "softmax-twice",
    "flat-generator-loss",
    "penalty-without-effect",
    "penalty-of-wrong-norm",
    "penalty-off-the-segment",
    "lipschitz-violated",
    "learning-rate-jump",
    "batchnorm-leakage",
    "batchnorm-in-eval",
    "train-eval-mismatch",
    "average-without-buffers",
    "condition-fixed",
    "labels-disagree",
    "label-ignored",
    "identity-of-wrong-side",
    "noise-reused",
    "noisy-generator-gradient",
    "latent-too-small",
    "data-range-mismatch",
    "norm-before-output",
    "dead-units",
    "latent-ignored",
    "step-below-rounding",
    "objective-disagrees",
)
"""The conditions that an audit can read; an earlier one explains a later one."""


@dataclass
class Before:
    """What earlier windows saw, and what the doctor was told.

    Attributes:
        still: by player, whether no parameter has changed since the window before.
        held: parameters that an optimiser held.
        seen: the generator's codes and conditions, real rows, sizes of slopes.
        bound: whether slopes were ever taken, or weights ever cut.
        pauses: how long each player has been still.
        rates: the learning rates.
        real: hashes of the real rows.
        parts: by the hash of a real row, the part of the data that it is in.
        labels: of the real rows, where they are classes.
        discriminators: the discriminator's modules.
    """

    still: Mapping[str, bool] = field(default_factory=dict)
    held: set[tuple[str, str]] = field(default_factory=set)
    seen: Seen = field(default_factory=Seen)
    bound: bool = False
    pauses: Pauses = field(default_factory=Pauses)
    rates: Rates = field(default_factory=Rates)
    real: frozenset[int] = frozenset()
    parts: Mapping[int, int] = field(default_factory=dict)
    labels: Tensor | None = None
    discriminators: Sequence[nn.Module] = ()


def read(w: Window, before: Before) -> tuple[list[Reading], Losses]:
    """What a window says of every condition; a condition that could not be read is not there."""
    losses = signs.read_losses(w)
    found = [
        *updates.gradient_path(w),
        *updates.stepping(w, before.still, before.pauses, before.rates),
        *updates.membership(w, before.held),
        *updates.leftovers(w),
        *updates.adversarial(w),
        *updates.sizes(w),
        *updates.rates(w, before.rates),
        *signs.sides(w, losses),
        *signs.flatness(losses),
        *signs.last_operations(losses),
        *signs.logarithms(losses),
        *signs.class_heads(losses),
        *slopes.penalties(w, before.seen),
        *slopes.lipschitz(w, losses, before.bound, list(before.discriminators)),
        *inputs.batch_norms(w),
        *inputs.conditions(w, before.seen, before.labels),
        *inputs.blindness(w),
        *inputs.codes(w, before.seen, before.real),
        *inputs.dead_layers(w, before.seen),
        *inputs.rows_used(w, before.seen, before.real, before.parts),
        *inputs.parts_used(before.seen, before.parts),
        *inputs.ranges(w),
        *inputs.norm_before_output(w),
        *inputs.identity(w),
    ]
    before.bound = before.bound or slopes.holds(w)
    return found, losses


__all__ = ["ORDER", "Before", "Losses", "Reading", "read"]
