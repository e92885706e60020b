"""Where rows come from: a law, a table of columns, several independent streams, or stacked channels.

A store is a pure function of (n, seed, turn). What it caches (permutations) follows from those numbers alone. Its rows
are as they are stored: :class:`equilibria.data.Dataset` scales bytes on their way out.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from ..base.errors import DataError
from ..base.randomness import mix
from .laws import Law
from .options import setting
from .table import Table

__all__ = ["LabelledStore", "LawStore", "Order", "PairStore", "StackStore", "Store", "TableStore"]

# one stream of random numbers per purpose: a batch never shares its numbers with an evaluation
_BATCH, _TAKE, _HELD, _SPLIT, _OTHER, _LABELLED = range(6)
_CACHED = 1 << 23  # indices kept in cached permutations: 64 MB


def _generator(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(mix(*numbers))


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device. The copy to a GPU is asynchronous."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Store(ABC):
    """Rows to be dealt; ``size`` is the number of training rows, None without end."""

    size: int | None
    held_size: int | None

    @abstractmethod
    def batch(self, n: int, seed: int, turn: int) -> dict[str, Tensor]:
        """The training rows of one turn."""

    @abstractmethod
    def take(self, n: int, seed: int, held_out: bool) -> dict[str, Tensor]:
        """Rows for evaluation."""

    def whole(self) -> dict[str, Tensor]:
        """Every row in the order of the source; left out where rows have no order."""
        raise NotImplementedError

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What the rows are, in plain form."""

    @abstractmethod
    def to(self, device: torch.device) -> Store:
        """The same rows on a device."""


class LawStore(Store):
    """Fresh samples of a law. They are drawn on the CPU, so every device sees the same numbers."""

    def __init__(self, law: Law, labelled: bool = False, device: torch.device | None = None) -> None:
        self.law, self.labelled, self.size, self.held_size = law, labelled, None, None
        self.device = device if device is not None else torch.device("cpu")
        self._move = self.device.type != "cpu"

    def batch(self, n: int, seed: int, turn: int) -> dict[str, Tensor]:
        return self._dealt(n, _generator(_BATCH, seed, turn))

    def take(self, n: int, seed: int, held_out: bool) -> dict[str, Tensor]:
        return self._dealt(n, _generator(_HELD if held_out else _TAKE, seed))

    def _dealt(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        x, y = self.law.draw(n, generator)
        rows = {"x": x, "y": y} if self.labelled else {"x": x}
        return {k: sent(v, self.device) for k, v in rows.items()} if self._move else rows

    def fingerprint(self) -> dict[str, Any]:
        parameters = self.law.parameters()
        text = f"{type(self.law).__name__} {parameters!r}"
        return {
            "kind": "law",
            "law": self.law.name,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "shape": [self.law.dim],
            "dtype": "float32",
            "count": None,
        }

    def to(self, device: torch.device) -> LawStore:
        return LawStore(self.law, self.labelled, device)


class Order:
    """Which rows come when: row numbers, without replacement epoch by epoch.

    Args:
        train: numbers of the rows that batches deal, increasing.
        held: numbers of the rows held out.
    """

    def __init__(self, train: Tensor, held: Tensor) -> None:
        self.train, self.held = train, held
        self.size, self.held_size = len(train), len(held)
        self._orders: dict[tuple[int, int], Tensor] = {}
        self._kept = min(256, max(4, _CACHED // max(1, self.size)))

    def batch(self, n: int, seed: int, turn: int) -> Tensor:
        """The numbers of the training rows of one turn."""
        parts: list[Tensor] = []
        start, end = turn * n, (turn + 1) * n
        while start < end:
            epoch, offset = divmod(start, self.size)
            parts.append(self._epoch(seed, epoch)[offset : offset + end - start])
            start += len(parts[-1])
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def take(self, n: int, seed: int, held_out: bool) -> Tensor:
        """The numbers of rows for evaluation.

        Raises:
            DataError: no rows are held out.
        """
        pool, stream = (self.held, _HELD) if held_out else (self.train, _TAKE)
        if len(pool) == 0:
            raise DataError(
                "no rows are held out of this data set", f"{setting(held_out=0.1)}, with two rows at the least"
            )
        # beyond the pool's size its rows come again, each as often as any other (give or take one)
        rounds = range(math.ceil(n / len(pool)))
        orders = [torch.randperm(len(pool), generator=_generator(stream, seed, r)) for r in rounds]
        order = torch.cat(orders)[:n] if orders else torch.zeros(0, dtype=torch.int64)
        return pool[order.to(pool.device)]

    def _epoch(self, seed: int, epoch: int) -> Tensor:
        order = self._orders.get((seed, epoch))
        if order is None:
            shuffle = torch.randperm(self.size, generator=_generator(_BATCH, seed, epoch))
            order = self.train[sent(shuffle, self.train.device)]
            while len(self._orders) >= self._kept:
                del self._orders[next(iter(self._orders))]
            self._orders[seed, epoch] = order
        return order

    def to(self, device: torch.device) -> Order:
        """The same order, with its numbers on a device."""
        return Order(self.train.to(device), self.held.to(device))


class TableStore(Store):
    """The rows of a table: its columns are aligned, in batches and for evaluation alike.

    Args:
        table: the columns.
        order: which of its rows come when.
    """

    size: int
    held_size: int

    def __init__(self, table: Table, order: Order) -> None:
        self.table, self.order = table, order
        self.size, self.held_size = order.size, order.held_size

    def batch(self, n: int, seed: int, turn: int) -> dict[str, Tensor]:
        return self.table.at(self.order.batch(n, seed, turn))

    def take(self, n: int, seed: int, held_out: bool) -> dict[str, Tensor]:
        return self.table.at(self.order.take(n, seed, held_out))

    def whole(self) -> dict[str, Tensor]:
        return self.table.at(torch.arange(len(self.table), device=self.order.train.device))

    def fingerprint(self) -> dict[str, Any]:
        return self.table.fingerprint(self.held_size)

    def to(self, device: torch.device) -> TableStore:
        return TableStore(self.table.to(device), self.order.to(device))


def split(n: int, share: float) -> tuple[Tensor, Tensor]:
    """Indices of training and of held-out rows: a function of ``n`` and ``share`` alone.

    At least one row is held out when ``share`` > 0 and there are two rows.

    Examples:
        >>> [len(part) for part in split(1797, 0.1)]
        [1617, 180]
        >>> [len(part) for part in split(1, 0.1)]
        [1, 0]
    """
    held = 0 if share == 0.0 or n < 2 else min(n - 1, max(1, round(n * share)))
    order = torch.randperm(n, generator=_generator(_SPLIT, n))
    return order[held:].sort().values, order[:held].sort().values


def labelled_rows(y: Tensor, train: Tensor, count: int) -> Tensor:
    """The numbers of the ``count`` training rows that keep their label: a function of ``y`` and ``train`` alone.

    Rows are gone through in one fixed random order. Each class is given the next row in turn, as long as it has one, so
    classes differ by at most one label unless a class has too few rows. Fewer labels are a part of more.

    Args:
        y: ``(n,)`` classes; rows of -1 have no label to keep.
        train: numbers of the training rows.
        count: labels to keep, at most as many as the training rows have.

    Examples:
        >>> y = torch.tensor([0, 0, 0, 0, 1, 1])
        >>> y[labelled_rows(y, torch.arange(6), 4)].bincount().tolist()
        [2, 2]
    """
    shuffled = train[torch.randperm(len(train), generator=_generator(_LABELLED, len(train)))]
    shuffled = shuffled[y[shuffled] >= 0]
    own = y[shuffled]
    place = torch.zeros_like(own)  # of a row among those of its class
    for k in range(int(own.max()) + 1 if len(own) else 0):
        place[own == k] = torch.arange(int((own == k).sum()))
    order = torch.argsort(place, stable=True)
    return shuffled[order[:count]].sort().values


class PairStore(Store):
    """Two independent streams: rows of the second never belong to rows of the first.

    The first one's columns keep their names. Of the second, ``x`` becomes ``other``, a further column ``NAME`` becomes
    ``other_NAME``, and the labels are left out.

    Args:
        first: the rows of the stream ``""``.
        second: the rows of the stream ``"other"``.
    """

    def __init__(self, first: Store, second: Store) -> None:
        self.first, self.second = first, second
        self.size = _least(first.size, second.size)
        self.held_size = _least(first.held_size, second.held_size)

    def batch(self, n: int, seed: int, turn: int) -> dict[str, Tensor]:
        return self._joined(self.first.batch(n, seed, turn), self.second.batch(n, mix(_OTHER, seed), turn))

    def take(self, n: int, seed: int, held_out: bool) -> dict[str, Tensor]:
        return self._joined(self.first.take(n, seed, held_out), self.second.take(n, mix(_OTHER, seed), held_out))

    def whole(self) -> dict[str, Tensor]:
        return self._joined(self.first.whole(), self.second.whole())

    def _joined(self, first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**first, **{other_name(name): rows for name, rows in second.items() if name != "y"}}

    def fingerprint(self) -> dict[str, Any]:
        return {"kind": "pairs", "first": self.first.fingerprint(), "second": self.second.fingerprint()}

    def to(self, device: torch.device) -> PairStore:
        return PairStore(self.first.to(device), self.second.to(device))


class LabelledStore(Store):
    """Rows of which some have labels, and beside them an independent stream of labelled rows only.

    The second stream is as long as the first: its rows come again where it has fewer. They are the columns ``labelled``
    (of the kind of ``x``) and ``label``.

    Args:
        rows: all rows.
        labelled: the rows with labels; its held-out rows are those of ``rows``.
    """

    def __init__(self, rows: Store, labelled: Store) -> None:
        self.rows, self.labelled = rows, labelled
        self.size, self.held_size = rows.size, rows.held_size

    def batch(self, n: int, seed: int, turn: int) -> dict[str, Tensor]:
        return self._joined(self.rows.batch(n, seed, turn), self.labelled.batch(n, mix(_LABELLED, seed), turn))

    def take(self, n: int, seed: int, held_out: bool) -> dict[str, Tensor]:
        return self._joined(self.rows.take(n, seed, held_out), self.labelled.take(n, mix(_LABELLED, seed), held_out))

    def whole(self) -> dict[str, Tensor]:
        """Every row of the first stream, which the second repeats."""
        return self.rows.whole()

    def _joined(self, rows: dict[str, Tensor], labelled: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**rows, "labelled": labelled["x"], "label": labelled["y"]}

    def fingerprint(self) -> dict[str, Any]:
        return self.rows.fingerprint()  # it says which rows have labels

    def to(self, device: torch.device) -> LabelledStore:
        return LabelledStore(self.rows.to(device), self.labelled.to(device))


def other_name(name: str) -> str:
    """What a column of a second domain is called beside the first.

    Examples:
        >>> other_name("x"), other_name("text")
        ('other', 'other_text')
    """
    return "other" if name == "x" else f"other_{name}"


def _least(*counts: int | None) -> int | None:
    return min((count for count in counts if count is not None), default=None)


class StackStore(Store):
    """Three independent images of one channel as the channels of one; the class is the number the three classes spell.

    With ten digits these are the thousand modes of stacked digits (Metz et al. 2017, section 3.3.1).
    """

    def __init__(self, store: TableStore, classes: int) -> None:
        self.store, self.classes = store, classes
        self.size, self.held_size = store.size, store.held_size

    def batch(self, n: int, seed: int, turn: int) -> dict[str, Tensor]:
        return self._stacked([self.store.batch(n, mix(_OTHER, seed, c), turn) for c in range(3)])

    def take(self, n: int, seed: int, held_out: bool) -> dict[str, Tensor]:
        return self._stacked([self.store.take(n, mix(_OTHER, seed, c), held_out) for c in range(3)])

    def _stacked(self, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        rows = {"x": torch.cat([p["x"] for p in parts], dim=1)}
        if "y" in parts[0]:
            rows["y"] = (parts[0]["y"] * self.classes + parts[1]["y"]) * self.classes + parts[2]["y"]
        return rows

    def fingerprint(self) -> dict[str, Any]:
        return {"kind": "stacked", "of": self.store.fingerprint()}

    def to(self, device: torch.device) -> StackStore:
        return StackStore(self.store.to(device), self.classes)
