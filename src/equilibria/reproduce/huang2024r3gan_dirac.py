"""Relativistic pairing alone does not converge on the Dirac problem; with R1, R2 or both it does, at a linear rate."""

from __future__ import annotations

import cmath

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..figures.images import INK
from ..figures.panels import GREY, PALETTE, label, legend, logarithmic, panels
from ..games.dirac_and_bilinear import DiracGAN
from ..losses import R1, R2, Minimax, RelativisticPairing
from ..theory import fields
from ..theory.spectra import eigenvalues, penalised_eigenvalues, step_radius
from .claim import Check, Claim, Outcome, at_least, at_most, close
from .toy_fields import flat, recorded

CLAIM = Claim(
    paper="huang2024r3gan",
    figure="Propositions 1 and 2, equations 10 to 12",
    statement="Unregularised RpGAN does not converge on the Dirac problem; with R1, with R2 and with both it converges "
    "locally at a linear rate.",
    printed="eigenvalues ± i f'(0) without; eq. 12 prints f'(0) without the square with penalties",
    derived="-g/2 ± sqrt(g^2/4 - f'(0)^2)",
    tolerance="eigenvalues 1e-6; factor a step within 1e-3 of the eigenvalues'; without penalty more than a hundredth "
    "of the radius is left after 4,000 steps of .1",
    budget=(6, 6),
    items=("T14", "T29"),
)
H, STEPS = 0.1, 4000
GAMES = {
    "RpGAN": (DiracGAN(RelativisticPairing()), 0.0),
    "RpGAN, saturating": (DiracGAN(RelativisticPairing(saturating=True)), 0.0),
    "+ R1, γ = .4": (DiracGAN(RelativisticPairing(), (R1(gamma=0.4),)), 0.4),
    "+ R2, γ = .4": (DiracGAN(RelativisticPairing(), (R2(gamma=0.4),)), 0.4),
    "+ R1 and R2, γ = .4 each": (DiracGAN(RelativisticPairing(), (R1(gamma=0.4), R2(gamma=0.4))), 0.8),
}


def run(quick: bool) -> Outcome:
    radii = {name: _radii(game) for name, (game, _) in GAMES.items()}
    checks = [check for name in GAMES for check in (_of_spectrum(name), _of_path(name, radii[name]))]
    last = {name: float(path[-1]) for name, path in radii.items()}
    return Outcome(_draw(radii), (*checks, _of_saturating()), {f"radius after {STEPS} steps": last})


def _of_spectrum(name: str) -> Check:
    game, gamma = GAMES[name]
    found = eigenvalues(fields.jacobian(flat(game), torch.zeros(2, dtype=torch.float64)))
    return at_most(f"{name}: error of the eigenvalues", _apart(found, penalised_eigenvalues(gamma)), 1e-6)


def _of_path(name: str, radii: Tensor) -> Check:
    _, gamma = GAMES[name]
    if not gamma:
        return at_least(f"{name}: last radius over first", float(radii[-1] / radii[0]), 0.01)
    rate = float((radii[1600] / radii[800]) ** (1 / 800))
    return close(f"{name}: factor a step", rate, step_radius(penalised_eigenvalues(gamma), H), 1e-3)


def _of_saturating() -> Check:
    point = torch.tensor([0.7, -1.3], dtype=torch.float64)
    twin = flat(GAMES["RpGAN, saturating"][0])(point) - flat(DiracGAN(Minimax()))(point)
    return at_most("saturating RpGAN against the GAN of 2014: difference of fields", float(twin.norm()), 1e-12)


def _radii(game: DiracGAN) -> Tensor:
    start = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    step = fields.simultaneous(recorded(flat(game), start), H)
    radii: Tensor = fields.orbit(step, start, STEPS)[:, 0].norm(dim=1)
    return radii


def _apart(found: Tensor, expected: Tensor) -> float:
    distances = (found[:, None] - expected[None]).abs()
    return float(torch.maximum(distances.amin(1).max(), distances.amin(0).max()))


def _draw(radii: dict[str, Tensor]) -> Figure:
    figure, (left, right) = panels(columns=2, width=4.0, height=2.9)
    styles = ("-", "-", "-", "--", "-")
    for (name, path), colour, style in zip(radii.items(), PALETTE, styles, strict=False):
        left.plot(path, color=colour, linewidth=1.4, linestyle=style, label=name)
    logarithmic(left, y=True)
    left.set_ylim(1e-16, 1e11)
    left.set_xlim(0, 2500)
    label(left, f"simultaneous steps of {H}", "radius", "Only with a penalty does RpGAN reach the equilibrium")
    legend(left, "upper right")
    gammas = torch.linspace(0, 2, 81).tolist()
    true = [float(penalised_eigenvalues(g).real.max()) for g in gammas]
    printed = [max((-g / 2 + s * cmath.sqrt(g * g / 4 - 0.5)).real for s in (1, -1)) for g in gammas]
    right.plot(gammas, true, color=PALETTE[2], linewidth=1.4, label="with f′(0)²")
    right.plot(gammas, printed, color=GREY, linewidth=1.4, linestyle="--", label="as printed, with f′(0)")
    dots = [(g, float(_spectrum(g).real.max())) for g in (0.2, 0.4, 0.6, 0.8, 1.2, 1.4, 1.6, 1.8)]
    right.plot(*zip(*dots, strict=True), "o", color=INK, markersize=4, label="from the losses")
    label(right, "sum of the weights of R1 and R2", "largest real part at 0", "Equation 12 lacks a square")
    legend(right, "upper right")
    return figure


def _spectrum(gamma: float) -> Tensor:
    game = DiracGAN(RelativisticPairing(), (R1(gamma=gamma / 2), R2(gamma=gamma / 2)))
    return eigenvalues(fields.jacobian(flat(game), torch.zeros(2, dtype=torch.float64)))
