"""Procedures over games, and AdaGAN's weights against a general optimiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from equilibria.base.errors import ConfigError, DataError
from equilibria.base.randomness import reseed
from equilibria.core.game import Game
from equilibria.core.optimizers import Adam
from equilibria.core.play import Play
from equilibria.data import DataSpec, load
from equilibria.games.boosting import Boosting, Mixture, boosting_weights, mixture_sample, weighted_batches
from equilibria.games.spec import Latent
from equilibria.games.stages import Finished, Stage, Task, as_sampled
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import MLPPair
from equilibria.recipes import Recipe

SMALL = MLPPair(width=6, depth=1)
PLAN = Boosting(components=3, rounds=6, batch=8, judge=SMALL, judge_steps=20)
ROWS = load("ring8-M").batch(64, 0, 0)["x"]
DATA = load(ROWS.numpy())
ROW = Recipe(
    name="boosted",
    year=0,
    cite="",
    source="",
    about="",
    game=TwoPlayer(latent=Latent(size=2)),
    networks=SMALL,
    optimizer=Adam(lr=1e-3),
    batch=8,
    steps=6,
)


def make(seed: int) -> Game:
    reseed(seed)
    return TwoPlayer(latent=Latent(size=2)).build(SMALL, DataSpec(kind="vector", shape=(2,)))


def opened(stage: Stage) -> Play:
    assert stage.view is not None
    rows = stage.view(DATA)
    play: Play = stage.recipe.play(stage.recipe.build(rows.spec, 7), rows.batches(stage.recipe.batch), seed=7)
    play.prepare()
    return play


DIVERGENCES = {
    "kl": lambda m: np.sum(-np.log(m)),  # KL(P || M) with P uniform, m = dM/dP
    "chi2": lambda m: np.sum((m - 1) ** 2),
    "reverse-kl": lambda m: np.sum(m * np.log(m)),
}


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("beta", [0.2, 0.5])
def test_weights_minimise_every_f_divergence(name: str, beta: float) -> None:
    """One closed form is the best W for (1 - β) Q + β W, whatever f: scipy finds nothing better on the simplex."""
    n, f = 9, DIVERGENCES[name]
    h = np.random.default_rng(3).gamma(0.7, 1.5, n)
    h *= n / h.sum()  # dQ/dP of a law on the same rows
    w = boosting_weights(torch.tensor(h), beta).numpy()

    def objective(v: np.ndarray) -> float:
        return float(f(np.clip((1 - beta) * h + beta * n * v, 1e-12, None)))

    assert w.sum() == pytest.approx(1) and (w >= 0).all() and (w == 0).any() and (w > 0).any()
    found = minimize(
        objective,
        np.full(n, 1 / n),
        bounds=[(0, 1)] * n,
        constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert objective(w) <= found.fun + 1e-6
    np.testing.assert_allclose(w, found.x, atol=2e-3)
    assert objective(w) < float(f(np.clip(h, 1e-12, None))), "a step of optimal mixing brings the mixture closer"


def test_weights_at_the_ends() -> None:
    assert torch.allclose(boosting_weights(torch.rand(7), 1.0), torch.full((7,), 1 / 7).double())
    missed = boosting_weights(torch.tensor([0.0, 0.0, 5.0, 5.0]), 0.25)
    assert missed.tolist() == [0.5, 0.5, 0.0, 0.0]
    assert boosting_weights(torch.full((5,), 1e30), 0.5).tolist() == pytest.approx([0.2] * 5)


@pytest.mark.parametrize("beta", [0.0, 1.5, float("nan")])
def test_weights_refuse_a_share_outside(beta: float) -> None:
    with pytest.raises(ConfigError):
        boosting_weights(torch.ones(3), beta)


@pytest.mark.parametrize(
    "ratios", [torch.tensor([-1.0]), torch.tensor([float("inf")]), torch.ones(0), torch.ones(2, 2)]
)
def test_weights_refuse_what_is_no_ratio(ratios: torch.Tensor) -> None:
    with pytest.raises(DataError):
        boosting_weights(ratios, 0.5)


def test_batches_follow_the_weights() -> None:
    weights = torch.tensor([0.1, 0.0, 0.6, 0.3])
    deal = weighted_batches(torch.eye(4), weights, batch=20_000)
    share = deal(1, 2)["x"].mean(0)
    assert (share - weights).abs().max() < 0.015 and share[1] == 0
    assert torch.equal(deal(1, 2)["x"], deal(1, 2)["x"]) and not torch.equal(deal(1, 2)["x"], deal(1, 3)["x"])


def test_the_judge_sees_what_the_mixture_misses() -> None:
    """A generator that knows one of two clusters: the rows of the other get nearly all the weight."""
    rows = torch.cat([torch.randn(200, 2) * 0.1 + 2, torch.randn(200, 2) * 0.1 - 2])
    game = make(0)
    with torch.no_grad():
        for parameter in game.get_submodule("generator").parameters():
            parameter.mul_(0.05)
        last = [p for p in game.get_submodule("generator").parameters() if p.shape == (2,)][-1]
        last.fill_(2.0)
    plan = Boosting(components=2, judge=MLPPair(width=16, depth=2), judge_steps=150, batch=64)
    weights = plan.weights((game,), rows, seed=0)
    assert float(weights[200:].sum()) > 0.95 and float(weights.sum()) == pytest.approx(1)


@pytest.mark.parametrize(("scheme", "distinct"), [("adagan", True), ("bagging", True), ("independent", False)])
def test_each_scheme_weighs_its_own_way(scheme: str, distinct: bool) -> None:
    plan = Boosting(components=2, scheme=scheme, judge=SMALL, judge_steps=20, batch=8)
    weights = plan.weights((make(1),), ROWS, seed=3)
    assert float(weights.sum()) == pytest.approx(1)
    assert (weights.unique().numel() > 1) == distinct
    if scheme == "bagging":
        assert torch.equal((weights * len(ROWS)).round(), weights * len(ROWS))


def test_the_procedure_resumes_between_and_inside_stages() -> None:
    plan, task = PLAN.settled(ROW, DATA), Task(ROW, DATA, seed=1)
    whole: tuple[Finished, ...] = ()
    while (stage := plan.stages(whole, task)) is not None:
        play = opened(stage)
        play.advance(stage.recipe.steps)
        whole = (*whole, Finished(stage.name, as_sampled(play)))
    assert [stage.name for stage in whole] == [*plan.plan(ROW, DATA.spec)] and len(whole) == 3
    done: tuple[Finished, ...] = ()
    for _ in range(3):
        stage = plan.stages(done, task)
        assert stage is not None
        cut = opened(stage)
        cut.advance(4)
        kept, at = {n: t.clone() for n, t in cut.tensors().items()}, (cut.round, cut.turn)
        torch.manual_seed(99)
        again = plan.stages(done, Task(ROW, DATA, seed=1))  # as another process would ask
        assert again is not None and again.name == stage.name
        play = opened(again)
        play.load(kept, *at)
        play.advance(again.recipe.steps - play.round)
        done = (*done, Finished(again.name, as_sampled(play)))
    assert plan.stages(done, task) is None
    for a, b in zip(whole, done, strict=True):
        pairs = zip(a.game.state_dict().values(), b.game.state_dict().values(), strict=True)
        assert all(torch.equal(x, y) for x, y in pairs)
    mixtures = [plan.joined(stages, DATA.spec) for stages in (whole, done)]
    assert all(isinstance(game, Mixture) for game in mixtures)
    made = [mixture_sample(tuple(stage.game for stage in stages), 50, seed=4) for stages in (whole, done)]
    assert torch.equal(*made)


def test_a_procedure_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    PLAN.weights((make(1),), ROWS, seed=3)
    torch.set_rng_state(state)
    PLAN.ratios((make(1),), ROWS, seed=3)
    reseed(5)
    before = torch.get_rng_state()
    mixture_sample((make.__call__(2),), 5)
    reseed(5)
    assert torch.equal(before, torch.get_rng_state())


def test_a_mixture_has_equal_parts() -> None:
    games = tuple(make(i) for i in range(2))
    for value, game in zip((1.0, -1.0), games, strict=True):
        with torch.no_grad():
            for parameter in game.get_submodule("generator").parameters():
                parameter.zero_()
            [p for p in game.get_submodule("generator").parameters() if p.shape == (2,)][-1].fill_(value)
    made = mixture_sample(games, 4000)
    assert abs(float(made.mean())) < 0.06 and set(made.unique().tolist()) == {1.0, -1.0}
    with pytest.raises(ConfigError, match="no games"):
        mixture_sample((), 3)


def test_boosting_refuses() -> None:
    with pytest.raises(ConfigError, match="scheme='bagging'"):
        Boosting(scheme="baging")
    with pytest.raises(ConfigError, match="components=0"):
        Boosting(components=0)
