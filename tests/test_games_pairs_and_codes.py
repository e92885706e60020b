"""AAE and CoGAN: who moves what, what is tied, and the laws of the priors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from equilibria.base.errors import ConfigError, DataError, ShapeError
from equilibria.base.records import decode, encode
from equilibria.core.game import evaluate, gradients, make_draw
from equilibria.core.optimizers import Adam
from equilibria.core.play import Play
from equilibria.core.updates import Alternating
from equilibria.data import DataSpec, law
from equilibria.games.autoencoding import AAE, LawPrior, Petals
from equilibria.games.coupled import CoGAN
from equilibria.games.spec import Latent
from equilibria.losses import R1
from equilibria.networks import MLPPair

SMALL = MLPPair(width=8, depth=1)
IMAGE = DataSpec(kind="image", shape=(1, 4, 4))
PAIR = DataSpec(kind="image", shape=(1, 4, 4), paired=True)


# AAE -----------------------------------------------------------------------------------------------------------------


def test_petals_are_turned_gaussians() -> None:
    prior = Petals(petals=4, distance=3.0, along=0.2, across=0.1)
    x = prior.codes(20_000).double().numpy()
    petal = np.round(np.arctan2(x[:, 1], x[:, 0]) / (math.pi / 2)).astype(int) % 4
    assert np.abs(np.bincount(petal) / 20_000 - 0.25).max() < 0.02
    angle = petal * math.pi / 2
    radial = x[:, 0] * np.cos(angle) + x[:, 1] * np.sin(angle)
    aside = -x[:, 0] * np.sin(angle) + x[:, 1] * np.cos(angle)
    assert stats.kstest(radial, stats.norm(3.0, 0.2).cdf).pvalue > 1e-3
    assert stats.kstest(aside, stats.norm(0.0, 0.1).cdf).pvalue > 1e-3


def test_a_law_is_a_prior() -> None:
    made = LawPrior(name="ring8-M").codes(4000)
    other = law("ring8-M").sample(4000, torch.Generator().manual_seed(5))
    for axis in range(2):
        assert stats.ks_2samp(made[:, axis].numpy(), other[:, axis].numpy()).pvalue > 1e-3
    torch.manual_seed(3)
    first = LawPrior().codes(5)
    torch.manual_seed(3)
    assert torch.equal(first, LawPrior().codes(5)) and not torch.equal(first, LawPrior().codes(5))


def test_aae_losses_are_the_three_of_the_paper() -> None:
    game = AAE(prior=Latent(size=3)).build(SMALL, IMAGE)
    draw = make_draw(game.draw({"x": torch.randn(6, 1, 4, 4)}), 0)
    code = game.get_submodule("encoder")(draw["real"])
    judge, softplus = game.get_submodule("discriminator"), nn.functional.softplus
    wanted = {
        "autoencoder": ((game.get_submodule("decoder")(code) - draw["real"]) ** 2).flatten(1).sum(1).mean() / 16,
        "discriminator": softplus(-judge(draw["latent"])).mean() + softplus(judge(code)).mean(),
        "encoder": softplus(-judge(code)).mean(),
    }
    for player, value in wanted.items():
        torch.testing.assert_close(evaluate(game, player, draw).total, value)
    assert set(gradients(game, "encoder", draw)[0]) < set(gradients(game, "autoencoder", draw)[0])


def test_a_gaussian_encoder_has_the_mean_and_deviation_it_says() -> None:
    game = AAE(prior=Latent(size=2), encoder="gaussian").build(SMALL, IMAGE)
    one = torch.randn(1, 1, 4, 4)
    draw = make_draw(game.draw({"x": one.expand(20_000, 1, 4, 4)}), 0)
    code = game.encode(draw).detach()  # type: ignore[operator]
    mean, log_deviation = game.get_submodule("encoder")(one).detach().chunk(2, dim=1)
    for axis in range(2):
        said = stats.norm(float(mean[0, axis]), float(log_deviation[0, axis].exp()))
        assert stats.kstest(code[:, axis].numpy(), said.cdf).pvalue > 1e-3


def test_aae_shares_the_real_rows_of_a_round_but_not_the_codes() -> None:
    game, seen = AAE(prior=Latent(size=2)).build(SMALL, IMAGE), []
    settle = Play.settle

    class Watched(Play):
        def settle(self, player, draw, loss):  # type: ignore[no-untyped-def]
            seen.append(draw)
            settle(self, player, draw, loss)

    def batches(seed: int, turn: int) -> dict[str, torch.Tensor]:
        return {"x": torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(turn))}

    Watched(game, Alternating(share=True), {p.name: Adam() for p in game.players}, batches).advance(1)
    assert len(seen) == 3
    assert all(torch.equal(seen[0]["real"], d["real"]) for d in seen)
    assert not torch.equal(seen[0]["latent"], seen[1]["latent"])


@pytest.mark.slow
def test_an_aae_draws_the_codes_of_a_line_to_the_prior() -> None:
    """One-dimensional: rows uniform on [2, 4] are encoded to N(0, 1) by 1500 rounds."""
    torch.manual_seed(0)
    spec = AAE(prior=Latent(size=1), penalties=(R1(gamma=0.1),))
    game = spec.build(MLPPair(width=24, depth=2), DataSpec(kind="vector", shape=(1,)))

    def batches(seed: int, turn: int) -> dict[str, torch.Tensor]:
        return {"x": 2 + 2 * torch.rand(128, 1, generator=torch.Generator().manual_seed(turn))}

    play = Play(game, Alternating(share=True), {p.name: Adam(lr=1e-3) for p in game.players}, batches)

    def distance() -> float:
        code = game.get_submodule("encoder")(batches(0, 10**6)["x"]).detach()[:, 0].sort().values
        return float(np.abs(code.numpy() - stats.norm.ppf((np.arange(128) + 0.5) / 128)).mean())

    before = distance()
    play.advance(1500)
    assert distance() < 0.25 < 0.5 < before


def test_aae_rows_are_encoded_and_reconstructed() -> None:
    game, x = AAE(prior=Latent(size=3)).build(SMALL, IMAGE), torch.randn(5, 1, 4, 4)
    code = game.get_submodule("encoder")(x)
    torch.testing.assert_close(game.encode_rows({"x": x}), code)  # type: ignore[operator]
    torch.testing.assert_close(game.reconstruct({"x": x}), game.get_submodule("decoder")(code))  # type: ignore[operator]
    noisy = AAE(prior=Latent(size=3), encoder="gaussian").build(SMALL, IMAGE)
    first, second = (noisy.encode_rows({"x": x}) for _ in range(2))  # type: ignore[operator]
    assert not torch.equal(first, second)
    assert {name: row.gives for name, row in game.maps.items()} == {"encode": "codes", "reconstruct": "x"}


def test_aae_names_what_does_not_fit() -> None:
    with pytest.raises(ConfigError, match="encoder='gausian'"):
        AAE(encoder="gausian")
    with pytest.raises(ConfigError):
        LawPrior(name="swissrol")
    spec = AAE(prior=Latent(size=3), encoder="gaussian")
    own = {"encoder": SMALL.encoder(IMAGE.shape, 3)}
    with pytest.raises(ShapeError, match="the gaussian encoder"):
        spec.build(SMALL, IMAGE, own)
    with pytest.raises(ShapeError, match="the decoder"):
        spec.build(SMALL, IMAGE, {"decoder": SMALL.generator(3, (2,))})


# CoGAN ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_cogan_ties_the_first_layers_of_g_and_the_last_of_d(tied: bool) -> None:
    spec = CoGAN(hidden=6, tied_generators=tied, tied_discriminators=tied, latent=Latent(size=3))
    game = spec.build(SMALL, PAIR)
    draw = make_draw(game.draw({"x": torch.randn(5, 1, 4, 4), "other": torch.randn(5, 1, 4, 4)}), 0)
    names = {d: set() for d in ("first", "second")}
    for domain in names:
        for part in ("generator", "discriminator"):
            own = dict(game.get_submodule(part).named_parameters())
            score = game.contests(draw)[domain].scores("fake").sum()
            grads = torch.autograd.grad(score, list(own.values()), allow_unused=True)
            names[domain] |= {f"{part}.{n}" for n, g in zip(own, grads, strict=True) if g is not None}
    common = names["first"] & names["second"]
    assert {n.split(".")[1] for n in common} == ({"stems", "tails"} if tied else set())
    assert names["first"] | names["second"] == {n for n, _ in game.named_parameters()}


def test_cogan_is_two_gans_that_add_up() -> None:
    game = CoGAN(hidden=6, penalties=(R1(gamma=0.5),), latent=Latent(size=3)).build(SMALL, PAIR)
    x, other = torch.randn(5, 1, 4, 4), torch.randn(5, 1, 4, 4)
    draw = make_draw(game.draw({"x": x, "other": other}), 0)
    judges, softplus = game.get_submodule("discriminator"), nn.functional.softplus
    total, fooled = torch.zeros(()), torch.zeros(())
    for judge, real, fake in zip(
        (judges.first, judges.second), (x, other), game.get_submodule("generator")(draw["latent"]), strict=True
    ):
        point = real.clone().requires_grad_()
        (slope,) = torch.autograd.grad(judge(point).sum(), point)
        total = total + softplus(-judge(real)).mean() + softplus(judge(fake)).mean()
        total = total + 0.25 * slope.flatten(1).square().sum(1).mean()
        fooled = fooled + softplus(-judge(fake)).mean()
    torch.testing.assert_close(evaluate(game, "discriminators", draw).total, total)
    torch.testing.assert_close(evaluate(game, "generators", draw).total, fooled)


@pytest.mark.parametrize(("shape", "wanted"), [((1, 4, 4), (7, 1, 4, 8)), ((3,), (7, 6))])
def test_cogan_samples_pairs_side_by_side(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    game = CoGAN(hidden=6, latent=Latent(size=3)).build(
        SMALL, DataSpec(kind="image" if len(shape) == 3 else "vector", shape=shape, paired=True)
    )
    draw = make_draw(game.codes(7), 0)
    made = game.sample(draw)
    assert made.shape == wanted
    first, second = game.get_submodule("generator")(draw["latent"])
    assert torch.equal(made[..., : shape[-1]], first) and torch.equal(made[..., shape[-1] :], second)


def test_cogan_names_what_does_not_fit() -> None:
    with pytest.raises(DataError, match="two domains"):
        CoGAN().build(SMALL, IMAGE)
    with pytest.raises(ConfigError, match="stem_layers=0"):
        CoGAN(stem_layers=0)
    other = CoGAN(hidden=6).make(SMALL, DataSpec(kind="image", shape=(1, 2, 2), paired=True))
    with pytest.raises(ShapeError):
        CoGAN(hidden=6).assemble(other, PAIR)


@pytest.mark.parametrize("spec", [AAE(prior=Petals(petals=5)), AAE(prior=LawPrior()), CoGAN(tied_generators=False)])
def test_specs_go_to_json_and_back(spec: object) -> None:
    assert decode(encode(spec)) == spec


def test_local_heads_draw_the_same_maps_in_two_ways() -> None:
    game = CoGAN(hidden=6, heads="local", maps=3, latent=Latent(size=3)).build(SMALL, PAIR)
    draw = make_draw(game.draw({"x": torch.randn(5, 1, 4, 4), "other": torch.randn(5, 1, 4, 4)}), 0)
    assert game.sample(draw).shape == (5, 1, 4, 8)
    assert all(grad.isfinite().all() for grad in gradients(game, "generators", draw)[0].values())
    with pytest.raises(DataError, match="image"):
        CoGAN(heads="local").build(SMALL, DataSpec(kind="vector", shape=(2,), paired=True))
    with pytest.raises(ConfigError, match="maps"):
        CoGAN(heads="local", maps=0)
