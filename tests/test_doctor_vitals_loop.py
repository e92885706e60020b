"""Vitals of the loop itself: what optimisers hold and follow, what moves, what is left over, what is not finite."""

from __future__ import annotations

import math
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
