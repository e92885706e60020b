"""The pictures of the conditions: what is drawn is what was measured, and every condition has one in the docs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.colors import to_hex

from equilibria.doctor import Condition
from equilibria.doctor.findings import Evidence
from equilibria.exam.cases import DIGITS, RING, fault
from equilibria.exam.loop import Loop
from equilibria.exam.pictures import picture, threshold
from equilibria.exam.sitting import watched
from equilibria.figures.panels import BLUE, rendered

DRAWN = Path(__file__).resolve().parents[1] / "docs" / "images" / "conditions"


@pytest.mark.parametrize(
    ("rule", "number"),
    [
        ("above 0.5: real rows score higher", 0.5),
        ("0: every part of the data has samples", 0.0),
        ("not above 0.8 and far above that of the data", 0.8),
        ("well above 0.13, which is chance", 0.13),
        ("above 1e-6: the score depends on its input", 1e-6),
        ("about that in train mode", None),
        ("not a hundred times smaller than 0.5", None),
        ("an independent classifier tells the sides apart", None),
    ],
)
def test_the_dashed_line_is_the_number_that_the_rule_begins_with(rule: str, number: float | None) -> None:
    assert threshold(Evidence("scores/auc", 0.1, rule)) == number


@pytest.mark.parametrize("loop", [RING, DIGITS], ids=["points", "images"])
def test_a_picture_shows_the_vital_at_each_check_up(loop: Loop) -> None:
    sick, control = (watched(replace(made, steps=60)) for made in (fault("generator-not-stepped")(loop), loop))
    found = {f.condition: f for f in sick[1].diagnose().findings}
    figure = picture(found[Condition.GENERATOR_NEVER_UPDATED], sick, control)
    left, right = figure.axes
    (line,) = [line for line in right.lines if to_hex(line.get_color()) == BLUE.lower()]
    checkups = sick[1].chart.checkups
    assert list(line.get_xdata()) == [c.step for c in checkups]  # type: ignore[arg-type]
    assert list(line.get_ydata()) == [c["wiring/still-generator"] for c in checkups]  # type: ignore[arg-type]
    assert bool(left.images) == (loop is DIGITS) and bool(left.collections) == (loop is RING)
    assert rendered(figure) == rendered(picture(found[Condition.GENERATOR_NEVER_UPDATED], sick, control))


def test_every_condition_has_a_small_picture() -> None:
    sizes = {path.stem: path.stat().st_size for path in DRAWN.glob("*.png")}
    assert set(sizes) == {condition.value for condition in Condition}, "run equilibria exam --pictures DIR"
    assert max(sizes.values()) <= 60_000
