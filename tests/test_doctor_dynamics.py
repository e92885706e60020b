"""The tail of the gradient and the rotation of the players, against known laws, closed forms and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from equilibria.doctor import VITALS, Doctor, NotAssessed
from equilibria.doctor.chart import Chart
from equilibria.doctor.objective import declared
from equilibria.doctor.subject import Subject
from equilibria.doctor.vitals import examine_deeply
from equilibria.doctor.vitals.dynamics import jacobian_rotation, rotation, tail_index
from test_doctor_vitals import Shift

# The tail ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0.5, 1.0, 2.0, 5.0])
def test_the_tail_index_of_a_pareto_law_is_its_exponent(index: float) -> None:
    n, k = 4000, 400
    x = stats.pareto(index).rvs(n, random_state=3)
    found = tail_index(torch.from_numpy(x))
    assert abs(found - index) < 4 * index / math.sqrt(k)
    top = np.sort(x)[::-1]
    likeliest, _, _ = stats.pareto.fit(top[:k], floc=0, fscale=top[k])  # scipy's estimate of the same tail
    assert found == pytest.approx(likeliest, rel=1e-6)
    assert tail_index(torch.from_numpy(7 * x)) == pytest.approx(found)


def test_cauchy_draws_have_no_mean_and_normal_ones_a_thin_tail() -> None:
    draws, n = np.random.default_rng(4), 20_000
    cauchy, normal = torch.from_numpy(draws.standard_cauchy(n)).abs(), torch.from_numpy(draws.standard_normal(n)).abs()
    assert abs(tail_index(cauchy, 0.05) - 1) < 4 / math.sqrt(1000)
    assert tail_index(normal, 0.1) < tail_index(normal, 0.01)  # no index: it grows as the tail is looked at farther out
    assert tail_index(normal, 0.1) > 3


def test_a_tail_that_says_nothing_is_no_number() -> None:
    assert tail_index(torch.full((100,), 0.3)) == math.inf
    assert math.isnan(tail_index(torch.zeros(100))) and math.isnan(tail_index(torch.rand(12)))
    assert math.isnan(tail_index(torch.tensor([math.nan, *[1.0] * 99])))


class Scored(nn.Module):
    """A discriminator of one parameter, which has no part in the score."""

    def __init__(self, score: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.score, self.none = score, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x) + 0 * self.none


def tails(score: Callable[[Tensor], Tensor], loss: Callable[[Tensor], Tensor]) -> list[float]:
    real = torch.randn(600, 2, generator=torch.Generator().manual_seed(1))
    found = []
    for seed in range(6):
        told: Any = {"latent": 2, "objective": (lambda h, k: (k - h).mean(), loss), "seed": seed}
        doctor = Doctor(Shift(torch.zeros(2)), Scored(score), real=real, **told)
        doctor.look(seed + 1)
        found.append(examine_deeply(doctor.subject, doctor.chart, seed + 1)[0]["gradient/tail"])
    return found


def test_the_gradient_of_the_log_of_a_centred_score_is_heavy_tailed() -> None:
    # Arjovsky & Bottou 2017, Theorem 2.6: D = eps, centred and normal, so that grad log D is a ratio with density at a
    # zero denominator: index 1. Here the score is normal because the samples are.
    found = tails(lambda x: x @ torch.tensor([3.0, 4.0]), lambda k: -k.abs().log().mean())
    assert abs(float(np.mean(found)) - 1) < 4 / math.sqrt(51 * len(found))


def test_the_gradient_of_a_bounded_slope_is_not() -> None:
    assert min(tails(lambda x: x @ torch.tensor([3.0, 4.0]), lambda k: -k.mean())) > 1e4  # the same norm in each row
    assert min(tails(lambda x: x.square().sum(1) / 2, lambda k: -k.mean())) > 2.5  # norms of normal rows


# The Jacobian --------------------------------------------------------------------------------------------------------


class Times(nn.Module):
    """The discriminator of the Dirac-GAN: a row times a number."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor([by]))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0] * self.by


class Point(nn.Module):
    """The generator of the Dirac-GAN: one point, whatever the code."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([at]))

    def forward(self, z: Tensor) -> Tensor:
        return self.at.expand(len(z), 1)


def turned(G: nn.Module, D: nn.Module, real: Tensor, codes: Tensor, objective: Any) -> dict[str, float]:
    """The eigenvalues of a pair on these rows and codes."""
    subject = Subject(G, D, real, None, None, lambda n: codes[:n], codes.shape[1], None, {})
    return jacobian_rotation(subject, cast(Chart, SimpleNamespace(objective=declared(objective))))


@pytest.mark.parametrize(("objective", "slope"), [("wasserstein", 1.0), ("nonsaturating", 0.5), ("saturating", 0.5)])
def test_the_dirac_gan_turns_and_does_not_contract(objective: str, slope: float) -> None:
    # Mescheder et al. 2018, Lemma 2.3: the eigenvalues at the equilibrium are ± f'(0) i.
    found = turned(Point(0.0), Times(0.0), torch.zeros(64, 1), torch.zeros(64, 1), objective)
    assert found["jacobian/imaginary-part"] == pytest.approx(slope, abs=1e-6)
    assert found["jacobian/real-part"] == pytest.approx(0.0, abs=1e-6)
    assert found["jacobian/rotation"] > 1e5


@pytest.mark.parametrize("gamma", [0.1, 0.5, 3.0])
def test_with_a_slope_penalty_the_dirac_gan_contracts(gamma: float) -> None:
    # Mescheder et al. 2018, section 4: -γ/2 ± sqrt(γ²/4 - f'(0)²), here of the non-saturating pair.
    def field(at: Tensor) -> Tensor:
        point, slope = at
        return torch.stack(
            [slope * torch.sigmoid(-point * slope), -point * torch.sigmoid(point * slope) - gamma * slope]
        )

    matrix = cast(Tensor, torch.autograd.functional.jacobian(field, torch.zeros(2, dtype=torch.float64)))  # type: ignore[no-untyped-call]
    found = rotation(lambda u: matrix.T @ u, torch.zeros(2, dtype=torch.float64))
    inside = gamma**2 / 4 - 0.25
    real, imaginary = (-gamma / 2, math.sqrt(-inside)) if inside < 0 else (-gamma / 2 + math.sqrt(inside), 0.0)
    assert found["jacobian/real-part"] == pytest.approx(real, abs=1e-12)
    assert found["jacobian/imaginary-part"] == pytest.approx(imaginary, abs=1e-12)
    assert found["jacobian/rotation"] == pytest.approx(imaginary / (gamma / 2), abs=1e-10)


def perceptron(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    middle: list[nn.Module] = [nn.BatchNorm1d(4)] if norm else []
    return nn.Sequential(nn.Linear(inputs, 4), *middle, nn.Tanh(), nn.Linear(4, outputs)).double()


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch norm, training"])
def test_a_pair_of_perceptrons_has_the_eigenvalues_of_finite_differences(norm: bool) -> None:
    torch.manual_seed(5)
    G, D = perceptron(2, 2, norm), perceptron(2, 1, norm)
    with torch.no_grad():
        for p in [*G.parameters(), *D.parameters()]:
            p.mul_(2)
    real, codes = torch.randn(64, 2).double() + 0.5, torch.randn(64, 2).double()
    sizes = [sum(p.numel() for p in net.parameters()) for net in (G, D)]

    def field(at: Tensor) -> Tensor:
        for net, part in zip((G, D), at.split(sizes), strict=True):
            vector_to_parameters(part, net.parameters())
        k, h = D(G(codes)).squeeze(1), D(real).squeeze(1)
        loss_g, loss_d = F.softplus(-k).mean(), F.softplus(-h).mean() + F.softplus(k).mean()
        of_g = torch.autograd.grad(loss_g, list(G.parameters()), retain_graph=True)
        of_d = torch.autograd.grad(loss_d, list(D.parameters()))
        return -torch.cat([g.reshape(-1) for g in (*of_g, *of_d)])

    at = torch.cat([parameters_to_vector(net.parameters()) for net in (G, D)]).detach()
    found = turned(G, D, real, codes, "nonsaturating")
    step = 1e-5 * torch.eye(len(at)).double()
    dense = torch.stack([(field(at + e) - field(at - e)) / 2e-5 for e in step], 1)
    values = np.linalg.eigvals(dense.numpy())
    fastest = values[np.abs(values.imag).argmax()]
    assert abs(fastest.imag) > 0.05  # it does turn
    assert found["jacobian/real-part"] == pytest.approx(values.real.max(), rel=1e-3)
    assert found["jacobian/imaginary-part"] == pytest.approx(abs(fastest.imag), rel=1e-3)
    assert found["jacobian/rotation"] == pytest.approx(abs(fastest.imag / fastest.real), rel=1e-2)


def test_what_nobody_moves_is_held() -> None:
    G, D = nn.Sequential(nn.Linear(1, 1, bias=False), Point(0.0)), nn.Sequential(Times(0.0))
    G[0].weight.requires_grad_(False)
    found = turned(G, D, torch.zeros(64, 1), torch.zeros(64, 1), "wasserstein")
    assert found["jacobian/imaginary-part"] == pytest.approx(1.0)


def test_networks_without_a_second_derivative_are_told_in_one_line() -> None:
    class Distances(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centres = nn.Parameter(torch.randn(3, 2))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cdist(x, self.centres, compute_mode="donot_use_mm_for_euclid_dist").mean(1)

    told: Any = {"objective": "nonsaturating", "real": torch.randn(300, 2)}
    doctor = Doctor(Shift(torch.full((2,), 9.0)), Distances(), latent=2, **told)
    doctor.look(1)
    found, missing = examine_deeply(doctor.subject, doctor.chart, 1)
    (why,) = [one.reason for one in missing]
    assert not any(name.startswith("jacobian/") for name in found)
    assert "cannot be differentiated twice" in why and "\n" not in why
    assert NotAssessed("rotation against contraction", reason=why) in doctor.diagnose().not_assessed
    doctor = Doctor(Shift(torch.ones(2)), Times(1.0), sampler=lambda n: torch.randn(n, 2) + 9, **told)
    doctor.look(1)
    assert [one.argument for one in examine_deeply(doctor.subject, doctor.chart, 1)[1]] == ["latent"]


def test_a_diagnosis_tells_how_the_players_turn_and_leaves_them_as_they_were() -> None:
    torch.manual_seed(0)
    G = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    D = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    with torch.no_grad():
        G[3].bias.fill_(20.0)  # far away, so that the costlier tests are called for
    doctor = Doctor(G, D, real=torch.randn(300, 2), latent=2, objective="nonsaturating")
    doctor.look(1)
    before = {n: t.clone() for net in (G, D) for n, t in net.state_dict(prefix=str(id(net))).items()}
    said = doctor.diagnose()
    assert all(torch.equal(t, before[n]) for net in (G, D) for n, t in net.state_dict(prefix=str(id(net))).items())
    assert all(p.grad is None for net in (G, D) for p in net.parameters())
    assert {"jacobian/real-part", "jacobian/imaginary-part", "jacobian/rotation"} <= set(said.measured) <= set(VITALS)
    assert said.to_dict()["measured"]["jacobian/rotation"] == pytest.approx(said.measured["jacobian/rotation"])
    assert "jacobian/rotation" in str(said)
    assert doctor.diagnose(deep=False).measured == {}
