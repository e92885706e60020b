"""Loops whose gradient penalty or Lipschitz constraint does not do what it should."""

from __future__ import annotations

import torch
from torch import autograd, nn, optim
from torch.nn import functional as F

from .case import Attach, Doctor, case
from .parts import DigitJudge, DigitMaker, leaky, mlp, normed
from .sources import crescents, customers, deal, digits, ring, standardised, waves
from .truth import slope_on_data, steepness


def _critic_pair(x_dim: int, nz: int, width: int = 64, lr: float = 1e-3):
    gen, critic = mlp(nz, width, width, x_dim), mlp(x_dim, width, width, 1, act=leaky)
    adam = [optim.Adam(net.parameters(), lr=lr, betas=(0.0, 0.9)) for net in (gen, critic)]
    return gen, critic, *adam


@case("penalty-without-effect", "penalties", steps=300, truth=steepness)
def penalty_without_graph(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """WGAN-GP whose helper asks for ``retain_graph`` but not for ``create_graph``."""
    x = ring()
    gen, critic, opt_g, opt_c = _critic_pair(2, 4)
    doctor = attach(gen, critic, real=x, latent=4, objective="wasserstein")

    def gradient_penalty(real, fake):
        alpha = torch.rand(real.size(0), 1)
        mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
        score = critic(mixed)
        gradients = autograd.grad(
            outputs=score,
            inputs=mixed,
            grad_outputs=torch.ones_like(score),
            create_graph=not faulty,
            retain_graph=True,
        )[0]
        return ((gradients.norm(2, dim=1) - 1) ** 2).mean()

    for step in range(1, steps + 1):
        for _ in range(5):
            real, fake = deal(x, 64), gen(torch.randn(64, 4)).detach()
            loss = critic(fake).mean() - critic(real).mean() + 10 * gradient_penalty(real, fake)
            opt_c.zero_grad()
            loss.backward()
            opt_c.step()
        opt_g.zero_grad()
        (-critic(gen(torch.randn(64, 4))).mean()).backward()
        opt_g.step()
        doctor.check(step)
    return doctor


@case("penalty-without-effect", "penalties", steps=600)
def zero_centred_penalty_detached(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A penalty of slopes on real and fake rows under a Wasserstein loss, built from ``grad.data``."""
    x = crescents()
    G, D, og, od = _critic_pair(2, 3, lr=5e-4)
    doctor = attach(G, D, real=x, latent=3)

    def slopes(inputs):
        inputs = inputs.detach().requires_grad_()
        grad = autograd.grad(D(inputs).sum(), inputs, create_graph=True)[0]
        return grad.data if faulty else grad

    for step in range(1, steps + 1):
        real, fake = deal(x, 100), G(torch.randn(100, 3)).detach()
        od.zero_grad()
        (D(fake) - D(real)).mean().backward()
        reg = 0.5 * (slopes(real).square().sum(1).mean() + slopes(fake).square().sum(1).mean())
        if reg.requires_grad:
            reg.backward()
        od.step()
        og.zero_grad()
        D(G(torch.randn(100, 3))).mean().neg().backward()
        og.step()
        doctor.check(step)
    return doctor


@case("penalty-without-effect", "penalties", steps=250, truth=steepness)
def penalty_logged_only(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The gradient penalty is computed and logged, and not part of what is differentiated."""
    table = standardised(customers())
    gen, critic, opt_g, opt_c = _critic_pair(6, 8, 96, 5e-4)
    doctor = attach(gen, critic, real=table, latent=8)
    log: list[dict[str, float]] = []
    for step in range(1, steps + 1):
        for _ in range(5):
            opt_c.zero_grad()
            real = deal(table, 64)
            with torch.no_grad():
                fake = gen(torch.randn(64, 8))
            eps = torch.rand(64, 1)
            x_hat = eps * real + (1 - eps) * fake
            x_hat.requires_grad = True
            grad = autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)[0]
            gp = 10 * (grad.norm(dim=1) - 1).square().mean()
            wasserstein = critic(real).mean() - critic(fake).mean()
            loss = -wasserstein if faulty else -wasserstein + gp
            loss.backward()
            opt_c.step()
        log.append({"w": wasserstein.item(), "gp": gp.item()})
        opt_g.zero_grad()
        (-critic(gen(torch.randn(64, 8))).mean()).backward()
        opt_g.step()
        doctor.check(step)
    return doctor


@case("penalty-of-wrong-norm", "penalties", steps=250, truth=steepness)
def norm_at_every_time_step(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Sequences; the penalty's norm is over the channels, so the slope at every time step is drawn to 1."""
    series = waves()
    g = nn.Sequential(normed(12, 96, 96, 32, last=nn.Tanh()), nn.Unflatten(1, (16, 2)))
    d = nn.Sequential(nn.Flatten(), mlp(32, 96, 96, 1, act=leaky))
    og, od = optim.Adam(g.parameters(), 1e-3, (0.0, 0.9)), optim.Adam(d.parameters(), 1e-3, (0.0, 0.9))
    doctor = attach(g, d, real=series, latent=12)
    for step in range(1, steps + 1):
        for _ in range(3):
            real, fake = deal(series, 48), g(torch.randn(48, 12)).detach()
            mix = torch.rand(48, 1, 1)
            between = torch.lerp(fake, real, mix).requires_grad_()
            grad = autograd.grad(d(between).sum(), between, create_graph=True)[0]
            norm = grad.norm(2, dim=-1) if faulty else grad.reshape(48, -1).norm(2, dim=-1)
            od.zero_grad()
            (d(fake).mean() - d(real).mean() + 10 * (norm - 1).square().mean()).backward()
            od.step()
        og.zero_grad()
        (-d(g(torch.randn(48, 12))).mean()).backward()
        og.step()
        doctor.check(step)
    return doctor


@case("penalty-of-wrong-norm", "penalties", steps=250, truth=steepness)
def slope_of_the_mean_score(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The slope is taken of the batch's mean score, so it is smaller by the batch size."""
    imgs, _ = digits()
    G, D = DigitMaker(16, 8), DigitJudge(8)
    og, od = optim.Adam(G.parameters(), 1e-3, (0.0, 0.9)), optim.Adam(D.parameters(), 1e-3, (0.0, 0.9))
    doctor = attach(G, D, real=imgs, latent=16, objective="wasserstein")
    for step in range(1, steps + 1):
        for _ in range(2):
            real, fake = deal(imgs, 48), G(torch.randn(48, 16)).detach()
            u = torch.rand(48, 1, 1, 1)
            mid = (u * real + (1 - u) * fake).requires_grad_()
            score = D(mid).mean() if faulty else D(mid).sum()
            (grad,) = autograd.grad(score, mid, create_graph=True)
            penalty = (grad.flatten(1).norm(2, dim=1) - 1).square().mean()
            od.zero_grad()
            (D(fake).mean() - D(real).mean() + 10 * penalty).backward()
            od.step()
        og.zero_grad()
        (-D(G(torch.randn(48, 16))).mean()).backward()
        og.step()
        doctor.check(step)
    return doctor


@case("penalty-off-the-segment", "penalties", steps=300, truth=steepness)
def normal_mixing_weights(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The mixing weights are standard normal, so most points lie outside the segments between data and samples."""
    table = standardised(customers())
    gen, critic, opt_g, opt_c = _critic_pair(6, 8, 96, 5e-4)
    doctor = attach(gen, critic, real=table, latent=8)
    draw = torch.randn if faulty else torch.rand
    for step in range(1, steps + 1):
        for _ in range(4):
            real, fake = deal(table, 64), gen(torch.randn(64, 8)).detach()
            alpha = draw(64, 1).expand(64, 6)
            points = (real + alpha * (fake - real)).requires_grad_(True)
            grads = autograd.grad(critic(points), points, torch.ones(64, 1), create_graph=True, retain_graph=True)[0]
            loss_c = -critic(real).mean() + critic(fake).mean() + 10 * ((grads.norm(2, 1) - 1) ** 2).mean()
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
        opt_g.zero_grad()
        loss_g = -critic(gen(torch.randn(64, 8))).mean()
        loss_g.backward()
        opt_g.step()
        doctor.check(step)
    return doctor


@case("lipschitz-violated", "penalties", steps=400, truth=steepness)
def critic_without_constraint(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A Wasserstein loss by RMSprop whose clipping loop was lost; the generator goes first."""
    x = ring()
    gen, critic = mlp(4, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    opt_g, opt_c = optim.RMSprop(gen.parameters(), 5e-4), optim.RMSprop(critic.parameters(), 1e-3)
    doctor = attach(gen, critic, real=x, latent=4)
    for step in range(1, steps + 1):
        opt_g.zero_grad()
        critic(gen(torch.randn(64, 4))).mean().neg().backward()
        opt_g.step()
        for _ in range(4):
            opt_c.zero_grad()
            (critic(gen(torch.randn(64, 4)).detach()).mean() - critic(deal(x, 64)).mean()).backward()
            opt_c.step()
            if not faulty:
                with torch.no_grad():
                    for w in critic.parameters():
                        w.clamp_(-0.15, 0.15)
        doctor.check(step)
    return doctor


@case("lipschitz-too-tight", "penalties", steps=500)
def clipped_to_nothing(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Weights of the critic are clipped to 0.0001 instead of 0.15."""
    x = crescents()
    c = 1e-4 if faulty else 0.15
    gen, critic = mlp(4, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    opt_g = optim.RMSprop(gen.parameters(), 5e-4)
    opt_c = optim.RMSprop(critic.parameters(), 1e-3)
    doctor = attach(gen, critic, real=x, latent=4, objective="wasserstein")
    for step in range(1, steps + 1):
        for _ in range(3):
            real, fake = deal(x, 64), gen(torch.randn(64, 4)).detach()
            opt_c.zero_grad()
            loss_critic = -(torch.mean(critic(real)) - torch.mean(critic(fake)))
            loss_critic.backward()
            opt_c.step()
            for p in critic.parameters():
                p.data.clamp_(-c, c)
        opt_g.zero_grad()
        loss_gen = -torch.mean(critic(gen(torch.randn(64, 4))))
        loss_gen.backward()
        opt_g.step()
        doctor.check(step)
    return doctor


@case("penalty-without-effect", "penalties", steps=500, truth=slope_on_data)
def penalty_on_a_constant(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """R1 with a logistic loss, weighted by ``item()``: the number joins the loss and its derivative is lost."""
    x = ring()
    G, D = mlp(8, 64, 64, 2), mlp(2, 96, 96, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 1e-3, (0.0, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.0, 0.99))
    doctor = attach(G, D, real=x, latent=8)
    for step in range(1, steps + 1):
        real = deal(x, 128)
        real.requires_grad_(True)
        score = D(real)
        grad = autograd.grad(score.sum(), real, create_graph=True)[0]
        r1 = grad.square().sum(1).mean()
        weight = 0.5
        loss = F.softplus(-score).mean() + F.softplus(D(G(torch.randn(128, 8)).detach())).mean()
        loss = loss + weight * (r1.item() if faulty else r1)
        od.zero_grad()
        loss.backward()
        od.step()
        og.zero_grad()
        F.softplus(-D(G(torch.randn(128, 8)))).mean().backward()
        og.step()
        doctor.check(step)
    return doctor
