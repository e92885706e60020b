"""Kernel distances against loops and closed forms; the moment matching network and the MMD-GAN."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import battery
from equilibria.base.errors import ConfigError, DataError
from equilibria.core.game import Batches, Draw, Game, detached, evaluate, gradients, make_draw
from equilibria.core.optimizers import SGD
from equilibria.core.play import Play
from equilibria.core.updates import Alternating
from equilibria.data import DataSpec, load
from equilibria.games.kernels import GMMN, MMDGAN, witness
from equilibria.games.spec import Latent
from equilibria.losses import Clip
from equilibria.losses.discrepancy import root, squared_discrepancy
from equilibria.networks import MLPPair

SMALL = MLPPair(width=8, depth=1)
SPEC = MMDGAN(code=3, scales=(0.5, 2.0), latent=Latent(size=4), discriminator_turns=2, clip=Clip(value=0.1))
FIXED = GMMN(scales=(0.5, 2.0), latent=Latent(size=4))


def by_loops(x: np.ndarray, y: np.ndarray, scales: tuple[float, ...], unbiased: bool) -> float:
    """The squared discrepancy by its definition, one pair at a time."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return sum(math.exp(-sum((s - t) ** 2 for s, t in zip(a, b, strict=True)) / (2 * w * w)) for w in scales)

    def mean(a: np.ndarray, b: np.ndarray, skip: bool) -> float:
        found = [kernel(a[i], b[j]) for i in range(len(a)) for j in range(len(b)) if not (skip and i == j)]
        return sum(found) / len(found)

    return mean(x, x, unbiased) + mean(y, y, unbiased) - 2 * mean(x, y, False)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.3, 1.0, 4.0)])
def test_the_discrepancy_is_that_of_a_loop(scales: tuple[float, ...], unbiased: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(5, 3)) + 0.5
    found = squared_discrepancy(torch.from_numpy(x), torch.from_numpy(y), scales, unbiased)
    assert float(found) == pytest.approx(by_loops(x, y, scales, unbiased), rel=1e-10)


def test_of_two_normal_laws_it_has_the_closed_form() -> None:
    """One scale s, N(0, 1) against N(a, 1): 2 s / r (1 - exp(-a^2 / 2 r^2)) with r^2 = s^2 + 2."""
    source = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 3000, 1, dtype=torch.float64, generator=source)
    s, a = 1.5, 0.8
    r = math.sqrt(s * s + 2)
    wanted = 2 * s / r * (1 - math.exp(-a * a / (2 * r * r)))
    assert float(squared_discrepancy(x, y + a, (s,), unbiased=True)) == pytest.approx(wanted, abs=0.012)


def test_of_one_law_the_unbiased_estimate_is_zero_in_the_mean_and_the_biased_is_not() -> None:
    source = torch.Generator().manual_seed(1)
    pairs = [torch.randn(2, 20, 2, dtype=torch.float64, generator=source) for _ in range(300)]
    unbiased = np.array([float(squared_discrepancy(x, y, unbiased=True)) for x, y in pairs])
    biased = np.array([float(squared_discrepancy(x, y)) for x, y in pairs])
    assert abs(unbiased.mean()) < 4 * unbiased.std() / math.sqrt(300) and unbiased.min() < 0
    assert biased.min() > 0 and biased.mean() > 20 * biased.std() / math.sqrt(300)


def test_the_root_has_finite_slopes_at_zero() -> None:
    x = torch.randn(5, 2)
    slope = torch.func.grad(lambda y: root(squared_discrepancy(x, y)))(x.clone())
    assert bool(slope.isfinite().all())
    with pytest.raises(DataError, match="1 and 3 rows"):
        squared_discrepancy(x[:1], x[:3], unbiased=True)


def test_the_witness_is_half_the_discrepancys_slope_in_the_weights() -> None:
    """Its mean over real rows less that over fake rows is the biased estimate."""
    real, fake = torch.randn(6, 2, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64) + 1
    gap = witness(real, real, fake).mean() - witness(fake, real, fake).mean()
    torch.testing.assert_close(gap, squared_discrepancy(real, fake))


def test_images_and_low_precision() -> None:
    x, y = torch.randn(2, 4, 1, 3, 3)
    torch.testing.assert_close(squared_discrepancy(x, y), squared_discrepancy(x.flatten(1), y.flatten(1)))
    assert squared_discrepancy(x.bfloat16(), y.bfloat16()).dtype == torch.float32


# Games ---------------------------------------------------------------------------------------------------------------


def built(spec: MMDGAN = SPEC) -> tuple[Game, Draw]:
    torch.manual_seed(0)
    game = spec.build(SMALL, DataSpec(kind="vector", shape=(2,)))
    return game, make_draw(game.draw({"x": torch.randn(6, 2)}), 0)


def test_the_losses_of_the_mmd_gan() -> None:
    game, draw = built()
    f, d = game.get_submodule("encoder"), game.get_submodule("decoder")
    x, y = draw["real"], game.sample(draw)
    codes = [f(side).detach().double().numpy() for side in (x, y)]
    distance = math.sqrt(by_loops(codes[0], codes[1], (0.5, 2.0), False))
    gap = np.minimum(codes[0].mean(0) - codes[1].mean(0), 0).mean()
    errors = [((d(f(side)) - side) ** 2).mean().item() for side in (x, y)]
    loss = {name: float(detached(evaluate(game, name, draw)).total) for name in ("generator", "discriminator")}
    assert gap < 0
    assert loss["generator"] == pytest.approx(distance + 16 * gap, rel=1e-3, abs=1e-4)
    assert loss["discriminator"] == pytest.approx(-(distance + 16 * gap) + 8 * sum(errors), rel=1e-3)


def test_only_the_encoder_is_clipped() -> None:
    game, _ = built()
    specs = {player.name: SGD(lr=1e-3) for player in game.players}
    play = Play(game, Alternating(), specs, lambda seed, turn: {"x": torch.randn(6, 2)})
    play.prepare()
    play.advance(1)
    most = {
        n: max(float(p.detach().abs().max()) for p in game.get_submodule(n).parameters())
        for n in ("encoder", "decoder")
    }
    assert most["encoder"] <= 0.1 + 1e-6 < most["decoder"]


def test_the_moment_matching_generator_descends_the_distance() -> None:
    torch.manual_seed(0)
    game = FIXED.build(SMALL, DataSpec(kind="vector", shape=(2,)))
    draw = make_draw(game.draw({"x": torch.randn(16, 2) + 2}), 0)
    wanted = math.sqrt(by_loops(draw["real"].numpy(), game.sample(draw).detach().numpy(), (0.5, 2.0), False))
    assert float(evaluate(game, "generator", draw).total) == pytest.approx(wanted, rel=1e-3)
    before = wanted
    optimizer = torch.optim.Adam(game.parameters(), lr=0.05)
    for _ in range(60):
        for n, grad in gradients(game, "generator", draw)[0].items():
            dict(game.named_parameters())[n].grad = grad
        optimizer.step()
    assert float(evaluate(game, "generator", draw).total) < 0.5 * before


# GMMN has nobody who judges, and its one player is what every rule for two players moves.
ALONE = {"a_contest_is_higher_for_more_real", "the_gap_is_not_negative"}


@pytest.mark.parametrize("spec", [FIXED, SPEC], ids=["gmmn", "mmd-gan"])
@pytest.mark.parametrize("check", battery.CHECKS.values(), ids=list(battery.CHECKS))
def test_they_keep_the_promises_of_games(spec: GMMN | MMDGAN, check: Callable[[battery.Make], None]) -> None:
    if spec is FIXED and check.__name__ in ALONE:
        return
    data = load("ring8-M")

    def make(seed: int) -> tuple[Game, Batches]:
        torch.manual_seed(seed)
        return spec.build(SMALL, data.spec), lambda own, turn: data.batch(8, own, turn)

    check(make)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: GMMN(scales=()), "scales"),
        (lambda: GMMN(scales=(1.0, 0.0)), "scales"),
        (lambda: MMDGAN(code=0), "code"),
        (lambda: MMDGAN(one_sided=-1.0), "one_sided"),
    ],
)
def test_mistakes_are_named(call: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        call()


def test_a_score_is_higher_where_real_rows_are() -> None:
    torch.manual_seed(0)
    game = FIXED.build(SMALL, DataSpec(kind="vector", shape=(2,)))
    contest = game.contests(make_draw(game.draw({"x": torch.randn(16, 2) + 2}), 0))["data"]
    found: Tensor = contest.scores("real").mean() - contest.scores("fake").mean()
    assert float(found.detach()) > 0
