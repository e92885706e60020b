"""Laws of the third part."""

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


def _zigzag() -> Rows:
    """Points along a line with four corners, thicker towards its end."""
    rng = _rng(81)
    corners = torch.tensor([[-1.3, -0.6], [-0.7, 0.8], [0.0, -0.7], [0.7, 0.8], [1.3, -0.6]])
    part = torch.randint(4, (_N,), generator=rng)
    share = torch.rand(_N, 1, generator=rng)
    at = corners[part] * (1 - share) + corners[part + 1] * share
    thick = 0.05 + 0.02 * part[:, None]
    return Rows(at + thick * torch.randn(_N, 2, generator=rng))


def _targets() -> Rows:
    """A disc in a ring, not in its middle."""
    rng = _rng(82)
    inside = torch.rand(_N, generator=rng) < 0.35
    far = torch.where(inside, 0.35 * torch.rand(_N, generator=rng).sqrt(), 1 + 0.1 * torch.randn(_N, generator=rng))
    angle = 2 * math.pi * torch.rand(_N, generator=rng)
    x = far[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return Rows(x + inside[:, None] * torch.tensor([0.25, -0.15]))


def _hoops() -> Rows:
    """Two closed curves in six dimensions, of which one is bent."""
    rng = _rng(83)
    t = 2 * math.pi * torch.rand(_N, generator=rng)
    bent = (torch.rand(_N, generator=rng) < 0.5).float()
    flat = torch.stack([t.cos(), t.sin(), 0.6 * bent * (2 * t).cos(), 0.6 * bent * (2 * t).sin()], 1)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=rng))[0][:4]
    return Rows(flat @ turn + 0.05 * torch.randn(_N, 6, generator=rng))


def _joints(rng: torch.Generator, angle: Tensor) -> Tensor:
    """The ends of three limbs, each at an angle to the one before, flattened to six columns."""
    ends, at, turned = [], torch.zeros(len(angle), 2), torch.zeros(len(angle))
    for i, length in enumerate((0.8, 0.6, 0.4)):
        turned = turned + angle[:, i]
        at = at + length * torch.stack([turned.cos(), turned.sin()], 1)
        ends.append(at)
    return torch.cat(ends, 1) + 0.02 * torch.randn(len(angle), 6, generator=rng)


def _skeletons() -> Rows:
    """Poses of an arm: the places of elbow, wrist and finger tip."""
    rng = _rng(84)
    angle = torch.rand(_N, 3, generator=rng) * torch.tensor([2.0, 1.8, 1.0]) + torch.tensor([0.2, 0.0, -0.3])
    x = _joints(rng, angle)
    return Rows(1.5 * (x - x.mean(0)))


def _outlines() -> Rows:
    """Five points on the outline of an ellipse of any size and direction, flattened to ten columns."""
    rng = _rng(85)
    place = 2 * math.pi * torch.arange(5) / 5
    wide, high = 0.6 + 0.6 * torch.rand(2, _N, 1, generator=rng)
    turn = math.pi * torch.rand(_N, 1, generator=rng)
    u, v = wide * place.cos(), high * place.sin()
    x = torch.stack([turn.cos() * u - turn.sin() * v, turn.sin() * u + turn.cos() * v], 2)
    return Rows((x + 0.25 * torch.randn(_N, 1, 2, generator=rng)).flatten(1))


def _returns() -> Rows:
    """Logarithms of prices: a trend and steps whose spread is calm in most rows and wild in some."""
    rng = _rng(86)
    wild = torch.where(torch.rand(_N, 1, generator=rng) < 0.25, 0.16, 0.05)
    trend = 0.05 * torch.randn(_N, 1, generator=rng)
    steps = trend + wild * torch.randn(_N, 16, generator=rng)
    path = steps.cumsum(1)
    return Rows(path.clamp(-1.8, 1.8)[:, :, None] / 2)


def _spectra() -> Rows:
    """Spectrograms of 12 x 12 cells: a tone that rises or falls, and its fainter overtone."""
    rng = _rng(87)
    time, tone = torch.arange(12.0), torch.arange(12.0)
    low = 1.5 + 3.0 * torch.rand(_N_IMAGES, 1, generator=rng)
    slope = 0.5 * torch.rand(_N_IMAGES, 1, generator=rng) - 0.15
    at = low + slope * time
    first = (-((tone[None, :, None] - at[:, None]) ** 2) / 2.5).exp()
    over = 0.5 * (-((tone[None, :, None] - at[:, None] - 4.0) ** 2) / 2.5).exp()
    return Rows((1.7 * (first + over).clamp(max=1.0) - 0.85)[:, None])


def _weaves() -> Rows:
    """Cloths of 8 x 8 pixels in three colours: warp and weft have a phase each, and a colour for both."""
    rng = _rng(88)
    axis = torch.arange(8.0) * math.pi / 4
    phase = math.pi * torch.rand(_N_IMAGES, 2, 1, generator=rng)
    warp, weft = (axis + phase[:, 0]).sin()[:, None, None, :], (axis + phase[:, 1]).sin()[:, None, :, None]
    colour = 0.15 + 0.3 * torch.rand(_N_IMAGES, 3, 1, 1, generator=rng)
    return Rows(colour * (warp + weft))


def _one_hot(*columns: tuple[Tensor, int]) -> Tensor:
    return torch.cat([F.one_hot(column.long(), width) for column, width in columns], 1).float()


def _letters() -> Rows:
    """Words of four letters out of three, by a chain that likes the first and never goes to it from the last."""
    rng = _rng(89)
    chain = torch.tensor([[0.6, 0.25, 0.15], [0.45, 0.35, 0.2], [0.0, 0.6, 0.4]])
    word = [torch.multinomial(torch.tensor([0.55, 0.3, 0.15]), _N, True, generator=rng)]
    for _ in range(3):
        word.append(torch.multinomial(chain[word[-1]], 1, True, generator=rng).flatten())
    return Rows(_one_hot(*((letter, 3) for letter in word)), blocks=(3, 3, 3, 3))


def _visits() -> Rows:
    """A table with a date (the share of the year), a length of stay, a price, and the season as a category."""
    rng = _rng(90)
    date = torch.rand(_N, generator=rng)
    season = (4 * date).long().clamp(max=3)
    stay = 0.25 * torch.randn(_N, generator=rng) + 0.3 * (2 * math.pi * date).sin()
    price = 0.5 * stay + 0.15 * torch.randn(_N, generator=rng) + 0.1 * (season == 2)
    return Rows(torch.cat([torch.stack([1.2 * date - 0.6, stay, price], 1), _one_hot((season, 4))], 1), blocks=(4,))


def _gestures() -> Rows:
    """Poses of an arm in four classes: down, out, up, and bent."""
    rng = _rng(91)
    y = torch.randint(4, (_N,), generator=rng)
    centre = torch.tensor([[-1.2, 0.1, 0.1], [0.0, 0.1, 0.1], [1.3, 0.1, 0.1], [0.4, 1.9, 0.6]])
    angle = centre[y] + torch.tensor([0.2, 0.25, 0.25]) * torch.randn(_N, 3, generator=rng)
    x = _joints(rng, angle)
    return Rows(1.5 * (x - x.mean(0)), y)


def _mornings() -> Rows:
    """From the noise of a night to the readings of a morning: four numbers on a bent sheet."""
    rng = _rng(92)
    first = 0.8 * torch.randn(_N, 4, generator=rng)
    a, b = 2 * torch.rand(2, _N, generator=rng) - 1
    sheet = torch.stack([a, b, a.square() - 0.3 + 0.3 * b, 0.8 * (2 * b).sin()], 1)
    return Rows(sheet + 0.08 * torch.randn(_N, 4, generator=rng), source=first)


add(
    Law("zigzag", "points", _zigzag, latent=16, split="held-out"),
    Law("targets", "points", _targets, latent=4, split="held-out"),
    Law("hoops", "points", _hoops, latent=6, split="held-out"),
    Law("skeletons", "points", _skeletons, latent=24, split="held-out"),
    Law("outlines", "points", _outlines, latent=10, split="held-out"),
    Law("returns", "waves", _returns, latent=20, split="held-out"),
    Law("spectra", "images", _spectra, latent=6, split="held-out"),
    Law("weaves", "images", _weaves, latent=12, split="held-out"),
    Law("letters", "table", _letters, latent=12, split="held-out"),
    Law("visits", "table", _visits, latent=8, split="held-out"),
    Law("gestures-labelled", "labelled", _gestures, latent=6, split="held-out"),
    Law("mornings", "pairs", _mornings, split="held-out"),
)
