"""Ways to write a training step of the unseen split that are unusual and right, and those with classes."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, optim

from ..kit import Kit
from ..style import style


@style("many fresh leaves", split="unseen")
def more_fakes(k: Kit) -> None:
    """The discriminator gets twice as many generated rows as real ones."""
    for _ in k.rounds():
        for _ in range(k.ratio):
            x = k.real()
            fake = k.hide(k.G(k.codes(2 * len(x))))
            k.opt_d.zero_grad()
            loss = k.d_loss(k.D(x), k.D(fake)) + k.penalty(x, fake[: len(x)])
            loss.backward()
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
        k.opt_g.step()


@style("paired many fresh leaves both", split="unseen")
def lookahead(k: Kit) -> None:
    """After each fifth round both players go back to the middle between their old weights and the new ones."""
    players = [p for net in (k.G, k.D) for p in net.parameters()]
    slow = [p.detach().clone() for p in players]
    for i in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            loss_d = k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)
            k.opt_d.zero_grad()
            loss_d.backward()
            k.opt_d.step()
            k.cut()
        loss_g = k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real())
        k.opt_g.zero_grad()
        loss_g.backward()
        k.opt_g.step()
        if i % 5 == 0:
            with torch.no_grad():
                for p, old in zip(players, slow, strict=True):
                    p.copy_(old.lerp_(p, 0.5))


@style("many fresh leaves both", split="unseen")
def best_scores(k: Kit) -> None:
    """The generator learns from the samples with the higher scores: all at first, at last three quarters."""
    for i in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            k.opt_d.zero_grad()
            (k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()
        share = max(0.75, 1 - i / (2 * k.setting.steps))
        scores = k.D(k.show(k.G(k.codes(k.n))))
        best, _ = scores.topk(max(1, int(share * len(scores))))
        k.opt_g.zero_grad()
        k.g_loss(best, k.real()).backward()
        k.opt_g.step()


@style("paired many turns fresh leaves both", split="unseen")
def apart_by_codes(k: Kit) -> None:
    """The generator's loss has a small term for samples that differ as their codes do, and a small one for weights."""
    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            k.opt_d.zero_grad()
            (k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()
        for _ in range(k.made_steps):
            z = k.codes(k.n)
            fake = k.show(k.G(z))
            half = len(z) // 2
            moved = (fake[:half] - fake[half : 2 * half]).flatten(1).abs().mean(1)
            between = (z[:half] - z[half : 2 * half]).flatten(1).abs().mean(1)
            apart = between.mean() / (moved.mean() + 1e-2) if half else fake.new_zeros(())
            decay = sum((p.square().sum() for p in k.G.parameters()), fake.new_zeros(()))
            loss = k.g_loss(k.D(fake), k.real()) + 5e-3 * apart + 1e-6 * decay
            k.opt_g.zero_grad()
            loss.backward()
            k.opt_g.step()


@style("paired many fresh leaves scheduled both", split="unseen")
def one_cycle(k: Kit) -> None:
    """Both rates follow one cycle: they rise for three tenths of the run, then fall to a fiftieth."""
    total = k.setting.steps + 2
    schedules = [
        optim.lr_scheduler.OneCycleLR(
            opt, [g["lr"] for g in opt.param_groups], total, cycle_momentum=False, div_factor=10, final_div_factor=5
        )
        for opt in (k.opt_g, k.opt_d)
    ]
    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            k.opt_d.zero_grad()
            (k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
        k.opt_g.step()
        for schedule in schedules:
            schedule.step()


@style("paired many turns fresh leaves sampler both", split="unseen")
def average_after_warm_up(k: Kit) -> None:
    """Samples come from an average that starts as a copy after a fifth of the run; ``foreach`` functions make it."""
    averaged = copy.deepcopy(k.G).requires_grad_(False).eval()
    k.sampler = lambda n: averaged(k.fresh(n))
    begin = k.setting.steps // 5
    for i in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            k.opt_d.zero_grad()
            (k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()
        for _ in range(k.made_steps):
            k.opt_g.zero_grad()
            k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
            k.opt_g.step()
        with torch.no_grad():
            mine, theirs = [[p.detach() for p in net.parameters()] for net in (averaged, k.G)]
            torch._foreach_lerp_(mine, theirs, 1.0 if i <= begin else 0.04)
            of_g = dict(k.G.named_buffers())
            for name, buffer in averaged.named_buffers():
                if name not in k.buffers_left:
                    buffer.copy_(of_g[name])


@style("paired many fresh leaves both", split="unseen")
def head_start(k: Kit) -> None:
    """The discriminator has four steps for one in the first tenth of the run, and at each fiftieth round."""
    for i in k.rounds():
        extra = 3 if i <= k.setting.steps // 10 or i % 50 == 0 else 0
        for _ in range(k.ratio + extra):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            k.opt_d.zero_grad()
            (k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
        k.opt_g.step()


@style("labelled many fresh leaves", split="unseen")
def classes_in_turn(k: Kit) -> None:
    """A conditional loop: samples are asked for the classes in turn; each term has a backward pass."""
    assert k.y is not None
    classes = int(k.y.max()) + 1

    def wanted(n: int) -> Tensor:
        return torch.arange(n) % classes

    def backward(loss: Tensor) -> float:
        if loss.requires_grad:
            loss.backward()
        return loss.item()

    for _ in k.rounds():
        for _ in range(k.ratio):
            k.D.zero_grad()
            imgs, labels = k.labelled()
            errors = [backward(k.objective.on_real(k.D(imgs, labels)))]
            gen_labels = wanted(len(imgs))
            gen_imgs = k.hide(k.G(k.codes(len(imgs)), k.given(gen_labels)))
            errors.append(backward(k.objective.on_fake(k.D(gen_imgs, k.judged(gen_labels)))))
            errors.append(backward(k.penalty(imgs, gen_imgs, lambda rows, y=labels: k.D(rows, y))))  # type: ignore[misc]
            k.opt_d.step()
            k.cut()
        k.G.zero_grad()
        gen_labels = wanted(k.n)
        gen_imgs = k.show(k.G(k.codes(k.n), k.given(gen_labels)))
        backward(k.objective.on_made(k.D(gen_imgs, k.judged(gen_labels))))
        k.opt_g.step()


class ConditionalTrainer:
    """Both players' steps as methods; classes of samples are drawn with the shares of the data."""

    def __init__(self, k: Kit) -> None:
        self.k = k

    def draw_labels(self, n: int) -> Tensor:
        """Classes of random rows."""
        assert self.k.y is not None
        return self.k.y[torch.randint(len(self.k.y), (n,))]

    def update_critic(self, rows: Tensor, labels: Tensor) -> Tensor:
        """The discriminator's step; returns its scores of real rows."""
        k = self.k
        asked = self.draw_labels(len(rows))
        made = k.hide(k.G(k.codes(len(rows)), k.given(asked)))
        k.opt_d.zero_grad(set_to_none=True)
        real_validity, fake_validity = k.D(rows, labels), k.D(made, k.judged(asked))
        d_loss = k.d_loss(real_validity, fake_validity)
        d_loss = d_loss + k.penalty(rows, made, lambda at: k.D(at, labels))
        d_loss.backward()
        k.opt_d.step()
        k.cut()
        return real_validity.detach()

    def update_generator(self) -> Tensor:
        """The generator's step; returns its samples."""
        k = self.k
        asked = self.draw_labels(k.n)
        made = k.G(k.codes(k.n), k.given(asked))
        k.opt_g.zero_grad(set_to_none=True)
        k.objective.on_made(k.D(k.show(made), k.judged(asked))).backward()
        k.opt_g.step()
        return made.detach()


@style("labelled many fresh leaves", split="unseen")
def classes_of_the_data(k: Kit) -> None:
    """A conditional trainer: classes of samples are drawn with the shares of the data, and the generator goes first."""
    trainer = ConditionalTrainer(k)
    for _ in k.rounds():
        trainer.update_generator()
        for _ in range(k.ratio):
            trainer.update_critic(*k.labelled())
