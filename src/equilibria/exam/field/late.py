"""Loops that are sound at first and go wrong after three fifths of their run."""

from __future__ import annotations

import torch
from torch import optim
from torch.nn import functional as F

from .case import Attach, Doctor, case
from .parts import DigitJudge, DigitMaker, leaky, mlp, set_requires_grad
from .sources import crescents, customers, deal, digits, ring, standardised

_ONSET = 0.6


@case("learning-rate-jump", "dynamics", steps=1000, onset=_ONSET)
def warm_restart_too_high(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A restart of the schedule at three fifths sets both learning rates a hundred times too high."""
    x = ring()
    G, D = mlp(8, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))
    doctor = attach(G, D, real=x, latent=8)
    restart = round(_ONSET * steps)
    for i in range(1, steps + 1):
        if i == restart and faulty:
            for group in og.param_groups + od.param_groups:
                group["lr"] *= 200
        real = deal(x, 128).requires_grad_()
        score = D(real)
        (slope,) = torch.autograd.grad(score.sum(), real, create_graph=True)
        od.zero_grad()
        loss = F.softplus(-score).mean() + F.softplus(D(G(torch.randn(128, 8)).detach())).mean()
        (loss + 0.05 * slope.square().sum(1).mean()).backward()
        od.step()
        og.zero_grad()
        F.softplus(-D(G(torch.randn(128, 8)))).mean().backward()
        og.step()
        doctor.check(i)
    return doctor


@case("learning-rate-jump", "dynamics", steps=1000, onset=_ONSET)
def generator_rate_jumps(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Least squares on a table; a LambdaLR with a slip multiplies the generator's rate by 300 at three fifths."""
    table = standardised(customers())
    gen, dis = mlp(8, 96, 96, 6), mlp(6, 96, 96, 1, act=leaky)
    opt_g, opt_d = optim.RMSprop(gen.parameters(), 3e-4), optim.RMSprop(dis.parameters(), 3e-4)
    when = _ONSET * steps

    def factor(epoch):
        return 1.0 if epoch < when else (300.0 if faulty else 0.3)

    schedule = optim.lr_scheduler.LambdaLR(opt_g, factor)
    doctor = attach(gen, dis, real=table, latent=8)
    for i in range(1, steps + 1):
        fake = gen(torch.randn(100, 8))
        opt_d.zero_grad()
        ((dis(deal(table, 100)) - 1).pow(2).mean() + dis(fake.detach()).pow(2).mean()).backward()
        opt_d.step()
        opt_g.zero_grad()
        (dis(fake) - 1).pow(2).mean().backward()
        opt_g.step()
        schedule.step()
        doctor.check(i)
    return doctor


@case("generator-never-updated", "late", steps=700, onset=_ONSET)
def generator_frozen_late(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """At three fifths the generator is frozen to fine-tune the discriminator, and stays frozen."""
    imgs, _ = digits()
    G, D = DigitMaker(16, 12), DigitJudge(12)
    og, od = optim.Adam(G.parameters(), 1e-3, (0.5, 0.99)), optim.Adam(D.parameters(), 5e-4, (0.5, 0.99))
    doctor = attach(G, D, real=imgs, latent=16)
    for i in range(1, steps + 1):
        if faulty and i == round(_ONSET * steps):
            set_requires_grad(G, False)
        fake = G(torch.randn(32, 16))
        od.zero_grad()
        (F.softplus(-D(deal(imgs, 32))) + F.softplus(D(fake.detach()))).mean().backward()
        od.step()
        og.zero_grad()
        F.softplus(-D(fake)).mean().backward()
        og.step()
        doctor.check(i)
    return doctor


@case("discriminator-never-updated", "late", steps=1000, onset=_ONSET)
def discriminator_frozen_late(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """From three fifths on the discriminator is not thawed after the generator's step."""
    x = crescents()
    G, D = mlp(4, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))
    doctor = attach(G, D, real=x, latent=4)
    for i in range(1, steps + 1):
        frozen = faulty and i >= _ONSET * steps
        if not frozen:
            D.requires_grad_(True)
            od.zero_grad()
            loss_d = F.softplus(-D(deal(x, 128))).mean() + F.softplus(D(G(torch.randn(128, 4)).detach())).mean()
            loss_d.backward()
            od.step()
        D.requires_grad_(False)
        og.zero_grad()
        loss_g = F.softplus(-D(G(torch.randn(128, 4)))).mean()
        loss_g.backward()
        og.step()
        doctor.check(i)
    return doctor
