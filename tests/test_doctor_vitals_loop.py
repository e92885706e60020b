"""Vitals of the loop itself: what optimisers hold and follow, what moves, what is left over, what is not finite."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from equilibria.doctor import Doctor
from test_doctor_vitals import CODES, A, Affine, B, C, Shift, W, drawn, linear, looked_at, sigmoid

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


def test_gain_is_what_the_discriminator_moved_and_not_the_generator() -> None:
    """Shifted normals and a linear score: the AUC is Phi(-c / sqrt 2) for samples at c along the score."""
    G, D = Shift(torch.tensor([2.0, 0.0])), linear((1.0, 0.0))
    doctor = Doctor(G, D, real=drawn(4000, 2, 1), latent=2, objective="nonsaturating")
    with torch.no_grad():
        G.by.copy_(torch.tensor([1.0, 0.0]))
        D.weight.copy_(torch.tensor([[-1.0, 0.0]]))

    def auc(c: float) -> float:
        return NormalDist().cdf(-c / math.sqrt(2))

    # Faced with the samples of now, at 1, and with those of then, at 2. 512 rows a side: an AUC is known to
    # sqrt(2 / (12 * 512)) = .018, a difference of an AUC and its mirror image to twice that.
    expected, slack = ((auc(-1) - auc(1)) + (auc(-2) - auc(2))) / 2, 3 * 2 * 0.018
    assert doctor.look(10)["wiring/gain"] == pytest.approx(expected, abs=slack)
    with torch.no_grad():
        G.by.copy_(torch.tensor([-1.0, 0.0]))
    assert doctor.look(20)["wiring/gain"] == 0.0
    with torch.no_grad():
        D.weight.copy_(torch.tensor([[0.0, 1.0]]))  # it liked samples at -1 now and at -1 then
    assert doctor.look(30)["wiring/gain"] == pytest.approx(0.5 - auc(1), abs=slack)


def test_agreement_falls_with_the_rows_of_a_batch() -> None:
    """A mean of n gradients g + e has cosine |g| / sqrt(|g|^2 + |e|^2 / n) with g."""
    G, D = Shift(torch.tensor([3.0, 0.0])), nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    real = drawn(500, 2, 1)

    def agreement(rows: int) -> float:
        found = []
        for seed in range(20):
            z = drawn(rows, 2, seed)
            G.zero_grad()
            nn.functional.softplus(-D(G(z))).mean().backward()
            found.append(Doctor(G, D, real=real, latent=2, objective="nonsaturating").look(10)["gradient/agreement"])
        return sum(found) / len(found)

    z = drawn(20_000, 2, 99).requires_grad_()
    (each,) = torch.autograd.grad(nn.functional.softplus(-D(G(z))).sum(), z)
    size, noise = float(each.mean(0).norm()), float((each - each.mean(0)).square().sum(1).mean())
    whole = agreement(512)
    assert whole > 0.9
    rows = max(1, round(noise / size**2))  # as much noise as signal: a cosine of about 1 / sqrt 2
    assert agreement(rows) < whole - 0.03


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
    assert "not-a-number" in {f.condition for f in told}
