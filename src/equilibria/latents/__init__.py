"""Functions of latent codes: paths between them, truncation, directions and planes. They know no network and no run."""

from __future__ import annotations

from .directions import Directions, attribute_direction, principal_directions
from .paths import PATHS, closed_path, lerp, slerp
from .truncation import scaled_codes, truncated_normal

__all__ = [
    "PATHS",
    "Directions",
    "attribute_direction",
    "closed_path",
    "lerp",
    "principal_directions",
    "scaled_codes",
    "slerp",
    "truncated_normal",
]
