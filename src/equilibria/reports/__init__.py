"""Reports: a run as one self-contained HTML file."""

from __future__ import annotations

from .report import render

__all__ = ["render"]
