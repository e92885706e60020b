"""The architecture guidelines of Radford et al. 2016 (section 3), one rule a check, on the modules that dcgan builds.

The layers are those that a forward pass reaches, in the order in which it reaches them. Each rule is shown to fail on
networks that break it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from equilibria.base.errors import ShapeError
from equilibria.base.randomness import reseed
from equilibria.core.optimizers import Adam
from equilibria.data import DataSpec
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import NonSaturating
from equilibria.networks import BatchNorm, ConvPair
from equilibria.recipes import RECIPES

ROW = RECIPES["dcgan"]
SHAPES = [(3, 64, 64), (1, 28, 28), (3, 32, 32), (1, 16, 16)]
WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample)
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.SiLU, nn.GELU, nn.Softplus)


@dataclasses.dataclass(frozen=True)
class Layers:
    """Both networks' layers in the order of a forward pass, with the shapes that go in and out."""

    generator: list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]]
    discriminator: list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]]

    def sides(self) -> Iterator[list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]]]:
        yield self.generator
        yield self.discriminator


def reached(net: nn.Module, x: Tensor) -> list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]]:
    """The layers without children that a forward pass reaches."""
    seen: list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]] = []

    def note(layer: nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
        seen.append((layer, tuple(args[0].shape[1:]), tuple(out.shape[1:])))

    hooks = [m.register_forward_hook(note) for m in net.modules() if not list(m.children())]
    net(x)
    for hook in hooks:
        hook.remove()
    return seen


def layers(networks: ConvPair, shape: tuple[int, int, int]) -> Layers:
    reseed(0)
    generator, discriminator = networks.generator(100, shape), networks.discriminator(shape)
    return Layers(reached(generator, torch.zeros(2, 100)), reached(discriminator, torch.zeros(2, *shape)))


# The rules -----------------------------------------------------------------------------------------------------------


def sides_change_by_strided_convolutions_alone(found: Layers) -> None:
    """Rule 1: strided convolutions (D) and fractionally strided convolutions (G) in place of pooling."""
    for side, kind in ((found.generator, nn.ConvTranspose2d), (found.discriminator, nn.Conv2d)):
        assert not any(isinstance(layer, POOLS) for layer, _, _ in side)
        for layer, given, gives in side:
            if len(given) == len(gives) == 3 and given[1:] != gives[1:]:
                assert isinstance(layer, kind) and layer.stride == (2, 2)
        assert any(isinstance(layer, kind) for layer, _, _ in side)


def every_layer_but_two_is_normalised(found: Layers) -> None:
    """Rule 2: batch norm after every layer but the generator's output and the discriminator's input (and its logit)."""
    for side, bare in ((found.generator, {-1}), (found.discriminator, {0, -1})):
        weighted = [i for i, (layer, _, _) in enumerate(side) if isinstance(layer, WEIGHTED)]
        exempt = {weighted[i] for i in bare}
        for i in weighted:
            following = next(
                (layer for layer, _, _ in side[i + 1 :] if isinstance(layer, (BatchNorm, *WEIGHTED, *ACTIVATIONS))),
                None,
            )
            assert isinstance(following, BatchNorm) == (i not in exempt), f"layer {i}"
        norms = [m for m, _, _ in side if "norm" in type(m).__name__.lower()]
        assert all(type(norm) is BatchNorm for norm in norms) and norms, "norms of our own"


def nothing_hidden_is_fully_connected(found: Layers) -> None:
    """Rule 3: no dense layer but the projection of the code and the logit of the last map, flattened."""
    for side, place in ((found.generator, 0), (found.discriminator, -1)):
        weighted = [(layer, gives) for layer, _, gives in side if isinstance(layer, WEIGHTED)]
        dense = [i for i, (layer, _) in enumerate(weighted) if isinstance(layer, nn.Linear)]
        assert dense == [range(len(weighted))[place]]
    assert next(gives for layer, _, gives in found.discriminator[::-1] if isinstance(layer, nn.Linear)) == (1,)


def activations_are_relu_up_and_leaky_down(found: Layers) -> None:
    """Rules 4 and 5: ReLU in G but for a tanh at its output; LeakyReLU of slope 0.2 in all of D."""
    up = [layer for layer, _, _ in found.generator if isinstance(layer, ACTIVATIONS)]
    down = [layer for layer, _, _ in found.discriminator if isinstance(layer, ACTIVATIONS)]
    assert isinstance(up[-1], nn.Tanh) and all(isinstance(layer, nn.ReLU) for layer in up[:-1]) and len(up) > 1
    assert down and all(isinstance(layer, nn.LeakyReLU) and layer.negative_slope == 0.2 for layer in down)
    hidden = [sum(isinstance(layer, WEIGHTED) for layer, _, _ in side) for side in found.sides()]
    assert (len(up), len(down)) == (hidden[0], hidden[1] - 1), "one after every layer but the logit"


def weights_are_normal_of_deviation_002(found: Layers) -> None:
    """Section 4: weights from N(0, 0.02), all of them together by a Kolmogorov-Smirnov test."""
    for side in found.sides():
        weights = torch.cat([m.weight.detach().flatten() for m, _, _ in side if isinstance(m, WEIGHTED)])
        some = weights[torch.randperm(len(weights), generator=torch.Generator().manual_seed(1))[:5000]]
        assert stats.kstest(some.numpy(), stats.norm(0, 0.02).cdf).pvalue > 1e-3
        assert all(not bool(m.bias.any()) for m, _, _ in side if isinstance(m, WEIGHTED) and m.bias is not None)


RULES = (
    sides_change_by_strided_convolutions_alone,
    every_layer_but_two_is_normalised,
    nothing_hidden_is_fully_connected,
    activations_are_relu_up_and_leaky_down,
    weights_are_normal_of_deviation_002,
)


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def built(request: pytest.FixtureRequest) -> Layers:
    assert isinstance(ROW.networks, ConvPair)
    return layers(ROW.networks, request.param)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule: Callable[[Layers], None], built: Layers) -> None:
    rule(built)


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.LeakyReLU(0.2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 8),
            nn.LeakyReLU(0.2), nn.Linear(8, 1)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


def planted(rule: Callable[[Layers], None]) -> Layers:
    """Networks that break a rule."""
    good = layers(ConvPair(width=8, norm="batch", generator_activation="relu", init="normal02"), (1, 16, 16))
    pooled = dataclasses.replace(good, discriminator=reached(Pooled(), torch.zeros(2, 1, 16, 16)))
    return {
        sides_change_by_strided_convolutions_alone: pooled,
        nothing_hidden_is_fully_connected: pooled,
        every_layer_but_two_is_normalised: layers(
            ConvPair(width=8, norm="layer", generator_activation="relu", init="normal02"), (1, 16, 16)
        ),
        activations_are_relu_up_and_leaky_down: layers(ConvPair(width=8, norm="batch", init="normal02"), (1, 16, 16)),
        weights_are_normal_of_deviation_002: layers(
            ConvPair(width=8, norm="batch", generator_activation="relu", init="kaiming"), (1, 16, 16)
        ),
    }[rule]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_network_that_breaks_the_rule_is_caught(rule: Callable[[Layers], None]) -> None:
    with pytest.raises(AssertionError):
        rule(planted(rule))


def test_the_smallest_maps_of_a_64_pixel_image_are_4_by_4() -> None:
    """Figure 1: the code is projected to 4 x 4, and four fractionally strided convolutions make 64 x 64."""
    assert isinstance(ROW.networks, ConvPair)
    found = layers(ROW.networks, (3, 64, 64))
    ups = [(given, gives) for layer, given, gives in found.generator if isinstance(layer, nn.ConvTranspose2d)]
    assert [gives[1] for _, gives in ups] == [8, 16, 32, 64] and ups[0][0][1:] == (4, 4)
    downs = [gives for layer, _, gives in found.discriminator if isinstance(layer, nn.Conv2d)]
    assert [gives[1] for gives in downs] == [32, 16, 8, 4]
    assert [given[0] for given, _ in ups] == [512, 256, 128, 64] and [gives[0] for gives in downs] == [
        64,
        128,
        256,
        512,
    ]


def test_training_is_as_section_4_says() -> None:
    game, adam = ROW.game, ROW.optimizer
    assert isinstance(game, TwoPlayer) and isinstance(adam, Adam)
    assert game.objective == NonSaturating() and game.penalties == game.terms == ()
    assert (game.latent.size, game.latent.law) == (100, "uniform")  # type: ignore[attr-defined]
    assert (adam.lr, adam.betas, ROW.batch, ROW.optimizers) == (2e-4, (0.5, 0.999), 128, ())
    codes = game.latent.entries(4000, None, {})["latent"]
    assert float(codes.abs().max()) <= 1 and stats.kstest(codes[:, 0].numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_samples_are_in_the_range_of_the_images() -> None:
    reseed(0)
    game = ROW.game.build(
        ConvPair(width=4, norm="batch", generator_activation="relu"), DataSpec(kind="image", shape=(1, 16, 16))
    )
    made = game.get_submodule("generator")(30 * torch.randn(64, 100))
    assert float(made.detach().abs().max()) <= 1 and math.isfinite(float(made.detach().sum()))


def test_vectors_are_refused_with_what_to_use() -> None:
    with pytest.raises(ShapeError) as told:
        ROW.game.build(ROW.networks, DataSpec(kind="vector", shape=(2,)))
    assert "MLPPair" in told.value.fix
