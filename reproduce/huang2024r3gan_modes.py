"""Modes of ring8-U and grid25: the default recipe against the 2014 game, same networks, same rounds, many seeds.

Claim: RpGAN + R1 + R2 covers all modes (Huang et al. 2024, section 2); the gate here is all modes in every seed and at
least 96 % of samples of high quality (a perfect sampler has 98.9 %; PacGAN4 printed 24.8 modes and 93.6 % on the grid).
Seeds train side by side in an Ensemble: each follows the trajectory of the lone run with its seed.

    python reproduce/huang2024r3gan_modes.py grid25 --recipe r3gan-small --seeds 10
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path

import torch

from equilibria import Ensemble, Play, load, recipe
from equilibria.metrics.modes import modes
from equilibria.recipes import Recipe
from equilibria.seeding import mix, own_randomness, reseed

HERE = Path(__file__).parent


def control(row: Recipe) -> Recipe:
    """The 2014 game with the default recipe's networks, latent, batch and rounds."""
    plain = recipe("gan")
    game = dataclasses.replace(plain.game, latent=row.game.latent, standardise=row.game.standardise)
    return dataclasses.replace(plain, game=game, networks=row.networks, batch=row.batch, steps=row.steps)


def opened(row: Recipe, law: str, seeds: list[int], rounds: int) -> Play:
    """An ensemble's play: member i is the run with seed i."""
    data = load(law)

    def make(seed: int) -> object:
        with own_randomness():
            reseed(mix(seed, 5))
            return row.game.build(row.networks, data.spec)

    game = Ensemble(make, seeds)
    play = Play(
        game,
        row.update,
        {p.name: row.optimizer_of(p.name) for p in game.players},
        lambda seed, turn: data.batch(row.batch, seed, turn),
        horizon=rounds,
        averages=row.averages,
    )
    play.prepare()
    return play


def judged(play: Play, law: str) -> list[dict[str, float]]:
    """Modes, high quality and reverse KL of 2500 samples of each member."""
    found = [modes(samples, load(law).law) for samples in play.sample(2500)]
    return [{"modes": m.captured, "hq": round(m.high_quality, 4), "rkl": round(m.reverse_kl, 5)} for m in found]


def main() -> None:
    """Train, print a line at each tenth, and write the JSON beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("law")
    parser.add_argument("--recipe", default="r3gan-small")
    parser.add_argument("--control", action="store_true", help="the 2014 game on the recipe's networks")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    row = recipe(given.recipe)
    row = control(row) if given.control else row
    rounds = given.rounds or row.steps
    play = opened(row, given.law, list(range(given.seeds)), rounds)
    name = f"huang2024r3gan_modes_{given.law}{'_control' if given.control else ''}.json"
    begun, history = time.process_time(), []
    for tenth in range(1, 11):
        play.advance(rounds * tenth // 10 - play.round)
        found = judged(play, given.law)
        seconds = (time.process_time() - begun) / given.seeds
        history.append({"round": play.round, "cpu_seconds_per_seed": round(seconds, 1), "seeds": found})
        hq = [f["hq"] for f in found]
        error = statistics.stdev(hq) / len(hq) ** 0.5 if len(hq) > 1 else 0.0
        least = min(int(f["modes"]) for f in found)
        print(f"round {play.round}  {seconds:.0f} CPU s a seed  modes >= {least}", end="  ")
        rkl = statistics.mean(f["rkl"] for f in found)
        print(f"HQ {statistics.mean(hq):.4f} +- {error:.4f} (min {min(hq):.4f})  rKL {rkl:.4f}", flush=True)
        told = {"law": given.law, "recipe": row.name, "rounds": rounds, "torch": torch.__version__, "history": history}
        (HERE / name).write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
