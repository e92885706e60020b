"""Fields of the library's own losses against fields by hand, quadrature and finite differences (T6-T8, T12, T13)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

import battery
from equilibria.core.game import Draw, Game, field_of, make_draw, parameters_of, pure, state_of
from equilibria.games.dirac_and_bilinear import BilinearGame, DiracGAN, UniformGAN
from equilibria.losses import R1, Minimax, NonSaturating, Objective, Wasserstein
from equilibria.theory import fields
from equilibria.theory.fields import FlatField
from equilibria.theory.nash import nikaido_isoda
from equilibria.theory.spectra import eigenvalues, leading_eigenvalues, regulariser_bound
from test_battery import GAMES


def flat(game: Game) -> FlatField:
    draw = make_draw(game.draw({}), seed=0)
    return FlatField(lambda p: field_of(game, p, state_of(game), draw), parameters_of(game))


def sigma(t: float) -> float:
    return 1 / (1 + math.exp(-t))


def f1(t: float) -> float:  # f'(t) of f = log sigma
    return sigma(-t)


def f2(t: float) -> float:
    return -sigma(t) * sigma(-t)


# What the flow keeps, and what steps do to it -------------------------------------------------------------------------


@pytest.mark.parametrize("point", [(1.0, 1.0), (-0.3, 2.0), (2.0, -0.7)])
def test_the_unregularised_flow_keeps_its_radius(point: tuple[float, float]) -> None:
    x = torch.tensor(point, dtype=torch.float64)

    def radius(at: Tensor) -> Tensor:
        return at.square().sum() / 2

    for objective in (Minimax(), Wasserstein()):
        assert abs(float(fields.drift(radius, flat(DiracGAN(objective)), x))) < 1e-14
    t = -float(x.prod())  # theta * phi
    saturated = float(fields.drift(radius, flat(DiracGAN(NonSaturating())), x))
    assert saturated == pytest.approx(t * (f1(t) - f1(-t)), abs=1e-12) and saturated <= 0
    assert float(fields.drift(radius, flat(DiracGAN(penalties=(R1(gamma=0.5),))), x)) == pytest.approx(
        -0.5 * point[1] ** 2, abs=1e-12
    )


def test_bilinear_games_turn() -> None:
    matrix = torch.tensor([[1.0, 2.0], [0.5, -1.0], [0.0, 3.0]])
    v = flat(BilinearGame(matrix))
    rotation = fields.jacobian(v, v.start)
    symmetric, skew = fields.split(rotation)
    a = matrix.double().numpy()
    wanted = np.block([[np.zeros((2, 2)), a.T], [-a, np.zeros((3, 3))]])
    assert float(symmetric.abs().max()) == 0 and np.allclose(skew.numpy(), wanted, atol=1e-14)
    x = torch.arange(5.0, dtype=torch.float64)
    assert abs(float(fields.drift(lambda at: at.square().sum(), v, x))) < 1e-12
    assert abs(float(fields.drift(lambda at: v(at).square().sum(), v, x))) < 1e-12


# Nagarajan and Kolter's example (T6-T8) -----------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0.2, 0.7, 1.0, 1.6])
@pytest.mark.parametrize("w", [-1.5, -0.5, 0.0, 0.4, 2.0])
def test_the_value_is_concave_in_the_generator_too(w: float, a: float) -> None:
    game = UniformGAN()
    draw = make_draw(game.draw({}), seed=0)

    def value(own: Tensor) -> Tensor:
        inner: Tensor = torch.func.functional_call(game, {"w": own[0], "a": own[1]}, ("loss", "generator", draw)).total
        return inner

    second = fields.hessian(value, torch.tensor([w, a], dtype=torch.float64))[1, 1].item()

    def curvature(z: float) -> float:  # of a -> f(-w a² z²)
        t, slope = -w * a * a * z * z, -2 * w * a * z * z
        return f2(t) * slope * slope + f1(t) * (-2 * w * z * z)

    assert second == pytest.approx(quad(curvature, -1, 1)[0] / 2, abs=1e-9)
    assert second <= 1e-12 if w >= 0 else True
    if w == -0.5 and a <= 0.7:
        assert second > 0


def test_local_stability_and_its_failure_for_wasserstein() -> None:
    at = torch.tensor([0.0, 1.0], dtype=torch.float64)  # w, a
    logistic = fields.jacobian(flat(UniformGAN()), at)
    assert logistic[0, 0].item() == pytest.approx(-0.1) and logistic[1, 1].item() == pytest.approx(0, abs=1e-12)
    assert np.allclose([logistic[0, 1], -logistic[1, 0]], math.copysign(1 / 3, logistic[0, 1]), atol=1e-12)
    found = eigenvalues(logistic)
    assert found[0].real.item() == pytest.approx(-0.05, abs=1e-12)
    assert found[0].imag.item() == pytest.approx(math.sqrt(1 / 9 - 0.05**2), abs=1e-12)
    assert round(found[0].imag.item(), 4) == 0.3296
    linear = fields.jacobian(flat(UniformGAN(Wasserstein())), at)
    assert np.allclose(linear.abs().numpy(), [[0, 2 / 3], [2 / 3, 0]], atol=1e-12)
    assert np.allclose(np.abs(eigenvalues(linear).numpy()), 2 / 3) and np.allclose(eigenvalues(linear).real, 0)


@pytest.mark.parametrize("objective", [Minimax(), Wasserstein()], ids=["minimax", "wasserstein"])
def test_the_gradient_norm_regulariser_stabilises(objective: Objective) -> None:
    v, at = flat(UniformGAN(objective)), torch.tensor([0.0, 1.0], dtype=torch.float64)
    plain = fields.jacobian(v, at)
    assert regulariser_bound(plain[:1, :1]) > 0.25
    regularised = fields.gradient_regularised(v, "generator", "discriminator", eta=0.25)
    # At the equilibrium the generator's row gains -2 eta J_DG^T (J_DD, J_DG).
    wanted = plain.clone()
    wanted[1] -= 2 * 0.25 * plain[0, 1] * plain[0]
    torch.testing.assert_close(fields.jacobian(regularised, at), wanted)
    assert eigenvalues(wanted)[0].real < -0.02
    start = torch.tensor([0.2, 0.8], dtype=torch.float64)
    found = fields.orbit(fields.simultaneous(regularised, 0.2), start, 200)[-1] - at
    assert found.norm() < 0.05
    if isinstance(objective, Wasserstein):
        assert (fields.orbit(fields.simultaneous(v, 0.2), start, 50)[-1] - at).norm() > (start - at).norm()


# Games of the library ----------------------------------------------------------------------------------------------


NAMES = ["two-player/minimax", "two-player/hinge", "two-player/conditional", "two-player/r1-r2", "d2gan", "mgan", "aae"]


@pytest.mark.parametrize("name", NAMES)
def test_every_game_has_a_field_a_spectrum_and_a_gap(name: str) -> None:
    play = battery.started(GAMES[name])
    play.game.double()
    deal = {n: t.double() if t.is_floating_point() else t for n, t in play.deal().tensors.items()}
    game, draw = play.game, make_draw(deal, seed=0)
    v = FlatField(lambda p: field_of(game, p, state_of(game), draw), parameters_of(game))
    near = fields.linearise(v, v.start)
    u = torch.randn(v.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    e = 1e-6
    differences = (v(v.start + e * u) - v(v.start - e * u)) / (2 * e)
    torch.testing.assert_close(near.forward(u), differences, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(near.backward(u).dot(u), near.forward(u).dot(u))
    wanted = torch.zeros_like(v.start)
    for player in v.players:
        wanted += v.block(v.start, player)
        assert bool((v.block(v.start, player)[v.mask(player) == 0] == 0).all())
    torch.testing.assert_close(near.value, wanted)
    leading = leading_eigenvalues(near.forward, v.start, k=2, which="LM")
    if v.size < 300:
        dense = np.linalg.eigvals(fields.jacobian(v, v.start).numpy())
        assert np.abs(leading[0].numpy() - dense).min() < 1e-6
        assert float(leading.abs().max()) == pytest.approx(np.abs(dense).max(), rel=1e-6)
    assert bool(torch.isfinite(leading.abs()).all())
    assert sum(nikaido_isoda(*losses_of(game, draw), steps=2).values()) > 0


def losses_of(game: Game, draw: Draw) -> tuple[dict, dict]:
    state, params = state_of(game), parameters_of(game)
    losses = {
        p.name: (lambda own, who=p.name: pure(game, {**params, **own}, state, who, draw).total) for p in game.players
    }
    return losses, {p.name: {n: params[n] for n in game.moved(p.name)} for p in game.players}


def test_products_are_those_of_the_matrix() -> None:
    def v(x: Tensor) -> Tensor:
        return torch.stack([x[0] * x[1], x[2].sin() + x[0] ** 3, x[1] * x[2]])

    x, u = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64), torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    j = np.array([[-1.2, 0.3, 0], [3 * 0.09, 0, math.cos(2.0)], [0, 2.0, -1.2]])
    near = fields.linearise(v, x)
    assert np.allclose(near.forward(u), j @ u.numpy()) and np.allclose(near.backward(u), j.T @ u.numpy())
    assert np.allclose(fields.jacobian(v, x), j) and np.allclose(fields.jacobian(v, x, chunk=1), j)
    h = fields.hessian(lambda at: v(at).sum(), x)
    assert np.allclose(fields.hessian_product(lambda at: v(at).sum(), x, u), h @ u)
    constant = fields.linearise(lambda at: torch.ones(3, dtype=torch.float64), x)
    assert float(constant.forward(u).abs().sum() + constant.backward(u).abs().sum()) == 0


def test_wrong_calls_say_what_is_wanted() -> None:
    one = {"x": torch.ones(2)}
    with pytest.raises(ValueError, match="players move something"):
        FlatField(lambda p: {}, one)
    with pytest.raises(ValueError, match=r"shape \(3,\), the parameter is \(2,\)"):
        FlatField(lambda p: {"a": {"x": torch.ones(3)}}, one)
    with pytest.raises(ValueError, match="unknown"):
        FlatField(lambda p: {"a": {"y": torch.ones(3)}}, one)
    mixed = {"x": torch.ones(1), "y": torch.ones(1, dtype=torch.float64)}
    with pytest.raises(ValueError, match="float64"):
        FlatField(lambda p: {"a": dict(p)}, mixed)
    v = FlatField(lambda p: {"a": dict(p)}, one)
    with pytest.raises(ValueError, match=r"coordinates \(2,\)"):
        v(torch.ones(3))
    with pytest.raises(ValueError, match="no player 'b'"):
        v.block(v.start, "b")
