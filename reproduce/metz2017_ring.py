"""Unrolled GAN (Metz et al. 2017) on ring8-U: unrolling covers the modes where the plain game does not.

Recipe of its appendix A: z 256 normal, G 2x128 ReLU, D x/4 and 1x128 ReLU, orthogonal init of gain .8, batch 512, Adam
1e-4 (.5, .999), 25k rounds. The gate is: K = 10 ends with 7 of 8 modes or more in 4 of 5 seeds or more; K = 0 with 4 or
fewer in 4 of 5. A mode is captured by one sample of 2500 within 3 std. ``--rounds``, ``--batch`` and ``--rate`` shrink
the budget.
"""

from __future__ import annotations

import argparse
import time

import torch
from shared import report, side_by_side

from equilibria.data import load
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.metrics.modes import modes
from equilibria.networks import MLPPair
from equilibria.optimizers import Adam
from equilibria.updates import Unrolled

RING = MLPPair(depth=2, discriminator_depth=1, activation="relu", init="orthogonal", input_scale=0.25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25_000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 10])
    parser.add_argument("--name", default="metz2017_ring")
    given = parser.parse_args()
    torch.set_num_threads(1)
    started, rows, data = time.time(), [], load("ring8-U")
    assert data.law is not None
    for steps in given.steps:
        spec = TwoPlayer(latent=Latent(size=256))
        optimizer = Adam(lr=given.rate, betas=(0.5, 0.999))
        rule = Unrolled(steps=steps)
        play = side_by_side(spec, RING, data, range(given.seeds), rule, optimizer, given.batch)
        for _ in range(8):
            play.advance(given.rounds // 8)
            found = [modes(made, data.law) for made in play.sample(2500, seed=play.round)]
            rows.append(
                {
                    "K": steps,
                    "round": play.round,
                    "modes": [m.captured for m in found],
                    "hq": [round(m.high_quality, 2) for m in found],
                    "rkl": [round(m.reverse_kl, 2) for m in found],
                    "seconds": round(time.time() - started),
                }
            )
            print(rows[-1], flush=True)
    report(given.name, vars(given), rows, started)


if __name__ == "__main__":
    main()
