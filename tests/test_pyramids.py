"""LAPGAN: derived rows, exact inversion, stages, and sampling from coarse to fine against the equations written out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import equilibria as eq
from equilibria.core.game import Draw
from equilibria.data import DataSpec
from equilibria.games.pyramids import BandGame, BandGAN, LaplacianPyramid, Level, PyramidGame
from equilibria.games.stages import Finished, Task
from equilibria.networks import Auto, ConvPair
from equilibria.recipes import recipe

TINY = Auto(image=ConvPair(width=4))
ROW = replace(recipe("lapgan"), networks=TINY, batch=4, steps=2)
QUIET = eq.Settings(progress=False, doctor=False, evaluate=False)
SPEC = DataSpec(kind="image", shape=(1, 32, 32))


def drawn(tensors: dict[str, Tensor]) -> Draw:
    return Draw(tensors, torch.zeros(()), torch.zeros(()), 0)


def halved(x: np.ndarray) -> np.ndarray:
    return x.reshape(*x.shape[:-2], x.shape[-2] // 2, 2, x.shape[-1] // 2, 2).mean((-3, -1))


def doubled(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2, mode="bilinear")


def test_the_pyramid_of_the_rows_inverts() -> None:
    data = eq.load("digits", size=32)
    whole = data.batch(6, 3, 1)["x"]
    image = Level(halvings=2)(data).batch(6, 3, 1)["x"]
    assert np.allclose(image.numpy(), halved(halved(whole.numpy().astype(np.float64))), atol=1e-6)
    for halvings in (1, 0):
        rows = Level(halvings=halvings, band=True)(data).batch(6, 3, 1)
        assert torch.allclose(rows["coarse"], image, atol=1e-6)
        image = doubled(image) + rows["x"]
    error = float((image - whole).abs().max())
    assert error < 1e-6, error


def test_a_band_of_another_row_does_not_invert() -> None:
    data = eq.load("digits", size=32)
    rows = Level(band=True)(data).batch(6, 3, 1)
    wrong = doubled(rows["coarse"]) + rows["x"].roll(1, 0)
    assert float((wrong - data.batch(6, 3, 1)["x"]).abs().max()) > 0.1


def band_game(conditional: bool = True) -> BandGame:
    data = Level(band=True)(eq.load("digits", size=16))
    game = BandGAN(width=4, conditional=conditional).build(TINY, data.spec)
    assert isinstance(game, BandGame)
    return game


def test_losses_are_those_of_the_paper() -> None:
    game, data = band_game(), Level(band=True)(eq.load("digits", size=16))
    draw = drawn(game.draw(data.batch(5, 0, 0)))
    blurred = doubled(draw["coarse"])
    fake = game.generator(draw["latent"], blurred) + blurred
    real, made = game.discriminator(draw["real"] + blurred), game.discriminator(fake)
    log = nn.functional.logsigmoid
    assert torch.allclose(game.loss("discriminator", draw).total, -(log(real) + log(-made)).mean(), atol=1e-6)
    assert torch.allclose(game.loss("generator", draw).total, -log(made).mean(), atol=1e-6)


@pytest.mark.parametrize("conditional", [True, False])
def test_a_band_depends_on_the_coarse_image_unless_it_is_hidden(conditional: bool) -> None:
    game = band_game(conditional)
    z, blurred = torch.randn(3, 1, 16, 16), torch.rand(3, 1, 16, 16)
    same = torch.equal(game.band(z, blurred), game.band(z, -blurred))
    assert same == (not conditional)


def test_sampling_goes_from_coarse_to_fine() -> None:
    coarsest = recipe("gan").game.build(TINY, DataSpec(kind="image", shape=(1, 8, 8)))
    game = PyramidGame(coarsest, (band_game(),), 1).eval()
    torch.manual_seed(5)
    draw = drawn(game.codes(4))
    small = coarsest.generator(draw["level0/latent"])  # type: ignore[operator]
    blurred = doubled(small)
    middle = blurred + game.levels[1].generator(draw["level1/latent"], blurred)  # type: ignore[union-attr, operator]
    expected = doubled(middle).clamp(-1, 1)
    assert torch.allclose(game.sample(draw), expected, atol=1e-6) and expected.shape == (4, 1, 32, 32)


def test_the_stages_are_a_plan_and_end() -> None:
    plan = LaplacianPyramid(levels=2)
    assert list(plan.plan(ROW, SPEC)) == ["size-8", "size-16", "size-32"]
    task = Task(replace(ROW, procedure=None), eq.load("digits", size=32), seed=0)
    done: tuple[Finished, ...] = ()
    names = []
    while (step := plan.stages(done, task)) is not None:
        names.append((step.name, type(step.recipe.game).__name__, step.view(task.data).spec.shape))
        done = (*done, Finished(step.name, band_game()))
    assert names == [
        ("size-8", "TwoPlayer", (1, 8, 8)),
        ("size-16", "BandGAN", (1, 16, 16)),
        ("size-32", "BandGAN", (1, 32, 32)),
    ]


@pytest.mark.parametrize(("shape", "levels"), [((1, 28, 28), 2), ((1, 16, 16), 2), ((1, 36, 32), 3)])
def test_sizes_that_do_not_divide_are_refused(shape: tuple[int, ...], levels: int) -> None:
    with pytest.raises(eq.ConfigError, match=r"data\.size"):
        LaplacianPyramid(levels=levels).plan(ROW, DataSpec(kind="image", shape=shape))
    with pytest.raises(eq.DataError):
        LaplacianPyramid().plan(ROW, DataSpec(kind="vector", shape=(2,)))


@pytest.mark.timeout(400)
def test_a_run_has_a_stage_a_size_and_is_sampled_as_a_whole(tmp_path: Path) -> None:
    run = eq.train(ROW, eq.load("digits", size=32), steps=2, out=tmp_path / "run", settings=QUIET)
    assert sorted(p.name for p in (tmp_path / "run" / "stages").iterdir()) == ["size-16", "size-32", "size-8"]
    assert run.finished and run.sample(3).shape == (3, 1, 32, 32)
    again = eq.open_run(tmp_path / "run", eq.load("digits", size=32))
    assert torch.equal(again.sample(3, seed=2), run.sample(3, seed=2))
