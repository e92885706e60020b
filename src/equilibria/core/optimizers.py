"""Optimisers as records: they build torch's optimisers, and step differentiably for unrolling.

The state of each is tensors only, one set a parameter, so that a checkpoint continues it bit for bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError
from ..base.records import record
from ..base.registry import Registry
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
        raise ConfigError(f"lr={lr}: a learning rate is a positive number", settings={"lr": 2e-4})


def _with(optimizer: torch.optim.Optimizer, **settings: object) -> torch.optim.Optimizer:
    """Settings that torch's constructor refuses and its step computes with: negative momentum."""
    for group in optimizer.param_groups:
        group.update(settings)
    return optimizer


def _unset(parameters: Sequence[nn.Parameter]) -> float | Tensor:
    """The rate until a play sets it. On a GPU a tensor: a recorded step reads it where it lies."""
    return torch.ones((), device=parameters[0].device) if _recordable(parameters) else 1.0


def _recordable(parameters: Sequence[nn.Parameter]) -> bool:
    return all(p.device.type == "cuda" for p in parameters)


def _fused(parameters: Sequence[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in {"cpu", "cuda"} for p in parameters)


def _moments(
    betas: tuple[float, float], memory: Tensors, value: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensors]:
    """Adam's step counter, first and second moment after a gradient, and the memory that they make."""
    first, second = betas
    step = memory.get("step", torch.zeros((), device=value.device)).to(value) + 1
    mean = memory.get("exp_avg", torch.zeros_like(value)) * first + (1 - first) * grad
    square = memory.get("exp_avg_sq", torch.zeros_like(value)) * second + (1 - second) * grad.square()
    return step, mean, square, {"step": step, "exp_avg": mean, "exp_avg_sq": square}


@record
class Adam(OptimizerSpec):
    r"""Adam (Kingma & Ba 2015, Algorithm 1).

    .. math:: \theta \leftarrow \theta - \eta\, \hat m / (\sqrt{\hat v} + \epsilon)

    The differentiable step has :math:`\epsilon^2` under the root, :math:`\sqrt{\hat v + \epsilon^2}`: with
    :math:`\sqrt{\hat v} + \epsilon` the derivative at :math:`\hat v = 0` (one dead unit) is not finite. The first of
    the betas may be below 0: negative momentum (Gidel et al. 2019b).

    Examples:
        >>> Adam(lr=1e-3).rate(None)
        0.001
    """

    lr: float | Schedule = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_rate(self.lr)
        if self.betas[1] < 0:
            raise ConfigError(f"betas={self.betas}: the second is below 0", settings={"betas": (0.5, 0.999)})

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        first, second = self.betas
        optimizer = torch.optim.Adam(
            parameters,
            lr=_unset(parameters),
            betas=(max(first, 0.0), second),
            eps=self.eps,
            fused=_fused(parameters),
            capturable=_recordable(parameters),
        )
        return _with(optimizer, betas=(first, second))

    def differentiable_step(
        self, value: Tensor, grad: Tensor, memory: Tensors, lr: float | Tensor
    ) -> tuple[Tensor, Tensors]:
        first, second = self.betas
        step, mean, square, kept = _moments(self.betas, memory, value, grad)
        root = torch.sqrt(square / (1 - second**step) + self.eps**2)
        return value - lr * mean / (1 - first**step) / root, kept


@record
class AdamW(OptimizerSpec):
    r"""Adam with decoupled weight decay :math:`\lambda` (Loshchilov & Hutter 2019, Algorithm 2).

    .. math:: \theta \leftarrow (1 - \eta \lambda)\, \theta - \eta\, \hat m / (\sqrt{\hat v} + \epsilon)

    The differentiable step has :math:`\epsilon^2` under the root (see :class:`Adam`).

    Examples:
        >>> AdamW(lr=1e-3).weight_decay
        0.01
    """

    lr: float | Schedule = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        _check_rate(self.lr)
        if not self.weight_decay >= 0:
            raise ConfigError(f"weight_decay={self.weight_decay} is below 0", settings={"weight_decay": 0.01})

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            parameters,
            lr=_unset(parameters),
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
            fused=_fused(parameters),
            capturable=_recordable(parameters),
        )

    def differentiable_step(
        self, value: Tensor, grad: Tensor, memory: Tensors, lr: float | Tensor
    ) -> tuple[Tensor, Tensors]:
        first, second = self.betas
        step, mean, square, kept = _moments(self.betas, memory, value, grad)
        root = torch.sqrt(square / (1 - second**step) + self.eps**2)
        return value * (1 - lr * self.weight_decay) - lr * mean / (1 - first**step) / root, kept


@record
class Adamax(OptimizerSpec):
    r"""Adam with the infinity norm (Kingma & Ba 2015, Algorithm 2).

    .. math:: u \leftarrow \max(\beta_2 u, |g| + \epsilon), \quad
        \theta \leftarrow \theta - \frac{\eta}{1 - \beta_1^t}\, m / u
    """

    lr: float | Schedule = 5e-4
    betas: tuple[float, float] = (0.5, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_rate(self.lr)

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adamax(
            parameters,
            lr=_unset(parameters),
            betas=self.betas,
            eps=self.eps,
            foreach=True,
            capturable=_recordable(parameters),
        )

    def differentiable_step(
        self, value: Tensor, grad: Tensor, memory: Tensors, lr: float | Tensor
    ) -> tuple[Tensor, Tensors]:
        first, second = self.betas
        step = memory.get("step", torch.zeros((), device=value.device)).to(value) + 1
        mean = memory.get("exp_avg", torch.zeros_like(value)) * first + (1 - first) * grad
        largest = torch.maximum(memory.get("exp_inf", torch.zeros_like(value)) * second, grad.abs() + self.eps)
        moved = value - lr / (1 - first**step) * mean / largest
        return moved, {"step": step, "exp_avg": mean, "exp_inf": largest}


@record
class NAdam(OptimizerSpec):
    r"""Adam with Nesterov's momentum (Dozat 2016), as torch has it.

    .. math:: \mu_t = \beta_1 \left(1 - \tfrac12\, 0.96^{t \psi}\right), \quad
        \hat m = \frac{\mu_{t+1}\, m}{1 - \prod_{i \le t+1} \mu_i} + \frac{(1 - \mu_t)\, g}{1 - \prod_{i \le t} \mu_i},
        \quad \theta \leftarrow \theta - \eta\, \hat m / (\sqrt{\hat v} + \epsilon)

    The differentiable step has :math:`\epsilon^2` under the root (see :class:`Adam`).
    """

    lr: float | Schedule = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    eps: float = 1e-8
    momentum_decay: float = 0.004

    def __post_init__(self) -> None:
        _check_rate(self.lr)

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.NAdam(
            parameters,
            lr=_unset(parameters),
            betas=self.betas,
            eps=self.eps,
            momentum_decay=self.momentum_decay,
            foreach=True,
            capturable=_recordable(parameters),
        )

    def differentiable_step(
        self, value: Tensor, grad: Tensor, memory: Tensors, lr: float | Tensor
    ) -> tuple[Tensor, Tensors]:
        step, mean, square, kept = _moments(self.betas, memory, value, grad)
        root = torch.sqrt(square / (1 - self.betas[1] ** step) + self.eps**2)
        now, following = (self.betas[0] * (1 - 0.5 * 0.96 ** (t * self.momentum_decay)) for t in (step, step + 1))
        product = memory.get("mu_product", torch.ones((), device=value.device)).to(value) * now
        nesterov = following * mean / (1 - product * following) + (1 - now) * grad / (1 - product)
        return value - lr * nesterov / root, {**kept, "mu_product": product}


@record
class RAdam(OptimizerSpec):
    r"""Adam whose adaptive rate is used once its variance is finite, and rectified (Liu et al. 2020, Algorithm 2).

    With :math:`\rho_\infty = 2/(1 - \beta_2) - 1` and
    :math:`\rho_t = \rho_\infty - 2 t \beta_2^t / (1 - \beta_2^t)`, the step is :math:`\eta\, \hat m` while
    :math:`\rho_t \le 5`, and from then on

    .. math:: \eta\, r_t\, \hat m / (\sqrt{\hat v} + \epsilon), \quad r_t^2 =
        \frac{(\rho_t - 4)(\rho_t - 2)\rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2)\rho_t}

    The differentiable step has :math:`\epsilon^2` under the root (see :class:`Adam`).
    """

    lr: float | Schedule = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_rate(self.lr)

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.RAdam(
            parameters,
            lr=_unset(parameters),
            betas=self.betas,
            eps=self.eps,
            foreach=True,
            capturable=_recordable(parameters),
        )

    def differentiable_step(
        self, value: Tensor, grad: Tensor, memory: Tensors, lr: float | Tensor
    ) -> tuple[Tensor, Tensors]:
        first, second = self.betas
        step, mean, square, kept = _moments(self.betas, memory, value, grad)
        unbiased = mean / (1 - first**step)
        root = torch.sqrt(square / (1 - second**step) + self.eps**2)
        limit = 2 / (1 - second) - 1
        length = limit - 2 * step * second**step / (1 - second**step)
        rectified = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
        adapted = rectified.clamp(min=0).sqrt() * unbiased / root
        return value - lr * torch.where(length > 5, adapted, unbiased), kept


@record
class SGD(OptimizerSpec):
    r"""Gradient descent with heavy-ball momentum :math:`\mu`, which may be negative (Gidel et al. 2019b).

    .. math:: b \leftarrow \mu b + g, \quad \theta \leftarrow \theta - \eta b
    """

    lr: float | Schedule = 0.1
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.lr)

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(parameters, lr=_unset(parameters), fused=_fused(parameters))
        return _with(optimizer, momentum=self.momentum)

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


OPTIMIZERS: Registry[OptimizerSpec] = Registry(
    "optimiser",
    {
        "adam": Adam(),
        "adamw": AdamW(),
        "adamax": Adamax(),
        "nadam": NAdam(),
        "radam": RAdam(),
        "rmsprop": RMSprop(),
        "sgd": SGD(),
    },
    aliases={"adam-w": "adamw", "rms-prop": "rmsprop", "n-adam": "nadam", "r-adam": "radam"},
    base=OptimizerSpec,
)
"""Optimisers by the name that torch gives them, with the defaults of this library."""
