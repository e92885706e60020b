"""Images of every size: what cannot be halved is padded in the discriminator and cropped from the generator."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from equilibria.networks import ConvPair, Networks, PatchGAN, ResNet, ResPair, UNet, one_hot
from equilibria.networks.padding import Crop, ZeroPad, pyramid

PAIRS: dict[str, Networks] = {"conv": ConvPair(width=2, cap=2), "residual": ResPair(width=2, cap=2)}
ODD = [(1, 1), (1, 40), (5, 7), (9, 8), (12, 19), (24, 36), (36, 24), (31, 33), (17, 100)]
# those that were halved before any padding: nothing may change for them
HALVED = [(8, 8), (28, 28), (32, 32), (12, 10), (8, 16), (14, 10), (24, 24), (64, 64)]


@pytest.mark.parametrize("size", ODD)
@pytest.mark.parametrize("name", PAIRS)
def test_pairs_are_built_for_images_of_every_size(name: str, size: tuple[int, int]) -> None:
    pair, shape, y = PAIRS[name], (3, *size), one_hot(torch.tensor([0, 1]), 2)
    G, D = pair.generator(4, shape, 2), pair.discriminator(shape, 2)
    x = G(torch.randn(2, 4), y)
    assert x.shape == (2, *shape) and D(x, y).shape == (2,)
    assert pair.encoder(shape, 5)(x).shape == (2, 5)


@pytest.mark.parametrize("size", HALVED)
def test_sizes_that_can_be_halved_are_not_padded(size: tuple[int, int]) -> None:
    assert pyramid((1, *size)).padded == size
    for pair in PAIRS.values():
        nets = (pair.generator(4, (1, *size)), pair.discriminator((1, *size)))
        assert not [part for net in nets for part in net.modules() if isinstance(part, (ZeroPad, Crop))]


@pytest.mark.parametrize("size", [(h, w) for h in (1, 7, 9, 15, 24, 31, 45, 96) for w in (4, 23, 24, 90)])
def test_the_padding_is_the_least_that_can_be_halved(size: tuple[int, int]) -> None:
    levels, h, w, padded = pyramid((1, *size))
    assert levels >= 1 and padded == (h * 2**levels, w * 2**levels)
    assert 4 <= min(h, w) < 8
    for side, of in zip(padded, size, strict=True):
        assert of <= side and (side - of < 2**levels or side == 4 * 2**levels)


def by_hand(x: Tensor, height: int, width: int) -> Tensor:
    """The image in the middle of zeros, pixel by pixel."""
    out = torch.zeros(*x.shape[:2], height, width)
    top, left = (height - x.shape[2]) // 2, (width - x.shape[3]) // 2
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            out[:, :, top + i, left + j] = x[:, :, i, j]
    return out


@pytest.mark.parametrize("name", PAIRS)
def test_a_padded_network_is_the_network_of_the_larger_image(name: str) -> None:
    """The same weights, applied to an image that is padded by hand, and to a large image that is cropped by hand."""
    pair, small, large = PAIRS[name], (1, 17, 18), (1, 20, 20)
    assert pyramid(small).padded == large[1:]
    torch.manual_seed(0)
    D, G = pair.discriminator(small), pair.generator(4, small)
    wide, tall = nn.Sequential(*list(D.trunk.body)[1:]), nn.Sequential(*list(G.body)[:-1])
    assert isinstance(D.trunk.body[0], ZeroPad) and isinstance(G.body[-1], Crop)
    x, z = torch.randn(3, *small), torch.randn(3, 4)
    torch.testing.assert_close(D(x), D.logit(wide(by_hand(x, 20, 20)))[:, 0], rtol=0, atol=0)
    whole = tall(z)
    assert whole.shape == (3, *large)
    rows = torch.stack([whole[:, :, 1 + i, 1:19] for i in range(17)], dim=2)
    torch.testing.assert_close(G(z), rows, rtol=0, atol=0)


def test_the_padding_has_a_second_derivative() -> None:
    D = PAIRS["conv"].discriminator((1, 9, 11)).double()
    x = torch.randn(2, 1, 9, 11, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    assert slope.shape == x.shape
    slope.square().sum().backward()
    assert all(p.grad is not None for name, p in D.named_parameters() if name.endswith("weight"))


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (25, 37), (33, 16)])
def test_translators_keep_the_size_of_their_images(size: tuple[int, int]) -> None:
    x = torch.randn(2, 1, *size)
    net = UNet(width=2).build((1, *size), (3, *size))
    assert net(x, net.masks(2)).shape == (2, 3, *size)
    for halvings in (None, 2):
        assert ResNet(width=2, blocks=1, halvings=halvings).build((1, *size), (3, *size))(x).shape == (2, 3, *size)
    scores = PatchGAN(width=2).build((1, *size))(x)
    assert scores.dim() == 3 and min(scores.shape) >= 1


def test_a_padded_u_net_copies_what_it_sees_to_the_same_place() -> None:
    """A change of one input pixel changes the output there: nothing is shifted."""
    torch.manual_seed(0)
    net = UNet(width=2, norm="none", levels=1, dropout=0.0).build((1, 21, 13), (1, 21, 13))
    x = torch.randn(1, 1, 21, 13)
    for i, j in ((0, 0), (20, 12), (10, 5)):
        other = x.clone()
        other[0, 0, i, j] += 1.0
        rows, columns = ((net(other) - net(x))[0, 0] != 0).nonzero(as_tuple=True)
        assert rows.min() <= i <= rows.max() and columns.min() <= j <= columns.max()
        assert rows.max() - rows.min() <= 5 and columns.max() - columns.min() <= 5
