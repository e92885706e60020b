"""EBGAN: the discriminator's least loss is m (1 - TV), for any margin m; the pull-away term turns codes apart.

First two fixed normal laws in the plane, a distance of two standard deviations apart, between which only the
discriminator is trained: its loss in units of the margin falls to 1 - TV, which is a closed form. Then the game on the
eight-mode ring for several margins, and for one margin with the pull-away term. The weight of that term is in the units
of the energy, as the margin is; the paper's .1 belongs to images.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..base.randomness import reseed
from ..core.ensemble import Ensemble
from ..core.game import make_draw
from ..core.optimizers import Adam
from ..core.updates import Alternating
from ..data import Dataset, load
from ..data.laws import Law
from ..figures.panels import PALETTE, label, legend, panels
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..losses import EnergyMargin, PullAway
from ..metrics.modes import Modes, modes
from ..networks import EnergyPair, MLPPair
from .claim import Check, Claim, Outcome, at_least, close
from .clouds import cloud
from .side_by_side import side_by_side

CLAIM = Claim(
    paper="zhao2017",
    figure="equations 1-4, theorem 1, section 2.4",
    statement="An autoencoder can be the discriminator: with a margin its loss measures the total variation; a term "
    "on its codes keeps samples apart.",
    printed="at the equilibrium the discriminator's loss is m (theorem 1); pictures",
    derived="between fixed laws the least loss is m (1 - TV)",
    tolerance="margins 1, 3 and 10: least loss / m = 1 - TV within .02; on the ring, in the mean of 5 seeds, 5.5 modes "
    "or more with each; the pull-away term lowers the mean squared cosine of codes, over the run, by .05 or more "
    "and does not lower the modes. 1,500 rounds; quick: 2 seeds, 900 rounds",
    budget=(180, 700),
    items=("B19",),
)
NETWORKS = EnergyPair(pair=MLPPair(width=64, depth=2, activation="relu"), code=8)
APART, SAMPLES = 2.0, 1000
MARGINS, PULLED, WEIGHT, LOOKS = (1.0, 3.0, 10.0), 3.0, 10.0, 5


class Look(NamedTuple):
    """One seed: the modes that its samples reach, the mean squared cosine of their codes over the run, and samples."""

    modes: Modes
    cosine: float
    made: Tensor


def run(quick: bool) -> Outcome:
    data, seeds, rounds = load("ring8-M"), range(2 if quick else 5), 900 if quick else 1500
    assert data.law is not None
    values = {margin: least_loss(margin) for margin in MARGINS}
    swept = {margin: _train(data, data.law, margin, 0.0, seeds, rounds) for margin in MARGINS}
    pulled = _train(data, data.law, PULLED, WEIGHT, seeds, rounds)
    numbers = {
        "least loss / m": {f"m = {margin:g}": value for margin, value in values.items()},
        **{f"m = {margin:g}": _numbers(looks) for margin, looks in swept.items()},
        f"m = {PULLED:g}, pull-away {WEIGHT:g}": _numbers(pulled),
    }
    return Outcome(_draw(values, swept[PULLED], pulled, data.law), _checks(values, swept, pulled), numbers)


def _checks(
    values: dict[float, float], swept: Mapping[float, Sequence[Look]], pulled: Sequence[Look]
) -> tuple[Check, ...]:
    plain = swept[PULLED]
    gap = _mean_cosine(plain) - _mean_cosine(pulled)
    return (
        *(close(f"m = {m:g}: least loss / m", value, overlap(APART), 0.02) for m, value in values.items()),
        *(at_least(f"m = {m:g}: modes, mean over seeds", _mean_modes(looks), 5.5) for m, looks in swept.items()),
        at_least("mean squared cosine without less with the pull-away term", gap, 0.05),
        at_least("modes with less modes without it, means over seeds", _mean_modes(pulled) - _mean_modes(plain), 0.0),
    )


def overlap(distance: float) -> float:
    r"""One minus the total variation of two unit normal laws at this distance.

    .. math:: 1 - TV = 2\,\Phi(-\tfrac{d}{2}) = \mathrm{erfc}\big(d / 2\sqrt 2\big)

    Examples:
        >>> round(overlap(2.0), 4)
        0.3173
    """
    return math.erfc(distance / (2 * math.sqrt(2)))


def least_loss(margin: float, rounds: int = 900) -> float:
    """The loss that a trained discriminator has between the fixed laws, on fresh points, in units of the margin."""
    reseed(0)
    net, losses = NETWORKS.discriminator((2,)), EnergyMargin(margin=margin)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rounds)
    for _ in range(rounds):
        optimizer.zero_grad()
        loss = losses.discriminator(net(_points(256, 0.0)), net(_points(256, APART)))
        torch.autograd.backward(loss)
        optimizer.step()
        rates.step()
    with torch.no_grad():
        value = losses.discriminator(net(_points(50_000, 0.0)), net(_points(50_000, APART)))
    return float(value) / margin


def _points(n: int, shift: float) -> Tensor:
    return torch.randn(n, 2) + torch.tensor([shift, 0.0])


def _train(data: Dataset, law: Law, margin: float, weight: float, seeds: range, rounds: int) -> list[Look]:
    terms = (PullAway(weight=weight),) if weight else ()
    spec = TwoPlayer(objective=EnergyMargin(margin=margin), terms=terms, latent=Latent(size=16))
    play = side_by_side(spec, NETWORKS, data, seeds, Alternating(), Adam(lr=1e-3, betas=(0.5, 0.999)), 128)
    found: list[list[Look]] = []
    for _ in range(LOOKS):
        play.advance(rounds // LOOKS)
        assert isinstance(play.game, Ensemble)
        found.append([_look(play.game, i, law) for i in range(len(seeds))])
    means = [statistics.mean(look.cosine for look in looks) for looks in zip(*found, strict=True)]
    return [look._replace(cosine=mean) for look, mean in zip(found[-1], means, strict=True)]


def _look(games: Ensemble, i: int, law: Law) -> Look:
    game = games.member(i)
    reseed(i)
    with torch.no_grad():
        made = game.sample(make_draw(game.codes(SAMPLES), 0))
        codes = game.get_submodule("discriminator").features(made)  # type: ignore[operator]
    return _judged(made, codes, law)


def _judged(made: Tensor, codes: Tensor, law: Law) -> Look:
    return Look(modes(made, law), squared_cosine(codes), made)


def squared_cosine(codes: Tensor) -> float:
    """The mean squared cosine between different rows of ``(n, k)``.

    Examples:
        >>> squared_cosine(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]))
        0.3333333333333333
    """
    rows = torch.nn.functional.normalize(codes.double(), dim=1)
    n = len(rows)
    return float(((rows @ rows.T).square().sum() - rows.square().sum(1).square().sum()) / (n * (n - 1)))


def _mean_modes(looks: Sequence[Look]) -> float:
    return statistics.mean(look.modes.captured for look in looks)


def _mean_cosine(looks: Sequence[Look]) -> float:
    return statistics.mean(look.cosine for look in looks)


def _numbers(looks: Sequence[Look]) -> dict[str, list[float]]:
    return {
        "modes": [look.modes.captured for look in looks],
        "high quality": [round(look.modes.high_quality, 3) for look in looks],
        "mean squared cosine": [round(look.cosine, 3) for look in looks],
    }


def _draw(values: dict[float, float], plain: Sequence[Look], pulled: Sequence[Look], law: Law) -> Figure:
    figure, axes = panels(columns=3, width=2.9, height=2.8)
    axes[0].axhline(overlap(APART), color="#555555", linewidth=0.9, linestyle=":", label="1 - TV")
    axes[0].plot(list(values), list(values.values()), "o", color=PALETTE[0], markersize=5, label="trained")
    axes[0].set(xscale="log", ylim=(0, 0.6))
    label(axes[0], "margin m", "least loss / m", "Two fixed laws: the closed form")
    legend(axes[0], "upper right", columns=1)
    for here, looks, name in ((axes[1], plain, "no pull-away term"), (axes[2], pulled, f"pull-away {WEIGHT:g}")):
        cloud(here, looks[0].made, law)
        title = f"{name}: {_mean_modes(looks):.1f} modes, cosine² {_mean_cosine(looks):.2f}"
        label(here, "x₁", "x₂", title)
    return figure
