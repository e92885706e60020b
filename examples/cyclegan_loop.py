"""A CycleGAN-type loop in plain PyTorch with a doctor for each direction, two added lines each.

These lines are marked, as are the import and the line at the end that prints the diagnoses.

    python examples/cyclegan_loop.py
    python examples/cyclegan_loop.py --steps 1000

Digits (white on black, 8 x 8) are translated to inverted digits and back, without pairs: two generators, two
discriminators that score patches, least squares, cycle and identity losses, and a pool of earlier images for each
discriminator.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from equilibria.doctor import Doctor  # doctor: import

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=250)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--width", type=int, default=16)
parser.add_argument("--rate", type=float, default=5e-4)
parser.add_argument("--cycle", type=float, default=10.0)
parser.add_argument("--seed", type=int, default=0)
opt = parser.parse_args()
torch.manual_seed(opt.seed)
random.seed(opt.seed)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.InstanceNorm2d(width), nn.ReLU(True), nn.Conv2d(width, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def generator() -> nn.Module:
    w = opt.width
    first, last = nn.Conv2d(1, w, 3, padding=1), nn.Conv2d(w, 1, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(True), Block(w), Block(w), last, nn.Tanh())


def discriminator() -> nn.Module:
    """Scores for overlapping patches: (n, 1, 8, 8) to (n, 1, 3, 3)."""
    w = opt.width
    return nn.Sequential(
        nn.Conv2d(1, w, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(w, w, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(w, 1, 2)
    )


class Pool:
    """Up to 50 earlier images; half of the returned images come from them."""

    def __init__(self, size: int = 50) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        out = []
        for image in images.detach():
            if len(self.images) < self.size:
                self.images.append(image)
                out.append(image)
            elif random.random() < 0.5:
                i = random.randrange(self.size)
                out.append(self.images[i])
                self.images[i] = image
            else:
                out.append(image)
        return torch.stack(out)


def dealer(rows: Tensor) -> Callable[[int], Tensor]:
    return lambda n: rows[torch.randint(len(rows), (n,))]


# The input of a translator is an image of the other domain: `latent=` may be any function that returns such images.
digits = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
X, Y = digits[::2], -digits[1::2]
G_xy, G_yx, D_x, D_y = generator(), generator(), discriminator(), discriminator()
opt_g = torch.optim.Adam([*G_xy.parameters(), *G_yx.parameters()], lr=opt.rate, betas=(0.5, 0.999))
opt_d = torch.optim.Adam([*D_x.parameters(), *D_y.parameters()], lr=opt.rate, betas=(0.5, 0.999))
pool_x, pool_y = Pool(), Pool()
mse, l1 = nn.MSELoss(), nn.L1Loss()
deal_x, deal_y = dealer(X), dealer(Y)


def to(target: float, scores: Tensor) -> Tensor:
    return mse(scores, torch.full_like(scores, target))


doctor_y = Doctor(G_xy, D_y, real=Y, latent=deal_x, objective="least-squares")  # doctor: line 1 of 2
doctor_x = Doctor(G_yx, D_x, real=X, latent=deal_y, objective="least-squares")  # doctor: line 1 of 2

for step in range(1, opt.steps + 1):
    x, y = deal_x(opt.batch), deal_y(opt.batch)

    for p in itertools.chain(D_x.parameters(), D_y.parameters()):
        p.requires_grad_(False)
    opt_g.zero_grad()
    fake_y, fake_x = G_xy(x), G_yx(y)
    loss_gan = to(1.0, D_y(fake_y)) + to(1.0, D_x(fake_x))
    loss_cycle = l1(G_yx(fake_y), x) + l1(G_xy(fake_x), y)
    loss_identity = l1(G_xy(y), y) + l1(G_yx(x), x)
    (loss_gan + opt.cycle * loss_cycle + 0.5 * opt.cycle * loss_identity).backward()
    opt_g.step()

    for p in itertools.chain(D_x.parameters(), D_y.parameters()):
        p.requires_grad_(True)
    opt_d.zero_grad()
    loss_d = 0.5 * (to(1.0, D_y(y)) + to(0.0, D_y(pool_y(fake_y))) + to(1.0, D_x(x)) + to(0.0, D_x(pool_x(fake_x))))
    loss_d.backward()
    opt_d.step()

    doctor_y.check(step)  # doctor: line 2 of 2
    doctor_x.check(step)  # doctor: line 2 of 2
    if step % 50 == 0:
        print(f"[{step}/{opt.steps}] gan {loss_gan.item():.3f} cycle {loss_cycle.item():.3f} d {loss_d.item():.3f}")

print(f"X -> Y: {doctor_y.diagnose()}\n\nY -> X: {doctor_x.diagnose()}")  # doctor: ask
