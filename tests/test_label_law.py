"""Samples of a conditional game have the classes of the data, in its shares, wherever nothing else is asked for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import equilibria
from equilibria.base.errors import ConfigError
from equilibria.cli import app
from equilibria.core.classes import classes_by_quota, drawn_classes
from equilibria.data import DataSpec, load
from equilibria.recipes import recipe
from equilibria.runs.folder import RunFolder
from equilibria.training import Settings

QUIET = Settings(progress=False, doctor=False, device="cpu")
ZEROS, ONES = 158, 29
CENTRES = torch.tensor([[-3.0, 0.0], [3.0, 1.0]])


def rows(seed: int = 0) -> tuple[Tensor, Tensor]:
    y = torch.tensor([0] * ZEROS + [1] * ONES)
    noise = torch.randn(len(y), 2, generator=torch.Generator().manual_seed(seed))
    return CENTRES[y] + 0.3 * noise, y


class Perfect(nn.Module):
    """Samples of the law itself, given the label."""

    def __init__(self) -> None:
        super().__init__()
        self.still = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return label @ CENTRES.to(label) + 0.3 * z[:, :2] + 0 * self.still


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    x, y = rows()
    out = tmp_path_factory.mktemp("label_law") / "run"
    frozen = recipe("cgan").with_settings({"optimizer.lr": "1e-12", "batch": "16"})
    return equilibria.train(
        frozen, load(x, labels=y, kind="vector"), steps=2, out=out, settings=QUIET, generator=Perfect()
    )


@pytest.mark.parametrize("counts", [(158, 29), (1, 0, 3), (5, 5, 5), (0, 0, 2), tuple(range(1, 40))])
@pytest.mark.parametrize("n", [1, 7, 100, 501])
def test_each_class_comes_as_often_as_its_share_give_or_take_one(n: int, counts: tuple[int, ...]) -> None:
    quota = n * np.array(counts) / sum(counts)
    for seed in range(3):
        drawn = np.bincount(drawn_classes(n, counts, seed).numpy(), minlength=len(counts))
        assert drawn.sum() == n and (np.abs(drawn - quota) < 1 + 1e-9).all() and not drawn[quota == 0].any()
    for size in (n, n // 2):
        shown = np.bincount(classes_by_quota(n, counts).numpy()[:size], minlength=len(counts))
        assert shown.sum() == size and not shown[quota == 0].any()


def test_random_classes_are_right_in_expectation_and_in_random_order() -> None:
    drawn = torch.stack([drawn_classes(3, (1, 9), seed) for seed in range(2000)])
    assert abs(float((drawn == 0).double().mean()) - 0.1) < 0.012  # 4 standard errors of 2,000 draws of 3
    each = (drawn == 0).double().mean(0)
    assert float(each.max() - each.min()) < 0.03
    assert torch.equal(drawn_classes(50, (1, 9), 4), drawn_classes(50, (1, 9), 4))


def test_a_picture_of_even_classes_has_one_class_a_column() -> None:
    assert classes_by_quota(30, (6, 6, 6)).view(10, 3).tolist() == [[0, 1, 2]] * 10


def test_a_perfect_conditional_generator_of_uneven_classes_scores_the_floor(run: Any) -> None:
    found = run.evaluate(600)
    assert found["w1"].value < 1.5 * found["w1"].floor
    even = run.sample(600, labels=torch.arange(600) % 2)
    wrong = equilibria.metrics.evaluate(even, run.data)
    assert wrong["w1"].value > 3 * wrong["w1"].floor, "evenly asked labels have to be seen in the metric"


def test_samples_checkups_and_pictures_have_the_shares_of_the_data(run: Any) -> None:
    share = ONES / (ZEROS + ONES)
    for made in (run.sample(1200), run.play.sample(1200), torch.from_numpy(_stored(run.path))):
        assert abs(float((made[:, 0] > 0).double().mean()) - share) < 0.01


def _stored(path: Path) -> Any:
    with np.load(sorted((path / "samples").glob("*.npz"))[-1]) as found:
        return found["x"].astype(np.float32)


def test_labels_are_those_that_samples_are_drawn_with(run: Any) -> None:
    y = run.labels(700, seed=5)
    assert torch.equal((run.sample(700, seed=5)[:, 0] > 0).long(), y.cpu())
    assert run.labels(3, ["1", "0", "1"]).tolist() == run.labels(3, [1, 0, 1]).tolist() == [1, 0, 1]
    for wrong in (["2", "0", "1"], [0, 1], [0, 1, 2], [0.5, 1.0, 0.0], ["zero", "0", "1"]):
        with pytest.raises(ConfigError):
            run.labels(3, wrong)


def test_the_command_line_takes_names_lists_classes_and_writes_y(tmp_path: Path) -> None:
    pixels = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
    folder = tmp_path / "animals"
    from PIL import Image

    for name, count in (("cat", 30), ("zebra", 10)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(pixels[i, 0].numpy() + i).save(folder / name / f"{i}.png")
    out = tmp_path / "run"
    equilibria.train(recipe("cgan").with_settings({"batch": "8"}), str(folder), steps=1, out=out, settings=QUIET)
    cli = CliRunner()

    def asked(*words: str) -> dict[str, Any]:
        done = cli.invoke(app, ["sample", str(out), "-n", "16", "--out", str(tmp_path / "x.npz"), *words])
        assert done.exit_code == 0, done.output
        with np.load(tmp_path / "x.npz") as found:
            return dict(found)

    assert np.bincount(asked()["y"]).tolist() == [12, 4]
    named, numbered = asked("--label", "zebra"), asked("--label", "1")
    assert named["y"].tolist() == [1] * 16 and (named["x"] == numbered["x"]).all()
    for what in (str(out), str(folder)):
        listed = json.loads(cli.invoke(app, ["classes", what, "--json"]).stdout)
        assert listed == [{"class": 0, "name": "cat", "share": 0.75}, {"class": 1, "name": "zebra", "share": 0.25}]
    assert "zebra" in cli.invoke(app, ["classes", str(out)]).stdout
    assert cli.invoke(app, ["sample", str(out), "--label", "dog"]).exit_code == 1


def test_a_run_of_before_takes_the_shares_from_its_fingerprint(run: Any) -> None:
    info = json.loads((run.path / "run.json").read_text())
    info["data"]["spec"].pop("class_shares")
    info["data"].pop("class_names")
    folder = RunFolder.open(run.path)
    kept = folder.spec.class_shares
    folder.info.clear()
    folder.info.update(info)
    del folder.__dict__["spec"]
    assert folder.spec.class_shares == pytest.approx(kept) and folder.class_names == ("0", "1")


def test_shares_of_laws_and_stacked_digits() -> None:
    uneven = load("ring8-M", labelled=True).spec
    assert uneven.class_shares == () or sum(uneven.class_shares) == pytest.approx(1)
    stacked, single = load("stacked:digits").spec, load("digits").spec
    assert stacked.class_shares[123] == pytest.approx(
        single.class_shares[1] * single.class_shares[2] * single.class_shares[3]
    )
    assert DataSpec(kind="vector", shape=(2,), classes=3).class_shares == ()
