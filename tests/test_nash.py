"""The Nikaido-Isoda gap against games whose best answers are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from equilibria.theory.nash import nikaido_isoda

Own = dict[str, Tensor]


def quadratic(a: float, b: float, c: float, x: float, y: float) -> tuple[dict, dict, float]:
    """V = a x²/2 + c x y - b y²/2, minimised by x, maximised by y; the gap is (a + c²/b) x²/2 + (b + c²/a) y²/2."""
    at = {"x": torch.tensor(x, dtype=torch.float64), "y": torch.tensor(y, dtype=torch.float64)}

    def value(u: Tensor, v: Tensor) -> Tensor:
        return a * u**2 / 2 + c * u * v - b * v**2 / 2

    losses = {"x": lambda own: value(own["x"], at["y"]), "y": lambda own: -value(at["x"], own["y"])}
    return losses, {n: {n: t} for n, t in at.items()}, (a + c * c / b) * x * x / 2 + (b + c * c / a) * y * y / 2


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (1.0, 0.0), (-0.5, 2.0), (3.0, -1.0)])
def test_quadratic_game(x: float, y: float) -> None:
    losses, at, wanted = quadratic(1.0, 2.0, 0.7, x, y)
    found = nikaido_isoda(losses, at, steps=600, rate=0.02)
    assert sum(found.values()) == pytest.approx(wanted, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_terms_are_never_negative_and_bound_from_below(steps: int) -> None:
    losses, at, wanted = quadratic(1.0, 1.0, 2.0, 0.01, 0.01)
    found = nikaido_isoda(losses, at, steps=steps, rate=10.0)  # a rate that overshoots
    assert all(g >= 0 for g in found.values()) and sum(found.values()) <= wanted + 1e-12
    assert steps or sum(found.values()) == 0


def test_players_may_share_their_parameters() -> None:
    """Two players of one number with minima at 0 and 1, at 1/2: each could gain 1/4."""
    own = {"w": torch.tensor(0.5, dtype=torch.float64)}
    losses = {"a": lambda o: o["w"] ** 2, "b": lambda o: (o["w"] - 1) ** 2}
    found = nikaido_isoda(losses, {"a": own, "b": own}, steps=500, rate=0.02)
    assert found == pytest.approx({"a": 0.25, "b": 0.25}, abs=1e-4)


def test_nothing_that_is_given_changes() -> None:
    losses, at, _ = quadratic(1.0, 1.0, 1.0, 1.0, 1.0)
    state = torch.get_rng_state()
    with torch.no_grad():
        nikaido_isoda(losses, at)
    assert all(float(own[name]) == 1.0 for name, own in at.items()) and torch.equal(state, torch.get_rng_state())


def test_a_loss_without_floor_has_an_infinite_gain() -> None:
    found = nikaido_isoda(
        {"x": lambda o: o["x"].log()},
        {"x": {"x": torch.tensor(0.5)}},
        steps=100,
        rate=0.5,
        projections={"x": lambda _, t: t.clamp(min=0)},
    )
    assert math.isinf(found["x"])


def test_it_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="'x' has no strategy"):
        nikaido_isoda({"x": lambda o: torch.zeros(())}, {})
    with pytest.raises(ValueError, match="loss is nan"):
        nikaido_isoda({"x": lambda o: o["x"] * math.nan}, {"x": {"x": torch.zeros(())}})
