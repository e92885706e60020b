"""Which training methods converge on the Dirac-GAN: every method with every update rule, from the same start.

The fields are derived from the library's losses and penalties. The figure uses the paper's coordinates: its
discriminator is higher for fakes, so its parameter has the opposite sign. In alternating steps the generator moves
first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..figures.images import INK
from ..figures.panels import BLUE, FONT, GREY, PALETTE, label, panels
from ..games.dirac_and_bilinear import DiracGAN
from ..losses import R1, R2, Clip, GradientPenalty, Minimax, NonSaturating, Wasserstein
from ..theory.fields import Map, consensus
from ..theory.spectra import consensus_eigenvalues, noised_eigenvalues, step_radius
from .claim import Check, Claim, Outcome, at_least, close
from .toy_fields import flat, recorded

CLAIM = Claim(
    paper="mescheder2018",
    figure="Figures 1 and 3, Table 1, on the Dirac-GAN of section 2",
    statement="Unregularised GAN, NSGAN, WGAN and WGAN-GP steps do not converge to the equilibrium of the Dirac-GAN; "
    "instance noise, R1, R2 and consensus do, at a linear rate; so do extragradient and optimistic steps.",
    printed="which methods converge (Figure 1 and Table 1, no radii)",
    derived="radius after 4,000 steps of .1 from (1, 1), simultaneous / alternating / extragradient: GAN 3.63 / 1.41 "
    "/ .0099, NSGAN .445 / .140 / .0029, WGAN - / 1.36 / 3e-9, WGAN-GP .388 / .394 / .334, R1 6e-25 (gamma .3), "
    "1.6e-9 (5), R2 2e-87 (1); optimistic .0097, .0028, 2e-9",
    tolerance="half a unit of the last digit; WGAN's simultaneous radius (1 + h^2)^(t/2) sqrt 2 to 1e-9; rates of "
    "noise and consensus within 1e-3 of their eigenvalues' (what an ellipse's axes change over 800 steps)",
    budget=(25, 25),
    items=("T12", "T14"),
)
H, STEPS, CLIP, NOISE, GAMMA = 0.1, 4000, 1.0, 1.0, 1.0
RULES = ("simultaneous", "alternating", "extragradient", "optimistic")


@dataclass(frozen=True)
class Method:
    """A column of the figure: its name, its game, and its field if that is not the game's own."""

    name: str
    game: Callable[[], DiracGAN]
    field: Callable[[Map], Map] = lambda v: v


METHODS = {
    "gan": Method("GAN", lambda: DiracGAN(Minimax())),
    "nsgan": Method("NSGAN", lambda: DiracGAN(NonSaturating())),
    "wgan": Method("WGAN", lambda: DiracGAN(Wasserstein())),
    "clip": Method("WGAN, |ψ| ≤ 1", lambda: DiracGAN(Wasserstein(), clip=Clip(value=CLIP))),
    "wgan-gp": Method("WGAN-GP, g₀ = .3", lambda: DiracGAN(Wasserstein(), (GradientPenalty(weight=0.5, center=0.3),))),
    "noise": Method("noise s = 1", lambda: DiracGAN(noise=NOISE, nodes=16)),
    "r1": Method("R1, γ = .3", lambda: DiracGAN(penalties=(R1(gamma=0.3),))),
    "r1-strong": Method("R1, γ = 5", lambda: DiracGAN(penalties=(R1(gamma=5.0),))),
    "r2": Method("R2, γ = 1", lambda: DiracGAN(penalties=(R2(gamma=1.0),))),
    "consensus": Method("consensus, γ = 1", lambda: DiracGAN(), lambda v: consensus(v, GAMMA)),
}
# Reference radii from an independent computation, with half a unit of their last digit.
RADII = {
    ("gan", "simultaneous"): (3.63, 5e-3),
    ("gan", "alternating"): (1.41, 5e-3),
    ("gan", "extragradient"): (0.0099, 5e-5),
    ("gan", "optimistic"): (0.0097, 5e-5),
    ("nsgan", "simultaneous"): (0.445, 5e-4),
    ("nsgan", "alternating"): (0.140, 5e-4),
    ("nsgan", "extragradient"): (0.0029, 5e-5),
    ("nsgan", "optimistic"): (0.0028, 5e-5),
    ("wgan", "alternating"): (1.36, 5e-3),
    ("wgan", "extragradient"): (3e-9, 5e-10),
    ("wgan", "optimistic"): (2e-9, 5e-10),
    ("wgan-gp", "simultaneous"): (0.388, 5e-4),
    ("wgan-gp", "alternating"): (0.394, 5e-4),
    ("wgan-gp", "extragradient"): (0.334, 5e-4),
    ("r1", "simultaneous"): (6e-25, 5e-26),
    ("r1-strong", "simultaneous"): (1.6e-9, 5e-11),
    ("r2", "simultaneous"): (2e-87, 5e-88),
}


def run(quick: bool) -> Outcome:
    games = {key: method.game() for key, method in METHODS.items()}
    found = {key: paths(game, METHODS[key].field) for key, game in games.items()}
    radii = {key: path.norm(dim=-1) for key, path in found.items()}
    last = {key: {r: float(x) for r, x in zip(RULES, radius[-1], strict=True)} for key, radius in radii.items()}
    checks = (*_by_reference(radii), *_by_theory(radii))
    return Outcome(_draw(games, found), checks, {"radius after 4,000 steps": last})


def _by_reference(radii: dict[str, Tensor]) -> tuple[Check, ...]:
    """The last radii of the methods given, against the reference."""
    return tuple(
        close(f"{METHODS[key].name}, {rule}: radius", float(radii[key][-1, RULES.index(rule)]), *expected)
        for (key, rule), expected in RADII.items()
        if key in radii
    )


def paths(game: DiracGAN, field: Callable[[Map], Map], steps: int = STEPS) -> Tensor:
    """The points of all four rules from (1, -1), ``(steps + 1, 4, 2)``; two calls of the field per step for all rules.

    Args:
        game: the game; its constraint is applied at look-ahead points too, as in the library's rules.
        field: makes the field that is followed from the game's field.
        steps: number of steps of size ``H``.
    """
    x = torch.tensor([[1.0, -1.0]], dtype=torch.float64).repeat(4, 1)
    v = field(flat(game))
    here, ahead = recorded(v, x), recorded(v, x[:2])
    of_g = torch.tensor([1.0, 0.0], dtype=torch.float64)
    held = game.player("discriminator").constraint

    def within(point: Tensor) -> Tensor:
        return point if held is None else torch.stack([point[:, 0], held("psi", point[:, 1])], 1)

    points, last = [x], here(x)[3]
    for _ in range(steps):
        now = here(x)
        then = ahead(within(torch.stack([x[1] + H * now[1] * of_g, x[2] + H * now[2]])))
        turns = now[1] * of_g + then[0] * (1 - of_g)
        x = within(x + H * torch.stack([now[0], turns, then[1], 2 * now[3] - last]))
        last = now[3]
        points.append(x)
    return torch.stack(points)


def _by_theory(radii: dict[str, Tensor]) -> tuple[Check, ...]:
    grown = math.sqrt(2) * (1 + H**2) ** (STEPS / 2)
    first, last = 200, 1000  # later the radius under noise is a rounding error of its quadrature

    def rate(key: str) -> float:
        return float((radii[key][last, 0] / radii[key][first, 0]) ** (1 / (last - first)))

    latest = float(radii["clip"][-1000:, 0].max())
    noise, damped = noised_eigenvalues(NOISE**2), consensus_eigenvalues(GAMMA)
    return (
        close("WGAN, simultaneous: radius", float(radii["wgan"][-1, 0]), grown, 1e-9 * grown),
        # Below the clipping bound the orbit always grows, so it returns to the bound again and again.
        at_least("WGAN, |ψ| ≤ 1, simultaneous: largest radius of the last 1,000", latest, CLIP),
        close("noise, simultaneous: factor a step", rate("noise"), step_radius(noise, H), 1e-3),
        close("consensus, simultaneous: factor a step", rate("consensus"), step_radius(damped, H), 1e-3),
    )


def _draw(games: dict[str, DiracGAN], found: dict[str, Tensor]) -> Figure:
    figure, axes = panels(len(RULES), len(METHODS), width=1.42, height=1.5)
    for column, (key, game) in enumerate(games.items()):
        for row, rule in enumerate(RULES):
            here = axes[row * len(METHODS) + column]
            _arrows(here, METHODS[key].field(flat(game)))
            _path(here, found[key][:, row])
            side = f"{rule}\nφ = −ψ" if column == 0 else ""
            label(here, "θ" if row == 3 else "", side, METHODS[key].name if row == 0 else "")
            here.set(xticks=[-2, 0, 2] if row == 3 else [], yticks=[-2, 0, 2] if column == 0 else [])
    figure.suptitle(
        "Dirac-GAN from (1, 1): 4,000 steps of .1 (blue), the last 200 (orange), and the radius at the end. "
        "Only noise, R1, R2 and consensus come to (0, 0) at a linear rate under all four rules",
        fontsize=9, color=INK, family=FONT, x=0.005, ha="left",
    )  # fmt: skip
    return figure


def _arrows(axes: Axes, v: Map) -> None:
    side = torch.linspace(-2, 2, 8, dtype=torch.float64)
    at = torch.cartesian_prod(side, side)
    pushed = torch.func.vmap(v)(at).detach()
    unit = pushed / pushed.norm(dim=1, keepdim=True)
    axes.quiver(
        at[:, 0], -at[:, 1], unit[:, 0], -unit[:, 1], color=GREY, alpha=0.55, scale=15, width=0.008, pivot="mid"
    )


def _path(axes: Axes, path: Tensor) -> None:
    axes.plot(path[:, 0], -path[:, 1], color=BLUE, linewidth=0.6)
    axes.plot(path[-200:, 0], -path[-200:, 1], color=PALETTE[1], linewidth=1.3)
    axes.plot([1], [1], marker="o", markersize=2.5, color=INK)
    axes.plot([0], [0], marker="+", markersize=5, color=INK, markeredgewidth=0.8)
    axes.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal")
    caption = f"{float(path[-1].norm()):.2g}"
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    axes.text(2.3, -2.3, caption, ha="right", va="bottom", fontsize=8, color=INK, family=FONT, bbox=box)
