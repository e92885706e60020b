"""Terms of a player's loss and laws of codes with state: against numpy and scipy, and inside the two-player game."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist, squareform
from torch import Tensor, nn

import battery
from equilibria.base.errors import ConfigError, DataError
from equilibria.base.randomness import reseed
from equilibria.base.records import decode, encode, record
from equilibria.core.ensemble import Ensemble
from equilibria.core.game import Batches, Contest, Game, detached, evaluate, gradients, make_draw
from equilibria.core.optimizers import Adam
from equilibria.core.play import Play
from equilibria.core.updates import Alternating
from equilibria.data import DataSpec, load
from equilibria.games.laws import Embedded, LatentLaw, Law
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import TERMS, FeatureMatching, NonSaturating, PreservedDistances, PullAway, Term
from equilibria.networks import MLPPair
from equilibria.recipes import recipe

PLANE = DataSpec(kind="vector", shape=(2,))
SMALL = MLPPair(width=8, depth=1)
SMALL_LAW = Embedded(points=40, subsets=2, spread=0.05)


def contest_of(real: Tensor, fake: Tensor) -> Contest:
    """A contest whose features are the points themselves."""
    return Contest((real,), (fake,), lambda x: x.sum(1), lambda x: x)


def with_terms(*terms: Term, **settings: Any) -> Game:
    torch.manual_seed(0)
    return TwoPlayer(terms=terms, **settings).build(SMALL, PLANE)


# Terms against numpy -------------------------------------------------------------------------------------------------


def test_feature_matching_is_the_squared_distance_of_the_means() -> None:
    real, fake = torch.randn(7, 5), torch.randn(9, 5)
    wanted = 0.3 * np.linalg.norm(real.numpy().mean(0) - fake.numpy().mean(0)) ** 2
    assert float(FeatureMatching(weight=0.3)(contest_of(real, fake), None)) == pytest.approx(wanted, rel=1e-5)  # type: ignore[arg-type]


def test_pull_away_is_the_mean_squared_cosine_of_different_rows() -> None:
    fake = torch.randn(6, 4)
    cosine = 1 - cdist(fake.numpy(), fake.numpy(), "cosine")
    pairs = [cosine[i, j] ** 2 for i in range(6) for j in range(6) if i != j]
    found = PullAway(weight=0.5)(contest_of(fake, fake), None)  # type: ignore[arg-type]
    assert float(found) == pytest.approx(0.5 * np.mean(pairs), rel=1e-4)


def test_pull_away_is_its_weight_for_one_point_and_zero_for_orthogonal_ones() -> None:
    same = torch.ones(5, 3) * torch.arange(1, 6)[:, None]
    apart = torch.eye(3)
    assert float(PullAway(weight=0.1)(contest_of(same, same), None)) == pytest.approx(0.1, rel=1e-5)  # type: ignore[arg-type]
    assert float(PullAway(weight=0.1)(contest_of(apart, apart), None)) == 0  # type: ignore[arg-type]
    with pytest.raises(DataError):
        PullAway()(contest_of(apart[:1], apart[:1]), None)  # type: ignore[arg-type]


def test_features_that_vanish_have_a_finite_gradient() -> None:
    fake = torch.zeros(4, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(PullAway()(contest_of(fake, fake), None), fake)  # type: ignore[arg-type]
    assert bool(grad.isfinite().all())


def test_preserved_distances_vanish_where_the_map_is_a_scaling() -> None:
    codes = torch.randn(8, 3)
    draw = make_draw({"latent": codes, "latent_scale": torch.full((8,), 2.5)}, 0)
    scaled, other = contest_of(codes, 2.5 * codes), contest_of(codes, codes)
    assert float(PreservedDistances(weight=1.0)(scaled, draw)) == pytest.approx(0, abs=1e-10)
    assert float(PreservedDistances(weight=1.0)(other, draw)) == pytest.approx(math.log(2.5) ** 2, rel=1e-4)


@pytest.mark.parametrize("term", TERMS.values(), ids=list(TERMS))
def test_a_term_goes_to_json_and_back(term: Term) -> None:
    assert decode(encode(term)) == term
    with pytest.raises(ConfigError, match="weight"):
        type(term)(weight=-1.0)  # type: ignore[call-arg]


# Terms in the game ---------------------------------------------------------------------------------------------------


def test_terms_are_added_to_the_loss_of_their_player_alone() -> None:
    game, plain = with_terms(FeatureMatching(weight=2.0), PullAway()), with_terms()
    draw = make_draw(game.draw({"x": torch.randn(6, 2)}), 0)
    loss, bare = detached(evaluate(game, "generator", draw)), evaluate(plain, "generator", draw)
    trunk = game.get_submodule("discriminator.trunk")
    real, fake = (trunk(x).detach().numpy() for x in (draw["real"], game.sample(draw)))
    assert set(loss.parts) == {"term/FeatureMatching", "term/PullAway"}
    matched = 2.0 * ((real.mean(0) - fake.mean(0)) ** 2).sum()
    assert float(loss.parts["term/FeatureMatching"]) == pytest.approx(matched, rel=1e-4)
    torch.testing.assert_close(loss.total, bare.total + sum(loss.parts.values()))
    torch.testing.assert_close(
        evaluate(game, "discriminator", draw).total, evaluate(plain, "discriminator", draw).total
    )


def test_without_its_weight_the_adversarial_loss_moves_nothing() -> None:
    game = with_terms(generator_weight=0.0)
    grads, _ = gradients(game, "generator", make_draw(game.draw({"x": torch.randn(6, 2)}), 0))
    assert all(float(g.abs().max()) == 0 for g in grads.values())


def test_a_term_of_the_discriminator_is_a_term_of_the_discriminator() -> None:
    @record
    class PlantedDrift(Term):
        player = "discriminator"

        def noise(self, real: Tensor) -> dict[str, Tensor]:
            return {"drift_noise": torch.randn(len(real))}

        def __call__(self, contest: Any, draw: Any) -> Tensor:
            value: Tensor = (contest.scores("real") * draw["drift_noise"]).mean()
            return value

    game = with_terms(PlantedDrift())
    draw = make_draw(game.draw({"x": torch.randn(6, 2)}), 0)
    assert "term/PlantedDrift" in evaluate(game, "discriminator", draw).parts
    assert "term/PlantedDrift" not in evaluate(game, "generator", draw).parts


def test_what_a_term_reads_must_be_there() -> None:
    with pytest.raises(ConfigError, match="latent_scale") as told:
        TwoPlayer(terms=(PreservedDistances(),)).build(SMALL, PLANE)
    assert "Embedded" in told.value.fix
    TwoPlayer(terms=(PreservedDistances(),), latent=SMALL_LAW).build(SMALL, PLANE)
    own = {"discriminator": nn.Linear(2, 1)}
    with pytest.raises(ConfigError, match="features"):
        TwoPlayer(terms=(FeatureMatching(),)).build(SMALL, PLANE, own)


def test_a_discriminator_of_ones_own_may_have_features() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(2, 5), nn.Linear(5, 1)

        def features(self, x: Tensor) -> Tensor:
            return torch.tanh(self.first(x))

        def forward(self, x: Tensor) -> Tensor:
            score: Tensor = self.last(self.features(x))
            return score

    own = Own()
    game = TwoPlayer(terms=(FeatureMatching(),)).build(SMALL, PLANE, {"discriminator": own})
    draw = make_draw(game.draw({"x": torch.randn(6, 2)}), 0)
    wanted = (own.features(draw["real"]).mean(0) - own.features(game.sample(draw)).mean(0)).square().sum()
    torch.testing.assert_close(evaluate(game, "generator", draw).parts["term/FeatureMatching"], wanted)


# The law with state --------------------------------------------------------------------------------------------------


def test_the_embedding_is_the_distance_to_random_subsets() -> None:
    """One coordinate per subset, up to a common shift and scale; recomputed with scipy from the same coin flips."""
    x, law = torch.randn(40, 2), SMALL_LAW
    torch.manual_seed(5)
    found = law.prepared(x)["centres"].double().numpy()
    torch.manual_seed(5)
    columns = []
    for level in range(1, 7):
        for _ in range(law.subsets):
            inside = (torch.rand(40) < 0.5**level).numpy()
            columns.append(cdist(x.numpy(), x.numpy()[inside]).min(1) if inside.any() else np.zeros(40))
    wanted = np.stack(columns, 1) - np.mean(columns, 1)
    assert found.shape == (40, law.size) == (40, 12)
    assert np.allclose(found, wanted / np.sqrt((wanted**2).mean()), atol=1e-4)


def test_the_scale_is_the_geometric_mean_ratio_of_distances() -> None:
    x = torch.randn(40, 2) * 7
    state = SMALL_LAW.prepared(x)
    ratios = pdist(x.double().numpy()) / pdist(state["centres"].double().numpy())
    assert float(state["scale"]) == pytest.approx(np.exp(np.log(ratios).mean()), rel=1e-4)


def test_the_distortion_of_the_embedding_is_bounded() -> None:
    """Bourgain: log2 n levels distort distances by O(log n); each coordinate is 1-Lipschitz, so none expands."""
    x, law = torch.randn(200, 5), Embedded(points=200, subsets=5)
    apart, between = squareform(pdist(x.numpy())), squareform(pdist(law.prepared(x)["centres"].double().numpy()))
    ratio = (between / np.where(apart > 0, apart, 1))[np.triu_indices(200, 1)]
    assert ratio.max() / ratio.min() < 4 * math.log2(200)


def test_codes_are_a_mixture_around_the_centres() -> None:
    x, law = torch.randn(40, 2), Law(SMALL_LAW)
    law.prepare(x)
    drawn = law(20_000)
    codes, centres = drawn["latent"].double().numpy(), dict(law.named_buffers())["centres"].double().numpy()
    nearest = cdist(codes, centres).argmin(1)
    counts = np.bincount(nearest, minlength=40)
    assert counts.min() > 300 and counts.max() < 700  # 500 each; 5 standard deviations are 110
    assert (codes - centres[nearest]).std() == pytest.approx(0.05, rel=0.02)
    assert torch.equal(drawn["latent_scale"], dict(law.named_buffers())["scale"].expand(20_000))


def test_a_law_without_state_adds_no_buffer_and_draws_the_same_codes() -> None:
    law = Law(Latent(size=3))
    torch.manual_seed(1)
    wanted = Latent(size=3).codes(5)
    torch.manual_seed(1)
    assert not list(law.buffers()) and torch.equal(law(5)["latent"], wanted)
    assert isinstance(Latent(), LatentLaw) and isinstance(Embedded(), LatentLaw)


@pytest.mark.parametrize("points", [{"points": 1}, {"subsets": 0}, {"spread": 0.0}])
def test_an_embedding_that_cannot_be_is_refused(points: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Embedded(**points)


def test_equal_rows_are_embedded_without_a_number_that_is_not_finite() -> None:
    state = Embedded(points=8, subsets=2).prepared(torch.ones(8, 3))
    assert all(bool(t.isfinite().all()) for t in state.values()) and float(state["scale"]) == 1.0


# The law in the game -------------------------------------------------------------------------------------------------

BOUR = TwoPlayer(latent=SMALL_LAW, terms=(PreservedDistances(), FeatureMatching(), PullAway()))


def bourgan(seed: int) -> tuple[Game, Batches]:
    data = load("ring8-M")
    reseed(seed)
    return BOUR.build(SMALL, data.spec), data.batches(16)


@pytest.mark.parametrize("check", battery.CHECKS.values(), ids=list(battery.CHECKS))
def test_contract(check: Any) -> None:
    check(bourgan)


def test_it_is_not_a_mean_over_rows() -> None:
    assert not battery.is_mean_over_rows(bourgan)


def test_the_law_is_prepared_on_its_own_rows_and_travels_with_the_run() -> None:
    game, batches = bourgan(0)
    seen: list[int] = []

    def watched(own: int, turn: int) -> dict[str, Tensor]:
        seen.append(turn)
        return batches(own, turn)

    play = Play(game, Alternating(), {p.name: Adam() for p in game.players}, watched)
    play.prepare()
    assert seen == [0, 1, 2], "40 rows are three batches of 16"
    assert float(game.get_buffer("law.centres").square().mean()) == pytest.approx(1.0, rel=1e-4)
    other = bourgan(1)[0]
    again = Play(other, Alternating(), {p.name: Adam() for p in other.players}, batches)
    again.load(play.tensors(), 0, 0)
    assert torch.equal(again.sample(4, seed=1), play.sample(4, seed=1))


def test_members_of_an_ensemble_have_embeddings_of_their_own() -> None:
    game = Ensemble(lambda seed: bourgan(seed)[0], (0, 1))
    play = Play(game, Alternating(), {p.name: Adam() for p in game.players}, bourgan(0)[1])
    play.prepare()
    centres = dict(game.named_buffers())["stack.law.centres"]
    assert centres.shape == (2, 40, 12) and not torch.equal(centres[0], centres[1])
    assert NonSaturating() == BOUR.objective


def test_terms_and_laws_are_found_by_name() -> None:
    settings = {"game.latent": "embedded", "game.latent.points": "64", "game.terms": "feature-matching"}
    game = recipe("gan").with_settings(settings).game
    assert game == TwoPlayer(latent=Embedded(points=64), terms=(FeatureMatching(),))
    assert TwoPlayer(latent="uniform") == TwoPlayer(latent=Latent(law="uniform"))  # type: ignore[arg-type]
