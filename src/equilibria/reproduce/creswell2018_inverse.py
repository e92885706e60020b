"""Codes found by search tell what a generator has learned: its own samples, digits it has seen, one it has not.

A GAN of perceptrons learns the 8 x 8 digits of scikit-learn without one class. Then codes are sought for its own
samples (where a perfect inverse exists), for held-out digits of the learned classes, for digits of the class that was
left out, and for negatives of digits. The share of single starts that come within 1e-3 of a sample is counted for the
recipe's search and, as a control, for plain descent: the same steps at a constant rate from random codes.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..core.play import Play
from ..data import Dataset, load
from ..figures.panels import PALETTE, label, panels
from ..games.inversion import InverseGAN, Search
from ..networks import Frozen, MLPPair
from ..recipes import recipe
from .claim import Check, Claim, Outcome, at_least
from .translators import picture_rows

CLAIM = Claim(
    paper="creswell2018",
    figure="section IV, Algorithm 1; Tables I and II (error of reconstructions as a comparison of generators)",
    statement="Gradient descent on the code finds a code of a sample; images that the generator has not learned keep "
    "an error that shows it.",
    printed="figures of reconstructions, and errors per model on other data; no share of starts printed",
    tolerance="in every seed: at least 90 % of single starts within 1e-3 of a sample, and the mean error grows in the "
    "order samples, digits of learned classes, the class left out, negatives. 5 seeds, 4,000 rounds of the GAN; "
    "quick: 1 seed",
    budget=(50, 210),
)
LEFT_OUT, ROUNDS, ROWS = 0, 4000, 48
KINDS = ("samples", "learned classes", "class left out", "negatives")
PLAIN = Search(last=1.0, guess=False)


class Found(NamedTuple):
    """One seed: the share of single starts near a sample, with both searches; errors of the rows of each kind."""

    reached: dict[str, float]
    errors: dict[str, float]
    shown: dict[str, tuple[Tensor, Tensor]]


def run(quick: bool) -> Outcome:
    whole = load("digits")
    rows = whole.whole()
    kept = rows["y"] != LEFT_OUT
    data = load(rows["x"][kept].numpy())
    held = whole.take(1000, held_out=True)
    found = [_seed(data, held, seed) for seed in (range(1) if quick else range(5))]
    numbers = {
        "starts that reach a sample": {k: [round(one.reached[k], 3) for one in found] for k in found[0].reached},
        "mean squared error": {kind: [round(one.errors[kind], 6) for one in found] for kind in KINDS},
    }
    return Outcome(_draw(found), _checks(found), numbers)


def _checks(found: list[Found]) -> tuple[Check, ...]:
    return (
        at_least("least share of starts that reach a sample", min(one.reached["search"] for one in found), 0.9),
        *(
            at_least(f"least error of {b} / error of {a}", min(one.errors[b] / one.errors[a] for one in found), 1.0)
            for a, b in pairwise(KINDS)
        ),
    )


def _seed(data: Dataset, held: dict[str, Tensor], seed: int) -> Found:
    row = recipe("gan").with_settings({"game.latent.size": "20"})
    row = replace(row, networks=MLPPair(width=128, depth=2))
    gan = row.play(row.build(data.spec, seed), data.batches(row.batch), seed=seed, horizon=ROUNDS)
    gan.prepare()
    gan.advance(ROUNDS)
    play, plain = _inverse(gan, data, seed, Search(), 500), _inverse(gan, data, seed, PLAIN, 1)
    return _found(play, plain, gan.sample(ROWS, seed=1), held)


def _found(play: Play, plain: Play, samples: Tensor, held: dict[str, Tensor]) -> Found:
    """Both searches measured on samples of their generator and on held-out digits."""
    seen = held["y"] != LEFT_OUT
    kinds = dict(
        zip(KINDS, (samples, held["x"][seen][:ROWS], held["x"][~seen][:ROWS], -held["x"][seen][:ROWS]), strict=True)
    )
    again = {kind: play.apply("reconstruct", {"x": x}) for kind, x in kinds.items()}
    errors = {kind: float((again[kind] - x).square().mean()) for kind, x in kinds.items()}
    reached = {"search": _reached(play, samples), "plain descent": _reached(plain, samples)}
    return Found(reached, errors, {kind: (x[:8], again[kind][:8]) for kind, x in kinds.items()})


def _inverse(gan: Play, data: Dataset, seed: int, search: Search, rounds: int) -> Play:
    """The recipe's game with another search, after some rounds; its generator is the averaged one of a trained GAN."""
    row = recipe("inverse-gan")
    values = {name: value for own in gan.averaged.values() for name, value in own.items()}
    gan.game.load_state_dict(values, strict=False)
    torch.manual_seed(seed)
    game = InverseGAN(search=search).build(row.networks, data.spec, {"generator": Frozen(gan.game)})
    play = row.play(game, data.batches(row.batch), seed=seed, horizon=rounds)
    play.prepare()
    play.advance(rounds)
    return play


def _reached(play: Play, samples: Tensor) -> float:
    return float((play.apply("start_errors", {"x": samples}) < 1e-3).double().mean())


def _draw(found: list[Found]) -> Figure:
    figure, axes = panels(columns=3, width=3.4, height=2.8)
    _columns(axes[0], {name: [100 * one.reached[name] for one in found] for name in found[0].reached})
    axes[0].axhline(90, color="#555555", linewidth=0.9, linestyle=":")
    axes[0].set(ylim=(0, 102))
    label(axes[0], "", "starts within 1e-3 of a sample, %", "Search and plain descent, every seed")
    _columns(axes[1], {kind: [one.errors[kind] for one in found] for kind in KINDS})
    axes[1].set(yscale="log")
    label(axes[1], "", "mean squared error", "Reconstructions by search")
    rows = [(name, row) for kind, own in found[0].shown.items() for name, row in zip((kind, "again"), own, strict=True)]
    picture_rows(axes[2], rows, "What the codes generate")
    return figure


def _columns(axes: Axes, values: dict[str, list[float]]) -> None:
    for i, own in enumerate(values.values()):
        axes.scatter([i] * len(own), own, color=PALETTE[i % 2], s=26, alpha=0.8, linewidths=0)
    axes.set_xticks(range(len(values)), [name.replace(" ", "\n") for name in values])
    axes.set_xlim(-0.6, len(values) - 0.4)
