"""The speed of CUDA graphs on a GPU: captured turns against eager turns, and the speed of an ensemble there.

    python -m benchmarks.gpu [--json FILE] [--pairs 5] [--seconds 1.0] [--members 64] [--device cpu]

For each game, on one GPU: rounds per second with graphs over rounds per second in eager mode, measured alternately in
one process; the share of the time with graphs in which kernels run (torch's profiler); the largest relative difference
of any tensor after 50 rounds of both; and whether a round waits for the GPU anywhere
(``torch.cuda.set_sync_debug_mode``). On a CPU there are no graphs: it is a dry run of this file.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import Plan, measured, ours
from benchmarks.measure import Side
from equilibria.base.provenance import commit
from equilibria.base.randomness import reseed
from equilibria.core.ensemble import Ensemble
from equilibria.core.play import Play
from equilibria.data import Dataset, load
from equilibria.networks import Auto, ConvPair
from equilibria.recipes import RECIPES, Recipe
from equilibria.training import Settings

_DCGAN = Auto(image=ConvPair(width=64, norm="batch", generator_activation="relu", init="normal02"))
GAMES: dict[str, tuple[Recipe, Any]] = {
    "gan on ring8, perceptrons, batch 256": (replace(RECIPES["gan"], batch=256), lambda: load("ring8-M")),
    "r3gan-small on ring8, perceptrons, batch 256": (RECIPES["r3gan-small"], lambda: load("ring8-M")),
    "gan with batch norms on 28x28 images, width 64, batch 64": (
        replace(RECIPES["gan"], networks=_DCGAN, batch=64),
        ours.like_digits,
    ),
    "wgan-gp on 28x28 images, batch 64": (replace(RECIPES["wgan-gp"], batch=64), ours.like_digits),
    "r3gan on 28x28 images, batch 64": (replace(RECIPES["r3gan"], batch=64), ours.like_digits),
}


def settings_of(device: str, launch: str) -> Settings:
    return Settings(device=device, launch=launch if device != "cpu" else "auto")


def played(row: Recipe, data: Dataset, device: str, launch: str) -> Play:
    return ours.played(row, data, settings_of(device, launch))


def waited() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def side(*plays: Play) -> Side:
    """Times the rounds of plays, one play after the other, until the GPU has finished."""

    def seconds(rounds: int) -> float:
        waited()
        start = time.perf_counter()
        for play in plays:
            play.advance(rounds)
        waited()
        return time.perf_counter() - start

    return seconds


def kernel_share(play: Play, rounds: int = 100) -> float | None:
    """The share of the rounds' time in which kernels run; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    from torch.profiler import ProfilerActivity, profile

    waited()
    start = time.perf_counter()
    play.advance(rounds)
    waited()
    wall = time.perf_counter() - start
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        play.advance(rounds)
        waited()
    return sum(event.self_device_time_total for event in seen.key_averages()) / 1e6 / wall


def waits(play: Play) -> str:
    """The operation that makes a round wait for the GPU; empty if there is none."""
    if not torch.cuda.is_available():
        return "no GPU"
    waited()
    torch.cuda.set_sync_debug_mode("error")
    try:
        play.advance(20)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return ""


def difference(row: Recipe, data: Dataset, device: str, rounds: int = 50) -> float:
    """The largest difference of any tensor's entries, relative to its largest entry, after equal rounds of both."""
    one, other = (played(row, data, device, launch) for launch in ("eager", "graphs"))
    for play in (one, other):
        play.advance(rounds)
    pairs = zip(one.tensors().values(), other.tensors().values(), strict=True)
    return max(float((p - q).abs().max() / (p.abs().max() + 1e-12)) for p, q in pairs if p.is_floating_point())


def game(name: str, device: str, plan: Plan) -> dict[str, Any]:
    row, source = GAMES[name]
    data = source()
    eager, by_graphs = (played(row, data, device, launch) for launch in ("eager", "graphs"))
    for play in (eager, by_graphs):
        play.advance(10)
    [found] = measured({"graphs": side(by_graphs)}, side(eager), plan, {})
    return {
        **found.to_dict(),
        "turns": getattr(by_graphs.launch, "status", {}),
        "kernel_share": kernel_share(by_graphs),
        "waits": waits(by_graphs),
        "difference": difference(row, data, device),
    }


def ensemble(name: str, device: str, members: int, plan: Plan) -> dict[str, Any]:
    """All members as one ensemble with graphs, against all one by one, in eager mode and with graphs."""
    row, source = GAMES[name]
    data = source()

    def member(seed: int) -> Any:
        reseed(seed)
        return row.game.build(row.networks, data.spec)

    settings = settings_of(device, "graphs")
    many = ours.play_of(row, Ensemble(member, range(members)), data, settings)
    many.advance(5)
    results: dict[str, Any] = {"turns": getattr(many.launch, "status", {})}
    for launch in ("eager", "graphs"):
        singles = [played(row, data, device, launch) for _ in range(members)]
        for play in singles:
            play.advance(5)
        [found] = measured({"together": side(many)}, side(*singles), plan, {})
        results[f"against {launch}"] = found.to_dict()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--only", default="", help="only the games whose name contains this text")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    plan = Plan(chosen.seconds, chosen.pairs)
    cuda = torch.cuda.is_available() and chosen.device.startswith("cuda")
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if cuda else chosen.device,
        "commit": commit(),
        "torch": torch.__version__,
        "games": {},
        "ensembles": {},
    }
    for name in (name for name in GAMES if chosen.only in name):
        results["games"][name] = game(name, chosen.device, plan)
        print(name, results["games"][name], flush=True)
        if "ring8" in name:
            results["ensembles"][name] = ensemble(name, chosen.device, chosen.members, plan)
            print(f"{chosen.members} members,", name, results["ensembles"][name], flush=True)
        if chosen.json is not None:
            chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
