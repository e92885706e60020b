"""Applies a remedy to a recipe: sets a value, adds a penalty, scales a learning rate, or enlarges a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..base.errors import ConfigError
from ..base.records import decode, encode
from ..base.settings import replace_at


def changed(recipe: Any, path: str, change: Any) -> Any:
    """The recipe after one change.

    Args:
        recipe: a frozen record; it is not modified.
        path: the dotted name of a setting; or ``scale-rates`` with a factor for each player (``all``: for all; a limit
            under ``at most``), ``at-least`` with the least value for each path, ``if-there`` with values for paths that
            may be missing, ``grow`` with the name of the player whose network becomes twice as wide and a layer deeper.
        change: a value, the JSON form of a record, or a list of those, which are added to a tuple of records.

    Raises:
        ConfigError: the recipe has no such setting.
    """
    verb = _VERBS.get(path)
    if verb is not None:
        return verb(recipe, change)
    if isinstance(change, list):
        return _set(recipe, path, _added(_at(recipe, path), [decode(c) for c in change]))
    return _set(recipe, path, decode(change) if isinstance(change, dict) else change)


def _added(now: tuple[Any, ...], new: list[Any]) -> tuple[Any, ...]:
    """Records added to a tuple; a record of a type that is already there replaces it only if it is stronger."""
    found = list(now)
    for one in new:
        same = next((i for i, p in enumerate(found) if type(p) is type(one)), None)
        if same is None:
            found.append(one)
        elif _strength(found[same]) < _strength(one):
            found[same] = one
    return tuple(found)


def _strength(penalty: Any) -> float:
    weight = getattr(penalty, "gamma", getattr(penalty, "weight", None))
    return float(weight) if isinstance(weight, (int, float)) else float("inf")  # a schedule is left as it is


def _scaled(recipe: Any, factors: dict[str, float]) -> Any:
    """Each player's learning rate times its factor."""
    limit, common = factors.get("at most"), factors.get("all")
    if common is not None:
        own = tuple(replace(o, optimizer=_slower(o.optimizer, common, limit)) for o in recipe.optimizers)
        recipe = replace(recipe, optimizer=_slower(recipe.optimizer, common, limit), optimizers=own)
    for side, factor in factors.items():
        if side in {"all", "at most"}:
            continue
        players = recipe.game.sides().get(side, ())
        if not players:
            raise ConfigError(f"{recipe.name} has no setting of a {side}'s learning rate", "change optimizer.lr")
        for player in players:
            spec = _slower(recipe.optimizer_of(player), factor, limit)
            row = decode({"type": "For", "player": player, "optimizer": encode(spec)})
            recipe = replace(recipe, optimizers=(*(o for o in recipe.optimizers if o.player != player), row))
    return recipe


def _slower(spec: Any, factor: float, limit: float | None) -> Any:
    def times(rate: float) -> float:
        return rate * factor if limit is None else min(rate * factor, limit)

    if isinstance(spec.lr, (int, float)):
        return replace(spec, lr=times(spec.lr))
    ends = {name: times(getattr(spec.lr, name)) for name in ("start", "end", "value") if hasattr(spec.lr, name)}
    return replace(spec, lr=replace(spec.lr, **ends))


def _at_least(recipe: Any, limits: dict[str, float]) -> Any:
    for path, least in limits.items():
        now = _at(recipe, path)
        if isinstance(now, (int, float)) and now < least:
            recipe = _set(recipe, path, least)
    return recipe


def _if_there(recipe: Any, values: dict[str, Any]) -> Any:
    for path, value in values.items():
        try:
            recipe = _set(recipe, path, value)
        except ConfigError:
            continue
    return recipe


def _grown(recipe: Any, player: str) -> Any:
    """The recipe with one player's network twice as wide and one layer deeper, in each pair that it can choose from."""

    def larger(pair: Any) -> Any:
        if hasattr(pair, "vector"):
            return replace(pair, vector=larger(pair.vector), image=larger(pair.image))
        if hasattr(pair, "translator"):  # each network is a field of its own; they share no sizes
            name = "patch" if player == "discriminator" else "translator"
            own = getattr(pair, name)
            return replace(pair, **{name: replace(own, width=2 * own.width)})
        if hasattr(pair, "pair"):  # a pair around another one, whose sizes it has
            return replace(pair, pair=larger(pair.pair))
        if not hasattr(pair, "width"):
            raise ConfigError(f"{type(pair).__name__} has no setting 'width'", "give larger networks by networks=")
        sizes = {name: getattr(pair, name) for name in ("width", "depth", "blocks") if hasattr(pair, name)}
        if hasattr(pair, "discriminator_width"):  # otherwise both networks share their sizes and grow together
            own = {f"discriminator_{n}": getattr(pair, f"discriminator_{n}") or sizes[n] for n in ("width", "depth")}
            sizes = own if player == "discriminator" else sizes
            kept = {} if player == "discriminator" else own
        else:
            kept = {}
        return replace(pair, **kept, **{n: 2 * v if n.endswith("width") else v + 1 for n, v in sizes.items()})

    return replace(recipe, networks=larger(recipe.networks))


_VERBS: dict[str, Callable[[Any, Any], Any]] = {
    "scale-rates": _scaled,
    "at-least": _at_least,
    "if-there": _if_there,
    "grow": _grown,
}


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        if not hasattr(value, name):
            replace_at(value, name, "")  # raises with a suggestion
        value = getattr(value, name)
    return value


def _set(value: Any, path: str, to: Any) -> Any:
    head, _, rest = path.partition(".")
    if not hasattr(value, head):
        return replace_at(value, path, str(to))  # raises with a suggestion
    return replace(value, **{head: _set(getattr(value, head), rest, to) if rest else to})
