"""Laws that the generated loops are trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..field.sources import crescents, customers, digits, labelled_ring, ring, standardised, waves

_N = 3000


@dataclass(frozen=True)
class Rows:
    """Rows of a law: ``x`` of shape ``(n, …)``, classes ``y`` if it has any, the source of a translation if it is one.

    ``blocks`` are the widths of the one-hot groups at the end of each row.
    """

    x: Tensor
    y: Tensor | None = None
    source: Tensor | None = None
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Law:
    """A law by its name.

    Attributes:
        name: the name.
        group: ``points``, ``images``, ``waves``, ``table``, ``labelled`` or ``pairs``.
        rows: makes the rows, the same at each call.
        latent: size of the codes.
        split: the split of the cases that use it; held-out cases use those of ``development`` as well.
    """

    name: str
    group: str
    rows: Callable[[], Rows]
    latent: int = 8
    split: str = "development"


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _grid() -> Rows:
    rng = _rng(31)
    at = torch.randint(3, (_N, 2), generator=rng).float() - 1
    return Rows(at + 0.12 * torch.randn(_N, 2, generator=rng))


def _swissroll() -> Rows:
    rng = _rng(32)
    t = 1.5 * math.pi * (1 + 1.5 * torch.rand(_N, generator=rng))
    x = torch.stack([t * t.cos(), t * t.sin()], 1) / 8
    return Rows(x + 0.05 * torch.randn(_N, 2, generator=rng))


def _gauss() -> Rows:
    rng = _rng(33)
    mix = torch.randn(6, 6, generator=rng) / math.sqrt(6) + 0.5 * torch.eye(6)
    return Rows(torch.randn(_N, 6, generator=rng) @ mix)


def _spirals() -> Rows:
    rng = _rng(34)
    t = 1 + 4 * torch.rand(_N, generator=rng)
    sign = torch.randint(2, (_N,), generator=rng).float() * 2 - 1
    x = (sign * t / 4)[:, None] * torch.stack([t.cos(), t.sin()], 1)
    return Rows(x + 0.05 * torch.randn(_N, 2, generator=rng))


def _heavy() -> Rows:
    rng = _rng(35)
    scale = (torch.randn(_N, 5, generator=rng).square().mean(1, keepdim=True)).rsqrt()
    return Rows(standardised(scale * torch.randn(_N, 3, generator=rng)))


def _bars() -> Rows:
    rng = _rng(36)
    x = torch.full((2000, 1, 8, 8), -0.9)
    where = torch.randint(8, (2000,), generator=rng)
    across = torch.rand(2000, generator=rng) < 0.5
    strength = 0.3 + 0.6 * torch.rand(2000, 1, generator=rng)
    rows = torch.arange(2000)
    x[rows[across], 0, where[across]] = strength[across]
    x[rows[~across], 0, :, where[~across]] = strength[~across]
    return Rows(x + 0.03 * torch.randn(x.shape, generator=rng))


def _blobs() -> Rows:
    """Images of 12 x 12 pixels with one bright blob each."""
    rng = _rng(37)
    centre = 3 + 6 * torch.rand(1500, 2, generator=rng)
    axis = torch.arange(12) + 0.5
    far = (axis[None, :, None] - centre[:, :1, None]) ** 2 + (axis[None, None] - centre[:, 1:, None]) ** 2
    width = 1.5 + 1.5 * torch.rand(1500, 1, 1, generator=rng)
    return Rows((1.8 * (-far / (2 * width**2)).exp() - 0.9)[:, None])


def _damped() -> Rows:
    rng = _rng(38)
    t = torch.arange(16.0)
    rate, phase = 0.05 + 0.1 * torch.rand(_N, 1, generator=rng), 6.28 * torch.rand(_N, 1, generator=rng)
    x = 0.8 * (-rate * t).exp() * (0.9 * t + phase).sin()
    return Rows((x + 0.03 * torch.randn(_N, 16, generator=rng))[:, :, None])


def _client() -> Rows:
    """Three money columns and a group of three that depends on the first."""
    x = standardised(customers())[:, :3] / 3
    group = (x[:, 0] > 0.2).long() + (x[:, 0] > -0.2).long()
    return Rows(torch.cat([x, F.one_hot(group, 3).float()], 1), blocks=(3,))


def _parcel() -> Rows:
    rng = _rng(39)
    kind = torch.multinomial(torch.tensor([0.4, 0.3, 0.2, 0.1]), _N, True, generator=rng)
    fast = (torch.rand(_N, generator=rng) < 0.3 + 0.1 * kind).long()
    x = 0.3 * torch.randn(_N, 2, generator=rng) + 0.15 * torch.stack([kind, fast], 1)
    return Rows(torch.cat([x, F.one_hot(kind, 4), F.one_hot(fast, 2)], 1).float(), blocks=(4, 2))


def _choices(seed: int, widths: tuple[int, ...]) -> Rows:
    """A table of one-hot columns alone, each of which follows the one before in half of the rows."""
    rng = _rng(seed)
    kinds = [torch.randint(widths[0], (_N,), generator=rng)]
    for width in widths[1:]:
        own = torch.randint(width, (_N,), generator=rng)
        kinds.append(torch.where(torch.rand(_N, generator=rng) < 0.5, kinds[-1] % width, own))
    return Rows(torch.cat([F.one_hot(k, w).float() for k, w in zip(kinds, widths, strict=True)], 1), blocks=widths)


def _corners() -> Rows:
    rng = _rng(41)
    y = torch.randint(4, (_N,), generator=rng)
    at = torch.stack([(y % 2) * 2.0 - 1, (y // 2) * 2.0 - 1], 1)
    return Rows(at + torch.tensor([0.3, 0.12]) * torch.randn(_N, 2, generator=rng), y)


def _species() -> Rows:
    """Four measurements of three classes, each with its own direction."""
    rng = _rng(45)
    y = torch.randint(3, (_N,), generator=rng)
    centre, long = torch.randn(3, 4, generator=rng), 0.4 * torch.randn(3, 4, generator=rng)
    x = centre[y] + long[y] * torch.randn(_N, 1, generator=rng) + 0.15 * torch.randn(_N, 4, generator=rng)
    return Rows(standardised(x), y)


def _clouds() -> Rows:
    rng = _rng(42)
    return Rows(crescents(_N).flip(1), source=0.7 * torch.randn(_N, 2, generator=rng))


def _turned() -> Rows:
    """Four Gaussians from a ring: another number of modes on each side, and no row has its pair."""
    rng = _rng(46)
    at = torch.randint(2, (_N, 2), generator=rng).float() * 2 - 1
    return Rows(0.8 * at + 0.2 * torch.randn(_N, 2, generator=rng), source=ring(_N, std=0.2))


LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        Law("ring", "points", lambda: Rows(ring(_N, std=0.1))),
        Law("grid", "points", _grid, split="held-out"),
        Law("moons", "points", lambda: Rows(crescents(_N)), latent=4),
        Law("swissroll", "points", _swissroll, latent=6, split="held-out"),
        Law("gauss6", "points", _gauss, latent=12),
        Law("spirals", "points", _spirals, latent=6),
        Law("heavytail", "points", _heavy, split="held-out"),
        Law("digits", "images", lambda: Rows(0.9 * digits()[0]), latent=16),
        Law("bars", "images", _bars, latent=12, split="held-out"),
        Law("blobs", "images", _blobs, latent=12),
        Law("sines", "waves", lambda: Rows(waves(_N)), latent=4),
        Law("damped", "waves", _damped, latent=5, split="held-out"),
        Law("client", "table", _client, latent=10),
        Law("parcel", "table", _parcel, latent=8, split="held-out"),
        Law("answers", "table", lambda: _choices(43, (3, 3, 2)), latent=10),
        Law("orders", "table", lambda: _choices(44, (4, 2, 4)), latent=8, split="held-out"),
        Law("ring6-labelled", "labelled", lambda: Rows(*labelled_ring(_N))),
        Law("species-labelled", "labelled", _species),
        Law("corners-labelled", "labelled", _corners, split="held-out"),
        Law("clouds", "pairs", _clouds),
        Law("ring-to-corners", "pairs", _turned, split="held-out"),
    )
}
"""Every law by its name."""


COLOURED = frozenset({"weaves", "dusks"})
"""The laws of images with three channels."""


def add(*laws: Law) -> None:
    """Add laws to :data:`LAWS`."""
    LAWS.update({law.name: law for law in laws})


@cache
def rows_of(name: str) -> Rows:
    """The rows of a law, read only."""
    return LAWS[name].rows()


__all__ = ["COLOURED", "LAWS", "Law", "Rows", "add", "rows_of"]
