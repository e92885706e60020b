"""Planting an error in a reproduction: its checks hold without the error, and one of them fails with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from equilibria.reproduce.claim import Check

Plant = Callable[[pytest.MonkeyPatch], None]


def hold(checks: Sequence[Check]) -> bool:
    return bool(checks) and all(check.holds for check in checks)


def turned(run: Callable[[], Sequence[Check]], monkeypatch: pytest.MonkeyPatch, plant: Plant) -> bool:
    """Whether the checks hold without the error and one fails with it."""
    before = hold(run())
    plant(monkeypatch)
    return before and not hold(run())


def unseen(run: Callable[[], Sequence[Check]], plants: Mapping[str, Plant]) -> list[str]:
    """The errors with which every check still holds; the checks have to hold without an error."""
    assert hold(run()), [check for check in run() if not check.holds]
    missed = []
    for name, plant in plants.items():
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            if hold(run()):
                missed.append(name)
    return missed


def instead(owner: Any, name: str, wrong: Callable[[Any], Any]) -> Plant:
    """The attribute (or the key of a dict) replaced by what ``wrong`` makes of the real one."""
    if isinstance(owner, dict):
        return lambda patch: patch.setitem(owner, name, wrong(owner[name]))
    return lambda patch: patch.setattr(owner, name, wrong(getattr(owner, name)))
