"""The Dirac-GAN and its like: fields by hand and by quadrature, published radii, rules against maps (T12-T14)."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from equilibria.base.errors import ConfigError, ShapeError
from equilibria.core.game import Game, field_of, make_draw, parameters_of, state_of
from equilibria.core.optimizers import SGD
from equilibria.core.play import Play, Rule
from equilibria.core.updates import Alternating, Consensus, Extragradient, Optimistic, Simultaneous
from equilibria.games.dirac_and_bilinear import BilinearGame, DiracGAN, UniformGAN, no_batches
from equilibria.losses import (
    R1,
    R2,
    Clip,
    GradientPenalty,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Objective,
    RelativisticAverage,
    RelativisticPairing,
    Wasserstein,
)
from equilibria.theory import fields
from equilibria.theory.fields import FlatField

Plane = Callable[[float, float], tuple[float, float]]


def flat(game: Game) -> FlatField:
    draw = make_draw(game.draw({}), seed=0)
    return FlatField(lambda p: field_of(game, p, state_of(game), draw), parameters_of(game))


def sigma(t: float) -> float:
    return 1 / (1 + math.exp(-t))


def f1(t: float) -> float:  # f'(t) of f = log sigma
    return sigma(-t)


def f2(t: float) -> float:
    return -sigma(t) * sigma(-t)


def sign(t: float) -> float:
    return (t > 0) - (t < 0)


# Mescheder et al. 2018 by hand, in (theta, phi) where phi = -psi: their discriminator is higher for fake.
ROWS: dict[str, tuple[Callable[[], DiracGAN], Plane]] = {
    "gan": (lambda: DiracGAN(Minimax()), lambda t, p: (-p * f1(t * p), t * f1(t * p))),
    "nsgan": (lambda: DiracGAN(NonSaturating()), lambda t, p: (-p * f1(-t * p), t * f1(t * p))),
    "wgan": (lambda: DiracGAN(Wasserstein()), lambda t, p: (-p, t)),
    "wgan-gp": (
        lambda: DiracGAN(Wasserstein(), (GradientPenalty(weight=0.5, center=0.3),)),
        lambda t, p: (-p, t - (abs(p) - 0.3) * sign(p)),
    ),
    "r1": (lambda: DiracGAN(Minimax(), (R1(gamma=0.7),)), lambda t, p: (-p * f1(t * p), t * f1(t * p) - 0.7 * p)),
    "r2": (lambda: DiracGAN(Minimax(), (R2(gamma=0.7),)), lambda t, p: (-p * f1(t * p), t * f1(t * p) - 0.7 * p)),
    "rpgan": (lambda: DiracGAN(RelativisticPairing()), lambda t, p: (-p * f1(-t * p), t * f1(t * p))),
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(("theta", "phi"), [(1.0, 1.0), (-0.4, 2.0), (0.3, -0.1), (-2.0, -1.5)])
def test_dirac_fields_by_hand(row: str, theta: float, phi: float) -> None:
    make, by_hand = ROWS[row]
    found = flat(make())(torch.tensor([theta, -phi], dtype=torch.float64)).tolist()
    assert [found[0], -found[1]] == pytest.approx(by_hand(theta, phi), abs=1e-12)


@pytest.mark.parametrize("variance", [0.1, 1.0])
@pytest.mark.parametrize(("theta", "phi"), [(1.0, 1.0), (-0.4, 0.7), (0.0, 0.0)])
def test_instance_noise_by_quadrature(variance: float, theta: float, phi: float) -> None:
    s = math.sqrt(variance)

    def mean(inner: Callable[[float], float]) -> float:
        return quad(lambda e: inner(s * e) * math.exp(-e * e / 2) / math.sqrt(2 * math.pi), -12, 12, epsabs=1e-13)[0]

    wanted = (
        mean(lambda e: -phi * f1(phi * (theta + e))),
        mean(lambda e: (theta + e) * f1(phi * (theta + e)) - e * f1(-phi * e)),
    )
    found = flat(DiracGAN(Minimax(), noise=s))(torch.tensor([theta, -phi], dtype=torch.float64)).tolist()
    assert [found[0], -found[1]] == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("theta", "phi"), [(1.0, 1.0), (-0.4, 2.0)])
def test_consensus_by_hand_and_not_as_in_the_notebook(theta: float, phi: float) -> None:
    """L = |v|²/2 = (θ² + φ²) f'(θφ)²/2; its φ-derivative is φ f'² + θ (φ² + θ²) f' f'', with no half."""
    gamma, t = 0.8, theta * phi
    pull = [a * f1(t) ** 2 + b * (theta**2 + phi**2) * f1(t) * f2(t) for a, b in ((theta, phi), (phi, theta))]
    wanted = [-phi * f1(t) - gamma * pull[0], theta * f1(t) - gamma * pull[1]]
    found = fields.consensus(flat(DiracGAN()), gamma)(torch.tensor([theta, -phi], dtype=torch.float64)).tolist()
    assert [found[0], -found[1]] == pytest.approx(wanted, abs=1e-12)
    halved = phi * f1(t) ** 2 + 0.5 * theta * (theta**2 + phi**2) * f1(t) * f2(t)
    assert abs(-found[1] - (theta * f1(t) - gamma * halved)) > 0.03


def walked(field: Plane, rule: str, steps: int, h: float = 0.1) -> float:
    """The radius that a rule reaches from (1, 1), in plain floats."""
    t = p = 1.0
    last = field(t, p)
    for _ in range(steps):
        v = field(t, p)
        if rule == "alternating":  # the discriminator first, as in the papers' algorithms
            p += h * v[1]
            t += h * field(t, p)[0]
            continue
        if rule == "generator-first":
            t += h * v[0]
            p += h * field(t, p)[1]
            continue
        if rule == "extragradient":
            v = field(t + h * v[0], p + h * v[1])
        if rule == "optimistic":
            v, last = (2 * v[0] - last[0], 2 * v[1] - last[1]), v
        t, p = t + h * v[0], p + h * v[1]
    return math.hypot(t, p)


RULES: dict[str, Rule] = {
    "simultaneous": Simultaneous(),
    "alternating": Alternating(),
    "extragradient": Extragradient(),
    "optimistic": Optimistic(),
}


def played(game: Game, rule: Rule, rounds: int, h: float = 0.1) -> Tensor:
    play = Play(game, rule, {p.name: SGD(lr=h) for p in game.players}, no_batches)
    play.prepare()
    play.advance(rounds)
    return torch.cat([p.detach().reshape(-1) for p in game.parameters()])


@pytest.mark.parametrize("row", ["gan", "nsgan", "wgan-gp", "r1"])
@pytest.mark.parametrize("rule", RULES)
def test_training_the_game_is_iterating_the_field(row: str, rule: str) -> None:
    make, by_hand = ROWS[row]
    game = make()
    with torch.no_grad():
        game.psi.neg_()
    assert played(game, RULES[rule], 60).norm().item() == pytest.approx(walked(by_hand, rule, 60), rel=1e-10)


# Radius after 4000 steps of 0.1 from (1, 1); where players alternate, the generator moves first.
RADII = [
    ("gan", "simultaneous", 3.63, 5e-3),
    ("gan", "generator-first", 1.41, 5e-3),
    ("gan", "extragradient", 0.0099, 5e-5),
    ("gan", "optimistic", 0.0097, 5e-5),
    ("nsgan", "simultaneous", 0.445, 5e-4),
    ("nsgan", "generator-first", 0.140, 5e-4),
    ("nsgan", "extragradient", 0.0029, 5e-5),
    ("nsgan", "optimistic", 0.0028, 5e-5),
    ("wgan", "generator-first", 1.36, 5e-3),
    ("wgan", "extragradient", 3e-9, 5e-10),
    ("wgan", "optimistic", 2e-9, 5e-10),
    ("wgan-gp", "simultaneous", 0.388, 5e-4),
    ("wgan-gp", "generator-first", 0.394, 5e-4),
    ("wgan-gp", "extragradient", 0.334, 5e-4),
]


@pytest.mark.parametrize(("row", "rule", "radius", "digits"), RADII)
def test_radii_of_the_closed_forms(row: str, rule: str, radius: float, digits: float) -> None:
    assert walked(ROWS[row][1], rule, 4000) == pytest.approx(radius, abs=digits)


@pytest.mark.slow
@pytest.mark.parametrize(("row", "rule", "radius", "digits"), RADII)
def test_radii_of_trained_games(row: str, rule: str, radius: float, digits: float) -> None:
    game = ROWS[row][0]()
    if rule == "generator-first":
        game.players = game.players[::-1]
    with torch.no_grad():
        game.psi.neg_()
    assert played(game, RULES.get(rule, Alternating()), 4000).norm().item() == pytest.approx(radius, abs=digits)


@pytest.mark.parametrize(("gamma", "radius"), [(0.3, 6e-25), (1.0, 2e-87), (5.0, 1.6e-9)])
def test_r1_converges_linearly(gamma: float, radius: float) -> None:
    def r1(t: float, p: float) -> tuple[float, float]:
        return -p * f1(t * p), t * f1(t * p) - gamma * p

    assert walked(r1, "simultaneous", 4000) == pytest.approx(radius, rel=0.1)
    game = DiracGAN(penalties=(R1(gamma=gamma),), start=(1.0, -1.0))
    assert played(game, Simultaneous(), 50).norm().item() == pytest.approx(walked(r1, "simultaneous", 50), rel=1e-9)


def test_clipping_bounds_the_critic_and_does_not_converge() -> None:
    game = DiracGAN(Wasserstein(), clip=Clip(value=0.5))
    theta, psi = played(game, Simultaneous(), 300).tolist()
    assert abs(psi) <= 0.5 and math.hypot(theta, psi) > 0.5


@pytest.mark.parametrize("rule", [*RULES, "consensus"])
@pytest.mark.parametrize("objective", [Minimax(), LeastSquares()], ids=["minimax", "least-squares"])
def test_maps_of_theory_are_the_rules_of_the_library(rule: str, objective: Objective) -> None:
    game, h = DiracGAN(objective, (R1(gamma=0.2),), noise=0.3, nodes=6), 0.1
    v = flat(game)
    maps: dict[str, fields.Map] = {
        "simultaneous": fields.simultaneous(v, h),
        "alternating": fields.alternating(v, h),
        "extragradient": fields.extragradient(v, h),
        "consensus": fields.simultaneous(fields.consensus(v, 0.4), h),
        "optimistic": fields.optimistic(v, h),
    }
    start = torch.cat([v.start, v(v.start)]) if rule == "optimistic" else v.start
    wanted = fields.orbit(maps[rule], start, 20)[-1][:2]
    found = played(game, {**RULES, "consensus": Consensus(gamma=0.4)}[rule], 20, h)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-12)


def test_simultaneous_steps_leave_the_circle_and_alternating_ones_stay() -> None:
    h, rounds = 0.1, 200
    assert played(BilinearGame(), Simultaneous(), rounds, h).norm().item() == pytest.approx(
        math.sqrt(2) * (1 + h * h) ** (rounds / 2), rel=1e-10
    )
    v = flat(BilinearGame())
    path = fields.orbit(fields.alternating(v, h), torch.ones(2, dtype=torch.float64), 150)
    # The discriminator moves first: theta^2 + psi^2 - h theta psi is kept, an ellipse.
    kept = path.square().sum(1) - h * path.prod(1)
    assert float(path.norm(dim=1).max()) < 1.6 and float(path.norm(dim=1).min()) > 1.2
    assert float((kept - kept[0]).abs().max()) < 1e-10
    assert played(BilinearGame(), Consensus(gamma=1.0), 200, h).norm().item() < 1e-6


def test_wrong_toys_say_what_is_wanted() -> None:
    with pytest.raises(ConfigError, match="noise >= 0"):
        DiracGAN(noise=-1.0)
    with pytest.raises(ConfigError, match="RelativisticPairing"):
        DiracGAN(RelativisticAverage(), noise=0.1)
    with pytest.raises(ConfigError, match="nodes >= 1"):
        UniformGAN(nodes=0)
    with pytest.raises(ShapeError, match=r"\(m, d\)"):
        BilinearGame(torch.ones(2))
    with pytest.raises(ShapeError, match="start"):
        BilinearGame(torch.ones(2, 1), start=(torch.ones(2), torch.ones(2)))


@pytest.mark.parametrize("make", [DiracGAN, UniformGAN, BilinearGame, lambda: DiracGAN(Hinge(), noise=0.2, nodes=4)])
def test_toys_are_games(make: Callable[[], Game]) -> None:
    play = Play(make(), Alternating(), {p: SGD(lr=0.01) for p in ("generator", "discriminator")}, no_batches)
    play.prepare()
    before = [p.detach().clone() for p in play.game.parameters()]
    play.advance(2)
    assert all(not torch.equal(a, b) for a, b in zip(before, play.game.parameters(), strict=True))
    assert play.sample(3).shape == (3, 1)
    contest = play.game.contests(play.deal())["data"]
    assert contest.scores("real").shape == (len(contest.real[0]),) and contest.slopes("fake").shape[1] == 1
