"""Errors that a user can act on: one line that says what is wrong, where, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EquilibriaError(Exception):
    """A mistake in what the library was given; its text is the whole message a user needs.

    Args:
        what: what is wrong, naming the value and where it was found.
        fix: what to do about it.

    Attributes:
        files: Python files of the user's that have to be named (``--with FILE.py``) for the same call to work.

    Examples:
        >>> str(EquilibriaError("batch 64 exceeds the 10 examples given", "use --set batch=10"))
        'batch 64 exceeds the 10 examples given. Fix: use --set batch=10'
    """

    files: tuple[str, ...] = ()

    def __init__(self, what: str, fix: str = "") -> None:
        self.what, self.fix = what.rstrip("."), fix.rstrip(".")
        super().__init__(f"{self.what}. Fix: {self.fix}" if fix else self.what)


class DataError(EquilibriaError):
    """The data cannot be used as given."""


class ConfigError(EquilibriaError):
    """A name, a setting or a combination of settings is not valid."""


class RunError(EquilibriaError):
    """A run folder cannot be created, opened or continued."""


class ShapeError(EquilibriaError):
    """A network's input or output does not fit the game it plays in."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The clause that suggests the nearest known names, or lists a few when none is near.

    Examples:
        >>> did_you_mean("wgan-pg", ["wgan", "wgan-gp", "lsgan"])
        "did you mean 'wgan-gp'?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"known: {shown}"
