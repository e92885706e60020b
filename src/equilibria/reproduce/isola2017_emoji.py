"""pix2pix on aligned emoji: L1 alone is blurred, with the adversarial loss the results are sharper.

Sharpness is the mean squared difference of neighbouring pixels, as a share of that of the real targets, on held-out
pairs: 1 is as sharp as the targets. The mean of several sharp answers is blurred, and the median that L1 asks for is
little better. Both runs have the same networks, rows and dropout; the control has no adversarial loss.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from torch import Tensor

from ..core.optimizers import Adam
from ..core.play import Play
from ..data import Dataset, load
from ..figures.panels import PALETTE, label, legend, panels
from ..games.paired_translation import Pix2Pix
from ..metrics.measures import GradientEnergy
from ..networks import ImageToImage, PatchGAN, UNet
from .claim import Check, Claim, Outcome, at_least, at_most
from .translators import picture_rows, started

CLAIM = Claim(
    paper="isola2017",
    figure="section 4.2, Figures 4 and 7",
    statement="A translator trained with L1 alone gives blurred images. With the conditional adversarial loss beside "
    "it they are sharper, nearer to the sharpness of the targets.",
    printed="Figure 4: L1 blurred, L1 + cGAN sharp; another measure of sharpness",
    tolerance="sharpness of L1 + cGAN above that of L1 by at least .05 in every seed, and not above the targets'; its "
    "distance to the targets at most .9 of that to other rows' targets. 5 seeds, 600 rounds of 4 pairs at 32 pixels; "
    "quick: 2 seeds, 350",
    budget=(75, 325),
)
NETWORKS = ImageToImage(translator=UNet(width=16, dropped=1), patch=PatchGAN(width=16))
SHOWN = 10


class Run(NamedTuple):
    """One run: its sharpness by round; in the end its distance to the targets, the same over that to others, images."""

    sharpness: dict[int, float]
    distance: float
    own: float
    made: Tensor


def run(quick: bool) -> Outcome:
    seeds, rounds = (range(2), 350) if quick else (range(5), 600)
    data = load("emoji", size=32)
    held = data.take(data.held_out_size or 1, held_out=True)
    found = {weight: [_trained(data, held, weight, seed, rounds) for seed in seeds] for weight in (1.0, 0.0)}
    sharp, blurred = ([one.sharpness[rounds] for one in found[weight]] for weight in (1.0, 0.0))
    numbers = {
        name: {
            "sharpness": [round(one.sharpness[rounds], 3) for one in found[weight]],
            "mean": round(statistics.mean(one.sharpness[rounds] for one in found[weight]), 3),
            "L1 distance to the target": [round(one.distance, 3) for one in found[weight]],
        }
        for name, weight in (("L1 + cGAN", 1.0), ("L1", 0.0))
    }
    return Outcome(_draw(held, found), _checks(sharp, blurred, [one.own for one in found[1.0]]), numbers)


def _checks(sharp: Sequence[float], blurred: Sequence[float], own: Sequence[float]) -> tuple[Check, ...]:
    gains = [a - b for a, b in zip(sharp, blurred, strict=True)]
    return (
        at_least("least gain in sharpness over seeds", min(gains), 0.05),
        at_most("greatest sharpness of L1 + cGAN", max(sharp), 1.0),
        at_most("L1 + cGAN: L1 distance to the target over that to another row's, largest", max(own), 0.9),
    )


def _trained(data: Dataset, held: dict[str, Tensor], weight: float, seed: int, rounds: int) -> Run:
    play = started(Pix2Pix(adversarial=weight), NETWORKS, data, seed, Adam(lr=1e-3, betas=(0.5, 0.999)), 4, rounds)
    sharpness = {}
    for _ in range(5):
        play.advance(rounds // 5)
        sharpness[play.round] = _sharpness(play, held)
    made = play.apply("translate", {"x": held["x"]})
    return Run(sharpness, float((made - held["other"]).abs().mean()), _own(made, held), made[:SHOWN])


def _own(made: Tensor, held: dict[str, Tensor]) -> float:
    """The L1 distance of images to their targets, over that to the targets of other rows."""
    own, other = ((made - held["other"].roll(shift, 0)).abs().mean() for shift in (0, 1))
    return float(own / other)


def _sharpness(play: Play, held: dict[str, Tensor]) -> float:
    class Trained:
        def __call__(self, name: str, rows: dict[str, Tensor], seed: int = 0) -> Tensor:
            return play.apply(name, rows, seed)

    found: float = GradientEnergy()(Trained(), held, lambda column: None)["gradient_energy"].value  # type: ignore[arg-type]
    return found


def _draw(held: dict[str, Tensor], found: dict[float, list[Run]]) -> Figure:
    figure, axes = panels(columns=2, width=5.2, height=2.4)
    rows = [
        ("input", held["x"][:SHOWN]),
        ("L1", found[0.0][0].made),
        ("L1 + cGAN", found[1.0][0].made),
        ("target", held["other"][:SHOWN]),
    ]
    picture_rows(axes[0], rows, "Held-out emoji: Google's drawings into Twitter's")
    for weight, colour, name in ((1.0, PALETTE[0], "L1 + cGAN"), (0.0, PALETTE[1], "L1 alone")):
        for i, one in enumerate(found[weight]):
            axes[1].plot(
                list(one.sharpness), list(one.sharpness.values()), color=colour, linewidth=1.2, marker="o",
                markersize=3, label=name if i == 0 else None,
            )  # fmt: skip
    axes[1].axhline(1.0, color="#555555", linewidth=0.9, linestyle=":", label="the targets")
    axes[1].set(ylim=(0, 1.1), xlim=(0, None))
    label(axes[1], "round", "gradient energy / the targets'", "Sharpness on held-out rows, every seed")
    legend(axes[1], "center right")
    return figure
