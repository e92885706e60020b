"""A planted disease: a fault that is put into a healthy loop, and the conditions that are then right to name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..loop import Loop

Change = Callable[[Loop], Loop]


@dataclass(frozen=True)
class Planted:
    """A disease, before the loop that it is planted in is chosen.

    Attributes:
        name: of the disease.
        conditions: any of these among the first two findings is right.
        change: what the fault changes in the loop.
        setting: which kind of healthy loop it is planted in, a name that each half of the exam has a loop for.
        measure: of :mod:`~equilibria.exam.truth`, by which it is verified as sick.
    """

    name: str
    conditions: tuple[str, ...]
    change: Change
    setting: str = "plain"
    measure: str = "quality"


def loop_with(**fields: Any) -> Change:
    """A change of a loop's fields."""
    return lambda loop: replace(loop, **fields)


def nets_with(**fields: Any) -> Change:
    """A change of the networks' fields."""
    return lambda loop: replace(loop, nets=replace(loop.nets, **fields))


def both(*changes: Change) -> Change:
    """Changes one after another."""

    def all_of(loop: Loop) -> Loop:
        for change in changes:
            loop = change(loop)
        return loop

    return all_of


def fault(name: str) -> Change:
    """A mistake in the code."""
    return lambda loop: replace(loop, faults=(*loop.faults, name))
