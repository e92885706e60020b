"""Ways to order one training step: who goes first, what is shared, and how gradients are computed and cleared."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .kit import Kit, freeze
from .style import style


@style("paired many turns fresh leaves both")
def discriminator_first(k: Kit) -> None:
    """The discriminator's steps, then the generator's on new samples."""
    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            real_scores, fake_scores = k.both(x, fake)
            loss_d = k.d_loss(real_scores, fake_scores) + k.penalty(x, fake)
            k.opt_d.zero_grad()
            loss_d.backward()
            k.opt_d.step()
            k.cut()
        for _ in range(k.made_steps):
            loss_g = k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real())
            k.opt_g.zero_grad()
            loss_g.backward()
            k.opt_g.step()


@style("paired many turns fresh leaves both", split="held-out")
def generator_first(k: Kit) -> None:
    """The generator's step first; gradients are cleared at the networks and at the begin of each player's part."""
    for _ in k.rounds():
        for _ in range(k.made_steps):
            k.G.zero_grad()
            made = k.show(k.G(k.codes(k.n)))
            k.g_loss(k.D(made), k.real()).backward()
            k.opt_g.step()
        for _ in range(k.ratio):
            k.D.zero_grad()
            x = k.real()
            fake = k.hide(k.G(k.codes(len(x))))
            err_d = k.d_loss(*k.both(x, fake))
            err_d = err_d + k.penalty(x, fake)
            err_d.backward()
            k.opt_d.step()
            k.cut()


@style("leaves both")
def shared_fakes(k: Kit) -> None:
    """One batch of samples serves both players: detached for the discriminator, then with its graph."""
    for _ in k.rounds():
        x, fake = k.real(), k.G(k.codes(k.n))
        k.opt_d.zero_grad()
        errD = k.d_loss(*k.both(x, k.hide(fake))) + k.penalty(x, fake.detach())
        errD.backward()
        k.opt_d.step()
        k.cut()
        k.opt_g.zero_grad()
        errG = k.g_loss(k.D(k.show(fake)), x)
        errG.backward()
        k.opt_g.step()


@style("paired simultaneous", split="held-out")
def one_function(k: Kit) -> None:
    """Both losses are computed from one graph, which is kept; each goes to its own network's parameters."""
    generator, discriminator = list(k.G.parameters()), list(k.D.parameters())

    def train_on_batch(x: Tensor, z: Tensor) -> None:
        fake = k.show(k.G(z))
        real_scores, fake_scores = k.D(x), k.D(fake)
        d_total = k.d_loss(real_scores, fake_scores) + k.penalty(x, fake)
        g_total = k.g_loss(fake_scores, x)
        k.opt_d.zero_grad()
        k.opt_g.zero_grad()
        d_total.backward(retain_graph=True, inputs=discriminator)
        g_total.backward(inputs=generator)
        k.opt_d.step()
        k.opt_g.step()
        k.cut()

    for _ in k.rounds():
        train_on_batch(k.real(), k.codes(k.n))


@style("paired many fresh leaves both")
def closures(k: Kit) -> None:
    """Each optimiser gets a closure that clears, computes and differentiates."""

    def closure_d() -> Tensor:
        k.opt_d.zero_grad()
        x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
        loss = k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)
        loss.backward()
        return loss

    def closure_g() -> Tensor:
        k.opt_g.zero_grad()
        loss = k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real())
        loss.backward()
        return loss

    for _ in k.rounds():
        for _ in range(k.ratio):
            k.opt_d.step(closure_d)  # type: ignore[arg-type]
            k.cut()
        k.opt_g.step(closure_g)  # type: ignore[arg-type]


@style("paired many fresh leaves", split="held-out")
def accumulation(k: Kit) -> None:
    """Gradients of two micro-batches of half the size are added up before each step."""
    micro = 2
    size = max(1, k.n // micro)
    for _ in k.rounds():
        for _ in range(k.ratio):
            k.opt_d.zero_grad()
            for _ in range(micro):
                x = k.real(size)
                fake = k.hide(k.G(k.codes(size)))
                ((k.d_loss(k.D(x), k.D(fake)) + k.penalty(x, fake)) / micro).backward()
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        for _ in range(micro):
            (k.g_loss(k.D(k.show(k.G(k.codes(size)))), k.real(size)) / micro).backward()
        k.opt_g.step()


class Module:
    """Manual optimisation in the manner of Lightning."""

    def __init__(self, k: Kit) -> None:
        self.k = k

    def toggle_optimizer(self, net: nn.Module, other: nn.Module) -> None:
        """Give gradients to one network only."""
        freeze(other, True)
        freeze(net, False)

    def untoggle_optimizer(self, other: nn.Module) -> None:
        """Give them back to the other."""
        freeze(other, False)

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        """One batch: the generator every time, the discriminator ``ratio`` times."""
        k = self.k
        self.toggle_optimizer(k.G, k.D)
        g_loss = k.g_loss(k.D(k.show(k.G(k.codes(len(batch))))), batch)
        k.opt_g.zero_grad()
        g_loss.backward()
        k.opt_g.step()
        self.untoggle_optimizer(k.D)
        self.toggle_optimizer(k.D, k.G)
        for turn in range(k.ratio):
            batch = k.real() if turn else batch
            fake = k.hide(k.G(k.codes(len(batch))))
            d_loss = k.d_loss(k.D(batch), k.D(fake)) + k.penalty(batch, fake)
            k.opt_d.zero_grad()
            d_loss.backward()
            k.opt_d.step()
            k.cut()
        self.untoggle_optimizer(k.G)


@style("paired many fresh toggles")
def lightning_like(k: Kit) -> None:
    """A module with ``training_step(batch, batch_idx)`` that freezes the other network."""
    module = Module(k)
    for i in k.rounds():
        module.training_step(k.real(), i - 1)


@style("paired many fresh leaves", split="held-out")
def concatenated(k: Kit) -> None:
    """Real and generated rows go through the discriminator in one pass, and its scores are split."""
    for _ in k.rounds():
        for _ in range(k.ratio):
            x = k.real()
            with torch.no_grad():
                fake = k.G(k.codes(k.n))
            scores = k.D(torch.cat([x, fake], 0))
            real_scores, fake_scores = scores.chunk(2)
            k.opt_d.zero_grad()
            (k.d_loss(real_scores, fake_scores) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
        k.opt_g.step()


@style("unpaired many leaves fresh")
def separate_backward(k: Kit) -> None:
    """Two backward passes for the discriminator, as in the example of DCGAN."""
    for _ in k.rounds():
        for _ in range(k.ratio):
            k.D.zero_grad()
            x = k.real()
            errD_real = k.objective.on_real(k.D(x))
            errD_real.backward()
            fake = k.G(k.codes(k.n))
            errD_fake = k.objective.on_fake(k.D(k.hide(fake)))
            errD_fake.backward()
            gp = k.penalty(x, fake.detach())
            if gp.requires_grad:
                gp.backward()
            k.opt_d.step()
            k.cut()
        k.G.zero_grad()
        k.objective.on_made(k.D(k.show(k.G(k.codes(k.n))))).backward()
        k.opt_g.step()


@style("targets fresh leaves many both")
def inverted_labels(k: Kit) -> None:
    """Real rows have the target 0 and generated ones 1, for both players."""
    loss = k.objective.criterion
    assert loss is not None
    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            s_real, s_fake = k.both(x, fake)
            k.opt_d.zero_grad()
            (loss(s_real, 0.0) + loss(s_fake, 1.0) + k.penalty(x, fake)).backward()
            k.opt_d.step()
        k.opt_g.zero_grad()
        loss(k.D(k.show(k.G(k.codes(k.n)))), 0.0).backward()
        k.opt_g.step()


@style("targets fresh leaves many both")
def smoothed_labels(k: Kit) -> None:
    """The target of real rows is 0.9 in the discriminator's loss, and 1 in the generator's."""
    loss = k.objective.criterion
    assert loss is not None
    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            s_real, s_fake = k.both(x, fake)
            d = 0.5 * (loss(s_real, 0.9) + loss(s_fake, 0.0)) + k.penalty(x, fake)
            k.opt_d.zero_grad()
            d.backward()
            k.opt_d.step()
        g = loss(k.D(k.show(k.G(k.codes(k.n)))), 1.0)
        k.opt_g.zero_grad()
        g.backward()
        k.opt_g.step()


@style("paired many fresh leaves both")
def zeros_kept(k: Kit) -> None:
    """Gradients are set to zeros, not to None, and each player's after its step."""
    for _ in k.rounds():
        for _ in range(k.ratio):
            x = k.real()
            fake = k.hide(k.G(k.codes(k.n)))
            (k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.opt_d.zero_grad(set_to_none=False)
            k.cut()
        k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
        k.opt_g.step()
        k.opt_g.zero_grad(set_to_none=False)
        k.opt_d.zero_grad(set_to_none=False)


@style("fresh many", split="held-out")
def gradients_by_hand(k: Kit) -> None:
    """Gradients come from ``autograd.grad`` and are written into ``.grad``."""

    def step(loss: Tensor, net: nn.Module, opt: torch.optim.Optimizer) -> None:
        params = list(net.parameters())
        for p, g in zip(params, torch.autograd.grad(loss, params, allow_unused=True), strict=True):
            p.grad = g
        opt.step()

    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            step(k.d_loss(k.D(x), k.D(fake)) + k.penalty(x, fake), k.D, k.opt_d)
            k.cut()
        step(k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()), k.G, k.opt_g)
