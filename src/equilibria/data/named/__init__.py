"""Data sets by name, one file each.

A file of this folder that defines ``SETS``, a tuple of :class:`~equilibria.data.named.base.Named`, adds its sets to
:data:`NAMED`, and so to :func:`equilibria.data.load` and to ``python -m equilibria.data.fetch``.
"""

from __future__ import annotations

import importlib
import pkgutil

from ...base.registry import Registry
from .base import Fetch, Named

__all__ = ["NAMED", "Fetch", "Named"]


def _listed() -> dict[str, Named]:
    found = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda one: one.name):
        sets: tuple[Named, ...] = getattr(importlib.import_module(f"{__name__}.{module.name}"), "SETS", ())
        found.update({one.name: one for one in sets})
    return found


NAMED: Registry[Named] = Registry("data set", _listed(), base=Named)
"""Every data set that has a name."""
