"""D2GAN (Nguyen et al. 2017) on the eight-mode ring: two discriminators cover the modes where one does not.

Their code's 2-D setting: z 256 normal, G 2x128 ReLU, each D one hidden layer of 128 ReLU, batch 512, Adam 2e-4 (.5,
.999), 25k rounds, alpha = beta = 1, covariance .02 (ring8-M). The control is the plain GAN in the same networks and
budget. ``--batch``, ``--rate`` and ``--rounds`` shrink the budget.
"""

from __future__ import annotations

import argparse
import time

import torch
from shared import report, side_by_side

from equilibria.data import load
from equilibria.games.spec import GameSpec, Latent
from equilibria.games.two_discriminators import D2GAN
from equilibria.games.two_player import TwoPlayer
from equilibria.metrics.modes import modes
from equilibria.networks import MLPPair
from equilibria.optimizers import Adam
from equilibria.updates import Alternating

NETS = MLPPair(depth=2, discriminator_depth=1, activation="relu", init="xavier")
LATENT = Latent(size=256)
GAMES: dict[str, GameSpec] = {
    "gan": TwoPlayer(latent=LATENT),
    "d2gan a=1 b=1": D2GAN(latent=LATENT),
    "d2gan a=1 b=.1": D2GAN(beta=0.1, latent=LATENT),
    "d2gan a=.1 b=1": D2GAN(alpha=0.1, latent=LATENT),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25_000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", default="ring8-M")
    parser.add_argument("--games", nargs="+", default=list(GAMES))
    parser.add_argument("--name", default="nguyen2017_ring")
    given = parser.parse_args()
    torch.set_num_threads(1)
    started, rows, data = time.time(), [], load(given.data)
    assert data.law is not None
    optimizer = Adam(lr=given.rate, betas=(0.5, 0.999))
    for name in given.games:
        play = side_by_side(GAMES[name], NETS, data, range(given.seeds), Alternating(), optimizer, given.batch)
        for _ in range(4):
            play.advance(given.rounds // 4)
            found = [modes(made, data.law) for made in play.sample(2500, seed=play.round)]
            rows.append(
                {
                    "game": name,
                    "round": play.round,
                    "modes": [m.captured for m in found],
                    "hq": [round(m.high_quality, 2) for m in found],
                    "rkl": [round(m.reverse_kl, 2) for m in found],
                }
            )
            print(rows[-1], round(time.time() - started), flush=True)
    report(given.name, vars(given), rows, started)


if __name__ == "__main__":
    main()
