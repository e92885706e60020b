"""Progressive growing: layers against closed forms, a new level that begins as nothing, and the procedure of stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import equilibria as eq
from equilibria.base.errors import ConfigError, DataError
from equilibria.core.game import make_draw
from equilibria.core.play import Play
from equilibria.data import DataSpec, load
from equilibria.games.growing import Growing, GrownGame
from equilibria.games.stages import Finished, Task
from equilibria.networks import EqualisedRate, FadeIn, GrowingPair, PixelNorm
from equilibria.recipes import recipe
from equilibria.runs.folder import RunFolder
from equilibria.runs.sources import take_over

pytestmark = pytest.mark.usefixtures("no_report")
TINY = GrowingPair(width=8, least=4)
ROW = replace(recipe("progressive"), networks=TINY, batch=4, steps=2)
IMAGES = torch.randint(256, (40, 16, 16), generator=torch.Generator().manual_seed(1)).byte().numpy()
QUIET = eq.Settings(device="cpu", progress=False, doctor=False, evaluate=False, sample_every=1000)


def repeated(x: Tensor) -> Tensor:
    return torch.from_numpy(x.detach().numpy().repeat(2, axis=2).repeat(2, axis=3))


def halved(x: Tensor) -> Tensor:
    blocks = x.numpy().reshape(len(x), x.shape[1], x.shape[2] // 2, 2, x.shape[3] // 2, 2)
    return torch.from_numpy((blocks[:, :, :, 0] + blocks[:, :, :, 1]).sum(-1) / 4)


def grown(small: nn.Module, large: nn.Module) -> nn.Module:
    """``large`` with the tensors of ``small`` that have its names and shapes."""
    own = large.state_dict()
    fitting = {n: t for n, t in small.state_dict().items() if n in own and own[n].shape == t.shape}
    assert fitting.keys() == small.state_dict().keys(), "a level has other names in another resolution"
    large.load_state_dict({**own, **fitting})
    return large


# Layers --------------------------------------------------------------------------------------------------------------


def test_an_equalised_layer_is_its_weights_times_the_constant_of_he() -> None:
    torch.manual_seed(0)
    conv = EqualisedRate(nn.Conv2d(6, 5, 3, padding=1)).double()
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64)
    plain = nn.functional.conv2d(x, conv.layer.weight * (2 / (6 * 9)) ** 0.5, padding=1)
    torch.testing.assert_close(conv(x), plain)
    linear = EqualisedRate(nn.Linear(400, 300), gain=1.0)
    assert linear.layer.weight.std().item() == pytest.approx(1, abs=0.02) and not linear.layer.bias.any()
    expected = torch.ones(400) @ linear.layer.weight.T / 20
    torch.testing.assert_close(linear(torch.ones(1, 400))[0], expected, rtol=1e-4, atol=1e-4)


def test_a_pixel_norm_gives_every_place_a_mean_square_of_one() -> None:
    x = 50 * torch.randn(3, 7, 2, 4)
    out = PixelNorm()(x)
    np.testing.assert_allclose(out.square().mean(1).numpy(), 1, rtol=1e-5)
    ratio = (out / x).numpy()
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-4)


# A new level ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("side", [8, 16, 28])
def test_at_alpha_zero_the_networks_are_those_of_the_stage_before(side: int, classes: int) -> None:
    small, large = (1, side // 2, side // 2), (1, side, side)
    faded = replace(TINY, fade=0.5)
    before, after = TINY.generator(5, small, classes), faded.generator(5, large, classes)
    z = torch.randn(3, 5)
    label = (torch.eye(3),) if classes else ()
    assert torch.equal(grown(before, after)(z, *label), repeated(before(z, *label)))
    judge, new = TINY.discriminator(small, classes), faded.discriminator(large, classes)
    x = torch.randint(-16, 17, (3, *large)) / 16  # means of four are exact
    assert torch.equal(grown(judge, new)(x, *label), judge(halved(x), *label))
    for net in (after, new):
        for part in net.modules():
            if isinstance(part, FadeIn):
                part.at(torch.tensor(0.1))
    assert not torch.equal(after(z, *label), repeated(before(z, *label)))
    assert (new(x, *label) - judge(halved(x), *label)).abs().min() > 1e-4


def test_a_level_that_is_in_is_the_network_without_the_old_one() -> None:
    faded, whole = replace(TINY, fade=0.5).generator(5, (1, 16, 16)), TINY.generator(5, (1, 16, 16))
    for part in faded.modules():
        if isinstance(part, FadeIn):
            part.at(torch.tensor(0.7))
    own = {name: faded.state_dict()[name] for name in whole.state_dict()}
    whole.load_state_dict(own)
    z = torch.randn(4, 5)
    assert torch.equal(faded(z), whole(z))


@pytest.mark.parametrize(("time", "alpha"), [(0.0, 0.0), (0.1, 0.25), (0.4, 1.0), (0.9, 1.0)])
def test_alpha_grows_in_proportion_to_the_share_of_the_run(time: float, alpha: float) -> None:
    fade = FadeIn(share=0.4)
    fade.at(torch.tensor(time))
    assert fade.alpha.item() == pytest.approx(alpha)


def test_a_game_moves_alpha_of_both_networks_together_after_its_round() -> None:
    row = replace(ROW, networks=replace(TINY, fade=0.5))
    data = load(IMAGES)
    play = row.play(row.game.build(row.networks, data.spec), data.batches(4), horizon=8)
    play.prepare()
    seen = []
    for _ in range(5):
        seen.append({part.alpha.item() for part in play.game.modules() if isinstance(part, FadeIn)})
        play.advance()
    assert seen == [{0.0}, {0.0}, {0.25}, {0.5}, {0.75}]


@pytest.mark.parametrize("shape", [(1, 31, 31), (2,), (1, 64, 8)])
def test_images_that_cannot_grow_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=str(shape[-1])):
        TINY.generator(5, shape)


# The procedure -------------------------------------------------------------------------------------------------------


def test_the_stages_double_and_each_starts_from_the_one_before() -> None:
    data = load(np.zeros((8, 32, 32), dtype=np.uint8))
    found, done = [], ()
    while (stage := Growing(fade=0.3).stages(done, Task(ROW, data, 0))) is not None:
        found.append((stage.name, stage.start, stage.recipe.networks.fade))
        assert (stage.view(data) if stage.view else data).spec.shape[1] == int(stage.name.removeprefix("size-"))
        done = (*done, Finished(stage.name, nn.Module()))  # type: ignore[arg-type]
    assert found == [("size-4", None, 0.0), ("size-8", "size-4", 0.3), ("size-16", "size-8", 0.3),
                     ("size-32", "size-16", 0.3)]  # fmt: skip
    assert list(Growing(first=10).plan(ROW, data.spec)) == ["size-16", "size-32"]


def test_what_cannot_grow_is_refused_with_the_reason() -> None:
    with pytest.raises(DataError, match="images"):
        Growing().plan(ROW, DataSpec(kind="vector", shape=(2,)))
    with pytest.raises(ConfigError, match="ConvPair"):
        Growing().plan(replace(ROW, networks=eq.networks.ConvPair()), DataSpec(kind="image", shape=(1, 32, 32)))
    with pytest.raises(ConfigError, match="fade=0"):
        Growing(fade=0.0)


def test_a_run_grows_and_a_stage_begins_as_the_end_of_the_one_before(tmp_path: Path) -> None:
    row = replace(ROW, procedure=Growing(first=8))
    run = eq.train(row, IMAGES, steps=2, seed=3, out=tmp_path / "run", settings=QUIET)
    assert run.finished and run.sample(3, seed=1).shape == (3, 1, 16, 16)
    small = eq.open_run(tmp_path / "run" / "stages" / "size-8")
    assert small.play.game.shift is None and {p.name for p in (tmp_path / "run" / "stages").iterdir()} == {
        "size-8", "size-16",
    }  # fmt: skip
    recorded = RunFolder.open(tmp_path / "run" / "stages" / "size-16").recipe
    data = load(IMAGES)
    play: Play = recorded.play(recorded.game.build(recorded.networks, data.spec), data.batches(4), seed=5)
    play.prepare()
    take_over(play, small.play.tensors(), recorded.sources[0])
    assert torch.equal(play.sample(5, seed=2), repeated(small.play.sample(5, seed=2)))


def test_before_its_end_a_run_shows_the_largest_finished_images_enlarged() -> None:
    data = DataSpec(kind="image", shape=(1, 16, 16))
    small = ROW.game.build(TINY, DataSpec(kind="image", shape=(1, 4, 4)))
    game = Growing().joined((Finished("size-4", small),), data)
    assert isinstance(game, GrownGame)
    codes = make_draw(game.codes(3), 0)
    with torch.no_grad():
        assert torch.equal(game.sample(codes), repeated(repeated(small.sample(codes))))
