"""Exploring a run's codes: the same bits come back, pixels and frames are the samples, directions are known factors."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import equilibria as eq
from equilibria import cli
from equilibria.base.errors import ConfigError, DataError, EquilibriaError, RunError, ShapeError
from equilibria.runs.pages import write_codes

QUIET = eq.Settings(progress=False, doctor=False, evaluate=False, best="none", sample_every=1)
SIZES = torch.tensor([0.5, 5.0, 0.1, 2.0])  # standard deviations of the factors of the affine generator


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> eq.Run:
    """A conditional run on images, two rounds long."""
    out = tmp_path_factory.mktemp("explore") / "digits"
    row = eq.recipe("cgan").with_settings({"batch": "8", "networks.image.width": "4", "game.latent.size": "6"})
    return eq.train(row, "digits", steps=2, out=out, settings=QUIET)


@pytest.fixture(scope="module")
def factors(tmp_path_factory: pytest.TempPathFactory) -> eq.Run:
    """A run on points whose generator is affine: orthogonal factors of known sizes."""
    out = tmp_path_factory.mktemp("explore") / "factors"
    x = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    generator = nn.Sequential(nn.Linear(4, 5))
    critic = nn.Sequential(nn.Linear(5, 1))
    game = eq.TwoPlayer(latent=eq.Latent(size=4))
    run = eq.train(game, x, steps=1, out=out, settings=QUIET, generator=generator, discriminator=critic, batch=16)
    with torch.no_grad():
        weight = mixing() @ torch.diag(SIZES)
        for own in (run.play.game.moved("generator"), run.play.averaged.get("generator", {})):
            for name, tensor in own.items():
                tensor.copy_(weight if name.endswith("weight") else torch.ones(5))
    return run


def mixing() -> torch.Tensor:
    """Orthonormal columns ``(5, 4)``: the pattern of each factor in a sample."""
    return torch.linalg.qr(torch.randn(5, 4, generator=torch.Generator().manual_seed(3)))[0]


def pages(run: eq.Run) -> dict[str, object]:
    explore = run.explore
    chosen = {"plus": [1], "minus": [0], "rows": 2} if run.play.game.classes else {"plus": [1, 2], "minus": [5, 6]}
    return {
        "interpolate": explore.interpolate(rows=2, steps=3),
        "lerp": explore.interpolate(rows=2, steps=3, method="lerp"),
        "closed": explore.interpolate(rows=2, steps=3, closed=True),
        "truncate": explore.truncate(rows=2),
        "psi": explore.truncate(rows=2, method="psi"),
        "directions": explore.directions(rows=2, steps=3),
        "plane": explore.plane(steps=3),
        "arithmetic": explore.arithmetic(**chosen),
    }


@pytest.mark.parametrize("which", ["digits", "factors"])
def test_every_page_comes_back_bit_for_bit_from_its_file(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run: eq.Run = request.getfixturevalue(which)
    for name, page in pages(run).items():
        assert len(page.samples) == len(page.rows) * len(page.columns), name
        beside = tmp_path / f"{name}.npz"
        write_codes(page.codes, beside)
        with np.load(beside, allow_pickle=False) as file:
            assert file["latent"].shape[0] == len(page.samples)
        assert torch.equal(run.sample(latents=beside), page.samples), name
        one = page.at(1, 2)
        i = 1 * len(page.columns) + 2
        torch.testing.assert_close(run.sample(latents=one)[0], page.samples[i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [5, 501])
def test_codes_are_those_of_the_samples(digits: eq.Run, factors: eq.Run, n: int, tmp_path: Path) -> None:
    for run in (digits, factors):
        codes, want = run.codes(n, seed=3), run.sample(n, seed=3)
        assert torch.equal(run.sample(latents=codes, seed=3), want)
        np.save(tmp_path / "z.npy", codes["latent"].numpy())
        labels = codes.get("y")
        assert torch.equal(run.sample(latents=tmp_path / "z.npy", labels=labels), run.sample(latents=codes))
        assert (labels is None) or torch.equal(labels, run.labels(n, seed=3))
    codes = digits.codes(2)
    three = digits.sample(latents={**digits.codes(2, [3, 3]), "latent": codes["latent"]})
    assert torch.equal(digits.sample(latents=codes, labels=["3", "3"]), three)


def test_paths_begin_and_end_at_their_codes_and_keep_their_class(digits: eq.Run) -> None:
    ends = digits.codes(4, [7, 7, 2, 2], seed=1)
    page = digits.explore.interpolate(steps=5, latents=ends)
    z = page.codes["latent"].reshape(2, 5, 6)
    assert torch.equal(z[:, 0], ends["latent"][::2]) and torch.equal(z[:, -1], ends["latent"][1::2])
    assert page.codes["y"].tolist() == [7] * 5 + [2] * 5 and page.rows == ("7", "2")
    lengths = ends["latent"].norm(dim=1).reshape(2, 2)
    torch.testing.assert_close(z[:, 2].norm(dim=1), lengths.mean(1))  # slerp keeps the length, lerp does not
    short = digits.explore.interpolate(steps=5, latents=ends, method="lerp").codes["latent"].reshape(2, 5, 6)
    torch.testing.assert_close(short[:, 2], ends["latent"].reshape(2, 2, 6).mean(1))
    between = digits.explore.interpolate(steps=3, latents=digits.codes(2, [0, 4]))
    assert "y" not in between.codes  # half of each class
    np.testing.assert_allclose(between.codes["label"][1].numpy(), np.eye(10)[[0, 4]].mean(0))


def test_codes_that_are_not_truncated_are_those_of_the_seed(digits: eq.Run) -> None:
    page = digits.explore.truncate([0.5, float("inf")], rows=3, seed=2)
    assert torch.equal(page.codes["latent"][1::2], digits.codes(3, [0, 1, 2], seed=2)["latent"])
    assert float(page.codes["latent"][::2].abs().max()) <= 0.5
    psi = digits.explore.truncate([0.0, 0.5], method="psi", rows=3, seed=2).codes["latent"]
    torch.testing.assert_close(psi[1::2], page.codes["latent"][1::2] / 2)
    assert not bool(psi[::2].any())


def test_the_first_direction_moves_the_factor_of_the_largest_variance(factors: eq.Run) -> None:
    page = factors.explore.directions(rows=4, steps=7, reach=3.0)
    moved = page.samples.reshape(4, 7, 5).diff(dim=1) @ mixing()  # what one standard deviation does to each factor
    order = [1, 3, 0, 2]
    assert [int(row.abs().mean(0).argmax()) for row in moved] == order
    for row, factor in zip(moved, order, strict=True):
        np.testing.assert_allclose(row[:, factor].abs().numpy(), SIZES[factor].numpy(), rtol=0.05)
        assert float(row[:, [k for k in range(4) if k != factor]].abs().max()) < 0.15 * float(SIZES[factor]) + 0.1
    found = factors.explore.principal(4)
    np.testing.assert_allclose(found.explained.numpy(), np.sort(SIZES.numpy() ** 2)[::-1] / 29.26, rtol=0.1)
    plane = factors.explore.plane(steps=3).samples.reshape(3, 3, 5) @ mixing()
    assert int((plane[0, 2] - plane[0, 0]).abs().argmax()) == 1 and int((plane[2, 0] - plane[0, 0]).abs().argmax()) == 3


def test_arithmetic_of_samples_adds_mean_codes(factors: eq.Run) -> None:
    z = factors.codes(64, seed=4)["latent"].numpy()
    page = factors.explore.arithmetic(plus=[0, 9, 63], minus=["2", "3"], strengths=[0.0, 1.0, 2.0], seed=4)
    step = z[[0, 9, 63]].mean(0) - z[[2, 3]].mean(0)
    want = z[[2, 3]][:, None] + np.array([0.0, 1.0, 2.0])[None, :, None] * step
    np.testing.assert_allclose(page.codes["latent"].reshape(2, 3, 4).numpy(), want, atol=1e-6)
    samples = page.samples.reshape(2, 3, 5).mean(0)  # of an affine generator the mean sample moves as the mean code
    made = factors.sample(64, seed=4)
    torch.testing.assert_close(samples[1], made[[0, 9, 63]].mean(0), rtol=1e-4, atol=1e-4)


def test_arithmetic_of_classes_goes_from_one_to_the_other(digits: eq.Run) -> None:
    page = digits.explore.arithmetic(plus=["8"], minus=["3"], rows=2, strengths=[0.0, 0.5, 1.0], seed=1)
    z = digits.codes(2, [3, 3], seed=1)["latent"]
    for column, label in ((0, 3), (2, 8)):
        want = digits.sample(latents=z, labels=[label, label])
        torch.testing.assert_close(page.samples[column::3], want, rtol=1e-5, atol=1e-5)
    assert page.codes["label"][1].nonzero().flatten().tolist() == [3, 8] and "y" not in page.codes


def test_pixels_of_a_picture_are_the_samples(digits: eq.Run, tmp_path: Path) -> None:
    page = digits.explore.interpolate(rows=3, steps=4)
    picture, _ = page.write(tmp_path / "a.png")
    pixels = np.asarray(Image.open(picture).convert("L"))
    levels = np.rint((page.samples.clamp(-1, 1).numpy().reshape(3, 4, 8, 8) + 1) * 127.5).astype(np.uint8)
    tile, gap = 48, 1  # 8 pixels, six times
    left, top = pixels.shape[1] - 4 * (tile + gap) + gap, pixels.shape[0] - 3 * (tile + gap) + gap
    for i in range(3):
        for j in range(4):
            y, x = top + i * (tile + gap), left + j * (tile + gap)
            shown = pixels[y : y + tile, x : x + tile]
            np.testing.assert_array_equal(shown[3::6, 3::6], levels[i, j])


def test_frames_of_an_animation_are_the_columns(digits: eq.Run, tmp_path: Path) -> None:
    page = digits.explore.interpolate(rows=1, steps=3, closed=True, labels=[5])
    picture, _ = page.write(tmp_path / "loop.gif")
    with Image.open(picture) as film:
        assert film.n_frames == 12 and film.info["loop"] == 0 and film.info["duration"] == 80  # four stops, three steps
        for k in range(12):
            film.seek(k)
            levels = np.rint((page.samples[k, 0].clamp(-1, 1).numpy() + 1) * 127.5).astype(np.uint8)
            np.testing.assert_array_equal(np.asarray(film.convert("L"))[4::8, 4::8], levels)
    there_and_back = digits.explore.truncate([0.1, 1.0, 2.0], rows=1)
    assert len(there_and_back.frames()) == 4


def test_points_are_drawn_over_the_real_ones_and_tables_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = eq.train("gan", "ring8-U", steps=1, out=tmp_path / "points", settings=QUIET)
    picture, beside = run.explore.interpolate(rows=2, steps=3).write(tmp_path / "p.png")
    assert Image.open(picture).width > 100 and len(np.load(beside)["latent"]) == 6
    for name in ("pairs.npy", "pairs.png"):
        assert cli.main(["sample", str(run.path), "--nearest", "--out", str(tmp_path / name)]) == 1
        assert "image" in capsys.readouterr().err and not (tmp_path / name).exists()
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 500.0])
    run = eq.train("gan", x, steps=1, out=tmp_path / "table", settings=replace(QUIET, sample_every=9), batch=8)
    page = run.explore.truncate(rows=1)
    assert torch.equal(page.samples, run.sample(latents=page.codes)) and page.samples.dtype == torch.float64
    with pytest.raises(ConfigError, match="table"):
        page.write(tmp_path / "w.png")


def test_games_without_codes_are_refused(factors: eq.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors.play.game, "needs", ("x",), raising=False)
    for call in (lambda: factors.explore, lambda: factors.codes(3), lambda: factors.sample(latents=torch.zeros(1, 4))):
        with pytest.raises(ConfigError, match="made from rows"):
            call()


@pytest.mark.parametrize(
    ("latents", "error", "words"),
    [
        (torch.zeros(2, 7), ShapeError, "(2, 7)"),
        (torch.zeros(6), ShapeError, "(6,)"),
        (torch.zeros(0, 6), ShapeError, "(0, 6)"),
        (torch.full((2, 6), torch.nan), DataError, "finite"),
        (np.zeros((2, 6), dtype=complex), DataError, "complex"),
        ({"latnet": torch.zeros(2, 6)}, DataError, "latnet"),
        ({"latent": torch.zeros(2, 6), "y": torch.zeros(3, dtype=torch.int64)}, ShapeError, "rows"),
        ({"latent": torch.zeros(2, 6), "y": torch.tensor([0, 10])}, ConfigError, "10"),
        ([[0.0] * 6], ConfigError, "list"),
        ("none.npz", DataError, "none.npz"),
    ],
)
def test_codes_that_do_not_fit_are_refused(
    digits: eq.Run, latents: object, error: type[EquilibriaError], words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)):
        digits.sample(latents=latents)


def test_files_of_objects_are_never_unpickled(digits: eq.Run, tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="unpickled"):
        digits.sample(latents=tmp_path / "evil.npy")


def test_the_command_writes_pages_whose_samples_come_back(
    digits: eq.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = str(digits.path)
    for words in ("truncate --label 7", "arithmetic --minus 3 --plus 8"):
        assert cli.main(["explore", run, *words.split(), "--rows", "2"]) == 0
        again = re.search(r"Again: +(equilibria .*)", capsys.readouterr().out)
        assert again and cli.main([*shlex.split(again[1])[1:-1], "again.npy"]) == 0
        page = np.load(f"{words.split()[0]}.npz")
        made = eq.open_run(run).sample(latents=dict(page))
        assert np.array_equal(np.load("again.npy"), made.numpy())
    assert cli.main(["sample", run, "-n", "5", "--seed", "2", "--out", "a.npz", "--save-latents", "z.npz"]) == 0
    assert cli.main(["sample", run, "--latents", "z.npz", "--out", "b.npz"]) == 0
    assert all(np.array_equal(np.load("a.npz")[k], np.load("b.npz")[k]) for k in ("x", "y"))
    assert cli.main(["explore", run, "interpolate", "--latents", "z.npz", "--pick", "4,0", "--steps", "2"]) == 0
    np.testing.assert_array_equal(np.load("interpolate.npz")["latent"], np.load("z.npz")["latent"][[4, 0]])
    assert cli.main(["explore", run, "training"]) == 0
    assert Image.open("training.gif").n_frames == len(list((digits.path / "samples").glob("*.png")))


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["sideways"], "sideways"),
        (["truncate", "--out", "a.jpg"], "a.jpg"),
        (["truncate", "--label", "eleven"], "eleven"),
        (["truncate", "--values", "low"], "low"),
        (["truncate", "--values", "-1"], "-1"),
        (["truncate", "--plus", "3"], "--plus"),
        (["interpolate", "--method", "curl"], "curl"),
        (["interpolate", "--steps", "1"], "1"),
        (["arithmetic"], "--plus"),
        (["interpolate", "--pick", "3"], "--pick"),
        (["training", "--out", "t.png"], "t"),
    ],
)
def test_wrong_words_are_refused_with_their_value(
    digits: eq.Run,
    words: list[str],
    value: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["explore", str(digits.path), *words]) == 1
    said = capsys.readouterr().err
    assert value in said and "fix:" in said and not list(tmp_path.iterdir())


def test_an_mp4_is_written_by_ffmpeg_and_without_it_a_gif(
    digits: eq.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    command = ["explore", str(digits.path), "truncate", "--rows", "1", "--values", "0.1,1,2", "--out", "t.mp4"]
    assert cli.main(command) == 0 and "ffmpeg" in capsys.readouterr().out
    assert Image.open("t.gif").n_frames == 4 and not Path("t.mp4").exists()
    stand_in = tmp_path / "ffmpeg"  # keeps the frames that it is given, so that their number and size can be read
    stand_in.write_text('#!/bin/sh\nfor last; do :; done\necho "$@" > words\n/bin/cat > "$last"\n')
    stand_in.chmod(0o755)
    assert cli.main(command) == 0
    width, height = map(int, re.search(r"-s (\d+)x(\d+)", Path("words").read_text()).groups())  # type: ignore[union-attr]
    assert width % 2 == height % 2 == 0 and Path("t.mp4").stat().st_size == 4 * width * height * 3
    stand_in.write_text("#!/bin/sh\nexit 1\n")
    assert cli.main(command) == 1 and "ffmpeg" in capsys.readouterr().err


def test_training_needs_two_pictures(factors: eq.Run, tmp_path: Path) -> None:
    from equilibria.runs.pages import write_training

    for extra in sorted((factors.path / "samples").glob("*.png"))[1:]:
        extra.unlink()
    with pytest.raises(RunError, match="1 picture"):
        write_training(factors, tmp_path / "t.gif")
