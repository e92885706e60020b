"""CoGAN on digits and their negatives: one code gives a corresponding pair, learned from rows without pairs.

Agreement of a pair is the correlation, over pixels, of the first image with the negated second: 1 for an exact
correspondence. The baseline pairs the first image of one code with the second image of another. The last layer of each
generator is a small convolution of common feature maps, as in the paper; with a full affine map nothing would force a
common unit to draw at the same place in both domains. The games do not converge to a point: look at all times, not only
at the last.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..core.optimizers import Adam
from ..core.updates import Alternating
from ..data import load
from ..figures.panels import PALETTE, label, legend, panels
from ..games.coupled import CoGAN
from ..games.spec import Latent
from ..losses import R1
from ..networks import MLPPair
from .claim import Check, Claim, Outcome, at_least, at_most
from .side_by_side import side_by_side

CLAIM = Claim(
    paper="liu2016",
    figure="section 4, Figure 2 (digits and negative images)",
    statement="Two GANs that share their first generator layers draw corresponding pairs, though none was ever seen.",
    printed="pairs of digits and negatives that agree, the more the more layers are shared; their measure is another",
    tolerance="tied: agreement above the baseline of independent pairs in every seed; untied: at least nine tenths of "
    "that excess gone, in the mean over seeds. 5 seeds, 1,200 rounds; quick: 2 seeds, 400",
    budget=(18, 105),
)
NETWORKS = MLPPair(width=128, depth=1)
PAIRS = 500


class Look(NamedTuple):
    """Every seed at one time."""

    agreement: list[float]
    baseline: list[float]
    spread: list[float]

    @property
    def excess(self) -> list[float]:
        """Agreement of the same code's pair above that of independent pairs."""
        return [a - b for a, b in zip(self.agreement, self.baseline, strict=True)]


def run(quick: bool) -> Outcome:
    seeds, rounds = (range(2), 400) if quick else (range(5), 1200)
    found, made = {}, {}
    for tied in (True, False):
        found[tied], made[tied] = _train(tied, seeds, rounds)
    checks = _checks(found[True][rounds], found[False][rounds])
    numbers = {
        "tied" if tied else "untied": {f"round {r}": _rounded(look) for r, look in looks.items()}
        for tied, looks in found.items()
    }
    return Outcome(_draw(found, made), checks, numbers)


def _checks(tied: Look, untied: Look) -> tuple[Check, ...]:
    share = abs(statistics.mean(untied.excess)) / max(abs(statistics.mean(tied.excess)), 1e-12)
    return (
        at_least("tied: least excess over the baseline", min(tied.excess), 1e-9),
        at_most("untied: mean excess, as a share of the tied one's", share, 0.1),
    )


def agreement(first: Tensor, second: Tensor) -> float:
    """The mean over pairs of the correlation of an image with the negative of the other.

    Examples:
        >>> image = torch.tensor([[[0.0, 1.0], [2.0, 5.0]]])
        >>> round(agreement(image, -image), 4), round(agreement(image, image), 4)
        (1.0, -1.0)
    """
    a, b = first.flatten(1), -second.flatten(1)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return float(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).mean())


def _train(tied: bool, seeds: range, rounds: int) -> tuple[dict[int, Look], Tensor]:
    data = load("pairs:digits,digits-negative")
    width = data.spec.shape[-1]
    spec = CoGAN(tied_generators=tied, hidden=128, heads="local", penalties=(R1(gamma=0.5),), latent=Latent(size=32))
    play = side_by_side(spec, NETWORKS, data, seeds, Alternating(), Adam(lr=1e-3, betas=(0.5, 0.999)), 64)
    looks = {}
    for _ in range(4):
        play.advance(rounds // 4)
        made = play.sample(PAIRS, seed=1)
        looks[play.round] = _look([(one[..., :width], one[..., width:]) for one in made])
    return looks, made[0]


def _look(pairs: Sequence[tuple[Tensor, Tensor]]) -> Look:
    """Of the pairs of each seed."""
    return Look(
        [agreement(a, b) for a, b in pairs],
        [agreement(a, b.roll(1, 0)) for a, b in pairs],
        [float(a.std(0).mean()) for a, _ in pairs],
    )


def _rounded(look: Look) -> dict[str, list[float]]:
    named = {"agreement": look.agreement, "independent": look.baseline, "spread of pixels": look.spread}
    return {name: [round(value, 3) for value in row] for name, row in named.items()}


def _draw(found: dict[bool, dict[int, Look]], made: dict[bool, Tensor]) -> Figure:
    figure, axes = panels(columns=3, width=2.9, height=3.0)
    _pairs(axes[0], made[True], "Tied: each code's digit, negative below")
    _pairs(axes[1], made[False], "Untied: the same codes, nothing shared")
    for tied, colour in ((True, PALETTE[0]), (False, PALETTE[1])):
        looks = found[tied]
        for seed in range(len(next(iter(looks.values())).agreement)):
            axes[2].plot(
                list(looks), [look.excess[seed] for look in looks.values()], color=colour, linewidth=1.2, marker="o",
                markersize=3, label=("tied" if tied else "untied") if seed == 0 else None,
            )  # fmt: skip
    axes[2].axhline(0, color="#555555", linewidth=0.9, linestyle=":", label="independent pairs")
    axes[2].set(ylim=(-0.2, 0.95), xlim=(0, None), yticks=[0, 0.25, 0.5, 0.75])
    label(axes[2], "round", "agreement above independent pairs", "Correlation of pixels, every seed")
    legend(axes[2], "upper left", columns=2)
    return figure


def _pairs(axes: Axes, made: Tensor, title: str, rows: int = 4, columns: int = 8) -> None:
    """Pairs, one above the other, ``rows * columns`` of them."""
    height, width = made.shape[-2], made.shape[-1] // 2
    page = torch.full((rows * (2 * height + 2), columns * (width + 1)), 1.0)
    for i in range(rows * columns):
        row, column = divmod(i, columns)
        top, left = row * (2 * height + 2), column * (width + 1)
        page[top : top + height, left : left + width] = made[i, 0, :, :width]
        page[top + height : top + 2 * height, left : left + width] = made[i, 0, :, width:]
    axes.imshow(page[:-2, :-1], cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    label(axes, title=title)
