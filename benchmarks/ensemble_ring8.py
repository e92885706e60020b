"""Many seeds at once: an `Ensemble` of the ring game against its members trained one by one.

    PYTHONPATH=src OMP_NUM_THREADS=1 python benchmarks/ensemble_ring8.py [--members 32] [--recipe r3gan-small]

Throughput per member: processor time of the members one by one over that of the ensemble, for the same rounds,
alternating in one process on one thread. Fidelity: the largest deviation of any member's parameter from its lone run.
The game itself amplifies rounding (by 10^5 and more within a hundred rounds of Adam), so beside it stands the
deviation of a lone run from itself when it starts one rounding away; float64 shows what is not rounding.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from equilibria.data import load
from equilibria.ensemble import Ensemble
from equilibria.game import Batch, Game
from equilibria.play import Play
from equilibria.recipes import RECIPES, Recipe
from equilibria.seeding import reseed

DATA = load("ring8-M")


def member(row: Recipe, seed: int) -> Game:
    reseed(seed)
    return row.game.build(row.networks, DATA.spec)


def playing(row: Recipe, game: Game, seed: int) -> Play:
    specs = {p.name: row.optimizer_of(p.name) for p in game.players}
    dtype = torch.get_default_dtype()

    def batches(own: int, turn: int) -> Batch:
        return {name: rows.to(dtype) for name, rows in DATA.batch(row.batch, own, turn).items()}

    play = Play(game, row.update, specs, batches, seed, horizon=row.steps)
    play.prepare()
    return play


def seconds(plays: list[Play], rounds: int) -> float:
    start = time.process_time()
    for play in plays:
        play.advance(rounds)
    return time.process_time() - start


def throughput(row: Recipe, members: int, pairs: int, rounds: int) -> list[float]:
    """Pair by pair: time of the members one by one / time of the ensemble."""
    many = [playing(row, Ensemble(lambda s: member(row, s), range(members)), 0)]
    single = [playing(row, member(row, s), s) for s in range(members)]
    for plays in (many, single):
        seconds(plays, 1)
    ratios = []
    for pair in range(pairs):
        order = (many, single) if pair % 2 else (single, many)
        found = {id(plays): seconds(plays, rounds) for plays in order}
        ratios.append(found[id(single)] / found[id(many)])
    return ratios


def deviation(row: Recipe, members: int, rounds: int, wide: bool) -> tuple[float, float]:
    """The largest deviation from a lone run, and that of a lone run from itself started one rounding away."""
    with precision(torch.float64 if wide else torch.float32):
        game = Ensemble(lambda s: member(row, s), range(members))
        playing(row, game, 0).advance(rounds)
        off = control = 0.0
        for i in range(members):
            lone, other = member(row, i), member(row, i)
            with torch.no_grad():
                for parameter in other.parameters():
                    parameter.mul_(1 + torch.finfo(parameter.dtype).eps)
            for one in (lone, other):
                playing(row, one, i).advance(rounds)
            off = max(off, apart(lone, game.member(i)))
            control = max(control, apart(lone, other))
    return off, control


@torch.no_grad()
def apart(one: Game, other: Game) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((p - q).abs().max()) for p, q in pairs)


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=100, help="of the fidelity run")
    parser.add_argument("--timed", type=int, default=3, help="rounds per side and pair")
    parser.add_argument("--recipe", default="r3gan-small", choices=sorted(RECIPES))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    row = RECIPES[chosen.recipe]
    print(f"torch {torch.__version__}, 1 thread, ring8-M, {row.name}, {chosen.members} members, batch {row.batch}")
    ratios = throughput(row, chosen.members, chosen.pairs, chosen.timed)
    print(
        f"throughput per member, ensemble / one by one: {statistics.median(ratios):.2f}x "
        f"[{min(ratios):.2f}, {max(ratios):.2f}] over {chosen.pairs} pairs",
        flush=True,
    )
    for wide in (True, False):
        off, control = deviation(row, min(chosen.members, 8), chosen.rounds, wide)
        print(
            f"after {chosen.rounds} rounds in float{64 if wide else 32}: members are off their lone runs by at most "
            f"{off:.1e}; lone runs started one rounding apart are by {control:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
