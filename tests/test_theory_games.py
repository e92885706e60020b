"""Games of the library through theory: field, Jacobian, spectrum and gap of each, with no case for any of them.

The oracle is finite differences of the losses, taken by moving the game's own parameters in place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigs
from torch import Tensor

from equilibria.base.randomness import reseed
from equilibria.core.game import Draw, Game, evaluate, field_of, make_draw, parameters_of, pure, state_of
from equilibria.data import DataSpec
from equilibria.games.spec import GameSpec, Latent
from equilibria.losses import OBJECTIVES
from equilibria.networks import MLPPair
from equilibria.recipes import recipe
from equilibria.theory import fields, spectra
from equilibria.theory.fields import FlatField
from equilibria.theory.nash import best_response, duality_gap, nikaido_isoda

F64 = torch.float64
CODE = Latent(size=2)


def row(name: str, **sizes: object) -> GameSpec:
    """The game of a recipe, with some of its fields made smaller."""
    return dataclasses.replace(recipe(name).game, **sizes)  # type: ignore[type-var]


GAMES: dict[str, GameSpec] = {
    **{f"two-player/{name}": row("gan", objective=objective, latent=CODE) for name, objective in OBJECTIVES.items()},
    "conditional": row("cgan", latent=CODE),
    "r3gan": row("r3gan-small", latent=CODE),
    "wgan-gp": row("wgan-gp", latent=CODE),
    "instance-noise": row("instance-noise", latent=CODE),
    "d2gan": row("d2gan", latent=CODE),
    "d2gan, three players": row("d2gan", latent=CODE, joint=False),
    "mgan": row("mgan", latent=CODE, generators=2, hidden=3),
    "cogan": row("cogan", latent=CODE, hidden=3, stem_layers=1),
    "cogan, untied": row("cogan", latent=CODE, hidden=3, stem_layers=1, tied_generators=False),
    "aae": row("aae", prior=CODE),
    "aae, petals": row("aae-petals", encoder="gaussian"),
}


def dealt(spec: GameSpec, width: int = 3, depth: int = 1, rows: int = 6) -> tuple[Game, Draw]:
    """The game on rows of the plane with labels and a second domain, prepared, and one draw; all in float64."""
    reseed(1)
    batch = {"x": torch.randn(rows, 2), "y": torch.arange(rows) % 3, "other": torch.randn(rows, 2)}
    data = DataSpec(kind="vector", shape=(2,), classes=3, paired=True)
    game = spec.build(MLPPair(width=width, depth=depth, activation="silu"), data)
    with torch.no_grad():
        game.prepare(batch)
        drawn = game.draw(batch)
    return game.double(), make_draw({n: t.double() if t.is_floating_point() else t for n, t in drawn.items()}, seed=0)


def flat(game: Game, draw: Draw) -> FlatField:
    return FlatField(lambda p: field_of(game, p, state_of(game), draw), parameters_of(game))


Losses = Callable[[Tensor], Tensor]


def losses_at(game: Game, draw: Draw, v: FlatField) -> Losses:
    """Every player's loss at a point in coordinates, ``(players,)``: the parameters are overwritten, nothing else."""
    own = dict(game.named_parameters())

    @torch.no_grad()
    def at(x: Tensor) -> Tensor:
        for name, value in v.params(x).items():
            own[name].copy_(value)
        return torch.stack([evaluate(game, player, draw).total for player in v.players])

    return at


@pytest.mark.parametrize("name", GAMES)
def test_the_field_and_its_jacobian_are_differences_of_the_losses(name: str) -> None:
    game, draw = dealt(GAMES[name])
    v = flat(game, draw)
    x, masks = v.start, torch.stack([v.mask(player) for player in v.players])
    at, h = losses_at(game, draw, v), 1e-5
    slopes = torch.stack([(at(x + h * e) - at(x - h * e)) / (2 * h) for e in torch.eye(v.size, dtype=F64)], 1)
    torch.testing.assert_close(v(x), -(masks * slopes).sum(0), rtol=1e-6, atol=1e-8)

    j, near, h = fields.jacobian(v, x), fields.linearise(v, x), 1e-4
    source = torch.Generator().manual_seed(2)
    for _ in range(6):
        u, w = torch.randn(2, v.size, dtype=F64, generator=source) / v.size**0.5
        # u'Jw: each player's loss, once along its own part of u and once along w.
        mixed = sum(
            (at(x + h * (m * u + w)) - at(x + h * (m * u - w)) - at(x - h * (m * u - w)) + at(x - h * (m * u + w)))[i]
            for i, m in enumerate(masks)
        )
        assert float(u @ j @ w) == pytest.approx(float(-mixed / (4 * h * h)), rel=1e-4, abs=1e-6)
        torch.testing.assert_close(near.forward(w), j @ w)
        torch.testing.assert_close(near.backward(u), j.T @ u)


@pytest.mark.parametrize("name", GAMES)
def test_the_spectrum_is_that_of_the_losses(name: str) -> None:
    game, draw = dealt(GAMES[name])
    v = flat(game, draw)
    x, masks = v.start, torch.stack([v.mask(player) for player in v.players])
    at, h = losses_at(game, draw, v), 1e-4
    here = at(x)
    curves = torch.stack([(at(x + h * e) - 2 * here + at(x - h * e)) / h**2 for e in torch.eye(v.size, dtype=F64)], 1)
    spectrum = spectra.eigenvalues(fields.jacobian(v, x))
    assert float(spectrum.sum().real) == pytest.approx(float(-(masks * curves).sum()), rel=1e-4, abs=1e-5)
    leading = spectra.leading_eigenvalues(fields.linearise(v, x).forward, x, k=2, which="LM")
    for value in leading:
        assert float((spectrum - value).abs().min()) < 1e-6
    assert float(leading.abs().max()) == pytest.approx(float(spectrum.abs().max()), abs=1e-6)


def answers(game: Game, draw: Draw) -> tuple[dict, dict]:
    """Every player's loss as a function of its own strategy, and the strategies."""
    state, params = state_of(game), {n: p.clone() for n, p in parameters_of(game).items()}
    losses = {
        p.name: (lambda own, who=p.name: pure(game, {**params, **own}, state, who, draw).total) for p in game.players
    }
    return losses, {p.name: {n: params[n] for n in game.moved(p.name)} for p in game.players}


@pytest.mark.parametrize("name", GAMES)
def test_the_gap_is_what_the_losses_fall_by(name: str) -> None:
    game, draw = dealt(GAMES[name])
    losses, strategies = answers(game, draw)
    gaps = nikaido_isoda(losses, strategies, steps=20, rate=0.02)
    assert gaps.keys() == {p.name for p in game.players}
    own = dict(game.named_parameters())
    before = {p.name: evaluate(game, p.name, draw).total.item() for p in game.players}
    for player, gap in gaps.items():
        answer = best_response(losses[player], strategies[player], steps=20, rate=0.02)
        with torch.no_grad():
            for n, value in answer.strategy.items():
                own[n].copy_(value)
            fallen = before[player] - evaluate(game, player, draw).total.item()
            for n, value in strategies[player].items():
                own[n].copy_(value)
        assert gap > 0 and gap == pytest.approx(fallen, rel=1e-9)


@pytest.mark.parametrize("name", ["minimax", "wasserstein", "f-gan-kl", "relativistic-pairing-saturating"])
def test_of_a_zero_sum_game_it_is_the_duality_gap(name: str) -> None:
    game, draw = dealt(GAMES[f"two-player/{name}"])
    losses, strategies = answers(game, draw)
    state = state_of(game)

    def value(d: dict[str, Tensor], g: dict[str, Tensor]) -> Tensor:
        return -pure(game, {**d, **g}, state, "discriminator", draw).total

    found = duality_gap(value, strategies["discriminator"], strategies["generator"], steps=20, rate=0.02)
    assert found == pytest.approx(sum(nikaido_isoda(losses, strategies, steps=20, rate=0.02).values()), rel=1e-6)


# Large games ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.ci_slow
@pytest.mark.parametrize("name", ["r3gan", "mgan"])
def test_matrix_free_is_dense_on_two_thousand_parameters(name: str) -> None:
    game, draw = dealt(GAMES[name], width=29 if name == "r3gan" else 28, depth=2, rows=32)
    v = flat(game, draw)
    assert 1900 < v.size < 2100
    dense = np.linalg.eigvals(fields.jacobian(v, v.start).numpy())
    near = fields.linearise(v, v.start)
    sizes = {"LR": dense.real, "SR": -dense.real, "LM": np.abs(dense), "LI": np.abs(dense.imag)}
    for which, size in sizes.items():
        found = spectra.leading_eigenvalues(near.forward, v.start, 4, which)  # type: ignore[arg-type]
        least = np.sort(size)[::-1][3]
        for value in found.numpy():
            assert np.abs(dense - value).min() < 1e-6, which
            here = {"LR": value.real, "SR": -value.real, "LM": abs(value), "LI": abs(value.imag)}[which]
            assert here > least - 1e-6, which


@pytest.mark.slow
@pytest.mark.ci_slow
@pytest.mark.timeout(300)
def test_matrix_free_runs_on_a_million_parameters() -> None:
    """Some thirty processor seconds. Found once more with its vectors, each value certifies itself: Jx is lambda x.

    Third comes a pair of nearly the modulus of the second, which a search for two may return in its place: asked for
    four, it misses none of the two largest.
    """
    game, draw = dealt(GAMES["r3gan"], width=512, depth=3, rows=32)
    v = flat(game, draw)
    assert v.size >= 1_000_000
    near = fields.linearise(v, v.start)
    found = spectra.leading_eigenvalues(near.forward, v.start, 2, "LM", tolerance=1e-6)
    operator = LinearOperator((v.size, v.size), matvec=lambda u: near.forward(torch.from_numpy(u.ravel())).numpy())
    values, vectors = eigs(operator, 4, which="LM", tol=1e-6, v0=np.ones(v.size))
    largest = np.argsort(-np.abs(values))[:2]
    conjugate = np.concatenate([found.numpy(), found.numpy().conj()])  # of a pair that is cut in two, either
    for value, vector in zip(values[largest], vectors.T[largest], strict=True):
        assert np.abs(conjugate - value).min() < 1e-5 * abs(value)
        image = near.forward(torch.from_numpy(vector.real.copy())) + 1j * near.forward(
            torch.from_numpy(vector.imag.copy())
        )
        assert np.linalg.norm(image.numpy() - value * vector) < 1e-4 * abs(value)
