"""How far from an equilibrium: what each player could gain alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Strategy = Mapping[str, Tensor]
Projection = Callable[[str, Tensor], Tensor]


def nikaido_isoda(
    losses: Mapping[str, Callable[[dict[str, Tensor]], Tensor]],
    strategies: Mapping[str, Strategy],
    steps: int = 50,
    rate: float = 1e-2,
    projections: Mapping[str, Projection] | None = None,
) -> dict[str, float]:
    r"""What each player gains by its best answer to the others (Nikaido & Isoda 1955).

    .. math:: \psi_i(\theta) = \ell_i(\theta) - \min_{\theta_i'} \ell_i(\theta_i', \theta_{-i}) \ge 0, \qquad
        \mathrm{gap}(\theta) = \sum_i \psi_i(\theta)

    The gap is zero exactly at the Nash equilibria. For two players of a zero-sum game it is the duality gap
    :math:`\max_{D'} V(D', G) - \min_{G'} V(D, G')` of Grnarova et al. 2019. Players may share parameters.

    The minimum is searched for from the present strategy by Adam, and the best point seen counts, the start among them:
    so every term is non-negative and bounds the true one from below. Nothing that is given is changed, and no random
    number is drawn.

    Args:
        losses: each player's loss as a function of its own strategy, the others' held.
        strategies: each player's present parameters by name.
        steps: of the search.
        rate: Adam's.
        projections: each constrained player's map ``(name, tensor) -> tensor`` onto its strategy set.

    Returns:
        :math:`\psi_i` by player, in the losses' units; ``inf`` where the search met a loss of minus infinity.

    Raises:
        ValueError: a player without a strategy, or with a loss that is not finite at the start.

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
    found: dict[str, float] = {}
    for player, loss in losses.items():
        if not strategies.get(player):
            raise ValueError(f"player '{player}' has no strategy; give its parameters by name")
        project = (projections or {}).get(player)
        found[player] = _gain(loss, strategies[player], steps, rate, project)
    return found


def _gain(
    loss: Callable[[dict[str, Tensor]], Tensor],
    start: Strategy,
    steps: int,
    rate: float,
    project: Projection | None,
) -> float:
    own = {name: value.detach().clone().requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.Adam(list(own.values()), lr=rate)
    first = best = math.nan
    with torch.enable_grad():
        for step in range(steps + 1):
            value = loss(own)
            here = float(value.detach())
            if step == 0:
                first = best = here
                if not math.isfinite(here):
                    raise ValueError(f"a loss is {here} at the present strategies; the gap is not defined")
            best = min(best, here)  # a NaN further on never wins
            if step == steps or not math.isfinite(here):
                break
            grads = torch.autograd.grad(value, list(own.values()), allow_unused=True)
            for parameter, grad in zip(own.values(), grads, strict=True):
                parameter.grad = grad
            optimizer.step()
            if project is not None:
                with torch.no_grad():
                    for name, parameter in own.items():
                        parameter.copy_(project(name, parameter))
    return first - best
