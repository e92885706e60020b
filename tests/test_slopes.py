"""Input slopes against autograd's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from equilibria.theory.slopes import input_slopes


def test_slopes_are_those_of_autograd_and_leave_the_score() -> None:
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    real = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    scores, slopes = input_slopes(lambda x: net(x)[:, 0], real)
    torch.testing.assert_close(scores, net(real)[:, 0])
    leaf = real.clone().requires_grad_()
    torch.testing.assert_close(slopes, torch.autograd.grad(net(leaf).sum(), leaf)[0])


def test_a_patch_map_has_the_slope_of_its_mean() -> None:
    x = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    conv = nn.Conv2d(1, 1, 3)
    scores, slopes = input_slopes(conv, x)
    assert scores.shape == (3, 1, 4, 4)
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(slopes, torch.autograd.grad(conv(leaf).mean((1, 2, 3)).sum(), leaf)[0])


def test_slopes_without_gradients_enabled() -> None:
    with torch.no_grad():
        _, slopes = input_slopes(lambda x: x.square().sum(1), torch.ones(2, 3))
    assert torch.equal(slopes, torch.full((2, 3), 2.0))
    assert not slopes.requires_grad


@pytest.mark.parametrize("score", [lambda x: x.sum(), lambda x: x.sum(1)[:2]])
def test_scores_must_be_one_row_per_row(score: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"want \(n,\)"):
        input_slopes(score, torch.ones(3, 2))


def test_slopes_leave_autocast_and_widen() -> None:
    net = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 1))
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    outside = input_slopes(net, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = input_slopes(net, x)
    assert torch.equal(outside[1], inside[1])
    assert inside[0].dtype == torch.float32
    assert input_slopes(net, x.bfloat16())[1].dtype == torch.float32


def test_slopes_differentiate_again_in_points_and_parameters() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    of_both = lambda x, w: input_slopes(lambda y: torch.tanh(y @ w), x)[1]  # noqa: E731
    assert torch.autograd.gradcheck(of_both, (x, w))
    assert torch.autograd.gradgradcheck(of_both, (x, w))
