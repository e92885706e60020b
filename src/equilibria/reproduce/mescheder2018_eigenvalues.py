"""Eigenvalues at the equilibrium of the Dirac-GAN, from the library's losses, compared with the closed forms.

It also shows two published errors: a factor in the notebook's consensus field, and a square in R3GAN's equation 12.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..figures.images import INK
from ..figures.panels import BLUE, FONT, GREY, PALETTE, label, legend, panels
from ..games.dirac_and_bilinear import DiracGAN, UniformGAN
from ..losses import R1, R2, GradientPenalty, Minimax, NonSaturating, Penalty, Wasserstein
from ..theory import fields
from ..theory.fields import Map
from ..theory.spectra import (
    alternating_eigenvalues,
    consensus_eigenvalues,
    critical_damping,
    eigenvalues,
    noised_eigenvalues,
    penalised_eigenvalues,
)
from .claim import Check, Claim, Outcome, at_most, close
from .toy_fields import flat

CLAIM = Claim(
    paper="mescheder2018",
    figure="sections 2 to 4, Lemmas on the Dirac-GAN; the table of eigenvalues",
    statement="At the equilibrium the unregularised fields only turn; noise, R1, R2 and consensus damp, "
    "R1 and R2 critically at gamma = 2 |f'(0)|; an alternating step stays on the unit circle up to alpha = 2.",
    printed="GAN, NSGAN ± i f'(0); WGAN ± i; noise f'' s^2 ± sqrt(f''^2 s^4 - f'^2); R1, R2 -g/2 ± sqrt(g^2/4 - "
    "f'^2); consensus -g f'^2 ± i f'",
    derived="WGAN-GP not differentiable: its field jumps by 2 lambda g0",
    tolerance="1e-6 on every eigenvalue; R3GAN's printed form is off by .5 at gamma = 1, the notebook's by half its "
    "term. On D = psi x R1 and R2 are one term; D = w x^2 tells them apart: gamma 4 w E x^2 at real and at fake points",
    budget=(3, 3),
    items=("T14", "E31"),
)
GAMMAS = torch.linspace(0, 2, 41, dtype=torch.float64)
VARIANCES = torch.linspace(0.1, 4, 40, dtype=torch.float64)
RATES = torch.linspace(0.1, 4.8, 48, dtype=torch.float64)
ORIGIN = torch.zeros(2, dtype=torch.float64)
SLOPE, CURVATURE = 0.5, -0.25


def run(quick: bool) -> Outcome:
    spectra = {
        "R1": [_spectrum(flat(DiracGAN(penalties=(R1(gamma=float(g)),)))) for g in GAMMAS],
        "R2": [_spectrum(flat(DiracGAN(penalties=(R2(gamma=float(g)),)))) for g in GAMMAS],
        "noise": [_spectrum(flat(DiracGAN(noise=float(s) ** 0.5))) for s in VARIANCES],
        "consensus": [_spectrum(fields.consensus(flat(DiracGAN()), float(g))) for g in GAMMAS],
    }
    closed = {
        "R1": [penalised_eigenvalues(float(g)) for g in GAMMAS],
        "R2": [penalised_eigenvalues(float(g)) for g in GAMMAS],
        "noise": [noised_eigenvalues(float(s)) for s in VARIANCES],
        "consensus": [consensus_eigenvalues(float(g)) for g in GAMMAS],
    }
    steps = {name: torch.stack([_spectrum_of_step(name, float(h)) for h in RATES]) for name in STEPS}
    turning = {"GAN": (Minimax(), SLOPE), "NSGAN": (NonSaturating(), SLOPE), "WGAN": (Wasserstein(), 1.0)}
    checks = [
        at_most(f"{name}: error of ± i f'(0)", _apart(_spectrum(flat(DiracGAN(o))), penalised_eigenvalues(0, f)), 1e-6)
        for name, (o, f) in turning.items()
    ]
    checks += [
        at_most(f"{name}: largest error", max(map(_apart, found, closed[name])), 1e-6)
        for name, found in spectra.items()
    ]
    checks += [
        at_most(f"{name} step: largest error", max(map(_apart, found, map(STEPS[name], RATES.tolist()))), 1e-6)
        for name, found in steps.items()
    ]
    fastest = float(GAMMAS[torch.stack([s.real.max() for s in spectra["R1"]]).argmin()])
    checks += [close("weight of R1 with the fastest decay", fastest, critical_damping(), 0.025), *_sides(), *_errors()]
    at_one = {name: [str(z) for z in found[20].tolist()] for name, found in spectra.items()}
    return Outcome(_draw(spectra, closed, steps), tuple(checks), {"eigenvalues at gamma = 1, s^2 = 2.1": at_one})


def _spectrum(v: Map) -> Tensor:
    return eigenvalues(fields.jacobian(v, ORIGIN))


def _apart(found: Tensor, expected: Tensor) -> float:
    """The Hausdorff distance of two spectra."""
    distances = (found[:, None] - expected[None]).abs()
    return float(torch.maximum(distances.amin(1).max(), distances.amin(0).max()))


def _spectrum_of_step(name: str, h: float) -> Tensor:
    v = flat(DiracGAN())
    step = {
        "simultaneous": fields.simultaneous(v, h),
        "alternating": fields.alternating(v, h),
        "extragradient": fields.extragradient(v, h),
        "optimistic": fields.optimistic(v, h),
    }[name]
    return eigenvalues(fields.jacobian(step, torch.zeros(4 if name == "optimistic" else 2, dtype=torch.float64)))


def _optimistic(h: float) -> Tensor:
    """The roots of m^2 - (1 + 2 h l) m + h l for both eigenvalues l of the field."""
    roots = []
    for turn in (h * SLOPE * 1j, -h * SLOPE * 1j):
        half, root = (1 + 2 * turn) / 2, cmath.sqrt((1 + 2 * turn) ** 2 / 4 - turn)
        roots += [half + root, half - root]
    return torch.tensor(roots, dtype=torch.complex128)


STEPS: dict[str, Callable[[float], Tensor]] = {
    "simultaneous": lambda h: 1 + h * penalised_eigenvalues(0.0),
    "alternating": alternating_eigenvalues,
    "extragradient": lambda h: 1 + h * penalised_eigenvalues(0.0) + (h * penalised_eigenvalues(0.0)) ** 2,
    "optimistic": _optimistic,
}


def _sides() -> tuple[Check, ...]:
    """Uniform data and G = 2 z with D = w x^2, w = .3: E |2 w x|^2 is 4 w^2/3 at real points, 16 w^2/3 at fake ones."""
    gamma, at = 1.5, torch.tensor([0.3, 2.0], dtype=torch.float64)

    def pull(*penalties: Penalty) -> float:
        fields_at = [flat(UniformGAN(Minimax(), penalties=chosen))(at) for chosen in ((), penalties)]
        return float((fields_at[0] - fields_at[1])[0])

    return (
        close("R1 on D = w x^2: its pull on w", pull(R1(gamma=gamma)), gamma * 4 * 0.3 / 3, 1e-9),
        close("R2 on D = w x^2: its pull on w", pull(R2(gamma=gamma)), gamma * 16 * 0.3 / 3, 1e-9),
    )


def _errors() -> tuple[Check, ...]:
    """Published formulas that are wrong, and WGAN-GP's field, which has no Jacobian."""
    printed = torch.tensor([-0.5 + cmath.sqrt(0.25 - SLOPE), -0.5 - cmath.sqrt(0.25 - SLOPE)], dtype=torch.complex128)
    here = _spectrum(flat(DiracGAN(penalties=(R1(gamma=1.0),))))
    penalised = flat(DiracGAN(Wasserstein(), (GradientPenalty(weight=0.5, center=0.3),)))
    sides = [penalised(torch.tensor([0.0, side], dtype=torch.float64))[1] for side in (1e-9, -1e-9)]
    # At (theta, phi) = (1, 1) in the paper's sign; grad L is what consensus subtracts.
    v, at = flat(DiracGAN()), torch.tensor([1.0, -1.0], dtype=torch.float64)
    pull = -float((v(at) - fields.consensus(v, 1.0)(at))[1])
    f1 = float(torch.sigmoid(torch.tensor(-1.0, dtype=torch.float64)))
    first, second = f1**2, 2 * f1 * -(f1 * (1 - f1))
    return (
        close("R3GAN's eq. 12 as printed, without the square, at gamma = 1: off by", _apart(here, printed), 0.5, 1e-6),
        close("WGAN-GP: jump of the field across psi = 0", float(sides[0] - sides[1]), 0.6, 1e-6),
        at_most("consensus: error of phi f'^2 + theta (phi^2 + theta^2) f' f''", abs(pull - first - second), 1e-12),
        close("consensus with the notebook's half: off by", abs(pull - first - second / 2), abs(second / 2), 1e-12),
    )


def _draw(spectra: dict[str, list[Tensor]], closed: dict[str, list[Tensor]], steps: dict[str, Tensor]) -> Figure:
    figure, axes = panels(2, 2, height=2.7)
    for here, name, at in ((axes[0], "R1", GAMMAS), (axes[1], "noise", VARIANCES), (axes[2], "consensus", GAMMAS)):
        _branches(here, at, spectra[name], closed[name])
    printed = [-g / 2 + cmath.sqrt(g * g / 4 - SLOPE).real for g in GAMMAS.tolist()]
    axes[0].plot(
        GAMMAS, printed, color=GREY, linewidth=1.2, linestyle="--", label="R3GAN's eq. 12 as printed, real part"
    )
    axes[0].axvline(1.0, ymin=0.35, color=INK, linewidth=0.7, linestyle=":")
    axes[0].text(1.03, 0.62, "critical, γ = 1", fontsize=7.5, color=INK, family=FONT)
    label(axes[0], "weight γ of R1 or R2", "eigenvalue at 0", "R1, R2: −γ/2 ± √(γ²/4 − f′²) (dots: from the losses)")
    label(
        axes[1],
        "variance s² of instance noise",
        "eigenvalue at 0",
        "Noise: f″s² ± √(f″²s⁴ − f′²) (dots: from the losses)",
    )
    label(axes[2], "weight γ of consensus", "eigenvalue at 0", "Consensus: −γf′² ± i f′ (dots: from the losses)")
    for here in axes[:3]:
        here.set_ylim(-2.1, 1.0)
        legend(here, "lower left")
    for (name, found), colour in zip(steps.items(), PALETTE, strict=False):
        axes[3].plot(RATES, found.abs().amax(1), color=colour, linewidth=1.4, label=name)
    axes[3].axhline(1.0, color=INK, linewidth=0.7, linestyle=":")
    axes[3].set_ylim(0.2, 2.0)
    label(axes[3], "step size h", "largest modulus of a step", "GAN: one step contracts where the line is below 1")
    legend(axes[3], "lower right")
    return figure


def _branches(axes: Axes, at: Tensor, found: list[Tensor], expected: list[Tensor]) -> None:
    lines, dots = torch.stack(expected), torch.stack(found)
    order = torch.stack([sorted_by_parts(row) for row in lines]), torch.stack([sorted_by_parts(row) for row in dots])
    for part, colour in (("real", BLUE), ("imag", PALETTE[1])):
        exact, measured = (getattr(values, part) for values in order)
        axes.plot(at, exact, color=colour, linewidth=1.0)
        name = {"real": "real part", "imag": "imaginary part"}[part]
        axes.plot(
            at[::2],
            measured[::2, 0],
            "o",
            color=colour,
            markersize=3,
            label=name,
        )
        axes.plot(at[::2], measured[::2, 1], "o", color=colour, markersize=3)


def sorted_by_parts(spectrum: Tensor) -> Tensor:
    """A pair of eigenvalues with the larger real part first, then the larger imaginary part."""
    pairs = sorted(spectrum.tolist(), key=lambda z: (-round(z.real, 6), -z.imag))
    return torch.tensor(pairs, dtype=torch.complex128)
