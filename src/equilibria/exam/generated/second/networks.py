"""Families of networks of the second part."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from ...field.parts import leaky
from ..networks import (
    Family,
    Pair,
    Scores,
    Shape,
    Transpose,
    add,
    ends_of,
    norm_of,
    sizes_of,
    stack,
    tops_of,
)


class Sine(nn.Module):
    """Sine of twice the input."""

    def forward(self, x: Tensor) -> Tensor:
        """The output."""
        return torch.sin(2 * x)


def _sine(s: Shape) -> Pair:
    maker = stack(sizes_of(s.latent, s.width_g, s.depth_g, s.features), Sine)
    judge = stack(sizes_of(s.features, s.width_d, s.depth_d, 1), leaky, norm_of(s))
    return nn.Sequential(*maker, *ends_of(s, False)), Scores(nn.Sequential(nn.Flatten(), *judge), s.sigmoid)


def _weight_normed(s: Shape) -> Pair:
    maker = stack(sizes_of(s.latent, s.width_g, s.depth_g, s.features), nn.ReLU)
    judge = stack(sizes_of(s.features, s.width_d, s.depth_d, 1), nn.GELU, norm_of(s))
    for net in (maker, judge):
        for module in list(net)[:-1]:
            if isinstance(module, nn.Linear):
                weight_norm(module)
    return nn.Sequential(*maker, *ends_of(s, False)), Scores(nn.Sequential(nn.Flatten(), *judge), s.sigmoid)


class Skips(nn.Module):
    """A perceptron with batch norms in which each layer gets the code again."""

    def __init__(self, latent: int, width: int, depth: int, out: int, momentum: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(latent + (width if i else 0), width) for i in range(depth))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, momentum=momentum) for _ in range(depth))
        self.last = nn.Linear(latent + (width if depth else 0), out)

    def forward(self, z: Tensor) -> Tensor:
        """The output for codes."""
        h = z
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h = torch.cat([torch.relu(norm(layer(h))), z], 1)
        return self.last(h)


def _skips(s: Shape) -> Pair:
    maker = Skips(s.latent, s.width_g, s.depth_g, s.features, s.momentum)
    judge = stack(sizes_of(s.features, s.width_d, s.depth_d, 1), leaky, norm_of(s))
    return nn.Sequential(maker, *ends_of(s, False)), Scores(nn.Sequential(nn.Flatten(), *judge), s.sigmoid)


class Attention(nn.Module):
    """A transformer's layer for few tokens: two heads, then a perceptron, each with a norm before it."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.all, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.body = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor) -> Tensor:
        """Tokens ``(n, t, w)`` to tokens."""
        n, t, w = h.shape
        q, k, v = self.all(self.before(h)).view(n, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / (w // self.heads) ** 0.5).softmax(-1)
        h = h + self.out((weights @ v).transpose(1, 2).reshape(n, t, w))
        return h + self.body(self.between(h))


class TokenMaker(nn.Module):
    """A generator in which each column is a token."""

    def __init__(self, latent: int, columns: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(latent, columns * width)
        self.mix, self.columns = Attention(width), columns
        self.last = nn.Linear(width, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Rows."""
        return self.last(self.mix(self.first(z).view(len(z), self.columns, -1))).squeeze(2)


class TokenJudge(nn.Module):
    """A discriminator in which each column is a token, marked by its place."""

    def __init__(self, columns: int, width: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(columns, width))
        self.bring, self.mix = nn.Linear(1, width), Attention(width)
        self.last = nn.Sequential(nn.Linear(columns * width, width), leaky(), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(n, 1)``."""
        return self.last(self.mix(self.bring(x[:, :, None]) + self.place).flatten(1))


def _tokens(s: Shape) -> Pair:
    maker = TokenMaker(s.latent, s.features, 24)
    return nn.Sequential(maker, *ends_of(s, False)), Scores(TokenJudge(s.features, 24), s.sigmoid)


def _shuffled(s: Shape) -> Pair:
    """Pixels are unfolded from channels; the discriminator pools by averages."""
    w, v, side = s.width_g // 3, s.width_d // 3, s.rows.x.shape[-1]
    start = side // 4
    maker = nn.Sequential(
        nn.Linear(s.latent, 4 * w * start**2, bias=False),
        nn.BatchNorm1d(4 * w * start**2, momentum=s.momentum),
        nn.ReLU(),
        nn.Unflatten(1, (4 * w, start, start)),
        nn.PixelShuffle(2),
        nn.Conv2d(w, 4 * w, 3, 1, 1, bias=False),
        nn.BatchNorm2d(4 * w, momentum=s.momentum),
        nn.ReLU(),
        nn.PixelShuffle(2),
        nn.Conv2d(w, 1, 3, 1, 1),
        *tops_of(s),
    )
    norm: list[nn.Module] = [nn.BatchNorm2d(2 * v)] if s.batch_norm_d else []
    judge = nn.Sequential(
        nn.Conv2d(1, v, 3, 1, 1), leaky(), nn.AvgPool2d(2),
        nn.Conv2d(v, 2 * v, 3, 1, 1), *norm, leaky(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(2 * v * start**2, 1),
    )  # fmt: skip
    return maker, Scores(judge, s.sigmoid)


class Reach(nn.Module):
    """Adds a dilated convolution over time to its input."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)

    def forward(self, h: Tensor) -> Tensor:
        """``(n, c, t)`` to the same shape."""
        return h + F.leaky_relu(self.conv(h), 0.2)


def _dilated(s: Shape) -> Pair:
    """Residual convolutions over time that reach farther with each layer."""
    length, channels = s.rows.x.shape[1:]
    w, v = s.width_g // 3, s.width_d // 3
    maker = nn.Sequential(
        nn.Linear(s.latent, 64), nn.ReLU(), nn.Linear(64, w * length), nn.Unflatten(1, (w, length)), nn.ReLU(),
        Reach(w, 1), Reach(w, 3), nn.Conv1d(w, channels, 3, padding=1), Transpose(),
    )  # fmt: skip
    judge = nn.Sequential(
        Transpose(), nn.Conv1d(channels, v, 3, padding=1), leaky(), Reach(v, 2), Reach(v, 4),
        nn.Flatten(), nn.Linear(v * length, 1),
    )  # fmt: skip
    return maker, Scores(judge, s.sigmoid)


class Gate(nn.Module):
    """A residual block that decides how much it adds."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.both = nn.Linear(width, 2 * width)

    def forward(self, h: Tensor) -> Tensor:
        """The input and a gated change of it."""
        return h + F.glu(self.both(F.silu(h)), 1)


def _gated(s: Shape) -> Pair:
    maker = nn.Sequential(
        nn.Linear(s.latent, s.width_g), *[Gate(s.width_g) for _ in range(s.depth_g)], nn.SiLU(),
        nn.Linear(s.width_g, s.features), *ends_of(s, False),
    )  # fmt: skip
    judge = stack(sizes_of(s.features, s.width_d, s.depth_d, 1), nn.SiLU, norm_of(s))
    return maker, Scores(nn.Sequential(nn.Flatten(), *judge), s.sigmoid)


class ScaledByClass(nn.Module):
    """A perceptron whose hidden layers are scaled and shifted by the class."""

    def __init__(self, body: nn.ModuleList, last: nn.Module, widths: list[int], classes: int) -> None:
        super().__init__()
        self.body, self.last = body, last
        self.scale = nn.ModuleList(nn.Embedding(classes, 2 * width) for width in widths)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Rows for codes and classes."""
        for layer, scale in zip(self.body, self.scale, strict=True):
            size, shift = scale(y).chunk(2, 1)
            z = F.silu((1 + 0.3 * size) * layer(z) + 0.3 * shift)
        return self.last(z)


class Projection(nn.Module):
    """A discriminator that adds the product of features and an embedded class to its score."""

    def __init__(self, features: nn.Module, width: int, classes: int, sigmoid: bool) -> None:
        super().__init__()
        self.features, self.head = features, nn.Linear(width, 1)
        self.classes = nn.Embedding(classes, width)
        self.last = nn.Sigmoid() if sigmoid else nn.Identity()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Scores ``(n,)``."""
        h = self.features(x)
        return self.last(self.head(h).view(-1) + (self.classes(y) * h).mean(1))


def _projection(s: Shape) -> Pair:
    assert s.rows.y is not None
    classes, act = int(s.rows.y.max()) + 1, leaky
    widths = [s.width_g] * s.depth_g
    body = nn.ModuleList(nn.Linear(s.width_g if i else s.latent, w) for i, w in enumerate(widths))
    last = nn.Sequential(nn.Linear(s.width_g if widths else s.latent, s.features), *ends_of(s, False))
    features = nn.Sequential(*stack(sizes_of(s.features, s.width_d, s.depth_d - 1, s.width_d), act, norm_of(s)), act())
    return ScaledByClass(body, last, widths, classes), Projection(features, s.width_d, classes, s.sigmoid)


def _family(name: str, groups: str, build: Callable[[Shape], Pair], marks: str) -> Family:
    return Family(name, frozenset(groups.split()), build, frozenset(marks.split()), "held-out")


add(
    _family("sine", "points pairs", _sine, "dense"),
    _family("weight-normed", "points pairs", _weight_normed, "relu dense"),
    _family("skips", "points images pairs", _skips, "relu dense batchnorm colour"),
    _family("tokens", "points", _tokens, "layernorm"),
    _family("pixel-shuffle", "images", _shuffled, "relu batchnorm conv"),
    _family("dilated", "waves", _dilated, "conv1d"),
    _family("gated", "table", _gated, "dense"),
    _family("projection", "labelled", _projection, "dense"),
)
