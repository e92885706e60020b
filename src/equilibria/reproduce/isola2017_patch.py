"""The patch that each score of pix2pix's discriminator sees, by its layers and by the gradient of a score."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..base.randomness import reseed
from ..figures.images import INK
from ..figures.panels import FONT, label, panels
from ..networks import PatchDiscriminator, PatchGAN, receptive_field
from .claim import Check, Claim, Outcome, close

CLAIM = Claim(
    paper="isola2017",
    figure="section 3.2.2 and appendix 6.1.2 (C64-C128-C256-C512)",
    statement="Each score of the discriminator with 4 x 4 convolutions, three of stride 2 and two of stride 1, sees a "
    "patch of 70 x 70 pixels of a 256 x 256 image; with one, two and four of stride 2 it sees 16, 34 and 142.",
    printed="70 x 70 and 16 x 16 (section 4.4)",
    tolerance="exact, by the layers and by the pixels at which the gradient of the central score is not zero",
    budget=(3, 6),
)
PIXELS = {1: 16, 2: 34, 3: 70, 4: 142}
SIDE = 256


def run(quick: bool) -> Outcome:
    depths = (1, 3) if quick else tuple(PIXELS)
    nets = {layers: _positive(layers) for layers in depths}
    checks = [check for layers, net in nets.items() for check in _of_sides(layers, net)]
    return Outcome(_draw(_slope(nets[3])), tuple(checks), {"paper's scores a side": _scores(nets[3])})


def _of_sides(layers: int, net: PatchDiscriminator) -> tuple[Check, ...]:
    return (
        close(f"{layers} of stride 2: side by the layers", receptive_field(net)[0], PIXELS[layers], 0),
        close(f"{layers} of stride 2: side by the gradient", _side(_slope(net)), PIXELS[layers], 0),
    )


def _positive(layers: int) -> PatchDiscriminator:
    """A narrow discriminator with positive weights: no two ways from a pixel to a score cancel. No norm: its statistics
    are of all pixels.
    """
    reseed(0)
    net = PatchGAN(width=2, layers=layers, norm="none").build((3, SIDE, SIDE)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_().add_(0.01)
    return net


def _slope(net: PatchDiscriminator) -> Tensor:
    """The gradient of the central score, ``(256, 256)``, its absolute values summed over channels."""
    x = torch.rand(1, 3, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
    scores = net(x)[0]
    (slope,) = torch.autograd.grad(scores[len(scores) // 2, len(scores) // 2], x)
    return slope[0].abs().sum(0)


def _side(slope: Tensor) -> int:
    rows, columns = slope.nonzero(as_tuple=True)
    height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
    return height if height == width else -1


def _scores(net: PatchDiscriminator) -> int:
    return int(net(torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64)).shape[-1])


def _draw(slope: Tensor) -> Figure:
    figure, axes = panels(width=3.6, height=3.4)
    rows, columns = slope.nonzero(as_tuple=True)
    top, left, side = int(rows.min()), int(columns.min()), _side(slope)
    shown = torch.where(slope > 0, (slope / slope.max()).log10(), torch.nan)
    axes[0].imshow(shown, cmap="viridis", interpolation="nearest")
    axes[0].set(xlim=(0, SIDE), ylim=(SIDE, 0))
    axes[0].annotate(
        f"{side} x {side} pixels", (left, top), (left, top - 8), fontsize=8, color=INK, family=FONT,
    )  # fmt: skip
    label(axes[0], "pixel", "pixel", "Where the gradient of the central score is not 0")
    return figure
