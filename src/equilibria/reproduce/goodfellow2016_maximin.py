"""Max min instead of min max: against a frozen discriminator the generator maps every code to the highest score.

Data and generator are in the box [-1, 1]^2, like images, so that the discriminator has a maximum.
"""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from torch import Tensor

from ..core.ensemble import Ensemble
from ..core.game import Game
from ..core.optimizers import Adam
from ..core.play import Play
from ..core.updates import Alternating
from ..data import Dataset, load
from ..data.laws import GaussianMixture
from ..figures.panels import BLUE, GREY, PALETTE, label, legend, logarithmic, panels, tick
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..losses import Minimax
from ..networks import MLPPair
from .claim import Check, Claim, Outcome, at_least, at_most
from .side_by_side import batches_of, side_by_side

CLAIM = Claim(
    paper="goodfellow2016",
    figure="section 5.1.1, Figures 22 and 23",
    statement="If the inner problem is the generator's, it maps every code to the single point that the discriminator "
    "rates most real; training the two in turns keeps it spread.",
    printed="every z is mapped to the most likely x (no number)",
    derived="variance of G(z) to 0, at the argmax of the logit",
    tolerance="D frozen after 150 rounds: variance down to a thousandth and mean within .05 of the argmax over a grid "
    "of .01, in every seed; trained on together: at least half of it left in 4 of 5 seeds. 5 seeds; quick: 2, half "
    "the steps",
    budget=(15, 35),
    items=("T10",),
)
SPEC = TwoPlayer(objective=Minimax(), latent=Latent(size=8))
NETWORKS = MLPPair(width=64, depth=2, discriminator_depth=2, output="tanh", input_scale=2.0)
OPTIMIZER = Adam(lr=1e-3, betas=(0.5, 0.999))
BATCH, YOUNG, OLD = 256, 150, 500
SIDE = torch.linspace(-1, 1, 201)


class Course(NamedTuple):
    """Samples of every seed at each look, ``(looks, seeds, n, 2)``, and the number of steps until then."""

    steps: list[int]
    samples: Tensor

    @property
    def variances(self) -> Tensor:
        """Total variance by look and seed, ``(looks, seeds)``."""
        return self.samples.var(2).sum(-1)


def run(quick: bool) -> Outcome:
    seeds, steps = (range(2), 1500) if quick else (range(5), 3000)
    data = boxed_ring()
    play = side_by_side(SPEC, NETWORKS, data, seeds, Alternating(), OPTIMIZER, BATCH)
    play.advance(YOUNG)
    scores = [_scores(play.game, i) for i in range(len(seeds))]
    young = _continued(play, data, steps, frozen=True)
    both = _continued(play, data, steps, frozen=False)
    play.advance(OLD - YOUNG)
    courses = {
        f"D frozen after {YOUNG} rounds": young,
        f"D frozen after {OLD} rounds": _continued(play, data, steps, frozen=True),
        "both keep training": both,
    }
    kept = {name: course.variances[-1] / course.variances[0] for name, course in courses.items()}
    off = _off_top(young, scores)
    numbers = {
        "variance left, by seed": {name: ratio.tolist() for name, ratio in kept.items()},
        "distance of the mean to the argmax of h, by seed": off.tolist(),
    }
    return Outcome(_draw(courses, scores[1]), _checks(young, both, scores), numbers)


def _checks(frozen: Course, both: Course, scores: list[Tensor]) -> tuple[Check, ...]:
    first, last = (course.variances[-1] / course.variances[0] for course in (frozen, both))
    off = float(_off_top(frozen, scores).max())
    return (
        at_most("frozen D: variance left, largest over seeds", float(first.max()), 1e-3),
        at_most("frozen D: distance of the mean to the argmax of h, largest over seeds", off, 0.05),
        at_least("both train: share of seeds with half the variance left", float((last >= 0.5).double().mean()), 0.8),
    )


def _off_top(course: Course, scores: list[Tensor]) -> Tensor:
    """The distance of the last samples' mean from the argmax of the logit, by seed."""
    ends = zip(course.samples[-1], scores, strict=True)
    return torch.stack([(made.mean(0) - _top(score)).norm() for made, score in ends])


def boxed_ring() -> Dataset:
    """Eight Gaussians on a circle of radius .7, std .05: ring8-M at the scale of the box."""
    angles = torch.arange(8) * (2 * math.pi / 8)
    return load(GaussianMixture(0.7 * torch.stack([angles.cos(), angles.sin()], 1), 0.05))


def _continued(play: Play, data: Dataset, steps: int, frozen: bool) -> Course:
    """Train a copy of the game further, without the discriminator's turns if frozen; looks at doubling step counts."""
    game = copy.deepcopy(play.game)
    if frozen:
        game.players = (game.player("generator"),)
    held = Play(game, Alternating(), {p.name: OPTIMIZER for p in game.players}, batches_of(data, BATCH), seed=1)
    looks = [0, *(stop for k in range(12) if (stop := 25 * 2**k) < steps), steps]
    samples = []
    for stop in looks:
        held.advance(stop - held.round)
        samples.append(held.sample(1000, seed=2))
    return Course(looks, torch.stack(samples))


def _scores(game: Game, i: int) -> Tensor:
    """The logit of one seed's discriminator on the grid, ``(201, 201)``, first axis x."""
    assert isinstance(game, Ensemble)
    with torch.no_grad():
        found: Tensor = game.member(i).get_submodule("discriminator")(torch.cartesian_prod(SIDE, SIDE))
    return found.reshape(len(SIDE), len(SIDE))


def _top(scores: Tensor) -> Tensor:
    row, column = divmod(int(scores.argmax()), len(SIDE))
    return torch.stack([SIDE[row], SIDE[column]])


def _draw(courses: dict[str, Course], scores: Tensor) -> Figure:
    figure, (*frames, curves) = panels(columns=4, width=2.7, height=2.75)
    young, *_ = courses.values()
    for axes, at in zip(frames, (0, 3, len(young.steps) - 1), strict=True):
        _frame(axes, young.samples[at, 1], scores)
        label(
            axes, "x₁ (★ argmax of h; dark: more real)", "x₂", f"G after {young.steps[at]:,} steps against the frozen D"
        )
    for (name, course), colour in zip(courses.items(), (PALETTE[1], GREY, BLUE), strict=True):
        for i, row in enumerate(course.variances.T):
            curves.plot(course.steps, row, color=colour, linewidth=1.1, label=name if i == 0 else None)
    logarithmic(curves, y=True)
    curves.set_xscale("symlog", linthresh=25)
    curves.set(xticks=[0, 25, 100, 1000], xlim=(0, young.steps[-1]), ylim=(1e-7, 1e3))
    curves.xaxis.set_minor_locator(NullLocator())
    curves.xaxis.set_major_formatter(FuncFormatter(tick))
    label(curves, "steps of G (a line a seed)", "total variance of G(z)", "Its variance vanishes")
    legend(curves, "upper right")
    return figure


def _frame(axes: Axes, made: Tensor, scores: Tensor) -> None:
    low, high = float(scores.min()), float(scores.max())
    axes.pcolormesh(
        SIDE, SIDE, scores.T, cmap="Greys", vmin=low, vmax=2 * high - low, shading="nearest", rasterized=True
    )
    axes.plot(*_top(scores), marker="*", markersize=13, color=PALETTE[1], clip_on=False)
    axes.scatter(made[:, 0], made[:, 1], s=3, color=BLUE, alpha=0.6, linewidths=0, zorder=3, clip_on=False)
    axes.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
