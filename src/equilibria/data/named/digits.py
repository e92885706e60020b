"""Digits of 8 x 8 pixels, which scikit-learn carries."""

from __future__ import annotations

import numpy as np

from ..files import Arrays
from ..options import DataOptions
from .base import Named

__all__ = ["SETS"]


def _read(options: DataOptions) -> Arrays:
    from sklearn.datasets import load_digits

    found = load_digits()
    return Arrays(np.rint(found.images * (255.0 / 16.0)).astype(np.uint8), found.target)


SETS = (
    Named(
        name="digits",
        about="1,797 handwritten digits, 8 x 8, gray, 10 classes",
        licence="CC BY 4.0 (UCI, Optical Recognition of Handwritten Digits)",
        read=_read,
    ),
)
