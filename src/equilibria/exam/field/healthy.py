"""Loops without a fault, written in ways that differ from the textbook's: any active finding is a false alarm."""

from __future__ import annotations

import copy
from collections import deque

import torch
from torch import nn, optim
from torch.nn import functional as F

from .case import Attach, Doctor, healthy
from .parts import DigitJudge, DigitMaker, leaky, mlp, normed, set_requires_grad
from .sources import coarse, crescents, customers, deal, digits, ring, standardised


@healthy(steps=400)
def tutorial_of_dcgan(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Convolutions, BCELoss, one label tensor that is refilled, and two backward passes for the discriminator."""
    imgs, _ = digits()
    netG, netD, criterion = DigitMaker(16, 12), DigitJudge(12, last=nn.Sigmoid()), nn.BCELoss()
    optimizerD = optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))
    doctor = attach(netG, netD, real=imgs, latent=16)
    for i in range(1, steps + 1):
        netD.zero_grad()
        label = torch.full((32,), 1.0)
        criterion(netD(deal(imgs, 32)), label).backward()
        fake = netG(torch.randn(32, 16, 1, 1))
        label.fill_(0.0)
        criterion(netD(fake.detach()), label).backward()
        optimizerD.step()
        netG.zero_grad()
        label.fill_(1.0)
        criterion(netD(fake), label).backward()
        optimizerG.step()
        doctor.check(i)
    return doctor


@healthy(steps=600)
def inverted_and_smoothed(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Real is 0 with smoothing and fake is 1 for both players: unusual and sound."""
    x = ring()
    G, D = mlp(8, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))
    bce = nn.BCEWithLogitsLoss()
    doctor = attach(G, D, real=x, latent=8)
    for i in range(1, steps + 1):
        fake = G(torch.randn(128, 8))
        loss_d = bce(D(deal(x, 128)), torch.rand(128, 1) * 0.1) + bce(D(fake.detach()), torch.ones(128, 1))
        od.zero_grad()
        loss_d.backward()
        od.step()
        loss_g = bce(D(fake), torch.zeros(128, 1))
        og.zero_grad()
        loss_g.backward()
        og.step()
        doctor.check(i)
    return doctor


class Module:
    """Manual optimisation as in Lightning: optimisers are toggled, and only one network has gradients at a time."""

    def __init__(self, features: int) -> None:
        self.generator, self.discriminator = mlp(8, 96, 96, features), mlp(features, 96, 96, 1, act=leaky)
        self.g_opt = optim.Adam(self.generator.parameters(), lr=3e-4, betas=(0.5, 0.99))
        self.d_opt = optim.Adam(self.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.99))

    def optimizers(self):
        """Both optimisers."""
        return self.g_opt, self.d_opt

    def toggle(self, which: str) -> None:
        """Give gradients to one network."""
        set_requires_grad(self.generator, which == "g")
        set_requires_grad(self.discriminator, which == "d")

    def untoggle(self) -> None:
        """Give gradients to both."""
        set_requires_grad(self.generator, True)
        set_requires_grad(self.discriminator, True)

    def adversarial_loss(self, y_hat, y):
        """Cross entropy of logits."""
        return F.binary_cross_entropy_with_logits(y_hat, y)

    def training_step(self, batch) -> dict[str, float]:
        """One batch."""
        g_opt, d_opt = self.optimizers()
        n = len(batch)
        self.toggle("g")
        g_loss = self.adversarial_loss(self.discriminator(self.generator(torch.randn(n, 8))), torch.ones(n, 1))
        g_opt.zero_grad()
        g_loss.backward()
        g_opt.step()
        self.untoggle()
        self.toggle("d")
        real_loss = self.adversarial_loss(self.discriminator(batch), torch.ones(n, 1))
        fake = self.generator(torch.randn(n, 8)).detach()
        d_loss = (real_loss + self.adversarial_loss(self.discriminator(fake), torch.zeros(n, 1))) / 2
        d_opt.zero_grad()
        d_loss.backward()
        d_opt.step()
        self.untoggle()
        return {"g_loss": g_loss.item(), "d_loss": d_loss.item()}


@healthy(steps=600)
def lightning_like(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A module with manual optimisation that freezes the other network; the generator goes first."""
    table = standardised(customers())
    module = Module(6)
    doctor = attach(module.generator, module.discriminator, real=table, latent=8)
    for step in range(1, steps + 1):
        module.training_step(deal(table, 128))
        doctor.check(step)
    return doctor


@healthy(steps=600)
def one_graph_for_both(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """One batch of fakes and one of scores; both gradients by autograd.grad, written into .grad by hand."""
    x = crescents()
    G, D = mlp(4, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))
    doctor = attach(G, D, real=x, latent=4)
    for i in range(1, steps + 1):
        real, fake = D(deal(x, 128)), D(G(torch.randn(128, 4)))
        loss_d = F.softplus(-real).mean() + F.softplus(fake).mean()
        loss_g = F.softplus(-fake).mean()
        grads_d = torch.autograd.grad(loss_d, list(D.parameters()), retain_graph=True)
        grads_g = torch.autograd.grad(loss_g, list(G.parameters()))
        for p, g in zip([*D.parameters(), *G.parameters()], [*grads_d, *grads_g], strict=True):
            p.grad = g
        od.step()
        og.step()
        doctor.check(i)
    return doctor


@healthy(steps=600)
def closures(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Each player's optimiser gets a closure that clears, computes and differentiates."""
    x = ring()
    G, D = mlp(8, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))
    doctor = attach(G, D, real=x, latent=8)

    def closure_d():
        od.zero_grad()
        loss = F.softplus(-D(deal(x, 128))).mean() + F.softplus(D(G(torch.randn(128, 8)).detach())).mean()
        loss.backward()
        return loss

    def closure_g():
        og.zero_grad()
        loss = F.softplus(-D(G(torch.randn(128, 8)))).mean()
        loss.backward()
        return loss

    for i in range(1, steps + 1):
        od.step(closure_d)
        og.step(closure_g)
        doctor.check(i)
    return doctor


@healthy(steps=400)
def accumulated(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Gradients of two micro-batches; cleared to zeros, not to None, after each step."""
    imgs = digits()[0].flatten(1)
    G, D = normed(16, 128, 128, 64, last=nn.Tanh()), mlp(64, 128, 128, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 1e-3, (0.5, 0.99)), optim.RMSprop(D.parameters(), 3e-4)
    doctor = attach(G, D, real=imgs, latent=16)
    k = 2
    for i in range(1, steps + 1):
        for _ in range(k):
            fake = G(torch.randn(32, 16)).detach()
            loss = F.binary_cross_entropy_with_logits(D(deal(imgs, 32)), torch.ones(32, 1)) / k
            loss = loss + F.binary_cross_entropy_with_logits(D(fake), torch.zeros(32, 1)) / k
            loss.backward()
        od.step()
        od.zero_grad(set_to_none=False)
        for _ in range(k):
            (F.binary_cross_entropy_with_logits(D(G(torch.randn(32, 16))), torch.ones(32, 1)) / k).backward()
        og.step()
        og.zero_grad(set_to_none=False)
        od.zero_grad(set_to_none=False)
        doctor.check(i)
    return doctor


@healthy(steps=600)
def combined_batch(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Real rows and fakes in one batch through a discriminator with LayerNorm, which does not mix rows."""
    table = standardised(customers())
    G = normed(8, 96, 96, 6)
    D = nn.Sequential(nn.Linear(6, 96), nn.LayerNorm(96), leaky(), nn.Linear(96, 96), leaky(), nn.Linear(96, 1))
    og, od = optim.Adam(G.parameters(), 3e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 1e-3, (0.5, 0.99))
    doctor = attach(G, D, real=table, latent=8)
    y = torch.cat([torch.ones(100, 1), torch.zeros(100, 1)])
    for i in range(1, steps + 1):
        with torch.no_grad():
            fake = G(torch.randn(100, 8))
        od.zero_grad()
        F.binary_cross_entropy_with_logits(D(torch.cat([deal(table, 100), fake])), y).backward()
        od.step()
        og.zero_grad()
        F.binary_cross_entropy_with_logits(D(G(torch.randn(100, 8))), y[:100]).backward()
        og.step()
        doctor.check(i)
    return doctor


@healthy(steps=600)
def half_precision(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Forward passes under autocast with bfloat16; losses in float32."""
    imgs = digits()[0].flatten(1)
    G, D = normed(16, 128, 128, 64, last=nn.Tanh()), mlp(64, 128, 128, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 1e-3, (0.5, 0.99)), optim.RMSprop(D.parameters(), 3e-4)
    doctor = attach(G, D, real=imgs, latent=16)
    for i in range(1, steps + 1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            fake = G(torch.randn(64, 16))
            real_score, fake_score = D(deal(imgs, 64)), D(fake.detach())
        loss = F.softplus(-real_score.float()).mean() + F.softplus(fake_score.float()).mean()
        od.zero_grad()
        loss.backward()
        od.step()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            score = D(fake)
        og.zero_grad()
        F.softplus(-score.float()).mean().backward()
        og.step()
        doctor.check(i)
    return doctor


@healthy(steps=600)
def averaged_with_buffers(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Samples come from an averaged copy that also gets the buffers; RMSprop and AdamW are mixed."""
    imgs = digits()[0].flatten(1)
    G, D = normed(16, 128, 128, 64, last=nn.Tanh()), mlp(64, 128, 128, 1, act=leaky)
    ema = copy.deepcopy(G).eval()
    og, od = optim.AdamW(G.parameters(), 1e-3, (0.5, 0.99)), optim.RMSprop(D.parameters(), 3e-4)

    @torch.no_grad()
    def sample(n):
        return ema(torch.randn(n, 16))

    doctor = attach(G, D, real=imgs, latent=16, sampler=sample)
    for i in range(1, steps + 1):
        fake = G(torch.randn(64, 16))
        od.zero_grad()
        (F.softplus(-D(deal(imgs, 64))) + F.softplus(D(fake.detach()))).mean().backward()
        od.step()
        og.zero_grad()
        F.softplus(-D(fake)).mean().backward()
        og.step()
        with torch.no_grad():
            for key, value in ema.state_dict().items():
                new = G.state_dict()[key]
                value.copy_(new if not value.is_floating_point() else 0.98 * value + 0.02 * new)
        doctor.check(i)
    return doctor


@healthy(steps=600)
def replayed_fakes(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Half of the discriminator's fakes come from a buffer of earlier ones, as in CycleGAN's image pool."""
    x = ring()
    G, D = normed(8, 64, 64, 2), mlp(2, 96, 96, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))
    pool: deque[torch.Tensor] = deque(maxlen=20)
    doctor = attach(G, D, real=x, latent=8)
    for i in range(1, steps + 1):
        made = G(torch.randn(128, 8))
        og.zero_grad()
        F.mse_loss(D(made), torch.ones(128, 1)).backward()
        og.step()
        pool.append(made.detach())
        old = pool[int(torch.randint(len(pool), (1,)))]
        shown = torch.cat([made.detach()[:64], old[64:]])
        od.zero_grad()
        (0.5 * (F.mse_loss(D(deal(x, 128)), torch.ones(128, 1)) + F.mse_loss(D(shown), torch.zeros(128, 1)))).backward()
        od.step()
        doctor.check(i)
    return doctor


@healthy(steps=600)
def instance_noise(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Noise that fades is added to both sides; log-sigmoid losses by hand with a sum divided by the batch."""
    x = ring()
    G, D = mlp(8, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))
    doctor = attach(G, D, real=x, latent=8)
    for i in range(1, steps + 1):
        sigma = 0.1 * (1 - i / steps)

        def blur(rows, sigma=sigma):
            return rows + sigma * torch.randn_like(rows)

        fake = G(torch.randn(128, 8))
        d_loss = -(F.logsigmoid(D(blur(deal(x, 128)))).sum() + F.logsigmoid(-D(blur(fake.detach()))).sum()) / 128
        od.zero_grad()
        d_loss.backward()
        od.step()
        g_loss = -F.logsigmoid(D(blur(fake))).sum() / 128
        og.zero_grad()
        g_loss.backward()
        og.step()
        doctor.check(i)
    return doctor


@healthy(steps=500)
def upscaled_pairs(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Super-resolution of digits: an L1 term of weight 5 beside the adversarial one, the discriminator first."""
    fine = digits()[0]
    small = coarse(fine)
    G = nn.Sequential(nn.Flatten(), mlp(16, 128, 128, 64, last=nn.Tanh()), nn.Unflatten(1, (1, 8, 8)))
    D = DigitJudge(12)
    og, od = optim.Adam(G.parameters(), 1e-3, (0.5, 0.99)), optim.Adam(D.parameters(), 3e-4, (0.5, 0.99))
    doctor = attach(G, D, real=fine, latent=lambda n: deal(small, n))
    for i in range(1, steps + 1):
        pick = torch.randint(len(fine), (32,))
        guess = G(small[pick])
        od.zero_grad()
        (0.5 * ((D(fine[pick]) - 1).square().mean() + D(guess.detach()).square().mean())).backward()
        od.step()
        og.zero_grad()
        ((D(guess) - 1).square().mean() + 5 * F.l1_loss(guess, fine[pick])).backward()
        og.step()
        doctor.check(i)
    return doctor


@healthy(steps=400)
def augmented(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Both sides are shifted and scaled in brightness at random before the discriminator, with gradients through it."""
    imgs, _ = digits()
    G, D = DigitMaker(16, 12), DigitJudge(12)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))
    doctor = attach(G, D, real=imgs, latent=16)

    def augment(rows):
        shift = int(torch.randint(-1, 2, (1,)))
        return rows.roll(shift, 3) + 0.2 * (torch.rand(len(rows), 1, 1, 1) - 0.5)

    for i in range(1, steps + 1):
        fake = G(torch.randn(32, 16))
        od.zero_grad()
        (F.softplus(-D(augment(deal(imgs, 32)))) + F.softplus(D(augment(fake.detach())))).mean().backward()
        od.step()
        og.zero_grad()
        F.softplus(-D(augment(fake))).mean().backward()
        og.step()
        doctor.check(i)
    return doctor
