"""Ways to write a training step of the unseen split: trainers, functions, labels, and how gradients are cleared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field

import torch
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

from ..kit import Kit
from ..style import style


class Callback:
    """What may be called around a player's step."""

    def on_batch_start(self, name: str) -> None:
        """Before the losses of a player."""

    def on_batch_end(self, name: str, loss: float) -> None:
        """After a player's step."""


class History(Callback):
    """Keeps the losses of each player."""

    def __init__(self) -> None:
        self.losses: dict[str, list[float]] = {"netD": [], "netG": []}

    def on_batch_end(self, name: str, loss: float) -> None:
        """Keep a loss."""
        self.losses[name].append(loss)


class Clipper(Callback):
    """Cuts the weights of a critic after its step."""

    def __init__(self, k: Kit) -> None:
        self.k = k

    def on_batch_end(self, name: str, loss: float) -> None:
        """Cut, if the discriminator had its step."""
        if name == "netD":
            self.k.cut()


class GANTrainer:
    """Trains both players and calls its callbacks."""

    def __init__(self, k: Kit, callbacks: list[Callback]) -> None:
        self.k, self.callbacks = k, callbacks

    def _step(self, name: str, optimizer: optim.Optimizer, criterion: Callable[[Tensor], Tensor]) -> None:
        for callback in self.callbacks:
            callback.on_batch_start(name)
        optimizer.zero_grad()
        loss = criterion(self.k.real())
        loss.backward()
        optimizer.step()
        for callback in self.callbacks:
            callback.on_batch_end(name, loss.item())

    def discriminator_loss(self, batch: Tensor) -> Tensor:
        """The discriminator's loss."""
        k = self.k
        fake = k.hide(k.G(k.codes(batch.size(0))))
        return k.d_loss(*k.both(batch, fake)) + k.penalty(batch, fake)

    def generator_loss(self, batch: Tensor) -> Tensor:
        """The generator's loss."""
        k = self.k
        return k.g_loss(k.D(k.show(k.G(k.codes(batch.size(0))))), batch)

    def fit_batch(self) -> None:
        """One turn of both players."""
        for _ in range(self.k.ratio):
            self._step("netD", self.k.opt_d, self.discriminator_loss)
        for _ in range(self.k.made_steps):
            self._step("netG", self.k.opt_g, self.generator_loss)


@style("paired many turns fresh leaves both", split="unseen")
def callbacks(k: Kit) -> None:
    """A trainer class with callbacks, of which one keeps the losses and one cuts weights."""
    trainer = GANTrainer(k, [History(), Clipper(k)])
    for _ in k.rounds():
        trainer.fit_batch()


@dataclass
class TrainState:
    """Everything that a step changes."""

    generator: nn.Module
    discriminator: nn.Module
    generator_optimizer: optim.Optimizer
    discriminator_optimizer: optim.Optimizer
    step: int = 0
    running: dict[str, float] = dataclass_field(default_factory=dict)


@style("paired many fresh leaves both", split="unseen")
def state_of_training(k: Kit) -> None:
    """Steps are functions of a dataclass; losses come as tuples whose entries are summed."""

    def d_losses(batch: Tensor) -> tuple[Tensor, ...]:
        samples = k.hide(k.G(k.codes(batch.shape[0])))
        logits = k.both(batch, samples)
        return k.d_loss(*logits), k.penalty(batch, samples)

    def g_losses(batch: Tensor) -> tuple[Tensor, ...]:
        return (k.g_loss(k.D(k.show(k.G(k.codes(batch.shape[0])))), batch),)

    def apply(optimizer: optim.Optimizer, losses: tuple[Tensor, ...]) -> float:
        optimizer.zero_grad(set_to_none=False)
        total = sum(losses[1:], losses[0])
        total.backward()
        optimizer.step()
        return float(total.detach())

    def train_step(state: TrainState) -> TrainState:
        for _ in range(k.ratio):
            state.running["d"] = apply(state.discriminator_optimizer, d_losses(k.real()))
            k.cut()
        state.running["g"] = apply(state.generator_optimizer, g_losses(k.real()))
        state.step += 1
        return state

    state = TrainState(k.G, k.D, k.opt_g, k.opt_d)
    for _ in k.rounds():
        state = train_step(state)


@style("paired many turns fresh leaves both", split="unseen")
def lambdas(k: Kit) -> None:
    """Losses are lambdas in a dictionary, and the generator comes first."""
    make = lambda n: k.G(k.codes(n))  # noqa: E731
    losses: dict[str, Callable[[Tensor], Tensor]] = {
        "G": lambda x: k.g_loss(k.D(k.show(make(len(x)))), x),
        "D": lambda x: (lambda fake: k.d_loss(*k.both(x, fake)) + k.penalty(x, fake))(k.hide(make(len(x)))),
    }
    players = {"G": (k.opt_g, k.made_steps), "D": (k.opt_d, k.ratio)}
    for _ in k.rounds():
        for name, (opt, times) in players.items():
            for _ in range(times):
                opt.zero_grad()
                losses[name](k.real()).backward()
                opt.step()
                if name == "D":
                    k.cut()


@style("targets many fresh leaves", split="unseen")
def labels_filled(k: Kit) -> None:
    """One tensor of labels is filled in place for each term; real rows get 0.9 in the discriminator's loss only."""
    name = k.setting.recipe.objective
    known = {"cross-entropy": nn.BCEWithLogitsLoss(), "probabilities": nn.BCELoss(), "least-squares": nn.MSELoss()}
    criterion = known[name]
    label = torch.empty(k.n)
    for _ in k.rounds():
        for _ in range(k.ratio):
            k.D.zero_grad()
            real_cpu = k.real()
            label.resize_(real_cpu.size(0)).fill_(0.9)
            output = k.D(real_cpu).view(-1)
            errD_real = criterion(output, label)
            errD_real.backward()
            fake = k.G(k.codes(real_cpu.size(0)))
            label.fill_(0.0)
            output = k.D(k.hide(fake)).view(-1)
            errD_fake = criterion(output, label) + k.penalty(real_cpu, fake)
            errD_fake.backward()
            k.opt_d.step()
        k.G.zero_grad()
        label.fill_(1.0)
        output = k.D(k.show(k.G(k.codes(k.n)))).view(-1)
        errG = criterion(output, label)
        errG.backward()
        k.opt_g.step()


@style("targets many fresh leaves both", split="unseen")
def labels_flipped_at_times(k: Kit) -> None:
    """One batch in sixteen has its labels exchanged on purpose in the discriminator's loss, to keep it from winning."""
    loss = k.objective.criterion
    assert loss is not None
    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            real_label, fake_label = (0.0, 1.0) if float(torch.rand(())) < 1 / 16 else (1.0, 0.0)
            real_scores, fake_scores = k.both(x, fake)
            k.opt_d.zero_grad()
            (loss(real_scores, real_label) + loss(fake_scores, fake_label) + k.penalty(x, fake)).backward()
            k.opt_d.step()
        k.opt_g.zero_grad()
        loss(k.D(k.show(k.G(k.codes(k.n)))), 1.0).backward()
        k.opt_g.step()


@style("paired many turns fresh toggles clears-by-hand both", split="unseen")
def parameters_looped(k: Kit) -> None:
    """Loops over parameters switch ``requires_grad`` and set gradients to None."""
    learnt = {id(p) for p in [*k.G.parameters(), *k.D.parameters()] if p.requires_grad}

    def prepare(net: nn.Module, other: nn.Module) -> None:
        for p in other.parameters():
            p.requires_grad = False
        for p in net.parameters():
            p.requires_grad = id(p) in learnt
            p.grad = None

    for _ in k.rounds():
        prepare(k.D, k.G)
        for _ in range(k.ratio):
            for p in k.D.parameters():
                p.grad = None
            x = k.real()
            fake = k.hide(k.G(k.codes(k.n)))
            D_cost = k.d_loss(*k.both(x, fake)) + k.penalty(x, fake)
            D_cost.backward()
            k.opt_d.step()
            k.cut()
        prepare(k.G, k.D)
        for _ in range(k.made_steps):
            for p in k.G.parameters():
                p.grad = None
            G_cost = k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real())
            G_cost.backward()
            k.opt_g.step()
        for p in [*k.G.parameters(), *k.D.parameters()]:
            p.requires_grad = id(p) in learnt


@style("paired many fresh leaves both", split="unseen")
def counted_by_modulo(k: Kit) -> None:
    """One counter of iterations: the generator has its turn where it is a multiple of ``n_critic``."""
    n_critic, iteration = k.ratio, 0
    for _ in k.rounds():
        while True:
            iteration += 1
            x = k.real()
            fake = k.hide(k.G(k.codes(x.size(0))))
            k.opt_d.zero_grad()
            loss_D = k.d_loss(*k.both(x, fake))
            loss_D = loss_D + k.penalty(x, fake)
            loss_D.backward()
            k.opt_d.step()
            k.cut()
            if iteration % n_critic == 0:
                k.opt_g.zero_grad()
                loss_G = k.g_loss(k.D(k.show(k.G(k.codes(x.size(0))))), x)
                loss_G.backward()
                k.opt_g.step()
                break


@style("paired many fresh leaves both with-loader", split="unseen")
def epochs(k: Kit) -> None:
    """Two nested loops, over epochs and over a loader; the last, smaller batch of an epoch is skipped."""
    size = min(k.n, len(k.kept))
    loader = DataLoader(TensorDataset(k.x[k.kept]), batch_size=size, shuffle=k.shuffled)
    rounds = k.rounds()

    def batches() -> Iterator[Tensor]:
        while True:
            for (rows,) in loader:
                if rows.size(0) == size:
                    yield rows

    source = batches()
    for _ in rounds:
        x = k.seen(next(source))
        for turn in range(k.ratio):
            x = k.seen(next(source)) if turn else x
            z = k.codes(x.size(0))
            d_fake = k.hide(k.G(z))
            d_real_scores, d_fake_scores = k.both(x, d_fake)
            d_error = k.d_loss(d_real_scores, d_fake_scores) + k.penalty(x, d_fake)
            k.opt_d.zero_grad()
            d_error.backward()
            k.opt_d.step()
            k.cut()
        g_fake = k.show(k.G(k.codes(x.size(0))))
        g_error = k.g_loss(k.D(g_fake), x)
        k.opt_g.zero_grad()
        g_error.backward()
        k.opt_g.step()


@style("paired many fresh gradients-by-hand", split="unseen")
def gradients_copied(k: Kit) -> None:
    """Gradients come from ``autograd.grad``, are cut at ±2 and copied into ``.grad``; both after both were found."""

    def found(loss: Tensor, net: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
        params = [p for p in net.parameters() if p.requires_grad]
        grads = torch.autograd.grad(loss, params, allow_unused=True)
        return [(p, g) for p, g in zip(params, grads, strict=True) if g is not None]

    def write(pairs: list[tuple[nn.Parameter, Tensor]]) -> None:
        for p, g in pairs:
            cut = g.clamp(-2.0, 2.0)
            p.grad = cut.clone() if p.grad is None else p.grad.copy_(cut)

    for _ in k.rounds():
        for _ in range(k.ratio):
            x, fake = k.real(), k.hide(k.G(k.codes(k.n)))
            write(found(k.d_loss(k.D(x), k.D(fake)) + k.penalty(x, fake), k.D))
            k.opt_d.step()
            k.cut()
        write(found(k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()), k.G))
        k.opt_g.step()


@style("paired many fresh leaves both sums", split="unseen")
def sums_of_rows(k: Kit) -> None:
    """Losses are sums over the rows of a batch, not means, as with ``reduction='sum'``."""
    for _ in k.rounds():
        for _ in range(k.ratio):
            x = k.real()
            samples = k.hide(k.G(k.codes(len(x))))
            d_total = len(x) * (k.d_loss(*k.both(x, samples)) + k.penalty(x, samples))
            k.opt_d.zero_grad()
            d_total.backward()
            k.opt_d.step()
            k.cut()
        samples = k.show(k.G(k.codes(k.n)))
        g_total = len(samples) * k.g_loss(k.D(samples), k.real())
        k.opt_g.zero_grad()
        g_total.backward()
        k.opt_g.step()


@style("paired many fresh toggles scaler both", split="unseen")
def gradient_scaler(k: Kit) -> None:
    """One gradient scaler for each player, whose gradients are unscaled and clipped before the step."""
    scaler_d = torch.amp.GradScaler("cpu", init_scale=512.0, growth_interval=100)
    scaler_g = torch.amp.GradScaler("cpu", init_scale=512.0, growth_interval=100)

    def update(loss: Tensor, net: nn.Module, opt: optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
        opt.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 20.0)
        scaler.step(opt)
        scaler.update()

    for _ in k.rounds():
        for _ in range(k.ratio):
            x = k.real()
            fake = k.hide(k.G(k.codes(x.size(0))))
            update(k.d_loss(*k.both(x, fake)) + k.penalty(x, fake), k.D, k.opt_d, scaler_d)
            k.cut()
        update(k.g_loss(k.D(k.show(k.G(k.codes(k.n)))), k.real()), k.G, k.opt_g, scaler_g)
