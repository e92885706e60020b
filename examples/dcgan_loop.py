"""A common DCGAN-type loop in plain PyTorch, with the doctor in two added lines.

These lines are marked, as are the import and the line at the end that prints the diagnosis.

    python examples/dcgan_loop.py
    python examples/dcgan_loop.py --steps 3000

Handwritten digits of 8 x 8 pixels, batch norm in both networks, a sigmoid at the end of the discriminator and binary
cross entropy.
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from equilibria.doctor import Doctor  # doctor: import

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=600)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--latent", type=int, default=32)
parser.add_argument("--width", type=int, default=16)
parser.add_argument("--rate", type=float, default=2e-4)
parser.add_argument("--seed", type=int, default=0)
opt = parser.parse_args()
torch.manual_seed(opt.seed)


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        w = opt.width
        self.main = nn.Sequential(
            nn.ConvTranspose2d(opt.latent, 2 * w, 2, 1, 0, bias=False),  # 2 x 2
            nn.BatchNorm2d(2 * w),
            nn.ReLU(True),
            nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False),  # 4 x 4
            nn.BatchNorm2d(w),
            nn.ReLU(True),
            nn.ConvTranspose2d(w, 1, 4, 2, 1, bias=False),  # 8 x 8
            nn.Tanh(),
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        w = opt.width
        self.main = nn.Sequential(
            nn.Conv2d(1, w, 4, 2, 1, bias=False),  # 4 x 4
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False),  # 2 x 2
            nn.BatchNorm2d(2 * w),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * w, 1, 2, 1, 0, bias=False),  # 1 x 1
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.main(x).view(-1)


def init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


images = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1  # in [-1, 1]
loader = DataLoader(TensorDataset(images), batch_size=opt.batch, shuffle=True, drop_last=True)

G, D = Generator(), Discriminator()
G.apply(init)
D.apply(init)
bce = nn.BCELoss()
opt_d = torch.optim.Adam(D.parameters(), lr=opt.rate, betas=(0.5, 0.999))
opt_g = torch.optim.Adam(G.parameters(), lr=opt.rate, betas=(0.5, 0.999))


def noise(n: int) -> torch.Tensor:
    return torch.randn(n, opt.latent, 1, 1)


doctor = Doctor(G, D, real=loader, latent=noise, objective="nonsaturating")  # doctor: line 1 of 2

step = 0
while step < opt.steps:
    for (x,) in loader:
        step += 1
        real, fake = torch.ones(len(x)), torch.zeros(len(x))

        D.zero_grad()
        loss_real = bce(D(x), real)
        loss_real.backward()
        made = G(noise(len(x)))
        loss_fake = bce(D(made.detach()), fake)
        loss_fake.backward()
        opt_d.step()

        G.zero_grad()
        loss_g = bce(D(made), real)
        loss_g.backward()
        opt_g.step()

        doctor.check(step)  # doctor: line 2 of 2
        if step % 100 == 0:
            print(f"[{step}/{opt.steps}] loss_d {loss_real.item() + loss_fake.item():.3f} loss_g {loss_g.item():.3f}")
        if step == opt.steps:
            break

print(doctor.diagnose())  # doctor: ask
