"""Data sets that other libraries hold: the Hugging Face Hub by name, and torch datasets as values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..base.errors import DataError
from .files import Arrays
from .images import as_array, stacked
from .options import DataOptions, setting

__all__ = ["hub_arrays", "torch_arrays"]

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
    return Arrays(x, y, 0 if test is None else len(test), names)


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
        return stacked((as_array(image, options) for part in parts for image in part[column]), where)
    return np.concatenate([np.asarray(part[column]) for part in parts])


def torch_arrays(found: Any, options: DataOptions) -> Arrays:
    """Every item of a torch ``Dataset``: ``x`` or ``(x, y)``, x a tensor, an array or a picture.

    Raises:
        DataError: no length, no items, items of another form or of mixed shapes.
    """
    try:
        count = len(found)
    except TypeError as error:
        raise DataError(f"a {type(found).__name__} has no length", "give a map-style Dataset, or an array") from error
    if count == 0:
        raise DataError(f"the {type(found).__name__} is empty", "give at least one example")
    xs, ys = [], []
    for index in range(count):
        item = found[index]
        labelled = isinstance(item, (tuple, list))
        if labelled and len(item) not in (1, 2):
            raise DataError(f"item {index} of the {type(found).__name__} has {len(item)} parts", "give x or (x, y)")
        xs.append(_example(item[0] if labelled else item, index, options))
        if labelled and len(item) == 2:
            ys.append(int(item[1]))
        if xs[-1].shape != xs[0].shape:
            raise DataError(
                f"items of mixed shapes: 0 is {xs[0].shape}, {index} is {xs[-1].shape}",
                f"resize them; for images, {setting(size=64)}",
            )
    if ys and len(ys) != count:
        raise DataError(f"{len(ys)} of {count} items have a label", "label all items or none")
    return Arrays(np.stack(xs), np.asarray(ys) if ys else None)


def _example(x: Any, index: int, options: DataOptions) -> np.ndarray:
    if isinstance(x, Tensor):
        return x.detach().cpu().numpy()
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "getexif") and hasattr(x, "convert"):
        return as_array(x, options)
    raise DataError(f"item {index} is a {type(x).__name__}", "give tensors, arrays or Pillow images")
