"""Restores every random number generator that a check-up may draw from."""

from __future__ import annotations

import functools
import random
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from ..base.randomness import own_randomness, reseed

_OWN = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_DEEP = 3


@contextmanager
def preserved_randomness(holders: Iterable[Any] = (), seed: int | None = None) -> Iterator[None]:
    """Restore, on exit, the global generators and those that ``holders`` own.

    Args:
        holders: functions, modules and loaders of the user, which may draw from generators of their own.
        seed: of the global generators inside; None leaves them unchanged.
    """
    kept = [_saved(own) for own in generators_of(holders)]
    state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with own_randomness():
            if seed is not None:
                reseed(seed)
                random.seed(seed)
                np.random.seed(seed)
            yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
        for restore in kept:
            restore()


def generators_of(holders: Iterable[Any]) -> list[Any]:
    """The generators that these functions, modules and loaders refer to.

    Examples:
        >>> own = torch.Generator()
        >>> generators_of([lambda n: torch.randn(n, 4, generator=own)]) == [own]
        True
    """
    found: dict[int, Any] = {}
    seen: set[int] = set()
    for holder in holders:
        _look(holder, found, seen, _DEEP)
    return list(found.values())


def _look(holder: Any, found: dict[int, Any], seen: set[int], deep: int) -> None:
    """Search a function's closure, defaults and globals, an object's attributes, a module's submodules."""
    if isinstance(holder, _OWN):
        found[id(holder)] = holder
        return
    if id(holder) in seen or deep < 0 or isinstance(holder, (type, types.ModuleType, torch.Tensor)):
        return
    seen.add(id(holder))
    inner: list[Any] = []
    if isinstance(holder, types.FunctionType):
        inner += _reached(holder)
    elif isinstance(holder, types.MethodType):
        inner += [holder.__self__, holder.__func__]
    elif isinstance(holder, functools.partial):
        inner += [holder.func, *holder.args, *holder.keywords.values()]
    elif isinstance(holder, nn.Module):
        inner += [v for m in holder.modules() for v in vars(m).values() if isinstance(v, _OWN)]
    elif hasattr(holder, "__dict__"):
        inner += list(vars(holder).values())
    for part in inner:
        _look(part, found, seen, deep - 1)


def _reached(function: types.FunctionType) -> list[Any]:
    cells = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
    named = [function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__]
    return [*cells, *named, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # the name is not assigned yet
        return False


def _saved(own: Any) -> Callable[[], Any]:
    """A function that restores a generator to its present state."""
    if isinstance(own, np.random.Generator):
        return functools.partial(setattr, own.bit_generator, "state", own.bit_generator.state)
    if isinstance(own, random.Random):
        return functools.partial(own.setstate, own.getstate())
    return functools.partial(own.set_state, own.get_state())
