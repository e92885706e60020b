"""Samples as files: a picture, or an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from .data import Dataset
from .errors import ConfigError
from .figures import image_grid, scatter, write_png
from .training import checkpoint


def write(samples: Tensor, data: Dataset, path: Path) -> None:
    """Write samples as ``.png`` (a grid of images, or a scatter plot over real data), ``.npy`` or ``.npz`` (key ``x``).

    Raises:
        ConfigError: another suffix.
        RunError: the file cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in {".png", ".npy", ".npz"}:
        raise ConfigError(f"samples cannot be written as '{path.name}'", "end the name in .png, .npy or .npz")
    try:
        if kind == ".npy":
            np.save(path, samples.numpy())
        elif kind == ".npz":
            np.savez_compressed(path, x=samples.numpy())
        elif data.spec.kind == "image":
            write_png(image_grid(samples.flatten(0, -4)), path)
        else:
            write_png(scatter(samples.flatten(0, -2), data.take(len(samples))["x"].cpu()), path)
    except OSError as error:
        raise checkpoint.disk_error(error, path) from error
