"""Errors that a user can act on: one line that says what is wrong, where, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .visible import visible

_LONGEST = 1500


def _short(what: str) -> str:
    """A long text with its middle left out: a value of a thousand digits is named by its ends."""
    half = _LONGEST // 2
    return what if len(what) <= _LONGEST else f"{what[:half]} … {what[-half:]}"


class EquilibriaError(Exception):
    """A mistake in what the library was given; its text is the whole message a user needs.

    Args:
        what: what is wrong, naming the value and where it was found.
        fix: what to do about it; it works when pasted.
        settings: the fix as settings, values by name. Without ``fix`` they are its words (``batch=10``). Whoever knows
            where these settings belong turns them into options (:func:`equilibria.base.settings.placed`).

    Attributes:
        files: Python files of the user's that have to be named (``--with FILE.py``) for the same call to work.

    Examples:
        >>> str(EquilibriaError("batch 64 exceeds the 10 examples given", "--set batch=10"))
        'batch 64 exceeds the 10 examples given. Fix: --set batch=10'
        >>> str(EquilibriaError("batch 64 exceeds the 10 examples given", settings={"batch": 10}))
        'batch 64 exceeds the 10 examples given. Fix: batch=10'
    """

    files: tuple[str, ...] = ()

    def __init__(self, what: str, fix: str = "", settings: Mapping[str, object] | None = None) -> None:
        self.settings = dict(settings or {})
        words = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        self.what, self.fix = visible(_short(what.rstrip("."))), visible((fix or words).rstrip("."))
        super().__init__(f"{self.what}. Fix: {self.fix}" if self.fix else self.what)


class DataError(EquilibriaError):
    """The data cannot be used as given."""


class Unread(NamedTuple):
    """Why a text stands for no record.

    Attributes:
        piece: the part of the text that cannot be read.
        instead: what can stand in its place; empty where nothing is near.
        known: the names that may stand there.
    """

    piece: str
    instead: str
    known: tuple[str, ...]


class ConfigError(EquilibriaError):
    """A name, a setting or a combination of settings is not valid.

    Attributes:
        unread: where a text stands for no record, which piece of it.
    """

    unread: Unread | None = None


class RunError(EquilibriaError):
    """A run folder cannot be created, opened or continued."""


class ShapeError(EquilibriaError):
    """A network's input or output does not fit the game it plays in."""


def did_you_mean(word: str, known: Iterable[str], aliases: Iterable[str] = ()) -> str:
    """The clause that suggests the nearest known name; where none is near, or there are few, it lists them.

    Args:
        word: what was given.
        known: the names, as they are listed.
        aliases: further names that are suggested but not listed.

    Examples:
        >>> did_you_mean("wgan-pg", ["wgan", "wgan-gp", "lsgan"])
        "did you mean 'wgan-gp'?"
        >>> did_you_mean("x", ["wgan", "wgan-gp", "lsgan"])
        'known: lsgan, wgan, wgan-gp'
    """
    names = sorted(known)
    near = nearest(word, [*names, *aliases])
    if near is not None:
        return f"did you mean '{near}'?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"known: {shown}"


def not_known(field: str, value: object, known: Iterable[str]) -> ConfigError:
    """The error for a field whose value is none of the words that it may be; the fix is the nearest of them.

    Examples:
        >>> str(not_known("crop", "centre", ["center", "none"]))
        "crop='centre' is not known (known: center, none). Fix: crop='center'"
    """
    names = list(known)
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    near = nearest(str(value), names) or names[0]
    return ConfigError(f"{field}={value!r} is not known (known: {listed})", settings={field: near})


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that is nearest in spelling, None where none is near.

    Examples:
        >>> nearest("hige", ["hinge", "minimax"])
        'hinge'
    """
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)
