"""What a data set by name is: its rows, its licence, and how its original files are fetched and recognised."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...base.errors import DataError
from ..files import Arrays, cache_file, read_arrays
from ..options import DataOptions

__all__ = ["Fetch", "Named", "cached"]


@dataclass(frozen=True)
class Named:
    """A data set by name.

    Attributes:
        name: what :func:`equilibria.data.load` knows it by, lower case with hyphens.
        about: one line: what it holds, and how many rows.
        licence: of the data, one line.
        read: the rows; it raises a DataError where they are not on this machine.
        fetch: how the cache is filled; None for data that a dependency carries.
    """

    name: str
    about: str
    licence: str
    read: Callable[[DataOptions], Arrays]
    fetch: Fetch | None = None


class Fetch(ABC):
    """Abstract: how the original files of a data set are downloaded, recognised, and read.

    Attributes:
        commands: each downloads one archive into the working folder.
    """

    commands: tuple[tuple[str, ...], ...]

    @abstractmethod
    def arrays(self, folder: Path) -> Mapping[str, np.ndarray]:
        """The arrays for the cache, from a folder of the original files.

        Raises:
            DataError: they are not the files of this data set, or damaged.
        """


def cached(name: str, hub: str | None = None) -> Callable[[DataOptions], Arrays]:
    """The reader of a data set that is kept in the cache.

    Args:
        name: of the data set.
        hub: its name on the Hugging Face Hub, which is asked where the cache lacks it and ``datasets`` is installed.
    """

    def read(options: DataOptions) -> Arrays:
        path = cache_file(name)
        if path.exists():
            return read_arrays(path)
        if hub is not None and importlib.util.find_spec("datasets") is not None:
            from ..hub import hub_arrays

            return hub_arrays(hub, options)
        raise DataError(f"'{name}' is not in the cache ({path})", f"run: python -m equilibria.data.fetch {name} (once)")

    return read
