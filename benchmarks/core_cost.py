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

import torch
from torch import Tensor
from torch.nn.functional import softplus

from equilibria.data import Dataset, load
from equilibria.networks import Auto, ConvPair
from equilibria.play import Play
from equilibria.recipes import RECIPES, Recipe
from equilibria.schedules import Clock, value_at
from equilibria.seeding import reseed

HORIZON = 10**6
Rounds = Callable[[int], None]


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
    return lambda rounds: play.advance(rounds) and None


def by_hand(row: Recipe, data: Dataset) -> Rounds:
    """The same game in plain torch, as one would write it for this game alone."""
    reseed(0)
    spec = row.game
    G = row.networks.generator(spec.latent.size, data.spec.shape)  # type: ignore[attr-defined]
    D = row.networks.discriminator(data.spec.shape)
    averaged = [p.detach().clone() for p in G.parameters()]
    optimizer = row.optimizer
    adam = {"betas": optimizer.betas, "eps": optimizer.eps, "fused": True}  # type: ignore[attr-defined]
    opt_d, opt_g = torch.optim.Adam(D.parameters(), **adam), torch.optim.Adam(G.parameters(), **adam)
    penalties = spec.penalties  # type: ignore[attr-defined]
    done = 0

    def batch(turn: int) -> tuple[Tensor, Tensor]:
        return data.batch(row.batch, 0, turn)["x"], torch.randn(row.batch, spec.latent.size)  # type: ignore[attr-defined]

    def slopes(x: Tensor, scores: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
        return found.square().flatten(1).sum(1).mean() / 2

    def judge(clock: Clock) -> None:
        real, z = batch(2 * done)
        with torch.no_grad():
            fake = G(z)
        if penalties:
            real.requires_grad_(True), fake.requires_grad_(True)
        on_real, on_fake = D(real), D(fake)
        if penalties:
            loss = softplus(on_fake - on_real).mean()
            loss = loss + value_at(penalties[0].gamma, clock) * slopes(real, on_real)
            loss = loss + value_at(penalties[1].gamma, clock) * slopes(fake, on_fake)
        else:
            loss = softplus(-on_real).mean() + softplus(on_fake).mean()
        loss.backward()
        opt_d.step()
        opt_d.zero_grad()

    def fool(clock: Clock) -> None:
        real, z = batch(2 * done + 1)
        D.requires_grad_(False)
        on_fake = D(G(z))
        loss = softplus(D(real) - on_fake).mean() if penalties else softplus(-on_fake).mean()
        loss.backward()
        D.requires_grad_(True)
        opt_g.step()
        opt_g.zero_grad()

    def play(rounds: int) -> None:
        nonlocal done
        for _ in range(rounds):
            clock = Clock(done, done / HORIZON)
            for group in (*opt_d.param_groups, *opt_g.param_groups):
                group["lr"] = value_at(optimizer.lr, clock)
            judge(clock)
            fool(clock)
            done += 1
            with torch.no_grad():
                torch._foreach_lerp_(averaged, list(G.parameters()), 1 - min(0.999, (1 + done) / (10 + done)))

    return play


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
            print(f"{name:22s} {statistics.median(ratios):.2f}x  [{low:.2f}, {high:.2f}]  {rate:8.1f} rounds/s", flush=True)


if __name__ == "__main__":
    main()
