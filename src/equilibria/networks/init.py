"""Initial weights by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ..base.errors import not_known
from .spectral import WARM_UP, advance_spectral_norms

_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def _fans(layer: nn.Module) -> tuple[float, float]:
    """Fan in and fan out: inputs of one output, and outputs of one input (away from the border)."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    window = math.prod(weight.shape[2:])
    stride = math.prod(layer.stride) if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) else 1
    first, second = weight.shape[0] * window, weight.shape[1] * window
    if isinstance(layer, nn.ConvTranspose2d):
        return first / stride, float(second)
    return float(second), first / stride


def _kaiming(layer: nn.Module, weight: Tensor) -> None:
    nn.init.normal_(weight, 0.0, math.sqrt(2.0 / _fans(layer)[0]))


def _xavier(layer: nn.Module, weight: Tensor) -> None:
    bound = math.sqrt(6.0 / sum(_fans(layer)))
    nn.init.uniform_(weight, -bound, bound)


def _normal(std: float, _layer: nn.Module, weight: Tensor) -> None:
    nn.init.normal_(weight, 0.0, std)


def _uniform(bound: float, _layer: nn.Module, weight: Tensor) -> None:
    nn.init.uniform_(weight, -bound, bound)


def _orthogonal(_layer: nn.Module, weight: Tensor) -> None:
    nn.init.orthogonal_(weight, 0.8)


_SCHEMES: dict[str, Callable[[nn.Module, Tensor], None]] = {
    "normal02": partial(_normal, 0.02),
    "uniform05": partial(_uniform, 0.05),
    "uniform005": partial(_uniform, 0.005),
    "orthogonal": _orthogonal,
    "xavier": _xavier,
    "kaiming": _kaiming,
}
INITS = ("default", *_SCHEMES)


def check_init(name: str) -> None:
    """Check that ``name`` is a known initialisation.

    Raises:
        ConfigError: no initialisation has this name.
    """
    if name not in INITS:
        raise not_known("init", name, INITS)


@torch.no_grad()
def initialise(module: nn.Module, name: str = "default") -> nn.Module:
    r"""Initialise the weights of all linear and convolutional layers with the global generator; biases become zero.

    ``default`` torch's own (weights and biases uniform in :math:`\pm 1/\sqrt{\text{fan in}}`); ``normal02`` N(0, .02)
    (Radford et al. 2016, section 4); ``orthogonal`` with gain .8 (the eight-Gaussian ring of Metz et al. 2017,
    appendix A); ``xavier`` uniform (Glorot & Bengio 2010, equation 16); ``kaiming`` N(0, 2 / fan in) (He et al. 2015,
    equation 10); ``uniform05`` and ``uniform005`` uniform in ±.05 and ±.005 (Goodfellow et al. 2014, their code). The
    fan of a strided transposed convolution counts only the inputs that reach one output. Normalisation layers keep
    scale one and shift zero.

    Args:
        module: changed in place; the singular vectors of its spectral norms are updated for the new weights.
        name: one of the names above.

    Returns:
        The module.

    Raises:
        ConfigError: no initialisation has this name.

    Examples:
        >>> net = initialise(nn.Linear(100, 100), "uniform05")
        >>> bool(net.weight.abs().max() <= 0.05), net.bias.abs().max().item()
        (True, 0.0)
    """
    check_init(name)
    for layer in module.modules():
        if not isinstance(layer, _LAYERS):
            continue
        if name == "default":
            layer.reset_parameters()
            continue
        _SCHEMES[name](layer, layer.weight)
        if layer.bias is not None:
            layer.bias.zero_()
    advance_spectral_norms(module, WARM_UP)
    return module
