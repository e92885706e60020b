"""Many seeds at once: an `Ensemble` of the ring game against its members trained one by one.

    python -m benchmarks.ensemble_ring8 [--members 64] [--threads 1] [--json] [--fidelity] [--only NAME]

Throughput per member: time of the members one by one over that of the ensemble, for the same rounds, alternating in one
process; processor time on one thread, wall-clock time on several. An ensemble saves call overhead and no arithmetic, so
the gain depends on the share of overhead in a round: two networks and batches of each recipe are measured. Fidelity:
the largest deviation of any member's parameter from its separate run. The game itself amplifies rounding (by 10^5 and
more within a hundred rounds of Adam), so for comparison the deviation of two separate runs is printed that start with a
difference of one rounding error; float64 shows what is not rounding.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from equilibria.base.provenance import commit
from equilibria.base.randomness import reseed
from equilibria.core.ensemble import Ensemble
from equilibria.core.game import Batch, Game
from equilibria.core.play import Play
from equilibria.data import load
from equilibria.recipes import RECIPES, Recipe

DATA = load("ring8-M")


def _row(name: str, batch: str = "", **networks: str) -> Recipe:
    settings = {f"networks.vector.{key}": value for key, value in networks.items()}
    return RECIPES[name].with_settings(settings | ({"batch": batch} if batch else {}))


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
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    for play in plays:
        play.advance(rounds)
    return clock() - start


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
    """The largest deviation from separate runs, and that of two separate runs that start one rounding error apart."""
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


CASES: dict[str, Recipe] = {
    "gan, width 64, depth 2, batch 64": _row("gan", width="64", depth="2"),
    "gan, width 128, depth 3, batch 64": _row("gan"),
    "r3gan-small, width 64, batch 64": _row("r3gan-small", batch="64"),
    "r3gan-small, width 64, batch 256": _row("r3gan-small"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--timed", type=int, default=2, help="rounds per side and pair")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--fidelity", action="store_true", help="also the deviation of members from separate runs")
    parser.add_argument("--rounds", type=int, default=100, help="rounds of the fidelity run")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    results = {}
    for name, row in CASES.items():
        if chosen.only not in name:
            continue
        ratios = throughput(row, chosen.members, chosen.pairs, chosen.timed)
        results[name] = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
        if not chosen.json:
            print(
                f"{name}, {chosen.members} members, {chosen.threads} threads: {statistics.median(ratios):.2f}x "
                f"[{min(ratios):.2f}, {max(ratios):.2f}]",
                flush=True,
            )
        for wide in (True, False) if chosen.fidelity else ():
            off, control = deviation(row, min(chosen.members, 8), chosen.rounds, wide)
            print(
                f"after {chosen.rounds} rounds in float{64 if wide else 32}: members differ from separate runs by at "
                f"most {off:.1e}; separate runs that start one rounding error apart by {control:.1e}",
                flush=True,
            )
    if chosen.json:
        about = {"commit": commit(), "torch": torch.__version__, "members": chosen.members, "threads": chosen.threads}
        print(json.dumps({**about, "ratios": results}, indent=1))


if __name__ == "__main__":
    main()
