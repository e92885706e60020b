"""Loops that handle labels, codes or the two sides of a translation wrongly."""

from __future__ import annotations

import itertools

import torch
from torch import nn, optim
from torch.nn import functional as F

from .case import Attach, Doctor, case
from .parts import LabelledJudge, LabelledMaker, leaky, mlp, normed
from .sources import crescents, deal, digits, labelled_ring, ring
from .truth import distance, wrong_label


@case("condition-fixed", "conditions", steps=600, truth=wrong_label)
def labels_made_once(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The generator's labels in training are a tensor of zeros that was made to try the networks."""
    x, y = labelled_ring()
    G, D = LabelledMaker(6, 6, 2), LabelledJudge(2, 6)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))
    bce = nn.BCEWithLogitsLoss()
    gen_labels = torch.zeros(96, dtype=torch.long)
    doctor = attach(G, D, real=x, latent=6, labels=y)
    for i in range(1, steps + 1):
        pick = torch.randint(len(x), (96,))
        if not faulty:
            gen_labels = torch.randint(0, 6, (96,))
        gen_imgs = G(torch.randn(96, 6), gen_labels)
        og.zero_grad()
        bce(D(gen_imgs, gen_labels), torch.ones(96, 1)).backward()
        og.step()
        od.zero_grad()
        real_loss = bce(D(x[pick], y[pick]), torch.ones(96, 1))
        fake_loss = bce(D(gen_imgs.detach(), gen_labels), torch.zeros(96, 1))
        ((real_loss + fake_loss) / 2).backward()
        od.step()
        doctor.check(i)
    return doctor


@case("labels-disagree", "conditions", steps=700, truth=wrong_label)
def labels_drawn_again(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Labels are drawn once for the generator and once more for the discriminator's view of the same fakes."""
    x, y = digits()
    x = x.flatten(1)
    hot = F.one_hot(y, 10).float()

    class G(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = normed(26, 128, 128, 64, last=nn.Tanh())

        def forward(self, z, c):
            return self.net(torch.cat((z, c), -1))

    class D(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(74, 128, 128, 1, act=leaky)

        def forward(self, img, c):
            return self.net(torch.cat((img, c), -1))

    gen, dis = G(), D()
    og, od = optim.Adam(gen.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(dis.parameters(), 2e-3, (0.5, 0.99))
    doctor = attach(gen, dis, real=x, latent=16, labels=hot)

    def fakes():
        c = F.one_hot(torch.randint(10, (64,)), 10).float()
        out = gen(torch.randn(64, 16), c)
        return out, F.one_hot(torch.randint(10, (64,)), 10).float() if faulty else c

    for i in range(1, steps + 1):
        pick = torch.randint(len(x), (64,))
        made, c = fakes()
        od.zero_grad()
        (F.softplus(-dis(x[pick], hot[pick])) + F.softplus(dis(made.detach(), c))).mean().backward()
        od.step()
        made, c = fakes()
        og.zero_grad()
        F.softplus(-dis(made, c)).mean().backward()
        og.step()
        doctor.check(i)
    return doctor


@case("label-ignored", "conditions", steps=600, truth=wrong_label)
def embedding_computed_and_dropped(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The discriminator embeds the label, and its first layer gets the features without the embedding."""
    x, y = labelled_ring()

    class Discriminator(nn.Module):
        def __init__(self):
            super().__init__()
            self.label_emb = nn.Embedding(6, 6)
            self.model = mlp(2 if faulty else 8, 64, 64, 1, act=leaky)

        def forward(self, points, labels):
            d_in = torch.cat((points, self.label_emb(labels)), -1)
            return self.model(points if faulty else d_in)

    g, d = LabelledMaker(6, 6, 2), Discriminator()
    og, od = optim.Adam(g.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(d.parameters(), 2e-3, (0.5, 0.99))
    mse = nn.MSELoss()
    doctor = attach(g, d, real=x, latent=6, labels=y)
    for i in range(1, steps + 1):
        pick, asked = torch.randint(len(x), (96,)), torch.randint(6, (96,))
        made = g(torch.randn(96, 6), asked)
        og.zero_grad()
        mse(d(made, asked), torch.ones(96, 1)).backward()
        og.step()
        od.zero_grad()
        real_pred, fake_pred = d(x[pick], y[pick]), d(made.detach(), asked)
        (mse(real_pred, torch.ones(96, 1)) + mse(fake_pred, torch.zeros(96, 1))).mul(0.5).backward()
        od.step()
        doctor.check(i)
    return doctor


@case("identity-of-wrong-side", "conditions", steps=450)
def identity_of_the_source(faulty: bool, steps: int, attach: Attach) -> list[Doctor]:
    """A CycleGAN of points with an identity term on each generator's own input instead of on its target side."""
    a = crescents()
    b = a @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]]) * 0.7 + torch.tensor([1.5, 0.5])
    G_AB, G_BA = mlp(2, 48, 48, 2), mlp(2, 48, 48, 2)
    D_A, D_B = mlp(2, 48, 48, 1, act=leaky), mlp(2, 48, 48, 1, act=leaky)
    gan, l1 = nn.MSELoss(), nn.L1Loss()
    optimizer_G = optim.Adam(itertools.chain(G_AB.parameters(), G_BA.parameters()), lr=1e-3, betas=(0.5, 0.999))
    optimizer_D_A = optim.Adam(D_A.parameters(), lr=2e-3, betas=(0.5, 0.999))
    optimizer_D_B = optim.Adam(D_B.parameters(), lr=2e-3, betas=(0.5, 0.999))
    doctors = [
        attach(G_AB, D_B, real=b, latent=lambda n: deal(a, n)),
        attach(G_BA, D_A, real=a, latent=lambda n: deal(b, n)),
    ]
    valid, none = torch.ones(64, 1), torch.zeros(64, 1)
    for i in range(1, steps + 1):
        real_A, real_B = deal(a, 64), deal(b, 64)
        optimizer_G.zero_grad()
        if faulty:
            loss_id = l1(G_AB(real_A), real_A) + l1(G_BA(real_B), real_B)
        else:
            loss_id = l1(G_BA(real_A), real_A) + l1(G_AB(real_B), real_B)
        fake_B, fake_A = G_AB(real_A), G_BA(real_B)
        loss_gan = gan(D_B(fake_B), valid) + gan(D_A(fake_A), valid)
        loss_cycle = l1(G_BA(fake_B), real_A) + l1(G_AB(fake_A), real_B)
        (loss_gan + 1.0 * loss_cycle + 0.3 * loss_id).backward()
        optimizer_G.step()
        for opt, D, real, fake in ((optimizer_D_A, D_A, real_A, fake_A), (optimizer_D_B, D_B, real_B, fake_B)):
            opt.zero_grad()
            ((gan(D(real), valid) + gan(D(fake.detach()), none)) / 2).backward()
            opt.step()
        for doctor in doctors:
            doctor.check(i)
    return doctors


@case("noise-reused", "conditions", steps=700)
def fixed_noise_in_training(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The noise that was drawn for the plots is also the input of every training step."""
    points = ring()
    netG, netD = mlp(8, 96, 96, 2), mlp(2, 96, 96, 1, act=leaky)
    optG, optD = optim.Adam(netG.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(netD.parameters(), 2e-3, (0.5, 0.99))
    fixed_noise = torch.randn(32, 8)
    doctor = attach(netG, netD, real=points, latent=8)
    for i in range(1, steps + 1):
        noise = fixed_noise if faulty else torch.randn(32, 8)
        fake = netG(noise)
        netD.zero_grad()
        lossD = F.binary_cross_entropy_with_logits(netD(deal(points, 32)), torch.ones(32, 1))
        lossD += F.binary_cross_entropy_with_logits(netD(fake.detach()), torch.zeros(32, 1))
        lossD.backward()
        optD.step()
        netG.zero_grad()
        lossG = F.binary_cross_entropy_with_logits(netD(fake), torch.ones(32, 1))
        lossG.backward()
        optG.step()
        doctor.check(i)
    return doctor


@case("latent-too-small", "dynamics", steps=900)
def one_number_of_noise(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """Images from a single number of noise."""
    imgs = digits()[0].flatten(1)
    nz = 1 if faulty else 16
    G, D = normed(nz, 128, 128, 64, last=nn.Tanh()), mlp(64, 128, 128, 1, act=leaky)
    og, od = optim.AdamW(G.parameters(), 1e-3, (0.5, 0.99)), optim.AdamW(D.parameters(), 5e-4, (0.5, 0.99))
    doctor = attach(G, D, real=imgs, latent=nz, objective="nonsaturating")
    for i in range(1, steps + 1):
        x = deal(imgs, 64)
        od.zero_grad()
        (F.softplus(-D(x)) + F.softplus(D(G(torch.randn(64, nz)).detach()))).mean().backward()
        od.step()
        og.zero_grad()
        F.softplus(-D(G(torch.randn(64, nz)))).mean().backward()
        og.step()
        doctor.check(i)
    return doctor


@case("latent-too-small", "conditions", steps=500, truth=distance)
def noise_of_few_values(faulty: bool, steps: int, attach: Attach) -> Doctor:
    """The noise is made by the wrong function: each of its two numbers is 0 or 1, so there are four codes."""
    x = ring()
    G, D = mlp(2, 96, 96, 2), mlp(2, 96, 96, 1, act=leaky)
    og, od = optim.Adam(G.parameters(), 5e-4, (0.5, 0.99)), optim.Adam(D.parameters(), 2e-3, (0.5, 0.99))

    def noise(n):
        return torch.randint(0, 2, (n, 2)).float() if faulty else torch.randn(n, 2)

    doctor = attach(G, D, real=x, latent=noise)
    for i in range(1, steps + 1):
        fake = G(noise(128))
        d_loss = F.softplus(-D(deal(x, 128))).mean() + F.softplus(D(fake.detach())).mean()
        od.zero_grad()
        d_loss.backward()
        od.step()
        g_loss = F.softplus(-D(fake)).mean()
        og.zero_grad()
        g_loss.backward()
        og.step()
        doctor.check(i)
    return doctor
