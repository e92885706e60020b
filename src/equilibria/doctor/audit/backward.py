"""Tells listeners the roots of each backward pass; ``torch.autograd.backward`` is wrapped while there is a listener."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

Listener = Callable[[Any, bool], None]
_listeners: list[Listener] = []
_original: list[Callable[..., Any]] = []


class _Handle:
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def remove(self) -> None:
        """Stop listening; the last one puts the original function back."""
        if self._listener in _listeners:
            _listeners.remove(self._listener)
        if not _listeners and _original and getattr(torch.autograd.backward, "_tells", False):
            torch.autograd.backward = _original.pop()


def watch(listener: Listener) -> _Handle:
    """Call ``listener(roots, True)`` before each backward pass, and ``listener(roots, False)`` after it."""
    _listeners.append(listener)
    if not getattr(torch.autograd.backward, "_tells", False):
        _original[:] = [torch.autograd.backward]
        torch.autograd.backward = _telling(torch.autograd.backward)
    return _Handle(listener)


def _telling(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def backward(tensors: Any, *given: Any, **more: Any) -> Any:
        for listener in list(_listeners):
            listener(tensors, True)
        try:
            return original(tensors, *given, **more)
        finally:
            for listener in list(_listeners):
                listener(tensors, False)

    backward._tells = True  # type: ignore[attr-defined]
    return backward
