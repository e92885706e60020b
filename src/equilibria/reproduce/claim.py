"""What a reproduction says: a claim of a paper, what was measured, and whether the claim holds in the measurement."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Claim:
    """The header of a reproduction: what is claimed, where, and what would refute it.

    Attributes:
        paper: key in ``references.bib``.
        figure: the figure, table or theorem in the paper.
        statement: the claim, in words.
        expected: the paper's number or shape; "none printed" where the paper prints none.
        tolerance: what counts as agreement, in words.
        budget: seconds on two cores, quick and in full, as last measured.
        items: the theory items and errata it shows ("T19", "E41").
    """

    paper: str
    figure: str
    statement: str
    expected: str
    tolerance: str
    budget: tuple[float, float]
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """One measured number beside its rule.

    Attributes:
        name: what was measured.
        measured: the number.
        rule: what it has to satisfy, with the number it is compared to.
        holds: whether it does; never where the number is not finite.
    """

    name: str
    measured: float
    rule: str
    holds: bool


@dataclass(frozen=True)
class Outcome:
    """What a reproduction found.

    Attributes:
        figure: one message, drawn with :mod:`equilibria.figures.panels`.
        checks: the measurements that decide.
        numbers: everything else worth keeping, plain JSON.
    """

    figure: Figure
    checks: tuple[Check, ...]
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every check holds; a claim without a check does not."""
        return bool(self.checks) and all(check.holds for check in self.checks)


Run = Callable[[bool], Outcome]
"""``run(quick)``: quick takes fewer seeds and rounds, never other rules."""


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
    """The measured number reaches the bound."""
    return _check(name, measured, f">= {bound:.6g}", measured >= bound)


def _check(name: str, measured: float, rule: str, holds: bool) -> Check:
    return Check(name, float(measured), rule, bool(holds) and math.isfinite(measured))
