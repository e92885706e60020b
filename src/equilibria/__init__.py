"""Equilibria: train any generative adversarial network of the literature, and learn why a run works or fails.

>>> import equilibria as eq
>>> eq.recipe("wgan-gp").year
2017
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "train": "runs",
    "resume": "runs",
    "train_seeds": "seeds",
    "resume_seeds": "seeds",
    "open_run": "runs",
    "Run": "runs",
    "Settings": "training",
    "recipe": "recipes",
    "Recipe": "recipes",
    "RECIPES": "recipes",
    "load": "data",
    "law": "data",
    "Dataset": "data",
    "DataOptions": "data",
    "Game": "game",
    "Player": "game",
    "Draw": "game",
    "Loss": "game",
    "Contest": "game",
    "Play": "play",
    "Average": "play",
    "Ensemble": "ensemble",
    "TwoPlayer": "games.two_player",
    "Latent": "games.spec",
    "EquilibriaError": "errors",
    "DataError": "errors",
    "ConfigError": "errors",
    "RunError": "errors",
    "ShapeError": "errors",
}
__all__ = [
    "RECIPES",
    "Average",
    "ConfigError",
    "Contest",
    "DataError",
    "DataOptions",
    "Dataset",
    "Draw",
    "Ensemble",
    "EquilibriaError",
    "Game",
    "Latent",
    "Loss",
    "Play",
    "Player",
    "Recipe",
    "Run",
    "RunError",
    "Settings",
    "ShapeError",
    "TwoPlayer",
    "law",
    "load",
    "open_run",
    "recipe",
    "resume",
    "resume_seeds",
    "train",
    "train_seeds",
]

if TYPE_CHECKING:
    from .data import DataOptions, Dataset, law, load
    from .ensemble import Ensemble
    from .errors import ConfigError, DataError, EquilibriaError, RunError, ShapeError
    from .game import Contest, Draw, Game, Loss, Player
    from .games.spec import Latent
    from .games.two_player import TwoPlayer
    from .play import Average, Play
    from .recipes import RECIPES, Recipe, recipe
    from .runs import Run, open_run, resume, train
    from .seeds import resume_seeds, train_seeds
    from .training import Settings


def __getattr__(name: str) -> Any:
    """Names are looked up on first use, so that ``import equilibria`` and ``--help`` stay quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'equilibria' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
