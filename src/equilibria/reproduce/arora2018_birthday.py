"""The birthday test: a generator's support size, from the batch size at which half of the batches have a repeat.

First on generators whose latent codes are drawn from a known number of atoms. Then on MNIST, where two images count as
equal if they are as close as the two closest among equally many real images: a collapsed generator, trained for 20
turns per turn of its discriminator, against the same networks trained with one turn each.
"""

from __future__ import annotations

import math

import torch
from matplotlib.axes import Axes
from torch import Tensor

from ..core.optimizers import Adam
from ..core.play import Play
from ..data import Dataset, load
from ..figures.images import image_grid
from ..figures.panels import GREY, PALETTE, label, legend, logarithmic, panels
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..metrics.neighbours import Birthday, birthday
from ..networks import MLPPair
from ..theory.generalization import birthday_batch, collision_probability
from .claim import Check, Claim, Outcome, at_least, at_most, close
from .side_by_side import Turns, batches_of, seeded

CLAIM = Claim(
    paper="arora2018",
    figure="section 2 and its Theorem 1 (the birthday test)",
    statement="If batches of s samples hold a repeat half of the time the support is about s^2; collapsed generators "
    "show it at a small s.",
    printed="a repeat with probability 1/2 in batches of s: support about s^2",
    derived="N = 160,000 has a repeat half the time at M = 471; s^2 within a factor 2 of a known N",
    tolerance="471 exactly; factor 2 for N = 100 to 100,000 (400 batches each); s of the healthy generator at least "
    "ten times the collapsed one's, worst of 5 seeds; quick: 1 seed",
    budget=(60, 290),
    items=("T25",),
)

_KNOWN = (100, 1_000, 10_000, 100_000)
_BATCHES, _SAMPLES = 400, 1000
ROUNDS = 2000


def run(quick: bool) -> Outcome:
    seeds = 1 if quick else 5
    found = {n: _first_half(n) for n in _KNOWN}
    data = load("mnist")
    near = _nearest_pair(data.take(_SAMPLES)["x"])
    made = {
        "healthy": [_trained(data, Turns(), ROUNDS, seed) for seed in range(seeds)],
        "collapsed": [_trained(data, Turns(generator=20), ROUNDS // 20, seed) for seed in range(seeds)],
    }
    tests = {name: [birthday(x.flatten(1), near) for x in own] for name, own in made.items()}
    figure, (left, middle, right) = panels(columns=3, width=3.4, height=2.9)
    _draw_known(left, found)
    for (name, own), colour in zip(made.items(), PALETTE[2::-1], strict=False):
        _draw_repeats(middle, own[0].flatten(1), near, colour, name)
    middle.axhline(0.5, color=GREY, linestyle="--", linewidth=0.9)
    logarithmic(middle, x=True)
    legend(middle, "best")
    label(middle, "batch size", "share of batches with a repeat", "A collapsed generator repeats at once")
    right.imshow(image_grid(torch.cat([made[k][0][:16] for k in made]), columns=8, tile=32), interpolation="nearest")
    right.set_axis_off()
    label(right, "", "", "16 healthy samples above 16 collapsed ones")
    numbers = {name: [_plain(b) for b in own] for name, own in tests.items()}
    return Outcome(
        figure,
        _of_known(found) + _of_trained(tests),
        {"s by known N": found, "near (pixels)": near, "support, s": numbers},
    )


def _of_known(found: dict[int, float]) -> tuple[Check, ...]:
    off = max(abs(math.log(s**2 / n, 2)) for n, s in found.items())
    return (
        close("batch with a repeat half the time, N = 160,000", birthday_batch(160_000), 471, 0),
        close("probability of a repeat in it", collision_probability(471, 160_000), 0.5, 5e-4),
        at_most("|log2(s^2 / N)|, worst known N", off, 1.0),
    )


def _of_trained(tests: dict[str, list[Birthday]]) -> tuple[Check, ...]:
    # Without a repeat there is only a lower limit of the size; the comparison uses that limit for the healthy ones.
    least = min(_batch(found.support_at_least) for found in tests["healthy"])
    most = max(found.half for found in tests["collapsed"])
    return (at_least("s of the healthy generator (lower limit) over the collapsed one's", least / most, 10.0),)


def _first_half(support: int) -> float:
    """The batch size at which half of the batches have a repeat, for a generator with this number of codes."""
    draw = torch.Generator().manual_seed(support)
    data, codes = load("ring8-U"), torch.randn(support, 8, generator=draw)
    game = seeded(TwoPlayer(latent=Latent(size=8)), MLPPair(width=32, depth=2), data, seed=0)
    with torch.no_grad():
        points = game.generator(codes)  # type: ignore[operator]
    which = torch.unique(points, dim=0, return_inverse=True)[1]
    drawn = which[torch.randint(support, (_BATCHES, 4 * math.isqrt(support)), generator=draw)]
    return float(torch.stack([_first_repeat(row) for row in drawn]).median())


def _first_repeat(row: Tensor) -> Tensor:
    """The number of draws until the first repeat; the number of all draws plus one if there is none."""
    same = (row[:, None] == row).tril(-1).any(1)
    where = torch.nonzero(same)
    return where[0, 0] + 1 if len(where) else torch.tensor(len(row) + 1)


def _batch(support: float) -> float:
    return 0.5 + math.sqrt(0.25 + 2 * math.log(2) * support)


def _nearest_pair(rows: Tensor) -> float:
    apart = torch.cdist(rows.flatten(1), rows.flatten(1))
    return float(apart.fill_diagonal_(math.inf).min())


def _trained(data: Dataset, rule: Turns, rounds: int, seed: int) -> Tensor:
    game = seeded(TwoPlayer(latent=Latent(size=32)), MLPPair(width=256, depth=2), data, seed)
    rate = Adam(lr=1e-3, betas=(0.5, 0.99))
    play = Play(game, rule, {p.name: rate for p in game.players}, batches_of(data, 64), seed, rounds)
    play.advance(rounds)
    return play.sample(_SAMPLES)


def _draw_known(axes: Axes, found: dict[int, float]) -> None:
    sizes = torch.tensor(list(found)).float()
    axes.fill_between(sizes, sizes / 2, sizes * 2, color=GREY, alpha=0.25, linewidth=0, label="factor 2")
    axes.plot(sizes, sizes, color=GREY, linewidth=1)
    axes.plot(sizes, [s**2 for s in found.values()], "o", color=PALETTE[0], markersize=5, label="s²")
    logarithmic(axes, x=True, y=True)
    legend(axes, "upper left")
    label(axes, "true support N", "support by the test", "s² is near a known support")


def _draw_repeats(axes: Axes, rows: Tensor, near: float, colour: str, name: str) -> None:
    close_by = (torch.cdist(rows, rows) < near).fill_diagonal_(False)
    draw = torch.Generator().manual_seed(0)
    sizes = [2, 3, 5, 10, 20, 50, 100, 200, 500, 1000]
    shares = []
    for size in sizes:
        picks = [torch.randperm(len(rows), generator=draw)[:size] for _ in range(50)]
        shares.append(sum(bool(close_by[pick][:, pick].any()) for pick in picks) / len(picks))
    axes.plot(sizes, shares, color=colour, marker="o", markersize=3, linewidth=1.3, label=name)


def _plain(found: Birthday) -> dict[str, float]:
    return {"support": found.support, "at least": found.support_at_least, "s": found.half}
