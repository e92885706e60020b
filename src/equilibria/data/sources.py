"""`load`: any source of data, by name, path or value, as a Dataset; every fault found before a run begins."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ..base.arguments import instance
from ..base.records import build
from .compose import FORMS, of_law, single
from .dataset import Dataset
from .laws import Law
from .options import DataOptions
from .reading import built, by_value, refuse_double

__all__ = ["load", "reopened"]


def load(source: Any, labels: Any = None, options: DataOptions | None = None, **settings: Any) -> Dataset:
    """Open a source of data.

    Args:
        source: one of

            - a law: its name (``"grid25"``, ``"parallel-lines:0.5"``) or a :class:`Law`;
            - a data set by name (:data:`NAMED`): ``"digits"`` (8x8, embedded), ``"mnist"``, ``"fashion-mnist"``,
              ``"cifar10"``, ``"emoji"`` (aligned pairs); or ``"hf:NAME"`` (Hugging Face Hub);
            - a path: ``.npz``, ``.npy``, an image, or a folder of images, with the classes in a file beside them or as
              subfolders;
            - an array, a tensor, ``(x, y)``, a dict of arrays, or a torch ``Dataset`` of x or (x, y);
            - a name or path with a view (:data:`VIEWS`): ``"digits-negative"``, ``"digits-edges"``,
              ``"digits-halved"``, ``"digits-residual"``;
            - ``"emoji@other"``: one column of a source as its examples;
            - ``"pairs:A,B"``: two domains drawn independently, the second as the column ``other``;
            - ``"aligned:A,B"``: two sources whose rows belong together one by one, the second as the column ``other``.
              Two folders need equal file names, apart from the suffix; other sources equal numbers of rows;
            - ``"aligned:A"``: two pictures side by side in each image: the left is ``x``, the right ``other``;
            - ``"few:A,100"``: the labels of 100 training rows are kept, as many of each class as possible. The other
              training rows have ``y`` = -1; held-out rows keep their labels. The labelled rows are also dealt as a
              stream of their own, as many as there are examples, in the columns ``labelled`` and ``label``;
            - ``"stacked:A"``: three independent gray images as the channels of one.
        labels: one label per example (or the path of a ``.npy`` of them), in place of the source's own.
        options: how to read it.
        **settings: fields of :class:`DataOptions`, in place of those of ``options``: ``load("photos", size=64)``.

    Where a folder or file has the name of a data set or of a law, the source is asked for: ``./digits`` is the folder,
    ``name:digits`` the data set. Rows of uint8 are dealt as x / 127.5 - 1;
    images of floats are to lie in [0, 1], which is mapped to [-1, 1], or in [-1, 1]; vectors of floats are kept.
    :mod:`equilibria.data.arrays` has the rule for arrays, :mod:`equilibria.data.formats` that for image files,
    :mod:`equilibria.data.folders` says where labels come from.

    In an ``.npz`` or a dict the examples are ``x``, ``images``, ``data`` or the first array, the labels ``y`` or
    ``labels``. Each further array is a column of its own name, aligned with the examples;
    :mod:`equilibria.data.columns` has the rule by which its kind is guessed.

    Raises:
        DataError: the data cannot be used as given; the text says what to do.
        ConfigError: parameters of a law, or an option, that do not fit.

    Examples:
        >>> load("grid25").batch(4, seed=0, turn=0)["x"].shape
        torch.Size([4, 2])
        >>> import numpy as np
        >>> load(np.zeros((10, 28, 28), dtype=np.uint8), size=16).spec.shape
        (1, 16, 16)
        >>> sorted(load("pairs:digits,digits-negative").batch(4, seed=0, turn=0))
        ['other', 'x', 'y']
        >>> few = load("few:digits,100")
        >>> int((few.batch(few.size, seed=0, turn=0)["y"] >= 0).sum())
        100
    """
    options = instance("options", DataOptions() if options is None else options, DataOptions, "options=DataOptions()")
    if settings:
        fields = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
        options = build(DataOptions, fields | settings)
    if isinstance(source, Path):
        source = str(source)
    if isinstance(source, Law):
        return of_law(source, options)
    if not isinstance(source, str):
        return built(by_value(source, labels, options), options)
    refuse_double(source, tuple(FORMS))
    return reopened(source, options, labels)


def reopened(source: str, options: DataOptions, labels: Any = None) -> Dataset:
    """The data set that a :attr:`Dataset.source` names: names go before paths, whatever lies in the working folder.

    Raises:
        DataError: the data cannot be used as given.

    Examples:
        >>> reopened(load("digits").source, DataOptions()).size
        1617
    """
    form, colon, _ = source.partition(":")
    if colon and form in FORMS:
        return FORMS[form](source, labels, options)
    return single(source, labels, options)
