"""What the scripts of this folder have in common: several seeds as one Ensemble, and a table with its JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from equilibria.data import Dataset
from equilibria.ensemble import Ensemble
from equilibria.game import Batches, Game
from equilibria.games.spec import GameSpec
from equilibria.networks import Networks
from equilibria.optimizers import OptimizerSpec
from equilibria.play import Play, Rule
from equilibria.seeding import reseed

HERE = Path(__file__).parent


def batches_of(data: Dataset, batch: int) -> Batches:
    """Batches of a data set."""
    return lambda seed, turn: data.batch(batch, seed, turn)


def seeded(spec: GameSpec, networks: Networks, data: Dataset, seed: int) -> Game:
    """The game with its parameters drawn from a seed."""
    reseed(seed)
    return spec.build(networks, data.spec)


def side_by_side(
    spec: GameSpec,
    networks: Networks,
    data: Dataset,
    seeds: Sequence[int],
    rule: Rule,
    optimizer: OptimizerSpec,
    batch: int,
) -> Play:
    """A play of one game per seed, trained as one Ensemble (on CPU it pays for small MLPs)."""
    game = Ensemble(lambda seed: seeded(spec, networks, data, seed), seeds)
    play = Play(game, rule, {p.name: optimizer for p in game.players}, batches_of(data, batch))
    play.prepare()
    return play


def report(name: str, settings: dict[str, Any], rows: list[dict[str, Any]], started: float) -> None:
    """Print the rows, and write them with what produced them to ``<name>.json`` beside the scripts."""
    for row in rows:
        print("  ".join(f"{k}={v}" for k, v in row.items()), flush=True)
    told = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "seconds": round(time.time() - started, 1),
        **settings,
    }
    print(told, flush=True)
    (HERE / f"{name}.json").write_text(json.dumps({"settings": told, "rows": rows}, indent=1) + "\n", encoding="utf-8")
