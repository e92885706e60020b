"""The table of metrics: which apply, that perfect samplers sit on their floors, that failures leave them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from equilibria.base.errors import DataError, ShapeError
from equilibria.data import law, load
from equilibria.data.dataset import Dataset
from equilibria.metrics import (
    Classifier,
    Measured,
    Suite,
    digit_fid,
    evaluate,
    frechet_distance,
    pixel_features,
    stacked_classes,
    table,
    train_classifier,
)

QUICK = Suite(exact=200, quadratic=300, linear=600, repeats=4, permutations=50)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classifiers")


def trained(digits: Dataset, folder: Path, steps: int = 250) -> Classifier:
    rows, unseen = digits.take(1617), digits.take(180, held_out=True)
    return train_classifier(rows["x"], rows["y"], test=(unseen["x"], unseen["y"]), steps=steps, cache=folder)


@pytest.fixture(scope="module")
def judge(digits: Dataset, folder: Path) -> Classifier:
    return trained(digits, folder)


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def near_floor(m: Measured, sds: float = 5.0) -> bool:
    return m.floor is not None and abs(m.value - m.floor) <= sds * m.spread + 1e-12


IMAGES = "frechet mmd2 mmd_p precision recall density coverage memorisation classes class_kl digit_fid agreement"
TABLED = {*IMAGES.split(), "w1", "sliced_w1", "modes", "high_quality", "reverse_kl"}
"""The metrics whose data these tests know; one that is added appears beside them, and has to sit on its floor too."""


@pytest.mark.parametrize("name", ["ring8-U", "grid25", "swissroll", "moons", "dirac"])
def test_a_perfect_sampler_sits_on_the_floor_of_every_law(name: str) -> None:
    target = law(name)
    found = evaluate(target.sample(600, draws(99)), target, suite=QUICK)
    mixture = {"modes", "high_quality", "reverse_kl"} if name in ("ring8-U", "grid25") else set()
    assert set(found) & TABLED == mixture | {"w1", "sliced_w1"}
    assert all(near_floor(m, 8.0) for m in found.values()), table(found)


def test_a_collapsed_generator_leaves_every_floor() -> None:
    target = law("ring8-U")
    assert target.modes is not None
    found = evaluate(target.modes[:1].float().expand(600, 2), target, suite=QUICK)
    assert found["modes"].value == 1 and found["reverse_kl"].value == pytest.approx(math.log(8))
    for name in ("w1", "sliced_w1", "reverse_kl"):
        m = found[name]
        assert m.excess is not None and m.excess > 10 * m.spread
    assert found["high_quality"].value == 1.0


def test_a_law_and_its_data_set_and_its_rows_agree() -> None:
    target = law("grid25")
    x = target.sample(200, draws(1))
    assert evaluate(x, load("grid25"), suite=QUICK) == evaluate(x, target, suite=QUICK)
    assert set(evaluate(x, target.sample(400, draws(2)), suite=QUICK)) & TABLED == {"w1", "sliced_w1"}


def test_held_out_digits_pass_and_noise_fails(digits: Dataset, judge: Classifier) -> None:
    rows = digits.take(180, held_out=True)
    real = evaluate(rows["x"], digits, labels=rows["y"], classifier=judge, suite=QUICK)
    assert set(real) & TABLED == set(IMAGES.split())
    assert all(near_floor(m, 6.0) for name, m in real.items() if name != "memorisation"), table(real)
    noise = evaluate(torch.rand(180, 1, 8, 8, generator=draws(0)) * 2 - 1, digits, classifier=judge, suite=QUICK)
    for name in ("frechet", "mmd2", "digit_fid", "recall", "coverage"):
        m = noise[name]
        assert m.excess is not None and m.excess > 10 * m.spread, (name, m)
    assert noise["mmd_p"].value == pytest.approx(1 / 51)
    assert "agreement" not in noise


def test_copies_of_the_training_set_are_told_by_memorisation(digits: Dataset) -> None:
    copies = evaluate(digits.take(1600, seed=3)["x"][:800], digits, suite=QUICK)["memorisation"]
    assert copies.floor == 1.0 and copies.tells and copies.value < 0.5  # not all originals are among the rows drawn
    unseen = evaluate(digits.take(180, held_out=True)["x"], digits, suite=QUICK)["memorisation"]
    assert not unseen.tells


def test_samples_that_are_not_finite_are_counted_not_scored() -> None:
    target = law("ring8-U")
    x = target.sample(400, draws(1))
    half = torch.cat([x, torch.full((400, 2), math.nan)])
    found = evaluate(half, target, suite=QUICK)
    assert found["finite"].value == 0.5 and found["high_quality"].value < 0.51
    assert found["w1"] == evaluate(x, target, suite=QUICK)["w1"]
    gone = evaluate(torch.full((100, 2), math.inf), target, suite=QUICK)
    assert gone["finite"].value == 0.0 and gone["modes"].value == 0 and "w1" not in gone


def test_given_features_and_json(digits: Dataset) -> None:
    def mean_pixel(x: Tensor) -> Tensor:
        return x.flatten(1).mean(1, keepdim=True)

    x = digits.take(180, held_out=True)["x"]
    found = evaluate(x, digits, features=mean_pixel, suite=QUICK)
    assert "memorisation" in found and "digit_fid" not in found
    real = mean_pixel(digits.take(360)["x"][:180])
    assert found["frechet"].value == pytest.approx(frechet_distance(mean_pixel(x), real))
    assert json.loads(json.dumps({k: m.to_dict() for k, m in found.items()}))["frechet"]["n"] == 180


def test_pixel_features_are_principal_components_and_the_rest() -> None:
    scales = torch.linspace(5, 1, 12, dtype=torch.float64)
    rows = torch.randn(300, 12, dtype=torch.float64, generator=draws(0)) * scales
    got = pixel_features(rows, 4)(rows)
    pca = PCA(4, svd_solver="full").fit(rows.numpy())
    assert got[:, :4].abs().numpy() == pytest.approx(np.abs(pca.transform(rows.numpy())), abs=1e-2)
    assert got.square().sum(1).numpy() == pytest.approx((rows - rows.mean(0)).square().sum(1).numpy())


def test_classifier_learns_digits_and_comes_back_from_the_cache(
    digits: Dataset, judge: Classifier, folder: Path
) -> None:
    unseen = digits.take(180, held_out=True)
    assert judge.accuracy >= 0.95
    assert judge.accuracy == pytest.approx(float((judge.predict(unseen["x"]) == unseen["y"]).double().mean()))
    assert judge.shares.numpy() == pytest.approx(torch.bincount(digits.take(1617)["y"]).numpy() / 1617)
    (file,) = folder.iterdir()
    written = file.stat().st_mtime_ns
    again = trained(digits, folder)
    assert file.suffix == ".safetensors" and file.stat().st_mtime_ns == written
    assert again.accuracy == judge.accuracy and torch.equal(again.shares, judge.shares)
    assert torch.equal(again(unseen["x"]), judge(unseen["x"]))


def test_training_is_a_function_of_the_seed_and_a_torn_file_is_trained_anew(digits: Dataset, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    first = trained(digits, tmp_path, steps=3)
    assert torch.equal(state, torch.get_rng_state())
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"torn")
    x = digits.take(10)["x"]
    assert torch.equal(trained(digits, tmp_path, steps=3)(x), first(x))
    assert file.stat().st_size > 1000


@pytest.mark.slow
def test_classifier_reaches_its_published_accuracy_on_mnist(tmp_path: Path) -> None:
    try:
        mnist = load("mnist")
    except DataError as missing:
        pytest.skip(str(missing))
    rows, unseen = mnist.take(60_000), mnist.take(10_000, held_out=True)
    judge = train_classifier(rows["x"], rows["y"], test=(unseen["x"], unseen["y"]), cache=tmp_path)
    assert judge.accuracy >= 0.985


def test_another_seed_is_another_classifier(tmp_path: Path) -> None:
    x, y = torch.randn(40, 3, 16, 16, generator=draws(0)), torch.arange(40) % 2
    judges = [train_classifier(x, y, seed=s, steps=2, cache=tmp_path) for s in (0, 1)]
    assert len(list(tmp_path.iterdir())) == 2
    assert not torch.equal(judges[0](x), judges[1](x))


def test_uint8_images_are_the_same_images(judge: Classifier) -> None:
    raw = torch.randint(256, (20, 1, 8, 8), dtype=torch.uint8, generator=draws(0))
    assert torch.equal(judge.features(raw), judge.features(raw.float() / 127.5 - 1))


def test_stacked_digits_are_judged_channel_by_channel(digits: Dataset, judge: Classifier) -> None:
    rows = digits.take(90)
    x, y = rows["x"].reshape(30, 3, 8, 8), judge.predict(rows["x"]).reshape(30, 3)
    assert torch.equal(stacked_classes(judge, x), y[:, 0] * 100 + y[:, 1] * 10 + y[:, 2])
    found = evaluate(x, x, classifier=judge, suite=QUICK)
    assert found["classes"].unit == "of 1000" and "digit_fid" not in found


def test_classifier_without_a_folder_to_write_still_works(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    x, y = torch.randn(20, 1, 8, 8, generator=draws(0)), torch.arange(20) % 2
    with pytest.warns(UserWarning, match="not cached"):
        assert train_classifier(x, y, steps=1, cache=blocked).classes == 2


def test_refusals(digits: Dataset, judge: Classifier) -> None:
    with pytest.raises(ShapeError, match="2 dimensions"):
        evaluate(torch.zeros(20, 3), law("grid25"))
    with pytest.raises(ShapeError, match="real rows"):
        evaluate(torch.zeros(20, 3), law("swissroll"))
    with pytest.raises(ShapeError, match="at least one row"):
        evaluate(torch.zeros(0, 2), law("grid25"))
    with pytest.raises(ShapeError, match="classifier of"):
        judge.predict(torch.zeros(2, 1, 9, 9))
    with pytest.raises(DataError, match="every class"):
        train_classifier(torch.zeros(9, 1, 8, 8), torch.full((9,), 3))
    with pytest.raises(DataError, match="9 integers"):
        train_classifier(torch.zeros(9, 1, 8, 8), torch.zeros(8, dtype=torch.long))
    with pytest.raises(ShapeError, match="at least 4x4"):
        train_classifier(torch.zeros(9, 8), torch.zeros(9, dtype=torch.long))
    with pytest.raises(ShapeError, match="stacked"):
        stacked_classes(judge, torch.zeros(2, 8))
    assert digit_fid(digits.take(20)["x"], digits.take(20)["x"], judge) == pytest.approx(0.0, abs=1e-6)
