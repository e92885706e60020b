"""Small networks as users build them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


def mlp(*sizes: int, act: Callable[[], nn.Module] = nn.ReLU, last: nn.Module | None = None) -> nn.Sequential:
    """Linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for i in range(len(sizes) - 1):
        layers.append(nn.Linear(sizes[i], sizes[i + 1]))
        if i < len(sizes) - 2:
            layers.append(act())
    return nn.Sequential(*layers, *([last] if last is not None else []))


def leaky() -> nn.Module:
    """LeakyReLU of slope 0.2."""
    return nn.LeakyReLU(0.2)


def normed(*sizes: int, last: nn.Module | None = None, momentum: float = 0.1) -> nn.Sequential:
    """Linear layers with BatchNorm and ReLU between them."""
    layers: list[nn.Module] = []
    for i in range(len(sizes) - 2):
        layers += [nn.Linear(sizes[i], sizes[i + 1]), nn.BatchNorm1d(sizes[i + 1], momentum=momentum), nn.ReLU()]
    layers.append(nn.Linear(sizes[-2], sizes[-1]))
    return nn.Sequential(*layers, *([last] if last is not None else []))


class DigitMaker(nn.Module):
    """A generator of 8 x 8 images by transposed convolutions with BatchNorm."""

    def __init__(self, nz: int = 16, ngf: int = 16, last: nn.Module | None = None) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.Conv2d(ngf * 2, ngf * 2, 3, 1, 1, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, 1, 4, 2, 1),
            last if last is not None else nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.main(z.view(len(z), -1, 1, 1))


class DigitJudge(nn.Module):
    """A discriminator of 8 x 8 images by strided convolutions, without a norm."""

    def __init__(self, ndf: int = 16, last: nn.Module | None = None, spectral: bool = False) -> None:
        super().__init__()
        wrap = spectral_norm if spectral else lambda layer: layer
        self.features = nn.Sequential(
            wrap(nn.Conv2d(1, ndf, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            wrap(nn.Conv2d(ndf, ndf * 2, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        self.head = wrap(nn.Linear(ndf * 8, 1))
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        h = self.head(self.features(x)).view(-1)
        return h if self.last is None else self.last(h)


class WaveMaker(nn.Module):
    """A recurrent generator: noise at every time step to values, ``(n, t, k) -> (n, t, c)``."""

    def __init__(self, noise: int = 4, hidden: int = 32, channels: int = 2) -> None:
        super().__init__()
        self.rnn = nn.GRU(noise, hidden, batch_first=True)
        self.out = nn.Linear(hidden, channels)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.out(self.rnn(z)[0]))


class WaveJudge(nn.Module):
    """A recurrent discriminator that scores the last state."""

    def __init__(self, hidden: int = 32, channels: int = 2) -> None:
        super().__init__()
        self.rnn = nn.GRU(channels, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][:, -1])


class LabelledMaker(nn.Module):
    """A conditional generator that embeds the class."""

    def __init__(self, nz: int, classes: int, out: int, hidden: int = 96, last: nn.Module | None = None) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, 8)
        self.net = mlp(nz + 8, hidden, hidden, out, last=last)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.net(torch.cat([z, self.embed(y)], 1))


class LabelledJudge(nn.Module):
    """A conditional discriminator that embeds the class."""

    def __init__(self, features: int, classes: int, hidden: int = 96) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, 8)
        self.net = mlp(features + 8, hidden, hidden, 1, act=leaky)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.net(torch.cat([x.flatten(1), self.embed(y)], 1))


def set_requires_grad(net: nn.Module, on: bool) -> None:
    """Freeze or unfreeze a network."""
    for p in net.parameters():
        p.requires_grad_(on)
