"""Minibatch discrimination and minibatch deviation on the eight-mode ring, where the plain GAN makes one mode.

The same game, generator and discriminator; what differs is what the discriminator's last layer reads of the rest of its
batch. That eight modes are hit says little where samples are spread over the plane, so the share of samples near a mode
is held against that of one Gaussian with the mean and the covariance of the data. The modes are not hit evenly; the
reverse KL divergence among the numbers says how unevenly (one mode alone has log 8 = 2.08 nats).
"""

from __future__ import annotations

import statistics
from dataclasses import replace

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..core.optimizers import Adam
from ..core.updates import Alternating
from ..data import Dataset, load
from ..data.laws import Law
from ..figures.panels import PALETTE, label, legend, panels
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..metrics.modes import Modes, modes
from ..networks import MLPPair
from .claim import Check, Claim, Outcome, at_least, at_most
from .clouds import cloud
from .ring_looks import Looks, looked, rounded
from .side_by_side import side_by_side

CLAIM = Claim(
    paper="salimans2016",
    figure="section 3.2 (minibatch discrimination keeps a generator from collapsing)",
    statement="A discriminator that sees how close the points of its batch are keeps the generator from one mode.",
    printed="in words; the authors' samples are pictures of MNIST, CIFAR-10 and ImageNet",
    derived="the number of modes, and the Gaussian that samples near modes are held against",
    tolerance="minibatch discrimination: three modes more than the control's median in every seed, and a share of "
    "samples near a mode of at least twice the Gaussian's. Without a gate, in full: minibatch deviation (Karras et al. "
    "2018). 3 seeds, 1,000 rounds; quick: 1 seed",
    budget=(210, 800),
)
PLAIN, SEEN, SPREAD = "none", "discrimination", "deviation"
NAMES = {PLAIN: "plain GAN", SEEN: "minibatch discrimination", SPREAD: "minibatch deviation"}
NETWORKS = MLPPair(depth=2, discriminator_depth=2, activation="relu", kernels=16)
ROUNDS, BATCH, SAMPLES = 1000, 64, 2500


def run(quick: bool) -> Outcome:
    data, seeds = load("ring8-M"), range(1 if quick else 3)
    assert data.law is not None
    found, made = {}, {}
    for kind in (PLAIN, SEEN) if quick else NAMES:
        found[kind], made[kind] = _train(data, kind, seeds)
    gaussian = blurred(data.law)
    checks = _checks(found[SEEN][ROUNDS], found[PLAIN][ROUNDS], gaussian.high_quality)
    numbers = {NAMES[kind]: {f"round {r}": rounded(row) for r, row in looks.items()} for kind, looks in found.items()}
    numbers["one Gaussian"] = {"": rounded([gaussian])}
    return Outcome(_draw(found, {kind: own[0] for kind, own in made.items()}, data.law), checks, numbers)


def blurred(law: Law) -> Modes:
    """What samples of one Gaussian with the mean and covariance of the law score."""
    real = law.sample(4 * SAMPLES, torch.Generator().manual_seed(1)).double()
    centred = real - real.mean(0)
    factor = torch.linalg.cholesky(centred.T @ centred / len(real))
    noise = torch.randn(SAMPLES, real.shape[1], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return modes((real.mean(0) + noise @ factor.T).float(), law)


def _checks(seen: list[Modes], plain: list[Modes], gaussian: float) -> tuple[Check, ...]:
    control = statistics.median(m.captured for m in plain)
    quality = min(m.high_quality for m in seen)
    return (
        at_least("fewest modes with it, less the median without", min(m.captured for m in seen) - control, 3),
        at_least("least share near a mode with it, over that of one Gaussian", quality / gaussian, 2),
        at_most("modes of the median seed without it", control, 4),
    )


def _train(data: Dataset, kind: str, seeds: range) -> tuple[Looks, Tensor]:
    networks = replace(NETWORKS, minibatch=kind)
    optimizer = Adam(lr=5e-4, betas=(0.5, 0.999))
    play = side_by_side(TwoPlayer(latent=Latent(size=32)), networks, data, seeds, Alternating(), optimizer, BATCH)
    assert data.law is not None
    return looked(play, data.law, ROUNDS, SAMPLES)


def _draw(found: dict[str, Looks], made: dict[str, Tensor], law: Law) -> Figure:
    figure, axes = panels(columns=3, width=2.9, height=2.8)
    colours = dict(zip(NAMES, PALETTE, strict=False))
    for here, kind in zip(axes, (PLAIN, SEEN), strict=False):
        cloud(here, made[kind], law, colour=colours[kind])
        last = list(found[kind].values())[-1][0]
        label(here, "x₁", "x₂", f"{NAMES[kind]}: {last.captured} of 8 modes")
    for i, (kind, looks) in enumerate(found.items()):
        for seed in range(len(next(iter(looks.values())))):
            counts = [0.0, *(row[seed].captured + 0.08 * i for row in looks.values())]
            axes[2].plot(
                [0, *looks], counts, color=colours[kind], linewidth=1.0, marker="o", markersize=2.5,
                label=NAMES[kind] if seed == 0 else None,
            )  # fmt: skip
    axes[2].set(ylim=(-0.4, 12.5), yticks=[0, 2, 4, 6, 8])
    label(axes[2], "round", "modes captured, of 8", "Modes, every seed")
    legend(axes[2], "upper left", columns=1)
    return figure
