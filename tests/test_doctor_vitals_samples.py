"""Vitals of samples, codes and labels against numbers that are known without the doctor."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from equilibria.base.errors import ConfigError
from equilibria.doctor import Doctor
from equilibria.doctor.space import space_of
from equilibria.metrics.neighbours import nearest_unseen
from test_doctor_vitals import Calling, drawn, linear, looked_at

# Samples -------------------------------------------------------------------------------------------------------------


def ring(n: int, seed: int, without: int = 0) -> Tensor:
    """Eight narrow Gaussians on a circle of radius 2, the last ``without`` of them left out."""
    draw = torch.Generator().manual_seed(seed)
    angle = torch.randint(8 - without, (n,), generator=draw) * math.pi / 4
    return 2 * torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2, generator=draw)


@pytest.mark.parametrize("without", [0, 1, 4, 7])
def test_modes_that_are_left_out_are_missing(without: int) -> None:
    found = looked_at(linear(), linear(), real=ring(2000, 1), sampler=lambda n: ring(n, 2, without))
    assert found["cells/missing"] == pytest.approx(without / 8, abs=0.03)
    assert found["cells/covered"] == pytest.approx(1 - without / 8)
    assert found["samples/coverage"] == pytest.approx(1 - without / 8, abs=0.08)
    assert found["samples/precision"] > 0.9
    shares = sorted(found.arrays["cells"], reverse=True)
    assert shares[: 8 - without] == pytest.approx([1 / (8 - without)] * (8 - without), abs=0.06)


def test_clusters_of_the_data_are_found_and_a_single_one_is_called_none() -> None:
    space = space_of(ring(2000, 1))
    assert space.structured and len(space.centres) == 8 and space.axes is None
    assert not space_of(drawn(2000, 2, 1)).structured


def test_the_distance_of_a_translated_law_is_its_translation() -> None:
    rows = drawn(512, 2, 1)
    space, by = space_of(drawn(2000, 2, 3)), torch.tensor([3.0, -1.0])
    z, v = space(rows), by / space.scale
    exact = float((v @ space.directions).abs().mean())
    assert space.sliced(z, space(rows + by)) == pytest.approx(exact, rel=1e-4)
    assert exact == pytest.approx(float(v.norm()) * 2 / math.pi, rel=0.15)  # the mean over all directions
    found = looked_at(linear(), linear(), real=rows, sampler=lambda n: rows[:n] + by)
    assert found["samples/distance"] == pytest.approx(float(by.norm()) * 2 / math.pi, rel=0.2)  # data of size 1
    assert found["samples/spread"] == pytest.approx(1.0, abs=0.15)


def test_many_dimensions_are_seen_along_those_in_which_the_data_varies() -> None:
    frame = torch.linalg.qr(drawn(40, 3, 0)).Q.T
    space = space_of(drawn(1000, 3, 1) @ frame + 5)
    assert space.axes is not None and space.axes.shape[1] == 3
    assert float(space(drawn(500, 3, 2) @ frame + 5).square().mean().sqrt()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_dimension_of_samples_on_a_plane_in_ten(d: int) -> None:
    frame = torch.linalg.qr(drawn(10, d, 0)).Q.T
    full = drawn(2000, 10, 1)
    doctor = Doctor(linear(), Calling(lambda x: x[:, 0]), real=full, sampler=lambda n: drawn(n, d, 3) @ frame)
    assert doctor.look(1)["samples/dimension"] == pytest.approx(d, rel=0.25)
    assert doctor.chart.facts["real/dimension"] == pytest.approx(10, rel=0.25)


def test_size_range_and_edges() -> None:
    real = torch.linspace(-2, 2, 1001)[:, None].repeat(1, 2)
    found = looked_at(linear(), linear(), real=real, sampler=lambda n: torch.tensor([[-1.0, 1.0]]).repeat(n, 1))
    assert (found["samples/low"], found["samples/high"], found["real/high"]) == (-1.0, 1.0, pytest.approx(2, abs=0.02))
    assert found["samples/at-edge"] == 1.0 and found["real/outside"] == pytest.approx(0.48, abs=0.06)
    assert found["samples/duplicates"] == 1.0 and found["samples/dimension"] == 0.0 and found["samples/spread"] == 0.0
    assert found["samples/size"] == pytest.approx(math.sqrt(3) / 2, abs=0.05)  # rms 1 against 2 / sqrt 3


def test_copies_of_training_rows_are_nearer_to_them_than_to_unseen_ones() -> None:
    seen, unseen = drawn(500, 8, 1), drawn(500, 8, 2)
    cases = {"copies": lambda n: seen[:n] + 1e-3, "fresh": lambda n: drawn(n, 8, 3), "unseen": lambda n: unseen[:n]}
    D = Calling(lambda x: x[:, 0])
    looks = {name: looked_at(linear(), D, real=seen, holdout=unseen, sampler=deal) for name, deal in cases.items()}
    found = {name: one["samples/memorised"] for name, one in looks.items()}
    assert found["copies"] == 0.0 and found["unseen"] == 2.0  # a half of the rows is unseen
    lowest = looks["fresh"]["samples/memorised-by-chance"]
    assert found["copies"] < 0.5 < lowest < 1 and abs(found["fresh"] - 1) < 1 - lowest


def test_few_unseen_rows_are_no_sign_of_copies() -> None:
    """The wine of scikit-learn has 178 rows: 17 held-out ones were enough for a finding that a Gaussian fit had too."""
    from sklearn.datasets import load_wine

    rows = torch.tensor(load_wine().data).float()
    for seed in range(4):
        draw = torch.Generator().manual_seed(seed)
        seen, unseen = rows[torch.randperm(len(rows), generator=draw)].split([161, 17])
        space = space_of(seen)
        law = torch.distributions.MultivariateNormal(seen.mean(0), torch.cov(seen.T))
        torch.manual_seed(seed)
        ratio, deviation = nearest_unseen(space(law.sample((256,))), space(seen), space(unseen))
        assert ratio > min(0.5, 1 - 3 * deviation)
        copied = seen[torch.randint(len(seen), (256,), generator=draw)]
        ratio, deviation = nearest_unseen(space(copied), space(seen), space(unseen))
        assert ratio < min(0.5, 1 - 3 * deviation)


def test_a_discriminator_that_knows_its_rows_scores_them_above_unseen_ones() -> None:
    seen, unseen = drawn(400, 4, 1), drawn(400, 4, 2)
    knows = Calling(lambda x: -torch.cdist(x, seen).min(1).values)
    blind = Calling(lambda x: x[:, 0])
    auc_of = [
        looked_at(linear(), D, real=seen, holdout=unseen, sampler=lambda n: drawn(n, 4, 3))["scores/seen-unseen-auc"]
        for D in (knows, blind)
    ]
    assert auc_of[0] > 0.99 and auc_of[1] == pytest.approx(0.5, abs=0.1)


# Codes and labels ----------------------------------------------------------------------------------------------------


class Noisy(nn.Module):
    """Its code times one number plus noise of its own times another."""

    def __init__(self, code: float, noise: float) -> None:
        super().__init__()
        self.code, self.noise, self.p = code, noise, nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor) -> Tensor:
        return self.code * z + self.noise * torch.randn_like(z) + self.p


@pytest.mark.parametrize(("code", "noise"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0)])
def test_what_moves_a_sample_is_told_apart(code: float, noise: float) -> None:
    found = looked_at(Noisy(code, noise), linear())
    # Another code moves a sample as far as another row; so does other noise of the same size.
    assert found["latent/dependence"] == pytest.approx(code, abs=0.25)
    assert found["latent/own-noise"] == pytest.approx(noise, abs=0.25)


class ByLabel(nn.Module):
    """Makes rows of the class that it is asked for, or of any."""

    def __init__(self, obeys: bool) -> None:
        super().__init__()
        self.obeys, self.p = obeys, nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        y = y.argmax(1) if y.dim() == 2 else y
        y = y if self.obeys else torch.randint(4, (len(z),))
        return 5 * torch.stack([(y % 2) * 1.0, (y // 2) * 1.0], 1) + 0.3 * z + self.p


class Judge(nn.Module):
    """A linear score that is given a label."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(2, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.body(x) + 0 * y.reshape(len(y), -1).sum(1, keepdim=True)


@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize("obeys", [True, False])
def test_labels_that_are_obeyed(obeys: bool, hot: bool) -> None:
    y = torch.multinomial(torch.tensor([0.4, 0.3, 0.2, 0.1]), 1000, replacement=True)
    real = ByLabel(True)(drawn(1000, 2, 1), y).detach()
    labels = nn.functional.one_hot(y, 4).float() if hot else y
    found = looked_at(ByLabel(obeys), Judge(), real=real, labels=labels)
    assert found["label/agreement"] == pytest.approx(1.0 if obeys else 0.25, abs=0.12)
    assert found["label/chance"] == pytest.approx(0.16 + 0.09 + 0.04 + 0.01, abs=0.04)


def test_the_distance_in_eval_mode_is_that_of_the_running_statistics_of_the_loop() -> None:
    """Passes of other vitals, on equal codes or old parameters, count in a norm; they come after this measurement."""
    torch.manual_seed(0)
    generator = torch.nn.Sequential(
        torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 2)
    )
    for _ in range(100):
        generator(torch.randn(64, 4))
    real = torch.randn(400, 2)
    doctor = Doctor(generator, torch.nn.Linear(2, 1), real=real, latent=4)
    for step in range(1, 4):
        found = doctor.look(step)
    with torch.no_grad():
        made = generator.eval()(torch.randn(2000, 4))
    expected = doctor.chart.space.sliced(doctor.chart.space(real), doctor.chart.space(made))
    assert abs(found["samples/eval-distance"] - expected) < 0.1 * expected


def test_the_order_of_the_real_rows_does_not_matter() -> None:
    """Rows sorted by mode, as a folder of classes lies on a disk: all modes are among the rows that are measured."""
    centres = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [8.0, 8.0]])
    rows = centres.repeat_interleave(3000, 0) + 0.2 * torch.randn(12000, 2, generator=torch.Generator().manual_seed(3))
    found = []
    shuffled = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(4))]
    for real in (shuffled, rows, DataLoader(TensorDataset(rows), batch_size=500)):
        torch.manual_seed(0)
        doctor = Doctor(nn.Linear(2, 2), nn.Linear(2, 1), real=real, latent=2)
        found.append(doctor.chart.facts)
        one = doctor.chart.space.cells(doctor.chart.space(rows[:3000]))
        assert float(one.max()) > 0.99  # the first mode is one cell of several
    for sorted_ones in found[1:]:
        assert abs(found[0]["floor/distance"] - sorted_ones["floor/distance"]) < 0.05
        assert abs(found[0]["real/spread"] - sorted_ones["real/spread"]) < 0.2


def test_a_batch_of_another_shape_is_named_and_the_doctor_goes_on() -> None:
    torch.manual_seed(0)
    doctor = Doctor(nn.Linear(2, 2), nn.Linear(2, 1), real=torch.randn(64, 2), latent=2)
    with pytest.raises(ConfigError, match=r"\(3,\).*\(2,\)"):
        doctor.check(10, real=torch.randn(8, 3))
    assert doctor.check(20, real=torch.randn(8, 2)) is not None


def test_sixteen_rows_and_a_few_held_out() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 2)
    doctor = Doctor(nn.Linear(2, 2), nn.Linear(2, 1), real=x, latent=2, holdout=torch.randn(16, 2))
    for step in (10, 20, 30):
        doctor.look(step)
    assert not [one for one in doctor.diagnose().not_assessed if "failed" in str(one.reason)]
