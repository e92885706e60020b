"""LAG: its losses written out by hand, planted errors, what it takes and refuses, and what the paper claims."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import equilibria as eq
from equilibria.base.errors import ConfigError, DataError, ShapeError
from equilibria.base.randomness import reseed
from equilibria.base.records import decode, encode
from equilibria.base.schedules import Cosine
from equilibria.cli import main
from equilibria.core.game import Draw, Game, gradients, make_draw
from equilibria.core.optimizers import Adam
from equilibria.data import DataSpec, load
from equilibria.games import super_resolution
from equilibria.games.super_resolution import LAG, LAGGame, PooledError, rounded
from equilibria.losses import R1, GradientPenalty
from equilibria.networks import Enlarger, LatentCritic, MLPPair, SuperResolution
from equilibria.recipes import recipe

PIXELS = DataSpec(kind="image", shape=(2, 8, 12))
TINY = SuperResolution(width=6, least=4, blocks=1)


def game_of(spec: LAG | None = None, data: DataSpec = PIXELS, seed: int = 0) -> LAGGame:
    reseed(seed)
    game = (spec or LAG(noise=3)).build(TINY, data)
    assert isinstance(game, LAGGame)
    return game


def drawn(game: Game, n: int = 5, seed: int = 1, data: DataSpec = PIXELS) -> Draw:
    reseed(seed)
    return make_draw(game.draw({"x": torch.rand(n, *data.shape) * 2 - 1}), seed)


# The losses, written out ---------------------------------------------------------------------------------------------


class Through(torch.autograd.Function):
    """Multiples of four grey levels forwards, nothing backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.floor(x * 127.5 / 4 + 0.5) * 4 / 127.5

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def pooled_by_hand(x: Tensor, factor: int = 4) -> Tensor:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // factor, factor, w // factor, factor).mean((3, 5))


def written_out(game: LAGGame, draw: Draw) -> tuple[Tensor, Tensor]:
    """Both losses of the equations, for the draw's rows, codes and mixing numbers; the networks are black boxes."""
    g, d, x, mix = game.generator, game.discriminator, draw["real"], draw["gradient_penalty_mix"]
    y = pooled_by_hand(x)

    def value(image: Tensor) -> Tensor:
        return d(image, Through.apply((y - pooled_by_hand(image)).abs()))

    made, still = g(y, draw["latent"]), g(y, 0 * draw["latent"])
    real = d(x, torch.zeros_like(y))
    between = (mix * x + (1 - mix) * made).detach().requires_grad_()
    (slope,) = torch.autograd.grad(value(between).mean((1, 2, 3)).sum(), between, create_graph=True)
    penalty = ((slope.square().sum((1, 2, 3)).sqrt() - 1) ** 2).mean()
    critic = -real.mean() + value(made).mean() + 10 * penalty
    generator = -value(made).mean() + 10 * ((real - value(still)) ** 2).mean()
    return critic, generator


def check_losses(game: LAGGame) -> None:
    """Values and gradients of both players are those written out."""
    draw = drawn(game)
    for player, wanted in zip(("discriminator", "generator"), written_out(game, draw), strict=True):
        grads, loss = gradients(game, player, draw)
        own = game.moved(player)
        by_hand = torch.autograd.grad(wanted, list(own.values()), retain_graph=True)
        torch.testing.assert_close(loss.total, wanted.detach(), rtol=2e-4, atol=1e-5)
        for (name, grad), other in zip(grads.items(), by_hand, strict=True):
            torch.testing.assert_close(grad, other, rtol=2e-3, atol=2e-4 * float(other.abs().max() + 1e-3), msg=name)


def test_both_losses_and_their_gradients_are_those_written_out() -> None:
    check_losses(game_of())


def swapped(contest: Any, *rest: Any) -> Any:
    contest.real, contest.fake = contest.fake, contest.real
    return DISCRIMINATOR_LOSS(contest, *rest)


DISCRIMINATOR_LOSS, GENERATOR_LOSS = super_resolution.discriminator_loss, super_resolution.generator_loss
PLANTED: dict[str, tuple[Any, str, Any]] = {
    "the critic's sign": (super_resolution, "discriminator_loss", swapped),
    "the generator's sign": (super_resolution, "generator_loss", lambda *args: -GENERATOR_LOSS(*args)),
    "no gradient through the rounding": (super_resolution, "rounded", lambda x, step: torch.round(x / step) * step),
    "no rounding": (super_resolution, "rounded", lambda x, step: x),
    "the residual's sign": (super_resolution, "rounded", lambda x, step: rounded(-x, step)),
    "the residual is not told": (super_resolution, "rounded", lambda x, step: 0 * x),
    "no penalty": (
        super_resolution,
        "discriminator_loss",
        lambda contest, objective, penalties, draw: DISCRIMINATOR_LOSS(contest, objective, (), draw),
    ),
    "slopes to zero": (
        super_resolution,
        "discriminator_loss",
        lambda contest, objective, penalties, draw: DISCRIMINATOR_LOSS(
            contest, objective, (GradientPenalty(weight=10.0, center=0.0),), draw
        ),
    ),
    "noise in the centre": (
        LAGGame,
        "_without_noise",
        lambda game, low: game.generator(low, torch.ones(len(low), 3, *low.shape[2:])),
    ),
    "the centre in pixels": (super_resolution, "mse_loss", lambda a, b: (a - b).abs().mean()),
    "other pooling": (LAGGame, "pooled", lambda game, x: x if x.shape[1:] == game.low else x[:, :, ::4, ::4]),
}


@pytest.mark.parametrize("error", PLANTED)
def test_planted_errors_change_a_loss(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    game = game_of()
    monkeypatch.setattr(*PLANTED[error])
    with pytest.raises(AssertionError):
        check_losses(game)


def test_weights_are_those_of_the_record() -> None:
    """Without the centre and the penalty what is left is the difference of two means."""
    plain = game_of(LAG(noise=3, centre_weight=0.0, penalties=()))
    draw = drawn(plain)
    real, fake = (plain.latent(x, draw["low"]).mean() for x in (draw["real"], plain.sample(draw)))
    torch.testing.assert_close(plain.loss("discriminator", draw).total, fake - real)
    torch.testing.assert_close(plain.loss("generator", draw).total, -fake)
    weighted = game_of(LAG(noise=3, centre_weight=2.5, penalties=(R1(gamma=1.0),)))
    found = weighted.loss("generator", draw)
    torch.testing.assert_close(found.total, -fake + 2.5 * found.parts["centre"])
    assert "penalty/R1" in weighted.loss("discriminator", draw).parts


def test_losses_at_one_point_are_those_alone() -> None:
    game = game_of()
    draw = drawn(game)
    for name, loss in game.losses(draw).items():
        torch.testing.assert_close(loss.total, game.loss(name, draw).total)


def test_rounding_is_to_four_grey_levels_with_slope_one() -> None:
    x = torch.linspace(-0.2, 0.2, 401, dtype=torch.float64, requires_grad=True)
    found = rounded(x, 4 / 127.5)
    levels = found.detach().numpy() * 127.5 / 4
    assert np.allclose(levels, np.round(levels), atol=1e-9) and len(np.unique(np.round(levels))) == 13
    assert float((found - x).detach().abs().max()) <= 2 / 127.5 + 1e-9
    assert torch.equal(torch.autograd.grad(found.sum(), x)[0], torch.ones_like(x))
    assert rounded(x, 0.0) is x


# The networks --------------------------------------------------------------------------------------------------------


def test_channels_of_the_latent_map_have_fixed_signs_in_turn() -> None:
    critic = LatentCritic((1, 8, 8), widths=[6, 4, 4])
    x, residual = torch.randn(3, 1, 8, 8), torch.rand(3, 1, 2, 2)
    found = critic(x, residual)
    critic.signs.fill_(1.0)
    features = critic(x, residual)
    wanted = torch.cat([(-1.0) ** (k + 1) * features[:, k : k + 1] for k in range(6)], 1)
    assert torch.equal(found, wanted) and not critic.signs.requires_grad
    assert "signs" in dict(critic.named_buffers())


def test_the_latent_map_depends_on_the_image_and_the_residual() -> None:
    critic = LatentCritic((1, 8, 8), widths=[6, 4, 4])
    x, residual = torch.randn(2, 1, 8, 8, requires_grad=True), torch.rand(2, 1, 2, 2, requires_grad=True)
    assert all(bool((g != 0).any()) for g in torch.autograd.grad(critic(x, residual).square().sum(), (x, residual)))


@pytest.mark.parametrize(("doublings", "side"), [(1, 2), (2, 4), (3, 8)])
def test_every_resolution_adds_to_the_image(doublings: int, side: int) -> None:
    net = Enlarger((1, 2, 2), noise=2, widths=[4] * (doublings + 1), blocks=1)
    low, z = torch.randn(3, 1, 2, 2), torch.randn(3, 2, 2, 2)
    assert net(low, z).shape == (3, 1, 2 * side, 2 * side) and len(net.to_image) == doublings
    with torch.no_grad():
        for last in list(net.to_image)[1:]:
            last.layer.weight.zero_()  # type: ignore[union-attr]
            last.layer.bias.zero_()  # type: ignore[union-attr]
    repeats = 2 ** (doublings - 1)  # of the first image, which is left
    image = net(low, z)
    repeated = image[:, :, ::repeats, ::repeats].repeat_interleave(repeats, 2).repeat_interleave(repeats, 3)
    assert torch.equal(image, repeated)


# What it takes, gives and refuses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "fix"), [((1, 10, 10), "size=8"), ((3, 30, 16), "size=16x32"), ((1, 3, 3), "size=4")]
)
def test_a_size_that_four_does_not_divide_is_refused(shape: tuple[int, ...], fix: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"{shape[2]} x {shape[1]} pixels")) as error:
        recipe("lag").build(DataSpec(kind="image", shape=shape), 0)
    assert "must divide by 4" in str(error.value) and fix in str(error.value)


def test_the_fix_of_a_size_works() -> None:
    data = load(torch.rand(8, 1, 10, 14) * 2 - 1)
    with pytest.raises(DataError) as error:
        LAG(noise=3).build(TINY, data.spec)
    size = str(error.value).rsplit("size=", 1)[1].split()[0].rstrip(".")
    assert size == "16x8"
    LAG(noise=3).build(TINY, load(torch.rand(8, 1, 10, 14) * 2 - 1, size=size).spec)


@pytest.mark.parametrize("settings", [{"factor": 3}, {"noise": 0}, {"centre_weight": -1.0}, {"rounding": -4.0}])
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        LAG(**settings)


def test_other_data_networks_and_modules_are_refused() -> None:
    with pytest.raises(DataError, match="needs images"):
        LAG().build(TINY, DataSpec(kind="vector", shape=(2,)))
    with pytest.raises(ConfigError, match="super-resolution"):
        LAG().build(MLPPair(), PIXELS)
    with pytest.raises(ShapeError, match="generator"):
        LAG(noise=3).build(TINY, PIXELS, {"generator": Enlarger((2, 2, 3), 3, [4, 4])})

    class Bad(nn.Module):
        def forward(self, x: Tensor, residual: Tensor) -> Tensor:
            return x.mean()

    with pytest.raises(ShapeError, match="critic"):
        LAG(noise=3).build(TINY, PIXELS, {"discriminator": Bad()})


def test_it_goes_to_json_and_back() -> None:
    spec = LAG(factor=2, noise=5, centre_weight=1.0, rounding=0.0)
    assert decode(json.loads(json.dumps(encode(spec)))) == spec


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_low_resolution_rows_are_means_of_blocks(factor: int) -> None:
    data = DataSpec(kind="image", shape=(1, 16, 24))
    game = game_of(LAG(factor=factor, noise=2), data)
    x = torch.rand(3, 1, 16, 24)
    low = game.pooled(x)
    torch.testing.assert_close(low, pooled_by_hand(x, factor))
    assert game.pooled(low) is low and game.enlarge({"x": low}).shape == x.shape


def test_views_show_what_was_enlarged_and_the_target_if_there_is_one() -> None:
    game = game_of()
    x = torch.rand(4, 2, 8, 12)
    whole = game.views(make_draw({**game.codes(4), **game.given({"x": x})}, 0))
    assert list(whole) == ["input", "centre", "output", "target"] and torch.equal(whole["target"], x)
    alone = game.views(make_draw({**game.codes(4), **game.given({"x": pooled_by_hand(x)})}, 0))
    assert list(alone) == ["input", "centre", "output"]
    assert set(game.judged) <= set(whole)


def test_pooled_error_is_zero_for_repeated_pixels_and_high_for_other_rows() -> None:
    x = torch.randn(64, 1, 8, 8)

    class Repeats:
        def __init__(self, shift: int) -> None:
            self.shift = shift

        def __call__(self, name: str, rows: Any, seed: int = 0) -> Tensor:
            low = pooled_by_hand(rows["x"]) if rows["x"].shape[-1] == 8 else rows["x"]
            if name == "pool":
                return low
            return low.roll(self.shift, 0).repeat_interleave(4, 2).repeat_interleave(4, 3)

    exact = PooledError()(Repeats(0), {"x": x}, lambda _: None)["pooled_error"]  # type: ignore[arg-type]
    other = PooledError()(Repeats(1), {"x": x}, lambda _: None)["pooled_error"]  # type: ignore[arg-type]
    assert (
        exact.value < 1e-9 and exact.chance == pytest.approx(2, abs=0.5) and other.chance == pytest.approx(0, abs=1e-9)
    )
    assert other.value == pytest.approx(2, abs=0.5)


# From the command line -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three rounds on digits."""
    path = tmp_path_factory.mktemp("lag") / "run"
    small = {"networks.width": "8", "networks.least": "4", "networks.blocks": "1", "game.noise": "2", "batch": "8"}
    words = [word for name, value in small.items() for word in ("--set", f"{name}={value}")]
    assert main(["train", "lag", "--data", "digits", "--steps", "3", "--out", str(path), *words]) == 0
    return path


def test_a_run_samples_held_out_rows(trained: Path, tmp_path: Path) -> None:
    run = eq.open_run(trained)
    made = run.sample(6, seed=1)
    assert made.shape == (6, 1, 8, 8) and not torch.equal(made, run.sample(6, seed=2))
    assert main(["sample", str(trained), "-n", "8", "--out", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").stat().st_size > 0


def test_the_noise_may_be_set_and_zero_is_the_centre(trained: Path) -> None:
    run, x = eq.open_run(trained), load("digits").take(5)["x"]
    still = run.sample(5, given={"x": x}, choices={"noise": 0.0})
    torch.testing.assert_close(still, run.apply("centre", {"x": x}))
    assert not torch.allclose(still, run.sample(5, given={"x": x}))
    torch.testing.assert_close(run.sample(5, given={"x": x}, choices={"noise": 1.0}), run.sample(5, given={"x": x}))


def test_rows_of_the_low_resolution_are_enlarged_as_they_are(trained: Path, tmp_path: Path) -> None:
    run, x = eq.open_run(trained), load("digits").take(5)["x"]
    low = run.apply("pool", {"x": x})
    torch.testing.assert_close(low, pooled_by_hand(x))
    torch.testing.assert_close(run.apply("enlarge", {"x": low}, 3), run.apply("enlarge", {"x": x}, 3))
    np.savez(tmp_path / "small.npz", x=low.numpy())
    out = tmp_path / "large.npz"
    assert main(["apply", str(trained), "enlarge", "--given", str(tmp_path / "small.npz"), "--out", str(out)]) == 0
    assert next(iter(np.load(out).values())).shape == (5, 1, 8, 8)
    assert run.sample(5, given={"x": low}).shape == (5, 1, 8, 8)
    for name in run.play.game.maps:
        words = ["apply", str(trained), name, "--given", "digits", "--out", str(tmp_path / f"{name}.png")]
        assert main(words) == 0 and (tmp_path / f"{name}.png").stat().st_size > 0
    with pytest.raises(ShapeError, match=r"\(n, 1, 8, 8\) or \(n, 1, 2, 2\)"):
        run.apply("enlarge", {"x": torch.zeros(3, 1, 4, 4)})


# What the paper claims -----------------------------------------------------------------------------------------------


SMALL = {
    "networks.width": "24",
    "networks.least": "8",
    "networks.blocks": "1",
    "game.noise": "2",
    "averages.0.decay": "0.98",
}


def measured(seed: int, rounds: int, centre_weight: float = 10.0) -> dict[str, float]:
    """The measures of a game trained on digits of 16 pixels, small networks and falling rates, on held-out rows."""
    rates = Adam(lr=Cosine(start=8e-3, end=4e-4), betas=(0.0, 0.99))
    row = recipe("lag").with_settings({**SMALL, "game.centre_weight": str(centre_weight)})
    row, data = replace(row, optimizer=rates, optimizers=()), load("digits", size=16)
    play = row.play(row.build(data.spec, seed), data.batches(row.batch), seed=seed, horizon=rounds)
    play.prepare()
    play.advance(rounds)
    held = {"x": data.take(data.held_out_size or 0, held_out=True)["x"]}
    found: dict[str, float] = {}
    for measure in row.game.measures():
        found |= {name: one.value for name, one in measure(play.apply, held, lambda _: None).items()}  # type: ignore[arg-type]
    return found


def measures_hold(found: Mapping[str, float], agreement: float, closer: float = 0.8, diverse: float = 0.1) -> None:
    """Pooled samples agree with what was enlarged, without noise it is closer to the truth, and noise counts."""
    assert found["pooled_error"] <= agreement, found  # of other rows: 2
    assert found["centre_error"] <= closer * found["sample_error"], found
    assert found["diversity"] >= diverse, found


@pytest.mark.slow
@pytest.mark.ci_slow
def test_enlarged_digits_agree_with_the_small_ones_and_noise_counts() -> None:
    measures_hold(measured(seed=0, rounds=320), agreement=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_noise_digits_are_nearer_to_the_truth_and_only_with_the_centres_term(seed: int) -> None:
    found, control = measured(seed, rounds=900), measured(seed, rounds=900, centre_weight=0.0)
    print(f"seed {seed}: {found}; without the term {control}")
    measures_hold(found, agreement=0.25)
    assert control["centre_error"] >= 0.9 * control["sample_error"], control
    assert control["centre_error"] >= 2 * found["centre_error"], (found, control)
