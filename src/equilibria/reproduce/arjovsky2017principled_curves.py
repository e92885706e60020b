"""A better discriminator gives the generator worse gradients, unless it is trained with noise or a penalty.

Generators of 8x8 digits are trained for 1, 10 and 25 epochs and then fixed; discriminators are trained against them
from scratch. Perceptrons replace the paper's DCGAN. The fourth panel, which the paper does not have, does the same with
instance noise, R1 or a gradient penalty (weights of their papers). No paper gives the standard deviation of the noise.
It must be large enough for the two laws to overlap: 2 is the range of a pixel; with 0.5 the discriminator still
separates the laws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from ..base.randomness import mix, own_randomness, reseed
from ..core.ensemble import Ensemble
from ..core.game import Batch, Batches, Draw, Game, make_draw
from ..core.optimizers import Adam
from ..core.play import Play
from ..core.updates import Alternating
from ..data import Dataset, load
from ..figures.panels import GREY, PALETTE, label, legend, logarithmic, panels
from ..games.two_player import TwoPlayer
from ..losses import R1, GradientPenalty, InstanceNoise, Minimax, NonSaturating, Objective
from ..networks import MLPPair
from .arjovsky2017principled import discriminate, marks_until
from .claim import Check, Claim, Outcome, at_least, at_most

CLAIM = Claim(
    paper="arjovsky2017principled",
    figure="Figures 1 to 3, and a panel that is not there",
    statement="Against a frozen generator, D soon separates perfectly; then the gradient of log(1 - D) vanishes and "
    "that of -log D grows and gets noisier. With noise, R1 or a gradient penalty the former does not vanish.",
    printed="accuracy 1, sometimes in < 50 steps, even after 25 epochs; up to 5 orders lost in 4000 steps",
    tolerance="worst of all runs: accuracy 1 on 1024 + 1024 points within 500 steps; >= 2 orders lost from the peak; "
    "-log D >= 2x and its minibatch variance larger than when D first was perfect; regularised: <= 1 order lost. "
    "5 seeds; quick: 2 seeds, 1000 steps; the fourth panel at 10 epochs only, for time",
    budget=(38, 220),
    items=("T16", "T19", "T22", "E62"),
)
_EPOCHS, _BATCH, _ROWS = (1, 10, 25), 64, 1024
_NETWORKS = MLPPair()
_PLAIN = TwoPlayer(objective=NonSaturating())
_NARROW = TwoPlayer(objective=NonSaturating(), instance_noise=InstanceNoise(std=0.5))
_MENDED = {
    "instance noise, std 2": TwoPlayer(objective=NonSaturating(), instance_noise=InstanceNoise(std=2.0)),
    "R1, γ = 10": TwoPlayer(objective=NonSaturating(), penalties=(R1(gamma=10.0),)),
    "gradient penalty, weight 10": TwoPlayer(objective=NonSaturating(), penalties=(GradientPenalty(),)),
}


class Look(NamedTuple):
    """One measurement of a discriminator: its accuracy and loss, and the gradients of its generator."""

    accuracy: float
    loss: float
    saturating: float
    nonsaturating: float
    variance: float


def run(quick: bool) -> Outcome:
    seeds, steps = (2, 1_000) if quick else (5, 4_000)
    digits = load("digits")
    marks = marks_until(steps, 4)
    with own_randomness():
        trained = _generators(digits, seeds)
    plain = torch.stack([_retrained(digits, _PLAIN, made, marks) for made in trained.values()])
    middle = trained[_EPOCHS[1]]
    regularised_runs = {name: _retrained(digits, spec, middle, marks) for name, spec in _MENDED.items()}
    narrow = _retrained(digits, _NARROW, middle, marks)
    checks = (*_plain_checks(plain, marks), *(_kept(name, seen) for name, seen in regularised_runs.items()))
    figure, axes = panels(2, 2, width=3.9, height=2.8)
    _draw_error(axes[0], marks, plain)
    _draw_norms(axes[1], marks, plain[..., 2], "Its gradient of log(1 − D) vanishes")
    _draw_growth(axes[2], marks, plain)
    _draw_regularised(axes[3], marks, {"nothing": plain[1], "noise too narrow, std 0.5": narrow, **regularised_runs})
    regularised = {**regularised_runs, "instance noise, std 0.5": narrow}
    lost = {name: [round(float(x), 2) for x in _orders_lost(seen)] for name, seen in regularised.items()}
    lost |= {f"{e} epochs": [round(float(x), 2) for x in _orders_lost(p)] for e, p in zip(_EPOCHS, plain, strict=True)}
    return Outcome(figure, checks, {"orders of magnitude lost, by seed": lost, "seeds": seeds, "steps": steps})


def _generators(digits: Dataset, seeds: int) -> dict[int, list[nn.Module]]:
    """Generators of every seed after each number of epochs."""
    members = Ensemble(lambda seed: _fresh(digits, _PLAIN, seed), range(seeds))
    play = Play(members, Alternating(), {p.name: Adam() for p in members.players}, _batches(digits))
    made: dict[int, list[nn.Module]] = {}
    for epochs in _EPOCHS:
        play.advance(epochs * (digits.size or 0) // _BATCH - play.round)
        made[epochs] = [members.member(i).get_submodule("generator") for i in range(seeds)]
    return made


def _batches(digits: Dataset) -> Batches:
    def batch(seed: int, turn: int) -> Batch:
        return digits.batch(_BATCH, seed, turn)

    return batch


def _fresh(digits: Dataset, spec: TwoPlayer, seed: int, own: dict[str, nn.Module] | None = None) -> Game:
    reseed(mix(seed, 6))
    return spec.build(_NETWORKS, digits.spec, own)


def _retrained(digits: Dataset, spec: TwoPlayer, made: Sequence[nn.Module], marks: list[int]) -> Tensor:
    """Discriminators trained from scratch against fixed generators: measurements by mark, seed and quantity."""
    fixed = digits.take(_ROWS, seed=1)

    def look(game: Game) -> Look:
        reseed(mix(0, 8))
        with torch.no_grad():
            tensors = game.draw(fixed)
        return _measured(game, make_draw(tensors, seed=0))

    def build(i: int) -> Game:
        return _fresh(digits, spec, 100 + i, {"generator": made[i]})

    members = Ensemble(build, range(len(made)))
    seen = discriminate(members, Adam(), _batches(digits), marks, look)
    return torch.tensor(seen, dtype=torch.float64)


def _measured(game: Game, draw: Draw) -> Look:
    own = list(game.moved("generator").values())

    def slope(objective: Objective, part: Draw) -> Tensor:
        loss = objective.generator(game.contests(part)["data"].scores("fake"))
        return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, own)])

    with torch.no_grad():
        contest = game.contests(draw)["data"]
        real, fake = contest.scores("real"), contest.scores("fake")
    count = _ROWS // _BATCH
    parts = torch.stack([slope(NonSaturating(), draw.part(i, count)) for i in range(count)])
    return Look(
        accuracy=float(((real > 0).double().mean() + (fake < 0).double().mean()) / 2),
        loss=float(NonSaturating().discriminator(real, fake)),
        saturating=float(slope(Minimax(), draw).norm()),
        nonsaturating=float(parts.mean(0).norm()),
        variance=float(parts.var(0).sum()),
    )


def _orders_lost(seen: Tensor) -> Tensor:
    """From the largest saturating norm down to the smallest after it, in powers of ten, by seed."""
    norms = seen[..., 2].log10()
    peak = norms.argmax(0)
    after = torch.arange(len(norms))[:, None] >= peak
    return norms.amax(0) - norms.masked_fill(~after, torch.inf).amin(0)


def _plain_checks(plain: Tensor, marks: list[int]) -> tuple[Check, ...]:
    when = torch.tensor(marks, dtype=torch.float64)
    perfect = plain[..., 0] == 1  # epochs, marks, seeds
    first = torch.where(perfect.any(1), perfect.double().argmax(1), -1)
    reached = torch.where(perfect.any(1), when[first], torch.inf)
    then = plain.gather(1, first[:, None, :, None].clamp(min=0).expand(-1, 1, -1, 5))[:, 0]
    growth, noise = plain[:, -1, :, 3] / then[..., 3], plain[:, -1, :, 4] / then[..., 4]
    lost = torch.stack([_orders_lost(seen) for seen in plain])
    return (
        at_most("steps until accuracy is 1, slowest run", float(reached.max()), 500),
        at_least("orders of magnitude that log(1 - D) loses, least over runs", float(lost.min()), 2.0),
        at_least("growth of the gradient of -log D since D was perfect, least", float(growth.min()), 2.0),
        at_least("growth of its variance over minibatches since then, least", float(noise.min()), 1.0),
    )


def _kept(name: str, seen: Tensor) -> Check:
    return at_most(f"{name}: orders of magnitude lost, most over seeds", float(_orders_lost(seen).max()), 1.0)


def _draw_each(axes: Axes, marks: list[int], rows: Tensor, colour: str, name: str | None, style: str = "-") -> None:
    """Thin lines for the seeds, a thick one for their geometric mean."""
    axes.plot(marks, rows, style, color=colour, linewidth=0.5, alpha=0.5)
    axes.plot(marks, rows.log().mean(1).exp(), style, color=colour, linewidth=1.6, label=name)


def _draw_error(axes: Axes, marks: list[int], plain: Tensor) -> None:
    for epochs, seen, colour in zip(_EPOCHS, plain, PALETTE, strict=False):
        _draw_each(axes, marks, seen[..., 1], colour, f"generator of {_epochs(epochs)}")
        for seed in range(seen.shape[1]):
            perfect = (seen[:, seed, 0] == 1).nonzero()
            if len(perfect):
                first = int(perfect[0])
                axes.plot(marks[first], seen[first, seed, 1], "o", color=colour, markersize=4)
    logarithmic(axes, x=True, y=True)
    label(axes, "steps of D", "D's loss (nats)", "D's error falls to nothing (dot: accuracy reaches 1)")
    legend(axes, "lower left")


def _draw_norms(axes: Axes, marks: list[int], norms: Tensor, title: str) -> None:
    for epochs, rows, colour in zip(_EPOCHS, norms, PALETTE, strict=False):
        _draw_each(axes, marks, rows, colour, f"generator of {_epochs(epochs)}")
    logarithmic(axes, x=True, y=True)
    label(axes, "steps of D", "generator's gradient norm", title)
    legend(axes, "lower left")


def _draw_growth(axes: Axes, marks: list[int], plain: Tensor) -> None:
    for seen, colour in zip(plain, PALETTE, strict=False):
        _draw_each(axes, marks, seen[..., 3], colour, None)
        axes.plot(marks, (seen[..., 4].log().mean(1) / 2).exp(), "--", color=colour, linewidth=1.3)
    axes.plot([], [], color=GREY, linewidth=1.6, label="norm")
    axes.plot([], [], "--", color=GREY, linewidth=1.3, label="standard deviation over minibatches")
    logarithmic(axes, x=True, y=True)
    label(axes, "steps of D", "size of the gradient", "Its gradient of −log D grows and gets noisier")
    legend(axes, "lower right")


def _draw_regularised(axes: Axes, marks: list[int], found: dict[str, Tensor]) -> None:
    for (name, seen), colour in zip(
        found.items(), (PALETTE[1], PALETTE[4], PALETTE[0], PALETTE[2], PALETTE[3]), strict=True
    ):
        _draw_each(axes, marks, seen[..., 2], colour, name)
    logarithmic(axes, x=True, y=True)
    label(axes, "steps of D", "gradient norm of log(1 − D)", "Regularised, it lasts (generator of 10 epochs)")
    legend(axes, "lower left")


def _epochs(epochs: int) -> str:
    return f"{epochs} epoch{'s' if epochs > 1 else ''}"
