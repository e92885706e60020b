"""Loops whose networks are in the wrong mode, or whose norms and activations are in the wrong place."""

from __future__ import annotations

import copy

import torch
from torch import nn, optim
from torch.nn import functional as F

from .case import Attach, Doctor, case
from .parts import DigitJudge, DigitMaker, leaky, mlp, normed
from .sources import customers, deal, digits, ring, standardised
from .truth import distance_in_evaluation


@case("batchnorm-leakage", "networks", steps=600)
def one_batch_for_both(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Real rows and fakes go through a discriminator with BatchNorm as one batch; the generator's fakes go alone."""
    rows = standardised(customers())
    G = normed(8, 96, 96, 6)
    D = nn.Sequential(nn.Linear(6, 96), leaky(), nn.Linear(96, 96), nn.BatchNorm1d(96), leaky(), nn.Linear(96, 1))
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 5e-4, (0.5, 0.99))
    doctor = attach(G, D, real=rows, latent=8)
    for i in range(1, steps + 1):
        real, fake = deal(rows, 64), G(torch.randn(64, 8))
        if faulty:
            out = D(torch.cat([real, fake.detach()]))
            real_out, fake_out = out.chunk(2)
        else:
            real_out, fake_out = D(real), D(fake.detach())
        od.zero_grad()
        (F.softplus(-real_out).mean() + F.softplus(fake_out).mean()).backward()
        od.step()
        og.zero_grad()
        F.softplus(-D(fake)).mean().backward()
        og.step()
        doctor.check(i)
    return doctor


@case("batchnorm-in-eval", "networks", steps=600)
def eval_for_a_plot(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """``eval()`` for the grid of samples at step 0, and no ``train()`` after it."""
    imgs = digits()[0].flatten(1)
    netG, netD = normed(16, 128, 128, 128, 64, last=nn.Tanh()), mlp(64, 128, 1, act=leaky)
    optG = optim.Adam(netG.parameters(), 1e-3, (0.5, 0.999))
    optD = optim.Adam(netD.parameters(), 5e-4, (0.5, 0.999))
    fixed, grids = torch.randn(16, 16), []
    doctor = attach(netG, netD, real=imgs, latent=16)
    for i in range(steps):
        if i % 100 == 0:
            netG.eval()
            with torch.no_grad():
                grids.append(netG(fixed).view(4, 4, 8, 8))
            if not faulty:
                netG.train()
        netD.zero_grad()
        fake = netG(torch.randn(64, 16))
        loss = F.binary_cross_entropy_with_logits(netD(deal(imgs, 64)), torch.full((64, 1), 0.9))
        loss = loss + F.binary_cross_entropy_with_logits(netD(fake.detach()), torch.zeros(64, 1))
        loss.backward()
        optD.step()
        netG.zero_grad()
        F.binary_cross_entropy_with_logits(netD(fake), torch.ones(64, 1)).backward()
        optG.step()
        doctor.check(i + 1)
    return doctor


@case("train-eval-mismatch", "networks", steps=600, truth=distance_in_evaluation)
def momentum_of_another_library(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A decay of 0.999 became BatchNorm's momentum 0.001: the running statistics lag far behind the weights."""
    table = standardised(customers()) * 2 + 1
    gen = normed(8, 96, 96, 6, momentum=0.001 if faulty else 0.1)
    dis = mlp(6, 96, 96, 1, act=leaky)
    opt_gen, opt_dis = optim.Adam(gen.parameters(), 1e-3, (0.5, 0.9)), optim.Adam(dis.parameters(), 1e-3, (0.5, 0.9))
    doctor = attach(gen, dis, real=table, latent=8)
    for i in range(1, steps + 1):
        gen.train()
        fake = gen(torch.randn(100, 8))
        opt_dis.zero_grad()
        loss = F.mse_loss(dis(deal(table, 100)), torch.ones(100, 1)) + F.mse_loss(
            dis(fake.detach()), -torch.ones(100, 1)
        )
        loss.backward()
        opt_dis.step()
        opt_gen.zero_grad()
        loss = F.mse_loss(dis(fake), torch.ones(100, 1))
        loss.backward()
        opt_gen.step()
        doctor.check(i)
    gen.train()
    return doctor


@case("average-without-buffers", "networks", steps=500)
def average_of_parameters_only(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Samples come from an averaged copy in evaluation mode; its BatchNorm statistics are those of the start."""
    imgs, _ = digits()
    G, D = DigitMaker(16, 12), DigitJudge(12)
    shadow = copy.deepcopy(G).eval().requires_grad_(False)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))

    def update(decay=0.98):
        with torch.no_grad():
            for s, p in zip(shadow.parameters(), G.parameters(), strict=True):
                s.mul_(decay).add_(p, alpha=1 - decay)
            if not faulty:
                for mine, theirs in zip(shadow.buffers(), G.buffers(), strict=True):
                    mine.copy_(theirs)

    def sampler(n):
        with torch.no_grad():
            return shadow(torch.randn(n, 16))

    doctor = attach(G, D, real=imgs, latent=16, sampler=sampler)
    for i in range(1, steps + 1):
        x, fake = deal(imgs, 32), G(torch.randn(32, 16))
        od.zero_grad()
        (F.softplus(-D(x)) + F.softplus(D(fake.detach()))).mean().backward()
        od.step()
        og.zero_grad()
        F.softplus(-D(fake)).mean().backward()
        og.step()
        update()
        doctor.check(i)
    return doctor


@case("dead-units", "networks", steps=500)
def bias_of_minus_five(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """An initialisation sets the biases of a generator with ReLU to -5: every unit is off for every code."""
    x = ring()

    def weights_init(m):
        if isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            nn.init.constant_(m.bias, -5.0 if faulty else 0.0)

    G, D = mlp(8, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    G[:-1].apply(weights_init)
    og, od = optim.RMSprop(G.parameters(), 5e-4), optim.RMSprop(D.parameters(), 5e-4)
    doctor = attach(G, D, real=x, latent=8)
    for i in range(1, steps + 1):
        z = torch.randn(100, 8)
        od.zero_grad()
        pred = torch.cat([D(deal(x, 100)), D(G(z).detach())])
        F.binary_cross_entropy_with_logits(pred, torch.cat([torch.ones(100, 1), torch.zeros(100, 1)])).backward()
        od.step()
        og.zero_grad()
        F.binary_cross_entropy_with_logits(D(G(z)), torch.ones(100, 1)).backward()
        og.step()
        doctor.check(i)
    return doctor


@case("norm-before-output", "networks", steps=700)
def batchnorm_before_tanh(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A BatchNorm without weights stands between the generator's last layer and its tanh."""
    imgs = digits()[0].flatten(1)
    layers = [nn.Linear(16, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU()]
    layers += [nn.Linear(128, 64)] + ([nn.BatchNorm1d(64, affine=False)] if faulty else []) + [nn.Tanh()]
    g, d = nn.Sequential(*layers), mlp(64, 128, 128, 1, act=leaky)
    og, od = optim.Adam(g.parameters(), 1e-3, (0.5, 0.99)), optim.Adam(d.parameters(), 5e-4, (0.5, 0.99))
    doctor = attach(g, d, real=imgs, latent=16)
    for i in range(1, steps + 1):
        fake = g(torch.randn(64, 16))
        for opt, loss in (
            (od, lambda fake=fake: (d(deal(imgs, 64)) - 1).square().mean() + d(fake.detach()).square().mean()),
            (og, lambda fake=fake: (d(fake) - 1).square().mean()),
        ):
            opt.zero_grad()
            loss().backward()
            opt.step()
        doctor.check(i)
    return doctor


@case("norm-before-output", "networks", steps=450)
def instance_norm_before_tanh(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A generator of images whose last convolution is followed by an InstanceNorm: every image has one brightness."""
    imgs, _ = digits()
    last = nn.Sequential(nn.InstanceNorm2d(1), nn.Tanh()) if faulty else nn.Tanh()
    G, D = DigitMaker(16, 12, last=last), DigitJudge(12)
    og, od = optim.Adam(G.parameters(), 1e-3, (0.5, 0.99)), optim.Adam(D.parameters(), 5e-4, (0.5, 0.99))
    bce = nn.BCEWithLogitsLoss()
    doctor = attach(G, D, real=imgs, latent=16)
    for i in range(1, steps + 1):
        for p in D.parameters():
            p.requires_grad = True
        D.zero_grad()
        x, z = deal(imgs, 32), torch.randn(32, 16)
        bce(D(x), torch.ones(32)).backward()
        bce(D(G(z).detach()), torch.zeros(32)).backward()
        od.step()
        for p in D.parameters():
            p.requires_grad = False
        G.zero_grad()
        bce(D(G(z)), torch.ones(32)).backward()
        og.step()
        doctor.check(i)
    return doctor
