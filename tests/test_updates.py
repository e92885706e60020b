"""Update rules against closed forms: bilinear and quadratic games, and the Dirac-GAN of Mescheder et al. 2018."""

from __future__ import annotations

import cmath
import math
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equilibria.base.errors import ConfigError
from equilibria.core.game import Batch, Draw, Game, Loss, Player, field_of, make_draw, parameters_of
from equilibria.core.optimizers import SGD, Adam, OptimizerSpec, RMSprop
from equilibria.core.play import Play, Rule
from equilibria.core.updates import Alternating, Consensus, Extragradient, Optimistic, Simultaneous, Unrolled
from equilibria.data import DataSpec
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import R1, R2, Minimax, NonSaturating, Wasserstein
from equilibria.networks import MLPPair

RATES = pytest.mark.parametrize("h", [0.01, 0.1, 0.3])


class Numbers(Game):
    """V(g, d) = c g d - a d²/2 of two numbers; D ascends and moves first, G descends."""

    def __init__(self, g: float = 1.0, d: float = 0.5, c: float = 1.0, a: float = 0.0) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.tensor(g, dtype=torch.float64))
        self.d = nn.Parameter(torch.tensor(d, dtype=torch.float64))
        self.c, self.a = c, a
        self.players = (Player("discriminator", ("d",)), Player("generator", ("g",)))

    def draw(self, batch: Batch) -> Batch:
        return {"real": batch["x"]}

    def loss(self, player: str, draw: Draw) -> Loss:
        value = self.c * self.g * self.d - self.a * self.d.square() / 2
        return Loss(value if player == "generator" else -value)

    def point(self) -> complex:
        """g + i d: on the bilinear game v is multiplication by i c."""
        return complex(float(self.g.detach()), float(self.d.detach()))


def nothing(seed: int, turn: int) -> Batch:
    return {"x": torch.zeros(1, 1, dtype=torch.float64)}


def playing(game: Game, rule: Rule, h: float) -> Play:
    return Play(game, rule, {p.name: SGD(lr=h) for p in game.players}, nothing)


def path(rule: Rule, h: float, rounds: int, **game: float) -> list[complex]:
    """g + i d before round 0 and after each round."""
    played = Numbers(**game)
    play = playing(played, rule, h)
    points = [played.point()]
    for _ in range(rounds):
        play.advance()
        points.append(played.point())
    return points


# The bilinear game ---------------------------------------------------------------------------------------------------

FACTORS: dict[str, tuple[Rule, Callable[[float], complex]]] = {
    # Each rule multiplies z = g + i d, for which v(z) = i z, by this.
    "simultaneous": (Simultaneous(), lambda h: 1 + 1j * h),
    "extragradient": (Extragradient(), lambda h: 1 + 1j * h * (1 + 1j * h)),
    "consensus": (Consensus(gamma=0.7), lambda h: 1 + h * (1j - 0.7)),
}


@RATES
@pytest.mark.parametrize("name", FACTORS)
def test_a_round_on_the_bilinear_game_is_one_complex_factor(name: str, h: float) -> None:
    rule, factor = FACTORS[name]
    points = path(rule, h, 50)
    for before, after in pairwise(points):
        assert abs(after - factor(h) * before) <= 1e-13 * abs(before)


@RATES
def test_simultaneous_steps_spiral_out_by_the_published_factor(h: float) -> None:
    points = path(Simultaneous(), h, 100)
    assert abs(points[-1]) / abs(points[0]) == pytest.approx(math.sqrt(1 + h * h) ** 100, rel=1e-12)


@RATES
@pytest.mark.parametrize("share", [False, True])
def test_alternating_steps_stay_on_an_ellipse(h: float, share: bool) -> None:
    values = [z.real**2 + z.imag**2 + h * z.real * z.imag for z in path(Alternating(share=share), h, 400)]
    assert max(values) - min(values) < 1e-11
    assert len({round(v, 8) for v in values}) == 1


def test_alternating_steps_leave_the_ellipse_beyond_rate_two() -> None:
    assert abs(path(Alternating(), 2.1, 60)[-1]) > 1e3 > 10 > abs(path(Alternating(), 1.9, 60)[-1])


@RATES
def test_optimistic_steps_solve_their_two_term_recursion(h: float) -> None:
    """z_{k+1} = (1 + 2ih) z_k - ih z_{k-1}, whose roots are (1 + 2ih ± sqrt(1 - 4h²))/2; the first step is plain."""
    points = path(Optimistic(), h, 200)
    first, second = ((1 + 2j * h + s * cmath.sqrt(1 - 4 * h * h)) / 2 for s in (1, -1))
    z0, z1 = points[0], (1 + 1j * h) * points[0]
    b = (z1 - first * z0) / (second - first)
    for k, z in enumerate(points):
        assert abs(z - ((z0 - b) * first**k + b * second**k)) < 1e-12
    assert abs(points[-1]) / abs(points[-2]) == pytest.approx(abs(first), rel=1e-9)
    assert abs(first) < 1


@RATES
@pytest.mark.parametrize("game", [{}, {"c": 0.8, "a": 0.4}], ids=["bilinear", "damped"])
def test_past_extragradient_is_its_published_recursion(game: dict[str, float], h: float) -> None:
    """Gidel et al. 2019, eqs 13-14: z' = z + h v(last z'); z = z + h v(z'); with z' = z before the first round."""
    c, a = game.get("c", 1.0), game.get("a", 0.0)

    def v(z: complex) -> complex:
        return complex(-c * z.imag, c * z.real - a * z.imag)

    points = path(Extragradient(past=True), h, 60, **game)
    z, slope = points[0], v(points[0])
    for found in points[1:]:
        slope = v(z + h * slope)
        z = z + h * slope
        assert abs(found - z) < 1e-13


def count_losses(game: Game, calls: list[str]) -> None:
    honest = game.loss

    def counting(player: str, draw: Draw) -> Loss:
        calls.append(player)
        return honest(player, draw)

    game.loss = counting  # type: ignore[method-assign]


def test_past_extragradient_takes_one_gradient_a_round() -> None:
    counts = []
    for past in (False, True):
        game = Numbers()
        play = playing(game, Extragradient(past=past), 0.1)
        play.advance()
        calls: list[str] = []
        count_losses(game, calls)
        play.advance(3)
        counts.append(len(calls))
    assert counts == [12, 6]


def test_a_player_takes_its_turns_before_the_next_one_moves() -> None:
    game = Numbers()
    game.players = (Player("discriminator", ("d",), turns=3), Player("generator", ("g",)))
    playing(game, Alternating(), 0.1).advance()
    d = 0.5 + 3 * 0.1 * 1.0
    assert game.point() == pytest.approx(complex(1.0 - 0.1 * d, d), rel=1e-14)


# Unrolling -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 5, 40])
def test_unrolling_on_a_quadratic_is_the_closed_form(steps: int) -> None:
    """d_K = r^K d + g c (1 - r^K)/a with r = 1 - h a, and dV(g, d_K)/dg is total."""
    g, d, c, a, h = 0.9, -0.6, 0.8, 0.5, 0.2
    game = Numbers(g, d, c, a)
    play = playing(game, Unrolled(steps=steps), h)
    play.advance()
    d = d + h * (c * g - a * d)  # the discriminator's own turn comes first
    r = (1 - h * a) ** steps
    ahead, slope = r * d + g * c * (1 - r) / a, c * (1 - r) / a
    total = c * ahead + (c * g - a * ahead) * slope
    assert game.point() == pytest.approx(complex(g - h * total, d), rel=1e-13)


def test_unrolling_to_the_end_descends_the_best_answer() -> None:
    """max_d V = c² g²/(2a), whose slope is c² g/a (the envelope theorem)."""
    g, c, a = 0.9, 0.8, 0.5
    game = Numbers(g, 0.0, c, a)
    playing(game, Unrolled(steps=400), 0.1).advance()
    assert (g - game.point().real) / 0.1 == pytest.approx(c * c * g / a, rel=1e-7)


@pytest.mark.parametrize("rule", [Consensus(), Unrolled(steps=1)], ids=["consensus", "unrolled"])
def test_rules_of_third_order_refuse_torchs_norms(rule: Rule) -> None:
    game = Numbers()
    game.norm = nn.LayerNorm(2)
    with pytest.raises(ConfigError, match=r"LayerNorm \('norm'\)"):
        playing(game, rule, 0.1).advance()


# The Dirac-GAN, by the library's own two-player game -----------------------------------------------------------------


class Point(nn.Module):
    """A generator that puts everything on theta."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta.expand(z.shape[0], 1)


class Line(nn.Module):
    """The discriminator psi x."""

    def __init__(self) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.psi * x).squeeze(1)


def dirac(theta: float = 0.0, psi: float = 0.0, **options: Any) -> Game:
    spec = DataSpec(kind="vector", shape=(1,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its networks look suspicious, rightly
        game = TwoPlayer(**options).build(MLPPair(width=2), spec, {"generator": Point(), "discriminator": Line()})
    game = game.double()
    with torch.no_grad():
        for name, parameter in game.named_parameters():
            parameter.fill_(theta if name.endswith("theta") else psi)
    return game


def origin(game: Game) -> Draw:
    """A draw with the data at 0, in float64."""
    tensors = {n: t.double() for n, t in game.draw({"x": torch.zeros(3, 1)}).items()}
    return make_draw(tensors, seed=0)


def field_at(game: Game, point: Tensor) -> Tensor:
    """v at (theta, psi)."""
    names = sorted(parameters_of(game), key=lambda n: not n.endswith("theta"))
    params = {n: x.reshape(1) for n, x in zip(names, point, strict=True)}
    blocks = field_of(game, params, {}, origin(game))
    return torch.cat([blocks["generator"][names[0]], blocks["discriminator"][names[1]]])


def spectrum(game: Game, point: tuple[float, float] = (0.0, 0.0)) -> list[complex]:
    """Eigenvalues of v', lowest imaginary part first."""
    jacobian = torch.func.jacrev(lambda x: field_at(game, x))(torch.tensor(point, dtype=torch.float64))
    return sorted(torch.linalg.eigvals(jacobian).tolist(), key=lambda z: (z.imag, z.real))


@pytest.mark.parametrize("objective", [Minimax(), NonSaturating()], ids=["minimax", "nonsaturating"])
@pytest.mark.parametrize("penalty", [R1, R2])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 5.0])
def test_dirac_eigenvalues_under_r1_and_r2(gamma: float, penalty: type[R1] | type[R2], objective: Any) -> None:
    """-gamma/2 ± sqrt(gamma²/4 - f'(0)²) with f'(0) = 1/2 (Mescheder et al. 2018, Lemma 4.1)."""
    found = spectrum(dirac(objective=objective, penalties=(penalty(gamma=gamma),)))
    root = cmath.sqrt(gamma**2 / 4 - 0.25)
    wanted = sorted((-gamma / 2 + s * root for s in (1, -1)), key=lambda z: (z.imag, z.real))
    assert found == pytest.approx(
        wanted, abs=1e-7
    )  # at gamma = 1 the root is double: rounding enters by its square root


def test_dirac_eigenvalues_of_the_wasserstein_critic() -> None:
    assert spectrum(dirac(objective=Wasserstein())) == pytest.approx([-1j, 1j], abs=1e-12)


def test_the_field_away_from_the_origin_is_the_papers() -> None:
    """v = (ψ σ(θψ), -θ σ(θψ)): a higher score is more real, so the paper's ψ is minus ours."""
    theta, psi = 0.7, -1.3
    sigma = 1 / (1 + math.exp(-theta * psi))
    found = field_at(dirac(objective=Minimax()), torch.tensor([theta, psi], dtype=torch.float64))
    assert found.tolist() == pytest.approx([psi * sigma, -theta * sigma], rel=1e-12)
    saturates = field_at(dirac(objective=NonSaturating()), torch.tensor([theta, psi], dtype=torch.float64))
    assert saturates.tolist() == pytest.approx([psi * (1 - sigma), -theta * sigma], rel=1e-12)


def round_jacobian(rule: Rule, h: float, **options: Any) -> list[complex]:
    """Eigenvalues of one round as a map of (theta, psi), by central differences at the equilibrium."""
    step, columns = 1e-5, []
    for k in range(2):
        ends = []
        for sign in (1, -1):
            start = [0.0, 0.0]
            start[k] = sign * step
            game = dirac(*start, **options)
            draw = origin(game)
            play = Play(game, rule, {p.name: SGD(lr=h) for p in game.players}, nothing)
            play.deal = lambda rows=None, draw=draw: draw  # type: ignore[method-assign,misc]
            play.advance()
            moved = parameters_of(game)
            ends.append(torch.cat([moved[n] for n in sorted(moved, key=lambda n: not n.endswith("theta"))]))
        columns.append((ends[0] - ends[1]) / (2 * step))
    return sorted(torch.linalg.eigvals(torch.stack(columns, dim=1)).tolist(), key=lambda z: (z.imag, z.real))


@pytest.mark.parametrize("h", [0.1, 0.5])
def test_rounds_linearise_to_their_papers_spectra(h: float) -> None:
    """T12-T14: f' = 1/2. Alternating is on the unit circle; consensus has eigenvalues -gamma f'² ± i f'."""
    f = 0.5
    half = 1 - (h * f) ** 2 / 2
    wanted: dict[Rule, complex] = {
        Simultaneous(): 1 + 1j * h * f,
        Alternating(): half + 1j * math.sqrt(1 - half**2),
        Extragradient(): 1 + 1j * h * f - (h * f) ** 2,
        Consensus(gamma=2.0): 1 + h * (-2.0 * f * f + 1j * f),
    }
    for rule, value in wanted.items():
        found = round_jacobian(rule, h, objective=Minimax())
        assert found == pytest.approx([value.conjugate(), value], abs=1e-8), rule


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_r1_makes_simultaneous_steps_converge(gamma: float) -> None:
    h = 0.1
    found = round_jacobian(Simultaneous(), h, objective=Minimax(), penalties=(R1(gamma=gamma),))
    root = cmath.sqrt(gamma**2 / 4 - 0.25)
    wanted = [1 + h * (-gamma / 2 + s * root) for s in (-1, 1)]
    assert found == pytest.approx(wanted, abs=1e-6)
    assert max(abs(z) for z in found) < 1


# Optimisers ----------------------------------------------------------------------------------------------------------

# torch adds epsilon to the root, the differentiable step has its square under it: a tiny one makes them one.
OPTIMIZERS: dict[str, OptimizerSpec] = {
    "sgd": SGD(lr=0.1),
    "momentum": SGD(lr=0.05, momentum=0.9),
    "adam": Adam(lr=0.01, betas=(0.5, 0.99), eps=1e-14),
    "adam-no-momentum": Adam(lr=0.01, betas=(0.0, 0.9), eps=1e-14),
    "rmsprop": RMSprop(lr=0.01, alpha=0.9, eps=1e-14),
}


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_differentiable_step_is_torchs(name: str, start: int) -> None:
    """Step by step, also from the state that torch's optimiser has reached."""
    spec = OPTIMIZERS[name]
    source = torch.Generator().manual_seed(3)
    grads = torch.randn(8, 4, 3, generator=source, dtype=torch.float64)
    parameter = nn.Parameter(torch.randn(4, 3, generator=source, dtype=torch.float64))
    optimizer = spec.build([parameter])
    for group in optimizer.param_groups:
        group["lr"] = spec.rate(None)
    value, memory = parameter.detach().clone(), {}
    for k, grad in enumerate(grads):
        if k == start:
            value = parameter.detach().clone()
            memory = {n: t.clone() for n, t in optimizer.state.get(parameter, {}).items() if isinstance(t, Tensor)}
        parameter.grad = grad.clone()
        optimizer.step()
        if k >= start:
            value, memory = spec.differentiable_step(value, grad, memory, spec.rate(None))
            torch.testing.assert_close(value, parameter.detach(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("spec", [Adam(), RMSprop()], ids=["adam", "rmsprop"])
def test_a_dead_unit_has_finite_derivatives(spec: OptimizerSpec) -> None:
    grad = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    moved, _ = spec.differentiable_step(torch.ones(3, dtype=torch.float64), grad, {}, 0.1)
    (slope,) = torch.autograd.grad(moved.sum(), grad)
    assert bool(slope.isfinite().all()) and moved.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("spec", [SGD(lr=0.3), Adam(lr=0.3), RMSprop(lr=0.3)], ids=["sgd", "adam", "rmsprop"])
def test_the_rate_of_a_round_is_the_schedules(spec: OptimizerSpec) -> None:
    """The first step of Adam is the rate itself; SGD's is rate times gradient; RMSprop's rate/sqrt(1 - alpha)."""
    game = Numbers(1.0, 2.0)
    play = Play(game, Simultaneous(), {p.name: spec for p in game.players}, nothing)
    play.advance()
    step = {"SGD": 0.3 * 2.0, "Adam": 0.3, "RMSprop": 0.3 / math.sqrt(0.01)}[type(spec).__name__]
    assert 1.0 - game.point().real == pytest.approx(step, rel=1e-6)


@pytest.mark.parametrize("rate", [0.0, -1e-3, float("nan"), float("inf")])
@pytest.mark.parametrize("spec", [Adam, SGD, RMSprop])
def test_a_rate_that_is_no_rate_is_refused(spec: Any, rate: float) -> None:
    with pytest.raises(ConfigError, match="lr="):
        spec(lr=rate)
