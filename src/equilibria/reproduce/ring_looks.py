"""The modes that several seeds of a game capture while they train side by side."""

from __future__ import annotations

from torch import Tensor

from ..core.play import Play
from ..data.laws import Law
from ..metrics.modes import Modes, modes

Looks = dict[int, list[Modes]]
"""By round, what each seed has captured."""


def looked(play: Play, law: Law, rounds: int, samples: int) -> tuple[Looks, Tensor]:
    """Train an ensemble and look four times, evenly apart; returns the looks and the last samples."""
    looks: Looks = {}
    for _ in range(4):
        play.advance(rounds // 4)
        made = play.sample(samples, seed=play.round)
        looks[play.round] = [modes(own, law) for own in made]
    return looks, made


def rounded(row: list[Modes]) -> dict[str, list[float]]:
    """The numbers of a look, one for each seed."""
    return {
        "modes": [m.captured for m in row],
        "high quality": [round(m.high_quality, 3) for m in row],
        "reverse KL (nats)": [round(m.reverse_kl, 3) for m in row],
    }
