"""Reference numbers from an independent computation in numpy, to the digits stated, on the laws behind them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2, ncx2
from torch import Tensor

from equilibria.core.game import Game, field_of, make_draw, parameters_of, state_of
from equilibria.games.dirac_and_bilinear import DiracGAN
from equilibria.losses import (
    LEAST_SQUARES_BINARY,
    LEAST_SQUARES_PEARSON,
    Exponential,
    Hinge,
    NonSaturating,
    Objective,
    RelativisticPairing,
    Wasserstein,
)
from equilibria.theory import fields
from equilibria.theory.divergences import energy_value, kl
from equilibria.theory.fields import FlatField
from equilibria.theory.generalization import fresh_distance
from equilibria.theory.identities import product_js


def drawn(seed: int, size: int, concentration: float) -> tuple[Tensor, Tensor]:
    """The two laws of the reference computation: the first two draws of a Dirichlet law."""
    source = np.random.default_rng(seed)
    p, q = (source.dirichlet(np.full(size, concentration)) for _ in "pq")
    return torch.from_numpy(p), torch.from_numpy(q)


FIRST, SECOND = drawn(1, 7, 2.0), drawn(0, 6, 1.0)


def least(objective: Objective, p: Tensor, q: Tensor) -> float:
    """The discriminator's loss at its optimal score, every pair of a real and a fake atom weighed by p x q."""
    h = objective.optimal_score((p / q).log())
    i, j = torch.cartesian_prod(torch.arange(len(p)), torch.arange(len(q))).T
    each = torch.func.vmap(lambda a, b: objective.discriminator(a[None], b[None]))(h[i], h[j])
    return float((p[i] * q[j]) @ each)


def test_the_criterion_of_least_squares() -> None:
    p, q = FIRST
    h = LEAST_SQUARES_PEARSON.optimal_score((p / q).log())
    twice = 2 * float((p + q) @ torch.func.vmap(lambda s: LEAST_SQUARES_PEARSON.generator(s[None]))(h))
    assert round(twice, 6) == 0.212125


def test_the_least_energy_and_the_least_hinge_loss() -> None:
    assert round(float(energy_value(*FIRST, margin=1.0)), 6) == 0.715382
    assert round(least(Hinge(), *FIRST), 6) == 1.430764


def test_the_value_of_two_discriminators() -> None:
    """α = .3, β = .7."""
    p, q = FIRST
    found = sum(w * (math.log(w) - 1 + float(d)) for w, d in ((0.3, kl(p, q)), (0.7, kl(q, p))))
    assert round(found, 6) == -1.387377


def test_proper_losses_as_divergences() -> None:
    p, q = SECOND
    assert round(float(product_js(p, q)), 7) == 0.5813935
    assert round(math.log(2) - least(RelativisticPairing(), p, q), 7) == 0.5813935
    gap = 0.25 - least(LEAST_SQUARES_BINARY, p, q)
    assert round(gap, 7) == 0.1604366 and round(8 * gap, 7) == 1.2834931
    assert round(1 - least(Exponential(), p, q) / 2, 7) == 0.5470582


def nearest_by_quadrature(d: int, n: int) -> float:
    """Given |x|² = u/d the squared distance to one point is a non-central chi-square over d."""
    u = chi2.ppf((np.arange(800) + 0.5) / 800, d)[:, None]
    r = np.concatenate([np.linspace(0, 0.5, 401), np.linspace(0.5, 3, 501)[1:]])
    return float(np.trapezoid(ncx2.sf(r * r * d, d, u) ** n, r, axis=1).mean())


@pytest.mark.parametrize(("d", "printed", "digits"), [(2, 0.055, 3), (50, 1.02, 2), (400, 1.27, 2)])
def test_the_distance_to_the_nearest_of_a_thousand(d: int, printed: float, digits: int) -> None:
    """The printed .055 is of one sample: over samples the mean is .054, and one sample's standard deviation .001."""
    found = float(np.mean([fresh_distance(d, 1000, 2000, torch.Generator().manual_seed(s)) for s in range(4)]))
    assert found == pytest.approx(nearest_by_quadrature(d, 1000), rel=0.01)
    assert round(found, digits) == printed if d > 2 else abs(found - printed) < 2 * 0.001


def flat(game: Game) -> FlatField:
    draw = make_draw(game.draw({}), seed=0)
    return FlatField(lambda p: field_of(game, p, state_of(game), draw), parameters_of(game))


def test_simultaneous_wasserstein_steps_diverge_by_the_formula() -> None:
    """Printed as inf after 4,000 steps of .1; it is sqrt(2) 1.01^2000 = 6.2e8."""
    v = flat(DiracGAN(Wasserstein(), start=(1.0, 1.0)))
    radii = fields.orbit(fields.simultaneous(v, 0.1), v.start, 400).norm(dim=1)
    assert float(radii[-1]) == pytest.approx(math.sqrt(2) * 1.01**200, rel=1e-10)


@pytest.mark.parametrize("h", [0.05, 0.1])
def test_nonsaturating_steps_settle_at_the_root_of_twice_the_step(h: float) -> None:
    """Averaging: a step adds h r²/8 to r²/2, the flow takes r⁴/16: they balance at r² = 2h."""

    def stepped(t: float, p: float) -> tuple[float, float]:
        pull = 1 / (1 + math.exp(-t * p)), 1 / (1 + math.exp(t * p))
        return t - h * p * pull[0], p + h * t * pull[1]

    wanted = math.sqrt(2 * h)
    for start in (0.7 * wanted, 1.4 * wanted):
        t, p = start, 0.0
        for _ in range(round(25 / h**2)):
            t, p = stepped(t, p)
        assert math.hypot(t, p) == pytest.approx(wanted, rel=0.02)
    v = flat(DiracGAN(NonSaturating(), start=(0.3, -0.4)))
    found = fields.simultaneous(v, h)(v.start)
    by_hand = stepped(0.3, 0.4)
    assert found.tolist() == pytest.approx([by_hand[0], -by_hand[1]], abs=1e-12)
