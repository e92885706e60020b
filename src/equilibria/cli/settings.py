"""How ``--set key=value`` is read: which record a setting belongs to, and in which order."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable
from typing import Any, TypeVar

from ..base.errors import ConfigError
from ..base.fields import spell
from ..base.settings import option, paths_to, replace_at

T = TypeVar("T")
Pairs = list[tuple[str, str]]


def grouped(given: Iterable[str]) -> dict[str, Pairs]:
    """Settings by the record they belong to: ``recipe``, ``data`` or ``run``; path and text, in the order given.

    Raises:
        ConfigError: one is not ``key=value``.

    Examples:
        >>> grouped(["batch=8", "run.keep=2", "optimizer=adamw", "optimizer.lr=1e-3"])["recipe"]
        [('batch', '8'), ('optimizer', 'adamw'), ('optimizer.lr', '1e-3')]
    """
    groups: dict[str, Pairs] = {"recipe": [], "data": [], "run": []}
    for pair in given:
        path, equals, text = pair.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set {pair} is not key=value", option({"batch": 128}))
        head, _, rest = path.partition(".")
        group = head if head in {"data", "run"} and rest else "recipe"
        groups[group].append((rest if group != "recipe" else path, text))
    return groups


def applied(value: T, pairs: Pairs, place: str) -> T:
    """The record with settings applied one after another; ``place`` is what stands before their paths."""
    for path, text in pairs:
        value = replace_at(value, path, text, place)
    return value


def from_options(value: T, options: dict[str, str]) -> T:
    """The record with settings that have an option of their own on the command line (``--precision``).

    Raises:
        ConfigError: a value that does not fit; the fix is the option.
    """
    try:
        return applied(value, list(options.items()), "")
    except ConfigError as error:
        words = (f"--{name.replace('_', '-')} {shlex.quote(spell(one))}" for name, one in error.settings.items())
        raise ConfigError(error.what, " ".join(words) or error.fix) from error


def refuse_misplaced(recipe: Any, pairs: Pairs, others: dict[str, Any]) -> None:
    """Refuse settings that the recipe does not have and that another record does: ``size=64`` for ``data.size=64``.

    Raises:
        ConfigError: names the places where the setting can be made.
    """
    own = {field.name for field in dataclasses.fields(recipe)}
    for path, text in pairs:
        head = path.partition(".")[0]
        there = [f"{group}.{path}" for group, record in others.items() if hasattr(record, head)]
        if head not in own and there:
            places = [*there, *paths_to(recipe, path)]
            raise ConfigError(f"the recipe has no setting '{path}'", " or ".join(option({p: text}) for p in places[:3]))
