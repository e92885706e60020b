r"""Games without a Nash equilibrium: a counterexample, and the proximal game, which has equilibria more often.

Farnia & Ozdaglar 2020 prove that GANs may *have* no equilibrium (E30: printed as "may not reach" it). If the generator
can attain the data's law there is one, with a constant discriminator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .checks import check_positive
from .divergences import softplus
from .nash import Params, Strategy, Value, best_response
from .slopes import input_slopes

Distance = Callable[[Params, Params], Tensor]
"""The squared distance of two discriminators, 0-dim."""


def gaussian_logit(x: Tensor, s: float) -> Tensor:
    r"""The optimal logit between :math:`N(0, s^2)` and N(0, 1), the nearest law of a generator that cannot reach it.

    .. math:: h^*(x) = -\log s + \tfrac{x^2}{2}\Big(1 - \frac{1}{s^2}\Big)

    Data :math:`N(0, s^2)`, ``s > 1``, generator ``G(z) = w z + u`` with :math:`|w| \le 1`, the value of Goodfellow et
    al. 2014, any discriminator. At a Nash equilibrium the generator would minimise the divergence, so :math:`|w| = 1`
    and ``u = 0``, and the discriminator would have this logit. But the logit grows with \|x\|, so a shift ``u`` lowers
    the generator's value (:func:`gaussian_generator_value`): there is no equilibrium. Without ``u`` in the class there
    is one; existence depends on the class.

    Raises:
        ValueError: ``s`` is not above 1.

    Examples:
        >>> gaussian_logit(torch.tensor([0.0, 2.0]), s=2.0)
        tensor([-0.6931,  0.8069])
    """
    if not s > 1:
        raise ValueError(f"s={s}; the example needs data wider than the generator can be, s > 1")
    return x.square() / 2 * (1 - 1 / s**2) - float(np.log(s))


def gaussian_generator_value(u: Tensor, s: float, w: float = 1.0, nodes: int = 100) -> Tensor:
    r"""The value of the generator ``G(z) = w z + u`` of :func:`gaussian_logit` against its optimal logit, in nats.

    .. math:: E_z \log(1 - D^*(w z + u)) = -E_z\,\mathrm{sp}(h^*(w z + u))

    which the generator minimises. Computed by Gauss-Hermite quadrature.

    Args:
        u: shifts, any shape.
        s: standard deviation of the data, above 1.
        w: in [-1, 1].
        nodes: number of quadrature nodes.

    Raises:
        ValueError: ``s``, ``w`` or ``nodes`` is out of range.

    Examples:
        >>> gaussian_generator_value(torch.tensor([0.0, 3.0, 6.0]), s=2.0)
        tensor([ -0.5791,  -3.2254, -13.1825])
    """
    if not -1 <= w <= 1:
        raise ValueError(f"w={w}; the generator's class has |w| <= 1")
    check_positive(nodes=nodes)
    points, shares = np.polynomial.hermite_e.hermegauss(nodes)
    z, share = torch.from_numpy(points), torch.from_numpy(shares / shares.sum())
    found = -(softplus(gaussian_logit(w * z + u.double()[..., None], s)) * share).sum(-1)
    return found.to(u.dtype)


@dataclass(frozen=True)
class Proximal:
    r"""The proximal game of a zero-sum value (Farnia & Ozdaglar 2020).

    .. math:: V_\lambda(G, D) = \max_{D'} V(G, D') - \tfrac{\lambda}{2} \|D' - D\|^2

    :math:`\lambda \to \infty` gives ``V``, whose equilibria are Nash equilibria; :math:`\lambda = 0` gives
    :math:`\max_{D'} V`, whose equilibria are Stackelberg equilibria. The equilibria of :math:`V_\lambda` are also
    equilibria of :math:`V_{\lambda'}` for every :math:`\lambda' < \lambda`.

    Attributes:
        distance: the squared distance of two discriminators (:func:`sobolev_distance`).
        weight: :math:`\lambda \ge 0`.
        steps: Adam steps of the search for ``D'``, from ``D``.
        rate: learning rate of the search.
    """

    distance: Distance
    weight: float
    steps: int = 20
    rate: float = 0.02

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ValueError(f"weight={self.weight}; use a weight >= 0")
        check_positive(steps=self.steps, rate=self.rate)


def sobolev_distance(score: Callable[[Params, Tensor], Tensor], x: Tensor) -> Distance:
    r"""The squared Sobolev seminorm between two discriminators: :math:`E_p \|\nabla_x D' - \nabla_x D\|^2`.

    Args:
        score: ``(parameters, points) -> (n,)``.
        x: real points ``(n, ...)``.

    Examples:
        >>> far = sobolev_distance(lambda own, x: x @ own["w"], torch.zeros(5, 2))
        >>> far({"w": torch.tensor([3.0, 0.0])}, {"w": torch.tensor([0.0, 4.0])})
        tensor(25.)
    """

    def distance(one: Params, other: Params) -> Tensor:
        slopes = [input_slopes(lambda at, own=own: score(own, at), x)[1] for own in (one, other)]  # type: ignore[misc]
        return (slopes[0] - slopes[1]).square().flatten(1).sum(1).mean()

    return distance


def proximal_answer(value: Value, discriminator: Strategy, generator: Strategy, game: Proximal) -> Params:
    r"""The :math:`D'` of :math:`V_\lambda(G, D)`: a few ascent steps on the proximal objective from ``D``.

    Args:
        value: a function of the discriminator's and the generator's parameters.
        discriminator: ``D``.
        generator: ``G``.
        game: the distance, its weight, and the settings of the search.

    Raises:
        ValueError: a player without a strategy.

    Examples:
        >>> game = Proximal(lambda one, other: (one["y"] - other["y"]) ** 2, weight=1.0, steps=300)
        >>> value = lambda d, g: g["x"] * d["y"] - d["y"] ** 2 / 2
        >>> round(proximal_answer(value, {"y": torch.tensor(0.0)}, {"x": torch.tensor(1.0)}, game)["y"].item(), 3)
        0.5
    """
    _need_both(discriminator, generator)
    fixed, start = dict(generator), dict(discriminator)
    return best_response(lambda own: _lost(value, own, start, fixed, game), start, game.steps, game.rate).strategy


def _lost(value: Value, answer: Params, start: Params, generator: Params, game: Proximal) -> Tensor:
    return game.weight / 2 * game.distance(answer, start) - value(answer, generator)


def proximal_gradient(
    value: Value, discriminator: Strategy, generator: Strategy, game: Proximal
) -> tuple[Params, Params]:
    r"""One step of proximal training: the generator's gradient against the proximal answer, and that answer.

    .. math:: \nabla_G V_\lambda(G, D) = \nabla_G V(G, D')

    (Danskin; Farnia & Ozdaglar 2020, Algorithm 1.) The generator descends it; the discriminator is trained as usual.
    Errors as in :func:`proximal_answer`.

    Examples:
        >>> game = Proximal(lambda one, other: (one["y"] - other["y"]) ** 2, weight=1.0, steps=300)
        >>> value = lambda d, g: g["x"] * d["y"] - d["y"] ** 2 / 2
        >>> gradient, _ = proximal_gradient(value, {"y": torch.tensor(0.0)}, {"x": torch.tensor(1.0)}, game)
        >>> round(gradient["x"].item(), 3)
        0.5
    """
    answer = proximal_answer(value, discriminator, generator, game)
    gradient: Params = torch.func.grad(lambda own: value(answer, own))(dict(generator))
    return gradient, answer


def proximal_gap(
    value: Value,
    discriminator: Strategy,
    generator: Strategy,
    game: Proximal,
    steps: int = 50,
    rate: float = 1e-2,
) -> float:
    r"""The duality gap of the proximal game (Sidheekh et al. 2021), zero at its equilibria.

    .. math:: DG_\lambda = \max_{D'} V(D', G) - \min_{G'} V_\lambda(G', D) \ge 0

    (:math:`\max_D V_\lambda = \max_D V`, so only the second term differs from the duality gap.) It vanishes at
    Stackelberg equilibria as well if :math:`\lambda` is small, where the duality gap does not. The first term is a
    lower bound. The inner maximum of the second term is a lower bound too, which makes the gap too large: give the
    inner search enough steps. The cost is ``steps * game.steps`` evaluations. Errors as in :func:`proximal_answer`.

    Examples:
        There is no Nash equilibrium, but a Stackelberg equilibrium at 0.

        >>> value = lambda d, g: 2 * d["y"] * g["x"] - (d["y"] ** 2 + g["x"] ** 2) / 2
        >>> game = Proximal(lambda one, other: (one["y"] - other["y"]) ** 2, weight=0.5)
        >>> round(proximal_gap(value, {"y": torch.tensor(0.0)}, {"x": torch.tensor(0.0)}, game), 3)
        0.0
    """
    check_positive(rate=rate)
    d, g = dict(discriminator), dict(generator)
    answer = proximal_answer(value, d, g, game)
    best = best_response(lambda own: -value(own, g), d, steps, rate)
    most = max(float(_detached(value, d, g)) + best.gain, float(_detached(value, answer, g)))
    least = -float(_lost(value, answer, d, g, game).detach())
    own = {name: tensor.detach().clone().requires_grad_() for name, tensor in g.items()}
    optimizer = torch.optim.Adam(list(own.values()), lr=rate)
    for _ in range(steps):
        with torch.enable_grad():
            grads = torch.autograd.grad(value(answer, own), list(own.values()), allow_unused=True)
        for parameter, grad in zip(own.values(), grads, strict=True):
            parameter.grad = grad
        optimizer.step()
        here = {name: tensor.detach() for name, tensor in own.items()}
        answer = _tracked(value, d, here, game, answer)
        least = min(least, -float(_lost(value, answer, d, here, game).detach()))
    return most - least


def _tracked(value: Value, start: Params, generator: Params, game: Proximal, last: Params) -> Params:
    """The proximal answer, searched from the last one; ``D`` itself is used if it is better."""
    found = best_response(lambda own: _lost(value, own, start, generator, game), last, game.steps, game.rate).strategy
    better = _lost(value, found, start, generator, game) <= _lost(value, start, start, generator, game)
    return found if bool(better) else start


def _detached(value: Value, discriminator: Params, generator: Params) -> Tensor:
    return value(discriminator, generator).detach()


def _need_both(discriminator: Strategy, generator: Strategy) -> None:
    for player, strategy in (("discriminator", discriminator), ("generator", generator)):
        if not strategy:
            raise ValueError(f"player '{player}' has no strategy; give its parameters by name")
