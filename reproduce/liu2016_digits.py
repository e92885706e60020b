"""CoGAN (Liu & Tuzel 2016) on digits and their negatives: one code gives corresponding images, from unpaired rows.

Agreement of a generated pair is the correlation, over pixels, of the first image with the negated second: 1 for an
exact correspondence. The independent baseline pairs the first image of one code with the second image of another. The
gates: tied agreement above the independent baseline; with untied generators it falls to that baseline.

The generators' own last layer is a small convolution of common feature maps, as in the paper's networks. With a full
affine map instead (``--heads linear``) nothing says that a common unit draws in the same place in both domains, and
the tied pair agreed in two of five seeds. Games do not settle: look at every row, not at the last alone.
"""

from __future__ import annotations

import argparse
import time

import torch
from shared import report, side_by_side
from torch import Tensor

from equilibria.data import load
from equilibria.games.coupled import CoGAN
from equilibria.games.spec import Latent
from equilibria.networks import MLPPair
from equilibria.optimizers import Adam
from equilibria.penalties import R1
from equilibria.updates import Alternating

NETS = MLPPair(width=128, depth=1)


def agreement(first: Tensor, second: Tensor) -> float:
    """The mean over pairs of the correlation of an image with the negative of the other."""
    a, b = first.flatten(1), -second.flatten(1)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return float(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--heads", default="local")
    parser.add_argument("--data", default="pairs:digits,digits-negative")
    parser.add_argument("--name", default="liu2016_digits")
    given = parser.parse_args()
    torch.set_num_threads(1)
    started, rows, data = time.time(), [], load(given.data)
    width = data.spec.shape[-1]
    for tied in (True, False):
        spec = CoGAN(
            tied_generators=tied, hidden=128, heads=given.heads, penalties=(R1(gamma=0.5),), latent=Latent(size=32)
        )
        optimizer = Adam(lr=given.rate, betas=(0.5, 0.999))
        play = side_by_side(spec, NETS, data, range(given.seeds), Alternating(), optimizer, given.batch)
        for _ in range(3):
            play.advance(given.rounds // 3)
            made = play.sample(500, seed=1)
            pairs = [(one[..., :width], one[..., width:]) for one in made]
            rows.append(
                {
                    "tied generators": tied,
                    "round": play.round,
                    "agreement": [round(agreement(a, b), 3) for a, b in pairs],
                    "independent": [round(agreement(a, b.roll(1, 0)), 3) for a, b in pairs],
                    "spread of pixels": [round(float(a.std(0).mean()), 3) for a, _ in pairs],
                }
            )
            print(rows[-1], round(time.time() - started), flush=True)
    report(given.name, vars(given), rows, started)


if __name__ == "__main__":
    main()
