"""Running statistics of batch norms for one function of a game, measured without writing to the game.

A norm in training normalises by the moments of its batch, so a sample drawn that way depends on the other codes of its
batch. Before a play samples, it measures the moments over many batches and puts them in the place of the norms' buffers
for the call: the statistics are part of the call, as averaged parameters are, and the run's own buffers stay as they
are. They are measured in evaluation mode with ``calibrated`` at 0, where norms use the batch's own moments: dropout is
off, as it is in the call that follows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from ..networks.norms import RUNNING, moments, running_norms
from .ensemble import Ensemble, frozen_names
from .game import Batch, Draw, Game, Tensors

BATCHES = 16
ROWS = 64  # of a batch: what recipes train on, since a batch's own moments depend on its size


def normed(game: Game) -> bool:
    """Whether a game has norms whose statistics are to be measured."""
    return bool(_open_norms(game.stack if isinstance(game, Ensemble) else game))


@torch.no_grad()
def statistics(game: Game, values: Tensors, method: str, inputs: Sequence[tuple[Draw | Batch, ...]]) -> Tensors:
    """The buffers of a game's batch norms, by name, after all these inputs went through a method.

    Each buffer holds the mean or the variance (dividing by the count) of all activations that the inputs cause
    (Ioffe & Szegedy 2015, algorithm 2). Norms that the method does not reach are left out, and so are those of a frozen
    network that come with statistics of their own. Members of an ensemble are measured one by one.

    Args:
        game: in evaluation mode.
        values: parameters that stand in for the game's own, by name.
        method: a method of the game, called with each entry of ``inputs``.
        inputs: arguments; the draws of an ensemble are stacked over members.
    """
    if not isinstance(game, Ensemble):
        return _statistics(game, values, method, inputs)
    found = []
    for i in range(len(game.seeds)):
        own = [tuple(game.own(arg, i) if isinstance(arg, Draw) else arg for arg in args) for args in inputs]
        member = game.member(i).eval()
        found.append(_statistics(member, game.member_tensors(values, i), method, own))
    shared = frozen_names(game.stack)  # one network for all members, each of which would give it other statistics
    return {f"stack.{name}": torch.stack([one[name] for one in found]) for name in found[0] if name not in shared}


def _statistics(game: Game, values: Tensors, method: str, inputs: Sequence[tuple[Draw | Batch, ...]]) -> Tensors:
    norms = _open_norms(game)
    if not norms:
        return {}
    by_batch = {f"{name}.{RUNNING[2]}": torch.zeros_like(part.get_buffer(RUNNING[2])) for name, part in norms.items()}
    with moments(norms) as seen:
        for args in inputs:
            functional_call(game, {**values, **by_batch}, (method, *args))
    return {
        f"{name}.{buffer}": value
        for name, part in norms.items()
        for buffer, value in seen[name].buffers(part.get_buffer(RUNNING[0])).items()
    }


def _open_norms(game: torch.nn.Module) -> dict[str, torch.nn.Module]:
    frozen = frozen_names(game)

    def given(name: str, part: torch.nn.Module) -> bool:
        return f"{name}.{RUNNING[2]}" in frozen and bool((part.get_buffer(RUNNING[2]) > 0).all())

    return {name: part for name, part in running_norms(game).items() if not given(name, part)}


def joined(pieces: Sequence[Tensor], game: Game) -> Tensor:
    """Results of several calls as one, by rows."""
    return torch.cat(list(pieces), dim=1 if isinstance(game, Ensemble) else 0)
