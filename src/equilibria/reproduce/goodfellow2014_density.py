"""Discriminator, data and generator on the line at four times of one training: the figure that explains the game.

The data are black and dotted, the generator green, the discriminator blue and dashed (E50: in some texts the colours
are exchanged). Lines below connect equally likely latent codes with their images. The codes are normal, the paper's are
uniform: only a map with infinite slope maps a uniform law to a normal one, and no network is such a map.
"""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from torch import Tensor

from ..base.schedules import Decay
from ..core.optimizers import Adam
from ..core.play import Play
from ..core.updates import Alternating
from ..data import load
from ..figures.panels import GREY, PALETTE, label, legend, panels
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..losses import Minimax
from ..networks import MLPPair
from ..theory.landscape import mixture_density
from .claim import Check, Claim, Outcome, at_most
from .side_by_side import side_by_side

CLAIM = Claim(
    paper="goodfellow2014",
    figure="Figure 1",
    statement="The generator's law moves onto the data's until the discriminator cannot tell them apart: D = 1/2.",
    printed="none printed: q on p, D flat at 1/2",
    tolerance="every seed ends with |D - 1/2| < .1 on the data's central 95 % and W1(q, p) < .1; "
    "5 seeds quick, 10 full",
    budget=(10, 42),
    items=("E50",),
)

_EDGES = torch.linspace(-4, 4, 81)


def run(quick: bool) -> Outcome:
    seeds, last = (5, 1000) if quick else (10, 3000)
    rate = Adam(lr=Decay(start=3e-3, end=3e-5), betas=(0.5, 0.999))
    game = TwoPlayer(objective=Minimax(), latent=Latent(size=1), discriminator_turns=2)
    networks = MLPPair(width=32, depth=2, activation="tanh")
    play = side_by_side(game, networks, load("gaussian"), range(seeds), Alternating(), rate, batch=256)
    play.horizon = last
    figure, axes = panels(rows=2, columns=4, width=2.5, height=2.0)
    for word, at, laws, probability in zip(
        (", untrained", "", "", ", the end"), (0, 50, 200, last), axes[:4], axes[4:], strict=True
    ):
        play.advance(at - play.round)
        _draw(laws, play, f"Round {at}{word}")
        _draw_probability(probability, play)
    axes[0].set_ylabel("density", fontsize=8)
    axes[4].set_ylabel("D (probability of real)", fontsize=8)
    legend(axes[0], "upper left")
    ends = [_ends(play, i) for i in range(seeds)]
    return Outcome(figure, _checks(ends), {"largest |D - 1/2|, W1 by seed": ends})


def _checks(ends: list[tuple[float, float]]) -> tuple[Check, ...]:
    return (
        at_most("largest |D - 1/2| on the central 95 %, worst seed", max(d for d, _ in ends), 0.1),
        at_most("W1(q, p), worst seed", max(w for _, w in ends), 0.1),
    )


def _draw(axes: Axes, play: Play, title: str) -> None:
    x = torch.linspace(-4, 4, 321)
    points = _generated(play, 0, 200_000)
    width = float(_EDGES[1] - _EDGES[0])
    shares = torch.histogram(points, _EDGES).hist / len(points) / width
    axes.plot(
        x,
        mixture_density(x[:, None], torch.zeros(1, 1), torch.ones(())),
        color="black",
        linestyle=":",
        linewidth=1.6,
        label="data p",
    )
    axes.plot(_EDGES[:-1] + width / 2, shares, color=PALETTE[2], linewidth=1.4, label="generator q")
    for code, point in zip(_codes(15), _generated(play, 0, 15), strict=True):
        axes.plot([code, point], [-0.35, -0.1], color=PALETTE[2], linewidth=0.5, alpha=0.7)
    for height, name in ((-0.1, "x"), (-0.35, "z")):
        axes.axhline(height, color="#bdbdbd", linewidth=0.6)
        axes.text(3.9, height + 0.02, name, fontsize=7.5, ha="right")
    label(axes, "", "", title)
    axes.set_xlim(-4, 4)
    axes.set_ylim(-0.4, 0.95)
    axes.set_yticks([0, 0.4, 0.8])


def _draw_probability(axes: Axes, play: Play) -> None:
    x = torch.linspace(-4, 4, 321)
    axes.axhline(0.5, color=GREY, linewidth=0.7)
    axes.plot(x, _probability(play, 0, x), color=PALETTE[0], linewidth=1.4)
    axes.set(xlim=(-4, 4), ylim=(0, 1), yticks=[0, 0.5, 1])
    label(axes, "x")


def _codes(n: int) -> Tensor:
    """Codes at the quantiles of the normal law, so that the result has no sampling noise."""
    codes: Tensor = torch.special.ndtri((torch.arange(n) + 0.5) / n)
    return codes


@torch.no_grad()
def _generated(play: Play, seed: int, n: int) -> Tensor:
    made: Tensor = play.game.member(seed).generator(_codes(n)[:, None])  # type: ignore[operator]
    return made[:, 0]


@torch.no_grad()
def _probability(play: Play, seed: int, x: Tensor) -> Tensor:
    scores: Tensor = play.game.member(seed).discriminator(x[:, None])  # type: ignore[operator]
    return scores.sigmoid()


def _ends(play: Play, seed: int) -> tuple[float, float]:
    doubt = _probability(play, seed, torch.linspace(-1.96, 1.96, 401)) - 0.5
    moved = _generated(play, seed, 20_000).sort().values - _codes(20_000)
    return float(doubt.abs().max()), float(moved.abs().mean())
