"""Classifying discriminators: K + 1 classes and CatGAN against explicit softmaxes and scipy, labels, and networks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor, nn

import battery
from equilibria.base.errors import ConfigError, DataError
from equilibria.core.game import Batches, Draw, Game, detached, evaluate, gradients, make_draw
from equilibria.data import DataSpec, load
from equilibria.games.classifying import Categorical, Classifying, KPlusOne
from equilibria.games.spec import Latent
from equilibria.losses import FeatureMatching, LeastSquares, PreservedDistances, RelativisticPairing
from equilibria.networks import GaussianNoise, MLPPair, NoisyPair, WeightNorm
from equilibria.recipes import recipe

SMALL = MLPPair(width=8, depth=1)
PLANE = DataSpec(kind="vector", shape=(2,), classes=3, unlabelled=True)
SEMI = Classifying(adversarial_weight=0.5, terms=(FeatureMatching(),), generator_weight=0.0, latent=Latent(size=4))
CAT = Classifying(losses=Categorical(), classes=5, labelled_weight=0.0, latent=Latent(size=4))


def built(spec: Classifying = SEMI, data: DataSpec = PLANE) -> Game:
    torch.manual_seed(0)
    return spec.build(SMALL, data)


def dealt(game: Game, y: list[int]) -> Draw:
    torch.manual_seed(1)
    return make_draw(game.draw({"x": torch.randn(len(y), 2), "y": torch.tensor(y)}), 0)


def outputs(n: int = 9, k: int = 4) -> tuple[Tensor, Tensor]:
    real, fake = torch.randn(2, n, k, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2
    return real, fake


# Losses of the outputs -----------------------------------------------------------------------------------------------


def test_k_plus_one_is_a_softmax_over_one_class_more() -> None:
    real, fake = outputs()
    p_real, p_fake = (special.softmax(np.c_[h.numpy(), np.zeros(len(h))], axis=1) for h in (real, fake))
    wanted = -np.log(1 - p_real[:, -1]).mean() - np.log(p_fake[:, -1]).mean()
    assert float(KPlusOne().discriminator(real, fake)) == pytest.approx(wanted, rel=1e-10)
    assert float(KPlusOne().generator(fake)) == pytest.approx(-np.log(1 - p_fake[:, -1]).mean(), rel=1e-10)


def test_the_published_form_of_the_unlabelled_loss() -> None:
    """-E LSE(x)/2 + E softplus(LSE(x))/2 + E softplus(LSE(G))/2, as the authors' code writes it."""
    real, fake = (h.numpy() for h in outputs())
    on_real, on_fake = (special.logsumexp(h, axis=1) for h in (real, fake))
    wanted = (-on_real.mean() + np.logaddexp(0, on_real).mean() + np.logaddexp(0, on_fake).mean()) / 2
    found = 0.5 * KPlusOne().discriminator(torch.from_numpy(real), torch.from_numpy(fake))
    assert float(found) == pytest.approx(wanted, rel=1e-10)
    other = KPlusOne(objective=LeastSquares()).generator(torch.from_numpy(fake))
    assert float(other) == pytest.approx(((on_fake - 1) ** 2).mean() / 2, rel=1e-10)


@pytest.mark.parametrize("marginal", [1.0, 0.3])
def test_catgan_is_made_of_entropies(marginal: float) -> None:
    real, fake = outputs()
    p, q = (special.softmax(h.numpy(), axis=1) for h in (real, fake))
    losses = Categorical(marginal=marginal)
    on_real, on_fake = stats.entropy(p, axis=1).mean(), stats.entropy(q, axis=1).mean()
    wanted = -marginal * stats.entropy(p.mean(0)) + on_real - on_fake
    assert float(losses.discriminator(real, fake)) == pytest.approx(wanted, rel=1e-10)
    assert float(losses.generator(fake)) == pytest.approx(-marginal * stats.entropy(q.mean(0)) + on_fake, rel=1e-10)
    np.testing.assert_allclose(losses.score(real).numpy(), -stats.entropy(p, axis=1), rtol=1e-10)


def test_the_extremes_of_catgan() -> None:
    sure, even, one = 60 * torch.eye(4), torch.zeros(4, 4), 60 * torch.eye(4)[:1].expand(4, 4)
    losses, top = Categorical(), math.log(4)
    assert float(losses.discriminator(sure, even)) == pytest.approx(-2 * top, rel=1e-5)
    assert float(losses.discriminator(one, sure)) == pytest.approx(0, abs=1e-5)  # one class for all data
    assert float(losses.generator(sure)) == pytest.approx(-top, rel=1e-5)
    assert float(losses.generator(one)) == pytest.approx(0, abs=1e-5)
    for extreme in (sure * 1e3, one * 1e3):
        slope = torch.func.grad(losses.generator)(extreme)
        assert bool(slope.isfinite().all())


def test_an_optimal_catgan_discriminator_is_unsure_about_what_is_not_data() -> None:
    """On two atoms of data and one that only the generator makes, free outputs are descended to the optimum."""
    free, losses = torch.zeros(3, 2, dtype=torch.float64), Categorical()
    free += 0.1 * torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for _ in range(400):
        free -= torch.func.grad(lambda h: losses.discriminator(h[:2], h[2:]))(free)
    p = special.softmax(free.numpy(), axis=1)
    assert stats.entropy(p[2]) == pytest.approx(math.log(2), abs=1e-3)
    assert stats.entropy(p[:2], axis=1).max() < 0.05 and set(p[:2].argmax(1)) == {0, 1}


# The game ------------------------------------------------------------------------------------------------------------


def test_the_losses_of_the_game() -> None:
    game = built()
    draw = dealt(game, [0, -1, 2, -1, -1, 1])
    net = game.get_submodule("discriminator")
    fake, x = game.sample(draw), draw["real"]
    entropy = nn.functional.cross_entropy(net(x)[[0, 2, 5]], torch.tensor([0, 2, 1]))
    wanted = 0.5 * KPlusOne().discriminator(net(x), net(fake)) + entropy
    torch.testing.assert_close(evaluate(game, "discriminator", draw).total, wanted)
    features = net.encoder.trunk  # type: ignore[union-attr]
    matched = (features(x).mean(0) - features(fake).mean(0)).square().sum()  # type: ignore[operator]
    loss = detached(evaluate(game, "generator", draw))
    torch.testing.assert_close(loss.total, matched)
    assert set(loss.parts) == {"term/FeatureMatching"}
    parts = detached(evaluate(game, "discriminator", draw)).parts
    assert float(parts["share/labelled"]) == 0.5
    torch.testing.assert_close(parts["score/real"], net(x).logsumexp(1).mean())


def test_labels_alone_are_left_where_the_adversarial_weight_is_zero() -> None:
    game = built(dataclasses.replace(SEMI, adversarial_weight=0.0))
    draw = dealt(game, [0, -1, 2])
    entropy = nn.functional.cross_entropy(
        game.get_submodule("discriminator")(draw["real"])[[0, 2]], torch.tensor([0, 2])
    )
    torch.testing.assert_close(evaluate(game, "discriminator", draw).total, entropy)
    none = dealt(built(), [-1, -1, -1])
    plain = evaluate(built(dataclasses.replace(SEMI, labelled_weight=0.0)), "discriminator", none)
    torch.testing.assert_close(evaluate(built(), "discriminator", none).total, plain.total)


def test_clusters_need_no_labels_and_classes_of_labels_do() -> None:
    bare = DataSpec(kind="vector", shape=(2,))
    game = built(CAT, bare)
    draw = make_draw(game.draw({"x": torch.randn(6, 2)}), 0)
    assert set(draw.tensors) == {"real", "latent"}
    net = game.get_submodule("discriminator")
    wanted = Categorical().discriminator(net(draw["real"]), net(game.sample(draw)))
    torch.testing.assert_close(evaluate(game, "discriminator", draw).total, wanted)
    assert game.mapped("classify", {"x": torch.randn(4, 2)}).max() < 5
    with pytest.raises(DataError, match="labelled_weight=0"):
        built(SEMI, bare)
    for changed, says in (
        ({"classes": 4}, "classes=4"), ({"classes": 1, "labelled_weight": 0.0}, "classes=1"),
        ({"generator_weight": -1.0}, "generator_weight=-1.0"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=says):
            dataclasses.replace(SEMI, **changed)
    with pytest.raises(ConfigError, match="RelativisticPairing"):
        KPlusOne(objective=RelativisticPairing())
    with pytest.raises(ConfigError, match="latent_scale"):
        built(dataclasses.replace(SEMI, terms=(PreservedDistances(),)))


@pytest.mark.parametrize("spec", [SEMI, CAT], ids=["semi", "clusters"])
@pytest.mark.parametrize("check", battery.CHECKS.values(), ids=list(battery.CHECKS))
def test_it_keeps_the_promises_of_games(spec: Classifying, check: Callable[[battery.Make], None]) -> None:
    data = load("few:digits,100")

    def make(seed: int) -> tuple[Game, Batches]:
        torch.manual_seed(seed)
        return spec.build(SMALL, data.spec), lambda own, turn: data.batch(8, own, turn)

    check(make)


def test_a_label_of_a_stream_of_its_own_is_learned() -> None:
    """Ten rows of each of three far classes: after 60 rounds the rest is classified."""
    data = load("few:digits,100")
    game = recipe("improved-gan").with_settings({"networks.hidden": "[32,16]", "networks.width": "16"})
    play = game.play(game.build(data.spec, 0), data.batches(50), horizon=80)
    play.prepare()
    play.advance(80)
    rows = data.take(300, held_out=True)
    assert float((play.apply("classify", rows) == rows["y"]).double().mean()) > 0.6


# Networks ------------------------------------------------------------------------------------------------------------


def test_weight_norm_is_torchs() -> None:
    ours = WeightNorm(4, 3)
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    with torch.no_grad():
        ours.scale.copy_(torch.tensor([0.5, 2.0, -1.0]))
        theirs.parametrizations.weight.original0.copy_(ours.scale[:, None])  # type: ignore[union-attr,index,operator]
        theirs.parametrizations.weight.original1.copy_(ours.linear.weight)  # type: ignore[union-attr,index,operator]
        theirs.bias.copy_(ours.linear.bias)
    x = torch.randn(5, 4)
    torch.testing.assert_close(ours(x), theirs(x))
    rows = torch.randn(4000, 300)
    assert float(WeightNorm(300, 50, length=0.5)(rows).std()) == pytest.approx(0.5, rel=0.1)


def test_noise_is_of_training_only_and_not_on_the_features() -> None:
    pair = NoisyPair(width=8, hidden=(16, 4), input_noise=0.0, noise=0.5)
    net, x = pair.encoder((2,), 3), torch.randn(6, 2)
    assert not torch.equal(net(x), net(x)) and torch.equal(net.eval()(x), net(x))
    net.train()
    last = pair.encoder((2,), 3).trunk.body
    assert isinstance(last, nn.Sequential) and isinstance(last[-1], nn.ReLU)
    assert sum(isinstance(part, GaussianNoise) for part in net.modules()) == 3
    wide = GaussianNoise(0.5)(torch.zeros(20_000))
    assert float(wide.std()) == pytest.approx(0.5, rel=0.02) and abs(float(wide.mean())) < 0.02
    assert pair.discriminator((2,), 3)(x, torch.eye(3)[[0, 1, 2, 0, 1, 2]]).shape == (6,)
    for wrong in ({"hidden": ()}, {"noise": -1.0}, {"width": 0}):
        with pytest.raises(ConfigError):
            dataclasses.replace(pair, **wrong)  # type: ignore[arg-type]


def test_the_generator_moves_by_feature_matching_alone() -> None:
    grads, _ = gradients(built(), "generator", dealt(built(), [0, 1, -1, 2]))
    without = built(dataclasses.replace(SEMI, terms=()))
    with pytest.raises(ConfigError, match="depends on none"):
        gradients(without, "generator", dealt(without, [0, 1, -1, 2]))
    assert any(float(g.abs().max()) > 0 for g in grads.values())
