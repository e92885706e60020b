"""Loops without a fault, with losses other than the logistic one: any active finding is a false alarm."""

from __future__ import annotations

import torch
from torch import nn, optim
from torch.nn import functional as F

from .case import Attach, Doctor, healthy
from .parts import DigitJudge, DigitMaker, WaveJudge, WaveMaker, leaky, mlp
from .sources import crescents, customers, deal, digits, ring, standardised, waves


@healthy(steps=500)
def clipped_critic(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A Wasserstein GAN with clipped weights, RMSprop and five critic steps, written with one and minus one."""
    x = crescents()
    G, C = mlp(4, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    opt_G, opt_C = optim.RMSprop(G.parameters(), lr=5e-4), optim.RMSprop(C.parameters(), lr=1e-3)
    one = torch.tensor(1.0)
    mone = one * -1
    doctor = attach(G, C, real=x, latent=4)
    for i in range(1, steps + 1):
        for _ in range(5):
            for p in C.parameters():
                p.data.clamp_(-0.15, 0.15)
            C.zero_grad()
            C(deal(x, 64)).mean().backward(mone)
            C(G(torch.randn(64, 4)).detach()).mean().backward(one)
            opt_C.step()
        G.zero_grad()
        C(G(torch.randn(64, 4))).mean().backward(mone)
        opt_G.step()
        doctor.check(i)
    return doctor


@healthy(steps=350)
def penalised_critic(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """WGAN-GP with one mixing weight per row and the penalty differentiated in a pass of its own."""
    table = standardised(customers())
    G, C = mlp(8, 96, 96, 6), mlp(6, 96, 96, 1)
    og, oc = optim.Adam(G.parameters(), 1e-3, (0.0, 0.9)), optim.Adam(C.parameters(), 1e-3, (0.0, 0.9))
    doctor = attach(G, C, real=table, latent=8)
    for i in range(1, steps + 1):
        for _ in range(4):
            real, fake = deal(table, 64), G(torch.randn(64, 8)).detach()
            oc.zero_grad()
            C(real).mean().neg().backward()
            C(fake).mean().backward()
            mid = torch.lerp(real, fake, torch.rand(64, 1)).requires_grad_()
            slope = torch.autograd.grad(C(mid), mid, torch.ones(64, 1), create_graph=True, retain_graph=True)[0]
            (slope.norm(2, dim=1) - 1).pow(2).mean().backward()
            oc.step()
        og.zero_grad()
        C(G(torch.randn(64, 8))).mean().neg().backward()
        og.step()
        doctor.check(i)
    return doctor


@healthy(steps=300)
def spectral_hinge(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Hinge losses, spectral norm, two discriminator steps for each generator step, and a fresh forward for a log."""
    imgs, _ = digits()
    G, D = DigitMaker(16, 12), DigitJudge(24, spectral=True)
    og, od = optim.Adam(G.parameters(), 1e-3, (0.0, 0.9)), optim.Adam(D.parameters(), 2e-3, (0.0, 0.9))
    doctor = attach(G, D, real=imgs, latent=16)
    history = []
    for i in range(1, steps + 1):
        for _ in range(2):
            x, fake = deal(imgs, 32), G(torch.randn(32, 16)).detach()
            od.zero_grad()
            (F.relu(1 - D(x)).mean() + F.relu(1 + D(fake)).mean()).backward()
            od.step()
        og.zero_grad()
        (-D(G(torch.randn(32, 16))).mean()).backward()
        og.step()
        with torch.no_grad():
            history.append((D(x).mean().item(), D(fake).mean().item()))
        doctor.check(i)
    return doctor


@healthy(steps=550)
def recurrent_least_squares(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Sequences by recurrent networks with least squares and clipped gradient norms."""
    series = waves(length=8)
    g, d = WaveMaker(hidden=24), WaveJudge(hidden=24)
    opt_g, opt_d = optim.Adam(g.parameters(), 2e-3, (0.5, 0.99)), optim.Adam(d.parameters(), 2e-3, (0.5, 0.99))
    doctor = attach(g, d, real=series, latent=lambda n: torch.randn(n, 8, 4))
    for i in range(1, steps + 1):
        made = g(torch.randn(32, 8, 4))
        opt_d.zero_grad()
        (
            F.mse_loss(d(deal(series, 32)), torch.ones(32, 1)) + F.mse_loss(d(made.detach()), torch.zeros(32, 1))
        ).backward()
        nn.utils.clip_grad_norm_(d.parameters(), 1.0)
        opt_d.step()
        opt_g.zero_grad()
        F.mse_loss(d(made), torch.ones(32, 1)).backward()
        nn.utils.clip_grad_norm_(g.parameters(), 1.0)
        opt_g.step()
        doctor.check(i)
    return doctor


@healthy(steps=500)
def relativistic_average(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Each score is compared with the mean score of the other side; R1 on every fourth step."""
    x = ring()
    G, D = mlp(8, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))
    bce, one, zero = F.binary_cross_entropy_with_logits, torch.ones(128, 1), torch.zeros(128, 1)
    doctor = attach(G, D, real=x, latent=8)
    for i in range(1, steps + 1):
        real, fake = deal(x, 128), G(torch.randn(128, 8)).detach()
        a, b = D(real), D(fake)
        loss = (bce(a - b.mean(), one) + bce(b - a.mean(), zero)) / 2
        if i % 4 == 0:
            inside = real.clone().requires_grad_()
            slope = torch.autograd.grad(D(inside).sum(), inside, create_graph=True)[0]
            loss = loss + 4 * 0.05 * slope.square().sum(1).mean()
        od.zero_grad()
        loss.backward()
        od.step()
        a, b = D(real).detach(), D(G(torch.randn(128, 8)))
        og.zero_grad()
        ((bce(b - a.mean(), one) + bce(a - b.mean(), zero)) / 2).backward()
        og.step()
        doctor.check(i)
    return doctor
