"""Layers that can be differentiated any number of times, run under ``vmap``, and write nothing in their forward."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base.errors import ConfigError, ShapeError, not_known

_ACTIVATIONS: dict[str, Callable[[float], nn.Module]] = {
    "relu": lambda slope: nn.ReLU(),
    "leaky_relu": nn.LeakyReLU,
    "elu": lambda slope: nn.ELU(),
    "silu": lambda slope: nn.SiLU(),
    "softplus": lambda slope: nn.Softplus(),
    "tanh": lambda slope: nn.Tanh(),
}


def activation(name: str, slope: float = 0.2, field: str = "activation") -> nn.Module:
    """The elementwise non-linearity ``name``; ``slope`` is the negative slope of ``leaky_relu`` and used by it only.

    An error names the setting ``field``.

    Raises:
        ConfigError: no activation has this name.

    Examples:
        >>> activation("leaky_relu", 0.1)(torch.tensor([-1.0, 2.0]))
        tensor([-0.1000,  2.0000])
    """
    if name not in _ACTIVATIONS:
        raise not_known(field, name, _ACTIVATIONS)
    return _ACTIVATIONS[name](slope)


def one_hot(labels: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    r"""Labels as unit vectors: :math:`y_{ik} = [\ell_i = k]`.

    Args:
        labels: integers of any shape ``(...)``.
        classes: number of classes.
        dtype: the floating type of the result.

    Returns:
        ``(..., classes)``. A label outside ``0 … classes - 1`` (``-1`` for "unlabelled") gives a row of zeros.

    Examples:
        >>> one_hot(torch.tensor([2, -1]), 3)
        tensor([[0., 0., 1.],
                [0., 0., 0.]])
    """
    return (labels.unsqueeze(-1) == torch.arange(classes, device=labels.device)).to(dtype)


class Reshape(nn.Module):
    """``(n, …)`` to ``(n, *shape)``.

    Examples:
        >>> Reshape((1, 2, 2))(torch.zeros(5, 4)).shape
        torch.Size([5, 1, 2, 2])
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, …)`` to ``(n, *shape)``."""
        return x.reshape(x.shape[0], *self.shape)

    def extra_repr(self) -> str:
        """The target shape."""
        return f"{self.shape}"


class Maxout(nn.Module):
    r"""The largest of several affine maps (Goodfellow et al. 2013, "Maxout networks", section 2).

    .. math:: h_j(x) = \max_{k \le K}\; x^\top W_{\cdot jk} + b_{jk}

    Args:
        inputs: size of the input vectors ``(n, inputs)``.
        outputs: size of the output vectors ``(n, outputs)``.
        pieces: number of affine maps per output, of which the largest is taken.

    Examples:
        >>> layer = Maxout(784, 240, pieces=5)
        >>> layer(torch.zeros(2, 784)).shape, sum(p.numel() for p in layer.parameters())
        (torch.Size([2, 240]), 942000)
    """

    def __init__(self, inputs: int, outputs: int, pieces: int = 5) -> None:
        super().__init__()
        self.outputs, self.pieces = outputs, pieces
        self.linear = nn.Linear(inputs, outputs * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inputs)`` to ``(n, outputs)``."""
        pieces: Tensor = self.linear(x).unflatten(-1, (self.outputs, self.pieces))
        return pieces.amax(-1)

    def extra_repr(self) -> str:
        """The numbers of outputs and pieces."""
        return f"outputs={self.outputs}, pieces={self.pieces}"


class Upsample(nn.Module):
    """Nearest-neighbour upsampling by two: ``(n, c, h, w)`` to ``(n, c, 2h, 2w)``.

    Examples:
        >>> Upsample()(torch.tensor([[[[1.0, 2.0]]]]))[0, 0]
        tensor([[1., 1., 2., 2.],
                [1., 1., 2., 2.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, 2h, 2w)``."""
        n, c, h, w = x.shape
        return x[:, :, :, None, :, None].expand(n, c, h, 2, w, 2).reshape(n, c, 2 * h, 2 * w)


class Downsample(nn.Module):
    """Average pooling of 2 x 2 pixels: ``(n, c, 2h, 2w)`` to ``(n, c, h, w)``.

    Examples:
        >>> Downsample()(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        tensor([[[[3.]]]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, 2h, 2w)`` to ``(n, c, h, w)``."""
        return F.avg_pool2d(x, 2)


def sequence(*layers: nn.Module) -> nn.Sequential:
    """Layers one after the other, without those that do nothing.

    Examples:
        >>> sequence(nn.Identity(), nn.ReLU())
        Sequential(
          (0): ReLU()
        )
    """
    return nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))


class Frozen(nn.Module):
    """A copy of a network that is not trained: its parameters become buffers, and ``train()`` does nothing.

    For example a fixed classifier, the trained levels of a pyramid, or a feature extractor. The copy stays in
    evaluation mode, so its batch norms do not change, and no optimiser or Ensemble finds a parameter in it. Gradients
    with respect to its *input* are computed as usual.

    Args:
        net: the network; it is copied and not changed.

    Examples:
        >>> fixed = Frozen(nn.Linear(2, 1)).train()
        >>> len(list(fixed.parameters())), len(list(fixed.buffers())), fixed.training
        (0, 2, False)
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).eval()
        made: dict[int, Tensor] = {}  # a tied parameter becomes one tied buffer
        for module in self.net.modules():
            for name, value in list(module._parameters.items()):
                if value is None:
                    continue
                del module._parameters[name]
                module.register_buffer(name, made.setdefault(id(value), value.detach()))
                setattr(module, name, made[id(value)])  # torch's recurrent layers keep a second list of their weights
        nn.Module.train(self, False)

    def forward(self, *args: Tensor) -> Tensor:
        """Forward pass of the frozen network."""
        out: Tensor = self.net(*args)
        return out

    def train(self, mode: bool = True) -> Self:
        """Does nothing: a frozen network stays in evaluation mode."""
        return self


def check_input(x: Tensor, shape: tuple[int, ...], who: str) -> None:
    """Check that ``x`` has shape ``(n, *shape)``.

    Raises:
        ShapeError: it has another shape.

    Examples:
        >>> check_input(torch.zeros(4, 2), (2,), "the discriminator")
    """
    if tuple(x.shape[1:]) != shape or x.ndim != len(shape) + 1:
        wanted = ", ".join(map(str, shape))
        raise ShapeError(
            f"{who} got an input of shape {tuple(x.shape)} and was built for (n, {wanted})",
            "build it for the shape of the data, or reshape the data",
        )


def check_label(y: Tensor | None, rows: int, classes: int, who: str) -> None:
    """Check that ``y`` is a float tensor ``(rows, classes)``, or ``None`` if there are no classes.

    Raises:
        ShapeError: labels are missing, not expected, of another shape, or integers.

    Examples:
        >>> check_label(one_hot(torch.tensor([0, 1]), 3), 2, 3, "the generator")
    """
    if classes == 0:
        if y is not None:
            raise ShapeError(f"{who} got labels and was built without classes", "build it with classes=K")
        return
    if y is None:
        raise ShapeError(f"{who} was built for {classes} classes and got no labels", "pass y = one_hot(labels, K)")
    if tuple(y.shape) != (rows, classes) or not y.is_floating_point():
        raise ShapeError(
            f"{who} got labels of shape {tuple(y.shape)} and type {y.dtype}, and needs floats ({rows}, {classes})",
            f"pass y = one_hot(labels, {classes})",
        )


def volume(shape: tuple[int, ...]) -> int:
    """The number of values of a point of this shape.

    Raises:
        ConfigError: the shape is neither ``(d,)`` nor ``(c, h, w)``, or has a side that is not positive.

    Examples:
        >>> volume((3, 8, 8))
        192
    """
    if len(shape) not in (1, 3) or any(side < 1 for side in shape):
        raise ConfigError(
            f"no network can be built for points of shape {tuple(shape)}",
            "use (d,) for vectors or (c, h, w) for images; a greyscale image is (1, h, w)",
        )
    return math.prod(shape)
