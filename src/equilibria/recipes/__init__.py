"""Recipes: named, cited, complete configurations, one frozen row each; a family a file.

Each module of this folder lists its rows as ``RECIPES``; the modules are found by listing the folder.
"""

from __future__ import annotations

from ..base.errors import ConfigError
from ..base.registry import Registry, modules_in
from ..data import DataSpec
from .citations import citation, cite_also
from .row import START, For, Recipe, Source

RECIPES: Registry[Recipe] = Registry(
    "recipe", {row.name: row for module in modules_in(__name__) for row in getattr(module, "RECIPES", ())}
)
"""Every recipe by name, family by family in alphabetical order."""

DEFAULTS = {"vector": "r3gan-small", "image": "r3gan"}
"""The recipe that is used when none is named, by kind of data; docs/default.md has the measurements behind it."""
FOR_TABLES = "r3gan-table"
"""The same for tables; docs/tables.md has the measurements behind it."""


_OWNERS: dict[str, str] = {}  # of recipes that are not of this package, the module that defines them


def register(row: Recipe, owner: str) -> None:
    """Make a recipe known by its name, so that it can be named on the command line.

    Args:
        row: the recipe.
        owner: the module that defines it, which may register it again when it is changed.

    Raises:
        ConfigError: another recipe has the name.
    """
    if RECIPES.get(row.name, row) != row and _OWNERS.get(row.name) != owner:
        raise ConfigError(f"another recipe is called '{row.name}'", f"call yours 'own-{row.name}'")
    if row.name not in RECIPES or row.name in _OWNERS:
        RECIPES.add(row.name, row, replace=True)
        _OWNERS[row.name] = owner


def default_for(data: DataSpec) -> Recipe:
    """The recipe for data of this kind when none is named."""
    return RECIPES[DEFAULTS[data.kind] if data.encoding is None else FOR_TABLES]


def recipe(name: str) -> Recipe:
    """The recipe of that name; case and the choice of ``_`` or ``-`` do not matter.

    Raises:
        ConfigError: there is none; the message has the nearest name.

    Examples:
        >>> recipe("WGAN_GP").name
        'wgan-gp'
        >>> recipe("wgan-pg")
        Traceback (most recent call last):
        ...
        equilibria.base.errors.ConfigError: no recipe 'wgan-pg'. Fix: did you mean 'wgan-gp'?
    """
    return RECIPES.find(name)


__all__ = [
    "DEFAULTS",
    "RECIPES",
    "START",
    "For",
    "Recipe",
    "Source",
    "citation",
    "cite_also",
    "default_for",
    "recipe",
    "register",
]
