"""Spectra against numpy, brute force and the Jacobians of the library's games (T7, T13, T14)."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from equilibria.base.randomness import reseed
from equilibria.core.game import Game, field_of, make_draw, parameters_of, state_of
from equilibria.data import load
from equilibria.games.dirac_and_bilinear import DiracGAN, UniformGAN
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import R1, R2, GradientPenalty, Minimax, NonSaturating, RelativisticPairing, Wasserstein
from equilibria.networks import MLPPair
from equilibria.theory import fields, spectra
from equilibria.theory.fields import FlatField

ORIGIN = torch.zeros(2, dtype=torch.float64)


def flat(game: Game) -> FlatField:
    draw = make_draw(game.draw({}), seed=0)
    return FlatField(lambda p: field_of(game, p, state_of(game), draw), parameters_of(game))


def network_field(width: int, depth: int, batch: int, double: bool = True) -> FlatField:
    """The field of a two-player game of perceptrons on the ring, R1 in it, by its own draw."""
    data = load("ring8-M")
    spec = TwoPlayer(objective=NonSaturating(), penalties=(R1(gamma=1.0),), latent=Latent(size=4))
    reseed(0)
    game = spec.build(MLPPair(width=width, depth=depth), data.spec)
    tensors = game.draw(data.batch(batch, 0, 0))
    if double:
        game.double()
        tensors = {n: t.double() for n, t in tensors.items()}
    draw = make_draw(tensors, seed=0)
    return FlatField(lambda p: field_of(game, p, state_of(game), draw), parameters_of(game))


def close(found: Tensor, wanted: Tensor | np.ndarray, tolerance: float = 1e-9) -> bool:
    """Two spectra as multisets: each value has a partner of its own."""
    left = list(np.asarray(wanted, dtype=complex))
    for value in found.tolist():
        nearest = min(range(len(left)), key=lambda i: abs(left[i] - value))
        if abs(left.pop(nearest) - value) > tolerance:
            return False
    return True


# The rows of T14 at the origin ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("kind", [R1, R2])
@pytest.mark.parametrize("objective", [Minimax(), NonSaturating(), RelativisticPairing()], ids=["gan", "ns", "rp"])
def test_penalised_row(objective: object, kind: type, gamma: float) -> None:
    j = fields.jacobian(flat(DiracGAN(objective, (kind(gamma=gamma),))), ORIGIN)  # type: ignore[arg-type]
    # At gamma = 1 the eigenvalue is double and the matrix defective: half of the digits are lost.
    assert close(spectra.penalised_eigenvalues(gamma), np.linalg.eigvals(j.numpy()), 1e-7)
    printed = np.array([-gamma / 2 + s * np.sqrt(complex(gamma**2 / 4 - 0.5)) for s in (1, -1)])
    assert not close(spectra.penalised_eigenvalues(gamma), printed, 1e-2)  # f'(0) without its square


@pytest.mark.parametrize("variance", [0.1, 1.0, 3.0])
def test_instance_noise_row(variance: float) -> None:
    j = fields.jacobian(flat(DiracGAN(Minimax(), noise=math.sqrt(variance))), ORIGIN)
    assert close(spectra.noised_eigenvalues(variance), np.linalg.eigvals(j.numpy()), 1e-8)


@pytest.mark.parametrize("gamma", [0.1, 2.0])
def test_consensus_row_and_shift(gamma: float) -> None:
    v = flat(DiracGAN())
    plain, pulled = fields.jacobian(v, ORIGIN), fields.jacobian(fields.consensus(v, gamma), ORIGIN)
    assert close(spectra.consensus_eigenvalues(gamma), np.linalg.eigvals(pulled.numpy()))
    torch.testing.assert_close(pulled, plain - gamma * plain.T @ plain)


def test_wasserstein_row() -> None:
    j = fields.jacobian(flat(DiracGAN(Wasserstein())), ORIGIN)
    assert close(spectra.eigenvalues(j), np.array([1j, -1j]))


@pytest.mark.parametrize("turns", [(1, 1), (1, 5), (3, 2)])
@pytest.mark.parametrize("step", [0.1, 1.0, 4.5])
def test_alternating_row(step: float, turns: tuple[int, int]) -> None:
    n_g, n_d = turns
    operator = fields.alternating(flat(DiracGAN()), step, {"generator": n_g, "discriminator": n_d})
    found = np.linalg.eigvals(fields.jacobian(operator, ORIGIN).numpy())
    assert close(spectra.alternating_eigenvalues(step, turns=turns), found, 1e-7)
    alpha = math.sqrt(n_g * n_d) * step * 0.5
    modulus = np.abs(found).max()
    assert modulus == pytest.approx(1, abs=1e-7) if alpha <= 2 else modulus > 1.05


@pytest.mark.parametrize("h", [0.05, 0.1, 1.0])
def test_simultaneous_steps_expand(h: float) -> None:
    for objective in (Minimax(), NonSaturating()):
        j = fields.jacobian(fields.simultaneous(flat(DiracGAN(objective)), h), ORIGIN)
        assert np.abs(np.linalg.eigvals(j.numpy())).max() == pytest.approx(math.sqrt(1 + h * h / 4))


def test_damping_is_critical_where_decay_is_fastest() -> None:
    weights = np.linspace(0.05, 3, 60)
    slowest = [max(np.linalg.eigvals(np.array([[0, -0.5], [0.5, -g]])).real) for g in weights]
    assert weights[int(np.argmin(slowest))] == pytest.approx(spectra.critical_damping(), abs=0.03)
    assert spectra.penalised_eigenvalues(spectra.critical_damping(0.7), 0.7).imag.abs().max() < 1e-7


# Statements on any spectrum -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_largest_step_is_where_the_step_stops_contracting(seed: int) -> None:
    source = np.random.default_rng(seed)
    matrix = source.standard_normal((5, 5)) - 4 * np.eye(5)
    h = spectra.largest_step(spectra.eigenvalues(torch.from_numpy(matrix)))

    def radius(step: float) -> float:
        return float(np.abs(np.linalg.eigvals(np.eye(5) + step * matrix)).max())

    assert radius(0.999 * h) < 1 < radius(1.001 * h)
    assert spectra.step_radius(spectra.eigenvalues(torch.from_numpy(matrix)), h) == pytest.approx(1)
    assert spectra.largest_step(torch.tensor([0.1 + 1j, -1 + 0j])) == 0


def test_the_block_jacobian_is_that_of_the_game() -> None:
    j = fields.jacobian(flat(UniformGAN()), torch.tensor([0.0, 1.0], dtype=torch.float64))
    k_dd, k_dg = torch.tensor([[1 / 5]], dtype=torch.float64), torch.tensor([[-2 / 3]], dtype=torch.float64)
    # E x^4 = 1/5 and d/da E a^2 z^2 = 2/3, with the sign of K_DG in the flow of V = E f(D) + E f(-D)
    torch.testing.assert_close(spectra.equilibrium_jacobian(k_dd, k_dg, 0.5, -0.25), j)
    linear = fields.jacobian(flat(UniformGAN(Wasserstein())), torch.tensor([0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(spectra.equilibrium_jacobian(k_dd, k_dg, 1.0, 0.0), linear)


@pytest.mark.parametrize("seed", range(20))
def test_rates_at_an_equilibrium_are_bounded(seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    d, g = 4, 1 + seed % 3
    root = torch.randn(d, d, generator=source, dtype=torch.float64)
    k_dd, k_dg = root @ root.T, torch.randn(d, g, generator=source, dtype=torch.float64)
    spectrum = np.linalg.eigvals(spectra.equilibrium_jacobian(k_dd, k_dg, 0.5, -0.25).numpy())
    turning, straight = spectra.stability_bounds(k_dd, k_dg, 0.5, -0.25)
    for value in spectrum:
        assert value.real <= (turning if abs(value.imag) > 1e-9 else straight) + 1e-12
    assert turning < 0 and straight < 0


def test_the_theorem_does_not_cover_wasserstein() -> None:
    with pytest.raises(ValueError, match=r"f''\(0\) < 0"):
        spectra.stability_bounds(torch.eye(1), torch.eye(1), 1.0, 0.0)
    with pytest.raises(ValueError, match="K_DG"):
        spectra.stability_bounds(torch.eye(1), torch.zeros(1, 1), 0.5, -0.25)
    with pytest.raises(ValueError, match=r"\(d, g\)"):
        spectra.equilibrium_jacobian(torch.eye(2), torch.ones(1, 1), 0.5, -0.25)


@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_stability_bounds_refuse_what_their_assumptions_exclude(turn: float) -> None:
    """A generator that acts where the discriminator's mean of outer products is zero: eigenvalues on the axis."""
    c, s = math.cos(turn), math.sin(turn)
    basis = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    k_dd = basis @ torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64)) @ basis.T
    inside, outside = basis[:, :1], basis[:, 1:]
    spectrum = np.linalg.eigvals(spectra.equilibrium_jacobian(k_dd, outside, 0.5, -0.25).numpy())
    assert np.abs(spectrum.real[np.abs(spectrum.imag) > 0.1]).max() < 1e-12  # so the bound -1/4 would be false
    with pytest.raises(ValueError, match="supports differ"):
        spectra.stability_bounds(k_dd, outside, 0.5, -0.25)
    bound, _ = spectra.stability_bounds(k_dd, inside, 0.5, -0.25)
    found = np.linalg.eigvals(spectra.equilibrium_jacobian(k_dd, inside, 0.5, -0.25).numpy())
    assert bound == pytest.approx(-0.25) and found.real[np.abs(found.imag) > 0.1].max() <= bound + 1e-12


@pytest.mark.parametrize(
    ("k_dd", "words"),
    [
        ([[1.0, 0.0], [0.0, -0.2]], "below 0"),
        ([[1.0, 0.0], [0.0, math.nan]], "not"),
        ([[1.0, 0.3], [0.0, 1.0]], "symm"),
    ],
)
def test_stability_bounds_refuse_what_is_no_mean_of_outer_products(k_dd: list[list[float]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        spectra.stability_bounds(torch.tensor(k_dd), torch.ones(2, 1), 0.5, -0.25)


@pytest.mark.parametrize("wasserstein", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_regulariser_is_stable_for_every_weight(seed: int, wasserstein: bool) -> None:
    """T8: far below the bound, at it, and far beyond it; by the spectrum of the similar matrix, in numpy."""
    rng = np.random.default_rng(seed)
    root, b = rng.standard_normal((3, 3)), rng.standard_normal((3, 3 if wasserstein else 2))
    a = np.zeros((3, 3)) if wasserstein else -root @ root.T
    j_dd, j_dg = torch.from_numpy(a), torch.from_numpy(b)
    bound = spectra.regulariser_bound(j_dd)
    assert math.isinf(bound) if wasserstein else bound == pytest.approx(0.5 / np.linalg.eigvalsh(-a).max())
    for eta in (1e-3, 0.1, 1.0, 30.0) if wasserstein else (1e-2 * bound, 0.999 * bound, 1.001 * bound, 100 * bound):
        found = np.linalg.eigvals(spectra.regularised_jacobian(j_dd, j_dg, eta).numpy())
        similar = np.block([[a - 2 * eta * b @ b.T, b], [-b.T, np.zeros((b.shape[1], b.shape[1]))]])
        assert np.abs(np.sort_complex(found) - np.sort_complex(np.linalg.eigvals(similar))).max() < 1e-6 * (1 + eta)
        assert found.real.max() < 0
    none = np.linalg.eigvals(spectra.regularised_jacobian(j_dd, j_dg, 0.0).numpy()).real.max()
    assert abs(none) < 1e-9 if wasserstein else none < 0


def test_the_regularised_jacobian_is_that_of_the_regularised_field() -> None:
    rng = np.random.default_rng(3)
    root, b = rng.standard_normal((3, 3)), torch.from_numpy(rng.standard_normal((3, 2)))
    a = torch.from_numpy(-root @ root.T)

    start = {"d": torch.zeros(3, dtype=torch.float64), "g": torch.zeros(2, dtype=torch.float64)}
    v = FlatField(lambda p: {"d": {"d": a @ p["d"] + b @ p["g"]}, "g": {"g": -b.T @ p["d"]}}, start)
    found = fields.jacobian(fields.gradient_regularised(v, "g", "d", eta=0.7), v.start)
    torch.testing.assert_close(found, spectra.regularised_jacobian(a, b, 0.7))


@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_lambda_is_twice_the_weight_of_the_gradient_penalty(weight: float) -> None:
    """T14: the loss w (|psi| - g0)^2 has the slope 2 w (|psi| - g0) sign psi, so lambda = 2 w."""
    v = flat(DiracGAN(Wasserstein(), (GradientPenalty(weight=weight, center=0.3),)))
    for theta, psi in ((0.7, 1.1), (-0.4, -0.2), (0.0, 0.5)):
        found = v(torch.tensor([theta, psi], dtype=torch.float64)).tolist()
        # psi here is minus the paper's psi: a real example has the higher score.
        assert found == pytest.approx([psi, -theta - 2 * weight * (abs(psi) - 0.3) * math.copysign(1, psi)], abs=1e-9)


# Arnoldi --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["LR", "SR", "LM", "LI"])
def test_arnoldi_on_a_game_of_hundreds(which: str) -> None:
    compare_with_dense(network_field(width=14, depth=1, batch=16), cast(spectra.Which, which))


@pytest.mark.slow
@pytest.mark.ci_slow
@pytest.mark.parametrize("which", ["LR", "SR", "LM"])
def test_arnoldi_on_a_game_of_two_thousand(which: str) -> None:
    v = network_field(width=27, depth=2, batch=32)
    assert 1800 < v.size < 2200
    compare_with_dense(v, cast(spectra.Which, which))


def compare_with_dense(v: FlatField, which: spectra.Which, k: int = 4) -> None:
    dense = np.linalg.eigvals(fields.jacobian(v, v.start).numpy())
    found = spectra.leading_eigenvalues(fields.linearise(v, v.start).forward, v.start, k, which)
    measure = {"LR": dense.real, "SR": -dense.real, "LM": np.abs(dense), "LI": np.abs(dense.imag)}[which]
    least = np.sort(measure)[::-1][k - 1]
    for value in found.numpy():
        assert np.abs(dense - value).min() < 1e-6
        here = {"LR": value.real, "SR": -value.real, "LM": abs(value), "LI": abs(value.imag)}[which]
        assert here > least - 1e-6


@pytest.mark.slow
def test_arnoldi_on_a_million_parameters() -> None:
    v = network_field(width=512, depth=3, batch=8, double=False)
    assert v.size >= 1_000_000
    near = fields.linearise(v, v.start)
    found = spectra.leading_eigenvalues(near.forward, v.start, 2, "LM", tolerance=1e-3)
    largest = found[found.abs().argmax()]
    u = torch.randn(v.size, generator=torch.Generator().manual_seed(0))
    for _ in range(15):  # the power method; the leading eigenvalue is real here
        u = near.forward(u / u.norm())
    u = u / u.norm()
    assert largest.imag == 0
    assert float(near.forward(u) @ u) == pytest.approx(float(largest.real), rel=1e-3)


def test_arnoldi_gives_all_of_a_small_matrix_and_repeats_itself() -> None:
    matrix = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert close(spectra.leading_eigenvalues(matrix.mv, matrix[0], k=6), np.linalg.eigvals(matrix.numpy()))
    large = torch.randn(60, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = (spectra.leading_eigenvalues(large.mv, large[0], k=3) for _ in range(2))
    assert torch.equal(first, second)


def test_wrong_calls_say_what_is_wanted() -> None:
    with pytest.raises(ValueError, match=r"\(n, n\)"):
        spectra.eigenvalues(torch.ones(2, 3))
    with pytest.raises(ValueError, match="not finite"):
        spectra.eigenvalues(torch.full((2, 2), torch.inf))
    like = torch.ones(50, dtype=torch.float64)
    with pytest.raises(ValueError, match="k=0"):
        spectra.leading_eigenvalues(lambda u: u, like, k=0)
    with pytest.raises(ValueError, match="not finite"):
        spectra.leading_eigenvalues(lambda u: u * torch.nan, like, k=2)
    turn = torch.linspace(0, 1, 2000, dtype=torch.float64)
    with pytest.raises(ValueError, match="more rounds"):
        spectra.leading_eigenvalues(lambda u: turn * u, turn, k=6, tolerance=1e-14, rounds=1)
