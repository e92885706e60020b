"""What the core costs: rounds per second of `Play.advance` beside a loop written by hand for the same game.

    PYTHONPATH=src OMP_NUM_THREADS=1 python benchmarks/core_cost.py [--pairs 9] [--seconds 1.0] [--only ring8]

Both sides play the same networks, losses, penalties, schedules, batches, fused Adam and moving average, and log
nothing. The hand loop is a good one: fakes without a graph in D's turn, D frozen in G's turn, gradients set to None,
each score computed once, slopes by ``autograd.grad``. The sides alternate in one process on one thread; a figure is
the median over pairs of ours / by hand, in processor time, so that a busy machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import softplus

from equilibria.data import Dataset, load
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import Auto, ConvPair
from equilibria.optimizers import Adam
from equilibria.penalties import R1, R2
from equilibria.play import Play
from equilibria.recipes import RECIPES, Recipe
from equilibria.schedules import Clock, value_at
from equilibria.seeding import reseed

HORIZON = 10**6
Rounds = Callable[[int], object]


def ours(row: Recipe, data: Dataset) -> Rounds:
    """The recipe through the core."""
    reseed(0)
    game = row.game.build(row.networks, data.spec)
    play = Play(
        game,
        row.update,
        {p.name: row.optimizer_of(p.name) for p in game.players},
        lambda seed, turn: data.batch(row.batch, seed, turn),
        horizon=HORIZON,
        averages=row.averages,
    )
    play.prepare()
    return play.advance


class ByHand:
    """The same game in plain torch, as one would write it for this game alone."""

    def __init__(self, row: Recipe, data: Dataset) -> None:
        reseed(0)
        assert isinstance(row.game, TwoPlayer) and isinstance(row.optimizer, Adam)
        self.row, self.data, self.latent, self.lr = row, data, row.game.latent.size, row.optimizer.lr
        self.gammas = [p.gamma for p in row.game.penalties if isinstance(p, (R1, R2))]
        self.G = row.networks.generator(self.latent, data.spec.shape)
        self.D = row.networks.discriminator(data.spec.shape)
        self.averaged = [p.detach().clone() for p in self.G.parameters()]
        adam = partial(torch.optim.Adam, betas=row.optimizer.betas, eps=row.optimizer.eps, fused=True)
        self.opt_d, self.opt_g = adam(self.D.parameters()), adam(self.G.parameters())
        self.done, self.units = 0, None
        if row.game.standardise:
            x = data.batch(row.batch, 0, 0)["x"]
            self.units = x.mean(0), (x - x.mean(0)).square().mean().sqrt()

    def batch(self, turn: int) -> tuple[Tensor, Tensor]:
        x = self.data.batch(self.row.batch, 0, turn)["x"]
        if self.units is not None:
            x = (x - self.units[0]) / self.units[1]
        return x, torch.randn(self.row.batch, self.latent)

    def judge(self, clock: Clock) -> None:
        real, z = self.batch(2 * self.done)
        with torch.no_grad():
            fake = self.G(z)
        if self.gammas:
            real.requires_grad_(True)
            fake.requires_grad_(True)
        on_real, on_fake = self.D(real), self.D(fake)
        if self.gammas:
            loss = softplus(on_fake - on_real).mean()
            for gamma, x, scores in zip(self.gammas, (real, fake), (on_real, on_fake), strict=True):
                (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
                loss = loss + value_at(gamma, clock) / 2 * slope.square().flatten(1).sum(1).mean()
        else:
            loss = softplus(-on_real).mean() + softplus(on_fake).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self.opt_d.step()
        self.opt_d.zero_grad()

    def fool(self) -> None:
        real, z = self.batch(2 * self.done + 1)
        self.D.requires_grad_(False)
        on_fake = self.D(self.G(z))
        loss = softplus(self.D(real) - on_fake).mean() if self.gammas else softplus(-on_fake).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self.D.requires_grad_(True)
        self.opt_g.step()
        self.opt_g.zero_grad()

    def advance(self, rounds: int) -> None:
        for _ in range(rounds):
            clock = Clock(self.done, self.done / HORIZON)
            for group in (*self.opt_d.param_groups, *self.opt_g.param_groups):
                group["lr"] = value_at(self.lr, clock)
            self.judge(clock)
            self.fool()
            self.done += 1
            with torch.no_grad():
                decay = min(float(value_at(self.row.averages[0].decay, clock)), (1 + self.done) / (10 + self.done))
                torch._foreach_lerp_(self.averaged, list(self.G.parameters()), 1 - decay)


def by_hand(row: Recipe, data: Dataset) -> Rounds:
    """The hand loop on a recipe's game."""
    return ByHand(row, data).advance


def images() -> Dataset:
    """Noise in the shape of MNIST: the time does not depend on what is in the pixels."""
    generator = torch.Generator().manual_seed(0)
    return load(torch.randint(0, 256, (4096, 1, 28, 28), generator=generator, dtype=torch.uint8))


def games() -> dict[str, tuple[Recipe, Dataset]]:
    """What is measured."""
    ring, mnist = load("ring8-M"), images()
    conv = Auto(image=ConvPair(width=16))

    def small(name: str) -> Recipe:
        return dataclasses.replace(RECIPES[name], networks=conv, batch=64)

    return {
        "ring8 / r3gan-small": (RECIPES["r3gan-small"], ring),
        "ring8 / gan": (RECIPES["gan"], ring),
        "28x28 / gan": (small("gan"), mnist),
        "28x28 / r3gan": (small("r3gan"), mnist),
    }


def compare(row: Recipe, data: Dataset, pairs: int, seconds: float) -> tuple[list[float], float]:
    """Ratios ours / by hand, pair by pair, and our rounds per second of processor time."""
    sides = [ours(row, data), by_hand(row, data)]

    def speed(play: Rounds, rounds: int) -> float:
        start = time.process_time()
        play(rounds)
        return rounds / (time.process_time() - start)

    for play in sides:
        play(3)
    rounds = max(3, int(seconds * speed(sides[1], 5)))
    ratios, rates = [], []
    for pair in range(pairs):
        order = sides if pair % 2 else sides[::-1]
        found = {id(play): speed(play, rounds) for play in order}
        ratios.append(found[id(sides[0])] / found[id(sides[1])])
        rates.append(found[id(sides[0])])
    return ratios, statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of the hand loop, per side and pair")
    parser.add_argument("--only", default="", help="measure games whose name contains this")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, {chosen.pairs} alternating pairs; ours / by hand (higher is faster)")
    for name, (row, data) in games().items():
        if chosen.only in name:
            ratios, rate = compare(row, data, chosen.pairs, chosen.seconds)
            low, high = min(ratios), max(ratios)
            print(
                f"{name:22s} {statistics.median(ratios):.2f}x  [{low:.2f}, {high:.2f}]  {rate:8.1f} rounds/s",
                flush=True,
            )


if __name__ == "__main__":
    main()
