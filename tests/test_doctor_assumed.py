"""A doctor that is told nothing of the codes: their shape and their law are found out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equilibria.base.errors import ConfigError
from equilibria.doctor import Doctor
from equilibria.doctor.assumed import AssumedCodes

IMAGES = torch.rand(64, 1, 8, 8)
POINTS = torch.randn(64, 2)
LABELS = torch.arange(64) % 4


class Conditional(nn.Module):
    def __init__(self, made: int, width: int) -> None:
        super().__init__()
        self.table, self.net = nn.Embedding(4, width), nn.Linear(6 + width, made)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.net(torch.cat([z, self.table(y)], 1))


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.net = nn.Embedding(4, 3), nn.Linear(5, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.net(torch.cat([x, self.table(y)], 1))


def test_the_shape_is_that_of_the_first_layer() -> None:
    up = nn.Sequential(nn.ConvTranspose2d(12, 4, 4), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 1, 2, 2))
    down = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    doctor = Doctor(up, down, real=IMAGES)
    assert doctor.subject.draw_codes(5)[0].shape == (5, 12, 1, 1) and doctor.subject.latent == 12
    assert any("shape (12, 1, 1)" in str(one.reason) for one in doctor.diagnose().not_assessed)
    assert doctor.look(10)["latent/dependence"] > 0
    plain = Doctor(nn.Linear(7, 2), nn.Linear(2, 1), real=POINTS)
    assert plain.subject.draw_codes(5)[0].shape == (5, 7)
    conditional = Doctor(Conditional(2, 3), Judge(), real=POINTS, labels=LABELS)
    assert conditional.subject.draw_codes(5)[0].shape == (5, 6)


def test_norms_are_as_before() -> None:
    up = nn.Sequential(nn.Linear(7, 2), nn.BatchNorm1d(2))
    before = {name: b.clone() for name, b in up.named_buffers()}
    Doctor(up, nn.Linear(2, 1), real=POINTS)
    assert all(torch.equal(before[name], b) for name, b in up.named_buffers())


@pytest.mark.parametrize(
    ("drawn", "uniform", "low", "high"),
    [
        (lambda n: torch.randn(n, 5), False, -1.0, 1.0),
        (lambda n: 3 + 0.5 * torch.randn(n, 5), False, 2.5, 3.5),
        (lambda n: torch.rand(n, 5), True, 0.0, 1.0),
        (lambda n: 2 * torch.rand(n, 5) - 1, True, -1.0, 1.0),
    ],
)
def test_the_law_is_that_of_the_loop(drawn: object, uniform: bool, low: float, high: float) -> None:
    torch.manual_seed(0)
    G, D = nn.Linear(5, 2), nn.Linear(2, 1)
    g, d = torch.optim.SGD(G.parameters(), 0.01), torch.optim.SGD(D.parameters(), 0.01)
    doctor = Doctor(G, D, real=POINTS)
    for step in range(1, 11):
        d.zero_grad()
        fake = G(drawn(64))  # type: ignore[operator]
        (F.softplus(-D(POINTS)).mean() + F.softplus(D(fake.detach())).mean()).backward()
        d.step()
        g.zero_grad()
        F.softplus(-D(fake)).mean().backward()
        g.step()
        doctor.check(step)
    codes = doctor.subject.codes
    assert isinstance(codes, AssumedCodes) and codes.uniform is uniform
    assert abs(codes.low - low) < 0.15 and abs(codes.high - high) < 0.15
    values = codes(4000)
    assert abs(float(values.mean()) - (low + high) / 2) < 0.05


def test_what_does_not_fit_asks_for_it() -> None:
    translator = nn.Conv2d(1, 1, 3, padding=1)
    with pytest.raises(ConfigError, match="neither latent nor sampler"):
        Doctor(translator, nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), real=IMAGES)
    with pytest.raises(ConfigError, match="latent=128"):
        Doctor(nn.Linear(7, 3), nn.Linear(2, 1), real=POINTS)  # makes other rows than the real ones
