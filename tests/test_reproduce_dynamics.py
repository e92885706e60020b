"""The mathematics that reproductions of training dynamics add: recorded fields, linear maps, suprema, gaps, answers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from equilibria.core.game import make_draw
from equilibria.core.optimizers import SGD
from equilibria.core.play import Play
from equilibria.core.updates import Alternating, Extragradient, Optimistic, Simultaneous
from equilibria.data import load
from equilibria.games.dirac_and_bilinear import BilinearGame, DiracGAN, no_batches
from equilibria.reproduce import (
    farnia2020_equilibrium,
    gidel2019_bilinear,
    grnarova2019_gap,
    mescheder2018_dirac,
    nagarajan2017_stability,
    sun2020_landscape,
)
from equilibria.reproduce.side_by_side import seeded, side_by_side
from equilibria.reproduce.toy_fields import flat, recorded
from equilibria.theory import fields
from equilibria.theory.landscape import OFF


@pytest.mark.parametrize("key", mescheder2018_dirac.METHODS)
def test_a_recorded_field_is_the_field_to_the_bit(key: str) -> None:
    method = mescheder2018_dirac.METHODS[key]
    v = method.field(flat(method.game()))
    here = torch.tensor([[1.0, -1.0], [0.3, 0.2], [-0.5, 2.0]], dtype=torch.float64)
    again = recorded(v, here)
    other = here.flip(1) - 0.7
    assert torch.equal(again(other), torch.func.vmap(v)(other))
    torch.testing.assert_close(again(other), torch.stack([v(x) for x in other]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("key", ["gan", "clip", "wgan-gp", "r1"])
def test_the_portraits_are_paths_of_the_rules_of_the_library(key: str) -> None:
    """Where players alternate, the generator is the first."""
    rules = (Simultaneous(), Alternating(), Extragradient(), Optimistic())
    method = mescheder2018_dirac.METHODS[key]
    found = mescheder2018_dirac.paths(method.game(), method.field, steps=40)[-1]
    for i, rule in enumerate(rules):
        game = method.game()
        with torch.no_grad():
            game.psi.fill_(-1.0)
        game.players = game.players[::-1]
        play = Play(game, rule, {p.name: SGD(lr=mescheder2018_dirac.H) for p in game.players}, no_batches)
        play.prepare()
        play.advance(40)
        played = torch.stack([game.theta.detach(), game.psi.detach()])
        torch.testing.assert_close(found[i], played, rtol=1e-10, atol=1e-12)


def test_linear_maps_of_the_bilinear_game_are_those_of_its_field() -> None:
    v, h = flat(BilinearGame()), gidel2019_bilinear.H
    start = torch.ones(2, dtype=torch.float64)
    extra = fields.orbit(fields.extragradient(v, h), start, 30)
    torch.testing.assert_close(gidel2019_bilinear.mapped(gidel2019_bilinear.ROWS["extragradient"].map, 30), extra)
    optimistic = fields.orbit(fields.optimistic(v, h), torch.cat([start, v(start)]), 30)[:, :2]
    torch.testing.assert_close(gidel2019_bilinear.mapped(gidel2019_bilinear.ROWS["optimistic"].map, 30), optimistic)


def test_suprema_over_free_scores_by_hand() -> None:
    """Two data: crowded (0, 0), matched (0, 1), one off, both off; each supremum from one-dimensional optima."""
    configurations = [(0, 0), (0, 1), (0, OFF), (OFF, OFF)]
    log2 = math.log(2)
    crowded = (math.log(1 / 3) + 2 * math.log(2 / 3)) / 2
    separable = sun2020_landscape.suprema(configurations, sun2020_landscape.OBJECTIVES["separable"])
    assert separable.tolist() == pytest.approx([crowded, -2 * log2, -log2, 0], abs=1e-8)
    paired = sun2020_landscape.suprema(configurations, sun2020_landscape.OBJECTIVES["paired"])
    assert paired.tolist() == pytest.approx([-log2 / 2, -log2, -log2 / 2, 0], abs=1e-8)


def test_bounds_on_rates_are_not_vacuous() -> None:
    """The largest excess is negative, and with bounds a thousandth lower some system would break them."""
    excess = nagarajan2017_stability.excess_over_bounds(60)
    assert -0.1 < excess < 0


def test_curvatures_by_finite_differences() -> None:
    w, a, in_w, in_a = nagarajan2017_stability.curvatures(points=9)
    z = np.polynomial.legendre.leggauss(60)
    share = z[1] / 2

    def value(at_w: float, at_a: float) -> float:
        return float(
            (share * (-np.log1p(np.exp(-at_w * z[0] ** 2)) - np.log1p(np.exp(at_w * at_a**2 * z[0] ** 2)))).sum()
        )

    e = 1e-3
    for i, j in itertools.product((0, 3, 8), (1, 4, 7)):
        x, y = float(w[i]), float(a[j])
        by_w = (value(x + e, y) - 2 * value(x, y) + value(x - e, y)) / e**2
        by_a = (value(x, y + e) - 2 * value(x, y) + value(x, y - e)) / e**2
        assert float(in_w[i, j]) == pytest.approx(by_w, abs=1e-6)
        assert float(in_a[i, j]) == pytest.approx(by_a, abs=1e-6)


def test_exact_gaps_by_linear_programming_and_a_grid() -> None:
    """The least over laws is a linear programme; the most over scores is a sum of one-dimensional optima."""
    for seed in range(3):
        p, q, h = grnarova2019_gap._on_points(seed)
        d = 1 / (1 + np.exp(-h.numpy()))
        least = linprog(np.log(1 - d), A_eq=np.ones((1, 6)), b_eq=[1.0], bounds=(0, None)).fun
        grid = np.linspace(1e-6, 1 - 1e-6, 200_001)
        most = sum((a * np.log(grid) + b * np.log(1 - grid)).max() for a, b in zip(p.tolist(), q.tolist(), strict=True))
        wanted = most - (float(p.numpy() @ np.log(d)) + least)
        assert grnarova2019_gap._exact_gap(p, q, h) == pytest.approx(wanted, abs=1e-6)


def test_a_histogram_of_modes_bounds_the_jsd() -> None:
    law = load("ring8-M").law
    assert law is not None and law.modes is not None
    one = law.modes[:1].repeat(100, 1).float()
    quarter, half = 1 / 8, 0.5
    mixed = (quarter + 1) / 2
    wanted = half * (quarter * math.log(quarter / mixed) + 7 * quarter * math.log(2)) + half * math.log(1 / mixed)
    assert grnarova2019_gap.histogram_jsd(one, law) == pytest.approx(wanted, abs=1e-12)
    assert grnarova2019_gap.histogram_jsd(law.modes.repeat(10, 1).float(), law) == pytest.approx(0, abs=1e-12)


def test_the_shifted_generator_runs_away_from_the_candidate() -> None:
    path = farnia2020_equilibrium.shifted(0.05, 20)
    assert bool((path[1:] > path[:-1]).all())
    # By hand: the slope of -E sp(h*(z + u)) is -E sigma(h*) h*', with h*' = (z + u) (1 - 1/s^2).
    z = np.linspace(-9, 9, 20_001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    x = z + 0.05
    logit = x * x / 2 * 0.75 - math.log(2)
    slope = -np.trapezoid(density * 0.75 * x / (1 + np.exp(-logit)), z)
    assert float(path[1] - path[0]) == pytest.approx(-farnia2020_equilibrium.SHIFT_RATE * slope, rel=1e-4)


def test_proximal_training_side_by_side_is_that_of_lone_games() -> None:
    """One generator's turn of two members against a proximal answer found by a loop written here."""
    m = farnia2020_equilibrium
    data = load("ring8-M")
    play = side_by_side(m.SPEC, m.NETWORKS, data, (0, 1), m.ProximalTraining(), m.OPTIMIZER, 16)
    play.game.players = (play.game.player("generator"),)
    lone = [seeded(m.SPEC, m.NETWORKS, data, seed).double() for seed in (0, 1)]
    play.game.double()
    draw = make_draw({name: rows.double() for name, rows in play.deal().tensors.items()}, 0)
    own, _ = m.ProximalTraining()._of_generator(play, draw)
    for i, game in enumerate(lone):
        real, latent = draw["real"][i], draw["latent"][i]
        wanted = _proximal_slope(game, real, latent, {name: t[i] for name, t in draw.tensors.items()})
        for name, slope in wanted.items():
            torch.testing.assert_close(own[f"stack.{name}"][i], slope, rtol=1e-7, atol=1e-10)


def _proximal_slope(
    game: torch.nn.Module, real: Tensor, latent: Tensor, tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Five Adam steps on D' from D, then the slope of the value in G, with torch.autograd alone."""
    m = farnia2020_equilibrium
    networks = [game.get_submodule(name) for name in ("discriminator", "generator")]
    d, g = networks
    at = real.clone().requires_grad_()
    (held,) = torch.autograd.grad(d(at).sum(), at)
    draw = make_draw(tensors, 0)
    optimizer = torch.optim.Adam(d.parameters(), lr=m.RATE)
    for _ in range(m.ANSWER_STEPS):
        (now,) = torch.autograd.grad(d(at).sum(), at, create_graph=True)
        far = (now - held).square().sum(1).mean()
        lost = m.WEIGHT / 2 * far + game.loss("discriminator", draw).total  # type: ignore[operator]
        optimizer.zero_grad()
        lost.backward()
        optimizer.step()
    made = g(latent)
    value = -game.loss("discriminator", draw).total  # type: ignore[operator]
    slopes = torch.autograd.grad(value, list(g.parameters()))
    assert made.shape == real.shape
    return {f"generator.{name}": s for (name, _), s in zip(g.named_parameters(), slopes, strict=True)}


def test_the_dirac_field_of_a_given_game() -> None:
    v = flat(DiracGAN())
    assert v(torch.tensor([1.0, -1.0], dtype=torch.float64)).tolist() == pytest.approx(
        [-1 / (1 + math.e), -1 / (1 + math.e)]
    )
