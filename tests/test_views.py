"""Views: what a game shows becomes pictures, snapshots and metrics, each view against its own column."""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import equilibria as eq
from equilibria import cli, metrics
from equilibria.base.errors import ConfigError, DataError, ShapeError
from equilibria.base.randomness import mix
from equilibria.core.ensemble import Ensemble
from equilibria.core.game import Batch, Contest, Draw, Game, Loss, Player
from equilibria.core.maps import Choice, Map
from equilibria.data import DataSpec, load
from equilibria.losses import NonSaturating
from equilibria.runs.samples import classifier_of
from equilibria.training import Settings, hooks, pictures

QUIET = Settings(progress=False, doctor=False, evaluate=False, sample_every=2, checkpoint_every=2, device="cpu")
MOVED = 3.0


class Mover(Game):
    """Moves points of the first domain by a vector that it learns; the second domain is 3 further along both axes."""

    needs = ("x",)
    choices: Mapping[str, Choice] = {"slant": Choice(low=-1.0, high=1.0)}
    maps: Mapping[str, Map] = {
        "move": Map("moved_rows", ("x",), gives="other", about="points of the first domain in the second"),
        "norm": Map("norm", ("other",), gives="codes", about="their lengths"),
    }
    judged: Mapping[str, str] = {"moved": "other", "returned": "x"}

    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.full((2,), MOVED))
        self.judge = nn.Linear(2, 1)
        self.players = (Player("judge", ("judge",)), Player("generator", ("by",)))

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"slant": torch.zeros(n)}

    def chosen(self, n: int, values: Mapping[str, float]) -> Batch:
        return {"slant": torch.full((n,), float(values["slant"]))}

    def draw(self, batch: Batch) -> Batch:
        return {"x": batch["x"], "real": batch["other"], **self.codes(len(batch["x"]))}

    def sample(self, draw: Draw) -> Tensor:
        return draw["x"] + self.by + draw["slant"][:, None]

    def views(self, draw: Draw) -> dict[str, Tensor]:
        moved = self.sample(draw)
        return {"point": draw["x"], "moved": moved, "returned": moved - self.by}

    def moved_rows(self, rows: Batch) -> Tensor:
        return rows["x"] + self.by

    def norm(self, rows: Batch) -> Tensor:
        return rows["other"].norm(dim=1)

    def contests(self, draw: Draw) -> dict[str, Contest]:
        return {"data": Contest((draw["real"],), (self.sample(draw),), lambda x: self.judge(x)[:, 0])}

    def loss(self, player: str, draw: Draw) -> Loss:
        contest = self.contests(draw)["data"]
        if player == "generator":
            return Loss(0.0 * NonSaturating().generator(contest.scores("fake")))
        return Loss(NonSaturating().discriminator(contest.scores("real"), contest.scores("fake")))


def domains(folder: Path, n: int = 200) -> str:
    points = np.random.default_rng(0).normal(size=(2 * n, 2)).astype(np.float32)
    np.save(folder / "a.npy", points[:n])
    np.save(folder / "b.npy", points[n:] + np.float32(MOVED))
    return f"pairs:{folder}/a.npy,{folder}/b.npy"


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("views")
    run = eq.train(Mover(), domains(folder), steps=2, out=folder / "run", settings=QUIET)
    return run, folder


# Snapshots and pictures ----------------------------------------------------------------------------------------------


def test_a_snapshot_holds_each_view_under_its_name(moved: tuple[Any, Path]) -> None:
    run, folder = moved
    kept = np.load(folder / "run" / "samples" / "step-00000002.npz")
    assert list(kept) == ["point", "moved", "returned"]
    np.testing.assert_allclose(kept["moved"], kept["point"] + MOVED, atol=1e-5)
    held_out = {tuple(row) for row in run.data.take(run.data.held_out_size, held_out=True)["x"].tolist()}
    assert {tuple(row) for row in kept["point"].tolist()} <= held_out, "what is not given comes from held-out rows"
    assert (folder / "run" / "samples" / "step-00000002.png").exists()
    assert "point, moved, returned" in run.report().read_text()


def test_one_view_alone_is_kept_as_ever() -> None:
    x = torch.rand(3, 2)
    plain = np.load(io.BytesIO(hooks.packed_views({"samples": x}, np.float16)))
    assert list(plain) == ["x"] and plain["x"].dtype == np.float16
    several = np.load(io.BytesIO(hooks.packed_views({"a": x, "labels": torch.arange(3)}, np.float16)))
    assert [several[name].dtype.kind for name in several] == ["f", "i"]


def test_training_rows_serve_where_none_are_held_out(tmp_path: Path) -> None:
    data = load(domains(tmp_path), options=eq.DataOptions(held_out=0.0))
    with pytest.warns(UserWarning, match="held_out"):
        rows = pictures.rows_for(Mover(), lambda: data, 7)
    assert rows is not None and list(rows) == ["x"] and rows["x"].shape == (7, 2)
    with pytest.raises(DataError, match="'caption'"):
        pictures.held_out_rows(("caption",), lambda: load(domains(tmp_path)), 3)


def test_a_game_that_needs_no_rows_opens_no_data() -> None:
    assert pictures.rows_for(Game(), lambda: pytest.fail("the data was opened"), 3) is None


def test_an_example_is_a_row_of_its_views() -> None:
    small, wide = torch.full((4, 1, 2, 2), -0.5), torch.stack([torch.full((3, 4, 4), i / 4) for i in range(4)])
    joined = pictures.side_by_side({"coarse": small, "fine": wide})
    assert joined.shape == (4, 3, 4, 8)
    assert joined[:, :, :, :4].unique().tolist() == [-0.5]
    assert torch.equal(joined[:, :, :, 4:], wide)
    with pytest.raises(ShapeError, match="'fine': 3"):
        pictures.side_by_side({"coarse": small, "fine": wide[:3]})


def pixels(drawn: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB"))


def test_a_plain_game_is_drawn_as_before_and_views_stand_in_order() -> None:
    spec = DataSpec(kind="image", shape=(1, 8, 8))
    paint = pictures.painter(spec, lambda: pytest.fail("images need no data"))
    images = torch.rand(16, 1, 8, 8) * 2 - 1
    grid = np.asarray(eq.figures.image_grid(images, 8))
    np.testing.assert_array_equal(pixels(paint({"samples": images})), grid)
    dark, light = torch.full((8, 1, 8, 8), -1.0), torch.ones(8, 1, 8, 8)
    drawn = pixels(paint({"input": dark, "latent": torch.zeros(8, 3), "output": light}))
    first = drawn[:80, : 2 * 80].mean((0, 2))
    assert first[:70].max() < 10 and first[90:150].min() > 245, "dark left, light right"


@pytest.mark.parametrize("names", [("samples",), ("one", "two")])
def test_points_are_drawn_over_the_rows_of_their_column(
    names: tuple[str, ...], monkeypatch: Any, tmp_path: Path
) -> None:
    data, seen = load(domains(tmp_path)), []
    honest = pictures.scatter

    def watched(points: Tensor, real: Tensor, *more: Any, **named: Any) -> Any:
        seen.append(real)
        return honest(points, real, *more, **named)

    monkeypatch.setattr(pictures, "scatter", watched)
    judged = dict(zip(names, ("x", "other"), strict=False))
    paint = pictures.painter(data.spec, lambda: data, judged=judged)
    assert paint(dict.fromkeys(names, torch.zeros(5, 2)))[1:4] == b"PNG"
    means = [float(real.mean()) for real in seen]
    assert means == pytest.approx([0.0, MOVED][: len(names)], abs=0.3)


# Metrics -------------------------------------------------------------------------------------------------------------


def test_each_view_is_judged_against_its_column(moved: tuple[Any, Path]) -> None:
    run, _ = moved
    judged = run.evaluate(60)
    assert set(judged) == {f"{view}/{name}" for view in ("moved", "returned") for name in ("w1", "sliced_w1")}
    rows = run.data.take(60, 0, held_out=True)["x"]
    for view, column, samples in (("moved", "other", rows + MOVED), ("returned", "x", rows)):
        against = run.data.take(min(120, run.data.size), 0)["other"] if column == "other" else run.data
        expected = metrics.evaluate(samples, against)["w1"]
        assert judged[f"{view}/w1"].value == pytest.approx(expected.value, abs=1e-4)
        assert judged[f"{view}/w1"].floor == pytest.approx(expected.floor, abs=1e-6)
    assert max(judged[name].value for name in judged) < 1.5, "3 apart, a swapped column would show"


def test_a_judged_view_that_is_not_shown_is_said(moved: tuple[Any, Path]) -> None:
    folder = moved[1]

    class Wrong(Mover):
        judged: Mapping[str, str] = {"move": "other"}

    with pytest.warns(UserWarning, match="judged names 'move'"):
        wrong = eq.train(Wrong(), domains(folder), steps=1, out=folder / "wrong", settings=QUIET)
    with pytest.raises(ConfigError, match="'move'"):
        wrong.evaluate(60)


class Coded(Game):
    """Makes images of the data's shape from a code with as many values as the data has classes."""

    choices: Mapping[str, Choice] = {"code": Choice(classes=10)}

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.made = nn.Parameter(torch.zeros(1, 8, 8))
        self.players = (Player("generator", ("made",)),)

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"code": torch.randint(10, (n,))}

    def draw(self, batch: Batch) -> Batch:
        return self.codes(len(batch["x"]))

    def sample(self, draw: Draw) -> Tensor:
        return self.made.expand(len(draw["code"]), -1, -1, -1) + 0.1 * torch.randn(len(draw["code"]), 1, 8, 8)

    def loss(self, player: str, draw: Draw) -> Loss:
        return Loss(self.made.square().mean())


@pytest.mark.parametrize(("classes", "held_to"), [(0, False), (10, True), (7, False)])
def test_agreement_is_of_classes_of_the_data(
    classes: int, held_to: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = metrics.Classifier((1, 8, 8), 10, seed=0)
    judge.accuracy = 0.9
    monkeypatch.setattr("equilibria.runs.samples.classifier_of", lambda data: judge)
    run = eq.train(Coded(classes), "digits", steps=1, out=tmp_path / "run", settings=QUIET)
    found = run.evaluate(40)
    assert "classes" in found and ("agreement" in found) is held_to


def test_the_classifier_learns_from_the_rows_that_have_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Partly:
        size, held_out_size = 6, 4

        def take(self, n: int, seed: int = 0, held_out: bool = False) -> Batch:
            x = torch.arange(float(n)).reshape(n, 1, 1, 1).expand(n, 1, 4, 4)
            return {"x": x, "y": torch.arange(n) % 3 - 1}

    def train(x: Tensor, y: Tensor, *, test: Any) -> str:
        seen.update(x=x[:, 0, 0, 0].tolist(), y=y.tolist(), test=test[1].tolist())
        return "trained"

    monkeypatch.setattr("equilibria.metrics.train_classifier", train)
    assert classifier_of(Partly()) == "trained"  # type: ignore[arg-type, comparison-overlap]
    assert seen == {"x": [1, 2, 4, 5], "y": [0, 1, 0, 1], "test": [0, 1]}


# Runs ----------------------------------------------------------------------------------------------------------------


def test_a_run_samples_from_rows_in_any_form(moved: tuple[Any, Path]) -> None:
    run, folder = moved
    x = np.load(folder / "a.npy")
    forms: dict[str, Any] = {
        "path": str(folder / "a.npy"),
        "tensors": {"x": torch.from_numpy(x)},
        "array": x,
        "data": load(folder / "a.npy"),
        "pairs": domains(folder),
    }
    for form, given in forms.items():
        made = run.sample(200, given=given)
        np.testing.assert_allclose(made.numpy(), x + MOVED, atol=1e-5, err_msg=form)
    cycled = run.sample(5, given={"x": x[:2]})
    np.testing.assert_allclose(cycled.numpy(), x[[0, 1, 0, 1, 0]] + MOVED, atol=1e-5)
    np.testing.assert_allclose(run.sample(600, given=x).numpy(), x[np.arange(600) % 200] + MOVED, atol=1e-5)
    slanted = run.sample(200, given=x, choices={"slant": -1}).numpy()
    np.testing.assert_allclose(slanted, x + MOVED - 1, atol=1e-5)


def test_rows_that_are_not_given_are_held_out(moved: tuple[Any, Path]) -> None:
    run, _ = moved
    held_out = {tuple(row) for row in run.data.take(run.data.held_out_size, held_out=True)["x"].tolist()}
    views = run.views(6, seed=3)
    assert {tuple(row) for row in views["point"].tolist()} <= held_out
    assert torch.equal(run.sample(6, seed=3), views["moved"]) and not torch.equal(run.sample(6), views["moved"])


def test_columns_beside_those_needed_are_there_for_views(moved: tuple[Any, Path]) -> None:
    run = moved[0]

    class Watching(Mover):
        shows = ("other",)

        def views(self, draw: Draw) -> dict[str, Tensor]:
            return {**Mover.views(self, draw), "target": draw["other"]} if "other" in draw else Mover.views(self, draw)

    game = Watching()
    for made in (game, Ensemble(lambda seed: Watching(), (0, 1))):
        play = eq.Play(made, run.play.rule, run.play.specs, run.data.batches(8))
        rows = run.data.take(5, held_out=True)
        shown = play.views(5, given=rows)
        assert torch.equal(shown["target"].reshape(-1, 5, 2)[-1], rows["other"])
        assert "target" not in play.views(5, given={"x": rows["x"]})
        assert torch.equal(play.sample(5, given=rows), play.sample(5, given={"x": rows["x"]}))


def test_a_run_applies_its_maps(moved: tuple[Any, Path]) -> None:
    run, folder = moved
    x = np.load(folder / "a.npy")
    np.testing.assert_allclose(run.apply("move", str(folder / "a.npy")).numpy(), x + MOVED, atol=1e-5)
    np.testing.assert_allclose(run.apply("norm", x).numpy(), np.linalg.norm(x, axis=1), rtol=1e-5)
    np.testing.assert_allclose(run.apply("norm", domains(folder)).mean(), MOVED * 2**0.5, atol=0.5)
    assert run.apply("move", None).shape == (64, 2)
    with pytest.raises(ConfigError, match="'move'"):
        run.apply("mvoe", x)


def test_an_opened_run_needs_no_data_of_its_own_to_work_on_rows(moved: tuple[Any, Path]) -> None:
    run, folder = moved
    opened = eq.open_run(folder / "run", game=Mover())
    x = np.load(folder / "a.npy")[:3]
    assert torch.equal(opened.apply("move", x), run.apply("move", x)) and opened.given is None
    assert torch.equal(opened.sample(3, given=x), run.sample(3, given=x)) and opened.given is None


def test_views_of_an_ensemble_are_judged_member_by_member(tmp_path: Path) -> None:
    game = Ensemble(lambda seed: Mover(), (0, 1))
    run = eq.train(game, domains(tmp_path), steps=1, out=tmp_path / "run", settings=QUIET)
    assert {name: tuple(view.shape) for name, view in run.views(5).items()} == {
        name: (2, 5, 2) for name in ("point", "moved", "returned")
    }
    assert run.evaluate(60)["moved/w1"].value < 1.5 and run.apply("move", None).shape == (2, 64, 2)


def test_cogan_shows_its_domains() -> None:
    from equilibria.games.coupled import CoGAN
    from equilibria.networks import MLPPair

    data = load("pairs:digits,digits-negative")
    recipe = eq.Recipe(
        name="c", year=0, cite="", source="", about="", game=CoGAN(hidden=8, stem_layers=1), networks=MLPPair(width=8),
        averages=(),
    )  # fmt: skip
    play = recipe.play(recipe.build(data.spec, 0), data.batches(4))
    views, side = play.views(5, seed=mix(1)), play.sample(5, seed=mix(1))
    assert list(views) == ["first", "second"] and play.game.judged == {"first": "x", "second": "other"}
    assert torch.equal(torch.cat(list(views.values()), -1), side)


# The command line ----------------------------------------------------------------------------------------------------


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = cli.main(list(arguments))
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.fixture
def by_hand(moved: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Path]:
    """The command line opens the run of a game that it could not build by itself."""
    monkeypatch.setattr("equilibria.runs.open_run", lambda path, **how: moved[0])
    return moved


def test_sampling_from_given_rows(by_hand: tuple[Any, Path], tmp_path: Path, capsys: Any) -> None:
    folder, out = by_hand[1], tmp_path / "made.npz"
    x = np.load(folder / "a.npy")
    how = ["sample", "any", "--given", f"{folder}/a.npy", "-n", "5", "--set", "code.slant=0.5", "--out"]
    assert told(capsys, *how, str(out)) == (0, f"5 samples in {out}\n")
    kept = np.load(out)
    assert list(kept) == ["point", "moved", "returned"]
    np.testing.assert_allclose(kept["moved"], x[:5] + MOVED + 0.5, atol=1e-5)
    assert told(capsys, *how, str(tmp_path / "made.npy"))[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "made.npy"), kept["moved"])
    assert told(capsys, *how, str(tmp_path / "made.png"))[0] == 0
    assert (tmp_path / "made.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize(
    ("setting", "said"), [("slant=1", "code.c1=3"), ("code.slant=x", "code.c1=3"), ("code.slent=1", "'slant'")]
)
def test_codes_that_are_not_there(
    by_hand: tuple[Any, Path], tmp_path: Path, capsys: Any, setting: str, said: str
) -> None:
    code, lines = told(capsys, "sample", "any", "--set", setting, "--out", str(tmp_path / "a.npz"))
    assert code == 1 and said in lines and not (tmp_path / "a.npz").exists()


def test_applying_a_map(by_hand: tuple[Any, Path], tmp_path: Path, capsys: Any) -> None:
    folder, out = by_hand[1], tmp_path / "z.npz"
    x = np.load(folder / "a.npy")
    code, lines = told(capsys, "apply", "any")
    assert code == 0 and "points of the first domain in the second" in lines and "norm" in lines
    proposed = shlex.split(lines.splitlines()[-1].partition("equilibria ")[2])
    asked = [f"{folder}/a.npy" if word == "SOURCE" else word for word in proposed]
    assert told(capsys, *asked[:-1], str(out)) == (0, f"move of 200 rows in {out}\n")
    np.testing.assert_allclose(np.load(out)["x"], x + MOVED, atol=1e-5)
    assert told(capsys, "apply", "any", "norm", "--given", f"{folder}/a.npy", "--out", str(tmp_path / "z.npy"))[0] == 0
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), np.linalg.norm(x, axis=1), rtol=1e-5)
    assert told(capsys, "apply", "any", "move", "--out", str(tmp_path / "z.png"))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["move"], "--out move.npz"),
        (["moev", "--out", "z.npz"], "'move'"),
        (["move", "--out", "z.txt"], ".npz"),
        (["norm", "--out", "z.png"], ".npz"),
        (["move", "--given", "nowhere", "--out", "z.npz"], "nowhere"),
    ],
)
def test_what_cannot_be_applied(
    by_hand: tuple[Any, Path], tmp_path: Path, capsys: Any, monkeypatch: Any, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, lines = told(capsys, "apply", "any", *arguments)
    assert code == 1 and said in lines and not list(tmp_path.iterdir())


def test_a_run_without_maps_says_so(by_hand: tuple[Any, Path], capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(by_hand[0].play.game, "maps", {})
    code, lines = told(capsys, "apply", "any")
    assert code == 0 and "equilibria sample any" in lines
