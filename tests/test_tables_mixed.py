"""Tables of columns: what is read is what comes out again, held to pandas and numpy directly."""

from __future__ import annotations

import builtins
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from equilibria import cli
from equilibria.base.errors import ConfigError, DataError, EquilibriaError
from equilibria.base.records import decode, encode
from equilibria.core.play import Play
from equilibria.data import DataSpec, load
from equilibria.data.encoding import Encoding, Series, TableField, fitted_field
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import Generator, MLPPair, OneHots
from equilibria.recipes import Recipe, default_for, recipe
from equilibria.runs import open_run, resume, train
from equilibria.runs.rows import rows_of
from equilibria.training import Settings, marginals

TINY = Recipe(
    name="tiny", year=0, cite="", source="", about="", batch=32, game=TwoPlayer(latent=Latent(size=8)),
    networks=MLPPair(width=16, depth=1),
)  # fmt: skip
QUIET = Settings(progress=False, doctor=False, evaluate=False, sample_every=100)


def mixed(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Columns of every kind: skewed, two modes, whole numbers, a spike at zero, categories, booleans."""
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "income": np.round(np.exp(draw.normal(8, 1.5, n)), 2),
            "height": np.round(np.where(draw.random(n) < 0.5, draw.normal(160, 3, n), draw.normal(185, 3, n)), 1),
            "age": draw.integers(18, 90, n),
            "gain": np.where(draw.random(n) < 0.8, 0, draw.integers(1, 10**5, n)),
            "colour": draw.choice(["red", "green", "blue"], n, p=[0.6, 0.3, 0.1]),
            "open": draw.random(n) < 0.3,
        }
    )


def failure(call: Callable[[], Any]) -> EquilibriaError:
    with pytest.raises(EquilibriaError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("form", ["frame", "csv", "semicolons", "parquet"])
def test_every_value_of_a_table_comes_out_again(form: str, tmp_path: Path) -> None:
    frame = mixed()
    source: Any = frame
    if form in ("csv", "semicolons"):
        source = str(tmp_path / "t.csv")
        frame.to_csv(source, index=False, sep=";" if form == "semicolons" else ",")
    if form == "parquet":
        source = str(tmp_path / "t.parquet")
        frame.to_parquet(source)
    data = load(source)
    encoding = data.spec.encoding
    assert encoding is not None
    rows = data.whole()["x"]
    assert rows.shape == (400, encoding.width) and rows.dtype == torch.float32
    back = encoding.decode(rows.numpy())
    assert list(back) == list(frame.columns)
    for name, series in back.items():
        if name == "income":  # eight digits, in scores of float32
            assert np.allclose(series.values, frame[name], rtol=1e-6)
        else:
            assert series.values.tolist() == frame[name].tolist(), name
    assert [field.kind for field in encoding.fields] == ["number"] * 4 + ["category", "boolean"]


def test_a_number_is_encoded_on_its_own_scale_whatever_its_law() -> None:
    frame = mixed(2000)
    data = load(frame[["income", "height", "age"]], held_out=0.0)
    x = data.whole()["x"].double()
    assert x.mean(0).abs().max() < 0.01
    assert (x.std(0) - 1).abs().max() < 0.05
    # a normal score orders rows as the number does
    for i, name in enumerate(("income", "height", "age")):
        order = np.argsort(frame[name].to_numpy(), kind="stable")
        assert (np.diff(x[:, i].numpy()[order]) >= 0).all()


def test_a_spike_and_few_values_have_entries_of_their_own() -> None:
    frame = mixed(3000)
    frame["level"] = np.random.default_rng(1).integers(1, 6, 3000)
    found = load(frame[["gain", "level"]]).spec.encoding
    assert found is not None
    gain, level = found.fields
    assert gain.atoms == (0.0,) and gain.continuous and gain.block == 2
    assert level.atoms == (1.0, 2.0, 3.0, 4.0, 5.0) and not level.continuous
    training = load(frame[["gain", "level"]])
    order = training.store.order.train.numpy()  # type: ignore[attr-defined]
    shares = frame["level"].to_numpy()[order]
    assert np.allclose(level.shares, [np.mean(shares == k) for k in range(1, 6)])


def test_the_law_is_that_of_the_training_rows() -> None:
    frame = pd.DataFrame({"a": np.arange(100.0) ** 2, "b": np.arange(100.0)})
    data = load(frame, held_out=0.5)
    train_rows = data.store.order.train.numpy()  # type: ignore[attr-defined]
    field = data.spec.encoding.fields[0]  # type: ignore[union-attr]
    assert field.knots[0] == frame["a"][train_rows].min() and field.knots[-1] == frame["a"][train_rows].max()
    # held-out values beyond the last quantile come out again as well
    far = np.array([1e6, -1e6])
    assert np.allclose(field.number(field.score(far)), far)


def test_arrays_of_columns_on_different_scales_are_tables_and_others_are_not() -> None:
    draw = np.random.default_rng(0)
    like = draw.normal(size=(50, 3))
    assert load(like).spec.encoding is None
    apart = like * [1.0, 100.0, 1.0] + [0.0, 1000.0, 0.0]
    data = load(apart)
    assert data.spec.encoding is not None and "own scale" in data.described()
    assert np.allclose(data.spec.encoding.decode(data.whole()["x"].numpy())["x1"].values, apart[:, 1], rtol=1e-5)
    assert load(apart, kind="vector").spec.encoding is None
    assert np.array_equal(load(apart, kind="vector").whole()["x"].numpy(), apart.astype(np.float32))
    assert load(like, kind="table").spec.encoding is not None
    assert load((draw.random((50, 3)) * 255).astype(np.uint8)).spec.encoding is None


def test_a_label_is_no_example_and_its_classes_are_the_values() -> None:
    frame = mixed()
    data = load(frame, label="colour")
    assert data.class_names == ("blue", "green", "red")
    encoding = data.spec.encoding
    assert encoding is not None and "colour" not in [field.name for field in encoding.fields]
    y = data.whole()["y"].numpy()
    assert [data.class_names[k] for k in y] == frame["colour"].tolist()
    assert failure(lambda: load(frame, label="color")).fix == "did you mean 'colour'?"


@pytest.mark.parametrize("name", ["wine", "iris"])
def test_named_tables_have_their_columns(name: str) -> None:
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    data = load(name)
    assert data.class_names == tuple(found.target_names)
    back = data.spec.encoding.decode(data.whole()["x"].numpy())  # type: ignore[union-attr]
    for i, series in enumerate(back.values()):
        assert np.allclose(series.values, found.data[:, i], rtol=1e-6)


def test_missing_values_are_refused_imputed_or_kept() -> None:
    frame = mixed()
    frame.loc[:39, "income"] = np.nan
    frame.loc[10:29, "colour"] = None
    error = failure(lambda: load(frame))
    assert "income: 40" in error.what and "colour: 20" in error.what and "data.missing=keep" in error.fix
    imputed = load(frame, missing="impute", held_out=0.0)
    back = imputed.spec.encoding.decode(imputed.whole()["x"].numpy())  # type: ignore[union-attr]
    assert set(back["colour"].values[10:30]) == {"red"}
    known = np.sort(frame["income"].dropna().to_numpy())
    assert back["income"].values[:40] == pytest.approx(known[(len(known) - 1) // 2])
    kept = load(frame, missing="keep")
    back = kept.spec.encoding.decode(kept.whole()["x"].numpy())  # type: ignore[union-attr]
    for name in ("income", "colour"):
        assert back[name].missing.tolist() == frame[name].isna().tolist()
    assert np.allclose(back["income"].values[40:], frame["income"][40:], rtol=1e-6)
    assert "missing: income 40, colour 20" in kept.described()


def test_columns_that_are_no_numbers_or_categories_are_refused_with_what_to_do(tmp_path: Path) -> None:
    frame = mixed()
    frame["note"] = [f"text {i}" for i in range(len(frame))]
    error = failure(lambda: load(frame))
    assert "'note'" in error.what and "400 different texts" in error.what
    assert load(frame, drop=("note",)).spec.encoding.width == load(mixed()).spec.encoding.width  # type: ignore[union-attr]
    assert load(frame, category=("note",)).spec.encoding.fields[-1].block == 400  # type: ignore[union-attr]
    frame["note"] = pd.date_range("2020-01-01", periods=len(frame))
    assert "dates" in failure(lambda: load(frame)).what
    frame["note"] = [object()] * len(frame)
    assert "object" in failure(lambda: load(frame)).what
    for text, part in (("", "cannot be read"), ("a,b\n", "0 rows"), ("a,b\n1,2,3\n4,5,6,7\n", "cannot be read")):
        (tmp_path / "bad.csv").write_text(text)
        assert part in failure(lambda: load(str(tmp_path / "bad.csv"))).what
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    assert "cannot be read" in failure(lambda: load(str(tmp_path / "bad.parquet"))).what


def test_constant_columns_and_row_numbers_are_warned_of() -> None:
    frame = mixed()
    frame.insert(0, "id", np.arange(len(frame)))
    frame["same"] = 7
    with pytest.warns(UserWarning) as caught:
        data = load(frame)
    said = " ".join(str(one.message) for one in caught)
    assert "'id'" in said and "'same'" in said and "7 in every row" in said
    back = data.spec.encoding.decode(data.whole()["x"].numpy())  # type: ignore[union-attr]
    assert set(back["same"].values.tolist()) == {7}


def test_a_file_without_names_of_columns_keeps_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("39, Private, 7\n" + "".join(f"{20 + i}, Public, {i}\n" for i in range(30)))
    data = load(str(path))
    back = data.spec.encoding.decode(data.whole()["x"].numpy())  # type: ignore[union-attr]
    assert list(back) == ["column1", "column2", "column3"]
    assert (back["column1"].values[0], back["column2"].values[0]) == (39, "Private")
    assert len(back["column1"]) == 31


def test_without_pandas_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    true_import = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "pandas":
            raise ImportError("No module named 'pandas'")
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert failure(lambda: load(str(path))).fix == "pip install 'equilibria[tables]'"
    assert load("iris").size == 135  # tables of numbers need no pandas


def test_an_encoding_goes_through_json_and_refuses_what_does_not_fit() -> None:
    spec = load(mixed()).spec
    assert decode(encode(spec)) == spec
    old = {k: v for k, v in encode(DataSpec(kind="vector", shape=(2,))).items() if k != "encoding"}
    assert decode(old).encoding is None
    with pytest.raises(ConfigError):
        TableField(name="a", kind="colour")
    with pytest.raises(ConfigError):
        TableField(name="a", kind="boolean", categories=("False", "True"), shares=(1.0,))


# --- the generator's end, and the correction of marginal laws ---------------------------------------------------------


def test_a_generator_of_a_table_ends_in_a_softmax_over_each_block() -> None:
    spec = load(mixed(3000)).spec
    assert spec.encoding is not None and default_for(spec).name == "r3gan-table"
    game = TINY.build(spec, seed=0)
    made = next(part for part in game.modules() if isinstance(part, Generator))
    x = made(torch.randn(50, 8))
    raw = made.out[0](made.body(torch.zeros(50, 8)))  # type: ignore[index]
    assert raw.shape == x.shape
    covered = torch.zeros(x.shape[1], dtype=torch.bool)
    for start, stop, number in spec.encoding.blocks:
        assert torch.allclose(x[:, start:stop].sum(1), torch.ones(50), atol=1e-6) and (x[:, start:stop] >= 0).all()
        covered[start:stop] = True
        if number >= 0:
            covered[number] = True
    z = torch.randn(4, 8)
    body = made.body(z)
    assert torch.equal(made(z)[:, ~covered], body[:, ~covered])
    assert torch.autograd.gradcheck(
        OneHots(((1, 3, 0),)).double(), torch.randn(3, 4, dtype=torch.double).requires_grad_()
    )


@pytest.mark.parametrize("seed", range(3))
def test_offsets_give_every_entry_its_share(seed: int) -> None:
    draw = np.random.default_rng(seed)
    logs = draw.normal(0, 4, (2000, 6)) + draw.normal(0, 3, 6)
    shares = draw.dirichlet(np.full(6, 0.5))
    shares[0] = 0.0
    shares /= shares.sum()
    taken = np.bincount((logs + marginals.offsets_of(logs, shares)).argmax(1), minlength=6) / 2000
    assert np.abs(taken - shares).max() <= 2 / 2000
    assert taken[0] == 0


def test_offsets_are_those_of_the_best_assignment() -> None:
    from scipy.optimize import linear_sum_assignment

    draw = np.random.default_rng(3)
    logs = draw.normal(0, 2, (60, 3))
    shares = np.array([0.5, 0.3, 0.2])
    entry = (logs + marginals.offsets_of(logs, shares)).argmax(1)
    profit = np.repeat(logs, [30, 18, 12], axis=1)  # each entry as often as it is to be taken
    rows, seats = linear_sum_assignment(profit, maximize=True)
    best = np.repeat(np.arange(3), [30, 18, 12])[seats]
    assert logs[np.arange(60), entry].sum() == pytest.approx(profit[rows, seats].sum())
    assert (entry == best).all()


def biased(encoding: Encoding, n: int, seed: int) -> np.ndarray:
    """Rows of a generator with wrong marginal laws and a perfect dependence of all columns on one number."""
    u = np.random.default_rng(seed).normal(size=n)
    parts = []
    for field in encoding.fields:
        if field.continuous:
            parts.append(0.3 * u[:, None] - 2)
        if field.block:
            logits = u[:, None] * np.arange(field.block) + np.random.default_rng(1).normal(size=field.block)
            parts.append(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    return np.concatenate(parts, axis=1)


def test_corrected_samples_have_the_marginal_laws_of_the_data() -> None:
    frame = mixed(3000)
    encoding = load(frame, held_out=0.0).spec.encoding
    assert encoding is not None
    own = marginals.fitted(biased(encoding, 20_000, 0), encoding)
    fresh = encoding.decode(own(biased(encoding, 20_000, 1), encoding))
    for name in ("income", "height", "age", "gain"):
        made, real = fresh[name].values, frame[name]
        assert made.mean() == pytest.approx(real.mean(), rel=0.05), name
        assert made.std() == pytest.approx(real.std(ddof=0), rel=0.05), name
    made = pd.Series(fresh["colour"].values).value_counts(normalize=True)
    assert (made - frame["colour"].value_counts(normalize=True)).abs().max() < 0.02
    ranks = pd.DataFrame({name: fresh[name].values for name in ("income", "height")}).corr("spearman")
    assert ranks.iloc[0, 1] > 0.999  # columns that rise together still do


def test_planted_errors_are_seen() -> None:
    """A scale that is not inverted, and categories in another order: the comparisons above would fail."""
    frame = mixed(1000)
    data = load(frame, held_out=0.0)
    encoding, rows = data.spec.encoding, data.whole()["x"].numpy()
    assert encoding is not None
    income = next(field for field in encoding.fields if field.name == "income")
    flat = replace(income, knots=tuple(np.linspace(-3, 3, 201).tolist()), reach=3.0)  # scores taken for values
    assert flat.decode(rows[:, :1]).values.std() < 0.05 * frame["income"].std()
    colour = next(i for i, field in enumerate(encoding.fields) if field.name == "colour")
    shuffled = replace(encoding.fields[colour], categories=("red", "green", "blue"))
    wrong = replace(encoding, fields=tuple(shuffled if i == colour else f for i, f in enumerate(encoding.fields)))
    shares = pd.Series(wrong.decode(rows)["colour"].values).value_counts(normalize=True)
    assert 0.5 * (shares - frame["colour"].value_counts(normalize=True)).abs().sum() > 0.05


# --- runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    mixed().to_csv(folder / "t.csv", index=False)
    train(TINY, str(folder / "t.csv"), steps=6, out=folder / "run", settings=QUIET)
    return folder / "run"


def test_samples_are_written_as_the_data_was(run_path: Path, tmp_path: Path) -> None:
    frame, run = mixed(), open_run(run_path)
    for kind in ("csv", "parquet", "npz"):
        assert cli.main(["sample", str(run_path), "-n", "200", "--out", str(tmp_path / f"s.{kind}")]) == 0
    text = pd.read_csv(tmp_path / "s.csv")
    assert list(text) == list(frame) and len(text) == 200
    assert text.dtypes.tolist() == pd.read_csv(run_path.parent / "t.csv").dtypes.tolist()
    assert set(text["colour"]) <= {"red", "green", "blue"}
    assert (np.round(text["height"], 1) == text["height"]).all()
    assert "." not in (tmp_path / "s.csv").read_text().splitlines()[1].split(",")[2]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "s.parquet"), run.frame(200), check_dtype=False)
    stored = np.load(tmp_path / "s.npz")
    assert stored["colour"].tolist() == text["colour"].tolist() and np.allclose(stored["income"], text["income"])
    values = run.sample(200)
    assert values.shape == (200, 6) and np.allclose(values[:, 0], text["income"])
    assert [("blue", "green", "red")[int(k)] for k in values[:, 4]] == text["colour"].tolist()


def test_samples_of_a_run_have_the_marginal_laws_of_its_table(run_path: Path) -> None:
    frame, made = mixed(), open_run(run_path).frame(5000)
    for name in ("income", "height", "age", "gain"):  # 6 rounds teach nothing: the laws are those of the correction
        assert made[name].mean() == pytest.approx(frame[name].mean(), rel=0.1), name
        assert made[name].std() == pytest.approx(frame[name].std(), rel=0.1), name


def test_a_run_of_a_table_goes_on_to_the_bit_and_is_refused_other_data(tmp_path: Path) -> None:
    mixed().to_csv(tmp_path / "t.csv", index=False)
    settings = replace(QUIET, checkpoint_every=3)
    whole = train(TINY, str(tmp_path / "t.csv"), steps=6, out=tmp_path / "whole", settings=settings)
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    shutil.rmtree(tmp_path / "part" / "checkpoints" / "step-00000006")
    assert open_run(tmp_path / "part").play.round == 3
    again = resume(tmp_path / "part")
    assert again.play.round == 6 and torch.equal(again.sample(50, seed=3), whole.sample(50, seed=3))
    changed = mixed()
    changed.loc[0, "colour"] = "green" if changed.loc[0, "colour"] != "green" else "red"
    changed.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(EquilibriaError, match="fingerprint"):
        resume(tmp_path / "part", steps=9)


def test_a_conditional_run_writes_the_column_of_its_label(tmp_path: Path) -> None:
    row = replace(TINY, game=replace(TINY.game, conditional=True))
    run = train(row, load(mixed(), label="colour"), steps=2, out=tmp_path / "run", settings=QUIET)
    frame = run.frame(4, labels=[0, 1, 2, 2])
    assert list(frame) == list(mixed()) and frame["colour"].tolist() == ["blue", "green", "red", "red"]


def test_samples_do_not_depend_on_how_many_are_drawn_before(run_path: Path) -> None:
    first = open_run(run_path)
    alone = first.sample(20, seed=5)
    other = open_run(run_path)
    other.sample(300, seed=1)
    assert torch.equal(other.sample(20, seed=5), alone)


def test_the_correction_follows_the_state_of_the_play(run_path: Path) -> None:
    run = open_run(run_path)
    assert run.encoding is not None and isinstance(run.play, Play)
    before = marginals.correction_of(run.play, run.encoding)
    assert marginals.correction_of(run.play, run.encoding) is before
    with torch.no_grad():
        for own in run.play.averaged.values():
            next(iter(own.values())).add_(0.1)
    assert marginals.correction_of(run.play, run.encoding) is not before


def test_a_field_of_all_kinds_of_entries_is_read_by_its_labels() -> None:
    values = np.concatenate([np.zeros(300), np.random.default_rng(0).normal(50, 5, 300), np.full(100, np.nan)])
    field = fitted_field("v", Series.of(values), np.ones(700, dtype=bool), "number", True)
    assert field.labels == ("0", "missing", "other")
    assert np.allclose(field.shares, [3 / 7, 1 / 7, 3 / 7])
    back = field.decode(field.encode(Series.of(values)))
    assert np.array_equal(np.isnan(back.values), np.isnan(values)) and np.allclose(back.values[:600], values[:600])


def test_a_name_that_fits_no_table_is_refused_before_sampling(
    run_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sample", str(run_path), "--out", "x.xlsx"]) == 1
    assert ".csv" in capsys.readouterr().err.split("fix:")[1]
    error = failure(lambda: load(mixed(), kind="image"))
    assert isinstance(error, DataError) and "data.kind=table" in error.fix


def test_a_run_on_an_array_from_before_tables_goes_on(tmp_path: Path) -> None:
    apart = np.random.default_rng(0).normal(size=(64, 2)) * [1.0, 50.0]
    np.save(tmp_path / "a.npy", apart)
    train(TINY, load(str(tmp_path / "a.npy"), kind="vector"), steps=1, out=tmp_path / "run", settings=QUIET)
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    del info["data"]["spec"]["encoding"]
    info["data"]["options"] = {k: v for k, v in info["data"]["options"].items() if k in ("type", "held_out")}
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    run = resume(tmp_path / "run", steps=2)
    assert run.play.round == 2 and run.encoding is None and run.sample(3).shape == (3, 2)


def test_rows_that_are_given_are_encoded_as_those_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed().to_csv(tmp_path / "t.csv", index=False)
    row = recipe("aae").with_settings({"networks.width": "16", "batch": "32"})
    run = train(row, str(tmp_path / "t.csv"), steps=2, out=tmp_path / "run", settings=QUIET)
    other = mixed(30, seed=1)
    other.to_csv(tmp_path / "o.csv", index=False)
    x = rows_of(str(tmp_path / "o.csv"), ("x",), run.spec, run.data.options)["x"]
    assert run.encoding is not None
    back = run.encoding.decode(x.numpy())
    assert back["age"].values.tolist() == other["age"].tolist() and back["colour"].values.tolist() == list(
        other["colour"]
    )
    assert torch.equal(rows_of(other, ("x",), run.spec, run.data.options)["x"], x)
    assert torch.equal(rows_of(load(other), ("x",), run.spec, run.data.options)["x"], x)
    line = ["apply", str(tmp_path / "run"), "reconstruct", "--given", str(tmp_path / "o.csv")]
    assert cli.main([*line, "--out", str(tmp_path / "r.csv")]) == 0
    made = pd.read_csv(tmp_path / "r.csv")
    assert list(made) == list(other) and len(made) == 30
    other.loc[3, "colour"] = "mauve"
    error = failure(lambda: rows_of(other, ("x",), run.spec, run.data.options))
    assert "'mauve'" in error.what and "red" in error.fix
