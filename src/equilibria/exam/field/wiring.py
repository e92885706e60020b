"""Loops whose optimisers step the wrong parameters, none, or with a gradient that is not theirs alone."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn, optim
from torch.nn import functional as F

from .case import Attach, Doctor, case
from .parts import DigitJudge, DigitMaker, leaky, mlp, normed
from .sources import crescents, customers, deal, digits, ring, standardised, waves


@case("generator-never-updated", "wiring", steps=500)
def optimizer_of_the_average(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """An averaged copy of the generator is made, and the optimiser gets the parameters of the copy."""
    x = ring()
    generator, critic = mlp(4, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    ema = copy.deepcopy(generator)
    g_optim = optim.Adam((ema if faulty else generator).parameters(), lr=1e-3, betas=(0.0, 0.99))
    d_optim = optim.Adam(critic.parameters(), lr=1e-3, betas=(0.0, 0.99))
    doctor = attach(generator, critic, real=x, latent=4)
    for step in range(1, steps + 1):
        real = deal(x, 128).requires_grad_()
        score = critic(real)
        (grad,) = torch.autograd.grad(score.sum(), real, create_graph=True)
        d_loss = F.softplus(critic(generator(torch.randn(128, 4)).detach())).mean() + F.softplus(-score).mean()
        d_loss = d_loss + 0.05 * grad.pow(2).sum(1).mean()
        critic.zero_grad()
        d_loss.backward()
        d_optim.step()
        g_loss = F.softplus(-critic(generator(torch.randn(128, 4)))).mean()
        generator.zero_grad()
        g_loss.backward()
        g_optim.step()
        if not faulty:
            with torch.no_grad():
                for slow, fast in zip(ema.parameters(), generator.parameters(), strict=True):
                    slow.lerp_(fast, 0.01)
        doctor.check(step)
    return doctor


@case("generator-never-updated", "wiring", steps=600)
def cleared_before_the_step(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The generator's gradients are set to 0 between its backward pass and its step."""
    series = waves()
    g = nn.Sequential(normed(12, 96, 96, 32, last=nn.Tanh()), nn.Unflatten(1, (16, 2)))
    d = nn.Sequential(nn.Flatten(), mlp(32, 96, 96, 1, act=leaky))
    opt_g, opt_d = optim.Adam(g.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(d.parameters(), 5e-4, (0.5, 0.99))
    ones, zeros = torch.ones(32, 1), torch.zeros(32, 1)
    doctor = attach(g, d, real=series, latent=12)
    for epoch in range(steps):
        opt_d.zero_grad(set_to_none=False)
        err_real = F.binary_cross_entropy_with_logits(d(deal(series, 32)), ones)
        err_real.backward()
        made = g(torch.randn(32, 12))
        err_fake = F.binary_cross_entropy_with_logits(d(made.detach()), zeros)
        err_fake.backward()
        opt_d.step()
        if not faulty:
            opt_g.zero_grad(set_to_none=False)
        err_g = F.binary_cross_entropy_with_logits(d(made), ones)
        err_g.backward()
        if faulty:
            opt_g.zero_grad(set_to_none=False)
        opt_g.step()
        doctor.check(epoch + 1)
    return doctor


@case("discriminator-never-updated", "wiring", steps=500)
def discriminator_built_twice(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The discriminator is built again, with its own initialisation, after its optimiser was made."""

    def init(m):
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, 0.0, 0.1)
            nn.init.zeros_(m.bias)

    imgs = digits()[0].flatten(1)
    netG = normed(16, 128, 128, 64, last=nn.Tanh()).apply(init)
    netD = mlp(64, 96, 96, 1, act=leaky)
    optD = optim.Adam(netD.parameters(), lr=5e-4, betas=(0.5, 0.999))
    if faulty:
        netD = mlp(64, 96, 96, 1, act=leaky)
    netD.apply(init)
    optG = optim.Adam(netG.parameters(), lr=5e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    doctor = attach(netG, netD, real=imgs, latent=16)
    for i in range(1, steps + 1):
        netD.zero_grad()
        noise = torch.randn(64, 16)
        fake = netG(noise)
        out = netD(torch.cat([deal(imgs, 64), fake.detach()]))
        label = torch.cat([torch.ones(64, 1), torch.zeros(64, 1)])
        criterion(out, label).backward()
        optD.step()
        netG.zero_grad()
        criterion(netD(fake), torch.ones(64, 1)).backward()
        optG.step()
        doctor.check(i)
    return doctor


@case("discriminator-never-updated", "wiring", steps=400)
def critic_step_under_a_false_condition(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Three critic iterations a step; the critic's optimiser steps only if a condition holds that never does."""
    points = crescents()
    gen, critic = mlp(3, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    opt_gen, opt_critic = (
        optim.Adam(gen.parameters(), 1e-3, (0.0, 0.9)),
        optim.Adam(critic.parameters(), 1e-3, (0.0, 0.9)),
    )
    n_critic = 5
    doctor = attach(gen, critic, real=points, latent=3, objective="wasserstein")
    for batch_idx in range(1, steps + 1):
        for k in range(n_critic):
            real, fake = deal(points, 96), gen(torch.randn(96, 3)).detach()
            eps = torch.rand(96, 1)
            mid = (eps * real + (1 - eps) * fake).requires_grad_(True)
            grad = torch.autograd.grad(critic(mid), mid, torch.ones(96, 1), create_graph=True)[0]
            loss = critic(fake).mean() - critic(real).mean() + ((grad.norm(2, 1) - 1) ** 2).mean()
            critic.zero_grad()
            loss.backward()
            if not faulty or k == n_critic:
                opt_critic.step()
        gen.zero_grad()
        loss_gen = -critic(gen(torch.randn(96, 3))).mean()
        loss_gen.backward()
        opt_gen.step()
        doctor.check(batch_idx)
    return doctor


@case("wrong-player-trained", "wiring", steps=700)
def stacked_model_optimised(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A port from Keras: the generator's optimiser gets the stacked model, so its step trains the discriminator too."""
    data = ring()
    generator, discriminator = mlp(8, 64, 64, 2), mlp(2, 96, 96, 1, act=leaky)
    combined = nn.Sequential(generator, discriminator)
    loss_fn = nn.BCEWithLogitsLoss()
    d_opt = optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    gan_opt = optim.Adam(combined.parameters() if faulty else generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    doctor = attach(generator, discriminator, real=data, latent=8)
    for e in range(1, steps + 1):
        noise = torch.randn(100, 8)
        gen_imgs = generator(noise).detach()
        d_opt.zero_grad()
        d_loss_real = loss_fn(discriminator(deal(data, 100)), torch.ones(100, 1))
        d_loss_fake = loss_fn(discriminator(gen_imgs), torch.zeros(100, 1))
        d_loss = 0.5 * (d_loss_real + d_loss_fake)
        d_loss.backward()
        d_opt.step()
        gan_opt.zero_grad()
        g_loss = loss_fn(combined(noise), torch.ones(100, 1))
        g_loss.backward()
        gan_opt.step()
        doctor.check(e)
    return doctor


@case("wrong-player-trained", "wiring", steps=600)
def chained_parameters(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The discriminator's optimiser chains the parameters of both, and its loss is not detached: least squares."""
    table = standardised(customers())
    G, D = mlp(6, 96, 96, 6), mlp(6, 96, 96, 1, act=leaky)
    params = itertools.chain(D.parameters(), G.parameters()) if faulty else D.parameters()
    opts = {"d": optim.Adam(params, lr=1e-3, betas=(0.5, 0.99)), "g": optim.Adam(G.parameters(), lr=5e-4)}
    doctor = attach(G, D, real=table, latent=6)
    for t in range(1, steps + 1):
        for o in opts.values():
            o.zero_grad()
        made = G(torch.randn(128, 6))
        d_out = D(made) if faulty else D(made.detach())
        (0.5 * (D(deal(table, 128)) - 1).square().mean() + 0.5 * d_out.square().mean()).backward()
        opts["d"].step()
        for o in opts.values():
            o.zero_grad()
        (0.5 * (D(G(torch.randn(128, 6))) - 1).square().mean()).backward()
        opts["g"].step()
        doctor.check(t)
    return doctor


@case("parameters-not-optimised", "wiring", steps=700)
def grown_after_the_optimizer(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The generator grows a block after its optimiser was made, and no optimiser holds the block."""
    imgs = digits()[0].flatten(1)

    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(12, 64), nn.BatchNorm1d(64), nn.ReLU())])
            self.to_image = nn.Linear(64, 64)

        def grow(self):
            self.blocks.append(nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()))
            self.to_image = nn.Linear(64, 64)

        def forward(self, h):
            for block in self.blocks:
                h = block(h)
            return self.to_image(h).tanh()

    G, D = Growing(), mlp(64, 96, 1, act=leaky)
    if not faulty:
        G.grow()
    opt_g = optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.99))
    opt_d = optim.Adam(D.parameters(), lr=5e-4, betas=(0.5, 0.99))
    if faulty:
        G.grow()
    doctor = attach(G, D, real=imgs, latent=12, optimizers={"generator": opt_g, "discriminator": opt_d})
    for step in range(1, steps + 1):
        fake = G(torch.randn(64, 12))
        loss_d = (D(deal(imgs, 64)) - 1).square().mean() + D(fake.detach()).square().mean()
        opt_d.zero_grad()
        loss_d.backward()
        opt_d.step()
        loss_g = (D(fake) - 1).square().mean()
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        doctor.check(step)
    return doctor


@case("gradients-accumulate", "wiring", steps=700)
def wrong_optimizer_cleared(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A copied line: the discriminator's gradients are cleared in both steps, the generator's never."""
    x = ring()
    gen, dis = mlp(8, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    optimizer_gen = optim.Adam(gen.parameters(), lr=5e-4, betas=(0.5, 0.999))
    optimizer_dis = optim.Adam(dis.parameters(), lr=2e-3, betas=(0.5, 0.999))
    doctor = attach(gen, dis, real=x, latent=8)
    for step in range(1, steps + 1):
        optimizer_dis.zero_grad()
        with torch.no_grad():
            fake = gen(torch.randn(128, 8))
        loss = -(F.logsigmoid(dis(deal(x, 128))) + F.logsigmoid(-dis(fake))).mean()
        loss.backward()
        optimizer_dis.step()
        (optimizer_dis if faulty else optimizer_gen).zero_grad()
        loss = -F.logsigmoid(dis(gen(torch.randn(128, 8)))).mean()
        loss.backward()
        optimizer_gen.step()
        doctor.check(step)
    return doctor


@case("gradients-accumulate", "wiring", steps=500)
def micro_batches_never_cleared(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Two micro-batches a step; after the discriminator's step its gradients are kept."""
    imgs, _ = digits()
    net_g, net_d = DigitMaker(16, 12), DigitJudge(12)
    opt_g = optim.Adam(net_g.parameters(), lr=2e-3, betas=(0.5, 0.99))
    opt_d = optim.SGD(net_d.parameters(), lr=0.05, momentum=0.5)
    accumulate = 2
    doctor = attach(net_g, net_d, real=imgs, latent=16)
    for step in range(1, steps + 1):
        for _ in range(accumulate):
            real, fake = deal(imgs, 24), net_g(torch.randn(24, 16)).detach()
            loss = F.softplus(-net_d(real)).mean() + F.softplus(net_d(fake)).mean()
            (loss / accumulate).backward()
        opt_d.step()
        if not faulty:
            opt_d.zero_grad()
        net_d.requires_grad_(False)
        for _ in range(accumulate):
            (F.softplus(-net_d(net_g(torch.randn(24, 16)))).mean() / accumulate).backward()
        opt_g.step()
        opt_g.zero_grad()
        net_d.requires_grad_(True)
        doctor.check(step)
    return doctor


@case("other-players-gradient", "wiring", steps=700)
def fakes_not_detached(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """WGAN-GP; the critic's loss leaves its gradient in the generator, where it cancels the generator's own."""
    data = ring()
    g, d = mlp(8, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    og, od = optim.Adam(g.parameters(), 1e-3, (0.0, 0.9)), optim.Adam(d.parameters(), 2e-3, (0.0, 0.9))
    doctor = attach(g, d, real=data, latent=8)
    for i in range(1, steps + 1):
        og.zero_grad()
        od.zero_grad()
        real, fake = deal(data, 100), g(torch.randn(100, 8))
        mid = torch.lerp(real, fake.detach(), torch.rand(100, 1)).requires_grad_()
        slope = torch.autograd.grad(d(mid).sum(), mid, create_graph=True)[0].norm(dim=1)
        d_fake = d(fake if faulty else fake.detach())
        (d_fake.mean() - d(real).mean() + (slope - 1).square().mean()).backward(retain_graph=True)
        (-d(fake).mean()).backward(inputs=list(g.parameters()))
        od.step()
        og.step()
        doctor.check(i)
    return doctor


@case("other-players-gradient", "wiring", steps=700)
def leftovers_of_the_generator_step(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The generator goes first; what its loss leaves in the clipped critic is not cleared before the critic's step."""
    x = crescents()
    maker, critic = mlp(4, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    opt_m, opt_c = optim.RMSprop(maker.parameters(), lr=3e-4), optim.RMSprop(critic.parameters(), lr=1e-3)
    doctor = attach(maker, critic, real=x, latent=4)
    for i in range(1, steps + 1):
        opt_m.zero_grad()
        opt_c.zero_grad()
        made = maker(torch.randn(128, 4))
        adversarial = -critic(made).mean()
        adversarial.backward()
        opt_m.step()
        if not faulty:
            opt_c.zero_grad()
        loss = critic(made.detach()).mean() - critic(deal(x, 128)).mean()
        loss.backward()
        opt_c.step()
        with torch.no_grad():
            for w in critic.parameters():
                w.clamp_(-0.15, 0.15)
        doctor.check(i)
    return doctor
