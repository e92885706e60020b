"""Pairs of architectures: shapes, labels, counts, records, and the rules of the papers."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equilibria.base.errors import ConfigError, ShapeError
from equilibria.base.records import decode, encode
from equilibria.base.settings import replace_at
from equilibria.networks import (
    Auto,
    BatchNorm,
    CanvasPair,
    ConvPair,
    EnergyPair,
    Maxout,
    MaxoutPair,
    MLPPair,
    Networks,
    ResPair,
    SpectralNorm,
    one_hot,
)
from equilibria.networks.layers import Reshape

DCGAN = ConvPair(width=64, norm="batch", generator_activation="relu", init="normal02")
RING = MLPPair(depth=2, discriminator_depth=1, activation="relu", init="orthogonal", input_scale=0.25)

SMALL: dict[str, Networks] = {
    "mlp": MLPPair(width=8, depth=2),
    "mlp, projection": MLPPair(width=8, depth=2, condition="projection"),
    "maxout": MaxoutPair(width=8, discriminator_width=8),
    "conv": ConvPair(width=4),
    "conv, concat": ConvPair(width=4, condition="concat"),
    "conv, batch, spectral": ConvPair(width=4, norm="batch", spectral_norm=True),
    "conv, attention": ConvPair(
        width=4, attention=2, generator_spectral=True, spectral_norm=True, minibatch="deviation"
    ),
    "conv, virtual": ConvPair(width=4, generator_norm="virtual", reference=3, minibatch="discrimination"),
    "conv, dense": ConvPair(width=4, generator_width=6, dense=(7, 5)),
    "mlp, minibatch": MLPPair(width=8, depth=2, minibatch="discrimination"),
    "canvas": CanvasPair(steps=2, code=4, pair=ConvPair(width=4)),
    "residual": ResPair(width=4),
    "residual, concat": ResPair(width=4, condition="concat", output="tanh"),
    "energy": EnergyPair(pair=Auto(vector=MLPPair(width=8), image=ConvPair(width=4)), code=3),
    "auto": Auto(vector=MLPPair(width=8), image=ConvPair(width=4)),
}
TAKES_VECTORS = ["mlp", "mlp, projection", "mlp, minibatch", "maxout", "energy", "auto"]
IMAGES = [(c, s, s) for s in (8, 16, 28, 32) for c in (1, 3)] + [(1, 8, 16), (2, 12, 10)]
CASES = [(name, shape) for name in SMALL for shape in IMAGES] + [(name, (d,)) for name in TAKES_VECTORS for d in (1, 2)]


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_shapes(name: str, shape: tuple[int, ...], classes: int) -> None:
    pair = SMALL[name]
    y = one_hot(torch.tensor([0, 1, 2, 0]), classes) if classes else None
    points = pair.generator(5, shape, classes)(torch.randn(4, 5), y)
    assert points.shape == (4, *shape)
    assert pair.discriminator(shape, classes)(points, y).shape == (4,)
    trunk = pair.trunk(shape, classes)
    assert trunk(points, y).shape == (4, trunk.features)
    assert pair.encoder(shape, 6)(points).shape == (4, 6)


@pytest.mark.parametrize("name", SMALL)
def test_a_label_changes_what_both_say(name: str) -> None:
    pair = SMALL[name]
    G, D = pair.generator(5, (1, 8, 8), 3).eval(), pair.discriminator((1, 8, 8), 3).eval()
    z, x = torch.randn(4, 5), torch.randn(4, 1, 8, 8)
    first, second = (one_hot(torch.full((4,), k), 3) for k in (0, 1))
    assert ((G(z, first) - G(z, second)).abs().flatten(1).amax(1) > 0).all()
    assert ((D(x, first) - D(x, second)).abs() > 0).all()


def test_a_projection_is_linear_in_the_label() -> None:
    D = SMALL["conv"].discriminator((1, 8, 8), 3).double()
    x, y = torch.randn(4, 1, 8, 8, dtype=torch.float64), torch.rand(4, 3, dtype=torch.float64)
    phi = D.trunk(x)
    expected = D.logit(phi)[:, 0] + torch.einsum("nk,kf,nf->n", y, D.embed.weight, phi)
    torch.testing.assert_close(D(x, y), expected)


def test_the_generators_own_width_and_dense_layers_leave_the_discriminator_as_it_is() -> None:
    """Parameters counted by hand: codes 5 + 3 classes -> 7 -> 5 -> 12 x 7 x 7, then 12 to 6 to 1 channels by 4 x 4."""
    pair, shape = ConvPair(width=4, generator_width=6, dense=(7, 5)), (1, 28, 28)
    smallest = 12 * 7 * 7
    wanted = (8 * 7 + 7) + (7 * 5 + 5) + (5 * smallest + smallest) + (12 * 6 * 16 + 6) + (6 * 16 + 1)
    assert count(pair.generator(5, shape, 3)) == wanted
    linear, curved = nn.Linear, nn.LeakyReLU
    assert [type(layer) for layer in pair.generator(5, shape, 3).body[:5]] == [linear, curved, linear, curved, linear]
    assert count(pair.discriminator(shape, 3)) == count(ConvPair(width=4).discriminator(shape, 3))


def test_a_dense_layer_makes_the_smallest_map_curved_in_the_code() -> None:
    """Without one the first map is affine: its value at a midpoint is the mean of its values at the ends."""
    for dense, curved in (((), False), ((9,), True)):
        torch.manual_seed(0)
        body = ConvPair(width=4, dense=dense).generator(5, (1, 8, 8)).double().body
        first = next(i for i, layer in enumerate(body) if isinstance(layer, Reshape))
        a, b = torch.randn(2, 3, 5, dtype=torch.float64)
        apart = (body[:first]((a + b) / 2) - (body[:first](a) + body[:first](b)) / 2).abs().max()
        assert bool(apart > 1e-3) == curved
        assert curved or apart < 1e-12


@pytest.mark.parametrize("value", [*SMALL.values(), DCGAN, RING, Auto(), ResPair(), MaxoutPair(), MLPPair()])
def test_records_go_to_json_and_back(value: Networks) -> None:
    assert decode(json.loads(json.dumps(encode(value)))) == value


def test_a_setting_inside_auto_is_reached_by_its_path() -> None:
    assert replace_at(Auto(), "image.width", "16") == Auto(image=ConvPair(width=16))


@pytest.mark.parametrize("name", SMALL)
def test_the_same_seed_gives_the_same_networks(name: str) -> None:
    def state(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        built = nn.ModuleList([SMALL[name].generator(4, (1, 8, 8)), SMALL[name].discriminator((1, 8, 8))])
        return dict(built.state_dict())

    first, same, other = state(1), state(1), state(2)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", ["mlp", "conv", "residual", "maxout"])
def test_a_norm_free_score_depends_on_its_own_point_only(name: str) -> None:
    D = SMALL[name].discriminator((1, 8, 8)).eval()
    x = torch.randn(5, 1, 8, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(D(x)[2], x)
    assert (slope.flatten(1).abs().amax(1) > 0).tolist() == [False, False, True, False, False]


# Counts in closed form -----------------------------------------------------------------------------------------------


def test_counts_of_perceptrons() -> None:
    assert count(MLPPair().generator(64, (2,))) == 64 * 128 + 128 + 2 * (128 * 128 + 128) + 128 * 2 + 2
    assert count(MLPPair().discriminator((2,), 8)) == 10 * 128 + 128 + 2 * (128 * 128 + 128) + 129
    projected = MLPPair(condition="projection").discriminator((2,), 8)
    assert count(projected) == 2 * 128 + 128 + 2 * (128 * 128 + 128) + 129 + 8 * 128
    batch = MLPPair(width=4, depth=1, norm="batch").generator(3, (2,))
    assert count(batch) == 3 * 4 + 2 * 4 + 4 * 2 + 2  # no bias in front of a batch norm


def test_counts_of_goodfellows_networks() -> None:
    G, D = MaxoutPair().generator(100, (1, 28, 28)), MaxoutPair().discriminator((1, 28, 28))
    assert count(G) == 101 * 1200 + 1201 * 1200 + 1201 * 784
    assert count(D) == 785 * 1200 + 241 * 1200 + 241


def test_counts_of_convolutions() -> None:
    D = ConvPair(width=8).discriminator((3, 32, 32))
    assert count(D) == 3 * 8 * 16 + 8 + 8 * 16 * 16 + 16 + 16 * 32 * 16 + 32 + 32 * 16 + 1
    G = ConvPair(width=8).generator(10, (1, 28, 28))
    assert count(G) == 11 * 16 * 49 + 16 * 8 * 16 + 8 + 8 * 1 * 16 + 1
    capped = ConvPair(width=8, cap=1).discriminator((3, 32, 32))
    assert count(capped) == 3 * 8 * 16 + 8 + 2 * (8 * 8 * 16 + 8) + 8 * 16 + 1


# The rules of the papers ---------------------------------------------------------------------------------------------


def kinds(net: nn.Module) -> list[type]:
    return [type(part) for part in net.modules() if not list(part.children())]


def test_dcgan_keeps_the_rules_of_its_paper() -> None:
    G, D = DCGAN.generator(100, (3, 64, 64)), DCGAN.discriminator((3, 64, 64))
    up, down = kinds(G), kinds(D)
    assert not any("Pool" in kind.__name__ for kind in up + down)
    assert all(
        m.stride == (2, 2) for net in (G, D) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))
    )
    assert up.count(nn.ConvTranspose2d) == down.count(nn.Conv2d) == 4
    assert up.count(nn.Linear) == down.count(nn.Linear) == 1  # the projection of z and the logit
    assert up.count(BatchNorm) == 4 and down.count(BatchNorm) == 3  # not at the output, not at the input
    assert up[-3:-1] == [nn.ConvTranspose2d, nn.Tanh] and down[:2] == [nn.Conv2d, nn.LeakyReLU]
    assert nn.LeakyReLU not in up and nn.ReLU not in down
    assert all(m.negative_slope == 0.2 for m in D.modules() if isinstance(m, nn.LeakyReLU))
    weights = torch.cat([m.weight.flatten() for m in D.modules() if isinstance(m, nn.Conv2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert G(torch.randn(2, 100)).abs().max() <= 1


def test_the_ring_networks_are_those_of_the_unrolled_paper() -> None:
    G, D = RING.generator(256, (2,)), RING.discriminator((2,))
    assert kinds(G)[:-1] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert kinds(D) == [nn.Linear, nn.ReLU, nn.Linear]
    x = torch.randn(5, 2)
    torch.testing.assert_close(D(x), D.logit(D.trunk.body(x / 4)).squeeze(1))


def test_maxout_discriminators_drop_inputs_and_units_in_training_only() -> None:
    D = MaxoutPair(discriminator_width=16).discriminator((8,))
    assert kinds(D.trunk.body) == [nn.Dropout, nn.Linear, nn.Dropout, nn.Linear, nn.Dropout]
    assert [m.p for m in D.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.5, 0.5]
    assert sum(isinstance(m, Maxout) for m in D.modules()) == 2
    x = torch.randn(5, 8)
    assert not torch.equal(D(x), D(x))
    torch.manual_seed(7)
    first = D(x)
    torch.manual_seed(7)
    assert torch.equal(first, D(x))  # the randomness is the seeded turn's
    D.eval()
    assert torch.equal(D(x), D(x))


@pytest.mark.parametrize("name", ["conv, batch, spectral"])
def test_every_weight_of_a_spectral_discriminator_is_normalised_and_no_other(name: str) -> None:
    D = SMALL[name].discriminator((1, 8, 8), 3)
    plain = [m for m in D.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    assert len(plain) == sum(isinstance(m, SpectralNorm) for m in D.modules()) == 3
    for net in (SMALL[name].generator(4, (1, 8, 8)), SMALL[name].encoder((1, 8, 8), 4)):
        assert not any(isinstance(m, SpectralNorm) for m in net.modules())


def test_fix_up_starts_a_residual_network_without_its_branches() -> None:
    pair = ResPair(width=4, blocks=2)
    for net in (pair.generator(3, (1, 16, 16)), pair.discriminator((1, 16, 16))):
        lasts = [part for name, part in net.named_modules() if name.endswith(".last")]
        assert len(lasts) >= 4 and all(part.weight.abs().max() == 0 for part in lasts)


@pytest.mark.parametrize(
    ("pair", "shape", "ends_in_tanh"),
    [
        (MLPPair(), (2,), False),
        (MLPPair(), (1, 8, 8), True),
        (MLPPair(output="linear"), (1, 8, 8), False),
        (MLPPair(output="tanh"), (2,), True),
        (ConvPair(), (1, 8, 8), True),
        (ResPair(), (1, 8, 8), False),
    ],
)
def test_the_last_step_of_a_generator(pair: Networks, shape: tuple[int, ...], ends_in_tanh: bool) -> None:
    assert (nn.Tanh in kinds(pair.generator(4, shape))) is ends_in_tanh


def test_auto_picks_by_the_number_of_axes() -> None:
    auto = Auto()
    assert auto.pick((7,)) is auto.vector and auto.pick((1, 28, 28)) is auto.image


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given", "named"),
    [
        (MLPPair, {"width": 0}, "width=0"),
        (MLPPair, {"depth": 1.5}, r"depth is 1\.5"),
        (MLPPair, {"activation": "rleu"}, "relu"),
        (MLPPair, {"init": "xaver"}, "xavier"),
        (MLPPair, {"output": "sigmoid"}, "sigmoid"),
        (MLPPair, {"norm": "bath"}, "batch"),
        (MLPPair, {"condition": "project"}, "projection"),
        (MaxoutPair, {"dropout": 1.0}, "dropout=1.0"),
        (MaxoutPair, {"pieces": 1}, "pieces=1"),
        (ConvPair, {"kernel": 3}, "kernel=3"),
        (ConvPair, {"generator_activation": "rluu"}, "relu"),
        (ResPair, {"blocks": 0}, "blocks=0"),
    ],
)
def test_a_bad_setting_is_named_when_the_record_is_made(kind: type, given: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        kind(**given)


@pytest.mark.parametrize("shape", [(2,), (8, 8)])
@pytest.mark.parametrize("pair", [ConvPair(width=4), ResPair(width=4)])
def test_what_is_no_image_is_refused_with_a_pair_that_takes_it(pair: Networks, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"MLPPair"):
        pair.discriminator(shape)


@pytest.mark.parametrize("shape", [(28, 28), (1, 0, 8), (), (1, 2, 3, 4)])
def test_shapes_that_are_neither_vectors_nor_images_are_refused(shape: tuple[int, ...]) -> None:
    for pair in (MLPPair(), Auto()):
        with pytest.raises(ConfigError, match="no network can be built"):
            pair.generator(4, shape)


def test_sizes_that_cannot_be_built_are_refused() -> None:
    with pytest.raises(ConfigError, match="latent=0"):
        MLPPair().generator(0, (2,))
    with pytest.raises(ConfigError, match="classes=1"):
        ConvPair().discriminator((1, 8, 8), 1)


def test_a_wrong_input_says_what_came_and_what_was_expected() -> None:
    pair = MLPPair(width=4)
    G, D = pair.generator(3, (2,), 2), pair.discriminator((2,), 2)
    z, x, y = torch.zeros(5, 3), torch.zeros(5, 2), torch.zeros(5, 2)
    with pytest.raises(ShapeError, match=r"\(5, 4\).*\(n, 3\)"):
        G(torch.zeros(5, 4), y)
    with pytest.raises(ShapeError, match=r"\(5, 1, 2\).*\(n, 2\)"):
        D(x[:, None], y)
    with pytest.raises(ShapeError, match="no labels"):
        G(z)
    with pytest.raises(ShapeError, match="one_hot"):
        D(x, torch.zeros(5, dtype=torch.long))
    with pytest.raises(ShapeError, match="without classes"):
        pair.discriminator((2,))(x, y)
    with pytest.raises(ShapeError, match="no labels"):
        MLPPair(width=4, condition="projection").discriminator((2,), 2)(x)
