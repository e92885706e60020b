"""MGAN (Hoang et al. 2018) on the eight-mode ring: K = 8 generators cover it and divide it among themselves.

The gates: all 8 modes captured; mutual information of (generator, nearest mode) of .7 log 8 = 1.456 nats or more; with
beta = 0 it is lost. Both are measured on 4000 samples with the generators in equal parts.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from shared import report, side_by_side
from torch import Tensor

from equilibria.data import load
from equilibria.game import clocked
from equilibria.games.mixture import MGAN
from equilibria.games.spec import Latent
from equilibria.metrics.modes import modes
from equilibria.networks import MLPPair
from equilibria.optimizers import Adam
from equilibria.updates import Alternating

NETS = MLPPair(depth=2, discriminator_depth=2, activation="relu")


def information(index: Tensor, mode: Tensor, k: int, modes_: int) -> float:
    """The plug-in mutual information of two labels, in nats."""
    joint = torch.bincount(index * modes_ + mode, minlength=k * modes_).reshape(k, modes_).double()
    joint /= joint.sum()
    apart = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    seen = joint > 0
    return float((joint[seen] * (joint[seen] / apart[seen]).log()).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", default="ring8-U")
    parser.add_argument("--betas", type=float, nargs="+", default=[0.125, 0.0])
    parser.add_argument("--name", default="hoang2018_ring")
    given = parser.parse_args()
    torch.set_num_threads(1)
    started, rows, data = time.time(), [], load(given.data)
    law = data.law
    assert law is not None and law.modes is not None
    for beta in given.betas:
        spec = MGAN(generators=8, beta=beta, hidden=64, latent=Latent(size=16))
        optimizer = Adam(lr=given.rate, betas=(0.5, 0.999))
        play = side_by_side(spec, NETS, data, range(given.seeds), Alternating(), optimizer, given.batch)
        for _ in range(4):
            play.advance(given.rounds // 4)
            found, told = [], []
            for i in range(given.seeds):
                index = torch.arange(4000) % 8
                torch.manual_seed(play.round)
                codes = {"latent": torch.randn(4000, 16), "index": index}
                with torch.no_grad():
                    made = play.game.member(i).sample(clocked(codes, 0))  # type: ignore[operator]
                found.append(modes(made, law))
                told.append(information(index, torch.cdist(made.double(), law.modes.double()).argmin(1), 8, 8))
            rows.append(
                {
                    "beta": beta,
                    "round": play.round,
                    "modes": [m.captured for m in found],
                    "hq": [round(m.high_quality, 2) for m in found],
                    "information / log 8": [round(t / math.log(8), 2) for t in told],
                }
            )
            print(rows[-1], round(time.time() - started), flush=True)
    report(given.name, vars(given), rows, started)


if __name__ == "__main__":
    main()
