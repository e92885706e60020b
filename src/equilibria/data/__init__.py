"""Data: laws with exact densities, arrays, folders and data sets by name, dealt as pure functions of (seed, turn)."""

from __future__ import annotations

from .dataset import Dataset
from .laws import Curves, Dirac, GaussianMixture, Law, Segment
from .options import Column, DataOptions, DataSpec
from .sources import load
from .synthetic import LAWS, law

__all__ = [
    "LAWS",
    "Column",
    "Curves",
    "DataOptions",
    "DataSpec",
    "Dataset",
    "Dirac",
    "GaussianMixture",
    "Law",
    "Segment",
    "law",
    "load",
]
