"""Laws of the unseen split."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..laws import Law, Rows, add

_N = 3000
_N_IMAGES = 1800


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _checkerboard() -> Rows:
    """Uniform on every second field of a board of 4 x 4."""
    rng = _rng(101)
    row, half = torch.randint(4, (_N,), generator=rng), torch.randint(2, (_N,), generator=rng)
    field = torch.stack([2 * half + row % 2, row], 1)
    return Rows((field + torch.rand(_N, 2, generator=rng)) * 0.6 - 1.2)


def _lissajous() -> Rows:
    """A closed curve that crosses itself."""
    rng = _rng(102)
    t = 2 * math.pi * torch.rand(_N, generator=rng)
    x = torch.stack([(2 * t).sin(), 0.9 * (t + 0.5).sin()], 1)
    return Rows(x + 0.1 * torch.randn(_N, 2, generator=rng))


def _funnel() -> Rows:
    """A cone that opens upwards, in three dimensions."""
    rng = _rng(103)
    height, turn = torch.rand(_N, generator=rng).sqrt(), 2 * math.pi * torch.rand(_N, generator=rng)
    x = torch.stack([height * turn.cos(), height * turn.sin(), 1.8 * height - 1.2], 1)
    return Rows(x + 0.06 * torch.randn(_N, 3, generator=rng))


def _pendulum() -> Rows:
    """States of a swinging pendulum: sine and cosine of its angle, velocity, energy."""
    rng = _rng(104)
    energy = 0.3 + 1.2 * torch.rand(_N, generator=rng)
    phase = 2 * math.pi * torch.rand(_N, generator=rng)
    angle, velocity = 1.1 * energy.sqrt() * phase.cos(), energy.sqrt() * phase.sin()
    x = torch.stack([angle.sin(), angle.cos() - 0.6, velocity, energy - 0.9], 1)
    return Rows(1.2 * x + 0.04 * torch.randn(_N, 4, generator=rng))


def _skewed() -> Rows:
    """Seven positive measurements with long right sides and two common causes, centred."""
    rng = _rng(105)
    load = torch.rand(2, 7, generator=rng) - 0.2
    x = (0.6 * torch.randn(_N, 2, generator=rng) @ load + 0.25 * torch.randn(_N, 7, generator=rng)).exp()
    return Rows(((x - x.mean(0)) / x.std(0)).clamp(max=4.0))


def _pluses() -> Rows:
    """Images of 8 x 8 pixels: a plus of any place and strength on a dark ground."""
    rng = _rng(106)
    axis = torch.arange(8.0)
    at = 2 + 3.5 * torch.rand(_N_IMAGES, 2, generator=rng)
    near = (-((axis - at[:, :1, None]) ** 2) / 0.8).exp(), (-((axis - at[:, 1:, None]) ** 2) / 0.8).exp()
    arm = [(-((axis - at[:, i, None]) ** 2) / 9.0).exp() for i in (0, 1)]
    plus = torch.maximum(near[0].transpose(1, 2) * arm[1][:, None], arm[0][:, :, None] * near[1])
    strength = 0.7 + 0.3 * torch.rand(_N_IMAGES, 1, 1, generator=rng)
    return Rows((1.75 * strength * plus - 0.85)[:, None])


def _dusks() -> Rows:
    """Skies of 8 x 8 pixels in three colours: warmer or colder above, dark below, and a horizon between them."""
    rng = _rng(107)
    warm = 2 * torch.rand(_N_IMAGES, 1, generator=rng) - 1
    above = torch.tensor([0.3, 0.3, 0.5]) + warm * torch.tensor([0.4, 0.1, -0.3])
    below = torch.tensor([-0.4, -0.5, -0.4]) + warm * torch.tensor([0.1, 0.0, 0.0])
    horizon = 1.5 + 5 * torch.rand(_N_IMAGES, 1, generator=rng)
    share = torch.sigmoid(1.5 * (torch.arange(8.0) - horizon))[:, None, :, None]
    sky = above[:, :, None, None] * (1 - share) + below[:, :, None, None] * share
    return Rows(sky.expand(-1, -1, -1, 8).contiguous())


def _wedges() -> Rows:
    """Images of 8 x 8 pixels: a bright half plane of any direction and distance, with a soft edge."""
    rng = _rng(108)
    axis = torch.linspace(-1, 1, 8)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    turn = 2 * math.pi * torch.rand(_N_IMAGES, 1, 1, generator=rng)
    far = 0.8 * torch.rand(_N_IMAGES, 1, 1, generator=rng) - 0.4
    return Rows((0.85 * (3 * (turn.cos() * u + turn.sin() * v - far)).tanh())[:, None])


def _chirps() -> Rows:
    """Tones that rise in frequency, with any phase and loudness."""
    rng = _rng(109)
    t = torch.arange(16.0)
    start, rise = 0.2 + 0.2 * torch.rand(_N, 1, generator=rng), 0.01 + 0.02 * torch.rand(_N, 1, generator=rng)
    loud, phase = 0.5 + 0.4 * torch.rand(_N, 1, generator=rng), 2 * math.pi * torch.rand(_N, 1, generator=rng)
    x = loud * (phase + start * t + rise * t.square()).sin()
    return Rows((x + 0.03 * torch.randn(_N, 16, generator=rng))[:, :, None])


def _predators() -> Rows:
    """Two channels: numbers of prey and of predators over sixteen seasons, as logarithms."""
    rng = _rng(110)
    prey, hunter = 0.6 * torch.randn(2, _N, generator=rng).clamp(-1.5, 1.5)
    found = []
    for _ in range(16):
        found.append(torch.stack([prey, hunter], 1))
        for _ in range(4):
            prey = prey + 0.1 * (1 - hunter.exp())
            hunter = hunter + 0.1 * (prey.exp() - 1)
    x = torch.stack(found, 1).clamp(-2.5, 2.5)
    return Rows(0.45 * x + 0.02 * torch.randn(x.shape, generator=rng))


def _one_hot(*columns: tuple[Tensor, int]) -> Tensor:
    return torch.cat([F.one_hot(column.long(), width) for column, width in columns], 1).float()


def _tickets() -> Rows:
    """Categories of a ticket: queue, urgency and outcome, of which the last depends on both others."""
    rng = _rng(111)
    queue = torch.multinomial(torch.tensor([0.45, 0.3, 0.25]), _N, True, generator=rng)
    urgent = (torch.rand(_N, generator=rng) < torch.tensor([0.2, 0.5, 0.7])[queue]).long()
    weights = torch.tensor([[0.6, 0.2, 0.15, 0.05], [0.2, 0.5, 0.1, 0.2], [0.1, 0.2, 0.3, 0.4]])
    outcome = torch.multinomial(weights[(queue + urgent) % 3], 1, True, generator=rng).flatten()
    return Rows(_one_hot((queue, 3), (urgent, 2), (outcome, 4)), blocks=(3, 2, 4))


def _meters() -> Rows:
    """A table: consumption, temperature and bill, the tariff, and whether the house has a heat pump."""
    rng = _rng(112)
    pump = (torch.rand(_N, generator=rng) < 0.4).long()
    warm = 0.35 * torch.randn(_N, generator=rng)
    used = 0.25 * pump - 0.6 * warm + 0.15 * torch.randn(_N, generator=rng) - 0.1
    tariff = (used > -0.15).long() + (used > 0.2).long()
    bill = 0.7 * used + 0.1 * tariff - 0.1 + 0.08 * torch.randn(_N, generator=rng)
    return Rows(torch.cat([torch.stack([used, warm, bill], 1), _one_hot((tariff, 3), (pump, 2))], 1), blocks=(3, 2))


def _arcs() -> Rows:
    """Three arcs around a centre, each of another radius, thickness and class."""
    rng = _rng(113)
    y = torch.randint(3, (_N,), generator=rng)
    far = torch.tensor([0.6, 1.0, 1.4])[y] + torch.tensor([0.05, 0.08, 0.1])[y] * torch.randn(_N, generator=rng)
    angle = 2 * math.pi * y / 3 + 1.6 * torch.rand(_N, generator=rng)
    return Rows(far[:, None] * torch.stack([angle.cos(), angle.sin()], 1), y)


def _regimes() -> Rows:
    """Five columns in three regimes: another centre and another common cause in each."""
    rng = _rng(114)
    y = torch.multinomial(torch.tensor([0.45, 0.35, 0.2]), _N, True, generator=rng)
    centre, cause = 1.1 * torch.randn(3, 5, generator=rng), 0.5 * torch.randn(3, 5, generator=rng)
    x = centre[y] + cause[y] * torch.randn(_N, 1, generator=rng) + 0.2 * torch.randn(_N, 5, generator=rng)
    return Rows((x - x.mean(0)) / x.std(0), y)


def _bent() -> Rows:
    """From a Gaussian cloud to an arc in three columns; rows have no pairs."""
    rng = _rng(115)
    angle = 2.4 * torch.rand(_N, generator=rng) - 1.2
    arc = torch.stack([1.2 * angle.sin(), 1.5 * angle.cos() - 1.0, 0.6 * angle], 1)
    return Rows(arc + 0.1 * torch.randn(_N, 3, generator=rng), source=0.8 * torch.randn(_N, 3, generator=rng))


def _seasons() -> Rows:
    """From the weather of summers to that of winters: four readings, colder, wetter and less spread."""
    rng = _rng(116)
    mix = torch.eye(4) + 0.4 * torch.randn(4, 4, generator=rng)
    summer = 0.6 * torch.randn(_N, 4, generator=rng) @ mix
    winter = 0.5 * torch.randn(_N, 4, generator=rng) @ mix.flip(0)
    return Rows(winter.tanh() - torch.tensor([0.5, -0.4, 0.2, 0.0]), source=summer)


add(
    Law("checkerboard", "points", _checkerboard, latent=8, split="unseen"),
    Law("lissajous", "points", _lissajous, latent=5, split="unseen"),
    Law("funnel", "points", _funnel, latent=6, split="unseen"),
    Law("pendulum", "points", _pendulum, latent=8, split="unseen"),
    Law("skewed", "points", _skewed, latent=14, split="unseen"),
    Law("pluses", "images", _pluses, latent=10, split="unseen"),
    Law("dusks", "images", _dusks, latent=12, split="unseen"),
    Law("wedges", "images", _wedges, latent=8, split="unseen"),
    Law("chirps", "waves", _chirps, latent=10, split="unseen"),
    Law("predators", "waves", _predators, latent=6, split="unseen"),
    Law("tickets", "table", _tickets, latent=10, split="unseen"),
    Law("meters", "table", _meters, latent=9, split="unseen"),
    Law("arcs-labelled", "labelled", _arcs, latent=6, split="unseen"),
    Law("regimes-labelled", "labelled", _regimes, latent=8, split="unseen"),
    Law("bent", "pairs", _bent, split="unseen"),
    Law("seasons", "pairs", _seasons, split="unseen"),
)
