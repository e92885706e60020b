"""Data: laws with exact densities, arrays, folders and data sets by name, dealt as pure functions of (seed, turn)."""

from __future__ import annotations

from .dataset import Dataset
from .laws import Curves, Dirac, GaussianMixture, Law, Segment
from .named import NAMED
from .options import Column, DataOptions, DataSpec
from .sources import load
from .synthetic import LAWS, law
from .views import VIEWS, DataView, Edges, Halved, Negative, Residual, Reweighted, enlarge, halve

__all__ = [
    "LAWS",
    "NAMED",
    "VIEWS",
    "Column",
    "Curves",
    "DataOptions",
    "DataSpec",
    "DataView",
    "Dataset",
    "Dirac",
    "Edges",
    "GaussianMixture",
    "Halved",
    "Law",
    "Negative",
    "Residual",
    "Reweighted",
    "Segment",
    "enlarge",
    "halve",
    "law",
    "load",
]
