"""The field of a game with built-in data, in coordinates, and a fast evaluation of such maps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..core.game import Game, field_of, make_draw, parameters_of, state_of
from ..theory.fields import FlatField, Map


def flat(game: Game) -> FlatField:
    """The field of the game's losses at one draw; all draws of the games in ``games.dirac_and_bilinear`` are equal."""
    draw = make_draw(game.draw({}), seed=0)
    return FlatField(lambda p: field_of(game, p, state_of(game), draw), parameters_of(game))


def recorded(v: Map, like: Tensor) -> Callable[[Tensor], Tensor]:
    """The map of ``(n,)`` applied to each row of ``(m, n)``, with its operations traced once and replayed.

    The numbers equal those of ``v`` bit for bit. Saved is the overhead of nested transforms, about four fifths of a
    call on two coordinates. Only for maps whose operations do not depend on the values.

    Args:
        v: maps ``(n,)`` to ``(n,)``.
        like: points ``(m, n)`` with the shape of later calls.
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
