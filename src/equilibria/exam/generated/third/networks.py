"""Families of networks of the third part."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


class ReZero(nn.Module):
    """A residual layer that begins as the identity: its share is a parameter that starts at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer, self.share = nn.Linear(width, width), nn.Parameter(torch.zeros(()))

    def forward(self, h: Tensor) -> Tensor:
        """The input and a share of a layer's output."""
        return h + self.share * torch.relu(self.layer(h))


def _rezero(s: Shape) -> Pair:
    def net(first: int, width: int, depth: int, last: int) -> list[nn.Module]:
        if not depth:
            return [nn.Linear(first, last)]
        return [nn.Linear(first, width), nn.ReLU(), *[ReZero(width) for _ in range(depth)], nn.Linear(width, last)]

    maker = nn.Sequential(*net(s.latent, s.width_g, s.depth_g, s.features), *ends_of(s, False))
    return maker, Scores(nn.Sequential(nn.Flatten(), *net(s.features, s.width_d, s.depth_d, 1)), s.sigmoid)


class Maxout(nn.Module):
    """The larger one of two linear layers, at each unit."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.pieces = nn.Linear(first, 2 * last)

    def forward(self, h: Tensor) -> Tensor:
        """The output."""
        return torch.maximum(*self.pieces(h).chunk(2, -1))


def _maxout(s: Shape) -> Pair:
    def net(first: int, width: int, depth: int, last: int) -> list[nn.Module]:
        sizes = sizes_of(first, width, depth, last)
        return [*[Maxout(a, b) for a, b in pairwise(sizes[:-1])], nn.Linear(sizes[-2], last)]

    maker = nn.Sequential(*net(s.latent, s.width_g, s.depth_g, s.features), *ends_of(s, False))
    return maker, Scores(nn.Sequential(nn.Flatten(), *net(s.features, s.width_d, s.depth_d, 1)), s.sigmoid)


class UShape(nn.Module):
    """A perceptron with batch norms that narrows and widens again; each level gets what the same level had before."""

    def __init__(self, latent: int, width: int, depth: int, out: int, momentum: float) -> None:
        super().__init__()
        half = max(1, width // 2)

        def layer(a: int, b: int) -> nn.Module:
            return nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b, momentum=momentum), nn.ReLU())

        self.down = nn.ModuleList([layer(latent, width)] if depth else [])
        self.deep = nn.Sequential(*[layer(half if i else width, half) for i in range(depth - 1)])
        self.up = layer(half if depth > 1 else width, width) if depth else nn.Identity()
        self.last = nn.Linear(2 * width if depth else latent, out)

    def forward(self, z: Tensor) -> Tensor:
        """The output for codes."""
        if not len(self.down):
            return self.last(z)
        h = self.down[0](z)
        return self.last(torch.cat([h, self.up(self.deep(h))], 1))


def _u_shaped(s: Shape) -> Pair:
    maker = nn.Sequential(UShape(s.latent, s.width_g, s.depth_g, s.features, s.momentum), *ends_of(s, False))
    judge = stack(sizes_of(s.features, s.width_d, s.depth_d, 1), leaky, norm_of(s))
    return maker, Scores(nn.Sequential(nn.Flatten(), *judge), s.sigmoid)


class Mixer(nn.Module):
    """Mixes tokens by a perceptron, then the columns of each token by another one."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.over_tokens = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.over_columns = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor) -> Tensor:
        """Tokens ``(n, t, w)`` to tokens."""
        h = h + self.over_tokens(self.before(h).transpose(1, 2)).transpose(1, 2)
        return h + self.over_columns(self.between(h))


def _mixer(s: Shape) -> Pair:
    """Each moment of a series is a token."""
    length, channels = s.rows.x.shape[1:]
    width = 16
    maker = nn.Sequential(
        nn.Linear(s.latent, length * width), nn.Unflatten(1, (length, width)), Mixer(length, width),
        Mixer(length, width), nn.Linear(width, channels),
    )  # fmt: skip
    judge = nn.Sequential(
        nn.Linear(channels, width), Mixer(length, width), nn.Flatten(), nn.Linear(length * width, 48), leaky(),
        nn.Linear(48, 1),
    )  # fmt: skip
    return maker, Scores(judge, s.sigmoid)


class Ladder(nn.Module):
    """A U-shaped network over time: a pooled path, and one that skips it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Conv1d(width, width, 4, 2, 1)
        self.deep = nn.Conv1d(width, width, 3, padding=1)
        self.join = nn.Conv1d(2 * width, width, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """``(n, c, t)`` to the same shape."""
        deep = F.silu(self.deep(F.silu(self.down(h))))
        return F.silu(self.join(torch.cat([h, F.interpolate(deep, scale_factor=2.0)], 1)))


def _ladder(s: Shape) -> Pair:
    length, channels = s.rows.x.shape[1:]
    w, v = s.width_g // 3, s.width_d // 3
    maker = nn.Sequential(
        nn.Linear(s.latent, w * length), nn.Unflatten(1, (w, length)), Ladder(w), nn.Conv1d(w, channels, 3, padding=1),
        Transpose(),
    )  # fmt: skip
    judge = nn.Sequential(
        Transpose(), nn.Conv1d(channels, v, 3, padding=1), Ladder(v), nn.Flatten(), nn.Linear(v * length, 1)
    )
    return maker, Scores(judge, s.sigmoid)


def _apart(a: int, b: int, norm: nn.Module) -> list[nn.Module]:
    """A convolution over space for each channel, and one over channels."""
    return [nn.Conv2d(a, a, 3, 1, 1, groups=a), nn.Conv2d(a, b, 1), norm, nn.ReLU()]


def _critic2d(s: Shape) -> nn.Module:
    """Strided convolutions, of which the second one has groups."""
    channels, side, v = s.rows.x.shape[1], s.rows.x.shape[-1], 2 * (s.width_d // 6)
    norm: list[nn.Module] = [nn.BatchNorm2d(2 * v)] if s.batch_norm_d else []
    judge = nn.Sequential(
        nn.Conv2d(channels, v, 4, 2, 1), leaky(), nn.Conv2d(v, 2 * v, 4, 2, 1, groups=2), *norm, leaky(),
        nn.Flatten(), nn.Linear(2 * v * (side // 4) ** 2, 1),
    )  # fmt: skip
    return Scores(judge, s.sigmoid)


def _depthwise(s: Shape) -> Pair:
    w, start = s.width_g // 2, s.rows.x.shape[-1] // 4
    maker = nn.Sequential(
        nn.Linear(s.latent, w * start**2), nn.BatchNorm1d(w * start**2, momentum=s.momentum), nn.ReLU(),
        nn.Unflatten(1, (w, start, start)),
        nn.Upsample(scale_factor=2), *_apart(w, w, nn.BatchNorm2d(w, momentum=s.momentum)),
        nn.Upsample(scale_factor=2), *_apart(w, w, nn.BatchNorm2d(w, momentum=s.momentum)),
        nn.Conv2d(w, s.rows.x.shape[1], 3, 1, 1), *tops_of(s),
    )  # fmt: skip
    return maker, _critic2d(s)


class PixelNorm(nn.Module):
    """Each place's channels over their root mean square."""

    def forward(self, h: Tensor) -> Tensor:
        """The output, of the same shape."""
        return h * (h.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def _pixel_normed(s: Shape) -> Pair:
    w, start = s.width_g // 2, s.rows.x.shape[-1] // 4
    maker = nn.Sequential(
        nn.Linear(s.latent, w * start**2), nn.Unflatten(1, (w, start, start)), PixelNorm(), nn.SiLU(),
        nn.ConvTranspose2d(w, w, 4, 2, 1), nn.SiLU(),
        nn.ConvTranspose2d(w, w, 4, 2, 1), nn.SiLU(),
        nn.Conv2d(w, s.rows.x.shape[1], 3, 1, 1), *tops_of(s),
    )  # fmt: skip
    return maker, _critic2d(s)


class Grown(nn.Module):
    """A layer whose output is put beside its input."""

    def __init__(self, first: int, width: int, momentum: float) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(first, width), nn.BatchNorm1d(width, momentum=momentum), nn.ReLU())

    def forward(self, h: Tensor) -> Tensor:
        """The output and the input, in columns."""
        return torch.cat([self.layer(h), h], 1)


def _grown(s: Shape) -> Pair:
    """A generator of tables that grows by a layer at a time, and a discriminator with a little dropout."""
    sizes = [s.latent + i * s.width_g for i in range(s.depth_g + 1)]
    layers = [Grown(size, s.width_g, s.momentum) for size in sizes[:-1]]
    maker = nn.Sequential(*layers, nn.Linear(sizes[-1], s.features), *ends_of(s, False))
    body = stack(sizes_of(s.features, s.width_d, s.depth_d, 1), leaky, norm_of(s))
    judge = nn.Sequential(*list(body)[:-1], nn.Dropout(0.1), body[-1])
    return maker, Scores(judge, s.sigmoid)


class HeadsByClass(nn.Module):
    """A common body, and a last layer for each class."""

    def __init__(self, body: nn.Module, width: int, out: int, classes: int) -> None:
        super().__init__()
        self.body, self.heads, self.classes = body, nn.Linear(width, classes * out), classes

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The output of each row's own head, ``(n, out)``."""
        all_of_them = self.heads(self.body(x)).view(len(x), self.classes, -1)
        return all_of_them[torch.arange(len(x)), y]


class ScoresByClass(nn.Module):
    """A discriminator with a score for each class."""

    def __init__(self, net: nn.Module, sigmoid: bool) -> None:
        super().__init__()
        self.net, self.last = net, nn.Sigmoid() if sigmoid else nn.Identity()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Scores ``(n,)``."""
        return self.last(self.net(x, y)).view(-1)


def _heads_by_class(s: Shape) -> Pair:
    assert s.rows.y is not None
    classes = int(s.rows.y.max()) + 1
    body = nn.Sequential(*stack(sizes_of(s.latent, s.width_g, s.depth_g - 1, s.width_g), nn.ReLU), nn.ReLU())
    judge = nn.Sequential(
        *stack(sizes_of(s.features, s.width_d, s.depth_d - 1, s.width_d), nn.ELU, norm_of(s)), nn.ELU()
    )
    return (
        HeadsByClass(body, s.width_g, s.features, classes),
        ScoresByClass(HeadsByClass(judge, s.width_d, 1, classes), s.sigmoid),
    )


def _family(name: str, groups: str, build: Callable[[Shape], Pair], marks: str) -> Family:
    return Family(name, frozenset(groups.split()), build, frozenset(marks.split()), "held-out")


add(
    _family("rezero", "points images pairs", _rezero, "relu dense colour"),
    _family("maxout", "points images pairs", _maxout, "dense colour"),
    _family("u-shaped", "points pairs", _u_shaped, "relu dense batchnorm"),
    _family("mixer", "waves", _mixer, "conv1d layernorm"),
    _family("ladder", "waves", _ladder, "conv1d"),
    _family("depthwise", "images", _depthwise, "relu batchnorm conv colour"),
    _family("pixel-normed", "images", _pixel_normed, "conv"),
    _family("grown", "table", _grown, "dense batchnorm"),
    _family("heads-by-class", "labelled", _heads_by_class, "dense"),
)
