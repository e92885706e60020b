"""The generator of a trained game as a plain module."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError
from ..base.randomness import own_randomness
from ..core.game import Game, make_draw
from ..core.play import Play

_TRIED = 4  # rows with which the module is tried against the game's samples


class Sampling(nn.Module):
    """A game's way from codes to samples as a module.

    Args:
        game: the game.
        takes: the codes in the order of the arguments.
    """

    def __init__(self, game: Game, takes: tuple[str, ...]) -> None:
        super().__init__()
        self.game, self.takes = game, takes

    def forward(self, *codes: Tensor) -> Tensor:
        """Samples ``(n, …)``."""
        return self.game.sample(make_draw(dict(zip(self.takes, codes, strict=True)), 0))


def plain_generator(play: Play) -> nn.Module:
    """The averaged generator of a play with calibrated batch norms, a copy in evaluation mode.

    It is the game's module ``generator`` if that alone makes the samples, otherwise a module that makes them.

    Raises:
        ConfigError: samples are made from rows, or of several seeds at once.
    """
    if play.game.needs:
        rows = ", ".join(play.game.needs)
        raise ConfigError(f"a generator of samples that are made from rows ({rows})", "use run.apply")
    if play.game.seeds:
        raise ConfigError("one generator of several seeds", "open the run of one seed")
    game = copy.deepcopy(play.game).eval()
    with own_randomness(), torch.no_grad():
        draw = play.codes(_TRIED, 0)
        values = {name: tensor for own in play.averaged.values() for name, tensor in own.items()}
        values |= play.statistics("sample")
        living: dict[str, Any] = dict(game.named_parameters()) | dict(game.named_buffers())
        for name, value in values.items():
            living[name].copy_(value)
        whole, alone = Sampling(game, tuple(draw.tensors)), getattr(game, "generator", None)
        if isinstance(alone, nn.Module) and _same(alone, whole, list(draw.tensors.values())):
            return alone
    return whole.eval()


def _same(alone: nn.Module, whole: Sampling, codes: list[Tensor]) -> bool:
    try:
        made = alone(*codes)
    except (TypeError, RuntimeError, ValueError):
        return False
    return isinstance(made, Tensor) and torch.equal(made, whole(*codes))
