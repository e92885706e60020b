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
    "train_seeds": "runs",
    "resume_seeds": "runs",
    "open_run": "runs",
    "use_file": "runs",
    "Run": "runs",
    "RunStopped": "runs",
    "Settings": "training",
    "recipe": "recipes",
    "Recipe": "recipes",
    "RECIPES": "recipes",
    "load": "data",
    "law": "data",
    "Dataset": "data",
    "DataOptions": "data",
    "Game": "core.game",
    "Player": "core.game",
    "Draw": "core.game",
    "Loss": "core.game",
    "Contest": "core.game",
    "Play": "core.play",
    "Average": "core.play",
    "Ensemble": "core.ensemble",
    "TwoPlayer": "games.two_player",
    "Latent": "games.spec",
    "GameSpec": "games.spec",
    "Map": "core.maps",
    "Choice": "core.maps",
    "Examined": "core.doctor_view",
    "DataSpec": "data",
    "record": "base.records",
    "EquilibriaError": "base.errors",
    "DataError": "base.errors",
    "ConfigError": "base.errors",
    "RunError": "base.errors",
    "ShapeError": "base.errors",
}
__all__ = [
    "RECIPES",
    "Average",
    "Choice",
    "ConfigError",
    "Contest",
    "DataError",
    "DataOptions",
    "DataSpec",
    "Dataset",
    "Draw",
    "Ensemble",
    "EquilibriaError",
    "Examined",
    "Game",
    "GameSpec",
    "Latent",
    "Loss",
    "Map",
    "Play",
    "Player",
    "Recipe",
    "Run",
    "RunError",
    "RunStopped",
    "Settings",
    "ShapeError",
    "TwoPlayer",
    "law",
    "load",
    "open_run",
    "recipe",
    "record",
    "resume",
    "resume_seeds",
    "train",
    "train_seeds",
    "use_file",
]

if TYPE_CHECKING:
    from .base.errors import ConfigError, DataError, EquilibriaError, RunError, ShapeError
    from .base.records import record
    from .core.doctor_view import Examined
    from .core.ensemble import Ensemble
    from .core.game import Contest, Draw, Game, Loss, Player
    from .core.maps import Choice, Map
    from .core.play import Average, Play
    from .data import DataOptions, Dataset, DataSpec, law, load
    from .games.spec import GameSpec, Latent
    from .games.two_player import TwoPlayer
    from .recipes import RECIPES, Recipe, recipe
    from .runs import Run, RunStopped, open_run, resume, resume_seeds, train, train_seeds, use_file
    from .training import Settings


def __getattr__(name: str) -> Any:
    """Names are looked up on first use, so that ``import equilibria`` and ``--help`` stay quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'equilibria' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
