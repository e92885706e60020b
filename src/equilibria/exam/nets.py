"""The networks of the exam, in plain torch.nn: perceptrons and small convolutions, with and without batch norm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Networks:
    """Architectures of a pair.

    Attributes:
        kind: ``mlp`` or ``conv`` (for 8 x 8 images).
        width, depth: width and number of the generator's hidden layers; ``depth=0`` is an affine map.
        width_d, depth_d: the same for the discriminator.
        activation: ``relu``, ``leaky`` or ``tanh``.
        norm: ``none`` or ``batch`` in the generator; norm_d the same in the discriminator.
        latent: size of the latent codes.
        output: ``linear`` or ``tanh`` or ``sigmoid``.
        gain: initial factor of the generator's last weights.
        bias_d: added to the discriminator's initial hidden biases.
        dropout: dropout probability in the discriminator's hidden layers.
        noise: standard deviation of noise inside the generator, independent of the latent codes.
        ignore_code: whether the generator multiplies its code by zero.
        ignore_input: whether the discriminator multiplies its input by zero.
        sigmoid: whether the discriminator ends in a sigmoid.
    """

    kind: str = "mlp"
    width: int = 64
    depth: int = 2
    width_d: int = 64
    depth_d: int = 2
    activation: str = "leaky"
    norm: str = "none"
    norm_d: str = "none"
    latent: int = 8
    output: str = "linear"
    gain: float = 1.0
    bias_d: float = 0.0
    dropout: float = 0.0
    noise: float = 0.0
    ignore_code: bool = False
    ignore_input: bool = False
    sigmoid: bool = False


class Generator(nn.Module):
    """Latent codes (and labels) to rows."""

    def __init__(self, spec: Networks, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.classes, self.shape, self.noise, self.ignore_code = classes, shape, spec.noise, spec.ignore_code
        inputs = spec.latent + classes
        size = 1
        for side in shape:
            size *= side
        ends: dict[str, list[nn.Module]] = {"linear": [], "tanh": [nn.Tanh()], "sigmoid": [nn.Sigmoid()]}
        if spec.kind == "conv":
            first: list[nn.Module] = [nn.Linear(inputs, spec.width * 4), nn.Unflatten(1, (spec.width, 2, 2))]
            body = [*_conv_up(spec, spec.width, spec.width // 2), *_conv_up(spec, spec.width // 2, spec.width // 4)]
            last = nn.Conv2d(spec.width // 4, shape[0], 3, padding=1)
            self.body = nn.Sequential(*first, *body, last, *ends[spec.output])
        else:
            layers = _perceptron(spec, inputs, spec.width, spec.depth, spec.norm)
            last = nn.Linear(spec.width if spec.depth else inputs, size)  # type: ignore[assignment]
            self.body = nn.Sequential(*layers, last, *ends[spec.output])
        with torch.no_grad():
            last.weight.mul_(spec.gain)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        z = z * 0.0 if self.ignore_code else z
        if y is not None:
            z = torch.cat([z, F.one_hot(y, self.classes).to(z)], 1)
        if self.noise:
            z = z + self.noise * torch.randn_like(z)
        made: Tensor = self.body(z)
        return made.view(len(z), *self.shape)


class Discriminator(nn.Module):
    """Rows (and labels) to scores ``(n,)``."""

    def __init__(self, spec: Networks, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.classes, self.conv, self.ignore_input = classes, spec.kind == "conv", spec.ignore_input
        size = 1
        for side in shape:
            size *= side
        act = _activation(spec.activation)
        if self.conv:
            w = spec.width_d
            self.body: nn.Module = nn.Sequential(
                nn.Conv2d(shape[0] + classes, w // 2, 3, 2, 1),
                act,
                nn.Conv2d(w // 2, w, 3, 2, 1),
                *([nn.BatchNorm2d(w)] if spec.norm_d == "batch" else []),
                act,
                nn.Flatten(),
                nn.Linear(w * 4, 1),
            )
        else:
            layers = _perceptron(spec, size + classes, spec.width_d, spec.depth_d, spec.norm_d, spec.dropout)
            self.body = nn.Sequential(*layers, nn.Linear(spec.width_d if spec.depth_d else size + classes, 1))
        with torch.no_grad():
            for module in list(self.body.modules())[1:-1]:
                if spec.bias_d and isinstance(module, nn.Linear):
                    module.bias.add_(spec.bias_d)
        self.end = nn.Sigmoid() if spec.sigmoid else nn.Identity()

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        x = x * 0.0 if self.ignore_input else x
        if y is not None:
            hot = F.one_hot(y, self.classes).to(x)
            if self.conv:
                x = torch.cat([x, hot[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)
            else:
                x = torch.cat([x.flatten(1), hot], 1)
        elif not self.conv:
            x = x.flatten(1)
        out: Tensor = self.end(self.body(x).squeeze(1))
        return out


def build(spec: Networks, shape: tuple[int, ...], classes: int) -> tuple[Generator, Discriminator]:
    """The pair for rows of this shape; weights are drawn from the global generator."""
    return Generator(spec, shape, classes), Discriminator(spec, shape, classes)


def _perceptron(
    spec: Networks, inputs: int, width: int, depth: int, norm: str, dropout: float = 0.0
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers.append(nn.Linear(inputs if i == 0 else width, width))
        if norm == "batch":
            layers.append(nn.BatchNorm1d(width))
        layers.append(_activation(spec.activation))
        if dropout:
            layers.append(nn.Dropout(dropout))
    return layers


def _conv_up(spec: Networks, inputs: int, outputs: int) -> list[nn.Module]:
    norm: list[nn.Module] = [nn.BatchNorm2d(outputs)] if spec.norm == "batch" else []
    return [nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1), *norm, _activation(spec.activation)]


def _activation(name: str) -> nn.Module:
    return {"relu": nn.ReLU(), "leaky": nn.LeakyReLU(0.2), "tanh": nn.Tanh()}[name]
