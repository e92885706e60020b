"""Rules that use products with the Jacobian, against closed forms and dense matrices made by numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from equilibria.base.errors import ConfigError
from equilibria.core.ensemble import Ensemble
from equilibria.core.game import Batch, Draw, Game, Loss, Player
from equilibria.core.lookahead import Lookahead
from equilibria.core.optimizers import SGD, Adam
from equilibria.core.play import Play, Rule
from equilibria.core.second_order import Competitive, GradientRegularised, Symplectic
from equilibria.core.updates import Alternating, Extragradient, Optimistic, Simultaneous
from equilibria.games.dirac_and_bilinear import DiracGAN, no_batches
from equilibria.losses import Minimax, Wasserstein
from equilibria.theory import fields, spectra
from test_games_toys import flat
from test_updates import RATES, nothing, path, playing
from test_updates import Numbers as Value

ALL: dict[str, Rule] = {
    "competitive": Competitive(),
    "symplectic": Symplectic(weight=0.5),
    "gradient-regularised": GradientRegularised(weight=0.5, players=("generator",)),
    "jare": GradientRegularised(weight=0.5),
    "lookahead": Lookahead(rule=Simultaneous(), period=4),
}
SECOND = [name for name in ALL if name != "lookahead"]


class Quadratic(Game):
    """Players x (3 numbers) and y (2): each loss is half a quadratic form in (x, y), with both forms free."""

    def __init__(self, seed: int = 0, x: int = 3, y: int = 2) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        forms = [0.5 * (m + m.T) for m in rng.standard_normal((2, x + y, x + y))]
        self.forms, self.sizes = [torch.from_numpy(m) for m in forms], (x, y)
        start = rng.standard_normal(x + y)
        self.x, self.y = (nn.Parameter(torch.from_numpy(part.copy())) for part in (start[:x], start[x:]))
        self.players = (Player("x", ("x",)), Player("y", ("y",)))

    def draw(self, batch: Batch) -> Batch:
        return {"real": batch["x"]}

    def loss(self, player: str, draw: Draw) -> Loss:
        at = torch.cat([self.x, self.y])
        return Loss(0.5 * at @ self.forms[player == "y"] @ at)

    def point(self) -> np.ndarray:
        return torch.cat([self.x, self.y]).detach().numpy().copy()


def jacobian(game: Quadratic) -> np.ndarray:
    """Of the gradients of both players: the first rows of one form, the last rows of the other."""
    (f, g), n = (form.numpy() for form in game.forms), game.sizes[0]
    return np.vstack([f[:n], g[n:]])


def moved(game: Any, rule: Rule, h: float = 0.2) -> np.ndarray:
    before = game.point()
    playing(game, rule, h).advance()
    return (game.point() - before) / -h


# The bilinear game: every rule is one complex factor -----------------------------------------------------------------


@RATES
@pytest.mark.parametrize("name", ["competitive", "symplectic", "jare"])
def test_a_round_on_the_bilinear_game_is_one_complex_factor(name: str, h: float) -> None:
    factor = {"competitive": (1 + 1j * h) / (1 + h * h), "symplectic": 1 + h * (1j - 0.5), "jare": 1 + h * (1j - 1.0)}
    for before, after in zip(points := path(ALL[name], h, 50), points[1:], strict=False):
        assert abs(after - factor[name] * before) <= 1e-13 * abs(points[0])


@pytest.mark.parametrize("h", [0.1, 1.0, 30.0])
def test_the_competitive_rule_converges_on_the_bilinear_game_at_every_rate(h: float) -> None:
    assert abs(path(Competitive(), h, 5)[-1]) == pytest.approx(abs(1 + 0.5j) * (1 + h * h) ** -2.5, rel=1e-9)


@RATES
@pytest.mark.parametrize(("period", "alpha"), [(2, 0.5), (5, 0.5), (5, 0.8)])
def test_lookahead_on_the_bilinear_game(period: int, alpha: float, h: float) -> None:
    """A cycle of k simultaneous rounds multiplies z by 1 - alpha + alpha (1 + ih)^k."""
    points = path(Lookahead(rule=Simultaneous(), period=period, rate=alpha), h, 4 * period)
    factor = 1 - alpha + alpha * (1 + 1j * h) ** period
    for cycle in range(5):
        assert abs(points[period * cycle] - factor**cycle * points[0]) < 1e-12


# Convergence where simultaneous steps do not -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ALL)
def test_they_converge_where_simultaneous_steps_diverge(name: str, seed: int) -> None:
    start = tuple(np.random.default_rng(seed).standard_normal(2))
    ends = {}
    for rule in (ALL[name], Simultaneous()):
        for game in (DiracGAN(Minimax(), start=start), DiracGAN(Wasserstein(), start=start)):
            play = Play(game, rule, {p.name: SGD(lr=0.5) for p in game.players}, no_batches)
            play.advance(200)
            radius = float(torch.stack(list(game.parameters())).detach().norm())
            ends.setdefault(rule is ALL[name], []).append(radius / float(np.linalg.norm(start)))
    assert max(ends[True]) < 0.1 and min(ends[False]) > 1.0, ends


# A general game of two players, by dense matrices --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_competitive_step_is_the_dense_solution(seed: int) -> None:
    """The step is the equilibrium of the bilinear approximation: one linear system in both players."""
    game, h = Quadratic(seed), 0.2
    n, jac = game.sizes[0], jacobian(game)
    xi, off = jac @ game.point(), jac.copy()
    off[:n, :n] = off[n:, n:] = 0
    wanted = np.linalg.solve(np.eye(len(xi)) + h * off, xi)
    assert moved(game, Competitive(), h) == pytest.approx(wanted, rel=1e-9, abs=1e-10)
    assert not np.allclose(wanted, np.linalg.solve(np.eye(len(xi)) - h * off, xi), rtol=1e-2)


def test_the_competitive_rule_with_two_rates_and_the_residual() -> None:
    game, rates = Quadratic(1), np.array([0.3, 0.3, 0.3, 0.05, 0.05])
    n, jac, before = 3, jacobian(game), game.point()
    xi, off = jac @ before, jac.copy()
    off[:n, :n] = off[n:, n:] = 0
    play = Play(game, Competitive(steps=8), {"x": SGD(lr=0.3), "y": SGD(lr=0.05)}, nothing)
    losses = play.advance()
    # d = -R (xi + off d), so (R^-1 + off) d = -xi
    assert game.point() - before == pytest.approx(np.linalg.solve(np.diag(1 / rates) + off, -xi), rel=1e-9, abs=1e-11)
    assert float(losses["x"].parts["residual"]) < 1e-10
    rough = Play(Quadratic(1, x=40, y=40), Competitive(steps=1), {p: SGD(lr=0.3) for p in "xy"}, nothing).advance()
    assert float(rough["x"].parts["residual"]) > 1e-3


@pytest.mark.parametrize("steps", [60, 400])
def test_more_steps_than_numbers_do_no_harm(steps: int) -> None:
    few, many = (moved(Quadratic(2), Competitive(steps=k)) for k in (6, steps))
    assert many == pytest.approx(few, rel=1e-8)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("align", [False, True])
def test_the_symplectic_adjustment_is_the_dense_one(seed: int, align: bool) -> None:
    game = Quadratic(seed)
    jac = jacobian(game)
    xi = jac @ game.point()
    back, change = jac.T @ xi, 0.5 * (jac - jac.T).T @ xi
    sign = np.sign((xi @ back) * (change @ back) / len(xi) + 0.1) if align else 1.0
    assert moved(game, Symplectic(weight=0.7, align=align)) == pytest.approx(xi + 0.7 * sign * change, rel=1e-10)
    assert np.abs(change - back).max() > 0.1  # which consensus would add


def test_the_alignment_turns_the_sign_somewhere() -> None:
    turned = 0
    for seed in range(20):
        free, aligned = (moved(Quadratic(seed), Symplectic(align=align)) for align in (False, True))
        turned += not np.allclose(free, aligned)
    assert 0 < turned < 20


def test_the_alignment_is_a_mean_over_the_numbers() -> None:
    """With epsilon one and a half times the mean's size the sign is positive, though it is far below the sum."""
    seen = 0
    for seed in range(20):
        game = Quadratic(seed)
        jac = jacobian(game)
        xi = jac @ game.point()
        change = 0.5 * (jac - jac.T).T @ xi
        mean = float((xi @ jac.T @ xi) * (change @ jac.T @ xi)) / len(xi)
        if mean < 0:
            seen += 1
            assert moved(game, Symplectic(epsilon=-1.5 * mean)) == pytest.approx(xi + change, rel=1e-9)
    assert seen > 3


def test_a_potential_game_is_left_as_it_is() -> None:
    game = Quadratic(0)
    game.forms[1] = game.forms[0]
    xi = jacobian(game) @ game.point()
    assert moved(game, Symplectic(weight=5.0, align=False)) == pytest.approx(xi, rel=1e-12)


@pytest.mark.parametrize("players", [(), ("x",), ("y",)])
def test_the_gradient_regulariser_by_finite_differences(players: tuple[str, ...]) -> None:
    game, step = Quadratic(3), 1e-6
    jac, at, n = jacobian(game), game.point(), game.sizes[0]
    wanted = jac @ at
    for i in range(len(at)):
        other = slice(n, None) if i < n else slice(0, n)
        if players and "xy"[i >= n] not in players:
            continue
        ends = [float(np.square((jac @ (at + s * step * np.eye(len(at))[i]))[other]).sum()) for s in (1, -1)]
        wanted[i] += 0.4 * (ends[0] - ends[1]) / (2 * step)
    assert moved(game, GradientRegularised(weight=0.4, players=players)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("eta", [0.1, 0.7])
@pytest.mark.parametrize("wasserstein", [False, True])
def test_the_regularised_dirac_gan_has_the_spectrum_of_the_closed_form(eta: float, wasserstein: bool) -> None:
    """One round from near the origin is 1 + h J, with J of `theory.spectra.regularised_jacobian` (A = 0, B = -+f')."""
    h, slope, columns = 0.1, 1.0 if wasserstein else 0.5, []
    for start in ((1e-5, 0.0), (0.0, 1e-5)):
        game = DiracGAN(Wasserstein() if wasserstein else Minimax(), start=start)
        rule = GradientRegularised(weight=eta, players=("generator",))
        Play(game, rule, {p.name: SGD(lr=h) for p in game.players}, no_batches).advance()
        columns.append(np.array([float(game.theta.detach()), float(game.psi.detach())]) / 1e-5)
    found = (np.linalg.eigvals(np.stack(columns, 1)) - 1) / h
    block = torch.tensor([[-slope]], dtype=torch.float64)
    wanted = np.linalg.eigvals(spectra.regularised_jacobian(torch.zeros(1, 1).double(), block, eta).numpy())
    assert np.sort_complex(found) == pytest.approx(np.sort_complex(wanted), abs=1e-6)


def test_the_rule_walks_the_field_of_theory() -> None:
    game = DiracGAN(Minimax(), start=(0.8, -0.5))
    v = fields.gradient_regularised(flat(game), "generator", "discriminator", eta=0.6)
    wanted = fields.orbit(fields.simultaneous(v, 0.1), flat(game).start, 20)[-1]
    rule = GradientRegularised(weight=0.6, players=("generator",))
    Play(game, rule, {p.name: SGD(lr=0.1) for p in game.players}, no_batches).advance(20)
    torch.testing.assert_close(torch.stack([game.theta.detach(), game.psi.detach()]), wanted, rtol=1e-11, atol=1e-12)


# Negative momentum ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("beta", "converges"), [(-0.5, True), (0.0, False), (0.5, False)])
def test_negative_momentum_on_the_bilinear_game(beta: float, converges: bool) -> None:
    """The alternating iteration as a 4x4 matrix of (g, d, push of g, push of d), by numpy."""
    h, rounds = 0.3, 300
    first = np.eye(4)  # d's push is beta times itself minus g, and d goes back along it
    first[3], first[1] = [-1, 0, 0, beta], [h, 1, 0, -h * beta]
    second = np.eye(4)
    second[2], second[0] = [0, 1, beta, 0], [1, -h, -h * beta, 0]
    matrix = second @ first
    radius = np.abs(np.linalg.eigvals(matrix)).max()
    assert (radius < 1 - 1e-3) == converges and (beta or abs(radius - 1) < 1e-12)
    game = Value()
    start = np.array([1.0, 0.5, 0.0, 0.0])
    Play(game, Alternating(), {p.name: SGD(lr=h, momentum=beta) for p in game.players}, nothing).advance(rounds)
    wanted = np.linalg.matrix_power(matrix, rounds) @ start
    assert game.point() == pytest.approx(complex(wanted[0], wanted[1]), rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_negative_momentum_on_the_wasserstein_dirac_gan(seed: int) -> None:
    ends, start = [], tuple(np.random.default_rng(seed).standard_normal(2))
    for beta in (-0.5, 0.0):
        game = DiracGAN(Wasserstein(), start=start)
        Play(game, Alternating(), {p.name: SGD(lr=0.5, momentum=beta) for p in game.players}, no_batches).advance(400)
        ends.append(float(torch.stack(list(game.parameters())).detach().norm()) / float(np.linalg.norm(start)))
    assert ends[0] < 1e-3 and ends[1] > 0.5, ends


def test_adam_with_a_negative_beta_is_its_formula() -> None:
    parameter = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = Adam(lr=0.1, betas=(-0.5, 0.9), eps=1e-14).build([parameter])
    optimizer.param_groups[0]["lr"] = 0.1
    value, mean, square = 1.0, 0.0, 0.0
    for t, grad in enumerate((1.0, -2.0, 0.5, 3.0), 1):
        parameter.grad = torch.tensor([grad], dtype=torch.float64)
        optimizer.step()
        mean, square = -0.5 * mean + 1.5 * grad, 0.9 * square + 0.1 * grad**2
        value -= 0.1 * mean / (1 - (-0.5) ** t) / (square / (1 - 0.9**t)) ** 0.5
    assert parameter.item() == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize(
    "make", [lambda: SGD(momentum=-1.0), lambda: Adam(betas=(-1.0, 0.9)), lambda: Adam(betas=(0.5, -0.1))]
)
def test_momentum_that_is_none_is_refused(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"momentum=|betas="):
        make()


# Memory, ensembles, refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inner", [Optimistic(), Extragradient(past=True), Lookahead(period=2)], ids=lambda r: type(r).__name__
)
def test_lookahead_keeps_its_memory_beside_that_of_its_rule(inner: Rule) -> None:
    """Stopped at any round and loaded into another play, a run goes on to the same bits."""
    rule = Lookahead(rule=inner, period=5)
    whole = playing(Value(), rule, 0.1)
    whole.advance(13)
    for stop in (1, 3, 5, 7):
        half, again = playing(Value(), rule, 0.1), playing(Value(3.0, 4.0), rule, 0.1)
        half.advance(stop)
        again.load({n: t.clone() for n, t in half.tensors().items()}, half.round, half.turn)
        again.advance(13 - stop)
        assert again.game.point() == whole.game.point()  # type: ignore[operator]


@pytest.mark.parametrize("rule", [*ALL.values(), Competitive(steps=1)], ids=[*ALL, "one-step"])
def test_a_member_of_an_ensemble_moves_as_a_single_game(rule: Rule) -> None:
    """Inner products over all members would couple them: the sign and the steps of the solver are each member's."""

    def one(seed: int) -> Game:
        game = DiracGAN(Minimax())
        with torch.no_grad():
            for k, parameter in enumerate(game.parameters()):
                parameter.fill_((-1) ** (seed + k) * (1.0 + seed))
        return game

    whole = Ensemble(one, (0, 1, 2))
    Play(whole, rule, {p.name: SGD(lr=0.2) for p in whole.players}, no_batches).advance(6)
    for i in range(3):
        single = one(i)
        Play(single, rule, {p.name: SGD(lr=0.2) for p in single.players}, no_batches).advance(6)
        for a, b in zip(whole.member(i).parameters(), single.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SECOND)
def test_rules_of_third_order_refuse_torchs_norms(name: str) -> None:
    game = DiracGAN()
    game.norm = nn.LayerNorm(2)
    with pytest.raises(ConfigError, match=r"LayerNorm \('norm'\)"):
        Play(game, ALL[name], {p.name: SGD(lr=0.1) for p in game.players}, no_batches).advance()


def test_the_competitive_rule_refuses_other_numbers_of_players_and_shared_parameters() -> None:
    game: Any = Quadratic()
    game.players = (*game.players, Player("z", ("x",)))
    with pytest.raises(ConfigError, match=r"two players, and the game has 3 \(x, y, z\)"):
        Play(game, Competitive(), {p.name: SGD(lr=0.1) for p in game.players}, nothing).advance()
    game = Quadratic()
    game.players = (Player("x", ("x", "y")), Player("y", ("y",)))
    with pytest.raises(ConfigError, match="both move 'y'"):
        Play(game, Competitive(), {p.name: SGD(lr=0.1) for p in game.players}, nothing).advance()


def test_a_parameter_of_several_players_is_adjusted_once() -> None:
    game: Any = Quadratic(5)
    game.players = (Player("x", ("x", "y")), Player("y", ("y",)))
    (f, g), n = (form.numpy() for form in game.forms), 3
    jac = np.vstack([f[:n], f[n:] + g[n:]])
    xi = jac @ game.point()
    wanted = xi + 0.7 * 0.5 * (jac - jac.T).T @ xi
    assert moved(game, Symplectic(weight=0.7, align=False)) == pytest.approx(wanted, rel=1e-10)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="period 5 inside"):
        Lookahead(rule=Lookahead(rule=Lookahead(period=5), period=7), period=5)
    with pytest.raises(ConfigError, match="period=1"):
        Lookahead(period=1)
    game = DiracGAN()
    with pytest.raises(ConfigError, match="no player 'generatr'"):
        rule = GradientRegularised(players=("generatr",))
        Play(game, rule, {p.name: SGD(lr=0.1) for p in game.players}, no_batches).advance()
