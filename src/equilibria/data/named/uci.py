"""Small tables that scikit-learn carries: wine and iris."""

from __future__ import annotations

from collections.abc import Callable

from ..files import Arrays
from ..options import DataOptions
from .base import Named

__all__ = ["SETS"]


def _read(name: str) -> Callable[[DataOptions], Arrays]:
    def read(options: DataOptions) -> Arrays:
        from sklearn import datasets

        found = getattr(datasets, f"load_{name}")()
        names = tuple(str(one) for one in found.target_names)
        columns = tuple(str(one).removesuffix(" (cm)") for one in found.feature_names)
        return Arrays(found.data, found.target, names=names, columns=columns)

    return read


SETS = (
    Named(
        name="wine",
        about="178 wines of three growers, 13 measured numbers",
        licence="CC BY 4.0 (UCI, Wine)",
        read=_read("wine"),
    ),
    Named(
        name="iris",
        about="150 irises of three species, 4 measured numbers",
        licence="CC BY 4.0 (UCI, Iris)",
        read=_read("iris"),
    ),
)
