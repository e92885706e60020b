"""Laws of the second part."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..laws import Law, Rows, add

_N = 3000
_N_IMAGES = 2000


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _pinwheel() -> Rows:
    """Five bent arms."""
    rng = _rng(61)
    arm = torch.randint(5, (_N,), generator=rng)
    far = 0.35 + 0.85 * torch.rand(_N, generator=rng)
    angle = 2 * math.pi * arm / 5 + 0.8 * far + 0.07 * torch.randn(_N, generator=rng) / far
    return Rows(far[:, None] * torch.stack([angle.cos(), angle.sin()], 1))


def _lopsided() -> Rows:
    """Five Gaussians of different weights, widths and directions."""
    rng = _rng(62)
    which = torch.multinomial(torch.tensor([0.35, 0.25, 0.2, 0.12, 0.08]), _N, True, generator=rng)
    centre = torch.tensor([[-0.9, -0.6], [0.8, -0.8], [0.1, 0.2], [-0.7, 0.9], [1.0, 0.8]])
    width = torch.tensor([[0.25, 0.1], [0.1, 0.2], [0.12, 0.12], [0.2, 0.08], [0.08, 0.15]])
    return Rows(centre[which] + width[which] * torch.randn(_N, 2, generator=rng))


def _valley() -> Rows:
    """Four columns of which each bends with the one before, like a chain of measurements."""
    rng = _rng(63)
    e = torch.randn(_N, 4, generator=rng)
    columns = [0.8 * e[:, 0]]
    for i in range(1, 4):
        columns.append(0.35 * columns[-1].square() - 0.2 + 0.3 * columns[-1] + 0.25 * e[:, i])
    x = torch.stack(columns, 1).clamp(-3, 3)
    return Rows((x - x.mean(0)) / x.std(0))


def _cells() -> Rows:
    """Sparse images of 8 x 8 pixels: one or two of nine blocks are lit."""
    rng = _rng(64)
    lit = torch.zeros(_N_IMAGES, 9)
    for _ in range(2):
        lit.scatter_(1, torch.randint(9, (_N_IMAGES, 1), generator=rng), 1.0)
    strength = (0.6 + 0.4 * torch.rand(_N_IMAGES, 9, generator=rng)) * lit
    blocks = F.interpolate(strength.view(-1, 1, 3, 3), size=(8, 8), mode="bilinear", align_corners=False)
    return Rows(1.8 * blocks - 0.9)


def _gratings() -> Rows:
    """Images of 12 x 12 pixels: stripes of any direction and phase under a round window."""
    rng = _rng(65)
    axis = torch.linspace(-1, 1, 12)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    turn, phase = (math.pi * k * torch.rand(_N_IMAGES, 1, 1, generator=rng) for k in (1.0, 2.0))
    stripes = (2.5 * (turn.cos() * u + turn.sin() * v) + phase).cos()
    return Rows((0.85 * stripes * (-1.0 * (u**2 + v**2)).exp())[:, None])


def _drifts() -> Rows:
    """Two channels: a value that relaxes from one level to another, and a sensor that follows it."""
    rng = _rng(66)
    start, end, rate = torch.rand(3, _N, 1, generator=rng)
    t = torch.arange(16.0)
    value = 1.6 * (end + (start - end) * (-(0.1 + 0.4 * rate) * t).exp()) - 0.8
    follow = [value[:, 0]]
    for i in range(1, 16):
        follow.append(0.6 * follow[-1] + 0.4 * value[:, i])
    x = torch.stack([value, torch.stack(follow, 1)], 2)
    return Rows(x + 0.03 * torch.randn(x.shape, generator=rng))


def _one_hot(*columns: tuple[Tensor, int]) -> Tensor:
    return torch.cat([F.one_hot(column.long(), width) for column, width in columns], 1).float()


def _survey() -> Rows:
    """Three answers, of which each depends on the one before."""
    rng = _rng(67)

    def answer(weights: Tensor) -> Tensor:
        return torch.multinomial(weights, 1, True, generator=rng).flatten()

    first = answer(torch.tensor([0.5, 0.3, 0.2]).expand(_N, 3))
    second = answer(torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]])[first])
    third = answer(torch.tensor([[0.6, 0.2, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]])[second])
    return Rows(_one_hot((first, 3), (second, 2), (third, 4)), blocks=(3, 2, 4))


def _loans() -> Rows:
    """Three correlated amounts, and a status that depends on two of them."""
    rng = _rng(68)
    e = torch.randn(_N, 3, generator=rng)
    x = torch.stack([e[:, 0], 0.8 * e[:, 0] + 0.6 * e[:, 1], 0.5 * e[:, 1] - 0.3 * e[:, 0] + 0.8 * e[:, 2]], 1)
    status = (x[:, 0] + x[:, 2] > 0.8).long() + (x[:, 1] > 0.3).long()
    return Rows(torch.cat([0.3 * x, _one_hot((status, 3))], 1), blocks=(3,))


def _petals() -> Rows:
    """Four bent clouds around the origin, each a class of its own."""
    rng = _rng(69)
    y = torch.randint(4, (_N,), generator=rng)
    bend = torch.randn(_N, generator=rng)
    x = torch.stack([1 - 0.15 * bend.square() + 0.08 * torch.randn(_N, generator=rng), 0.3 * bend], 1)
    angle = math.pi * (y / 2 + 0.25)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1)
    return Rows((turn @ x[:, :, None]).squeeze(2), y)


def _sensors() -> Rows:
    """Readings of two devices: five numbers of a common state, shifted and tilted in the target."""
    rng = _rng(70)
    mix = 0.5 * torch.randn(3, 5, generator=rng)
    first, second = (torch.randn(_N, 3, generator=rng) @ mix + 0.1 * torch.randn(_N, 5, generator=rng) for _ in "ab")
    return Rows((second + 0.3 * second.roll(1, 1)).tanh() + 0.5, source=first)


add(
    Law("pinwheel", "points", _pinwheel, latent=6, split="held-out"),
    Law("lopsided", "points", _lopsided, latent=6, split="held-out"),
    Law("valley", "points", _valley, latent=10, split="held-out"),
    Law("cells", "images", _cells, latent=16, split="held-out"),
    Law("gratings", "images", _gratings, latent=12, split="held-out"),
    Law("drifts", "waves", _drifts, latent=8, split="held-out"),
    Law("survey", "table", _survey, latent=10, split="held-out"),
    Law("loans", "table", _loans, latent=8, split="held-out"),
    Law("petals-labelled", "labelled", _petals, split="held-out"),
    Law("sensors", "pairs", _sensors, split="held-out"),
)
