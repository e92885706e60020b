"""Common code of the reproductions of Arjovsky et al.: discriminators trained against fixed generators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ..base.randomness import own_randomness
from ..core.ensemble import Ensemble
from ..core.game import Batches, Game, gradients
from ..core.optimizers import OptimizerSpec
from ..core.play import Play
from ..core.updates import Alternating

Seen = TypeVar("Seen")


def discriminate(
    members: Ensemble, optimizer: OptimizerSpec, batches: Batches, marks: Sequence[int], look: Callable[[Game], Seen]
) -> list[list[Seen]]:
    """Train only the discriminator of every member, and call ``look`` for each member after given numbers of steps.

    Returns:
        The results of ``look``, by mark and member.
    """
    play = Play(members, Alternating(), {player.name: optimizer for player in members.players}, batches)
    seen: list[list[Seen]] = []
    with own_randomness():
        play.prepare()
        for step in range(1, marks[-1] + 1):
            draw = play.deal()
            play.move("discriminator", gradients(members, "discriminator", draw)[0])
            if step in marks:
                seen.append([look(members.member(i)) for i in range(len(members.seeds))])
    return seen


def marks_until(steps: int, per_decade: int) -> list[int]:
    """Numbers of steps, evenly spaced by their logarithms, from 1 to ``steps``."""
    count = 1 + per_decade * len(str(steps))
    return sorted({m for i in range(count) if (m := round(10 ** (i / per_decade))) < steps} | {1, steps})
