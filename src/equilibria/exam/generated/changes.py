"""Changes of a setting, of which variants of faults are put together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .fault import Change
from .kit import Setting


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


def shape_with(**changes: Any) -> Change:
    """A setting whose networks have other sizes."""
    return lambda setting: replace(setting, shape=replace(setting.shape, **changes))
