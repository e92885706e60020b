"""The autoencoder as a discriminator: its score against numpy, its features, and the recipes that use it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from equilibria.base.errors import ConfigError
from equilibria.core.game import detached, evaluate, make_draw
from equilibria.data import DataSpec
from equilibria.networks import EnergyPair, MLPPair, one_hot
from equilibria.recipes import recipe

PAIR = EnergyPair(pair=MLPPair(width=8, depth=1), code=3)


def test_a_score_is_minus_the_norm_of_what_the_reconstruction_misses() -> None:
    net, x = PAIR.discriminator((1, 4, 4)), torch.randn(5, 1, 4, 4)
    missed = (net.decoder(net.encoder(x)) - x).detach().numpy().reshape(5, -1)
    np.testing.assert_allclose(net(x).detach().numpy(), -np.linalg.norm(missed, axis=1), rtol=1e-5)
    assert torch.equal(net.features(x), net.encoder(x)) and net.features(x).shape == (5, 3)


def test_an_exact_reconstruction_has_a_finite_gradient() -> None:
    net = PAIR.discriminator((2,))
    x = net.reconstruct(torch.zeros(4, 2)).detach().requires_grad_()
    for _ in range(200):  # the fixed point of the reconstruction
        x = net.reconstruct(x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(net(x).sum(), x)
    assert bool(slope.isfinite().all()) and float(net(x).detach().abs().max()) < 1e-4


def test_with_a_label_the_decoder_sees_it_and_the_code_does_not() -> None:
    net, x = PAIR.discriminator((2,), 3), torch.randn(4, 2)
    first, second = (one_hot(torch.full((4,), k), 3) for k in (0, 1))
    assert torch.equal(net.features(x, first), net.features(x, second))
    wanted = -(net.decoder(net.encoder(x), first) - x).norm(dim=1)
    torch.testing.assert_close(net(x, first), wanted)
    assert not torch.allclose(net(x, first), net(x, second))


def test_the_losses_of_ebgan_are_those_of_the_paper() -> None:
    row = recipe("ebgan-pt").with_settings({"networks.code": "3", "game.objective.margin": "2.5"})
    torch.manual_seed(0)
    game = row.build(DataSpec(kind="vector", shape=(2,)), seed=0)
    draw = make_draw(game.draw({"x": torch.randn(6, 2)}), 0)
    net, fake = game.get_submodule("discriminator"), game.sample(draw).detach()
    energy = [np.linalg.norm((net.reconstruct(x) - x).detach().numpy(), axis=1) for x in (draw["real"], fake)]  # type: ignore[operator]
    wanted = energy[0].mean() + np.maximum(2.5 - energy[1], 0).mean()
    assert float(evaluate(game, "discriminator", draw).total) == pytest.approx(wanted, rel=1e-4)
    codes = net.encoder(fake).detach().numpy()  # type: ignore[operator]
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    squared = (codes @ codes.T) ** 2
    pulled = 0.1 * (squared.sum() - np.trace(squared)) / 30
    loss = detached(evaluate(game, "generator", draw))
    assert float(loss.parts["term/PullAway"]) == pytest.approx(pulled, rel=1e-4)
    assert float(loss.total) == pytest.approx(energy[1].mean() + pulled, rel=1e-4)


def test_a_code_of_no_numbers_is_refused() -> None:
    with pytest.raises(ConfigError, match="code=0"):
        EnergyPair(code=0)
