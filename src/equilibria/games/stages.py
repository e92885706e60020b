"""Procedures over games: boosting, pyramids and progressive growing train one game after another.

A procedure is a pure function from the finished games to the next stage. It holds no state, so what was interrupted is
continued by loading the finished games and asking again; inside a stage a run resumes as any run does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..base.errors import RunError
from ..core.game import Batches, Game
from ..core.play import Play


@dataclass(frozen=True)
class Stage:
    """One game of a procedure, an ordinary run.

    Attributes:
        name: distinct within the procedure; names the stage's folder.
        make: builds the game at its start, the same one each time.
        batches: real rows as a function of (seed, turn).
        rounds: how long it is played.
    """

    name: str
    make: Callable[[], Game]
    batches: Batches
    rounds: int


Procedure = Callable[[tuple[Game, ...]], Stage | None]
"""The next stage after the finished games, or ``None`` at the end. Pure: the same games give the same stage."""


def play_stages(procedure: Procedure, opened: Callable[[Stage], Play], done: tuple[Game, ...] = ()) -> tuple[Game, ...]:
    """Play a procedure to its end from the games that are done.

    Args:
        procedure: says what comes next.
        opened: a play of the stage's game, new and prepared, or loaded from wherever it was interrupted.
        done: the stages' games that are finished.

    Returns:
        All games, in the order of the stages, in evaluation mode.

    Raises:
        RunError: a play that is already beyond its stage's end.
    """
    while (stage := procedure(done)) is not None:
        play = opened(stage)
        if play.round > stage.rounds:
            raise RunError(
                f"stage '{stage.name}' is at round {play.round} of {stage.rounds}",
                "continue with the procedure it was begun with",
            )
        play.advance(stage.rounds - play.round)
        done = (*done, play.game.eval())
    return done
