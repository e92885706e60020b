"""A data set: batches as a pure function of (n, seed, turn), and rows for evaluation that batches never deal."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..base.arguments import whole
from ..base.errors import DataError
from .laws import Law
from .options import DataOptions, DataSpec
from .store import LawStore, Store
from .summary import described
from .table import scaled

__all__ = ["Dataset"]


class Dataset:
    """Rows to learn from. Made by :func:`equilibria.data.load`.

    A batch is a function of its size, a seed and the turn alone, so a run continues at any turn. Finite
    data are dealt without replacement by epochs (a batch may straddle two); a law gives fresh samples.

    Attributes:
        name: for people.
        source: the string that ``load`` reopens it by, or None for data given in memory.
        options: how the source was read.
        spec: what a network needs to know.
        class_names: the names of the classes 0 … K-1, empty without labels.
        law: the law that is sampled, or None.
        size: the number of rows that batches deal, None for a law.
        held_out_size: the number of rows that only ``take(held_out=True)`` returns, None for a law.
        store: where the rows come from, as they are stored.

    Examples:
        >>> from equilibria.data import load
        >>> digits = load("digits")
        >>> {name: tuple(rows.shape) for name, rows in digits.batch(64, seed=0, turn=0).items()}
        {'x': (64, 1, 8, 8), 'y': (64,)}
        >>> digits.size, digits.held_out_size
        (1617, 180)
    """

    def __init__(
        self,
        name: str,
        store: Store,
        spec: DataSpec,
        *,
        source: str | None = None,
        options: DataOptions | None = None,
        class_names: tuple[str, ...] = (),
    ) -> None:
        self.name, self.source, self.spec = name, source, spec
        self.options = options if options is not None else DataOptions()
        self.class_names = class_names
        self.store = store

    @property
    def law(self) -> Law | None:
        """The law that is sampled, or None."""
        return self.store.law if isinstance(self.store, LawStore) else None

    @property
    def size(self) -> int | None:
        """The number of rows that batches deal; None for a law."""
        return self.store.size

    @property
    def held_out_size(self) -> int | None:
        """The number of rows that are held out of batches; None for a law."""
        return self.store.held_size

    def batch(self, n: int, seed: int, turn: int) -> dict[str, Tensor]:
        """``n`` training rows: ``x (n, *shape)`` float32, ``y (n,)`` int64 if labelled, and each of ``spec.columns``.

        Row i of ``x``, ``y`` and every column of the stream ``""`` belongs together; columns of another stream are
        drawn independently. A row without a label has ``y`` = -1.

        Raises:
            DataError: ``n`` is below 1 or above ``size``, or ``turn`` is negative.
        """
        n, turn = whole("n", n, None), whole("turn", turn, None)
        if n < 1 or turn < 0:
            raise DataError(f"a batch of {n} rows at turn {turn}", "ask for at least one row at a turn >= 0")
        size = self.store.size
        if size is not None and n > size:
            raise DataError(
                f"a batch of {n} rows is more than the {size} training rows of '{self.name}'",
                f"use a batch of at most {size}: add --set batch={size}; or give more data",
            )
        return scaled(self.store.batch(n, seed, turn))

    def batches(self, n: int) -> Callable[[int, int], dict[str, Tensor]]:
        """Batches of ``n`` rows as a function of (seed, turn), the form in which a play takes its data."""
        return partial(self.batch, whole("n", n, 1))

    def take(self, n: int, seed: int = 0, held_out: bool = False) -> dict[str, Tensor]:
        """``n`` rows for evaluation, without replacement as far as the rows reach; beyond that they come again evenly.

        Rows of ``held_out=True`` never come out of ``batch``. Columns are aligned or independent as in ``batch``.

        Raises:
            DataError: ``n`` is below 1, or nothing is held out.
        """
        n = whole("n", n, None)
        if n < 1:
            raise DataError(f"{n} rows asked of '{self.name}'", "ask for at least one row")
        return scaled(self.store.take(n, seed, held_out))

    def whole(self) -> dict[str, Tensor]:
        """Every row in the order of the source, training and held-out rows alike; of two domains, each in its own.

        Raises:
            DataError: the rows have no order (a law, stacked images).

        Examples:
            >>> from equilibria.data import load
            >>> load(torch.arange(5.0)).whole()["x"].flatten().tolist()
            [0.0, 1.0, 2.0, 3.0, 4.0]
        """
        try:
            return scaled(self.store.whole())
        except NotImplementedError:
            raise DataError(f"the rows of '{self.name}' have no order", "use take(n)") from None

    def fingerprint(self) -> dict[str, Any]:
        """What the rows are, in plain form, so that a run can tell whether its data changed.

        The sha256 of the bytes (of its type and parameters for a law), shape, dtype, count, value range, labels.

        Examples:
            >>> from equilibria.data import load
            >>> load("grid25").fingerprint()["law"]
            'grid25'
        """
        found = self.store.fingerprint()
        labels = found.get("labels")
        if labels is not None:
            found["labels"] = dict(zip(self.class_names, labels, strict=True))
        return found

    def described(self) -> str:
        """What the data was understood to be, in one line.

        Rows, shape, classes with their counts in order, how values were scaled, and files that were not read.

        Examples:
            >>> from equilibria.data import load
            >>> load("digits").described()[:48]
            'digits: 1,617 training rows, 180 held out; image'
        """
        return described(self.name, self.spec, self.class_names, self.store)

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set on a device: the same batches, bit for bit."""
        moved = copy.copy(self)
        moved.store = self.store.to(torch.device(device))
        return moved

    def __repr__(self) -> str:
        count = "without end" if self.size is None else f"{self.size} + {self.held_out_size} held out"
        return f"Dataset('{self.name}', {self.spec.kind} {tuple(self.spec.shape)}, {count})"
