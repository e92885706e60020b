"""Changes of a setting and patches of a loop, of which variants of faults are put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn, optim

from .fault import Change
from .kit import Kit, Patch, Setting
from .objectives import Term
from .recipes import optimiser


def in_turn(*changes: Change) -> Change:
    """Several changes, one after another."""

    def all_of(setting: Setting) -> Setting:
        for one in changes:
            setting = one(setting)
        return setting

    return all_of


def setting_with(**changes: Any) -> Change:
    """A setting with other values."""
    return lambda setting: replace(setting, **changes)


def recipe_with(**changes: Any) -> Change:
    """A setting whose loss, penalty, optimisers or rates are others."""
    return lambda setting: replace(setting, recipe=replace(setting.recipe, **changes))


def without_penalty(objective: str, rates: tuple[float, float], **more: Any) -> Change:
    """A setting with this loss and no penalty, under Adam if no other optimisers are given."""
    optimisers = {"optimiser": ("adam", "adam"), **more}
    return recipe_with(objective=objective, penalty=None, clip=0.0, rates=rates, **optimisers)


def shape_with(**changes: Any) -> Change:
    """A setting whose networks have other sizes."""
    return lambda setting: replace(setting, shape=replace(setting.shape, **changes))


def with_rows(setting: Setting, x: Tensor) -> Setting:
    """The setting with other real rows."""
    return replace(setting, shape=replace(setting.shape, rows=replace(setting.shape.rows, x=x)))


def kept_rows(choose: Callable[[Tensor], Tensor]) -> Patch:
    """Only the real rows that are chosen are dealt; ``choose`` gets them flat."""

    def patch(k: Kit) -> None:
        k.kept = choose(k.x.flatten(1))

    return patch


def change_penalty(k: Kit, **changes: Any) -> None:
    """Replace fields of the loop's penalty."""
    assert k.slopes is not None
    k.slopes = replace(k.slopes, **changes)


def pass_scores_through(k: Kit, function: Callable[[Tensor], Tensor]) -> None:
    """Apply a function to every score before its loss."""
    o = k.objective

    def after(term: Term) -> Term:
        return lambda s: term(function(s))

    k.objective = replace(o, on_real=after(o.on_real), on_fake=after(o.on_fake), on_made=after(o.on_made))


def optimiser_for(k: Kit, player: str, params: list[nn.Parameter]) -> optim.Optimizer:
    """An optimiser like that of a player, ``g`` or ``d``, over other parameters."""
    at = 0 if player == "g" else 1
    recipe = k.setting.recipe
    return optimiser(recipe.optimiser[at], params, recipe.rates[at], recipe.betas)
