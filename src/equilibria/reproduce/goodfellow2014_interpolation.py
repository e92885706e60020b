"""Paths between latent codes: a generator that has learned a manifold changes one digit into another in even steps.

A path has 32 steps, on the line between two codes (lerp) or on the arc that keeps their length (slerp). There are two
measures, in pixel distance: the longest step of the images over the median one, and the distance of the images from the
nearest training image, over that of a training image from its nearest one. Each has a control that fails it: a
memoriser, which shows the training image nearest to each image of the same path, stays constant and jumps; an untrained
generator changes evenly, and its images are far from every digit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..core.play import Average, Play
from ..data import Dataset, load
from ..figures.images import image_grid
from ..figures.panels import PALETTE, label, legend, panels
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..latents import PATHS, lerp
from ..metrics import Classifier, train_classifier
from ..recipes import recipe
from .claim import Check, Claim, Outcome, at_least, at_most
from .side_by_side import batches_of, seeded

CLAIM = Claim(
    paper="goodfellow2014",
    figure="Figure 3",
    statement="Pictures between two codes turn one digit into the other smoothly.",
    printed="none printed (strips of digits)",
    tolerance="longest over median step < 5 on every path (20 pairs of codes of different digits, lerp and slerp, 8x8 "
    "digits), distance of the images from the nearest training image at most twice that between training images "
    "(medians), 10 kinds of digits among 1000 samples; 3 seeds quick, 5 full; the memoriser fails the first rule, an "
    "untrained generator the second",
    budget=(31, 66),
)

_STEPS, _PAIRS, _SHOWN = 32, 20, 3


class Walk(NamedTuple):
    """Pictures of one path, ``(steps + 1, 1, 8, 8)``, and the lengths of its steps."""

    frames: Tensor

    @property
    def lengths(self) -> Tensor:
        lengths: Tensor = torch.linalg.vector_norm(self.frames.diff(dim=0).flatten(1), dim=1)
        return lengths

    @property
    def evenness(self) -> float:
        """Median step over the longest."""
        return float(self.lengths.median() / self.lengths.max())


_PATHS = {name: PATHS[name] for name in ("lerp", "slerp")}


def run(quick: bool) -> Outcome:
    rounds, seeds = (1500, 3) if quick else (3000, 5)
    data = load("digits")
    assert data.size is not None
    known = data.take(data.size)
    classifier = train_classifier(known["x"], known["y"])
    shares = torch.linspace(0, 1, _STEPS + 1)
    walks: dict[str, list[Walk]] = {name: [] for name in (*_PATHS, "memoriser")}
    kinds, shown, untrained = [], [], _trained(data, 0, 0)
    for seed in range(seeds):
        play = _trained(data, rounds, seed)
        kinds.append(len(set(classifier.predict(play.sample(1000)).tolist())))
        for i, (a, b) in enumerate(_pairs(play, classifier)):
            for name, path in _PATHS.items():
                walk = _walk(play, path(a, b, shares))
                walks[name].append(walk)
                shown += [walk.frames[::4]] if seed == 0 and i < _SHOWN else []
            walks["memoriser"].append(Walk(known["x"][_nearest(walk.frames, known["x"])]))
    worst = {name: min(walk.evenness for walk in own) for name, own in walks.items()}
    control = [_walk(untrained, lerp(a, b, shares)) for a, b in _pairs(untrained, classifier)]
    checks = (
        *(check for name in _PATHS for check in _of_walks(name, walks[name], known["x"])),
        at_least("kinds of digits among 1000 samples, fewest", min(kinds), 10),
        at_most("median over longest step, memoriser, evenest path", max(w.evenness for w in walks["memoriser"]), 0.2),
        at_least("distance to the nearest training image over theirs, untrained", _distance(control, known["x"]), 2.0),
    )
    figure, (left, right) = panels(columns=2, height=3.2)
    page = image_grid(torch.cat(shown), columns=_STEPS // 4 + 1, tile=40)
    left.imshow(page, interpolation="nearest")
    left.set_xticks([])
    left.set_yticks([(i + 0.5) * page.height / len(shown) for i in range(len(shown))], list(_PATHS) * _SHOWN)
    left.tick_params(length=0)
    left.spines[:].set_visible(False)
    label(left, "", "", "Paths between three pairs of codes turn one digit into another")
    for (name, own), colour in zip(walks.items(), PALETTE, strict=False):
        right.plot(range(1, _STEPS + 1), own[0].lengths, color=colour, linewidth=1.3, label=name)
    legend(right, "upper right")
    label(
        right, "step along the path", "length of the step (pixel distance)", "Samples change evenly; a memoriser jumps"
    )
    return Outcome(
        figure, checks, {"longest over median, all paths": {k: 1 / v if v else "inf" for k, v in worst.items()}}
    )


def _walk(play: Play, codes: Tensor) -> Walk:
    with torch.no_grad():
        return Walk(play.game.generator(codes))  # type: ignore[operator]


def _of_walks(name: str, walks: list[Walk], rows: Tensor) -> tuple[Check, ...]:
    """The two rules of a path: even steps, and images that look like the training images."""
    longest = max(float(walk.lengths.max() / walk.lengths.median()) for walk in walks)
    return (
        at_most(f"longest over median step, {name}, worst path", longest, 5.0),
        at_most(f"distance to the nearest training image over theirs, {name}", _distance(walks, rows), 2.0),
    )


def _distance(walks: list[Walk], rows: Tensor) -> float:
    """Median distance of the images on paths from the nearest training image, over that between training images."""
    rows = rows.flatten(1)
    between = torch.cdist(rows, rows).fill_diagonal_(torch.inf).amin(1).median()
    seen = torch.cat([walk.frames.flatten(1) for walk in walks])
    return float(torch.cdist(seen, rows).amin(1).median() / between)


def _trained(data: Dataset, rounds: int, seed: int) -> Play:
    """The library's small image recipe, with the averaged generator in place of the trained one."""
    row = recipe("r3gan")
    assert isinstance(row.game, TwoPlayer)
    game = seeded(replace(row.game, latent=Latent(size=16)), row.networks, data, seed)
    specs = {p.name: row.optimizer_of(p.name) for p in game.players}
    play = Play(game, row.update, specs, batches_of(data, 64), seed, rounds, (Average(decay=0.99),))
    play.advance(rounds)
    with torch.no_grad():
        for name, parameter in game.moved("generator").items():
            parameter.copy_(play.averaged["generator"][name])
    return play


def _pairs(play: Play, classifier: Classifier) -> list[tuple[Tensor, Tensor]]:
    """The first pairs of codes whose images are different digits."""
    codes = torch.randn(40 * _PAIRS, 16, generator=torch.Generator().manual_seed(play.seed))
    with torch.no_grad():
        kinds = classifier.predict(play.game.generator(codes))  # type: ignore[operator]
    firsts, seconds = codes[::2][kinds[::2] != kinds[1::2]], codes[1::2][kinds[::2] != kinds[1::2]]
    return list(zip(firsts, seconds, strict=True))[:_PAIRS]


def _nearest(frames: Tensor, rows: Tensor) -> Tensor:
    return torch.cdist(frames.flatten(1), rows.flatten(1)).argmin(1)
