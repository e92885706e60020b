"""Arguments of the functions that users call: whole numbers, paths, records, or one line that says what is wrong."""

from __future__ import annotations

import operator
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeVar

from .errors import ConfigError

T = TypeVar("T")
MOST_SEED = 2**63 - 1


def whole(name: str, value: Any, least: int | None = 0, most: int | None = None) -> int:
    """A whole number, as Python's or NumPy's; ``least`` is None where the caller has a bound of its own.

    Raises:
        ConfigError: it is none, or out of range.

    Examples:
        >>> whole("n", 3)
        3
        >>> whole("n", "3")
        Traceback (most recent call last):
        equilibria.base.errors.ConfigError: n='3' is a str, and a whole number of at least 0 is needed. Fix: n=3
    """
    needed = "a whole number" + ("" if least is None else f" of at least {least:,}")
    needed += "" if most is None else f" and at most {most:,}"
    try:
        if isinstance(value, bool):
            raise TypeError
        found = operator.index(value)
    except TypeError as error:
        what = f"{name}={_short(value)} is a {type(value).__name__}, and {needed} is needed"
        raise ConfigError(what, settings={name: _near(value, least)}) from error
    if (least is not None and found < least) or (most is not None and found > most):
        raise ConfigError(f"{name}={found}: {needed} is needed", settings={name: least})
    return found


def seed_of(value: Any) -> int:
    """A seed: a whole number from 0 on.

    Raises:
        ConfigError: it is none.
    """
    return whole("seed", value, 0, MOST_SEED)


def place(name: str, value: Any) -> Path:
    """A path.

    Raises:
        ConfigError: it is neither a text nor a path.

    Examples:
        >>> place("path", "runs/a").name
        'a'
    """
    if isinstance(value, (str, PathLike)) and isinstance(fspath(value), str):
        return Path(value)
    what = f"{name}={_short(value)} is a {type(value).__name__}, and a path is needed"
    raise ConfigError(what, f"{name}='runs/NAME'")


def instance(name: str, value: Any, kind: type[T], example: str) -> T:
    """A value of a class.

    Raises:
        ConfigError: it is none; the fix is ``example``.
    """
    if isinstance(value, kind):
        return value
    given = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
    raise ConfigError(f"{name} is {given}, and a {kind.__name__} is needed", example)


def _near(value: Any, least: int | None) -> int:
    try:
        return max(least or 0, int(value))
    except (TypeError, ValueError, OverflowError):
        return least or 1


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
