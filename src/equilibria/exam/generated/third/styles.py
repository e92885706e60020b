"""Ways to order a training step of the third part."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn, optim

from ..kit import Kit
from ..style import style


class Game(nn.Module):
    """Both players in one module; ``forward`` returns the loss of the player that it is asked for."""

    def __init__(self, k: Kit) -> None:
        super().__init__()
        self.k, self.gen, self.dis = k, k.G, k.D

    def forward(self, x: Tensor, player: str) -> Tensor:
        """The loss of a player for a batch."""
        k = self.k
        if player == "dis":
            fake = k.hide(self.gen(k.codes(len(x))))
            return k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)
        return k.g_loss(self.dis(k.show(self.gen(k.codes(len(x))))), x)


@style("paired many turns fresh leaves both", split="held-out")
def one_module(k: Kit) -> None:
    """One module holds both players, and calling it with a player's name gives that player's loss."""
    game = Game(k)
    turns = [("dis", k.opt_d)] * k.ratio + [("gen", k.opt_g)] * k.made_steps
    for _ in k.rounds():
        for player, opt in turns:
            opt.zero_grad(set_to_none=True)
            game(k.real(), player).backward()
            opt.step()
            if player == "dis":
                k.cut()


@style("paired many turns fresh leaves both", split="held-out")
def generator_functions(k: Kit) -> None:
    """Each player is a generator function: it is sent a batch, takes a step and yields its loss."""

    def discriminator() -> Generator[float, Tensor, None]:
        value = 0.0
        while True:
            x = yield value
            fake = k.hide(k.G(k.codes(x.shape[0])))
            loss = k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)
            k.opt_d.zero_grad()
            loss.backward()
            k.opt_d.step()
            k.cut()
            value = float(loss.detach())

    def generator() -> Generator[float, Tensor, None]:
        value = 0.0
        while True:
            x = yield value
            loss = k.g_loss(k.D(k.show(k.G(k.codes(x.shape[0])))), x)
            k.opt_g.zero_grad()
            loss.backward()
            k.opt_g.step()
            value = float(loss.detach())

    players = (discriminator(), generator())
    for player in players:
        next(player)
    for _ in k.rounds():
        losses = [players[0].send(k.real()) for _ in range(k.ratio)]
        losses += [players[1].send(k.real()) for _ in range(k.made_steps)]


class Judged:
    """The discriminator's loss as an object: its parts in a dictionary, summed when they are wanted."""

    def __init__(self, k: Kit) -> None:
        self.k = k

    def __call__(self, x: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The parts."""
        real_scores, fake_scores = self.k.both(x, fake)
        return {"adv": self.k.d_loss(real_scores, fake_scores), "slope": self.k.penalty(x, fake)}


class Made:
    """The generator's loss as an object; a term that is switched off has the weight 0."""

    def __init__(self, k: Kit, moments: float = 0.0) -> None:
        self.k, self.moments = k, moments

    def __call__(self, x: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The parts."""
        parts = {"adv": self.k.g_loss(self.k.D(fake), x)}
        if self.moments:
            parts["moments"] = self.moments * (fake.mean(0) - x.mean(0)).square().sum()
        return parts


@style("paired many turns fresh leaves both", split="held-out")
def loss_objects(k: Kit) -> None:
    """Losses are objects that return dictionaries of terms, one of which is switched off."""
    criterion_d, criterion_g = Judged(k), Made(k)
    for _ in k.rounds():
        for _ in range(k.ratio):
            x = k.real()
            terms = criterion_d(x, k.hide(k.G(k.codes(k.n))))
            k.opt_d.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            k.opt_d.step()
            k.cut()
        for _ in range(k.made_steps):
            terms = criterion_g(k.real(), k.show(k.G(k.codes(k.n))))
            k.opt_g.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            k.opt_g.step()


@style("leaves both shared-fakes", split="held-out")
def graph_retained(k: Kit) -> None:
    """One batch of samples serves both players without a detach: its graph is kept, and gradients are cleared."""
    for _ in k.rounds():
        x, fake = k.real(), k.G(k.codes(k.n))
        loss_d = k.d_loss(*k.both(x, fake)) + k.penalty(x, fake.detach())
        k.opt_d.zero_grad()
        loss_d.backward(retain_graph=True)
        k.opt_d.step()
        k.cut()
        loss_g = k.g_loss(k.D(k.show(fake)), x)
        k.opt_g.zero_grad()
        loss_g.backward()
        k.opt_g.step()


@style("unpaired many fresh leaves separate-backward gradients-by-hand", split="held-out")
def gradients_summed(k: Kit) -> None:
    """Each term of the discriminator has its own backward pass; its gradients are taken out and added by hand."""

    def taken(loss: Tensor, net: nn.Module) -> list[Tensor | None]:
        if loss.requires_grad:
            loss.backward()
        found = [None if p.grad is None else p.grad.detach().clone() for p in net.parameters()]
        for p in net.parameters():
            p.grad = None
        return found

    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            taken(torch.zeros(()), k.D)
            terms = (k.objective.on_real(k.D(x)), k.objective.on_fake(k.D(fake)), k.penalty(x, fake))
            parts = [taken(term, k.D) for term in terms]
            for p, *of_p in zip(k.D.parameters(), *parts, strict=True):
                known = [g for g in of_p if g is not None]
                p.grad = torch.stack(known).sum(0) if known else None
            k.opt_d.step()
            k.cut()
        taken(torch.zeros(()), k.G)
        k.objective.on_made(k.D(k.show(k.G(k.codes(k.n))))).backward()
        k.opt_g.step()


@style("paired many turns fresh toggles both", split="held-out")
def frozen_and_thawed(k: Kit) -> None:
    """The discriminator is frozen for the generator's step and thawed after it; its samples are made without grad."""
    for _ in k.rounds():
        k.D.requires_grad_(True)
        for _ in range(k.ratio):
            x = k.real()
            with torch.no_grad():
                fake = k.G(k.codes(k.n))
            k.opt_d.zero_grad()
            (k.d_loss(*k.both(x, k.hide(fake))) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()
        k.D.requires_grad_(False)
        for _ in range(k.made_steps):
            k.opt_g.zero_grad()
            k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
            k.opt_g.step()
        k.D.requires_grad_(True)


@style("paired many fresh leaves accumulation", split="held-out")
def micro_batches(k: Kit) -> None:
    """Four small backward passes before each step; the step is taken where a counter is a multiple of four."""
    parts = 4
    size = max(2, k.n // parts)

    def accumulate(opt: optim.Optimizer, rows: int) -> None:
        for i in range(parts):
            if opt is k.opt_d:
                x, fake = k.real(rows), k.hide(k.G(k.codes(rows)))
                loss = k.d_loss(k.D(x), k.D(fake)) + k.penalty(x, fake)
            else:
                loss = k.g_loss(k.D(k.show(k.G(k.codes(rows)))), k.real(rows))
            loss.div(parts).backward()
            if (i + 1) % parts == 0:
                opt.step()
                opt.zero_grad()

    for _ in k.rounds():
        for _ in range(k.ratio):
            k.opt_d.zero_grad()
            accumulate(k.opt_d, size)
            k.cut()
        k.opt_g.zero_grad()
        accumulate(k.opt_g, size)


@style("paired many fresh leaves", split="held-out")
def shuffled_together(k: Kit) -> None:
    """Real and generated rows are shuffled into one batch, and the scores are put back in order."""
    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            order = torch.randperm(len(x) + len(fake))
            scores = k.D(torch.cat([x, fake])[order])[order.argsort()]
            k.opt_d.zero_grad()
            (k.d_loss(scores[: len(x)], scores[len(x) :]) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
        k.opt_g.step()
