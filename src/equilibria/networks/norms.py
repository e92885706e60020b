"""Normalisation layers with correct third derivatives, whose forward writes no statistics.

torch's native batch and layer norms have wrong third derivatives (pytorch issues 175754 and 186256), which makes the
Hessian-vector products of a gradient penalty wrong. The layers here are built from sums, products and roots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..base import distributed
from ..base.errors import ConfigError, did_you_mean


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (dividing by the count) of each feature, over rows and pixels."""
    dims = [0, *range(2, x.ndim)]
    mean = x.mean(dims)
    return mean, (x - _per_feature(mean, x)).square().mean(dims)


def _batch_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """The moments of the whole batch of all processes that train together, each with equally many rows.

    In two reductions: a single reduction of squares would lose precision if the mean is far from zero.
    """
    dims = [0, *range(2, x.ndim)]
    (mean,) = distributed.mean(x.mean(dims))
    (var,) = distributed.mean((x - _per_feature(mean, x)).square().mean(dims))
    return mean, var


def _per_feature(values: Tensor, x: Tensor) -> Tensor:
    """``(c,)`` in a shape that broadcasts against ``(n, c, …)``."""
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


class BatchNorm(nn.Module):
    r"""Batch normalisation (Ioffe & Szegedy 2015, algorithm 1) whose forward writes nothing.

    .. math:: y = \gamma\,(x - \mu)/\sqrt{s^2 + \epsilon} + \beta

    In training :math:`\mu, s^2` are the mean and the variance (dividing by the count) of the batch over rows and
    pixels; with several processes, of the whole batch. In evaluation they are the buffers ``running_mean`` and
    ``running_var``, which only :func:`calibrate` fills; before that, the moments of the batch are used.

    Args:
        features: ``c`` of the input ``(n, c, …)`` and of the output.
        eps: added to the variance under the root.

    Examples:
        >>> BatchNorm(1, eps=0.0)(torch.tensor([[1.0], [3.0]])).flatten().tolist()
        [-1.0, 1.0]
    """

    running_mean: Tensor
    running_var: Tensor
    calibrated: Tensor

    def __init__(self, features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))
        self.register_buffer("calibrated", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, …)`` to ``(n, c, …)``."""
        mean, var = _batch_moments(x) if self.training else _moments(x)
        if not self.training:
            mean = torch.where(self.calibrated > 0, self.running_mean, mean)
            var = torch.where(self.calibrated > 0, self.running_var, var)
        scale = self.weight * (var + self.eps).rsqrt()
        return (x - _per_feature(mean, x)) * _per_feature(scale, x) + _per_feature(self.bias, x)


class LayerNorm(nn.Module):
    r"""Layer normalisation (Ba, Kiros & Hinton 2016, equation 3) over all features and pixels of one example.

    .. math:: y_i = \gamma\,(x_i - \mu_i)/\sqrt{s_i^2 + \epsilon} + \beta

    with a scale and a shift per feature (channel). For vectors it has the values of ``nn.LayerNorm(c)``, for images
    those of ``nn.GroupNorm(1, c)``. Rows are independent of each other, so it may be used in a critic with a gradient
    penalty (Gulrajani et al. 2017, section 4).

    Args:
        features: ``c`` of the input ``(n, c, …)`` and of the output.
        eps: added to the variance under the root.

    Examples:
        >>> LayerNorm(2, eps=0.0)(torch.tensor([[1.0, 3.0]]))
        tensor([[-1.,  1.]], grad_fn=<AddBackward0>)
    """

    def __init__(self, features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, …)`` to ``(n, c, …)``."""
        dims = list(range(1, x.ndim))
        centred = x - x.mean(dims, keepdim=True)
        scale = (centred.square().mean(dims, keepdim=True) + self.eps).rsqrt()
        return centred * scale * _per_feature(self.weight, x) + _per_feature(self.bias, x)


class InstanceNorm(nn.Module):
    r"""Instance normalisation (Ulyanov, Vedaldi & Lempitsky 2016, equation 3): each channel of each image by itself.

    .. math:: y_{ic} = \gamma_c\,(x_{ic} - \mu_{ic})/\sqrt{s_{ic}^2 + \epsilon} + \beta_c

    with the mean and the variance (dividing by the count) over the pixels of one channel of one image. It is batch
    normalisation at batch size 1, which is how Isola et al. 2017 and Zhu et al. 2017 use it. Rows do not see each
    other, and training and evaluation are the same function. A map of one pixel would become :math:`\beta_c`, whatever
    it was: leave the norm out there.

    Args:
        features: ``c`` of the input ``(n, c, …)``, which the output keeps.
        eps: what keeps the root from zero.

    Examples:
        >>> InstanceNorm(1, eps=0.0)(torch.tensor([[[1.0, 3.0]], [[10.0, 30.0]]])).tolist()
        [[[-1.0, 1.0]], [[-1.0, 1.0]]]
    """

    def __init__(self, features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, …)`` to ``(n, c, …)``."""
        dims = list(range(2, x.ndim))
        centred = x - x.mean(dims, keepdim=True)
        scale = (centred.square().mean(dims, keepdim=True) + self.eps).rsqrt()
        return centred * scale * _per_feature(self.weight, x) + _per_feature(self.bias, x)


class VirtualBatchNorm(nn.Module):
    r"""Virtual batch normalisation (Salimans et al. 2016, section 3.5), by the example itself and a fixed batch.

    The first ``reference`` rows of the input are the reference batch and are normalised by their own moments. Each
    other row :math:`x` is normalised by

    .. math:: \mu = \tfrac{1}{R+1} m(x) + \tfrac{R}{R+1}\mu_R, \qquad
              E[x^2] = \tfrac{1}{R+1} m(x^2) + \tfrac{R}{R+1} E_R[x^2]

    with :math:`m` the mean over the row's own pixels. Wrap the whole network in :class:`WithReference`, which prepends
    the reference rows to the input and removes them from the output.

    Args:
        features: ``c`` of the input ``(n, c, …)`` and of the output.
        reference: ``R``, the number of first rows that form the reference batch.
        eps: added to the variance under the root.

    Examples:
        >>> norm = VirtualBatchNorm(1, reference=2, eps=0.0)
        >>> [round(v, 4) for v in norm(torch.tensor([[-1.0], [1.0], [0.0]])).flatten().tolist()]
        [-1.0, 1.0, 0.0]
    """

    def __init__(self, features: int, reference: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.reference, self.eps = reference, eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """``(R + n, c, …)`` to ``(R + n, c, …)``, the reference rows first."""
        count = self.reference
        fixed, rows = x[:count], x[count:]
        mean, var = (_per_feature(m, x) for m in _moments(fixed))
        pixels = list(range(2, x.ndim))
        own = rows.mean(pixels, keepdim=True) if pixels else rows
        second = rows.square().mean(pixels, keepdim=True) if pixels else rows.square()
        mixed = (own + count * mean) / (count + 1)
        spread = (second + count * (var + mean.square())) / (count + 1) - mixed.square()
        out = torch.cat([(fixed - mean) * (var + self.eps).rsqrt(), (rows - mixed) * (spread + self.eps).rsqrt()])
        return out * _per_feature(self.weight, x) + _per_feature(self.bias, x)


class WithReference(nn.Module):
    """A network with :class:`VirtualBatchNorm` layers and their fixed reference batch (a buffer).

    Args:
        net: the network; its virtual norms take the first ``len(reference)`` rows as the reference.
        reference: the reference batch, ``(R, …)``: latent codes for a generator.

    Examples:
        >>> net = WithReference(nn.Sequential(nn.Linear(3, 4), VirtualBatchNorm(4, 8)), torch.randn(8, 3))
        >>> net(torch.randn(5, 3)).shape
        torch.Size([5, 4])
    """

    reference: Tensor

    def __init__(self, net: nn.Module, reference: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("reference", reference.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """The network's output for ``x`` ``(n, …)``."""
        out: Tensor = self.net(torch.cat([self.reference, x]))[self.reference.shape[0] :]
        return out


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda features: nn.Identity(),
    "batch": BatchNorm,
    "layer": LayerNorm,
    "instance": InstanceNorm,
}


def norm_layer(name: str, features: int) -> nn.Module:
    """The normalisation layer ``name`` (``none``, ``batch``, ``layer``, ``instance``) for ``features`` channels.

    Raises:
        ConfigError: no norm has this name.

    Examples:
        >>> norm_layer("none", 3)
        Identity()
    """
    if name not in _NORMS:
        raise ConfigError(f"unknown norm '{name}'", did_you_mean(name, _NORMS))
    return _NORMS[name](features)


RUNNING = ("running_mean", "running_var", "calibrated")
"""The buffers of a layer that can be calibrated.

In evaluation such a layer normalises by the batch's own moments while ``calibrated`` is 0, and by ``running_mean`` and
``running_var`` afterwards. Its first argument has the features in dimension 1.
"""


def running_norms(module: nn.Module) -> dict[str, nn.Module]:
    """The layers of ``module`` that can be calibrated, by name: those that have the buffers of :data:`RUNNING`.

    Examples:
        >>> list(running_norms(nn.Sequential(nn.Linear(2, 2), BatchNorm(2), LayerNorm(2))))
        ['1']
    """
    return {name: part for name, part in module.named_modules() if part._buffers.keys() >= set(RUNNING)}


@contextmanager
def moments(norms: Mapping[str, nn.Module]) -> Iterator[dict[str, Moments]]:
    """Collect the moments of all inputs of each of these layers while the block runs.

    Examples:
        >>> norm = BatchNorm(1)
        >>> with moments({"norm": norm}) as seen:
        ...     _ = norm(torch.tensor([[1.0], [3.0]]))
        >>> seen["norm"].mean.item(), seen["norm"].var.item()
        (2.0, 1.0)
    """
    seen = {name: Moments() for name in norms}
    hooks = [part.register_forward_pre_hook(partial(_note, seen[name])) for name, part in norms.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def calibrate(module: nn.Module, forward: Callable[[], object], n: int) -> None:
    """Fill the running statistics of every :class:`BatchNorm` in ``module`` from ``n`` batches.

    The statistics become the mean and variance of all inputs of the layer over the batches, in training mode (Ioffe &
    Szegedy 2015, algorithm 2, without the correction of the count). Train and evaluation flags are restored.

    Args:
        module: the network, or a module that contains it.
        forward: runs the network on one fresh batch; called ``n`` times.
        n: number of batches, at least one.

    Raises:
        ConfigError: ``n`` is not positive.

    Examples:
        >>> net = nn.Sequential(BatchNorm(1))
        >>> calibrate(net, lambda: net(torch.tensor([[1.0], [3.0]])), 4)
        >>> net[0].running_mean.item(), net[0].running_var.item()
        (2.0, 1.0)
    """
    if n < 1:
        raise ConfigError(f"calibrate with n={n} batches", "use n of 1 or more")
    norms = running_norms(module)
    if not norms:
        return
    flags = [(part, part.training) for part in module.modules()]
    try:
        with moments(norms) as seen:
            module.train()
            for _ in range(n):
                forward()
    finally:
        for part, flag in flags:
            part.training = flag
    for name, part in norms.items():
        for buffer, value in seen[name].buffers(part.get_buffer("running_mean")).items():
            part.get_buffer(buffer).copy_(value)


class Moments:
    """Mean and variance of all added values, per feature; by Chan, Golub & LeVeque's pairwise update."""

    def __init__(self) -> None:
        self.count, self.mean, self.var = 0, torch.zeros(()), torch.zeros(())

    def add(self, x: Tensor) -> None:
        """Add the rows and pixels of ``x`` ``(n, c, …)``."""
        mean, var = _moments(x)
        count = x.numel() // x.shape[1]
        share = count / (self.count + count)
        step = mean - self.mean.to(mean)
        self.var = self.var.to(var) * (1 - share) + var * share + step.square() * share * (1 - share)
        self.mean = self.mean.to(mean) + step * share
        self.count += count

    def buffers(self, like: Tensor) -> dict[str, Tensor]:
        """The values of :data:`RUNNING`, with the dtype of ``like``; empty if nothing was added."""
        if not self.count:
            return {}
        values = (self.mean, self.var, torch.ones(()))
        return {name: value.to(like) for name, value in zip(RUNNING, values, strict=True)}


def _note(seen: Moments, _module: nn.Module, args: tuple[Any, ...]) -> None:
    seen.add(args[0].detach())
