"""Modes of ring8-U and grid25: the default recipe against the 2014 game, with the same networks, rounds and draws.

Seeds train side by side; each has the trajectory of a separate run with its seed. The recipe's schedules end with the
budget, so a short run is a complete run.
"""

from __future__ import annotations

import dataclasses
import statistics
from typing import NamedTuple

from matplotlib.axes import Axes
from torch import Tensor

from ..base.randomness import mix, own_randomness, reseed
from ..core.ensemble import Ensemble
from ..core.game import Game
from ..core.play import Play
from ..data import load
from ..data.laws import Law
from ..figures.panels import PALETTE, label, legend, panels
from ..games.two_player import TwoPlayer
from ..metrics.modes import Modes, modes
from ..recipes import Recipe, recipe
from .claim import Check, Claim, Outcome, at_least, at_most
from .clouds import cloud
from .side_by_side import batches_of

CLAIM = Claim(
    paper="huang2024r3gan",
    figure="section 2, on the two standard mixtures of the plane",
    statement="RpGAN + R1 + R2 makes clean samples of every mode; the 2014 game in the same networks does not.",
    printed="none printed for these laws; PacGAN4: 24.8 of 25 modes, 93.6 %, .04 (PacGAN's table)",
    derived="a perfect sampler: 98.9 % of high quality",
    tolerance="all modes in every seed; in the mean high quality >= 95 % and above the control's, and on the grid "
    "reverse KL <= .02. Grid: 5 seeds of 15,000 rounds (control 2), ring: 2 of 8,000. Ten seeds of 30,000 rounds (96.8 "
    "and 98.0 %, where the gate was 96) are in docs/results. Quick: the ring alone, one seed, 6,000 rounds",
    budget=(65, 450),
)
SAMPLES, LOOKS = 2500, 5


class Budget(NamedTuple):
    """The training budget of one law."""

    law: str
    seeds: int
    control_seeds: int
    rounds: int


QUICK = (Budget("ring8-U", 1, 1, 6000),)
FULL = (Budget("grid25", 5, 2, 15_000), Budget("ring8-U", 2, 2, 8000))


class Track(NamedTuple):
    """A recipe on a law: the rounds of the measurements, each seed's scores, and the last samples of the first seed."""

    rounds: list[int]
    found: list[list[Modes]]
    made: Tensor

    def high_quality(self, look: int) -> list[float]:
        """In per cent, by seed."""
        return [100 * m.high_quality for m in self.found[look]]


def run(quick: bool) -> Outcome:
    row = recipe("r3gan-small")
    budgets = QUICK if quick else FULL
    checks: list[Check] = []
    numbers = {}
    figure, axes = panels(len(budgets), 3, width=2.9, height=2.8)
    for i, budget in enumerate(budgets):
        ours = _track(row, budget, budget.seeds)
        control = _track(_control(row), budget, budget.control_seeds)
        checks += _checks(budget, ours, control)
        numbers[budget.law] = {"r3gan-small": _rounded(ours), "control": _rounded(control)}
        law = load(budget.law).law
        assert law is not None
        _draw(axes[3 * i : 3 * i + 3], budget, (ours, control), law)
    return Outcome(figure, tuple(checks), numbers)


def _control(row: Recipe) -> Recipe:
    """The 2014 game with the default recipe's networks, latent, batch and rounds."""
    plain = recipe("gan")
    assert isinstance(plain.game, TwoPlayer) and isinstance(row.game, TwoPlayer)
    game = dataclasses.replace(plain.game, latent=row.game.latent, standardise=row.game.standardise)
    return dataclasses.replace(plain, game=game, networks=row.networks, batch=row.batch, steps=row.steps)


def _track(row: Recipe, budget: Budget, seeds: int) -> Track:
    data = load(budget.law)

    def make(seed: int) -> Game:
        with own_randomness():
            reseed(mix(seed, 5))
            return row.game.build(row.networks, data.spec)

    game = Ensemble(make, range(seeds))
    specs = {p.name: row.optimizer_of(p.name) for p in game.players}
    batches = batches_of(data, row.batch)
    play = Play(game, row.update, specs, batches, horizon=budget.rounds, averages=row.averages)
    play.prepare()
    rounds, found = [], []
    assert data.law is not None
    for look in range(1, LOOKS + 1):
        play.advance(budget.rounds * look // LOOKS - play.round)
        made = play.sample(SAMPLES)
        rounds.append(play.round)
        found.append([modes(own, data.law) for own in made])
    return Track(rounds, found, made[0])


def _checks(budget: Budget, ours: Track, control: Track) -> list[Check]:
    last, law = ours.found[-1], budget.law
    quality = statistics.mean(ours.high_quality(-1))
    checks = [
        at_least(f"{law}: fewest modes over seeds", min(m.captured for m in last), last[0].total),
        at_least(f"{law}: high quality, mean over seeds (%)", quality, 95.0),
        at_least(f"{law}: that less the control's (%)", quality - statistics.mean(control.high_quality(-1)), 0.0),
    ]
    if law == "grid25":
        kl = statistics.mean(m.reverse_kl for m in last)
        checks.append(at_most(f"{law}: reverse KL, mean over seeds (nats)", kl, 0.02))
    return checks


def _rounded(track: Track) -> dict[str, object]:
    return {
        f"round {stop}": {
            "modes": [m.captured for m in found],
            "high quality": [round(m.high_quality, 4) for m in found],
            "reverse KL (nats)": [round(m.reverse_kl, 5) for m in found],
        }
        for stop, found in zip(track.rounds, track.found, strict=True)
    }


def _draw(axes: tuple[Axes, ...], budget: Budget, tracks: tuple[Track, Track], law: Law) -> None:
    names = ("r3gan-small", "2014 game, same networks")
    for here, track, name, colour in zip(axes[:2], tracks, names, PALETTE, strict=False):
        cloud(here, track.made, law, colour=colour)
        last = track.found[-1][0]
        label(here, "x₁", "x₂", f"{name.split(',')[0]}: {last.captured} of {last.total} modes")
    for track, name, colour in zip(tracks, names, PALETTE, strict=False):
        for seed in range(len(track.found[0])):
            curve = [100 * found[seed].high_quality for found in track.found]
            axes[2].plot(
                [0, *track.rounds], [0, *curve], color=colour, linewidth=1.2, marker="o", markersize=3,
                label=name if seed == 0 else None,
            )  # fmt: skip
    perfect = 100 * tracks[0].found[-1][0].floor.high_quality
    axes[2].axhline(perfect, color="#555555", linewidth=0.9, linestyle=":", label="perfect sampler")
    axes[2].set(ylim=(0, 135), yticks=[0, 25, 50, 75, 100])
    label(axes[2], "round", "samples within 3 std of a mode (%)", f"{budget.law}: high quality, every seed")
    legend(axes[2], "upper left")
