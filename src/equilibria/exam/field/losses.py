"""Loops whose losses ask for the wrong thing, or do not fit the discriminator's output."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from .case import Attach, Doctor, case
from .parts import DigitJudge, DigitMaker, WaveJudge, WaveMaker, leaky, mlp, normed
from .sources import crescents, customers, deal, digits, ring, standardised, waves
from .truth import wrong_label


class Pair:
    """A trainer that keeps the current batch as attributes; ``stale`` reads the real batch for both sides."""

    def __init__(self, data: Tensor, stale: bool) -> None:
        self.data, self.stale = data, stale
        self.G, self.D = mlp(6, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
        self.optimizers = [
            optim.Adam(self.D.parameters(), lr=2e-3, betas=(0.5, 0.9)),
            optim.Adam(self.G.parameters(), lr=5e-4, betas=(0.5, 0.9)),
        ]

    def set_input(self) -> None:
        """Deal a batch."""
        self.real = deal(self.data, 128)

    def forward(self) -> None:
        """Make fakes."""
        self.fake = self.G(torch.randn(128, 6))

    def backward_d(self) -> None:
        """Gradients of the discriminator."""
        pred_real = self.D(self.real)
        pred_fake = self.D(self.real if self.stale else self.fake.detach())
        self.loss_D = F.softplus(-pred_real).mean() + F.softplus(pred_fake).mean()
        self.loss_D.backward()

    def backward_g(self) -> None:
        """Gradients of the generator."""
        self.loss_G = F.softplus(-self.D(self.fake)).mean()
        self.loss_G.backward()

    def optimize_parameters(self) -> None:
        """One step of both."""
        self.forward()
        for optimizer, backward in zip(self.optimizers, (self.backward_d, self.backward_g), strict=True):
            optimizer.zero_grad()
            backward()
            optimizer.step()


@case("same-batch-twice", "losses", steps=600)
def real_batch_on_both_sides(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A model class in the style of pix2pix; its discriminator's loss reads the real batch for both sides."""
    model = Pair(ring(), faulty)
    doctor = attach(model.G, model.D, real=model.data, latent=6)
    for i in range(1, steps + 1):
        model.set_input()
        model.optimize_parameters()
        doctor.check(i)
    return doctor


@case("same-target-for-both", "losses", steps=500)
def label_not_refilled(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The loop of the DCGAN tutorial without its second ``fill_``: fakes are labelled as real."""
    imgs, _ = digits()
    netG, netD = DigitMaker(16, 12), DigitJudge(last=nn.Sigmoid())
    criterion = nn.BCELoss()
    optimizerD = optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=2e-3, betas=(0.5, 0.999))
    real_label, fake_label = 1.0, 0.0
    doctor = attach(netG, netD, real=imgs, latent=16)
    for i in range(1, steps + 1):
        netD.zero_grad()
        label = torch.full((32,), real_label)
        errD_real = criterion(netD(deal(imgs, 32)), label)
        errD_real.backward()
        fake = netG(torch.randn(32, 16, 1, 1))
        if not faulty:
            label.fill_(fake_label)
        errD_fake = criterion(netD(fake.detach()), label)
        errD_fake.backward()
        optimizerD.step()
        netG.zero_grad()
        label.fill_(real_label)
        errG = criterion(netD(fake), label)
        errG.backward()
        optimizerG.step()
        doctor.check(i)
    return doctor


@case("swapped-labels", "losses", steps=600)
def inverted_on_one_side_only(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Real rows are labelled 0 and fakes 1, with smoothing; the generator still aims at 1."""
    table = standardised(customers())
    g, d = mlp(8, 96, 96, 6), mlp(6, 96, 96, 1, act=leaky)
    og = optim.Adam(g.parameters(), lr=3e-4, betas=(0.5, 0.999))
    od = optim.Adam(d.parameters(), lr=1e-3, betas=(0.5, 0.999))
    loss = nn.BCEWithLogitsLoss()
    doctor = attach(g, d, real=table, latent=8)
    for i in range(1, steps + 1):
        real_target, fake_target = torch.full((100, 1), 0.1), torch.full((100, 1), 0.9)
        fake = g(torch.randn(100, 8))
        od.zero_grad()
        loss(d(deal(table, 100)), real_target).backward()
        loss(d(fake.detach()), fake_target).backward()
        od.step()
        og.zero_grad()
        loss(d(fake), torch.ones(100, 1) if faulty else torch.zeros(100, 1)).backward()
        og.step()
        doctor.check(i)
    return doctor


@case("swapped-labels", "losses", steps=400)
def critic_sign_lost(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A Wasserstein critic with clipped weights is minimised where it should be maximised."""
    x = crescents()
    G, C = mlp(4, 64, 64, 2), mlp(2, 64, 64, 1, act=leaky)
    opt_G, opt_C = optim.RMSprop(G.parameters(), lr=5e-4), optim.RMSprop(C.parameters(), lr=5e-4)
    doctor = attach(G, C, real=x, latent=4, objective="wasserstein")
    for i in range(1, steps + 1):
        for _ in range(4):
            opt_C.zero_grad()
            estimate = C(deal(x, 64)).mean() - C(G(torch.randn(64, 4)).detach()).mean()
            (estimate if faulty else -estimate).backward()
            opt_C.step()
            for p in C.parameters():
                p.data.clamp_(-0.1, 0.1)
        opt_G.zero_grad()
        (-C(G(torch.randn(64, 4))).mean()).backward()
        opt_G.step()
        doctor.check(i)
    return doctor


@case("flat-generator-loss", "losses", steps=600)
def hinge_for_the_generator_too(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The generator's hinge is minus the discriminator's term of the fakes: flat for fakes scored below -1.

    The discriminator is trained alone first, as some scripts do.
    """
    imgs, _ = digits()
    G, D = DigitMaker(16, 12), DigitJudge(24)
    og = optim.Adam(G.parameters(), lr=5e-4, betas=(0.0, 0.9))
    od = optim.Adam(D.parameters(), lr=3e-3, betas=(0.0, 0.9))
    doctor = attach(G, D, real=imgs, latent=16)
    for i in range(1, steps + 1):
        real, fake = deal(imgs, 32), G(torch.randn(32, 16))
        d_loss = F.relu(1.0 - D(real)).mean() + F.relu(1.0 + D(fake.detach())).mean()
        od.zero_grad()
        d_loss.backward()
        od.step()
        if i > 50:
            out = D(fake)
            g_loss = -F.relu(1.0 + out).mean() if faulty else -out.mean()
            og.zero_grad()
            g_loss.backward()
            og.step()
        doctor.check(i)
    return doctor


@case("flat-generator-loss", "losses", steps=700)
def scores_clamped_for_stability(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Scores are clamped to [-2, 2] in both losses; a fake beyond the bound gives the generator nothing."""
    points = crescents() + 4.0  # far from where the samples start
    maker, judge = mlp(8, 96, 96, 2), mlp(2, 96, 96, 1, act=leaky)
    step_m = optim.Adam(maker.parameters(), lr=5e-4, betas=(0.5, 0.99))
    step_j = optim.Adam(judge.parameters(), lr=2e-3, betas=(0.5, 0.99))
    doctor = attach(maker, judge, real=points, latent=8)

    def score(rows):
        s = judge(rows)
        return s.clamp(-2, 2) if faulty else s

    for i in range(1, steps + 1):
        fake = maker(torch.randn(96, 8))
        step_j.zero_grad()
        (F.softplus(-score(deal(points, 96))) + F.softplus(score(fake.detach()))).mean().backward()
        step_j.step()
        if i > 40:  # the judge first learns alone
            step_m.zero_grad()
            F.softplus(-score(fake)).mean().backward()
            step_m.step()
        doctor.check(i)
    return doctor


@case("missing-sigmoid", "losses", steps=500)
def raw_scores_clamped(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """BCELoss on a discriminator without a sigmoid; a clamp into (0, 1) silenced the error."""
    imgs = digits()[0].flatten(1)
    netG = normed(16, 128, 128, 64, last=nn.Tanh())
    netD = mlp(64, 128, 128, 1, act=leaky)
    optG, optD = optim.Adam(netG.parameters(), 1e-3, (0.5, 0.9)), optim.Adam(netD.parameters(), 2e-3, (0.5, 0.9))
    bce = nn.BCELoss()
    doctor = attach(netG, netD, real=imgs, latent=16)

    def prob(x):
        out = netD(x)
        return out.clamp(1e-6, 1 - 1e-6) if faulty else torch.sigmoid(out)

    for it in range(1, steps + 1):
        x = deal(imgs, 64)
        z = torch.randn(64, 16)
        optD.zero_grad()
        d_loss = bce(prob(x), torch.ones(64, 1)) + bce(prob(netG(z).detach()), torch.zeros(64, 1))
        d_loss.backward()
        optD.step()
        if it > 60:  # the discriminator learns alone at first
            optG.zero_grad()
            g_loss = bce(prob(netG(z)), torch.ones(64, 1))
            g_loss.backward()
            optG.step()
        doctor.check(it)
    return doctor


@case("double-sigmoid", "losses", steps=250)
def sigmoid_in_forward_and_in_the_loss(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The discriminator's forward ends in ``h = torch.sigmoid(h); return h``; the loss is BCEWithLogits."""
    imgs, _ = digits()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = DigitJudge(12)

        def forward(self, x):
            h = self.conv(x)
            if faulty:
                h = torch.sigmoid(h)
            return h

    g, d = DigitMaker(16, 12), Net()
    og = optim.Adam(g.parameters(), lr=1e-3, betas=(0.5, 0.999))
    od = optim.Adam(d.parameters(), lr=2e-3, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    doctor = attach(g, d, real=imgs, latent=16)
    for i in range(1, steps + 1):
        for _ in range(3):
            z = torch.randn(32, 16)
            d.zero_grad()
            criterion(d(deal(imgs, 32)), torch.ones(32)).backward()
            criterion(d(g(z).detach()), torch.zeros(32)).backward()
            od.step()
        g.zero_grad()
        criterion(d(g(z)), torch.ones(32)).backward()
        og.step()
        doctor.check(i)
    return doctor


@case("double-sigmoid", "losses", steps=400)
def probabilities_in_softplus(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Softplus losses by hand on a recurrent discriminator that ends in a sigmoid."""
    series = waves(length=8)
    g, d = WaveMaker(hidden=24), WaveJudge(hidden=24)
    whole = nn.Sequential(d, nn.Sigmoid()) if faulty else d
    og, od = optim.Adam(g.parameters(), 2e-3, (0.5, 0.99)), optim.Adam(whole.parameters(), 2e-3, (0.5, 0.99))
    doctor = attach(g, whole, real=series, latent=lambda n: torch.randn(n, 8, 4))
    for i in range(1, steps + 1):
        x, z = deal(series, 40), torch.randn(40, 8, 4)
        od.zero_grad()
        (F.softplus(-whole(x)).mean() + F.softplus(whole(g(z).detach())).mean()).backward()
        od.step()
        og.zero_grad()
        F.softplus(-whole(g(z))).mean().backward()
        og.step()
        doctor.check(i)
    return doctor


@case("sigmoid-on-critic", "losses", steps=400)
def hinge_on_probabilities(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Hinge losses on a discriminator that kept the sigmoid of an older loss."""
    imgs, _ = digits()
    G, D = DigitMaker(16, 12), DigitJudge(16, last=nn.Sigmoid() if faulty else None)
    opts = [optim.Adam(G.parameters(), 1e-3, (0.0, 0.99)), optim.Adam(D.parameters(), 4e-3, (0.0, 0.99))]
    doctor = attach(G, D, real=imgs, latent=16)
    for i in range(1, steps + 1):
        fakes = G(torch.randn(32, 16))
        opts[1].zero_grad()
        F.relu(1 - D(deal(imgs, 32))).mean().backward()
        F.relu(1 + D(fakes.detach())).mean().backward()
        opts[1].step()
        opts[0].zero_grad()
        D(fakes).mean().neg().backward()
        opts[0].step()
        doctor.check(i)
    return doctor


@case("sigmoid-on-critic", "losses", steps=400)
def wasserstein_on_probabilities(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """A Wasserstein loss with a gradient penalty on a critic that ends in a sigmoid; a port of a vanilla GAN."""
    x = ring() * 2
    G = mlp(6, 64, 64, 2)
    D = mlp(2, 64, 64, 1, act=leaky, last=nn.Sigmoid() if faulty else None)
    og, od = optim.Adam(G.parameters(), 1e-3, (0.0, 0.9)), optim.Adam(D.parameters(), 1e-3, (0.0, 0.9))
    doctor = attach(G, D, real=x, latent=6)
    for i in range(1, steps + 1):
        for _ in range(3):
            a, b = deal(x, 96), G(torch.randn(96, 6)).detach()
            t = torch.rand(96, 1)
            c = (t * a + (1 - t) * b).requires_grad_()
            slope = torch.autograd.grad(D(c).sum(), c, create_graph=True)[0].norm(dim=1)
            loss = D(b).mean() - D(a).mean() + (slope - 1).pow(2).mean()
            od.zero_grad()
            loss.backward()
            od.step()
        og.zero_grad()
        loss = -D(G(torch.randn(96, 6))).mean()
        loss.backward()
        og.step()
        doctor.check(i)
    return doctor


@case("softmax-twice", "losses", steps=500, truth=wrong_label)
def auxiliary_classes_softmaxed(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """An AC-GAN of digits as grey values; its class head ends in Softmax and cross_entropy applies another."""
    imgs, classes = digits(0, 16)
    imgs = imgs.flatten(1)

    class Discriminator(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 128), leaky())
            self.source = nn.Linear(128, 1)
            self.kind = nn.Sequential(nn.Linear(128, 10), nn.Softmax(dim=1) if faulty else nn.Identity())

        def forward(self, x):
            h = self.body(x)
            return self.source(h), self.kind(h)

    G, D = normed(26, 128, 128, 64, last=nn.ReLU()), Discriminator()
    og = optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    od = optim.Adam(D.parameters(), lr=5e-4, betas=(0.5, 0.999))
    hot = F.one_hot(classes, 10).float()
    call = {"generator": lambda z, y: G(torch.cat([z, y], 1)), "discriminator": lambda x, y: D(x)}
    doctor = attach(G, D, real=imgs, latent=16, labels=hot, call=call)
    bce, ce = nn.BCEWithLogitsLoss(), nn.CrossEntropyLoss()
    for i in range(1, steps + 1):
        pick = torch.randint(len(imgs), (64,))
        asked = torch.randint(10, (64,))
        fake = G(torch.cat([torch.randn(64, 16), F.one_hot(asked, 10).float()], 1))
        od.zero_grad()
        s, c = D(imgs[pick])
        (bce(s, torch.ones(64, 1)) + ce(c, classes[pick])).backward()
        s, c = D(fake.detach())
        (bce(s, torch.zeros(64, 1)) + ce(c, asked)).backward()
        od.step()
        og.zero_grad()
        s, c = D(fake)
        (bce(s, torch.ones(64, 1)) + ce(c, asked)).backward()
        og.step()
        doctor.check(i)
    return doctor


@case("unbounded-logarithm", "losses", steps=600)
def logarithm_by_hand(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The losses of the first paper by hand, with log(D) and log(1 - D) of a sigmoid and nothing against log(0)."""
    rows = 3 * crescents()
    G, D = mlp(8, 96, 96, 2), mlp(2, 96, 96, 1, act=leaky)
    prob = nn.Sequential(D, nn.Sigmoid())
    og, od = optim.Adam(G.parameters(), 1e-3, (0.5, 0.99)), optim.Adam(D.parameters(), 3e-3, (0.5, 0.99))
    doctor = attach(G, prob, real=rows, latent=8)

    def log(x, sign):
        if faulty:
            return torch.log(prob(x) if sign > 0 else 1 - prob(x))
        return F.logsigmoid(sign * D(x))

    for i in range(1, steps + 1):
        z = torch.randn(64, 8)
        d_loss = -(log(deal(rows, 64), 1) + log(G(z).detach(), -1)).mean()
        od.zero_grad()
        d_loss.backward()
        od.step()
        for _ in range(10 if i <= 30 else 1):  # the generator gets ahead at first
            g_loss = -log(G(torch.randn(64, 8)), 1).mean()
            og.zero_grad()
            g_loss.backward()
            og.step()
        doctor.check(i)
    return doctor
