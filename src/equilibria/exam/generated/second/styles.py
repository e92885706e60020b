"""Ways to write a training step of the second part."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.func import functional_call
from torch.utils.data import DataLoader, Dataset, TensorDataset

from ..kit import Kit
from ..style import style


@contextmanager
def _only(net: nn.Module, other: nn.Module) -> Iterator[None]:
    """Gradients for one network only."""
    before = [p.requires_grad for p in other.parameters()]
    other.requires_grad_(False)
    try:
        yield
    finally:
        for p, on in zip(other.parameters(), before, strict=True):
            p.requires_grad_(on)


class Manual:
    """A module with manual optimisation: ``configure_optimizers``, ``optimizers`` and ``manual_backward``."""

    automatic_optimization = False

    def __init__(self, k: Kit) -> None:
        self.k = k
        self.logged: dict[str, float] = {}

    def configure_optimizers(self) -> tuple[list[optim.Optimizer], list[Any]]:
        """The discriminator's and the generator's optimiser, without schedules."""
        return [self.k.opt_d, self.k.opt_g], []

    def optimizers(self) -> list[optim.Optimizer]:
        """The optimisers."""
        return self.configure_optimizers()[0]

    def manual_backward(self, loss: Tensor) -> None:
        """The backward pass."""
        loss.backward()

    def log_dict(self, values: dict[str, Tensor]) -> None:
        """Keep values."""
        self.logged.update({name: float(value.detach()) for name, value in values.items()})

    def training_step(self, batch: Tensor) -> None:
        """One batch of both players."""
        k = self.k
        opt_d, opt_g = self.optimizers()
        for turn in range(k.ratio):
            with _only(k.D, k.G):
                batch = k.real() if turn else batch
                imgs = k.hide(k.G(k.codes(batch.shape[0])))
                d_loss = k.d_loss(*k.both(batch, imgs)) + k.penalty(batch, imgs)
                opt_d.zero_grad()
                self.manual_backward(d_loss)
                opt_d.step()
                k.cut()
        with _only(k.G, k.D):
            g_loss = k.g_loss(k.D(k.show(k.G(k.codes(batch.shape[0])))), batch)
            opt_g.zero_grad()
            self.manual_backward(g_loss)
            opt_g.step()
        self.log_dict({"d_loss": d_loss, "g_loss": g_loss})


@style("paired many fresh toggles both", split="held-out")
def manual_module(k: Kit) -> None:
    """A module with manual optimisation; a context freezes the other network."""
    module = Manual(k)
    for _ in k.rounds():
        module.training_step(k.real())


class Pair(nn.Module):
    """A model that holds both networks, with a method for samples and one for each loss."""

    def __init__(self, k: Kit) -> None:
        super().__init__()
        self.kit, self.netG, self.netD = k, k.G, k.D

    def sample(self, n: int) -> Tensor:
        """``n`` samples."""
        return self.netG(self.kit.codes(n))

    def d_loss(self, x: Tensor) -> Tensor:
        """The discriminator's loss of a batch."""
        fake = self.kit.hide(self.sample(x.size(0)))
        real_logits, fake_logits = self.kit.both(x, fake)
        return self.kit.d_loss(real_logits, fake_logits) + self.kit.penalty(x, fake)

    def g_loss(self, x: Tensor) -> Tensor:
        """The generator's loss."""
        return self.kit.g_loss(self.netD(self.kit.show(self.sample(x.size(0)))), x)


@style("paired many turns fresh leaves both", split="held-out")
def loss_methods(k: Kit) -> None:
    """One module holds both networks and has a method for each loss; optimisers come from a dictionary."""
    model = Pair(k)
    optimizers = {"discriminator": k.opt_d, "generator": k.opt_g}

    def minimize(which: str, loss: Tensor) -> None:
        optimizers[which].zero_grad(set_to_none=True)
        torch.autograd.backward([loss])
        optimizers[which].step()

    for _ in k.rounds():
        for _ in range(k.ratio):
            minimize("discriminator", model.d_loss(k.real()))
            k.cut()
        for _ in range(k.made_steps):
            minimize("generator", model.g_loss(k.real()))


class Noise(Dataset[Tensor]):
    """Codes as a data set: each item is drawn when it is asked for."""

    def __init__(self, k: Kit) -> None:
        self.k = k

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, i: int) -> Tensor:
        return self.k.codes(self.k.n)


class Picks:
    """Deals the numbers of the rows of each batch."""

    def __init__(self, k: Kit) -> None:
        self.k = k

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            yield self.k.picks(self.k.n).tolist()


@style("paired many turns fresh leaves both", split="held-out")
def two_loaders(k: Kit) -> None:
    """A loop over ``zip`` of a loader of rows and a loader of codes; the generator's step comes first."""
    rows: Any = DataLoader(TensorDataset(k.x), batch_sampler=Picks(k))
    noise: Any = DataLoader(Noise(k), batch_size=None)
    batches = iter(zip(rows, noise, strict=False))
    for _ in k.rounds():
        for _ in range(k.made_steps):
            (x,), z = next(batches)
            k.opt_g.zero_grad()
            score = k.D(k.show(k.G(z)))
            k.g_loss(score, x).backward()
            k.opt_g.step()
        for (x,), z in itertools.islice(batches, k.ratio):
            k.opt_d.zero_grad()
            fake = k.hide(k.G(z))
            real_scores, fake_scores = k.both(x, fake)
            loss = k.d_loss(real_scores, fake_scores)
            (loss + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()


@style("many fresh gradients-by-hand", split="held-out")
def stateless(k: Kit) -> None:
    """Losses are functions of a dictionary of parameters, and networks are run by ``functional_call``."""

    def parameters(net: nn.Module) -> dict[str, Tensor]:
        return {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}

    def loss_d(theta: dict[str, Tensor], x: Tensor, fake: Tensor) -> Tensor:
        def score(rows: Tensor) -> Tensor:
            return functional_call(k.D, theta, (rows,))

        return k.d_loss(score(x), score(fake)) + k.penalty(x, fake, score)

    def loss_g(theta: dict[str, Tensor], z: Tensor, x: Tensor) -> Tensor:
        return k.g_loss(k.D(k.show(functional_call(k.G, theta, (z,)))), x)

    def apply(net: nn.Module, opt: optim.Optimizer, theta: dict[str, Tensor], loss: Tensor) -> None:
        found = torch.autograd.grad(loss, list(theta.values()), allow_unused=True)
        for p, g in zip(net.parameters(), found, strict=True):
            p.grad = g
        opt.step()

    for _ in k.rounds():
        for _ in range(k.ratio):
            theta = parameters(k.D)
            apply(k.D, k.opt_d, theta, loss_d(theta, k.real(), k.hide(k.G(k.codes(k.n)))))
            k.cut()
        theta = parameters(k.G)
        apply(k.G, k.opt_g, theta, loss_g(theta, k.codes(k.n), k.real()))


@style("paired simultaneous gradients-by-hand one-function", split="held-out")
def game_gradient(k: Kit) -> None:
    """The gradients of both players are taken at the same point, as a list, and written with ``foreach`` functions."""
    players = [list(k.G.parameters()), list(k.D.parameters())]
    for params in players:
        for p in params:
            p.grad = torch.zeros_like(p)
    for _ in k.rounds():
        x, fake = k.real(), k.show(k.G(k.codes(k.n)))
        losses = [k.g_loss(k.D(fake), x), k.d_loss(k.D(x), k.D(k.hide(fake))) + k.penalty(x, fake)]
        for params, loss in zip(players, losses, strict=True):
            found = torch.autograd.grad(loss, params, allow_unused=True, materialize_grads=True)
            torch._foreach_copy_([p.grad for p in params if p.grad is not None], list(found))
        for opt in (k.opt_g, k.opt_d):
            opt.step()
        k.cut()


@style("paired many turns fresh leaves both", split="held-out")
def phases(k: Kit) -> None:
    """A list of phases is worked off in each step, each with its loss and its optimiser."""

    def d_main() -> Tensor:
        x = k.real()
        fake = k.hide(k.G(k.codes(len(x))))
        return k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)

    def g_main() -> Tensor:
        return k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real())

    losses = {"D": d_main, "G": g_main}
    for _ in k.rounds():
        for phase in ["D"] * k.ratio + ["G"] * k.made_steps:
            opt = k.opt_d if phase == "D" else k.opt_g
            opt.zero_grad(set_to_none=True)
            losses[phase]().backward()
            opt.step()
            if phase == "D":
                k.cut()


@style("paired many fresh leaves sampler both", split="held-out")
def averaged_dictionary(k: Kit) -> None:
    """Samples come from a dictionary of averaged parameters and copied buffers, run by ``functional_call``."""
    shell = copy.deepcopy(k.G).eval()
    shadow = {name: value.detach().clone() for name, value in k.G.state_dict().items()}

    def sample(n: int) -> Tensor:
        with torch.no_grad():
            return functional_call(shell, shadow, (k.fresh(n),))

    k.sampler = sample
    for i in k.rounds():
        for _ in range(k.ratio):
            x = k.real()
            fake = k.hide(k.G(k.codes(x.shape[0])))
            loss = k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)
            k.opt_d.zero_grad()
            loss.backward()
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
        k.opt_g.step()
        keep = min(0.97, i / (i + 1))
        for name, p in k.G.named_parameters():
            shadow[name].mul_(keep).add_(p.detach(), alpha=1 - keep)
        for name, value in k.G.named_buffers():
            if name not in k.buffers_left:
                shadow[name] = value.clone()


@style("paired many fresh leaves both", split="held-out")
def scaled_loss(k: Kit) -> None:
    """Each loss is multiplied by a constant before its backward pass, and the gradients are divided before the step."""
    scale = 1024.0

    def update(loss: Tensor, net: nn.Module, opt: optim.Optimizer) -> None:
        opt.zero_grad()
        (scale * loss).backward()
        for p in net.parameters():
            if p.grad is not None:
                p.grad.div_(scale)
        opt.step()

    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            update(k.d_loss(*k.both(x, fake)) + k.penalty(x, fake), k.D, k.opt_d)
            k.cut()
        update(k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()), k.G, k.opt_g)


@style("paired many fresh leaves scheduled both", split="held-out")
def warm_up(k: Kit) -> None:
    """Both rates rise over the first steps and then fall in a line to a half."""
    steps = k.setting.steps

    def rate(i: int) -> float:
        return min(1.0, (i + 1) / 40) * (1 - 0.5 * i / steps)

    schedules = [optim.lr_scheduler.LambdaLR(opt, rate) for opt in (k.opt_g, k.opt_d)]
    for _ in k.rounds():
        for _ in range(k.ratio):
            x = k.real()
            fake = k.hide(k.G(k.codes(k.n)))
            k.D.zero_grad(set_to_none=True)
            (k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()
        k.G.zero_grad(set_to_none=True)
        k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
        k.opt_g.step()
        for schedule in schedules:
            schedule.step()


@style("many fresh leaves", split="held-out")
def history_of_fakes(k: Kit) -> None:
    """The discriminator gets a quarter of its fake rows from a pool of earlier ones."""
    pool: list[Tensor] = []

    def mixed(fake: Tensor) -> Tensor:
        pool.append(fake.detach())
        old = pool[int(torch.randint(len(pool), ()))]
        if len(pool) > 4:
            pool.pop(0)
        new = len(fake) - len(fake) // 4
        return torch.cat([fake[:new], old[new:]])

    for _ in k.rounds():
        for _ in range(k.ratio):
            k.opt_d.zero_grad()
            x = k.real()
            fake = mixed(k.hide(k.G(k.codes(k.n))))
            (k.d_loss(k.D(x), k.D(fake)) + k.penalty(x, fake)).backward()
            k.opt_d.step()
            k.cut()
        k.opt_g.zero_grad()
        k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()).backward()
        k.opt_g.step()


@style("labelled fresh leaves many", split="held-out")
def labels_in_one_pass(k: Kit) -> None:
    """A conditional loop: real and generated rows, with their classes, go through the discriminator at once."""
    for _ in k.rounds():
        for _ in range(k.ratio):
            x, y = k.labelled()
            z = k.codes(x.size(0))
            fake = k.hide(k.G(z, k.given(y)))
            scores = k.D(torch.cat((x, fake)), torch.cat((y, k.judged(y))))
            on_real, on_fake = scores.split(x.size(0))
            k.opt_d.zero_grad()
            gp = k.penalty(x, fake, lambda rows, y=y: k.D(rows, y))  # type: ignore[misc]
            (k.d_loss(on_real, on_fake) + gp).backward()
            k.opt_d.step()
            k.cut()
        _, y = k.labelled()
        made = k.show(k.G(k.codes(len(y)), k.given(y)))
        k.opt_g.zero_grad()
        k.objective.on_made(k.D(made, k.judged(y))).backward()
        k.opt_g.step()


@style("labelled fresh leaves many", split="held-out")
def labels_by_player(k: Kit) -> None:
    """A conditional loop over a loader of rows with classes; the generator gets drawn rows' classes."""

    def d_step(x: Tensor, y: Tensor) -> Tensor:
        fake = k.hide(k.G(k.codes(len(x)), k.given(y)))
        loss = k.d_loss(k.D(x, y), k.D(fake, k.judged(y)))
        return loss + k.penalty(x, fake, lambda rows: k.D(rows, y))

    def g_step(y: Tensor) -> Tensor:
        return k.objective.on_made(k.D(k.show(k.G(k.codes(len(y)), k.given(y))), k.judged(y)))

    for _ in k.rounds():
        for net, opt, turns in ((k.D, k.opt_d, k.ratio), (k.G, k.opt_g, 1)):
            for _ in range(turns):
                batch = k.labelled()
                net.zero_grad()
                (d_step(*batch) if net is k.D else g_step(batch[1])).backward()
                opt.step()
                k.cut()
