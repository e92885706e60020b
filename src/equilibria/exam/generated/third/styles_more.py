"""Ways to write a training step of the third part with something around it: logs, averages, schedules, classes."""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

from ..kit import Kit
from ..style import style
from ..styles_more import plain_step


@style("paired many turns fresh leaves both", split="held-out")
def norms_and_slopes_logged(k: Kit) -> None:
    """Norms of gradients and slopes of scores are logged at each step; nothing is trained on them."""
    history: list[dict[str, float]] = []

    def norm(net: nn.Module) -> float:
        return sum(float(p.grad.square().sum()) for p in net.parameters() if p.grad is not None) ** 0.5

    def slope(x: Tensor) -> float:
        at = x.detach().clone().requires_grad_(True)
        (found,) = torch.autograd.grad(k.D(at).sum(), at)
        return float(found.flatten(1).norm(dim=1).mean())

    for _ in k.rounds():
        row: dict[str, float] = {}
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            loss_d = k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)
            k.opt_d.zero_grad()
            loss_d.backward()
            row |= {"d_norm": norm(k.D), "d_slope": slope(x), "d_loss": loss_d.item()}
            k.opt_d.step()
            k.cut()
        for _ in range(k.made_steps):
            loss_g = k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real())
            k.opt_g.zero_grad()
            loss_g.backward()
            row |= {"g_norm": norm(k.G), "g_loss": loss_g.item()}
            k.opt_g.step()
        history.append(row)


@style("paired many fresh leaves sampler both", split="held-out")
def average_of_snapshots(k: Kit) -> None:
    """Samples come from the mean of the last four snapshots of the weights, with the buffers of today."""
    mean = copy.deepcopy(k.G).eval().requires_grad_(False)
    kept: deque[list[Tensor]] = deque(maxlen=4)
    k.sampler = lambda n: mean(k.fresh(n))
    for i in k.rounds():
        plain_step(k, k.real())
        if i % 5 == 1:
            kept.append([p.detach().clone() for p in k.G.parameters()])
        for p, *saved in zip(mean.parameters(), *kept, strict=True):
            p.copy_(torch.stack(saved).mean(0))
        for (name, mine), value in zip(mean.named_buffers(), k.G.buffers(), strict=True):
            if name not in k.buffers_left:
                mine.copy_(value)


@style("paired many fresh leaves scheduled both clipped-gradients", split="held-out")
def sequence_of_schedules(k: Kit) -> None:
    """Rates rise in a line, stay, and fall exponentially; norms of gradients are clipped before each step."""
    steps = k.setting.steps

    def schedule(opt: optim.Optimizer) -> Any:
        up = optim.lr_scheduler.LinearLR(opt, 0.2, total_iters=20)
        stay = optim.lr_scheduler.ConstantLR(opt, 1.0)
        down = optim.lr_scheduler.ExponentialLR(opt, 0.3 ** (1 / steps))
        return optim.lr_scheduler.SequentialLR(opt, [up, stay, down], [20, max(21, steps // 2)])

    schedules = [schedule(k.opt_d), schedule(k.opt_g)]
    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            k.opt_d.zero_grad()
            (k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)).backward()
            nn.utils.clip_grad_norm_(k.D.parameters(), 10.0)
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
        nn.utils.clip_grad_norm_(k.G.parameters(), 10.0)
        k.opt_g.step()
        for each in schedules:
            each.step()


@style("targets fresh leaves many both", split="held-out")
def noisy_labels(k: Kit) -> None:
    """The target of real rows is drawn between 0.85 and 1 at each step, that of fakes between 0 and 0.05."""
    loss = k.objective.criterion
    assert loss is not None
    for _ in k.rounds():
        for _ in range(k.ratio):
            valid, fool = 0.85 + 0.15 * float(torch.rand(())), 0.05 * float(torch.rand(()))
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            s_real, s_fake = k.both(x, fake)
            k.opt_d.zero_grad()
            (loss(s_real, valid) + loss(s_fake, fool) + k.penalty(x, fake)).backward()
            k.opt_d.step()
        k.opt_g.zero_grad()
        loss(k.D(k.show(k.G(k.codes(k.n)))), 1.0).backward()
        k.opt_g.step()


@style("many fresh leaves augmented", split="held-out")
def fading_noise(k: Kit) -> None:
    """Both sides get noise before the discriminator that fades over the first half of the run."""
    half = max(1, k.setting.steps // 2)
    for i in k.rounds():
        size = 0.15 * max(0.0, 1 - i / half)

        def noised(rows: Tensor, size: float = size) -> Tensor:
            return rows + size * torch.randn_like(rows)

        for _ in range(k.ratio):
            x, fake = noised(k.real()), noised(k.hide(k.G(k.codes(k.n))))
            k.opt_d.zero_grad()
            (k.d_loss(k.D(x), k.D(fake)) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        k.g_loss(k.D(noised(k.show(k.G(k.codes(k.n))))), k.real()).backward()
        k.opt_g.step()


@style("many fresh leaves both with-loader", split="held-out")
def next_of_iterator(k: Kit) -> None:
    """Batches come by ``next`` from a loader's iterator, which is made again when it stops."""
    size = min(k.n, len(k.kept))  # a set may be smaller than a batch
    loader = DataLoader(TensorDataset(k.x[k.kept]), batch_size=size, shuffle=k.shuffled, drop_last=True)
    batches = iter(loader)
    for _ in k.rounds():
        try:
            (x,) = next(batches)
        except StopIteration:
            batches = iter(loader)
            (x,) = next(batches)
        plain_step(k, k.seen(x))


@style("labelled fresh leaves many", split="held-out")
def labels_with_mismatches(k: Kit) -> None:
    """A conditional loop: real rows with other classes count as fakes at half the weight, like generated rows."""
    assert k.y is not None
    classes = int(k.y.max()) + 1
    for _ in k.rounds():
        for _ in range(k.ratio):
            x, y = k.labelled()
            other = (y + torch.randint(1, classes, (len(y),))) % classes
            fake = k.hide(k.G(k.codes(len(x)), k.given(y)))
            on_fake = 0.5 * (k.objective.on_fake(k.D(fake, k.judged(y))) + k.objective.on_fake(k.D(x, other)))
            gp = k.penalty(x, fake, lambda rows, y=y: k.D(rows, y))  # type: ignore[misc]
            k.opt_d.zero_grad()
            (k.objective.on_real(k.D(x, y)) + on_fake + gp).backward()
            k.opt_d.step()
            k.cut()
        _, y = k.labelled()
        k.opt_g.zero_grad()
        made = k.show(k.G(k.codes(len(y)), k.given(y)))
        k.objective.on_made(k.D(made, k.judged(y))).backward()
        k.opt_g.step()


@style("labelled fresh leaves many", split="held-out")
def labels_in_dictionaries(k: Kit) -> None:
    """A conditional loop over dictionaries; samples get the classes of the batch in another order."""

    def batch() -> dict[str, Tensor]:
        x, y = k.labelled()
        return {"rows": x, "class": y, "wanted": y[torch.randperm(len(y))]}

    def d_loss(rows: Tensor, kind: Tensor, wanted: Tensor) -> Tensor:
        fake = k.hide(k.G(k.codes(len(rows)), k.given(wanted)))
        adversarial = k.d_loss(k.D(rows, kind), k.D(fake, k.judged(wanted)))
        return adversarial + k.penalty(rows, fake, lambda at: k.D(at, kind))

    for _ in k.rounds():
        for _ in range(k.ratio):
            b = batch()
            k.opt_d.zero_grad(set_to_none=True)
            d_loss(b["rows"], b["class"], b["wanted"]).backward()
            k.opt_d.step()
            k.cut()
        wanted = batch()["wanted"]
        k.opt_g.zero_grad(set_to_none=True)
        k.objective.on_made(k.D(k.show(k.G(k.codes(len(wanted)), k.given(wanted))), k.judged(wanted))).backward()
        k.opt_g.step()
