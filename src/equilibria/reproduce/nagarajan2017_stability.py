"""Local stability of gradient descent on GANs: the uniform example, its WGAN twin, the gradient-norm regulariser."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from ..core.game import make_draw
from ..figures.images import INK
from ..figures.panels import BLUE, FONT, PALETTE, label, legend, logarithmic, panels
from ..games.dirac_and_bilinear import UniformGAN
from ..losses import Minimax, Objective, Wasserstein
from ..theory import fields
from ..theory.spectra import eigenvalues, equilibrium_jacobian, regulariser_bound, stability_bounds
from .claim import Check, Claim, Outcome, at_least, at_most, close
from .toy_fields import flat, recorded

CLAIM = Claim(
    paper="nagarajan2017",
    figure="Proposition 3.1, Theorem 3.1, section 4",
    statement="A GAN's value can be concave in both players, and its equilibrium is exponentially stable all the same; "
    "the WGAN's is not, and a penalty on the discriminator's gradient makes it so.",
    printed="Re <= f''(0) lmin(K_DD); stable for eta < 1/(2 lmax(-J_DD))",
    derived="eigenvalues -.05 ± .3296i (WGAN: ± 2i/3); eta < 5 in the example; stable for every eta > 0, GAN and WGAN",
    tolerance="-.05 and 0 to 1e-6, .3296 to its digits; signs on a grid; bounds in 200 random systems to 1e-9, and "
    "attained where one parameter plays one: the complex bound to 1e-9, the real one in the limit to 1e-3. The bound "
    "on eta is no threshold: beyond it, up to 1,000 times, the GAN stays stable",
    budget=(5, 5),
    items=("T6", "T7", "T8", "E26", "E27"),
)
AT = torch.tensor([0.0, 1.0], dtype=torch.float64)  # w, a
START = torch.tensor([0.2, 0.8], dtype=torch.float64)
ETAS = torch.linspace(0, 8, 33, dtype=torch.float64)
NODES, H, STEPS = 24, 0.1, 600
VALUES: dict[str, Objective] = {"GAN": Minimax(), "WGAN": Wasserstein()}


def run(quick: bool) -> Outcome:
    jacobians = {name: fields.jacobian(flat(_game(objective)), AT) for name, objective in VALUES.items()}
    spectra = {name: eigenvalues(found) for name, found in jacobians.items()}
    grid = curvatures()
    abscissae = {
        name: torch.stack([_abscissa(objective, float(eta)) for eta in ETAS]) for name, objective in VALUES.items()
    }
    paths = {
        name: _distances(objective, eta)
        for name, objective, eta in (
            ("GAN, η = 0", Minimax(), 0.0),
            ("WGAN, η = 0", Wasserstein(), 0.0),
            ("GAN, η = .5", Minimax(), 0.5),
            ("WGAN, η = .5", Wasserstein(), 0.5),
        )
    }
    bound = regulariser_bound(jacobians["GAN"][:1, :1])
    checks = (*_of_spectra(jacobians, spectra), *_of_signs(*grid), *_of_regulariser(bound, abscissae, paths))
    numbers = {
        "eigenvalues": {name: [str(z) for z in found.tolist()] for name, found in spectra.items()},
        "bound on eta": bound,
        "largest real part at twice the bound on eta (GAN)": float(_abscissa(Minimax(), 2 * bound)),
        f"distance after {STEPS} steps of {H}": {name: float(path[-1]) for name, path in paths.items()},
    }
    return Outcome(_draw(spectra, grid, abscissae, paths, bound), checks, numbers)


def _game(objective: Objective) -> UniformGAN:
    return UniformGAN(objective, nodes=NODES)


def curvatures(points: int = 61) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``w`` on [-2, 2], ``a`` on [0, 2], and the value's second derivatives in each on the grid, rows of one ``w``."""
    game = _game(Minimax())
    draw = make_draw(game.draw({}), seed=0)

    def value(x: Tensor) -> Tensor:
        lost: Tensor = torch.func.functional_call(game, {"w": x[0], "a": x[1]}, ("loss", "discriminator", draw)).total
        negative: Tensor = -lost
        return negative

    w, a = (torch.linspace(low, 2, points, dtype=torch.float64) for low in (-2, 0))
    both: Tensor = torch.func.vmap(lambda x: fields.hessian(value, x), chunk_size=500)(torch.cartesian_prod(w, a))
    found = both.detach().diagonal(dim1=1, dim2=2).reshape(points, points, 2)
    return w, a, found[..., 0], found[..., 1]


def _abscissa(objective: Objective, eta: float) -> Tensor:
    regularised = fields.gradient_regularised(flat(_game(objective)), "generator", "discriminator", eta)
    return eigenvalues(fields.jacobian(regularised, AT)).real.max()


def _distances(objective: Objective, eta: float) -> Tensor:
    """The distance from the equilibrium along simultaneous steps, ``(STEPS + 1,)``."""
    v = fields.gradient_regularised(flat(_game(objective)), "generator", "discriminator", eta)
    step = fields.simultaneous(recorded(v, START[None]), H)
    distances: Tensor = (fields.orbit(step, START[None], STEPS)[:, 0] - AT).norm(dim=1)
    return distances


def _of_spectra(jacobians: dict[str, Tensor], spectra: dict[str, Tensor]) -> tuple[Check, ...]:
    k_dd, k_dg = torch.tensor([[0.2]], dtype=torch.float64), torch.tensor([[-2 / 3]], dtype=torch.float64)
    formula = equilibrium_jacobian(k_dd, k_dg, 0.5, -0.25)
    return (
        close("GAN: real part", float(spectra["GAN"][0].real), -0.05, 1e-6),
        close("GAN: imaginary part", float(spectra["GAN"][0].imag), 0.3296, 5e-5),
        at_most("GAN: error of the theorem's Jacobian", float((jacobians["GAN"] - formula).abs().max()), 1e-9),
        close("WGAN: real part", float(spectra["WGAN"][0].real), 0.0, 1e-6),
        close("WGAN: imaginary part", float(spectra["WGAN"][0].imag), 2 / 3, 1e-6),
        at_most("rates: largest excess over the theorem's bounds, 200 random systems", excess_over_bounds(200), 1e-9),
        *_of_tightness(),
    )


def _of_tightness() -> tuple[Check, ...]:
    """Systems of one parameter each, in which the bounds are attained: a weaker bound is not the theorem's."""
    k_dd, near = torch.tensor([[0.2]], dtype=torch.float64), 1e-3
    of_complex, _ = stability_bounds(k_dd, torch.tensor([[2 / 3]], dtype=torch.float64), 0.5, -0.25)
    weak = torch.tensor([[near]], dtype=torch.float64)
    _, of_real = stability_bounds(k_dd, weak, 0.5, -0.25)
    slowest = eigenvalues(equilibrium_jacobian(k_dd, weak, 0.5, -0.25))[0]
    return (
        close("rates: the complex bound where it is attained", of_complex, -0.05, 1e-9),
        close(
            "rates: slowest real eigenvalue over its bound as K_DG goes to 0", float(slowest.real) / of_real, 1, 1e-3
        ),
    )


def excess_over_bounds(systems: int, seed: int = 0) -> float:
    """The largest excess of an eigenvalue's real part over the theorem's bound, over random ``K_DD`` and ``K_DG``.

    Three parameters of the discriminator, two of the generator, full rank; scales vary over two decades so that real
    and complex eigenvalues occur.
    """
    source = torch.Generator().manual_seed(seed)
    worst = -torch.inf
    for _ in range(systems):
        root = torch.randn(3, 3, generator=source, dtype=torch.float64)
        scale = 10 ** float(2 * torch.rand((), generator=source) - 1)
        k_dd, k_dg = scale * root @ root.T, torch.randn(3, 2, generator=source, dtype=torch.float64)
        of_complex, of_real = stability_bounds(k_dd, k_dg, 0.5, -0.25)
        for z in eigenvalues(equilibrium_jacobian(k_dd, k_dg, 0.5, -0.25)).tolist():
            worst = max(worst, z.real - (of_complex if abs(z.imag) > 1e-9 else of_real))
    return worst


def _of_signs(w: Tensor, a: Tensor, in_w: Tensor, in_a: Tensor) -> tuple[Check, ...]:
    return (
        at_most("largest d²V/dw² on the grid", float(in_w.max()), 1e-12),
        at_most("largest d²V/da² where w >= 0", float(in_a[w > -1e-9].max()), 1e-12),
        at_least("largest d²V/da² where w < 0 (not concave everywhere)", float(in_a[w < -1e-9].max()), 0.1),
    )


def _of_regulariser(bound: float, abscissae: dict[str, Tensor], paths: dict[str, Tensor]) -> tuple[Check, ...]:
    left = {name: float(path[-1] / path[0]) for name, path in paths.items()}
    inside = abscissae["GAN"][bound - ETAS > 1e-9]
    beyond = torch.stack([_abscissa(Minimax(), bound * times) for times in (1.0, 1.01, 2.0, 30.0, 1000.0)])
    return (
        close("bound on eta, GAN", bound, 5.0, 1e-6),
        at_most("GAN: largest real part for eta inside the bound", float(inside.max()), -0.05 + 1e-6),
        at_most("GAN: largest real part at 1 to 1,000 times the bound: no threshold", float(beyond.max()), -1e-6),
        close("WGAN: largest real part at eta = 0", float(abscissae["WGAN"][0]), 0.0, 1e-6),
        at_most("WGAN: largest real part for eta in [.25, 8]", float(abscissae["WGAN"][1:].max()), -1e-6),
        at_least("WGAN, eta = 0: last distance over first", left["WGAN, η = 0"], 1.0),
        at_most("WGAN, eta = .5: last distance over first", left["WGAN, η = .5"], 1e-3),
    )


def _draw(
    spectra: dict[str, Tensor],
    grid: tuple[Tensor, ...],
    abscissae: dict[str, Tensor],
    paths: dict[str, Tensor],
    bound: float,
) -> Figure:
    figure, (plane, signs, weights, steps) = panels(2, 2, height=2.7)
    for (name, found), colour, mark in zip(spectra.items(), PALETTE, "os", strict=False):
        plane.plot(found.real, found.imag, mark, color=colour, markersize=5, label=name)
    plane.axvline(-0.05, color=INK, linewidth=0.8, linestyle=":", label="bound f″(0) λmin(K_DD)")
    plane.axvline(0, color=INK, linewidth=0.6)
    plane.set(xlim=(-0.08, 0.13), ylim=(-0.9, 0.9))
    label(plane, "real part", "imaginary part", "Spectrum at w = 0, a = 1: only the GAN's is left of 0")
    legend(plane, "center right")
    _signs(signs, *grid)
    for (name, found), colour in zip(abscissae.items(), PALETTE, strict=False):
        weights.plot(ETAS, found, color=colour, linewidth=1.4, label=name)
    weights.axvline(bound, ymax=0.68, color=INK, linewidth=0.8, linestyle=":", label="bound, GAN (sufficient only)")
    weights.axhline(0, color=INK, linewidth=0.6)
    label(weights, "weight η of ‖∇V‖² in the generator's loss", "largest real part", "Stable for every η > 0 here")
    weights.set_ylim(-0.72, 0.35)
    legend(weights, "upper right")
    for (name, path), colour, style in zip(
        paths.items(), (*PALETTE[:2], *PALETTE[:2]), ("-", "-", "--", "--"), strict=True
    ):
        steps.plot(path, color=colour, linestyle=style, linewidth=1.3, label=name)
    logarithmic(steps, y=True)
    label(steps, f"simultaneous steps of {H}", "distance from (0, 1)", "WGAN needs the regulariser, the GAN does not")
    legend(steps, "lower left")
    return figure


def _signs(axes: Axes, w: Tensor, a: Tensor, in_w: Tensor, in_a: Tensor) -> None:
    axes.pcolormesh(w, a, (in_a.T > 1e-12).double(), cmap=ListedColormap(["#d6e6f2", "#f6d9c6"]), shading="nearest")
    axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
    axes.plot([0], [1], marker="*", markersize=9, color=INK)
    axes.text(0.12, 0.93, "equilibrium", fontsize=8, color=INK, family=FONT, va="top")
    axes.text(0.55, 1.6, "concave in a", fontsize=8, color=BLUE, family=FONT)
    axes.text(-1.85, 0.15, "convex in a", fontsize=8, color=PALETTE[1], family=FONT)
    label(axes, "discriminator's w", "generator's a", "Sign of d²V/da²; V is concave in w everywhere")
