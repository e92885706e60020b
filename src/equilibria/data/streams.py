"""Rows that stay on the disk: read, and decoded, when a batch asks for them.

A streamed data set deals the rows of the one in memory, in the same order, bit for bit: what a batch holds is a
function of (seed, turn), and reading it early or on several threads changes no number.
"""

from __future__ import annotations

import hashlib
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..base.errors import DataError
from .checks import fitted
from .options import DataOptions
from .store import ArrayStore, Store, sent

__all__ = ["ArrayFile", "Files", "Stream", "StreamRows", "StreamStore", "streamed"]

SHARE = 0.25
"""With ``stream="auto"``, rows that take more than this share of the machine's memory stay on the disk."""

_PROBED = 1000  # rows whose bytes are in a fingerprint


def streamed(wanted: str, size: int) -> bool:
    """Whether rows of ``size`` bytes are to stay on the disk.

    Examples:
        >>> streamed("auto", 1000), streamed("true", 1000)
        (False, True)
    """
    if wanted != "auto":
        return wanted == "true"
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return False
    return size > SHARE * memory


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
    def told(self, index: int) -> bytes:
        """What identifies a row cheaply, and its stored bytes where the row is one of those probed."""

    @abstractmethod
    def known(self) -> bytes:
        """What identifies the whole without reading rows: names and sizes."""

    def digest(self) -> str:
        """SHA-256 over names and sizes of all that is stored, and over the stored bytes of 1000 rows, evenly spaced."""
        found = hashlib.sha256(self.known())
        for i in np.linspace(0, len(self) - 1, min(_PROBED, len(self))).astype(int):
            found.update(self.told(int(i)))
        return found.hexdigest()


class StreamRows(NamedTuple):
    """Examples on the disk, their classes ``y`` or None, and the names of the classes."""

    x: Stream
    y: Tensor | None = None
    class_names: tuple[str, ...] = ()


class ArrayFile(Stream):
    """The rows of a ``.npy`` of uint8: images ``(N, h, w)``, ``(N, c, h, w)`` or ``(N, h, w, c)``.

    Rows are read, not mapped: mapped pages stay in the process's memory until the system is short of it.

    Raises:
        DataError: not such a file.
    """

    def __init__(self, path: Path, options: DataOptions) -> None:
        self.path, self.options = path, options
        header = array_header(path)
        if header is None or not header.fits:
            raise DataError(
                f"{path} cannot be streamed: only uint8 images (n, h, w), (n, c, h, w), (n, h, w, c) in C order can",
                "save it so: np.save('data.npy', np.ascontiguousarray(x, dtype='uint8')), or set stream=false",
            )
        self.stored, self.start = header.shape[1:], header.start
        self.bytes = int(np.prod(self.stored))
        if path.stat().st_size < self.start + header.shape[0] * self.bytes:
            raise DataError(f"{path} is cut off", "save it again")
        self.file = os.open(path, os.O_RDONLY)
        self.shape = (header.shape[0], *self._rows([0]).shape[1:])

    def read(self, index: Sequence[int]) -> Tensor:
        return self._rows(index)

    def _rows(self, index: Sequence[int]) -> Tensor:
        raw = b"".join(self.told(i) for i in index)
        x = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(len(index), *self.stored)
        if x.dim() == 3:
            x = x[:, None]
        elif x.shape[1] not in (1, 3):
            x = x.permute(0, 3, 1, 2)
        return fitted(x, self.options).contiguous()

    def told(self, index: int) -> bytes:
        found = os.pread(self.file, self.bytes, self.start + index * self.bytes)
        if len(found) < self.bytes:
            raise DataError(f"{self.path} has become shorter while it was read", "restore it, then resume the run")
        return found

    def known(self) -> bytes:
        return repr((self.shape, self.stored)).encode()

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)


class Header(NamedTuple):
    """What the head of a ``.npy`` says, and where its rows start."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def fits(self) -> bool:
        """Whether its rows are images that can be read one by one."""
        images = len(self.shape) == 3 or (len(self.shape) == 4 and {self.shape[1], self.shape[3]} & {1, 3})
        return bool(images) and self.dtype == np.uint8 and not self.fortran and min(self.shape) > 0


def array_header(path: Path) -> Header | None:
    """The head of a ``.npy``; None where it is none that numpy can read."""
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            reads = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, fortran, dtype = reads[version](file)
        except Exception:  # the parser of a hostile head may raise anything; reading the file says what is wrong
            return None
        return Header(tuple(shape), fortran, dtype, file.tell())


class Files(Stream):
    """Image files, decoded on a few threads when they are asked for.

    Args:
        paths: in order.
        shape: ``(N, c, h, w)`` after fitting.
        decode: fills a row from a path; returns what went wrong, or None.
        root: names in the fingerprint are relative to it.
    """

    def __init__(self, paths: Sequence[Path], shape: tuple[int, ...], decode: Any, root: Path) -> None:
        self.paths, self.shape, self.decode, self.root = list(paths), shape, decode, root
        self.workers = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="decode")

    def read(self, index: Sequence[int]) -> Tensor:
        x = np.empty((len(index), *self.shape[1:]), dtype=np.uint8)
        faults = list(self.workers.map(lambda at: self.decode(x[at[0]], self.paths[at[1]]), enumerate(index)))
        for i, fault in zip(index, faults, strict=True):
            if fault is not None:
                raise DataError(
                    f"the image {self.paths[i]} cannot be decoded ({fault})",
                    "replace or remove it; with stream=false and corrupt='skip' such images are left out",
                )
        return torch.from_numpy(x)

    def told(self, index: int) -> bytes:
        return self.paths[index].read_bytes()

    def known(self) -> bytes:
        base = self.root if self.root.is_dir() else self.root.parent
        return repr([(str(p.relative_to(base)), p.stat().st_size) for p in self.paths]).encode()


class StreamStore(Store):
    """Rows of a stream, dealt as :class:`ArrayStore` deals those in memory; the next turn's are read ahead.

    Args:
        stream: the rows.
        y: ``(N,)`` int64 classes, or None.
        train: indices of the rows that batches deal, increasing.
        held: indices of the rows held out.
        device: where batches go.
    """

    size: int
    held_size: int

    def __init__(
        self, stream: Stream, y: Tensor | None, train: Tensor, held: Tensor, device: torch.device | None = None
    ) -> None:
        self.stream, self.y = stream, y
        self.device = device if device is not None else torch.device("cpu")
        # An array of row numbers is dealt in the place of the rows: one order for both.
        self.numbers = ArrayStore(torch.arange(len(stream)), y, train, held)
        self.size, self.held_size = self.numbers.size, self.numbers.held_size
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._ahead: dict[tuple[int, int, int], Future[dict[str, Tensor]]] = {}

    def batch(self, n: int, seed: int, turn: int) -> dict[str, Tensor]:
        ready = self._ahead.pop((n, seed, turn), None)
        rows = ready.result() if ready is not None else self._batch(n, seed, turn)
        self._ahead = {(n, seed, turn + 1): self._reader.submit(partial(self._batch, n, seed, turn + 1))}
        return {name: sent(tensor, self.device) for name, tensor in rows.items()}

    def _batch(self, n: int, seed: int, turn: int) -> dict[str, Tensor]:
        return self._read(self.numbers.batch(n, seed, turn))

    def take(self, n: int, seed: int, held_out: bool) -> dict[str, Tensor]:
        rows = self._read(self.numbers.take(n, seed, held_out))
        return {name: sent(tensor, self.device) for name, tensor in rows.items()}

    def _read(self, dealt: dict[str, Tensor]) -> dict[str, Tensor]:
        x = self.stream.read(dealt["x"].tolist()).to(torch.float32).div_(127.5).sub_(1.0)
        return {**dealt, "x": x}

    def fingerprint(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "kind": "stream",
            "sha256": self.stream.digest(),
            "shape": list(self.stream.shape[1:]),
            "dtype": "uint8",
            "count": len(self.stream),
            "held_out": self.held_size,
        }
        if self.y is not None:
            told["labels"] = torch.bincount(self.y).tolist()
        return told

    def to(self, device: torch.device) -> StreamStore:
        return StreamStore(self.stream, self.y, self.numbers._train, self.numbers._held, device)
