"""Loops in which no gradient reaches the generator, or the adversarial term does not."""

from __future__ import annotations

import torch
from torch import nn, optim
from torch.nn import functional as F

from .case import Attach, Doctor, case
from .parts import DigitJudge, DigitMaker, leaky, mlp, normed
from .sources import coarse, customers, deal, digits, standardised, words
from .truth import blur


@case("no-gradient-path", "paths", steps=600)
def token_argmax(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Words of letters; the generator returns one-hots of an argmax. The generator goes first."""
    data = words()

    class Writer(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = normed(12, 96, 96, 48)

        def forward(self, z):
            logits = self.net(z).view(-1, 8, 6)
            if faulty:
                return F.one_hot(logits.argmax(-1), 6).float()
            return F.gumbel_softmax(logits, tau=1.0, hard=True)

    writer = Writer()
    reader = nn.Sequential(nn.Flatten(), mlp(48, 64, 64, 1, act=leaky))
    opt_w = optim.Adam(writer.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_r = optim.Adam(reader.parameters(), lr=3e-4, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    doctor = attach(writer, reader, real=data, latent=12)
    for it in range(1, steps + 1):
        real = deal(data, 64)
        valid, fake = torch.ones(64, 1), torch.zeros(64, 1)
        opt_w.zero_grad()
        text = writer(torch.randn(64, 12))
        g_loss = bce(reader(text), valid)
        g_loss.backward()
        opt_w.step()
        opt_r.zero_grad()
        d_loss = (bce(reader(real), valid) + bce(reader(text.detach()), fake)) / 2
        d_loss.backward()
        opt_r.step()
        doctor.check(it)
    return doctor


class BinaryTrainer:
    """A trainer of black and white images; ``hard`` rounds the generator's output."""

    def __init__(self, images: torch.Tensor, hard: bool, attach: Attach) -> None:
        self.images, self.hard = images, hard

        class Press(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = normed(16, 128, 128, 64, last=nn.Sigmoid())

            def forward(self, z):
                p = self.body(z)
                return torch.round(p) if hard else p + (torch.round(p) - p).detach()

        self.g = Press()
        self.d = mlp(64, 128, 64, 1, act=leaky)
        self.g_optim = optim.Adam(self.g.parameters(), 5e-4, betas=(0.5, 0.9))
        self.d_optim = optim.Adam(self.d.parameters(), 5e-4, betas=(0.5, 0.9))
        optimizers = {"generator": self.g_optim, "discriminator": self.d_optim}
        self.doctor = attach(self.g, self.d, real=images, latent=16, optimizers=optimizers)

    def train_d(self) -> None:
        """One step of the discriminator."""
        x = deal(self.images, 64)
        with torch.no_grad():
            y = self.g(torch.randn(64, 16))
        loss = F.softplus(-self.d(x)).mean() + F.softplus(self.d(y)).mean()
        self.d_optim.zero_grad()
        loss.backward()
        self.d_optim.step()

    def train_g(self) -> None:
        """One step of the generator."""
        loss = F.softplus(-self.d(self.g(torch.randn(64, 16)))).mean()
        self.g_optim.zero_grad()
        loss.backward()
        self.g_optim.step()

    def fit(self, steps: int) -> None:
        """The loop."""
        for step in range(1, steps + 1):
            self.train_d()
            self.train_g()
            self.doctor.check(step)


@case("no-gradient-path", "paths", steps=700)
def pixels_rounded(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Black and white digits by a trainer class; the generator rounds its output, so its gradient is exactly 0."""
    images = (digits(0, 1)[0].flatten(1) > 0.5).float()
    trainer = BinaryTrainer(images, faulty, attach)
    trainer.fit(steps)
    return trainer.doctor


@case("no-gradient-path", "paths", steps=450)
def sampled_under_no_grad(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """One batch of fakes for both players, made under no_grad; nothing is left to train the generator by."""
    imgs, _ = digits()
    netG, netD = DigitMaker(20), DigitJudge()
    optimizerG = optim.Adam(netG.parameters(), lr=2e-3, betas=(0.5, 0.999))
    optimizerD = optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
    doctor = attach(netG, netD, real=imgs, latent=20, objective="least-squares")
    for i in range(steps):
        with torch.set_grad_enabled(not faulty):
            fake = netG(torch.randn(48, 20))
        lossD = ((netD(deal(imgs, 48)) - 1) ** 2).mean() + (netD(fake.detach()) ** 2).mean()
        netD.zero_grad()
        lossD.backward()
        optimizerD.step()
        lossG = ((netD(fake) - 1) ** 2).mean()
        netG.zero_grad()
        lossG.backward()
        optimizerG.step()
        doctor.check(i + 1)
    return doctor


@case("no-gradient-path", "paths", steps=700)
def through_numpy(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A table; samples are brought into the columns' bounds by numpy, outside the graph."""
    data = standardised(customers())
    low, high = data.min(0).values, data.max(0).values

    class TableMaker(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = mlp(8, 96, 96, 6)

        def forward(self, noise):
            rows = self.layers(noise)
            if faulty:
                inside = rows.detach().numpy().clip(low.numpy(), high.numpy())
                return torch.from_numpy(inside)
            return torch.minimum(torch.maximum(rows, low), high)

    maker, judge = TableMaker(), mlp(6, 96, 96, 1, act=leaky)
    g_opt = optim.Adam(maker.parameters(), lr=3e-4, betas=(0.5, 0.99))
    d_opt = optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.99))
    doctor = attach(maker, judge, real=data, latent=8)

    def discriminate():
        real, made = deal(data, 100), maker(torch.randn(100, 8)).detach()
        return F.binary_cross_entropy_with_logits(judge(real), torch.ones(100, 1)) + (
            F.binary_cross_entropy_with_logits(judge(made), torch.zeros(100, 1))
        )

    def generate():
        return F.binary_cross_entropy_with_logits(judge(maker(torch.randn(100, 8))), torch.ones(100, 1))

    for step in range(1, steps + 1):
        for opt, compute in ((d_opt, discriminate), (g_opt, generate)):
            d_opt.zero_grad()
            g_opt.zero_grad()
            compute().backward()
            opt.step()
        doctor.check(step)
    return doctor


@case("adversarial-term-missing", "paths", steps=600, truth=blur)
def pairs_by_distance_only(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Digits from the means of their quarters as in pix2pix; the weighted L1 replaces the generator's loss."""
    clean = digits()[0].flatten(1)
    rough = F.avg_pool2d(clean.view(-1, 1, 8, 8), 4).flatten(1)
    G, D = normed(12, 128, 128, 64, last=nn.Tanh()), mlp(64, 128, 128, 1, act=leaky)
    opt_G = optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_D = optim.Adam(D.parameters(), lr=5e-4, betas=(0.5, 0.999))
    criterion_gan, criterion_pixel, lambda_pixel = nn.MSELoss(), nn.L1Loss(), 1.0
    doctor = attach(G, D, real=clean, latent=lambda n: torch.cat([deal(rough, n), torch.randn(n, 8)], 1))
    for step in range(1, steps + 1):
        i = torch.randint(len(clean), (64,))
        a, b = torch.cat([rough[i], torch.randn(64, 8)], 1), clean[i]
        # generators
        opt_G.zero_grad()
        fake_b = G(a)
        loss_gan = criterion_gan(D(fake_b), torch.ones(64, 1))
        loss_G = lambda_pixel * criterion_pixel(fake_b, b)
        if not faulty:
            loss_G = loss_G + loss_gan
        loss_G.backward()
        opt_G.step()
        # discriminator
        opt_D.zero_grad()
        loss_D = 0.5 * (criterion_gan(D(b), torch.ones(64, 1)) + criterion_gan(D(fake_b.detach()), torch.zeros(64, 1)))
        loss_D.backward()
        opt_D.step()
        doctor.check(step)
    return doctor


@case("adversarial-term-missing", "paths", steps=400, truth=blur)
def fine_images_scored_without_grad(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Super-resolution as in SRGAN; the helper that scores the fakes runs under no_grad."""
    fine = digits()[0]
    small = coarse(coarse(fine))

    class Upscaler(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Conv2d(64, 16, 3, 1, 1)
            self.inner = nn.Sequential(
                nn.Conv2d(5, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.PReLU(), nn.Conv2d(64, 64, 3, 1, 1), nn.PReLU()
            )

        def forward(self, x):
            grain = torch.randn(len(x), 4, 2, 2)
            return torch.tanh(F.pixel_shuffle(self.out(self.inner(torch.cat([x, grain], 1))), 4))

    net_g, net_d = Upscaler(), DigitJudge(ndf=12)
    optim_g = optim.Adam(net_g.parameters(), lr=1e-3)
    optim_d = optim.Adam(net_d.parameters(), lr=5e-4)
    doctor = attach(net_g, net_d, real=fine, latent=lambda n: deal(small, n))

    def adversarial(batch):
        with torch.set_grad_enabled(not faulty):
            return F.softplus(-net_d(batch)).mean()

    for n in range(1, steps + 1):
        pick = torch.randint(len(fine), (32,))
        hr, lr = fine[pick], small[pick]
        sr = net_g(lr)
        optim_d.zero_grad(set_to_none=False)
        (F.softplus(-net_d(hr)).mean() + F.softplus(net_d(sr.detach())).mean()).backward()
        optim_d.step()
        optim_g.zero_grad(set_to_none=False)
        image_loss = F.mse_loss(sr, hr)
        (image_loss + adversarial(sr)).backward()
        optim_g.step()
        doctor.check(n)
    return doctor
