"""Self-attention and the layers that see the batch, against loops in numpy; how the pairs and the game use them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from equilibria.base.errors import ConfigError
from equilibria.core.optimizers import SGD
from equilibria.core.play import Play
from equilibria.core.updates import Alternating
from equilibria.data import load
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer, TwoPlayerGame
from equilibria.losses import Hinge
from equilibria.networks import (
    ConvPair,
    MinibatchDeviation,
    MinibatchDiscrimination,
    MLPPair,
    SelfAttention,
    SpectralNorm,
    WithReference,
)
from equilibria.recipes import recipe


def moved(module: nn.Module) -> nn.Module:
    """The module in float64, its parameters off any special start."""
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.add_(torch.randn_like(parameter))
    return module


# Attention -----------------------------------------------------------------------------------------------------------


def test_attention_begins_as_the_identity_and_its_first_step_is_in_gamma_alone() -> None:
    layer, x = SelfAttention(16, spectral_norm=True), torch.randn(2, 16, 5, 3)
    assert torch.equal(layer(x), x)
    layer(x).square().sum().backward()
    gradients = {name: float(p.grad.abs().max()) for name, p in layer.named_parameters() if p.grad is not None}
    assert gradients.pop("gamma") > 0 and set(gradients.values()) == {0.0}


def test_attention_is_the_formula_of_the_paper() -> None:
    layer, x = moved(SelfAttention(8)), torch.randn(2, 8, 3, 4, dtype=torch.float64)
    assert isinstance(layer, SelfAttention)
    w = {
        name: (conv.weight.detach().numpy()[:, :, 0, 0], conv.bias.detach().numpy())  # type: ignore[union-attr]
        for name, conv in (("f", layer.f), ("g", layer.g), ("h", layer.h), ("v", layer.v))
    }
    out, beta = layer(x).detach().numpy(), layer.weights(x).detach().numpy()
    for n in range(2):
        places = x[n].numpy().reshape(8, -1).T
        f, g, h = (places @ w[name][0].T + w[name][1] for name in "fgh")
        for j in range(12):
            shares = np.exp([f[i] @ g[j] for i in range(12)])
            shares /= shares.sum()
            np.testing.assert_allclose(beta[n, j], shares, rtol=1e-10)
            read = w["v"][0] @ sum(share * row for share, row in zip(shares, h, strict=True)) + w["v"][1]
            expected = places[j] + float(layer.gamma.detach()) * read
            np.testing.assert_allclose(out[n].reshape(8, -1)[:, j], expected, rtol=1e-9)


def test_what_attention_reads_sums_to_one() -> None:
    layer = SelfAttention(4)
    layer.f.weight.data.mul_(100)  # type: ignore[operator,union-attr]
    shares = layer.weights(torch.randn(3, 4, 6, 6))
    torch.testing.assert_close(shares.sum(2), torch.ones(3, 36))
    assert shares.amin() >= 0 and not torch.allclose(shares.sum(1), torch.ones(3, 36), atol=1e-2)


def test_attention_reaches_over_the_whole_image_and_convolutions_do_not() -> None:
    corner = torch.zeros(1, 1, 32, 32, requires_grad=True)
    for attention, reaches in ((1, True), (0, False)):
        trunk = ConvPair(width=8, attention=attention).discriminator((1, 32, 32)).trunk.body
        for part in trunk.modules():
            if isinstance(part, SelfAttention):
                nn.init.ones_(part.gamma)
        maps = nn.Sequential(*list(trunk.children())[:-1])(corner + torch.randn(1, 1, 32, 32))
        (slope,) = torch.autograd.grad(maps[0, :, 0, 0].sum(), corner)
        assert bool(slope[0, 0, 31, 31].abs() > 0) is reaches


@pytest.mark.parametrize(("shape", "halvings", "side"), [((1, 32, 32), 1, 16), ((3, 32, 32), 2, 8), ((1, 8, 8), 3, 4)])
def test_both_networks_attend_at_the_same_sides(shape: tuple[int, ...], halvings: int, side: int) -> None:
    pair = ConvPair(width=4, attention=halvings)
    for net, given in ((pair.generator(3, shape), (2, 3)), (pair.discriminator(shape), (2, *shape))):
        seen: list[tuple[int, ...]] = []
        parts = [part for part in net.modules() if isinstance(part, SelfAttention)]
        assert len(parts) == 1
        parts[0].register_forward_pre_hook(lambda part, args, seen=seen: seen.append(tuple(args[0].shape[2:])))
        net(torch.randn(given))
        assert seen == [(side, side)]


def test_every_layer_with_weights_of_sagan_is_spectrally_normalised_in_both_networks() -> None:
    row = recipe("sagan")
    game = row.game.build(row.networks, load("digits").spec)
    for name in ("generator", "discriminator"):
        net = game.get_submodule(name)
        normed = {id(part.layer) for part in net.modules() if isinstance(part, SpectralNorm)}
        weights = [part for part in net.modules() if isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]
        assert weights and all(id(part) in normed for part in weights), name
    assert {p.player: p.optimizer.lr for p in row.optimizers} == {"discriminator": 4e-4}  # type: ignore[attr-defined]
    assert row.optimizer.lr == 1e-4  # type: ignore[attr-defined]


def test_each_player_advances_the_spectral_norms_of_its_own_network() -> None:
    networks = ConvPair(width=4, spectral_norm=True, generator_spectral=True)
    game = TwoPlayer(objective=Hinge(), latent=Latent(size=4)).build(networks, load("digits").spec)
    rules = {player.name: SGD(lr=0.1) for player in game.players}
    draw = Play(game, Alternating(), rules, load("digits").batches(4)).deal()
    with torch.no_grad():
        for parameter in game.parameters():
            parameter.add_(torch.randn_like(parameter))
    for own, other in (("generator", "discriminator"), ("discriminator", "generator")):
        before = {name: buffer.clone() for name, buffer in game.named_buffers()}
        with torch.no_grad():
            game.after(own, draw, {})
        changed = {name.split(".")[0] for name, buffer in game.named_buffers() if not torch.equal(buffer, before[name])}
        assert changed == {own} and other not in changed


def test_singular_values_stay_near_one_while_sagan_trains() -> None:
    row = recipe("sagan").with_settings({"networks.width": "8", "batch": "16"})
    data = load("digits")
    torch.manual_seed(0)
    play = row.play(row.game.build(row.networks, data.spec), data.batches(row.batch), horizon=20)
    play.prepare()
    play.advance(10)
    for part in play.game.modules():
        if isinstance(part, SpectralNorm):
            weight = part.weight().detach().double()
            matrix = weight.transpose(0, 1) if isinstance(part.layer, nn.ConvTranspose2d) else weight
            assert 0.95 <= np.linalg.svd(matrix.flatten(1).numpy(), compute_uv=False)[0] <= 1.05


# Layers that see the batch -------------------------------------------------------------------------------------------


def discrimination(features: int = 3) -> MinibatchDiscrimination:
    layer = moved(MinibatchDiscrimination(features, kernels=4, dimensions=2))
    assert isinstance(layer, MinibatchDiscrimination)
    return layer


def test_minibatch_discrimination_is_the_formula_of_the_paper() -> None:
    layer, f = discrimination(), torch.randn(5, 3, dtype=torch.float64)
    theta, scale = layer.weight.detach().numpy(), np.exp(layer.log_scale.detach().numpy())
    tensor = theta * scale / np.sqrt((theta**2).sum(0))
    m = np.einsum("na,abc->nbc", f.numpy(), tensor)
    bias, out = layer.bias.detach().numpy(), layer(f).detach().numpy()
    for i in range(5):
        for b in range(4):
            others = sum(np.exp(-np.abs(m[i, b] - m[j, b]).sum()) for j in range(5) if j != i)
            assert out[i, 3 + b] == pytest.approx(others + bias[b], rel=1e-7)
    np.testing.assert_array_equal(out[:, :3], f.numpy())


def test_equal_rows_are_as_close_as_there_are_others_and_distant_rows_are_not() -> None:
    layer = discrimination()
    same = torch.randn(1, 3, dtype=torch.float64).expand(6, 3)
    torch.testing.assert_close(layer.closeness(same), torch.full((6, 4), 5.0, dtype=torch.float64), rtol=0, atol=0)
    assert layer.closeness(1e3 * torch.randn(6, 3, dtype=torch.float64)).max() < 1e-3


@pytest.mark.parametrize("make", [discrimination, MinibatchDeviation])
def test_rows_in_another_order_give_the_outputs_in_that_order(make: type[nn.Module]) -> None:
    layer, x = make(), torch.randn(7, 3, dtype=torch.float64)
    order = torch.randperm(7)
    torch.testing.assert_close(layer(x[order]), layer(x)[order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [discrimination, MinibatchDeviation])
def test_a_row_depends_on_the_others(make: type[nn.Module]) -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(make()(x)[0, 3:].sum(), x)
    assert bool((slope[1:].abs().amax(1) > 0).all())


def test_minibatch_deviation_is_the_mean_of_numpys_deviations() -> None:
    x = torch.randn(6, 3, 2, 5, dtype=torch.float64)
    out = MinibatchDeviation(eps=0.0)(x)
    assert out.shape == (6, 4, 2, 5)
    np.testing.assert_allclose(out[:, 3].numpy(), x.numpy().std(0).mean(), rtol=1e-12)


@pytest.mark.parametrize("minibatch", ["discrimination", "deviation"])
@pytest.mark.parametrize("pair", [MLPPair(width=8), ConvPair(width=4)])
def test_a_discriminator_with_it_tells_equal_points_from_others_and_says_so(
    pair: MLPPair | ConvPair, minibatch: str
) -> None:
    torch.manual_seed(0)
    pair = type(pair)(width=8, minibatch=minibatch)
    D, x = pair.discriminator((1, 8, 8)), torch.randn(4, 1, 8, 8)
    alone = torch.cat([x[:1]] * 4)
    assert not D.rowwise and not torch.allclose(D(alone)[0], D(x)[0], atol=1e-6)
    assert type(pair)(width=8).discriminator((1, 8, 8)).rowwise
    encoded = pair.encoder((1, 8, 8), 2)
    torch.testing.assert_close(encoded(alone)[0], encoded(x)[0])


def test_sizes_of_minibatch_discrimination_are_checked() -> None:
    with pytest.raises(ConfigError, match="kernels=0"):
        MinibatchDiscrimination(3, kernels=0)
    with pytest.raises(ConfigError, match="minibatch"):
        ConvPair(minibatch="discriminate")


# Virtual batch norm in a game ----------------------------------------------------------------------------------------


def virtual_game(conditional: bool = False) -> TwoPlayerGame:
    networks = ConvPair(width=4, norm="batch", generator_norm="virtual", reference=6)
    spec = TwoPlayer(latent=Latent(size=5, law="uniform"), conditional=conditional)
    game = spec.build(networks, load("digits").spec)
    assert isinstance(game, TwoPlayerGame)
    return game


def reference(game: TwoPlayerGame) -> Tensor:
    (part,) = (part for part in game.generator.modules() if isinstance(part, WithReference))
    return part.reference


@pytest.mark.parametrize("conditional", [False, True])
def test_the_reference_batch_has_the_law_of_the_codes_and_stays(conditional: bool) -> None:
    game, data = virtual_game(conditional), load("digits")
    start = reference(game).clone()
    play = Play(game, Alternating(), {p.name: SGD(lr=0.1) for p in game.players}, data.batches(8), seed=3, horizon=9)
    play.prepare()
    fixed = reference(game).clone()
    codes, labels = fixed[:, :5], fixed[:, 5:]
    assert not torch.equal(fixed, start) and bool((codes.abs() <= 1).all()) and codes.abs().max() > 0.5
    assert not conditional or (labels.sum(1).tolist() == [1.0] * 6 and set(labels.unique().tolist()) == {0.0, 1.0})
    play.advance(2)
    assert torch.equal(reference(game), fixed)
    again = virtual_game(conditional)
    other = Play(again, Alternating(), {p.name: SGD(lr=0.1) for p in again.players}, data.batches(8), seed=3, horizon=9)
    other.load({name: tensor.clone() for name, tensor in play.tensors().items()}, play.round, play.turn)
    assert torch.equal(reference(again), fixed)
    play.advance(1)
    other.advance(1)
    assert all(torch.equal(a, b) for a, b in zip(game.state_dict().values(), again.state_dict().values(), strict=True))


def test_a_sample_does_not_depend_on_the_others_of_its_batch_and_with_batch_norm_it_does() -> None:
    z = torch.randn(6, 5, dtype=torch.float64)
    other = torch.cat([z[:2], 3 * torch.randn(4, 5, dtype=torch.float64)])
    for norm, independent in (("virtual", True), ("batch", False)):
        G = ConvPair(width=4, generator_norm=norm, reference=4).generator(5, (1, 16, 16)).double()
        assert torch.equal(G(z)[:2], G(other)[:2]) is independent
