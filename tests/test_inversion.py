"""The inverse of a generator: the search against linear algebra, the losses written out, and runs from the shell."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import equilibria as eq
from equilibria import cli
from equilibria.base.errors import ConfigError, DataError
from equilibria.core.game import Draw, Game, make_draw
from equilibria.data import DataSpec
from equilibria.games.inversion import InverseGame, InverseGAN, Search, StartErrors
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import Frozen, MLPPair

SMALL = MLPPair(width=8, depth=1)
QUIET = eq.Settings(device="cpu", progress=False, evaluate=False, doctor=False)
FAST = Search(starts=3, steps=400, rate=0.2, guess=False)


class Linear(Game):
    """A generator whose inverse is linear algebra: G(z) = A z."""

    def __init__(self, a: np.ndarray, law: str = "normal") -> None:
        super().__init__()
        self.a = nn.Parameter(torch.from_numpy(a).float())
        self.spec = TwoPlayer(latent=eq.Latent(size=a.shape[1], law=law))

    def codes(self, n: int, labels: Tensor | None = None) -> dict[str, Tensor]:
        return {"latent": self.spec.latent.codes(n)}

    def sample(self, draw: Draw) -> Tensor:
        return draw["latent"] @ self.a.T


def inverse(a: np.ndarray, search: Search = FAST, law: str = "normal") -> InverseGame:
    data = DataSpec(kind="vector", shape=(a.shape[0],))
    game = InverseGAN(search=search).build(SMALL, data, {"generator": Frozen(Linear(a, law))})
    assert isinstance(game, InverseGame)
    return game.eval()


def matrix(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(4).normal(size=(rows, columns))


# The search ----------------------------------------------------------------------------------------------------------


def test_codes_of_samples_are_found() -> None:
    a = matrix(5, 3)
    z = np.random.default_rng(1).normal(size=(6, 3))
    torch.manual_seed(0)
    found = inverse(a).invert({"x": torch.from_numpy(z @ a.T).float()})
    np.testing.assert_allclose(found.numpy(), z, atol=2e-3)


def test_of_rows_that_cannot_be_made_the_nearest_is_found() -> None:
    a, x = matrix(5, 2), np.random.default_rng(2).normal(size=(4, 5))
    best, residual = np.linalg.lstsq(a, x.T, rcond=None)[:2]
    torch.manual_seed(0)
    game = inverse(a)
    found, errors = game._sought({"x": torch.from_numpy(x).float()})
    np.testing.assert_allclose(found.numpy(), best.T, atol=5e-3)
    np.testing.assert_allclose(errors.min(1).values.numpy(), residual / 5, rtol=1e-3)


def test_the_prior_draws_codes_to_its_mode() -> None:
    """With e a mean over d numbers and β |z|^2 / (2 d) beside it, the solution is that of a ridge regression."""
    a, x, beta = matrix(5, 2), np.random.default_rng(2).normal(size=(4, 5)), 3.0
    ridge = np.linalg.solve(a.T @ a + beta / 2 * np.eye(2), a.T @ x.T).T
    torch.manual_seed(0)
    found = inverse(a, replace(FAST, prior=beta)).invert({"x": torch.from_numpy(x).float()})
    np.testing.assert_allclose(found.numpy(), ridge, atol=5e-3)


def test_uniform_codes_stay_inside() -> None:
    a = matrix(4, 2)
    far = torch.full((3, 4), 9.0)
    torch.manual_seed(0)
    assert float(inverse(a, law="uniform").invert({"x": far}).abs().max()) <= 1
    torch.manual_seed(0)
    assert float(inverse(a).invert({"x": far}).abs().max()) > 1


def test_cross_entropy_has_the_same_minimum() -> None:
    class Picture(Linear):
        def sample(self, draw: Draw) -> Tensor:
            return torch.tanh(super().sample(draw)).view(-1, 1, 2, 3)

    a = matrix(6, 3) / 3
    source = Picture(a)
    data = DataSpec(kind="image", shape=(1, 2, 3))
    torch.manual_seed(3)
    draw = make_draw(source.codes(5), 0)
    x = source.sample(draw).detach()
    for error in ("squared", "cross-entropy"):
        search = replace(FAST, error=error)
        game = InverseGAN(search=search).build(SMALL, data, {"generator": Frozen(source)}).eval()
        assert isinstance(game, InverseGame)
        torch.testing.assert_close(game.invert({"x": x}), draw["latent"], atol=5e-3, rtol=0)


@pytest.mark.parametrize("change", [{"steps": 0}, {"last": 2.0}, {"prior": -1.0}, {"error": "squarred"}, {"rate": 0.0}])
def test_a_search_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        replace(Search(), **change)
    assert next(iter(change)) in raised.value.what and raised.value.fix


# The learned inverse -------------------------------------------------------------------------------------------------


def test_the_loss_is_that_of_codes_and_rows() -> None:
    a = matrix(4, 2)
    game = inverse(a)
    torch.manual_seed(1)
    draw = make_draw(game.draw({"x": torch.zeros(7, 4)}), 0)
    z = draw["latent"]
    made = z @ torch.from_numpy(a).float().T
    code = game.encoder(made)
    back = code @ torch.from_numpy(a).float().T
    wanted = ((code - z) ** 2).mean() + ((back - made) ** 2).mean()
    assert torch.allclose(game.loss("encoder", draw).total, wanted)
    assert [name for name, _ in game.named_parameters()] and not any(
        "generator" in n for n, _ in game.named_parameters()
    )


def test_the_first_start_is_the_guess() -> None:
    a = matrix(4, 2)
    game = inverse(a, Search(starts=3, steps=1, rate=1e-9, guess=True))
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    guess = game.encode({"x": x}) @ torch.from_numpy(a).float().T
    errors = game.start_errors({"x": x})
    torch.testing.assert_close(errors[:, 0], (guess - x).square().mean(1))
    assert not torch.allclose(errors[:, 1], errors[:, 0])


def test_single_starts_are_counted() -> None:
    class Trained:
        def __call__(self, name: str, rows: Any, seed: int = 0) -> Tensor:
            assert name == "start_errors" and rows["x"].shape == (2, 3)
            return torch.tensor([[0.0, 1.0], [1e-4, 5e-4]])

        def sample(self, n: int, seed: int = 0, choices: Any = None) -> Tensor:
            return torch.zeros(2, 3)

    found = StartErrors()(Trained(), {}, lambda column: None)["starts_within"]
    assert (found.value, found.n) == (0.75, 4)


# Runs ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GAN of the ring; tests read it."""
    out = tmp_path_factory.mktemp("inversion") / "gan"
    row = eq.recipe("gan").with_settings({"networks.vector.width": "8", "game.latent.size": "3"})
    eq.train(row, "ring8-M", steps=20, out=out, settings=QUIET)
    return out


@pytest.mark.timeout(300)
def test_from_the_command_line(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start, out = Path(shutil.copytree(source, tmp_path / "gan")), str(tmp_path / "inverse")
    words = ["train", "inverse-gan", "--steps", "4", "--out", out]
    for name in ("progress", "evaluate", "doctor"):
        words += ["--set", f"run.{name}=false"]
    words += ["--set", "run.sample_every=99", "--set", "game.search.steps=20", "--set", "networks.vector.width=8"]
    assert cli.main([*words, "--data", "ring8-M"]) == 1
    said = capsys.readouterr().err
    assert "'generator'" in said and "--from RUN" in said and not Path(out).exists()
    assert cli.main([*words, "--from", str(start)]) == 0  # on its data
    shutil.rmtree(start)
    np.save(tmp_path / "rows.npy", np.zeros((6, 2), dtype=np.float32))
    shapes = {"invert": (6, 3), "encode": (6, 3), "reconstruct": (6, 2), "start_errors": (6, 8)}
    for name, shape in shapes.items():
        to = tmp_path / f"{name}.npz"
        assert cli.main(["apply", out, name, "--given", str(tmp_path / "rows.npy"), "--out", str(to)]) == 0
        assert np.load(to)["x"].shape == shape
    assert cli.main(["train", "--resume", out, "--steps", "6"]) == 0
    assert cli.main(["sample", out, "-n", "5", "--out", str(tmp_path / "s.npz")]) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", out, "-n", "40", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"starts_within", "inverse_error/samples", "inverse_error/x", "inverse_error/negatives"} <= told.keys()
    assert cli.main(["report", out]) == 0
    assert cli.main(["diagnose", out]) == 1
    assert "no contest" in capsys.readouterr().err  # nobody is told apart from anybody


def test_the_source_makes_the_samples_and_does_not_move(source: Path, tmp_path: Path) -> None:
    run = eq.train("inverse-gan", steps=3, out=tmp_path / "run", settings=QUIET, start=source)
    assert torch.equal(run.sample(9, seed=4), eq.open_run(source).sample(9, seed=4))
    assert torch.equal(eq.open_run(tmp_path / "run").apply("encode", run.sample(4)), run.apply("encode", run.sample(4)))


def test_a_conditional_source_is_inverted_class_by_class(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(90, 2)).astype(np.float32)
    data = (x, np.arange(90) % 3)
    row = replace(eq.recipe("cgan"), networks=SMALL, batch=8)
    eq.train(row, data, steps=2, out=tmp_path / "cgan", settings=QUIET)
    inverted = eq.recipe("inverse-gan").with_settings({"game.search.steps": "5"})
    run = eq.train(inverted, data, steps=2, out=tmp_path / "run", settings=QUIET, start=tmp_path / "cgan")
    rows = {"x": torch.zeros(4, 2), "y": torch.tensor([0, 1, 2, 0])}
    assert run.apply("reconstruct", rows).shape == (4, 2)
    with pytest.raises(DataError):
        run.apply("invert", {"x": rows["x"]})


def test_what_cannot_be_inverted_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        eq.train("inverse-gan", "digits", steps=1, out=tmp_path / "a", settings=QUIET, start=source)
    assert "(2,)" in raised.value.what and "(1, 8, 8)" in raised.value.what
    mgan = eq.recipe("mgan").with_settings({"networks.vector.width": "8", "batch": "16"})
    eq.train(mgan, "ring8-M", steps=1, out=tmp_path / "mgan", settings=QUIET)
    row = eq.recipe("inverse-gan").with_settings({"game.search.error": "cross-entropy"})
    with pytest.raises(ConfigError, match="cross-entropy of vectors"):
        eq.train(row, "ring8-M", steps=1, out=tmp_path / "b", settings=QUIET, start=source)
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nine_of_ten_starts_find_the_code_of_a_sample_of_digits(tmp_path: Path) -> None:
    """And rows that the generator has not seen are reached less well, their negatives not at all."""
    row = eq.recipe("gan").with_settings({"game.latent.size": "20"})
    row = replace(row, networks=MLPPair(width=128, depth=2))
    eq.train(row, "digits", steps=4000, out=tmp_path / "gan", settings=QUIET)
    run = eq.train("inverse-gan", steps=500, out=tmp_path / "run", settings=QUIET, start=tmp_path / "gan")
    found = run.evaluate(60, classify=False)
    assert found["starts_within"].value >= 0.9 and found["inverse_within/samples"].value >= 0.95
    held, negative = found["inverse_error/x"].value, found["inverse_error/negatives"].value
    assert 10 * found["inverse_error/samples"].value < held < negative / 4
