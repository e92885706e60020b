"""Measures of tables, held to scipy, pandas and scikit-learn; what a wrong table scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor

from equilibria import cli
from equilibria.base.errors import ShapeError
from equilibria.data import load
from equilibria.data.encoding import Encoding
from equilibria.metrics import Suite, associations, table_scores, told_apart
from equilibria.metrics.tables import kolmogorov, split_columns, variation
from equilibria.runs import open_run, train, write_report
from equilibria.runs.folder import RunFolder
from test_tables_mixed import QUIET, TINY, failure, mixed

SUITE = Suite(repeats=3)


def rows_of(n: int = 1200, seed: int = 0) -> tuple[pd.DataFrame, Encoding, Tensor]:
    frame = mixed(n, seed)
    frame["tax"] = np.round(frame["income"] * 0.3, 2)
    data = load(frame, held_out=0.0)
    assert data.spec.encoding is not None
    return frame, data.spec.encoding, data.whole()["x"]


def test_measures_of_columns_are_those_of_scipy() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=300), np.round(draw.normal(0.2, 1.5, 200), 1)
    assert kolmogorov(x, y) == pytest.approx(stats.ks_2samp(x, y).statistic)
    a, b = draw.choice(list("abc"), 300), draw.choice(list("abd"), 200)
    shares = [pd.Series(one).value_counts(normalize=True) for one in (a, b)]
    assert variation(a, b) == pytest.approx(0.5 * shares[0].sub(shares[1], fill_value=0).abs().sum())


def test_associations_are_those_of_pandas_and_scipy() -> None:
    frame, encoding, rows = rows_of(400)
    found = pd.DataFrame(associations(encoding.decode(rows.numpy()), encoding), list(frame), list(frame))
    spearman = frame[["income", "age", "tax"]].corr("spearman")
    assert np.allclose(found.loc[list(spearman), list(spearman)], spearman, atol=1e-6)
    counts = pd.crosstab(frame["colour"], frame["open"]).to_numpy()
    cramer = stats.contingency.association(counts, method="cramer")
    assert found.loc["colour", "open"] == pytest.approx(cramer)
    ranks = frame["age"].rank()
    means = ranks.groupby(frame["colour"]).transform("mean")
    assert found.loc["age", "colour"] == pytest.approx(np.sqrt(means.var() / ranks.var()))
    assert np.allclose(found, found.T) and np.allclose(np.diag(found), 1.0)


def test_rows_of_the_data_score_their_floor() -> None:
    _, encoding, rows = rows_of()
    scores = table_scores(rows[:400], rows[400:], encoding, SUITE)
    whole, by_column = split_columns(scores)
    assert set(whole) == {"worst_mean", "worst_spread", "worst_ks", "worst_variation", "association", "auc"}
    assert not any(one.tells for one in whole.values())
    assert by_column["colour"].keys() == {"variation"} and by_column["age"].keys() == {"mean", "spread", "ks"}
    assert whole["worst_ks"].value == max(own["ks"].value for own in by_column.values() if "ks" in own)


def spoilt(kind: str, frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.copy()
    if kind == "scale":
        frame["tax"] *= 18
    if kind == "shift":
        frame["height"] += 10
    if kind == "shuffled":
        frame["colour"] = frame["colour"].map({"red": "green", "green": "blue", "blue": "red"})
    if kind == "independent":
        frame["tax"] = frame["tax"].sample(frac=1.0, random_state=0).to_numpy()
    return frame


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("scale", "worst_spread"),
        ("shift", "worst_mean"),
        ("shuffled", "worst_variation"),
        ("independent", "association"),
    ],
)
def test_a_planted_error_is_told_by_its_measure_and_by_the_classifier(kind: str, told: str) -> None:
    frame, encoding, rows = rows_of()
    wrong = encoding.encode(_series(spoilt(kind, frame[:400])))
    scores = table_scores(torch.from_numpy(wrong), rows[400:], encoding, SUITE)
    assert scores[told].tells and scores["auc"].tells
    others = {"worst_mean", "worst_variation", "association"} - {told} - ({"worst_mean"} if kind == "scale" else set())
    assert not any(scores[name].tells for name in others)
    if kind == "scale":  # as the phenols of wine once came out
        real, made = frame["tax"][400:800].std(), 18 * frame["tax"][:400].std()
        assert scores["column/tax/spread"].value == pytest.approx(made / real - 1, rel=1e-3)


def _series(frame: pd.DataFrame) -> Any:
    from equilibria.data.tabular import columns_of

    return columns_of(frame, "the frame")


def test_the_classifier_is_chance_for_the_same_law_and_certain_for_another() -> None:
    _, encoding, rows = rows_of()
    chance = told_apart(rows[:600], rows[600:], encoding)
    assert abs(chance - 0.5) < 0.09  # four standard deviations
    other = rows[:600].clone()
    other[:, 0] += 8.0
    assert told_apart(other, rows[600:], encoding) > 0.999
    assert "10 rows" in str(failure(lambda: table_scores(rows[:5], rows, encoding)))
    assert isinstance(failure(lambda: table_scores(rows[:, 1:], rows, encoding)), ShapeError)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    mixed().to_csv(folder / "t.csv", index=False)
    train(TINY, str(folder / "t.csv"), steps=4, out=folder / "run", settings=replace(QUIET, sample_every=4))
    open_run(folder / "run").evaluate(200)
    return folder / "run"


def test_an_evaluation_has_every_column_and_the_report_shows_them(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = RunFolder.open(evaluated).evaluation
    _, by_column = split_columns(found)
    assert list(by_column) == list(mixed()) and found["auc"]["floor"] == 0.5
    assert cli.main(["report", str(evaluated)]) == 0
    text = (evaluated / "report.html").read_text()
    for name in mixed():
        assert f'<th scope="row">{name}</th>' in text
    capsys.readouterr()
    assert cli.main(["evaluate", str(evaluated), "-n", "200"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:1] == ["colour"] for line in lines)


def test_pictures_of_a_table_are_marginal_laws_of_the_data_and_of_the_samples(evaluated: Path, tmp_path: Path) -> None:
    from PIL import Image

    assert cli.main(["sample", str(evaluated), "--out", str(tmp_path / "s.png")]) == 0
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.width > 800 and picture.height > 500
    text = write_report(evaluated).read_text()
    assert "principal axes" not in text and "Samples as drawn by the run" in text
