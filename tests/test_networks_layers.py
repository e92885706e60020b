"""Layers, norms, spectral norms and initialisations against numpy, torch's own layers and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from equilibria.base.errors import ConfigError
from equilibria.networks import (
    INITS,
    BatchNorm,
    ConvPair,
    Frozen,
    LayerNorm,
    Maxout,
    MLPPair,
    ResidualBlock,
    SpectralNorm,
    VirtualBatchNorm,
    WithReference,
    activation,
    advance_spectral_norms,
    calibrate,
    initialise,
    one_hot,
)

# Layers --------------------------------------------------------------------------------------------------------------


def test_one_hot_is_torchs_and_leaves_strangers_at_zero() -> None:
    labels = torch.tensor([[0, 2], [1, 1]])
    assert torch.equal(one_hot(labels, 3), torch.nn.functional.one_hot(labels, 3).float())
    assert torch.equal(one_hot(torch.tensor([-1, 3]), 3), torch.zeros(2, 3))
    assert one_hot(labels, 3, torch.float64).dtype == torch.float64
    assert torch.equal(vmap(lambda y: one_hot(y, 3))(labels), one_hot(labels, 3))


def test_maxout_is_the_largest_of_its_affine_maps() -> None:
    layer, x = Maxout(3, 2, pieces=4), torch.randn(5, 3)
    weight = layer.linear.weight.detach().numpy().reshape(2, 4, 3)
    bias = layer.linear.bias.detach().numpy().reshape(2, 4)
    expected = (np.einsum("ni,jki->njk", x.numpy(), weight) + bias).max(-1)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_an_unknown_activation_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="leaky_relu"):
        activation("leakyrelu")


# Frozen --------------------------------------------------------------------------------------------------------------


def frozen_cases() -> dict[str, tuple[nn.Module, Tensor]]:
    tied = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    tied[2].weight = tied[0].weight
    return {
        "perceptron": (MLPPair(width=4).discriminator((3,)), torch.randn(5, 3)),
        "batch norm": (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten()), torch.randn(5, 1, 4, 4)),
        "tied": (tied, torch.randn(5, 3)),
        "dropout": (nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)), torch.randn(5, 3)),
    }


@pytest.mark.parametrize("name", frozen_cases())
def test_a_frozen_network_says_the_same_and_has_nothing_to_move(name: str) -> None:
    net, x = frozen_cases()[name]
    count = len(list(net.parameters()))
    frozen = Frozen(net)
    frozen.train()
    nn.ModuleList([frozen]).train()
    assert not any(part.training for part in frozen.modules())
    assert list(frozen.parameters()) == []
    assert len(list(net.parameters())) == count and net.training  # the original is left alone
    net.eval()
    x.requires_grad_()
    torch.testing.assert_close(frozen(x), net(x), rtol=0, atol=0)
    ours, theirs = (torch.autograd.grad(m(x).square().sum(), x)[0] for m in (frozen, net))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert not frozen(x.detach()).requires_grad
    assert set(frozen.state_dict()) == {f"net.{key}" for key in net.state_dict()}


def test_a_tied_parameter_is_frozen_to_one_tensor() -> None:
    net, _ = frozen_cases()["tied"]
    assert len(list(Frozen(net).buffers())) == 3


def test_a_frozen_recurrent_network_leaves_no_parameter_behind() -> None:
    net, x = nn.GRU(2, 3), torch.randn(4, 5, 2)
    frozen = Frozen(net)
    out = frozen(x)[0]
    torch.testing.assert_close(out, net(x)[0], rtol=0, atol=0)
    assert not out.requires_grad


# Norms ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 3), (4, 3, 5, 6)])
def test_batch_norm_has_the_values_of_torchs(shape: tuple[int, ...]) -> None:
    x = 2 * torch.randn(shape, dtype=torch.float64) + 1
    ours = BatchNorm(3).double()
    theirs = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(3, momentum=1.0).double()
    with torch.no_grad():
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(one.copy_(torch.randn(3)))
    torch.testing.assert_close(ours(x), theirs(x))
    calibrate(ours, lambda: ours(x), 1)
    count = x.numel() // 3
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var * count / (count - 1), theirs.running_var)
    theirs.running_var.copy_(ours.running_var)
    y = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(ours.eval()(y), theirs.eval()(y))


@pytest.mark.parametrize("shape", [(7, 3), (4, 3, 5, 6)])
def test_layer_norm_has_the_values_of_torchs(shape: tuple[int, ...]) -> None:
    ours = LayerNorm(3).double()
    theirs = (nn.LayerNorm(3) if len(shape) == 2 else nn.GroupNorm(1, 3)).double()
    with torch.no_grad():
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(one.copy_(torch.randn(3)))
    x = 2 * torch.randn(shape, dtype=torch.float64) + 1
    torch.testing.assert_close(ours(x), theirs(x))


def test_calibration_is_the_moments_of_all_activations_and_restores_the_flags() -> None:
    net = nn.Sequential(nn.Linear(2, 3), BatchNorm(3), nn.ReLU(), BatchNorm(3)).double()
    net.eval()
    net[1].train()
    batches = list(torch.randn(5, 6, 2, dtype=torch.float64) * torch.arange(1.0, 6.0)[:, None, None])
    left = iter(batches)
    calibrate(net, lambda: net(next(left)), 5)
    first = np.concatenate([net[0](b).detach().numpy() for b in batches])
    np.testing.assert_allclose(net[1].running_mean.numpy(), first.mean(0))
    np.testing.assert_allclose(net[1].running_var.numpy(), first.var(0))
    hidden = [np.maximum((a := net[0](b).detach().numpy()) - a.mean(0), 0) / np.sqrt(a.var(0) + 1e-5) for b in batches]
    np.testing.assert_allclose(net[3].running_var.numpy(), np.concatenate(hidden).var(0))
    assert [part.training for part in net] == [False, True, False, False]
    assert not any(part._forward_pre_hooks for part in net.modules())


def test_calibration_restores_flags_and_hooks_when_the_forward_fails() -> None:
    net = nn.Sequential(BatchNorm(3)).eval()
    with pytest.raises(ZeroDivisionError):
        calibrate(net, lambda: 1 // 0, 1)
    assert not net[0].training and not net[0]._forward_pre_hooks and net[0].calibrated.item() == 0


def test_calibration_needs_a_batch_and_tolerates_a_network_without_norms() -> None:
    with pytest.raises(ConfigError, match="n=0"):
        calibrate(BatchNorm(2), lambda: None, 0)
    calibrate(nn.Linear(2, 2), lambda: 1 // 0, 1)  # nothing to fill: the forward is not even run


def test_an_uncalibrated_batch_norm_uses_the_batch_in_evaluation() -> None:
    norm, x = BatchNorm(3), 5 + torch.randn(8, 3)
    assert torch.equal(norm.train()(x), norm.eval()(x))


@pytest.mark.parametrize("pixels", [(), (2, 3)])
def test_virtual_batch_norm_is_salimans_formula(pixels: tuple[int, ...]) -> None:
    norm = VirtualBatchNorm(2, reference=4, eps=0.0).double()
    fixed, x = (torch.randn(rows, 2, *pixels, dtype=torch.float64).numpy() for rows in (4, 3))
    out = norm(torch.from_numpy(np.concatenate([fixed, x]))).detach().numpy()[4:]
    dims = tuple(range(2, x.ndim))
    for row in range(3):
        for channel in range(2):
            mean = x[row, channel].mean() / 5 + 4 / 5 * fixed[:, channel].mean()
            second = (x[row, channel] ** 2).mean() / 5 + 4 / 5 * (fixed[:, channel] ** 2).mean()
            expected = (x[row, channel] - mean) / math.sqrt(second - mean**2)
            np.testing.assert_allclose(out[row, channel], expected)
    assert len(dims) == len(pixels)


def test_under_virtual_batch_norm_an_example_does_not_see_the_others_and_under_batch_norm_it_does() -> None:
    x = torch.randn(6, 3)
    for norm, independent in ((VirtualBatchNorm(4, 8), True), (BatchNorm(4), False)):
        body = nn.Sequential(nn.Linear(3, 4), norm, nn.Tanh())
        net = WithReference(body, torch.randn(8, 3))
        other = torch.cat([x[:1], 10 * torch.randn(5, 3)])
        assert torch.equal(net(x)[0], net(other)[0]) is independent


# Spectral norm -------------------------------------------------------------------------------------------------------

SPECTRAL = {
    "linear": lambda: nn.Linear(128, 128),
    "tall": lambda: nn.Linear(20, 300),
    "to one": lambda: nn.Linear(64, 1),
    "convolution": lambda: nn.Conv2d(16, 32, 4, 2, 1),
    "transposed": lambda: nn.ConvTranspose2d(16, 32, 4, 2, 1),
}


def largest(layer: SpectralNorm) -> float:
    """The largest singular value of the weight in use, by numpy; outputs are rows."""
    weight = layer.weight().detach().double().numpy()
    if isinstance(layer.layer, nn.ConvTranspose2d):
        weight = weight.swapaxes(0, 1)
    return float(np.linalg.svd(weight.reshape(weight.shape[0], -1), compute_uv=False)[0])


@pytest.mark.parametrize("init", ["default", "normal02", "orthogonal", "kaiming"])
@pytest.mark.parametrize("name", SPECTRAL)
def test_the_largest_singular_value_is_one(name: str, init: str) -> None:
    layer = SpectralNorm(SPECTRAL[name]())
    assert 0.95 < largest(layer) < 1.05
    initialise(layer, init)  # warms the vectors up for the new weights
    assert 0.95 < largest(layer) < 1.05


def test_a_step_of_power_iteration_is_numpys() -> None:
    layer = SpectralNorm(nn.Linear(5, 3)).double()
    with torch.no_grad():
        layer.layer.weight.copy_(torch.randn(3, 5))
    weight, u = layer.layer.weight.detach().numpy(), layer.u.numpy().copy()
    v = weight.T @ u
    v /= np.linalg.norm(v)
    expected = np.linalg.norm(weight @ v)
    advance_spectral_norms(nn.Sequential(layer))
    np.testing.assert_allclose(layer.v.numpy(), v)
    assert layer.sigma().item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rate", [1e-4, 2e-4])  # the learning rates of the paper's table 1
def test_one_step_of_power_iteration_a_turn_follows_a_weight_that_is_trained(rate: float) -> None:
    layer = SpectralNorm(nn.Linear(64, 64))
    optimizer = torch.optim.Adam(layer.parameters(), lr=rate)
    x = torch.randn(32, 64)
    for _ in range(200):
        optimizer.zero_grad()
        (-layer(x)[:, 0]).mean().backward()
        optimizer.step()
        advance_spectral_norms(layer)
    assert 0.95 < largest(layer) < 1.05


@pytest.mark.parametrize("name", SPECTRAL)
def test_spectral_norm_only_divides_the_weight(name: str) -> None:
    inner = SPECTRAL[name]()
    layer = SpectralNorm(inner)
    x = torch.randn(3, inner.in_features) if isinstance(inner, nn.Linear) else torch.randn(3, 16, 6, 6)
    bias = inner.bias.reshape(1, -1, *[1] * (x.ndim - 2))
    torch.testing.assert_close(layer(x), (inner(x) - bias) / layer.sigma() + bias, rtol=1e-4, atol=1e-5)


def test_singular_vectors_move_in_an_ensemble_as_alone() -> None:
    copies = [SpectralNorm(nn.Linear(4, 3)) for _ in range(2)]
    for copy in copies:
        nn.init.normal_(copy.layer.weight)
    parameters, buffers = stack_module_state(copies)

    class Advance(nn.Module):
        def __init__(self, inside: nn.Module) -> None:
            super().__init__()
            self.inside = inside

        def forward(self) -> Tensor:
            advance_spectral_norms(self.inside)
            u: Tensor = self.inside.u
            return u

    holder = Advance(copies[0])

    def moved(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        state = {f"inside.{key}": value for key, value in (parameters | buffers).items()}
        u: Tensor = functional_call(holder, state, ())
        return u

    together = vmap(moved)(parameters, {key: value.clone() for key, value in buffers.items()})
    for copy in copies:
        advance_spectral_norms(copy)
    torch.testing.assert_close(together, torch.stack([copy.u for copy in copies]))


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(2, 2, 3, padding_mode="reflect")])
def test_spectral_norm_refuses_what_it_does_not_normalise(layer: nn.Module) -> None:
    with pytest.raises(ConfigError, match="no spectral norm"):
        SpectralNorm(layer)  # type: ignore[arg-type]


# Initialisation ------------------------------------------------------------------------------------------------------

WIDE = {
    "linear": (lambda: nn.Linear(200, 300), 200, 300),
    "convolution": (lambda: nn.Conv2d(40, 60, 4, 2, 1), 640, 240),
    "transposed": (lambda: nn.ConvTranspose2d(60, 40, 4, 2, 1), 240, 640),
}


@pytest.mark.parametrize("name", WIDE)
def test_each_initialisation_has_the_spread_of_its_paper(name: str) -> None:
    make, fan_in, fan_out = WIDE[name]
    spread = {
        "normal02": 0.02,
        "uniform05": 0.05 / math.sqrt(3),
        "uniform005": 0.005 / math.sqrt(3),
        "kaiming": math.sqrt(2 / fan_in),
        "xavier": math.sqrt(2 / (fan_in + fan_out)),
    }
    for init, expected in spread.items():
        layer = initialise(make(), init)
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.02)
        assert layer.weight.mean().item() == pytest.approx(0, abs=expected / 20)
        assert layer.bias.abs().max().item() == 0


def test_the_orthogonal_initialisation_is_orthogonal_with_gain_eight_tenths() -> None:
    weight = initialise(nn.Linear(50, 20), "orthogonal").weight.detach().double().numpy()
    np.testing.assert_allclose(weight @ weight.T, 0.64 * np.eye(20), atol=1e-6)


def test_kaiming_keeps_the_size_of_signals_through_a_strided_pair() -> None:
    down = initialise(nn.Sequential(*[m for _ in range(3) for m in (nn.Conv2d(64, 64, 4, 2, 1), nn.ReLU())]), "kaiming")
    up = initialise(
        nn.Sequential(*[m for _ in range(3) for m in (nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU())]), "kaiming"
    )
    with torch.no_grad():
        assert 0.5 < down(torch.randn(8, 64, 32, 32)).square().mean() < 2
        assert 0.5 < up(torch.randn(8, 64, 4, 4)).square().mean() < 2


@pytest.mark.parametrize("init", INITS)
def test_initialisation_reads_the_global_generator_and_nothing_else(init: str) -> None:
    nets = []
    for _ in range(2):
        net = ConvPair(width=2, norm="batch", spectral_norm=True).discriminator((1, 8, 8))
        torch.manual_seed(5)
        nets.append(initialise(net, init))
    first, second = (dict(net.named_parameters()) for net in nets)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_fix_up_starts_blocks_as_the_identity_and_scales_the_others() -> None:
    block, x = ResidualBlock(32), torch.randn(2, 32, 4, 4)
    block.fixup(blocks=16)
    assert torch.equal(block(x), x)
    assert block.first.weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)) / 4, rel=0.05)


def test_an_unknown_initialisation_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="init='kaiming'"):
        initialise(nn.Linear(2, 2), "kaimng")
