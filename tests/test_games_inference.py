"""InfoGAN: the bound of the information, who moves Q, and codes that a user fixes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

import battery
from equilibria.base.errors import ConfigError, ShapeError
from equilibria.base.randomness import reseed
from equilibria.base.records import decode, encode
from equilibria.core.game import Batches, Game, detached, evaluate, gradients, make_draw
from equilibria.data import DataSpec, load
from equilibria.games.inference import NARROWEST, Category, Code, InfoGAN, Number
from equilibria.games.spec import Latent
from equilibria.losses import R1, NonSaturating, RelativisticPairing
from equilibria.networks import MLPPair

PLANE = DataSpec(kind="vector", shape=(2,))
SMALL = MLPPair(width=8, depth=1)
SPEC = InfoGAN(codes=(Category(name="c1", classes=5, weight=1.0), Number(name="c2", weight=0.3)), latent=Latent(size=3))


def small(seed: int = 0, spec: InfoGAN = SPEC) -> Game:
    torch.manual_seed(seed)
    return spec.build(SMALL, PLANE)


# The bound -----------------------------------------------------------------------------------------------------------


def test_the_information_of_a_category_is_its_entropy_minus_the_cross_entropy() -> None:
    code, read = Category(classes=4), torch.randn(9, 4)
    drawn = code.drawn(9)
    probability = np.exp(read.numpy()) / np.exp(read.numpy()).sum(1, keepdims=True)
    wanted = math.log(4) + np.log((probability * drawn.numpy()).sum(1)).mean()
    assert float(code.information(drawn, read)) == pytest.approx(wanted, rel=1e-5)


def test_a_category_that_is_read_without_error_has_log_k_nats_and_one_that_is_not_read_none() -> None:
    code = Category(classes=6)
    drawn = code.drawn(500)
    assert float(code.information(drawn, 1e3 * drawn)) == pytest.approx(math.log(6))
    assert float(code.information(drawn, torch.zeros(500, 6))) == pytest.approx(0, abs=1e-6)


def test_the_information_of_a_number_is_that_of_a_normal_law() -> None:
    code, read = Number(), torch.randn(7, 2)
    drawn = code.drawn(7)
    deviation = NARROWEST + np.log1p(np.exp(read[:, 1].numpy()))
    wanted = math.log(2) + stats.norm(read[:, 0].numpy(), deviation).logpdf(drawn[:, 0].numpy()).mean()
    assert float(code.information(drawn, read)) == pytest.approx(wanted, rel=1e-4)


def test_a_bound_is_below_the_information() -> None:
    """x = c + noise with c uniform on [-1, 1]: I(c; x) by quadrature; the best normal Q stays below it."""
    noise = 0.3

    def density(x: float) -> float:
        return float(stats.norm(0, noise).cdf(x + 1) - stats.norm(0, noise).cdf(x - 1)) / 2

    entropy = integrate.quad(lambda x: -density(x) * math.log(density(x)) if density(x) > 0 else 0.0, -4, 4)[0]
    information = entropy - math.log(noise * math.sqrt(2 * math.pi * math.e))
    code = Number().drawn(200_000)
    x = code + noise * torch.randn_like(code)
    slope = float((code * x).mean() / (x * x).mean())
    rest = float((code - slope * x).std())
    raw = math.log(math.expm1(rest - NARROWEST))
    bound = float(Number().information(code, torch.cat([slope * x, torch.full_like(x, raw)], 1)))
    assert 0.7 * information < bound < information


def test_codes_follow_the_laws_that_their_entropies_are_of() -> None:
    drawn = Category(classes=4).drawn(8000)
    assert torch.equal(drawn.sum(1), torch.ones(8000))
    assert stats.chisquare(drawn.sum(0).numpy()).pvalue > 1e-3
    assert stats.kstest(Number().drawn(8000)[:, 0].numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3


# The game ------------------------------------------------------------------------------------------------------------


def test_the_losses_are_those_of_the_paper() -> None:
    game = small()
    draw = make_draw(game.draw({"x": torch.randn(6, 2)}), 0)
    made = game.get_submodule("generator")(torch.cat([draw["latent"], draw["c1"], draw["c2"]], 1))
    judge, softplus = game.get_submodule("discriminator"), nn.functional.softplus
    read = judge.read(made)  # type: ignore[operator]
    adversarial = softplus(-judge(made)).mean()
    one = Category(classes=5).information(draw["c1"], read[:, :5])
    two = Number().information(draw["c2"], read[:, 5:])
    loss = evaluate(game, "generator", draw)
    torch.testing.assert_close(loss.total, adversarial - one - 0.3 * two)
    torch.testing.assert_close(loss.parts, {"information/c1": one, "information/c2": two})
    torch.testing.assert_close(
        evaluate(game, "discriminator", draw).total,
        softplus(-judge(draw["real"])).mean() + softplus(judge(made)).mean(),
    )


def test_q_is_moved_in_the_generators_turn_and_the_trunk_in_the_discriminators() -> None:
    game = small()
    draw = make_draw(game.draw({"x": torch.randn(6, 2)}), 0)
    first, second = (gradients(game, who, draw)[0] for who in ("discriminator", "generator"))
    assert {name.rsplit(".", 1)[0].split(".")[1] for name in first} == {"trunk", "logit"}
    assert any(name.startswith("discriminator.reader") for name in second)
    assert not any(name.startswith(("discriminator.trunk", "discriminator.logit")) for name in second)
    assert not set(first) & set(second)


def test_without_their_weight_codes_are_read_and_not_learned() -> None:
    spec = InfoGAN(codes=(Category(name="c1", classes=5, weight=0.0),), latent=Latent(size=3))
    game = small(spec=spec)
    grads, loss = gradients(game, "generator", make_draw(game.draw({"x": torch.randn(6, 2)}), 0))
    assert "information/c1" in loss.parts
    assert all(float(g.abs().max()) == 0 for name, g in grads.items() if "reader" in name)
    assert any(float(g.abs().max()) > 0 for name, g in grads.items() if "reader" not in name)


def test_relativistic_objectives_see_the_real_rows() -> None:
    spec = InfoGAN(codes=SPEC.codes, objective=RelativisticPairing(), latent=Latent(size=3))
    game = small(spec=spec)
    draw = make_draw(game.draw({"x": torch.randn(6, 2)}), 0)
    contest = game.contests(draw)["data"]
    loss = detached(evaluate(game, "generator", draw))
    margin = contest.scores("real") - contest.scores("fake")
    wanted = nn.functional.softplus(margin).mean() - loss.parts["information/c1"] - 0.3 * loss.parts["information/c2"]
    torch.testing.assert_close(loss.total, wanted)


def test_a_chosen_code_is_the_code_of_every_sample() -> None:
    game = small()
    chosen = game.chosen(4, {"c1": 3, "c2": -0.5})
    draw = {**game.codes(4), **chosen}
    assert draw["c1"].argmax(1).tolist() == [3] * 4 and draw["c2"].flatten().tolist() == [-0.5] * 4
    assert game.sample(make_draw(draw, 0)).shape == (4, 2)
    assert {name: (c.classes, c.low, c.high) for name, c in game.choices.items()} == {
        "c1": (5, -1, 1),
        "c2": (0, -1, 1),
    }


@pytest.mark.parametrize("values", [{"c1": 5}, {"c1": 1.5}, {"c1": -1}, {"c2": 1.1}, {"c2": math.nan}, {"c3": 0}])
def test_a_code_that_was_never_drawn_is_refused(values: dict[str, float]) -> None:
    play = battery.started(made)
    with pytest.raises(ConfigError, match=next(iter(values))):
        play.sample(2, choices=values)


def test_samples_of_a_chosen_code_are_those_that_the_generator_makes_of_it() -> None:
    play = battery.started(made)
    draw = play.codes(6, seed=4, choices={"c1": 2})
    wanted = play.game.get_submodule("generator")(torch.cat([draw["latent"], torch.eye(5)[[2] * 6], draw["c2"]], 1))
    found = play.sample(6, seed=4, averaged=False, choices={"c1": 2})
    torch.testing.assert_close(found, wanted)
    assert play.apply("classify", {"x": found}).shape == (6,) and play.apply("infer", {"x": found}).shape == (6, 6)


@pytest.mark.parametrize(
    "settings",
    [{"codes": ()}, {"codes": (Number(name="a"), Category(name="a"))}, {"hidden": 0}],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        InfoGAN(**settings)


@pytest.mark.parametrize(
    "make", [lambda: Category(classes=1), lambda: Number(weight=-1), lambda: Number(name="latent")]
)
def test_codes_that_cannot_be_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


def test_modules_of_ones_own_are_held_to_their_shapes() -> None:
    with pytest.raises(ShapeError, match="generator"):
        SPEC.build(SMALL, PLANE, {"generator": nn.Linear(9, 3)})
    assert isinstance(Category(), Code) and isinstance(Number(), Code)
    assert decode(encode(SPEC)) == SPEC


def test_rows_are_inferred_and_classified() -> None:
    game, x = small(), torch.randn(6, 2)
    read = game.get_submodule("discriminator").read(x)  # type: ignore[operator]
    found = game.infer({"x": x})  # type: ignore[operator]
    assert found.shape == (6, 6) and torch.allclose(found[:, :5].sum(1), torch.ones(6))
    torch.testing.assert_close(found[:, 5], read[:, 5])
    assert torch.equal(game.classify({"x": x}), read[:, :5].argmax(1))  # type: ignore[operator]
    assert {name: row.gives for name, row in game.maps.items()} == {"infer": "codes", "classify": "label"}
    numbers = InfoGAN(codes=(Number(name="c1"),), latent=Latent(size=2)).build(SMALL, PLANE)
    assert set(numbers.maps) == {"infer"}


# The contract --------------------------------------------------------------------------------------------------------


def made(seed: int) -> tuple[Game, Batches]:
    data = load("ring8-M")
    reseed(seed)
    spec = InfoGAN(codes=SPEC.codes, objective=NonSaturating(), penalties=(R1(gamma=0.1),), latent=Latent(size=3))
    return spec.build(SMALL, data.spec), data.batches(16)


@pytest.mark.parametrize("check", battery.CHECKS.values(), ids=list(battery.CHECKS))
def test_contract(check: Any) -> None:
    check(made)


def test_it_is_a_mean_over_rows() -> None:
    assert battery.is_mean_over_rows(made)
