"""Data given as Python values: arrays, lists of pictures, arrays or tensors, dicts, torch data sets and loaders.

All are read once, into memory. A loader is read in the order of its data set where it deals all of that in some order;
otherwise in the order in which it deals, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler, SubsetRandomSampler
from torch.utils.data import default_collate as _default

from ..base.errors import DataError
from ..base.memory import machine_memory
from .files import Arrays, chosen
from .images import decoded
from .options import DataOptions, setting

__all__ = ["Given", "given"]

SHARE = 0.25
"""Values that take more than this share of the machine's memory are refused: they are better kept on the disk."""
_X, _Y = ("x", "image", "images", "img", "data", "pixel_values"), ("y", "label", "labels", "target")


class Given(NamedTuple):
    """What was given.

    Attributes:
        arrays: its rows.
        what: what it is, for the line on the data.
        name: of the data.
    """

    arrays: Arrays
    what: str
    name: str


def given(source: Any, options: DataOptions) -> Given:
    """The rows of a value.

    Args:
        source: an array or a tensor; ``(x, y)``; a dict of arrays; a list of Pillow images, arrays or tensors, or of
            pairs of one and a label; a torch ``Dataset`` or ``DataLoader`` of x, (x, y) or dicts of both.
        options: how pictures are read.

    Raises:
        DataError: it is none of these, has no end, no rows, or rows of mixed shapes.

    Examples:
        >>> given([np.zeros((4, 4)), np.ones((4, 4))], DataOptions()).what
        'a list of 2 arrays'
    """
    if isinstance(source, (np.ndarray, Tensor)):
        return Given(Arrays(source), "an array" if isinstance(source, np.ndarray) else "a tensor", "array")
    if isinstance(source, tuple) and len(source) == 2 and not _is_picture(source[0]):
        x = _examples(source[0], options, "x")
        return Given(x._replace(y=source[1]), "a pair of examples and labels", "array")
    if isinstance(source, Mapping):
        return _of_dict(source, options)
    if isinstance(source, (list, tuple)):
        return _of_list(source, options)
    if isinstance(source, DataLoader):
        return _of_loader(source, options)
    if hasattr(source, "__getitem__") or isinstance(source, IterableDataset):
        name = type(source).__name__
        found = _of_items(_items(source, name), name, options)
        return Given(found, f"a torch data set {name} of {_counted(found)}", name)
    raise DataError(
        f"a {type(source).__name__} is no source of data",
        "give a name, a path, an array, (x, y), a dict of arrays, a list of pictures, arrays or tensors, a torch "
        "Dataset or a DataLoader",
    )


def _of_dict(source: Mapping[Any, Any], options: DataOptions) -> Given:
    values = {str(key): value for key, value in source.items()}
    lists = {key: _examples(value, options, f"'{key}'") for key, value in values.items() if _is_list(value)}
    arrays = chosen({**values, **{key: found.x for key, found in lists.items()}}, "the dict")
    ready = any(found.decoded and found.x is arrays.x for found in lists.values())
    return Given(arrays._replace(decoded=ready), f"a dict of arrays ({', '.join(values)})", "arrays")


def _is_list(value: Any) -> bool:
    """Whether a value is a list of pictures, arrays or tensors, one a row."""
    return isinstance(value, (list, tuple)) and bool(value) and (_is_picture(value[0]) or hasattr(value[0], "shape"))


def _of_list(source: Sequence[Any], options: DataOptions) -> Given:
    if not source:
        raise DataError("an empty list", "give at least one example")
    if isinstance(source[0], (tuple, list)) and len(source[0]) == 2 and _is_example(source[0][0]):
        found = _of_items(iter(source), "list", options)
        return Given(found, f"a list of {_counted(found)}", "list")
    found = _examples(source, options, "the list")
    kind = "Pillow images" if found.decoded else "tensors" if isinstance(source[0], Tensor) else "arrays"
    if not _is_list(source):
        return Given(found, "a list of numbers", "list")
    return Given(found, f"a list of {len(source):,} {kind}", "list")


def _is_picture(value: Any) -> bool:
    return hasattr(value, "getexif") and hasattr(value, "convert")


def _is_example(value: Any) -> bool:
    return _is_picture(value) or isinstance(value, (np.ndarray, Tensor))


def _examples(value: Any, options: DataOptions, where: str) -> Arrays:
    """The rows of an array, of a list of pictures, arrays or tensors, or of nested lists of numbers."""
    if not _is_list(value):
        if isinstance(value, (list, tuple)):
            _refuse_others(value, where)
        return Arrays(value)
    if _is_picture(value[0]):
        for index, item in enumerate(value):
            if not _is_picture(item):
                raise DataError(
                    f"{where}: item {index} is a {type(item).__name__}, the first an image", "give one kind"
                )
        return Arrays(decoded(value, options, where), decoded=True)
    return Arrays(_stacked([_array(item, index) for index, item in enumerate(value)]))


def _refuse_others(value: Sequence[Any], where: str) -> None:
    """Refuse lists that are no numbers, before numpy makes something of them."""
    for index, item in enumerate(value):
        if not isinstance(item, (bool, int, float, list, tuple, np.generic)):
            raise DataError(
                f"{where}: item {index} is a {type(item).__name__}", "give Pillow images, arrays, tensors or numbers"
            )
    try:
        np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where} is no array of numbers ({str(error)[:100]})", "give rows of one length") from error


def _array(item: Any, index: int) -> np.ndarray:
    if isinstance(item, Tensor):
        found: np.ndarray = item.detach().cpu().numpy()
        return found
    if isinstance(item, (np.ndarray, np.generic)):
        return np.asarray(item)
    raise DataError(f"item {index} is a {type(item).__name__}", "give tensors, arrays or Pillow images")


def _stacked(xs: Sequence[np.ndarray]) -> np.ndarray:
    for index, x in enumerate(xs):
        if x.shape != xs[0].shape:
            raise DataError(
                f"items of mixed shapes: 0 is {xs[0].shape}, {index} is {x.shape}",
                f"resize them; for images, give Pillow images and {setting(size=64)}",
            )
    return np.stack(xs)


# Data sets and loaders of torch --------------------------------------------------------------------------------------


def _items(found: Any, name: str) -> Iterator[Any]:
    """The items of a torch data set, one by one."""
    if isinstance(found, IterableDataset):
        yield from found
        return
    try:
        count = len(found)
    except TypeError as error:
        raise DataError(f"a {name} has no length", "give a map-style Dataset, or an array") from error
    for index in range(count):
        yield found[index]


def _of_items(items: Iterable[Any], name: str, options: DataOptions) -> Arrays:
    """Rows of items that are x, (x, y), or a dict of both."""
    xs: list[Any] = []
    ys: list[Any] = []
    taken, most = 0, _most()
    for index, item in enumerate(items):
        x, y = _parted(item, index, name)
        taken += _bytes(x)
        if taken > most:
            raise _too_many(name, index, taken)
        xs.append(x)
        if y is not None:
            ys.append(y.item() if isinstance(y, (Tensor, np.generic)) else y)
    if not xs:
        raise DataError(f"the {name} is empty", "give at least one example")
    if ys and len(ys) != len(xs):
        raise DataError(f"{len(ys)} of {len(xs)} items have a label", "label all items or none")
    found = _examples(xs, options, f"the {name}") if _is_example(xs[0]) else Arrays(_stacked_of(xs))
    return found._replace(y=np.asarray(ys) if ys else None)


def _stacked_of(xs: Sequence[Any]) -> np.ndarray:
    return _stacked([_array(x, index) for index, x in enumerate(xs)])


def _parted(item: Any, index: int, name: str) -> tuple[Any, Any]:
    """The example and the label of an item; None for no label."""
    if isinstance(item, Mapping):
        x = next((item[key] for key in _X if key in item), None)
        if x is None:
            raise DataError(
                f"item {index} of the {name} has no {_X[0]} ({', '.join(map(str, item))})", "give x or (x, y)"
            )
        return x, next((item[key] for key in _Y if key in item), None)
    if isinstance(item, (tuple, list)):
        if len(item) not in (1, 2):
            raise DataError(f"item {index} of the {name} has {len(item)} parts", "give x or (x, y)")
        return item[0], item[1] if len(item) == 2 else None
    return item, None


def _bytes(x: Any) -> int:
    if _is_picture(x):
        return int(x.width * x.height * len(x.getbands()))
    return int(getattr(x, "nbytes", 8))


def _most() -> float:
    return SHARE * (machine_memory() or float("inf"))


def _too_many(name: str, count: int, taken: int) -> DataError:
    return DataError(
        f"the {name} has more than {count:,} items, {taken / 1e9:.1f} GB, and is read into memory",
        "give fewer; or save its images in a folder, or as uint8 in a .npy file, which are streamed from the disk",
    )


def _of_loader(loader: DataLoader[Any], options: DataOptions) -> Given:
    """The rows of a loader."""
    within = type(loader.dataset).__name__
    order = _order(loader)
    if order is None:
        found = _of_items(_unbatched(loader), "DataLoader", options)
        how = "in the order in which it deals"
    else:
        found = _of_items((loader.dataset[i] for i in order), f"data set of the DataLoader, {within},", options)
        how = "in the order of its data set"
    return Given(found, f"a DataLoader of {_counted(found)}, read once {how}", within)


def _order(loader: DataLoader[Any]) -> Iterable[int] | None:
    """The rows of the loader's data set that it deals, increasing; None where only the loader knows what it deals."""
    own = loader.collate_fn is not _default or loader.batch_size is None or loader.drop_last
    if isinstance(loader.dataset, IterableDataset) or own:
        return None
    sampler, count = loader.sampler, len(loader.dataset)  # type: ignore[arg-type]
    if isinstance(sampler, SubsetRandomSampler):
        return sorted(int(i) for i in sampler.indices)
    plain = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == count
    )
    return range(count) if plain else None


def _unbatched(loader: DataLoader[Any]) -> Iterator[Any]:
    """The rows of the batches that a loader deals."""
    for index, batch in enumerate(loader):
        if loader.batch_sampler is None:
            yield batch
            continue
        x, y = _parted(batch, index, "DataLoader")
        if not hasattr(x, "__len__"):
            raise DataError(f"batch {index} of the DataLoader holds a {type(x).__name__}", "give batches of tensors")
        for row in range(len(x)):
            yield (x[row],) if y is None else (x[row], y[row])


def _counted(found: Arrays) -> str:
    kind = "Pillow images" if found.decoded else "examples"
    return f"{len(found.x):,} {kind}{' with labels' if found.y is not None else ''}"
