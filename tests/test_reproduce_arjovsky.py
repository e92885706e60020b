"""What the reproductions of Arjovsky & Bottou compute for themselves, against cases that are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from equilibria.base.randomness import reseed
from equilibria.core.ensemble import Ensemble
from equilibria.core.game import Game
from equilibria.core.optimizers import SGD
from equilibria.data import DataSpec
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import MLPPair
from equilibria.reproduce.arjovsky2017principled import discriminate, marks_until
from equilibria.reproduce.arjovsky2017principled_bound import _grid, _perfect, _plus, _ripple
from equilibria.reproduce.arjovsky2017principled_curves import _orders_lost
from equilibria.reproduce.arjovsky2017principled_supports import _js_in_cells


def test_only_the_discriminator_moves_and_only_as_far_as_its_gradient() -> None:
    """With SGD a step is the gradient of the cross-entropy, taken here by hand on the draw that the game deals."""
    reals = torch.randn(16, 2, generator=torch.Generator().manual_seed(3))

    def make(seed: int) -> Game:
        reseed(seed)
        return TwoPlayer().build(MLPPair(width=8, depth=1), DataSpec(kind="vector", shape=(2,)))

    def look(game: Game) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in game.named_parameters()}

    start = make(7)
    seen = discriminate(Ensemble(make, (7, 8)), SGD(lr=0.1), lambda seed, turn: {"x": reals}, [1, 3], look)
    assert [len(row) for row in seen] == [2, 2]
    latent = start.deal(lambda seed, turn: {"x": reals}, 7, 0, 0)["latent"]
    real, fake = (start.get_submodule("discriminator")(x) for x in (reals, start.get_submodule("generator")(latent)))
    loss = -(real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean())
    for name, p in start.named_parameters():
        if name.startswith("generator"):
            assert torch.equal(seen[0][0][name], p) and torch.equal(seen[1][0][name], p)
        else:
            (grad,) = torch.autograd.grad(loss, p, retain_graph=True)
            assert torch.allclose(seen[0][0][name], p - 0.1 * grad, atol=1e-6)
            assert not torch.equal(seen[0][0][name], seen[1][0][name])


def test_marks_are_even_in_their_logarithms() -> None:
    assert marks_until(100, 2) == [1, 3, 10, 32, 100]
    assert marks_until(50, 1) == [1, 10, 50]


def test_orders_are_lost_from_the_peak_on() -> None:
    norms = torch.tensor([[0.001, 1.0], [1.0, 0.1], [0.01, 0.01], [0.1, 10.0]], dtype=torch.float64)
    seen = torch.zeros(4, 2, 5, dtype=torch.float64)
    seen[..., 2] = norms
    assert _orders_lost(seen).tolist() == pytest.approx([2.0, 0.0])


def test_the_jsd_in_cells_is_that_of_their_masses() -> None:
    """Half of each law in a shared cell: log 2 / 2. In cells that hold both laws alike: 0."""
    a = torch.tensor([[0.1, 0.1], [1.1, -0.4]], dtype=torch.float64)
    b = torch.tensor([[0.2, 0.3], [-1.2, 0.2]], dtype=torch.float64)
    assert _js_in_cells(a, b, 0.5) == pytest.approx(math.log(2) / 2, abs=1e-12)
    assert _js_in_cells(a, a.flip(0), 0.25) == 0
    assert _js_in_cells(a, b, 0.01) == pytest.approx(math.log(2), abs=1e-12)


@pytest.mark.parametrize(("height", "number"), [(0.15, 11.0), (0.02, 2500.0)])
def test_a_rippled_discriminator_stays_a_probability(height: float, number: float) -> None:
    perfect, grid = _perfect(), _grid()
    judged = _plus(perfect, _ripple(perfect, height, number), 1.0)(grid)
    assert float(judged.min()) >= 0 and float(judged.max()) <= 1
    assert float((judged - perfect(grid)).abs().max()) <= 2 * height + 1e-12
