"""The field of a game that brings its own data, in coordinates, and any such map at the cost of its arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..core.game import Game, clocked, field_of, parameters_of, state_of
from ..theory.fields import FlatField, Map


def flat(game: Game) -> FlatField:
    """The field of the game's own losses at one draw; for the games of ``games.toys`` no draw differs from another."""
    draw = clocked(game.draw({}), seed=0)
    return FlatField(lambda p: field_of(game, p, state_of(game), draw), parameters_of(game))


def recorded(v: Map, like: Tensor) -> Callable[[Tensor], Tensor]:
    """The map of ``(n,)`` applied to each row of ``(m, n)``, its operations recorded once and replayed.

    The numbers are those of ``v`` to the bit; what is saved is the bookkeeping of nested transforms, about four fifths
    of a call on two coordinates. Only for maps whose operations do not depend on the values.

    Args:
        v: ``(n,)`` to ``(n,)``.
        like: points ``(m, n)``, of the shape that will be given.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(torch.func.vmap(v))(like)
    graph.graph.eliminate_dead_code()
    graph.recompile()

    def replay(x: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = graph(x)
        return found

    return replay
