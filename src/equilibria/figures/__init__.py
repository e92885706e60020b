"""Pictures of samples and of training, as pure functions from numbers to :class:`PIL.Image.Image`."""

from __future__ import annotations

from .images import image_grid, png, strip, thumbnail, write_png
from .plots import Bounds, Plane, bounds_of, curves, is_number, plane_of, scatter, series

__all__ = [
    "Bounds",
    "Plane",
    "bounds_of",
    "curves",
    "image_grid",
    "is_number",
    "plane_of",
    "png",
    "scatter",
    "series",
    "strip",
    "thumbnail",
    "write_png",
]
