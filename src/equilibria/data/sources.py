"""`load`: any source of data, by name, path or value, as a Dataset; every fault found before a run begins."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..base.errors import DataError, did_you_mean
from . import synthetic
from .checks import Rows, checked_labels, checked_rows, fitted
from .dataset import Dataset
from .files import CACHED, Arrays, cache_file, read_arrays
from .laws import Law
from .options import DataOptions, DataSpec
from .store import ArrayStore, LawStore, PairStore, StackStore, Store, split
from .streams import ArrayFile, StreamRows, StreamStore, array_header, streamed

__all__ = ["load"]

_NAMED = ("digits", *CACHED)


class _Found(NamedTuple):
    name: str
    rows: Rows | StreamRows
    source: str | None = None  # what load reopens it by
    test: int = 0  # how many of the last rows are the source's own test set


def load(source: Any, labels: Any = None, options: DataOptions | None = None) -> Dataset:
    """Open a source of data.

    Args:
        source: one of

            - a law: its name (``"grid25"``, ``"parallel-lines:0.5"``) or a :class:`Law`;
            - a data set by name: ``"digits"`` (8x8, embedded), ``"mnist"``, ``"fashion-mnist"``, ``"cifar10"``,
              ``"hf:NAME"`` (Hugging Face Hub);
            - a path: ``.npz``, ``.npy``, an image, or a folder of images, whose subfolders are the classes;
            - an array, a tensor, ``(x, y)``, or a torch ``Dataset`` of x or (x, y);
            - ``"pairs:A,B"``: two domains, drawn independently, the second as ``"other"``; a domain is a name or a
              path, with ``-negative`` or ``-edges`` appended for its negatives or its outlines;
            - ``"stacked:A"``: three independent gray images as the channels of one.
        labels: one label per example (or the path of a ``.npy`` of them), in place of the source's own.
        options: how to read it.

    Names go before paths; write ``./digits`` for a folder of that name. Rows of uint8 are dealt as x / 127.5 - 1;
    images of floats are to lie in [0, 1], which is mapped to [-1, 1], or in [-1, 1]; vectors of floats are kept.

    Raises:
        DataError: the data cannot be used as given; the text says what to do.
        ConfigError: parameters of a law that do not fit.

    Examples:
        >>> load("grid25").batch(4, seed=0, turn=0)["x"].shape
        torch.Size([4, 2])
        >>> load(np.zeros((10, 28, 28), dtype=np.uint8)).spec.shape
        (1, 28, 28)
        >>> sorted(load("pairs:digits,digits-negative").batch(4, seed=0, turn=0))
        ['other', 'x', 'y']
    """
    options = options if options is not None else DataOptions()
    if isinstance(source, Path):
        source = str(source)
    if isinstance(source, Law):
        return _of_law(source, options)
    if not isinstance(source, str):
        return _of_found(_by_value(source, labels, options), options)
    if synthetic.canonical(source.partition(":")[0]) is not None:
        law = synthetic.law(source)
        return _of_law(law, options, law.name)
    if source.startswith("pairs:"):
        return _pairs(source, options)
    if source.startswith("stacked:"):
        return _stacked(source, labels, options)
    return _of_found(_by_name(source, labels, options), options)


def _of_law(law: Law, options: DataOptions, source: str | None = None) -> Dataset:
    labelled = options.labelled and law.components > 1
    spec = DataSpec(kind="vector", shape=(law.dim,), classes=law.components if labelled else 0)
    names = tuple(str(k) for k in range(spec.classes))
    return Dataset(law.name, LawStore(law, labelled), spec, source=source, options=options, class_names=names)


def _of_found(found: _Found, options: DataOptions) -> Dataset:
    return _dataset(found, _store(found, options), options)


def _dataset(found: _Found, store: Store, options: DataOptions, paired: bool = False) -> Dataset:
    shape, names = tuple(found.rows.x.shape[1:]), found.rows.class_names
    if isinstance(store, StackStore):
        shape = (3, *shape[1:])
        names = tuple(f"{a}-{b}-{c}" for a in names for b in names for c in names)
    kind = "image" if len(shape) == 3 else "vector"
    if isinstance(store, StreamStore):  # a run goes on as it began, whatever the memory of the next machine
        options = replace(options, stream="true")
    spec = DataSpec(kind=kind, shape=shape, classes=len(names), paired=paired)
    return Dataset(found.name, store, spec, source=found.source, options=options, class_names=names)


def _store(found: _Found, options: DataOptions) -> ArrayStore | StreamStore:
    if isinstance(found.rows, StreamRows):
        return StreamStore(found.rows.x, found.rows.y, *_parts(found, options))
    return ArrayStore(found.rows.x, found.rows.y, *_parts(found, options))


def _whole_store(found: _Found, options: DataOptions) -> ArrayStore:
    assert isinstance(found.rows, Rows)
    return ArrayStore(found.rows.x, found.rows.y, *_parts(found, options))


def _parts(found: _Found, options: DataOptions) -> tuple[Tensor, Tensor]:
    """Indices of training and of held-out rows."""
    n = len(found.rows.x)
    if not found.test:
        return split(n, options.held_out)
    rows = torch.arange(n)
    return rows[: n - found.test], rows[n - found.test :]


def _by_value(source: Any, labels: Any, options: DataOptions) -> _Found:
    if isinstance(source, tuple) and len(source) == 2:
        x, own = source
        return _Found("array", _rows(Arrays(x, own), labels, options))
    if isinstance(source, (np.ndarray, Tensor)):
        return _Found("array", _rows(Arrays(source), labels, options))
    if hasattr(source, "__getitem__") and not isinstance(source, (list, tuple, dict)):
        from .hub import torch_arrays

        return _Found(type(source).__name__, _rows(torch_arrays(source, options), labels, options))
    raise DataError(
        f"a {type(source).__name__} is no source of data", "give a name, a path, an array, (x, y) or a torch Dataset"
    )


def _by_name(source: str, labels: Any, options: DataOptions) -> _Found:
    if source in _NAMED or source.startswith("hf:"):
        arrays = _named(source, options)
        rows = _rows(arrays, labels, options, source)
        return _Found(source, rows, source if labels is None else None, arrays.test)
    path = Path(source).expanduser()
    if not path.exists():
        raise _missing(source, path)
    path = path.resolve()
    reopens = str(path) if labels is None else None
    if path.suffix in (".npz", ".npy") and path.is_file():
        stream = _stream(path, options)
        if stream is not None:
            known = (None, ()) if labels is None else _checked(labels, len(stream))
            return _Found(path.stem, StreamRows(stream, *known), reopens)
        arrays = read_arrays(path)
        return _Found(path.stem, _rows(arrays, labels, options, str(path)), reopens, arrays.test)
    from .images import folder_rows, is_picture

    if path.is_file() and not is_picture(path):
        raise DataError(
            f"{path} is of no format that is read here", "give .npz, .npy, an image or a folder; convert with np.save"
        )
    found = folder_rows(path, options)
    if labels is not None:
        y, names = _checked(labels, len(found.x))
        found = found._replace(y=y, class_names=names)
    return _Found(path.name, found, reopens)


def _stream(path: Path, options: DataOptions) -> ArrayFile | None:
    """The rows of an array file that stay on the disk; None where they are to be read whole."""
    if path.suffix == ".npz":
        if options.stream == "true":
            raise DataError(f"{path} cannot be streamed", "save its images as .npy, their labels as another .npy")
        return None
    header = array_header(path)
    fits = header is not None and (header.fits or options.stream == "true")
    return ArrayFile(path, options) if header and fits and streamed(options.stream, header.size) else None


def _whole(source: str, options: DataOptions) -> DataOptions:
    """Options for sources that are made of several, which are read whole."""
    if options.stream == "true":
        raise DataError(f"'{source}' cannot be streamed", "set stream=auto")
    return replace(options, stream="false")


def _missing(source: str, path: Path) -> DataError:
    if "/" in source or path.suffix:
        return DataError(f"there is no file or folder {path}", "check the path")
    known = [*synthetic.LAWS, *_NAMED]
    return DataError(f"'{source}' is neither a known data set nor a file", did_you_mean(source, known))


def _named(name: str, options: DataOptions) -> Arrays:
    if name == "digits":
        from sklearn.datasets import load_digits

        found = load_digits()
        return Arrays(np.rint(found.images * (255.0 / 16.0)).astype(np.uint8), found.target)
    from .hub import HUB_NAMES, hub_arrays

    if name.startswith("hf:"):
        return hub_arrays(name.removeprefix("hf:"), options)
    path = cache_file(name)
    if path.exists():
        return read_arrays(path)
    if importlib.util.find_spec("datasets") is not None:
        return hub_arrays(HUB_NAMES[name], options)
    raise DataError(f"'{name}' is not in the cache ({path})", f"run: python -m equilibria.data.fetch {name}")


def _rows(arrays: Arrays, labels: Any, options: DataOptions, where: str = "the array") -> Rows:
    x = fitted(checked_rows(arrays.x, where), options)
    given = arrays.y if labels is None else labels
    if given is None:
        return Rows(x)
    y, names = _checked(given, len(x))
    if labels is None and arrays.names and all(name.isdigit() and int(name) < len(arrays.names) for name in names):
        names = tuple(arrays.names[int(name)] for name in names)
    return Rows(x, y, names)


def _checked(labels: Any, n: int) -> tuple[Tensor, tuple[str, ...]]:
    if isinstance(labels, (str, Path)):
        return checked_labels(read_arrays(Path(labels)).x, n, f"labels of {labels}")
    return checked_labels(labels, n)


def _domain(text: str, options: DataOptions) -> _Found:
    """A domain of ``pairs:``: a finite source by name or path, changed as its suffix says."""
    for suffix, change in (("-negative", _negative), ("-edges", _edges)):
        if text.endswith(suffix):
            found = _by_name(text.removesuffix(suffix), None, options)
            if not isinstance(found.rows, Rows) or found.rows.x.dim() != 4:
                raise DataError(f"'{text}': {suffix[1:]} of vectors", "use a data set of images")
            rows = found.rows._replace(x=change(found.rows.x))
            return _Found(found.name + suffix, rows, f"{found.source}{suffix}", found.test)
    return _by_name(text, None, options)


def _negative(x: Tensor) -> Tensor:
    return 255 - x if x.dtype == torch.uint8 else -x


def _edges(x: Tensor) -> Tensor:
    """The morphological gradient on one side: the maximum over 3x3 neighbours, less the pixel."""
    parts = []
    for piece in torch.split(x, 1024):
        wide = torch.nn.functional.max_pool2d(piece.float(), 3, stride=1, padding=1) - piece.float()
        parts.append(wide.to(torch.uint8) if x.dtype == torch.uint8 else wide - 1.0)
    return torch.cat(parts)


def _pairs(source: str, options: DataOptions) -> Dataset:
    texts = [t.strip() for t in source.removeprefix("pairs:").split(",")]
    if len(texts) != 2 or not all(texts):
        raise DataError(f"'{source}' does not name two domains", "write pairs:digits,digits-negative")
    first, second = (_domain(t, _whole(source, options)) for t in texts)
    shapes = [tuple(found.rows.x.shape[1:]) for found in (first, second)]
    if shapes[0] != shapes[1]:
        raise DataError(f"the domains of '{source}' have shapes {shapes[0]} and {shapes[1]}", "set size or grayscale")
    store = PairStore(_whole_store(first, options), _whole_store(second, options))
    whole = first._replace(name=f"{first.name},{second.name}", source=f"pairs:{first.source},{second.source}")
    return _dataset(whole, store, options, paired=True)


def _stacked(source: str, labels: Any, options: DataOptions) -> Dataset:
    found = _by_name(source.removeprefix("stacked:"), labels, _whole(source, options))
    if found.rows.x.dim() != 4 or found.rows.x.shape[1] != 1:
        raise DataError(f"'{source}' does not name gray images", "set grayscale, or use stacked:digits")
    store = StackStore(_whole_store(found, options), len(found.rows.class_names))
    reopens = None if found.source is None else f"stacked:{found.source}"
    return _dataset(found._replace(name=f"stacked-{found.name}", source=reopens), store, options)
