"""Equilibria, gaps and their absence against closed forms and quadrature (T9-T11, T24)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from equilibria.theory import nash, proximal
from equilibria.theory.proximal import Proximal
from equilibria.theory.value import value_of_laws

Params = dict[str, Tensor]


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


# T9, T24 --------------------------------------------------------------------------------------------------------------


def discrete(d: Params, g: Params) -> Tensor:
    """The value between a fixed law p and softmax(g), for a free logit at each atom."""
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    return value_of_laws(d["h"], p, g["q"].softmax(0))


def js_by_hand(p: np.ndarray, q: np.ndarray) -> float:
    m = (p + q) / 2
    return float((p * np.log(p / m)).sum() + (q * np.log(q / m)).sum()) / 2


@pytest.mark.parametrize("seed", range(3))
def test_the_gap_is_at_least_twice_the_divergence(seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    d = {"h": torch.randn(3, generator=source, dtype=torch.float64)}
    g = {"q": torch.randn(3, generator=source, dtype=torch.float64)}
    divergence = js_by_hand(np.array([0.5, 0.3, 0.2]), g["q"].softmax(0).numpy())
    assert nash.duality_gap(discrete, d, g, steps=400, rate=0.05) >= 2 * divergence - 1e-5
    first = nash.minimax_metric(discrete, d, g, steps=400, rate=0.05)
    assert first == pytest.approx(2 * divergence - math.log(4), abs=1e-5)
    assert first <= 2 * divergence - math.log(4) + 1e-12


def test_the_gap_vanishes_at_the_equilibrium() -> None:
    at = {"q": torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()}
    assert nash.duality_gap(discrete, {"h": torch.zeros(3, dtype=torch.float64)}, at, 50) == pytest.approx(0, abs=1e-12)


def test_the_perturbed_gap_leaves_a_flat_point() -> None:
    """V = (x² - y²)... at x = 0 the descending player's gradient of -x² vanishes, though moving pays."""
    losses = {"x": lambda own: -own["x"].square().clamp(max=4.0)}
    at = {"x": {"x": number(0.0)}}
    assert nash.nikaido_isoda(losses, at, steps=200, rate=0.05)["x"] == 0
    state = torch.get_rng_state()
    moved = [nash.nikaido_isoda(losses, at, steps=200, rate=0.05, noise=0.01, seed=3)["x"] for _ in range(2)]
    assert moved[0] == moved[1] == pytest.approx(4.0, abs=1e-6)
    assert torch.equal(state, torch.get_rng_state())


def test_the_perturbation_stays_in_the_strategy_set() -> None:
    seen: list[float] = []

    def loss(own: Params) -> Tensor:
        seen.append(float(own["x"].detach()))
        return own["x"] ** 2

    clip = {"x": lambda name, value: value.clamp(-0.1, 0.1)}
    nash.nikaido_isoda({"x": loss}, {"x": {"x": number(0.05)}}, 20, 0.01, clip, noise=5.0)
    assert max(map(abs, seen)) <= 0.1


def test_answers_are_judged_on_other_data() -> None:
    """Fitted to a sample, the answer of a quadratic loss is the sample mean; its gain elsewhere is known."""
    fitted, judged = number(1.0), number(-0.5)
    gaps = nash.held_out_gap(
        {"x": lambda own: (own["x"] - fitted) ** 2},
        {"x": lambda own: (own["x"] - judged) ** 2},
        {"x": {"x": number(0.0)}},
        steps=600,
        rate=0.02,
    )
    assert gaps["x"] == pytest.approx(0.25 - 2.25, abs=1e-4)  # worse: the term is negative
    with pytest.raises(ValueError, match="give each everywhere"):
        nash.held_out_gap({"x": lambda own: own["x"]}, {}, {"x": {"x": number(0.0)}})


# T10 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_the_players_matters(seed: int) -> None:
    v = torch.randn(4, 5, generator=torch.Generator().manual_seed(seed))
    rows = [[float(x) for x in row] for row in v]
    low, high = max(min(column) for column in zip(*rows, strict=True)), min(max(row) for row in rows)
    assert nash.pure_values(v) == (high, low) and low <= high
    saddles = nash.saddle_points(v)
    assert bool(saddles) == (low == high)
    for i, j in saddles:
        assert all(rows[i][b] <= rows[i][j] <= rows[a][j] for a in range(4) for b in range(5))


def test_wrong_payoffs() -> None:
    for call in (nash.pure_values, nash.saddle_points):
        with pytest.raises(ValueError, match=r"want \(g, d\)"):
            call(torch.ones(3))  # type: ignore[operator]


def test_against_a_held_discriminator_every_code_goes_to_one_point() -> None:
    """max min: 64 codes with a free image each, h(x) = -(x - 2)² (x + 2)² - x/4 higher at -2 than at 2."""

    def loss(own: Params) -> Tensor:
        x = own["x"]
        return torch.nn.functional.softplus(((x - 2) ** 2 * (x + 2) ** 2 + x / 4) / 8).mean()

    network = {
        "x": torch.randn(64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.2,
    }
    shifted = {"x": network["x"] - 1.0}  # all start in the valley of -2
    answer = nash.best_response(loss, shifted, steps=500, rate=0.05).strategy["x"]
    grid = np.linspace(-4, 4, 80_001)
    top = grid[np.argmax(-((grid - 2) ** 2) * (grid + 2) ** 2 - grid / 4)]
    assert float(shifted["x"].var()) > 5e-3 and float(answer.var()) < 1e-6
    assert float(answer.mean()) == pytest.approx(top, abs=1e-2)


# T11 ------------------------------------------------------------------------------------------------------------------


def test_the_gaussian_counterexample() -> None:
    """Shifting away from the equilibrium candidate pays: -.579, -3.225, -13.18 at u = 0, 3, 6."""
    s = 2.0

    def inside(z: float, u: float) -> float:
        x = z + u
        p, q = math.exp(-x * x / (2 * s * s)) / s, math.exp(-x * x / 2)
        return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * math.log(q / (p + q)) if q > 0 else 0.0

    shifts = [0.0, 3.0, 6.0]
    found = proximal.gaussian_generator_value(torch.tensor(shifts, dtype=torch.float64), s).tolist()
    for value, u in zip(found, shifts, strict=True):
        assert value == pytest.approx(quad(inside, -12, 12, args=(u,), epsabs=1e-12, limit=200)[0], abs=1e-5)
    assert [round(found[0], 3), round(found[1], 3), round(found[2], 2)] == [-0.579, -3.225, -13.18]


def test_without_the_shift_there_is_an_equilibrium() -> None:
    """With u = 0 forced, w = 1 is a best answer to its own optimal discriminator, and so an equilibrium."""
    held = [float(proximal.gaussian_generator_value(number(0.0), 2.0, w)) for w in np.linspace(0, 1, 21)]
    assert min(held) == held[-1]
    with pytest.raises(ValueError, match=r"\|w\| <= 1"):
        proximal.gaussian_generator_value(number(0.0), 2.0, 1.5)
    with pytest.raises(ValueError, match="s > 1"):
        proximal.gaussian_logit(number(0.0), 0.9)


# The proximal game: V = a x²/2 + c x y - b y²/2, y ascends, x descends ------------------------------------------------


def quadratic(a: float, b: float, c: float):  # type: ignore[no-untyped-def]
    return lambda d, g: a * g["x"] ** 2 / 2 + c * g["x"] * d["y"] - b * d["y"] ** 2 / 2


def apart(one: Params, other: Params) -> Tensor:
    return (one["y"] - other["y"]) ** 2


@pytest.mark.parametrize("weight", [0.0, 0.5, 4.0])
@pytest.mark.parametrize(("x", "y"), [(1.0, -0.5), (0.3, 0.8)])
def test_proximal_answer_gradient_and_gap(weight: float, x: float, y: float) -> None:
    a, b, c = 1.0, 2.0, 0.7
    game = Proximal(apart, weight=weight, steps=150, rate=0.05)
    d, g = {"y": number(y)}, {"x": number(x)}
    answer = (c * x + weight * y) / (b + weight)
    gradient, found = proximal.proximal_gradient(quadratic(a, b, c), d, g, game)
    assert found["y"].item() == pytest.approx(answer, abs=1e-3)
    assert gradient["x"].item() == pytest.approx(a * x + c * answer, abs=1e-3)


def test_proximal_gap_in_closed_form() -> None:
    a, b, c, weight, x, y = 1.0, 2.0, 0.7, 0.5, 0.6, -0.4

    def smoothed(at: float) -> float:
        return a * at**2 / 2 + (c * at + weight * y) ** 2 / (2 * (b + weight)) - weight * y**2 / 2

    best = -c * weight * y / (a * (b + weight) + c * c)
    wanted = a * x**2 / 2 + c * c * x * x / (2 * b) - smoothed(best)
    game = Proximal(apart, weight=weight, steps=30, rate=0.05)
    found = proximal.proximal_gap(quadratic(a, b, c), {"y": number(y)}, {"x": number(x)}, game, 120, 0.02)
    assert found == pytest.approx(wanted, abs=2e-3)


@pytest.mark.parametrize(("weight", "equilibrium"), [(0.5, True), (6.0, False)])
def test_a_proximal_equilibrium_where_there_is_none_of_nash(weight: float, equilibrium: bool) -> None:
    """V = 2 x y - y²/2 - x²/2: x gains without end at y = 0, but V_λ is convex in x while λ < 3."""
    at_zero = {"y": number(0.0)}, {"x": number(0.0)}
    value = quadratic(-1.0, 1.0, 2.0)
    losses = {"x": lambda own: value(at_zero[0], own)}
    assert nash.nikaido_isoda(losses, {"x": at_zero[1]}, 100, 0.05, noise=0.1)["x"] > 0.5
    game = Proximal(apart, weight=weight, steps=20, rate=0.05)
    beside = {"y": number(0.0)}, {"x": number(1e-3)}
    gap = proximal.proximal_gap(value, *beside, game, 60, 0.05)
    assert gap < 1e-3 if equilibrium else gap > 0.1


def test_proximal_training_finds_what_plain_training_leaves() -> None:
    """The same game by gradient steps: plain ones run away from 0, proximal ones come to it."""
    value, game = quadratic(-1.0, 1.0, 2.0), Proximal(apart, weight=0.5, steps=40, rate=0.1)
    ends = []
    for guided in (True, False):
        x, y = number(0.5), number(0.0)
        for _ in range(60):
            d, g = {"y": y}, {"x": x}
            plain = torch.func.grad(lambda own, held=d: value(held, own))(g)["x"]
            gradient = proximal.proximal_gradient(value, d, g, game)[0]["x"] if guided else plain
            y = y + 0.02 * torch.func.grad(lambda own, held=g: value(own, held))(d)["y"]
            x = x - 0.1 * gradient
        ends.append(abs(float(x)))
    assert ends[0] < 0.1 < 1 < ends[1]


def test_the_sobolev_distance_ignores_constants() -> None:
    x = torch.randn(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    distance = proximal.sobolev_distance(lambda own, at: (own["w"] * at.square()).sum(1) + own["b"], x)
    one = {"w": number(1.0), "b": number(0.0)}
    assert distance(one, {**one, "b": number(9.0)}).item() == 0
    found = distance(one, {"w": number(-0.5), "b": number(1.0)}).item()
    assert found == pytest.approx((3 * np.linalg.norm(x.numpy(), axis=1) ** 2 * 3).mean(), rel=1e-12)
    with pytest.raises(ValueError, match="weight >= 0"):
        Proximal(apart, weight=-1.0)
