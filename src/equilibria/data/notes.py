"""What is said of data besides errors: doubtful readings, as warnings at the caller's line."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

__all__ = ["warn"]

_PACKAGE = str(Path(__file__).resolve().parents[1])


def warn(text: str) -> None:
    """Warn at the line outside this package that asked for the data, however deep the call is.

    Examples:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as found:
        ...     warnings.simplefilter("always")
        ...     warn("two readings")
        >>> str(found[0].message)
        'two readings'
    """
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)
