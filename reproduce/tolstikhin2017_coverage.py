"""AdaGAN (Tolstikhin et al. 2017) on a mixture of ten Gaussians: coverage grows with each step.

The law: ten centres uniform on [-15, 15]² (drawn by the seed of the trial), standard deviation .5: our numbers, the
paper fixes only that centres are random and modes ten. C is the data's mass where the generated density (a Gaussian
kernel estimate) is above its own 5 % quantile: a perfect sampler scores .95, printed beside it. The gate: C of .95 or
more after ten steps; the controls are one GAN, the best of ten by C on the training rows, and bagging, all of equal
budget per component.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from shared import report
from sklearn.neighbors import KernelDensity
from torch import Tensor

from equilibria.data import DataSpec, GaussianMixture
from equilibria.game import Game
from equilibria.games.boosting import Boosting, mixture_sample
from equilibria.games.spec import Latent
from equilibria.games.stages import Stage, play_stages
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import MLPPair
from equilibria.optimizers import Adam
from equilibria.play import Play
from equilibria.seeding import reseed
from equilibria.updates import Alternating

NETS = MLPPair(width=32, depth=2, activation="relu")
JUDGE = MLPPair(width=64, depth=2, input_scale=0.1)
PLANE = DataSpec(kind="vector", shape=(2,))


def coverage(made: Tensor, real: Tensor, level: float = 0.95, bandwidth: float = 0.3) -> float:
    """The share of ``real`` where the density of ``made`` is above its own (1 - level)-quantile."""
    half = len(made) // 2
    density = KernelDensity(bandwidth=bandwidth, rtol=1e-3).fit(made[:half].numpy())
    threshold = np.quantile(density.score_samples(made[half:].numpy()), 1 - level)
    return float((density.score_samples(real.numpy()) > threshold).mean())


def make(seed: int) -> Game:
    """One component: a plain GAN on the plane."""
    reseed(seed)
    return TwoPlayer(latent=Latent(size=5)).build(NETS, PLANE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--schemes", nargs="+", default=["adagan", "independent", "bagging"])
    parser.add_argument("--name", default="tolstikhin2017_coverage")
    given = parser.parse_args()
    torch.set_num_threads(1)
    started, rows = time.time(), []
    optimizer = Adam(lr=given.rate, betas=(0.5, 0.999))
    for seed in range(given.seeds):
        centres = torch.rand(10, 2, generator=torch.Generator().manual_seed(seed)) * 30 - 15
        law = GaussianMixture(centres, 0.5)
        train, test = (law.sample(n, torch.Generator().manual_seed(seed + k)) for n, k in ((5000, 1000), (2000, 2000)))

        def opened(stage: Stage, trial: int = seed) -> Play:
            game = stage.make()
            specs = {p.name: optimizer for p in game.players}
            return Play(game, Alternating(), specs, stage.batches, seed=trial, horizon=given.rounds)

        for scheme in given.schemes:
            plan = Boosting(
                components=given.components,
                rounds=given.rounds,
                batch=given.batch,
                scheme=scheme,
                judge=JUDGE,
                judge_steps=500,
            )
            games = play_stages(plan.procedure(make, train, seed), opened)
            told = {
                str(t): round(coverage(mixture_sample(games[:t], 5000, seed=9), test), 3)
                for t in sorted({1, 2, 5, given.components})
                if t <= given.components
            }
            row = {"seed": seed, "scheme": scheme, **{f"C after {t}": c for t, c in told.items()}}
            if scheme == "independent":
                alone = [mixture_sample((game,), 2000, seed=9) for game in games]
                best = max(range(len(alone)), key=lambda i: coverage(alone[i], train[:2000]))
                row["best of T"] = round(coverage(mixture_sample((games[best],), 5000, seed=9), test), 3)
            row["perfect"] = round(coverage(law.sample(5000, torch.Generator().manual_seed(7)), test), 3)
            rows.append(row)
            print(row, round(time.time() - started), flush=True)
    report(given.name, vars(given), rows, started)


if __name__ == "__main__":
    main()
