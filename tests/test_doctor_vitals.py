"""Each vital against a number that is known without the doctor: closed forms, quadrature, other libraries, by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from equilibria.doctor import VITALS, Doctor
from equilibria.doctor.chart import Checkup
from equilibria.doctor.probe import auc, probe
from equilibria.doctor.vitals import examine_deeply


def drawn(n: int, d: int, seed: int, spread: float = 1.0, mean: float = 0.0) -> Tensor:
    """Normal rows; the mean is that of the first coordinate."""
    x = spread * torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    x[:, 0] += mean
    return x


class Affine(nn.Module):
    """Rows times a matrix, plus a vector."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.bias


class Calling(nn.Module):
    """A network with one parameter that does what a function says."""

    def __init__(self, call: Callable[[Tensor], Tensor], value: Tensor | None = None) -> None:
        super().__init__()
        self.call, self.value = call, nn.Parameter(torch.zeros(1) if value is None else value)

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x) + 0 * self.value.sum()


class Shift(nn.Module):
    """A code plus a vector that is learnt."""

    def __init__(self, by: Tensor) -> None:
        super().__init__()
        self.by = nn.Parameter(by.clone())

    def forward(self, z: Tensor) -> Tensor:
        return z + self.by


def linear(weight: tuple[float, ...] = (1.0, 0.0), bias: float = 0.0) -> Affine:
    return Affine(torch.tensor([weight]), torch.tensor([bias]))


def looked_at(G: nn.Module, D: nn.Module, step: int = 1, **told: Any) -> Checkup:
    """One check-up of a pair."""
    told.setdefault("real", drawn(1000, 2, 1))
    told.setdefault("objective", "nonsaturating")
    if "latent" not in told and "sampler" not in told:
        told["latent"] = 2
    return Doctor(G, D, **told).look(step)


def test_every_vital_that_is_measured_is_in_the_table() -> None:
    G = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    D = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    opts = {"generator": torch.optim.Adam(G.parameters()), "discriminator": torch.optim.Adam(D.parameters())}
    found = looked_at(G, D, holdout=drawn(300, 2, 2), optimizers=opts)
    known = set(VITALS)
    assert set(found.vitals) <= known
    assert all(v.unit and v.what and v.tier in {1, 2, 3} for v in VITALS.values())


# The probe -----------------------------------------------------------------------------------------------------------


def jsd(p: Any, q: Any) -> float:
    """Of two densities on the line, by quadrature."""

    def inside(x: float) -> float:
        a, b = p.pdf(x), q.pdf(x)
        m = (a + b) / 2
        return 0.5 * (a * math.log(a / m) if a > 0 else 0.0) + 0.5 * (b * math.log(b / m) if b > 0 else 0.0)

    return float(integrate.quad(inside, -20, 20, limit=400)[0])


NORMAL = stats.norm
LAWS = {  # real is standard normal; the sample's mean and spread, and the AUC of the best classifier
    "the same": (0.0, 1.0, 0.5),
    "near": (0.5, 1.0, NORMAL.cdf(0.5 / math.sqrt(2))),
    "shifted": (1.5, 1.0, NORMAL.cdf(1.5 / math.sqrt(2))),
    "far": (4.0, 1.0, NORMAL.cdf(4.0 / math.sqrt(2))),
    "narrow": (0.0, 0.3, 2 / math.pi * math.atan(1 / 0.3)),
    "wide": (0.0, 3.0, 2 / math.pi * math.atan(3.0)),
}


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("law", LAWS)
def test_the_probe_comes_near_the_best_classifier_and_its_bound_is_one(law: str, d: int) -> None:
    mean, spread, best = LAWS[law]
    if d == 2 and spread != 1.0:
        best = {0.3: 1 / (1 + 0.3**2), 3.0: 9 / 10}[spread]  # squared radii are exponential
    found = [probe(drawn(512, d, 2 * s), drawn(512, d, 2 * s + 1, spread, mean), seed=s) for s in range(10)]
    ranked = np.array([p.auc for p in found])
    assert abs(ranked.mean() - best) < 3 * ranked.std(ddof=1) / math.sqrt(10) + 0.04
    if d == 1:
        truth = jsd(NORMAL(), NORMAL(mean, spread))
    else:  # the coordinate that is not shifted is the same on both sides
        truth = jsd(NORMAL(), NORMAL(mean, 1.0)) if spread == 1.0 else radial_jsd(spread)
    bound = np.array([p.jsd for p in found])
    assert bound.mean() <= truth + 3 * bound.std(ddof=1) / math.sqrt(10)
    assert (bound <= truth + 0.05).all() and (bound >= 0).all()
    assert bound.mean() > 0.6 * truth - 0.02


def radial_jsd(spread: float) -> float:
    """Of two round normal laws in the plane around one centre, by quadrature over the radius."""
    return jsd(stats.rayleigh(), stats.rayleigh(scale=spread))


def test_the_bound_ends_at_log_two() -> None:
    assert probe(drawn(300, 2, 1), drawn(300, 2, 2, mean=50.0)).jsd == pytest.approx(math.log(2), abs=0.02)
    few = probe(drawn(8, 2, 1), drawn(300, 2, 2))
    assert (few.auc, few.jsd) == (1.0, math.log(2))  # nothing to fit on: what is not there is told apart


def test_ranks_with_ties_are_those_of_scikit_learn() -> None:
    a, b = torch.randint(0, 6, (70,)).float(), torch.randint(1, 8, (50,)).float()
    wanted = roc_auc_score([1] * 70 + [0] * 50, torch.cat([a, b]).numpy())
    assert auc(a, b) == pytest.approx(wanted) and auc(b, a) == pytest.approx(1 - wanted)
    assert math.isnan(auc(torch.tensor([math.nan, 1.0]), b))


# Scores and slopes ---------------------------------------------------------------------------------------------------


def test_the_slope_of_a_linear_discriminator_is_its_weight() -> None:
    found = looked_at(linear((1.0, 1.0)), linear((3.0, -4.0), 2.0), sampler=lambda n: drawn(n, 2, 9, mean=3.0))
    for name in ("real", "fake", "between", "largest"):
        assert found[f"slopes/{name}"] == pytest.approx(5.0, rel=1e-5)
    assert found["scores/real"] == pytest.approx(2.0, abs=1.0) and found["scores/fake"] == pytest.approx(11.0, abs=1.0)


def test_the_slope_of_a_quadratic_discriminator_is_the_radius() -> None:
    real, fake = drawn(128, 2, 1), drawn(4000, 2, 2, spread=2.0, mean=1.0)
    D = Calling(lambda x: 0.5 * x.square().sum(1))
    found = looked_at(linear(), D, real=real, sampler=lambda n: fake[:n])
    assert found["slopes/real"] == pytest.approx(float(real.norm(dim=1).mean()), rel=1e-4)
    assert found["slopes/fake"] == pytest.approx(float(fake[:128].norm(dim=1).mean()), rel=1e-4)
    assert found["slopes/between"] <= max(found["slopes/real"], found["slopes/fake"])
    assert found["slopes/largest"] <= float(torch.cat([real, fake[:128]]).norm(dim=1).max())


def test_scores_of_a_sigmoid_are_turned_back_into_log_odds() -> None:
    logits, odds = linear((3.0, -4.0), 0.5), nn.Sequential(linear((3.0, -4.0), 0.5), nn.Sigmoid())
    real = 0.3 * drawn(1000, 2, 1)
    a, b = (looked_at(linear(), D, real=real, sampler=lambda n: 0.3 * drawn(n, 2, 5)) for D in (logits, odds))
    for name in ("scores/real", "scores/fake", "scores/spread", "scores/auc", "slopes/real", "slopes/between"):
        assert a[name] == pytest.approx(b[name], rel=1e-3), name


# The gradient that reaches the generator -----------------------------------------------------------------------------

CODES = drawn(1000, 3, 4).double()
A, B = torch.tensor([[1.0, 0.5, -1.0], [0.0, 2.0, 0.3]]).double(), torch.tensor([0.2, -0.4]).double()
W, C = torch.tensor([[0.7, -1.1]]).double(), torch.tensor([0.3]).double()


def gradient_norm(weight: Callable[[np.ndarray], np.ndarray], codes: Tensor) -> float:
    """Of mean f(D(G(z))) in A and b, where f' is ``weight``: w (mean f' z)^T and w mean f', by hand."""
    z, w = codes.numpy(), W.numpy()[0]
    slope = weight(z @ (A.T.numpy() @ w) + float(W @ B + C))
    by_matrix, by_vector = np.outer(w, (slope[:, None] * z).mean(0)), w * slope.mean()
    return float(math.hypot(np.linalg.norm(by_matrix), np.linalg.norm(by_vector)))


def sigmoid(h: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-h))


@pytest.mark.parametrize(
    ("objective", "weight"),
    [
        ("nonsaturating", lambda h: -sigmoid(-h)),
        ("saturating", lambda h: -sigmoid(h)),
        ("wasserstein", lambda h: -np.ones_like(h)),
        ("maximum-likelihood", lambda h: -np.exp(h)),
        ("least-squares", lambda h: h - 1),
    ],
)
def test_the_gradient_of_an_affine_generator_by_hand(objective: str, weight: Callable[..., np.ndarray]) -> None:
    found = looked_at(Affine(A, B), Affine(W, C), latent=lambda n: CODES[:n], objective=objective)
    of = {"saturating": lambda h: sigmoid(h), "nonsaturating": lambda h: sigmoid(-h)}
    for name, standard in of.items():
        assert found[f"gradient/{name}"] == pytest.approx(gradient_norm(standard, CODES[:64]), rel=1e-5)
    assert found["gradient/declared"] == pytest.approx(gradient_norm(weight, CODES[:64]), rel=1e-5)
    assert found["gradient/burst"] == pytest.approx(1.0) and found["gradient/snr"] > 1e6  # the codes never change


def test_the_bound_of_arjovsky_and_bottou_holds_and_is_that_of_the_jacobian() -> None:
    certain = Affine(0.1 * W, torch.tensor([-5.0]).double())
    doctor = Doctor(Affine(A, B), certain, real=drawn(1000, 2, 1), latent=lambda n: CODES[:n], objective="saturating")
    found = doctor.look(1).vitals | examine_deeply(doctor.subject, doctor.chart, 1)[0]
    x = (CODES[:64] @ A.T + B).numpy()
    d = sigmoid(x @ (0.1 * W.numpy()[0]) - 5.0)
    epsilon = float((d + d * (1 - d) * 0.1 * float(W.norm())).max())
    m = math.sqrt(float((2 * (CODES[:8].square().sum(1) + 1)).mean()))  # an affine map: d_out (|z|^2 + 1)
    assert found["gradient/saturating"] < found["gradient/bound"]
    assert 0.4 < found["gradient/bound"] / (m * epsilon / (1 - epsilon)) < 2.5  # 8 random projections of the Jacobian


@pytest.mark.parametrize(("by", "expected"), [(2.0, 128.0), (0.5, 8.0), (0.25, 2.0)])
def test_signal_over_noise_of_a_gradient_whose_noise_is_known(by: float, expected: float) -> None:
    """Loss -mean |b + z|^2 / 2 has the gradient -(b + mean z): its mean is b, its variance d / 64 between batches."""
    G, D = Shift(torch.tensor([by, 0.0])), Calling(lambda x: 0.5 * x.square().sum(1))
    doctor = Doctor(G, D, real=drawn(1000, 2, 1), latent=2, objective="wasserstein")
    found = [doctor.look(step)["gradient/snr"] for step in range(1, 26)]
    assert np.median(found) == pytest.approx(expected, rel=0.35)


def test_no_signal_is_no_signal() -> None:
    doctor = Doctor(
        Shift(torch.zeros(2)),
        Calling(lambda x: 0.5 * x.square().sum(1)),
        real=drawn(1000, 2, 1),
        latent=2,
        objective="wasserstein",
    )
    assert np.median([doctor.look(step)["gradient/snr"] for step in range(1, 16)]) < 0.2


def test_the_noise_of_the_loops_own_steps_is_read_from_its_optimiser() -> None:
    G, D = Affine(A, B), Affine(W, C)
    opts = {"generator": torch.optim.Adam(G.parameters()), "discriminator": torch.optim.Adam(D.parameters())}
    for p in G.parameters():
        opts["generator"].state[p] = {"exp_avg_sq": torch.full_like(p, 0.5), "step": torch.tensor(1e6)}
    found = looked_at(G, D, latent=lambda n: CODES[:n], optimizers=opts)
    signal, total = found["gradient/declared"] ** 2, 0.5 * (A.numel() + B.numel())
    assert found["gradient/step-snr"] == pytest.approx(signal / (total - signal), rel=1e-4)


# A sigmoid at the end ------------------------------------------------------------------------------------------------


class Ending(nn.Module):
    """A layer, a function, and a function of the shape."""

    def __init__(self, end: Callable[[Tensor], Tensor], scale: float = 1.0, offset: float = 0.0, norm: bool = False):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.norm = nn.BatchNorm1d(1) if norm else nn.Identity()
        self.end, self.scale, self.offset = end, scale, offset

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.scale * self.norm(self.layer(x)) + self.offset)


SIGMOIDS = {
    "a last layer": nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()),
    "a function": Ending(torch.sigmoid),
    "a function and a view": Ending(lambda h: torch.sigmoid(h).view(-1)),
    "a function and a squeeze": Ending(lambda h: h.sigmoid().squeeze(1)),
    "of small numbers": Ending(torch.sigmoid, scale=1e-3),
    "of small numbers, normed": Ending(torch.sigmoid, scale=1e-3, norm=True),
    "of a patch map": nn.Sequential(nn.Unflatten(1, (1, 1, 2)), nn.Conv2d(1, 1, 1), nn.Sigmoid()),
}
LOGITS = {
    "a linear layer": nn.Linear(2, 1),
    "numbers that happen to lie in [0, 1]": Ending(lambda h: h, scale=1e-4, offset=0.5),
    "most of [0, 1] at thirty times the data": Ending(lambda h: h, scale=5e-3, offset=0.5),
    "the same, normed": Ending(lambda h: h, scale=0.05, offset=0.5, norm=True),
    "a sigmoid further in": nn.Sequential(nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 1)),
    "a sigmoid that is not the last call": Ending(lambda h: 4 * torch.sigmoid(h) - 2),
    "nothing but zeros": linear((0.0, 0.0)),
    "a rectifier": Ending(torch.relu, offset=0.5),
    "a hyperbolic tangent": Ending(torch.tanh),
}


@pytest.mark.parametrize("kind", [*SIGMOIDS, *LOGITS])
def test_a_sigmoid_is_recognised(kind: str) -> None:
    D = SIGMOIDS.get(kind, LOGITS.get(kind))
    assert D is not None
    doctor = Doctor(linear(), D, real=drawn(300, 2, 1), sampler=lambda n: drawn(n, 2, 2))
    assert doctor.subject.probabilities is (kind in SIGMOIDS)
