"""Doubling folded into the convolution that follows: the same function, and the network that was given is unchanged."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from equilibria import open_run, train
from equilibria.data import load
from equilibria.networks import Upsample
from equilibria.networks.folding import UpsampledConv2d, fold_upsampling
from equilibria.recipes import RECIPES
from equilibria.training import Settings


def block(up: nn.Module, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 1), up, nn.Conv2d(3, 4, 3, padding=1, bias=bias), nn.Tanh()).double()


@pytest.mark.parametrize("up", [nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=(2.0, 2.0)), Upsample()])
@pytest.mark.parametrize("bias", [True, False])
def test_value_and_first_and_second_derivatives_are_those_of_the_layers_one_by_one(up: nn.Module, bias: bool) -> None:
    plain = block(up, bias)
    folded = fold_upsampling(plain)
    assert isinstance(folded.get_submodule("2"), UpsampledConv2d)
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def derivatives(net: nn.Module) -> list[Tensor]:
        point = x.clone().requires_grad_()
        out = net(point)
        (slope,) = torch.autograd.grad(out.sum(), point, create_graph=True)
        penalty = slope.square().sum() + out.square().sum()
        return [out, slope, *torch.autograd.grad(penalty, [point, *net.parameters()])]

    for a, b in zip(derivatives(plain), derivatives(folded), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def test_the_network_given_stays_as_it_was_and_shares_its_parameters() -> None:
    inner = block(nn.Upsample(scale_factor=2))
    net = nn.ModuleDict({"body": nn.Sequential(inner, nn.BatchNorm2d(4).double()), "rest": nn.Linear(2, 2)})
    before = repr(net)
    folded = fold_upsampling(net)
    assert repr(net) == before != repr(folded)
    assert list(folded.state_dict()) == list(net.state_dict())
    for (name, a), (other, b) in zip(net.named_parameters(), folded.named_parameters(), strict=True):
        assert name == other and a is b
    assert all(a is b for a, b in zip(net.buffers(), folded.buffers(), strict=True))
    assert fold_upsampling(folded) is folded
    copy.deepcopy(folded)


@pytest.mark.parametrize(
    "pair",
    [
        (nn.Upsample(scale_factor=3), nn.Conv2d(3, 4, 3, padding=1)),
        (nn.Upsample(size=(8, 8)), nn.Conv2d(3, 4, 3, padding=1)),
        (nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 4, 3, padding=1)),
        (nn.Upsample(scale_factor=2), nn.Conv2d(3, 4, 5, padding=2)),
        (nn.Upsample(scale_factor=2), nn.Conv2d(3, 4, 3, padding=1, stride=2)),
        (nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3, padding=1, groups=3)),
        (nn.Upsample(scale_factor=2), nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")),
        (nn.Upsample(scale_factor=2), nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3, padding=1))),
        (nn.Upsample(scale_factor=2), nn.ReLU()),
    ],
)
def test_what_is_another_function_is_left_alone(pair: tuple[nn.Module, nn.Module]) -> None:
    net = nn.Sequential(*pair)
    assert fold_upsampling(net) is net


def test_a_layer_that_somebody_looks_into_is_left_alone() -> None:
    net = block(nn.Upsample(scale_factor=2))
    handle = net[2].register_forward_hook(lambda *_: None)
    assert fold_upsampling(net) is net
    handle.remove()
    assert fold_upsampling(net) is not net


def test_a_run_folds_trains_the_given_network_and_opens_again(tmp_path: Path) -> None:
    torch.manual_seed(2)
    layers = (nn.Linear(8, 3 * 16), nn.Unflatten(1, (3, 4, 4)), nn.Upsample(scale_factor=2), nn.Conv2d(3, 1, 3, 1, 1))
    mine = nn.Sequential(*layers)
    start = {name: p.detach().clone() for name, p in mine.named_parameters()}
    row = RECIPES["gan"].with_settings({"game.latent.size": "8", "batch": "8"})
    images = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    quiet = Settings(progress=False, evaluate=False, doctor=False)
    run = train(dataclasses.replace(row), load(images), steps=3, out=tmp_path / "run", settings=quiet, generator=mine)
    assert any(isinstance(m, UpsampledConv2d) for m in run.play.game.modules())
    assert not any(isinstance(m, UpsampledConv2d) for m in mine.modules())
    assert all(not torch.equal(p, start[name]) for name, p in mine.named_parameters())
    again = open_run(tmp_path / "run", generator=nn.Sequential(*layers))
    assert torch.equal(again.sample(4), run.sample(4))
