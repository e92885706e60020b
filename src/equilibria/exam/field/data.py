"""Loops with data that the generator cannot reach, with too few rows, or with a rate that is too small to move."""

from __future__ import annotations

import torch
from torch import nn, optim
from torch.nn import functional as F

from .case import Attach, Doctor, case
from .parts import DigitJudge, DigitMaker, leaky, mlp, normed
from .sources import customers, deal, digits, ring, standardised
from .truth import copies, fresh_digits, gap, missed_modes


@case("data-range-mismatch", "data", steps=500)
def grey_values_unscaled(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Digits as grey values of 0 to 255 for a generator that ends in tanh."""
    imgs = digits(0, 255)[0]
    if not faulty:
        imgs = imgs / 127.5 - 1
    G, D = DigitMaker(16, 12), DigitJudge(12)
    og, od = optim.Adam(G.parameters(), 1e-3, (0.5, 0.99)), optim.Adam(D.parameters(), 5e-4, (0.5, 0.99))
    bce = nn.BCEWithLogitsLoss()
    doctor = attach(G, D, real=imgs, latent=16)
    for i in range(1, steps + 1):
        fake = G(torch.randn(32, 16))
        od.zero_grad()
        (bce(D(deal(imgs, 32)), torch.ones(32)) + bce(D(fake.detach()), torch.zeros(32))).backward()
        od.step()
        og.zero_grad()
        bce(D(fake), torch.ones(32)).backward()
        og.step()
        doctor.check(i)
    return doctor


@case("data-range-mismatch", "data", steps=600)
def symmetric_images_for_a_sigmoid(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Digits in [-1, 1] for a generator that ends in a sigmoid."""
    imgs = digits(-1, 1)[0].flatten(1)
    G = normed(16, 128, 128, 64, last=nn.Sigmoid() if faulty else nn.Tanh())
    D = mlp(64, 128, 128, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 1e-3, (0.5, 0.99)), optim.Adam(D.parameters(), 5e-4, (0.5, 0.99))
    doctor = attach(G, D, real=imgs, latent=16)
    for i in range(1, steps + 1):
        z = torch.randn(64, 16)
        od.zero_grad()
        (0.5 * ((D(deal(imgs, 64)) - 1) ** 2).mean() + 0.5 * (D(G(z).detach()) ** 2).mean()).backward()
        od.step()
        og.zero_grad()
        (0.5 * ((D(G(z)) - 1) ** 2).mean()).backward()
        og.step()
        doctor.check(i)
    return doctor


@case("data-range-mismatch", "data", steps=600)
def half_of_the_columns_scaled(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A table of which only the money columns are scaled to [-1, 1], for a generator that ends in tanh."""
    table = customers()
    low, high = table.min(0).values, table.max(0).values
    scaled = 2 * (table - low) / (high - low) - 1
    if faulty:
        scaled[:, [0, 3]] = table[:, [0, 3]]  # age and visits as they are
    gen, dis = normed(8, 96, 96, 6, last=nn.Tanh()), mlp(6, 96, 96, 1, act=leaky)
    og, od = optim.Adam(gen.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(dis.parameters(), 2e-3, (0.5, 0.99))
    doctor = attach(gen, dis, real=scaled, latent=8)
    for i in range(1, steps + 1):
        fake = gen(torch.randn(128, 8))
        od.zero_grad()
        (F.softplus(-dis(deal(scaled, 128))) + F.softplus(dis(fake.detach()))).mean().backward()
        od.step()
        og.zero_grad()
        F.softplus(-dis(fake)).mean().backward()
        og.step()
        doctor.check(i)
    return doctor


@case("discrete-column", "dynamics", steps=600)
def rare_flag_as_a_number(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A table with a flag that is set in one row of ten: as -1 and 1 under a tanh, or as one-hot with a softmax."""
    table = standardised(customers())[:, :3] / 3
    flag = (torch.rand(len(table), 1, generator=torch.Generator().manual_seed(8)) < 0.1).float()
    rows = torch.cat([table + 0.1 * flag, 2 * flag - 1] if faulty else [table + 0.1 * flag, flag, 1 - flag], 1)

    class Maker(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = normed(8, 64, 64, rows.shape[1])

        def forward(self, z):
            h = self.body(z)
            return h.tanh() if faulty else torch.cat([h[:, :3].tanh(), F.gumbel_softmax(h[:, 3:], 0.2)], 1)

    maker, judge = Maker(), mlp(rows.shape[1], 64, 64, 1, act=leaky)
    om, oj = optim.Adam(maker.parameters(), 1e-3, (0.5, 0.9)), optim.Adam(judge.parameters(), 1e-3, (0.5, 0.9))
    doctor = attach(maker, judge, real=rows, latent=8)
    for i in range(1, steps + 1):
        made = maker(torch.randn(64, 8))
        oj.zero_grad()
        (F.softplus(-judge(deal(rows, 64))).mean() + F.softplus(judge(made.detach())).mean()).backward()
        oj.step()
        om.zero_grad()
        F.softplus(-judge(made)).mean().backward()
        om.step()
        doctor.check(i)
    return doctor


@case("step-below-rounding", "data", steps=800)
def decay_at_every_iteration(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A scheduler meant for epochs is stepped at every iteration: the rates vanish within the first fifth."""
    x = ring()
    G, D = mlp(8, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))
    schedulers = [optim.lr_scheduler.ExponentialLR(o, gamma=0.9) for o in (og, od)]
    doctor = attach(G, D, real=x, latent=8)
    for i in range(1, steps + 1):
        od.zero_grad()
        F.softplus(-D(deal(x, 128))).mean().backward()
        F.softplus(D(G(torch.randn(128, 8)).detach())).mean().backward()
        od.step()
        og.zero_grad()
        F.softplus(-D(G(torch.randn(128, 8)))).mean().backward()
        og.step()
        if faulty or i % 100 == 0:
            for scheduler in schedulers:
                scheduler.step()
        doctor.check(i)
    return doctor


@case("discriminator-overfitted", "dynamics", steps=400, truth=gap(fresh_digits))
def sixty_images(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Sixty images, and a discriminator that learns each of them."""
    imgs = digits()[0]
    train = imgs[:60] if faulty else imgs[:1000]
    G, D = DigitMaker(16, 12), DigitJudge(24)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 1e-3, (0.5, 0.99))
    doctor = attach(G, D, real=train, latent=16, holdout=imgs[1000:])
    for i in range(1, steps + 1):
        od.zero_grad()
        (F.softplus(-D(deal(train, 32))) + F.softplus(D(G(torch.randn(32, 16)).detach()))).mean().backward()
        od.step()
        og.zero_grad()
        F.softplus(-D(G(torch.randn(32, 16)))).mean().backward()
        og.step()
        doctor.check(i)
    return doctor


@case("memorisation", "dynamics", steps=800, truth=copies(fresh_digits))
def twenty_images(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Twenty images, which the generator returns."""
    imgs = digits()[0].flatten(1)
    train = imgs[:20] if faulty else imgs[:1000]
    G, D = normed(16, 128, 128, 64, last=nn.Tanh()), mlp(64, 128, 128, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 1e-3, (0.5, 0.99)), optim.Adam(D.parameters(), 5e-4, (0.5, 0.99))
    doctor = attach(G, D, real=train, latent=16, holdout=imgs[1000:])
    for i in range(1, steps + 1):
        fake = G(torch.randn(64, 16))
        od.zero_grad()
        (0.5 * ((D(deal(train, 64)) - 1) ** 2 + D(fake.detach()) ** 2)).mean().backward()
        od.step()
        og.zero_grad()
        (0.5 * (D(fake) - 1) ** 2).mean().backward()
        og.step()
        doctor.check(i)
    return doctor


@case("mode-collapse", "dynamics", steps=500, truth=missed_modes)
def many_generator_steps(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Ten generator steps for one of a slow discriminator: all samples go where the discriminator is high."""
    x = ring()
    G, D = mlp(8, 64, 64, 2), mlp(2, 96, 96, 1, act=leaky)
    og = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99))
    od = optim.Adam(D.parameters(), 2e-4 if faulty else 2e-3, (0.5, 0.99))
    doctor = attach(G, D, real=x, latent=8, objective="nonsaturating")
    for i in range(1, steps + 1):
        od.zero_grad()
        (F.softplus(-D(deal(x, 128))) + F.softplus(D(G(torch.randn(128, 8)).detach()))).mean().backward()
        od.step()
        for _ in range(10 if faulty else 1):
            og.zero_grad()
            F.softplus(-D(G(torch.randn(128, 8)))).mean().backward()
            og.step()
        doctor.check(i)
    return doctor
