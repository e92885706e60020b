"""What the suite raises: every fix that an error proposed is kept, and tried at the end (tests/test_fixes.py)."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from equilibria.base.errors import EquilibriaError
from equilibria.base.fields import hints_of, is_record
from equilibria.base.settings import _Change
from equilibria.recipes import Recipe


class Raised(NamedTuple):
    """A fix that was proposed, and where it belongs.

    Attributes:
        fix: as printed.
        root: the record that was being changed, or the recipe that was being built; None where neither was.
        place: what stands before the root's settings on the command line (``"run."``).
        made: the class of the record that refused its own settings, and what it would be with the fix; else None.
    """

    fix: str
    root: Any
    place: str
    made: tuple[type, tuple[tuple[str, Any], ...]] | None


# Files of over half a minute. Workers take whole files in this order: a long one at the end leaves the others idle.
LONG = {
    *("test_docs_runs", "test_docs_tables", "test_doctor_remedying", "test_doctor_runs", "test_doctor_undisturbed"),
    *(
        "test_doctor_vitals_loop",
        "test_exam",
        "test_examples",
        "test_fuzz_runs",
        "test_other_systems",
        "test_own_files",
    ),
    *("test_procedures", "test_processes", "test_ranks", "test_readme", "test_resume", "test_theory_games"),
    "test_unreadable",
}

RAISED: dict[str, tuple[Raised, str]] = {}  # by the text of the fix and of its root: and the test that was running
_ROOTS: list[tuple[Any, str]] = []
_RUNNING = [""]
_PATCHED = pytest.MonkeyPatch()


def _around(method: Callable[..., Any], root: Callable[[Any], tuple[Any, str]]) -> Callable[..., Any]:
    """The method, during which its record is the one that fixes belong to."""

    @functools.wraps(method)
    def called(self: Any, *args: Any, **more: Any) -> Any:
        _ROOTS.append(root(self))
        try:
            return method(self, *args, **more)
        finally:
            _ROOTS.pop()

    return called


def _refusing(settings: Mapping[str, Any]) -> tuple[type, tuple[tuple[str, Any], ...]] | None:
    """The record whose own check raises an error with these settings, found among the callers."""
    frame = sys._getframe(2)
    while frame is not None:
        own = frame.f_locals.get("self")
        if is_record(own) and set(settings) <= set(hints_of(type(own))) and frame.f_code.co_name == "__post_init__":
            return type(own), tuple((vars(own) | settings).items())
        frame = frame.f_back  # type: ignore[assignment]
    return None


def pytest_configure() -> None:
    whole = EquilibriaError.__init__

    @functools.wraps(whole)
    def kept(self: EquilibriaError, *args: Any, **more: Any) -> None:
        whole(self, *args, **more)
        if self.fix:
            root, place = _ROOTS[-1] if _ROOTS else (None, "")
            made = _refusing(self.settings) if self.settings and "--set" not in self.fix else None
            found = Raised(self.fix, root, place, made)
            RAISED.setdefault(repr(found), (found, _RUNNING[0]))

    _PATCHED.setattr(EquilibriaError, "__init__", kept)
    for name in ("with_settings", "build"):
        _PATCHED.setattr(Recipe, name, _around(getattr(Recipe, name), lambda recipe: (recipe, "")))
    _PATCHED.setattr(_Change, "made", _around(_Change.made, lambda change: (change.root, change.place)))


def pytest_unconfigure() -> None:
    _PATCHED.undo()


def pytest_runtest_setup(item: pytest.Item) -> None:
    _RUNNING[0] = item.nodeid


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take longest come first, the one that looks at all that was raised last; else the order stays."""
    looking = {item.path for item in items if "raised" in getattr(item, "fixturenames", ())}

    def place(item: pytest.Item) -> tuple[bool, bool, bool]:
        last = "raised" in getattr(item, "fixturenames", ())
        return item.path in looking, last, item.path.stem not in LONG

    items.sort(key=place)


@pytest.fixture
def raised() -> list[tuple[Raised, str]]:
    """The fixes that the suite has proposed so far, with the test in which each was raised first."""
    return list(RAISED.values())


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end without their page, half of a small run's time: for tests that train several and read no page."""
    from equilibria.runs.run import Run

    monkeypatch.setattr(Run, "report", lambda run: run.path)
