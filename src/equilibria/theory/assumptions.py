r"""The six assumptions behind "a GAN minimises a Jensen-Shannon divergence", each relaxed separately on 2-D data.

Nie & Patel list them: (1) the laws have densities; (2) the discriminator is a classifier with equal priors; (3) the
discriminator and (4) the generator have enough capacity; (5) the divergence is the JSD; (6) the samples are the
population. Every function here breaks one assumption and keeps the others. It returns the same numbers with the
assumption (``control``) and without it (``relaxed``). The case of two finite players whose training circles an
existing equilibrium is the Dirac-GAN's, and not treated here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .checks import check_positive
from .divergences import js, total_variation
from .generalization import Parameters, ascend, critic_value, generalization_gap
from .landscape import fit_mixture, mixture_density
from .transport import assignment, costs

Numbers = dict[str, float]


class Evidence(NamedTuple):
    """The same numbers with an assumption and without it."""

    control: Numbers
    relaxed: Numbers


def relax_density(offset: float = 0.5, thickness: float = 0.5, points: int = 1024, seed: int = 0) -> Evidence:
    r"""Assumption 1: two parallel segments, ``offset`` apart, with Gaussian noise of std ``thickness`` or with none.

    Without noise the fitted discriminator's estimate of JSD goes to ``log 2`` and the saturating loss has slope zero.

    Args:
        offset: distance of the segments.
        thickness: standard deviation of the noise of the control.
        points: number of points of each law, in the fit and again in the evaluation.
        seed: seed of all randomness.

    Returns:
        ``js`` estimated on fresh points, in nats; ``saturating`` and ``nonsaturating``, sizes of the slope of the
        generator's two losses in ``offset``.

    Raises:
        ValueError: a number that is not positive.

    Examples:
        >>> found = relax_density(points=64)
        >>> found.relaxed["saturating"] < 0.1 * found.control["saturating"]
        True
    """
    if not min(offset, thickness, points) > 0:
        raise ValueError(f"offset {offset}, thickness {thickness}, points {points}; all must be > 0")

    def numbers(noise: float) -> Numbers:
        draw = torch.Generator().manual_seed(seed)

        def sample(at: float) -> Tensor:
            line = torch.stack([torch.full((points,), at), torch.rand(points, generator=draw)], 1)
            return line + noise * torch.randn(points, 2, generator=draw)

        real, fake = sample(0.0), sample(offset)
        fitted = _fit(real, fake, _network(2, 24, draw), steps=200)
        fresh = sample(offset).requires_grad_()
        with torch.enable_grad():
            scores = _network_score(fitted, fresh)
            slopes = [
                float(torch.autograd.grad(loss.mean(), fresh, retain_graph=True)[0][:, 0].sum().abs())
                for loss in (logsigmoid(-scores), -logsigmoid(scores))
            ]
        value = critic_value(_network_score(fitted, sample(0.0)), scores.detach())
        return {"js": float(value) / 2, "saturating": slopes[0], "nonsaturating": slopes[1]}

    return Evidence(numbers(thickness), numbers(0.0))


def relax_equal_priors(prior: float = 0.8, points: int = 4000, seed: int = 0) -> Evidence:
    r"""Assumption 2: the ratio :math:`\Lambda = p/q` from a classifier, :math:`P(c = 1|x) = \Lambda/(1 + \Lambda)`.

    This holds for equal class priors only (E58): with a share :math:`\pi` of real examples the log-ratio is off by
    :math:`\log\frac{\pi}{1-\pi}`. The laws are N(0, I) and N((1, 0), I); their log-ratio is affine, and so is the
    classifier.

    Args:
        prior: share of real examples without the assumption, in (0, 1).
        points: number of points of each law.
        seed: seed of all randomness.

    Returns:
        ``bias``, the mean over both samples of the estimated minus the true log-ratio, in nats.

    Raises:
        ValueError: ``prior`` outside (0, 1), or no points.

    Examples:
        >>> found = relax_equal_priors(points=500)
        >>> found.relaxed["bias"] - found.control["bias"] > 1.2
        True
    """
    if not 0 < prior < 1:
        raise ValueError(f"the share of real examples {prior} must lie in (0, 1)")
    check_positive(points=points)
    draw = torch.Generator().manual_seed(seed)
    real = torch.randn(points, 2, generator=draw, dtype=torch.float64)
    fake = torch.randn(points, 2, generator=draw, dtype=torch.float64) + torch.tensor([1.0, 0.0])
    both = torch.cat([real, fake])

    def numbers(share: float) -> Numbers:
        fitted = _fit(real, fake, _affine(2, torch.float64), steps=400, share=share, score=_affine_score)
        return {"bias": float((_affine_score(fitted, both) - (0.5 - both[:, 0])).mean())}

    return Evidence(numbers(0.5), numbers(prior))


def relax_discriminator(points: int = 256, seed: int = 0) -> Evidence:
    r"""Assumption 3: eight Gaussians on a ring against one with the same mean and covariance, for two critics.

    An affine discriminator depends on the means only: its optimal score is constant, so the generator has no gradient,
    although the laws are as far apart as before.

    Args:
        points: number of points of each law, in the fit and again in the evaluation.
        seed: seed of all randomness.

    Returns:
        ``accuracy`` on fresh points; ``w1``, exact between the samples; ``w1_floor``, between two real samples.

    Raises:
        ValueError: no points.

    Examples:
        >>> found = relax_discriminator(points=64)
        >>> found.relaxed["accuracy"] < found.control["accuracy"]
        True
    """
    check_positive(points=points)
    draw = torch.Generator().manual_seed(seed)

    def ring() -> Tensor:
        return _ring(points, draw)

    def gaussian() -> Tensor:
        return math.sqrt(_RADIUS**2 / 2 + _STD**2) * torch.randn(points, 2, generator=draw)

    real, fake, real_fresh, fake_fresh = ring(), gaussian(), ring(), gaussian()
    apart: Numbers = {
        "w1": float(assignment(real, fake).cost),
        "w1_floor": float(assignment(real, real_fresh).cost),
    }

    def numbers(start: Parameters, score: _Score) -> Numbers:
        fitted = _fit(real, fake, start, steps=300, score=score)
        right = (score(fitted, real_fresh) > 0).float().mean() + (score(fitted, fake_fresh) <= 0).float().mean()
        return {"accuracy": float(right) / 2} | apart

    return Evidence(numbers(_network(2, 24, draw), _network_score), numbers(_affine(2), _affine_score))


def relax_generator(components: int = 4, seed: int = 0) -> Evidence:
    r"""Assumption 4: a ring of eight Gaussians matched by eight, or by fewer, under the exact JSD.

    The generator is a mixture of equal Gaussians with free centres and one free width, fitted on a grid. With too few
    components a positive JSD remains. Four components cover four modes and miss the others; one component spreads
    over the ring and fills its middle.

    Args:
        components: number of components of the small generator, 1 to 7.
        seed: seed of the initial centres.

    Returns:
        ``js``, the remaining JSD in nats; ``accuracy`` of the optimal discriminator, :math:`(1 + TV)/2`; ``modes``,
        the number of modes around which the fit has at least half of the data's mass.

    Raises:
        ValueError: ``components`` outside 1..7.

    Examples:
        >>> found = relax_generator()
        >>> found.control["modes"], found.relaxed["js"] > 0.1
        (8.0, True)
    """
    if not 1 <= components < _MODES:
        raise ValueError(f"a generator of {components} components is not smaller than the data's {_MODES}; pass 1 to 7")
    grid, weights = _grid()
    data = mixture_density(grid, _centres(), torch.tensor(_STD))
    near = costs(grid, _centres()) < 3 * _STD

    def numbers(k: int) -> Numbers:
        start = torch.Generator().manual_seed(seed)
        centres = _centres()[:: _MODES // k][:k] + 0.1 * torch.randn(k, 2, generator=start)
        fit = fit_mixture("js", data, grid, weights, centres, 2 * _STD).density
        share = ((fit * weights) @ near.double()) / ((data * weights) @ near.double())
        return {
            "js": float(js(data, fit, weights)),
            "accuracy": (1 + float(total_variation(data, fit, weights))) / 2,
            "modes": float((share >= 0.5).sum()),
        }

    return Evidence(numbers(_MODES), numbers(components))


def relax_divergence(name: str = "reverse-kl", separation: float = 2.0) -> Evidence:
    r"""Assumption 5: one Gaussian fitted to two at :math:`(\pm d, 0)`, under the forward KL or another divergence.

    The forward KL matches moments: it covers both modes, with :math:`\sigma^2 = d^2/2 + s^2`. The reverse KL selects
    one mode.

    Args:
        name: the other divergence, a key of ``F_DIVERGENCES``.
        separation: ``d``, at most 3.

    Returns:
        ``centre``, distance of the fit's centre from the middle; ``width``, its standard deviation. ``control`` is
        the forward KL, ``relaxed`` the other.

    Raises:
        ValueError: unknown name, or ``separation`` outside (0, 3].

    Examples:
        >>> found = relax_divergence()
        >>> found.relaxed["width"] < 0.5 < found.control["width"]
        True
    """
    if not 0 < separation <= 3:
        raise ValueError(f"the separation {separation} must lie in (0, 3], so that the fits stay on the grid")
    grid, weights = _grid()
    data = mixture_density(grid, torch.tensor([[separation, 0.0], [-separation, 0.0]]), torch.tensor(_STD))
    start = torch.tensor([[separation / 2, 0.0]])

    def numbers(divergence: str) -> Numbers:
        fit = fit_mixture(divergence, data, grid, weights, start, separation / 2)
        return {"centre": float(fit.centres.norm()), "width": fit.std}

    return Evidence(numbers("kl"), numbers(name))


def relax_population(points: int = 50, seed: int = 0, steps: int = 100) -> Evidence:
    r"""Assumption 6: the ring of eight Gaussians is known only through ``points`` samples.

    The empirical objective has one minimiser, the empirical law: its samples are training points, with JSD 0 to the
    training set and ``log 2`` to the population. Here free generated points start as Gaussian noise and descend their
    exact squared transport cost to the data. And a large critic separates two samples of *one* law, but only the rows
    on which it was trained.

    Args:
        points: size of the training set.
        seed: seed of all randomness.
        steps: descent steps of the generated points; 0 leaves them untrained.

    Returns:
        ``to_train`` and ``to_test``, mean distances of generated points to the nearest training and the nearest fresh
        one; ``critic_train`` and ``critic_held_out``, a fitted critic's distance between two samples of the same law,
        on the samples of the fit and on others, in nats. In ``control`` every step has a new sample of the population
        as its data, and the critic is fitted to 20 times as many points.

    Raises:
        ValueError: fewer than 2 points, or a negative number of steps.

    Examples:
        >>> found = relax_population(points=20)
        >>> found.relaxed["to_train"] < 1e-4, found.relaxed["critic_train"] > found.relaxed["critic_held_out"]
        (True, True)
    """
    if points < 2:
        raise ValueError(f"a training set of {points} points; at least 2 are needed")
    if steps < 0:
        raise ValueError(f"{steps} descent steps; the number must be >= 0")
    draw = torch.Generator().manual_seed(seed)
    train, test = _ring(points, draw), _ring(points, draw)
    start = _network(2, 24, draw)

    def numbers(made: Tensor, n: int) -> Numbers:
        first, second, third, fourth = (_ring(n, draw) for _ in range(4))
        seen = generalization_gap(_network_score, start, (first, second), (third, fourth), 300, 0.02)
        return {
            "to_train": float(costs(made, train).min(1).values.mean()),
            "to_test": float(costs(made, test).min(1).values.mean()),
            "critic_train": seen.train,
            "critic_held_out": seen.held_out,
        }

    noise = torch.randn(points, 2, generator=draw)
    fresh = _descended(noise, lambda: _ring(points, draw), steps)
    learned = _descended(noise, lambda: train, steps)
    return Evidence(numbers(fresh, 20 * points), numbers(learned, points))


ASSUMPTIONS: dict[str, Callable[[], Evidence]] = {
    "density": relax_density,
    "equal-priors": relax_equal_priors,
    "discriminator": relax_discriminator,
    "generator": relax_generator,
    "divergence": relax_divergence,
    "population": relax_population,
}


def _descended(start: Tensor, data: Callable[[], Tensor], steps: int, rate: float = 0.2) -> Tensor:
    """Generated points after gradient steps on the mean squared distance to their partners in an optimal matching."""
    made = start
    for _ in range(steps):
        at = made.clone().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(assignment(at, data(), order=2.0).cost, at)
        made = made - rate * len(made) / 2 * slope
    return made


_Score = Callable[[Parameters, Tensor], Tensor]
_MODES, _RADIUS, _STD = 8, 2.0, 0.3


def _centres() -> Tensor:
    angles = torch.arange(_MODES) * (2 * math.pi / _MODES)
    return _RADIUS * torch.stack([angles.cos(), angles.sin()], 1).double()


def _ring(n: int, draw: torch.Generator) -> Tensor:
    modes = torch.randint(_MODES, (n,), generator=draw)
    return _centres().float()[modes] + _STD * torch.randn(n, 2, generator=draw)


def _network(inputs: int, width: int, draw: torch.Generator) -> dict[str, Tensor]:
    sizes = (inputs, width, width, 1)
    layers = enumerate(itertools.pairwise(sizes))
    made = {f"w{i}": torch.randn(a, b, generator=draw) / math.sqrt(a) for i, (a, b) in layers}
    return made | {f"b{i}": torch.zeros(size) for i, size in enumerate(sizes[1:])}


def _network_score(parameters: Parameters, x: Tensor) -> Tensor:
    for layer in range(2):
        x = torch.nn.functional.leaky_relu(x @ parameters[f"w{layer}"] + parameters[f"b{layer}"], 0.2)
    return (x @ parameters["w2"] + parameters["b2"])[:, 0]


def _affine(inputs: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {"w": torch.zeros(inputs, dtype=dtype), "b": torch.zeros((), dtype=dtype)}


def _affine_score(parameters: Parameters, x: Tensor) -> Tensor:
    return x @ parameters["w"] + parameters["b"]


def _fit(
    real: Tensor, fake: Tensor, start: Parameters, steps: int, share: float = 0.5, score: _Score = _network_score
) -> Parameters:
    """Maximum likelihood of a classifier with this share of real examples."""

    def likelihood(own: Parameters) -> Tensor:
        return share * logsigmoid(score(own, real)).mean() + (1 - share) * logsigmoid(-score(own, fake)).mean()

    return ascend(likelihood, start, steps, rate=0.02)


def _grid() -> tuple[Tensor, Tensor]:
    axis = torch.linspace(-5, 5, 81, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    return grid, torch.full((len(grid),), float(axis[1] - axis[0]) ** 2, dtype=torch.float64)
