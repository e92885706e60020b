"""Adversarial autoencoder (Makhzani et al. 2015): the codes of held-out digits follow the prior.

For a normal, a petals (10 Gaussians) and a swiss-roll prior in the plane, the law of the codes of held-out digits is
compared with fresh prior codes: the sliced W1 beside its floor (prior against prior), the p-value of a permutation test
on the kernel MMD at n = 400 of each (or all there are), and the reconstruction error beside the variance of the pixels.
The control is the same autoencoder without its adversary.
"""

from __future__ import annotations

import argparse
import time

import torch
from shared import batches_of, report, seeded
from torch import Tensor

from equilibria.data import Dataset, load
from equilibria.game import Game, clocked
from equilibria.games.autoencoding import AAE, LawPrior, Petals, Prior
from equilibria.games.spec import Latent
from equilibria.networks import MLPPair
from equilibria.optimizers import Adam
from equilibria.penalties import R1
from equilibria.play import Play
from equilibria.updates import Alternating

PRIORS: dict[str, Prior] = {"normal": Latent(size=2), "petals": Petals(), "swissroll": LawPrior(name="swissroll")}
NETS = MLPPair(width=128, depth=2, activation="relu")


def mmd_p_value(x: Tensor, y: Tensor, permutations: int = 500) -> float:
    """Permutation test of the Gaussian-kernel MMD at the median distance."""
    both = torch.cat([x, y]).double()
    distance = torch.cdist(both, both)
    kernel = (-distance.square() / (2 * distance.median() ** 2)).exp()
    n, generator = len(x), torch.Generator().manual_seed(0)

    def statistic(order: Tensor) -> float:
        sign = torch.ones(len(both), dtype=torch.float64)
        sign[order[:n]] = -1
        return float(sign @ kernel @ sign)

    observed = statistic(torch.arange(len(both)))
    drawn = [statistic(torch.randperm(len(both), generator=generator)) for _ in range(permutations)]
    return (1 + sum(d >= observed for d in drawn)) / (1 + permutations)


def sliced_w1(x: Tensor, y: Tensor) -> float:
    """The mean over 64 directions of the distance of sorted projections."""
    turn = torch.arange(64) * (torch.pi / 64)
    along = torch.stack([turn.cos(), turn.sin()])
    return float(((x @ along).sort(0).values - (y @ along).sort(0).values).abs().mean())


def measure(game: Game, data: Dataset, prior: Prior, n: int) -> dict[str, float]:
    """Codes of ``n`` held-out rows against the prior."""
    torch.manual_seed(1)
    real = data.take(n, held_out=True)["x"]
    game.eval()
    with torch.no_grad():
        draw = clocked(game.draw({"x": real}), 0)
        codes = game.encode(draw)  # type: ignore[operator]
        made = game.get_submodule("decoder")(codes)
    codes = codes[torch.isfinite(codes).all(1)]
    fresh = prior.codes(len(codes))
    floor = sum(sliced_w1(prior.codes(n), prior.codes(n)) for _ in range(5)) / 5
    return {
        "sliced W1": round(sliced_w1(codes, fresh), 4),
        "floor": round(floor, 4),
        "MMD p": round(mmd_p_value(codes[:400], fresh[:400]), 3),
        "error / variance": round(float((made - real).square().mean() / real.var(0).mean()), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--gamma", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--priors", nargs="+", default=list(PRIORS))
    parser.add_argument("--encoder", default="deterministic")
    parser.add_argument("--name", default="makhzani2015_codes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    started, rows, data = time.time(), [], load(given.data)
    for name in given.priors:
        for control in (False, True):
            for seed in range(1 if control else given.seeds):
                spec = AAE(prior=PRIORS[name], encoder=given.encoder, penalties=(R1(gamma=given.gamma),))
                game = seeded(spec, NETS, data, seed)
                if control:
                    game.players = game.players[:1]
                optimizer = Adam(lr=given.rate, betas=(0.5, 0.999))
                specs = {p.name: optimizer for p in game.players}
                play = Play(game, Alternating(share=True), specs, batches_of(data, given.batch), seed, given.rounds)
                play.prepare()
                play.advance(given.rounds)
                told = measure(game, data, PRIORS[name], given.test)
                rows.append({"prior": name, "adversary": not control, "seed": seed, **told})
                print(rows[-1], round(time.time() - started), flush=True)
    report(given.name, vars(given), rows, started)


if __name__ == "__main__":
    main()
