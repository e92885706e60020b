"""Our side of a comparison: a recipe trained by the core, with our networks or a peer's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from equilibria.base.randomness import reseed
from equilibria.core.game import Game
from equilibria.core.play import Play
from equilibria.data import Dataset, load
from equilibria.recipes import Recipe
from equilibria.training import Settings, engine

from .floor import HORIZON

CAREFUL = Settings(device="cpu", memory_format="contiguous")
CHOSEN = Settings(device="cpu")
FASTEST = Settings(device="cpu", precision="bfloat16")


def played(
    row: Recipe,
    data: Dataset,
    settings: Settings = CAREFUL,
    modules: Callable[[], Mapping[str, nn.Module]] = dict,
    seed: int = 0,
    horizon: int = HORIZON,
) -> Play:
    """The recipe's play as a run would make it, without a folder and without hooks."""
    reseed(seed)
    return play_of(row, row.game.build(row.networks, data.spec, modules()), data, settings, seed, horizon)


def play_of(row: Recipe, built: Game, data: Dataset, settings: Settings, seed: int = 0, horizon: int = HORIZON) -> Play:
    """The play of a given game, which may be an ensemble."""
    device = settings.where()
    there = data.to(device)
    game, settled = engine.settled(built, device, settings, lambda: there.batch(row.batch, 0, 0))
    play = Play(
        game,
        row.update,
        {p.name: row.optimizer_of(p.name) for p in game.players},
        lambda own, turn: there.batch(row.batch, own, turn),
        seed=seed,
        horizon=horizon,
        averages=row.averages,
        precision=settled.precision,
        launch=engine.launched(device, settled),
    )
    play.prepare()
    return play


def like_digits() -> Dataset:
    """Noise in the shape of MNIST: the time does not depend on the pixel values."""
    generator = torch.Generator().manual_seed(0)
    return load(torch.randint(0, 256, (4096, 1, 28, 28), generator=generator, dtype=torch.uint8))
