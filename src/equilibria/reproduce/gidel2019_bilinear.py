"""The bilinear game under every update rule of the library, with plain gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..core.optimizers import SGD
from ..core.play import Play, Rule
from ..core.updates import Alternating, Consensus, Extragradient, Optimistic, Simultaneous, Unrolled
from ..figures.images import INK
from ..figures.panels import FONT, PALETTE, label, legend, logarithmic, panels
from ..games.dirac_and_bilinear import BilinearGame, no_batches
from .claim import Check, Claim, Outcome, at_most, close

CLAIM = Claim(
    paper="gidel2019",
    figure="section 3.1, Propositions on the bilinear game; Figure 3",
    statement="On the bilinear game simultaneous steps diverge, alternating ones stay on a closed orbit, and "
    "extragradient, its past form, optimistic, consensus and unrolled steps converge linearly.",
    printed="simultaneous steps diverge, alternating ones stay bounded, extragradient converges linearly",
    derived="factors (1 + h^2)^(t/2); alternating keeps theta^2 + psi^2 - h theta psi; extragradient ((1 - h^2)^2 + "
    "h^2)^(t/2); consensus ((1 - h gamma)^2 + h^2)^(t/2); the others by their linear maps",
    tolerance="1e-9 relative at every round, against powers of 2 x 2 or 4 x 4 matrices written from the papers' "
    "equations",
    budget=(2, 3),
    items=("T12", "T13"),
)
Matrix = npt.NDArray[np.float64]
H, GAMMA, AHEAD = 0.2, 0.5, 5
EYE, TURN = np.eye(2), np.array([[0.0, 1.0], [-1.0, 0.0]])  # the field in (theta, psi)


@dataclass(frozen=True)
class Row:
    """A rule of the library, and the linear map of one round on (point, memory) according to its equations."""

    rule: Rule
    map: Matrix


def _alternating(ahead: int) -> Matrix:
    """The discriminator moves first; the generator then uses psi - ahead h theta, the point ``ahead`` steps later."""
    first = np.array([[1.0, 0.0], [-H, 1.0]])
    then = np.array([[1.0 - 2 * ahead * H**2, H], [0.0, 1.0]])
    both: Matrix = then @ first
    return both


def _with_memory(step: Matrix, of_memory: Matrix, memory: Matrix, of_itself: Matrix) -> Matrix:
    return np.block([[step, of_memory], [memory, of_itself]])


_HV = H * TURN
ROWS: dict[str, Row] = {
    "simultaneous": Row(Simultaneous(), EYE + _HV),
    "alternating": Row(Alternating(), _alternating(0)),
    "extragradient": Row(Extragradient(), EYE + _HV + _HV @ _HV),
    # memory m = h v at the last look-ahead point: x' = x + h v(x + m), m' = h v(x + m)
    "past extragradient": Row(Extragradient(past=True), _with_memory(EYE + _HV, _HV, _HV, _HV)),
    # memory m = h v at the last point: x' = x + 2 h v(x) - m, m' = h v(x)
    "optimistic": Row(Optimistic(), _with_memory(EYE + 2 * _HV, -EYE, _HV, 0 * EYE)),
    f"consensus, γ = {GAMMA}": Row(Consensus(gamma=GAMMA), EYE + _HV - H * GAMMA * TURN.T @ TURN),
    f"unrolled, K = {AHEAD}": Row(Unrolled(steps=AHEAD), _alternating(AHEAD)),
}
COLOURS = dict(zip(ROWS, (*PALETTE, INK), strict=True))


def run(quick: bool) -> Outcome:
    rounds = 150 if quick else 300
    paths = {name: played(row.rule, rounds) for name, row in ROWS.items()}
    factors = {name: float(np.abs(np.linalg.eigvals(row.map)).max()) for name, row in ROWS.items()}
    numbers = {
        "factor a round (spectral radius)": factors,
        f"norm after {rounds} rounds": {name: float(path[-1].norm()) for name, path in paths.items()},
    }
    return Outcome(_draw(paths, factors), (*_of_maps(paths, rounds), *_closed_forms(paths, rounds)), numbers)


def _of_maps(paths: dict[str, Tensor], rounds: int) -> tuple[Check, ...]:
    return tuple(
        at_most(f"{name}: largest relative error", _error(paths[name], mapped(row.map, rounds)), 1e-9)
        for name, row in ROWS.items()
    )


def played(rule: Rule, rounds: int) -> Tensor:
    """The points of the trained game from (1, 1), ``(rounds + 1, 2)``."""
    game = BilinearGame()
    play = Play(game, rule, {p.name: SGD(lr=H) for p in game.players}, no_batches)
    play.prepare()
    points = [torch.cat([game.theta.detach(), game.psi.detach()])]
    for _ in range(rounds):
        play.advance(1)
        points.append(torch.cat([game.theta.detach(), game.psi.detach()]))
    return torch.stack(points)


def mapped(matrix: Matrix, rounds: int) -> Tensor:
    """The points from powers of the matrix, with the memory h v at the start, ``(rounds + 1, 2)``."""
    state = np.ones(2)
    if len(matrix) == 4:
        state = np.concatenate([state, H * TURN @ state])
    points = [state]
    for _ in range(rounds):
        points.append(matrix @ points[-1])
    return torch.from_numpy(np.stack(points)[:, :2])


def _error(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())


def _closed_forms(paths: dict[str, Tensor], rounds: int) -> tuple[Check, ...]:
    start, end = math.sqrt(2), {name: float(path[-1].norm()) for name, path in paths.items()}
    orbit = paths["alternating"]
    kept = orbit.square().sum(1) - H * orbit.prod(1)
    formulas: dict[str, Any] = {
        "simultaneous": 1 + H**2,
        "extragradient": (1 - H**2) ** 2 + H**2,
        f"consensus, γ = {GAMMA}": (1 - H * GAMMA) ** 2 + H**2,
    }
    norms = [(name, start * square ** (rounds / 2)) for name, square in formulas.items()]
    return (
        *(close(f"{name}: norm at the end", end[name], expected, 1e-9 * expected) for name, expected in norms),
        at_most("alternating: drift of what the orbit keeps", float((kept - kept[0]).abs().max()), 1e-10),
    )


def _draw(paths: dict[str, Tensor], factors: dict[str, float]) -> Figure:
    figure, (norms, plane) = panels(columns=2, width=4.3, height=3.4)
    for name, path in paths.items():
        style = "--" if name == "optimistic" else "-"
        caption = f"{name}: {factors[name]:.4f}"
        norms.plot(path.norm(dim=1), color=COLOURS[name], linewidth=1.4, linestyle=style, label=caption)
    logarithmic(norms, y=True)
    norms.set_ylim(1e-14, 1e3)
    label(norms, "round", "norm of (θ, ψ)", "Norm along each rule, and its factor a round (h = .2)")
    legend(norms, "lower left")
    for name in ("simultaneous", "alternating", "extragradient", f"consensus, γ = {GAMMA}"):
        path = paths[name][:90]
        plane.plot(path[:, 0], path[:, 1], color=COLOURS[name], linewidth=1.1, marker=".", markersize=2.5)
    plane.plot([1], [1], "o", color=INK, markersize=4)
    plane.text(1.1, 1.1, "start", fontsize=8, color=INK, family=FONT)
    plane.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    label(plane, "generator's θ", "discriminator's ψ", "Outwards, a closed orbit, inwards (colours as left)")
    return figure
