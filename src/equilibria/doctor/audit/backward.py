"""Tells listeners the roots and the inputs of each backward pass, by wrapping two functions while there is a listener.

``torch.autograd.backward`` is what ``Tensor.backward`` calls; ``torch.autograd.grad`` is called by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

Listener = Callable[[Any, Any, bool], None]
_ARGUMENTS = {"backward": ("tensors", 5), "grad": ("outputs", 1)}
"""Of either function the name of its first argument, and the place of ``inputs``."""
_listeners: list[Listener] = []
_originals: dict[str, Callable[..., Any]] = {}


class _Handle:
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def remove(self) -> None:
        """Stop listening; the last one puts the original functions back."""
        if self._listener in _listeners:
            _listeners.remove(self._listener)
        for name in _ARGUMENTS:
            if not _listeners and name in _originals and getattr(getattr(torch.autograd, name), "_tells", False):
                setattr(torch.autograd, name, _originals.pop(name))


def watch(listener: Listener) -> _Handle:
    """Call ``listener(roots, inputs, True)`` before each backward pass, and with False after it.

    ``inputs`` is what gradients were asked for, None for all leaves.
    """
    _listeners.append(listener)
    for name, (first, place) in _ARGUMENTS.items():
        original = getattr(torch.autograd, name)
        if not getattr(original, "_tells", False):
            _originals[name] = original
            setattr(torch.autograd, name, _telling(original, first, place))
    return _Handle(listener)


def _telling(original: Callable[..., Any], first: str, place: int) -> Callable[..., Any]:
    """The function, which tells before and after; see :data:`_ARGUMENTS`."""

    @functools.wraps(original)
    def telling(*given: Any, **more: Any) -> Any:
        roots = given[0] if given else more.get(first)
        inputs = more.get("inputs", given[place] if len(given) > place else None)
        for listener in list(_listeners):
            listener(roots, inputs, True)
        try:
            return original(*given, **more)
        finally:
            for listener in list(_listeners):
                listener(roots, inputs, False)

    telling._tells = True  # type: ignore[attr-defined]
    return telling
