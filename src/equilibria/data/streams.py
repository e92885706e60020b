"""Rows that stay on the disk: read, and decoded, when a batch asks for them.

A streamed data set deals the rows of the one in memory, in the same order, bit for bit: what a batch holds is a
function of (seed, turn), and reading it early or on several threads changes no number.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..base.errors import DataError
from ..base.memory import machine_memory
from .archives import read_bytes, size_of
from .arrays import PART, doubt_pixels, doubt_shape
from .checks import fitted
from .options import DataOptions, setting
from .store import Store, TableStore, sent
from .table import Stream

__all__ = ["ArrayFile", "Files", "StreamStore", "streamed"]

_PIECE = 64  # images that are decoded at once when they are only checked
_BYTES = 1 << 24  # of an array that are looked at at once
SHARE = 0.25
"""With ``stream="auto"``, rows that take more than this share of the machine's memory stay on the disk."""


def streamed(wanted: str, size: int) -> bool:
    """Whether rows of ``size`` bytes are to stay on the disk.

    Examples:
        >>> streamed("auto", 1000), streamed("true", 1000)
        (False, True)
    """
    if wanted != "auto":
        return wanted == "true"
    known = machine_memory()
    return known is not None and size > SHARE * known


class ArrayFile(Stream):
    """The rows of a ``.npy`` of uint8: images ``(N, h, w)``, ``(N, c, h, w)`` or ``(N, h, w, c)``.

    With ``parts`` pictures side by side in an image, each is fitted to the options by itself. Rows are read, not
    mapped: mapped pages stay in the process's memory until the system is short of it.

    Raises:
        DataError: not such a file.
    """

    def __init__(self, path: Path, options: DataOptions, parts: int = 1) -> None:
        self.path, self.options, self.parts = path, options, parts
        header = array_header(path)
        if header is None or not header.fits:
            raise DataError(
                f"{path} cannot be streamed: only uint8 images (n, h, w), (n, c, h, w), (n, h, w, c) in C order can",
                "save it so: np.save('data.npy', np.ascontiguousarray(x, dtype='uint8')); to read it whole, "
                f"{setting(stream='false')}",
            )
        self.stored, self.start = header.shape[1:], header.start
        self.bytes = int(np.prod(self.stored))
        if path.stat().st_size < self.start + header.shape[0] * self.bytes:
            raise DataError(f"{path} is cut off", "save it again")
        doubt_shape(header.shape, str(path), options)
        self.file = os.open(path, os.O_RDONLY)
        self._doubt_pixels(header.size)
        self.shape = (header.shape[0], *self._rows([0]).shape[1:])

    def _doubt_pixels(self, size: int) -> None:
        """Warn of dark pixels; as much is read as it takes to find a bright one."""
        low, high = 255, 0
        for start in range(0, size, _BYTES):
            found = np.frombuffer(os.pread(self.file, min(_BYTES, size - start), self.start + start), np.uint8)
            low, high = min(low, int(found.min())), max(high, int(found.max()))
            if high >= PART:
                return
        doubt_pixels(low, high, str(self.path))

    def read(self, index: Sequence[int]) -> Tensor:
        return self._rows(index)

    def check(self, index: Sequence[int]) -> None:
        """Nothing: the length of the file was checked when it was opened."""

    def _rows(self, index: Sequence[int]) -> Tensor:
        raw = b"".join(self.row_bytes(i) for i in index)
        x = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(len(index), *self.stored)
        if x.dim() == 3:
            x = x[:, None]
        elif x.shape[1] not in (1, 3):
            x = x.permute(0, 3, 1, 2)
        return fitted(x, self.options, self.parts).contiguous()

    def row_bytes(self, index: int) -> bytes:
        found = os.pread(self.file, self.bytes, self.start + index * self.bytes)
        if len(found) < self.bytes:
            raise DataError(f"{self.path} has become shorter while it was read", "restore it, then resume the run")
        return found

    def layout(self) -> bytes:
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
        images = (len(self.shape) == 3 and self.shape[2] != 3) or (
            len(self.shape) == 4 and {self.shape[1], self.shape[3]} & {1, 3}
        )
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

    Attributes:
        checked: whether all images are known to be whole.
    """

    checked = False

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
                    f"replace or remove it; to leave such images out, {setting(corrupt='skip')}",
                )
        return torch.from_numpy(x)

    def check(self, index: Sequence[int]) -> None:
        for start in range(0, 0 if self.checked else len(index), _PIECE):
            self.read(index[start : start + _PIECE])

    def row_bytes(self, index: int) -> bytes:
        return read_bytes(self.paths[index])

    def layout(self) -> bytes:
        return repr([(str(p.relative_to(self.root)), size_of(p)) for p in self.paths]).encode()


class StreamStore(Store):
    """A table with columns on the disk; the rows of the next turn are read ahead.

    Args:
        store: the rows, with what is in memory on the CPU.
        device: where batches go.
    """

    size: int
    held_size: int

    def __init__(self, store: TableStore, device: torch.device | None = None) -> None:
        self.store = store
        self.device = device if device is not None else torch.device("cpu")
        self.size, self.held_size = store.size, store.held_size
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._ahead: dict[tuple[int, int, int], Future[dict[str, Tensor]]] = {}

    def batch(self, n: int, seed: int, turn: int) -> dict[str, Tensor]:
        ready = self._ahead.pop((n, seed, turn), None)
        rows = ready.result() if ready is not None else self.store.batch(n, seed, turn)
        self._ahead = {(n, seed, turn + 1): self._reader.submit(partial(self.store.batch, n, seed, turn + 1))}
        return {name: sent(tensor, self.device) for name, tensor in rows.items()}

    def take(self, n: int, seed: int, held_out: bool) -> dict[str, Tensor]:
        rows = self.store.take(n, seed, held_out)
        return {name: sent(tensor, self.device) for name, tensor in rows.items()}

    def whole(self) -> dict[str, Tensor]:
        return {name: sent(tensor, self.device) for name, tensor in self.store.whole().items()}

    def fingerprint(self) -> dict[str, Any]:
        return self.store.fingerprint()

    def to(self, device: torch.device) -> StreamStore:
        return StreamStore(self.store, device)
