"""Tells listeners the roots and the inputs of each backward pass, by wrapping two functions while there is a listener.

``torch.autograd.backward`` is what ``Tensor.backward`` calls; ``torch.autograd.grad`` is called by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

Listener = Callable[[Any, Any, bool], None]
_PLACES = {"backward": 5, "grad": 1}  # of the argument ``inputs`` of either function
_listeners: list[Listener] = []
_originals: dict[str, Callable[..., Any]] = {}


class _Handle:
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def remove(self) -> None:
        """Stop listening; the last one puts the original functions back."""
        if self._listener in _listeners:
            _listeners.remove(self._listener)
        for name in _PLACES:
            if not _listeners and name in _originals and getattr(getattr(torch.autograd, name), "_tells", False):
                setattr(torch.autograd, name, _originals.pop(name))


def watch(listener: Listener) -> _Handle:
    """Call ``listener(roots, inputs, True)`` before each backward pass, and with False after it.

    ``inputs`` is what gradients were asked for, None for all leaves.
    """
    _listeners.append(listener)
    for name, place in _PLACES.items():
        original = getattr(torch.autograd, name)
        if not getattr(original, "_tells", False):
            _originals[name] = original
            setattr(torch.autograd, name, _telling(original, place))
    return _Handle(listener)


def _telling(original: Callable[..., Any], place: int) -> Callable[..., Any]:
    """The function, which tells before and after; its argument ``inputs`` is at this place."""

    @functools.wraps(original)
    def telling(roots: Any, *given: Any, **more: Any) -> Any:
        inputs = more.get("inputs", given[place - 1] if len(given) >= place else None)
        for listener in list(_listeners):
            listener(roots, inputs, True)
        try:
            return original(roots, *given, **more)
        finally:
            for listener in list(_listeners):
                listener(roots, inputs, False)

    telling._tells = True  # type: ignore[attr-defined]
    return telling
