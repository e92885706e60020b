"""Networks of images: patches and what they see, the U-Net and its masks, the residual generator, instance norm."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import Tensor, nn

from equilibria.base.errors import ConfigError, EquilibriaError, ShapeError
from equilibria.base.records import decode, encode
from equilibria.networks import (
    Auto,
    Downsample,
    ImageToImage,
    InstanceNorm,
    MLPPair,
    PatchGAN,
    ReflectionPad,
    ResNet,
    UNet,
    calibrate,
    receptive_field,
)
from equilibria.networks import image_to_image as networks_of
from equilibria.networks.resnet import Doubling

# What a patch sees ---------------------------------------------------------------------------------------------------


def support(net: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the pixels that the central output depends on, by its gradient. All weights are positive, so
    that no two ways from a pixel to the output cancel."""
    net = net.double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_().add_(0.01)
    x = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    scores = net(x).flatten(0, -3)[0]
    (slope,) = torch.autograd.grad(scores[scores.shape[0] // 2, scores.shape[1] // 2], x)
    rows, columns = slope[0].abs().sum(0).nonzero(as_tuple=True)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


def moved_by(net: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """The same by finite differences: which pixels, changed one after the other, change the central output."""
    net = net.double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_().add_(0.01)
        x = torch.rand(1, *shape, dtype=torch.float64)

        def centre(x: Tensor) -> Tensor:
            scores: Tensor = net(x)
            return scores[:, scores.shape[1] // 2, scores.shape[2] // 2]

        _, height, width = shape
        hits = []
        for line, size in ((0, height), (1, width)):
            changed = x.repeat(size, 1, 1, 1)
            for i in range(size):  # one row, or one column, of pixels at a time
                (changed[i, :, i] if line == 0 else changed[i, :, :, i]).add_(0.5)
            found = (centre(changed) - centre(x)).abs().nonzero().flatten()
            hits.append(int(found.max() - found.min()) + 1)
    return hits[0], hits[1]


@pytest.mark.parametrize(("layers", "pixels"), [(0, 7), (1, 16), (2, 34), (3, 70), (4, 142)])
def test_the_patch_of_each_depth_is_what_its_gradient_sees(layers: int, pixels: int) -> None:
    net = PatchGAN(width=1, layers=layers, norm="none").build((1, 256, 256))
    assert receptive_field(net) == (pixels, pixels) == support(net, (1, 256, 256))


def test_the_papers_discriminator_sees_70_pixels() -> None:
    paper = PatchGAN(norm="batch").build((6, 256, 256))
    convolutions = [m for m in paper.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [64, 128, 256, 512, 1]
    assert receptive_field(paper) == (70, 70)
    assert paper(torch.zeros(1, 6, 256, 256)).shape == (1, 30, 30)


def test_a_batch_norm_with_fixed_statistics_does_not_widen_the_patch() -> None:
    net = PatchGAN(width=2, layers=2, norm="batch").build((1, 96, 96))
    calibrate(net, lambda: net(torch.rand(4, 1, 96, 96)), 2)
    assert support(net.eval(), (1, 96, 96)) == receptive_field(net) == (34, 34)


def test_finite_differences_see_the_same_patch() -> None:
    net = PatchGAN(width=1, layers=2, norm="none").build((1, 80, 80))
    assert moved_by(net, (1, 80, 80)) == receptive_field(net) == (34, 34)


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Conv2d(1, 1, 3, dilation=3), nn.AvgPool2d(2), nn.Conv2d(1, 1, 3, stride=2)),
        nn.Sequential(nn.Conv2d(1, 2, (5, 3), stride=(1, 2)), nn.ReLU(), Downsample(), nn.Conv2d(2, 1, 2)),
        nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 1, 1)), nn.AvgPool2d(3, stride=2), nn.Conv2d(1, 1, 2, dilation=(1, 4))
        ),
    ],
)
def test_dilation_pooling_and_unequal_sides_are_counted(net: nn.Sequential) -> None:
    assert receptive_field(net) == support(net, (1, 64, 64))


@pytest.mark.parametrize("layer", [nn.Flatten(), nn.Linear(4, 4), nn.ConvTranspose2d(1, 1, 2)])
def test_a_layer_without_a_patch_is_refused(layer: nn.Module) -> None:
    with pytest.raises(ConfigError, match=type(layer).__name__):
        receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3), layer))


@pytest.mark.parametrize("side", [8, 12, 16, 28, 32, 48, 64, 96, 128, 256])
def test_the_default_depth_fits_the_image(side: int) -> None:
    spec = PatchGAN(width=2)
    net = spec.build((1, side, side))
    layers = spec.layers_for(side)
    assert net(torch.zeros(2, 1, side, side)).ndim == 3
    assert layers == 1 or receptive_field(net)[0] <= side
    assert layers == 3 or receptive_field(dataclasses.replace(spec, layers=layers + 1).build((1, 512, 512)))[0] > side


def test_an_image_too_small_for_its_discriminator_is_refused() -> None:
    with pytest.raises(ShapeError, match="layers=1"):
        PatchGAN(layers=2).build((1, 8, 8))
    PatchGAN(width=2, layers=1).build((1, 8, 8))
    with pytest.raises(ShapeError, match="MLPPair"):
        PatchGAN().build((4,))


# Instance norm and reflected borders ---------------------------------------------------------------------------------


def test_instance_norm_has_torchs_values() -> None:
    x = torch.randn(3, 4, 5, 6)
    mine, torchs = InstanceNorm(4), nn.InstanceNorm2d(4, affine=True)
    with torch.no_grad():
        for own, theirs in ((mine.weight, torchs.weight), (mine.bias, torchs.bias)):
            theirs.copy_(own.add_(torch.randn(4)))
    torch.testing.assert_close(mine(x), torchs(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mine(x)[1:2], mine(x[1:2]))
    torch.testing.assert_close(mine.train()(x), mine.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("pad", [1, 3])
def test_reflected_borders_are_torchs(pad: int) -> None:
    x = torch.randn(2, 3, 5, 7)
    assert torch.equal(ReflectionPad(pad)(x), nn.functional.pad(x, (pad,) * 4, mode="reflect"))


def test_doubling_is_torchs_padded_transposed_convolution() -> None:
    mine = Doubling(3, 2)
    torchs = nn.ConvTranspose2d(3, 2, 3, 2, 1, 1)
    torchs.load_state_dict(mine.conv.state_dict())
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(mine(x), torchs(x))


# The U-Net -----------------------------------------------------------------------------------------------------------


def test_the_papers_unet_has_its_layers() -> None:
    net = UNet().build((3, 256, 256), (3, 256, 256))
    down = [m.out_channels for m in net.downs.modules() if isinstance(m, nn.Conv2d)]
    up = [(m.in_channels, m.out_channels) for m in net.ups.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert down == [64, 128, 256, 512, 512, 512, 512, 512]
    assert up == [(512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64), (128, 3)]
    assert net.dropped == ((512, 2, 2), (512, 4, 4), (512, 8, 8))
    norms = [sum(isinstance(m, InstanceNorm) for m in part.modules()) for part in (net.downs, net.ups)]
    assert norms == [6, 7]  # not behind the first and the bottleneck, not behind the last


@pytest.mark.parametrize("side", [2, 8, 12, 28, 32])
def test_a_unet_fits_any_even_side(side: int) -> None:
    net = UNet(width=2).build((1, side, side), (3, side, side))
    assert net(torch.zeros(2, 1, side, side), net.masks(2)).shape == (2, 3, side, side)
    assert all(bool(p.grad.isfinite().all()) for p in _backward(net, side) if p.grad is not None)


def _backward(net: nn.Module, side: int) -> list[nn.Parameter]:
    net(torch.randn(2, 1, side, side)).square().sum().backward()
    return list(net.parameters())


def test_masks_are_dropout_scaled_to_mean_one() -> None:
    net = UNet(width=4, dropout=0.25).build((1, 16, 16), (1, 16, 16))
    masks = net.masks(400)
    kept = (masks > 0).double()
    assert masks.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert float(kept.mean()) == pytest.approx(0.75, abs=5 * (0.25 * 0.75 / kept.numel()) ** 0.5)


def test_masks_are_torchs_dropout_at_the_same_places() -> None:
    """The U-Net with masks is the U-Net with dropout layers behind the norms, the masks being what those drew."""
    net = UNet(width=4).build((1, 16, 16), (2, 16, 16))
    x, masks = torch.randn(3, 1, 16, 16), net.masks(3)
    pieces = masks.split([c * h * w for c, h, w in net.dropped], dim=1)

    def dropping(up: nn.Module, piece: Tensor, shape: tuple[int, ...]) -> None:
        up.register_forward_hook(lambda _module, _args, out: out * piece.reshape(-1, *shape))

    masked = net(x, masks)
    assert not torch.equal(masked, net(x))
    torch.testing.assert_close(masked[1:2], net(x[1:2], masks[1:2]))
    for up, piece, shape in zip(net.ups, pieces, net.dropped, strict=False):
        dropping(up, piece, shape)
    torch.testing.assert_close(net(x), masked)


def test_dropout_of_zero_has_no_noise() -> None:
    net = UNet(width=2, dropout=0.0).build((1, 8, 8), (1, 8, 8))
    assert net.noise == 0 and net.masks(3).shape == (3, 0)


@pytest.mark.parametrize(
    ("build", "fix"),
    [
        (lambda: UNet().build((1, 8, 8), (1, 16, 16)), "size=64"),
        (lambda: UNet().build((8,), (8,)), "MLPPair"),
        (lambda: UNet(dropout=1.0), "share"),
        (lambda: UNet(norm="instant"), "instance"),
        (lambda: ResNet(width=0), "width=0 .*1 to"),
        (lambda: PatchGAN(layers=-1), "layers=-1 .*0 to"),
    ],
)
def test_what_cannot_be_built_says_what_can(build: object, fix: str) -> None:
    with pytest.raises(EquilibriaError, match=fix):
        build()  # type: ignore[operator]


# Training through them -----------------------------------------------------------------------------------------------


def fitted(net: nn.Module, x: Tensor, y: Tensor, steps: int = 150) -> float:
    """The mean absolute error after a few steps of Adam, as a share of that of the best constant image."""
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(steps):
        loss = (net(x) - y).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item() / float((y - y.median(0).values).abs().mean())


@pytest.mark.parametrize("net", [UNet(width=8), ResNet(width=8, blocks=1)], ids=lambda net: type(net).__name__)
def test_they_learn_a_negative(net: UNet | ResNet) -> None:
    torch.manual_seed(0)
    x = torch.rand(16, 1, 8, 8).repeat_interleave(2, 2).repeat_interleave(2, 3) * 2 - 1
    assert fitted(net.build((1, 16, 16), (1, 16, 16)), x, -x) < 0.35


# The record that games are given -------------------------------------------------------------------------------------


def test_networks_without_translators_translate_by_an_encoder() -> None:
    pair = MLPPair(width=4)
    assert networks_of.translator(pair, (2,), (3,))(torch.zeros(5, 2)).shape == (5, 3)
    assert networks_of.translator(pair, (1, 4, 4), (3, 6, 6))(torch.zeros(5, 1, 4, 4)).shape == (5, 3, 6, 6)
    assert networks_of.discriminator(pair, (3, 6, 6))(torch.zeros(5, 3, 6, 6)).shape == (5,)


def test_auto_gives_vectors_perceptrons_and_images_patches() -> None:
    auto = Auto(vector=MLPPair(width=4), image=ImageToImage(translator=UNet(width=2), patch=PatchGAN(width=2)))
    assert networks_of.discriminator(auto, (4,))(torch.zeros(2, 4)).shape == (2,)
    assert networks_of.discriminator(auto, (1, 16, 16))(torch.zeros(2, 1, 16, 16)).ndim == 3
    assert networks_of.translator(auto, (1, 8, 8), (1, 8, 8))(torch.zeros(2, 1, 8, 8)).shape == (2, 1, 8, 8)
    assert decode(json.loads(json.dumps(encode(auto)))) == auto


def test_its_networks_of_codes_are_convolutional() -> None:
    pair = ImageToImage()
    image = pair.generator(3, (1, 8, 8))(torch.zeros(2, 3))
    assert pair.discriminator((1, 8, 8))(image).shape == (2,)
    assert pair.encoder((1, 8, 8), 5)(image).shape == (2, 5) and pair.trunk((1, 8, 8))(image).ndim == 2
