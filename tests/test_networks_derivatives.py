"""Every layer: three derivatives against finite differences, transforms against loops, no write in a forward."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, stack_module_state, vjp, vmap

from equilibria.networks import (
    BatchNorm,
    CanvasPair,
    ConvPair,
    Downsample,
    Frozen,
    GrowingPair,
    InstanceNorm,
    LayerNorm,
    Maxout,
    MaxoutPair,
    MinibatchDeviation,
    MinibatchDiscrimination,
    MLPPair,
    PatchGAN,
    ReflectionPad,
    ResidualBlock,
    ResNet,
    ResPair,
    SelfAttention,
    SpectralNorm,
    UNet,
    Upsample,
    VirtualBatchNorm,
    WithReference,
    activation,
    initialise,
)

Make = Callable[[], nn.Module]

LAYERS: dict[str, tuple[Make, tuple[int, ...]]] = {
    **{
        f"activation {name}": (lambda name=name: activation(name), (3, 4))
        for name in ("relu", "leaky_relu", "elu", "silu", "softplus", "tanh")
    },
    "Maxout": (lambda: Maxout(3, 2, pieces=3), (4, 3)),
    "Upsample": (Upsample, (2, 2, 2, 3)),
    "Downsample": (Downsample, (2, 2, 4, 2)),
    "BatchNorm of vectors": (lambda: BatchNorm(3), (5, 3)),
    "BatchNorm of images": (lambda: BatchNorm(2), (3, 2, 2, 2)),
    "BatchNorm in evaluation": (lambda: BatchNorm(3).eval(), (5, 3)),
    "LayerNorm of vectors": (lambda: LayerNorm(4), (3, 4)),
    "LayerNorm of images": (lambda: LayerNorm(2), (2, 2, 2, 2)),
    "InstanceNorm": (lambda: InstanceNorm(2), (2, 2, 2, 3)),
    "ReflectionPad": (lambda: ReflectionPad(1), (2, 1, 2, 3)),
    "VirtualBatchNorm of vectors": (lambda: VirtualBatchNorm(3, reference=3), (6, 3)),
    "VirtualBatchNorm of images": (lambda: VirtualBatchNorm(2, reference=2), (4, 2, 2, 2)),
    "WithReference": (
        lambda: WithReference(nn.Sequential(nn.Linear(2, 3), VirtualBatchNorm(3, 4), nn.Tanh()), torch.randn(4, 2)),
        (3, 2),
    ),
    "SpectralNorm of a linear map": (lambda: SpectralNorm(nn.Linear(3, 4)), (3, 3)),
    "SpectralNorm of a convolution": (lambda: SpectralNorm(nn.Conv2d(2, 3, 2, 2)), (2, 2, 4, 4)),
    "SpectralNorm of a transposed convolution": (lambda: SpectralNorm(nn.ConvTranspose2d(2, 3, 2, 2)), (2, 2, 2, 2)),
    "ResidualBlock": (lambda: initialise(ResidualBlock(2, "tanh"), "kaiming"), (2, 2, 3, 3)),
    "SelfAttention": (lambda: SelfAttention(2), (2, 2, 2, 3)),
    "SelfAttention, normalised": (lambda: SelfAttention(3, spectral_norm=True), (1, 3, 2, 2)),
    "MinibatchDiscrimination": (lambda: MinibatchDiscrimination(3, kernels=2, dimensions=2), (4, 3)),
    "MinibatchDeviation": (MinibatchDeviation, (3, 2, 2, 2)),
    "Frozen": (lambda: Frozen(nn.Sequential(nn.Linear(3, 4), nn.Tanh())), (3, 3)),
}

NETWORKS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "MLPPair generator": (lambda: MLPPair(width=4, depth=2, norm="batch").generator(2, (3,)), (4, 2)),
    "MLPPair discriminator": (
        lambda: MLPPair(width=4, depth=2, discriminator_norm="layer", spectral_norm=True).discriminator((3,)),
        (4, 3),
    ),
    "MaxoutPair discriminator": (
        lambda: MaxoutPair(
            discriminator_width=4, input_dropout=0.0, dropout=0.0, discriminator_init="xavier"
        ).discriminator((3,)),
        (4, 3),
    ),
    "ConvPair generator": (lambda: ConvPair(width=2, norm="batch").generator(2, (1, 8, 8)), (3, 2)),
    "ConvPair discriminator": (
        lambda: ConvPair(width=2, norm="layer", spectral_norm=True).discriminator((1, 8, 8)),
        (3, 1, 8, 8),
    ),
    "ConvPair generator with attention": (
        lambda: ConvPair(
            width=2, generator_norm="virtual", reference=2, generator_spectral=True, attention=1
        ).generator(2, (1, 8, 8)),
        (3, 2),
    ),
    "CanvasPair generator": (
        lambda: CanvasPair(steps=2, code=2, pair=ConvPair(width=2)).generator(2, (1, 8, 8)),
        (2, 2),
    ),
    "GrowingPair generator": (lambda: GrowingPair(width=4, least=2, fade=0.5).generator(2, (1, 8, 8)), (2, 2)),
    "GrowingPair discriminator": (lambda: GrowingPair(width=4, least=2).discriminator((1, 8, 8)), (3, 1, 8, 8)),
    "UNet": (lambda: UNet(width=2).build((1, 8, 8), (1, 8, 8)), (2, 1, 8, 8)),
    "ResNet": (lambda: ResNet(width=2, blocks=1, halvings=1).build((1, 8, 8), (1, 8, 8)), (2, 1, 8, 8)),
    "PatchGAN": (lambda: PatchGAN(width=2, init="kaiming").build((1, 8, 8)), (2, 1, 8, 8)),
    "ResPair generator": (lambda: ResPair(width=2).generator(2, (1, 8, 8)), (3, 2)),
    "ResPair discriminator": (lambda: ResPair(width=2).discriminator((1, 8, 8)), (3, 1, 8, 8)),
}

ALL = LAYERS | NETWORKS


def made(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor]:
    """The module, its parameters moved off any special start, and an input."""
    make, shape = ALL[name]
    torch.manual_seed(3)
    module = make().to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module, torch.randn(shape, dtype=dtype)


def flat(module: nn.Module, x: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A curved number as a function of input and parameters together, and the point where we stand."""
    names = [name for name, _ in module.named_parameters()]
    parts = [x, *(p.detach() for p in module.parameters())]
    sizes = [part.numel() for part in parts]
    with torch.no_grad():
        weights = torch.linspace(0.5, 1.5, module(x).numel(), dtype=x.dtype)

    def value(point: Tensor) -> Tensor:
        pieces = [piece.view_as(part) for piece, part in zip(point.split(sizes), parts, strict=True)]
        out = functional_call(module, dict(zip(names, pieces[1:], strict=True)), (pieces[0],))
        return (weights * out.flatten()).sin().sum()

    return value, torch.cat([part.flatten() for part in parts])


def along(value: Callable[[Tensor], Tensor], point: Tensor, *directions: Tensor) -> tuple[Tensor, Tensor]:
    """The derivative of ``value`` along all the directions but the last, and along all of them, by autograd."""
    point = point.detach().requires_grad_()
    last = now = value(point)
    for direction in directions:
        last = now
        (slope,) = torch.autograd.grad(now, point, create_graph=True)
        now = slope @ direction
    return last, now


@pytest.mark.parametrize("name", LAYERS)
def test_first_and_second_derivatives_are_those_of_finite_differences(name: str) -> None:
    module, x = made(name)
    names = [n for n, _ in module.named_parameters()]
    inputs = [x.requires_grad_(), *(p.detach().clone().requires_grad_() for p in module.parameters())]

    def out(x: Tensor, *parameters: Tensor) -> Tensor:
        result: Tensor = functional_call(module, dict(zip(names, parameters, strict=True)), (x,))
        return result

    assert gradcheck(out, inputs)
    assert gradgradcheck(out, inputs)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_each_derivative_is_the_finite_difference_of_the_one_before(name: str, order: int) -> None:
    value, point = flat(*made(name))
    directions = torch.randn(order, point.numel(), dtype=point.dtype) / math.sqrt(point.numel())
    step = 1e-5
    above, _ = along(value, point + step * directions[-1], *directions)
    below, _ = along(value, point - step * directions[-1], *directions)
    _, exact = along(value, point, *directions)
    scale = 1e-3 + exact.abs().item()
    assert abs((above - below).item() / (2 * step) - exact.item()) < 1e-5 * scale


@pytest.mark.skipif(not torch.__version__.startswith("2.13."), reason="shows a fault of torch 2.13 (issue 186256)")
@pytest.mark.parametrize("make", [lambda: nn.LayerNorm(4), lambda: nn.BatchNorm1d(4)])
def test_the_third_derivative_of_torchs_own_norms_is_wrong(make: Make) -> None:
    module, x = make().double(), torch.randn(5, 4, dtype=torch.float64)
    value, point = flat(module, x)
    directions = torch.randn(3, point.numel(), dtype=point.dtype) / math.sqrt(point.numel())
    above, _ = along(value, point + 1e-5 * directions[-1], *directions)
    below, _ = along(value, point - 1e-5 * directions[-1], *directions)
    _, exact = along(value, point, *directions)
    assert abs((above - below).item() / 2e-5 - exact.item()) > 1e-3 * abs(exact.item())


def penalised(module: nn.Module, state: dict[str, Tensor], x: Tensor) -> Tensor:
    """A loss with a slope in it, as a game with a gradient penalty has."""

    def out(x: Tensor) -> Tensor:
        result: Tensor = functional_call(module, state, (x,))
        return result.sin().sum()

    value, pull = vjp(out, x)
    (slope,) = pull(torch.ones_like(value))
    return value + slope.square().sum()


@pytest.mark.parametrize("name", ALL)
def test_gradients_of_stacked_copies_are_those_of_each_alone(name: str) -> None:
    lone, x = made(name)
    other, _ = made(name)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    copies = [lone, other]
    for copy in copies:
        copy.train(lone.training)
    parameters, buffers = stack_module_state(copies)

    def gradient(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = torch.func.grad(lambda p, x: penalised(lone, p | buffers, x), argnums=(0, 1))(
            parameters, x
        )
        return found[0] | {"x": found[1]}

    points = torch.stack([x, 1.2 * x])
    together = vmap(gradient)(parameters, buffers, points)
    for index, copy in enumerate(copies):
        own, point = dict(copy.named_parameters()), points[index].clone().requires_grad_()
        grads = torch.autograd.grad(penalised(copy, own, point), [*own.values(), point], allow_unused=True)
        for key, grad in zip([*own, "x"], grads, strict=True):
            expected = torch.zeros_like(together[key][index]) if grad is None else grad
            torch.testing.assert_close(together[key][index], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ALL)
def test_a_slope_of_a_slope_is_the_same_by_vjp_and_by_autograd(name: str) -> None:
    value, point = flat(*made(name))
    direction = torch.randn_like(point)

    def slope(point: Tensor) -> Tensor:
        out, pull = vjp(value, point)
        found: Tensor = pull(torch.ones_like(out))[0]
        return found

    product = vjp(slope, point)[1](direction)[0]
    position = point.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(value(position), position, create_graph=True)
    (expected,) = torch.autograd.grad(gradient @ direction, position)
    torch.testing.assert_close(product, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("name", ALL)
def test_a_forward_writes_nothing(name: str, mode: bool) -> None:
    module, x = made(name, torch.float32)
    module.train(mode)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    first, second = module(x), module(x)
    assert torch.equal(first, second)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("name", ["MLPPair generator", "MLPPair discriminator", "ConvPair discriminator"])
def test_networks_trace_without_a_graph_break(name: str) -> None:
    module, x = made(name, torch.float32)
    traced = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(traced(x), module(x))
