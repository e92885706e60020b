"""Codes, noise, support, and what reaches whom: each vital against a closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from equilibria.doctor import Doctor
from equilibria.doctor.vitals import latent
from test_doctor_vitals import Affine, Calling, Shift, drawn, linear, looked_at


def doctor_of(G: nn.Module, codes: int = 2, real: Tensor | None = None) -> Doctor:
    rows = drawn(2000, 2, 1) if real is None else real
    return Doctor(G, linear(), real=rows, latent=codes, objective="nonsaturating")


def test_the_latent_jacobian_of_an_affine_generator_is_its_matrix() -> None:
    weight = torch.tensor([[3.0, 0.0, 0.5], [0.0, 0.2, 0.0]])
    doctor = doctor_of(Affine(weight, torch.zeros(2)), codes=3)
    found = latent.stretch(doctor.subject, doctor.chart)
    s = np.linalg.svd(weight.numpy() / doctor.chart.space.scale, compute_uv=False)
    assert found["latent/stretch"] == pytest.approx(s[0], rel=1e-3)
    assert found["latent/rank"] == pytest.approx((s**2).sum() ** 2 / (s**4).sum(), rel=1e-3)
    assert found["latent/conditioning"] == pytest.approx(s[0] / s[1], rel=1e-2)  # the data has two dimensions


@pytest.mark.parametrize("apart", [0.0, 1.0, 2.0, 8.0])
def test_the_noise_that_hides_a_shift_is_that_of_the_best_classifier(apart: float) -> None:
    """Phi(delta / sqrt(2 (1 + sigma^2))) = 0.6 for normal laws at a distance delta, in units of their size."""
    doctor = doctor_of(Shift(torch.tensor([apart, 0.0])))
    found = latent.inseparable(doctor.subject, doctor.chart)["noise/inseparable"]
    square = apart**2 / (2 * 0.2533**2) - 1
    if square <= 0:
        assert found == 2.0**-6
    elif math.sqrt(square) > 12:
        assert found == math.inf
    else:  # the levels are a factor of sqrt 2 apart, and the probe is not quite the best classifier
        assert math.sqrt(square) / 2.1 < found < math.sqrt(square) * 1.5


def test_recall_density_and_support() -> None:
    perfect = looked_at(Shift(torch.zeros(2)), linear(), real=drawn(2000, 2, 1))
    assert perfect["samples/recall"] == pytest.approx(1, abs=0.05)
    assert perfect["samples/density"] == pytest.approx(1, abs=0.15)
    assert perfect["samples/support"] > 1000

    points = drawn(8, 2, 5)
    few = looked_at(Calling(lambda z: points[(z[:, 0].abs() * 1e4).long() % 8]), linear(), real=drawn(2000, 2, 1))
    assert few["samples/recall"] < 0.2
    assert 5 < few["samples/support"] < 11


def test_gradients_reach_what_the_output_depends_on() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, z: Tensor) -> Tensor:
            made: Tensor = self.used(z)
            return made

    assert looked_at(Half(), linear())["gradient/reach"] == 0.5
    assert looked_at(nn.Linear(2, 2), linear())["gradient/reach"] == 1.0


def test_path_is_the_angle_between_the_way_come_and_the_last_step() -> None:
    G = Shift(torch.zeros(2))
    doctor = doctor_of(G)
    for step, to, angle in (
        (10, (1.0, 0.0), None),
        (20, (2.0, 0.0), 1.0),
        (30, (2.0, 1.0), 0.0),
        (40, (0.0, 0.0), -1.0),
    ):
        with torch.no_grad():
            G.by.copy_(torch.tensor(to))
        found = doctor.look(step)
        if angle is None:
            assert "motion/path-generator" not in found.vitals
        else:
            assert found["motion/path-generator"] == pytest.approx(angle, abs=1e-6)


def test_activity_is_the_largest_root_mean_square_of_a_layer() -> None:
    G = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        G[0].weight.copy_(5 * torch.eye(2))
        G[1].weight.copy_(0.1 * torch.eye(2))
    found = looked_at(G, linear())
    assert found["units/activity-generator"] == pytest.approx(5, rel=0.1)
    assert not any(m._forward_hooks for m in G.modules())
