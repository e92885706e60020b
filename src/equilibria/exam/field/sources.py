"""Small data sets for the loops: images, points, tables, sequences and pairs; no file is fetched."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def digits(low: float = -1.0, high: float = 1.0) -> tuple[Tensor, Tensor]:
    """The 1,797 digits of scikit-learn, ``(n, 1, 8, 8)`` in ``[low, high]``, shuffled, and their classes."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = torch.randperm(len(found.images), generator=torch.Generator().manual_seed(3))
    x = torch.from_numpy(found.images).float()[:, None] / 16
    return (low + (high - low) * x)[order], torch.from_numpy(found.target).long()[order]


def ring(n: int = 4000, modes: int = 8, std: float = 0.05, seed: int = 11) -> Tensor:
    """A ring of Gaussians of radius 1, ``(n, 2)``."""
    rows = torch.Generator().manual_seed(seed)
    angle = torch.randint(modes, (n,), generator=rows) * 2 * math.pi / modes
    return torch.stack([angle.cos(), angle.sin()], 1) + std * torch.randn(n, 2, generator=rows)


def labelled_ring(n: int = 4000, modes: int = 6) -> tuple[Tensor, Tensor]:
    """A ring of Gaussians and the number of each row's Gaussian."""
    rows = torch.Generator().manual_seed(12)
    y = torch.randint(modes, (n,), generator=rows)
    angle = y * 2 * math.pi / modes
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(n, 2, generator=rows), y


def crescents(n: int = 4000) -> Tensor:
    """Two interleaved half circles, ``(n, 2)``, centred."""
    rows = torch.Generator().manual_seed(13)
    angle = torch.rand(n, generator=rows) * math.pi
    lower = torch.rand(n, generator=rows) < 0.5
    x = torch.where(lower, 1 - angle.cos(), angle.cos()) - 0.5
    y = torch.where(lower, 0.5 - angle.sin(), angle.sin()) - 0.25
    return torch.stack([x, y], 1) + 0.05 * torch.randn(n, 2, generator=rows)


def customers(n: int = 3000) -> Tensor:
    """A table: age in years, income in thousands, debt in thousands, visits a month, share of returns, satisfaction."""
    rows = torch.Generator().manual_seed(14)
    e = torch.randn(n, 6, generator=rows)
    age = 45 + 14 * e[:, 0]
    income = (3.6 + 0.01 * (age - 45) + 0.4 * e[:, 1]).exp()
    debt = 0.6 * income * (0.5 * e[:, 2]).exp()
    visits = 4 + 2 * e[:, 3].tanh() - 0.02 * (age - 45)
    returns = torch.sigmoid(e[:, 4] - 1.5)
    happy = torch.tanh(0.7 * e[:, 5] - 2 * (returns - 0.2))
    return torch.stack([age, income, debt, visits, returns, happy], 1)


def standardised(x: Tensor) -> Tensor:
    """Columns of mean 0 and deviation 1."""
    return (x - x.mean(0)) / x.std(0)


def waves(n: int = 3000, length: int = 16) -> Tensor:
    """Sine and cosine of random frequency and phase with noise, ``(n, length, 2)``."""
    rows = torch.Generator().manual_seed(15)
    frequency = 0.3 + 0.5 * torch.rand(n, 1, generator=rows)
    phase = 2 * math.pi * torch.rand(n, 1, generator=rows)
    angle = frequency * torch.arange(length) + phase
    x = 0.8 * torch.stack([angle.sin(), angle.cos()], 2)
    return x + 0.03 * torch.randn(n, length, 2, generator=rows)


def words(n: int = 3000, length: int = 8, vocabulary: int = 6) -> Tensor:
    """Words of a Markov chain that mostly steps to the next letter, one-hot ``(n, length, vocabulary)``."""
    rows = torch.Generator().manual_seed(16)
    letters = [torch.randint(vocabulary, (n,), generator=rows)]
    for _ in range(length - 1):
        step = (torch.rand(n, generator=rows) < 0.8).long()
        letters.append((letters[-1] + step) % vocabulary)
    return F.one_hot(torch.stack(letters, 1), vocabulary).float()


def coarse(x: Tensor) -> Tensor:
    """Images at half resolution, ``(n, 1, 4, 4)``."""
    return F.avg_pool2d(x, 2)


def deal(x: Tensor, n: int) -> Tensor:
    """``n`` rows drawn with replacement."""
    return x[torch.randint(len(x), (n,))]
