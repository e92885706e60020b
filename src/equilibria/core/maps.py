"""What a trained game offers besides plain samples: functions of rows (maps), and codes that a user may fix."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Choice", "Map"]


@dataclass(frozen=True)
class Map:
    """A trained function of a game: encode, reconstruct, translate, classify, invert, refine.

    ``method`` names a method of the game, ``method(rows) -> tensor``, that is called with the averaged parameters and
    calibrated norms in place, from a seed of its own. ``rows`` holds the columns of ``takes`` by name, as a batch does.

    Attributes:
        method: the game's method.
        takes: the columns that it reads; ``"x"`` are the rows of the data.
        gives: what it returns: the name of the column whose kind and range the result has (``"x"``, ``"other"``),
            ``"codes"`` for latent codes, or ``"label"`` for class numbers.
        about: one line for ``equilibria apply RUN``.
        norms: the function for which the statistics of batch norms are measured before the call: this map itself
            (empty), ``"sample"``, or another map. A map that searches (``invert``) names the function it searches with.
    """

    method: str
    takes: tuple[str, ...] = ("x",)
    gives: str = "x"
    about: str = ""
    norms: str = ""


@dataclass(frozen=True)
class Choice:
    """A part of the codes that a user may fix when sampling (``equilibria sample RUN --set code.c1=3``).

    Attributes:
        classes: the number of values of a categorical code; 0 for a continuous one.
        low: the least value of a continuous code.
        high: the greatest.
        about: what it was found or meant to control.
    """

    classes: int = 0
    low: float = -1.0
    high: float = 1.0
    about: str = ""
