"""The parts of a reproduction: a claim of a paper, the measurements, and whether the claim holds in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Claim:
    """The header of a reproduction: the claim, its place in the paper, and the criterion of agreement.

    Attributes:
        paper: key in ``references.bib``.
        figure: the figure, table or theorem in the paper.
        statement: the claim, in words.
        printed: the paper's own number or shape; it says so if the paper prints none.
        tolerance: the criterion of agreement, in words.
        budget: seconds on two cores, quick and full, as last measured.
        derived: numbers and shapes that are not in the paper and follow from the mathematics of this library
            (closed forms, other methods); empty if there are none.
        items: the theorems and errata of docs/theory that it shows ("T19", "E41").
    """

    paper: str
    figure: str
    statement: str
    printed: str
    tolerance: str
    budget: tuple[float, float]
    derived: str = ""
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """One measured number and its rule.

    Attributes:
        name: the measured quantity.
        measured: the number.
        rule: the condition on the number, with the value that it is compared to.
        holds: whether the condition holds; False if the number is not finite.
    """

    name: str
    measured: float
    rule: str
    holds: bool


@dataclass(frozen=True)
class Outcome:
    """The result of a reproduction.

    Attributes:
        figure: one message, drawn with :mod:`equilibria.figures.panels`.
        checks: the measurements that decide the verdict.
        numbers: further numbers, plain JSON.
    """

    figure: Figure
    checks: tuple[Check, ...]
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every check holds; a claim without a check does not."""
        return bool(self.checks) and all(check.holds for check in self.checks)


Run = Callable[[bool], Outcome]
"""``run(quick)``: quick uses fewer seeds and rounds, and the same rules."""


def close(name: str, measured: float, expected: float, tolerance: float) -> Check:
    """The measured number is within ``tolerance`` of the expected one.

    Examples:
        >>> close("log 2", 0.6931, 0.693147, 1e-3).holds, close("log 2", float("nan"), 0.693147, 1e-3).holds
        (True, False)
    """
    return _check(name, measured, f"= {expected:.6g} ± {tolerance:.2g}", abs(measured - expected) <= tolerance)


def at_most(name: str, measured: float, bound: float) -> Check:
    """The measured number does not exceed the bound."""
    return _check(name, measured, f"<= {bound:.6g}", measured <= bound)


def at_least(name: str, measured: float, bound: float) -> Check:
    """The measured number is not below the bound."""
    return _check(name, measured, f">= {bound:.6g}", measured >= bound)


def _check(name: str, measured: float, rule: str, holds: bool) -> Check:
    return Check(name, float(measured), rule, bool(holds) and math.isfinite(measured))
