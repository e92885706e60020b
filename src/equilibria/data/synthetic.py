"""The registered laws: the shared toy problems of the GAN literature, each with its convention fixed once."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..base.errors import ConfigError, did_you_mean
from .laws import Curves, Dirac, GaussianMixture, Law, Segment

__all__ = ["LAWS", "law"]


def _on_circle(k: int, radius: float) -> Tensor:
    angles = torch.arange(k, dtype=torch.float64) * (2.0 * math.pi / k)
    return radius * torch.stack([angles.cos(), angles.sin()], dim=1)


def _ring(radius: float, std: float) -> Law:
    return GaussianMixture(_on_circle(8, radius), std)


def ring8_u(std: float = 0.02) -> Law:
    """Eight Gaussians on a circle of radius 2, std .02 (Metz et al. 2017, unrolled GAN)."""
    return _ring(2.0, std)


def ring8_m(std: float = math.sqrt(0.02)) -> Law:
    """Eight Gaussians on a circle of radius 2 with *covariance* .02 I (D2GAN, MGAN): far easier than ring8-U."""
    return _ring(2.0, std)


def ring8_p(std: float = 0.01) -> Law:
    """Eight Gaussians on a circle of radius 1, std .01 (VEEGAN, PacGAN)."""
    return _ring(1.0, std)


def grid25(std: float = 0.05) -> Law:
    """Twenty-five Gaussians at {-4, -2, 0, 2, 4}², std .05 (PacGAN)."""
    axis = torch.tensor([-4.0, -2.0, 0.0, 2.0, 4.0], dtype=torch.float64)
    return GaussianMixture(torch.cartesian_prod(axis, axis), std)


def circle(std: float = 0.05) -> Law:
    """A hundred Gaussians on a circle of radius 2 and one of triple weight at its centre (after BourGAN's circle).

    The radius and std are ours: the paper's picture fixes the layout, not the numbers.
    """
    centres = torch.cat([_on_circle(100, 2.0), torch.zeros(1, 2, dtype=torch.float64)])
    return GaussianMixture(centres, std, weights=[1.0] * 100 + [3.0])


def swissroll(noise: float = 0.25 / 7.5) -> Law:
    """The spiral t (cos t, sin t) / 7.5 for t uniform on [1.5π, 4.5π], with noise (Gulrajani et al. 2017, Figure 1)."""
    return Curves([Segment((1.5 * math.pi, 4.5 * math.pi), growth=1.0 / 7.5)], noise)


def moons(noise: float = 0.05) -> Law:
    """Two interleaved half circles of radius 1, the second turned over and moved by (1, ½), with noise."""
    upper = Segment((0.0, math.pi), radius=1.0)
    lower = Segment((0.0, math.pi), start=(1.0, 0.5), radius=1.0, phase=math.pi)
    return Curves([upper, lower], noise)


def parallel_lines(theta: float = 0.0, noise: float = 0.0) -> Law:
    """The points (θ, U), U uniform on [0, 1]: W₁ to the law at θ' is |θ - θ'|, their JSD log 2 nats.

    The example of Arjovsky et al. 2017 (Wasserstein GAN, Example 1).
    """
    return Curves([Segment((0.0, 1.0), start=(theta, 0.0), slope=(0.0, 1.0))], noise)


def dirac(at: float = 0.0) -> Law:
    """The point mass on the line at ``at``."""
    return Dirac([at])


def gaussian(mean: float = 0.0, std: float = 1.0) -> Law:
    """The normal law on the line: the target of Goodfellow et al. 2014, Figure 1."""
    return GaussianMixture([[mean]], std)


def mescheder_gaussian(std: float = 1.0) -> Law:
    """The planar Gaussian at the origin (Mescheder et al. 2018, section 4.1)."""
    return GaussianMixture([[0.0, 0.0]], std)


def mescheder_line(noise: float = 0.0) -> Law:
    """Uniform on the segment from (-1, 0) to (1, 0) (Mescheder et al. 2018, section 4.1)."""
    return Curves([Segment((-1.0, 1.0), slope=(1.0, 0.0))], noise)


def mescheder_circle(noise: float = 0.0) -> Law:
    """Uniform on the unit circle (Mescheder et al. 2018, section 4.1)."""
    return Curves([Segment((0.0, 2.0 * math.pi), radius=1.0)], noise)


def mescheder_four_lines(noise: float = 0.0) -> Law:
    """Uniform on four parallel segments of length 2 at heights ±½ and ±1½ (after Mescheder et al. 2018, section 4.1).

    The heights are ours: the paper says four lines and shows them in a figure only.
    """
    heights = (-1.5, -0.5, 0.5, 1.5)
    return Curves([Segment((-1.0, 1.0), start=(0.0, y), slope=(1.0, 0.0)) for y in heights], noise)


LAWS: dict[str, Callable[..., Law]] = {
    "ring8-U": ring8_u,
    "ring8-M": ring8_m,
    "ring8-P": ring8_p,
    "grid25": grid25,
    "circle": circle,
    "swissroll": swissroll,
    "moons": moons,
    "parallel-lines": parallel_lines,
    "dirac": dirac,
    "gaussian": gaussian,
    "mescheder-gaussian": mescheder_gaussian,
    "mescheder-line": mescheder_line,
    "mescheder-circle": mescheder_circle,
    "mescheder-four-lines": mescheder_four_lines,
}
_ALIASES = {"two-moons": "moons", "swiss-roll": "swissroll"}


def canonical(name: str) -> str | None:
    """The registered spelling of a law's name without parameters, or None."""
    plain = name.strip().lower().replace("_", "-")
    plain = _ALIASES.get(plain, plain)
    return next((known for known in LAWS if known.lower() == plain), None)


@functools.lru_cache(maxsize=64)
def law(name: str) -> Law:
    """The registered law of this name; parameters follow a colon, separated by commas.

    Raises:
        ConfigError: an unknown name (with the nearest known one), or parameters that do not fit.

    Examples:
        >>> law("grid25").modes.shape
        torch.Size([25, 2])
        >>> law("parallel-lines:0.5").sample(1, torch.Generator())[0, 0]
        tensor(0.5000)
    """
    if not isinstance(name, str):
        raise ConfigError(f"{name!r:.60} is a {type(name).__name__}, and the name of a law is needed", "law('ring8-U')")
    head, _, tail = name.partition(":")
    known = canonical(head)
    if known is None:
        raise ConfigError(f"unknown law '{head}'", did_you_mean(head, LAWS))
    make = LAWS[known]
    parameters = inspect.signature(make).parameters
    texts = tail.split(",") if tail else []
    defaults = ",".join(f"{parameter.default:g}" for parameter in parameters.values())
    form = f"'{known}:{defaults}' (its {', '.join(parameters)})"
    if len(texts) > len(parameters):
        raise ConfigError(f"law '{name}' has {len(texts)} parameters", f"write {form}")
    try:
        values = [float(t) for t in texts]
    except ValueError:
        raise ConfigError(f"law '{name}': '{tail}' is not a list of numbers", f"write {form}") from None
    if not all(math.isfinite(v) for v in values):
        raise ConfigError(f"law '{name}': parameters are to be finite", f"write {form}")
    made = make(*values)
    made.name = f"{known}:{','.join(repr(v) for v in values)}" if values else known
    return made
