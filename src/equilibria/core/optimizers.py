"""Optimisers as records: they build torch's optimisers, and step differentiably for unrolling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError
from ..base.records import record
from ..base.schedules import Schedule, value_at

Tensors = dict[str, Tensor]


class OptimizerSpec(ABC):
    """Abstract record: which optimiser, with which settings. ``lr`` may be a schedule of the run's time."""

    lr: float | Schedule

    @abstractmethod
    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of torch for these parameters."""

    @abstractmethod
    def differentiable_step(
        self, value: Tensor, grad: Tensor, memory: Tensors, lr: float | Tensor
    ) -> tuple[Tensor, Tensors]:
        """One step on one tensor as a differentiable function: the new value and the new memory.

        ``memory`` holds the entries of torch's optimiser state for that parameter; empty at the start.
        """

    def rate(self, clock: Any) -> float:
        """The learning rate at a time."""
        return float(value_at(self.lr, clock))


def _check_rate(lr: float | Schedule) -> None:
    if isinstance(lr, (int, float)) and not 0 < lr < float("inf"):
        raise ConfigError(f"lr={lr}", "use a positive number, for example 2e-4")


def _unset(parameters: Sequence[nn.Parameter]) -> float | Tensor:
    """The rate until a play sets it. On a GPU a tensor: a recorded step reads it where it lies."""
    return torch.ones((), device=parameters[0].device) if _recordable(parameters) else 1.0


def _recordable(parameters: Sequence[nn.Parameter]) -> bool:
    return all(p.device.type == "cuda" for p in parameters)


def _fused(parameters: Sequence[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in {"cpu", "cuda"} for p in parameters)


@record
class Adam(OptimizerSpec):
    r"""Adam (Kingma & Ba 2015, Algorithm 1).

    .. math:: \theta \leftarrow \theta - \eta\, \hat m / (\sqrt{\hat v} + \epsilon)

    The differentiable step has :math:`\epsilon^2` under the root, :math:`\sqrt{\hat v + \epsilon^2}`: with
    :math:`\sqrt{\hat v} + \epsilon` the derivative at :math:`\hat v = 0` (one dead unit) is not finite.

    Examples:
        >>> Adam(lr=1e-3).rate(None)
        0.001
    """

    lr: float | Schedule = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_rate(self.lr)

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        first, second = self.betas
        return torch.optim.Adam(
            parameters,
            lr=_unset(parameters),
            betas=(first, second),
            eps=self.eps,
            fused=_fused(parameters),
            capturable=_recordable(parameters),
        )

    def differentiable_step(
        self, value: Tensor, grad: Tensor, memory: Tensors, lr: float | Tensor
    ) -> tuple[Tensor, Tensors]:
        first, second = self.betas
        step = memory.get("step", torch.zeros((), device=value.device)).to(value) + 1
        mean = memory.get("exp_avg", torch.zeros_like(value)) * first + (1 - first) * grad
        square = memory.get("exp_avg_sq", torch.zeros_like(value)) * second + (1 - second) * grad.square()
        root = torch.sqrt(square / (1 - second**step) + self.eps**2)
        moved = value - lr * mean / (1 - first**step) / root
        return moved, {"step": step, "exp_avg": mean, "exp_avg_sq": square}


@record
class SGD(OptimizerSpec):
    r"""Gradient descent with heavy-ball momentum :math:`\mu`.

    .. math:: b \leftarrow \mu b + g, \quad \theta \leftarrow \theta - \eta b
    """

    lr: float | Schedule = 0.1
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.lr)

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=_unset(parameters), momentum=self.momentum, fused=_fused(parameters))

    def differentiable_step(
        self, value: Tensor, grad: Tensor, memory: Tensors, lr: float | Tensor
    ) -> tuple[Tensor, Tensors]:
        kept = memory.get("momentum_buffer")
        push = grad if kept is None or not self.momentum else self.momentum * kept + grad
        return value - lr * push, {"momentum_buffer": push}


@record
class RMSprop(OptimizerSpec):
    r"""RMSprop (Tieleman & Hinton 2012), as the WGAN paper uses it: no momentum.

    .. math:: v \leftarrow \alpha v + (1-\alpha) g^2, \quad \theta \leftarrow \theta - \eta g / (\sqrt{v} + \epsilon)

    The differentiable step has :math:`\epsilon^2` under the root (see :class:`Adam`).
    """

    lr: float | Schedule = 5e-5
    alpha: float = 0.99
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_rate(self.lr)

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(
            parameters,
            lr=_unset(parameters),
            alpha=self.alpha,
            eps=self.eps,
            foreach=True,
            capturable=_recordable(parameters),
        )

    def differentiable_step(
        self, value: Tensor, grad: Tensor, memory: Tensors, lr: float | Tensor
    ) -> tuple[Tensor, Tensors]:
        square = memory.get("square_avg", torch.zeros_like(value)) * self.alpha + (1 - self.alpha) * grad.square()
        return value - lr * grad / torch.sqrt(square + self.eps**2), {"square_avg": square}
