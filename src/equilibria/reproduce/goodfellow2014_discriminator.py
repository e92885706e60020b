"""A trained discriminator against the optimal one: for a fixed generator D finds p/(p + q), and its value the JSD."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from ..base.randomness import reseed
from ..base.schedules import Decay
from ..core.ensemble import Ensemble
from ..core.game import Game
from ..core.optimizers import Adam
from ..core.play import Play
from ..data import load
from ..figures.panels import GREY, PALETTE, label, legend, logarithmic, panels
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..losses import Minimax
from ..networks import MLPPair
from ..theory.landscape import mixture_density
from ..theory.value import optimal_discriminator, value_of_laws, virtual_criterion
from .claim import Check, Claim, Outcome, at_most
from .side_by_side import Turns, batches_of

CLAIM = Claim(
    paper="goodfellow2014",
    figure="Proposition 1 and Theorem 1",
    statement="For a fixed generator the best discriminator is p/(p + q), and its value is 2 JSD(p, q) - log 4.",
    printed="D* = p/(p + q)",
    derived="its values for N(0, 1) against N(1.3, 1)",
    tolerance="sup error < .05 on [-3, 4.3], value within .02 nats, worst of 5 seeds",
    budget=(7, 14),
    items=("T2", "T3"),
)

_MEAN = 1.3


def run(quick: bool) -> Outcome:
    rounds, seeds = (1500, 5) if quick else (4000, 5)
    x, weights, p, q = _laws()
    best, limit = optimal_discriminator(p, q), float(virtual_criterion(p, q, weights))
    play = _play(rounds, seeds)
    moments, values = [], []
    for _ in range(25):
        play.advance(rounds // 25)
        scores = _scores(play, x, seeds)
        moments.append(play.round)
        values.append([float(value_of_laws(h, p, q, weights)) for h in scores])
    errors, shortfalls = _missed(scores)
    figure, (laws, left, right) = panels(columns=3, width=3.4)
    laws.plot(x, p, color="black", linestyle=":", linewidth=1.4, label="data p")
    laws.plot(x, q, color=PALETTE[2], linewidth=1.4, label="generator q, fixed")
    laws.set(xlim=(-3, 4.3), ylim=(0, 0.6))
    legend(laws, "upper right")
    label(laws, "x", "density", "The two laws")
    left.plot(x, best.sigmoid(), color=GREY, linewidth=4, alpha=0.6, label="p/(p + q)")
    for i, h in enumerate(scores):
        left.plot(x, h.sigmoid(), color=PALETTE[0], linestyle="--", linewidth=1, label="D, 5 seeds" if i == 0 else None)
    left.set_xlim(-3, 4.3)
    legend(left, "upper right")
    label(left, "x", "D (probability of real)", "The trained D lies on p/(p + q)")
    _draw_values(right, moments, limit - torch.tensor(values))
    return Outcome(
        figure,
        _checks(errors, shortfalls),
        {"sup errors": errors, "2 JSD - log 4": limit, "shortfalls (nats)": shortfalls},
    )


def _laws() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A grid, its weights, and the densities of the data and of the generator on it."""
    x = torch.linspace(-8, 10, 3601, dtype=torch.float64)
    p, q = (mixture_density(x[:, None], torch.tensor([[at]]), torch.ones(())) for at in (0.0, _MEAN))
    return x, torch.full_like(x, float(x[1] - x[0])), p, q


def _missed(scores: list[Tensor]) -> tuple[list[float], list[float]]:
    """By seed: the largest error of D on [-3, 4.3], and what its value lacks of 2 JSD - log 4 (nats)."""
    x, weights, p, q = _laws()
    best, shown = optimal_discriminator(p, q), (x >= -3) & (x <= 4.3)
    limit = float(virtual_criterion(p, q, weights))
    errors = [float((h.sigmoid() - best.sigmoid())[shown].abs().max()) for h in scores]
    return errors, [limit - float(value_of_laws(h, p, q, weights)) for h in scores]


def _checks(errors: list[float], shortfalls: list[float]) -> tuple[Check, ...]:
    return (
        at_most("sup error of D on [-3, 4.3], worst seed", max(errors), 0.05),
        at_most("|value - (2 JSD - log 4)| in nats, worst seed", max(map(abs, shortfalls)), 0.02),
    )


def _draw_values(axes: Axes, moments: list[int], shortfalls: Tensor) -> None:
    for i, short in enumerate(shortfalls.T):
        name = "5 seeds" if i == 0 else None
        axes.plot(moments, short, color=PALETTE[0], linewidth=0.8, marker="o", markersize=2, label=name)
    axes.axhline(0.02, color=PALETTE[1], linewidth=1, linestyle="--", label="tolerance")
    logarithmic(axes, y=True)
    legend(axes, "lower left")
    label(axes, "rounds", "2 JSD − log 4 − V(D)  (nats)", "Its value comes up to 2 JSD − log 4")


def _play(rounds: int, seeds: int) -> Play:
    """A fixed generator of N(1.3, 1): it has parameters, and they are not trained."""
    game, networks, data = (
        TwoPlayer(objective=Minimax(), latent=Latent(size=1)),
        MLPPair(width=32, depth=2),
        load("gaussian"),
    )

    def make(seed: int) -> Game:
        reseed(seed)
        still = nn.Linear(1, 1)
        nn.init.ones_(still.weight)
        nn.init.constant_(still.bias, _MEAN)
        return game.build(networks, data.spec, own={"generator": still})

    rate = Adam(lr=Decay(start=1e-2, end=1e-4), betas=(0.5, 0.999))
    both = Ensemble(make, range(seeds))
    rule = Turns(discriminator=1, generator=0)
    return Play(both, rule, {p.name: rate for p in both.players}, batches_of(data, 512), horizon=rounds)


def _scores(play: Play, x: Tensor, seeds: int) -> list[Tensor]:
    with torch.no_grad():
        return [play.game.member(i).discriminator(x[:, None].float()).double() for i in range(seeds)]  # type: ignore[operator]
