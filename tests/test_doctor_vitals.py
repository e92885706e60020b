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
from equilibria.doctor.space import space_of


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
    known = set(VITALS) | {"gradient/certainty"}
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
    found = looked_at(Affine(A, B), certain, latent=lambda n: CODES[:n], objective="saturating")
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
    found = {
        name: looked_at(linear(), D, real=seen, holdout=unseen, sampler=deal)["samples/memorised"]
        for name, deal in cases.items()
    }
    assert found["copies"] < 0.01 and found["fresh"] == pytest.approx(1.0, abs=0.1) and found["unseen"] > 100


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


# The loop itself -----------------------------------------------------------------------------------------------------


def pair() -> tuple[nn.Module, nn.Module]:
    G = nn.Sequential(nn.Linear(2, 10), nn.Tanh(), nn.Linear(10, 2))  # 30 and 22 parameters
    D = nn.Sequential(nn.Linear(2, 10), nn.Tanh(), nn.Linear(10, 1))  # 30 and 11
    return G, D


def test_what_optimisers_hold() -> None:
    G, D = pair()
    Adam = torch.optim.Adam

    def held(g: list[Any], d: list[Any]) -> dict[str, float]:
        found = looked_at(G, D, optimizers={"generator": Adam(g), "discriminator": Adam(d)}).vitals
        return {name.removeprefix("wiring/"): v for name, v in found.items() if "left-out" in name or "held-by" in name}

    all_g, all_d = list(G.parameters()), list(D.parameters())
    assert set(held(all_g, all_d).values()) == {0.0}
    assert held(all_g[2:], all_d)["left-out-generator"] == pytest.approx(30 / 52)
    assert held(all_g, all_d[:2])["left-out-discriminator"] == pytest.approx(11 / 41)
    assert held(all_g, all_d + all_g)["held-by-discriminator"] == 1.0
    assert held(all_g + all_d[:2], all_d)["held-by-generator"] == pytest.approx(30 / 41)
    notes = looked_at(G, D, optimizers={"generator": Adam(all_g[2:]), "discriminator": Adam(all_d)}).notes
    assert notes["left out of generator"] == "0.weight, 0.bias"


def test_what_moves_and_how_far() -> None:
    G, D = pair()
    doctor = Doctor(G, D, real=drawn(500, 2, 1), latent=2)
    first = doctor.look(10)
    assert first["wiring/still-generator"] == first["wiring/unmoved-discriminator"] == 1.0
    size = math.sqrt(sum(float(p.detach().square().sum()) for p in G.parameters()))
    with torch.no_grad():
        G[2].weight += 0.1
    second = doctor.look(20)
    assert second["wiring/still-generator"] == 0.0 and second["wiring/still-discriminator"] == 1.0
    assert second["wiring/unmoved-generator"] == pytest.approx(1 - 20 / 52)
    assert second["motion/generator"] == pytest.approx(0.1 * math.sqrt(20) / size / 10, rel=1e-4)
    with torch.no_grad():
        G[2].weight -= 0.1
    third = doctor.look(30)
    assert third["motion/turn-generator"] == pytest.approx(-1.0, abs=1e-4)
    assert third["size/generator"] == pytest.approx(1.0, rel=1e-5) and third["motion/discriminator"] == 0.0


def test_gradients_that_are_left_over() -> None:
    G, D = Affine(A, B), Affine(W, C)
    doctor = Doctor(G, D, real=drawn(500, 2, 1), latent=lambda n: CODES[:n], objective="nonsaturating")
    loss = nn.functional.softplus(-D(G(CODES[:64]))).mean()
    grads = torch.autograd.grad(loss, list(G.parameters()))
    for p, g in zip(G.parameters(), grads, strict=True):
        p.grad = 7 * g
    doctor.check(9)
    found = doctor.check(10)
    assert found is not None
    assert found["wiring/leftover-ratio"] == pytest.approx(7.0, rel=1e-4)
    assert found["wiring/leftover-likeness"] == pytest.approx(1.0)
    doctor.check(19)
    for p, g in zip(G.parameters(), grads, strict=True):
        p.grad = -3 * g
    again = doctor.check(20)
    assert again is not None
    assert again["wiring/leftover-likeness"] == pytest.approx(-1.0)
    assert again["wiring/leftover-ratio"] == pytest.approx(3.0, rel=1e-4)


@pytest.mark.parametrize("kind", ["Adam", "SGD"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_descent_is_the_cosine_with_the_proper_gradient(kind: str, sign: float) -> None:
    w, real, fake = np.array([0.3, -0.2]), drawn(4000, 2, 1).numpy(), drawn(4000, 2, 2, mean=2.0).numpy()
    pull = -(sigmoid(-real @ w)[:, None] * real).mean(0) + (sigmoid(fake @ w)[:, None] * fake).mean(0)
    offset = -sigmoid(-real @ w).mean() + sigmoid(fake @ w).mean()
    D = linear((0.3, -0.2))
    optimizer = torch.optim.Adam(D.parameters()) if kind == "Adam" else torch.optim.SGD(D.parameters(), momentum=0.9)
    name = "exp_avg" if kind == "Adam" else "momentum_buffer"
    optimizer.state[D.weight] = {name: sign * torch.tensor(pull)[None]}
    optimizer.state[D.bias] = {name: sign * torch.tensor([offset])}
    rows = torch.from_numpy(fake)
    told = {"real": torch.from_numpy(real), "sampler": lambda n: rows[:n], "optimizers": {"discriminator": optimizer}}
    assert looked_at(linear(), D, **told)["wiring/descent"] == pytest.approx(sign, abs=0.02)


def test_without_the_optimiser_the_last_step_stands_for_what_it_follows() -> None:
    D = linear((0.0, 0.0))
    doctor = Doctor(Shift(torch.tensor([5.0, 0.0])), D, real=drawn(500, 2, 1), latent=2, objective="nonsaturating")
    doctor.check(9)
    with torch.no_grad():
        D.weight += torch.tensor([[-0.1, 0.0]])  # away from the samples, which lie at 5 along the first axis
    found = doctor.check(10)
    assert found is not None and found["wiring/descent"] > 0.95


def test_dead_units_are_counted() -> None:
    G, D = pair()
    D = nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 1))
    with torch.no_grad():
        D[0].bias.zero_()
        D[0].bias[:4] = -1e3
    found = looked_at(G, D)
    assert found["units/dead-discriminator"] == pytest.approx(0.4) and "units/dead-generator" not in found.vitals
    assert len(D[1]._forward_hooks) == 0


def test_what_is_not_finite_is_named() -> None:
    G, D = pair()
    doctor = Doctor(G, D, real=drawn(500, 2, 1), latent=2, objective="nonsaturating")
    with torch.no_grad():
        D[2].bias[0] = math.inf
        G[0].weight[0, 0] = 1e9
    found = doctor.look(10)
    assert found["numbers/parameters"] == pytest.approx(1 / 93) and found["numbers/outputs"] > 0
    assert found.notes["first not finite"] == "discriminator.2.bias" and found["numbers/largest"] >= 1e9
    assert "slopes/real" not in found.vitals  # nothing is measured on numbers that are none
    told = doctor.diagnose().findings
    assert "not-a-number" in {f.condition.value for f in told}


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
    "the same, normed": Ending(lambda h: h, scale=0.05, offset=0.5, norm=True),
    "a sigmoid further in": nn.Sequential(nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 1)),
    "a sigmoid that is not the last call": Ending(lambda h: 4 * torch.sigmoid(h) - 2),
    "a rectifier": Ending(torch.relu, offset=0.5),
    "a hyperbolic tangent": Ending(torch.tanh),
}


@pytest.mark.parametrize("kind", [*SIGMOIDS, *LOGITS])
def test_a_sigmoid_is_recognised(kind: str) -> None:
    D = SIGMOIDS.get(kind, LOGITS.get(kind))
    assert D is not None
    doctor = Doctor(linear(), D, real=drawn(300, 2, 1), sampler=lambda n: drawn(n, 2, 2))
    assert doctor.subject.probabilities is (kind in SIGMOIDS)
