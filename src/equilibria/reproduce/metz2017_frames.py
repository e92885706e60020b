"""Samples on ring8-U over time: an unrolled generator (K steps) covers the ring, the plain one hops between modes.

The recipe of the paper's appendix A with 1,600 rounds, batches of 128 and Adam 1e-3 instead of 25,000, 512 and 1e-4.
"""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..core.optimizers import Adam
from ..core.updates import Unrolled
from ..data import Dataset, load
from ..data.laws import Law
from ..figures.images import INK
from ..figures.panels import BLUE, FONT, GREY, label, panels
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..metrics.modes import Modes, modes
from ..networks import MLPPair
from .claim import Check, Claim, Outcome, at_least
from .side_by_side import side_by_side

CLAIM = Claim(
    paper="metz2017",
    figure="Figure 1, appendix A",
    statement="On eight Gaussians on a ring an unrolled GAN spreads over all modes; the plain GAN sits on one and "
    "hops.",
    printed="K = 10 covers 8 of 8 after 25,000 rounds (frames only; no number printed)",
    tolerance="K > 0 ends with 7 modes or more in 4 of 5 seeds; K = 0 ends with 4 or fewer in 4 of 5, and hops in 4 of "
    "5: its mean moves by a mode's distance between two frames; quick: K = 5, 2 seeds",
    budget=(38, 125),
    items=("T10",),
)
NETWORKS = MLPPair(depth=2, discriminator_depth=1, activation="relu", init="orthogonal", input_scale=0.25)
ROUNDS = (200, 400, 800, 1200, 1600)
SAMPLES = 2500
Frames = list[Tensor]


def run(quick: bool) -> Outcome:
    seeds, ahead = (range(2), 5) if quick else (range(5), 10)
    data = load("ring8-U")
    law = data.law
    assert law is not None
    found = {steps: _frames(data, steps, seeds) for steps in (0, ahead)}
    counted = {steps: [[modes(own, law) for own in made] for made in frames] for steps, frames in found.items()}
    unrolled, plain = counted[ahead][-1], counted[0][-1]
    numbers = {f"K = {steps}": _rounded(rows) for steps, rows in counted.items()}
    shown = sorted(seeds, key=lambda seed: unrolled[seed].captured)[len(seeds) // 2]
    return Outcome(_draw(found, counted, law, shown), _checks(unrolled, plain, _hopping(found[0], law)), numbers)


def _checks(unrolled: list[Modes], plain: list[Modes], hopping: float) -> tuple[Check, ...]:
    return (
        at_least("share of seeds that end with 7 modes or more, K > 0", _share(unrolled, 7, 8), 0.8),
        at_least("share of seeds that end with 4 modes or fewer, K = 0", _share(plain, 0, 4), 0.8),
        at_least("share of seeds whose mean moves by a mode's distance between two frames, K = 0", hopping, 0.8),
    )


def _hopping(frames: Frames, law: Law) -> float:
    """The share of seeds whose mean moves, between two frames, by the distance of neighbouring modes or more."""
    assert law.modes is not None
    moves = torch.stack([made.mean(1) for made in frames]).diff(dim=0).norm(dim=-1).amax(0)
    return float((moves >= torch.pdist(law.modes.to(moves)).min()).double().mean())


def _frames(data: Dataset, steps: int, seeds: range) -> Frames:
    """Samples of every seed at each frame's round, ``(seeds, n, 2)``."""
    optimizer = Adam(lr=1e-3, betas=(0.5, 0.999))
    play = side_by_side(
        TwoPlayer(latent=Latent(size=256)), NETWORKS, data, seeds, Unrolled(steps=steps), optimizer, 128
    )
    made = []
    for stop in ROUNDS:
        play.advance(stop - play.round)
        made.append(play.sample(SAMPLES, seed=stop))
    return made


def _share(found: list[Modes], low: int, high: int) -> float:
    return sum(low <= m.captured <= high for m in found) / len(found)


def _rounded(rows: list[list[Modes]]) -> dict[str, dict[str, list[float]]]:
    return {
        f"round {stop}": {
            "modes": [m.captured for m in row],
            "high quality": [round(m.high_quality, 3) for m in row],
            "reverse KL (nats)": [round(m.reverse_kl, 3) for m in row],
        }
        for stop, row in zip(ROUNDS, rows, strict=True)
    }


def _draw(found: dict[int, Frames], counted: dict[int, list[list[Modes]]], law: Law, seed: int) -> Figure:
    figure, axes = panels(len(found), len(ROUNDS), width=1.75, height=1.95)
    for row, (steps, frames) in enumerate(found.items()):
        for column, (stop, made) in enumerate(zip(ROUNDS, frames, strict=True)):
            here = axes[row * len(ROUNDS) + column]
            _frame(here, made[seed], law)
            side = (f"K = {steps}\n" if steps else "plain GAN, K = 0\n") + "x₂ (window ±3)" if column == 0 else ""
            modes_now = f"round {stop:,}: {counted[steps][column][seed].captured} of 8"
            label(here, "x₁ (window ±3)" if row else "", side, modes_now)
    figure.suptitle(
        "Samples (blue) of the median seed, and modes hit within 3 std by one of 2,500: unrolling covers the ring",
        fontsize=9, color=INK, family=FONT, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _frame(axes: Axes, made: Tensor, law: Law) -> None:
    centres = law.modes if law.modes is not None else torch.zeros(0, 2)
    axes.scatter(centres[:, 0], centres[:, 1], s=60, facecolors="none", edgecolors=GREY, linewidths=0.9)
    axes.scatter(made[:, 0], made[:, 1], s=2.0, color=BLUE, alpha=0.35, linewidths=0)
    axes.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal")
