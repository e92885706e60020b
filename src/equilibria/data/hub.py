"""Data sets of the Hugging Face Hub by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base.errors import DataError
from .files import Arrays
from .images import decoded
from .options import DataOptions

__all__ = ["hub_arrays"]

_LABEL_COLUMNS = ("label", "labels", "y", "target")


def hub_arrays(name: str, options: DataOptions) -> Arrays:
    """The ``train`` split of a Hub data set, with its ``test`` split as the held-out rows.

    The images are those of the first column of type ``Image``, the labels those of the first ``ClassLabel``.
    Without an image column, the first column of number lists gives vectors.

    Raises:
        DataError: the extra ``datasets`` is not installed, no such data set, or no usable column.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"'hf:{name}' needs the library datasets", "pip install 'equilibria[hub]', or give a folder or an array"
        ) from error
    try:
        found = datasets.load_dataset(name)
    except Exception as error:  # network, authorisation, unknown name: the library has no common class
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"the Hub data set '{name}' cannot be loaded ({reason})", "check the name and the network"
        ) from error
    train = found["train"] if "train" in found else found[next(iter(found))]
    test = found["test"] if "test" in found and train is not found["test"] else None
    parts = [train] if test is None else [train, test]
    image, label = _columns(name, train.features)
    x = _examples(parts, image, options, f"hf:{name}")
    y = None if label is None else np.concatenate([np.asarray(part[label]) for part in parts])
    names = tuple(getattr(train.features[label], "names", None) or ()) if label is not None else ()
    pictures = type(train.features[image]).__name__ == "Image"
    return Arrays(x, y, 0 if test is None else len(test), names, decoded=pictures)


def _columns(name: str, features: Any) -> tuple[str, str | None]:
    kinds = {column: type(feature).__name__ for column, feature in features.items()}
    label = next((c for c, k in kinds.items() if k == "ClassLabel"), None)
    label = label or next((c for c in _LABEL_COLUMNS if c in kinds), None)
    for wanted in ({"Image"}, {"Array2D", "Array3D", "Sequence", "List", "LargeList"}):
        column = next((c for c, k in kinds.items() if k in wanted and c != label), None)
        if column is not None:
            return column, label
    raise DataError(f"'hf:{name}' has no column of images or numbers (columns: {kinds})", "choose another data set")


def _examples(parts: Sequence[Any], column: str, options: DataOptions, where: str) -> np.ndarray:
    if type(parts[0].features[column]).__name__ == "Image":
        return decoded((image for part in parts for image in part[column]), options, where)
    return np.concatenate([np.asarray(part[column]) for part in parts])
