"""Arithmetic of a DCGAN's codes: red disc minus blue disc plus blue cross gives a red cross, more often than chance.

Pictures of two shapes in two colours (``shapes.py``). For each target, a shape in a colour, and each other shape
and colour, with means of three codes each as in the paper,

    z = mean z(shape, colour) - mean z(shape, other colour) + mean z(other shape, other colour),

with the roles of shape and colour exchanged as well. Codes are chosen by what a classifier sees in their pictures; the
classifier was trained on real pictures only. Two controls: single codes in place of means of three, and codes that are
chosen at random in place of by attribute.
"""

from __future__ import annotations

import statistics
from itertools import product
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import functional_call

from ..core.game import make_draw
from ..core.play import Play
from ..data import Dataset, load
from ..figures.panels import PALETTE, label, panels
from ..metrics import Classifier, train_classifier
from ..recipes import recipe
from .claim import Claim, Outcome, at_least
from .shapes import COLOURS, SHAPES, pictures

CLAIM = Claim(
    paper="radford2016",
    figure="section 6.3.2, Figure 7 (vector arithmetic of mean codes)",
    statement="Means of three codes add and subtract attributes, where single codes are unstable.",
    expected="pictures: smiling woman - neutral woman + neutral man is a smiling man; no number printed",
    tolerance="means of three reach the target attributes at least 1.5 times as often as codes chosen at random in "
    "every seed, and more often than single codes in the mean over seeds. 5 seeds, 2,100 rounds; quick: 1 seed, 900",
    budget=(60, 450),
    items=("B3",),
)
ROWS, CODES, TRIALS, SURE = 6000, 4000, 50, 0.9
SETTINGS = {"networks.width": "16", "batch": "64", "optimizer.lr": "1e-3"}


class Found(NamedTuple):
    """One seed: shares of results with the target attributes by kind of arithmetic, and pictures of a few sums."""

    shares: dict[str, float]
    shown: Tensor


def run(quick: bool) -> Outcome:
    x, shape, colour = pictures(ROWS, seed=0)
    classes = len(COLOURS) * shape + colour
    judge = train_classifier(x, classes, steps=400)
    data = load((x.numpy(), classes.numpy()))
    seeds, rounds = (range(1), 900) if quick else (range(5), 2100)
    found = [_seed(data, judge, seed, rounds) for seed in seeds]
    ratios = [one.shares["means of three"] / max(one.shares["random codes"], 1e-9) for one in found]
    means = {kind: statistics.mean(one.shares[kind] for one in found) for kind in found[0].shares}
    gain = means["means of three"] - means["single codes"]
    checks = (
        at_least("least ratio to codes chosen at random over seeds", min(ratios), 1.5),
        at_least(
            "means of three, less single codes, mean over seeds", means["means of three"] - means["single codes"], 1e-4
        ),
        at_least("accuracy of the classifier on real pictures it has not seen", judge.accuracy, 0.98),
    )
    numbers = {kind: [round(one.shares[kind], 3) for one in found] for kind in means}
    return Outcome(_draw(found, means), checks, numbers)


def _seed(data: Dataset, judge: Classifier, seed: int, rounds: int) -> Found:
    row = recipe("dcgan").with_settings(SETTINGS)
    play = row.play(row.build(data.spec, seed), data.batches(row.batch), seed=seed, horizon=rounds)
    play.prepare()
    play.advance(rounds)
    codes = play.codes(CODES, seed=1)["latent"]
    logits = judge(generated(play, codes))
    sure = logits.softmax(1).amax(1) > SURE
    pools = [codes[(logits.argmax(1) == k) & sure] for k in range(judge.classes)]
    source = torch.Generator().manual_seed(seed)
    shares = {
        "means of three": _share(play, judge, pools, 3, source),
        "single codes": _share(play, judge, pools, 1, source),
        "random codes": _share(play, judge, [codes] * judge.classes, 3, source),
    }
    return Found(shares, _shown(play, pools, source))


@torch.no_grad()
def generated(play: Play, latent: Tensor) -> Tensor:
    """Pictures of codes, by averaged parameters and calibrated norms."""
    values = {name: value for own in play.averaged.values() for name, value in own.items()}
    play.game.eval()
    draw = make_draw({"latent": latent}, 0)
    made: Tensor = functional_call(play.game, {**values, **play.statistics("sample")}, ("sample", draw))
    play.game.train()
    return made


def sums(classes: int) -> list[tuple[int, int, int, int]]:
    """Every sum ``a - b + c`` with its target, as classes (shape and colour): all attributes of two differ.

    Examples:
        >>> len(sums(4)), sums(4)[0]  # red disc - blue disc + blue cross = red cross
        (8, (0, 1, 3, 2))
    """
    colours, found = len(COLOURS), []
    for a, c in product(range(classes), repeat=2):
        mixed = (a // colours * colours + c % colours, c // colours * colours + a % colours)
        if a // colours != c // colours and a % colours != c % colours:
            found += [(a, mixed[0], c, mixed[1]), (a, mixed[1], c, mixed[0])]
    return found


def _share(play: Play, judge: Classifier, pools: list[Tensor], count: int, source: torch.Generator) -> float:
    """The share of sums whose picture has the target's shape and colour; a sum without codes to add is a miss."""
    latents, targets, missing = [], [], 0
    for a, b, c, target in sums(judge.classes):
        if min(len(pools[k]) for k in (a, b, c)) < count:
            missing += TRIALS
            continue
        means = [_means(pools[k], count, source) for k in (a, b, c)]
        latents.append(means[0] - means[1] + means[2])
        targets += [target] * TRIALS
    if not latents:
        return 0.0
    hits = judge.predict(generated(play, torch.cat(latents))) == torch.tensor(targets)
    return float(hits.sum()) / (len(targets) + missing)


def _means(pool: Tensor, count: int, source: torch.Generator) -> Tensor:
    """``TRIALS`` means of ``count`` different codes of a pool."""
    rows = [torch.randperm(len(pool), generator=source)[:count] for _ in range(TRIALS)]
    return torch.stack([pool[index].mean(0) for index in rows])


def _shown(play: Play, pools: list[Tensor], source: torch.Generator) -> Tensor:
    """Pictures ``(rows, 4, 3, side, side)``: the three means of a sum and its result."""
    rows = []
    for a, b, c, _ in sums(len(pools)):
        if min(len(pools[k]) for k in (a, b, c)) >= 3:
            means = [_means(pools[k], 3, source)[:1] for k in (a, b, c)]
            rows.append(torch.cat([*means, means[0] - means[1] + means[2]]))
    return torch.stack([generated(play, row) for row in rows]) if rows else torch.zeros(1, 4, 3, 16, 16)


def _draw(found: list[Found], means: dict[str, float]) -> Figure:
    figure, axes = panels(columns=2, width=3.5, height=3.0)
    for i, (kind, colour) in enumerate(zip(means, (PALETTE[0], PALETTE[5], PALETTE[1]), strict=True)):
        values = [100 * one.shares[kind] for one in found]
        axes[0].scatter([i] * len(values), values, color=colour, s=26, alpha=0.8, linewidths=0)
        axes[0].hlines(100 * means[kind], i - 0.25, i + 0.25, color=colour, linewidth=1.4)
    axes[0].axhline(100 / (len(SHAPES) * len(COLOURS)), color="#555555", linewidth=0.9, linestyle=":")
    axes[0].set_xticks(range(len(means)), [kind.replace(" ", "\n", 1) for kind in means])
    axes[0].set(ylim=(0, None), xlim=(-0.6, len(means) - 0.4))
    label(axes[0], "", "sums with the target attributes, %", "Every seed; dotted: one of four classes")
    _pictures(axes[1], found[0].shown)
    return figure


def _pictures(axes: Axes, shown: Tensor) -> None:
    rows = ((shown + 1) / 2).clamp(0, 1)
    rows = torch.nn.functional.pad(rows, (1, 1, 1, 1), value=1.0)
    page = rows.permute(0, 3, 1, 4, 2).reshape(rows.shape[0] * rows.shape[3], -1, 3)
    axes.imshow(page.numpy(), interpolation="nearest")
    width = rows.shape[-1]
    axes.set_xticks([(i + 0.5) * width for i in range(4)], ["mean a", "- mean b", "+ mean c", "result"])
    axes.set_yticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    label(axes, title="Means of three codes, seed 0")
