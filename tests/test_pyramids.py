"""LAPGAN: derived rows, exact inversion, stages, and sampling from coarse to fine against the equations written out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity
from torch import Tensor, nn

import equilibria as eq
from equilibria.base.errors import ConfigError
from equilibria.core.game import Draw
from equilibria.data import DataSpec
from equilibria.games.pyramids import BandGame, BandGAN, BandLikelihood, LaplacianPyramid, Level, PyramidGame
from equilibria.games.stages import Finished, Task
from equilibria.metrics.kernel import log_windows
from equilibria.networks import Auto, ConvPair
from equilibria.recipes import recipe
from equilibria.reproduce import denton2015_pyramid as claim

TINY = Auto(image=ConvPair(width=4))
ROW = replace(recipe("lapgan"), networks=TINY, batch=4, steps=2)
pytestmark = pytest.mark.usefixtures("no_report")  # no test here reads the page of a run

QUIET = eq.Settings(progress=False, doctor=False, evaluate=False, sample_every=1000)
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


# The multi-scale Parzen window ---------------------------------------------------------------------------------------


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kernel_density(centres: Tensor, rows: Tensor, width: float) -> np.ndarray:
    """The same by scikit-learn, row by row: ``(n,)``."""
    own = centres.expand(-1, len(rows), -1)
    fitted = [KernelDensity(bandwidth=width).fit(own[:, i].numpy()) for i in range(len(rows))]
    return np.array([float(one.score_samples(row[None].numpy())[0]) for one, row in zip(fitted, rows, strict=True)])


@pytest.mark.parametrize("shared", [True, False])
def test_windows_are_the_kernel_density_of_another_library(shared: bool) -> None:
    centres, rows = normal(7, 1 if shared else 4, 5), normal(4, 5, seed=1)
    found = log_windows(centres, rows, [0.3, 1.5])
    wanted = np.stack([kernel_density(centres, rows, width) for width in (0.3, 1.5)])
    assert found.numpy() == pytest.approx(wanted, abs=1e-9)
    with pytest.raises(ConfigError, match=r"0\.0"):
        log_windows(centres, rows, [1.0, 0.0])


def test_the_likelihood_of_bands_is_the_kernel_density_at_the_best_width() -> None:
    x, draws = normal(6, 1, 8, 8).float(), [normal(6, 80, seed=s).float() for s in range(5)]
    found = BandLikelihood(levels=2, draws=5)(lambda name, rows, seed: draws[seed], {"x": x}, lambda column: None)
    made, coarse = torch.stack(draws).double(), torch.from_numpy(halved(x.numpy()))
    whole = {"size-4": coarse - doubled(torch.from_numpy(halved(coarse.numpy()))), "size-8": x - doubled(coarse)}
    for (size, band), own in zip(whole.items(), (made[..., :16], made[..., 16:]), strict=True):
        rows, widths = band.flatten(1).double(), [0.01 * 1.3**i for i in range(20)]
        best = max(widths, key=lambda w: kernel_density(own[:, :3], rows[:3], w).mean())
        wanted = kernel_density(own[:, 3:], rows[3:], best).mean() / rows.shape[1]
        assert found[f"band_log_likelihood/{size}"].value == pytest.approx(wanted, rel=1e-6)


def test_densities_of_levels_add_up_with_a_width_each() -> None:
    windows, real = [normal(9, 1, 3), normal(4, 8, 6, seed=2) / 3], [normal(8, 3, seed=3), normal(8, 6, seed=4) / 3]
    for rows in real:
        rows[4:] *= 4  # so that the halves want different widths
    wanted = np.zeros(4)
    for centres, rows in zip(windows, real, strict=True):
        own = centres.expand(-1, 8, -1)
        best = max(claim.WIDTHS, key=lambda w: kernel_density(own[:, :4], rows[:4], w).mean())
        wanted += kernel_density(own[:, 4:], rows[4:], best)
    assert claim.log_densities(windows, real).numpy() == pytest.approx(wanted, abs=1e-8)


def test_levels_are_an_orthonormal_basis_of_images() -> None:
    basis = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    columns = torch.cat(claim.parts(basis, 2), 1)
    assert torch.allclose(columns.T @ columns, torch.eye(64, dtype=torch.float64), atol=1e-12)
    images = normal(3, 1, 8, 8)
    coarsest = torch.from_numpy(halved(halved(images.numpy())))
    assert torch.allclose(claim.parts(images, 2)[0], 4 * coarsest.flatten(1), atol=1e-12)


class Answers(nn.Module):
    """Gives the bands that it is told, by their size."""

    def __init__(self, bands: dict[int, Tensor]) -> None:
        super().__init__()
        self.bands = bands

    def forward(self, z: Tensor, blurred: Tensor) -> Tensor:
        return self.bands[blurred.shape[-1]]


def answering(bands: dict[int, Tensor]) -> PyramidGame:
    coarsest = recipe("gan").game.build(TINY, DataSpec(kind="image", shape=(1, 8, 8)))
    games = []
    for size in (16, 32):
        data = DataSpec(kind="image", shape=(1, size, size))
        spec = Level(band=True)(eq.load("digits", size=size)).spec
        game = BandGAN(width=4).assemble(
            {
                "generator": Answers({size: torch.zeros(2, *data.shape)}),
                "discriminator": TINY.discriminator(data.shape),
            },
            spec,
        )
        assert isinstance(game, BandGame)
        game.generator = Answers(bands)
        games.append(game)
    return PyramidGame(coarsest, tuple(games), 0)


def test_generated_details_are_those_of_the_images_if_the_bands_are_right() -> None:
    images = normal(4, 1, 32, 32).float()
    middle = torch.from_numpy(halved(images.numpy()))
    small = torch.from_numpy(halved(middle.numpy()))
    right = answering({16: middle - doubled(small), 32: images - doubled(middle)})
    for made, wanted in zip(claim.generated_details(right, images, 2), claim.parts(images, 2)[1:], strict=True):
        assert torch.allclose(made, wanted.double().expand_as(made), atol=1e-5)
    blank = answering({16: torch.zeros(4, 1, 16, 16), 32: torch.zeros(4, 1, 32, 32)})
    pairs = zip(claim.generated_details(blank, images, 2), claim.enlarged_details(images, 2), strict=True)
    assert all(torch.allclose(made, alone.expand_as(made), atol=1e-6) for made, alone in pairs)
    assert claim.spreads(right, images, 2, fixed=False) == pytest.approx([0, 0], abs=1e-6)


def test_the_spread_is_that_of_the_noise() -> None:
    class Noise(nn.Module):
        def forward(self, z: Tensor, blurred: Tensor) -> Tensor:
            return 0.5 * z

    game = answering({})
    for band in game.levels[1:]:
        band.generator = Noise()  # type: ignore[assignment]
    images = normal(50, 1, 32, 32).float()
    middle = torch.from_numpy(halved(images.numpy()))
    sizes = [middle - doubled(torch.from_numpy(halved(middle.numpy()))), images - doubled(middle)]
    wanted = [0.5 / float(band.square().mean().sqrt()) for band in sizes]
    torch.manual_seed(0)
    # The generator's only noise here is one plane for all rows, so eight draws are few: the tolerance is wide.
    assert claim.spreads(game, images, 2, fixed=False) == pytest.approx(wanted, rel=0.05)
    assert claim.spreads(game, images, 2, fixed=True) == pytest.approx([0, 0], abs=1e-6)
