"""Where rows come from: a law, an array, two domains side by side, or stacked channels.

A store is a pure function of (n, seed, turn). What it caches (permutations) follows from those numbers alone.
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

__all__ = ["ArrayStore", "LawStore", "PairStore", "StackStore", "Store"]

# one stream of random numbers per purpose: a batch never shares its numbers with an evaluation
_BATCH, _TAKE, _HELD, _SPLIT, _OTHER = range(5)
_CACHED = 1 << 23  # indices kept in cached permutations: 64 MB


def _generator(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(mix(*numbers))


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device. A GPU fetches it while the program goes on."""
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
        told = f"{type(self.law).__name__} {parameters!r}"
        return {
            "kind": "law",
            "law": self.law.name,
            "sha256": hashlib.sha256(told.encode()).hexdigest(),
            "shape": [self.law.dim],
            "dtype": "float32",
            "count": None,
        }

    def to(self, device: torch.device) -> LawStore:
        return LawStore(self.law, self.labelled, device)


class ArrayStore(Store):
    """Rows in memory, dealt without replacement epoch by epoch.

    Args:
        x: ``(N, *shape)``: uint8, dealt as ``x / 127.5 - 1``, or float32, dealt as it is.
        y: ``(N,)`` int64 classes, or None.
        train: indices of the rows that batches deal, increasing.
        held: indices of the rows held out.
    """

    size: int
    held_size: int

    def __init__(self, x: Tensor, y: Tensor | None, train: Tensor, held: Tensor) -> None:
        self.x, self.y, self._train, self._held = x, y, train, held
        self.size, self.held_size = len(train), len(held)
        self._orders: dict[tuple[int, int], Tensor] = {}
        self._kept = min(256, max(4, _CACHED // max(1, self.size)))

    def batch(self, n: int, seed: int, turn: int) -> dict[str, Tensor]:
        epoch, offset = divmod(turn * n, self.size)
        order = self._order(seed, epoch)
        index = order[offset : offset + n]
        if offset + n > self.size:
            index = torch.cat([index, self._order(seed, epoch + 1)[: offset + n - self.size]])
        return self.rows(index)

    def take(self, n: int, seed: int, held_out: bool) -> dict[str, Tensor]:
        pool, stream = (self._held, _HELD) if held_out else (self._train, _TAKE)
        if len(pool) == 0:
            raise DataError("no rows are held out of this data set", "set held_out above 0, or give more rows")
        # beyond the pool's size its rows come again, each as often as any other (give or take one)
        rounds = range(math.ceil(n / len(pool)))
        orders = [torch.randperm(len(pool), generator=_generator(stream, seed, r)) for r in rounds]
        order = torch.cat(orders)[:n] if orders else torch.zeros(0, dtype=torch.int64)
        return self.rows(pool[order.to(pool.device)])

    def rows(self, index: Tensor) -> dict[str, Tensor]:
        """The rows at ``index``, as networks want them."""
        x = self.x.index_select(0, index)
        if x.dtype == torch.uint8:
            x = x.to(torch.float32).div_(127.5).sub_(1.0)
        return {"x": x} if self.y is None else {"x": x, "y": self.y.index_select(0, index)}

    def _order(self, seed: int, epoch: int) -> Tensor:
        order = self._orders.get((seed, epoch))
        if order is None:
            shuffle = torch.randperm(self.size, generator=_generator(_BATCH, seed, epoch))
            order = self._train[sent(shuffle, self._train.device)]
            while len(self._orders) >= self._kept:
                del self._orders[next(iter(self._orders))]
            self._orders[seed, epoch] = order
        return order

    def fingerprint(self) -> dict[str, Any]:
        x = self.x.cpu().contiguous()
        digest = hashlib.sha256(x.numpy().data)
        told: dict[str, Any] = {
            "kind": "array",
            "sha256": "",
            "shape": list(x.shape[1:]),
            "dtype": str(x.dtype).removeprefix("torch."),
            "count": len(x),
            "held_out": self.held_size,
            "range": [float(x.min()), float(x.max())],
        }
        if self.y is not None:
            y = self.y.cpu().contiguous()
            digest.update(y.numpy().data)
            told["labels"] = torch.bincount(y).tolist()
        told["sha256"] = digest.hexdigest()
        return told

    def to(self, device: torch.device) -> ArrayStore:
        y = None if self.y is None else self.y.to(device)
        return ArrayStore(self.x.to(device), y, self._train.to(device), self._held.to(device))


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


class PairStore(Store):
    """Two domains: batches draw them independently, ``take`` in the same order (matching rows where they match)."""

    def __init__(self, first: ArrayStore, second: ArrayStore) -> None:
        self.first, self.second = first, second
        self.size = min(first.size, second.size)
        self.held_size = min(first.held_size, second.held_size)

    def batch(self, n: int, seed: int, turn: int) -> dict[str, Tensor]:
        other = self.second.batch(n, mix(_OTHER, seed), turn)
        return {**self.first.batch(n, seed, turn), "other": other["x"]}

    def take(self, n: int, seed: int, held_out: bool) -> dict[str, Tensor]:
        other = self.second.take(n, seed, held_out)
        return {**self.first.take(n, seed, held_out), "other": other["x"]}

    def fingerprint(self) -> dict[str, Any]:
        return {"kind": "pairs", "first": self.first.fingerprint(), "second": self.second.fingerprint()}

    def to(self, device: torch.device) -> PairStore:
        return PairStore(self.first.to(device), self.second.to(device))


class StackStore(Store):
    """Three independent images of one channel as the channels of one; the class is the number the three classes spell.

    With ten digits these are the thousand modes of stacked digits (Metz et al. 2017, section 3.3.1).
    """

    def __init__(self, store: ArrayStore, classes: int) -> None:
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
