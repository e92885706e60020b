"""Parallel lines: only the Wasserstein distance measures how far apart they are, and only its critic has a gradient.

Left, the exact distances of (0, U) and (theta, U), and the estimates of trained WGAN-GP critics. Right, the generator's
gradient in theta while a discriminator and a critic are trained from scratch against a fixed generator. A critic with
penalty weight 10 overestimates: the best linear one has slope 1 + theta/20.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from ..base.randomness import mix, reseed
from ..core.ensemble import Ensemble
from ..core.game import Batch, Contest, Game, gradients, make_draw
from ..core.optimizers import Adam
from ..data import DataSpec
from ..data import law as law_named
from ..figures.images import INK
from ..figures.panels import GREY, PALETTE, label, legend, logarithmic, panels
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..losses import GradientPenalty, Minimax, Wasserstein
from ..networks import MLPPair
from ..theory.divergences import js, kl, total_variation
from ..theory.transport import assignment, parallel_lines
from .arjovsky2017principled import discriminate, marks_until
from .claim import Check, Claim, Outcome, at_least, at_most, close

CLAIM = Claim(
    paper="arjovsky2017wgan",
    figure="Example 1, Figure 1; Theorem 3",
    statement="Of two parallel lines W1 is |theta|, while JSD is log 2, TV 1 and KL infinite for every theta but 0. A "
    "WGAN-GP critic reports |theta| and its generator has a gradient; the JS-GAN's vanishes.",
    printed="W1 = |theta|, JSD = log 2, TV = 1, KL infinite (Example 1)",
    derived="the slope of W1 is the sign of theta, all others 0",
    tolerance="exact distances to 1e-12; critic's estimate within 10 % of |theta| (mean of the seeds at each theta); "
    "its generator's gradient above 1/2, the JS-GAN's below 1/100 of it",
    budget=(12, 27),
    items=("T28", "E5", "E61", "E62"),
)
_THETAS = (0.1, 0.25, 0.5, 1.0)
_SPECS = {
    "wgan": TwoPlayer(objective=Wasserstein(), penalties=(GradientPenalty(),), latent=Latent(size=1, law="uniform")),
    "gan": TwoPlayer(objective=Minimax(), latent=Latent(size=1, law="uniform")),
}


class _Line(nn.Module):
    """G(z) = (theta, u) with u uniform on [0, 1] for z uniform on [-1, 1]."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta))

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([self.theta.expand(len(z), 1), (z + 1) / 2], 1)


def run(quick: bool) -> Outcome:
    seeds, steps = (2, 1_000) if quick else (5, 2_000)
    marks = marks_until(steps, 4)
    critics, pushes = _history(_SPECS["wgan"], seeds, marks)
    _, vanishing = _history(_SPECS["gan"], seeds, marks)
    reported = critics[-1].mean(1)
    wrong = max(abs(float(r) / t - 1) for r, t in zip(reported, _THETAS, strict=True))
    push, vanished = pushes[-1].mean(1), vanishing[-1].mean(1)
    checks = (
        *_exact(),
        at_most("critic's estimate: largest relative error over theta", wrong, 0.1),
        at_least("WGAN-GP: smallest gradient norm of the generator over theta", float(push.min()), 0.5),
        at_most("JS-GAN: its gradient norm over WGAN-GP's, largest over theta", float((vanished / push).max()), 0.01),
    )
    figure, (left, right) = panels(columns=2, width=4.0, height=2.9)
    _draw_distances(left, critics[-1])
    _draw_pushes(right, marks, {"WGAN-GP": pushes[:, -1], "JS-GAN, saturating loss": vanishing[:, -1]})
    rows = zip(_THETAS, reported, push, vanished, strict=True)
    table = {f"theta = {t:g}": [float(r), float(p), float(v)] for t, r, p, v in rows}
    return Outcome(figure, checks, {"critic's estimate, gradient norm of WGAN-GP and JS-GAN": table, "seeds": seeds})


def _exact() -> tuple[Check, ...]:
    """The formula against an optimal matching of points on the lines, and the matching's slope in theta."""
    t = torch.linspace(0, 1, 33, dtype=torch.float64)
    errors, slopes = [], []
    for theta in (-1.0, -0.25, 0.1, 1.5):
        moved = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        cost = assignment(torch.stack([moved.expand(33), t], 1), torch.stack([torch.zeros_like(t), t], 1)).cost
        errors.append(abs(float(cost.detach()) - parallel_lines(theta).w1))
        slopes.append(float(torch.autograd.grad(cost, moved)[0]) * (1 if theta > 0 else -1))
    distances = {
        "JSD": lambda at: (parallel_lines(at).js, _of_masses(js, at)),
        "TV": lambda at: (parallel_lines(at).total_variation, _of_masses(total_variation, at)),
        "exp(-KL)": lambda at: (math.exp(-parallel_lines(at).kl), math.exp(-_of_masses(kl, at))),
        "exp(-reverse KL)": lambda at: (math.exp(-parallel_lines(at).reverse_kl), math.exp(-_of_masses(kl, -at))),
    }
    return (
        at_most("W1 by optimal matching: largest error against |theta|", max(errors), 1e-12),
        close("slope of W1 times the sign of theta", min(slopes), 1.0, 1e-12),
        *(
            at_most(
                f"{name} of the masses of points: largest error of the formula, theta = 0, 1e-9, 1",
                max(abs(float(a) - b) for a, b in map(both, (0.0, 1e-9, 1.0))),
                1e-12,
            )
            for name, both in distances.items()
        ),
    )


def _of_masses(distance: Callable[[Tensor, Tensor], Tensor], theta: float) -> float:
    """A distance of the two laws, from the masses of evenly spaced points of both lines; equal points are one atom."""
    t = torch.linspace(0, 1, 33, dtype=torch.float64)
    lines = [torch.stack([torch.full_like(t, at), t], 1) for at in (0.0, theta)]
    atoms, places = torch.cat(lines).unique(dim=0, return_inverse=True)  # type: ignore[no-untyped-call]
    p, q = (torch.zeros(len(atoms)).double().index_add(0, own, torch.full_like(t, 1 / 33)) for own in places.chunk(2))
    return float(distance(p, q))


def _batches(seed: int, turn: int) -> Batch:
    source = torch.Generator().manual_seed(mix(seed, turn, 5))
    return {"x": law_named("parallel-lines").sample(64, source)}


def _member(spec: TwoPlayer, seed: int) -> Game:
    """Seeds count through thetas, then repeats."""
    reseed(mix(seed, 6))
    theta = _THETAS[seed % len(_THETAS)]
    networks = MLPPair(width=64, depth=2)
    return spec.build(networks, DataSpec(kind="vector", shape=(2,)), {"generator": _Line(theta)})


def _history(spec: TwoPlayer, repeats: int, marks: list[int]) -> tuple[Tensor, Tensor]:
    """The critic's estimates and the generator's gradient norms at some steps, ``(marks, thetas, repeats)``."""
    members = Ensemble(lambda seed: _member(spec, seed), range(len(_THETAS) * repeats))
    adam = Adam(lr=1e-3, betas=(0.0, 0.9))
    seen = torch.tensor(discriminate(members, adam, _batches, marks, _measured))
    estimates, pushes = seen.view(len(marks), repeats, len(_THETAS), 2).transpose(1, 2).unbind(3)
    return estimates, pushes


def _measured(game: Game) -> tuple[float, float]:
    """On evenly spaced points of both lines: E f(real) - E f(fake), and the norm of the generator's gradient."""
    along = torch.linspace(-1, 1, 201)[:, None]
    real = torch.cat([torch.zeros_like(along), (along + 1) / 2], 1)
    draw = make_draw({"real": real, "latent": along}, seed=0)
    contest: Contest = game.contests(draw)["data"]
    with torch.no_grad():
        apart = float(contest.scores("real").mean() - contest.scores("fake").mean())
    own, _ = gradients(game, "generator", draw)
    return apart, float(torch.cat([g.reshape(-1) for g in own.values()]).norm())


def _draw_distances(axes: Axes, critics: Tensor) -> None:
    theta = torch.linspace(0.005, 1.2, 60).tolist()
    exact, one = [parallel_lines(t) for t in theta], parallel_lines(1.0)
    axes.plot(theta, [d.w1 / one.w1 for d in exact], color=PALETTE[0], linewidth=1.5, label="W₁ = |θ|, slope 1")
    share = [d.total_variation / one.total_variation for d in exact]
    axes.plot(theta, share, color=PALETTE[2], linewidth=3, alpha=0.6, label="TV = 1, slope 0")
    axes.plot(
        theta, [d.js / one.js for d in exact], "--", color=PALETTE[1], linewidth=1.5, label="JSD = log 2, slope 0"
    )
    for i, at in enumerate(_THETAS):
        for value in critics[i].tolist():
            name = "WGAN-GP critic's estimate" if i == 0 and value == critics[0, 0] else None
            axes.plot([at], [value], "o", color="black", markersize=3.5, label=name)
    axes.plot([0], [0], "s", color=INK, markersize=5, clip_on=False, label="θ = 0: all are 0")
    axes.annotate("KL = ∞ for every θ ≠ 0", (0.6, 0.15), fontsize=8, color=INK)
    axes.set_ylim(0, 2.3)
    axes.set_xlim(0, 1.25)
    label(axes, "distance θ of the lines", "distance over its value at θ = 1", "Only W₁ says how far the lines are")
    legend(axes, "upper left", columns=1)


def _draw_pushes(axes: Axes, marks: list[int], found: dict[str, Tensor]) -> None:
    axes.axhline(1, color=GREY, linestyle="--", linewidth=1.0, label="slope of W₁")
    for (name, rows), colour in zip(found.items(), PALETTE, strict=False):
        for i, one in enumerate(rows.T):
            axes.plot(marks, one, color=colour, linewidth=1.1, label=name if i == 0 else None)
    logarithmic(axes, x=True, y=True)
    label(
        axes,
        "steps of the critic or D",
        "generator's gradient norm (θ = 1)",
        "A critic teaches on, D falls silent",
    )
    legend(axes, "lower left")
