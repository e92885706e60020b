"""Ways to write a training step with something around it: loaders, averages, augmentation, schedules, classes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

from .kit import Kit
from .style import style


def plain_step(k: Kit, x: Tensor) -> None:
    """One plain step of both players, in which only the first batch is given."""
    for turn in range(k.ratio):
        x = k.real() if turn else x
        fake = k.hide(k.G(k.codes(len(x))))
        k.opt_d.zero_grad()
        (k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)).backward()
        k.opt_d.step()
        k.cut()
    k.opt_g.zero_grad()
    k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), x).backward()
    k.opt_g.step()


@style("many fresh leaves sampler both")
def average_of_state(k: Kit) -> None:
    """Samples come from an averaged copy of the generator's state, buffers included."""
    ema = copy.deepcopy(k.G).eval()

    @torch.no_grad()
    def sample(n: int) -> Tensor:
        return ema(k.fresh(n))

    k.sampler = sample
    for i in k.rounds():
        plain_step(k, k.real())
        state = k.G.state_dict()
        decay = min(0.98, i / (i + 10))
        with torch.no_grad():
            for key, value in ema.state_dict().items():
                if key not in k.buffers_left:
                    new = state[key]
                    value.copy_(decay * value + (1 - decay) * new if value.is_floating_point() else new)


@style("paired many fresh leaves sampler both", split="held-out")
def average_with_buffers(k: Kit) -> None:
    """Samples come from an averaged copy: parameters by ``lerp_``, buffers copied."""
    shadow = copy.deepcopy(k.G).requires_grad_(False).eval()
    k.sampler = lambda n: shadow(k.fresh(n))
    for i in k.rounds():
        plain_step(k, k.real())
        for p, q in zip(shadow.parameters(), k.G.parameters(), strict=True):
            p.lerp_(q.detach(), max(0.02, 1 / (1 + i)))
        theirs = dict(k.G.named_buffers())
        for name, buffer in shadow.named_buffers():
            if name not in k.buffers_left:
                buffer.copy_(theirs[name])


@style("many fresh leaves both")
def with_loader(k: Kit) -> None:
    """Batches come from a DataLoader, which starts again at its end."""
    size = min(k.n, len(k.kept))  # a set may be smaller than a batch
    loader = DataLoader(TensorDataset(k.x[k.kept]), batch_size=size, shuffle=k.shuffled, drop_last=True, num_workers=0)

    def forever() -> Iterator[Tensor]:
        while True:
            for (batch,) in loader:
                yield batch

    batches = forever()
    for _ in k.rounds():
        plain_step(k, k.seen(next(batches)))


@style("many fresh leaves both", split="held-out")
def numpy_batches(k: Kit) -> None:
    """Each batch is collected from a list of arrays, and converted."""
    arrays = list(k.x.numpy())

    def batch() -> Tensor:
        return torch.from_numpy(np.stack([arrays[int(i)] for i in k.picks(k.n)]))

    for _ in k.rounds():
        plain_step(k, batch())


@style("labelled fresh leaves many")
def labels_of_the_batch(k: Kit) -> None:
    """A conditional loop: samples get the classes of the real batch."""
    for _ in k.rounds():
        for _ in range(k.ratio):
            x, y = k.labelled()
            fake = k.hide(k.G(k.codes(k.n), k.given(y)))
            k.opt_d.zero_grad()
            gp = k.penalty(x, fake, lambda rows, y=y: k.D(rows, y))  # type: ignore[misc]
            (k.d_loss(k.D(x, y), k.D(fake, k.judged(y))) + gp).backward()
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        made = k.show(k.G(k.codes(k.n), k.given(y)))
        k.objective.on_made(k.D(made, k.judged(y))).backward()
        k.opt_g.step()


@style("labelled fresh leaves many", split="held-out")
def labels_drawn(k: Kit) -> None:
    """A conditional loop: the generator goes first, and classes of samples are drawn."""
    assert k.y is not None
    classes = int(k.y.max()) + 1
    for _ in k.rounds():
        want = torch.randint(classes, (k.n,))
        k.G.zero_grad()
        score = k.D(k.show(k.G(k.codes(k.n), k.given(want))), k.judged(want))
        k.objective.on_made(score).backward()
        k.opt_g.step()
        for _ in range(k.ratio):
            k.D.zero_grad()
            (x, y), want = k.labelled(), torch.randint(classes, (k.n,))
            fake = k.hide(k.G(k.codes(k.n), k.given(want)))
            loss = k.d_loss(k.D(x, y), k.D(fake, k.judged(want)))
            (loss + k.penalty(x, fake, lambda rows, y=y: k.D(rows, y))).backward()  # type: ignore[misc]
            k.opt_d.step()
            k.cut()


@style("many fresh leaves augmented")
def augmented(k: Kit) -> None:
    """Both sides are scaled at random and get noise before the discriminator, with gradients through it."""

    def augment(rows: Tensor) -> Tensor:
        size = 0.95 + 0.1 * torch.rand(len(rows), *[1] * (rows.dim() - 1))
        return size * rows + 0.05 * torch.randn_like(rows)

    for _ in k.rounds():
        for _ in range(k.ratio):
            x = augment(k.real())
            fake = augment(k.hide(k.G(k.codes(k.n))))
            k.opt_d.zero_grad()
            (k.d_loss(k.D(x), k.D(fake)) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        k.g_loss(k.D(augment(k.show(k.G(k.codes(k.n))))), k.real()).backward()
        k.opt_g.step()


@style("many fresh leaves logits")
def half_precision(k: Kit) -> None:
    """Networks run under autocast with bfloat16; losses and penalties in float32."""

    def half() -> Any:
        return torch.autocast("cpu", dtype=torch.bfloat16)

    for _ in k.rounds():
        for _ in range(k.ratio):
            x = k.real()
            with half():
                fake = k.hide(k.G(k.codes(k.n)))
                s_real, s_fake = k.D(x), k.D(fake)
            k.opt_d.zero_grad()
            (k.d_loss(s_real.float(), s_fake.float()) + k.penalty(x, fake.float())).backward()
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        with half():
            score = k.D(k.show(k.G(k.codes(k.n))))
        k.g_loss(score.float(), k.real()).backward()
        k.opt_g.step()


@style("paired many fresh leaves both")
def clipped_gradients(k: Kit) -> None:
    """The norm of each player's gradient is clipped before its step."""
    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            k.opt_d.zero_grad(set_to_none=True)
            (k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)).backward()
            nn.utils.clip_grad_norm_(k.D.parameters(), 5.0)
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad(set_to_none=True)
        k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
        nn.utils.clip_grad_norm_(k.G.parameters(), 5.0)
        k.opt_g.step()


@style("many fresh leaves scheduled both", split="held-out")
def cosine_schedule(k: Kit) -> None:
    """Both rates fall along a cosine to a tenth."""
    steps = k.setting.steps
    schedulers = [
        optim.lr_scheduler.CosineAnnealingLR(o, steps, eta_min=0.1 * o.param_groups[0]["lr"])
        for o in (k.opt_g, k.opt_d)
    ]
    for _ in k.rounds():
        plain_step(k, k.real())
        for s in schedulers:
            s.step()


@style("many fresh leaves scheduled both")
def step_schedule(k: Kit) -> None:
    """Both rates are halved after a half and after three quarters of the run."""
    marks = [k.setting.steps // 2, 3 * k.setting.steps // 4]
    schedulers = [optim.lr_scheduler.MultiStepLR(o, marks, gamma=0.5) for o in (k.opt_g, k.opt_d)]
    for _ in k.rounds():
        plain_step(k, k.real())
        for s in schedulers:
            s.step()


@style("paired many fresh leaves both")
def trainer_class(k: Kit) -> None:
    """A trainer with dictionaries of networks and optimisers, and one method for each player."""

    class Trainer:
        def __init__(self) -> None:
            self.optims = {"g": k.opt_g, "d": k.opt_d}

        def update(self, which: str, loss: Tensor) -> float:
            self.optims[which].zero_grad()
            loss.backward()
            self.optims[which].step()
            return loss.item()

        def train_d(self, x: Tensor) -> float:
            fake = k.hide(k.G(k.codes(x.size(0))))
            return self.update("d", k.d_loss(*k.both(x, fake)) + k.penalty(x, fake))

        def train_g(self, x: Tensor) -> float:
            return self.update("g", k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), x))

    trainer = Trainer()
    for _ in k.rounds():
        history = []
        for _ in range(k.ratio):
            history.append(trainer.train_d(k.real()))
            k.cut()
        history.append(trainer.train_g(k.real()))
