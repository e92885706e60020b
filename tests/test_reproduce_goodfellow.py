"""Mathematics inside the reproductions of the original game, f-GANs and finite samples, against other oracles."""

from __future__ import annotations

import math
import types

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp
from scipy.stats import norm
from sklearn.cluster import KMeans
from sklearn.neighbors import KernelDensity

from equilibria.core.optimizers import Adam
from equilibria.core.play import Play
from equilibria.core.updates import Alternating
from equilibria.data import load
from equilibria.games.two_player import TwoPlayer
from equilibria.latents import lerp, slerp
from equilibria.networks import MLPPair
from equilibria.reproduce import arora2017_samples as samples
from equilibria.reproduce import arora2018_birthday as birthday
from equilibria.reproduce import goodfellow2014_convergence as convergence
from equilibria.reproduce import goodfellow2014_density as density
from equilibria.reproduce import goodfellow2014_interpolation as interpolation
from equilibria.reproduce import goodfellow2014_parzen as parzen
from equilibria.reproduce import nowozin2016_table as table
from equilibria.reproduce.side_by_side import Turns, batches_of, seeded, side_by_side

SMALL = MLPPair(width=8, depth=1)


# Several seeds side by side ------------------------------------------------------------------------------------------


def test_side_by_side_is_the_lone_runs() -> None:
    data, spec, rate = load("gaussian"), TwoPlayer(), Adam(lr=1e-3)
    play = side_by_side(spec, SMALL, data, (3, 5), Alternating(), rate, batch=16)
    play.advance(4)
    for place, seed in enumerate((3, 5)):
        game = seeded(spec, SMALL, data, seed)
        lone = Play(game, Alternating(), {p.name: rate for p in game.players}, batches_of(data, 16), seed)
        lone.advance(4)
        together = dict(play.game.member(place).named_parameters())  # type: ignore[operator]
        for name, parameter in game.named_parameters():
            torch.testing.assert_close(together[name], parameter, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("discriminator", "generator"), [(1, 0), (0, 2), (3, 2)])
def test_turns_are_played_as_told(discriminator: int, generator: int) -> None:
    data = load("gaussian")
    game = seeded(TwoPlayer(), SMALL, data, 0)
    before = {name: parameter.detach().clone() for name, parameter in game.named_parameters()}
    rule = Turns(discriminator=discriminator, generator=generator)
    play = Play(game, rule, {p.name: Adam() for p in game.players}, batches_of(data, 8))
    play.advance()
    assert play.turn == discriminator + generator
    moved = {name.split(".")[0] for name, p in game.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {who for who, n in (("discriminator", discriminator), ("generator", generator)) if n}


# Parzen windows ------------------------------------------------------------------------------------------------------


def test_the_parzen_estimate_is_a_kernel_density() -> None:
    draw = torch.Generator().manual_seed(0)
    kernels, validation, test = (torch.rand(n, 6, generator=draw) for n in (70, 30, 40))
    found = parzen.parzen(kernels, validation, test)

    def scores(width: float, rows: torch.Tensor) -> np.ndarray:
        return KernelDensity(bandwidth=width).fit(kernels.numpy()).score_samples(rows.numpy())

    widths = np.logspace(-1, 0, 10)
    best = max(widths, key=lambda width: scores(width, validation).mean())
    assert found.width == pytest.approx(best, rel=1e-5)
    assert found.mean == pytest.approx(scores(best, test).mean(), abs=1e-4)
    assert found.error == pytest.approx(scores(best, test).std(ddof=1) / math.sqrt(40), rel=1e-3)


def test_two_rounds_of_lloyd() -> None:
    rows = torch.rand(200, 3, generator=torch.Generator().manual_seed(1))
    start = rows[:12].clone()
    oracle = KMeans(12, init=start.numpy(), n_init=1, max_iter=2, algorithm="lloyd", tol=0).fit(rows.numpy())
    torch.testing.assert_close(parzen.kmeans(rows, start, 2), torch.tensor(oracle.cluster_centers_), atol=1e-5, rtol=0)


def test_a_centre_without_rows_stays() -> None:
    rows, start = torch.zeros(5, 2), torch.tensor([[0.0, 0.0], [9.0, 9.0]])
    assert torch.equal(parzen.kmeans(rows, start, 3), start)


# Paths ---------------------------------------------------------------------------------------------------------------


def test_the_arc_is_the_rotation_of_scipy() -> None:
    """Unit quaternions are points on a sphere, and scipy turns one into another along the arc."""
    turns = Rotation.random(2, rng=np.random.default_rng(0))
    a, b = (torch.tensor(q) for q in turns.as_quat())
    b = b if a @ b > 0 else -b  # q and -q are one rotation, and scipy takes the shorter way
    shares = torch.linspace(0, 1, 7, dtype=torch.float64)
    oracle = torch.tensor(Slerp([0, 1], turns)(shares.numpy()).as_quat())
    found = slerp(a, b, shares)
    assert (1 - (found * oracle).sum(1).abs()).abs().max() < 1e-12  # equal up to the sign of a quaternion


def test_paths_end_where_they_should_and_keep_their_length() -> None:
    a, b = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    shares = torch.linspace(0, 1, 33)
    for path in (lerp, slerp):
        torch.testing.assert_close(path(a, b, shares)[[0, -1]], torch.stack([a, b]), atol=1e-5, rtol=0)
    lengths = slerp(a, b, shares).norm(dim=1)
    torch.testing.assert_close(lengths, torch.lerp(a.norm(), b.norm(), shares), atol=1e-4, rtol=0)


def test_evenness() -> None:
    frames = torch.tensor([0.0, 1.0, 2.0, 6.0]).reshape(4, 1, 1, 1)
    assert interpolation.Walk(frames).evenness == pytest.approx(1 / 4)


# The rest ------------------------------------------------------------------------------------------------------------


def test_equal_shares_of_the_normal_law() -> None:
    np.testing.assert_allclose(density._codes(9), norm.ppf((np.arange(9) + 0.5) / 9), atol=1e-6)


def test_a_mean_nearby_descends_and_one_far_away_does_not() -> None:
    near, far = convergence._mean_descent(1.0), convergence._mean_descent(12.0)
    assert near[0] == pytest.approx(0.5) and near[-1] < 1e-6 and far[-1] == pytest.approx(72.0)


def test_first_repeats() -> None:
    rows = [[4, 1, 4, 4], [1, 1, 2, 3], [1, 2, 3, 4]]
    assert [int(birthday._first_repeat(torch.tensor(row))) for row in rows] == [3, 2, 5]
    assert birthday._first_half(100) == pytest.approx(1.177 * 10, abs=2.5)


def test_laws_of_draws_have_every_atom_and_all_draws() -> None:
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        counts = table._counts(draw)
        assert counts.min() >= 1 and counts.sum() == table._DRAWS and torch.equal(counts, counts.round())


def test_slope_of_a_power_law() -> None:
    x = torch.tensor([1.0, 10.0, 1000.0])
    assert samples._slope(x, 3 * x**-0.7) == pytest.approx(-0.7, abs=1e-5)
    assert samples._js_of_samples(50) == pytest.approx(math.log(2))


@pytest.mark.parametrize("reproduction", [convergence, table])
def test_identities_hold(reproduction: types.ModuleType) -> None:
    outcome = reproduction.run(True)
    assert outcome.holds, outcome.checks
