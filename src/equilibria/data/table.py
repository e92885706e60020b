"""Named columns of equal length, as they are stored: in memory, or on the disk."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .encoding import Encoding
from .options import Column, DataSpec

__all__ = ["Stream", "Table", "Values", "rows_at", "scaled"]

_PROBED = 1000  # rows whose bytes are in a fingerprint


class Stream(ABC):
    """Images on the disk, ``shape`` ``(N, c, h, w)`` of uint8, as they are after decoding and fitting."""

    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    def dim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @abstractmethod
    def read(self, index: Sequence[int]) -> Tensor:
        """These rows.

        Raises:
            DataError: one cannot be read or decoded.
        """

    @abstractmethod
    def check(self, index: Sequence[int]) -> None:
        """Make sure that these rows can be read.

        Raises:
            DataError: one cannot be.
        """

    @abstractmethod
    def row_bytes(self, index: int) -> bytes:
        """The bytes of a row as they are stored, for the fingerprint."""

    @abstractmethod
    def layout(self) -> bytes:
        """Names and sizes of all that is stored, for the fingerprint."""

    def digest(self) -> str:
        """SHA-256 over names and sizes of all that is stored, and over the stored bytes of 1000 rows, evenly spaced."""
        found = hashlib.sha256(self.layout())
        for i in np.linspace(0, len(self) - 1, min(_PROBED, len(self))).astype(int):
            found.update(self.row_bytes(int(i)))
        return found.hexdigest()


Values = Tensor | Stream
"""One column: a tensor in memory, or rows on the disk."""


def rows_at(values: Values, index: Tensor) -> Tensor:
    """The rows of a column at ``index``, as they are stored."""
    return values.read(index.tolist()) if isinstance(values, Stream) else values.index_select(0, index)


def scaled(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rows as networks want them: uint8 becomes float32, ``x / 127.5 - 1``; all else stays as it is stored.

    Examples:
        >>> scaled({"x": torch.tensor([0, 255], dtype=torch.uint8), "y": torch.tensor([-1])})
        {'x': tensor([-1.,  1.]), 'y': tensor([-1])}
    """
    return {name: _scaled(tensor) if tensor.dtype == torch.uint8 else tensor for name, tensor in rows.items()}


def _scaled(x: Tensor) -> Tensor:
    # The divisor is a tensor: a GPU multiplies by the reciprocal of a plain number, which may differ in the last bit.
    return x.to(torch.float32).div_(torch.full((), 127.5, device=x.device)).sub_(1.0)


@dataclass(frozen=True)
class Table:
    """The rows of one stream: row i of every column belongs together.

    Attributes:
        values: the columns by name. ``x`` are the examples, uint8 or float32 ``(n, d)`` or ``(n, c, h, w)``; ``y``, if
            there, their classes ``(n,)`` int64, -1 where a row has no label; others are described in ``columns``.
        columns: what the others are.
        class_names: of the classes of ``y``.
        row_names: what the rows are called (paths in a folder, without their suffix); empty where they have no names.
        notes: how the rows were understood, for people: what was not read, how values were scaled.
        encoding: what the numbers of ``x`` stand for, where the rows are of a table of columns; None otherwise.
    """

    values: Mapping[str, Values]
    columns: tuple[Column, ...] = ()
    class_names: tuple[str, ...] = ()
    row_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    encoding: Encoding | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def x(self) -> Values:
        """The examples."""
        return self.values["x"]

    @property
    def y(self) -> Tensor | None:
        """Their classes, or None."""
        y = self.values.get("y")
        assert y is None or isinstance(y, Tensor)
        return y

    @property
    def on_disk(self) -> bool:
        """Whether a column stays on the disk."""
        return any(isinstance(values, Stream) for values in self.values.values())

    def with_column(self, name: str, values: Values, about: Column | None = None) -> Table:
        """The table with a column added or replaced; ``about`` describes one that is neither ``x`` nor ``y``."""
        kept = tuple(column for column in self.columns if column.name != name)
        columns = kept if about is None else (*kept, about)
        return replace(self, values={**self.values, name: values}, columns=columns)

    def with_labels(self, y: Tensor, class_names: tuple[str, ...]) -> Table:
        """The table with other labels."""
        return replace(self.with_column("y", y), class_names=class_names)

    def at(self, index: Tensor) -> dict[str, Tensor]:
        """The rows at ``index``, as they are stored."""
        return {name: rows_at(values, index) for name, values in self.values.items()}

    def select(self, index: Tensor) -> Table:
        """The table of the rows at ``index``, in memory."""
        names = tuple(self.row_names[i] for i in index.tolist()) if self.row_names else ()
        return replace(self, values=self.at(index), row_names=names)

    def to(self, device: torch.device) -> Table:
        """The table on a device; what is on the disk stays there."""
        return replace(self, values={n: v if isinstance(v, Stream) else v.to(device) for n, v in self.values.items()})

    def spec(self) -> DataSpec:
        """What a network needs to know of the rows."""
        shape = tuple(self.x.shape[1:])
        return DataSpec(
            kind="image" if len(shape) == 3 else "vector",
            shape=shape,
            classes=len(self.class_names),
            columns=self.columns,
            unlabelled=self.y is not None and bool((self.y < 0).any()),
            encoding=self.encoding,
            class_shares=() if self.y is None else _shares(self.y, len(self.class_names)),
        )

    def fingerprint(self, held_out: int) -> dict[str, Any]:
        """What the rows are, in plain form; ``held_out`` of them are held out."""
        y, x = self.y, self.x
        found: dict[str, Any] = {"kind": "stream" if isinstance(x, Stream) else "array", "sha256": ""}
        found |= {"shape": list(x.shape[1:]), "dtype": _dtype(x), "count": len(x), "held_out": held_out}
        if isinstance(x, Tensor):
            found["range"] = [float(x.min()), float(x.max())]
            found["sha256"] = _digest(x, *([] if y is None else [y]))
        else:
            found["sha256"] = x.digest()
        if y is not None:
            known = y[y >= 0]
            found["labels"] = torch.bincount(known, minlength=len(self.class_names)).tolist()
            if len(known) < len(y):
                found["unlabelled"] = len(y) - len(known)
        others = {name: values for name, values in self.values.items() if name not in ("x", "y")}
        if others:
            found["columns"] = {name: _column_fingerprint(values) for name, values in others.items()}
        return found


def _shares(y: Tensor, classes: int) -> tuple[float, ...]:
    """The share of each class among the rows that have a label."""
    counts = torch.bincount(y[y >= 0], minlength=classes).double()
    return tuple((counts / counts.sum()).tolist()) if counts.sum() else ()


def _column_fingerprint(values: Values) -> dict[str, Any]:
    digest = values.digest() if isinstance(values, Stream) else _digest(values)
    return {"sha256": digest, "shape": list(values.shape[1:]), "dtype": _dtype(values)}


def _dtype(values: Values) -> str:
    return "uint8" if isinstance(values, Stream) else str(values.dtype).removeprefix("torch.")


def _digest(*tensors: Tensor) -> str:
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.cpu().contiguous().numpy().data)
    return found.hexdigest()
