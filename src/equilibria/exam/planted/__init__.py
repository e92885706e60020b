"""The planted diseases: each module of this folder lists some as ``PLANTED``, and listing the folder finds them."""

from __future__ import annotations

from ...base.registry import modules_in
from .row import Change, Planted, both, fault, loop_with, nets_with

PLANTED: tuple[Planted, ...] = tuple(row for module in modules_in(__name__) for row in getattr(module, "PLANTED", ()))
"""Every planted disease, in the order of the modules' names."""

__all__ = ["PLANTED", "Change", "Planted", "both", "fault", "loop_with", "nets_with"]
