"""The pictures of the conditions: what is drawn is what was measured, and the docs show conditions that there are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.colors import to_hex

from equilibria.doctor import CONDITIONS, Evidence
from equilibria.doctor.evidence import Comparison, Limit
from equilibria.exam.cases import DIGITS, RING, fault
from equilibria.exam.loop import Loop
from equilibria.exam.pictures import picture, threshold
from equilibria.exam.results import examined
from equilibria.figures.panels import BLUE, rendered

DRAWN = Path(__file__).resolve().parents[1] / "docs" / "images" / "conditions"


@pytest.mark.parametrize(
    ("comparison", "limit", "number"),
    [
        (">", 0.5, 0.5),
        ("=", 0, 0.0),
        ("~", 1e-6, 1e-6),
        ("~", "samples/train-distance", None),
        ("in", (0.2, 0.8), None),
        (None, None, None),
    ],
)
def test_the_dashed_line_is_the_limit(comparison: Comparison, limit: Limit, number: float | None) -> None:
    assert threshold(Evidence("scores/auc", 0.1, comparison, limit, "7 of 8 meanings")) == number


@pytest.mark.parametrize("loop", [RING, DIGITS], ids=["points", "images"])
def test_a_picture_shows_the_vital_at_each_check_up(loop: Loop) -> None:
    sick, control = (examined(replace(made, steps=60)) for made in (fault("generator-not-stepped")(loop), loop))
    found = {f.condition: f for f in sick[1].diagnose().findings}
    figure = picture(found["generator-never-updated"], sick, control)
    left, right = figure.axes
    (line,) = [line for line in right.lines if to_hex(line.get_color()) == BLUE.lower()]
    checkups = sick[1].chart.checkups
    assert list(line.get_xdata()) == [c.step for c in checkups]  # type: ignore[arg-type]
    assert not found["generator-never-updated"].evidence, "it is read in the training step: the distance is shown"
    assert list(line.get_ydata()) == [c["samples/distance"] for c in checkups]  # type: ignore[arg-type]
    assert bool(left.images) == (loop is DIGITS) and bool(left.collections) == (loop is RING)
    assert rendered(figure) == rendered(picture(found["generator-never-updated"], sick, control))


def test_pictures_are_small_and_of_conditions_that_there_are() -> None:
    """Those of planted diseases are drawn by `equilibria exam --pictures`, the others by scripts/condition_pages.py."""
    sizes = {path.stem: path.stat().st_size for path in DRAWN.glob("*.png")}
    assert len(sizes) >= 34 and set(sizes) <= set(CONDITIONS)
    assert max(sizes.values()) <= 60_000
