"""The Helvetica scenario: a generator that is trained too long against a fixed discriminator loses its diversity.

A schedule is a number of turns of the discriminator and then of the generator; every schedule runs the same number of
rounds, so the player with fewer turns has equally many in all schedules. A snapshot is collapsed if it has at most
three of the eight modes; a collapsed generator may cover more of them for a while (one seed of five has five after 600
rounds). The effect of a schedule depends on more than the ratio: in our trials generators with a small initial spread,
or with codes of eight dimensions, lost modes under the discriminator's schedule too (2 to 5 remained), because -log D
is mode-seeking if D is nearly optimal.
"""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.axes import Axes
from torch import Tensor

from ..core.ensemble import Ensemble
from ..core.optimizers import Adam
from ..core.play import Play
from ..data import Dataset, load
from ..figures.panels import GREY, PALETTE, label, legend, panels
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..metrics.modes import modes
from ..networks import MLPPair
from .claim import Check, Claim, Outcome, at_least, at_most
from .side_by_side import Turns, batches_of, seeded

CLAIM = Claim(
    paper="goodfellow2014",
    figure="section 6 (the Helvetica scenario)",
    statement="G must not be trained too much without updating D, or it collapses many codes to the same point.",
    printed="none printed",
    tolerance="ring of 8: at the end at most 3 modes with 20 turns of G for one of D, more with 20 of D for one of G, "
    "each in 4 of 5 seeds; 3 schedules quick, 9 full",
    budget=(36, 170),
)

_RULES = {"1 : 1": Turns(), "1 : 20": Turns(generator=20), "20 : 1": Turns(discriminator=20)}
_OTHERS = {
    f"{d} : {g}": Turns(discriminator=d, generator=g) for d, g in ((5, 1), (1, 5), (5, 5), (20, 5), (5, 20), (20, 20))
}
_SEEDS, _FRAMES = range(5), 4


class _Run(NamedTuple):
    rounds: list[int]
    frames: list[Tensor]
    captured: list[list[int]]


def run(quick: bool) -> Outcome:
    data, rounds = load("ring8-M"), 400 if quick else 600
    found = {name: _played(data, rule, rounds) for name, rule in (_RULES if quick else _RULES | _OTHERS).items()}
    figure, axes = panels(rows=3, columns=_FRAMES + 1, width=2.0, height=2.1)
    assert data.law is not None
    real = data.take(500)["x"]
    for row, name in enumerate(_RULES):
        played, own = found[name], axes[row * (_FRAMES + 1) :]
        for ax, points, at in zip(own, played.frames, played.rounds, strict=False):
            _frame(ax, real, points, f"round {at}")
        own[0].set_title(f"D : G = {name}, round {played.rounds[0]}", fontsize=8.5, loc="left")
        _counts(own[_FRAMES], played)
    legend(axes[_FRAMES + 1], "upper left")
    numbers = {"modes by snapshot and seed, D : G": {k: v.captured for k, v in found.items()}}
    return Outcome(figure, _checks(found), numbers)


def _checks(found: dict[str, _Run]) -> tuple[Check, ...]:
    return (
        at_least("seeds of 5 with at most 3 modes, 20 turns of G for one of D", _collapsed(found["1 : 20"]), 4),
        at_most("seeds of 5 with at most 3 modes, 20 turns of D for one of G", _collapsed(found["20 : 1"]), 1),
    )


def _played(data: Dataset, rule: Turns, rounds: int) -> _Run:
    spec, networks = TwoPlayer(latent=Latent(size=2)), MLPPair(width=64, depth=2, activation="relu", init="kaiming")
    game = Ensemble(lambda seed: seeded(spec, networks, data, seed), _SEEDS)
    rates = {"generator": Adam(lr=4e-3), "discriminator": Adam(lr=1e-3)}
    play, seen = Play(game, rule, rates, batches_of(data, 64)), _Run([], [], [])
    assert data.law is not None
    for _ in range(_FRAMES):
        play.advance(rounds // _FRAMES)
        made = play.sample(2500, seed=play.round)
        seen.rounds.append(play.round)
        seen.frames.append(made[0, :500])
        seen.captured.append([modes(points, data.law).captured for points in made])
    return seen


def _frame(axes: Axes, real: Tensor, made: Tensor, title: str) -> None:
    axes.plot(real[:, 0], real[:, 1], ".", color=GREY, markersize=1.5, alpha=0.5, label="data")
    axes.plot(made[:, 0], made[:, 1], ".", color=PALETTE[2], markersize=1.5, label="generator")
    axes.set_xlim(-3.2, 3.2)
    axes.set_ylim(-3.2, 3.2)
    axes.set_xticks([])
    axes.set_yticks([])
    label(axes, "", "", title)


def _counts(axes: Axes, played: _Run) -> None:
    for captured in zip(*played.captured, strict=True):
        axes.plot(played.rounds, captured, color=PALETTE[2], linewidth=0.9, marker="o", markersize=2.5)
    axes.axhline(3.5, color=PALETTE[1], linewidth=0.9, linestyle="--")
    axes.set_ylim(-0.3, 8.4)
    axes.set_yticks([0, 4, 8])
    label(axes, "rounds", "modes of 8", "5 seeds; dashed: collapse")


def _collapsed(played: _Run) -> int:
    """The number of seeds whose last snapshot has at most three modes."""
    return sum(held <= 3 for held in played.captured[-1])
