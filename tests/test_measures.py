"""Measures of maps and codes, against cases whose numbers are known by hand or by another library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics.cluster import contingency_matrix
from torch import Tensor, nn

import equilibria as eq
from equilibria import metrics
from equilibria.base.errors import ConfigError
from equilibria.base.records import record
from equilibria.cli.results import print_metrics
from equilibria.core.ensemble import Ensemble
from equilibria.core.game import Batch, Draw, Game, Loss, Player
from equilibria.core.maps import Choice, Map
from equilibria.data import DataSpec, load
from equilibria.games.spec import GameSpec
from equilibria.metrics import MEASURES, Measure, Measured, measures
from equilibria.networks import Networks
from equilibria.runs.measuring import labeller_of_data, measured
from equilibria.training import Settings

pytestmark = pytest.mark.usefixtures("no_report")  # no test here reads the page of a run

QUIET = Settings(progress=False, doctor=False, evaluate=False, device="cpu", sample_every=1000)
Y = torch.tensor([0, 1, 2, 2, -1, 2])


@dataclass
class Hand:
    """A trained game by hand: maps are functions of rows, samples a function of the choices."""

    maps: dict[str, Callable[..., Tensor]] = field(default_factory=dict)
    samples: Callable[..., Tensor] = lambda n, seed, choices: torch.zeros(n, 2)

    def __call__(self, name: str, rows: Mapping[str, Tensor], seed: int = 0) -> Tensor:
        return self.maps[name](rows, seed)

    def sample(self, n: int, seed: int = 0, choices: Mapping[str, float] | None = None) -> Tensor:
        return self.samples(n, seed, choices or {})


@dataclass
class Sign:
    """Assigns classes by the sign of the first number, with a stated accuracy of 0.9."""

    accuracy: float = 0.9

    def predict(self, x: Tensor) -> Tensor:
        return (x.flatten(1)[:, 0] > 0).long()


def nobody(column: str) -> None:
    return None


def of(measure: Measure, apply: Any, rows: Mapping[str, Tensor], judge: Any = nobody) -> Measured:
    found = measure(apply, rows, judge)
    assert len(found) == 1, sorted(found)
    return next(iter(found.values()))


# Each measure --------------------------------------------------------------------------------------------------------


def test_accuracy_counts_labelled_rows() -> None:
    numbers = torch.tensor([0, 2, 2, 2, 1, 0])
    scores = nn.functional.one_hot(numbers, 3).float() - 5
    for told in (numbers, scores):
        found = of(metrics.Accuracy(), Hand({"classify": lambda rows, seed, told=told: told}), {"y": Y})
        assert (found.value, found.floor, found.chance, found.n) == (0.6, 1.0, 0.6, 5) and found.higher


def test_kept_labels_use_the_labeller_of_the_other_column() -> None:
    x, y = torch.tensor([[1.0], [-1.0], [2.0], [3.0]]), torch.tensor([1, 0, 0, 1])
    asked: list[str] = []

    def judge(column: str) -> Sign:
        asked.append(column)
        return Sign()

    found = of(metrics.LabelKept(), Hand({"translate": lambda rows, seed: rows["x"] * 2}), {"x": x, "y": y}, judge)
    assert asked == ["other"] and found.value == 0.75 and found.floor == 0.9 and found.chance == 0.5
    assert found.spread == pytest.approx(np.sqrt(0.9 * 0.1 / 4))
    assert metrics.LabelKept()(Hand(), {"x": x, "y": y}, nobody) == {}


def test_a_cycle_is_measured_against_the_variance() -> None:
    rng = np.random.default_rng(0)
    x, off = rng.normal(size=(50, 3)) * 4, rng.normal(size=(50, 3))
    hand = Hand(
        {
            "translate": lambda rows, seed: -rows["x"],
            "translate_back": lambda rows, seed: -rows["other"] + torch.from_numpy(off),
        }
    )
    rows = {"x": torch.from_numpy(x), "other": torch.full((50, 3), float("nan"))}
    found = of(metrics.CycleError(), hand, rows)
    assert found.value == pytest.approx((off**2).sum() / ((x - x.mean(0)) ** 2).sum()) and not found.higher
    assert (found.floor, found.chance) == (0.0, 1.0)
    hand.maps["translate_back"] = lambda rows, seed: torch.from_numpy(x).mean(0).expand(50, 3)
    assert of(metrics.CycleError(), hand, rows).value == pytest.approx(found.chance)
    reverse = metrics.CycleError(there="a", back="b", column="other", through="x", name="back")
    exact = Hand({"a": lambda rows, seed: rows["other"] + 1, "b": lambda rows, seed: rows["x"] - 1})
    assert reverse(exact, {"other": torch.from_numpy(x)}, nobody)["back"].value == pytest.approx(0.0, abs=1e-12)


def test_reconstruction_of_the_mean_is_chance() -> None:
    x = torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(0)) + 3
    mean = Hand({"reconstruct": lambda rows, seed: rows["x"].mean(0).expand_as(rows["x"])})
    same = Hand({"reconstruct": lambda rows, seed: rows["x"]})
    assert of(metrics.Reconstruction(), mean, {"x": x}).value == pytest.approx(1.0)
    assert of(metrics.Reconstruction(), same, {"x": x}).value == 0.0


def test_purity_is_that_of_the_contingency_table() -> None:
    rng = np.random.default_rng(1)
    clusters, y = rng.integers(0, 6, 300), rng.integers(0, 4, 300)
    y[clusters == 2] = 1
    found = of(
        metrics.Purity(), Hand({"cluster": lambda rows, seed: torch.from_numpy(clusters)}), {"y": torch.from_numpy(y)}
    )
    table = contingency_matrix(y, clusters)
    assert found.value == pytest.approx(table.max(0).sum() / 300)
    shuffled = [contingency_matrix(rng.permutation(y), clusters).max(0).sum() / 300 for _ in range(200)]
    assert found.chance == pytest.approx(np.mean(shuffled), abs=0.01) and found.chance > 1 / 4


def test_the_purity_of_a_code_uses_the_labeller() -> None:
    def sampled(n: int, seed: int, choices: Mapping[str, float]) -> Tensor:
        sign = 1.0 if choices["c1"] >= 2 else -1.0
        return torch.cat([torch.full((n - 1, 2), sign), torch.full((1, 2), -sign)])

    found = of(metrics.CodePurity(values=4, each=10), Hand(samples=sampled), {}, lambda column: Sign())
    assert found.value == pytest.approx(0.9) and found.n == 40
    ignored = Hand(samples=lambda n, seed, choices: torch.tensor([[1.0, 0], [-1.0, 0]]).repeat(n // 2, 1))
    assert of(metrics.CodePurity(values=4, each=10), ignored, {}, lambda column: Sign()).value == pytest.approx(0.5)


def test_diversity_is_the_share_of_the_noise() -> None:
    x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0)) * 2

    def noisy(scale: float, own: float) -> Hand:
        def translate(rows: Mapping[str, Tensor], seed: int) -> Tensor:
            return own * rows["x"] + scale * torch.randn(4000, 1, generator=torch.Generator().manual_seed(seed + 1))

        return Hand({"translate": translate})

    for scale, own, expected in ((0.0, 1.0, 0.0), (1.0, 0.0, 1.0), (2.0, 1.0, 0.5), (1.0, 1.0, 0.2)):
        assert of(metrics.Diversity(), noisy(scale, own), {"x": x}).value == pytest.approx(expected, abs=0.03)


def test_an_inverse_is_measured_on_samples_and_on_rows() -> None:
    shift = torch.tensor([0.01, 0.1])
    hand = Hand(
        {"invert": lambda rows, seed: rows["x"] / 2, "generate": lambda rows, seed: rows["codes"] * 2 + shift},
        samples=lambda n, seed, choices: torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)),
    )
    own = metrics.InverseError(most=50)(hand, {}, nobody)
    assert own["inverse_error/samples"].value == pytest.approx(0.00505, rel=1e-4)
    assert own["inverse_error/samples"].floor == 0.0 and own["inverse_error/samples"].chance == pytest.approx(
        1, abs=0.4
    )
    assert own["inverse_within/samples"].value == 0.0 and own["inverse_within/samples"].n == 50
    near = metrics.InverseError(column="x", within=0.006)(hand, {"x": torch.randn(30, 2)}, nobody)
    assert near["inverse_within/x"].value == 1.0 and near["inverse_error/x"].floor is None


def test_gradient_energy_of_known_stripes() -> None:
    stripes = torch.tensor([0.0, 1.0]).repeat(4).expand(5, 1, 8, 8)
    hand = Hand({"translate": lambda rows, seed: stripes / 2})
    assert of(metrics.GradientEnergy(), hand, {"x": stripes, "other": stripes}).value == pytest.approx(0.25)
    turned = Hand({"translate": lambda rows, seed: stripes.transpose(2, 3)})
    assert of(metrics.GradientEnergy(), turned, {"x": stripes, "other": stripes}).value == pytest.approx(1.0)


@pytest.mark.parametrize("name", sorted(set(MEASURES) - {"diversity", "inverse-error"}))  # those need no column
def test_a_measure_with_nothing_to_work_on_gives_nothing(name: str) -> None:
    assert MEASURES[name](Hand(), {"z": torch.zeros(3, 1)}, nobody) == {}


def test_every_measure_has_a_name() -> None:
    written = {value for value in vars(measures).values() if isinstance(value, type) and issubclass(value, Measure)} - {
        Measure
    }
    assert {type(entry) for entry in MEASURES.values()} == written
    assert MEASURES.find("Cycle_Error") == metrics.CycleError()


def test_a_chance_level_is_told_where_there_is_one() -> None:
    assert "chance" not in Measured(value=1.0).to_dict()
    assert Measured(value=1.0, chance=0.1).to_dict()["chance"] == 0.1


# In a run ------------------------------------------------------------------------------------------------------------


@record
class Doubling(GameSpec):
    """Doubles rows, tells their sign, and samples around one of two points."""

    twice: bool = False

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        return {"factor": nn.Linear(1, 1, bias=False)}

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return DoublingGame(modules["factor"])

    def measures(self) -> tuple[Measure, ...]:
        own = (
            metrics.Accuracy(),
            metrics.CycleError(there="double", back="halve"),
            metrics.CodePurity(values=2, each=20),
        )
        return (*own, metrics.Accuracy()) if self.twice else own


class DoublingGame(Game):
    choices: Mapping[str, Choice] = {"c1": Choice(classes=2)}
    maps: Mapping[str, Map] = {
        "classify": Map("sign", gives="label"),
        "double": Map("double", gives="other"),
        "halve": Map("halve", ("other",)),
    }

    def __init__(self, factor: nn.Module) -> None:
        super().__init__()
        self.factor = factor
        nn.init.constant_(factor.weight, 2.0)  # type: ignore[arg-type]
        self.players = (Player("generator", ("factor",)),)

    def sign(self, rows: Batch) -> Tensor:
        return (rows["x"][:, 0] > 0).long()

    def double(self, rows: Batch) -> Tensor:
        return rows["x"] * self.factor.weight  # type: ignore[operator]

    def halve(self, rows: Batch) -> Tensor:
        return rows["other"] / self.factor.weight  # type: ignore[operator]

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"c1": torch.randint(2, (n,)), "z": torch.randn(n, 2)}

    def chosen(self, n: int, values: Mapping[str, float]) -> Batch:
        return {"c1": torch.full((n,), int(values["c1"]))}

    def draw(self, batch: Batch) -> Batch:
        return {**self.codes(len(batch["x"])), "x": batch["x"]}

    def sample(self, draw: Draw) -> Tensor:
        return 0.3 * draw["z"] + 4 * (draw["c1"][:, None] - 0.5)

    def loss(self, player: str, draw: Draw) -> Loss:
        return Loss(0.0 * self.double({"x": draw["x"]}).mean())


def clusters() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    return (rng.normal(size=(400, 2)) * 0.3 + 4 * (y[:, None] - 0.5)).astype(np.float32), y


def test_an_evaluation_holds_the_measures_of_the_game(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = eq.train(Doubling(), clusters(), steps=1, out=tmp_path / "run", settings=QUIET)
    found = run.evaluate(60)
    assert found["accuracy"].value == 1.0 and found["accuracy"].chance == pytest.approx(0.5, abs=0.2)
    assert found["accuracy"].n == run.data.held_out_size, "measured on rows that training has not seen"
    assert found["cycle_error"].value == pytest.approx(0.0, abs=1e-10) and "code_purity" not in found
    assert '"chance"' in (tmp_path / "run" / "evaluation.json").read_text() and "w1" in found
    print_metrics({name: value.to_dict() for name, value in found.items()})
    assert "chance" in capsys.readouterr().out


def test_the_modes_of_a_law_label_samples_of_codes(tmp_path: Any) -> None:
    law = eq.data.GaussianMixture([[-2.0, -2.0], [2.0, 2.0]], std=0.3)
    run = eq.train(Doubling(), law, steps=1, out=tmp_path / "run", settings=QUIET)
    found = run.evaluate(60)
    assert found["code_purity"].value == 1.0 and found["code_purity"].chance < 0.75
    assert "accuracy" not in found, "the data has no labels"


def test_two_numbers_of_one_name_are_refused(tmp_path: Any) -> None:
    run = eq.train(Doubling(twice=True), clusters(), steps=1, out=tmp_path / "run", settings=QUIET)
    with pytest.raises(ConfigError, match="'accuracy'"):
        run.evaluate(60)


def test_an_ensemble_is_measured_by_member() -> None:
    data = load(clusters())
    spec = Doubling()
    game = Ensemble(lambda seed: spec.build(None, data.spec), (0, 1))  # type: ignore[arg-type]
    with torch.no_grad():
        game.stack.factor.weight[1].mul_(-1)
    play = eq.Recipe(name="d", year=0, cite="", source="", about="", game=spec, averages=()).play(game, data.batches(8))
    found = measured(play, data, spec.measures())
    assert found["accuracy"].value == 1.0 and found["cycle_error"].value == pytest.approx(0.0, abs=1e-10)


def test_labellers_of_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[Tensor, Tensor]] = []

    def train(x: Tensor, y: Tensor, *, test: Any) -> Sign:
        trained.append((x, y))
        return Sign()

    monkeypatch.setattr("equilibria.metrics.train_classifier", train)
    pairs = load("pairs:digits,digits-negative")
    assert (
        labeller_of_data(pairs, classify=False)("x") is None
        and labeller_of_data(load("digits"), classify=True)("x") is not None
    )
    judge = labeller_of_data(pairs, classify=True)
    assert judge("other") is judge("other") and len(trained) == 2
    x, y = trained[-1]
    assert len(x) == pairs.size and float(x.mean()) > 0.3, "the second domain is light"
    digits = load("digits")
    for row in range(5):  # its labels are those of its own rows
        same = (digits.whole()["x"] + x[row]).abs().flatten(1).max(1).values < 1e-6
        assert digits.whole()["y"][same].unique().tolist() == [int(y[row])]
    aligned = load("aligned:digits,digits-edges")
    assert labeller_of_data(aligned, classify=True)("other") is not None
    of_other, of_x = (float(aligned.whole()[name].mean()) for name in ("other", "x"))
    assert float(trained[-1][0].mean()) == pytest.approx(of_other, abs=0.02) and abs(of_other - of_x) > 0.1
    ring = labeller_of_data(load("ring8-U"), classify=False)("x")
    assert ring is not None and ring.accuracy > 0.99
