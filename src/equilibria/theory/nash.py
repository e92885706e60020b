r"""The distance from an equilibrium: what each player could gain by moving alone, and equilibria of finite games.

An equilibrium is a *definition*: no player gains by moving alone. For two players of a zero-sum value,
:math:`V(D, G^*) \le V(D^*, G^*) \le V(D^*, G)` for all ``D`` and ``G``. It does not follow from writing min max (E29),
and it may not exist (E30,
:mod:`equilibria.theory.proximal`). Strategies are parameters by name; the arguments are not changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Params = dict[str, Tensor]
Strategy = Mapping[str, Tensor]
Projection = Callable[[str, Tensor], Tensor]
Value = Callable[[Params, Params], Tensor]
"""A zero-sum value of the discriminator's and the generator's parameters: the first ascends it, the second descends."""


def nikaido_isoda(
    losses: Mapping[str, Callable[[dict[str, Tensor]], Tensor]],
    strategies: Mapping[str, Strategy],
    steps: int = 50,
    rate: float = 1e-2,
    projections: Mapping[str, Projection] | None = None,
    noise: float = 0.0,
    seed: int = 0,
) -> dict[str, float]:
    r"""What each player gains by its best response to the others (Nikaido & Isoda 1955).

    .. math:: \psi_i(\theta) = \ell_i(\theta) - \min_{\theta_i'} \ell_i(\theta_i', \theta_{-i}) \ge 0, \qquad
        \mathrm{gap}(\theta) = \sum_i \psi_i(\theta)

    The gap is zero exactly at the Nash equilibria. For two players of a zero-sum game it is the duality gap
    :math:`\max_{D'} V(D', G) - \min_{G'} V(D, G')` of Grnarova et al. 2019. Players may share parameters.

    Adam searches for the minimum from the present strategy, and the best point that it visits counts, the start
    included. So every term is non-negative and a lower bound of the true one. With ``noise`` the search starts at a
    displaced point (the perturbed gap): it leaves points where the gradient vanishes but which are not equilibria.

    Args:
        losses: each player's loss as a function of its own strategy, with the others' strategies fixed.
        strategies: each player's present parameters by name.
        steps: steps of the search.
        rate: Adam's learning rate.
        projections: each constrained player's map ``(name, tensor) -> tensor`` onto its strategy set.
        noise: standard deviation of the Gaussian displacement of the search's start.
        seed: seed of the displacement; the global generator is not used.

    Returns:
        :math:`\psi_i` by player, in the losses' units; ``inf`` if the search reached a loss of minus infinity.

    Raises:
        ValueError: a player without a strategy, or with a loss that is not one finite number at the start; a strategy
            or a projection of a player without a loss; a negative ``noise``, ``steps`` or ``rate``.

    Examples:
        The value xy on the square: the gap is \|x\| + \|y\|.

        >>> x, y = torch.tensor(0.5), torch.tensor(-0.25)
        >>> found = nikaido_isoda(
        ...     {"x": lambda own: own["x"] * y, "y": lambda own: -x * own["y"]},
        ...     {"x": {"x": x}, "y": {"y": y}},
        ...     steps=200,
        ...     projections=dict.fromkeys("xy", lambda name, value: value.clamp(-1, 1)),
        ... )
        >>> round(sum(found.values()), 4)
        0.75
    """
    if strangers := {*strategies, *(projections or {})} - losses.keys():
        raise ValueError(f"{', '.join(sorted(strangers))} have no loss; the players are {', '.join(losses) or 'none'}")
    found: dict[str, float] = {}
    for player, loss in losses.items():
        _need(player, strategies.get(player, {}))
        project = (projections or {}).get(player)
        found[player] = best_response(loss, strategies[player], steps, rate, project, noise, seed).gain
    return found


def _need(player: str, strategy: Strategy) -> None:
    if not strategy:
        raise ValueError(f"player '{player}' has no strategy; give its parameters by name")


@dataclass(frozen=True)
class Response:
    """The best response found: its parameters, and how much it lowers the player's loss (>= 0)."""

    strategy: Params
    gain: float


def best_response(
    loss: Callable[[Params], Tensor],
    strategy: Strategy,
    steps: int = 50,
    rate: float = 1e-2,
    projection: Projection | None = None,
    noise: float = 0.0,
    seed: int = 0,
) -> Response:
    """The lowest loss that Adam visits from a strategy, the strategy itself included.

    Arguments and errors as in :func:`nikaido_isoda`, for one player. Many steps of a *generator* against a fixed
    discriminator solve the inner problem of max min: the generator maps every latent code to the one point with the
    highest score (Goodfellow 2016, sec. 5.1.1), and modes are lost.

    Examples:
        >>> found = best_response(lambda own: (own["x"] - 3.0) ** 2, {"x": torch.tensor(1.0)}, steps=300, rate=0.05)
        >>> round(found.strategy["x"].item(), 2), round(found.gain, 2)
        (3.0, 4.0)
    """
    if not strategy or steps < 0 or not rate > 0 or not noise >= 0:
        given = f"{len(strategy)} parameters, {steps} steps, rate {rate}, noise {noise}"
        raise ValueError(f"{given}; want at least one parameter, steps >= 0, rate > 0, noise >= 0")
    kept = {name: value.detach().clone() for name, value in strategy.items()}
    with torch.enable_grad():
        start = loss(kept).detach()
        if start.numel() != 1:
            raise ValueError(f"a loss of shape {tuple(start.shape)}; want one number: take a mean")
        first = best = float(start)
        if not math.isfinite(first):
            raise ValueError(f"a loss is {first} at the present strategies; the gap is not defined")
        own = {name: value.requires_grad_() for name, value in _displaced(kept, noise, seed).items()}
        optimizer = torch.optim.Adam(list(own.values()), lr=rate)
        for step in range(steps + 1):
            _project(own, projection if step or noise else None)
            value = loss(own)
            here = float(value.detach())
            if here < best:  # false for NaN
                best, kept = here, {name: tensor.detach().clone() for name, tensor in own.items()}
            if step == steps or not math.isfinite(here):
                break
            grads = torch.autograd.grad(value, list(own.values()), allow_unused=True)
            for parameter, grad in zip(own.values(), grads, strict=True):
                parameter.grad = grad
            optimizer.step()
    return Response(kept, first - best)


def _displaced(strategy: Params, noise: float, seed: int) -> Params:
    if not noise:
        return {name: value.clone() for name, value in strategy.items()}
    source = torch.Generator().manual_seed(seed)
    return {
        name: value + noise * torch.randn(value.shape, generator=source, dtype=torch.float64).to(value)
        for name, value in strategy.items()
    }


@torch.no_grad()
def _project(own: Params, projection: Projection | None) -> None:
    if projection is not None:
        for name, parameter in own.items():
            parameter.copy_(projection(name, parameter))


def held_out_gap(
    losses: Mapping[str, Callable[[Params], Tensor]],
    held_out: Mapping[str, Callable[[Params], Tensor]],
    strategies: Mapping[str, Strategy],
    steps: int = 50,
    rate: float = 1e-2,
    noise: float = 0.0,
    seed: int = 0,
) -> dict[str, float]:
    """The gap as Grnarova et al. 2019 estimate it: best responses are found on one data set, evaluated on another.

    A term is negative if a response that fits the first data is worse on the second.

    Args:
        losses: each player's loss on the data of the search, as a function of its own strategy.
        held_out: the same losses on the data of the evaluation.
        strategies: like the other arguments, as in :func:`nikaido_isoda`.

    Raises:
        ValueError: a player is missing from one of the three, or a loss is not finite at the start.

    Examples:
        >>> fitted, held_out = {"x": lambda own: (own["x"] - 1) ** 2}, {"x": lambda own: (own["x"] - 0.5) ** 2}
        >>> gaps = held_out_gap(fitted, held_out, {"x": {"x": torch.tensor(0.0)}}, steps=400, rate=0.05)
        >>> abs(gaps["x"]) < 1e-4
        True
    """
    if not losses.keys() == held_out.keys() == strategies.keys():
        raise ValueError(f"players {list(losses)}, {list(held_out)}, {list(strategies)} differ; give each everywhere")
    found: dict[str, float] = {}
    for player, loss in losses.items():
        answer = best_response(loss, strategies[player], steps, rate, None, noise, seed).strategy
        loss = held_out[player]
        found[player] = float(loss(dict(strategies[player])).detach() - loss(answer).detach())
    return found


def duality_gap(
    value: Value, discriminator: Strategy, generator: Strategy, steps: int = 50, rate: float = 1e-2
) -> float:
    r"""A lower bound of the duality gap of a zero-sum value (Grnarova et al. 2019).

    .. math:: DG(G, D) = \max_{D'} V(D', G) - \min_{G'} V(D, G') \ge 0

    Zero exactly at the pure Nash equilibria. If the generators include the data's law and ``V`` is that of Goodfellow
    et al. 2014, :math:`DG \ge 2\,JSD(p, q)`: the first term is :math:`-\log 4 + 2\,JSD`, the second at most
    :math:`-\log 4`. (The paper states JSD, for half the value.) Errors as in :func:`nikaido_isoda`.

    Examples:
        >>> x, y = {"x": torch.tensor(1.0)}, {"y": torch.tensor(0.0)}
        >>> value = lambda d, g: d["x"] * g["y"] - (d["x"] ** 2 - g["y"] ** 2) / 2
        >>> round(duality_gap(value, x, y, steps=400, rate=0.02), 3)
        1.0
    """
    d, g = dict(discriminator), dict(generator)
    both = {"discriminator": d, "generator": g}
    for player, strategy in both.items():
        _need(player, strategy)
    losses: dict[str, Callable[[Params], Tensor]] = {
        "discriminator": lambda own: -value(own, g),
        "generator": lambda own: value(d, own),
    }
    return sum(nikaido_isoda(losses, both, steps, rate).values())


def minimax_metric(
    value: Value, discriminator: Strategy, generator: Strategy, steps: int = 50, rate: float = 1e-2
) -> float:
    r"""A lower bound of the first term of the duality gap, :math:`\max_{D'} V(D', G)`: how good the generator is.

    For the value of Goodfellow et al. 2014 it is :math:`-\log 4 + 2\,JSD(p, q)` at most. Errors as in
    :func:`nikaido_isoda`.

    Examples:
        >>> at = {"x": torch.tensor(0.0)}
        >>> round(minimax_metric(lambda d, g: g["x"] * d["x"] - d["x"] ** 2, at, {"x": torch.tensor(2.0)}, 400), 3)
        1.0
    """
    _need("discriminator", discriminator)
    _need("generator", generator)
    held = dict(generator)
    gain = best_response(lambda own: -value(own, held), discriminator, steps, rate).gain
    return float(value(dict(discriminator), held).detach()) + gain


def pure_values(payoff: Tensor) -> tuple[float, float]:
    r"""``(min max, max min)`` of a finite game in pure strategies.

    .. math:: \max_D \min_G V \le \min_G \max_D V

    holds always. The two differ if there is no saddle point; then the order of the players matters (Goodfellow 2016,
    sec. 5.1.1). E32: the conditions in "equivalent under some conditions" are Sion's: a value convex in ``G`` and
    concave in ``D`` on compact convex sets. The parameters of networks do not meet them.

    Args:
        payoff: ``V``, ``(g, d)``: rows minimise, columns maximise.

    Raises:
        ValueError: the payoff is not a matrix of numbers.

    Examples:
        >>> pure_values(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
        (1.0, -1.0)
    """
    _check_payoff(payoff)
    return float(payoff.amax(1).amin()), float(payoff.amin(0).amax())


def saddle_points(payoff: Tensor) -> list[tuple[int, int]]:
    r"""The pure equilibria of a finite zero-sum game, as (row, column); there may be none.

    .. math:: V(G^*, D) \le V(G^*, D^*) \le V(G, D^*)

    Arguments and errors as in :func:`pure_values`.

    Examples:
        >>> saddle_points(torch.tensor([[2.0, 1.0], [3.0, 0.0]])), saddle_points(torch.eye(2))
        ([(0, 0)], [])
    """
    _check_payoff(payoff)
    both = (payoff == payoff.amax(1, keepdim=True)) & (payoff == payoff.amin(0, keepdim=True))
    return [(int(row), int(column)) for row, column in both.nonzero()]


def _check_payoff(payoff: Tensor) -> None:
    if payoff.ndim != 2 or not payoff.numel() or bool(payoff.isnan().any()):
        raise ValueError(f"a payoff of shape {tuple(payoff.shape)}; want (g, d), all numbers")
